"""Test suites of client libraries: how each is run, and how its results are read.

A suite is a list of runs (`Run`), each with the servers it wants. The servers sit on the ports
that the suite has built in; the caller sees to it that nobody else has them.
"""

import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

from .servers import TARGET, Server

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
RUN_LIMIT_S = 3600
PLUGINS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pytest_plugins")


class Run:
    """One run of a suite against servers of one kind.

    `servers` is called with the side's command line and gives a context manager whose value is
    handed to `tests`, which gives {test name: PASSED, FAILED or SKIPPED}. `tests` takes a list of
    names too, to which it keeps (None for all).
    """

    def __init__(self, name, servers, tests):
        self.name = name
        self.servers = servers
        self.tests = tests


class Standalone:
    """A server of its own on the given port, or none where the suite starts its servers itself."""

    def __init__(self, command, port, directives=()):
        self.server = Server("clients", command, directives, port=port)

    def __enter__(self):
        return self.server.start()

    def __exit__(self, *_):
        self.server.remove()


class Cluster:
    """Three primaries with a replica each, on six ports from `port` on."""

    def __init__(self, command, port, directives=()):
        own = ["--cluster-enabled", "yes", "--cluster-node-timeout", "15000", *directives]
        self.nodes = [Server("node", command, own, port=port + n) for n in range(6)]

    def __enter__(self):
        for node in self.nodes:
            node.start()
        places = ["127.0.0.1:%d" % node.port for node in self.nodes]
        create = ["redis-cli", "--cluster", "create", *places]
        create += ["--cluster-replicas", "1", "--cluster-yes"]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL, timeout=120)
        for node in self.nodes:
            node.wait_for(True, check=_is_joined, timeout_s=120)
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            node.remove()


def _is_joined(client):
    """Whether the node sees all six with all slots served, and, as a replica, has its primary."""
    state = client.command("CLUSTER", "INFO").decode()
    if "cluster_state:ok" not in state or "cluster_known_nodes:6" not in state:
        return False
    if client.command("CLUSTER", "NODES").count(b"slave") != 3:
        return False
    role = client.command("ROLE")
    return role[0] == b"master" or role[3] == b"connected"


class NoServers:
    """For suites that start their servers themselves: hands on the side's command line."""

    def __init__(self, command):
        self.command = command

    def __enter__(self):
        return self.command

    def __exit__(self, *_):
        pass


def run_tool(command, cwd, log, environment=None):
    """Runs a test tool with its output in the file `log`; its exit code says nothing here."""
    environment = dict(os.environ, **(environment or {}))
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            print("  ended after %d s: %s" % (RUN_LIMIT_S, log))
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # what the tool left running
            except ProcessLookupError:
                pass
            process.wait()


def junit_results(path):
    """Results of a JUnit file by test name; {} where the tool never wrote it."""
    if not os.path.exists(path):
        return {}
    results = {}
    for case in ElementTree.parse(path).iter("testcase"):
        name = "%s::%s" % (case.get("classname"), case.get("name"))
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            results[name] = FAILED
        elif results.get(name) != FAILED:
            results[name] = SKIPPED if "skipped" in kinds else PASSED
    return results


class RedisPy:
    """redis-py's own suite, by pytest."""

    STANDALONE = (
        "not onlycluster and not redismod and not fixed_client and not multidb_integration"
    )
    CLUSTER = (
        "not onlynoncluster and not redismod and not fixed_client and not multidb_integration"
    )
    # What tests the library alone, or needs modules, certificates, Sentinel or another vendor's
    # service.
    IGNORED = (
        "maint_notifications test_scenario test_http test_multidb test_observability test_parsers "
        "test_bloom* test_json* test_search* test_timeseries* test_vsets* test_himport* test_ssl* "
        "test_sentinel* test_background* test_backoff* test_command_p* test_crc* test_defaults* "
        "test_data_structure* test_driver_info* test_event* test_exceptions* test_helpers* "
        "test_legacy_responses_arg* test_utils* test_usage_counter*"
    )
    PACKAGES = (
        "pytest==9.2.0 pytest-asyncio==1.5.0 pytest-timeout==2.4.0 packaging numpy ujson xxhash "
        "cryptography pybreaker aiohttp opentelemetry-api opentelemetry-sdk redis-entraid==1.2.1"
    )

    def __init__(self, checkout, out):
        self.checkout = checkout
        self.out = out
        self.venv = os.path.join(TARGET, "clients", "venv-redis-py")

    def prepare(self):
        if not os.path.exists(self.venv + "/done"):
            subprocess.run([sys.executable, "-m", "venv", self.venv], check=True)
            pip = [self.venv + "/bin/pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run(pip + self.PACKAGES.split(), check=True)
            open(self.venv + "/done", "w").close()
        subprocess.run(
            [self.venv + "/bin/pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
            + [self.checkout],
            check=True,
        )

    def runs(self):
        debug = ("--enable-debug-command", "yes")
        for protocol in ("2", "3"):
            yield Run(
                "standalone-resp" + protocol,
                lambda command: Standalone(command, 6379, debug),
                self._tests(self.STANDALONE, 6379, protocol),
            )
            yield Run(
                "cluster-resp" + protocol,
                lambda command: Cluster(command, 16379, debug),
                self._tests(self.CLUSTER, 16379, protocol),
            )

    def _tests(self, marks, port, protocol):
        def run(_servers, label, only=None):
            report = os.path.join(self.out, label + ".xml")
            command = [self.venv + "/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            command += ["-p", "patience", "--durations", "40"]
            command += ["-m", marks, "--protocol", protocol, "-o", "timeout=120"]
            command += ["--redis-url", "redis://localhost:%d/0" % port]
            command += ["--junit-xml", report, "--tb=short"]
            for place in ("tests/", "tests/test_asyncio/"):
                for pattern in self.IGNORED.split():
                    command += ["--ignore-glob", place + pattern]
            command += self._nodes(only) if only else ["tests"]
            log = os.path.join(self.out, label + ".log")
            run_tool(command, self.checkout, log, {"PYTHONPATH": PLUGINS})
            return junit_results(report)

        return run

    def _nodes(self, names):
        """pytest's own names of the tests that the report calls `a.b.Class::test`."""
        for name in names:
            place, _, test = name.partition("::")
            words = place.split(".")
            for length in range(len(words), 0, -1):
                path = "/".join(words[:length]) + ".py"
                if os.path.exists(os.path.join(self.checkout, path)):
                    yield "::".join([path, *words[length:], test])
                    break


class IoRedis:
    """ioredis's functional and cluster tests, by mocha."""

    def __init__(self, checkout, out):
        self.checkout = checkout
        self.out = out

    def prepare(self):
        if not os.path.exists(os.path.join(self.checkout, "node_modules", ".bin", "mocha")):
            install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(install, cwd=self.checkout, check=True)

    def runs(self):
        yield Run(
            "functional",
            lambda command: Standalone(command, 6379),
            self._tests("test/helpers/*.ts", "test/functional/**/*.ts"),
        )
        yield Run(
            "cluster",
            lambda command: Cluster(command, 3000),
            self._tests("test/cluster/**/*.ts"),
        )

    def _tests(self, *files):
        def run(_servers, label, only=None):
            report = os.path.join(self.out, label + ".json")
            command = ["node_modules/.bin/mocha", "--timeout", "30000", "--reporter", "json"]
            command += ["--no-experimental-strip-types", "--reporter-option", "output=" + report]
            if only:
                command += ["--grep", "^(%s)$" % "|".join(re.escape(name) for name in only)]
            environment = {"TS_NODE_TRANSPILE_ONLY": "true", "NODE_ENV": "test"}
            log = os.path.join(self.out, label + ".log")
            run_tool([*command, *files], self.checkout, log, environment)
            return self._results(report)

        return run

    @staticmethod
    def _results(report):
        if not os.path.exists(report):
            return {}
        with open(report) as file:
            tree = json.load(file)
        results = {test["fullTitle"]: PASSED for test in tree["passes"]}
        results.update({test["fullTitle"]: SKIPPED for test in tree["pending"]})
        results.update({test["fullTitle"]: FAILED for test in tree["failures"]})
        return results


class RedisRs:
    """redis-rs's suite, by cargo-nextest; it starts the servers itself."""

    FEATURES = "tokio-comp,connection-manager,cluster-async,sentinel,cache-aio,json"

    def __init__(self, checkout, out):
        self.checkout = checkout
        self.out = out

    def prepare(self):
        subprocess.run([*self._nextest("--no-run")], cwd=self.checkout, check=True, env=self._env())

    def runs(self):
        for protocol in ("RESP2", "RESP3"):
            for kind in ("tcp", "unix"):
                yield Run("%s-%s" % (kind, protocol.lower()), NoServers, self._tests(kind, protocol))

    def _nextest(self, *more):
        return ["cargo", "nextest", "run", "-p", "redis", "--features", self.FEATURES, *more]

    def _env(self):
        return dict(
            os.environ,
            CARGO_TARGET_DIR=os.environ.get("REDIS_RS_TARGET", TARGET + "/clients/redis-rs"),
            CARGO_PROFILE_DEV_DEBUG="0",
        )

    def _tests(self, kind, protocol):
        def run(server_command, label, only=None):
            report = os.path.join(self.out, label + ".xml")
            wrapper = os.path.join(self.out, label + "-server")
            with open(wrapper, "w") as file:
                file.write('#!/bin/sh\nexec %s "$@"\n' % " ".join(server_command))
            os.chmod(wrapper, 0o755)
            config = os.path.join(self.out, label + ".toml")
            with open(config, "w") as file:
                file.write('[profile.%s]\nretries = 4\n' % kind)
                file.write('slow-timeout = { period = "30s", terminate-after = 4 }\n')
                file.write('[profile.%s.junit]\npath = "%s"\n' % (kind, report))
            command = self._nextest("--profile", kind, "--tool-config-file", "clients:" + config)
            command += ["--no-fail-fast", "--test-threads", "2"]
            if only:
                command += ["-E", " | ".join("test(=%s)" % n.partition("::")[2] for n in only)]
            environment = dict(self._env(), REDISRS_SERVER_BIN=wrapper, PROTOCOL=protocol)
            environment["REDISRS_SERVER_TYPE"] = kind
            run_tool(command, self.checkout, os.path.join(self.out, label + ".log"), environment)
            return junit_results(report)

        return run


class Fred:
    """fred's integration tests, which go to a server and to a cluster in RESP2 and RESP3."""

    FEATURES = (
        "network-logs custom-reconnect-errors serde-json blocking-encoding dynamic-pool monitor "
        "metrics subscriber-client dns debug-ids replicas sha-1 transactions i-all credential-provider"
    )
    # Waits for a name server's answer, for ever where there is none.
    WANTS_DNS = "bad_host"
    # The user that the tests log in as.
    USER = {"REDIS_USERNAME": "foo", "REDIS_PASSWORD": "bar"}
    RULES = ("on", ">bar", "allkeys", "allchannels", "allcommands")
    LINE = re.compile(rb"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)$", re.M)
    RESULTS = {b"ok": PASSED, b"FAILED": FAILED, b"ignored": SKIPPED}

    def __init__(self, checkout, out):
        self.checkout = checkout
        self.out = out

    def prepare(self):
        subprocess.run(self._cargo("--no-run"), cwd=self.checkout, check=True, env=self._env())

    def runs(self):
        yield Run("centralized", lambda command: Standalone(command, 6379), self._tests("centralized::"))
        yield Run("cluster", lambda command: Cluster(command, 30001), self._tests("clustered::"))

    def _cargo(self, *more):
        return ["cargo", "test", "--test", "lib", "--features", self.FEATURES, *more]

    def _env(self):
        return dict(
            os.environ,
            CARGO_TARGET_DIR=os.environ.get("FRED_TARGET", TARGET + "/clients/fred"),
            CARGO_PROFILE_DEV_DEBUG="0",
            FRED_REDIS_CENTRALIZED_HOST="127.0.0.1",
            FRED_REDIS_CENTRALIZED_PORT="6379",
            FRED_REDIS_CLUSTER_HOST="127.0.0.1",
            FRED_REDIS_CLUSTER_PORT="30001",
            REDIS_VERSION="7.4.0",
            REDIS_SENTINEL_PASSWORD="",
            **self.USER,
        )

    def _tests(self, kind):
        def run(servers, label, only=None):
            for server in getattr(servers, "nodes", [servers]):
                server.ask("ACL", "SETUSER", self.USER["REDIS_USERNAME"], *self.RULES)
            log = os.path.join(self.out, label + ".log")
            names = ["--exact", *only] if only else [kind]
            command = self._cargo("--", "--test-threads=1", "--skip", self.WANTS_DNS, *names)
            run_tool(command, self.checkout, log, self._env())
            with open(log, "rb") as file:
                found = self.LINE.findall(file.read())
            return {name.decode(): self.RESULTS[result] for name, result in found}

        return run


class Hiredis:
    """hiredis's test program; its tests are numbered and have no way to choose among them."""

    LINE = re.compile(rb"^#(\d+) (.*?)(?:\x1b\[[\d;]*m)*(PASSED|FAILED|SKIPPED)", re.M | re.S)

    def __init__(self, checkout, out):
        self.checkout = checkout
        self.out = out

    def prepare(self):
        subprocess.run(["make", "-s", "hiredis-test"], cwd=self.checkout, check=True)

    def runs(self):
        def servers(command):
            socket = os.path.join(self.out, "hiredis.sock")
            directives = ("--enable-debug-command", "local", "--unixsocket", socket)
            return Standalone(command, 56379, directives)

        yield Run("tcp-and-unix", servers, self._tests)

    def _tests(self, _server, label, only=None):
        log = os.path.join(self.out, label + ".log")
        socket = os.path.join(self.out, "hiredis.sock")
        command = ["stdbuf", "-oL", "./hiredis-test", "--skip-throughput", "-h", "127.0.0.1", "-p", "56379", "-s", socket]
        run_tool(command, self.checkout, log)
        with open(log, "rb") as file:
            found = self.LINE.findall(file.read())
        return {
            "%s %s" % (number.decode(), title.decode(errors="replace").strip(" :")): result.decode().lower()
            for number, title, result in found
        }


SUITES = {
    "redis-py": RedisPy,
    "ioredis": IoRedis,
    "redis-rs": RedisRs,
    "fred": Fred,
    "hiredis": Hiredis,
}

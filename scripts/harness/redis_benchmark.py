"""redis-benchmark: its default list of tests, one run of a test, and what that run cost the server."""

import csv
import io
import subprocess
import time
from collections import namedtuple

from .load import check_alive, fill_list, fill_sorted_set, wait_until_quiet

LIST = "mylist"  # redis-benchmark's name for it
LRANGE_ELEMENTS = 100_000
SORTED_SET = "mysortedset"
SORTED_SET_MEMBERS = 100_000
SETTLE_S = 10.0

# arguments: what redis-benchmark gets; needs: what must be there before, see `prepare`.
Test = namedtuple("Test", "name arguments needs")
# cpu_us is the server's during the run; settled_cpu_us goes on until the server was quiet again.
Run = namedtuple("Run", "rps cpu_us settled_cpu_us p50_ms p99_ms operations")


def _lrange(last):
    # As `-t lrange_100` it would push a list first, in the same process.
    return ["LRANGE", LIST, "0", str(last)]


DEFAULT_LIST = [
    Test("ping_inline", ["-t", "ping_inline"], None),
    Test("ping_mbulk", ["-t", "ping_mbulk"], None),
    Test("set", ["-t", "set"], None),
    Test("get", ["-t", "get"], "string"),
    Test("incr", ["-t", "incr"], None),
    Test("lpush", ["-t", "lpush"], "no list"),
    Test("rpush", ["-t", "rpush"], "no list"),
    Test("lpop", ["-t", "lpop"], "list to pop"),
    Test("rpop", ["-t", "rpop"], "list to pop"),
    Test("sadd", ["-t", "sadd"], None),
    Test("hset", ["-t", "hset"], None),
    Test("spop", ["-t", "spop"], None),
    Test("zadd", ["-t", "zadd"], None),
    Test("zpopmin", ["-t", "zpopmin"], None),
    Test("lrange_100", _lrange(99), "list"),
    Test("lrange_300", _lrange(299), "list"),
    Test("lrange_500", _lrange(499), "list"),
    Test("lrange_600", _lrange(599), "list"),
    Test("mset", ["-t", "mset"], None),
]


# redis-benchmark puts a number of 12 digits below this in the place of each __rand_int__.
_BELOW = ["-r", str(SORTED_SET_MEMBERS)]
_MEMBER = "member:__rand_int__"  # as fill_sorted_set names them
_GET, _SET = "return redis.call('get', KEYS[1])", "return redis.call('set', KEYS[1], ARGV[1])"

# Scripts, streams and a large sorted set: a script that does nothing, one that reads, one that
# writes; new scores of random members, ten members by rank and by score.
COMMANDS = [
    Test("eval_return", ["EVAL", "return 1", "0"], None),
    Test("eval_get", _BELOW + ["EVAL", _GET, "1", "key:__rand_int__"], None),
    Test("eval_set", _BELOW + ["EVAL", _SET, "1", "key:__rand_int__", "xxx"], None),
    Test("xadd", ["XADD", "mystream", "*", "myfield", "xxx"], "no stream"),
    Test("xadd_maxlen", ["XADD", "shortstream", "MAXLEN", "~", "1000", "*", "f", "xxx"], None),
    Test("zadd_100k", _BELOW + ["ZADD", SORTED_SET, "__rand_int__", _MEMBER], "sorted set"),
    Test("zscore_100k", _BELOW + ["ZSCORE", SORTED_SET, _MEMBER], "sorted set"),
    Test("zrange_100k", ["ZRANGE", SORTED_SET, "50000", "50009"], "sorted set"),
    Test(
        "zrange_score",
        _BELOW + ["ZRANGE", SORTED_SET, "__rand_int__", "inf", "BYSCORE", "LIMIT", "0", "10"],
        "sorted set",
    ),
]


def random_key_tests(keys, value_bytes):
    """SET and GET of random keys out of `keys`, which are all there."""
    common = ["-r", str(keys), "-d", str(value_bytes), "-t"]
    return [
        Test("set_random", common + ["set"], "keys"),
        Test("get_random", common + ["get"], "keys"),
    ]


def prepare(server, test, operations):
    """Brings about what the test needs; "keys" are loaded once, by the caller."""
    if test.needs in (None, "keys"):
        return
    client = server.client(120.0)
    try:
        if test.needs == "string":
            client.command("SET", "key:__rand_int__", "xxx")
        elif test.needs == "no list":
            client.command("DEL", LIST)
        elif test.needs == "no stream":
            client.command("DEL", "mystream")
        elif test.needs == "sorted set":
            if client.command("ZCARD", SORTED_SET) != SORTED_SET_MEMBERS:
                fill_sorted_set(client, SORTED_SET, SORTED_SET_MEMBERS)
        elif test.needs == "list to pop":
            fill_list(client, LIST, operations)
        elif client.command("LLEN", LIST) != LRANGE_ELEMENTS:
            fill_list(client, LIST, LRANGE_ELEMENTS)
    finally:
        client.close()


def run(server, test, depth, operations, cores):
    """Runs a test once on a quiet server. An error reply is a RuntimeError."""
    prepare(server, test, operations)
    wait_until_quiet(server, SETTLE_S)
    command = ["redis-benchmark", "-p", str(server.port), "-n", str(operations), "-P", str(depth)]
    command = (["taskset", "-c", cores] if cores else []) + command + ["--csv"] + test.arguments
    before = server.cpu_us()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    during = server.cpu_us() - before
    check_alive(server)
    what = "%s on %s, P=%d" % (test.name, server.name, depth)
    if done.returncode != 0 or "Error from server" in done.stderr + done.stdout:
        raise RuntimeError("%s failed: %s" % (what, (done.stderr or done.stdout).strip()))
    rows = list(csv.DictReader(io.StringIO(done.stdout[done.stdout.index('"test"') :])))
    if len(rows) != 1:
        raise RuntimeError("%s: not one result: %s" % (what, done.stdout))
    wait_until_quiet(server, SETTLE_S)
    settled = server.cpu_us() - before
    row = rows[0]
    return Run(
        float(row["rps"]),
        during,
        settled,
        float(row["p50_latency_ms"]),
        float(row["p99_latency_ms"]),
        operations,
    )


def operations_for(server, test, depth, seconds, cores):
    """How many operations take about so many seconds; from a short run, which also warms up."""
    few = 500 * depth if test.name.startswith("lrange") else 2000 * depth
    began = time.monotonic()
    rps = run(server, test, depth, few, cores).rps
    if time.monotonic() - began < 0.3:
        rps = run(server, test, depth, 2 * few, cores).rps
    return max(few, int(rps * seconds) // 1000 * 1000)

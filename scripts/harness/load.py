"""What benchmarks do to a server besides benchmarking it: fill it, wait for it, check on it."""

import socket
import time

KEY = b"key:%012d"  # redis-benchmark's own names, 16 bytes
BATCH_COMMANDS = 1000
BATCHES_IN_FLIGHT = 4
QUIET_CPU_SHARE = 0.03  # of one core


def value_of(number, value_bytes):
    """The value of a key: differs from key to key, and is no number."""
    return (b"v%d-" % number).ljust(value_bytes, b"x")[:value_bytes]


def fill_keys(port, keys, value_bytes):
    """SETs key:000000000000 and on, through one pipelined connection."""
    command = b"*3\r\n$3\r\nSET\r\n$16\r\n%%b\r\n$%d\r\n%%b\r\n" % value_bytes
    pipeline = _Pipeline(port, b"+OK\r\n")
    for start in range(0, keys, BATCH_COMMANDS):
        numbers = range(start, min(start + BATCH_COMMANDS, keys))
        pipeline.send(
            b"".join([command % (KEY % n, value_of(n, value_bytes)) for n in numbers]), len(numbers)
        )
    pipeline.finish()


def fill_list(client, key, elements):
    """Replaces a list by one of `elements` three-byte elements."""
    client.command("DEL", key)
    for start in range(0, elements, BATCH_COMMANDS):
        client.command("RPUSH", key, *[b"xxx"] * min(BATCH_COMMANDS, elements - start))
    length = client.command("LLEN", key)
    if length != elements:
        raise RuntimeError("%s has %d elements, not %d" % (key, length, elements))


def fill_sorted_set(client, key, members):
    """Replaces a sorted set by `members` ones named as redis-benchmark's, with scattered scores."""
    client.command("DEL", key)
    for start in range(0, members, BATCH_COMMANDS):
        pairs = []
        for number in range(start, min(start + BATCH_COMMANDS, members)):
            pairs += [str(number * 7919 % members), "member:%012d" % number]
        client.command("ZADD", key, *pairs)
    count = client.command("ZCARD", key)
    if count != members:
        raise RuntimeError("%s has %d members, not %d" % (key, count, members))


def fill(port, keys, command):
    """Sends what `command` gives for each number below `keys`; errors are the caller's to find.

    One pipelined connection, at most one batch unanswered; replies are counted in lines.
    """
    connection = socket.create_connection(("127.0.0.1", port), 120)
    for start in range(0, keys, BATCH_COMMANDS):
        batch = b"".join([command(n) for n in range(start, min(start + BATCH_COMMANDS, keys))])
        connection.sendall(batch)
        wanted = batch.count(b"\r\n*") + 1
        while wanted > 0:
            part = connection.recv(65536)
            if not part:
                raise RuntimeError("the server closed the connection while it was filled")
            if b"-" in part:
                raise RuntimeError("error while filling: %r" % part[:200])
            wanted -= part.count(b"\n")
    connection.close()


class _Pipeline:
    """Commands whose replies are all the same; some batches are in flight at any time."""

    def __init__(self, port, reply):
        self.socket = socket.create_connection(("127.0.0.1", port), 120)
        self.reply = reply
        self.in_flight = []

    def send(self, batch, commands):
        if len(self.in_flight) == BATCHES_IN_FLIGHT:
            self._receive(self.in_flight.pop(0))
        self.socket.sendall(batch)
        self.in_flight.append(commands)

    def _receive(self, commands):
        expected = self.reply * commands
        got = bytearray()
        while len(got) < len(expected):
            part = self.socket.recv(len(expected) - len(got))
            if not part:
                raise RuntimeError("the server closed the connection while it was filled")
            got += part
            if not expected.startswith(bytes(got)):
                raise RuntimeError("error while filling: %r" % bytes(got[:200]))

    def finish(self):
        for commands in self.in_flight:
            self._receive(commands)
        self.socket.close()


def wait_until_quiet(server, timeout_s=120.0, step_s=0.1, steps=3):
    """Waits until the server uses next to no CPU for some steps; gives whether it came to that.

    A deferred sync, a checkpoint, a rewrite in a fork and freeing in the background are over then.
    """
    deadline = time.monotonic() + timeout_s
    quiet, before = 0, server.cpu_us()
    while quiet < steps:
        if time.monotonic() > deadline:
            return False
        time.sleep(step_s)
        now = server.cpu_us()
        # A clock tick is 10 ms: one tick in a step says nothing.
        busy_us = max(QUIET_CPU_SHARE * step_s * 1e6, 10_000.0)
        quiet = quiet + 1 if now - before <= busy_us else 0
        before = now
    return True


def rewrite_append_only_file(server, timeout_s=1200.0):
    """BGREWRITEAOF, and waits for its end."""
    client = server.client(120.0)
    try:
        client.command("BGREWRITEAOF")
    finally:
        client.close()
    deadline = time.monotonic() + timeout_s
    while True:
        about = info(server, "persistence")
        if about["aof_rewrite_in_progress"] == "0" and about["aof_rewrite_scheduled"] == "0":
            return
        if time.monotonic() > deadline:
            raise RuntimeError("%s did not end its rewrite" % server.name)
        time.sleep(0.2)


def check_alive(server):
    """A measurement of a server that is no more, or answers nothing, is none."""
    client = server.client(10.0)
    try:
        answer = client.command("PING")
    finally:
        client.close()
    if answer != "PONG":
        raise RuntimeError("%s answers PING with %r" % (server.name, answer))


def info(server, section):
    """A section of INFO as a dictionary."""
    client = server.client()
    try:
        text = client.command("INFO", section).decode(errors="replace")
    finally:
        client.close()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

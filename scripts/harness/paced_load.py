"""Load at a given rate, and the latencies that a client sees meanwhile."""

import gc
import os
import random
import threading
import time

from .resp import Client, ReplyError, encode

BATCH_COMMANDS = 500


class PacedWriter(threading.Thread):
    """Pipelines batches of SET and INCR at a rate, over any number of restarts of the server.

    With `node` replaced by another one the load moves there. Batches are made beforehand, so
    that most of the time of this process is spent waiting.
    """

    def __init__(self, node, writes_per_s, keys=100_000, value_bytes=64, seed=1):
        super().__init__(daemon=True)
        self.node, self.rate = node, writes_per_s
        self.written, self.is_over, self.is_paused = 0, False, False
        chance = random.Random(seed)
        value = "x" * value_bytes
        self.batches = []
        for number in range(64):
            commands = [encode("INCR", "counter:%d" % number)]
            for _ in range(BATCH_COMMANDS - 1):
                key = "load:%d" % chance.randrange(keys)
                commands.append(encode("SET", key, "%d-%s" % (number, value)))
            self.batches.append(b"".join(commands))

    def run(self):
        while not self.is_over:
            try:
                client = Client(self.node.port, 10.0)
            except OSError:
                time.sleep(0.05)
                continue
            try:
                self._write(client)
            except (OSError, ReplyError, ValueError):
                pass
            finally:
                client.close()

    def _write(self, client):
        node, due = self.node, time.monotonic()
        while not self.is_over and node is self.node:
            if self.is_paused:
                time.sleep(0.01)
                due = time.monotonic()
                continue
            client.socket.sendall(self.batches[self.written // BATCH_COMMANDS % 64])
            for _ in range(BATCH_COMMANDS):
                # Each reply of this load is one line.
                line = client.reader.readline()
                if not line.startswith((b"+", b":")):
                    raise ConnectionError("refused: %r" % line)
            self.written += BATCH_COMMANDS
            due += BATCH_COMMANDS / self.rate
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            elif wait < -1:
                due = time.monotonic()  # it can't be caught up with

    def end(self):
        self.is_over = True
        self.join(60)


def latencies(port, seconds, keys, stop=lambda: False, pause_s=0.0002):
    """Milliseconds of GET and SET by turns, one at a time, for so long or until `stop`."""
    client = Client(port, 60.0)
    requests = [
        encode(*(("GET", "load:%d" % (n * 7919 % keys)) if n % 2 else ("SET", "probe:%d" % n, "x" * 64)))
        for n in range(2000)
    ]
    found, number = [], 0
    receive, send = client.socket.recv, client.socket.sendall
    enabled = gc.isenabled()
    gc.disable()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop():
        request = requests[number % len(requests)]
        number += 1
        began = time.perf_counter()
        send(request)
        receive(65536)
        found.append((time.perf_counter() - began) * 1000)
        time.sleep(pause_s)
    if enabled:
        gc.enable()
    client.close()
    return found


def percentile(values, share):
    """The value that `share` of all (0.999) don't exceed; values in any order."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def hurry():
    """Puts this process ahead of others, where that is allowed; gives whether it is."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(40))
    except (AttributeError, PermissionError, OSError):
        return False
    return True

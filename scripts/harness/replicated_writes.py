"""What a replicated write costs a primary and its replica, and whether the replica keeps up."""

import statistics
import subprocess
import threading
import time

from .load import fill_keys, wait_until_quiet
from .replicas import Node, wait_in_sync
from .servers import persistence_directives

SAMPLE_S = 0.25


class Pair:
    """A primary and its replica of one kind."""

    def __init__(self, kind, options):
        directives = persistence_directives(options.persistence)
        self.kind, self.options = kind, options
        # Valkey's output buffers would end the link of a replica that falls behind.
        limit = ["--client-output-buffer-limit", "replica 0 0 0"] if kind == "valkey" else []
        self.primary = Node("primary", kind, directives + limit).start()
        self.replica = Node("replica", kind, directives).start()
        fill_keys(self.primary.port, options.keys, 64)
        self.replica.follow(self.primary.port)
        wait_in_sync(self.replica, self.primary)

    def cpu_us(self):
        return self.primary.cpu_us(), self.replica.cpu_us()

    def round(self):
        """(writes/s, µs at the primary, µs at the replica, most lag in bytes, seconds to drain)."""
        options = self.options
        for node in (self.primary, self.replica):
            wait_until_quiet(node, 20.0)
        over, lags = threading.Event(), []
        watch = threading.Thread(target=self._watch_lag, args=(over, lags), daemon=True)
        before = self.cpu_us()
        watch.start()
        began = time.monotonic()
        subprocess.run(
            ["redis-benchmark", "-p", str(self.primary.port), "-t", "set", "-d", "64", "-q",
             "-n", str(options.operations), "-r", str(options.keys), "-P", str(options.depth)],
            check=True, stdout=subprocess.DEVNULL, timeout=600,
        )
        took = time.monotonic() - began
        over.set()
        watch.join()
        drain = wait_in_sync(self.replica, self.primary)
        spent = [(b - a) / options.operations for a, b in zip(before, self.cpu_us())]
        return (options.operations / took, *spent, max(lags, default=0), drain)

    def _watch_lag(self, over, lags):
        primary, replica = self.primary.client(), self.replica.client()
        while not over.wait(SAMPLE_S):
            has = _offset(replica, b"slave_repl_offset")
            lags.append(_offset(primary, b"master_repl_offset") - has)

    def remove(self):
        self.replica.remove()
        self.primary.remove()


def _offset(client, field):
    text = client.command("INFO", "replication")
    return next(int(line.split(b":")[1]) for line in text.splitlines() if line.startswith(field))


def run(options):
    """Prints rounds and medians; nothing to fail."""
    pairs = [Pair(kind, options) for kind in ("redoubt", "valkey")]
    results = {pair.kind: [] for pair in pairs}
    try:
        for number in range(options.rounds):
            for pair in pairs:
                found = pair.round()
                results[pair.kind].append(found)
                print("round %d %-8s %8d SET/s  primary %.3f + replica %.3f = %.3f us/write"
                      "  lag up to %.1f MB, %.2f s to catch up" % (
                          number + 1, pair.kind, found[0], found[1], found[2],
                          found[1] + found[2], found[3] / 1e6, found[4]), flush=True)
    finally:
        for pair in pairs:
            pair.remove()
    costs = {k: statistics.median(r[1] + r[2] for r in rounds) for k, rounds in results.items()}
    rates = {k: statistics.median(r[0] for r in rounds) for k, rounds in results.items()}
    print("median: redoubt %.3f us/write at %d/s, valkey %.3f at %d/s: CPU %.2f of Valkey's" % (
        costs["redoubt"], rates["redoubt"], costs["valkey"], rates["valkey"],
        costs["redoubt"] / costs["valkey"]))
    return 0

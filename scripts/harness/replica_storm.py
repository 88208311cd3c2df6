"""Many replicas attach at once under load: what it costs the primary and its clients."""

import threading
import time

from .load import fill_keys, wait_until_quiet
from .paced_load import PacedWriter, hurry, latencies, percentile
from .replicas import Node, is_up, wait_until

# Replicas run on machines of their own; here they get what the primary and its clients leave.
ASIDE = ("chrt", "-i", "0")
SAMPLE_S = 0.02


def measure(kind, count, options):
    """One server with `count` replicas; prints a line of the table."""
    primary = Node("primary", kind, ["--save", "", "--appendonly", "yes"])
    replicas = [
        Node("replica-%d" % n, kind, ["--save", "", "--appendonly", "no"], ASIDE) for n in range(count)
    ]
    with primary:
        for replica in replicas:
            replica.start()
        fill_keys(primary.port, options.keys, 64)
        wait_until_quiet(primary)
        load = PacedWriter(primary, options.rate, keys=options.keys)
        load.start()
        time.sleep(3)
        hurry()
        alone = latencies(primary.port, options.seconds, options.keys)
        before, peak = primary.rss_anon_bytes(), [0]
        done = threading.Event()
        threading.Thread(target=_watch_memory, args=(primary, peak, done), daemon=True).start()
        attaching = threading.Thread(target=_attach, args=(replicas, primary.port, done), daemon=True)
        began = time.monotonic()
        attaching.start()
        during = latencies(primary.port, 600.0, options.keys, stop=done.is_set)
        took = time.monotonic() - began
        load.end()
        full, partial, _ = primary.resyncs()
        growth = peak[0] / before - 1
        figures = [(percentile(found, share)) for found in (alone, during) for share in (0.5, 0.999)]
        print("%-8s %3d replicas  %6.1f s  %d full, %d partial  RssAnon %4d MB %+6.1f %%"
              "   p50 %.3f -> %.3f ms   p99.9 %.2f -> %.2f ms (%.1f x, %d and %d samples)" % (
                  kind, count, took, full, partial, before >> 20, growth * 100, figures[0],
                  figures[2], figures[1], figures[3], figures[3] / figures[1],
                  len(alone), len(during)), flush=True)
        for replica in replicas:
            replica.remove()


def _attach(replicas, port, done):
    try:
        for replica in replicas:
            replica.follow(port)
        for replica in replicas:
            wait_until("%s is up" % replica.name, lambda r=replica: is_up(r), 600.0, 0.2)
    finally:
        done.set()


def _watch_memory(primary, peak, done):
    while not done.is_set():
        children = 0
        peak[0] = max(peak[0], primary.rss_anon_bytes() + children)
        time.sleep(SAMPLE_S)


def run(options):
    """Prints a line for each server; nothing to fail."""
    if options.only != "valkey":
        measure("redoubt", options.replicas, options)
    if options.only != "redoubt":
        measure("valkey", options.peer_replicas, options)
    return 0

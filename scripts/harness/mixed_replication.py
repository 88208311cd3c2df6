"""Writes of all types replicated between Redoubt and real servers; both sides end up equal."""

import time

from .mixed_load import LIBRARY, Mix, at, content
from .replicas import Node, wait_in_sync
from .resp import ReplyError

BATCH_COMMANDS = 200
QUIET = ["--save", "", "--appendonly", "no"]


def differences(one, other):
    """Texts, some of them."""
    texts = []
    for key in sorted(set(one) | set(other), key=repr):
        if one.get(key) != other.get(key):
            texts.append("%r: %.300r against %.300r" % (key, one.get(key), other.get(key)))
    return texts


def write(primary, mix, seconds):
    """Gives (commands, error replies)."""
    client = primary.client(60.0)
    commands = errors = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        batch = mix.batch(BATCH_COMMANDS)
        replies = client.pipeline(batch)
        commands += len(batch)
        errors += sum(isinstance(reply, ReplyError) for reply in replies)
    client.close()
    return commands, errors


def waits(primary):
    """Whether WAIT 1 after a write is answered with 1."""
    client = primary.client(60.0)
    client.command("SET", "waited-for", "1")
    answer = client.command("WAIT", 1, 20_000)
    client.close()
    return answer >= 1


def measure(kinds, options):
    """One pair; gives whether something is wrong."""
    ours = ["--appendonly", "yes"]
    primary, replica = (
        Node("%s-of-%s-to-%s" % (role, *kinds), kind, ours if kind == "redoubt" else QUIET)
        for role, kind in zip(("primary", "replica"), kinds)
    )
    mix = Mix(options.seed, "redis" not in kinds)
    with primary, replica:
        primary.ask("FUNCTION", "LOAD", LIBRARY)
        # Some of it comes by the full sync, the rest by the stream.
        write(primary, mix, min(10.0, options.seconds / 4))
        replica.follow(primary.port)
        commands, errors = write(primary, mix, options.seconds)
        answered = waits(primary)
        took = wait_in_sync(replica, primary)
        texts, keys = _compare(primary, replica)
        wait_in_sync(replica, primary)
        full = primary.resyncs()[0]
        offset = primary.replication()["master_repl_offset"]
        good = not texts and answered and full == 1
        print("%-8s -> %-8s %8d commands (%d error replies), offset %s on both, in sync after %.2f s,"
              " WAIT 1 %s, %d full sync, %d keys, %d differences: %s" % (
                  *kinds, commands, errors, offset, took, "answers" if answered else "FAILS", full,
                  keys, len(texts), "ok" if good else "WRONG"), flush=True)
        for text in texts[:20]:
            print("  " + text)
        if full != 1:
            print(replica.log_tail())
    return not good


def _compare(primary, replica):
    """Differences, and how many keys were compared. What expires meanwhile is left out."""
    one, other = content(primary), content(replica)
    now_ms = time.time() * 1000 + 50
    one, other = at(now_ms, one), at(now_ms, other)
    return differences(one, other), len(one)


def run(options):
    """Gives the number of pairs that failed."""
    pairs = [pair.split(":") for pair in options.pairs.split(",")]
    return sum(measure(kinds, options) for kinds in pairs)

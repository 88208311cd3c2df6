"""Kills either side of a full sync at random moments: old data or new, never a mixture."""

import random
import signal
import time

from .load import info, value_of
from .paced_load import PacedWriter
from .replicas import Node, is_up, wait_in_sync, wait_until
from .resp import ReplyError

OLD_KEYS = 2000


def fill(node, prefix, keys, value_bytes):
    client = node.client(120.0)
    for start in range(0, keys, 1000):
        numbers = range(start, min(start + 1000, keys))
        commands = [("SET", "%s:%d" % (prefix, n), value_of(n, value_bytes)) for n in numbers]
        client.pipeline(commands)
    # One of each kind that has elements of its own in the tree.
    for kind, command in (("h", "HSET"), ("z", "ZADD")):
        pairs = [word for n in range(3000) for word in ((n, n) if kind == "z" else ("f%d" % n, n))]
        client.command(command, "%s:%s" % (prefix, kind), *pairs)
    client.command("RPUSH", prefix + ":l", *range(3000))
    client.close()


def leave_the_common_history(replica):
    """Has the tree take over what the primary does not have: no way back, so a full sync it is."""
    end = int(info(replica, "persistence")["log_end_offset"])
    replica.ask("BGREWRITEAOF")
    there = lambda: int(info(replica, "persistence")["tree_applied_offset"]) >= end
    wait_until("the tree has the old data", there)


def wrong_with(replica, keys, value_bytes):
    """(which data the replica has, what is wrong or None), as of one moment."""
    wanted = [
        (prefix, n) for prefix, total in (("old", OLD_KEYS), ("new", keys))
        for n in range(0, total, max(1, total // 400))
    ]
    client = replica.client(60.0)
    try:
        commands = [("GET", "%s:%d" % pair) for pair in wanted]
        for prefix in ("old", "new"):
            commands += [("HLEN", prefix + ":h"), ("ZCARD", prefix + ":z"), ("LLEN", prefix + ":l")]
        # The change from one to the other may come between any two commands. While it goes
        # back to where its history parted from the primary's, a replica says LOADING.
        deadline = time.monotonic() + 60.0
        while True:
            replies = client.pipeline([("MULTI",), *commands, ("DBSIZE",), ("EXEC",)])[-1]
            if not isinstance(replies, ReplyError) or time.monotonic() > deadline:
                break
            time.sleep(0.01)
    finally:
        client.close()
    sizes, total = {"old": replies[-7:-4], "new": replies[-4:-1]}, replies[-1]
    whole = {}
    for prefix in ("old", "new"):
        values = [(n, value) for (p, n), value in zip(wanted, replies) if p == prefix]
        there = [(n, value) for n, value in values if value is not None]
        if any(value != value_of(n, value_bytes) for n, value in there):
            return prefix, "a value of the %s data is damaged" % prefix
        whole[prefix] = len(there) == len(values) and sizes[prefix] == [3000] * 3
        if not whole[prefix] and (there or any(sizes[prefix])):
            return prefix, "%d of %d %s keys, collections %r" % (
                len(there), len(values), prefix, sizes[prefix])
    if whole["old"] == whole["new"]:
        return "mixture", "old data: %s, new data: %s" % (whole["old"], whole["new"])
    if whole["old"] and total != OLD_KEYS + 3:
        return "old", "%d keys, not %d" % (total, OLD_KEYS + 3)
    return "old" if whole["old"] else "new", None


def run(options):
    """Gives the number of failures."""
    chance = random.Random(options.seed)
    directives = ["--appendfsync", "everysec"]
    primary = Node("primary", "redoubt", directives)
    replica = Node("replica", "redoubt", directives)
    failures, seen = 0, {"old": 0, "new": 0}
    with primary, replica:
        fill(primary, "new", options.keys, 500)
        load = PacedWriter(primary, options.rate, keys=2000)
        load.start()
        usual_s = None
        for number in range(1, options.rounds + 1):
            replica.ask("REPLICAOF", "NO", "ONE")
            replica.ask("FLUSHALL", timeout_s=120.0)
            fill(replica, "old", OLD_KEYS, 500)
            leave_the_common_history(replica)
            began = time.monotonic()
            replica.follow(primary.port)
            if usual_s is None:  # how long a sync takes that nobody disturbs
                wait_until("the first sync", lambda: is_up(replica))
                usual_s = time.monotonic() - began
                print("a full sync takes %.2f s" % usual_s, flush=True)
                continue
            time.sleep(chance.uniform(0, usual_s * 1.3))
            victim = chance.choice((primary, replica))
            victim.end(signal.SIGKILL)
            if victim is replica:
                victim.start()
                is_whose, wrong = wrong_with(replica, options.keys, 500)
            else:
                is_whose, wrong = wrong_with(replica, options.keys, 500)
                victim.start()
            replica.follow(primary.port)
            wait_until("a link after round %d" % number, lambda: is_up(replica))
            load.is_paused = True
            try:
                wait_in_sync(replica, primary)
                after, still_wrong = wrong_with(replica, options.keys, 500)
                digests = [node.ask("DBSIZE") for node in (primary, replica)]
                if after != "new" or digests[0] != digests[1]:
                    still_wrong = still_wrong or "sizes %r, %s data in the end" % (digests, after)
            finally:
                load.is_paused = False
            seen[is_whose] = seen.get(is_whose, 0) + 1
            for text in filter(None, (wrong, still_wrong)):
                failures += 1
                print("round %d, %s killed: WRONG %s" % (number, victim.name, text), flush=True)
            if number % 20 == 0:
                print("round %d: %r" % (number, seen), flush=True)
        load.end()
    print("%d kills: old data %d times, new %d; %d failed" % (
        options.rounds - 1, seen["old"], seen["new"], failures))
    return failures

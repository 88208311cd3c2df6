"""`redis-cli --cluster` and `redis-benchmark --cluster` on a cluster of ours, under the load of a
cluster-aware client that must not see an error.

CLUSTER_SERVER names another server's command line to compare with.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time

import pytest
import redis

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "scripts"))
from harness.cluster import Node, converged, eventually, knows
from harness.servers import Server, redoubt_command

COMMAND = redoubt_command(os.environ.get("CLUSTER_SERVER"))
DIRECTIVES = ["--cluster-node-timeout", "15000", "--appendonly", "no", "--save", ""]

needs_tools = pytest.mark.skipif(
    not (shutil.which("redis-cli") and shutil.which("redis-benchmark")), reason="needs redis-tools"
)


def manage(*words, ok=True):
    """Runs `redis-cli --cluster …` and gives what it printed."""
    command = ["redis-cli", "--cluster"] + [str(word) for word in words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    text = done.stdout + done.stderr
    if ok:
        assert done.returncode == 0 and "[ERR]" not in text, "%s\n%s" % (" ".join(command), text)
    return text


class Load:
    """A cluster-aware client that reads what it has written, until the end of the block."""

    def __init__(self, node):
        self.node = node
        self.errors = []
        self.rounds = 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join(60)

    def run(self):
        client = redis.RedisCluster(host=self.node.host, port=self.node.port)
        while not self.ending.is_set():
            self.rounds += 1
            try:
                self.round(client, self.rounds % 500)
            except Exception as error:  # whatever it is, it is to be shown
                self.errors.append("round %d: %r" % (self.rounds, error))
                time.sleep(0.05)
            time.sleep(0.002)

    def round(self, client, n):
        value = str(self.rounds).encode()
        assert client.set("key:%d" % n, value)
        assert client.get("key:%d" % n) == value
        client.incr("counter")
        client.mset({"{tag:%d}:a" % n: value, "{tag:%d}:b" % n: value})
        assert client.mget("{tag:%d}:a" % n, "{tag:%d}:b" % n) == [value, value]


@pytest.fixture(scope="module")
def nodes():
    made = [Node("tools-%d" % at, COMMAND, DIRECTIVES) for at in range(7)]
    try:
        for node in made:
            node.start()
        yield made
    finally:
        for node in made:
            node.remove()


@pytest.fixture(scope="module")
def cluster(nodes):
    addresses = [node.address for node in nodes[:6]]
    text = manage("create", *addresses, "--cluster-replicas", 1, "--cluster-yes")
    assert "[OK] All 16384 slots covered." in text
    converged(nodes[:6])
    return nodes


def primaries_of(node):
    """[(id, slots)] of the primaries, as redis-cli counts them."""
    view = node.nodes()
    found = []
    for name, (flags, _, ranges) in view.items():
        if "master" in flags:
            count = 0
            for text in ranges:
                first, _, last = text.partition("-")
                count += int(last or first) - int(first) + 1
            found.append((name, count))
    return found


@needs_tools
def test_a_cluster_is_managed_under_load(cluster, tmp_path):
    first, spare = cluster[0], cluster[6]
    with Load(first) as load:
        eventually("the load runs", lambda: load.rounds > 50)
        assert "[OK] All 16384 slots covered." in manage("check", first.address)
        assert "[OK]" in manage("info", first.address)
        # Slots move to another primary.
        (one, before), (other, _), *_ = primaries_of(first)
        move = ("--cluster-from", one, "--cluster-to", other, "--cluster-slots", 60, "--cluster-yes")
        manage("reshard", first.address, *move)
        converged(cluster[:6])
        assert dict(primaries_of(first))[one] == before - 60
        # A new primary gets its share, and later none.
        manage("add-node", spare.address, first.address)
        eventually("all know it", lambda: all(knows(node, cluster) for node in cluster))
        converged(cluster)
        weights = ["%s=1" % name for name, _ in primaries_of(first) if name != spare.id]
        weights.append("%s=0.02" % spare.id)
        manage(
            "rebalance", first.address, "--cluster-use-empty-masters", "--cluster-threshold", 1,
            "--cluster-weight", *weights,
        )
        converged(cluster)
        assert 90 <= dict(primaries_of(first))[spare.id] <= 130
        share = dict(primaries_of(first))[spare.id]
        move = ("--cluster-from", spare.id, "--cluster-to", one, "--cluster-slots", share)
        manage("reshard", first.address, *move, "--cluster-yes")
        converged(cluster)
        # A primary that has given its last slot away has become a replica here and there.
        manage("del-node", first.address, spare.id)
        eventually("it is gone", lambda: spare.id not in first.nodes())
        manage("call", first.address, "DBSIZE")
        backup = tmp_path / "backup"
        backup.mkdir()
        manage("backup", first.address, str(backup))
        assert len(list(backup.glob("*.rdb"))) == 3 and (backup / "nodes.json").exists()
    assert load.errors == []
    assert load.rounds > 100


@needs_tools
def test_open_and_uncovered_slots_are_fixed(cluster):
    first = cluster[0]
    converged(cluster[:6])
    (one, _), (other, _), *_ = primaries_of(first)
    by_id = {node.id: node for node in cluster}
    source, target = by_id[one], by_id[other]
    slot = int(source.nodes()[one][2][0].partition("-")[0])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", other)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", one)
    assert "[WARNING]" in manage("check", first.address, ok=False)
    manage("fix", first.address, ok=False)
    converged(cluster[:6])
    assert "[WARNING]" not in manage("check", first.address)


@needs_tools
def test_keys_of_a_single_server_are_imported(cluster):
    with Server("import", COMMAND, ["--appendonly", "no", "--save", ""]) as single:
        client = single.client()
        for n in range(200):
            client.command("SET", "imported:%d" % n, n)
        manage(
            "import", cluster[0].address, "--cluster-from", "127.0.0.1:%d" % single.port,
            "--cluster-copy", "--cluster-replace",
        )
        client.close()
    reader = redis.RedisCluster(host=cluster[0].host, port=cluster[0].port)
    assert [reader.get("imported:%d" % n) for n in range(200)] == [b"%d" % n for n in range(200)]


@needs_tools
def test_the_benchmark_knows_the_cluster(cluster):
    converged(cluster[:6])
    words = ["redis-benchmark", "-h", cluster[0].host, "-p", str(cluster[0].port), "--cluster"]
    words += ["-n", "3000", "-c", "12", "-P", "4", "-r", "10000", "-t", "set,get,incr", "-q"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    text = done.stdout + done.stderr
    assert done.returncode == 0 and "rror" not in text, text
    assert len(re.findall(r"(SET|GET|INCR): [\d.]+ requests per second", text)) == 3, text

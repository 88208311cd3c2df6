"""Clusters of real processes for the scripts: nodes that meet, share the slots out, and replicate."""

import os
import shutil
import signal
import subprocess
import tempfile
import time

from .resp import Client, ReplyError
from .servers import free_port

SLOTS = 16384


def crc16(data):
    """CRC-16/XMODEM, as the Redis Cluster specification has it."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
    return crc & 0xFFFF


def slot_of(key):
    """The slot of a key without braces."""
    return crc16(key.encode()) % SLOTS


class Node:
    """One node. `place` is a network.Place, or None for a loopback port of its own."""

    def __init__(self, name, command, directives=(), place=None):
        self.name = name
        self.place = place
        self.host = place.host if place else "127.0.0.1"
        self.port, self.bus_port = (7000, 17000) if place else (free_port(), free_port())
        self.dir = tempfile.mkdtemp(prefix="redoubt-%s-" % name)
        own = ["--port", str(self.port), "--bind", self.host, "--dir", self.dir]
        own += ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)]
        own += ["--protected-mode", "no"]
        self.command_line = (place.inside() if place else []) + list(command) + own + list(directives)
        self.process = None
        self.id = None

    @property
    def address(self):
        return "%s:%d" % (self.host, self.port)

    def start(self, wait=True):
        with open(os.path.join(self.dir, "output.log"), "ab") as log:
            self.process = subprocess.Popen(
                self.command_line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir
            )
        if wait:
            eventually("%s answers" % self.name, lambda: self.ask("PING") == "PONG")
            self.id = self.ask("CLUSTER", "MYID").decode()
        return self

    def client(self, timeout_s=5.0):
        return Client(self.port, timeout_s, self.host)

    def ask(self, *words, timeout_s=5.0):
        """One command over a connection of its own."""
        client = self.client(timeout_s)
        try:
            return client.command(*words)
        finally:
            client.close()

    def info(self, section):
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def cluster_info(self):
        lines = self.ask("CLUSTER", "INFO").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def nodes(self):
        """CLUSTER NODES as {id: (flags, primary's id or None, ranges of slots)}."""
        found = {}
        for line in self.ask("CLUSTER", "NODES").decode().splitlines():
            words = line.split(" ")
            primary = None if words[3] == "-" else words[3]
            slots = [word for word in words[8:] if not word.startswith("[")]
            found[words[0]] = (set(words[2].split(",")), primary, slots)
        return found

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def log_tail(self, lines=20):
        with open(os.path.join(self.dir, "output.log"), errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def remove(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def eventually(what, holds, timeout_s=60.0, pause_s=0.02):
    """Asks until it holds, gives the seconds that it took; errors on the way don't count."""
    began = time.monotonic()
    error = None
    while time.monotonic() - began < timeout_s:
        try:
            if holds():
                return time.monotonic() - began
            error = None
        except (OSError, ReplyError, KeyError, ValueError) as why:
            error = why
        time.sleep(pause_s)
    raise RuntimeError("not so after %.0f s: %s (%s)" % (timeout_s, what, error))


def meet(nodes):
    """Lets all nodes know each other."""
    for node in nodes[1:]:
        nodes[0].ask("CLUSTER", "MEET", node.host, node.port, node.bus_port)
    for node in nodes:
        eventually("%s knows all" % node.name, lambda: knows(node, nodes))


def knows(node, others):
    """Whether a node has shaken hands with all of them."""
    known = node.nodes()
    return all(o.id in known and not known[o.id][0] & {"handshake", "noaddr"} for o in others)


def replicate(replica, primary):
    """Makes a node the replica of another and waits for the copy."""

    def accepted():
        return replica.ask("CLUSTER", "REPLICATE", primary.id) == "OK"

    eventually("%s may replicate" % replica.name, accepted)
    eventually("%s has a copy" % replica.name, lambda: is_synced(replica))


def is_synced(replica):
    info = replica.info("replication")
    return info["role"] == "slave" and info["master_link_status"] == "up"


def form(primaries, replicas_of=lambda at: ()):
    """Makes a cluster of running nodes; `replicas_of(i)` are the replicas of primary i."""
    everyone = list(primaries)
    for at in range(len(primaries)):
        everyone.extend(replicas_of(at))
    meet(everyone)
    for at, primary in enumerate(primaries):
        first = at * SLOTS // len(primaries)
        last = (at + 1) * SLOTS // len(primaries) - 1
        primary.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        # So that no two have the same and need to settle it between them.
        primary.ask("CLUSTER", "BUMPEPOCH")
    for at, primary in enumerate(primaries):
        for replica in replicas_of(at):
            replicate(replica, primary)
    converged(everyone)


def converged(nodes, timeout_s=90.0):
    """Waits until every node holds the cluster for healthy and all agree on roles and slots."""

    def agree():
        views = []
        for node in nodes:
            if node.cluster_info()["cluster_state"] != "ok":
                return False
            view = node.nodes()
            if any(flags & {"fail", "fail?", "handshake"} for flags, _, _ in view.values()):
                return False
            roles = {
                name: (primary, tuple(slots)) for name, (_, primary, slots) in view.items()
            }
            views.append(roles)
        return all(view == views[0] for view in views)

    return eventually("all nodes agree", agree, timeout_s, 0.1)

"""Everything that may interrupt replication, under load: is each resync partial?"""

import signal
import time

from .paced_load import PacedWriter
from .replicas import Node, Proxy, is_up, wait_in_sync, wait_until


class Scene:
    """A primary with two replicas and a third, the latter's link through a proxy."""

    def __init__(self, options):
        self.options, self.failures = options, 0
        self.primary = Node("primary").start()
        self.far, *self.near = [Node("replica-%d" % n).start() for n in range(1, 4)]
        self.proxy = Proxy(self.primary.port)
        self.far.follow(self.proxy.port)
        for node in self.near:
            node.follow(self.primary.port)
        for node in self.replicas():
            wait_in_sync(node, self.primary)
        self.load = PacedWriter(self.primary, options.rate)
        self.load.start()

    def replicas(self):
        return [self.far, *self.near]

    def check(self, name, giver, before, expected):
        """Pauses the load until all agree; the resyncs since `before` must be partial."""
        time.sleep(1.0)  # some load after the event
        self.load.is_paused = True
        took = 0.0
        for node in self.replicas():
            took = max(took, wait_in_sync(node, giver, 300.0))
        full, partial, refused = (now - then for now, then in zip(giver.resyncs(), before))
        digests = {node.ask("DEBUG", "DIGEST", timeout_s=120.0) for node in [giver, *self.replicas()]}
        # A link that fell silent may have left requests behind that are answered to nobody.
        good = full == 0 and partial >= expected and len(digests) == 1
        self.failures += not good
        lag = "in sync %.2f s after the load paused" % took
        print("%-34s %d partial, %d full, %d refused; contents %s; %s: %s" % (
            name, partial, full, refused, "equal" if len(digests) == 1 else "DIFFER", lag,
            "ok" if good else "WRONG"), flush=True)
        self.load.is_paused = False

    def cut(self, silently):
        before = self.primary.resyncs()
        if silently:
            for node in [self.primary, *self.replicas()]:
                node.ask("CONFIG", "SET", "repl-timeout", max(5, int(self.options.cut / 4)))
        wrote = self.load.written
        self.proxy.cut(silently)
        began = time.monotonic()
        time.sleep(self.options.cut)
        rate = (self.load.written - wrote) / (time.monotonic() - began)
        self.proxy.mend()
        wait_until("the link is back", lambda: is_up(self.far), 120.0)
        name = "link %s for %d s" % ("silent" if silently else "cut", self.options.cut)
        self.check("%s at %d writes/s" % (name, rate), self.primary, before, 1)

    def restart_primary(self, number):
        self.primary.end(number)
        self.primary.start()
        for node in self.replicas():
            wait_until("%s is back" % node.name, lambda node=node: is_up(node), 120.0)
        name = "primary restarted, " + signal.Signals(number).name
        self.check(name, self.primary, (0, 0, 0), 3)

    def restart_replica(self, number):
        before = self.primary.resyncs()
        node = self.near[0]
        node.end(number)
        node.start_following(self.primary.port)
        wait_until("%s is back" % node.name, lambda: is_up(node), 120.0)
        self.check("replica restarted, " + signal.Signals(number).name, self.primary, before, 1)

    def promote(self):
        """The primary is killed under load; its replica that is furthest takes over."""
        self.primary.end(signal.SIGKILL)
        time.sleep(0.5)  # what was on its way arrives
        offsets = {node: int(node.replication()["slave_repl_offset"]) for node in self.replicas()}
        heir = max(offsets, key=offsets.get)
        before = heir.resyncs()
        heir.ask("REPLICAOF", "NO", "ONE")
        old, self.primary = self.primary, heir
        siblings = [node for node in self.replicas() if node is not heir]
        for node in siblings:
            node.follow(heir.port)
        self.far, self.near = siblings[0], siblings[1:]
        self.load.node = heir
        for node in siblings:
            wait_until("%s is back" % node.name, lambda node=node: is_up(node), 120.0)
        self.check("promoted, with two siblings", heir, before, 2)
        # The old primary may have written what nobody got; then a full sync is right.
        old.start()
        before = heir.resyncs()
        old.follow(heir.port)
        wait_until("the old primary follows", lambda: is_up(old), 120.0)
        self.near.append(old)
        full = heir.resyncs()[0] - before[0]
        print("the old primary came back by a %s sync" % ("full" if full else "partial"))

    def end(self):
        self.load.end()
        self.proxy.end()
        for node in [self.primary, *self.replicas()]:
            node.remove()


def run(options):
    """Gives the number of failures."""
    scene = Scene(options)
    try:
        scene.cut(silently=False)
        scene.cut(silently=True)
        for number in (signal.SIGTERM, signal.SIGKILL):
            scene.restart_primary(number)
        for number in (signal.SIGTERM, signal.SIGKILL):
            scene.restart_replica(number)
        scene.promote()
    finally:
        scene.end()
    print("%d failed" % scene.failures)
    return scene.failures

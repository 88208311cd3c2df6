"""Primaries and replicas: who follows whom, how far, and a link that can be cut."""

import selectors
import socket
import threading
import time

from .load import info
from .resp import ReplyError
from .servers import Server, redoubt_command, valkey_command

CHUNK_BYTES = 1 << 18
# No wait for further replicas before a full sync: Valkey's default is 5 s. DEBUG DIGEST compares.
DIRECTIVES = ["--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes"]


def command_of(kind, override=None):
    """The command line of `redoubt`, `valkey` or `redis`."""
    if kind == "redoubt":
        return redoubt_command(override)
    return valkey_command(override) if kind == "valkey" else ["redis-server"]


class Node(Server):
    """A server that takes part in replication; `scheduling` is a prefix such as nice -n 19."""

    def __init__(self, name, kind="redoubt", directives=(), scheduling=(), cores=None):
        command = list(scheduling) + command_of(kind)
        super().__init__(name, command, DIRECTIVES + list(directives), cores)
        self.kind = kind

    def follow(self, port):
        self.ask("REPLICAOF", "127.0.0.1", port)

    def start_following(self, port):
        """Starts it as a replica, as one with `replicaof` in its configuration file does."""
        usual = self.command_line
        self.command_line = usual + ["--replicaof", "127.0.0.1", str(port)]
        try:
            self.start()
        finally:
            self.command_line = usual

    def replication(self):
        """INFO replication as a dictionary; empty while the server can't be asked."""
        try:
            return info(self, "replication")
        except (OSError, ReplyError, AttributeError):
            return {}

    def resyncs(self):
        """(full, partial, refused) resyncs given so far."""
        stats = info(self, "stats")
        names = ("sync_full", "sync_partial_ok", "sync_partial_err")
        return tuple(int(stats[name]) for name in names)


def is_up(replica):
    return replica.replication().get("master_link_status") == "up"


def wait_until(what, check, timeout_s=120.0, step_s=0.02):
    """Gives the seconds it took; RuntimeError if it doesn't come to that."""
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > timeout_s:
            raise RuntimeError("not in %d s: %s" % (timeout_s, what))
        time.sleep(step_s)
    return time.monotonic() - began


def wait_in_sync(replica, primary, timeout_s=120.0):
    """Waits until the replica has all that its primary has, under the same name."""

    def same():
        there, here = replica.replication(), primary.replication()
        fields = ("master_replid", "master_repl_offset")
        up = there.get("master_link_status") == "up"
        return up and all(there.get(field) == here.get(field) for field in fields)

    return wait_until("%s follows %s" % (replica.name, primary.name), same, timeout_s)


class Proxy(threading.Thread):
    """Passes bytes between replicas and a primary, until its link is cut.

    A cut link is closed, and further attempts with it; a silent one stays open, and nothing
    arrives any more.
    """

    def __init__(self, port):
        super().__init__(daemon=True)
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_open, self.is_silent, self.is_over = True, False, False
        self.pairs = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.start()

    def cut(self, silently=False):
        if silently:
            self.is_silent = True
        else:
            self.is_open = False

    def mend(self):
        self.is_open, self.is_silent = True, False

    def end(self):
        self.is_over = True
        self.join(10)

    def run(self):
        while not self.is_over:
            if not self.is_open:
                for one in list(self.pairs):
                    self._drop(one)
            if self.is_silent:
                time.sleep(0.02)
                continue
            for key, _ in self.selector.select(0.05):
                if key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj in self.pairs:
                    self._pass_on(key.fileobj)
        for one in list(self.pairs):
            self._drop(one)
        self.listener.close()

    def _accept(self):
        one = self.listener.accept()[0]
        try:
            if not self.is_open:
                raise OSError("cut")
            other = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            one.close()
            return
        for end, far in ((one, other), (other, one)):
            end.settimeout(30)
            self.pairs[end] = far
            self.selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end):
        try:
            part = end.recv(CHUNK_BYTES)
            if part:
                self.pairs[end].sendall(part)
                return
        except OSError:
            pass
        self._drop(end)

    def _drop(self, end):
        for one in (end, self.pairs.get(end)):
            if one in self.pairs:
                self.selector.unregister(one)
                del self.pairs[one]
                one.close()

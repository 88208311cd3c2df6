"""A network of namespaces, one for each node, around a bridge, so that a node can be cut off.

The script that uses it runs in a namespace of its own (`enter`), so nothing of the machine's own
network is touched, and nothing is left behind when it ends. Needs root and iproute2.
"""

import ctypes
import os
import subprocess
import sys
import time

HOST = "10.77.0.254"
CLONE_NEWNET = 0x40000000


def enter():
    """Starts the script again in a network namespace of its own, unless it is in one already."""
    if os.environ.get("HARNESS_NETWORK") == str(os.getpid()):
        return
    if os.geteuid() != 0:
        sys.exit("network namespaces need root")
    # exec keeps the process id, so a child that inherits the variable doesn't take it for its own.
    os.environ["HARNESS_NETWORK"] = str(os.getpid())
    os.execvp("unshare", ["unshare", "-n", sys.executable] + sys.argv)


def _ip(*words):
    subprocess.run(("ip",) + words, check=True)


class Network:
    """The bridge. `attach` makes a place for one more node."""

    def __init__(self):
        self.places = []
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "bridge0", "type", "bridge")
        _ip("addr", "add", HOST + "/24", "dev", "bridge0")
        _ip("link", "set", "bridge0", "up")

    def attach(self):
        place = Place(len(self.places) + 1)
        self.places.append(place)
        return place

    def close(self):
        for place in self.places:
            place.close()
        subprocess.run(["ip", "link", "del", "bridge0"], check=False)


class Place:
    """A namespace with one address. A process of its own keeps it alive."""

    def __init__(self, number):
        self.host = "10.77.0.%d" % number
        self.link = "v%d" % number
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        while os.readlink("/proc/%d/ns/net" % self.holder.pid) == own:
            time.sleep(0.005)
        inner = "e%d" % number
        _ip("link", "add", self.link, "type", "veth", "peer", "name", inner)
        _ip("link", "set", inner, "netns", str(self.holder.pid))
        _ip("link", "set", self.link, "master", "bridge0", "up")
        for words in (
            ["link", "set", "lo", "up"],
            ["addr", "add", self.host + "/24", "dev", inner],
            ["link", "set", inner, "up"],
        ):
            subprocess.run(self.inside() + ["ip"] + words, check=True)

    def inside(self):
        """What to put in front of a command line to run it here."""
        return ["nsenter", "--net=/proc/%d/ns/net" % self.holder.pid]

    def enter_thread(self):
        """Moves the calling thread here: the sockets that it opens from now on are this node's."""
        with open("/proc/%d/ns/net" % self.holder.pid) as namespace:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def cut(self):
        """Packets from and to this place are lost from now on; nobody is told."""
        _ip("link", "set", self.link, "down")

    def heal(self):
        _ip("link", "set", self.link, "up")

    def close(self):
        self.holder.kill()
        self.holder.wait()
        subprocess.run(["ip", "link", "del", self.link], check=False, stderr=subprocess.DEVNULL)

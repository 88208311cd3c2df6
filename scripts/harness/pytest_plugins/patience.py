"""A pytest plugin: redis-py's suite on a busy machine.

The suite traces every allocation, which takes most of its time, and has time limits of its own
that end the whole run; the limit on the command line holds for all tests instead.
"""

import tracemalloc

tracemalloc.start = lambda *_: None
tracemalloc.stop = lambda: None


def pytest_collection_modifyitems(items):
    for item in items:
        for node in item.listchain():
            node.own_markers = [mark for mark in node.own_markers if mark.name != "timeout"]

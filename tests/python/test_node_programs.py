"""Programs written for Redis, unchanged, on Node: the scenarios in tests/node, each on its own."""

import glob
import os
import subprocess
import sys

import pytest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "scripts"))
from harness.servers import TARGET, Server, redoubt_command

LIMIT_S = 240
SCENARIOS = sorted(glob.glob(os.path.join(ROOT, "tests", "node", "*.mjs")))
SCENARIOS = [path for path in SCENARIOS if not path.endswith("/programs.mjs")]


@pytest.mark.parametrize("path", SCENARIOS, ids=[os.path.basename(path) for path in SCENARIOS])
def test_a_node_program_finds_what_it_expects(path):
    with Server("node", redoubt_command()) as server:
        command = ["node", path, str(server.port), os.path.join(TARGET, "node")]
        run = subprocess.run(command, timeout=LIMIT_S, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr

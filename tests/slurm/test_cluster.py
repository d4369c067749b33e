"""The test cluster itself: it says what is missing, and nothing of it is left when its tests are killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import cluster as module
import pytest


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(module, "PATH", "")
    packages = "munge slurmctld slurmd slurmdbd slurm-client mariadb-server"
    assert module.lacking() == f"SLURM is not installed: apt-get install {packages} (.ci/run does)"


def in_network(of):
    """The processes in a network namespace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "ns/net") == of:
                found.append((process / "comm").read_text().strip())
        except OSError:
            continue
    return found


@pytest.mark.long
def test_nothing_is_left_when_the_tests_are_killed(tmp_path):
    if reason := module.lacking():
        pytest.skip(reason)
    code = f"import cluster; running = cluster.Cluster({str(tmp_path)!r}); print(running.first, flush=True); input()"
    tests = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(module.__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    network = os.readlink(f"/proc/{int(tests.stdout.readline())}/ns/net")
    assert in_network(network).count("slurmd") == 4
    tests.kill()
    tests.wait()
    end = time.monotonic() + 10
    while in_network(network) and time.monotonic() < end:
        time.sleep(0.1)
    assert in_network(network) == []

"""Snakemake alone is killed while a job runs: the next run names the job, and finishes when that has ended."""

import json
import os
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest
from checkout import Checkout
from PIL import Image
from repository import REPOSITORY

from stratamil.core import processes

pytestmark = pytest.mark.long

SHARD = "features/efficientnet_lite0/shard_00.h5"
STUDY = {
    "patches": "patches",
    "labels": "labels.csv",
    "results": "results/own",
    "embed": {"encoder": "efficientnet_lite0", "weights": "none", "input_size": 128, "shards": 1, "batch_size": 2},
    "splits": {"n_splits": 2, "validation": 0.25},
}


@pytest.fixture
def study(tmp_path):
    checkout, rng = Checkout(tmp_path), np.random.default_rng(1)
    (tmp_path / "patches").mkdir()
    for case in range(1, 9):
        for n in range(4):
            pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"patches/case_{case}_match_1_h&e_patch{n}.png")
    (tmp_path / "labels.csv").write_text("Case,Class\n" + "".join(f"{i},{1 + 2 * (i % 2)}\n" for i in range(1, 9)))
    return checkout


def run(study, *args, results="results/own"):
    configfiles = (REPOSITORY / "config/config.yaml",)
    target = [] if "--unlock" in args else ["--", f"{results}/{SHARD}"]
    return study.snakemake(
        "--rerun-incomplete", *args, *target, configfiles=configfiles, changes=STUDY | {"results": results}
    )


def wait_for(condition):
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def features(study, results="results/own"):
    with h5py.File(study.folder / results / SHARD) as file:
        return file["features"][:]


def test_an_orphan_is_named_and_its_successor_finishes(study):
    assert run(study, results="results/undisturbed").returncode == 0
    cache = study.folder / "results/own/features/efficientnet_lite0/cache"
    command = study.command(
        "--", f"results/own/{SHARD}", configfiles=[REPOSITORY / "config/config.yaml"], changes=STUDY
    )
    with subprocess.Popen(command, cwd=study.folder, start_new_session=True, stderr=subprocess.DEVNULL) as snakemake:
        wait_for((cache / "shard_00.part").exists)
        orphan = json.loads((cache / "shard_00.h5.lock").read_text())["pid"]
        os.kill(orphan, signal.SIGSTOP)
        snakemake.kill()
    try:
        assert run(study, "--unlock").returncode == 0
        done = run(study)
        assert done.returncode == 1
        said = [line for line in (done.stdout + done.stderr).splitlines() if f"pid {orphan} " in line]
        assert len(said) == 1 and "shard_00" in said[0] and f"end it with `kill {orphan}`, and run again" in said[0]
    finally:
        os.kill(orphan, signal.SIGCONT)
    wait_for(lambda: not processes.lives(orphan))
    done = run(study)
    assert done.returncode == 0, done.stdout + done.stderr
    assert np.array_equal(features(study), features(study, "results/undisturbed"))
    assert not [path for path in (study.folder / "results/own").rglob("*") if path.suffix in (".lock", ".part")]

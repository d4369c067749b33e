"""A whole study that is killed again and again, Snakemake or its jobs or both, ends as an undisturbed one."""

import os
import random
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from checkout import Checkout
from seeds import SEED

KILLS = 9
RESULTS = Path("results/tiny")
# Of the bytes of a study these do not depend on the moment, the machine or the run.
COMPARED = [
    "inventory/cases.csv", "splits/*.npz", "features/*/shard_*.h5", "baselines/predictions.csv",
    "split_*/seed_1/checkpoints/best.pth", "split_*/seed_1/predictions.csv", "split_*/seed_1/perturbation*.csv",
    "split_*/seed_1/patch_attention.parquet", "split_*/seed_1/attention_analysis/*.csv", "report/metrics.csv",
]  # fmt: skip


def start(checkout):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(checkout.folder / "cache")}
    environment.pop("SNAKEMAKE_PROFILE", None)
    command = checkout.command("--rerun-incomplete", "--", "all")
    return subprocess.Popen(
        command,
        cwd=checkout.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def victims(process, mode):
    """Snakemake alone, its jobs alone, or all."""
    jobs = psutil.Process(process.pid).children(recursive=True)
    return {"snakemake": [psutil.Process(process.pid)], "jobs": jobs, "all": [psutil.Process(process.pid), *jobs]}[mode]


@pytest.mark.long
def test_a_study_killed_at_random_moments(tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed, rng = Checkout(tmp_path / "whole"), Checkout(tmp_path / "killed"), random.Random(SEED)
    begin = time.monotonic()
    assert start(whole).wait(600) == 0
    seconds = time.monotonic() - begin
    for number in range(KILLS):
        mode = rng.choice(["snakemake", "jobs", "all"])
        process = start(killed)
        try:
            process.wait(rng.uniform(0.05, 0.25) * seconds)
            break  # finished before
        except subprocess.TimeoutExpired:
            targets = victims(process, mode)
        print(f"kill {number}: {mode}: {len(targets)} processes")
        for target in targets:
            try:
                target.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait(300)
        if mode == "snakemake":
            refused = killed.snakemake("--", "all")
            assert refused.returncode != 0 or "Nothing to be done" in refused.stderr  # locked by the dead one
        assert killed.snakemake("--unlock").returncode == 0
        while mode == "snakemake" and orphans(killed.folder):
            time.sleep(0.5)
    done = killed.snakemake("--rerun-incomplete", "--", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    files = [path.relative_to(whole.folder) for pattern in COMPARED for path in (whole.folder / RESULTS).glob(pattern)]
    assert len(files) > 20
    differ = [path for path in files if (whole.folder / path).read_bytes() != (killed.folder / path).read_bytes()]
    assert not differ, (SEED, differ)
    left = [path for path in (killed.folder / RESULTS).rglob("*") if path.suffix in (".lock", ".part", ".partial")]
    assert not left, (SEED, left)


def orphans(folder):
    """Jobs that still run below a folder."""
    return [
        process
        for process in psutil.process_iter(["cwd", "cmdline"])
        if process.info["cwd"] == str(folder) and "scripts/" in " ".join(process.info["cmdline"] or [])
    ]

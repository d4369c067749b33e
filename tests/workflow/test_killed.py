"""A training that is killed again and again ends with the bytes of one that nobody disturbed."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from factories import STAINS
from factories import features as random_features
from repository import REPOSITORY

from stratamil.cohort import splits
from stratamil.features import store

pytestmark = pytest.mark.long

CASES = [str(i) for i in range(1, 33)]
EPOCHS = 40


@pytest.fixture
def study(tmp_path):
    """A shard, the table of cases and a split, as the workflow's scripts read them."""
    data = random_features({case: [[20, 10], [25]] for case in CASES}, dim=32)
    data.values[data.table["case_id"].astype(int) % 2 == 0, 0] += 1
    nothing = pd.DataFrame(columns=store.UNREADABLE, dtype=str)
    store.write(tmp_path / "features/shard_00.h5", data.values, data.table, nothing, {"encoder": "random", "dim": 32})
    cases = pd.DataFrame({"case_id": CASES, "class": ["benign", "high"] * 16, "patient_id": CASES, "status": "used"})
    cases.assign(n_patches=55, n_slices=3).to_csv(tmp_path / "cases.csv", index=False)
    splits.write(splits.Split(CASES[:16], CASES[16:24], CASES[24:]), tmp_path / "split.npz")
    return tmp_path


def train(study, run):
    """Rule train's program on the study."""
    return subprocess.Popen(
        [
            sys.executable, REPOSITORY / "scripts/train.py", "--features", study / "features/shard_00.h5",
            "--cases", study / "cases.csv", "--split", study / "split.npz", "--name", "01",
            "--seeds", "3", "4", "--classes", "benign", "high", "--stains", *STAINS, "--output", run,
            "--log", run / "train.log", f"--epochs={EPOCHS}", f"--patience={EPOCHS}", "--embed-dim=64", "--tensorboard",
            "--state", run / "state.pth",
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def disturb(process, state, number, wait):
    """Send a signal some time after the process has begun to train; returns its exit status."""
    before = state.stat().st_mtime_ns if state.exists() else 0
    while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
        time.sleep(0.002)
    time.sleep(wait)
    process.send_signal(number)
    return process.wait(60)


def test_a_training_killed_at_random_moments_ends_as_an_undisturbed_one(study):
    whole, killed = study / "whole", study / "killed"
    assert train(study, whole).wait(120) == 0
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    statuses = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = train(study, killed)
        statuses.append(disturb(process, killed / "state.pth", number, rng.uniform(0, 0.2)))
        assert not list(killed.glob("*/checkpoints/best.pth"))
    assert statuses == [128 + signal.SIGTERM, -signal.SIGKILL]
    assert train(study, killed).wait(120) == 0
    log = (killed / "train.log").read_text()
    assert int(re.search(r"resumed after epoch (\d+)", log)[1]) >= 1
    for seed in (3, 4):
        epochs = re.findall(rf"seed {seed}, epoch (\d+) of \d+: train loss", log)
        assert [int(n) for n in epochs] == list(range(1, EPOCHS + 1))
        best = [run / f"seed_{seed}/checkpoints/best.pth" for run in (whole, killed)]
        assert best[0].read_bytes() == best[1].read_bytes()
        columns = ["epoch", "lr", "train_loss", "val_loss", "best"]
        histories = [pd.read_csv(run / f"seed_{seed}/history.csv") for run in (whole, killed)]
        assert histories[0][columns].equals(histories[1][columns]) and len(histories[0]) == EPOCHS
        assert shown(killed / f"seed_{seed}") == pytest.approx(list(histories[0]["val_loss"]), rel=1e-5)


def shown(run):
    """The validation losses that TensorBoard shows: each epoch once, however often the training was killed."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    scalars = events.Scalars("val_loss")
    assert [each.step for each in scalars] == list(range(1, EPOCHS + 1))
    return [each.value for each in scalars]

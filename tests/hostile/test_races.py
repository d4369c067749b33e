"""Two processes on one shard or one training, again and again: what is written is that of one which nobody disturbed.

`make test` holds a few races, `-m long` many; see seeds.py.
"""

import logging
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from factories import STAINS
from factories import features as random_features
from PIL import Image
from seeds import SEED

import cli
import train as script
from stratamil.cohort import splits
from stratamil.features import extract, networks, store

FORK = multiprocessing.get_context("fork")
CASES = [str(i) for i in range(1, 9)]
RACES = {name: [2, pytest.param(number, marks=pytest.mark.long)] for name, number in (("embed", 200), ("train", 40))}


@pytest.fixture
def quiet():
    """No logging, and again afterwards, whatever the test came to."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """A folder of painted patches, their table, and the colour encoder."""
    torch.set_num_threads(1)
    folder, rng = tmp_path_factory.mktemp("patches"), np.random.default_rng(1)
    rows = [(case, "h&e", "match_1", n, f"case_{case}_match_1_h&e_patch{n}.png") for case in CASES for n in range(8)]
    table = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"])
    for path in table["path"]:
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(folder / path)
    return folder, table, networks.load("stain_stats", None, 96, "global", "fp32", resize="squash")


def run(work, log):
    """Do `work` in a process of its own, as a script does it: exit status 0, or 1 after a user error."""

    def job():
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        try:
            cli.run(lambda args: work(), cli.parser("").parse_args(["--log", str(log)]))
        except SystemExit as ended:
            os._exit(ended.code)
        os._exit(0)

    process = FORK.Process(target=job)
    process.start()
    return process


def race(rng, work, folder, longest):
    """Two processes at once, of which one may be killed; then one more. Returns the exit statuses."""
    one = run(work, folder / "one.log")
    time.sleep(rng.uniform(0, longest))
    other = run(work, folder / "other.log")
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0, longest))
        rng.choice([one, other]).kill()  # if it has not ended
    for process in (one, other):
        process.join(60)
    return [one.exitcode, other.exitcode]


@pytest.mark.parametrize("races", RACES["embed"])
def test_embed(patches, tmp_path, quiet, races):
    rng, (folder, table, encoder) = random.Random(SEED), patches

    def work(output):
        return lambda: extract.embed(
            table,
            CASES,
            folder,
            encoder,
            output=output,
            cache=output.with_suffix("") / "cache.h5",
            max_unreadable=0,
            batch_size=4,
        )

    begin = time.monotonic()
    work(tmp_path / "undisturbed.h5")()
    longest = time.monotonic() - begin
    whole, found = (tmp_path / "undisturbed.h5").read_bytes(), []
    for number in range(races):
        place = tmp_path / f"{number}"
        place.mkdir()
        found.append(tuple(race(rng, work(place / "shard.h5"), place, longest)))
        assert not (place / "shard.h5").exists() or (place / "shard.h5").read_bytes() == whole, (number, SEED)
        assert 0 not in found[-1] or (place / "shard.h5").exists(), (number, SEED)
        last = run(work(place / "shard.h5"), place / "one.log")
        last.join(60)
        assert last.exitcode == 0 and (place / "shard.h5").read_bytes() == whole, (number, SEED)
        assert not [path for path in (place / "shard").rglob("*") if path.suffix in (".lock", ".partial", ".part")]
    assert {status for pair in found for status in pair} <= {0, 1, -signal.SIGKILL}
    print({pair: found.count(pair) for pair in sorted(set(found))})


@pytest.mark.parametrize("races", RACES["train"])
def test_train(tmp_path, races):
    rng, data = random.Random(SEED), random_features({case: [[9, 5], [7]] for case in CASES}, dim=16)
    nothing = pd.DataFrame(columns=store.UNREADABLE, dtype=str)
    shard = tmp_path / "features/shard_00.h5"
    store.write(shard, data.values, data.table, nothing, {"encoder": "random", "dim": 16})
    cases = pd.DataFrame({"case_id": CASES, "class": ["benign", "high"] * 4, "patient_id": CASES, "status": "used"})
    cases.assign(n_patches=21, n_slices=3).to_csv(tmp_path / "cases.csv", index=False)
    splits.write(splits.Split(CASES[:4], CASES[4:6], CASES[6:]), tmp_path / "split.npz")
    torch.set_num_threads(1)

    def work(place):
        words = [
            "train", "--features", shard, "--cases", tmp_path / "cases.csv", "--split", tmp_path / "split.npz",
            "--name", "01", "--seeds", "3", "--classes", "benign", "high", "--stains", *STAINS, "--epochs=6",
            "--output", place, "--state", place / "state.pth",
        ]  # fmt: skip

        def train():
            sys.argv = list(map(str, words))
            script.main(script.arguments())

        return train

    begin = time.monotonic()
    first = run(work(tmp_path / "undisturbed"), tmp_path / "log")
    first.join(60)
    longest = time.monotonic() - begin
    whole, found = (tmp_path / "undisturbed/seed_3/checkpoints/best.pth").read_bytes(), []
    for number in range(races):
        place: Path = tmp_path / f"{number}"
        place.mkdir()
        found.append(tuple(race(rng, work(place), place, longest)))
        last = run(work(place), place / "one.log")
        last.join(60)
        assert last.exitcode == 0, (number, SEED)
        assert (place / "seed_3/checkpoints/best.pth").read_bytes() == whole, (number, SEED)
    assert {status for pair in found for status in pair} <= {0, 1, -signal.SIGKILL}
    print({pair: found.count(pair) for pair in sorted(set(found))})

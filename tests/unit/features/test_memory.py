"""Tables of patches take a few bytes a patch: what a text for each row costs would show here."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from stratamil.cohort import patch_files
from stratamil.core import files, names
from stratamil.features import precomputed, store
from stratamil.mil.bags import Bags

pytestmark = pytest.mark.slow

SIZES = 8_000, 24_000  # patches
CASES, STAIN = 10, "h&e"


def growth(work):
    """Bytes that the peak of `work(n)` grows by a patch, Arrow's texts not counted."""
    peaks = []
    for n in SIZES:
        prepared = work(n)
        next(prepared)
        tracemalloc.start()
        next(prepared)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return (peaks[1] - peaks[0]) / (SIZES[1] - SIZES[0])


@pytest.fixture
def shard(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "TEXTS", 4_000)

    def write(n):
        path, number = tmp_path / f"{n}/shard_00.h5", np.arange(n)
        case = [f"case {row * CASES // n}" for row in number]
        table = pd.DataFrame({"case_id": case, "stain": STAIN, "slice_id": "match1", "patch": number})
        table["path"] = [f"a_folder/with_a_file.h5#{row}" for row in number]
        path.parent.mkdir()
        values = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float16)
        values[:, 1] = number % 2048  # with the first, few are equal
        store.write(path, values, table, pd.DataFrame(columns=list(store.UNREADABLE)), {"encoder": "a", "dim": 2})
        return path

    return write


def test_reading_features(shard):
    def work(n):
        path = shard(n)
        yield
        read.append(store.read([path], [f"case {i}" for i in range(CASES)]))
        yield

    read = []
    assert growth(work) < 100
    assert [str(kind) for kind in read[-1].table.dtypes] == ["category"] * 3 + ["int32", "str"]


def test_digests_of_patches(shard):
    def work(n):
        bags = Bags(store.read([shard(n)]), [STAIN])
        yield
        assert all(len(bags.minhash(case)) == 16 for case in bags.cases)
        yield

    assert growth(work) < 60


def test_inventory_of_precomputed_features(tmp_path):
    def work(n):
        folder = tmp_path / str(n)
        folder.mkdir()
        for case in range(CASES):
            coords = np.indices((n // CASES, 1)).reshape(2, -1).T
            np.savez(folder / f"{case}.npz", features=np.ones((n // CASES, 1), np.float16), coords=coords)
        rows = [(f"{case}.npz", case, STAIN, "match1") for case in range(CASES)]
        pd.DataFrame(rows, columns=["file", "case", "stain", "slice"]).to_csv(folder / "manifest.csv", index=False)
        yield
        grammar = names.Grammar(r"(?P<case>.)(?P<slice>.)(?P<stain>.)(?P<patch>\d)", {STAIN: []})
        scanned = precomputed.scan(folder / "manifest.csv", folder, grammar)
        table = patch_files.ordered(scanned.patches, [STAIN])
        files.write_parquet(table, folder / "patches.parquet")
        assert [str(kind) for kind in pd.read_parquet(folder / "patches.parquet").dtypes[:3]] == ["str"] * 3
        yield

    assert growth(work) < 160


def test_a_shard_without_cases(tmp_path):
    import argparse

    import precomputed as script

    (tmp_path / "features.json").write_text('{"encoder": "precomputed", "dim": 3}')
    patches = pd.DataFrame({"case_id": ["1"], "stain": STAIN, "slice_id": "a", "patch": [0], "path": "a.npz#0"})
    files.write_parquet(patches.assign(bytes=0, x=0.0, y=0.0), tmp_path / "patches.parquet")
    pd.DataFrame({"case_id": ["1"], "status": ["used"]}).to_csv(tmp_path / "cases.csv", index=False)
    shard = 1 - store.shard_of("1", 2)
    script.main(
        argparse.Namespace(
            patches_table=tmp_path / "patches.parquet", cases=tmp_path / "cases.csv",
            identity=tmp_path / "features.json", folder=tmp_path, shard=shard, shards=2, output=tmp_path / "out.h5",
        )
    )  # fmt: skip
    assert store.read([tmp_path / "out.h5"]).values.shape == (0, 3)

"""Precomputed features: every layout is read as its tool writes it, and what does not fit is named."""

import json
import os
import re
import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from factories import GRAMMAR
from factories import STAIN_NAMES as STAINS
from factories import read_labels as labels
from feature_files import XY, D, X, clam, h5, listed, made, npz, parquet, problems, scan, stamp, trident
from repository import REPOSITORY

from stratamil.cohort import flow, inventory, manifest, patch_files
from stratamil.core import schema
from stratamil.core.errors import UserError
from stratamil.features import precomputed, precomputed_readers, store
from stratamil.workflow import config_checks

pytestmark = pytest.mark.slow

SCRIPTS = REPOSITORY / "scripts"


SLIDES = {"trident": trident, "clam": clam, "stamp": stamp}


@pytest.mark.parametrize("tool", [trident, lambda *args: trident(*args, leading=True), clam, stamp])
def test_a_file_of_each_tool(tmp_path, tool):
    values, coords = made()
    (tmp_path / "slides").mkdir()
    tool(tmp_path / "slides/a.h5", values, coords)
    found = scan(listed(tmp_path, "slides/a.h5,038.0,H&E-labels.,Unmatched3"))
    table = found.patches
    assert table["path"].tolist() == [f"slides/a.h5#{row}" for row in range(5)]
    assert table[["case_id", "stain", "slice_id"]].drop_duplicates().to_numpy().tolist() == [
        ["038.0", "h&e", "Unmatched3"]
    ]
    assert np.array_equal(table[["x", "y"]], coords)
    assert table["patch"].tolist() == [0, 1, 2, 3, 4]
    # in any order, and not all of them
    chosen = table.iloc[[3, 0, 4]]
    assert np.array_equal(precomputed.take(chosen, tmp_path, D), values[[3, 0, 4]].astype("float16"))
    assert precomputed.take(table[:0], tmp_path, D).shape == (0, D)


@pytest.mark.parametrize(
    "name, write",
    [("a.npz", npz), ("a.parquet", parquet), ("a.parquet", lambda *args: parquet(*args, lists=True))],
)
def test_a_file_of_several_slices(tmp_path, name, write):
    values, coords = made(6)
    write(tmp_path / name, values, coords)
    table = scan(listed(tmp_path, name, head="file")).patches
    assert table["case_id"].tolist() == ["038", "2"] * 3
    assert table["patch"].tolist() == [100, 101, 102, 103, 104, 105]
    assert np.array_equal(table[["x", "y"]], coords)
    assert np.array_equal(precomputed.take(table, tmp_path, D), values.astype("float16"))
    # what the manifest says holds for all rows; the rest is the file's own
    table = scan(listed(tmp_path, f"{name},,sox10,")).patches
    assert set(table["stain"]) == {"sox10"}
    assert table["case_id"].tolist() == ["038", "2"] * 3


def test_a_manifest_as_spreadsheets_write_it(tmp_path):
    for name in ("a", "b"):
        stamp(tmp_path / f"{name}.h5", *made())
    rows = ["a.h5 ; 07; he ;match1;", "", " b.h5;7;MELAN-A;match_1;a note"]
    path = listed(tmp_path, *rows, head="File; Case;Stain;Slice;remark", encoding="utf-8-sig")
    assert [entry.row for entry in manifest.read(path, tmp_path)] == [2, 4]
    table = scan(path).patches
    assert table.groupby(["case_id", "stain", "slice_id"]).size().to_dict() == {
        ("07", "h&e", "match1"): 5,
        ("07", "melan", "match_1"): 5,
    }


def test_everything_wrong_with_a_manifest_is_told_at_once(tmp_path):
    stamp(tmp_path / "a.h5", *made())
    rows = ["a.h5,1,he,match1", ",1,he,match1", "./a.h5,2,he,match1", "/elsewhere/x.h5,1,he,match1"]
    rows.append("gone.h5,1,he,match1")
    said = problems(listed(tmp_path, *rows))
    words = [
        "row 3: no file",
        "row 4: a.h5 is in row 2",
        "row 5: /elsewhere/x.h5: write it relative",
        "row 6: gone.h5: no such",
    ]
    assert len(said) == 4
    assert all(word in line for word, line in zip(words, said))
    assert "no column 'file'" in problems(listed(tmp_path, "1,2", head="path,case"))[0]
    assert "no rows" in problems(listed(tmp_path))[0]


def table_of(**columns):
    return lambda path: pd.DataFrame(columns).to_parquet(path)


WHOLE = {"case": ["1"] * 5, "stain": ["he"] * 5, "slice": ["a"] * 5}
WRONG = {
    "another width": ("b.h5", h5(features=made(d=8)[0], coords=XY), "features of width 8, but a.h5 has 6"),
    "another encoder": (
        "b.h5",
        lambda path: stamp(path, X, XY, "conch"),
        "features of encoder conch, but a.h5 has uni2",
    ),
    "no features": ("b.h5", h5(coords=XY, tiles=X), "no dataset features or feats: it has coords, tiles"),
    "no rows": ("b.h5", h5(features=X[:0], coords=XY[:0]), "no rows"),
    "coords of another length": ("b.h5", h5(features=X, coords=XY[:4]), "coords of shape (4, 2) for 5 rows"),
    "coords that are no numbers": ("b.h5", h5(features=X, coords=XY * np.nan), "coords that are not numbers"),
    "features of a slide": ("b.h5", h5(features=X[0], coords=XY), "features of shape (6,), not one row a patch"),
    "text": ("b.h5", h5(features=np.full((5, 6), b"x")), "features are no numbers"),
    "coords that are text": ("b.h5", h5(features=X, coords=np.full((5, 2), b"x")), "coords that are not numbers"),
    "coords that are a group": (
        "b.h5",
        lambda path: h5(features=X, **{"coords/x": XY})(path),
        "coords are no dataset",
    ),
    "an npy": ("b.npz", lambda path: np.save(path.open("wb"), X), "not an npz of named arrays"),
    "columns of text": ("b.parquet", table_of(**WHOLE, f0=["1.0"] * 5), "features are no numbers"),
    "lists of text": ("b.parquet", table_of(**WHOLE, e=[["1.0"]] * 5), "features are no numbers"),
    "empty lists": (
        "b.parquet",
        lambda path: pd.DataFrame(WHOLE | {"e": [np.zeros(0)] * 5}).to_parquet(path),
        "features of shape (5, 0)",
    ),
    "not HDF5": ("b.h5", lambda path: path.write_bytes(b"nonsense"), "b.h5: cannot be read"),
    "another format": ("b.npy", lambda path: path.write_bytes(b""), "not one of .h5, .hdf5, .npz, .parquet, .pt"),
    "pickled": (
        "b.npz",
        lambda path: np.savez(path, features=X, case=np.array(["1", 2, "3", "4", "5"], dtype=object)),
        "cannot be read: Object arrays cannot be loaded",
    ),
    "no array features": ("b.npz", lambda path: np.savez(path, x=X), "no array features: it has x"),
    "a gap in the columns": ("b.parquet", table_of(f0=[1.0], f2=[1.0]), "no columns f0, f1, ... without a gap"),
    "columns of another length": (
        "b.npz",
        lambda path: np.savez(path, features=X, instance=np.arange(4)),
        "instance of shape (4,) for 5 rows",
    ),
    "no case": (
        "b.parquet",
        table_of(case=["1", None], stain=["he"] * 2, slice=["a"] * 2, e=list(X[:2])),
        "row 1: no case",
    ),
    "an instance that is none": (
        "b.parquet",
        table_of(**WHOLE, instance=["0", "1", "x", "3", "-4"], e=list(X)),
        "rows 2, 4: instance is no number from 0 on",
    ),
    "an instance twice": (
        "b.parquet",
        table_of(**WHOLE, instance=[0, 1, 0, 2, 3], e=list(X)),
        "case 1, h&e, a: b.parquet#0, b.parquet#2 are the same patch",
    ),
    "no columns": ("b.npz", lambda path: np.savez(path, features=X), "no case, stain, slice: fill it in"),
}


@pytest.mark.parametrize("bad", [None, [1.0]])
def test_a_list_that_is_missing_or_of_another_length_is_named_wherever_it_stands(tmp_path, bad):
    rows = [[1.0, 2.0]] * precomputed.BLOCK + [bad]
    pd.DataFrame({"case": "1", "stain": "he", "slice": "a", "e": rows}).to_parquet(tmp_path / "b.parquet")
    table = pd.DataFrame({"path": [f"b.parquet#{row}" for row in range(len(rows))]})
    with pytest.raises(UserError, match=f"b.parquet: row {len(rows) - 1}: its list is missing or not of 2 features"):
        precomputed.take(table, tmp_path, 2)


@pytest.mark.parametrize("name, write, words", WRONG.values(), ids=WRONG)
def test_files_that_do_not_fit_are_refused(tmp_path, name, write, words):
    for good in ("a.h5", "c.h5"):
        stamp(tmp_path / good, X, XY)
    write(tmp_path / name)
    own = "" if name.endswith(("z", "t")) and name != "b.pt" else "1,he,match2"
    rows = ["a.h5,1,he,match1", f"{name},{own or ',,'}", "c.h5,1,melan,match1"]
    said = [line for line in problems(listed(tmp_path, *rows)) if words in line]
    assert said
    assert all("b." in line and "manifest.csv" in line for line in said)


def test_a_slice_in_two_files(tmp_path):
    for name in ("a.h5", "b.h5"):
        stamp(tmp_path / name, X, XY)
    said = problems(listed(tmp_path, "a.h5,1,he,match1", "b.h5,01,H&E,match_1"))
    assert len(said) == 1
    assert "case 01, h&e, match1: a.h5#0, b.h5#0 are the same patch" in said[0]


@pytest.mark.parametrize("value, name", [(np.nan, "a.h5"), (-np.inf, "a.h5"), (1e5, "a.h5"), (np.nan, "a.parquet")])
def test_features_that_float16_cannot_hold_are_named(tmp_path, monkeypatch, value, name):
    monkeypatch.setattr(precomputed, "BLOCK", 2)
    values, coords = made(6)
    values[[1, 5], 3] = value
    (parquet if name.endswith("t") else clam)(tmp_path / name, values, coords)
    clam(tmp_path / "b.h5", values[::-1], coords)
    own = ",,," if name.endswith("t") else ",1,he,match1"
    table = scan(listed(tmp_path, name + own, "b.h5,3,he,match1")).patches
    with pytest.raises(UserError) as error:
        precomputed.take(table, tmp_path, D)
    assert [line.split(": features")[0].rpartition("/")[2] for line in error.value.problems] == [
        f"{name}: rows 1, 5",
        "b.h5: rows 0, 4",
    ]
    good = table[~table["path"].str.contains("#[145]$|b.h5")]
    assert np.isfinite(precomputed.take(good, tmp_path, D)).all()


def test_lists_of_different_lengths(tmp_path):
    pd.DataFrame({"e": [[1.0, 2.0], [1.0]]}).to_parquet(tmp_path / "a.parquet")
    table = scan(listed(tmp_path, "a.parquet,1,he,match1")).patches
    with pytest.raises(UserError, match="row 1: its list is missing or not of 2 features"):
        precomputed.take(table, tmp_path, 2)


def test_a_file_that_changed_since_the_inventory(tmp_path):
    clam(tmp_path / "a.h5", X, XY)
    table = scan(listed(tmp_path, "a.h5,1,he,match1")).patches
    for other in (X[:3], made(d=8)[0]):
        clam(tmp_path / "a.h5", other, XY[: len(other)])
        with pytest.raises(UserError, match="has changed since the inventory"):
            precomputed.take(table, tmp_path, D)


@pytest.mark.parametrize("tool", SLIDES.values(), ids=SLIDES)
def test_hdf5_is_read_in_pieces(tmp_path, monkeypatch, tool):
    monkeypatch.setattr(precomputed, "BLOCK", 7)
    values, coords = made(50)
    tool(tmp_path / "a.h5", values, coords)
    pieces = list(precomputed.blocks(tmp_path / "a.h5"))
    assert [start for start, _ in pieces] == list(range(0, 50, 7))
    assert max(len(piece) for _, piece in pieces) == 7
    assert np.allclose(np.concatenate([piece for _, piece in pieces]), values, atol=1e-2)


def test_memory_does_not_grow_with_a_file(tmp_path):
    peaks = []
    for n in (20_000, 100_000):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("feats", (n, 64), "float32", chunks=(1000, 64))[:] = 1
        tracemalloc.start()
        for _ in precomputed_readers.blocks(tmp_path / "a.h5"):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_identity_is_what_the_files_agree_on(tmp_path):
    for name in ("a", "b"):
        stamp(tmp_path / f"{name}.h5", X, XY)
        trident(tmp_path / f"{name}_t.h5", X, XY)
    stamp(tmp_path / "c.h5", X, XY, unit="px")
    stamp(tmp_path / "d.h5", X, XY, unit="px")
    base = {"encoder": "precomputed", "dim": D}
    two = "a.h5,1,he,match1", "b.h5,2,he,match1"
    said = {"extractor": "uni2-0123abcd", "unit": "um", "tile_size_um": 256.0, "tile_size_px": 224}
    assert scan(listed(tmp_path, *two)).identity == base | said
    # the same of other patients, so that a model can be tested on another cohort
    assert scan(listed(tmp_path, *two[:1])).identity == base | said
    del said["unit"]
    found = scan(listed(tmp_path, *two, "c.h5,3,sox10,match1", "d.h5,4,sox10,match1"))
    assert found.identity == base | said
    assert found.warnings == ["The features of the stains were made in different ways: unit is um in h&e, px in sox10."]
    said = problems(listed(tmp_path, *two, "c.h5,3,he,match1", "d.h5,4,he,match1", "a_t.h5,5,he,match1"))
    assert len(said) == 1
    assert "c.h5, d.h5: unit px, but 2 of 4 files of stain h&e have um, as a.h5" in said[0]
    found = scan(listed(tmp_path, "a_t.h5,1,he,match1", "b_t.h5,2,he,match1"), "uni")
    assert found.identity == base | {"named": "uni", "target_magnification": 20, "patch_size": 256}
    assert json.loads(json.dumps(found.identity)) == found.identity


def test_every_row_is_a_patch_or_left_out(tmp_path):
    for name, n in (("a", 5), ("b", 4), ("c", 3), ("d", 2)):
        stamp(tmp_path / f"{name}.h5", *made(n))
    path = listed(tmp_path, "a.h5,1,he,1", "b.h5,2,cd31,1", "c.h5,3,he,1", "d.h5,99,he,1")
    found = scan(path)
    table = labels(tmp_path, "Case,Class\n1,1\n2,3\n3,2\n")

    def join(unknown_stains):
        return inventory.join(
            patch_files.ordered(found.patches, list(STAINS)),
            table,
            list(STAINS),
            left_out=found.left_out,
            n_read=found.rows,
            unknown_stains=unknown_stains,
            where=path,
            remedy="remedy",
        )

    taken = join("exclude")
    assert taken.cases.set_index("case_id")["status"].to_dict() == {
        "1": "used", "2": "no patches", "3": "class code 2 excluded",
    }  # fmt: skip
    rows = taken.excluded[["kind", "name", "patches"]].to_numpy().tolist()
    assert rows == [["file", "b.h5", 4], ["case", "2", 0], ["case", "3", 3], ["case", "99", 2]]
    with pytest.raises(UserError, match="4 patches of stain 'cd31'"):
        join("error")


def run(name, folder, *args):
    """A script, as a rule calls it."""
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *map(str, args)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def study(folder, manifest_path, shard, *more):
    """The inventory, and a shard of two, of the labels in `folder`. more: words for the inventory."""
    run(
        "inventory", folder, "--manifest", manifest_path, "--labels", "labels.csv", "--case-column", "Case",
        "--class-column", "Class", "--classes", "benign=1", "high-grade=3", "--pattern", GRAMMAR.pattern.pattern,
        "--stains", "h&e=he", "sox10=", "--output", "p.parquet", "--cases", "cases.csv", "--excluded", "excluded.csv",
        "--identity", "features.json", *more,
    )  # fmt: skip
    run(
        "precomputed", folder, "--patches-table", "p.parquet", "--cases", "cases.csv", "--identity", "features.json",
        "--folder", manifest_path.parent, "--shard", shard, "--shards", 2, "--output", "shard.h5",
    )  # fmt: skip
    return [(folder / name).read_bytes() for name in ("p.parquet", "cases.csv", "features.json", "shard.h5")]


def test_a_shard_holds_what_was_written_whatever_the_order_of_the_manifest(tmp_path):
    written = {}
    for case in range(6):
        written[f"{case}.h5"] = made(4, seed=case)
        clam(tmp_path / f"{case}.h5", *written[f"{case}.h5"])
    (tmp_path / "labels.csv").write_text("Case,Class\n" + "".join(f"{case},{1 + case % 2 * 2}\n" for case in range(6)))
    rows = [f"{case}.h5,{case},he,match1" for case in range(6)]
    first = study(tmp_path, listed(tmp_path, *rows), 1)
    data = store.read([tmp_path / "shard.h5"])
    assert set(data.table["case_id"]) == {str(case) for case in range(6) if store.shard_of(str(case), 2) == 1}
    for path, value, *place in data.table.assign(value=list(data.values))[["path", "value", "x", "y"]].to_numpy():
        name, _, row = path.rpartition("#")
        values, coords = written[name]
        assert np.array_equal(value, values[int(row)].astype("float16"))
        assert np.array_equal(place, coords[int(row)])
    assert study(tmp_path, listed(tmp_path, *rows[::-1]), 1) == first
    gone = data.table["path"][1]
    (tmp_path / "marks.csv").write_text(f"file,mark\n{gone},artefact\n")
    study(tmp_path, listed(tmp_path, *rows), 1, "--exclude-patches", "marks.csv")
    left = store.read([tmp_path / "shard.h5"])
    assert left.table["path"].tolist() == data.table["path"].drop(1).tolist()
    assert np.array_equal(left.values[:], np.delete(data.values[:], 1, axis=0))


@pytest.mark.parametrize("named, n", [("uni2", 1), ("UNI", 0), (None, 0)])
def test_an_encoder_that_is_not_that_of_the_files_is_told(named, n):
    told = precomputed._other_name({"extractor": "uni"} | ({"named": named} if named else {}))
    assert len(told) == n and all("is uni2, but the files name the encoder uni" in line for line in told)


def test_feature_files_that_no_row_names_are_listed(tmp_path):
    for name in ("a.h5", "b2.H5", "b10.h5", "sub/c.h5", "other/d.h5", ".e.h5", "f.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = listed(tmp_path, "a.h5,1,he,match1", "sub/c.h5,2,he,match1")
    found = manifest.unopened(path, tmp_path)
    assert found == [(name, manifest.UNLISTED, "") for name in ("b2.H5", "b10.h5")]


def test_reasons_in_a_manifest_are_told_by_their_first_words_and_many_are_one():
    def unopened(*details):
        rows = [("file", f"{i}.h5", manifest.EXCLUDED, why, 0) for i, why in enumerate(details)]
        excluded = pd.DataFrame(rows, columns=["kind", "name", "reason", "detail", "patches"])
        found = flow.sources(pd.DataFrame({"n_patches": [8]}), excluded, images=False)[1]["unopened"]
        return [(part["why"], part["n"]) for part in found]

    assert unopened("cannot be read: eof = 900", "cannot be read: no file", "x") == [("cannot be read", 2), ("", 1)]
    assert unopened(*"abcde") == [("", 5)]
    ((long, _),) = unopened("blur " * 40)
    assert long.startswith("blur blur") and long.endswith("…") and len(long) <= 60


def test_a_file_that_the_manifest_excludes_is_not_opened_and_keeps_its_reason(tmp_path):
    clam(tmp_path / "a.h5", X, XY)
    (tmp_path / "b.h5").write_bytes(b"cut")
    path = listed(
        tmp_path,
        "a.h5,1,he,match1,",
        "b.h5,2,he,match1,cut",
        "gone.h5,2,he,match1,lost",
        head="file,case,stain,slice,excluded",
    )
    assert [entry.file for entry in manifest.read(path, tmp_path)] == ["a.h5"]
    found = manifest.unopened(path, tmp_path)
    assert found == [("b.h5", manifest.EXCLUDED, "cut"), ("gone.h5", manifest.EXCLUDED, "lost")]
    assert manifest.state(path, tmp_path) and len(precomputed.scan(path, tmp_path, GRAMMAR).patches) == len(X)
    rows = [("file", *each, 0) for each in found] + [("file", "g.h5", "stain", "x", 3)]
    excluded = pd.DataFrame(rows, columns=["kind", "name", "reason", "detail", "patches"])
    assert inventory.of_files(excluded).tolist() == [0, 0, 3]
    source = flow.sources(pd.DataFrame({"n_patches": [8]}), excluded, images=False)[1]
    assert source["unopened"] == [{"reason": manifest.EXCLUDED, "why": why, "n": 1} for why in ("cut", "lost")]
    assert (source["n"], source["kept"], source["left_out"]) == (11, 8, [{"reason": "stain", "n": 3}])
    with pytest.raises(UserError, match="every row is excluded"):
        manifest.read(listed(tmp_path, "a.h5,1,he,match1,no", head="file,case,stain,slice,excluded"), tmp_path)


def test_a_change_of_any_file_is_seen_without_opening_it(tmp_path, monkeypatch):
    for name in ("a.h5", "b.h5"):
        clam(tmp_path / name, X, XY)
    path = listed(tmp_path, "a.h5,1,he,match1", "b.h5,2,he,match1")
    monkeypatch.setattr(h5py, "File", None)
    before = manifest.state(path, tmp_path)
    assert manifest.state(path, tmp_path) == before
    os.utime(tmp_path / "b.h5", (0, 0))
    after = manifest.state(path, tmp_path)
    assert after != before
    listed(tmp_path, "a.h5,1,he,match1", "b.h5,3,he,match1")
    assert manifest.state(path, tmp_path) != after


def test_the_manifest_and_settings_of_the_page_fit(tmp_path):
    page = (REPOSITORY / "docs/how-to/precomputed.md").read_text(encoding="utf-8")
    blocks = {kind: re.search(f"```{kind}\n(.*?)```", page, re.DOTALL)[1] for kind in ("yaml", "text")}
    for stain in ("HE", "SOX10"):
        trident(tmp_path / f"S21-0001_A1_{stain}.h5", *made())
    (tmp_path / "manifest.csv").write_text(blocks["text"])
    assert len(scan(tmp_path / "manifest.csv").patches) == 10
    assert manifest.unopened(tmp_path / "manifest.csv", tmp_path) == [
        ("S21-0002_A1_HE.h5", manifest.EXCLUDED, "scanned out of focus")
    ]
    assert config_checks.problems(yaml.safe_load(blocks["yaml"]), schema.read()) == []

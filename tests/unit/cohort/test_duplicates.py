"""Equal files of different cases: found by their bytes, blank ones left out, parted ones refused by name."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import leaks
import splits as script
from stratamil.cohort import duplicates, generated_splits, near_copies, splits
from stratamil.cohort.splits import Split, Told
from stratamil.core.errors import UserError
from stratamil.features import images

KNOWN = Told("equal file", True, True)


def listed(root, contents):
    """Write {(case, name): bytes or image}; returns the table of the inventory."""
    rows = []
    for (case, name), content in contents.items():
        path = root / f"case_{case}_{name}"
        path.write_bytes(content) if isinstance(content, bytes) else content.save(path)
        stain = "melan" if "melan" in name else "h&e"
        rows.append((case, stain, path.name, path.stat().st_size))
    return pd.DataFrame(rows, columns=["case_id", "stain", "path", "bytes"])


def tissue(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("1234"), st.integers(0, 4), st.sampled_from([5, 20_000])), max_size=12))
def test_what_is_found_is_what_a_comparison_of_all_pairs_finds(tmp_path_factory, drawn):
    """Contents that differ in one byte, at a place that a sketch does not look at in large files."""
    contents = {}
    for number, (case, kind, size) in enumerate(drawn):
        body = bytearray(size)
        body[size // 3] = kind
        contents[case, f"{number}.bin"] = bytes(body)
    table = listed(root := tmp_path_factory.mktemp("all"), contents)
    found = duplicates.find(table, root)
    expected = {}
    for (case, name), body in contents.items():
        expected.setdefault(body, []).append((case, f"case_{case}_{name}"))
    expected = [rows for rows in expected.values() if len({case for case, _ in rows}) > 1]
    grouped = found.groupby("group")[["case_id", "path"]].apply(lambda rows: sorted(map(tuple, rows.values)))
    assert sorted(map(sorted, expected)) == sorted(grouped) if len(found) else not expected


def test_blank_images_and_what_is_no_image_do_not_count(tmp_path):
    white, black = Image.new("RGB", (16, 16), "white"), Image.new("L", (16, 16), 0)
    table = listed(tmp_path, {
        ("1", "a.png"): white, ("2", "a.png"): white, ("1", "b.png"): black, ("2", "b.png"): black,
        ("1", "c.png"): b"no image", ("2", "c.png"): b"no image", ("1", "d.png"): tissue(1), ("2", "e.png"): tissue(1),
        ("1", "f.png"): tissue(2), ("1", "g.png"): tissue(2), ("3", "h.png"): tissue(3),
    })  # fmt: skip
    found = duplicates.find(table, tmp_path, images.shows)
    assert found.values.tolist() == [
        [1, "1", "h&e", "case_1_d.png", 3], [1, "2", "h&e", "case_2_e.png", 1],
    ]  # fmt: skip
    assert duplicates.by_cases(found) == [
        {
            "cases": ["1", "2"],
            "files": 1,
            "examples": ["case_1_d.png", "case_2_e.png"],
            "stains": ["h&e"],
            "whole": False,
        }
    ]
    swapped = found.assign(stain=["h&e", "melan"])  # as where a file has a wrong name
    (row,) = duplicates.by_cases(swapped)
    assert duplicates.example(row) == "case_1_d.png = case_2_e.png, named h&e and melan"


def test_a_file_that_is_gone_or_linked_is_no_trouble(tmp_path):
    table = listed(tmp_path, {("1", "a.png"): tissue(1), ("2", "a.png"): tissue(1), ("3", "a.png"): tissue(1)})
    (tmp_path / "case_1_a.png").unlink()
    (tmp_path / "case_2_a.png").unlink()
    (tmp_path / "case_2_a.png").symlink_to("case_3_a.png")
    assert duplicates.find(table, tmp_path, images.shows)["case_id"].tolist() == ["2", "3"]


def test_cases_without_anything_of_their_own_are_whole_copies_whatever_blank_files_they_have(tmp_path):
    white = Image.new("RGB", (16, 16), "white")
    contents = {(case, f"{n}.png"): tissue(n) for case in "123" for n in (1, 2)}
    contents |= {("1", "w.png"): white, ("2", "w.png"): white, ("3", "own.png"): tissue(9)}
    found = duplicates.by_cases(duplicates.find(listed(tmp_path, contents), tmp_path, images.shows))
    assert [(row["cases"], row["files"], row["whole"]) for row in found] == [(["1", "2", "3"], 2, False)]
    del contents["3", "own.png"]
    found = duplicates.by_cases(duplicates.find(listed(tmp_path, contents), tmp_path, images.shows))
    assert [(row["files"], row["whole"]) for row in found] == [(2, True)]


def test_equal_files_of_one_case_count_in_different_stains_alone(tmp_path):
    contents = {("1", "a.png"): tissue(1), ("1", "b_melan.png"): tissue(1), ("2", "a.png"): tissue(2)}
    found = duplicates.find(listed(tmp_path, contents | {("2", "b.png"): tissue(2)}), tmp_path, images.shows)
    assert duplicates.by_cases(found) == []
    assert duplicates.by_stains(found) == [
        {"case": "1", "stains": ["h&e", "melan"], "files": 1, "examples": ["case_1_a.png", "case_1_b_melan.png"]}
    ]


def test_cases_that_are_not_used_are_known_by_the_used_ones_whose_files_they_have():
    found = equal(["1", "900", "3"], ["2", "900"], ["901", "902"])
    assert duplicates.unused(found, {"1", "2", "3"}) == {"900": ["1", "2", "3"]}


def equal(*groups, of=99):
    rows = [
        (number, case, "h&e", f"{case}_{number}.png", of) for number, group in enumerate(groups, 1) for case in group
    ]
    return pd.DataFrame(rows, columns=duplicates.COLUMNS)


def cases(n=8, **patients):
    ids = [str(i) for i in range(1, n + 1)]
    return pd.DataFrame({
        "case_id": ids, "patient_id": [patients.get(f"c{i}", f"p{i}") for i in ids], "class": ["a", "b"] * (n // 2),
        "status": "used",
    })  # fmt: skip


@pytest.mark.parametrize("group, patients, refused", [
    (["1", "3"], {}, False),  # both are in train
    (["1", "5"], {}, True),  # train and val
    (["5", "7"], {}, True),  # val and test
    (["1", "3", "7"], {}, True),
    (["1", "7"], {"c1": "same", "c7": "same"}, False),
    (["1", "99"], {}, False),  # which no split has
])  # fmt: skip
def test_equal_files_of_strangers_in_different_sets_are_refused(group, patients, refused):
    split = {"01": Split(["1", "2", "3", "4"], ["5", "6"], ["7", "8"])}
    lines = list(splits.copies(split, equal(group, group), cases(**patients), "duplicates.csv", KNOWN))
    assert len(lines) == refused
    if refused:
        assert "2 equal files" in lines[0] and "split 01" in lines[0] and "cohort.patient_column" in lines[0]
        assert all(f"case {case} in" in lines[0] for case in (group[0], group[-1])) and f"{group[0]}_1.png" in lines[0]


def test_a_case_that_is_another_whole_is_to_be_left_out():
    split = {"01": Split(["1", "2", "3", "4"], ["5", "6"], ["7", "8"])}
    (line,) = splits.copies(split, equal("17", "17", of=2), cases(), "duplicates.csv", Told("equal file", False, True))
    assert "no patient column says that they are one patient's" in line
    assert line.endswith("so leave one out: remove its row from the labels table")


def test_every_pair_has_its_line_until_there_are_too_many():
    split = {"01": Split([f"{i}" for i in range(1, 61)], ["999"], [f"{i}" for i in range(101, 161)])}
    found = equal(*([str(i), str(100 + i)] for i in range(1, 61)))
    of = pd.DataFrame({"case_id": [*split["01"].train, *split["01"].test]}).assign(
        patient_id=lambda rows: rows["case_id"]
    )
    lines = list(splits.copies(split, found, of, "duplicates.csv", KNOWN))
    assert len(lines) == splits.MOST_COPIES + 1 and "40 more" in lines[-1]


def test_the_script_stops_with_all_pairs(tmp_path, monkeypatch):
    cases().assign(label="1").to_csv(tmp_path / "cases.csv", index=False)
    equal(["1", "2"], ["3", "4"]).to_csv(tmp_path / "duplicates.csv", index=False)
    out = [str(tmp_path / f"data_splits_0{i}.npz") for i in (1, 2, 3, 4)]
    words = ["--cases", str(tmp_path / "cases.csv"), "--classes", "a", "b", "--n-splits", "4", "--output", *out]
    monkeypatch.setattr(sys, "argv", ["splits.py", *words, "--equal-files", str(tmp_path / "duplicates.csv")])
    made = generated_splits.generate(cases(), ["a", "b"], n_splits=4, n_repeats=1, validation=None, seed=42)
    parted = [pair for pair in (["1", "2"], ["3", "4"]) if list(splits.copies(made, equal(pair), cases(), "x", KNOWN))]
    with pytest.raises(UserError) as error:
        script.main(script.arguments())
    assert len(error.value.problems) == len(parted) > 0 and not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize("mode", ["merge", "warn"])
def test_equal_files_and_near_duplicates_are_merged_or_warned_of(tmp_path, monkeypatch, caplog, mode):
    cases().assign(label="1").to_csv(tmp_path / "cases.csv", index=False)
    equal(["1", "2"]).to_csv(tmp_path / "equal.csv", index=False)
    near(["2", "3"], ["5", "8"]).to_csv(tmp_path / "near.csv", index=False)
    out = [str(tmp_path / f"data_splits_0{i}.npz") for i in (1, 2, 3)]
    words = ["--cases", str(tmp_path / "cases.csv"), "--classes", "a", "b", "--n-splits", "3", "--output", *out]
    words += ["--equal-files", str(tmp_path / "equal.csv"), "--duplicates", mode]
    words += ["--same-tissue", str(tmp_path / "near.csv")] if mode == "merge" else []
    monkeypatch.setattr(sys, "argv", ["splits.py", *words])
    script.main(script.arguments())
    tested = [set(splits.read(path).test) for path in out]
    if mode == "merge":
        assert "split as one, for they have the same tissue: p1, p2, p3" in caplog.text
        for group in ({"1", "2", "3"}, {"5", "8"}):
            assert sum(bool(group & test) for test in tested) == 1
    else:
        assert "cases 1, 2 share 1 equal file" in caplog.text


def test_the_same_tissue_in_two_sites_is_told_where_sites_are_kept_whole(tmp_path, monkeypatch):
    sited = cases().assign(label="1", site=["a", "b", "c", "d"] * 2)
    sited.to_csv(tmp_path / "cases.csv", index=False)
    out = [str(tmp_path / f"data_splits_0{i}.npz") for i in (1, 2, 3)]
    words = ["--cases", str(tmp_path / "cases.csv"), "--classes", "a", "b", "--n-splits", "3", "--by", "site"]
    words += ["--same-tissue", str(tmp_path / "near.csv"), "--duplicates", "merge", "--output", *out]
    monkeypatch.setattr(sys, "argv", ["splits.py", *words])
    near(["1", "2"], ["3", "7"]).to_csv(tmp_path / "near.csv", index=False)
    with pytest.raises(UserError) as error:
        script.main(script.arguments())
    (line,) = error.value.problems
    assert "patients p1, p2 have the same tissue and are of several sites (case 1 in a, case 2 in b)" in line


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sets(st.sampled_from("12345678"), min_size=2, max_size=3), max_size=4))
def test_merged_patients_are_those_that_groups_connect(groups):
    """Against a closure by hand: as long as a group and a patient meet, they are one."""
    sets = [{case} for case in "12345678"]
    for group in groups:
        touched = [each for each in sets if each & group]
        sets = [each for each in sets if not each & group] + [set().union(*touched)]
    table = pd.DataFrame([(i, c) for i, g in enumerate(groups) for c in g], columns=["group", "case_id"], dtype=str)
    merged = duplicates.merged(cases(), [table])
    found = merged.groupby("patient_id")["case_id"].agg(set)
    assert sorted(map(sorted, found)) == sorted(map(sorted, sets))
    assert all(patient == f"p{min(members)}" for patient, members in found.items())
    assert not (splits_part(merged, groups) and groups)


def splits_part(merged, groups):
    """Whether generated splits put cases of a group into different sets; None where there can be none."""
    try:
        made = generated_splits.generate(merged, ["a", "b"], n_splits=3, n_repeats=1, validation=None, seed=1)
    except UserError:
        return None
    sets = [set(part) for split in made.values() for part in (split.train, split.val, split.test)]
    return any(group & part and not group <= part for group in groups for part in sets)


def near(*groups):
    table = equal(*groups)
    return table.assign(like="x.png", change="turned", agreement=0.95)


def look_for_leaks(tmp_path, monkeypatch, mode, *more):
    cases().assign(label="1").to_csv(tmp_path / "cases.csv", index=False)
    near(["1", "7"], ["2", "3"]).to_csv(tmp_path / "patches.csv", index=False)
    splits.write(Split(["1", "2", "3", "4"], ["5", "6"], ["7", "8"]), tmp_path / "data_splits_01.npz")
    files = ["--same-tissue", "patches.csv", "--cases", "cases.csv", "--splits", "data_splits_01.npz"]
    paths = [word if word.startswith("--") else str(tmp_path / word) for word in [*files, "--output", "leaks.csv"]]
    monkeypatch.setattr(sys, "argv", ["leaks.py", *paths, "--patient-column", "P", "--duplicates", mode, *more])
    leaks.main(leaks.arguments())
    return pd.read_csv(tmp_path / "leaks.csv", dtype=str)


@pytest.mark.parametrize("mode", ["error", "merge"])
def test_the_same_tissue_in_two_sets_stops_with_one_line(tmp_path, monkeypatch, mode):
    with pytest.raises(UserError) as error:
        look_for_leaks(tmp_path, monkeypatch, mode)
    line, where = error.value.problems
    assert "target cohort shows them side by side" in where
    assert "cases 1, 7 share 1 near-duplicate patch (e.g. 1_1.png = 7_1.png), but are of different patients" in line
    assert "split 01 has case 1 in train, case 7 in test" in line and "set cohort.duplicates: merge" in line
    assert not (tmp_path / "leaks.csv").exists()
    with pytest.raises(UserError) as error:
        look_for_leaks(tmp_path, monkeypatch, mode, "--preset")
    assert "merge" not in error.value.problems[0]


def test_a_warning_lists_what_a_split_parts(tmp_path, monkeypatch, caplog):
    found = look_for_leaks(tmp_path, monkeypatch, "warn")
    assert found[["split", "cases", "sets", "patches"]].to_numpy().tolist() == [["01", "1;7", "train;test", "1"]]
    assert "share 1 near-duplicate patch" in caplog.text


def test_the_page_has_parted_cases_first():
    split = {"01": Split(["1", "2", "3", "4"], ["5", "6"], ["7", "8"])}
    found = near(["1", "2"], ["3", "8"], ["3", "8"], ["4", "99"])
    seen = near_copies.seen(found, {"within": 3}, split, {str(i): f"p{i}" for i in range(1, 9)})
    assert [(row["cases"], row["files"], row["changes"]) for row in seen["rows"]] == [
        (["3", "8"], 2, {"turned": 2}), (["1", "2"], 1, {"turned": 1}),
    ]  # fmt: skip
    assert seen["rows"][0]["parted"] == {"split": "01", "sets": {"train": "3", "test": "8"}}
    assert seen["rows"][0]["shown"] == [["3_2.png", "8_2.png"], ["3_3.png", "8_3.png"]] and seen["within"] == 3

"""What the feature files tell of patches that hold nothing, are odd, or are those of another case; how it is said."""

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from cohorts import TEMPLATE, Made
from markupsafe import escape

from stratamil.cohort import cohort_warnings, duplicates
from stratamil.features import quality, store
from stratamil.features.images import Odd
from stratamil.report import cohort_sentences, cohort_summary, page

NONE = pd.DataFrame(columns=duplicates.COLUMNS)
CASES = ("1", "2", "3")


def shard(folder, odd=None, values=None, bits=8, lost=(), patches=4, excluded=()):
    """A shard of three cases; odd: path -> flags of its image, None of external features; values: row -> features."""
    rows = [(case, "h&e", "match_1", n, f"{case}_{n}.png") for case in CASES for n in range(patches)]
    table = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"])
    if odd is not None:
        table = table.assign(
            width=74, height=74, bits=bits, sharpness=1, odd=[int(odd.get(path, 0)) for path in table["path"]]
        )
    table = table.assign(excluded=table["path"].isin(excluded).astype(int)) if excluded else table
    numbers = np.random.default_rng(0).normal(size=(len(table), 6)).astype(np.float16)
    for row, what in (values or {}).items():
        numbers[row] = what
    lost = pd.DataFrame([("1", path, "damaged") for path in lost], columns=list(store.UNREADABLE))
    path = folder / "x" / "shard_00.h5"
    store.write(path, numbers, table, lost, {"encoder": "x"})
    return [path], numbers


def look(shards, copies=NONE, patients=CASES, images=True):
    return quality.look(shards, copies, dict(zip(CASES, patients)), images)


def said(found, patient_column="Patient"):
    return " ".join([*cohort_warnings._of_copies(found, patient_column), *cohort_warnings._of_patches(found, "")])


def test_images_are_counted_by_kind_and_blank_ones_by_case(tmp_path):
    white = Odd.BLANK | Odd.WHITE
    odd = {
        "1_0.png": white, "1_1.png": white | Odd.TRANSPARENT, "1_2.png": Odd.BLANK | Odd.BLACK,
        "2_0.png": Odd.BLANK | Odd.SMALL, "2_1.png": Odd.TWO_LEVEL, "2_2.png": Odd.OBLONG | Odd.OWN_COLOUR,
        "2_3.png": Odd.OBLONG | Odd.CMYK,
    } | {f"3_{n}.png": white for n in range(4)}  # fmt: skip
    found = look(shard(tmp_path, odd, lost=["a.png", "b.png"])[0])
    kinds = {row["kind"]: row["n"] for row in found["kinds"]}
    assert list(kinds.values()) == [1, 5, 1, 1, 1, 1, 2, 1, 1] and set(kinds) == set(quality.KINDS)
    assert found["empty"] == [
        {"case_id": "1", "empty": 3, "patches": 4}, {"case_id": "2", "empty": 1, "patches": 4},
        {"case_id": "3", "empty": 4, "patches": 4},
    ]  # fmt: skip
    words = said(found)
    assert "1 case has nothing but blank patches" in words and ": 3." in words
    assert "1 (3 of 4), 2 (1 of 4)" in words and "2 longer than 4 times their width (e.g. 2_2.png)" in words
    assert "2 patches of used cases cannot be read" in words and found["unreadable"]["examples"] == ["a.png", "b.png"]


def test_odd_images_that_are_excluded_are_not_said_to_be_used(tmp_path):
    odd = {"1_0.png": Odd.BLANK | Odd.SMALL, "1_1.png": Odd.SMALL, "2_0.png": Odd.TWO_LEVEL, "3_0.png": Odd.TRANSPARENT}
    found = look(shard(tmp_path, odd, excluded=["1_0.png", "2_0.png", "3_0.png"])[0])
    assert {row["kind"]: (row["n"], row["used"]["n"]) for row in found["kinds"]} == {
        "fully transparent, read as white": (1, 0), "all of one colour, neither white nor black": (1, 0),
        "of two colours only": (1, 0), "smaller than 16 pixels": (2, 1),
    }  # fmt: skip
    assert "used as they are: 1 smaller than 16 pixels (e.g. 1_1.png). If" in said(found)


def test_a_sound_cohort_has_nothing_to_say(tmp_path):
    assert said(look(shard(tmp_path, {})[0])) == ""
    assert said(look(shard(tmp_path)[0], images=False)) == ""


@pytest.mark.parametrize("bits, warned", [([12] * 12, False), ([12, 10] * 6, True), ([12, 16] * 6, True)])
def test_ranges_of_16_bit_images_are_told_and_mixed_ones_warned_of(tmp_path, bits, warned):
    odd = {f"{case}_{n}.png": Odd.GREY16 for case in CASES for n in range(4)}
    found = look(shard(tmp_path, odd, bits=bits)[0])
    assert [row["bits"] for row in found["bits"]] == sorted(set(bits)) and ("different ranges" in said(found)) == warned
    made = Made()
    known = cohort_summary.classed(*made.tables()[:2])
    numbers = cohort_summary.numbers(known, *made.tables()[1:], made.splits(), **made.settings(), quality=found)
    assert any("12 16-bit grey images use 12 bits" in line for line in numbers["notes"]) != warned


def test_constant_and_zero_rows_of_external_features_and_rows_that_cases_share(tmp_path):
    shards, numbers = shard(tmp_path, values={0: 0, 1: 3, 8: 0, 9: 0, 10: 5, 11: 0})
    found = look(shards, images=False)
    assert {row["kind"]: row["n"] for row in found["kinds"]} == {
        "features all zero": 4, "features all equal, but not zero": 2,
    }  # fmt: skip
    assert [row["empty"] for row in found["empty"]] == [2, 4] and found["equal_rows"] == []
    assert "1 case has nothing but constant features" in said(found)
    shards, _ = shard(tmp_path, values={4: numbers[2], 5: numbers[3]})
    found = look(shards, images=False)
    assert found["equal_rows"] == [
        {
            "cases": ["1", "2"],
            "files": 2,
            "examples": ["1_2.png", "2_0.png"],
            "stains": ["h&e"],
            "whole": False,
            "same_patient": False,
        }
    ]
    assert "Cases 1, 2 share 2 equal feature rows" in said(found, None)
    assert "Cases 1, 2 of different patients share 2 equal feature rows" in said(found)
    assert said(look(shards, images=False, patients=["a", "a", "b"])) == ""


def test_background_and_rows_of_other_stains_are_no_evidence(tmp_path):
    background, tissue = np.zeros(64, dtype=np.float16), np.arange(64, dtype=np.float16)
    background[7] = 1
    path = tmp_path / "x" / "shard_00.h5"
    stains = {"1": ["h&e", "h&e", "sox10"], "2": ["h&e", "sox10", "h&e"]}
    rows = [(case, stain, "a", n, f"{case}.h5#{n}") for case in stains for n, stain in enumerate(stains[case])]
    table = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"])
    numbers = np.stack([background, tissue, tissue + 1, background, tissue, tissue + 2])
    none = pd.DataFrame([], columns=list(store.UNREADABLE))
    store.write(path, numbers, table, none, {"encoder": "x"})
    assert look([path], images=False)["equal_rows"] == []
    numbers[5] = tissue
    store.write(path, numbers, table, none, {"encoder": "x"})
    found = look([path], images=False)
    assert [(row["files"], row["examples"]) for row in found["equal_rows"]] == [(1, ["1.h5#1", "2.h5#2"])]
    copies = pd.DataFrame([(1, "1", "", "1.h5", 1), (1, "2", "", "2.h5", 1)], columns=duplicates.COLUMNS)
    found = look([path], copies, images=False)  # said once, of the files
    assert found["equal_rows"] == [] and found["copies"][0]["whole"]


def test_cases_that_are_the_same_whole_are_warned_of_in_one_patient_too(tmp_path):
    copies = pd.DataFrame([(1, "1", "h&e", "1_0.png", 1), (1, "2", "h&e", "2_0.png", 1)], columns=duplicates.COLUMNS)
    shards, _ = shard(tmp_path, {})
    for patients, of in ((CASES, "different patients"), ("aab", "one patient")):
        assert said(look(shards, copies, patients)) == (
            f"Cases 1, 2 of {of} have nothing but 1 equal file (1_0.png = 2_0.png): the same tissue counts 2 times. "
            "Exclude one: remove its row from the labels table."
        )


def test_a_case_whose_patches_are_all_one(tmp_path):
    found = look(shard(tmp_path, {}, values={n: np.arange(6) for n in range(4, 8)})[0])
    assert found["same"] == ["2"] and "1 case has patches that are all identical: 2." in said(found)


def test_the_page_names_cases_that_share_files(tmp_path):
    copies = pd.DataFrame([(1, "1", "h&e", "1_<b>.png", 5), (1, "2", "h&e", "2_0.png", 5)], columns=duplicates.COLUMNS)
    found = look(shard(tmp_path, {"3_0.png": Odd.BLANK | Odd.WHITE})[0], copies)
    assert "Cases 1, 2 of different patients share 1 equal file (1_<b>.png = 2_0.png)" in said(found)
    made = Made()
    known = cohort_summary.classed(*made.tables()[:2])
    numbers = cohort_summary.numbers(known, *made.tables()[1:], made.splits(), **made.settings(), quality=found)
    numbers |= {"samples": [], "folder": None, "commit": None, "inputs": {}}
    html = page.template(TEMPLATE).render(
        title="x",
        study="y",
        colors=["#111111"] * 3,
        cohort=numbers,
        prose=cohort_sentences.of_page(numbers),
        samples=None,
        figures=defaultdict(str),
    )
    assert "<b>.png" not in html and str(escape("1_<b>.png = 2_0.png")) in html and "all white" in html

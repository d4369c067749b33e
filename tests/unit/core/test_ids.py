"""Ids are matched exactly, else with separators levelled, else without leading zeros, if that leaves no choice."""

import logging

import pytest
from factories import CLASSES, STAIN_NAMES, read_labels

from stratamil.cohort import inventory, splits
from stratamil.core import ids
from stratamil.core.errors import UserError
from stratamil.core.names import Grammar
from stratamil.explain import attention_tables

SLASHED = "Case,Class\n" + "".join(f"B{c:03d}/24,{'13'[c % 2]}\n" for c in range(1, 13))


@pytest.mark.parametrize("text", ["B001-24", "b001_24", "B001 24", "B001.24", "B001–24", "B001 - 24"])
def test_separators_do_not_matter_where_no_id_is_equal(text):
    known = ids.Known(["B001/24", "B002/24"])
    assert known.match([text, "B1/24", "B00124", "B001+24"]) == {text: "B001/24"} == known.levelled
    assert ids.told(known.levelled, "patches").startswith("patches: 1 id differs from the labels table in separators")


def test_an_equal_id_comes_first_and_is_not_told():
    known = ids.Known(["B001/24", "B001-24", "38"])
    assert known.match(["B001-24", "b001/24", "038"]) == {"B001-24": "B001-24", "b001/24": "B001/24", "038": "38"}
    assert known.levelled == {}
    # what an equal id has taken is no other's: as before, that one is in no row of the table
    assert ids.Known(["B001-24"]).match(["B001-24", "B001_24"]) == {"B001-24": "B001-24"}


@pytest.mark.parametrize("own, text", [("s24-1", "S24-0001"), ("S24-0001", "S24_1"), ("B7/024-0", "B07-24-00")])
def test_leading_zeros_do_not_matter_where_nothing_else_matches(own, text):
    known = ids.Known([own, "S24-10", "S24-100"])
    assert known.match([text, "S24-0010", "S24-1000"]) == {text: own, "S24-0010": "S24-10"} == known.levelled
    assert "separators or leading zeros alone" in ids.told(known.levelled, "patches")
    assert ids.in_zeros({"B1-24": "B1/24", text: own}) == {text: own}


def test_zeros_that_tell_ids_apart_are_kept():
    known = ids.Known(["S24-1", "S24-0001"])
    assert known.match(["S24-0001", "S24-001"]) == {"S24-0001": "S24-0001", "S24-001": "S24-1"}
    with pytest.raises(UserError, match="'S24-01' could be 'S24-1', 'S24-0001'"):
        ids.Known(["S24-1", "S24-0001"]).match(["S24-01"])
    with pytest.raises(UserError, match="'S24-01', 'S24-001' could each be 'S24-1'"):
        ids.Known(["S24-1"]).match(["S24-01", "S24-001"])


def test_what_could_be_several_is_a_line_each():
    with pytest.raises(UserError) as error:
        ids.Known(["B1/24", "B1-24", "C.7"]).match(["B1_24", "C-7", "C 7"])
    assert error.value.problems == (
        "'B1_24' could be 'B1/24', 'B1-24': spell it as one of them",
        "'C-7', 'C 7' could each be 'C.7': spell one as 'C.7', and the others differently",
    )


@pytest.fixture
def taken(tmp_path):
    for c in range(1, 13):
        for patch in (1, 2):
            path = tmp_path / "patches" / f"B{c:03d}-24" / f"he_{patch}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{c} {patch}".encode())
    grammar = Grammar(r"^(?P<case>[^/]+)/(?P<stain>[^/]+?)_(?P<patch>[0-9]+)\.png$", STAIN_NAMES)
    labelled = read_labels(tmp_path, SLASHED)
    return inventory.take(tmp_path / "patches", labelled, grammar, list(STAIN_NAMES), "exclude")


def test_files_find_the_labels_whose_separator_no_file_can_have(taken):
    assert set(taken.cases["status"]) == {inventory.USED} and set(taken.patches["case_id"]) == set(
        taken.cases["case_id"]
    )
    (line,) = taken.told
    assert "12 ids differ from the labels table in separators alone" in line and "B001-24 = B001/24" in line


def test_splits_and_settings_are_matched_as_files_are(taken, tmp_path, caplog):
    sets = {"train": range(1, 7), "val": range(7, 10), "test": range(10, 13)}
    rows = [f"B{c:03d}_24,{name}" for name, cases in sets.items() for c in cases]
    (tmp_path / "split.csv").write_text("\n".join(["case,set", *rows]))
    with caplog.at_level(logging.WARNING):
        (split,) = splits.preset([tmp_path / "split.csv"], taken.cases, list(CLASSES)).values()
    assert split.test == ["B010/24", "B011/24", "B012/24"] and caplog.text.count("in separators alone") == 1
    cases = [attention_tables.Case(case, "", "", 0.5, None) for case in split.test]
    assert [case.id for case in attention_tables.choose(cases, ["B012-24"], tested=split.test)] == ["B012/24"]

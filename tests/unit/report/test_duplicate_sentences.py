"""What the cohort page says of tissue that several cases have, with its pictures."""

import pytest
from cohorts import Made
from PIL import Image

from stratamil.report import cohort_summary, duplicate_sentences

ROW = {
    "cases": ["1", "3"], "files": 2, "examples": ["a.png", "<b>.png"], "stains": ["h&e", "melan"],
    "whole": False, "same_patient": False,
    "changes": {"turned": 1, "same": 1}, "shown": [["a.png", "<b>.png"]],
    "parted": {"split": "01", "sets": {"train": "1", "test": "3"}},
}  # fmt: skip
FOUND = {"images": True, "patches": 1200, "compared": 1190, "across": 0, "within": 0, "cases": [], "rows": []}


def numbers(found):
    made = Made()
    patches, cases, excluded = made.tables()
    known = cohort_summary.classed(patches, cases)
    return cohort_summary.numbers(known, cases, excluded, made.splits(), **made.settings(), looks={"twice": found})


def test_nothing_twice():
    found = numbers(FOUND)
    assert found["warnings"] == []
    said = duplicate_sentences.of_page(found, None)
    assert said["told"] == (
        "1,190 of 1,200 patches were compared with all others; the rest show too little. No two cases have a patch of "
        "the same tissue."
    )
    assert said["within"] == "" and said["rows"] == []
    assert "encoded twice" in duplicate_sentences.of_page(numbers(FOUND | {"images": False}), None)["limits"]
    assert duplicate_sentences.of_page(numbers(None), None) == {}


@pytest.mark.parametrize("parted", [True, False])
def test_tissue_of_two_patients_leads_the_warnings_and_is_shown(tmp_path, parted):
    Image.new("RGB", (48, 48), "pink").save(tmp_path / "a.png")
    row = ROW if parted else ROW | {"parted": None}
    found = numbers(FOUND | {"across": 4, "rows": [row], "within": 5, "cases": [{"case": "2", "patches": 5}]})
    assert found["grave"] == 1 and "Cases 1, 3" in found["warnings"][0]
    assert "share 2 near-duplicate patches (a.png = <b>.png, named h&e and melan)" in found["warnings"][0]
    assert ("split 01 has case 1 in train and case 3 in test" in found["warnings"][0]) == parted
    said = duplicate_sentences.of_page(found, tmp_path)
    (shown,) = said["rows"]
    assert shown["changes"] == "1 patch turned, 1 patch unchanged" and shown["parted"] == parted
    assert shown["strips"][0][0].startswith("data:image/jpeg;base64,") and shown["strips"][0][1] == "a.png = <b>.png"
    assert ("a model would be tested on tissue that it has seen" in said["told"]) == parted
    assert "Within cases 5 patches are like another of the same case" in said["within"]


def test_cases_of_one_patient_are_shown_without_a_warning():
    found = numbers(FOUND | {"across": 4, "rows": [ROW | {"same_patient": True, "parted": None}]})
    assert (
        found["warnings"] == []
        and duplicate_sentences.of_page(found, None)["rows"][0]["cases"] == "1, 3 of one patient"
    )

"""The reporting checklists: every item of each, and no claim that a study does not bear out."""

import pytest
from repository import REPOSITORY

from stratamil.report import checklists, report_text, validation_words

LISTS = checklists.read(REPOSITORY / "report/checklists.yaml")
EVERYTHING = checklists.facts(
    {"patient_column": "P"}, faithfulness=True, class_weights=True, columns=True, encoder=True
)
NOTHING = checklists.facts(
    {"patient_column": None}, faithfulness=False, class_weights=False, columns=False, encoder=False
)


def items(lacks, name="TRIPOD+AI"):
    found = next(each for each in checklists.states(LISTS, lacks) if each["name"] == name)
    return {item["item"]: item for item in found["items"]}


def numbered(last, **letters):
    """Numbers of items 1 to last; letters: of those with parts, as i12="abc"."""
    parts = {int(name[1:]): text for name, text in letters.items()}
    return [f"{i}{letter}" for i in range(1, last + 1) for letter in parts.get(i, [""])]


@pytest.mark.parametrize(
    "name, expected",
    [
        (
            "TRIPOD+AI",
            numbered(
                27, i3="abc", i5="ab", i6="abc", i8="abc", i9="abc", i12="abcdefg", i18="abcdef", i20="abc", i23="ab",
                i27="abc",
            ),
        ),
        ("CLAIM 2024", numbered(44)),
        ("STARD-AI", numbered(40, i15="abcd", i16="abc", i17="ab", i26="ab", i40="ab")),
    ],
)  # fmt: skip
def test_every_item_is_there_once(name, expected):
    assert list(items(EVERYTHING, name)) == expected


def test_items_have_a_state_and_what_is_answered_has_a_place():
    sections = {*report_text.SECTIONS, *report_text.APPENDIX}
    for lacks in (EVERYTHING, NOTHING):
        for each in checklists.states(LISTS, lacks):
            for item in each["items"]:
                assert item["state"] in checklists.STATES and set(item["where"]) <= sections, item
                assert bool(item["where"]) == (item["state"] != checklists.AUTHOR), item


def test_nothing_is_claimed_that_the_study_does_not_show():
    """Clusters, updating, a second cohort and use in a clinic are no part of a study; measures lack a rationale."""
    found = items(EVERYTHING)
    for item in ("12d", "23b", "12f", "24", "16", "20c"):
        assert found[item]["state"] == checklists.AUTHOR, item
    for item in ("12e", "27a"):
        assert found[item]["state"] == checklists.PARTLY, item


@pytest.mark.parametrize("patients, columns, binary", [(True, True, True), (False, False, False)])
def test_an_external_validation_answers_the_items_of_an_evaluation(patients, columns, binary):
    """Items that TRIPOD+AI marks D, for development alone, are not on its list; each place is on its page."""
    lists = checklists.read(REPOSITORY / "report/checklist_external.yaml")
    lacks = checklists.facts_of_validation(patients=patients, columns=columns, binary=binary, encoder=columns)
    found = {item["item"]: item for item in checklists.states(lists, lacks)[0]["items"]}
    of_development = {"9a", "12a", "12b", "12c", "15", "22", "27a", "27b"}
    assert list(found) == [item for item in items(EVERYTHING) if item not in of_development]
    sections = set(validation_words.sections({"positive": "high-grade" if binary else None}))
    for item in found.values():
        assert item["state"] in checklists.STATES and set(item["where"]) <= sections, item
        assert bool(item["where"]) == (item["state"] != checklists.AUTHOR), item
    assert (found["12f"]["state"] == checklists.ANSWERED) == binary


def test_what_a_study_lacks_changes_its_states():
    assert items(EVERYTHING)["12a"]["remark"] == "cross-validated splits by patient"
    assert "patient" not in items(NOTHING)["12a"]["remark"].replace("patients are unknown", "")
    assert items(NOTHING)["12a"]["state"] == items(NOTHING, "CLAIM 2024")["20"]["state"] == checklists.PARTLY
    assert items(EVERYTHING, "CLAIM 2024")["31"]["where"] == ["attention", "faithfulness"]
    assert items(NOTHING, "CLAIM 2024")["31"]["where"] == ["attention"]
    assert (items(EVERYTHING)["23a"]["state"], items(NOTHING)["23a"]["state"]) == ("answered", "partly")


def test_where_another_program_computed_the_features_nothing_is_claimed_of_their_encoder():
    for name in ("TRIPOD+AI", "CLAIM 2024"):
        for item in items({"no encoder"}, name).values():
            assert item["state"] != checklists.ANSWERED or "encod" not in item["remark"], item
    claim = {item: items({"no encoder"}, "CLAIM 2024")[item] for item in ("9", "24")}
    assert [item["state"] for item in claim.values()] == [checklists.PARTLY, checklists.PARTLY]
    assert claim["24"]["remark"] == "seeds; the weights of the encoder are not known here"
    assert items(EVERYTHING, "CLAIM 2024")["24"]["state"] == checklists.ANSWERED

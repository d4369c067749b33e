"""What the cohort page says of names and colours of stains, with its pictures."""

import base64
import io

import pytest
from cohorts import Made
from PIL import Image

from stratamil.report import cohort_summary, stain_sentences

SUSPECT = {
    "case": "7", "stain": "sox10", "slice": "match_1", "looks": "h&e", "odds": 12345.6, "n": 5,
    "patches": ["a.png", "b.png"], "named": ["c.png"], "like": ["gone.png"],
}  # fmt: skip
FOUND = {
    "stains": ["h&e", "sox10"], "few": [], "slices": 1200, "cases": 24, "told": 1199,
    "pairs": [{"a": "h&e", "b": "sox10", "auc": 0.999}], "unlike": [], "suspects": [],
}  # fmt: skip
ALIKE = [{"a": "h&e", "b": "sox10", "auc": 0.9}]
DRIFT = {
    "column": "Site", "stain": "h&e", "patients": 40, "share": 0.36, "p": 0.0002, "adjusted": 0.0004,
    "low": ("Kiel", 0.243), "high": ("Bonn", 0.312),
}  # fmt: skip


def numbers(**changes):
    made = Made()
    patches, cases, excluded = made.tables()
    known = cohort_summary.classed(patches, cases)
    return cohort_summary.numbers(known, cases, excluded, made.splits(), **made.settings(), looks=changes)


def test_names_that_are_right_and_no_columns():
    found = numbers(names=FOUND)
    assert found["warnings"] == []
    said = stain_sentences.of_page(found, None)
    assert "1,199 of 1,200 slices look most like the stain of their name" in said["told"]
    assert "None looks more than 3 times as much like another stain." in said["told"]
    one = {"case": "9", "stain": "sox10", "slice": "A2", "looks": "h&e"}
    (line,) = [stain_sentences.told(FOUND | {"unlike": [one]})]
    assert line.endswith("Slightly more like another stain: slice A2 of case 9 (sox10, looks like h&e).")
    assert said["alike"] == said["drift"] == said["more"] == "" and said["rows"] == []


def test_a_wrong_name_is_a_grave_warning_and_shown(tmp_path):
    for i, name in enumerate("abc"):
        Image.new("RGB", (48, 48), (200, 80 * i, 90)).save(tmp_path / f"{name}.png")
    found = numbers(names=FOUND | {"suspects": [SUSPECT]})
    (line,) = found["warnings"]
    assert found["grave"] == 1
    assert line.startswith(
        "1 slice looks like another stain than its name says: slice match_1 of case 7 (sox10, looks like h&e)"
    )
    said = stain_sentences.of_page(found, tmp_path)
    assert said["rows"][0]["odds"] == "over 1,000 times"
    sizes = []
    for name in ("patches", "named", "like"):
        head, _, data = said["strips"][0][name].partition(",")
        assert head == "data:image/jpeg;base64"
        sizes.append(Image.open(io.BytesIO(base64.b64decode(data))).size)
    assert sizes == [(148, 72), (72, 72), (72, 72)]  # also of a patch that has gone


def test_stains_that_look_alike_are_listed_without_a_warning():
    found = numbers(names=FOUND | {"suspects": [SUSPECT], "pairs": ALIKE})
    assert found["warnings"] == [] and found["grave"] == 0
    said = stain_sentences.of_page(found, None)
    assert (
        "Here h&e and sox10 (AUROC 0.900) look too alike to be certain: a swap between them can stay unseen"
        in said["alike"]
    )
    assert len(said["rows"]) == 1


def test_more_than_the_page_shows_are_counted():
    many = [SUSPECT | {"case": str(i)} for i in range(20)]
    said = stain_sentences.of_page(numbers(names=FOUND | {"suspects": many}), None)
    assert len(said["rows"]) == stain_sentences.MOST and said["more"] == "8 more slices in cohort.json."


@pytest.mark.parametrize(
    "rows, words",
    [
        (
            [DRIFT],
            "that of h&e with Site (36% of the variance between patients, p < 0.001; mean optical density 0.24 in "
            "Kiel, 0.31 in Bonn; 40 patients)",
        ),
        ([DRIFT | {"adjusted": 0.3}], "does not show that the colour of a stain goes with Site (smallest p = 0.30;"),
        ([DRIFT, DRIFT | {"column": "Year", "adjusted": 0.3}], "p adjusted for 2 comparisons"),
    ],
)
def test_drift(rows, words):
    assert words in stain_sentences.of_page(numbers(drift=rows), None)["drift"]

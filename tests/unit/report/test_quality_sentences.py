"""What the cohort page says of the quality of patches, with names that are no markup."""

import re
from collections import defaultdict

import numpy as np
from cohorts import COLORS, NASTY, TEMPLATE, Made
from markupsafe import escape
from PIL import Image

from stratamil.evaluation.patch_quality import KINDS, MEASURES
from stratamil.report import cohort_sentences, cohort_summary, page, quality_sentences, stain_sentences
from stratamil.stats.intervals import Estimate

BEST = {"measure": "sharpness", "stain": "h&e", "auc": 0.8, "more": "high-grade"}


def found(**changes):
    rows = [
        {"stain": stain, "class": name, "patches": 1200, "excluded": 3} | dict.fromkeys(MEASURES, 0.5)
        | dict.fromkeys(KINDS, 0) | {"sharpness": 812.4, "residual": None}
        for stain in ("h&e", "sox10") for name in ("benign", "high-grade")
    ]  # fmt: skip
    picture = {"stain": "h&e", "kind": "blurred", "n": 2, "measure": "sharpness", "low": 1.5, "high": 40.2}
    return {
        "rows": rows, "suspects": dict.fromkeys(KINDS, 0) | {"blurred": 2}, "suspect": 2, "patches": 4800,
        "pictures": [picture | {"paths": ["a.png"], "cases": [NASTY]}],
        "excluded": [{"why": "blank: all pixels equal", "n": 12, "paths": [], "cases": []}],
        "emptied": [], "lost": [],
        "probe": {"auc": Estimate(0.55, 0.4, 0.7, 24), "cases": 24, "patients": 24, "best": BEST},
    } | changes  # fmt: skip


def numbers(quality):
    made = Made()
    patches, cases, excluded = made.tables()
    known = cohort_summary.classed(patches, cases)
    looks = {"patch_quality": quality}
    return cohort_summary.numbers(known, cases, excluded, made.splits(), **made.settings(), looks=looks)


def test_what_is_excluded_and_suspect_in_words():
    made = numbers(found())
    said = quality_sentences.of_page(made, None)
    assert said["told"] == (
        "12 patches are excluded for their quality (blank: all pixels equal, 12). "
        "2 of 4,800 used patches are suspect, and used: blurred (2)."
    )
    assert "AUROC of 0.55 (95% CI 0.40 to 0.70, 24 patients); or" not in said["probe"]
    assert "AUROC of 0.55 (95% CI 0.40 to 0.70, 24 patients); the CI includes 0.5" in said["probe"]
    assert said["medians"][0] == ["50%", "812", "0.50", "0.50", ""]
    assert said["pictures"][0]["title"] == "h&e: blurred, 2 suspect (sharpness 1.50 to 40)"
    assert made["warnings"] == [] and [kind for kind, _ in said["kinds"]] == ["blurred"]
    several = quality_sentences.told(found(suspects=dict.fromkeys(KINDS, 0) | {"blurred": 2, "dark": 1}))
    assert several.endswith("used: blurred (2) and dark (1), for a patch can be of several kinds.")
    none = quality_sentences.told(found(excluded=[], suspect=0, suspects=dict.fromkeys(KINDS, 0)))
    assert none == "No patch is excluded for its quality. None of 4,800 used patches is suspect."
    assert quality_sentences.of_page(numbers(None), None) == {}


def test_quality_that_tells_the_class_is_a_warning():
    told = {"auc": Estimate(0.81, 0.62, 0.93, 24), "cases": 24, "patients": 24, "best": BEST}
    (line,) = numbers(found(probe=told))["warnings"]
    assert "alone tells the classes with an AUROC of 0.81 (95% CI 0.62 to 0.93, 24 patients), most by the" in line
    assert "sharpness of h&e, larger in high-grade (alone 0.80)" in line
    assert len(numbers(found(probe=told | {"best": None}))["warnings"]) == 1
    assert numbers(found(probe=None))["warnings"] == []
    (line,) = numbers(found(probe=None, emptied=["7", NASTY]))["warnings"]
    assert (
        line.startswith("2 cases have nothing but patches that would be excluded for their quality") and NASTY in line
    )
    (line,) = numbers(found(probe=None, lost=[{"stain": "sox10", "cases": ["7"]}]))["warnings"]
    assert line.startswith("Of 1 case every patch of sox10 is excluded for its quality: 7. The model sees it without")


def test_ink_that_is_used_is_a_warning_with_the_setting_that_excludes_it():
    ink = {"stain": "h&e", "kind": "ink", "measure": "pen", "low": 0.1, "high": 0.2}
    rows = [
        ink | {"n": 4, "paths": ["7/a.png", "8/b.png", "8/c.png", "8/d.png"], "cases": ["7", "8", "8", "8"]},
        ink | {"stain": "sox10", "n": 1, "paths": ["9/e.png"], "cases": ["9"]},
    ]
    marked = found(probe=None, suspects=dict.fromkeys(KINDS, 0) | {"ink": 5}, pictures=rows)
    (line,) = numbers(marked)["warnings"]
    assert line == (
        "5 patches have ink of a pen and are used: 7/a.png of case 7, 8/b.png of case 8, 8/c.png of case 8 and 2 more. "
        "A mark can tell the class, so leave them out by cohort.quality.pen: exclude."
    )
    one = marked | {"suspects": dict.fromkeys(KINDS, 0) | {"ink": 1}, "pictures": rows[1:]}
    assert numbers(one)["warnings"][0].startswith("1 patch has ink of a pen and is used: 9/e.png of case 9. A mark")
    assert not any("ink" in line for line in numbers(one | {"emptied": ["9"]})["warnings"])


def test_names_are_text_and_pictures_are_part_of_the_page(tmp_path):
    short, long = "5/melan L2/0005.jpg", "a folder for the case <5> of 2024/a slice of it, Melan A L2/0005.jpg"
    for path in (short, long):
        (tmp_path / path).parent.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(tmp_path / path)
    quality = found()
    quality["pictures"][0] |= {"paths": [short, long], "cases": [NASTY, "5"]}
    quality["pictures"][0]["stain"] = NASTY
    for row in quality["rows"]:
        row["stain"] = NASTY
    made = numbers(quality) | {"samples": [{}], "folder": "x", "commit": None, "inputs": {}}
    text = page.template(TEMPLATE).render(
        title="The cohort", study="Made", first_page=None, colors=COLORS, cohort=made,
        prose=cohort_sentences.of_page(made), looks=stain_sentences.of_page(made, None),
        grades_of=quality_sentences.of_page(made, tmp_path), samples="data:,", figures=defaultdict(str),
    )  # fmt: skip
    assert NASTY not in text and 'id="patch_quality"' in text
    (tiles,) = re.findall('<div class="tiles">(.*?)</div>', text)
    assert 'src="data:image/jpeg;base64,' in tiles and f"<b>case {escape(NASTY)}</b> {short}<" in tiles
    cut = "a folder for the case &lt;… it, Melan A L2/0005.jpg"
    assert f'<span title="{escape(long)}">' in tiles and f"</b> {cut}<" in tiles

"""The cohort page on small made tables: what it counts, what it warns of and what not, what it shows."""

import json
import re
import sys
from collections import defaultdict
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from cohorts import COLORS, NASTY, STAINS, TEMPLATE, Made
from markupsafe import escape
from pages import Elements, browse, outside
from PIL import Image
from sklearn.metrics import roc_auc_score

import cohort as script
from stratamil.cohort import cohort_warnings, inventory, patch_files, splits, telling
from stratamil.core.errors import UserError
from stratamil.report import cohort_sentences, cohort_summary, page, quality_sentences, samples, sentences_cases, style
from stratamil.stats.intervals import Estimate

pytestmark = pytest.mark.slow


def test_a_balanced_cohort_has_nothing_to_warn_of():
    found = Made().numbers()
    assert (found["warnings"], found["notes"], found["stains_warned"]) == ([], [], False)


@pytest.mark.parametrize("n, words", [(36, None), (37, "37 high-grade cases against 12 benign, 3.1 to 1.")])
def test_imbalance(n, words):
    made = Made()
    some = [made.case(f"x{i}", "high-grade", i % 12) for i in range(n - 12)]
    made.cases += some
    said = [line for line in made.warnings() if "Class sizes differ" in line]
    assert (words in said[0]) if words else not said


def test_a_class_of_few_patients():
    made = Made()
    for case in made.of("benign")[:3]:
        case["patient_id"] = "one"
    assert made.warnings() == []
    made.of("benign")[3]["patient_id"] = "one"
    assert [line.split(":")[0] for line in made.warnings()] == ["Class benign has only 9 patients"]


def test_amounts_that_tell_the_class():
    """The AUROC is that of scikit-learn, of the class that has more; a weak one or an uncertain one is no warning."""
    made, random = Made(40), np.random.default_rng(0)
    for case in made.cases:
        case["slices"]["h&e"] = list(random.integers(5, 9, 2 + random.integers(4) + 2 * (case["class"] == "benign")))
    found = made.numbers()
    used = made.tables()[1]
    for row, name in zip(found["predictors"], ("n_slices", "n_patches")):
        assert row["more"] == "benign"
        auc = row["auc"]
        assert auc.value == pytest.approx(roc_auc_score(used["class"] == "benign", used[name])) and auc.n == len(used)
        assert 0.5 < auc.low < auc.value < auc.high
        assert any(f"The {row['measure']} alone separates benign" in line for line in found["warnings"])
        assert f"median {used.loc[used['class'] == 'benign', name].median():g} against" in " ".join(found["warnings"])
    few = Made(10)  # the same AUROC from fewer patients is not told apart from chance
    for i, case in enumerate(few.cases):
        case["slices"] = {"h&e": [10 + (i * 7) % 10 + 2 * (i < 10)]}
    auc = few.numbers()["predictors"][0]["auc"]
    assert auc.value > telling.CLEAR and auc.low <= 0.5
    assert not any("alone separates" in line for line in few.warnings())


def test_of_three_classes_the_one_told_best_is_shown():
    made = Made(classes=["a", "b", "c"])
    for case in made.of("b"):
        case["slices"] = {"h&e": [5, 5]}
    found = {row["measure"]: row for row in made.numbers()["predictors"]}
    assert (found["number of slices"]["more"], found["number of slices"]["fewer"]) == ("the rest", "b")
    assert found["number of slices"]["auc"].value == 1
    assert found["presence of the stain sox10"]["auc"].value == 1
    there = found["presence of the stain sox10"]
    assert there["typical_more"] == 1 and there["typical_fewer"] == 0
    assert any("The presence of the stain sox10 alone separates the rest from b" in line for line in made.warnings())
    assert made.numbers()["stains_warned"]


def test_a_stain_almost_absent():
    made = Made()
    for case in made.cases[:10] + made.cases[12:-5]:
        case["slices"]["sox10"] = []
        case["slices"]["h&e"] += [5, 5]
    assert not any(line.startswith("Stain") for line in made.warnings())
    for case in made.cases[-3:]:
        case["slices"]["sox10"] = []
    assert any(line.startswith("Stain sox10 is in 4 of 24 cases") for line in made.warnings())
    assert made.numbers()["stains_warned"]


def test_a_stain_that_no_case_has_is_named_once_and_shown_nowhere():
    made = Made(stains=["ki67", *STAINS])
    for case in made.cases:
        case["slices"]["ki67"] = []
    found = made.numbers()
    assert found["warnings"] == [] and found["absent_stains"] == ["ki67"] and found["stains"] == STAINS
    assert found["notes"] == ["No used case has ki67, although the study names it: not shown on the pages."]
    assert not any("ki67" in str(value) for name, value in found.items() if name not in ("notes", "absent_stains"))
    assert found["combinations"] == [{"missing": [], "cases": 24, "counts": {"benign": 12, "high-grade": 12}}]
    assert all("ki67" not in style.svg(figure) for figure, _ in cohort_summary.figures(found, COLORS).values())


def change_few_patches(made):
    made.cases[0]["slices"] = {"h&e": [4], "sox10": [5]}
    made.cases[12]["slices"] = {"h&e": [4], "sox10": [6]}  # 10 patches are enough


def change_patient_of_two_classes(made):
    made.cases[0]["patient_id"] = made.cases[12]["patient_id"]


def change_unknown_stain(made):
    made.excluded += [("file", f"{i}.png", "stain 'cd31' not in names.stains", "cd31", 0) for i in range(3)]
    made.excluded += [("file", "x.db", "not an image", "", 0)]


def change_no_patches(made):
    made.cases += [made.case("e1", "benign") | {"slices": {}}]
    made.excluded += [("case", "e1", "no patches", "", 0)]


def change_other_stains(made):
    made.cases += [made.case("e1", "benign") | {"slices": {}, "status": inventory.ONLY_UNKNOWN}]
    made.excluded += [("case", "e1", inventory.ONLY_UNKNOWN, "patches of cd31", 0)]


def change_no_row(made):
    made.excluded += [("case", "77", "no row in the labels", "", 12)]


def change_untested(made):
    made.untested = ["b3"]


def change_no_patients(made):
    made.patient_column = None


def change_stain_of_one_class(made):
    for case in made.cases[:6]:
        case["slices"] = {"h&e": case["slices"]["h&e"] + case["slices"]["sox10"]}


@pytest.mark.parametrize(
    "change, words",
    [
        (change_few_patches, "1 case has fewer than 10 patches: b0 (9)."),
        (change_patient_of_two_classes, "1 patient has cases of several classes: ph0 (benign, high-grade)."),
        (change_unknown_stain, "are excluded: cd31 (3 patches)."),
        (change_no_patches, "1 labelled case has no patches and is excluded: case e1."),
        (
            change_other_stains,
            "1 labelled case has patches only of stains that the study does not name, and is excluded: case e1.",
        ),
        (change_no_row, "1 case has patches but no row in the labels, and is excluded: case 77 (12 patches)."),
        (change_untested, "b3"),
        (
            change_no_patients,
            "No patient column is given, so cases count as independent: name it in",
        ),
        (change_stain_of_one_class, "100% of high-grade cases have it, 50% of benign"),
    ],
)
def test_one_thing_wrong_gives_one_warning(change, words):
    made = Made()
    change(made)
    said = made.warnings()
    assert len(said) == 1 and words in said[0]


@pytest.mark.parametrize(
    "plan, words",
    [
        ({"preset": "a/{split}.npz"}, "Preset, read from a/{split}.npz"),
        (
            {"n_splits": 4, "validation": None, "n_repeats": 1, "seed": 7},
            "with seed 7, stratified by class and grouped by patient",
        ),
        (
            {"n_splits": 4, "validation": 0.2, "n_repeats": 1, "seed": 7},
            "4 splits .* validation on 20% of the cohort.$",
        ),
        (
            {"preset": "a/{split}.npz", "by": "site"},
            "no case and no patient is in two sets of a split, and no site that is tested in another set",
        ),
        (
            {"n_splits": 4, "validation": None, "n_repeats": 1, "seed": 7, "by": "site"},
            "stratified by class and grouped by patient .column Patient. and site: 4 splits",
        ),
        (
            {"n_splits": 4, "validation": None, "n_repeats": 1, "seed": 7, "balance": ["class", "site"]},
            "stratified by class and site and grouped by patient",
        ),
        ({"n_splits": 2, "validation": 0.2, "n_repeats": 2, "seed": 7}, "Each of 2 repeats .* 01 to 02, 03 to 04"),
    ],
)
def test_the_splits_are_told(plan, words):
    made = Made()
    made.plan = {"preset": None} | plan
    made.cases = [case | {"site": case["case_id"]} for case in made.cases]
    assert re.search(words, made.numbers()["plan"])


def test_notes():
    made = Made()
    made.excluded += [
        ("file", "a (1).png", "copy made by an operating system", "a.png", 0),
        ("row", "row 9", "repeats a case", "case 4 is in row 5", 0),
    ]
    found = made.numbers()
    assert found["warnings"] == []
    assert found["notes"] == [
        "1 file excluded (copy made by an operating system): a (1).png.",
        "Row 9 of the labels is excluded (repeats a case): case 4 is in row 5.",
    ]


@pytest.mark.parametrize("patches, said", [([60] * 5 + [40] * 5, True), ([60] * 10, False), ([9] * 5 + [3] * 5, False)])
def test_a_cap_of_patches_is_noticed(patches, said):
    assert ["5 of 10 cases have exactly 60 patches" in line for line in cohort_warnings._of_cap(patches)] == [
        True
    ] * said


def test_tables_count_what_is_there():
    made = Made(2)
    made.cases[0]["slices"] = {"h&e": [3, 4, 8]}
    made.cases.append(made.case("e1", "benign") | {"slices": {}})
    made.excluded.append(("case", "e1", "no patches", "", 0))
    found = made.numbers()
    assert found["total"] == {"cases": 4, "patients": 4, "slices": 15, "patches": 15 + 28 + 26 + 28}
    assert found["stain_cases"][1]["present"] == {"benign": 1, "high-grade": 2}
    assert found["stain_cases"][1]["missing"] == {"benign": 1, "high-grade": 0}
    assert [(row["missing"], row["cases"]) for row in found["combinations"]] == [([], 3), (["sox10"], 1)]
    rows = {(row["stain"], row["class"]): row for row in found["amounts"]}
    assert rows["h&e", "benign"]["slices"] == {"median": 2.5, "q1": 2.25, "q3": 2.75, "max": 3}
    assert rows["h&e", "benign"]["per_slice"]["median"] == np.median([3, 4, 8, 9, 5])
    assert rows["sox10", "benign"]["patches"] == {"median": 14, "q1": 14, "q3": 14, "max": 14}
    assert [case["status"] for case in found["cases"]] == ["used"] * 4 + ["no patches"]
    json.dumps(found, allow_nan=False, default=asdict)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A cohort on disk whose names would be tags: each patch of its own colour, one broken, one that is a strip."""
    root, made = tmp_path_factory.mktemp("cohort"), Made(4, stains=["h&e", "s<b>"])
    made.cases[0]["case_id"] = NASTY
    patches, cases, excluded = made.tables()
    patches["path"] = [f"{i}.png" for i in range(len(patches))]
    cases["site"] = [("<i>Ulm", "Bonn")[i % 2] for i in range(len(cases))]
    (root / "patches").mkdir()
    for i, path in enumerate(patches["path"]):
        Image.new("RGB", (40, 80) if i == 0 else (64, 64), color(i)).save(root / "patches" / path)
    broken = patches.index[patches["case_id"] == "b3"]
    for path in patches["path"][broken]:
        (root / "patches" / path).write_bytes(b"no image")
    patches.to_parquet(root / "patches.parquet")
    cases.to_csv(root / "cases.csv", index=False)
    excluded.to_csv(root / "excluded.csv", index=False)
    for name, split in made.splits().items():
        splits.write(split, root / f"data_splits_{name}.npz")
    return root, made


def color(i):
    """A colour for patch i that nothing else in the picture has."""
    return (250 - i % 50, 40 + i // 50, 90)


def run(study, monkeypatch, *more):
    root, made = study
    words = ["cohort.py", "--patches-table", root / "patches.parquet", "--cases", root / "cases.csv"]
    words += ["--excluded", root / "excluded.csv", "--splits", *sorted(root.glob("*.npz"))]
    words += ["--patches", root / "patches", "--classes", *made.classes, "--stains", *made.stains]
    words += ["--bootstrap-samples", 100, "--template", TEMPLATE, "--output", root / "cohort.html"]
    words += ["--json", root / "cohort.json", "--samples", root / "samples.jpg", "--preset", "{split}.npz", *more]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    script.main(script.arguments())
    return (root / "cohort.html").read_text(encoding="utf-8")


def test_page_needs_nothing_else_and_escapes_names(study, monkeypatch):
    page = run(study, monkeypatch, "--site-column", "Site<b>")
    elements = Elements(page)
    assert not outside(elements.found) and not elements.unclosed
    assert [tag for tag, _ in elements.found].count("img") == 1
    assert NASTY not in page and "s<b>" not in page
    assert "&lt;b&gt;7&lt;/b&gt;" in page and "s&lt;b&gt;" in page
    assert "<i>Ulm" not in page and "&lt;i&gt;Ulm" in page and "8 cases of 2 sites (column Site&lt;b&gt;)" in page
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for _, link in elements.found if link.get("href", "").startswith("#")} <= set(ids)
    warnings = json.loads((study[0] / "cohort.json").read_text())["warnings"]
    assert warnings and all(str(escape(line)) in page for line in warnings)
    assert run(study, monkeypatch, "--site-column", "Site<b>") == page
    assert 'id="sites"' not in run(study, monkeypatch)


@pytest.mark.parametrize("width", [1280, 500])
def test_page_in_a_browser(study, monkeypatch, tmp_path, width):
    page = run(study, monkeypatch, "--patient-column", "Patient")
    found = browse(page, width, "Patches", tmp_path)
    assert found["errors"] == []
    assert found["width"] <= found["screen"]
    assert found["sorted"] == ["26", "26", "28", "28", "30", "30", "32", "32"]


def test_a_folder_that_is_not_there(study, monkeypatch):
    with pytest.raises(UserError, match="no such folder"):
        run(study, monkeypatch, "--patches", study[0] / "nowhere")


def test_samples_show_the_patches_that_they_name(study):
    root, made = study
    patches = pd.read_parquet(root / "patches.parquet")
    known = cohort_summary.classed(patches, pd.read_csv(root / "cases.csv"))
    settings = {"stains": made.stains, "classes": made.classes, "colors": COLORS, "seed": 3}
    image, shown, unreadable = samples.montage(known, folder=root / "patches", **settings)
    pixels = np.asarray(image).reshape(-1, 3)
    assert len(shown) == 2 * 2 * 4
    for stain in made.stains:
        for name in made.classes:
            ids = [tile["case_id"] for tile in shown if (tile["stain"], tile["class"]) == (stain, name)]
            assert sorted(ids) == sorted(case["case_id"] for case in made.of(name))
    for tile in shown:
        row = patches[patches["path"] == tile["path"]].iloc[0]
        assert (row["case_id"], row["stain"]) == (tile["case_id"], tile["stain"])
        drawn = (pixels == color(int(tile["path"].removesuffix(".png")))).all(axis=1).sum()
        expected = 0 if tile["case_id"] == "b3" else 80 * 160 if tile["path"] == "0.png" else 160 * 160
        assert drawn == expected
    assert len(unreadable) == 2 and all("unreadable file" in line for line in unreadable)
    again = samples.montage(known.sample(frac=1), folder=root / "patches", **settings)
    assert again[1] == shown


def test_a_picture_of_noise_is_still_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (700, 900, 3), dtype=np.uint8)
    samples.write(Image.fromarray(noise), tmp_path / "a.jpg")
    samples.write(Image.fromarray(noise[:9, :9]), tmp_path / "b.jpg")
    assert (tmp_path / "a.jpg").stat().st_size <= samples.LARGEST
    worst = max(part[0] for part in Image.open(tmp_path / "a.jpg").quantization.values())
    assert worst > max(part[0] for part in Image.open(tmp_path / "b.jpg").quantization.values())


def test_sides_are_those_that_embed_measured():
    table = pd.DataFrame({"path": ["a.png", "b.png", "c.png", "gone.png"], "stain": "h&e", "class": "benign"})
    facts = pd.DataFrame(
        {"path": ["c.png", "a.png", "b.png", "x.png"], "width": [64, 90, 90, 9], "height": [64, 60, 90, 9]}
    )
    assert samples.sides(table, facts) == {
        "longer": [
            {"stain": "h&e", "class": "benign", "pixels": 64, "n": 1},
            {"stain": "h&e", "class": "benign", "pixels": 90, "n": 2},
        ],
        "oblong": 1,
        "of": 4,
    }
    made = Made()
    made.sides = samples.sides(table, facts)
    _, words = cohort_summary.figures(made.numbers(), COLORS)["cohort_sides"]
    assert words.startswith("Longer side of 3 patches")


def test_what_can_make_a_result_untrue_comes_before_what_is_small():
    """Tissue twice, stains of a wrong name, shortcuts, labels in doubt; then cases lost; then counts."""
    made = Made()
    made.patient_column = None
    for case in made.cases:
        case["slices"] = {stain: [1] * (1 + 9 * (case["class"] == "benign")) for stain in made.stains}
    change_patient_of_two_classes(made)
    change_no_row(made)
    copy = {"cases": ["b1", "b2"], "files": 1, "examples": ["x"], "stains": ["h&e"]}
    twice = [{"case": "b0", "stains": ["h&e", "sox10"], "files": 2, "examples": ["x", "y"]}]
    content = {"copies": [copy | {"whole": False, "same_patient": False}], "stains": twice}
    suspect = {"case": "7", "stain": "sox10", "slice": "1", "looks": "h&e"}
    names = {"pairs": [{"a": "h&e", "b": "sox10", "auc": 1.0}], "suspects": [suspect]}
    best = {"measure": "sharpness", "stain": "h&e", "auc": 0.8, "more": "benign"}
    ink = {"kind": "ink", "paths": ["a.png"], "cases": ["7"]}
    probe = {"auc": Estimate(0.8, 0.7, 0.9), "patients": 24, "best": best}
    grades = {"emptied": ["b5"], "lost": [], "probe": probe, "pictures": [ink], "suspects": {"ink": 1}}
    looks = {"quality": QUALITY | content, "names": names, "patch_quality": grades}
    looks["implausible"] = [("age 430", "p7", False)]
    said = cohort_summary.said(made.numbers() | looks, made.tables()[2], ["split 01: test holds 9"])
    begins = [
        "Cases b1, b2 share 1 equal file", "No patient column", "1 slice looks like another stain",
        "Case b0 has 2 equal files in h&e and sox10", "The number of slices alone", "The number of patches alone",
        "The quality of the patches alone", "1 patient has cases of several", "1 case has patches but no row",
        "1 case has nothing but patches that would be", "Implausible", "12 cases have fewer than 10 patches",
        "1 patch has ink", "Split 01",
    ]  # fmt: skip
    told = said["warnings"]
    assert all(line.startswith(begin) for line, begin in zip(told, begins, strict=True)), told
    assert (said["grave"], said["lost"]) == (8, 2)


def test_blank_patches_of_one_class_are_a_shortcut():
    made = Made()
    cases, excluded = made.tables()[1:3]
    empty = [{"case_id": case["case_id"], "empty": 2, "patches": 100} for case in made.of("benign")]
    used = cases[cases["status"] == "used"]
    found = {
        row["measure"]: row
        for row in cohort_summary._predictors(used, made.classes, made.stains, 200, 1, QUALITY | {"empty": empty})
    }
    row = found["share of blank patches"]
    assert (row["more"], row["auc"].value, row["typical_fewer"]) == ("benign", 1, 0)
    assert row["typical_more"] == pytest.approx(0.02)
    cohort = made.numbers() | {"quality": QUALITY | {"empty": empty, "same": []}, "predictors": [row]}
    told = cohort_summary.said(cohort, excluded, [])["warnings"]
    assert any("on average 2.0% in benign cases, 0.0% in high-grade" in line for line in told)
    assert any("; of all patches " in line and "0.0% in class high-grade." in line for line in told)


def test_files_that_are_used_once_and_names_that_must_be_wrong_are_warned_of():
    made = Made()
    first = made.tables()[0]["path"]
    made.excluded = [
        ("file", "a", patch_files.RENAMED, first[0], 0),
        ("file", "b", patch_files.RENAMED, first[1], 0),
        ("file", "c", patch_files.REPEATED, first[0], 0),
        ("case", "900", "no row in the labels", "", 21),
    ]
    stains = [{"case": "b0", "stains": ["h&e", "sox10"], "files": 2, "examples": ["x", "y"]}]
    cohort = made.numbers() | {"quality": QUALITY | {"stains": stains, "unused": {"900": ["b1"]}}}
    told = " ".join(cohort_summary.said(cohort, made.tables()[2], [])["warnings"])
    assert "2 files have the same bytes" in told and "used once: case b0 (2)." in told
    assert "900 (21 patches, equal files in case b1)" in told
    assert "Case b0 has 2 equal files in h&e and sox10 (x = y), all used" in told
    assert "1 file excluded (copy of another file): case b0 (1): c." in cohort["notes"]
    assert (
        "Within cases 3 files repeat another"
        in cohort_sentences.of_page(cohort | {"samples": [], "folder": "", "commit": ""})["quality"]["copies"]
    )


def test_what_cannot_be_read_is_in_the_flow_and_among_what_is_excluded():
    made = Made()
    patches, cases, excluded = made.tables()
    known, lost = cohort_summary.classed(patches, cases), patches[patches["slice_id"] == "match_1"].head(5)
    lost = lost.assign(why=["unreadable as an image"] * 2 + ["blank: all pixels equal"] * 3, reason="truncated")
    quality = QUALITY | {"unreadable": {"n": 2, "examples": []}, "excluded": 3}
    before, found = made.numbers(), cohort_summary.numbers(
        known, cases, excluded, made.splits(), **made.settings(), quality=quality, unreadable=lost
    )  # fmt: skip
    assert found["total"] == before["total"] | {
        "patches": before["total"]["patches"] - 5, "slices": before["total"]["slices"] - 1,
    }  # fmt: skip
    assert found["cases"][0]["by_stain"]["h&e"] == [1, 8]
    steps = found["flow"]["steps"]
    assert steps[-1]["patches"] == steps[-2]["patches"] - 5 == found["total"]["patches"]
    rows = [(row["reason"], row["n"], row["detail"]) for row in found["excluded"] if row["kind"] == "patch"]
    assert rows == [("blank: all pixels equal", 3, "truncated"), ("unreadable as an image", 2, "truncated")]
    told = "; 5 more patches were excluded when opened (2 unreadable as an image, 3 blank)."
    assert told in cohort_sentences.finding(found) and told in sentences_cases.cohort(found, found["flow"])[1]


def test_what_no_person_can_be_is_a_warning():
    made = Made()
    patches, cases, excluded = made.tables()
    known, odd = cohort_summary.classed(patches, cases), [("age 16 and 61", "p7", True), ("age 430", "p<9>", False)]

    def line(*entries):
        looks = {"implausible": list(entries)}
        found = cohort_summary.numbers(known, cases, excluded, made.splits(), **made.settings(), looks=looks)
        return found["warnings"][0]

    assert line(*odd) == (
        "Implausible in the labels table: age 16 and 61 of patient p7, age 430 of patient p<9>. Correct the table. "
        "Where one patient has several values, the column of patients may be the wrong one."
    )
    assert line(odd[1]) == "Implausible in the labels table: age 430 of patient p<9>. Correct the table."
    many = [("age 430", f"p<{i}>", False) for i in range(11)]
    assert "p<7> and 3 more (below the table of all cases on the cohort page). Correct" in line(*many)
    looks = {"implausible": many}
    found = cohort_summary.numbers(known, cases, excluded, made.splits(), **made.settings(), looks=looks)
    assert all(f"<li>age 430 of patient p&lt;{i}&gt;</li>" in rendered(found) for i in range(11))


def rendered(found, folder="x"):
    """The page of these numbers, without figures and pictures. folder: of patches; None of feature files."""
    found = found | {"samples": [], "folder": folder, "commit": None, "inputs": {}}
    return page.template(TEMPLATE).render(
        title="The cohort", study="Made", colors=COLORS, cohort=found, prose=cohort_sentences.of_page(found), looks={},
        grades_of=quality_sentences.of_page(found, None), samples="", figures=defaultdict(str), first_page=None,
    )  # fmt: skip


@pytest.mark.parametrize("folder", ["patches", None])
def test_feature_files_are_spoken_of_where_there_are_any(folder):
    made = Made()
    change_unknown_stain(made)
    assert ("and feature files" in rendered(made.numbers(), folder)) == (folder is None)


@pytest.mark.parametrize("width", [1400, 1200])
def test_tables_have_the_width_of_the_page(width, tmp_path):
    """The widest have a row a stain and class; below 80rem the contents are above them, not beside."""
    made = Made(4, classes=["hyperplastic", "carcinoma"], stains=["H&E", "Melan A", "SOX-10"])
    for case in made.cases:
        case["slices"] = {stain: [144, 128, 130, 90] for stain in made.stains}
    assert browse(rendered(made.numbers()), width, "", tmp_path)["cut"] == []


def test_cases_that_are_lost_come_before_rare_stains():
    made = Made()
    change_no_patches(made)
    change_unknown_stain(made)
    told = made.warnings()
    lost, stains = (next(i for i, line in enumerate(told) if words in line) for words in ("no patches", "cd31"))
    assert lost < stains


def test_a_class_whose_name_is_a_class_is_called_so_once():
    made = Made(n=9, classes=["class 1", "other"])
    assert [line.split(" has only")[0] for line in made.warnings()] == ["Class 1", "Class other"]


QUALITY = {"images": True, "patches": 40, "empty": [], "kinds": [], "bits": [], "copies": [], "equal_rows": []}
QUALITY |= {"same": [], "stains": [], "unused": {}}
QUALITY |= {"unreadable": {"n": 0}}
SIDES = {"longer": [{"pixels": 96, "n": 1}, {"pixels": 128, "n": 1200}], "of": 1202, "oblong": 0}
MORE = {"measure": "number of slices", "auc": Estimate(0.7, 0.6, 0.8, 9)}


@pytest.mark.parametrize(
    ("said", "given", "words"),
    [
        (cohort_sentences.quality, QUALITY, "None of 40 images is empty."),
        (cohort_sentences.quality, QUALITY | {"images": False}, "No two used cases have an identical file."),
        (cohort_sentences.quality, QUALITY | {"empty": [{"empty": 1}]}, "1 of 40 images is empty: all pixels equal."),
        (
            cohort_sentences.quality,
            QUALITY | {"empty": [{"empty": 3}, {"empty": 2}], "images": False},
            "5 of 40 rows are empty: all features equal.",
        ),
        (cohort_sentences.quality, QUALITY | {"empty": [{"empty": 3}]}, "1 case has empty patches"),
        (cohort_sentences.quality, QUALITY | {"unreadable": {"n": 2}}, "2 images could not be read."),
        (cohort_sentences.quality, QUALITY | {"copies": [1]}, "These cases have identical files."),
        (cohort_sentences.quality, QUALITY | {"equal_rows": [1]}, "These cases have identical features"),
        (cohort_sentences.quality, QUALITY | {"bits": [1]}, "scaled by the bits"),
        (cohort_sentences.quality, QUALITY | {"kinds": [{"kind": cohort_sentences.TRANSPARENT}]}, "alpha channel"),
        (cohort_sentences.sizes, None, "unknown"),
        (
            cohort_sentences.sizes,
            SIDES,
            "The longer side is 96 to 128 pixels; all are square.",
        ),
        (cohort_sentences.sizes, SIDES, "1,201 of 1,202 patches were measured"),
        (cohort_sentences.sizes, SIDES | {"oblong": 1}, "1 patch not square."),
    ],
)
def test_a_sentence_of_the_page_for_every_outcome(said, given, words):
    told = said(given)
    assert words in (" ".join(told.values()) if isinstance(told, dict) else told)


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({}, "header", "24 cases of 24 patients (12 benign, 12 high-grade) before training."),
        ({"patient_column": None}, "header", "24 cases (12 benign"),
        ({}, "mixed", ""),
        ({"predictors": []}, "shortcuts", "No shortcut: all cases have the same numbers"),
        (
            {"predictors": [MORE]},
            "shortcuts",
            "number of slices separates the classes most clearly: AUROC 0.70 (95% CI",
        ),
        (
            {"predictors": [MORE | {"auc": Estimate(0.6, 0.4, 0.8)}]},
            "shortcuts",
            "CI includes 0.5, which is chance.",
        ),
        ({"predictors": [MORE | {"auc": Estimate(0.9, 0.4, 1.0)}, MORE]}, "shortcuts", "AUROC 0.70 (95% CI"),
        ({"predictors": [MORE | {"auc": Estimate(0.6)}]}, "shortcuts", "AUROC 0.60."),
        ({"patient_column": None}, "shortcut_cis", "case-level bootstrap"),
        ({"patients": [1]}, "patients", "1 patient has several cases"),
        ({"patients": [1, 2]}, "patients", "2 patients have several cases"),
        ({"folder": None, "commit": None}, "inputs", "Patches: rows of precomputed feature files."),
        ({"folder": "a/b", "commit": "c0"}, "inputs", "Patches: a/b. Code: commit c0."),
    ],
)
def test_the_prose_of_the_page(change, name, words):
    numbers = Made().numbers() | {"samples": [], "folder": "a", "commit": "c"} | change
    prose = cohort_sentences.of_page(numbers)
    assert words in prose[name]
    assert all(sum(shares) in (0, 100) for shares in prose["combination_shares"].values())
    assert all(text.endswith(".") and text[0].isupper() for text in prose["limits"].values())


def test_a_patient_of_several_classes_is_said_to_count_twice():
    numbers = Made().numbers()
    numbers["total"]["patients"] -= 1
    assert "counted in each" in cohort_sentences.mixed(numbers)


def test_shares_of_one_whole_add_up_to_100(study, monkeypatch):
    """As the page shows them: of each row of the splits, and of the classes."""
    page = run(study, monkeypatch)
    rows = re.findall(r"<tr><th>[^<]*</th><td>(?:train|val|test)</td>.*?</tr>", page)
    shares = [[int(share) for share in re.findall(r'"share">(\d+)%', row)] for row in rows]
    assert shares and all(sum(row) == 100 for row in shares)


def test_quartiles_that_are_equal_are_one_number(study, monkeypatch):
    page = run(study, monkeypatch)
    quartiles = re.findall(r'<td class="ci">([^<]*)</td>', page)
    assert any(" to " not in text for text in quartiles) and not re.search(r">(\S+) to \1<", page)


def test_patches_that_were_excluded_one_by_one_are_counted(study, monkeypatch, tmp_path):
    root, _ = study
    known = pd.read_csv(root / "excluded.csv", keep_default_na=False)
    rows = [("file", f"{i}.png", "listed in cohort.exclude_patches", "", 1) for i in (1, 2)]
    rows += [("file", "3.png", "no patch number", "", 0)]
    table = pd.concat([known, pd.DataFrame(rows, columns=list(known))])
    table.to_csv(tmp_path / "excluded.csv", index=False)
    page = run(study, monkeypatch, "--excluded", tmp_path / "excluded.csv")
    cells = r"listed in cohort.exclude_patches</th><td>files</td><td[^>]*>(.)</td><td[^>]*>(.)</td>"
    assert re.findall(cells, page) == [("2", "2")]
    assert re.findall(cells.replace("listed in cohort.exclude_patches", "no patch number"), page) == [("1", "–")]

"""The first page of a study: each page with its finding, its flags and its links."""

import json
import os
import sys

import pytest
from pages import Elements, outside
from repository import REPOSITORY

import index as script
from stratamil.core.errors import UserError
from stratamil.report import door

AUC = {"value": 0.91, "low": 0.84, "high": 0.95, "n": 30}
NUMBERS = {
    "metrics.json": {
        "headline": "fold_mean",
        "weighting": "attention",
        "classes": ["benign", "high-grade"],
        "positive": "high-grade",
        "cases": 120,
        "patients": 110,
        "patients_of": {"benign": 55, "high-grade": 55},
        "counts": {"benign": 60, "high-grade": 60},
        "by_seed": [{}],
        "runs": [],
        "baselines": [],
        "out_of_fold": {"fold_mean": AUC, "folds": 5},
        "coverage": {"missing": {}, "repeated": {}},
        "disagreements": [],
    },
    "faithfulness.json": {
        "overall": "Attention is better than random.",
        "weighting": "attention",
        "by_class": None,
        "explained": {"benign": True, "high-grade": True},
    },
    "cohort.json": {
        "patient_column": "Patient",
        "total": {"cases": 120, "patients": 110, "slices": 1, "patches": 2000},
        "by_class": [{"class": "benign", "cases": 60}, {"class": "high-grade", "cases": 60}],
        "stains": ["h&e", "melan"],
        "flow": {"steps": []},
        "warnings": ["A shortcut. More of it.", *(f"Warning {i}." for i in range(7))],
        "grave": 1,
    },
    "comparison.json": {"title": "Two studies", "about": "Which is better.", "finding": "<b>Neither</b>.", "flags": []},
}


@pytest.fixture
def results(tmp_path):
    for name, content in NUMBERS.items():
        folder = tmp_path / {"metrics.json": "report"}.get(name, name.removesuffix(".json"))
        folder.mkdir()
        (folder / name).write_text(json.dumps(content))
    return tmp_path


def paths(results):
    return sorted(results.glob("*/*.json"))


def test_a_model_without_attention_says_what_the_word_means(results):
    path = results / "faithfulness/faithfulness.json"
    path.write_text(json.dumps(NUMBERS["faithfulness.json"] | {"weighting": "lse"}))
    _, faithfulness, *_ = door.entries(paths(results), results)
    (flag,) = faithfulness.flags
    assert flag.startswith("These models pool by log-sum-exp and learn no attention.")


def test_each_page_has_its_finding_its_flags_once_and_its_links(results):
    report, faithfulness, cohort, comparison = door.entries(paths(results), results)
    assert report.finding.startswith("AUROC 0.91 (95% CI 0.84 to 0.95), high-grade against benign")
    assert report.flags[0] == "A shortcut." and "A shortcut." not in cohort.flags
    assert report.links[1][1] == "report/appendix.html"
    assert faithfulness.finding == "Attention is better than random." and not faithfulness.flags
    words = (
        "120 cases of 110 patients (60 benign, 60 high-grade), 2,000 patches in 1 slice of 2 stains (h&e and melan)."
    )
    assert cohort.finding == words
    assert cohort.flags == [*(f"Warning {i}." for i in range(5)), "2 more on the page."]
    assert comparison.title == "Two studies" and comparison.links == [("Open the page", "comparison/index.html")]


def test_without_a_patient_column_it_says_cases(results):
    content = NUMBERS["cohort.json"] | {"patient_column": None}
    (results / "cohort/cohort.json").write_text(json.dumps(content))
    cohort = door.entries([results / "cohort/cohort.json"], results)[0]
    assert cohort.finding.startswith("120 cases (60 benign")


def test_numbers_of_another_version_are_refused(results):
    (results / "report/metrics.json").write_text("{}")
    with pytest.raises(UserError, match=r"metrics.json: of another version .* make its page again"):
        door.entries(paths(results), results)
    (results / "report/metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"metrics.json: no JSON"):
        door.entries(paths(results), results)
    with pytest.raises(UserError, match="no such file: make its page first"):
        door.entries([results / "x.json"], results)


def test_the_page_needs_nothing_else_and_escapes_what_it_is_given(results, monkeypatch):
    flags = ["--template", str(REPOSITORY / "report/door.html.j2"), "--output", str(results / "index.html")]
    monkeypatch.setattr(sys, "argv", ["index", "--pages", *map(str, paths(results)), *flags])
    script.main(script.arguments())
    text = (results / "index.html").read_text()
    assert (
        outside(Elements(text).found) == []
        and "&lt;b&gt;Neither&lt;/b&gt;" in text
        and 'href="faithfulness/index.html"' in text
    )


def test_the_first_page_is_outdated_where_it_is_missing_or_a_page_is_newer(results):
    first, pages = results / "index.html", [*paths(results), results / "not/made.json"]
    assert door.outdated(pages, first) == paths(results)
    first.touch()
    os.utime(first, (2e9, 2e9))
    assert door.outdated(pages, first) == []
    os.utime(pages[0], (3e9, 3e9))
    assert door.outdated(pages, first) == paths(results)

"""What the cohort page says of sites: every sentence has its number, and each outcome its sentence."""

import pandas as pd
import pytest
from cohorts import CLASSES, Made

from stratamil.cohort import sites
from stratamil.cohort.splits import Split
from stratamil.report import cohort_sentences, cohort_summary, paragraphs, report_text, sentences, site_sentences
from stratamil.stats.intervals import Estimate

PROBE = {
    "sites": ["Bonn", "Ulm"],
    "few": [],
    "patients": 24,
    "cases": 24,
    "folds": 10,
    "features": Estimate(0.9, 0.8, 0.95, 24),
    "colour": Estimate(0.85, 0.7, 0.9, 24),
    "class": Estimate(0.5, 0.4, 0.6, 24),
    "each": {"Bonn": 0.9, "Ulm": 0.9},
}


def numbers(site_of, probe=PROBE, **plan):
    """Numbers of the page of a cohort whose cases are of the site that a function tells: of class and place."""
    made = Made()
    patches, cases, excluded = made.tables()
    cases["site"] = [site_of(name, i % 12) for i, name in enumerate(cases["class"])]
    made.plan |= plan
    found = {"column": "Site"} | sites.spread(cases, CLASSES, made.splits(), 1) | {"probe": probe}
    known = cohort_summary.classed(patches, cases)
    return cohort_summary.numbers(known, cases, excluded, made.splits(), **made.settings(), looks={"sites": found})


def even(name, i):
    return "Bonn" if i % 2 else "Ulm"


def told(found):
    prose = cohort_sentences.of_page(found | {"samples": [], "folder": "", "commit": ""})
    return " ".join(prose["sites"][part] for part in ("head", "spread", "probe"))


def test_nothing_to_warn_of():
    found = numbers(even)
    assert found["warnings"] == [] and found["grave"] == 0
    assert "24 cases of 2 sites (column Site). Splits have cases of a site in training and in test" in told(found)
    assert "is not shown to be different between sites (Cramér’s V 0.00, p = 1.00, permutation" in told(found)
    assert (
        "The features tell the site of a case: AUROC 0.90 (95% CI 0.80 to 0.95), 24 patients of 2 sites, in 10 folds "
        "of whole patients; by the colours of the patches alone 0.85 (95% CI 0.70 to 0.90) and by the class alone 0.50"
    ) in told(found)


def test_classes_that_go_with_the_site_are_a_grave_warning_with_numbers():
    found = numbers(lambda name, i: "Bonn" if (name == "benign") != (i == 0) else "Ulm")
    (line,) = found["warnings"]
    assert found["grave"] == 1
    assert "Classes are spread unevenly over sites (Cramér's V 0.8" in line and "p < 0.001" in line
    assert "92% of 12 cases in Ulm are high-grade, 8% of 12 in Bonn" in line
    assert "splits that keep sites whole would test on sites that it has not seen" in line
    assert "Classes are spread unevenly over sites (Cramér’s V 0.8" in told(found)


def test_sites_of_one_class_are_named_with_their_cases():
    found = numbers(lambda name, i: "Kiel" if name == "benign" and i < 2 else even(name, i))
    assert any("1 site has cases of one class only: Kiel (2 cases, all benign)." in line for line in found["warnings"])


@pytest.mark.parametrize(
    "probe, words",
    [
        (None, "was not measured: fewer than two sites have 5 patients"),
        (PROBE | {"features": Estimate(0.55, 0.45, 0.65, 24)}, "The features are not shown to tell the site of a case"),
        (PROBE | {"colour": None}, "whole patients; by the class alone 0.50"),
        (PROBE | {"few": ["Kiel"], "sites": ["a", "b", "c"]}, "mean of one site against the rest, 24 patients of 3"),
        (PROBE | {"few": ["Kiel"]}, "Of too few patients: Kiel."),
        (
            PROBE | {"each": {"a": 0.8, "b": 0.22}},
            "is chance. Values below it mean no more than 0.50: with few",
        ),
    ],
)
def test_what_the_features_tell(probe, words):
    assert words in told(numbers(even, probe))


def test_whole_sites_are_said_to_make_sets_of_unequal_size():
    made = Made()
    _, cases, _ = made.tables()
    cases["site"] = [f"s{i % 4}" for i in range(len(cases))]  # as Made's own splits have them
    found = sites.spread(cases, CLASSES, made.splits(), 1)
    assert found["whole"] and "No split tests a site that it trains" in site_sentences.head(found | {"column": "Site"})
    line = numbers(lambda name, i: f"s{i % 4}", by="site")["warnings"][-1]
    assert line.startswith("Test sets of whole sites have 6 cases, 50% of them high-grade")


def spread(*parts):
    """Spread of two sites of 6 cases each over splits given as letters of the sites that train, validate and test."""
    ids = {site: [f"{site}{i}" for i in range(6)] for site in "AB"}
    cases = pd.DataFrame([(case, site) for site, own in ids.items() for case in own], columns=["case_id", "site"])
    cases = cases.assign(patient_id=cases["case_id"], **{"class": CLASSES * 6})
    taken = {"train": slice(0, 3), "val": slice(3, 4), "test": slice(4, 6)}
    made = [
        Split(**{part: [case for site in own for case in ids[site][taken[part]]] for part, own in zip(taken, one)})
        for one in parts
    ]
    return {"column": "Site"} | sites.spread(cases, CLASSES, {f"0{i}": each for i, each in enumerate(made)}, 1)


def everything_said(found):
    """The sentences of report, its limits, and the paragraph for a paper, on what was tested."""
    cohort = {"sites": found}
    return sentences.tested_elsewhere(cohort), report_text.result_limits(cohort), paragraphs.internal(cohort)


@pytest.mark.parametrize("splits, n", [(["AAB", "BBA"], 2), (["AAB"], 1)])
def test_tests_on_unseen_sites_are_not_called_internal_without_more(splits, n):
    """Each hospital is tested by models of the other: no page may say that no other hospital was tested."""
    counted, texts = f"{n} site{'s' * (n > 1)}", everything_said(spread(*splits))
    assert all(counted in text and "had not seen" in text for text in texts)
    assert not any("no other hospital" in text or "another hospital" in text for text in texts)
    assert all("all of this study" in text for text in (texts[0], texts[2]))
    assert "every test is on sites new" in site_sentences.head(spread(*splits))


@pytest.mark.parametrize("found", [None, spread(("AB", "AB", "AB")), spread(("A", "B", "B"))])
def test_tests_on_sites_of_training_or_of_no_known_site_stay_internal(found):
    begins = "Internal test only", "These figures say nothing", "All figures are internal"
    assert all(text.startswith(begin) for text, begin in zip(everything_said(found), begins))
    assert found is None or "so no test is on a site new" in site_sentences.head(found)


def test_a_cohort_page_says_how_many_tests_are_on_unseen_sites():
    found = spread("AAB", ("AB", "AB", "AB"))
    assert not found["whole"] and [row["seen"] for row in found["rows"]] == [["01"], ["01"]]
    assert "except in 1 of 3 tests of a site by a split: only these are" in site_sentences.head(found)


def test_an_auroc_near_chance_needs_no_word():
    assert "below it" not in told(numbers(even, PROBE | {"each": {"a": 0.8, "b": 0.46}}))


def test_an_auroc_without_an_interval_is_no_finding():
    found = numbers(even, PROBE | {"features": Estimate(0.5, n=24)})
    assert "The features are not shown to tell the site of a case: AUROC 0.50, 24 patients" in told(found)
    without = site_sentences.probe(None, False)
    assert without.endswith("fewer than two sites have 5 cases.")

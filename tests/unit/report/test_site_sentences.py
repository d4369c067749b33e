"""What the cohort page says of sites: every sentence has its number, and each outcome its sentence."""

import pytest
from cohorts import CLASSES, Made

from stratamil.cohort import sites
from stratamil.report import cohort_sentences, cohort_summary, site_sentences
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
    assert found["whole"] and "Splits keep each site in one set" in site_sentences.head(found | {"column": "Site"})
    line = numbers(lambda name, i: f"s{i % 4}", by="site")["warnings"][-1]
    assert line.startswith("Test sets of whole sites have 6 cases, 50% of them high-grade")


def test_an_auroc_near_chance_needs_no_word():
    assert "below it" not in told(numbers(even, PROBE | {"each": {"a": 0.8, "b": 0.46}}))


def test_an_auroc_without_an_interval_is_no_finding():
    found = numbers(even, PROBE | {"features": Estimate(0.5, n=24)})
    assert "The features are not shown to tell the site of a case: AUROC 0.50, 24 patients" in told(found)
    without = site_sentences.probe(None, False)
    assert without.endswith("fewer than two sites have 5 cases.")

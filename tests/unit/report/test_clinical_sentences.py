"""Sentences on columns of the labels table: each outcome, with its numbers; names from data stay text."""

import pytest

from stratamil.report import beyond
from stratamil.report import clinical_sentences as sentences
from stratamil.stats.intervals import Estimate

NUMBER = {
    "name": "Age", "numeric": True, "levels": [], "by_class": 0.5, "by_split": 0.3, "varied": 0,
    "apart": {"classes": 0, "tests": 0},
    "cells": {"all": {"median": 61.5, "q1": 50, "q3": 70.25, "known": 8, "missing": 2},
              "benign": {"median": None, "q1": None, "q3": None, "known": 0, "missing": 1}},
}  # fmt: skip
SITE = {
    "name": "Site <b>", "numeric": False, "levels": ["A", "B"], "by_class": 0.05, "by_split": None, "varied": 2,
    "apart": {"classes": 0, "tests": 0},
    "cells": {"all": {"counts": {"A": 3, "B": 6}, "known": 9, "missing": 0},
              "benign": {"counts": {}, "known": 1, "missing": 0}},
}  # fmt: skip


def test_cells_of_table_1():
    assert sentences.cell(NUMBER, "all") == "61.5 (50 to 70.25)" and sentences.cell(NUMBER, "benign") == "none known"
    alike = {"cells": {"all": NUMBER["cells"]["all"] | {"median": 9.0, "q1": 9.0, "q3": 9.0}}, "numeric": True}
    assert sentences.cell(alike, "all") == "9 (9)"
    assert sentences.cell(SITE, "all", "B") == "6 (67%)" and sentences.cell(SITE, "benign", "B") == "0 (0%)"
    lines = beyond.table({"groups": ["all", "benign"], "rows": [NUMBER, SITE]})
    assert [line["name"] for line in lines] == ["Age", "Age missing", "Site <b>", "A", "B"]
    assert [line["first"] for line in lines] == [True, False, True, False, False]
    assert lines[1]["cells"] == ["2", "1"]


def test_where_classes_and_test_sets_differ():
    assert sentences.unlike([NUMBER, SITE]) == (
        "The classes differ in Age (0.50): standardised difference above 0.1. A test set differs most from the other "
        "cases in Age (0.30)."
    )
    assert sentences.unlike([SITE]) == "In no column do the classes differ by a standardised difference above 0.1."


def test_an_infinite_difference_is_not_passed_over():
    """A site that is all of a test set and none of the rest differs more than any column with a number."""
    whole = SITE | {"apart": {"classes": 0, "tests": 2}, "by_split": 9.0}
    assert sentences.unlike([NUMBER, whole]).endswith(
        " Test sets have no value in common with the other cases in Site <b> (2 test sets). Of the others, a test set "
        "differs most from the other cases in Age (0.30)."
    )
    classes = SITE | {"by_class": None, "apart": {"classes": 1, "tests": 0}}
    said = sentences.unlike([NUMBER, classes])
    assert said.startswith("The classes differ in Age (0.50) and Site <b> (no value in common): standardised")


def test_what_is_counted_and_how_groups_are_made():
    assert "the cases of a patient differ (2 in Site <b>) the first counts" in sentences.counted(
        [NUMBER, SITE], "patient"
    )
    assert sentences.counted([NUMBER], "case") == "The table counts cases: n (%) of those known, or median (quartiles)."
    groups = [{"kind": "Age", "split": "thirds"}, {"kind": "Site", "split": ""}]
    assert sentences.groups(groups, "case").startswith(
        "Numbers and dates are split: Age in thirds of the cases. No figure"
    )
    dates = [{"kind": "Eingang", "split": "thirds"}, {"kind": "Size", "split": "halves"}]
    assert "split: Age and Eingang in thirds and Size in halves of the cases." in sentences.groups(
        groups + dates, "case"
    )
    assert sentences.groups(groups[1:], "patient").startswith("No figure is given where fewer than 5 patients")


def column(name, adjusted, numeric=True, by="error"):
    return {
        "name": name, "numeric": numeric, "effect": 0.41, "p": adjusted / 2, "adjusted": adjusted,
        "levels": {"A": 0.31, "B": 0.12}, "by": by,
        "shift": {"class": "benign", "effect": -0.3, "levels": {"A": 0.14, "B": -0.09, "C": 0.0}},
    }  # fmt: skip


def test_whether_the_error_goes_with_a_column():
    found = {"patients": 87, "rows": [column("Age", 0.2), column("Site", 0.6, numeric=False)]}
    assert sentences.error(found, "patient") == (
        "Neither the model's error nor a shift of its probabilities is shown to go with any of Age and Site (smallest "
        "p = 0.20; permutation test of error and shift by patient within classes, p adjusted for 2 columns, 87 "
        "patients)."
    )
    alone = sentences.error({"patients": 9, "rows": [column("Age", 0.2)]}, "case")
    assert "to go with Age (smallest p = 0.20; permutation test of error and shift by case within " in alone
    assert alone.endswith("within classes, 9 cases).")
    found["rows"] = [column("Age", 0.004), column("Site", 0.0002, numeric=False)]
    said = sentences.error(found, "patient")
    assert said.startswith("The model's error goes with Age (p = 0.004; rank correlation 0.41) and Site (p < 0.001; ")
    assert "mean error 0.31 in A, 0.12 in B" in said and "shifted" not in said


def test_a_shift_of_the_probabilities_is_said_with_its_direction():
    site, age = column("Site <b>", 0.01, numeric=False, by="shift"), column("Age", 0.02, by="shift")
    test = "Permutation test of error and shift by patient within classes, p adjusted for 3 columns, 87 patients."
    assert sentences.error({"patients": 87, "rows": [site, age, column("Sex", 0.6)]}, "patient") == (
        "The model's probabilities of benign are shifted by Site <b>: lower in B than in A (p = 0.01; on average −0.09 "
        "and +0.14 from the mean of cases of the same class). The model's probabilities of benign are shifted by Age: "
        "lower where it is larger "
        f"(p = 0.02; rank correlation −0.30). {test}"
    )
    both = sentences.error({"patients": 87, "rows": [site, column("Sex", 0.002)]}, "patient")
    assert both.startswith(
        "The model's error goes with Sex (p = 0.002; rank correlation 0.41). The model's probabilities of"
    )


@pytest.mark.parametrize(
    "gain, words",
    [
        (Estimate(0.1, 0.02, 0.18), "The images add to Age and Site, difference 0.10 (95% CI 0.02 to 0.18): AUROC"),
        (
            Estimate(0.1, -0.02, 0.2),
            "The images are not shown to add to Age and Site, difference 0.10 (95% CI −0.02 to",
        ),
        (Estimate(-0.1, -0.2, -0.02), "With the images the prediction is worse than by Age and Site alone, difference"),
        (Estimate(0.0), "The images are not shown to add to Age and Site, difference 0.00: AUROC"),
        (Estimate(None), "What the images add to Age and Site is not defined: a test set lacks a class."),
    ],
)
def test_what_the_images_add(gain, words):
    of = Estimate(0.8, 0.7, 0.9)
    rows = [{"name": name, "fold_mean": of, "roc_auc": of} for name in ("clinical", "images", "both")]
    found = {"columns": ["Age", "Site"], "rows": rows, "images_add": {"fold_mean": gain, "model": gain}}
    assert words in sentences.images_add(found, "fold_mean")
    if gain.value is not None:
        assert "AUROC, pooled, 0.80 (95% CI 0.70 to 0.90) by Age and Site alone" in sentences.images_add(
            found, "roc_auc"
        )


def test_how_gaps_are_filled():
    assert sentences.filled({"missing": {"Age": 0}}) == ""
    assert sentences.filled({"missing": {"Age": 1, "Site": 3}}).startswith(
        "Missing: Age in 1 case and Site in 3 cases. They get the median, or the most common category,"
    )

"""Studies side by side: the same cases, the same samples, and the numbers of their reports."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import studies
from made_study import study

from stratamil.core.errors import UserError
from stratamil.evaluation import compared_studies, comparison, cross_split
from stratamil.evaluation.compared_studies import Side
from stratamil.report import comparison_words
from stratamil.stats.intervals import Estimate

Y = np.arange(60) % 2
WEAK = Y + 1.5 * np.random.default_rng(1).normal(size=60)
STRONG = 3 * Y + 0.8 * np.random.default_rng(2).normal(size=60)


def side(name, score=WEAK, settings=None, **how):
    made = study(score, how.pop("y", Y), **how)
    return Side(name, Path(name), "study", made, settings or {}, len(made.ensemble))


def test_a_side_has_the_numbers_of_its_report():
    sides = [side("a", seeds=(1, 2), noise=0.5), side("b", STRONG)]
    found, report = comparison.numbers(compared_studies.shared(sides)), cross_split.numbers(sides[0].study)
    own = found["sides"][0]["estimates"]
    assert own["fold_mean"] == report["out_of_fold"]["fold_mean"]
    assert own["roc_auc"] == report["ensemble"]["roc_auc"]
    assert own["brier"].value == report["ensemble"]["brier"].value
    assert own["sensitivity"].value == next(
        r["estimate"].value for r in report["decisions"][1]["rows"] if r["name"] == "sensitivity"
    )
    assert found["sides"][0]["trainings"] == 2


def test_a_better_study_is_found_and_the_same_one_is_not():
    sides = [side("a"), side("b", STRONG), side("again")]
    found = comparison.numbers(compared_studies.shared(sides))
    better, same, worse = found["pairs"]
    assert found["headline"] == "fold_mean"
    assert better["differences"]["fold_mean"].low > 0 and better["differences"]["log_loss"].high < 0
    assert better["p"]["fold_mean"] < better["holm"] == pytest.approx(2 * better["p"]["fold_mean"])
    for estimate in same["differences"].values():
        assert estimate.value == 0 and estimate.low is None
    assert same["holm"] is None
    assert all(
        worse["differences"][name].value == pytest.approx(-estimate.value)
        for name, estimate in better["differences"].items()
    )
    assert [row["roc_auc"][0] for row in found["folds"]] == [row["roc_auc"][2] for row in found["folds"]]


def test_cases_that_are_not_shared_are_listed_and_left_out():
    other = side("b", STRONG, y=np.where(np.arange(60) == 4, 1 - Y, Y))
    gone = other.study.runs[0].test["case_id"].iloc[0]
    other.study.runs[0].__dict__["test"] = other.study.runs[0].test.iloc[1:]
    other = replace(other, study=replace(other.study))  # without what it has computed already
    shared = compared_studies.shared([side("a"), other])
    assert dict(shared.left_out.to_numpy()) == {
        "5": "of different classes: benign in a, high-grade in b",
        gone: "not predicted by b",
    }
    alike = [each.study.ensemble["case_id"].tolist() for each in shared.sides]
    assert alike[0] == alike[1] and len(alike[0]) == 58
    assert np.array_equal(shared.sides[0].study.weights, shared.sides[1].study.weights)
    with_it = comparison.numbers(shared)
    told = comparison_words.notes(with_it, [1])
    assert told[0] == ("1 of 59 cases that all predict has different classes: check that equal ids are the same cases.")
    assert told[1] == "2 cases of the studies are left out: see Cases compared."
    without = comparison.numbers(compared_studies.shared(shared.sides))
    assert with_it["pairs"] == without["pairs"]


def test_patients_that_differ_are_joined():
    ids = [str(i + 1) for i in range(60)]
    named = [["p", "p", *ids[2:]], [ids[0], "q", "q", *ids[3:]], ids]
    shared = compared_studies.shared([side(f"s{i}", patients=patients) for i, patients in enumerate(named)])
    of = shared.sides[2].study.ensemble.set_index("case_id")["patient_id"]
    assert shared.merged and of["1"] == of["2"] == of["3"] != of["4"] and of.nunique() == 58
    same = compared_studies.shared([side("a", patients=named[0]), side("b", patients=["x", "x", *ids[2:]])])
    assert not same.merged


def test_other_splits_are_compared_pooled():
    found = comparison.numbers(compared_studies.shared([side("a"), side("b", STRONG, splits=4)]))
    assert found["headline"] == "roc_auc" and not found["folds"]
    assert found["pairs"][0]["differences"]["fold_mean"].value is None
    assert found["pairs"][0]["differences"]["roc_auc"].low > 0


def test_where_a_test_set_lacks_a_class_all_cases_count_together():
    """As in the reports: the mean of test sets would not be defined."""
    found = comparison.numbers(compared_studies.shared([side("a"), without(side("b", STRONG), split="01", y=1)]))
    assert found["folds"] and found["headline"] == "roc_auc"
    pair = found["pairs"][0]
    assert pair["differences"]["fold_mean"].value is None and pair["differences"]["roc_auc"].low > 0
    assert pair["holm"] == pair["p"]["roc_auc"]
    assert "On the 54 cases that both predict, the pooled AUROC of b is" in comparison_words.headline(found)
    assert any("has no CI, as where one lacks a class" in line for line in comparison_words.notes(found, [1]))


def test_a_pooled_auroc_is_called_so_in_the_first_sentence_and_that_of_the_reports_is_not():
    """Reports lead with the mean of test sets: another figure of the same study has to be unmistakable."""
    alike = comparison.numbers(compared_studies.shared([side("a"), side("b", STRONG)]))
    assert alike["headline"] == "fold_mean" and comparison_words.headline(alike).startswith("The AUROC of b is")
    pooled = alike | {"headline": "roc_auc"}
    assert comparison_words.headline(pooled).startswith("On the 60 cases that both predict, the pooled AUROC of b is")
    same = comparison.numbers(compared_studies.shared([side("a"), side("again"), side("b")]))
    assert comparison_words.headline(same | {"headline": "roc_auc"}).startswith(
        "On the 60 cases that all predict, again and a have the same pooled AUROC"
    )


def test_fewer_training_cases_are_named_as_a_reason():
    sides = [replace(side(name), training_cases=sizes) for name, sizes in (("a", (35, 36)), ("b", (20, 24)))]
    found = comparison.numbers(compared_studies.shared(sides))
    said = (
        "Cases that a model was trained on: a 35 to 36 and b 20 to 24. Fewer training cases alone may explain a lower "
        "AUROC."
    )
    assert said in comparison_words.notes(found, [1])
    assert comparison_words.of_page(found | {"attention": []}, 5, "case")["training"] == {
        "a": "35 to 36",
        "b": "20 to 24",
    }
    for other in ((36, 36), ()):  # alike, or not known
        alike = comparison.numbers(compared_studies.shared([sides[0], replace(sides[1], training_cases=other)]))
        assert not any("trained on:" in line for line in comparison_words.notes(alike, [1]))


def test_it_is_said_why_there_is_no_auroc():
    one = side("b", STRONG)
    for split in one.study.splits:
        one = without(one, split=split, y=0)
    found = comparison.numbers(compared_studies.shared([side("a"), one]))
    said = comparison_words.headline(found)
    assert said == "b against a: the AUROC is not defined, because no shared case is benign."


def without(of, split, y):
    """A side without the cases of a class in the test set of a split."""
    made = replace(of.study)
    for run in (run for run in made.runs if run.split == split):
        run.__dict__["test"] = run.test[run.test["true_label"] != y].reset_index(drop=True)
    return replace(of, study=made)


def test_the_same_auroc_to_two_digits_is_no_0_higher():
    sides = compared_studies.shared([side("a"), side("b", WEAK + 1e-4 * STRONG)]).sides
    found = comparison.numbers(compared_studies.Shared(sides, pd.DataFrame({"reason": []}), False))
    difference = Estimate(0.001, -0.02, 0.03, 60)
    pair = found["pairs"][0] | {"differences": {found["headline"]: difference}}
    assert comparison_words.verdict(pair, found) == (
        "b and a have the same AUROC to two digits (95% CI of the difference −0.02 to 0.03): this cohort cannot show "
        "a difference."
    )


def test_all_cases_of_one_patient_have_no_interval():
    shared = compared_studies.shared([side("a"), side("b", STRONG, patients=["p"] * 60)])
    found = comparison.numbers(shared)
    assert found["patients"] == 1 and found["sides"][0]["calibration"]["slope"].low is None
    json.dumps(found, default=vars, allow_nan=False)


def test_per_case_names_who_is_right_and_disputed_cases_first():
    sides = compared_studies.shared([side("a"), side("b", STRONG)]).sides
    rows = comparison.per_case(sides)
    right = {
        each.name: dict(zip(each.study.ensemble["case_id"], comparison.decided(each.study)[-1][1])) for each in sides
    }
    assert all(row["right"] == [name for name in right if right[name][row["case_id"]]] for row in rows)
    disputed = [len(row["right"]) == 1 for row in rows]
    assert disputed == sorted(disputed, reverse=True) and any(disputed)


def test_settings_that_differ():
    sides = [
        side("a", settings={"train": {"lr": 1, "epochs": 3}, "results": "x"}),
        side("b", settings={"train": {"lr": 2, "epochs": 3}}),
    ]
    assert comparison.settings(sides) == [{"setting": "train.lr", "values": [1, 2]}]


def test_what_cannot_be_compared_is_one_line():
    other = side("b")
    for run in other.study.runs:
        run.results["classes"] = ["benign", "malignant"]
    with pytest.raises(UserError, match="b has classes benign, malignant, but a benign, high-grade"):
        compared_studies.shared([side("a"), other])
    other = side("b")
    renamed = other.study.cases.assign(case_id="x" + other.study.cases["case_id"])
    for run in other.study.runs:
        run.__dict__["test"] = run.test.assign(case_id="x" + run.test["case_id"])
    with pytest.raises(UserError, match="have 60 cases in common, but none of the same class"):
        compared_studies.shared([side("a"), side("b", y=1 - Y)])
    with pytest.raises(UserError, match="a, b have no case in common: their ids are such as 1, x1"):
        compared_studies.shared([side("a"), replace(other, study=replace(other.study, cases=renamed))])


def test_a_folder_that_is_nothing_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no finished study or prediction"):
        compared_studies.inputs(tmp_path)
    pd.DataFrame({"case_id": []}).to_csv(tmp_path / "predictions.csv")
    (tmp_path / "inventory").mkdir()
    with pytest.raises(
        UserError, match=r"validation/validation\.json: no such file: run validate, with predict\.labels"
    ):
        compared_studies.inputs(tmp_path)


def test_a_table_that_was_cut_or_is_impossible_is_one_line(tmp_path):
    folder = studies.write(tmp_path / "study")
    file = folder / "split_01/seed_42/predictions.csv"
    table = pd.read_csv(file)
    for altered, line in (
        (table.iloc[:3], "3 cases, but results.json has 6"),
        (table.assign(prob_benign=7), "a probability is not between 0 and 1"),
        (table.assign(prob_benign=np.nan), "a probability is not between 0 and 1"),
        (table.assign(case_id=table["case_id"].iloc[0]), f"case {table['case_id'].iloc[0]} stands there twice"),
        (table.assign(true_class=[np.nan, "much", *table["true_class"][2:]]), "class 'much' is none of benign"),
        (table.assign(prob_benign="much"), "a probability is not between 0 and 1"),
        (table.assign(prob_benign=table["prob_benign"] / 2), "probabilities of a case do not add up to 1"),
        (table.assign(logit_benign="much"), "a logit is not a number"),
    ):
        altered.to_csv(file, index=False)
        with pytest.raises(UserError, match=line):
            compared_studies.read("study", folder, 10, 1)


@pytest.mark.parametrize("content", ["[]", "{}", '{"split": "01", "seed": 42, "classes": null}', '{"seed": []}'])
def test_results_that_are_damaged_are_one_line(tmp_path, content):
    folder = studies.write(tmp_path / "study")
    (folder / "split_01/seed_42/results.json").write_text(content)
    with pytest.raises(UserError, match=r"results\.json: damaged: run evaluate again"):
        compared_studies.read("study", folder, 10, 1)


@pytest.mark.parametrize("content", ["seeds: 5", "{seeds: 5, splits: {n_splits: 2, n_repeats: 1}}", "[1]", "{"])
def test_settings_of_another_form_are_one_line(tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(UserError, match="not the settings of a study of this version"):
        compared_studies.inputs(tmp_path)

"""The end of a run in ten lines."""

import copy
import json
import os
from pathlib import Path

import pytest

from stratamil.report import summary

OF_MODEL = {"value": 0.05, "low": -0.01, "high": 0.11, "n": 80}
METRICS = {
    "classes": ["benign", "high-grade"],
    "positive": "high-grade",
    "cases": 87,
    "patients": 80,
    "patients_of": {"benign": 50, "high-grade": 30},
    "by_seed": [{}],
    "runs": [],
    "headline": "fold_mean",
    "out_of_fold": {"fold_mean": {"value": 0.912, "low": 0.841, "high": 0.953, "n": 80}, "folds": 5},
    "baselines": [
        {
            "name": "prevalence",
            "fitted": 0,
            "fold_mean": {"value": 0.99, "low": 0.9, "high": 1.0},
            "auc_difference": {"fold_mean": OF_MODEL},
        },
        {
            "name": "mean_pool",
            "fitted": 5,
            "fold_mean": {"value": 0.86, "low": 0.7, "high": 0.9},
            "auc_difference": {"fold_mean": OF_MODEL},
        },
        {
            "name": "patch_count",
            "fitted": 5,
            "fold_mean": {"value": None, "low": None, "high": None},
            "auc_difference": {},
        },
    ],
    "coverage": {"missing": {}, "repeated": {}},
    "disagreements": [],
}
COHORT = {"warnings": [f"Warning {i}. More of it." for i in range(4)], "grave": 1, "patient_column": "Patient"}
FAITHFULNESS = {"overall": "Attention is better than random."}


def changed(**parts):
    return copy.deepcopy(METRICS) | parts


def test_a_study_is_about_ten_lines_with_the_result_first():
    pages = [Path("results/report/index.html"), Path("results/cohort/index.html")]
    lines = summary.lines(METRICS, COHORT, FAITHFULNESS, pages, 200)
    assert lines == [
        "AUROC 0.91 (95% CI 0.84 to 0.95), high-grade against benign; 87 cases of 80 patients, out of fold, mean of 5 "
        "folds.",
        "Attention is better than random.",
        "Read with care:",
        "  - Warning 0.",
        "  - The baseline “Mean of patch features” reaches 0.86; the 95% CI of the difference is −0.01 to 0.11: "
        "this cohort cannot show that the model is better.",
        "  - Warning 1.",
        "  - and 2 more on the pages",
        "Open:",
        "  results/report/index.html  the result, split by split and case by case",
        "  results/cohort/index.html  the cohort and its splits",
        "It took 3 min. Next: read the report. For other settings, copy the study file and give it a results "
        "folder of its own.",
    ]


def test_a_model_that_is_better_than_its_baselines_needs_no_flag():
    better = {"fold_mean": {"value": 0.1, "low": 0.02, "high": 0.2}}
    metrics = changed(baselines=[METRICS["baselines"][1] | {"auc_difference": better}])
    assert summary.flags(metrics, None) == []
    assert summary.flags(changed(baselines=[]), None) == []


@pytest.mark.parametrize(
    "value, told",
    [
        (0.0, ["also reaches 1.00: this"]),
        (-0.1, ["reaches 1.00; the difference has no CI: this"]),
        (0.1, ["reaches 1.00; the difference has no CI: this"]),
        (None, []),
    ],
)
def test_a_model_that_is_not_shown_to_be_better_is_told_where_there_is_no_ci(value, told):
    perfect, gain = {"value": 1.0, "low": 0.86, "high": 1.0}, {"value": value, "low": None, "high": None}
    entry = METRICS["baselines"][1] | {"fold_mean": perfect, "auc_difference": {"fold_mean": gain}}
    flags = summary.flags(changed(baselines=[entry]), None)
    assert flags == [
        f"The baseline “Mean of patch features” {words} cohort cannot show that the model is better." for words in told
    ]


def test_perfect_ranking_of_few_is_told():
    runs = [{"n": n, "roc_auc": {"value": 1.0}} for n in (7, 8)]
    of = METRICS["out_of_fold"] | {"roc_auc": {"value": 0.94, "low": 0.79, "high": 0.99}}
    (told,) = summary.flags(changed(runs=runs, out_of_fold=of, baselines=[]), None)
    assert told == (
        "Each test set of 7 to 8 cases is ranked perfectly, weak evidence from so few pairs: quote the pooled AUROC, "
        "too, 0.94 (95% CI 0.79 to 0.99)."
    )
    runs[0]["roc_auc"] = {"value": 0.9}
    assert summary.flags(changed(runs=runs, out_of_fold=of, baselines=[]), None) == []


def test_a_baseline_that_was_never_fitted_is_no_rival():
    metrics = changed(baselines=[METRICS["baselines"][1] | {"fitted": 0}])
    assert summary.flags(metrics, None) == []


@pytest.mark.parametrize("unit, column", [("patient", "Patient"), ("case", None)])
def test_what_must_not_be_quoted_is_said_with_the_result(unit, column):
    worse = {"fold_mean": {"value": 0.2, "low": 0.1, "high": 0.49, "n": 80}, "folds": 5}
    metrics = changed(out_of_fold=worse, patients_of={"benign": 50, "high-grade": 3})
    told = summary.headline(metrics, COHORT | {"patient_column": column})
    assert "The whole 95% CI lies below 0.5, which is worse than chance: check the classes and their order" in told
    assert f"Too few to quote: there are 3 {unit}s of high-grade, and one of so few" in told
    assert "chance" not in summary.headline(METRICS, COHORT) and "quote" not in summary.headline(METRICS, COHORT)


def test_files_that_do_not_fit_come_first():
    metrics = changed(disagreements=["split 01"], coverage={"missing": {"1": ["a"]}, "repeated": {}})
    flags = summary.flags(metrics, COHORT)
    assert "do not agree" in flags[0] and "less or more often" in flags[1]


def test_an_auroc_that_is_not_defined_is_said():
    none = {"headline": "roc_auc", "out_of_fold": {"roc_auc": {"value": None, "low": None, "high": None}}}
    assert summary.headline(changed(**none, patients=87, positive=None)) == (
        "AUROC not defined, mean of each class against the rest; 87 cases, out of fold, pooled."
    )


def test_several_trainings_are_named():
    assert "mean of 5 folds, mean of 3 trainings each." in summary.headline(changed(by_seed=[{}] * 3))


def test_a_single_flag_more_stands_where_the_line_on_it_would():
    cohort = COHORT | {"warnings": COHORT["warnings"][:3]}
    told = summary.lines(METRICS, cohort, None, [], 200)
    assert "  - Warning 2." in told and "more on the pages" not in "".join(told)


def test_a_look_at_the_cohort_names_the_next_step():
    lines = summary.lines(None, COHORT, None, [Path("results/cohort/index.html")], 4, "`-- cohort`")
    assert not any("AUROC" in line for line in lines)
    assert lines[-1].endswith("run the same command without `-- cohort` for the whole study.")


@pytest.fixture
def results(tmp_path):
    for name, numbers in (
        ("cohort/cohort.json", COHORT),
        ("faithfulness/faithfulness.json", FAITHFULNESS),
        ("report/metrics.json", METRICS),
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(json.dumps(numbers), encoding="utf-8")
    for name in summary.PAGES:
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_summed_up_and_an_empty_one_too(results, tmp_path):
    lines = summary.of_folder(results, 10)
    assert lines[0].startswith("AUROC 0.91") and f"  {results}/report/index.html" in "\n".join(lines)
    assert len(summary.of_folder(tmp_path / "none", 10)) == 1


def test_numbers_of_another_version_are_not_quoted(results):
    (results / "report/metrics.json").write_text(json.dumps(METRICS | {"out_of_fold": {"roc_auc": 0.9, "low": 0.8}}))
    lines = summary.of_folder(results, 10)
    assert not any("AUROC" in line for line in lines) and any("report/index.html" in line for line in lines)


@pytest.mark.parametrize("name", ["split_01/seed_1/predictions.csv", "cohort/cohort.json"])
def test_a_report_older_than_what_it_is_made_from_is_not_quoted(results, name):
    newer = results / name
    newer.parent.mkdir(parents=True, exist_ok=True)
    newer.touch()
    os.utime(results / "report/metrics.json", (newer.stat().st_mtime - 1,) * 2)
    lines = summary.of_folder(results, 10)
    assert not any("AUROC" in line or "report/index.html" in line for line in lines)

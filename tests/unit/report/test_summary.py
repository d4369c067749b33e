"""The end of a run in ten lines."""

import copy
import os
from pathlib import Path

import pytest

from stratamil.core import files
from stratamil.report import sentences, summary
from stratamil.stats.intervals import Estimate

OF_MODEL = Estimate(0.05, -0.01, 0.11, 80)
METRICS = {
    "classes": ["benign", "high-grade"],
    "positive": "high-grade",
    "cases": 87,
    "patients": 80,
    "patients_of": {"benign": 50, "high-grade": 30},
    "counts": {"benign": 55, "high-grade": 52},
    "by_seed": [{}],
    "runs": [],
    "headline": "fold_mean",
    "weighting": "attention",
    "out_of_fold": {"fold_mean": Estimate(0.912, 0.841, 0.953, 80), "folds": 5},
    "baselines": [
        {
            "name": "prevalence",
            "fitted": 0,
            "fold_mean": Estimate(0.99, 0.9, 1.0),
            "auc_difference": {"fold_mean": OF_MODEL},
        },
        {
            "name": "mean_pool",
            "fitted": 5,
            "fold_mean": Estimate(0.86, 0.7, 0.9),
            "auc_difference": {"fold_mean": OF_MODEL},
        },
        {
            "name": "patch_count",
            "fitted": 5,
            "fold_mean": Estimate(None, None, None),
            "auc_difference": {},
        },
    ],
    "coverage": {"missing": {}, "repeated": {}},
    "disagreements": [],
}
INTERNAL = "Internal test only: no other hospital, scanner or laboratory was tested."
COHORT = {"warnings": [f"Warning {i}. More of it." for i in range(4)], "grave": 1, "patient_column": "Patient"}
FAITHFULNESS = {"overall": "Attention is better than random.", "explained": {"benign": True, "high-grade": True}}
ALWAYS = ["Whether attention explains the predictions was not checked.", INTERNAL]


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
        "  - This cohort cannot show that the model is better than “Mean of patch features” (AUROC 0.86; 95% CI of the "
        "difference −0.01 to 0.11).",
        f"  - {INTERNAL}",
        "Open:",
        "  results/report/index.html  the result, split by split and case by case",
        "  results/cohort/index.html  the cohort and its splits",
        "It took 3 min. Next: read the report. For other settings, copy the study file and give it a results "
        "folder of its own.",
    ]


def test_a_first_look_ends_with_the_command_of_the_whole_study():
    looked = METRICS | {"first_look": "This is a first look."}
    last = summary.lines(looked, COHORT, None, [], 200, command="snakemake --configfile a.yaml")[-1]
    assert last.endswith("run the whole study, whose results replace these: snakemake --configfile a.yaml")
    assert "snakemake" not in summary.lines(METRICS, COHORT, None, [], 200, command="snakemake --configfile a.yaml")[-1]


def test_a_model_that_is_better_than_its_baselines_needs_no_flag():
    better = {"fold_mean": Estimate(0.1, 0.02, 0.2)}
    metrics = changed(baselines=[METRICS["baselines"][1] | {"auc_difference": better}])
    assert summary.flags(metrics, None) == ALWAYS
    assert summary.flags(changed(baselines=[]), None) == ALWAYS


@pytest.mark.parametrize(
    "value, told",
    [
        (0.0, [", which also reaches 1.00."]),
        (-0.1, ["The model is 0.10 lower than the baseline {} (AUROC 1.00; no CI is defined: see Baselines)."]),
        (0.1, [" (AUROC 1.00; no CI is defined: see Baselines)."]),
        (None, []),
    ],
)
def test_a_model_that_is_not_shown_to_be_better_is_told_where_there_is_no_ci(value, told):
    perfect, gain = Estimate(1.0, 0.86, 1.0), Estimate(value, None, None)
    entry = METRICS["baselines"][1] | {"fold_mean": perfect, "auc_difference": {"fold_mean": gain}}
    flags = summary.flags(changed(baselines=[entry]), None)
    assert flags[: -len(ALWAYS)] == [
        words.format("“Mean of patch features”")
        if words.startswith("The")
        else f"This cohort cannot show that the model is better than “Mean of patch features”{words}"
        for words in told
    ]


def test_perfect_ranking_of_few_is_told():
    runs = [{"n": n, "roc_auc": Estimate(1.0)} for n in (7, 8)]
    of = METRICS["out_of_fold"] | {"roc_auc": Estimate(0.94, 0.79, 0.99)}
    (told, *_) = summary.flags(changed(runs=runs, out_of_fold=of, baselines=[]), None)
    assert told == (
        "Each test set of 7 to 8 cases is ranked perfectly, weak evidence from so few pairs: also quote the pooled "
        "AUROC, 0.94 (95% CI 0.79 to 0.99)."
    )
    runs[0]["roc_auc"] = Estimate(0.9)
    assert summary.flags(changed(runs=runs, out_of_fold=of, baselines=[]), None) == ALWAYS


def test_a_baseline_that_was_never_fitted_is_no_rival():
    metrics = changed(baselines=[METRICS["baselines"][1] | {"fitted": 0}])
    assert summary.flags(metrics, None) == ALWAYS


@pytest.mark.parametrize("unit, column", [("patient", "Patient"), ("case", None)])
def test_what_must_not_be_quoted_is_said_with_the_result(unit, column):
    worse = {"fold_mean": Estimate(0.2, 0.1, 0.49, 80), "folds": 5}
    metrics = changed(out_of_fold=worse, patients_of={"benign": 50, "high-grade": 3})
    told = " ".join(summary.lines(metrics, COHORT | {"patient_column": column}, None, [], 1))
    assert "The whole 95% CI lies below 0.5, which is worse than chance: check the classes and their order" in told
    assert f"Too few to quote: there are 3 {unit}s of high-grade, and one of so few" in told


def test_files_that_do_not_fit_come_first():
    metrics = changed(disagreements=["split 01"], coverage={"missing": {"1": ["a"]}, "repeated": {}})
    flags = summary.flags(metrics, COHORT)
    assert "disagree" in flags[0] and "more or less often" in flags[1]


def test_an_auroc_that_is_not_defined_is_said():
    none = {"headline": "roc_auc", "out_of_fold": {"roc_auc": Estimate(None, None, None)}}
    assert summary.headline(changed(**none, patients=87, positive=None)) == (
        "AUROC not defined, mean of each class against the rest; 87 cases, out of fold, pooled."
    )


def test_several_trainings_are_named():
    assert "mean of 5 folds, mean of 3 single trainings each." in summary.headline(changed(by_seed=[{}] * 3))


def test_a_single_flag_more_stands_where_the_line_on_it_would():
    told = summary.lines(METRICS, COHORT, None, [], 200)
    assert f"  - {INTERNAL}" in told and "more on the pages" not in "".join(told)


def test_a_look_at_the_cohort_names_the_next_step():
    lines = summary.lines(None, COHORT, None, [Path("results/cohort/index.html")], 4, "`-- cohort`")
    assert not any("AUROC" in line for line in lines)
    assert lines[-1].endswith("run the same command without `-- cohort` for the whole study.")


def test_the_inventory_alone_is_summed_up(tmp_path):
    folder = tmp_path / "inventory"
    folder.mkdir()
    cases = "case_id,label,class,patient_id,n_slices,n_patches,patches_h_e,patches_melan,status\n"
    cases += "1,1,a,1,1,3,3,0,used\n2,1,a,2,1,4,4,0,used\n3,2,b,3,1,2000,1990,10,used\n"
    cases += "4,9,,4,1,5,0,5,class code 9 excluded\n"
    (folder / "cases.csv").write_text(cases)
    excluded = "kind,name,reason,detail,patches\nfile,x,hidden file,,0\nfile,y,hidden file,,0\n"
    (folder / "excluded.csv").write_text(excluded + "case,4,class code 9 excluded,,5\n")
    (folder / "duplicates.csv").write_text("group,case_id,stain,path,of\n1,1,he,a,3\n1,2,he,b,4\n")
    assert summary.of_folder(tmp_path, 10, "`-- splits`", of_stains=["h&e", "melan"])[:-1] == [
        "3 cases (2 a and 1 b), 2,007 patches, before their content is read.",
        "Patches of each stain: h&e 1,997 in 3 cases; melan 10 in 1 case.",
        "Excluded (inventory/excluded.csv names them):",
        "  2 files: hidden file",
        "  1 case: class code 9 excluded",
        "  cases 1, 2 share 1 equal file",
    ]


@pytest.fixture
def results(tmp_path):
    for name, numbers in (
        ("cohort/cohort.json", COHORT),
        ("faithfulness/faithfulness.json", FAITHFULNESS),
        ("report/metrics.json", METRICS),
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        files.write_json(numbers, tmp_path / name)
    for name in summary.PAGES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_summed_up_and_an_empty_one_too(results, tmp_path):
    lines = summary.of_folder(results, 10)
    assert lines[0].startswith("AUROC 0.91") and f"  {results}/report/index.html" in "\n".join(lines)
    assert len(summary.of_folder(tmp_path / "none", 10)) == 1


def test_numbers_of_another_version_are_not_quoted(results):
    files.write_json(METRICS | {"out_of_fold": {"roc_auc": 0.9, "low": 0.8}}, results / "report/metrics.json")
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


def test_a_first_look_says_so_before_anything_else():
    said = sentences.first_look(True)
    flags = summary.flags(changed(first_look=said), COHORT, FAITHFULNESS)
    assert flags[0] == said and "do not quote" in said
    assert summary.flags(changed(first_look=sentences.first_look(False)), COHORT, FAITHFULNESS) == flags[1:]

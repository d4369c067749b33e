"""The numbers of the cross-split report against the same by hand."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from made_runs import NASTY, Made
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from stratamil.core import tables
from stratamil.evaluation import cross_split, study
from stratamil.report import study_figures, study_page
from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate


@pytest.mark.slow
def test_repeats_are_replicates_like_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(intervals, "FEW", 0)  # the bootstrap, also of 24 cases
    """Against figures put together by hand: two repeats (splits 01 and 02, 03 and 04) of two seeds."""
    made = Made(tmp_path, seeds=(1, 2), repeats=2)
    page, numbers, table = made.report(monkeypatch)
    read = {
        (split, seed): pd.read_csv(made.root / f"split_{split}/seed_{seed}/predictions.csv", dtype={"case_id": str})
        for split in ("01", "02", "03", "04")
        for seed in (1, 2)
    }

    def auc(rows, weights=None):
        return roc_auc_score(rows["true_class"] == "high-grade", rows["prob_high_grade"], sample_weight=weights)

    pairs = {1: ("01", "02"), 2: ("03", "04")}
    replicates = {(r, seed): pd.concat([read[split, seed] for split in pairs[r]]) for r in (1, 2) for seed in (1, 2)}
    aucs = {key: auc(rows) for key, rows in replicates.items()}
    assert {(row["repeat"], row["seed"]): row["roc_auc"]["value"] for row in numbers["by_seed"]} == pytest.approx(aucs)
    found = numbers["out_of_fold"]
    assert found["roc_auc"]["value"] == pytest.approx(np.mean(list(aucs.values())))
    assert found["roc_auc_sd"] == pytest.approx(np.std(list(aucs.values()), ddof=1))
    assert found["seed_sd"] == pytest.approx(abs(aucs[1, 1] + aucs[2, 1] - aucs[1, 2] - aucs[2, 2]) / 2 / 2**0.5)
    assert found["repeat_sd"] == pytest.approx(abs(aucs[1, 1] + aucs[1, 2] - aucs[2, 1] - aucs[2, 2]) / 2 / 2**0.5)
    assert found["fold_mean"]["value"] == pytest.approx(np.mean([auc(rows) for rows in read.values()]))
    by_split = [np.mean([auc(read[split, seed]) for seed in (1, 2)]) for split in ("01", "02", "03", "04")]
    assert found["fold_sd"] == pytest.approx(np.std(by_split, ddof=1))

    # the same patients are sampled for every replicate, without strata; an interval on the logit scale
    cases = tables.read_cases(made.root / "cases.csv").query("status == 'used'").set_index("case_id")
    weights = pd.DataFrame(intervals.bootstrap_weights(cases["patient_id"], 100, 42).T, index=cases.index)
    drawn = [np.mean([auc(rows, weights.loc[rows["case_id"], i]) for rows in replicates.values()]) for i in range(100)]
    pooled, low, high, n = found["roc_auc"].values()
    half = 1.959964 * np.std(drawn, ddof=1) / pooled / (1 - pooled)
    assert [low, high] == pytest.approx(expit(logit(pooled) + np.array([-half, half]))) and n == 23

    mean = pd.concat(read.values()).groupby(["case_id", "true_class"])["prob_high_grade"].mean().reset_index()
    ensemble = numbers["ensemble"]
    assert ensemble["roc_auc"]["value"] == pytest.approx(auc(mean))
    assert (ensemble["fold_mean"]["value"], ensemble["folds"]) == (None, 0)
    baseline = pd.read_csv(made.root / "baselines.csv", dtype={"case_id": str}).query("baseline == 'mean_pool'")
    baseline = baseline.groupby(["case_id", "true_class"])["prob_high_grade"].mean().reset_index()
    assert numbers["baselines"][0]["n"] == 24
    assert numbers["baselines"][0]["roc_auc"]["value"] == pytest.approx(auc(baseline))
    differences = {name: part["value"] for name, part in numbers["baselines"][0]["auc_difference"].items()}
    assert differences["ensemble"] == pytest.approx(auc(mean) - auc(baseline))
    assert differences["model"] == pytest.approx(pooled - auc(baseline))

    assert numbers["coverage"] == {"missing": {}, "repeated": {}}
    assert {case["times"] for case in numbers["per_case"]} == {4}
    assert {len(case["split"].split(", ")) for case in numbers["per_case"]} == {2}
    assert len(table.query("level == 'seed' and metric == 'roc_auc'")[["repeat", "seed"]].drop_duplicates()) == 4
    for words in (
        "mean of 4 single trainings each",
        "exactly 2 times per seed, once in each repeat",
        "repeat 2, seed 1",
        "SD over replicates",
    ):
        assert words in page


def test_the_curve_of_a_baseline_of_one_stain_has_its_label(tmp_path):
    made = Made(tmp_path)
    names = [made.classes[k] for k in made.study().predictions["y"]]
    own = made.study().predictions.assign(baseline="mean_pool_sox10", true_class=names)
    ((label, band),) = study_figures._baseline_curves(made.study(baselines=own), "mean_pool_sox10")
    assert label.startswith("Mean of patch features, sox10 alone: 0.") and band.low is None
    assert list(study_figures._baseline_curves(made.study(baselines=own), None)) == []


@pytest.mark.slow
def test_model_and_itself_as_baseline_do_not_differ(tmp_path):
    made = Made(tmp_path)
    own = made.study().predictions.assign(baseline="itself", true_class=lambda t: [made.classes[k] for k in t["y"]])
    same = cross_split.numbers(made.study(baselines=own))["baselines"][0]
    assert list(same["auc_difference"]) == ["ensemble", "model", "fold_mean"]
    assert set(same["auc_difference"].values()) == {Estimate(0, n=23)}  # in every sample


@pytest.mark.slow
def test_every_figure_of_the_ensemble_has_its_interval(tmp_path, monkeypatch):
    _, numbers, table = Made(tmp_path, seeds=(1, 2), signal=0.5).report(monkeypatch)
    rows = table.query("level in ('out_of_fold', 'ensemble') and model == 'model'").set_index(["level", "metric"])
    for level, names in {
        "out_of_fold": ("roc_auc", "roc_auc_fold_mean", "accuracy", "balanced_accuracy", "pr_auc", "log_loss", "brier"),
        "ensemble": ("roc_auc", "pr_auc", "at_threshold_mcc", "calibration_slope", "calibration_intercept"),
    }.items():
        for name in names:
            low, value, high = rows.loc[(level, name), ["low", "value", "high"]].astype(float)
            assert low <= value <= high, (level, name)
    for point in numbers["decisions"]:
        for row in point["rows"]:
            assert row["estimate"]["low"] <= row["estimate"]["value"] <= row["estimate"]["high"], row


@pytest.mark.slow
def test_what_is_constant_by_construction_has_no_interval(tmp_path):
    made = Made(tmp_path)
    rows = made.study().predictions.assign(
        baseline="prevalence", true_class=lambda t: [made.classes[k] for k in t["y"]]
    )
    share = rows.groupby("split")["y"].transform("mean")
    rows = rows.assign(prob_high_grade=share, prob_benign=1 - share)
    (found,) = cross_split.numbers(made.study(baselines=rows))["baselines"]
    assert found["fold_mean"].value == 0.5
    for estimate in (found["roc_auc"], found["delong"], found["fold_mean"], *found["auc_difference"].values()):
        assert estimate.low is estimate.high is None


@pytest.mark.slow
def test_the_ensemble_chooses_its_threshold_and_its_interval_chooses_anew(tmp_path, monkeypatch):
    """By hand: the mean of the seeds on the validation cases of each split, again in each bootstrap sample."""
    made, random = Made(tmp_path, seeds=(1, 2), signal=0.7), np.random.default_rng(1)
    for run in made.runs:  # 12 validation cases: of the 4, most samples have one class only
        others = np.arange(12, 24) if "split_01" in str(run) else np.arange(12)
        made.predict(random, others)[0].to_csv(run / "validation_predictions.csv", index=False)
    page, numbers, table = made.report(monkeypatch)
    read = {}
    for split, name in itertools.product(("01", "02"), ("predictions", "validation_predictions")):
        paths = [made.root / f"split_{split}/seed_{seed}/{name}.csv" for seed in (1, 2)]
        rows = pd.concat([pd.read_csv(path, dtype={"case_id": str}) for path in paths]).groupby("case_id")
        read[split, name] = rows[["true_label", "prob_high_grade"]].mean()
    found = made.study()
    weights = pd.DataFrame(found.weights.T, index=found.ensemble["case_id"])

    def accuracy(weight):
        hits = 0
        for split in ("01", "02"):
            test, val = read[split, "predictions"], read[split, "validation_predictions"]
            of_val = weight[val.index].to_numpy()[None]
            (threshold,) = metrics.chosen_thresholds(val["true_label"], val["prob_high_grade"], "youden", of_val)
            right = (test["prob_high_grade"] >= threshold) == test["true_label"]
            hits += np.nan if np.isnan(threshold) else weight[test.index][right].sum()
        return hits / weight.sum()

    (row,) = [row for row in numbers["decisions"][1]["rows"] if row["name"] == "accuracy"]
    value = accuracy(pd.Series(1.0, index=weights.index))
    assert row["estimate"]["value"] == pytest.approx(value)
    drawn = np.array([accuracy(weights[i]) for i in range(100)])
    half = 1.959964 * np.nanstd(drawn, ddof=1) / value / (1 - value)
    ends = expit(logit(value) + np.array([-half, half]))
    assert [row["with_choice"]["low"], row["with_choice"]["high"]] == pytest.approx(ends)
    assert "95% CI with the choice" in page and "at_threshold_accuracy_with_choice" in set(table["metric"])


@pytest.mark.slow
def test_difference_of_fold_means_is_by_hand_and_does_not_see_a_shift_of_a_fold(tmp_path):
    made = Made(tmp_path, seeds=(1, 2), signal=1)

    def differences():
        baselines = pd.read_csv(tmp_path / "baselines.csv", dtype={"case_id": str, "split": str})
        found = made.study(baselines=baselines)
        difference = cross_split.numbers(found)["baselines"][0]["auc_difference"]
        theirs = [
            roc_auc_score(rows["true_class"] == "high-grade", rows["prob_high_grade"])
            for _, rows in baselines[baselines["baseline"] == "mean_pool"].groupby("split")
        ]
        ours = [
            roc_auc_score(rows["y"], rows["prob_high_grade"])
            for _, rows in found.predictions.groupby(["split", "seed"])
        ]
        of_folds = difference["fold_mean"]
        assert of_folds.value == pytest.approx(np.mean(ours) - np.mean(theirs))
        assert of_folds.low < of_folds.value < of_folds.high
        return [of_folds.value, of_folds.low, of_folds.high], difference["model"].value

    before, pooled = differences()
    for seed in made.seeds:
        path = tmp_path / f"split_02/seed_{seed}/predictions.csv"
        rows = pd.read_csv(path)
        rows["prob_high_grade"] = rows["prob_high_grade"] / 20
        rows["prob_benign"] = 1 - rows["prob_high_grade"]
        rows.to_csv(path, index=False)
    after, shifted = differences()
    assert after == pytest.approx(before) and abs(shifted - pooled) > 0.01


@pytest.mark.slow
def test_attention_against_known_signal_has_an_interval_by_patient(tmp_path, monkeypatch):
    made, random, scores = Made(tmp_path), np.random.default_rng(0), {}
    for run in made.runs:
        path = run / "attention_analysis/summary.csv"
        labels = pd.read_csv(run / "predictions.csv")["true_class"]
        auc = np.round(random.uniform(0.6, 0.95, len(labels)), 6)
        pd.read_csv(path).assign(true_class=labels, attention_auc=auc).to_csv(path, index=False)
        auc = auc[labels == "high-grade"]
        scores[run] = auc
        told = {"positive_class": "high_grade", "cases": len(auc), "mean_auc": auc.mean()}
        told |= {"contribution_auc": 0.9, "margin_auc": 0.875}
        (run / "attention_analysis/truth_auc.json").write_text(json.dumps(told))
    page, numbers, _ = made.report(monkeypatch)
    found, each = numbers["attention"]["truth"], np.concatenate(list(scores.values()))
    assert found["class"] == "high-grade" and found["mean_auc"]["value"] == pytest.approx(each.mean())
    error = each.std() / len(each) ** 0.5
    low, high = found["mean_auc"]["low"], found["mean_auc"]["high"]
    assert low < each.mean() < high and found["mean_auc"]["n"] == 11
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.35)
    text = re.sub(r"\s+", " ", re.sub("<.*?>", "", page))
    assert "In 12 predictions of high-grade cases with known signal patches" in text and "to the margin 0.88" in text
    told |= {"mean_auc": 0.5}
    (run / "attention_analysis/truth_auc.json").write_text(json.dumps(told))
    assert made.report(monkeypatch)[1]["attention"]["truth"]["mean_auc"]["low"] is None  # summaries of another analysis


def test_subgroups_by_patches_never_overlap(tmp_path):
    made = Made(tmp_path)
    cases = tables.read_cases(tmp_path / "cases.csv")
    cases["n_patches"] = [10, 20, 20] * 9
    found = study.Study(study.read_runs(made.runs), cases, 100, 42)
    groups = [row for row in cross_split.numbers(found)["subgroups"] if row["kind"] == "patches of a case"]
    numbers = [sorted(map(int, re.findall(r"\d+", row["name"]))) for row in groups]
    ranges = [(of[0], of[-1]) for of in numbers]
    rows = list(zip(groups, ranges))
    assert sum(row["n"] for row in groups) == 24
    assert all(row["name"] == f"{'' if low == high else f'{low} to '}{high} patches" for row, (low, high) in rows)
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ranges))


@pytest.mark.slow
def test_columns_of_the_labels_table_are_a_table_subgroups_and_a_regression(tmp_path, monkeypatch):
    made, random = Made(tmp_path, n=20), np.random.default_rng(0)
    labels = pd.DataFrame({"Case": made.ids, "Class": 1, "Site": random.choice([NASTY, "B"], 40)})
    labels.assign(Age=random.normal(60, 9, 40).round(1)).to_csv(tmp_path / "labels.csv", index=False)
    flags = ["--labels", tmp_path / "labels.csv", "--columns", "Site", "Age", "--clinical", "Age"]
    page, numbers, table = made.report(monkeypatch, *flags)
    assert NASTY not in page and all(f'<section id="{name}">' in page for name in ("characteristics", "clinical"))
    found = pd.read_csv(tmp_path / "report/characteristics.csv")
    of_all = found[(found["group"] == "all") & (found["column"] == "Site")].set_index("level")["count"]
    assert of_all.sum() == numbers["patients"] and set(of_all.index) == {NASTY, "B"}
    assert {"column_group", "column_error", "clinical"} <= set(table["level"])
    page, numbers, _ = made.report(monkeypatch)
    assert numbers["columns"] is None and 'id="characteristics"' not in page
    assert not (tmp_path / "report/characteristics.csv").exists()


def test_the_headline_without_wrong_cases_of_few_patches(tmp_path, monkeypatch):
    made = Made(tmp_path, signal=0.5)
    monkeypatch.setattr(cross_split, "PATCHES", 99)
    monkeypatch.setattr(study_page, "PATCHES", 99)
    page, numbers, _ = made.report(monkeypatch)
    found, wrong = numbers["rest_on_few"], [row for row in numbers["per_case"] if row["predicted"] != row["true"]]
    assert [case["case_id"] for case in found["cases"]] == [row["case_id"] for row in wrong] and wrong
    assert found["auroc"] == 1 > numbers["out_of_fold"]["fold_mean"]["value"]
    assert page.count('<span class="none">few</span>') == 24 and "without them the AUROC would be 1.00." in page
    errors = [1 - row["probability"] if row["true"] == made.classes[1] else row["probability"] for row in wrong]
    assert [row["error"] for row in wrong] == pytest.approx(errors)


def test_an_auroc_of_fewer_than_five_cases_is_too_few(tmp_path, monkeypatch):
    page, numbers, _ = Made(tmp_path, n=4).report(monkeypatch)
    few = [group for group in numbers["subgroups"] if group["n"] < 5]
    assert few and page.count('<td class="n none">too few</td>') == len(few)

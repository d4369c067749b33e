"""The model against baselines and against itself trained in another way: each figure beside a plain computation."""

from dataclasses import replace

import made_study
import numpy as np
import pandas as pd
import pytest
from made_study import CLASSES
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from stratamil.core.errors import UserError
from stratamil.evaluation import cross_split, metrics_table, retrained
from stratamil.evaluation.runs import Run
from stratamil.report import sentences, study_figures
from stratamil.stats.estimates import Sample

pytestmark = pytest.mark.slow

RANDOM = np.random.default_rng(3)
Y = np.arange(60) % 3 == 0
GOOD, WEAK = (Y * signal + RANDOM.normal(size=60) for signal in (2.5, 0.8))


@pytest.fixture(scope="module")
def made():
    study = made_study.study(GOOD, Y.astype(int), seeds=(1, 2), noise=0.4)
    return replace(study, retrained=made_study.retrained(study, "mean", WEAK))


def by_split(study, rows):
    aucs = [
        roc_auc_score(part["y"], part["prob_high_grade"]) for _, part in rows.groupby(["split", "seed"]) if len(part)
    ]
    return np.mean(aucs)


def test_a_retrained_model_is_a_row_of_the_baselines(made):
    (row,) = cross_split.numbers(made)["baselines"]
    assert (row["name"], row["retrained"], row["n"], row["fitted"]) == ("retrained_mean", "mean", 60, 5)
    theirs, p = made.retrained_rows["mean"], 1 / (1 + np.exp(-WEAK))
    assert row["fold_mean"].value == pytest.approx(by_split(made, theirs))
    assert row["roc_auc"].value == pytest.approx(roc_auc_score(Y, WEAK))
    assert row["log_loss"].value == pytest.approx(log_loss(Y, p)) and row["log_loss"].low < row["log_loss"].value
    assert row["brier"].value == pytest.approx(brier_score_loss(Y, p))


def test_differences_are_paired_by_split_and_seed_and_of_the_headline_s_estimand(made):
    numbers = cross_split.numbers(made)
    (row,), out_of_fold = numbers["baselines"], numbers["out_of_fold"]
    for name, measure in (("model", "roc_auc"), ("fold_mean", "fold_mean")):
        difference = row["auc_difference"][name]
        assert difference.value == pytest.approx(out_of_fold[measure].value - row[measure].value)
        assert difference.low < difference.value < difference.high
    assert row["auc_difference"]["ensemble"].value == pytest.approx(
        numbers["ensemble"]["roc_auc"].value - roc_auc_score(Y, WEAK)
    )
    # paired: less uncertain than the two apart
    width = row["auc_difference"]["fold_mean"].high - row["auc_difference"]["fold_mean"].low
    apart = [own["fold_mean"].high - own["fold_mean"].low for own in (row, out_of_fold)]
    assert width < np.hypot(*apart) * 1.05


def test_the_faithfulness_page_has_the_same_difference_and_ci(made):
    """Folds are so small that bootstrap samples lack a class of some."""
    sample = Sample(made.ensemble.set_index("case_id")[["patient_id", "y"]], made.bootstrap_samples, made.seed)
    others = dict(list(made.retrained_rows["mean"].groupby(["split", "seed"])))
    pairs = []
    for run, rows in made.predictions.groupby(["split", "seed"]):
        p, q = (table.set_index("case_id")[made.probabilities] for table in (rows, others[run]))
        pairs.append((p, q.loc[p.index]))
    found = sample.auc_difference(pairs).difference
    (row,) = cross_split.numbers(made)["baselines"]
    other = row["auc_difference"]["fold_mean"]
    assert (found.value, found.low, found.high) == pytest.approx((other.value, other.low, other.high))


def of_one_stain(lacking):
    """A study with a baseline of one stain that these cases lack, and its row."""
    study = made_study.study(GOOD, Y.astype(int), seeds=(1, 2), noise=0.4)
    ids, p = study.cases["case_id"], 1 / (1 + np.exp(-WEAK))
    cases = study.cases.assign(missing_stains=np.where(ids.isin(lacking), "sox10", ""))
    split_of = study.predictions.drop_duplicates("case_id").set_index("case_id")["split"]
    table = pd.DataFrame({"baseline": "mean_pool_sox10", "case_id": ids, "split": ids.map(split_of)})
    table = table.assign(true_class=study.cases["class"], prob_benign=1 - p, prob_high_grade=p)
    study = replace(study, cases=cases, baselines=table)
    return study, cross_split.numbers(study)["baselines"][0]


def test_a_baseline_of_one_stain_is_compared_on_the_cases_that_have_it():
    lacking = [str(i) for i in (1, 4, 5, 12, 30)]
    study, row = of_one_stain(lacking)
    has = ~study.cases["case_id"].isin(lacking)
    rows = study.predictions[~study.predictions["case_id"].isin(lacking)]
    pooled = np.mean([roc_auc_score(own["y"], own["prob_high_grade"]) for _, own in rows.groupby("seed")])
    theirs = roc_auc_score(Y[has], WEAK[has])
    assert (row["n"], row["without_stain"], row["competes"]) == (55, 5, True)
    assert row["roc_auc"].value == pytest.approx(theirs)
    ((label, _),) = study_figures._baseline_curves(study, "mean_pool_sox10")
    assert label.endswith(f": {row['fold_mean'].value:.2f}")
    assert not study.lacks("mean_pool", lacking).any()
    assert row["auc_difference"]["model"].value == pytest.approx(pooled - theirs)
    gap = row["auc_difference"]["fold_mean"].value
    assert gap == pytest.approx(by_split(study, rows) - row["fold_mean"].value)
    assert row["auc_difference"]["model"].low < pooled - theirs < row["auc_difference"]["model"].high


def test_curves_of_one_figure_are_of_the_same_cases():
    """The best baseline, of one stain, lacks cases: the next best that has all is drawn beside the model."""
    study, _ = of_one_stain(["1", "4"])
    worse = 1 / (1 + np.exp(-RANDOM.permutation(WEAK)))
    again = study.baselines.assign(baseline="mean_pool", prob_benign=1 - worse, prob_high_grade=worse)
    found = cross_split.numbers(replace(study, baselines=pd.concat([study.baselines, again])))
    assert found["best_baseline"] == "mean_pool_sox10"
    assert found["decision_curve"]["baseline"] == found["detectable"]["against"] == "mean_pool"
    assert sentences.strongest(found)["name"] == "mean_pool_sox10"
    assert sentences.strongest(found, of_all=True)["name"] == "mean_pool"
    alone = cross_split.numbers(study)
    assert alone["decision_curve"]["baseline"] is None and alone["detectable"]["difference"] is None


def test_a_baseline_of_a_rare_stain_is_no_competitor():
    study, row = of_one_stain([str(i) for i in range(1, 32)])
    assert row["n"] == 29 and not row["competes"]
    assert cross_split.numbers(study)["best_baseline"] is None


def test_the_model_itself_is_no_better_than_itself(made):
    own = made.predictions[["split", "seed", "case_id", "prob_benign", "prob_high_grade"]]
    same = replace(made, retrained=own.assign(variant="flat", training_cases=9))
    (row,) = cross_split.numbers(same)["baselines"]
    for difference in row["auc_difference"].values():
        assert difference.value == pytest.approx(0) and difference.low is None


def test_metrics_csv_has_the_retrained_model(made):
    table = metrics_table.long_table(cross_split.numbers(made))
    rows = table[table["model"] == "retrained_mean"].set_index("metric")["value"]
    assert {"roc_auc", "roc_auc_fold_mean", "log_loss", "brier"} <= set(rows.index)
    assert rows["model_minus_baseline_roc_auc_fold_mean"] > 0


def write(folder, split, cases, **changes):
    table = pd.DataFrame({"set": ["val", *["test"] * len(cases)], "case_id": ["9", *cases], "true_class": CLASSES[0]})
    table = table.assign(prob_benign=0.5, prob_high_grade=0.5, training_cases=7, epoch=1).assign(**changes)
    (folder / "retrained").mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "retrained/mean.csv", index=False)
    run = Run(folder, {"classes": CLASSES, "split": split, "seed": 1})
    run.__dict__["test"] = made_study.predictions(["1", "2"], [0, 1], np.zeros(2))
    return run


def test_what_retrain_wrote_is_read_and_what_does_not_fit_is_told(tmp_path):
    good = write(tmp_path / "a", "01", ["2", "1"])
    table = retrained.read([good], ["mean"])
    assert list(table["case_id"]) == ["2", "1"] and set(table["variant"]) == {"mean"} and set(table["split"]) == {"01"}
    assert retrained.read([good], []) is None
    bad = [write(tmp_path / "b", "02", ["1", "3"]), write(tmp_path / "c", "03", ["1", "2"])]
    (tmp_path / "c/retrained/mean.csv").write_text("set,case_id\ntest,1\n")
    with pytest.raises(UserError) as error:
        retrained.read([good, *bad], ["mean"])
    assert [line.partition(": ")[2] for line in error.value.problems] == [
        "its test cases are not those of predictions.csv: run retrain again",
        "missing column true_class, prob_benign, prob_high_grade, training_cases: run retrain again",
    ]
    with pytest.raises(UserError, match=r"retrained/flat\.csv"):
        retrained.read([good], ["flat"])

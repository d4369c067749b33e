"""What choosing came to: inner against outer scores, how stable, and its gain on test cases, paired."""

from dataclasses import replace

import made_study
import numpy as np
import pytest
import yaml
from scipy.special import expit

from stratamil.evaluation import cross_split, metrics_table, tuned
from stratamil.stats import metrics

RANDOM = np.random.default_rng(5)
Y = np.arange(60) % 2
SCORE = 3 * (Y - 0.5) + RANDOM.normal(size=60)
WEAK = 0.5 * (Y - 0.5) + 1.5 * RANDOM.normal(size=60)


def choice(split, candidate=3, metric="log_loss", lr=0.001):
    own = {"train.lr": 0.0003, "model.dropout": 0.5}
    chosen = {"candidate": candidate, "inner_mean": 0.4, "settings": own | {"train.lr": lr} if candidate else own}
    default = {"candidate": 0, "inner_mean": 0.5, "settings": own}
    best = chosen | {"gain": 0.1, "standard_error": 0.05}
    counts = {"candidates": 24, "inner_folds": 4, "seeds": [1, 2]}
    return {"split": split, "metric": metric, "default": default, "best": best, "chosen": chosen} | counts


@pytest.fixture(scope="module")
def study():
    made = made_study.study(SCORE, Y, seeds=(1, 2), noise=0.1)
    return replace(made, retrained=made_study.retrained(made, "default", WEAK))


def found(study, choices):
    return cross_split.numbers(replace(study, tuning=choices))["tuning"]


def test_nothing_is_said_where_nothing_was_chosen(study):
    assert found(study, []) is None
    assert cross_split.numbers(replace(study, retrained=None, tuning=[choice("01")]))["tuning"] is None


def test_scores_of_test_cases_are_those_of_inner_folds_on_other_cases(study):
    numbers = found(study, [choice(name, int(name) % 3) for name in study.splits])
    assert (numbers["kept"], numbers["different"]) == (1, 3) and numbers["differ"] == {
        "train.lr": [0.001, 0.001, 0.0003, 0.001, 0.001]
    }
    for number, row in enumerate(numbers["rows"]):
        part = np.arange(60) % 5 == number
        p = expit(WEAK[part])
        assert row["outer_default"] == pytest.approx(metrics.log_loss(Y[part], np.column_stack([1 - p, p])))
        runs = [run.test for run in study.runs if run.split == row["split"]]
        mine = [metrics.log_loss(Y[part], run[study.probabilities].to_numpy()) for run in runs]
        assert row["outer"] == pytest.approx(np.mean(mine)) and (row["inner"], row["inner_default"]) == (0.4, 0.5)
    assert numbers["inner"] == pytest.approx(0.4)
    assert numbers["outer"] == pytest.approx(np.mean([row["outer"] for row in numbers["rows"]]))


def test_the_gain_is_paired_and_of_the_chosen_less_the_study_s_own(study):
    numbers = found(study, [choice(name) for name in study.splits])
    p = expit(WEAK)
    own = metrics.log_loss(Y, np.column_stack([1 - p, p]))
    rows = [each for _, each in study.predictions.groupby("seed")]
    mine = np.mean([metrics.log_loss(each["y"].to_numpy(), each[study.probabilities].to_numpy()) for each in rows])
    assert numbers["gain"].value == pytest.approx(own - mine) and 0 < numbers["gain"].low < numbers["gain"].value
    assert numbers["auc_difference"]["model"].low > 0
    same = replace(study, retrained=study.predictions[["split", "seed", "case_id", *study.probabilities]].assign(
        variant="default", training_cases=9
    ))  # fmt: skip
    equal = found(same, [choice(name) for name in study.splits])
    assert equal["gain"].value == pytest.approx(0, abs=1e-12) and equal["gain"].low is None


def test_by_auroc_and_in_metrics_csv(study):
    numbers = cross_split.numbers(replace(study, tuning=[choice(name, metric="auc") for name in study.splits]))
    rows = metrics_table.long_table(numbers).query("level == 'tuning'")
    assert set(rows["metric"]) == {
        "inner_auc", "inner_default_auc", "outer_auc", "outer_default_auc", "lowers_log_loss_by"
    }  # fmt: skip
    outer = rows[(rows["model"] == "split 02") & (rows["metric"] == "outer_auc")]["value"].item()
    assert outer == numbers["tuning"]["rows"][1]["outer"] > 0.8


def test_choices_are_read_in_the_order_of_splits(tmp_path):
    for name in ("10", "02"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(choice(name)))
    assert [each["split"] for each in tuned.read([tmp_path / "10.yaml", tmp_path / "02.yaml"])] == ["02", "10"]

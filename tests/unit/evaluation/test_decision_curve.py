"""Net benefit by hand, its intervals and ranges, and what a cohort can detect."""

from dataclasses import replace

import made_study
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from stratamil.evaluation import cross_split, decision_curve, metrics_table, power
from stratamil.evaluation.decision_curve import THRESHOLDS
from stratamil.stats import intervals
from stratamil.stats.intervals import Estimate, Sides

pytestmark = pytest.mark.slow

RANDOM = np.random.default_rng(5)
Y = np.arange(80) % 4 == 0
SCORE = 3 * Y - 1.5 + RANDOM.normal(size=80)


def at(values, threshold):
    return values[THRESHOLDS.index(threshold)]


def test_net_benefit_by_hand():
    """2 of 4 positive. At 0.5: one right and one false call; at 0.2: two right and one at a quarter of the price."""
    gains = decision_curve.gains([1, 1, 0, 0], [0.9, 0.4, 0.6, 0.1]).mean(axis=0)
    assert at(gains, 0.5) == pytest.approx(1 / 4 - 1 / 4)
    assert at(gains, 0.2) == pytest.approx(2 / 4 - 1 / 4 * 0.25)
    assert at(gains, 0.8) == pytest.approx(1 / 4)
    everyone = decision_curve.gains([1, 1, 0, 0], np.ones(4)).mean(axis=0)
    assert at(everyone, 0.2) == pytest.approx(0.5 - 0.5 * 0.25) and at(everyone, 0.5) == pytest.approx(0)


@pytest.fixture(scope="module")
def made():
    study = made_study.study(SCORE, Y.astype(int), seeds=(1, 2), noise=0.3)
    weak = expit(Y - 0.5 + RANDOM.normal(size=80))
    rows = study.predictions.query("seed == 1")[["split", "case_id"]].assign(baseline="summary")
    p = weak[rows["case_id"].astype(int) - 1]
    truth = [made_study.CLASSES[int(Y[int(case) - 1])] for case in rows["case_id"]]
    return replace(study, baselines=rows.assign(prob_benign=1 - p, prob_high_grade=p, true_class=truth))


def test_the_curve_of_a_study_is_the_mean_of_its_trainings(made):
    curve = cross_split.numbers(made)["decision_curve"]
    for threshold in (0.1, 0.5, 0.9):
        odds = threshold / (1 - threshold)
        each = []
        for _, rows in made.predictions.groupby("seed"):
            called = rows["prob_high_grade"] >= threshold
            each.append(((called & (rows["y"] == 1)).sum() - odds * (called & (rows["y"] == 0)).sum()) / 80)
        ours, everyone = at(curve["model"], threshold), at(curve["all"], threshold)
        assert ours.value == pytest.approx(np.mean(each)) and everyone == pytest.approx(0.25 - 0.75 * odds)
        assert at(curve["over_all"], threshold).value == pytest.approx(ours.value - everyone)
        other = at(curve["of_baseline"], threshold)
        assert at(curve["over_baseline"], threshold).value == pytest.approx(ours.value - other)
        assert ours.low < ours.value < ours.high and ours.n == 80
    assert curve["baseline"] == "summary" and curve["useful"]
    low, high = curve["useful"][0]
    assert at(curve["model"], (low + high) / 2 if (low + high) / 2 in THRESHOLDS else low).low > 0


def test_useful_ranges():
    up, down = Estimate(0.2, 0.1, 0.3, 9), Estimate(0.1, -0.1, 0.3, 9)
    pattern = [down] * 9 + [up] * 20 + [down] * 30 + [up] * 5 + [Estimate(0.1)] * 35
    assert decision_curve.useful(pattern, [up] * 99) == [(0.1, 0.29), (0.6, 0.64)]
    assert decision_curve.useful([down] * 99, [up] * 99) == decision_curve.useful([up] * 99, [down] * 99) == []


def test_metrics_csv_has_the_curve_and_what_can_be_detected(made):
    numbers = cross_split.numbers(made)
    rows = metrics_table.long_table(numbers)
    curve = rows[rows["level"] == "decision_curve"].set_index(["model", "metric"])["value"]
    assert curve["model", "net_benefit_at_0.50"] == at(numbers["decision_curve"]["model"], 0.5).value
    assert "model_minus_net_benefit_at_0.95" in curve["summary"].index and len(curve) == 5 * 19
    found = rows[rows["level"] == "detectable"].set_index("metric")
    assert found.loc["smallest_difference", "model"] == "summary"
    difference = next(row for row in numbers["baselines"] if row["name"] == "summary")["auc_difference"]["fold_mean"]
    error = (difference.high - difference.low) / 2 / 1.959964
    assert found.loc["smallest_difference", "value"] == pytest.approx(2.80159 * error, rel=1e-4)


def test_three_classes_have_no_decision_curve(made):
    class Several:
        binary = False

    assert decision_curve.curve(Several(), None) is None


@pytest.mark.parametrize("sides", [[Sides(30, 60)], [Sides(6, 12)] * 5])
def test_the_smallest_auroc_is_found_in_four_of_five_cohorts(sides):
    """Simulated: normal scores of this AUROC, and the report's interval for few patients."""
    found = power.smallest(sides, None, None, 90)
    random, shift = np.random.default_rng(1), np.sqrt(2) * _quantile(found["auroc"])
    above = []
    for _ in range(600):
        areas = [np.mean(random.normal(shift, 1, m)[:, None] > random.normal(size=k)) for m, k in sides]
        above.append(intervals.score_interval(float(np.mean(areas)), sides).low > 0.5)
    assert np.mean(above) == pytest.approx(0.8, abs=0.06)
    assert found["difference"] is None and found["against"] is None


def _quantile(area):
    from scipy.special import ndtri

    return ndtri(area)


def test_what_cannot_be_detected_is_not_defined():
    assert power.smallest([Sides(1, 1)], Estimate(0.1), "summary", 2) == {
        "power": 0.8, "patients": 2, "against": None, "difference": None, "auroc": None,
    }  # fmt: skip
    assert power.smallest([Sides(0, 9)], None, None, 9)["auroc"] is None
    assert power.smallest([], None, None, 9)["auroc"] is None


def test_a_curve_of_shares_ends_at_the_model(made):
    shares = [made_study.retrained(made, f"train_{n}", n / 100 * SCORE, training_cases=n // 2) for n in (75, 25)]
    study = replace(made, retrained=pd.concat(shares), baselines=None)
    numbers = cross_split.numbers(study)
    assert [point["percent"] for point in numbers["learning"]] == [25, 75, 100]
    assert numbers["learning"][0]["training_cases"] == 12 and numbers["baselines"] == []
    assert numbers["learning"][-1]["fold_mean"] == numbers["out_of_fold"]["fold_mean"]
    rows = metrics_table.long_table(numbers).query("level == 'learning_curve'")
    assert set(rows["model"]) == {"train_25", "train_75", "train_100"}

"""Metrics against scikit-learn, hand-worked numbers and naive re-implementations."""

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from stratamil.stats import metrics

Y = np.array([0, 0, 1, 1, 0, 1, 1, 0])
SCORE = np.array([0.1, 0.4, 0.35, 0.8, 0.4, 0.4, 0.9, 0.2])


def sample(n=120, seed=0, ties=True):
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    score = 1 / (1 + np.exp(-(2 * y - 1 + 1.5 * random.normal(size=n))))
    return y, score.round(2) if ties else score


def both(score):
    return np.column_stack([1 - score, score])


def test_summary_agrees_with_scikit_learn():
    y, score = sample()
    found = metrics.summary(y, both(score), ["benign", "high-grade"])
    called = (score > 0.5).astype(int)
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(y, score))
    assert found["pr_auc"] == pytest.approx(reference.average_precision_score(y, score))
    assert found["log_loss"] == found["loss"] == pytest.approx(reference.log_loss(y, np.clip(both(score), 1e-7, 1)))
    assert found["brier"] == pytest.approx(reference.brier_score_loss(y, score))
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(y, called))
    assert found["recall"]["high-grade"] == pytest.approx(reference.recall_score(y, called))
    assert (found["n"], found["positives"]) == (120, y.sum())


def test_three_classes_agree_with_scikit_learn():
    random = np.random.default_rng(1)
    y, p = np.arange(60) % 3, random.dirichlet([1, 1, 1], 60)
    found = metrics.summary(y, p, ["a", "b", "c"])
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(y, p, multi_class="ovr"))
    assert found["log_loss"] == pytest.approx(reference.log_loss(y, p))
    assert found["brier"] == pytest.approx(reference.brier_score_loss(y, p))
    assert found["positives"] is None


@pytest.mark.parametrize("y", [[0, 0, 0], [1, 1, 1], []])
def test_one_class_is_not_defined_never_a_number(y):
    score = np.array([0.2, 0.5, 0.9][: len(y)])
    found = metrics.summary(y, both(score), ["a", "b"])
    assert found["roc_auc"] is found["pr_auc"] is found["balanced_accuracy"] is None
    assert metrics.youden_threshold(y, score) is metrics.sensitivity_threshold(y, score, 0.9) is None
    assert metrics.temperature(y, both(score)) == (1, "one class")
    assert metrics.calibration(y, score)["slope"] is None


def test_at_threshold_by_hand():
    found = metrics.at_threshold(Y, SCORE, 0.4)
    assert (found["tp"], found["fp"], found["tn"], found["fn"]) == (3, 2, 2, 1)
    assert (found["sensitivity"], found["specificity"], found["ppv"], found["npv"]) == (
        0.75,
        0.5,
        0.6,
        pytest.approx(2 / 3),
    )
    assert found["mcc"] == pytest.approx(reference.matthews_corrcoef(Y, SCORE >= 0.4))
    assert found["f1"] == pytest.approx(reference.f1_score(Y, SCORE >= 0.4))
    nothing = metrics.at_threshold([1, 0], [0.1, 0.2], 0.5)
    assert nothing["ppv"] is nothing["mcc"] is None


def test_thresholds_are_the_best_of_all_and_between_scores():
    y, score = sample()
    chosen = metrics.youden_threshold(y, score)
    assert chosen not in score
    tried = [metrics.at_threshold(y, score, t) for t in np.linspace(-0.1, 1.1, 1201)]
    best = max(t["sensitivity"] + t["specificity"] for t in tried)
    at = metrics.at_threshold(y, score, chosen)
    assert at["sensitivity"] + at["specificity"] == pytest.approx(best)
    for target in (0.5, 0.9, 1.0):
        at = metrics.at_threshold(y, score, metrics.sensitivity_threshold(y, score, target))
        assert at["sensitivity"] >= target
        assert at["specificity"] == max(t["specificity"] for t in tried if t["sensitivity"] >= target)
    assert metrics.youden_threshold([0, 1], [0.2, 0.6]) == pytest.approx(0.4)


@pytest.mark.parametrize("rule", ["youden", 0.8])
def test_thresholds_of_weighted_cases_are_those_of_repeated_ones(rule):
    random = np.random.default_rng(5)
    y, score = random.integers(0, 2, 25), random.random(25).round(1)
    weights = random.integers(1, 4, (40, 25))
    found = metrics.chosen_thresholds(y, score, rule, weights.astype(float))
    assert list(found) == [metrics.chosen_threshold(y.repeat(each), score.repeat(each), rule) for each in weights]
    assert np.isnan(metrics.chosen_thresholds(y, score, rule, np.where(y == 1, 0.0, 1.0)[None])).all()


def test_threshold_is_finite_where_scores_say_nothing_or_are_neighbours():
    assert metrics.youden_threshold([0, 1], [0.5, 0.5]) == 0.5
    assert metrics.youden_threshold([1, 0], [0.2, 0.8]) == 0.2
    above = np.nextafter(0.5, 1)
    threshold = metrics.youden_threshold([0, 1], [0.5, above])
    assert metrics.at_threshold([0, 1], [0.5, above], threshold)["accuracy"] == 1


def test_temperature_recovers_a_known_one():
    random = np.random.default_rng(3)
    logits = random.normal(size=(20000, 2)) * 2
    y = (random.random(20000) < 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))).astype(int)
    assert metrics.temperature(y, logits * 3) == (pytest.approx(3, rel=0.05), None)


def test_a_temperature_that_cannot_be_fitted_is_1():
    y, random = np.repeat([0, 1], 30), np.random.default_rng(0)
    logits = np.column_stack([np.zeros(60), random.normal(size=60) + y])
    assert metrics.temperature(y, logits).off is None
    assert metrics.temperature(y[:49], logits[:49]) == metrics.temperature(y[-49:], logits[-49:]) == (1, "few")
    assert metrics.temperature(y[5:54], logits[5:54], least=49).off is None
    right = np.column_stack([np.zeros(60), random.normal(30, 9, 60) * (2 * y - 1)])
    assert metrics.temperature(y, right) == (1, "bound")  # all right: the loss falls all the way to T = 0
    assert metrics.temperature(y, -right) == (1, "bound")  # all wrong: the less sure the better


def test_calibration_of_known_probabilities():
    random = np.random.default_rng(4)
    score = random.random(40000)
    y = random.random(40000) < score
    found = metrics.calibration(y, score)
    assert found["ece"] < 0.02
    assert (found["slope"], found["intercept"]) == (pytest.approx(1, abs=0.05), pytest.approx(0, abs=0.05))
    assert sum(b["n"] for b in found["bins"]) == 40000
    over = 1 / (1 + (1 / score - 1) ** 2)
    assert metrics.calibration(y, over)["slope"] == pytest.approx(0.5, abs=0.03)
    assert metrics.calibration([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4])["slope"] is None


def test_slope_is_the_logistic_regression():
    y, score = sample(ties=False)
    fit = LogisticRegression(C=1e12, tol=1e-10, max_iter=10000).fit(np.log(score / (1 - score))[:, None], y)
    found = metrics.calibration(y, score)
    assert found["slope"] == pytest.approx(fit.coef_[0, 0], rel=1e-3)
    assert found["intercept"] == pytest.approx(fit.intercept_[0], rel=1e-3)

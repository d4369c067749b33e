"""Metrics against scikit-learn, hand-worked numbers and naive re-implementations."""

import itertools

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from stratamil import metrics

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
    assert metrics.temperature(y, both(score)) is None
    assert metrics.bootstrap_auc(y, score, range(len(y)), 100, 0) == (None, None)
    assert metrics.delong(y, score) == (None, None, None)
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
    assert metrics.temperature(y, logits * 3) == pytest.approx(3, rel=0.05)
    assert metrics.temperature([0, 1], np.array([[1.0, 0], [0, 1.0]])) == pytest.approx(
        metrics.TEMPERATURES[0], rel=1e-3
    )


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


def naive_delong(y, score):
    """DeLong et al. (1988) as written: all pairs, structural components, their sample variances."""
    positives, negatives = score[y == 1], score[y == 0]
    win = {
        (i, j): float(a > b) + 0.5 * (a == b)
        for (i, a), (j, b) in itertools.product(enumerate(positives), enumerate(negatives))
    }
    m, n = len(positives), len(negatives)
    v10 = [sum(win[i, j] for j in range(n)) / n for i in range(m)]
    v01 = [sum(win[i, j] for i in range(m)) / m for j in range(n)]
    value = sum(v10) / m
    s10 = sum((v - value) ** 2 for v in v10) / (m - 1)
    s01 = sum((v - value) ** 2 for v in v01) / (n - 1)
    half = 1.959963984540054 * (s10 / m + s01 / n) ** 0.5
    return value, max(value - half, 0), min(value + half, 1)


def test_delong_agrees_with_all_pairs():
    for seed in range(5):
        y, score = sample(50, seed)
        assert metrics.delong(y, score) == pytest.approx(naive_delong(y, score))
    assert metrics.delong([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == (1.0, None, None)


def test_weighted_auc_is_the_auc_of_the_repeated_cases():
    y, score = sample(40)
    weights = np.random.default_rng(0).integers(0, 3, (5, 40))
    found = metrics.weighted_auc(y, both(score), weights)
    for row, value in zip(weights, found):
        assert value == pytest.approx(reference.roc_auc_score(np.repeat(y, row), np.repeat(score, row)))


def test_bootstrap_draws_patients_within_class_and_split():
    y = np.array([0, 0, 1, 1, 1, 0, 1, 0])
    group = np.array(["a", "a", "b", "b", "c", "d", "e", "f"])
    split = np.array(["1", "1", "1", "1", "1", "2", "2", "2"])
    weights = metrics.bootstrap_weights(y, group, 500, 0, split)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 2] == weights[:, 3]).all()
    patients = weights[:, [0, 2, 4, 5, 6, 7]]
    assert (patients[:, 0] == 1).all()
    assert (patients[:, 1] + patients[:, 2] == 2).all()
    assert (patients[:, [3, 5]].sum(axis=1) == 2).all() and (patients[:, 4] == 1).all()


def test_bootstrap_is_seeded_covers_the_auc_and_widens_with_the_patients_cases():
    y, score = sample(80)
    value = metrics.roc_auc(y, score)
    low, high = metrics.bootstrap_auc(y, score, np.arange(80), 2000, 1)
    assert (low, high) == metrics.bootstrap_auc(y, score, np.arange(80), 2000, 1)
    assert low < value < high
    _, low_d, high_d = metrics.delong(y, score)
    assert (low, high) == (pytest.approx(low_d, abs=0.02), pytest.approx(high_d, abs=0.02))
    four = [np.repeat(values, 4) for values in (y, score, np.arange(80))]
    by_patient = metrics.bootstrap_auc(*four, 2000, 1)
    by_case = metrics.bootstrap_auc(four[0], four[1], np.arange(320), 2000, 1)
    assert by_patient[1] - by_patient[0] > 1.6 * (by_case[1] - by_case[0])


def test_wilson():
    assert metrics.wilson(0, 10) == (pytest.approx(0, abs=1e-9), pytest.approx(0.2775, abs=1e-4))
    assert metrics.wilson(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert metrics.wilson(0, 0) == (None, None)

"""Intervals: their coverage by simulation, published examples, scikit-learn on repeated cases, and the edges."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm
from sklearn import metrics as reference

from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate, Sides

# Ovarian cancer patients of DeLong et al. (1988) with complete tests, as in the example "Comparing Receiver Operating
# Characteristic Curves" of the SAS/STAT user's guide: albumin, total protein, K-G score, and whether surgery helped.
OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
3.7 6.7 6 1   3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
4.0 6.6 6 0   3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
4.3 6.5 4 1   3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
2.9 5.7 9 0   2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


def both(score):
    return np.column_stack([1 - score, score])


def sample(n=120, seed=0):
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    return y, (1 / (1 + np.exp(-(2 * y - 1 + 1.5 * random.normal(size=n))))).round(2)


def cohort(random, patients, auc, several=0.0):
    """Labels, scores and patients of a cohort, a third positive; some patients have three cases, alike in score."""
    patient = np.repeat(np.arange(patients), np.where(random.random(patients) < several, 3, 1))
    y = (random.random(patients) < 1 / 3)[patient].astype(int)
    noise = 0.6**0.5 * random.normal(size=patients)[patient] + 0.4**0.5 * random.normal(size=len(patient))
    return y, noise + norm.ppf(auc) * 2**0.5 * y, patient


def coverage(find, truth, cohorts=1600, **settings):
    """Share of cohorts whose interval holds the true AUROC; those of one class have none."""
    random = np.random.default_rng(7)
    drawn = (cohort(random, **settings) for _ in range(cohorts))
    return np.mean([find(*each).holds(truth) for each in drawn if metrics.has_both(each[0])])


@pytest.mark.slow
@pytest.mark.parametrize("auc, several", [(0.75, 0), (0.9, 0), (0.95, 0.15)])
def test_bootstrap_interval_covers_what_it_promises(auc, several):
    """A nominal 95% CI covers the true AUROC in 93 to 97 % of cohorts of 90 patients."""

    def find(y, score, patients):
        return intervals.bootstrap_auc(y, np.column_stack([-score, score]), patients, 250, 0)

    assert 0.93 <= coverage(find, auc, patients=90, auc=auc, several=several) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("patients, auc", [(90, 0.9), (18, 0.9)])
def test_delong_on_the_logit_scale_covers_too(patients, auc):
    """With 18 patients the classes are often apart: then it is the score interval."""
    found = coverage(lambda y, score, _: intervals.delong(y, score), auc, patients=patients, auc=auc)
    assert 0.93 <= found <= 0.985


@pytest.mark.slow
def test_interval_of_a_difference_covers_too():
    random, held = np.random.default_rng(3), []
    for _ in range(600):
        y, score, patients = cohort(random, 90, 0.9)
        other = 0.6 * score + 0.8 * (random.normal(size=90) + norm.ppf(0.75) * 2**0.5 * y)
        weights = intervals.bootstrap_weights(patients, 250, 0)
        pair = [np.column_stack([-value, value]) for value in (score, other)]
        drawn = [intervals.weighted_auc(y, p, weights) for p in pair]
        value = metrics.auc(y, pair[0]) - metrics.auc(y, pair[1])
        held.append(intervals.interval(value, drawn[0] - drawn[1], "plain"))
    shift = (0.6 * norm.ppf(0.9) + 0.8 * norm.ppf(0.75)) * 2**0.5
    truth = 0.9 - norm.cdf(shift / 2**0.5)  # of a sum of two normal scores whose squared weights add up to 1
    assert 0.93 <= np.mean([estimate.holds(truth) for estimate in held]) <= 0.97


@pytest.mark.parametrize(
    "column, sign, area, error, low, high",
    [
        (0, 1, 0.7366, 0.0927, 0.5549, 0.9182),
        (1, 1, 0.6478, 0.1000, 0.4518, 0.8439),
        (2, -1, 0.7258, 0.1028, 0.5243, 0.9273),
    ],
    ids=["albumin", "total protein", "K-G score"],
)  # fmt: skip
def test_delong_gives_the_published_example(column, sign, area, error, low, high):
    table = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4)
    y, score = table[:, 3], sign * table[:, column]
    assert (len(y), y.sum()) == (43, 31)
    auc, of_delong = intervals.delong(y, score), intervals.delong_error(y, score)
    assert (auc.value, of_delong) == (pytest.approx(area, abs=5e-5), pytest.approx(error, abs=5e-5)) and auc.n == 43
    wald = intervals.interval(auc.value, auc.value + of_delong * np.array([-1, 1]) / 2**0.5, "plain")
    assert (wald.low, wald.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert 0 < auc.high - auc.value < auc.value - auc.low  # the logit scale leans away from 1


def naive_delong_error(y, score):
    """As written in 1988: all pairs, structural components, their sample variances."""
    positives, negatives = score[y == 1], score[y == 0]
    win = {
        (i, j): float(a > b) + 0.5 * (a == b)
        for (i, a), (j, b) in itertools.product(enumerate(positives), enumerate(negatives))
    }
    m, n = len(positives), len(negatives)
    v10 = [sum(win[i, j] for j in range(n)) / n for i in range(m)]
    v01 = [sum(win[i, j] for i in range(m)) / m for j in range(n)]
    value = sum(v10) / m
    s10, s01 = sum((v - value) ** 2 for v in v10) / (m - 1), sum((v - value) ** 2 for v in v01) / (n - 1)
    return (s10 / m + s01 / n) ** 0.5


@pytest.mark.parametrize("n", [18, 50])
def test_delong_agrees_with_all_pairs_and_ties(n):
    for seed in range(5):
        y, score = sample(n, seed)
        assert intervals.delong_error(y, score.round(1)) == pytest.approx(naive_delong_error(y, score.round(1)))


def test_classes_apart_get_the_score_interval():
    """AUROC of 1: every draw gives 1, but 5 and 13 cases are no certainty."""
    y, score = np.repeat([0, 1], [13, 5]), np.arange(18) / 18
    auc = intervals.bootstrap_auc(y, both(score), np.arange(18), 200, 0)
    assert auc == intervals.score_interval(1.0, [Sides(5, 13)], 18) == intervals.delong(y, score)
    assert 0.6 < auc.low < 0.85 and auc.high == 1
    turned = intervals.bootstrap_auc(1 - y, both(score), np.arange(18), 200, 0)
    assert (turned.low, turned.high) == pytest.approx((0, 1 - auc.low))
    some = intervals.score_interval(0.8, [Sides(30, 60)])
    for end in (some.low, some.high):  # at the ends the estimate is 1.96 standard errors away
        spread = (1 - end) / (2 - end) + end / (1 + end)
        assert abs(0.8 - end) == pytest.approx(1.959964 * (end * (1 - end) / 1800 * (1 + 44 * spread)) ** 0.5, rel=1e-4)
    assert intervals.score_interval(1, [Sides(5, 13)] * 5).low > auc.low  # a mean of five folds is surer than one


def test_weighted_metrics_are_those_of_the_repeated_cases():
    y, score = sample(40)
    weights = np.random.default_rng(0).integers(0, 3, (5, 40)).astype(float)
    found = intervals.weighted_metrics(y, both(score), weights)
    for i, row in enumerate(weights.astype(int)):
        repeated = metrics.summary(np.repeat(y, row), both(np.repeat(score, row)), ["a", "b"])
        assert {name: values[i] for name, values in found.items()} == pytest.approx(
            {name: repeated[name] for name in found}
        )
    assert found["roc_auc"][0] == pytest.approx(reference.roc_auc_score(y, score, sample_weight=weights[0]))


def test_weighted_metrics_of_three_classes_and_of_samples_without_one():
    random = np.random.default_rng(1)
    y, p = np.arange(30) % 3, random.dirichlet([1, 1, 1], 30).round(2)
    p[:, 2] = 1 - p[:, 0] - p[:, 1]
    weights = random.integers(0, 3, (3, 30)).astype(float)
    weights[2, y == 1] = 0
    found = intervals.weighted_metrics(y, p, weights)
    for i, row in enumerate(weights[:2].astype(int)):
        repeated = metrics.summary(np.repeat(y, row), np.repeat(p, row, axis=0), ["a", "b", "c"])
        assert {name: values[i] for name, values in found.items()} == pytest.approx(
            {name: repeated[name] for name in found}
        )
    assert np.isnan([found[name][2] for name in ("roc_auc", "pr_auc", "balanced_accuracy")]).all()
    assert np.isfinite([found[name][2] for name in ("accuracy", "log_loss", "brier")]).all()


def test_patients_are_drawn_with_all_their_cases():
    patients = np.array(["a", "a", "b", "c", "c", "d"])
    weights = intervals.bootstrap_weights(patients, 500, 0)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 3] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 3, 5]].sum(axis=1) == 4).all()
    assert (weights == intervals.bootstrap_weights(patients, 500, 0)).all()
    y, score = sample(80)
    four = [np.repeat(values, 4) for values in (y, score)]
    by_patient = intervals.bootstrap_auc(four[0], both(four[1]), np.repeat(np.arange(80), 4), 1000, 1)
    by_case = intervals.bootstrap_auc(four[0], both(four[1]), np.arange(320), 1000, 1)
    assert (by_patient.n, by_case.n) == (80, 320)
    assert by_patient.high - by_patient.low > 1.6 * (by_case.high - by_case.low)


@pytest.mark.slow
@pytest.mark.parametrize("slope", [0.6, 0.01])
def test_intervals_of_slope_and_intercept_cover_and_grow_with_patients(slope):
    random, held = np.random.default_rng(2), []
    for _ in range(400):
        x = random.normal(size=90) * 1.5
        y = random.random(90) < 1 / (1 + np.exp(-slope * x - 0.3))
        score = 1 / (1 + np.exp(-x))
        found = intervals.recalibration(y.astype(int), score, np.arange(90))
        held.append((found.slope.holds(slope), found.intercept.holds(0.3)))
        assert found.slope.high - found.slope.low < 3
    assert (np.abs(np.mean(held, axis=0) - 0.95) < 0.025).all()
    four = intervals.recalibration(np.repeat(y, 4), np.repeat(score, 4), np.repeat(np.arange(90), 4))
    once = intervals.recalibration(y, score, np.arange(90))
    for name in ("value", "low", "high", "n"):
        assert [getattr(part, name) for part in four] == pytest.approx([getattr(part, name) for part in once])


@pytest.mark.parametrize("y", [[0, 0, 0], [1, 1, 1], []])
def test_one_class_has_no_interval(y):
    score, patients = np.array([0.2, 0.5, 0.9][: len(y)]), np.arange(len(y))
    nothing = Estimate(None, None, None, len(y))
    assert intervals.bootstrap_auc(y, both(score), patients, 100, 0) == nothing
    assert intervals.delong(y, score) == nothing and nothing.holds(0.5) is None
    assert intervals.recalibration(y, score, patients) == (nothing, nothing)
    assert intervals.score_interval(None, [Sides(0, 3)]) == Estimate(None)


def test_an_interval_needs_samples_and_a_value_within_its_scale():
    some = np.array([0.7, 0.8, np.nan, 0.9])
    assert intervals.interval(0.8, some, "logit") == intervals.interval(0.8, some[[0, 1, 3]], "logit")
    assert intervals.interval(0.8, np.array([0.7, np.nan, np.nan, np.nan, 0.9]), "logit") == Estimate(0.8)
    assert intervals.interval(1.0, np.ones(4), "logit") == Estimate(1.0)
    assert intervals.interval(0.0, np.zeros(4), "log", 7) == Estimate(0.0, n=7)
    assert intervals.interval(None, some, "plain") == Estimate(None)
    estimate = intervals.interval(2.0, np.array([1.5, 2.5]), "log")
    assert estimate.low * estimate.high == pytest.approx(4) and estimate.low > 0


def test_below_20_patients_of_a_class_the_interval_is_newcombes():
    samples = np.array([0.9, 0.95, 1.0])
    few = intervals.auc_interval(0.958, samples, [Sides(4, 6)], 10)
    assert few == intervals.score_interval(0.958, [Sides(4, 6)], 10)
    for end in (few.low, few.high):  # the ends solve (value - area)^2 = z^2 var(area)
        spread = (1 - end) / (2 - end) + end / (1 + end)
        variance = end * (1 - end) / 24 * (1 + (5 - 1) * spread)
        assert (0.958 - end) ** 2 == pytest.approx(intervals.Z**2 * variance, rel=1e-6)
    assert intervals.auc_interval(0.9, samples, [Sides(19, 60)]) == intervals.score_interval(0.9, [Sides(19, 60)])
    assert intervals.auc_interval(0.9, samples, [Sides(20, 60)]) == intervals.interval(0.9, samples, "logit")
    folds = [Sides(4, 12)] * 5  # 20 patients in all
    assert intervals.auc_interval(0.9, samples, folds) == intervals.interval(0.9, samples, "logit")


def test_what_is_the_same_in_all_samples_has_no_interval():
    assert intervals.auc_interval(0.5, np.full(9, 0.1 + 0.4), [Sides(5, 7)], 12) == Estimate(0.5, n=12)


def test_wilson():
    none, most = intervals.wilson(0, 10), intervals.wilson(8, 10)
    assert (none.low, none.high) == (pytest.approx(0, abs=1e-9), pytest.approx(0.2775, abs=1e-4))
    assert (most.low, most.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert (most.value, most.n) == (0.8, 10)
    assert intervals.wilson(0, 0) == Estimate(None, n=0)

"""Curves over cases: the mean ROC curve has the mean AUROC as its area."""

import numpy as np
import pandas as pd
import pytest

from stratamil.stats import curves, intervals, metrics


def runs(n=3, cases=30):
    random = np.random.default_rng(n)
    y = random.integers(0, 2, n * cases)
    score = y + random.normal(size=n * cases)
    return pd.DataFrame({"run": np.repeat(range(n), cases), "patient_id": range(n * cases), "y": y, "score": score})


def area(band):
    return (np.diff(band.x) * (band.y[1:] + band.y[:-1]) / 2).sum()


def test_the_area_of_the_mean_curve_is_the_mean_auroc():
    cases = runs()
    mean = np.mean([metrics.roc_auc(run["y"], run["score"]) for _, run in cases.groupby("run")])
    band = curves.mean_roc(cases, 100, 0)
    assert area(band) == pytest.approx(mean, abs=0.005)
    assert (band.low <= band.high).all() and (np.diff(band.y) >= 0).all()
    assert np.mean((band.low <= band.y) & (band.y <= band.high)) > 0.95


def test_by_hand():
    cases = pd.DataFrame({"run": 0, "patient_id": range(4), "y": [1, 0, 1, 0], "score": [0.9, 0.8, 0.7, 0.1]})
    band = curves.mean_roc(cases, 20, 0)
    at = dict(zip(band.x.round(3), band.y))
    assert (at[0.0], at[0.25], at[0.5], at[1.0]) == (0.5, 0.5, 1.0, 1.0)


def test_a_run_of_one_class_counts_for_nothing():
    cases = runs(2)
    one = cases.assign(run=9, y=1)
    assert (curves.mean_roc(cases, 10, 0).y == curves.mean_roc(pd.concat([cases, one]), 10, 0).y).all()
    assert curves.mean_roc(one, 10, 0) is None


def test_too_few_samples_with_both_classes_give_no_band():
    cases = pd.DataFrame({"run": 0, "patient_id": ["a", "b"], "y": [0, 1], "score": [0.2, 0.7]})
    assert curves.mean_roc(cases, 200, 3).low is None or len(curves.mean_roc(cases, 200, 3).low)
    patient = cases.assign(run=[0, 1], y=[0, 1])
    assert curves.mean_roc(patient, 10, 0) is None


def test_quantile_bins_by_hand():
    y, score = [0, 0, 0, 1, 0, 1, 1, 1, 1, 1], np.arange(10) / 10
    bins = curves.quantile_bins(y, score)
    assert [round(each["mean"], 3) for each in bins] == [0.05, 0.25, 0.45, 0.65, 0.85]
    assert [each["observed"].value for each in bins] == [0, 0.5, 0.5, 1, 1]
    assert bins[1]["observed"] == intervals.wilson(1, 2)
    assert len(curves.quantile_bins([0, 1, 1], [0.3, 0.3, 0.3])) == 1


@pytest.mark.parametrize("n", [60, 3000])
def test_a_calibrated_score_has_the_diagonal_as_its_smooth_curve(n):
    random = np.random.default_rng(3)
    score = random.uniform(0.05, 0.95, n)
    smooth = curves.smooth_calibration(random.uniform(size=n) < score, score)
    assert np.abs(smooth.y - smooth.x).max() < (0.25 if n < 100 else 0.08)


def test_few_cases_of_a_class_have_no_smooth_curve():
    y = np.arange(60) < intervals.FEW - 1
    score = np.random.default_rng(1).uniform(size=60)
    assert curves.smooth_calibration(y, score) is None


def test_a_flexible_curve_follows_a_bend_that_a_straight_one_cannot():
    random = np.random.default_rng(4)
    score = random.uniform(0.02, 0.98, 4000)
    truth = np.where(score < 0.5, 0.2, 0.8)
    smooth = curves.smooth_calibration(random.uniform(size=4000) < truth, score)
    assert np.interp([0.1, 0.9], smooth.x, smooth.y) == pytest.approx([0.2, 0.8], abs=0.1)

"""Curves over cases: the mean ROC curve has the mean AUROC as its area."""

import numpy as np
import pandas as pd
import pytest

from stratamil.stats import curves, metrics


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

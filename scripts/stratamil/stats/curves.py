"""Curves over cases: the mean ROC curve of several runs with its band, and a smooth calibration curve."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate

GRID = np.linspace(0, 1, 201)  # places of 1 - specificity at which ROC curves are averaged
FLEXIBLE = 200  # cases of a class from which a calibration curve may bend as it likes


class Band(NamedTuple):
    """A curve with its pointwise 95% band; low and high are None where there is none."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None


def mean_roc(cases: pd.DataFrame, bootstrap_samples: int, seed: int) -> Band | None:
    """Return the mean ROC curve of runs with its band by patient-level bootstrap; None if no run has both classes.

    cases: columns run, patient_id, y (0 or 1) and score, a row a case and run. The mean is of sensitivities at the
    same specificity, so that its area is the mean AUROC of the runs. The band holds the middle 95% of the samples at
    each place; there is none without samples, or if most lack a class.
    """
    if cases.empty:
        return None
    cases = cases.reset_index(drop=True)
    weights = intervals.bootstrap_weights(cases["patient_id"], bootstrap_samples, seed)
    curves, sampled = [], []
    for _, run in cases.groupby("run", sort=False):
        y, score = run["y"].to_numpy(dtype=bool), run["score"].to_numpy(dtype=float)
        if metrics.has_both(y):
            curves.append(_sensitivities(y, score, np.ones((1, len(y))))[0])
            sampled.append(_sensitivities(y, score, weights[:, run.index]))
    if not curves:
        return None
    total = np.ma.masked_invalid(sampled).mean(axis=0).filled(np.nan)  # of the runs that have both classes in a sample
    known = total[~np.isnan(total).any(axis=1)]
    x, mean = np.append(0, GRID), np.append(0, np.mean(curves, axis=0))
    if len(known) < max(2, bootstrap_samples / 2):
        return Band(x, mean)
    low, high = np.percentile(known, [2.5, 97.5], axis=0)
    return Band(x, mean, np.append(0, low), np.append(0, high))


def _sensitivities(y: NDArray[np.bool_], score: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """Return the sensitivity at each place of `GRID` for each row of case weights, (B, places); NaN without a class."""
    order = np.argsort(-score, kind="stable")
    y, score, weights = y[order], score[order], weights[:, order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # equal scores are called together
    hits, alarms = (np.pad(np.cumsum(weights * of, axis=1)[:, last], ((0, 0), (1, 0))) for of in (y, ~y))
    result = np.full((len(weights), len(GRID)), np.nan)
    for row in np.flatnonzero((hits[:, -1] > 0) & (alarms[:, -1] > 0)):
        result[row] = np.interp(GRID, alarms[row] / alarms[row, -1], hits[row] / hits[row, -1])
    return result


def quantile_bins(y: ArrayLike, score: ArrayLike, bins: int = 5) -> list[dict[str, float | Estimate]]:
    """Return the cases in bins of equal number by score: mean score, and the observed share with Wilson's interval.

    Equal scores lie in the same bin, so that there may be fewer bins.
    """
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=float)
    place = np.minimum(((metrics.midranks(score) - 0.5) / len(score) * bins).astype(int), bins - 1)
    return [
        {"mean": float(score[place == b].mean()), "observed": intervals.wilson(y[place == b].sum(), (place == b).sum())}
        for b in np.unique(place)
    ]


def smooth_calibration(y: ArrayLike, score: ArrayLike) -> Band | None:
    """Return the observed share as a smooth function of the score; None with fewer than `FEW` cases of a class.

    Logistic regression on the logit of the score (Cox 1958): straight on that scale, and from `FLEXIBLE` cases of a
    class on a cubic spline (Van Calster et al. 2016).
    """
    from scipy.special import expit, logit  # a quarter of a second, which other curves need not wait for

    y, score = np.asarray(y, dtype=bool), np.clip(score, metrics.SMALLEST, 1 - metrics.SMALLEST)
    few = min(y.sum(), (~y).sum())
    slope, intercept = metrics.recalibration(y, score)
    if few < intervals.FEW or slope is None:
        return None
    x = np.linspace(score.min(), score.max(), len(GRID))
    if few < FLEXIBLE:
        return Band(x, expit(intercept + slope * logit(x)))
    from sklearn.linear_model import LogisticRegression  # a second, as above
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import SplineTransformer

    spline = SplineTransformer(n_knots=4, knots="quantile", include_bias=False)
    fitted = make_pipeline(spline, LogisticRegression(C=1e6, max_iter=2000)).fit(logit(score)[:, None], y)
    return Band(x, fitted.predict_proba(logit(x)[:, None])[:, 1])

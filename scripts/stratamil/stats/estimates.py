"""Estimates with bootstrap intervals by patient, of values by case."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate, Scale

PATIENTS = 5  # fewer give an interval that is narrow by luck: then nothing is claimed


class Compared(NamedTuple):
    """Two AUROCs, None where not defined, and the estimate of how much the first is higher."""

    first: float | None
    second: float | None
    difference: Estimate


class Sample:
    """Cases with their patients, and bootstrap samples of these: estimates with intervals, n patients each.

    cases: DataFrame with index case_id and columns patient_id and y. weights: (bootstrap_samples, cases).
    """

    def __init__(self, cases: pd.DataFrame, bootstrap_samples: int, seed: int) -> None:
        self.cases = cases
        self.weights = intervals.bootstrap_weights(cases["patient_id"], bootstrap_samples, seed)

    def mean(self, values: pd.Series, scale: Scale = "plain") -> Estimate:
        """Return the mean of values by case (a Series; cases without one, or with NaN, are left out)."""
        return self.ratio(pd.DataFrame({"value": values, "one": np.where(values.isna(), np.nan, 1.0)}), _mean, scale)

    def ratio(self, sums: pd.DataFrame, measure: Callable[[NDArray], NDArray], scale: Scale = "plain") -> Estimate:
        """Return the Estimate of measure(totals), of the totals of columns over cases: (B, k) -> (B,).

        sums: (cases, k), index case_id. scale: of the interval, see `intervals.interval`.
        """
        sums = sums.reindex(self.cases.index)
        known = sums.notna().all(axis=1).to_numpy()
        amounts = sums.to_numpy(dtype=float)[known]
        patients = int(self.cases["patient_id"][known].nunique())
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(measure(amounts.sum(axis=0)[None])[0]) if known.any() else np.nan
            sampled = measure(self.weights[:, known] @ amounts)
        return _estimate(value, sampled, patients, scale)

    def auc_difference(self, pairs: Iterable[tuple[pd.DataFrame, pd.DataFrame]]) -> Compared:
        """Return the AUROC of p and of q, means over the splits that have one, and the mean of their differences.

        pairs: (p, q) of each split: class probabilities (DataFrames, cases x classes). Within a split, for scores of
        different models do not compare: a shift of one of them would lower an AUROC over all cases.
        """
        aucs, sampled, cases = [], [], []
        for p, q in pairs:
            y = self.cases.loc[p.index, "y"].to_numpy()
            if metrics.auc(y, p.to_numpy()) is None:
                continue
            weights = self.weights[:, self.cases.index.get_indexer(p.index)]
            aucs.append([metrics.auc(y, each.to_numpy()) for each in (p, q)])
            sampled.append(np.subtract(*(intervals.weighted_auc(y, each.to_numpy(), weights) for each in (p, q))))
            cases += [*p.index]
        patients = int(self.cases.loc[cases, "patient_id"].nunique())
        if not aucs:
            return Compared(None, None, Estimate(None, n=patients))
        of_p, of_q = (float(mean) for mean in np.mean(aucs, axis=0))
        sampled = np.mean(sampled, axis=0)  # as of the fold mean: none where a split lacks a class in a sample
        return Compared(of_p, of_q, _estimate(of_p - of_q, sampled, patients))


def _mean(totals: NDArray) -> NDArray:
    return totals[:, 0] / totals[:, 1]


def correlation(totals: NDArray) -> NDArray:
    """Return correlations (B,) from totals (B, 3) of xy, xx, yy of centred ranks."""
    return totals[:, 0] / np.sqrt(totals[:, 1] * totals[:, 2])


def _estimate(value: float, sampled: NDArray, patients: int, scale: Scale = "plain") -> Estimate:
    """Return an Estimate; without an interval where there are too few patients, or no sample differs."""
    if not np.isfinite(value):
        return Estimate(None, n=patients)
    tells = patients >= PATIENTS and (value != 0 or np.nanstd(sampled) > 0)
    return intervals.interval(value, sampled, scale, patients) if tells else Estimate(value, n=patients)


def centred_sums(table: pd.DataFrame, keys: list[str], x: str, y: str) -> pd.DataFrame:
    """Return totals a case of xy, xx, yy of the centred ranks of two columns within groups, for `correlation`.

    keys: columns of the groups, `case_id` among them. A group where either is the same throughout, or unknown, counts
    for nothing; a case with no other is left out. Groups of several runs are added up.
    """
    pairs = table[[*keys, x, y]].dropna()
    groups = pairs.groupby(keys, sort=False)
    ranks = groups[[x, y]].rank()
    ranks = ranks - ranks.groupby([pairs[key] for key in keys], sort=False).transform("mean")
    sums = pd.DataFrame({"xy": ranks[x] * ranks[y], "xx": ranks[x] ** 2, "yy": ranks[y] ** 2})
    sums = sums.groupby([pairs[key] for key in keys], sort=False).sum()
    sums = sums[(sums["xx"] > 0) & (sums["yy"] > 0)]
    return sums.groupby("case_id").sum()

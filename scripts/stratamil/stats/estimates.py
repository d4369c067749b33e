"""Estimates with bootstrap intervals by patient, and what they rest on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stratamil.stats import intervals, metrics

PATIENTS = 5  # fewer give an interval that is narrow by luck: then nothing is claimed


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval (None where there is none), and what it rests on."""

    value: float | None
    low: float | None
    high: float | None
    patients: int
    cases: int


class Sample:
    """Cases with their patients, and bootstrap draws of these: estimates with intervals.

    cases: DataFrame with index case_id and columns patient_id and y.
    """

    def __init__(self, cases, draws, seed):
        self.cases, self.draws, self.seed = cases, draws, seed
        self.weights = intervals.bootstrap_weights(cases["patient_id"], draws, seed)

    def mean(self, values, scale="plain"):
        """Estimate of the mean of values by case (a Series; cases without one, or with NaN, are left out)."""
        return self.ratio(pd.DataFrame({"value": values, "one": np.where(values.isna(), np.nan, 1.0)}), _mean, scale)

    def ratio(self, sums, figure, scale="plain"):
        """Estimate of figure(totals), the totals of columns over cases: sums (cases, k) -> an array (draws,).

        scale: of the interval, see `intervals.interval`.
        """
        sums = sums.reindex(self.cases.index)
        known = sums.notna().all(axis=1).to_numpy()
        amounts = sums.to_numpy(dtype=float)[known]
        patients = int(self.cases["patient_id"][known].nunique())
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(figure(amounts.sum(axis=0)[None])[0]) if known.any() else np.nan
            drawn = figure(self.weights[:, known] @ amounts)
        return _estimate(value, drawn, patients, int(known.sum()), scale)

    def auc_difference(self, pairs):
        """AUROC of p, of q, means over the splits that have one, and the Estimate of the mean of their differences.

        pairs: (p, q) of each split: class probabilities (DataFrames, cases x classes). Within a split, for scores of
        different models do not compare: a shift of one of them would lower an AUROC over all cases.
        """
        found, drawn, cases = [], [], []
        for p, q in pairs:
            y = self.cases.loc[p.index, "y"].to_numpy()
            if metrics.auc(y, p.to_numpy()) is None:
                continue
            weights = self.weights[:, self.cases.index.get_indexer(p.index)]
            found.append([metrics.auc(y, each.to_numpy()) for each in (p, q)])
            drawn.append(np.subtract(*(intervals.weighted_auc(y, each.to_numpy(), weights) for each in (p, q))))
            cases += [*p.index]
        patients = int(self.cases.loc[cases, "patient_id"].nunique())
        if not found:
            return None, None, Estimate(None, None, None, patients, len(cases))
        of_p, of_q = np.mean(found, axis=0)
        drawn = np.ma.masked_invalid(drawn).mean(axis=0).filled(np.nan)  # of the splits that have one in a draw
        return of_p, of_q, _estimate(of_p - of_q, drawn, patients, len(cases))


def _mean(totals):
    return totals[:, 0] / totals[:, 1]


def correlation(totals):
    """Correlation from totals of xy, xx, yy of centred ranks."""
    return totals[:, 0] / np.sqrt(totals[:, 1] * totals[:, 2])


def _estimate(value, drawn, patients, cases, scale="plain"):
    """An Estimate; without an interval where there are too few patients, or nothing differs in any draw."""
    if not np.isfinite(value):
        return Estimate(None, None, None, patients, cases)
    tells = patients >= PATIENTS and (value != 0 or np.nanstd(drawn) > 0)
    low, high = intervals.interval(value, drawn, scale) if tells else (None, None)
    return Estimate(value, low, high, patients, cases)


def centred_sums(table, keys, x, y):
    """Totals a case of xy, xx, yy of the centred ranks of two columns within groups: what correlations are made of.

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

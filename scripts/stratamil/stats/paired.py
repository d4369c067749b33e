"""Two models on the same cases: how sure the difference of their AUROCs and of their decisions is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate, Z


class Decisions(NamedTuple):
    """How many cases both models decide rightly, one alone, or none; p of McNemar's exact test."""

    both: int
    first: int
    second: int
    neither: int
    p: float


def delong(y: ArrayLike, first: ArrayLike, second: ArrayLike) -> Estimate:
    """Return the ROC AUC of the second score less that of the first with DeLong's interval for correlated curves.

    DeLong et al., Biometrics 1988. Cases are taken as independent. Without an interval with fewer than two cases of a
    class, or where both rank the cases alike.
    """
    y = np.asarray(y, dtype=bool)
    a, b = (metrics.roc_auc(y, score) for score in (first, second))
    if a is None or b is None:
        return Estimate(None, n=len(y))
    if min(y.sum(), (~y).sum()) < 2:
        return Estimate(b - a, n=len(y))
    sides = zip(intervals.placements(y, first), intervals.placements(y, second))
    error = float(np.sqrt(sum((after - before).var(ddof=1) / len(before) for before, after in sides)))
    if error < intervals.STILL:
        return Estimate(b - a, n=len(y))
    return Estimate(b - a, b - a - Z * error, b - a + Z * error, len(y))


def p_value(estimate: Estimate) -> float | None:
    """Return the two-sided p of no difference that goes with a symmetric 95% CI; None without one."""
    from scipy.stats import norm  # half a second, which a table without p need not wait for

    if estimate.low is None:
        return None
    error = (estimate.high - estimate.low) / (2 * Z)
    return float(2 * norm.sf(abs(estimate.value) / error))


def mcnemar(first: ArrayLike, second: ArrayLike) -> Decisions:
    """Return McNemar's exact test of which cases two models decide rightly; cases are taken as independent."""
    from scipy.stats import binomtest

    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(binomtest(one, one + other).pvalue) if one + other else 1.0
    return Decisions(int((first & second).sum()), one, other, int((~first & ~second).sum()), p)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Return p values adjusted for as many tests as are defined (Holm, Scand J Stat 1979)."""
    known = sorted((value, place) for place, value in enumerate(p) if value is not None)
    result, highest = [None] * len(p), 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        result[place] = highest
    return result

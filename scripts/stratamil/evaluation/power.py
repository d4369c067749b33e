"""How small a difference and how small an AUROC this cohort can detect, at 80 % power and a two-sided level of 5 %."""

from collections.abc import Sequence
from typing import Any

from scipy.special import ndtri

from stratamil.stats import intervals
from stratamil.stats.intervals import Estimate, Sides

POWER = 0.8
Z_POWER = float(ndtri(POWER))
FACTOR = intervals.Z + Z_POWER  # 2.80 standard errors


def smallest(sides: Sequence[Sides], difference: Estimate | None, against: str | None, patients: int) -> dict[str, Any]:
    """Return `difference`, that of AUROC from `against` in pairs, and `auroc`, above 0.5; None where not defined.

    sides: patients of the classes in each AUROC of which the headline is the mean. difference: as this cohort
    estimates it, for its standard error. Both take the true value to lie where the standard error was estimated.
    """
    known = difference is not None and difference.low is not None
    error = (difference.high - difference.low) / (2 * intervals.Z) if known else None
    return {
        "power": POWER,
        "patients": patients,
        "against": against if known else None,
        "difference": FACTOR * error if known else None,
        "auroc": _auroc(sides),
    }


def _auroc(sides: Sequence[Sides]) -> float | None:
    """Return the AUROC that is found above 0.5 with this power; None where even 1 would not be."""
    if not sides or not all(one.positive and one.negative for one in sides):
        return None

    def excess(area: float) -> float:
        error = intervals.Z * intervals.area_error(0.5, sides) + Z_POWER * intervals.area_error(area, sides)
        return area - 0.5 - error

    from scipy.optimize import brentq  # half a second, which most programs need not wait for

    edge = 1 - 1e-9
    return None if excess(edge) <= 0 else float(brentq(excess, 0.5, edge))

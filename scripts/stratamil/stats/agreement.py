"""How far readers agree on categories, beyond chance: the kappa of two readers, and of several."""

import numpy as np
from numpy.typing import ArrayLike


def cohen(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return Cohen's kappa of two readers, from the category that each gave to the same items; None where undefined.

    It is not defined without an item, or where both gave one category to all.
    """
    a, b = np.asarray(a), np.asarray(b)
    if not len(a):
        return None
    categories = np.union1d(a, b)
    chance = sum((a == each).mean() * (b == each).mean() for each in categories)
    return _beyond(float((a == b).mean()), float(chance))


def fleiss(counts: ArrayLike) -> float | None:
    """Return Fleiss' kappa from how many readers gave each item each category, (N, K); None where it is undefined.

    Items may have different numbers of readers, two or more: the share of pairs of readers that agree is the mean over
    items. Not defined without an item, or where all have one category.
    """
    counts = np.asarray(counts, float)
    n = counts.sum(axis=1)
    if not len(counts):
        return None
    if (n < 2).any():
        raise ValueError("an item has fewer than two readers")
    observed = (counts * (counts - 1)).sum(axis=1) / (n * (n - 1))
    chance = np.square(counts.sum(axis=0) / counts.sum()).sum()
    return _beyond(float(observed.mean()), float(chance))


def _beyond(observed: float, chance: float) -> float | None:
    return None if chance > 1 - 1e-12 else (observed - chance) / (1 - chance)

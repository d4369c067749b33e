"""The order of patches by attention: made here only, so that tables and images have the same."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

COMPARED = ["effective_ratio", "rank"]
EQUAL = "equal"  # in place of a stain, where none is the most attended
ALIKE = 1e-3  # weights that differ by a smaller part of themselves are called equal


def alike(weights: Sequence[float]) -> bool:
    """Return whether weights are equal but for rounding."""
    return bool(max(weights) - min(weights) <= ALIKE * max(weights))


def top_count(n: int, percent: float) -> int:
    """Return how many of n patches are the top: `percent` of them rounded up, at least one.

    What is whole but for the rounding of floats is not rounded up: 7 % of 100 is 7, though 100 x 0.07 is
    7.000000000000001.
    """
    return max(1, math.ceil(round(n * percent / 100, 9)))


def rank(patches: pd.DataFrame, weight: str) -> pd.DataFrame:
    """Return `patches` from the most to the least of the column `weight`, with columns rank and ratio.

    Equal ones are in the order of their paths. rank: 1 is the most attended. ratio: weight x number of patches, so 1 is
    an equal share.
    """
    ranked = patches.sort_values([weight, "path"], ascending=[False, True], ignore_index=True)
    return ranked.assign(rank=np.arange(1, len(ranked) + 1), ratio=ranked[weight].astype(float) * len(ranked))


def compared(patches: pd.DataFrame) -> pd.DataFrame:
    """Return the patches of one case, as they stand, with the columns `COMPARED`.

    effective_ratio: effective weight x number of the case's patches, so 1 is an equal share. rank: 1 has the highest
    effective weight of the case; equal ones by path.
    """
    compared = patches[["effective_weight", "path"]].assign(place=np.arange(len(patches)))
    order = rank(compared, "effective_weight")["place"]
    ranks = np.empty(len(patches), np.int32)
    ranks[order] = np.arange(1, len(patches) + 1)
    return patches.assign(effective_ratio=patches["effective_weight"] * np.float32(len(patches)), rank=ranks)

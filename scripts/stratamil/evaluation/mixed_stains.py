"""Whether what counts as one stain may be several: its slices are of two colours, pink with eosin and not.

A slice's share of eosin is its mean density among those of haematoxylin, eosin and DAB. Slices are cut in two where
the variance within the parts is least (Otsu 1979). Of a single peak, even a flat one, the parts lie less than 3.5 SD
apart (Ashman's D; Ashman, Bird and Zepf 1994): in stains of the colon and the painted cohorts it was 3.8 at most, and
4.6 and more with H&E and immunostains under one name. Two immunostains of one chromogen have one colour and are not
found.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stratamil.evaluation import stain_identity
from stratamil.features.store import Features

APART, FURTHER = 4.0, 0.2  # SDs between the two parts, and difference of their mean shares of eosin
LEAST, PART = 20, 0.1  # slices of a stain, and share of them in the smaller part: few odd slices are another matter
DYES = 3  # first columns of the colours: haematoxylin, eosin, DAB
EOSIN = 1


def look(features: Features) -> list[dict[str, Any]]:
    """Return the stains whose slices are of two colours, ready for JSON; none without images.

    features: as store.read returns them. Keys: stain, slices, pink (how many slices are), eosin (mean shares of the two
    parts), examples (case and slice, the least and the most pink).
    """
    if features.colour is None:
        return []
    slices, x = stain_identity.describe(features)
    share = x[:, EOSIN] / np.maximum(x[:, :DYES].sum(axis=1), 1e-6) if len(x) else np.array([])
    result = []
    for stain, rows in slices.groupby("stain", sort=False):
        own = share[rows.index]
        order = np.argsort(own, kind="stable")
        cut = _cut(own[order])
        if cut is None:
            continue
        ends = slices.loc[rows.index[order[[0, -1]]], ["case_id", "slice_id"]]
        means = own[order[:cut]].mean(), own[order[cut:]].mean()
        examples = [{"case": case, "slice": name} for case, name in ends.itertuples(index=False)]
        counts = {"stain": stain, "slices": len(own), "pink": len(own) - cut}
        result.append(counts | {"eosin": list(map(float, means)), "examples": examples})
    return result


def _cut(values: NDArray[np.float64]) -> int | None:
    """Return how many of the ascending values are in the lower of two parts; None where there is one. values: (n,)."""
    n = len(values)
    least = max(2, int(np.ceil(PART * n)))
    if n < LEAST:
        return None
    parts = {cut: (values[:cut], values[cut:]) for cut in range(least, n - least + 1)}
    within = {cut: len(low) * low.var() + len(high) * high.var() for cut, (low, high) in parts.items()}
    cut = min(within, key=within.get)
    low, high = parts[cut]
    further, spread = high.mean() - low.mean(), np.sqrt((low.var() + high.var()) / 2)
    return cut if further >= FURTHER and further > APART * spread else None

"""How far the patches of a case lie from those that a model was trained on, stain by stain.

A case is described by the mean of each patch feature: on real cohorts it told another tissue better than mean and SD
did. The distance is Mahalanobis's, under the covariance of the training cases shrunk by Ledoit and Wolf (2004), for
there are fewer cases than features.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.features.store import Features
from stratamil.mil.bags import Bags

LEAST = 5  # cases with a stain; of fewer no distance is given
KEPT = 32  # directions of the training cases that are kept
STILL = 0.1  # of the mean scale: a feature that varies less in training is not scaled up further
COLOURS = ("haematoxylin", "eosin", "dab", "optical_density")  # the first of features.stain_stats
COLUMNS = ("case_id", "stain", "patches", "shift", *COLOURS)


class Distribution(NamedTuple):
    """Where the training cases lie: centre and scale (D,), directions (r, D) with their precision (r,).

    outside: (1,) the precision in all other directions.
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    directions: NDArray[np.float32]
    precision: NDArray[np.float32]
    outside: NDArray[np.float32]


def described(features: Features, bags: Bags) -> Iterator[tuple[str, str, NDArray, NDArray | None, int]]:
    """Yield of each case and stain: mean of its patches (D,), mean COLOURS (4,) if known, and their number.

    bags: those of the features.
    """
    stains = features.table["stain"]
    for case, by_stain in bags.cases.items():
        for slices in by_stain:
            at = np.concatenate(slices)
            values = np.asarray(features.values[at], dtype=np.float64)
            colours = None if features.colour is None else np.asarray(features.colour[at], dtype=np.float64)
            yield (
                str(case),
                str(stains.iloc[at[0]]),
                values.mean(axis=0),
                None if colours is None else colours[:, : len(COLOURS)].mean(axis=0),
                len(at),
            )


def fit(x: NDArray) -> Distribution | None:
    """Return the Distribution of training cases x (n, D); None of fewer than `LEAST`."""
    if len(x) < LEAST:
        return None
    from sklearn.covariance import ledoit_wolf_shrinkage  # a second, which most programs need not wait for

    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.maximum(scale, STILL * scale.mean() or 1.0)
    z = (x - centre) / scale
    shrinkage, variance = ledoit_wolf_shrinkage(z, assume_centered=True), (z**2).mean()
    _, spread, directions = np.linalg.svd(z, full_matrices=False)
    kept = min(KEPT, len(x) - 1)
    beyond = shrinkage * variance or 1.0
    along = (1 - shrinkage) * spread[:kept] ** 2 / len(x) + beyond
    parts = (centre, scale, directions[:kept], 1 / along, [1 / beyond])
    return Distribution(*(np.asarray(part, dtype=np.float32) for part in parts))


def distance(of: Distribution, x: NDArray) -> NDArray[np.float64]:
    """Return the Mahalanobis distance of cases x (n, D), by the root of the number of features."""
    z = (np.atleast_2d(x) - of.centre) / of.scale
    along = z @ of.directions.T.astype(np.float64)
    rest = np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0)
    return np.sqrt(((along**2) @ of.precision.astype(np.float64) + rest * of.outside[0]) / z.shape[1])


def of_cases(
    features: Features, known: Mapping[str, Distribution], usual: Mapping[str, float], stains: Sequence[str]
) -> pd.DataFrame:
    """Return a row a case and stain: the COLUMNS. stains: of the model."""
    return pd.DataFrame(rows(features, Bags(features, stains), known, usual), columns=list(COLUMNS))


def rows(
    features: Features, bags: Bags, known: Mapping[str, Distribution], usual: Mapping[str, float]
) -> list[tuple[Any, ...]]:
    """Return the COLUMNS of each case and stain; the mean of each of COLOURS is NaN if it is not known.

    shift: the distance over the usual one of held-out training cases; NaN of a stain without a Distribution.
    """
    unknown = [np.nan] * len(COLOURS)
    return [
        (
            case,
            stain,
            patches,
            float(distance(known[stain], x)[0]) / usual[stain] if stain in known and stain in usual else np.nan,
            *(unknown if colours is None else colours),
        )
        for case, stain, x, colours, patches in described(features, bags)
    ]

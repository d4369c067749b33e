"""Whether two patches show the same tissue: one is laid over the other in all 8 poses, whole or trimmed.

Both are sketches, so that no image is opened.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stratamil.features import sketch
from stratamil.features.sketch import POSES, SIDE, WEIGHT

KEPT = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85)  # shares of its side that a trimmed picture may have
STEP = 0.03  # of a side, between two places where a part may lie
BLOCK = 256  # pairs compared at once


class Overlay(NamedTuple):
    """How pairs fit best, arrays (n,).

    agreement: their correlation, or that of their ranks where it is smaller: two pictures whose one dark nucleus is at
    the same place have a correlation, too. pose: of the part (of sketch.POSES). kept: the share of a side.
    """

    agreement: NDArray[np.float32]
    pose: NDArray[np.int64]
    kept: NDArray[np.float64]


def overlay(whole: NDArray, part: NDArray, near: float) -> Overlay:
    """Lay the second picture of each pair over the first, of which it may be a part. Sketches (n, sketch.WIDTH).

    near: the share of a side that is about what it has kept; 1 is either whole or nearly.
    """
    shares = [share for share in KEPT if abs(share - near) < 2 * STEP - 1e-6]
    blocks = [slice(begin, begin + BLOCK) for begin in range(0, len(whole), BLOCK)]
    parts = [_overlay(whole[block], part[block], shares) for block in blocks]
    return Overlay(*map(np.concatenate, zip(*parts))) if parts else Overlay(*(np.empty(0) for _ in range(3)))


def _overlay(whole: NDArray, part: NDArray, shares: list[float]) -> Overlay:
    n, every = len(whole), np.arange(len(whole))
    best, pose, kept = np.full(n, -1, np.float32), np.zeros(n, dtype=int), np.ones(n)
    turned = np.stack([sketch.posed(sketch.weighted(part), *each).reshape(n, -1) for each in POSES], axis=1)
    under = np.empty((n, sketch.WIDTH), np.float32)
    for share in shares:
        parts = _parts(whole, share)
        fit = (turned @ parts).reshape(n, -1)
        place = fit.argmax(axis=1)
        value, (number, where) = fit[every, place], np.divmod(place, parts.shape[2])
        better = value > best
        best[better], kept[better], pose[better] = value[better], share, number[better]
        under[better] = parts[every, :, where][better]
    return Overlay(np.minimum(best, _rank_correlation(under, turned[every, pose])), pose, kept)


def _parts(sketches: NDArray, share: float) -> NDArray[np.float32]:
    """Return the parts of each picture at all places, of length 1, as columns (n, WIDTH, places)."""
    n = len(sketches)
    starts = np.linspace(0, 1 - share, 1 if share == 1 else round((1 - share) / STEP) + 1)
    windows = np.stack([sketch.window(share, start) for start in starts])
    flat, places = windows.transpose(2, 0, 1).reshape(SIDE, -1), len(starts)  # from all to each place's frequencies
    across = sketches.reshape(-1, SIDE).astype(np.float32) @ flat
    across = across.reshape(n, SIDE, places * SIDE).transpose(0, 2, 1).reshape(-1, SIDE)
    parts = (across @ flat).reshape(n, places, SIDE, places, SIDE).transpose(0, 4, 2, 3, 1)  # n, frequencies, places
    parts = (parts * WEIGHT[:, :, None, None]).reshape(n, sketch.WIDTH, -1)
    return parts / np.maximum(np.linalg.norm(parts, axis=1, keepdims=True), 1e-9)


def _rank_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return Spearman's correlation of the points of each two pictures (n, WIDTH), (n,)."""
    ranks = []
    for values in (a, b):
        ranked = sketch.pictures(values).argsort(axis=1).argsort(axis=1).astype(np.float32)
        ranks.append(ranked - ranked.mean(axis=1, keepdims=True))
    return (ranks[0] * ranks[1]).sum(axis=1) / np.square(ranks[0]).sum(axis=1)

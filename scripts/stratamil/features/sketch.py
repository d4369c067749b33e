"""The coarse picture of a patch by which the same tissue is known again, however it was turned, saved or trimmed.

A sketch is the lowest frequencies, in both directions, of the cosine transform of a thumbnail's mean optical density:
what perceptual hashes take signs of, kept as numbers. Turning or flipping the picture changes signs and places in it
alone, and trimming it is a product with a matrix, so that both are known without the picture; `canonical` gives all 8
poses one vector. Strength of stain and light are a factor and a constant, and do not count.
"""

import numpy as np
from numpy.typing import NDArray

SIDE = 16  # frequencies of each direction
WIDTH = SIDE * SIDE
KNOWN = 12  # frequency below which sketches are compared: above, saving and trimming change too much
SHADE = 3  # frequency below which there may be nothing but uneven light
FAINT = 0.03  # optical density, SD over the picture without shade, below which it shows nothing: glass, an even smear
LEAST = 0.15  # of the picture, which must be so much darker or lighter than the rest: small corners of tissue are alike
POINTS = 2 * KNOWN  # of each side, at which a picture is made again
POSES = tuple((turns, flipped) for flipped in (False, True) for turns in range(4))
GRID = 4 * SIDE  # points at which a part of a picture is looked at
_SIGN = np.where(np.arange(SIDE) % 2, -1, 1).astype(np.float32)
_RADIUS = np.hypot(*np.meshgrid(np.arange(SIDE), np.arange(SIDE)))
# Fine detail tells patches apart, but is the first to go: the root of the frequency is between.
WEIGHT = np.where(_RADIUS < KNOWN, np.sqrt(_RADIUS), 0).astype(np.float32)


def waves(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosines of the first frequencies at points of the unit interval, (SIDE, points)."""
    values = np.sqrt(2) * np.cos(np.pi * np.arange(SIDE)[:, None] * points)
    values[0] = 1
    return values


def middles(n: int) -> NDArray[np.float64]:
    """Return the middles of n equal parts of the unit interval."""
    return (np.arange(n) + 0.5) / n


def pictures(sketches: NDArray) -> NDArray[np.float32]:
    """Return the pictures that sketches stand for, (N, POINTS * POINTS)."""
    some = waves(middles(POINTS)).astype(np.float32)
    return (some.T @ sketches.reshape(-1, SIDE, SIDE).astype(np.float32) @ some).reshape(len(sketches), -1)


def faint(sketches: NDArray) -> NDArray[np.bool_]:
    """Return which sketches (N, WIDTH) show next to nothing, (N,): they are like too many others."""
    points = pictures(sketches)
    unlike = np.abs(points - np.median(points, axis=1, keepdims=True)) > FAINT
    fine = np.linalg.norm(sketches[:, _RADIUS.ravel() >= SHADE].astype(np.float32), axis=1)
    return (fine < FAINT) | (unlike.mean(axis=1) < LEAST)


def weighted(sketches: NDArray) -> NDArray[np.float32]:
    """Return sketches (N, SIDE, SIDE) whose products are correlations."""
    values = sketches.reshape(-1, SIDE, SIDE).astype(np.float32) * WEIGHT
    return values / np.maximum(np.linalg.norm(values, axis=(1, 2), keepdims=True), 1e-9)


def posed(values: NDArray, turns: int, flipped: bool) -> NDArray:
    """Return sketches (N, SIDE, SIDE) of pictures flipped left to right first, then turned left by quarters."""
    if flipped:
        values = values * _SIGN
    for _ in range(turns):  # transposed, then upside down
        values = values.swapaxes(1, 2) * _SIGN[:, None]
    return values


def trimmed(sketches: NDArray, share: float, down: float, across: float) -> NDArray[np.float32]:
    """Return the sketches (N, WIDTH) of a part of each picture: `share` of its sides, from `down` and `across` on."""
    y, x = window(share, down), window(share, across)
    return (y @ sketches.reshape(-1, SIDE, SIDE).astype(np.float32) @ x.T).reshape(-1, WIDTH)


def window(share: float, start: float) -> NDArray[np.float32]:
    """Return the matrix (SIDE, SIDE) from the frequencies of a line to those of a part of it."""
    points = middles(GRID)
    return (waves(points) @ waves(start + share * points).T / GRID).astype(np.float32)


def canonical(sketches: NDArray) -> NDArray[np.float32]:
    """Return vectors (N, D) of length 1 that all 8 poses of a picture have in common.

    Turning swaps the coefficients a of (u, v) and b of (v, u), and changes signs: none where u and v are even, that of
    both where both are odd, either's where one is. What is left: the sum and, without its sign, the difference; the
    sum without its sign, too; the root of the sum and of the difference of squares.
    """
    values = weighted(sketches)
    rows, columns = np.triu_indices(SIDE)
    kept = (_RADIUS[rows, columns] < KNOWN) & (_RADIUS[rows, columns] > 0)
    rows, columns = rows[kept], columns[kept]
    a, b = values[:, rows, columns], values[:, columns, rows]
    even, odd, apart = (rows % 2 == 0) & (columns % 2 == 0), (rows % 2 == 1) & (columns % 2 == 1), rows != columns
    mixed = ~even & ~odd
    total = np.where(apart, (a + b) * np.float32(np.sqrt(0.5)), a)
    difference = np.abs(a - b) * np.float32(np.sqrt(0.5))
    parts = [
        total[:, even],
        np.abs(total[:, odd]),
        difference[:, ~mixed & apart],
        np.hypot(a, b)[:, mixed],
        np.sqrt(np.abs(a**2 - b**2) / 2)[:, mixed],
    ]
    vectors = np.concatenate(parts, axis=1)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

"""The colour of a weight by its ratio to an equal share: one scale for borders of patches and for maps."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import ArrayLike, NDArray

from stratamil.report.style import ATTENTION

LESS = "#00695C"
OCTAVES = 3  # the border's colour spans ratios of 1/8 to 8
SCALE = ("≤ 1/8", "1/4", "1/2", "1", "2", "4", "≥ 8")
RATIOS = LinearSegmentedColormap.from_list("ratio", [LESS, "#cccccc", ATTENTION])


def octaves(ratios: ArrayLike) -> NDArray[np.floating]:
    """Return ratios to an equal share as places on the scale: 0 is 1/8 and less, 0.5 is 1, and 1 is 8 and more."""
    return (np.clip(np.log2(np.maximum(ratios, 1e-12)) / OCTAVES, -1, 1) + 1) / 2


def ratio_color(ratio: float) -> tuple[int, int, int]:
    """Return the 8-bit RGB colour of a ratio to an equal share: teal below 1, grey at 1 and violet above it."""
    return tuple(round(255 * part) for part in RATIOS(octaves(ratio))[:3])

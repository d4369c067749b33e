"""The colour of a weight by its ratio to an equal share: one scale for borders of patches and for maps."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

OCTAVES = 3  # the border's colour spans ratios of 1/8 to 8
SCALE = ("≤ 1/8", "1/4", "1/2", "1", "2", "4", "≥ 8")
RATIOS = LinearSegmentedColormap.from_list("ratio", ["#0072B2", "#cccccc", "#D55E00"])


def octaves(ratios):
    """Ratios to an equal share as places from 0 (1/8 and less) over .5 (1) to 1 (8 and more)."""
    return (np.clip(np.log2(np.maximum(ratios, 1e-12)) / OCTAVES, -1, 1) + 1) / 2


def ratio_color(ratio):
    """Border colour of a ratio to an equal share: blue below, grey at and vermilion above 1; ends at 1/8 and 8."""
    return tuple(round(255 * part) for part in RATIOS(octaves(ratio))[:3])

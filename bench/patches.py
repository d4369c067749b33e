"""A folder of painted patches for the benchmarks, and the library on the path."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.special import ndtri

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from stratamil.demo import tissue  # noqa: E402

# Sides in pixels of 80,000 patches of a real study.
FIRST_PERCENTILE, MEDIAN, LAST_PERCENTILE = 55, 195, 2052
SIDE = MEDIAN
TILES = 24


def spread(n):
    """n sides with the percentiles of the real study: log-normal below the median and, wider, above it."""
    z = ndtri((np.arange(n) + 0.5) / n)
    percentile = np.where(z < 0, FIRST_PERCENTILE, LAST_PERCENTILE)
    sides = MEDIAN * (percentile / MEDIAN) ** (z / np.where(z < 0, ndtri(0.01), ndtri(0.99)))
    return np.random.default_rng(0).permutation(sides.round().astype(int)).tolist()


def paint(folder, sides):
    """Write one patch a side, four cases in all; returns their table as the inventory has it.

    Larger patches are laid out with tiles of 195 px, so that a file has the bytes a pixel of a painted patch.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    tiles = [tissue.paint(rng, tissue.STAINS[i % len(tissue.STAINS)], SIDE, tissue.staining(rng)) for i in range(TILES)]
    rows = []
    for number, side in enumerate(sides):
        across = range(-(-side // SIDE))
        image = np.vstack([np.hstack([tiles[rng.integers(TILES)] for _ in across]) for _ in across])[:side, :side]
        case = 1 + 4 * number // len(sides)
        rows.append((str(case), "h&e", "match_1", number, f"case_{case}_match_1_h&e_patch{number}.png"))
        Image.fromarray(image).save(folder / rows[-1][-1])
    table = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"])
    return table.astype({"patch": "int32"})

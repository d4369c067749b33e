"""Nearest neighbours of many vectors: exact for few, else approximate, by faiss; memory holds 2 bytes a number.

The vectors are made block by block, each time they are needed, so that they are never in memory together.
"""

from collections.abc import Callable, Iterator

import faiss
import numpy as np
from numpy.typing import NDArray

BLOCK = 8192  # rows at once
FEW = 20_000  # up to so many, all are compared with all
PER_CELL = 40  # vectors that a cell's centre is learned from
PROBES = 3  # nearest cells that a vector is looked for in
SEED = 0  # of the vectors that cells are learned from
Vectors = Callable[[NDArray[np.int64]], NDArray[np.float32]]  # rows -> vectors (n, D) of length 1


def blocks(n: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows 0 to n - 1, some at a time."""
    for begin in range(0, n, BLOCK):
        yield np.arange(begin, min(begin + BLOCK, n))


def index(vectors: Vectors, n: int, threads: int) -> faiss.Index:
    """Return an index of n vectors; its `search` gives the largest products, and their rows."""
    faiss.omp_set_num_threads(threads)
    width = vectors(np.arange(1)).shape[1]
    if n <= FEW:
        result = faiss.IndexFlatIP(width)
    else:
        cells = int(2 * np.sqrt(n))
        result = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(width), width, cells, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        result.cp.seed, result.nprobe = SEED, PROBES
        drawn = np.sort(np.random.default_rng(SEED).choice(n, min(n, PER_CELL * cells), replace=False))
        result.train(np.concatenate([vectors(drawn[rows]) for rows in blocks(len(drawn))]))
    for rows in blocks(n):
        result.add(vectors(rows))
    return result

"""Patches that show the same tissue: candidates are nearest neighbours, and each is checked before it counts.

Of images: the canonical vectors of sketches, whole and of parts of each, are looked up among those of all patches, and
what comes near is laid over one another. Of precomputed features, which have no sketch: a patch whose nearest one in
another case is far nearer than the next ones is the same, encoded twice; a turned one is not found.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.features import neighbours, same_tissue, sketch
from stratamil.features.store import Features, Rows

ASKED = 8  # neighbours of each patch
ASKED_AGAIN = 128  # of one whose neighbours are all near: its own case may have it so often that others hide behind
CHECKED = 4  # of these, as parts of it
WHOLE, PART = 0.93, 0.86  # products of canonical vectors from which a pair is checked
SAME = 0.91  # agreement from which it counts: docs/how-to/duplicates.md
# Parts of a picture that are looked up: the share of a side, and how many places there are in each direction.
PARTS = ((0.95, 2), (0.89, 3))
FEATURES, NEXT, TWICE = 64, 5, 0.3  # dimensions looked at; a pair is so much nearer than the next ones
SAMPLE = 20_000  # rows by which features are reduced


class Found(NamedTuple):
    """Pairs of rows of a table, arrays (n,): each of `second` is `first`, or a part of it, turned by `pose`.

    compared: how many patches were; faint ones show nothing and are not.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    agreement: NDArray[np.float64]
    pose: NDArray[np.int64]
    kept: NDArray[np.float64]
    compared: int


def find(data: Features, threads: int = 1) -> Found:
    """Return the pairs of patches that show the same tissue, each once. data: as of store.read."""
    there = ~data.blank if data.blank is not None else np.ones(len(data.table), dtype=bool)
    if data.sketch is None:
        rows, pairs = _of_features(data, np.flatnonzero(there), threads)
    else:
        for block in neighbours.blocks(len(there)):
            there[block] &= ~sketch.faint(data.sketch[block])
        rows = np.flatnonzero(there)
        some = _of_sketches(data.sketch, rows, threads) if len(rows) > 1 else ()
        pairs = pd.concat([_pairs(), *some], ignore_index=True)
    pairs = pairs.assign(
        low=np.minimum(pairs["first"], pairs["second"]), high=np.maximum(pairs["first"], pairs["second"])
    )
    pairs = pairs.sort_values(["low", "high", "agreement"], ascending=[True, True, False], kind="stable")
    pairs = pairs.drop_duplicates(["low", "high"])
    first, second = rows[pairs["first"].to_numpy(int)], rows[pairs["second"].to_numpy(int)]
    return Found(first, second, *(pairs[name].to_numpy() for name in ("agreement", "pose", "kept")), len(rows))


def _pairs(first: NDArray | None = None, second: NDArray | None = None, **columns: NDArray) -> pd.DataFrame:
    none = np.empty(0, dtype=int)
    table = {"first": none if first is None else first, "second": none if second is None else second}
    return pd.DataFrame(table | (columns or {"agreement": np.empty(0), "pose": none, "kept": np.empty(0)}))


def _of_sketches(sketches: Rows, rows: NDArray[np.int64], threads: int) -> Iterator[pd.DataFrame]:
    """Yield the pairs of each block of rows, by their places in `rows`."""
    index = neighbours.index(lambda some: sketch.canonical(sketches[rows[some]]), len(rows), threads)
    for block in neighbours.blocks(len(rows)):
        here = sketches[rows[block]].astype(np.float32)
        near = _near(index, sketch.canonical(here), block, WHOLE).assign(share=1.0)
        parts = [
            _near(index, sketch.canonical(sketch.trimmed(here, share, down, across)), block, PART).assign(share=share)
            for share, places in PARTS
            for down in np.linspace(0, 1 - share, places)
            for across in np.linspace(0, 1 - share, places)
        ]
        parts = pd.concat(parts).sort_values(["first", "product"], ascending=[True, False], kind="stable")
        parts = parts.drop_duplicates(["first", "second"])
        whole = near.set_index(["first", "second"]).index
        parts = parts[~pd.MultiIndex.from_frame(parts[["first", "second"]]).isin(whole)]
        for share, some in pd.concat([near, parts.groupby("first").head(CHECKED)]).groupby("share"):
            yield _checked(sketches, rows, some["first"].to_numpy(), some["second"].to_numpy(), share)


def _near(
    index: neighbours.faiss.Index, vectors: NDArray, block: NDArray, least: float, asked: int = ASKED
) -> pd.DataFrame:
    """Return the neighbours of a block's vectors, other than themselves: first, second, product."""
    products, found = index.search(vectors, min(asked, index.ntotal))
    first = np.repeat(block, found.shape[1])
    table = pd.DataFrame({"first": first, "second": found.ravel(), "product": products.ravel()})
    near = table[(table["product"] >= least) & (table["second"] >= 0) & (table["first"] != table["second"])]
    full = products[:, -1] >= least
    if asked == ASKED and full.any():
        again = _near(index, vectors[full], block[full], least, ASKED_AGAIN)
        near = pd.concat([near[~near["first"].isin(block[full])], again])
    return near


def _checked(sketches: Rows, rows: NDArray, first: NDArray, second: NDArray, share: float) -> pd.DataFrame:
    """Return those pairs that show the same tissue, laid over one another."""
    kept = []
    for some in neighbours.blocks(len(first)):
        laid = same_tissue.overlay(sketches[rows[first[some]]], sketches[rows[second[some]]], share)
        same = laid.agreement >= SAME
        columns = {name: values[same] for name, values in laid._asdict().items()}
        kept.append(_pairs(first[some][same], second[some][same], **columns))
    return pd.concat(kept, ignore_index=True) if kept else _pairs()


def _of_features(data: Features, rows: NDArray[np.int64], threads: int) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Return the rows that tell something, and the pairs of them whose features are the same but for noise."""
    values, width = data.values, data.values.shape[1]
    if width < FEATURES or len(rows) <= NEXT:
        return rows, _pairs()
    drawn = np.sort(np.random.default_rng(0).choice(rows, min(len(rows), SAMPLE), replace=False))
    sample = values[drawn].astype(np.float32)
    centre = sample.mean(axis=0)
    axes = np.linalg.eigh(np.cov((sample - centre).T))[1][:, -FEATURES:].astype(np.float32)

    def reduced(some: NDArray[np.int64]) -> NDArray[np.float32]:
        vectors = (values[rows[some]].astype(np.float32) - centre) @ axes
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    index = neighbours.index(reduced, len(rows), threads)
    cases = data.table["case_id"].cat.codes.to_numpy()[rows]
    found = [_pairs()]
    for block in neighbours.blocks(len(rows)):
        products, near = index.search(reduced(block), min(4 * ASKED, index.ntotal))
        other = (cases[near] != cases[block][:, None]) & (near >= 0)
        place = np.argsort(~other, axis=1, kind="stable")[:, : NEXT + 1]  # those of other cases, the nearest first
        enough = other.sum(axis=1) > NEXT
        products, near = (np.take_along_axis(each, place, axis=1)[enough] for each in (products, near))
        close = 1 - products[:, 0] <= TWICE * (1 - products[:, -1]) if near.size else np.zeros(0, bool)
        found.append(_encoded_twice(values, rows, block[enough][close], near[close]))
    return rows, pd.concat(found, ignore_index=True)


def _encoded_twice(values: Rows, rows: NDArray, first: NDArray, near: NDArray) -> pd.DataFrame:
    """Return the rows (n,) with the nearest of others (n, NEXT + 1) where the rest is far: by all their features."""
    if not len(first):
        return _pairs()
    own = values[rows[first]].astype(np.float32)
    distances = [
        np.linalg.norm(values[rows[near[:, k]]].astype(np.float32) - own, axis=1) for k in (0, near.shape[1] - 1)
    ]
    ratio = distances[0] / np.maximum(distances[1], 1e-9)
    same = (ratio <= TWICE) & (distances[1] > 0)
    n = int(same.sum())
    return _pairs(first[same], near[same, 0], agreement=1 - ratio[same], pose=np.zeros(n, int), kept=np.ones(n))

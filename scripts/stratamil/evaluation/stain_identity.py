"""Whether slices look like the stain that their name says: a classifier of stains from the colour of their patches.

It is fitted within the cohort and asked about cases that it has not seen: logistic regression on mean and SD, over the
patches of a slice, of the colour and texture descriptor. Slices that disagree are left out, and it is fitted again, so
that wrong names do not teach it. Stains of one chromogen may look alike where nothing is stained; which pairs do is
told, because a swap between them can stay unseen.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.core.names import natural
from stratamil.evaluation import site_probe
from stratamil.features.store import Features
from stratamil.stats import metrics

LEAST = 5  # cases of a stain: of fewer nothing can be learned
FOLDS = 10
PENALTY = 0.2  # of the sum of squared weights: weak, because stains are told by small differences, too
ODDS = 3  # another stain so many times as probable as that of the name is a disagreement
ALIKE, TRIMMED = 0.995, 0.05  # AUROC without so many, below which a swap between two stains may stay unseen
SHOWN = 3  # patches of a slice that are shown


def look(features: Features, stains: Sequence[str], seed: int) -> dict[str, Any] | None:
    """Return which slices disagree with their name, ready for JSON; None without images, or with one stain.

    features: as store.read returns them, with colour. stains: of the study, in order.
    Keys: stains (those compared), few (those of fewer than `LEAST` cases), slices, cases; told (slices whose most
    probable stain is that of their name); pairs (a, b, auc: how well colours separate each two stains, by slice,
    without the `TRIMMED` share that disagrees most, of which names may be wrong);
    unlike (case, stain, slice, looks: slices that look more like another stain, but no more than `ODDS` times);
    suspects (case, stain, slice, looks, odds, n, patches: the paths of some; named, like: paths of patches of slices
    that agree with the name, and with what it looks like), the largest odds first.
    """
    if features.colour is None:
        return None
    slices, x = describe(features)
    cases = slices.groupby("stain")["case_id"].nunique()
    known = [stain for stain in stains if cases.get(stain, 0) >= LEAST]
    if len(known) < 2:
        return None
    kept = slices["stain"].isin(known).to_numpy()
    slices, x = slices[kept].reset_index(drop=True), x[kept]
    y = slices["stain"].map(known.index).to_numpy()
    p = probabilities(x, y, slices["case_id"], seed)
    found, odds = disagree(p, y)
    return {
        "stains": known,
        "few": [stain for stain in stains if 0 < cases.get(stain, 0) < LEAST],
        "slices": len(slices),
        "cases": slices["case_id"].nunique(),
        "told": int((p.argmax(axis=1) == y).sum()),
        "pairs": _pairs(p, y, known),
        "unlike": [
            _named(slices.iloc[i], known[p[i].argmax()])
            for i in sorted(np.flatnonzero((odds > 1) & ~found), key=lambda i: -odds[i])
        ],
        "suspects": [
            _suspect(slices, features.table, i, known[p[i].argmax()], odds[i], found)
            for i in sorted(np.flatnonzero(found), key=lambda i: -odds[i])
        ],
    }


def describe(features: Features) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Return the slices (case_id, stain, slice_id, and rows, places in the table), and what describes them (n, 2 D).

    Blank patches do not count, and slices of nothing else are not there.
    """
    table = features.table[["case_id", "stain", "slice_id"]].astype(str)
    table = table[~features.blank] if features.blank is not None else table
    groups = table.groupby(["case_id", "stain", "slice_id"], sort=False)
    rows = [table.index.to_numpy()[places] for places in groups.indices.values()]
    slices = pd.DataFrame(list(groups.indices), columns=["case_id", "stain", "slice_id"]).assign(rows=rows)
    described = []
    for places in rows:
        values = features.colour[places].astype(np.float64)
        described.append(np.concatenate([values.mean(axis=0), values.std(axis=0)]))
    return slices, np.array(described)


def probabilities(x: NDArray, y: NDArray, cases: pd.Series, seed: int) -> NDArray[np.float64]:
    """Return the probability of each stain for each slice, (n, C), by models that have seen none of its case.

    x: (n, D) descriptions. y: (n,) stains by name. cases: (n,) of the slices.
    """
    names, member = np.unique(cases, return_inverse=True)
    folds = (np.random.default_rng(seed).permutation(len(names)) % min(FOLDS, len(names)))[member]
    taught = ~disagree(site_probe.out_of_fold(x, y, folds, penalty=PENALTY), y)[0]
    for stain in np.unique(y):  # too many wrong names of a stain, or one that nothing tells: learn from all of it
        if taught[y == stain].mean() < 0.5:
            taught[y == stain] = True
    return site_probe.out_of_fold(x, y, folds, penalty=PENALTY, taught=taught)


def disagree(p: NDArray, y: NDArray) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which slices look like another stain than y, (n,), and the odds of that stain against it, (n,)."""
    own = p[np.arange(len(y)), y]
    other = np.where(np.arange(p.shape[1]) == y[:, None], 0, p).max(axis=1)
    odds = other / np.maximum(own, 1e-12)
    return odds > ODDS, odds


def _pairs(p: NDArray, y: NDArray, stains: Sequence[str]) -> list[dict[str, Any]]:
    """Return how well colours separate each two stains, without the share of slices that disagrees most."""
    rows = []
    for a, b in combinations(range(len(stains)), 2):
        of = np.flatnonzero((y == a) | (y == b))
        share = p[of, b] / np.maximum(p[of, a] + p[of, b], 1e-300)
        wrong = np.abs((y[of] == b) - share)
        kept = np.argsort(wrong, kind="stable")[: len(of) - int(TRIMMED * len(of))]
        rows.append({"a": stains[a], "b": stains[b], "auc": metrics.roc_auc(y[of][kept] == b, share[kept])})
    return rows


def _named(one: pd.Series, looks: str) -> dict[str, Any]:
    return {"case": one["case_id"], "stain": one["stain"], "slice": one["slice_id"], "looks": looks}


def _suspect(
    slices: pd.DataFrame, table: pd.DataFrame, i: int, looks: str, odds: float, found: NDArray
) -> dict[str, Any]:
    """Return what there is to know of a slice that disagrees with its name. found: (n,) all that do."""
    one, agreeing = slices.iloc[i], slices[~found]
    named, like = (_nearest(agreeing[agreeing["stain"] == stain], one["case_id"]) for stain in (one["stain"], looks))
    paths = table["path"]
    return _named(one, looks) | {
        "odds": float(odds),
        "n": len(one["rows"]),
        "patches": paths.iloc[one["rows"][:SHOWN]].tolist(),
        "named": paths.iloc[named[:SHOWN]].tolist(),
        "like": paths.iloc[like[:SHOWN]].tolist(),
    }


def _nearest(slices: pd.DataFrame, case: str) -> NDArray[np.int64]:
    """Return the rows of a slice of the case, or else of the first one; none where there is none."""
    if slices.empty:
        return np.array([], dtype=int)
    ordered = sorted(slices.index, key=lambda i: (slices.loc[i, "case_id"] != case, natural(slices.loc[i, "case_id"])))
    return slices.loc[ordered[0], "rows"]

"""How good the patches of a cohort are, by stain and class, which are suspect, and whether quality tells the class.

A patch is suspect by the usual of its stain, since faint stains have little contrast and counterstains their own hue.
The optical densities of two dyes lie in a plane (Macenko et al., ISBI 2009): what of the squared density of a patch
lies outside the plane of its stain is the residual. It comes from the mean and covariance of haematoxylin, eosin
and DAB that stain_stats hold, so that no image is opened for it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.core.names import natural
from stratamil.evaluation import site_probe
from stratamil.features import stain_stats, store
from stratamil.features.exclusion import PEN, REASONS
from stratamil.stats import intervals, metrics

SHOWN = 6  # pictures of a kind
LITTLE = 0.05  # share of tissue
BLURRED, FLAT = 0.1, 0.3  # of the stain's median sharpness for its tissue, and for its contrast
CLIPPED = 0.1  # share of pixels that are white in R, G and B alike, above what is usual in the stain
DARK, DARKER = 0.6, 0.2  # darkness, and its difference from the stain's median
BLACK, RARE = 0.05, 0.01  # share of black pixels, and its usual value in a stain where black is rare
UNLIKE, UNUSUAL = 0.1, 5  # residual, and times what is usual in the stain
OTHERS = 10  # patches of a stain: with fewer there is no usual
USUAL = 0.9  # quantile of a stain
CORRELATIONS, SPREADS = 25, 32  # places in stain_stats: of the correlations, and of the SDs at full size
BLOCK = 4096
# What is compared of stains and classes, and what of the patches of a case may tell its class.
MEASURES = ("tissue", "sharpness", "contrast", "saturation", "darkness", "clipped", "pen", "black", "residual")
KINDS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "little tissue": lambda x: x["tissue"] < LITTLE,
    "blurred": lambda x: _blurred(x),
    "ink": lambda x: x["pen"] >= PEN,
    "overexposed": lambda x: (x["clipped"] - x["clipped"].quantile(USUAL) >= CLIPPED) & (x["tissue"] >= LITTLE),
    "dark": lambda x: (x["darkness"] >= DARK) & (x["darkness"] - x["darkness"].median() >= DARKER),
    "black spots": lambda x: (x["black"] >= BLACK) & (x["black"].quantile(USUAL) < RARE),
    "other colours": lambda x: x["residual"] >= max(UNLIKE, UNUSUAL * x["residual"].quantile(USUAL)),
    "fewer bits": lambda x: x["bits"] != x["bits"].mode().iloc[0],
}
WORST = {  # measure by which the worst of a kind come first, and whether the largest are
    "little tissue": ("tissue", False), "blurred": ("sharpness", False), "ink": ("pen", True),
    "overexposed": ("clipped", True), "dark": ("darkness", True), "black spots": ("black", True),
    "other colours": ("residual", True), "fewer bits": ("bits", False),
}  # fmt: skip


def look(
    features: store.Features,
    facts: pd.DataFrame,
    cases: pd.DataFrame,
    classes: Sequence[str],
    stains: Sequence[str],
    *,
    ink: bool,
    bootstrap_samples: int,
    seed: int,
) -> dict[str, Any] | None:
    """Return what the quality of the patches is, ready for JSON; None where nothing was measured.

    features: as store.read returns them. facts: of store.facts. cases: used ones with case_id, patient_id and class.
    ink: whether patches with ink are suspect. Keys: rows (stain, class, patches, excluded, the median of each of
    MEASURES, and the number of each of KINDS), patches, suspect (how many are of any kind), suspects (kind -> patches),
    pictures (stain, kind, n, measure, its low and high, and paths with their cases, the worst first), excluded (why, n,
    paths, cases), emptied
    (cases that keep their patches because they have no other), lost (stain, cases: those of which all patches of the
    stain are excluded), and what `probe` returns.
    """
    if not facts["case_id"].isin(set(cases["case_id"])).any() or facts["tissue"].isna().all():
        return None
    table = known(features, facts, cases)
    found = suspect(table, ink)
    used = table["excluded"] == 0
    rows = [
        {"stain": stain, "class": name, "patches": len(part), "excluded": int(gone)}
        | {measure: _median(part[measure]) for measure in MEASURES}
        | {kind: int(found.loc[part.index, kind].sum()) for kind in KINDS}
        for stain in stains
        for name in classes
        for here in [table[(table["stain"] == stain) & (table["class"] == name)]]
        for part, gone in [(here[used[here.index]], (~used[here.index]).sum())]
        if len(here)
    ]
    pictures = [row for stain in stains for row in _pictures(table[used & (table["stain"] == stain)], found, stain)]
    excluded = [
        {"why": REASONS[reason], "n": len(part)} | _named(part.head(SHOWN))
        for reason, part in table[~used].groupby("excluded")
    ]
    return {
        "rows": rows,
        "suspects": {kind: int(found[kind].sum()) for kind in KINDS},
        "suspect": int(found.any(axis=1).sum()),
        "patches": int(used.sum()),
        "pictures": pictures,
        "excluded": excluded,
        "lost": _lost(table, stains),
        "emptied": sorted(set(table.loc[table["emptied"], "case_id"]), key=natural),
        "probe": probe(table[used], cases, classes, bootstrap_samples, seed),
    }


def _lost(table: pd.DataFrame, stains: Sequence[str]) -> list[dict[str, Any]]:
    """Return the cases that have patches of a stain, but none that is used. table: of `known`."""
    gone = table.groupby(["stain", "case_id"])["excluded"].min()
    cases = gone[gone > 0].reset_index().groupby("stain")["case_id"].agg(lambda ids: sorted(ids, key=natural))
    return [{"stain": stain, "cases": cases[stain]} for stain in stains if stain in cases]


def known(features: store.Features, facts: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return a row a patch of the used cases: case_id, stain, class, path, excluded, bits, and MEASURES."""
    table = facts[facts["case_id"].isin(set(cases["case_id"]))].reset_index(drop=True)
    table = table.assign(**{"class": table["case_id"].map(cases.set_index("case_id")["class"])})
    if features.colour is None:
        return table.assign(residual=np.nan)
    found = residuals(features.colour, features.table["stain"].astype(str).to_numpy())
    return table.assign(residual=table["path"].map(pd.Series(found, index=features.table["path"].to_numpy())))


def suspect(table: pd.DataFrame, ink: bool) -> pd.DataFrame:
    """Return which patches are of which of KINDS, a column each; of those that are used. table: of `known`."""
    found = pd.DataFrame(False, index=table.index, columns=list(KINDS))
    for _, part in table[table["excluded"] == 0].groupby("stain"):
        for kind, of in KINDS.items():
            if (ink or kind != "ink") and (len(part) >= OTHERS or kind in ("little tissue", "ink")):
                found.loc[part.index, kind] = of(part).to_numpy()
    return found


def residuals(colour: store.Rows | NDArray[np.float16], stains: NDArray[Any]) -> NDArray[np.float64]:
    """Return what share of the squared optical density of each patch lies outside the plane of its stain, (N,).

    colour: stain_stats (N, D). The plane is that of the largest two directions of the mean second moments of the
    stain's patches, each scaled to a trace of 1. A patch of nothing but white has 0.
    """
    moments = np.concatenate([_moments(colour[begin : begin + BLOCK]) for begin in range(0, len(stains), BLOCK)])
    result = np.zeros(len(stains))
    for stain in np.unique(stains):
        here = stains == stain
        normal = np.linalg.eigh(moments[here].mean(axis=0))[1][:, 0]
        result[here] = np.einsum("i,nij,j->n", normal, moments[here], normal).clip(min=0)
    return result


def _moments(colour: NDArray[np.float16]) -> NDArray[np.float64]:
    """Return the second moments of the optical density in R, G and B of patches, (n, 3, 3), of trace 1 or 0."""
    rows = colour.astype(np.float64)
    mean, deviation = rows[:, :3], rows[:, SPREADS : SPREADS + 3]
    correlation = np.tile(np.eye(3), (len(rows), 1, 1))
    for place, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        correlation[:, a, b] = correlation[:, b, a] = rows[:, CORRELATIONS + place]
    second = correlation * deviation[:, :, None] * deviation[:, None, :] + mean[:, :, None] * mean[:, None, :]
    vectors = np.array(stain_stats.STAINS)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    moments = vectors.T @ second @ vectors
    trace = np.trace(moments, axis1=1, axis2=2)
    return moments / np.where(trace > 1e-9, trace, np.inf)[:, None, None]


def probe(
    table: pd.DataFrame, cases: pd.DataFrame, classes: Sequence[str], bootstrap_samples: int, seed: int
) -> dict[str, Any] | None:
    """Return how well the quality of a case's patches alone tells its class; None where a class has too few patients.

    A logistic regression on the mean of each measure in each stain, fitted as site_probe does: out of fold, by patient.
    A stain that a case lacks has the mean of the others. Keys: auc (Estimate, by patient), cases, patients, best: the
    measure, stain and AUROC (at least 0.5, of two classes) of the mean that tells most alone, and the class with more.
    """
    rows = cases[cases["case_id"].isin(set(table["case_id"]))].reset_index(drop=True)
    y = rows["class"].map(list(classes).index).to_numpy()
    patients = rows.groupby("class")["patient_id"].nunique()
    if len(patients) < len(classes) or patients.min() < site_probe.LEAST:
        return None
    values = table.assign(sharpness=np.log1p(table["sharpness"]))
    means = values.groupby(["case_id", "stain"])[list(MEASURES)].mean().unstack("stain").loc[rows["case_id"]]
    means = means.fillna(means.mean()).dropna(axis=1, how="all")
    means = means.loc[:, means.nunique() > 1]
    if means.empty:
        return None
    p = site_probe.out_of_fold(means.to_numpy(), y, site_probe.by_patient(y, rows["patient_id"], seed))
    auc = intervals.bootstrap_auc(y, p, rows["patient_id"], bootstrap_samples, seed)
    best = None
    if len(classes) == 2:
        alone = means.apply(lambda column: metrics.roc_auc(y, column.to_numpy()))
        measure, stain = (alone - 0.5).abs().idxmax()
        value = float(alone[(measure, stain)])
        more = classes[int(value >= 0.5)]
        best = {"measure": measure, "stain": stain, "auc": max(value, 1 - value), "more": more}
    return {"auc": auc, "cases": len(rows), "patients": int(rows["patient_id"].nunique()), "best": best}


def _blurred(x: pd.DataFrame) -> pd.Series:
    sharp = x["sharpness"] / x["tissue"].clip(lower=LITTLE)  # glass has none
    relative = x["sharpness"] / x["contrast"].clip(lower=1) ** 2
    return (sharp < BLURRED * sharp.median()) & (relative < FLAT * relative.median()) & (x["tissue"] >= LITTLE)


def _pictures(part: pd.DataFrame, found: pd.DataFrame, stain: str) -> list[dict[str, Any]]:
    """Return the worst patches of a stain: suspect ones of each kind, in any case those of least tissue and focus."""
    rows = []
    for kind, (measure, largest) in WORST.items():
        suspects = part[found.loc[part.index, kind]]
        shown = part if suspects.empty and kind in ("little tissue", "blurred") else suspects
        worst = shown.sort_values([measure, "path"], ascending=[not largest, True]).head(SHOWN)
        if len(worst):
            row = {
                "stain": stain,
                "kind": kind,
                "n": len(suspects),
                "measure": measure,
            }
            row |= _named(worst)
            rows.append(row | {"low": float(worst[measure].min()), "high": float(worst[measure].max())})
    return rows


def _named(part: pd.DataFrame) -> dict[str, list[str]]:
    return {"paths": part["path"].tolist(), "cases": part["case_id"].astype(str).tolist()}


def _median(values: pd.Series) -> float | None:
    return None if values.isna().all() else float(values.median())


def telling(found: Mapping[str, Any] | None) -> bool:
    """Return whether quality alone tells the classes better than by chance. found: of `look`."""
    told = found and found["probe"]
    return bool(told) and told["auc"].low is not None and told["auc"].low > 0.5

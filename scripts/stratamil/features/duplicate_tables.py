"""Tables of patches that show the same tissue: groups of several cases, and how many there are within each case."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.cohort import duplicates
from stratamil.core.names import natural
from stratamil.features.near_duplicates import Found

COLUMNS = [*duplicates.COLUMNS, "like", "change", "agreement"]
TRIMMED = 0.96  # share of a side below which a picture is called trimmed: above, a pixel of two was lost in saving
CASES = 20  # listed with their number of patches that the case itself has twice


def across(table: pd.DataFrame, found: Found) -> pd.DataFrame:
    """Return the groups of patches of several cases, a row each of COLUMNS; in a group the surest come first.

    group: from 1. of: how many patches the case has in all. like: the patch of another case that it agrees with most,
    with agreement (0 to 1), and change: how one is made from the other.
    table: of the features (case_id, stain, path), in whose order Found counts.
    """
    cases = table["case_id"].cat.codes.to_numpy()
    apart = cases[found.first] != cases[found.second]
    first, second = found.first[apart], found.second[apart]
    rows = np.unique(np.concatenate([first, second]))
    pairs = pd.DataFrame({
        "row": np.concatenate([first, second]), "other": np.concatenate([second, first]),
        "agreement": np.tile(found.agreement[apart], 2),
        "change": np.tile(_changes(found.pose[apart], found.kept[apart]), 2),
    })  # fmt: skip
    best = pairs.sort_values(["agreement", "other"], ascending=[False, True], kind="stable").drop_duplicates("row")
    best = best.set_index("row").loc[rows]
    listed = table.loc[rows, ["case_id", "stain", "path"]].astype(str).assign(
        group=_components(len(table), first, second)[rows],
        of=table["case_id"].map(table["case_id"].value_counts()).loc[rows].to_numpy(int),
        like=table["path"].loc[best["other"]].to_numpy(),
        change=best["change"].to_numpy(),
        agreement=best["agreement"].to_numpy().round(4),
    )  # fmt: skip
    listed = listed.assign(group=pd.factorize(listed["group"])[0] + 1)
    return listed.sort_values(["group", "agreement"], ascending=[True, False], kind="stable", ignore_index=True)[
        COLUMNS
    ]


def numbers(table: pd.DataFrame, found: Found, images: bool) -> dict[str, Any]:
    """Return how many patches were compared, and how many have the same tissue, ready for JSON.

    Keys: images; patches, compared (all but those that show nothing); across (patches of groups of several cases);
    within (patches that are like another of their case), cases (case, patches: the most of `CASES`).
    """
    cases = table["case_id"].cat.codes.to_numpy()
    apart = cases[found.first] != cases[found.second]
    inside = np.unique(np.concatenate([found.first[~apart], found.second[~apart]]))
    counts = table["case_id"].iloc[inside].astype(str).value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], natural(item[0])))
    return {
        "images": images,
        "patches": len(table),
        "compared": found.compared,
        "across": len(np.unique(np.concatenate([found.first[apart], found.second[apart]]))),
        "within": len(inside),
        "cases": [{"case": case, "patches": int(n)} for case, n in ordered[:CASES]],
    }


def _changes(pose: NDArray[np.int64], kept: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return in words how the second of each pair is made from the first."""
    words = [" and ".join(["turned"] * bool(p) + ["trimmed"] * bool(k < TRIMMED)) for p, k in zip(pose, kept)]
    return np.array([word or "same" for word in words], dtype=object)


def _components(n: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of n rows the number of its group of connected pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    return connected_components(coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n)))[1]

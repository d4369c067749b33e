"""What was left out of a cohort, counted by reason for its page."""

from typing import Any

import pandas as pd

from stratamil.cohort import resembling
from stratamil.cohort.patch_files import RENAMED, REPEATED
from stratamil.core.errors import few
from stratamil.core.names import UNREAD, natural


def repeated(excluded: pd.DataFrame, patches: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return how many files repeat another of their case: reason -> case -> files."""
    case_of = dict(zip(patches["path"], patches["case_id"].astype(str)))
    found = {}
    for reason in (REPEATED, RENAMED):
        cases = excluded.loc[excluded["reason"] == reason, "detail"].map(case_of).dropna().tolist()
        found[reason] = {case: cases.count(case) for case in sorted(set(cases), key=natural)}
    return found


def by_reason(excluded: pd.DataFrame, unreadable: pd.DataFrame | None = None) -> list[dict[str, Any]]:
    """Return what was left out by kind and reason: how often, how many patches, and the first as an example.

    Names that no pattern reads are of several kinds, by what the files resemble; their folders are counted.
    unreadable: of left_out.read, if the images were looked at.
    """
    if unreadable is not None and len(unreadable):
        later = unreadable.rename(columns={"path": "name", "reason": "detail", "why": "reason"})
        later = later.assign(kind="patch", patches=1)[list(excluded)]
        excluded = pd.concat([excluded, later], ignore_index=True)
    of_names = excluded["reason"] == UNREAD
    about = excluded["detail"].where(of_names, "").map(resembling.about)
    rows = [
        {
            "kind": kind,
            "reason": f"{reason}{like and ', '}{like}",
            "n": len(part),
            "patches": int(part["patches"].sum()),
            "example": part["name"].iloc[0],
            "detail": "; ".join(filter(None, [part["detail"].iloc[0], _folders(part) if reason == UNREAD else ""])),
        }
        for (kind, reason, like), part in excluded.groupby(["kind", "reason", about], sort=False)
    ]
    return sorted(rows, key=lambda row: (row["kind"], -row["n"], row["reason"]))


def _folders(rows: pd.DataFrame) -> str:
    """Return where files lie, `in OLD: 91`: the folders below that of the patches; empty of a single file."""
    counts = rows["name"].str.partition("/")[0].where(rows["name"].str.contains("/"), ".").value_counts()
    return few([f"in {folder}: {n}" for folder, n in counts.items()]) if len(rows) > 1 else ""

"""What the cohort page says of the same tissue in several cases, from the tables of rule duplicates."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from stratamil.cohort import duplicates
from stratamil.cohort.splits import Split

SHOWN = 3  # groups of each row that are shown, and patches of a group


def seen(
    found: pd.DataFrame, numbers: Mapping[str, Any], sets: Mapping[str, Split], patient_of: Mapping[str, str]
) -> dict[str, Any]:
    """Return `numbers` with rows, ready for JSON: which cases share what, and whether a split parts them.

    found: patches.csv of rule duplicates. numbers: its duplicates.json. patient_of: used case -> patient.
    rows: of duplicates.by_cases, with same_patient; changes (word -> groups); shown (paths of one patch of each case,
    of some groups); parted (split, sets: set -> case), or None. Those that a split parts come first.
    """
    found = found[found["case_id"].isin(patient_of)]
    rows, groups = duplicates.by_cases(found), _by_cases(found)
    parted = {
        tuple(row["cases"]): (split, sets_) for row, split, sets_ in duplicates.parted(rows, dict(sets), patient_of)
    }
    told = []
    for row in rows:
        cases = tuple(row["cases"])
        here = groups[cases]
        changes = Counter(group["change"].iloc[0] for group in here)
        split, places = parted.get(cases, (None, None))
        told.append(row | {
            "same_patient": len({patient_of[case] for case in cases}) == 1,
            "changes": dict(changes.most_common()),
            "shown": [group.drop_duplicates("case_id")["path"].tolist()[:SHOWN] for group in here[:SHOWN]],
            "parted": places and {"split": split, "sets": places},
        })  # fmt: skip
    return dict(numbers) | {"rows": sorted(told, key=lambda row: (row["parted"] is None, row["same_patient"]))}


def _by_cases(found: pd.DataFrame) -> dict[tuple, list[pd.DataFrame]]:
    """Return the groups of each set of cases, as duplicates.by_cases counts them."""
    groups: dict[tuple, list[pd.DataFrame]] = {}
    for _, rows in found.groupby("group", sort=False):
        groups.setdefault(tuple(sorted(set(rows["case_id"]), key=duplicates.natural)), []).append(rows)
    return groups

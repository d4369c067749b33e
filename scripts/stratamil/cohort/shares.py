"""Shares of the training cases of a split, for a curve of what more of them give: by patient, stratified, nested."""

import math
import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from stratamil.core.names import natural

PERCENT = (25, 50, 75)  # of the training cases; all of them are what the study itself trains on


def drawn(train: Sequence[str], cases: pd.DataFrame, percent: float, seed: int, split: str) -> list[str]:
    """Return a share of a split's training cases, in their order: whole patients, of each class the same share.

    cases: case_id, class, patient_id. A patient of several classes counts for the class of which most of their cases
    are. split: its name. The patients of a class are drawn in one order, so that a smaller share is a part of a larger
    one; of each class there is one at least.
    """
    known = cases.set_index("case_id").loc[list(train)]
    class_of = known.groupby("patient_id")["class"].agg(lambda classes: classes.mode()[0])
    random, chosen = np.random.default_rng([seed, zlib.crc32(split.encode())]), set()
    for _, patients in sorted(class_of.groupby(class_of).groups.items()):
        order = random.permutation(sorted(patients, key=natural))
        chosen |= set(order[: max(1, math.ceil(len(order) * percent / 100))])
    return [case for case in train if known.at[case, "patient_id"] in chosen]

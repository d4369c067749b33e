"""How much more training cases give: the model trained on shares of them, on the same splits and seeds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from stratamil.evaluation import competitors
from stratamil.evaluation.competitors import Measured
from stratamil.evaluation.retrained import SHARE
from stratamil.evaluation.study import Study


def points(study: Study, ours: Mapping[str, Measured], whole: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a dict a share of the training cases, ascending; none where no share was trained.

    percent; training_cases, mean over splits, and their least and most; roc_auc, fold_mean: of a single training;
    auc_difference: of the model on all training cases less this. ours: of `competitors.of_model`. whole: numbers of the
    model itself, which is the last point.
    """
    variants = {name: rows for name, rows in study.retrained_rows.items() if name.startswith(SHARE)}
    result = [
        {"percent": int(name.removeprefix(SHARE))} | _sizes(rows) | competitors.summary(study, rows, ours)
        for name, rows in variants.items()
    ]
    if not result:
        return []
    own = [len(split.train) for name, split in study.sets.items() if name in study.splits]
    last = {"percent": 100, "training_cases": float(np.mean(own)) if own else None, "least": None, "most": None}
    last |= {"least": min(own), "most": max(own)} if own else {}
    measures = {name: whole[name] for name in ("roc_auc", "fold_mean", "log_loss", "brier")}
    return [*sorted(result, key=lambda point: point["percent"]), last | measures | {"auc_difference": None}]


def _sizes(rows: pd.DataFrame) -> dict[str, Any]:
    sizes = rows.groupby("split")["training_cases"].first()
    return {"training_cases": float(sizes.mean()), "least": int(sizes.min()), "most": int(sizes.max())}

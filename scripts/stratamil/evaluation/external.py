"""New cases with labels as a study: frozen predictions of the ensemble of a bundle's members, decided before."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.cohort.columns import Column
from stratamil.cohort.inventory import USED
from stratamil.core.names import column, natural
from stratamil.evaluation.runs import Run
from stratamil.evaluation.study import Study, Validation

NAME = "external"


class Cohort(Study):
    """Another cohort as a study of one run: the ensemble of all members, decided at the frozen threshold."""

    @cached_property
    def validation(self) -> dict[str, Validation]:
        """The frozen threshold, with no cases of this cohort that it could be chosen on."""
        none = np.array([])
        threshold = self.runs[0].results["threshold"]
        return {NAME: Validation([], none.astype(bool), none, "frozen", threshold)} if self.binary else {}

    def rechosen(self, table: pd.DataFrame) -> NDArray[np.float64] | None:
        """Return None: no bootstrap sample chooses a threshold."""
        return None


def cohort(
    cases: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    classes: Sequence[str],
    decision: Mapping[str, Any],
    bootstrap_samples: int,
    seed: int,
    folder: Path,
    columns: Mapping[str, Column] | None = None,
) -> Cohort:
    """Return the Cohort of labelled cases.

    cases: case_id, class, patient_id, label of the cases that count. predictions: of all predicted cases. decision:
    frozen threshold and temperature. columns: of the labels table. folder: of predict.
    """
    table = predictions[predictions["case_id"].isin(cases["case_id"])]
    table = table.sort_values("case_id", key=lambda ids: ids.map(natural), ignore_index=True)
    known = cases.set_index("case_id")
    p = table[[f"prob_{column(name)}" for name in classes]].to_numpy()
    logits = {
        f"logit_{column(name)}": np.log(np.maximum(p[:, k], np.finfo(float).tiny)) for k, name in enumerate(classes)
    }
    table = table.assign(true_class=table["case_id"].map(known["class"]), **logits)
    run = Run(folder, {"classes": list(classes), "split": NAME, "seed": 0, **decision})
    run.__dict__["test"] = table
    listed = known.loc[table["case_id"]].reset_index().assign(status=USED, missing_stains="")
    listed = listed.assign(n_patches=table["n_patches"], n_slices=table["n_slices"])
    return Cohort([run], listed, bootstrap_samples, seed, columns=dict(columns or {}))

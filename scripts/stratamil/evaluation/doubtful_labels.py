"""Cases whose label every training contradicts with near certainty: a wrong label, or a model that is wrong.

Nothing is chosen by them: they are predictions of test cases, shown after all is done.
"""

from typing import Any

import numpy as np

from stratamil.core.names import natural
from stratamil.evaluation.study import Study

SURE = 0.95  # probability of another class than that of the label, in every training


def contradicted(study: Study) -> dict[str, Any] | None:
    """Return the cases of which each training gives another class a probability above SURE; None of none.

    Keys: above (SURE), trainings (how many predict a case) and cases, the surest first: case_id, true (the class of the
    label), predicted (by the ensemble), least (the probability of the likeliest other class, in the training that is
    least sure).
    """
    rows = study.predictions
    p = rows[study.probabilities].to_numpy()
    others = np.where(np.arange(p.shape[1]) == rows["y"].to_numpy()[:, None], 0, p).max(axis=1)
    least = rows.assign(others=others).groupby("case_id")["others"].min()
    found = sorted(least.index[least > SURE], key=lambda case: (-least[case], natural(case)))
    means = study.ensemble.set_index("case_id")
    cases = [
        {
            "case_id": case,
            "true": study.classes[means.at[case, "y"]],
            "predicted": study.classes[int(means.loc[case, study.probabilities].to_numpy(float).argmax())],
            "least": float(least[case]),
        }
        for case in found
    ]
    return {"above": SURE, "trainings": int(means["times"].max()), "cases": cases} if cases else None

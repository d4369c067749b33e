"""What deciding by a predictor is worth at each threshold: net benefit (Vickers and Elkin 2006), out of fold.

At a threshold t a false call costs t / (1 - t) of what a right one gains: net benefit = TP / n - FP / n * t / (1 - t).
Calling no case is worth 0. The model is a single training: a case counts with the mean over its predictions.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from stratamil.evaluation.study import Study
from stratamil.stats import intervals
from stratamil.stats.intervals import Estimate

THRESHOLDS = tuple(np.arange(1, 100) / 100)


def gains(y: ArrayLike, score: ArrayLike) -> NDArray[np.float64]:
    """Return what deciding each case by its score gains at each of `THRESHOLDS`, (n, T): their mean is net benefit."""
    y, thresholds = np.asarray(y, dtype=float)[:, None], np.array(THRESHOLDS)
    called = np.asarray(score, dtype=float)[:, None] >= thresholds
    return called * (y - (1 - y) * thresholds / (1 - thresholds))


def curve(study: Study, baseline: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the decision curves of a study of two classes, lists over `thresholds`; None of more classes.

    model, over_all (model less calling all), over_baseline: Estimates; all, of_baseline: values. baseline: the row of
    `competitors.rows` to compare with. useful: ranges of thresholds at which the CIs of model and over_all lie above 0.
    """
    if not study.binary:
        return None
    model, patients = _by_case(study, study.predictions), int(study.ensemble["patient_id"].nunique())
    everyone = gains(study.ensemble["y"], np.ones(len(study.ensemble)))
    result = {
        "thresholds": list(THRESHOLDS),
        "model": _means(study, model, patients),
        "all": everyone.mean(axis=0).tolist(),
        "over_all": _means(study, model - everyone, patients),
        "baseline": None,
    }
    if baseline:
        others = _by_case(study, _rows(study, baseline))
        result |= {"baseline": baseline["name"], "of_baseline": others.mean(axis=0).tolist()}
        result["over_baseline"] = _means(study, model - others, patients)
    return result | {"useful": useful(result["model"], result["over_all"])}


def _rows(study: Study, baseline: Mapping[str, Any]) -> pd.DataFrame:
    """Return the predictions of a row of `competitors.rows`, with y."""
    if baseline["retrained"]:
        return study.retrained_rows[baseline["retrained"]]
    truth = study.ensemble.set_index("case_id")["y"]
    rows = study.baseline_rows(baseline["name"])
    rows = rows[rows["case_id"].isin(truth.index)]
    return rows.assign(y=rows["case_id"].map(truth))


def _by_case(study: Study, rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return the mean gains of each case (cases, T), in the order of the ensemble."""
    table = pd.DataFrame(gains(rows["y"], rows[study.probabilities[1]]), index=rows["case_id"].to_numpy())
    return table.groupby(level=0).mean().reindex(study.ensemble["case_id"]).to_numpy()


def _means(study: Study, values: NDArray, patients: int) -> list[Estimate]:
    """Return the mean over cases of each column, with intervals by patient."""
    known = ~np.isnan(values).any(axis=1)
    weights = study.weights[:, known]
    with np.errstate(invalid="ignore"):
        sampled = weights @ values[known] / weights.sum(axis=1, keepdims=True)
    pairs = zip(values[known].mean(axis=0), sampled.T)
    return [
        Estimate(float(value), n=patients)
        if intervals.still(own)
        else intervals.interval(float(value), own, "plain", patients)
        for value, own in pairs
    ]


def useful(model: list[Estimate], over_all: list[Estimate]) -> list[tuple[float, float]]:
    """Return the ranges of `THRESHOLDS`, ends included, at which both CIs lie above 0."""
    better = [all((each.low or 0) > 0 for each in pair) for pair in zip(model, over_all)]
    ranges = []
    for said, part in groupby(zip(THRESHOLDS, better), key=lambda pair: pair[1]):
        if said:
            of = [threshold for threshold, _ in part]
            ranges.append((float(of[0]), float(of[-1])))
    return ranges

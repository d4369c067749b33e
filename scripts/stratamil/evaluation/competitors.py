"""What the model is compared with on the same test cases: baselines, and the model trained in another way.

Each is compared in pairs: the same bootstrap samples of patients for both.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.evaluation.retrained import SHARE
from stratamil.evaluation.study import Study, mean_of, sd_of
from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate

Sampled = Mapping[str, NDArray[np.float64]]  # of `Study.sampled`
PREFIX = "retrained_"  # before a variant's name among the baselines


class Measured(NamedTuple):
    """An AUROC, as `Study.sampled` names the measure, and its bootstrap samples (B,)."""

    measure: str
    value: float | None
    sampled: NDArray[np.float64]


def of_model(study: Study, ensemble: Sampled, replicates: Sequence[Sampled]) -> dict[str, Measured]:
    """Return what others are compared with: `ensemble`, pooled; `model` and `fold_mean` of the mean of the replicates.

    The mean of replicates is what a model that is trained once gains; the fold mean does not see folds shift against
    each other. ensemble, replicates: bootstrap samples of each.
    """
    tables = [rows for _, rows in study.predictions.groupby(["repeat", "seed"])]
    return {
        "ensemble": Measured("roc_auc", study.auc(study.ensemble), ensemble["roc_auc"]),
        **_single(study, tables, replicates),
    }


def _single(study: Study, tables: Sequence[pd.DataFrame], sampled: Sequence[Sampled]) -> dict[str, Measured]:
    """Return `model` and `fold_mean` of the mean of replicates."""
    samples = {name: np.mean([own[name] for own in sampled], axis=0) for name in ("roc_auc", "fold_mean")}
    found = {name: Measured(name, value, samples[name]) for name, value in single(study, tables).items()}
    return {"model": found["roc_auc"], "fold_mean": found["fold_mean"]}


def single(study: Study, tables: Sequence[pd.DataFrame]) -> dict[str, float | None]:
    """Return the AUROC of single trainings, pooled and of the test sets: means over the replicates in `tables`."""
    return {
        "roc_auc": mean_of([study.auc(rows) for rows in tables]),
        "fold_mean": mean_of([mean_of(study.fold_aucs(rows)) for rows in tables]),
    }


def of_single(study: Study) -> dict[str, Estimate]:
    """Return the AUROC of single trainings of the model with its CI, as the report has it: `roc_auc`, `fold_mean`."""
    tables = [rows for _, rows in study.predictions.groupby(["repeat", "seed"])]
    return _estimates(study, tables, _single(study, tables, [study.sampled(rows) for rows in tables]))


def _estimates(study: Study, tables: Sequence[pd.DataFrame], found: Mapping[str, Measured]) -> dict[str, Estimate]:
    """Return the measures of `_single` with their intervals. tables: the replicates."""
    sides = {"model": study.sides(tables[0]), "fold_mean": study.sides(*study.folds(tables[0]))}
    patients = tables[0]["patient_id"].nunique()
    return {
        each.measure: intervals.auc_interval(each.value, each.sampled, sides[of], patients)
        for of, each in found.items()
    }


def rows(study: Study, ours: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Return each baseline and retrained model: its metrics, and how much the model's AUROC is higher.

    ours: of `of_model`. fitted: splits in which it does not give all test cases the same probability. without_stain:
    cases that lack the stain of a baseline of one, which it does not judge: it is compared on the others, and competes
    for the strongest if these are half of all or more. retrained: None of a baseline, else the variant. auc_difference:
    by `ours`; of a baseline, which has no seeds, each with the same.
    """
    result = [_baseline(study, name, table, ours) for name, table in study.baseline_ensembles.items()]
    others = {name: table for name, table in study.retrained_rows.items() if not name.startswith(SHARE)}
    return result + [_retrained(study, name, table, ours) for name, table in others.items()]


def strongest(found: Sequence[Mapping[str, Any]], headline: str, of_all: bool = False) -> Mapping[str, Any] | None:
    """Return the baseline of the highest AUROC, as the headline is; None without one. Retrained models are none.

    of_all: of those that judge all cases, so that curves of one figure are of the same cases.
    """
    judged = [row for row in found if row["competes"] and row["name"] != "prevalence" and row["fitted"]]
    judged = [row for row in judged if not (of_all and row["without_stain"])]
    known = [row for row in judged if row[headline].value is not None]
    return max(known, key=lambda row: row[headline].value, default=None)


def _baseline(study: Study, name: str, table: pd.DataFrame, ours: Mapping[str, Measured]) -> dict[str, Any]:
    of_split = [rows for _, rows in study.baseline_rows(name).groupby("split")]
    lacking = study.lacks(name, table["case_id"])
    judged, lacked = table[~lacking], int(lacking.sum())
    if 0 < lacked < len(table):
        table = judged
        ours = measured(study, study.predictions[study.predictions["case_id"].isin(judged["case_id"])])
    sampled, patients = study.sampled(table), table["patient_id"].nunique()
    row = {"name": name, "retrained": None, "n": len(table), "fitted": study.fitted(of_split)}
    row |= {"without_stain": lacked, "competes": len(judged) >= lacked, "constant": study.constant(table)}
    row |= study.discrimination(table, sampled) | losses(study, [table], [sampled])
    theirs = {of: Measured(each.measure, row[each.measure].value, sampled[each.measure]) for of, each in ours.items()}
    return row | {"auc_difference": differences(ours, theirs, patients, study.constant(table))}


def _retrained(study: Study, name: str, table: pd.DataFrame, ours: Mapping[str, Measured]) -> dict[str, Any]:
    of_split = [rows for _, rows in table.groupby(["split", "seed"])]
    row = {"name": PREFIX + name, "retrained": name, "n": table["case_id"].nunique()}
    row["fitted"] = min(study.fitted(of_split), len(study.splits))
    row |= {"without_stain": 0, "competes": False, "constant": False}
    return row | summary(study, table, ours)


def measured(study: Study, table: pd.DataFrame) -> dict[str, Measured]:
    """Return the same of models trained with several seeds as `of_model` of the model. table: as of `summary`."""
    tables = [rows for _, rows in table.groupby(["repeat", "seed"])]
    ensemble = study.of_cases(table, study.probabilities)
    pooled = Measured("roc_auc", study.auc(ensemble), study.sampled(ensemble)["roc_auc"])
    return {"ensemble": pooled, **_single(study, tables, [study.sampled(rows) for rows in tables])}


def summary(study: Study, table: pd.DataFrame, ours: Mapping[str, Measured]) -> dict[str, Any]:
    """Return metrics of models trained with several seeds, each a mean over replicates, and the differences.

    table: rows as of `Study.predictions`.
    """
    tables = [rows for _, rows in table.groupby(["repeat", "seed"])]
    sampled, patients = [study.sampled(rows) for rows in tables], table["patient_id"].nunique()
    ensemble = study.of_cases(table, study.probabilities)
    single = _single(study, tables, sampled)
    row = _estimates(study, tables, single)
    theirs = {"ensemble": Measured("roc_auc", study.auc(ensemble), study.sampled(ensemble)["roc_auc"]), **single}
    of_split = [mean_of([study.auc(one) for _, one in rows.groupby("seed")]) for _, rows in table.groupby("split")]
    row |= {"fold_sd": sd_of(of_split), "folds": len(of_split)}
    return row | losses(study, tables, sampled) | {"auc_difference": differences(ours, theirs, patients, False)}


def losses(study: Study, tables: Sequence[pd.DataFrame], sampled: Sequence[Sampled]) -> dict[str, Estimate]:
    """Return log loss and Brier score, means over some tables of predictions, with intervals by patient."""
    result, patients = {}, tables[0]["patient_id"].nunique()
    for name, measure in (("log_loss", metrics.log_loss), ("brier", metrics.brier)):
        values = [measure(rows["y"].to_numpy(), rows[study.probabilities].to_numpy()) for rows in tables]
        samples = np.mean([own[name] for own in sampled], axis=0)
        result[name] = intervals.interval(mean_of(values), samples, intervals.SCALES[name], patients)
    return result


def differences(
    ours: Mapping[str, Measured], theirs: Mapping[str, Measured], patients: int, constant: bool
) -> dict[str, Estimate]:
    """Return how much the model's AUROC is higher, by the names of `ours`. constant: what gives the others no CI."""
    result = {}
    for of, our in ours.items():
        their = theirs[of]
        if constant:
            result[of] = Estimate(_minus(our.value, their.value), n=patients)
        else:
            result[of] = difference(our.value, their.value, our.sampled - their.sampled, patients)
    return result


def difference(ours: float | None, theirs: float | None, sampled: NDArray, patients: int) -> Estimate:
    """Return the difference of two numbers of the same cases. sampled: (B,) differences."""
    value = _minus(ours, theirs)
    # Where both separate the classes without fault, or are the same, the data say nothing of the next cohort.
    if intervals.still(sampled):
        return Estimate(value, n=patients)
    return intervals.interval(value, sampled, "plain", patients)


def _minus(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours - theirs

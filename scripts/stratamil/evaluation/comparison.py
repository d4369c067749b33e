"""Every number of a comparison of studies: the same cases, the same bootstrap samples of patients for all.

A case's prediction is the mean over a study's seeds and repeats, its ensemble. `fold_mean`, the figure that the report
of a study leads with, is that of single trainings: the AUROC of each test set, mean over splits and trainings.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.core.names import natural
from stratamil.evaluation.compared_studies import Shared, Side, same_splits
from stratamil.evaluation.competitors import difference, of_model
from stratamil.evaluation.study import Study, mean_of
from stratamil.stats import intervals, metrics, paired
from stratamil.stats.intervals import Estimate

# Measure -> whether more is better.
MEASURES = {
    "fold_mean": True,
    "roc_auc": True,
    "pr_auc": True,
    "log_loss": False,
    "brier": False,
    "accuracy": True,
    "balanced_accuracy": True,
    "sensitivity": True,
    "specificity": True,
}
DECIDED = ("sensitivity", "specificity")
# Settings that decide no number, or beginnings of their names.
SKIPPED = ("results", "patches", "labels", "report.", "bundle.", "compare", "predict.name", "predict.labels")
SKIPPED += ("predict.patches", "attention.", "demo")

Measured = dict[str, tuple[float | None, NDArray[np.float64]]]  # measure -> value, bootstrap samples (B,)


def numbers(shared: Shared) -> dict[str, Any]:
    """Return all numbers of the page but those of attention, as plain values and Estimates that JSON can hold."""
    sides, folds = shared.sides, same_splits(shared.sides)
    first = sides[0].study
    cases = first.ensemble
    measured = [measures(side.study, folds) for side in sides]
    own = [_of_side(side, each) for side, each in zip(sides, measured)]
    # as in the reports: without a mean of test sets, where one lacks a class, all cases count together
    headline = "roc_auc" if any(each["estimates"]["fold_mean"].low is None for each in own) else "fold_mean"
    pairs = [
        pair(sides[a], sides[b], measured[a], measured[b]) | {"first": sides[a].name, "second": sides[b].name}
        for a, b in combinations(range(len(sides)), 2)
    ]
    adjusted = paired.holm([each["p"][headline] for each in pairs])
    return {
        "headline": headline,
        "classes": first.classes,
        "positive": first.classes[-1] if first.binary else None,
        "cases": len(cases),
        "patients": int(cases["patient_id"].nunique()),
        "counts": {name: int((cases["y"] == c).sum()) for c, name in enumerate(first.classes)},
        "left_out": shared.left_out["reason"].value_counts().to_dict(),
        "merged": shared.merged,
        "bootstrap": {
            "samples": first.bootstrap_samples,
            "seed": first.seed,
            "used": int(min(np.isfinite(each[headline][1]).sum() for each in measured)),
        },
        "sides": own,
        "pairs": [each | {"holm": p} for each, p in zip(pairs, adjusted)],
        "folds": _folds(sides) if folds else [],
        "repeats": max(side.study.repeats for side in sides),
        "per_case": per_case(sides),
        "settings": settings(sides),
    }


def measures(study: Study, folds: bool) -> Measured:
    """Return the value and bootstrap samples of each measure, None and NaN where it is not defined.

    folds: whether the splits are those of the others.
    """
    cases, sampled = study.ensemble, study.sampled(study.ensemble)
    y, p = cases["y"].to_numpy(), cases[study.probabilities].to_numpy()
    values = metrics.summary(y, p, study.classes)
    result = {name: (values[name], sampled[name]) for name in intervals.SCALES}
    unknown = np.full(study.bootstrap_samples, np.nan)
    result["fold_mean"] = (None, unknown)
    if folds:
        replicates = [study.sampled(rows) for _, rows in study.predictions.groupby(["repeat", "seed"])]
        single = of_model(study, sampled, replicates)["fold_mean"]
        result["fold_mean"] = single.value, single.sampled
    decided = study.binary and not cases["threshold"].isna().any()
    if decided:
        threshold = cases["threshold"].to_numpy()
        at = metrics.at_threshold(y, p[:, 1], threshold)
        samples = intervals.weighted_decisions(y, p[:, 1] >= threshold, study.weights)
    for name in DECIDED:
        result[name] = (at[name], samples[name]) if decided else (None, unknown)
    return {name: result[name] for name in MEASURES}


def pair(one: Side, other: Side, first: Measured, second: Measured) -> dict[str, Any]:
    """Return how the second of two sides differs from the first: paired differences with CIs, p, and decisions."""
    a, b = one.study, other.study
    y, patients = a.ensemble["y"].to_numpy(), a.ensemble["patient_id"].nunique()
    differences = {
        name: difference(second[name][0], first[name][0], second[name][1] - first[name][1], patients)
        for name in MEASURES
    }
    scores = [study.ensemble[study.probabilities[1]] for study in (a, b)] if a.binary else []
    by_delong = paired.delong(y, *scores) if scores else Estimate(None)
    return {
        "differences": differences,
        "p": {name: paired.p_value(each) for name, each in differences.items()},
        "delong": by_delong,
        "delong_p": paired.p_value(by_delong),
        "decisions": [
            {"at": at} | paired.mcnemar(right_a, right_b)._asdict()
            for (at, right_a), (_, right_b) in zip(decided(a), decided(b))
        ],
        "correlation": _rank_correlation(a, b),
    }


def decided(study: Study) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return which cases are decided rightly: by the most probable class and, of two, at the study's own threshold."""
    cases = study.ensemble
    y, p = cases["y"].to_numpy(), cases[study.probabilities].to_numpy()
    result = [("the most probable class", p.argmax(axis=1) == y)]
    if study.binary and not cases["threshold"].isna().any():
        result.append(("own threshold", (p[:, 1] >= cases["threshold"]).to_numpy() == (y == 1)))
    return result


def per_case(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """Return a dict a case: what each side says of it, and which are right; those that differ most come first."""
    first = sides[0].study
    shown = np.column_stack([side.study.shown(side.study.ensemble) for side in sides])
    right = np.column_stack([decided(side.study)[-1][1] for side in sides])
    rows = [
        {
            "case_id": case["case_id"],
            "patient_id": case["patient_id"],
            "true": first.classes[case["y"]],
            "probabilities": p.tolist(),
            "right": [side.name for side, is_right in zip(sides, own) if is_right],
            "spread": float(np.ptp(p)),
        }
        for (_, case), p, own in zip(first.ensemble.iterrows(), shown, right)
    ]
    return sorted(rows, key=lambda row: (len(row["right"]) in (0, len(sides)), -row["spread"], natural(row["case_id"])))


def settings(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """Return a dict a setting that differs: its name, and what each side has; None where there is no such setting."""
    flat = [_flat(side.settings) for side in sides]
    names = dict.fromkeys(name for each in flat for name in each if not name.startswith(SKIPPED))
    rows = [{"setting": name, "values": [each.get(name) for each in flat]} for name in names]
    return [row for row in rows if any(value != row["values"][0] for value in row["values"])]


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    result = {}
    for key, value in settings.items():
        result |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return result


def _of_side(side: Side, measured: Measured) -> dict[str, Any]:
    """Return what one side reaches on the shared cases. trainings: that its ensemble averages a case over, at most."""
    study, cases = side.study, side.study.ensemble
    patients = cases["patient_id"].nunique()
    folds = study.folds(cases)
    estimates = {}
    for name, (value, sampled) in measured.items():
        if name in ("roc_auc", "fold_mean"):
            parts = folds if name == "fold_mean" else [cases]
            estimates[name] = intervals.auc_interval(value, sampled, study.sides(*parts), patients)
        else:
            estimates[name] = intervals.interval(value, sampled, intervals.SCALES.get(name, "logit"), patients)
    p = cases[study.probabilities].to_numpy()
    calibrated = intervals.recalibration(cases["y"].to_numpy(), p[:, 1], cases["patient_id"]) if study.binary else None
    return {
        "name": side.name,
        "folder": str(side.folder),
        "kind": side.kind,
        "own_cases": side.own_cases,
        "training_cases": side.training_cases,
        "trainings": int(study.predictions.groupby("case_id").size().max()) if side.kind == "study" else None,
        "estimates": estimates,
        "calibration": calibrated and calibrated._asdict(),
    }


def _folds(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """Return a dict a split: its cases, and the AUROC of each side, mean over its trainings."""
    rows, of_split = [], [dict(list(side.study.predictions.groupby("split"))) for side in sides]
    for split in sides[0].study.splits:
        parts = [each[split] for each in of_split]
        aucs = [mean_of([side.study.auc(one) for _, one in part.groupby("seed")]) for side, part in zip(sides, parts)]
        rows.append({"split": split, "n": int(parts[0]["case_id"].nunique()), "roc_auc": aucs})
    return rows


def _rank_correlation(a: Study, b: Study) -> float | None:
    """Return Spearman's correlation of the shown probabilities of two sides."""
    shown = pd.DataFrame([study.shown(study.ensemble) for study in (a, b)]).T
    value = shown.corr("spearman").iloc[0, 1]
    return None if pd.isna(value) else float(value)

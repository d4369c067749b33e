"""Frozen decisions of a bundle: threshold and temperature, how they do out of fold, and the words for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stratamil.core.wording import counted, num, span
from stratamil.evaluation.study import Study
from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate

PAIRS = {"sensitivity": ("tp", "fn"), "specificity": ("tn", "fp")}


def frozen(study: Study) -> dict[str, Any]:
    """Return threshold and temperature of all members together, chosen on the study's out-of-fold predictions.

    A new case gets the mean of all members. The nearest to it that a training case has is the mean of the members that
    saw it neither in training nor in validation, as the report has it.
    """
    cases = study.ensemble
    y, p = cases["y"].to_numpy(), cases[study.probabilities].to_numpy()
    rule = study.runs[0].results.get("threshold_rule", "youden")
    temperature = metrics.temperature(y, np.log(np.maximum(p, np.finfo(float).tiny)))
    chosen = metrics.chosen_threshold(y == 1, p[:, 1], rule) if study.binary else None
    what = "out-of-fold predictions of the study's cases, the mean of the models that tested a case"
    return {
        "threshold": chosen,
        "rule": rule if study.binary else None,
        "temperature": temperature.value,
        "temperature_off": temperature.off,
        "chosen_on": {"what": what, "cases": len(cases), "by_class": counts(y, study.classes)},
        "out_of_fold": measured(study, cases, chosen, same=True),
    }


def frozen_of_split(study: Study, split: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return threshold and temperature of the members of a split, as evaluate chose them. results: results.json."""
    run = next(run for run in study.runs if run.split == split)
    y = run.validation["true_class"].map(study.classes.index).to_numpy()
    what = f"validation cases of split {split}"
    tested = study.of_cases(study.predictions[study.predictions["split"] == split], study.probabilities)
    return {
        "threshold": results.get("threshold"),
        "rule": results.get("threshold_rule"),
        "temperature": results["temperature"],
        "temperature_off": results["temperature_off"],
        "chosen_on": {"what": what, "cases": len(y), "by_class": counts(y, study.classes)},
        "out_of_fold": measured(study, tested, results.get("threshold"), same=False),
    }


def measured(study: Study, tested: pd.DataFrame, threshold: float | None, *, same: bool) -> dict[str, Any] | None:
    """Return sensitivity and specificity of a threshold on cases that the members had not seen; None without one.

    tested: rows as of `Study.of_cases`. same: whether the threshold was chosen on these very cases.
    """
    if threshold is None:
        return None
    at = metrics.at_threshold(tested["y"], tested[study.probabilities[1]], threshold)
    return {"chosen_on_them": same, **shares(at)}


def shares(at: Mapping[str, Any]) -> dict[str, Estimate]:
    """Return sensitivity and specificity with Wilson's intervals. at: of `metrics.at_threshold`."""
    return {name: intervals.wilson(at[hit], at[hit] + at[miss]) for name, (hit, miss) in PAIRS.items()}


def counts(y: np.ndarray, classes: Sequence[str]) -> dict[str, int]:
    """Return how many cases there are of each class."""
    return {name: int((y == k).sum()) for k, name in enumerate(classes)}


def told(decision: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Say how the frozen threshold does out of fold; empty of several classes, and of bundles of earlier versions.

    decision: of bundle.json.
    """
    found = decision.get("out_of_fold")
    if decision["threshold"] is None or not found:
        return ""
    values = [f"{name} {_share(found[name], of)}" for name, of in zip(PAIRS, reversed(classes))]
    text = f"At the frozen threshold, {num(decision['threshold'], 2)}, the study's cases had out of fold a "
    text += " and a ".join(values)
    return (
        f"{text}. The threshold was chosen on those cases, so both may be too good."
        if found["chosen_on_them"]
        else f"{text}."
    )


def _share(share: Mapping[str, Any], of: str) -> str:
    ci = "" if share["low"] is None else f"95% CI {span(share['low'], share['high'], 2)}; "
    return f"of {num(share['value'], 2)} ({ci}{counted(share['n'], f'{of} case')})"

"""metrics.csv: every number of the cross-split report as a row."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from stratamil.core.names import column
from stratamil.evaluation import further_rows
from stratamil.evaluation.cross_split import PROPORTIONS
from stratamil.stats import intervals
from stratamil.stats.intervals import Estimate

POINTS = ("at_0.5", "at_threshold")
COLUMNS = ["level", "model", "split", "repeat", "seed", "metric", "value", "low", "high", "n"]
# What the columns call a number of `cross_split.numbers`, in their order.
DISCRIMINATION = {
    "roc_auc": "roc_auc",
    "delong": "roc_auc_delong",
    "fold_mean": "roc_auc_fold_mean",
    "fold_sd": "roc_auc_fold_sd",
    "seed_sd": "roc_auc_seed_sd",
    "repeat_sd": "roc_auc_repeat_sd",
}
OTHERS = ("positives", "prevalence", "pr_auc", "log_loss", "brier", "balanced_accuracy", "threshold", "temperature")
OTHERS += ("epoch", "accuracy", "training_cases")
DIFFERENCES = {
    "ensemble": "ensemble_minus_baseline_roc_auc",
    "model": "model_minus_baseline_roc_auc",
    "fold_mean": "model_minus_baseline_roc_auc_fold_mean",
}


def long_table(numbers: dict[str, Any]) -> pd.DataFrame:
    """Return metrics.csv: every number as a row of level, model, split, repeat, seed, metric, value, low, high, n.

    n: cases that were predicted and that the number is of, those of several patients together.
    """
    parts = [{"level": "split", "split": run["split"], "seed": run["seed"], "of": run} for run in numbers["runs"]]
    parts += [
        {"level": "seed", "repeat": entry["repeat"], "seed": entry["seed"], "of": entry} for entry in numbers["by_seed"]
    ]
    parts += [
        {"level": "out_of_fold", "of": numbers["out_of_fold"]},
        {"level": "ensemble", "of": numbers["ensemble"] | {"decisions": numbers["decisions"]}},
    ]
    if numbers["scaled"]:
        parts.append({"level": "ensemble", "model": "temperature-scaled", "of": numbers["scaled"]})
    parts += [{"level": "baseline", "model": entry["name"], "of": entry} for entry in numbers["baselines"]]
    parts += [
        {"level": "learning_curve", "model": f"train_{entry['percent']}", "of": entry} for entry in numbers["learning"]
    ]
    rows = [
        {"model": "model"} | part | {"metric": name, "n": part["of"].get("n", numbers["cases"])} | _flat(number)
        for part in parts
        for name, number in _named(part["of"])
    ]
    rows += [
        {"level": row.level, "model": row.model, "metric": row.metric}
        | _flat(row.number)
        | {"n": numbers["cases"] if row.n is None else row.n}
        for row in further_rows.rows(numbers)
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"repeat": "Int64", "seed": "Int64"})


def _flat(number: Estimate | float | None) -> dict[str, float | None]:
    """Return the columns of an Estimate, or of a number without an interval."""
    if isinstance(number, Estimate):
        return {"value": number.value, "low": number.low, "high": number.high}
    return {"value": number, "low": None, "high": None}


def _named(entry: dict[str, Any]) -> Iterator[tuple[str, Estimate | float | None]]:
    """Yield metrics with their names; intervals of proportions are Wilson's."""
    yield from ((name, entry[key]) for key, name in DISCRIMINATION.items() if key in entry)
    yield from ((name, entry[name]) for name in OTHERS if name in entry)
    yield from ((f"recall_{column(name)}", value) for name, value in entry.get("recall", {}).items())
    for i, point in enumerate(POINTS):
        if entry.get(point):
            yield from _decided(
                point, entry[point], (entry["decisions"][i]["rows"] or []) if "decisions" in entry else []
            )
    for name in ("ece", "slope", "intercept"):
        if entry.get("calibration"):
            yield f"calibration_{name}", entry["calibration"][name]
    if entry.get("auc_difference"):
        yield from ((name, entry["auc_difference"][key]) for key, name in DIFFERENCES.items())


def _decided(
    point: str, decided: dict[str, Any], rows: list[dict[str, Any]]
) -> Iterator[tuple[str, Estimate | float | None]]:
    """Yield binary metrics at a threshold, with the interval of their row if there is one."""
    known = {row["name"]: row["estimate"] for row in rows}
    for name, value in decided.items():
        hits, misses = (decided[count] for count in PROPORTIONS[name]) if name in PROPORTIONS else (None, None)
        share = value if hits is None else intervals.wilson(hits, hits + misses)
        yield f"{point}_{name}", known.get(name, share)
    yield from ((f"{point}_{row['name']}_with_choice", row["with_choice"]) for row in rows if "with_choice" in row)

"""Rows of metrics.csv beyond those of models: decision curves, chosen settings, what can be detected, columns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stratamil.stats.intervals import Estimate

SHOWN = 5  # percent: of the thresholds of a decision curve, each that is a multiple

Row = tuple[str, str, str, Estimate | float | None]  # level, model, metric, number


def rows(numbers: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the rows of what `cross_split.numbers` holds beyond models."""
    if numbers.get("decision_curve"):
        yield from _decision_curve(numbers["decision_curve"])
    if numbers.get("columns"):
        yield from _columns(numbers["columns"])
    if numbers.get("clinical"):
        yield from _clinical(numbers["clinical"])
    if numbers["tuning"]:
        yield from _tuning(numbers["tuning"])
    for name in ("difference", "auroc"):
        yield "detectable", numbers["detectable"]["against"] or "", f"smallest_{name}", numbers["detectable"][name]


def _decision_curve(curve: Mapping[str, Any]) -> Iterator[Row]:
    series: dict[tuple[str, str], Sequence[Estimate | float]] = {
        ("model", "net_benefit"): curve["model"],
        ("all", "net_benefit"): curve["all"],
        ("all", "model_minus_net_benefit"): curve["over_all"],
    }
    if curve["baseline"]:
        series[curve["baseline"], "net_benefit"] = curve["of_baseline"]
        series[curve["baseline"], "model_minus_net_benefit"] = curve["over_baseline"]
    for (model, metric), values in series.items():
        for threshold, value in zip(curve["thresholds"], values):
            if round(100 * threshold) % SHOWN == 0:
                yield "decision_curve", model, f"{metric}_at_{threshold:.2f}", value


def _tuning(found: Mapping[str, Any]) -> Iterator[Row]:
    for row in found["rows"]:
        yield from (
            ("tuning", f"split {row['split']}", f"{name}_{found['metric']}", row[name])
            for name in ("inner_default", "inner", "outer_default", "outer")
        )
    yield "tuning", "chosen", "lowers_log_loss_by", found["gain"]


def _columns(found: Mapping[str, Any]) -> Iterator[Row]:
    for group in found["groups"]:
        model = f"{group['kind']}: {group['name']}"
        yield "column_group", model, "cases", group["n"]
        for name in ("roc_auc", "sensitivity", "specificity", "accuracy"):
            if name in group:
                yield "column_group", model, name, group[name]
    for row in found["error"]["rows"]:
        yield "column_error", row["name"], "error_effect", row["effect"]
        yield "column_error", row["name"], "shift_effect", row["shift"]["effect"]
        for name in ("p", "adjusted"):
            yield "column_error", row["name"], f"error_or_shift_{name}", row[name]


def _clinical(found: Mapping[str, Any]) -> Iterator[Row]:
    for row in found["rows"]:
        for key, name in {"fold_mean": "roc_auc_fold_mean", "roc_auc": "roc_auc"}.items():
            yield "clinical", row["name"], name, row[key]
        for name in ("log_loss", "brier"):
            yield "clinical", row["name"], name, row[name]
    for key in ("images_add", "clinic_adds"):
        for of, name in {"model": "roc_auc", "fold_mean": "roc_auc_fold_mean"}.items():
            yield "clinical", "both", f"{key}_{name}", found[key][of]

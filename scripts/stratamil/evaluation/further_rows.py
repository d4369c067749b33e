"""Rows of metrics.csv beyond those of models: decision curves, chosen settings, what can be detected, columns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stratamil.stats.intervals import Estimate

SHOWN = 5  # percent: of the thresholds of a decision curve, each that is a multiple


class Row(NamedTuple):
    """A number of metrics.csv. n: its cases, None where they are all that were predicted."""

    level: str
    model: str
    metric: str
    number: Estimate | float | None
    n: int | None = None


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
        yield Row("detectable", numbers["detectable"]["against"] or "", f"smallest_{name}", numbers["detectable"][name])


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
                yield Row("decision_curve", model, f"{metric}_at_{threshold:.2f}", value)


def _tuning(found: Mapping[str, Any]) -> Iterator[Row]:
    for row in found["rows"]:
        yield from (
            Row("tuning", f"split {row['split']}", f"{name}_{found['metric']}", row[name])
            for name in ("inner_default", "inner", "outer_default", "outer")
        )
    yield Row("tuning", "chosen", "lowers_log_loss_by", found["gain"])


def _columns(found: Mapping[str, Any]) -> Iterator[Row]:
    for group in found["groups"]:
        model = f"{group['kind']}: {group['name']}"
        yield Row("column_group", model, "cases", group["n"], group["n"])
        for name in ("roc_auc", "sensitivity", "specificity", "accuracy"):
            if name in group:
                yield Row("column_group", model, name, group[name], group["n"])
    for row in found["error"]["rows"]:
        yield Row("column_error", row["name"], "error_effect", row["effect"])
        yield Row("column_error", row["name"], "shift_effect", row["shift"]["effect"])
        for name in ("p", "adjusted"):
            yield Row("column_error", row["name"], f"error_or_shift_{name}", row[name])


def _clinical(found: Mapping[str, Any]) -> Iterator[Row]:
    for row in found["rows"]:
        for key, name in {"fold_mean": "roc_auc_fold_mean", "roc_auc": "roc_auc"}.items():
            yield Row("clinical", row["name"], name, row[key])
        for name in ("log_loss", "brier"):
            yield Row("clinical", row["name"], name, row[name])
    for key in ("images_add", "clinic_adds"):
        for of, name in {"model": "roc_auc", "fold_mean": "roc_auc_fold_mean"}.items():
            yield Row("clinical", "both", f"{key}_{name}", found[key][of])

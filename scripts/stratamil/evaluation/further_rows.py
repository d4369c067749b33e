"""Rows of metrics.csv beyond those of models: decision curves, what can be detected, clinical columns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stratamil.stats.intervals import Estimate

SHOWN = 5  # percent: of the thresholds of a decision curve, each that is a multiple

Row = tuple[str, str, str, Estimate | float | None]  # level, model, metric, number


def rows(numbers: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the rows of what `cross_split.numbers` holds beyond models."""
    if numbers.get("decision_curve"):
        yield from _decision_curve(numbers["decision_curve"])
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

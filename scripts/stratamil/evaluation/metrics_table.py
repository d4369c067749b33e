"""metrics.csv: every figure of the cross-split report as a row."""

import pandas as pd

from stratamil.core.names import column
from stratamil.evaluation.cross_split import MEANS, PROPORTIONS
from stratamil.stats import intervals

POINTS = ("at_0.5", "at_threshold")


def long_table(numbers):
    """metrics.csv: every figure as a row of level, model, split, repeat, seed, metric, value, low, high, n."""
    rows = []

    def add(level, figures, model="model", split="", repeat="", seed="", n=None):
        for name, value, low, high in _flat(figures):
            rows.append((level, model, split, repeat, seed, name, value, low, high, figures.get("n", n)))

    for run in numbers["runs"]:
        add("split", run, split=run["split"], seed=run["seed"])
    for entry in numbers["by_seed"]:
        add("seed", entry, repeat=entry["repeat"], seed=entry["seed"])
    add(
        "out_of_fold",
        {"discrimination": numbers["out_of_fold"]}
        | {k: v for k, v in numbers["out_of_fold"].items() if k in (*MEANS, "intervals")},
        n=numbers["cases"],
    )
    add("ensemble", numbers["ensemble"] | {"decisions": numbers["decisions"]})
    add("ensemble", numbers["scaled"], model="temperature-scaled", n=numbers["cases"])
    for entry in numbers["baselines"]:
        add("baseline", entry, model=entry["name"])
    names = ["level", "model", "split", "repeat", "seed", "metric", "value", "low", "high", "n"]
    return pd.DataFrame(rows, columns=names)


def _flat(figures):
    """(metric, value, low, high) of a dict of figures; intervals of proportions are Wilson's."""
    if "discrimination" in figures:
        found = figures["discrimination"]
        yield "roc_auc", found["roc_auc"], found["low"], found["high"]
        yield "roc_auc_delong", found["roc_auc"], found["delong_low"], found["delong_high"]
        yield "roc_auc_fold_mean", found["fold_mean"], found["fold_low"], found["fold_high"]
        yield "roc_auc_fold_sd", found["fold_sd"], None, None
        for name in ("seed_sd", "repeat_sd"):
            if name in found:
                yield f"roc_auc_{name}", found[name], None, None
    elif "roc_auc" in figures:
        yield "roc_auc", figures["roc_auc"], figures["low"], figures["high"]
    of = figures.get("intervals", {})
    for name in (
        "positives",
        "prevalence",
        "pr_auc",
        "log_loss",
        "brier",
        "balanced_accuracy",
        "threshold",
        "temperature",
        "epoch",
    ):
        if name in figures:
            yield name, figures[name], *of.get(name, (None, None))
    if "accuracy" in figures:
        n = figures.get("n")
        plain = intervals.wilson(round(figures["accuracy"] * n), n) if n else (None, None)
        yield "accuracy", figures["accuracy"], *of.get("accuracy", plain)
    for name, value in figures.get("recall", {}).items():
        yield f"recall_{column(name)}", value, None, None
    for i, point in enumerate(POINTS):
        decided = (figures["decisions"][i]["rows"] or []) if "decisions" in figures and figures.get(point) else []
        pairs = {row["name"]: (row["low"], row["high"]) for row in decided}
        for name, value in (figures.get(point) or {}).items():
            part = [figures[point][count] for count in PROPORTIONS.get(name, ())]
            share = intervals.wilson(part[0], sum(part)) if part else (None, None)
            yield f"{point}_{name}", value, *pairs.get(name, share)
    for name in ("ece", "slope", "intercept"):
        if figures.get("calibration"):
            pair = figures["calibration"]["intervals"].get(name, (None, None))
            yield f"calibration_{name}", figures["calibration"][name], *pair
    if "gain" in figures and "discrimination" in figures:
        for name, key in (
            ("ensemble_minus_baseline_roc_auc", "gain"),
            ("model_minus_baseline_roc_auc", "single_gain"),
            ("model_minus_baseline_roc_auc_fold_mean", "fold_gain"),
        ):
            yield name, figures[key], figures[f"{key}_low"], figures[f"{key}_high"]

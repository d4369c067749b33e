"""The figures of the cross-split report, drawn from a study and its numbers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stratamil.core.wording import BASELINES, num
from stratamil.evaluation.study import Study
from stratamil.report import forest, plots, training_plots
from stratamil.stats import curves
from stratamil.stats.intervals import Estimate

Drawn = dict[str, tuple[Figure, str]]  # name -> the figure, what it shows in words
SEEN = ("summary", "colour")  # baselines whose ROC curves stand beside the model's
MOST = 12  # rows of the forest: beyond, one a split instead of one a run


def figures(study: Study, numbers: Mapping[str, Any], weights: pd.DataFrame | None, colors: Sequence[str]) -> Drawn:
    """Draw the figures of the page: name -> (Figure, what it shows in words).

    weights: stain weights of `stain_attention.summarise`.
    """
    cases, classes = study.ensemble, study.classes
    y, p = cases["y"].to_numpy(), cases[study.probabilities].to_numpy()
    what = "ensemble" if replicates(study) else "out of fold"
    if study.binary:
        one_against = [("model", y, p[:, 1])]
    else:
        one_against = [(f"{name} against the rest", y == c, p[:, c]) for c, name in enumerate(classes)]
    wrong = p.argmax(axis=1) != y
    drawn = {
        "roc": _roc(study, numbers) or plots.roc(one_against, f"ROC, {what}", colors=colors),
        "runs": _runs(study, numbers),
        "precision_recall": plots.precision_recall(one_against, f"Precision-recall, {what}", colors=colors),
        "confusion": plots.confusion_matrix(y, p.argmax(axis=1), classes, "Most probable class", colors=colors),
        "deviation": plots.deviation(
            list(cases["case_id"]), y, study.shown(cases), classes, f"Each case, {what}", wrong=wrong, colors=colors
        ),
    }
    threshold = cases["threshold"].to_numpy()
    if study.binary and not pd.isna(threshold).any():
        called = (p[:, 1] >= threshold).astype(int)
        drawn["confusion_threshold"] = plots.confusion_matrix(y, called, classes, "Validation threshold", colors=colors)
    scaled = cases[study.scaled].to_numpy()
    for c, name in [(1, classes[1])] if study.binary else enumerate(classes):
        drawn[f"calibration_{c}"] = plots.calibration(
            y == c,
            p[:, c],
            f"Calibration, {name}",
            scaled=scaled[:, c] if study.rescaled else None,
            colors=colors,
            names=classes if study.binary else ("other classes", name),
        )
    histories = [(run.name, run.history) for run in study.runs if run.history is not None]
    if histories:
        drawn["losses"] = training_plots.losses(histories, "Training", colors=colors, across=min(5, len(study.splits)))
    if weights is not None:
        drawn["stains"] = plots.stain_weights(weights, y, classes, "Stain attention", colors=colors)
    return {name: (figure, _words(name, study)) for name, figure in drawn.items()}


def _roc(study: Study, numbers: Mapping[str, Any]) -> Figure | None:
    """Draw the ROC curves of runs under their mean, with operating point; None where no run has a curve."""
    if not study.binary:
        return None
    score, sampling = study.probabilities[1], (study.bootstrap_samples, study.seed)
    rows = study.predictions.assign(run=study.predictions["split"] + "/" + study.predictions["seed"].astype(str))
    mean = curves.mean_roc(rows.assign(score=rows[score]), *sampling)
    if mean is None:
        return None
    runs = [(part["y"].to_numpy(), part[score].to_numpy()) for _, part in rows.groupby("run")]
    shares = {row["name"]: row["estimate"] for row in numbers["decisions"][0]["rows"]}
    at = "ensemble at 0.5" if replicates(study) else "at 0.5"
    point = forest.Point(at, shares["sensitivity"], shares["specificity"])
    label = f"mean of {len(runs)} runs"
    return forest.roc_band(runs, mean, label, "ROC of test cases", points=[point], beside=list(_beside(study)))


def _beside(study: Study) -> Iterator[tuple[str, curves.Band]]:
    """Yield label and mean curve of the baselines that see the patches; without a band."""
    for name in SEEN:
        if name in study.baseline_ensembles:
            rows = study.baseline_ensembles[name]
            folds = rows.assign(run=rows["split"].fillna("all"), score=rows[study.probabilities[1]])
            if (band := curves.mean_roc(folds, 2, study.seed)) is not None:
                yield BASELINES[name][0].lower() + BASELINES[name][1:], curves.Band(band.x, band.y)


def _runs(study: Study, numbers: Mapping[str, Any]) -> Figure:
    """Draw the AUROC of each run, or of each split where there are many, over the headline."""
    runs, found = numbers["runs"], numbers["out_of_fold"]
    several = len(study.seeds) > 1
    if len(runs) <= MOST:
        labels = [f"split {run['split']}" + (f", seed {run['seed']}" if several else "") for run in runs]
        rows = [forest.Row(label, run["roc_auc"], run["n"]) for label, run in zip(labels, runs)]
    else:
        rows = [_of_split(split, [run for run in runs if run["split"] == split]) for split in study.splits]
    name = {"fold_mean": "mean of folds", "roc_auc": "pooled"}[numbers["headline"]]
    rows.append(forest.Row(name, found[numbers["headline"]], numbers["cases"], mean=True))
    return forest.forest(rows, "AUROC of runs", "AUROC", reference=0.5, limits=_limits(rows))


def _of_split(split: str, runs: Sequence[Mapping[str, Any]]) -> forest.Row:
    """Return the mean of the runs of a split as a row, without an interval, and each run as a dot."""
    values = [run["roc_auc"].value for run in runs if run["roc_auc"].value is not None]
    mean = float(np.mean(values)) if values else None
    return forest.Row(f"split {split}", Estimate(mean), runs[0]["n"], runs=values)


def _limits(rows: Sequence[forest.Row]) -> tuple[float, float]:
    """Return limits of the axis from at most 0.4, lower where an estimate lies there."""
    values = [row.estimate.value for row in rows if row.estimate.value is not None]
    return (min([0.4, *(value - 0.1 for value in values)]), 1.02)


def replicates(study: Study) -> str:
    """Say how many predictions of a case are averaged, in words; empty where it is one."""
    seeds, repeats = len(study.seeds), study.repeats
    words = [f"{repeats} repeats"] * (repeats > 1) + [f"{seeds} seeds"] * (seeds > 1)
    return " x ".join(words)


def _words(name: str, study: Study) -> str:
    """Say what a figure shows, for those who do not see it; more of its numbers are in the tables."""
    n, value = len(study.ensemble), num(study.auc(study.ensemble))
    words = {
        "roc": f"ROC curves of {n} cases out of fold; the AUROC of the model is {value}",
        "runs": f"AUROC of each of {len(study.runs)} runs with its 95% CI, and their mean",
        "precision_recall": f"Precision-recall curves of {n} cases out of fold, with the prevalence as dashed line",
        "confusion": f"Confusion matrix of {n} cases, most probable class",
        "confusion_threshold": f"Confusion matrix of {n} cases at the thresholds chosen on validation cases",
        "deviation": f"True label and predicted probability of each of {n} cases, wrong ones marked",
        "losses": f"Training and validation loss over the epochs of {len(study.runs)} runs",
        "stains": f"Stain attention weights of {n} cases by class",
    }
    return words.get(name, f"Reliability curve of {n} cases, with the number of cases a bin")

"""The figures of the cross-split report: which there are, what each is drawn from, and what it shows in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stratamil.core.wording import averaged, baseline_label, num, span
from stratamil.evaluation.study import Study
from stratamil.report import plots, training_plots
from stratamil.report.forest import Point, Row, forest, roc_band
from stratamil.report.sentences import MOST_RUNS, strongest
from stratamil.report.style import GREY
from stratamil.stats.curves import Band, mean_roc
from stratamil.stats.intervals import Estimate
from stratamil.stats.metrics import roc_auc

Drawn = dict[str, tuple[Figure, str]]
Numbers = Mapping[str, Any]

SUBGROUP = 5  # cases; of fewer a share says nothing


def figures(study: Study, numbers: Numbers, weights: pd.DataFrame | None, colors: Sequence[str]) -> Drawn:
    """Draw the figures of the page: name -> (Figure, what it shows in words).

    numbers: of `cross_split.numbers`. weights: stain weights of `stain_attention.summarise`. colors: of the classes.
    """
    cases, n = study.ensemble, len(study.ensemble)
    drawn = _of_runs(study, numbers, colors) | _of_decisions(study, colors) | _calibration(study, colors)
    histories = [(run.name, run.history) for run in study.runs if run.history is not None]
    if histories:
        figure = training_plots.losses(histories, "Did training settle?", across=min(5, len(study.splits)))
        words = f"Training and validation loss over the epochs of {len(study.runs)} runs"
        drawn["losses"] = figure, words
    if weights is not None:
        title = "Which stain has the attention?"
        figure = plots.stain_weights(weights, cases["y"].to_numpy(), study.classes, title, colors=colors)
        drawn["stains"] = figure, f"Stain attention weights of {n} cases by class"
    return drawn


def _of_runs(study: Study, numbers: Numbers, colors: Sequence[str]) -> Drawn:
    """Draw the figures of single trainings: ROC curves, and forests of runs, baselines and subgroups."""
    n, mean = numbers["cases"], numbers["out_of_fold"][numbers["headline"]]
    value = f"{num(mean.value, 2)}" + ("" if mean.low is None else f" ({span(mean.low, mean.high, 2)})")
    band = _mean_of_runs(study) if study.binary else None
    if band is None:
        y, p = study.ensemble["y"].to_numpy(), study.ensemble[study.probabilities].to_numpy()
        curves = [(f"{name} against the rest", y == c, p[:, c]) for c, name in enumerate(study.classes)]
        figure = plots.roc(curves, "Is each class separated?", colors=colors)
    else:
        title = f"How well are the classes separated? (n = {n})"
        runs = [(rows["y"], rows[study.probabilities[1]]) for _, rows in study.predictions.groupby(["split", "seed"])]
        label = f"mean of {len(runs)} trainings: AUROC {num(_mean_auc(runs), 2)}"
        best = strongest(numbers, of_all=True)
        beside = list(_baseline_curves(study, best["name"] if best else None))
        figure = roc_band(runs, band, label, title, points=list(_points(study, numbers)), beside=beside)
    drawn = {"roc": (figure, f"ROC curves of {n} cases out of fold; AUROC {value}")}
    drawn["runs"] = _runs(study, numbers), f"AUROC of each of {len(study.runs)} runs with its 95% CI, and their mean"
    return drawn | _baselines(numbers) | _subgroups(numbers)


def _mean_of_runs(study: Study) -> Band | None:
    rows = study.predictions
    runs = rows["split"].astype(str) + " " + rows["seed"].astype(str)
    return mean_roc(rows.assign(run=runs, score=rows[study.probabilities[1]]), study.bootstrap_samples, study.seed)


def _mean_auc(runs: Sequence[tuple[pd.Series, pd.Series]]) -> float:
    return float(np.mean([value for y, score in runs if (value := roc_auc(y, score)) is not None]))


def _points(study: Study, numbers: Numbers) -> Iterator[Point]:
    """Yield the operating point of the first screen: what is decided at 0.5."""
    shares = {row["name"]: row["estimate"] for row in numbers["decisions"][0]["rows"]}
    yield Point("ensemble at 0.5" if replicates(study) else "at 0.5", shares["sensitivity"], shares["specificity"])


def _baseline_curves(study: Study, name: str | None) -> Iterator[tuple[str, Band]]:
    """Yield label and mean ROC curve over the splits of a baseline, if there is one."""
    if name and study.baselines is not None:
        rows = study.baselines[(study.baselines["baseline"] == name) & study.baselines["split"].isin(study.splits)]
        known = study.ensemble.set_index("case_id")
        rows = rows[rows["case_id"].isin(known.index)]
        rows = rows[~study.lacks(name, rows["case_id"])]
        y, score = rows["true_class"].map(study.classes.index), rows[study.probabilities[1]].to_numpy()
        patients = rows["case_id"].map(known["patient_id"])
        band = mean_roc(rows.assign(run=rows["split"], y=y, score=score, patient_id=patients), 0, study.seed)
        if band is not None:
            yield f"{baseline_label(name)}: {num(_mean_auc([(y[of], score[of]) for of in _splits(rows)]), 2)}", band


def _splits(rows: pd.DataFrame) -> Iterator[np.ndarray]:
    for split in rows["split"].unique():
        yield (rows["split"] == split).to_numpy()


def _runs(study: Study, numbers: Numbers) -> Figure:
    """Draw the AUROC of each run, or of each split where there are many, over the headline."""
    runs = numbers["runs"]
    if len(runs) <= MOST_RUNS:
        seeds = {run["seed"]: f", seed {run['seed']}" if len(study.seeds) > 1 else "" for run in runs}
        rows = [Row(f"split {run['split']}{seeds[run['seed']]}", run["roc_auc"], run["n"]) for run in runs]
    else:
        rows = [_of_split(split, [run for run in runs if run["split"] == split]) for split in study.splits]
    name = "mean of all" if numbers["headline"] == "fold_mean" else "all test cases pooled"
    rows.append(Row(name, numbers["out_of_fold"][numbers["headline"]], numbers["cases"], mean=True))
    title = f"How much do the {len(runs)} trainings differ? (n = {numbers['cases']})"
    return forest(rows, title, "AUROC of the test cases", reference=0.5)


def _of_split(split: str, runs: Sequence[Numbers]) -> Row:
    """Return the mean of the runs of a split as a row, without an interval, and each run as a dot."""
    values = [run["roc_auc"].value for run in runs if run["roc_auc"].value is not None]
    mean = float(np.mean(values)) if values else None
    return Row(f"split {split}", Estimate(mean), runs[0]["n"], runs=values)


def _baselines(numbers: Numbers) -> Drawn:
    """Draw how much the model is better than each baseline that was fitted, the hardest to beat first."""
    which = "fold_mean" if numbers["headline"] == "fold_mean" else "model"
    rows = [
        Row(baseline_label(entry["name"]), entry["auc_difference"][which], entry["n"])
        for entry in numbers["baselines"]
        if entry["fitted"] and entry["name"] != "prevalence"
    ]
    rows.sort(key=lambda row: (row.estimate.value is None, row.estimate.value))
    title = f"Is the model better than baselines? (n = {numbers['cases']})"
    sides = ("baseline better", "model better")
    figure = forest(rows, title, "difference of AUROC, paired", reference=0, sides=sides)
    return {
        "baselines": (
            figure,
            "AUROC of the model less that of each baseline, paired, with the 95% CIs that are defined",
        )
    }


def _subgroups(numbers: Numbers) -> Drawn:
    """Draw the share of right cases of each subgroup that is not too small."""
    rows = [
        Row(group["name"], group["accuracy"], group["n"], group["kind"])
        for group in numbers["subgroups"]
        if group["n"] >= SUBGROUP
    ]
    title = f"In which cases is the model less accurate? (n = {numbers['cases']})"
    whole = numbers["ensemble"]["accuracy"]
    figure = forest(
        [*rows, Row("all cases", whole, numbers["cases"], mean=True)],
        title,
        "share of cases classified correctly",
        reference=whole.value,
    )
    return {"subgroups": (figure, "Share of right cases of each subgroup with 95% CI")}


def _of_decisions(study: Study, colors: Sequence[str]) -> Drawn:
    """Draw what is decided for each case: precision and recall, confusion matrices, and every case."""
    cases, classes = study.ensemble, study.classes
    y, p, n = cases["y"].to_numpy(), cases[study.probabilities].to_numpy(), len(cases)
    called = p.argmax(axis=1)
    one = [("model", y, p[:, -1])]
    curves = one if study.binary else [(f"{name} against the rest", y == c, p[:, c]) for c, name in enumerate(classes)]
    title = "How precise at each recall?"
    drawn = {
        "precision_recall": (
            plots.precision_recall(curves, title, colors=() if study.binary else colors),
            f"Precision-recall curves of {n} cases out of fold, with the prevalence as broken line",
        ),
        "confusion": (
            plots.confusion_matrix(y, called, classes, "Most probable class"),
            f"Confusion matrix of {n} cases, most probable class",
        ),
        "deviation": (
            plots.deviation(
                list(cases["case_id"]),
                y,
                study.shown(cases),
                classes,
                "Which cases are wrong?",
                wrong=called != y,
                colors=colors,
            ),
            f"True label and predicted probability of each of {n} cases, wrong ones marked",
        ),
    }
    threshold = cases["threshold"].to_numpy()
    if study.binary and not pd.isna(threshold).any():
        figure = plots.confusion_matrix(y, (p[:, 1] >= threshold).astype(int), classes, "Validation threshold")
        words = f"Confusion matrix of {n} cases at the thresholds chosen on validation cases"
        drawn["confusion_threshold"] = figure, words
    return drawn


def _calibration(study: Study, colors: Sequence[str]) -> Drawn:
    """Draw whether the probabilities hold: of the positive class, or of each of more than two."""
    cases, classes, drawn = study.ensemble, study.classes, {}
    p, scaled = cases[study.probabilities].to_numpy(), cases[study.scaled].to_numpy()
    for c, name in [(1, classes[1])] if study.binary else enumerate(classes):
        figure = plots.calibration(
            cases["y"].to_numpy() == c,
            p[:, c],
            f"Do the probabilities of {name} hold?",
            scaled=scaled[:, c] if study.rescaled else None,
            colors=colors if study.binary else (GREY, colors[c % len(colors)]),
            names=tuple(classes) if study.binary else ("other classes", name),
        )
        words = f"Observed share of {name} against its probability, {len(cases)} cases in five bins"
        drawn[f"calibration_{c}"] = figure, words
    return drawn


def replicates(study: Study) -> str:
    """Say how many predictions of a case are averaged, in words; empty where it is one."""
    return averaged(len(study.seeds), study.repeats)

"""Every number of the cross-split report, before any page."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.cohort import flow
from stratamil.cohort.cohort_warnings import PATCHES
from stratamil.cohort.inventory import USED
from stratamil.core.names import natural
from stratamil.core.wording import ends, in_list
from stratamil.evaluation import (
    by_column,
    clinical,
    competitors,
    decision_curve,
    doubtful_labels,
    learning_curve,
    power,
    tuned,
)
from stratamil.evaluation.runs import Run
from stratamil.evaluation.study import Study, mean_of, sd_of
from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate

MEANS = ("accuracy", "balanced_accuracy", "pr_auc", "log_loss", "brier")
PROPORTIONS = {"sensitivity": ("tp", "fn"), "specificity": ("tn", "fp"), "ppv": ("tp", "fp"), "npv": ("tn", "fn")}
LABELS = {"ppv": "PPV", "npv": "NPV", "f1": "F1", "mcc": "MCC", "balanced_accuracy": "balanced accuracy"}
CHOSEN = "at the threshold from validation"
TOLERANCE = 1e-6

Sampled = dict[str, NDArray[np.float64]]  # of `Study.sampled`


def numbers(study: Study) -> dict[str, Any]:
    """Return all numbers of the report, as a dict of plain values and Estimates that JSON can hold."""
    replicates = [(*key, rows) for key, rows in study.predictions.groupby(["repeat", "seed"])]
    sampled = [study.sampled(rows) for *_, rows in replicates]
    by_seed = [
        study.estimates(rows, own) | {"repeat": int(repeat), "seed": int(seed)}
        for (repeat, seed, rows), own in zip(replicates, sampled)
    ]
    cases, out_of_fold = study.ensemble, _over_replicates(study, by_seed, sampled)
    of_ensemble = study.sampled(cases)
    ours = competitors.of_model(study, of_ensemble, sampled)
    headline = "roc_auc" if out_of_fold["fold_mean"].low is None else "fold_mean"
    baselines = competitors.rows(study, ours)
    return {
        "headline": headline,
        "classes": study.classes,
        "positive": study.classes[-1] if study.binary else None,
        "cases": len(cases),
        "patients": int(cases["patient_id"].nunique()),
        "counts": {name: int((cases["y"] == c).sum()) for c, name in enumerate(study.classes)},
        "patients_of": {
            name: int(cases.loc[cases["y"] == c, "patient_id"].nunique()) for c, name in enumerate(study.classes)
        },
        "aggregation": study.aggregation,
        "weighting": study.weighting,
        "splits": study.splits,
        "seeds": study.seeds,
        "repeats": study.repeats,
        "bootstrap": {"samples": study.bootstrap_samples, "seed": study.seed},
        "runs": [_of_run(study, run) for run in study.runs],
        "by_seed": by_seed,
        "out_of_fold": out_of_fold,
        "ensemble": study.estimates(cases, of_ensemble),
        "decisions": decisions(study),
        "scaled": _rescaled(study, of_ensemble) if study.rescaled else None,
        "temperatures": [
            {"value": run.results.get("temperature"), "off": run.results.get("temperature_off")} for run in study.runs
        ],
        "baselines": baselines,
        **_beyond(study, headline, baselines),
        "learning": learning_curve.points(study, ours, out_of_fold),
        "tuning": tuned.found(study, study.tuning, ours),
        "columns": by_column.found(study, study.columns) if study.columns else None,
        "clinical": clinical.found(study, study.clinical, ours, out_of_fold),
        "per_case": _per_case(study),
        "contradicted": doubtful_labels.contradicted(study),
        "rest_on_few": _rest_on_few(study, headline),
        "subgroups": _subgroups(study),
        "coverage": coverage(study),
        "disagreements": _disagreements(study),
    }


def _beyond(study: Study, headline: str, baselines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the model is worth beside the best baseline that judges all cases, and what they can detect.

    best_baseline: the best of all, which may be of one stain and judge the cases that have it.
    """
    first, best = (competitors.strongest(baselines, headline, of_all) for of_all in (False, True))
    one = next(rows for _, rows in study.predictions.groupby(["repeat", "seed"]))
    sides = study.sides(*study.folds(one)) if headline == "fold_mean" else study.sides(one)
    difference = best and best["auc_difference"]["fold_mean" if headline == "fold_mean" else "model"]
    return {
        "best_baseline": first and first["name"],
        "decision_curve": decision_curve.curve(study, best),
        "detectable": power.smallest(sides, difference, best and best["name"], study.ensemble["patient_id"].nunique()),
    }


def _rows_of(study: Study, run: Run) -> pd.DataFrame:
    """Return the predictions of a run."""
    return study.predictions.query("split == @run.split and seed == @run.seed")


def _of_run(study: Study, run: Run) -> dict[str, Any]:
    rows = _rows_of(study, run)
    return study.measures(rows) | {
        "split": run.split,
        "seed": run.seed,
        "roc_auc": intervals.bootstrap_auc(
            rows["y"], rows[study.probabilities], rows["patient_id"], study.bootstrap_samples, study.seed
        ),
        "epoch": run.results.get("epoch"),
        "epochs": None if run.history is None else int(run.history["epoch"].max()),
        "threshold": run.results.get("threshold"),
        "temperature": run.results.get("temperature"),
    }


def _over_replicates(study: Study, by_seed: Sequence[dict[str, Any]], sampled: Sequence[Sampled]) -> dict[str, Any]:
    """Return means over replicates of the metrics of each; intervals of that mean, by the same samples for all.

    sampled: one a replicate. *_sd are over replicates; that of the AUC also over splits (fold_sd), seeds and repeats,
    each the mean of its own.
    """
    one = next(rows for _, rows in study.predictions.groupby(["repeat", "seed"]))
    patients = one["patient_id"].nunique()
    samples = {name: np.mean([own[name] for own in sampled], axis=0) for name in sampled[0]}
    means = {name: mean_of([row[name].value for row in by_seed]) for name in ("roc_auc", "fold_mean", *MEANS)}
    result = {
        name: intervals.auc_interval(means[name], samples[name], study.sides(*parts), patients)
        for name, parts in (("roc_auc", [one]), ("fold_mean", study.folds(one)))
    }
    result["delong"] = by_seed[0]["delong"] if len(by_seed) == 1 else Estimate(means["roc_auc"])
    split_means = [
        mean_of([study.auc(rows) for _, rows in part.groupby("seed")]) for _, part in study.predictions.groupby("split")
    ]
    result |= {"fold_sd": sd_of(split_means), "folds": len(split_means)}
    for name in ("seed", "repeat"):
        keys = sorted({row[name] for row in by_seed})
        result[f"{name}_sd"] = sd_of(
            [mean_of([row["roc_auc"].value for row in by_seed if row[name] == key]) for key in keys]
        )
    for name in MEANS:
        mean = intervals.interval(means[name], samples[name], intervals.SCALES[name], patients)
        result[name] = mean if len(by_seed) > 1 else by_seed[0][name]
    return result | {f"{name}_sd": sd_of([row[name].value for row in by_seed]) for name in ("roc_auc", *MEANS)}


def _rescaled(study: Study, unscaled: Sampled) -> dict[str, Any]:
    """Return log loss, Brier score and calibration of the ensemble of temperature-scaled probabilities.

    unscaled: of the ensemble as the model gives it. log_loss_reduction: by how much scaling lowers the log loss.
    """
    cases = study.ensemble
    y, p = cases["y"].to_numpy(), cases[study.scaled].to_numpy()
    sampled, patients = study.sampled(cases, study.scaled), cases["patient_id"].nunique()
    values = {"log_loss": metrics.log_loss(y, p), "brier": metrics.brier(y, p)}
    result = {name: intervals.interval(value, sampled[name], "log", patients) for name, value in values.items()}
    reduction = metrics.log_loss(y, cases[study.probabilities].to_numpy()) - values["log_loss"]
    difference = unscaled["log_loss"] - sampled["log_loss"]
    result["log_loss_reduction"] = intervals.interval(reduction, difference, "plain", patients)
    return result | ({"calibration": study.calibration(cases, p[:, 1])} if study.binary else {})


def decisions(study: Study) -> list[dict[str, Any]]:
    """Return what the ensemble decides, at 0.5 and at the validation threshold: [{"name", "rows"}].

    Each row is a dict of name, label, estimate and k, of shares of n cases how many these are, else None. Rows are None
    where there is no threshold. With three or more classes the most probable one is what is decided.
    """
    cases = study.ensemble
    y, p = cases["y"].to_numpy(), cases[study.probabilities].to_numpy()
    if not study.binary:
        return [{"name": "most probable class", "rows": _class_decisions(study, y, p.argmax(axis=1))}]
    score, threshold = p[:, 1], cases["threshold"].to_numpy()
    chosen = None
    if not np.isnan(threshold).any():
        chosen = _with_choice(study, _binary_decisions(study, y, score, threshold), y, score)
    return [
        {"name": "at 0.5", "rows": _binary_decisions(study, y, score, np.full(len(y), 0.5))},
        {"name": CHOSEN, "rows": chosen},
    ]


def _with_choice(study: Study, rows: list[dict[str, Any]], y: NDArray, score: NDArray) -> list[dict[str, Any]]:
    """Return the rows with `with_choice`: an Estimate whose bootstrap samples each choose their own thresholds."""
    thresholds, patients = study.rechosen(study.ensemble), study.ensemble["patient_id"].nunique()
    if thresholds is None:
        return [row | {"with_choice": Estimate(row["estimate"].value)} for row in rows]
    sampled = intervals.weighted_decisions(y, score >= thresholds, study.weights)
    undefined = np.isnan(thresholds).any(axis=1)
    return [
        row | {"with_choice": _decided(row["name"], row["estimate"].value, np.where(undefined, np.nan, own), patients)}
        for row, own in ((row, sampled[row["name"]]) for row in rows)
    ]


def _decided(name: str, value: float | None, sampled: NDArray, patients: int) -> Estimate:
    """Return the Estimate of a metric of decisions from its bootstrap samples."""
    if name == "mcc":
        return _within_one(intervals.interval(value, sampled, "plain", patients))
    return intervals.interval(value, sampled, "logit", patients)


def _binary_decisions(study: Study, y: NDArray, score: NDArray, threshold: NDArray) -> list[dict[str, Any]]:
    decided, patients = metrics.at_threshold(y, score, threshold), study.ensemble["patient_id"].nunique()
    sampled = intervals.weighted_decisions(y, score >= threshold, study.weights)
    rows = [_share("accuracy", decided["tp"] + decided["tn"], len(y))]
    rows += [_share(name, decided[hit], decided[hit] + decided[miss]) for name, (hit, miss) in PROPORTIONS.items()]
    for name in ("balanced_accuracy", "f1", "mcc"):
        estimate = _decided(name, decided[name], sampled[name], patients)
        rows.append({"name": name, "label": LABELS[name], "estimate": estimate, "k": None})
    return rows


def _within_one(mcc: Estimate) -> Estimate:
    """Return the estimate with its interval cut at -1 and 1; at these the samples say nothing of the next cohort."""
    if mcc.low is None:
        return mcc
    low, high = (max(mcc.low, -1.0), min(mcc.high, 1.0)) if abs(mcc.value) < 1 else (None, None)
    return replace(mcc, low=low, high=high)


def _class_decisions(study: Study, y: NDArray, called: NDArray) -> list[dict[str, Any]]:
    rows = [_share("accuracy", int((y == called).sum()), len(y))]
    for c, name in enumerate(study.classes):
        of = y == c
        rows.append(_share(f"recall {name}", int((called[of] == c).sum()), int(of.sum())))
    return rows


def _share(name: str, k: int, n: int) -> dict[str, Any]:
    return {"name": name, "label": LABELS.get(name, name), "estimate": intervals.wilson(k, n), "k": int(k)}


def _per_case(study: Study) -> list[dict[str, Any]]:
    """Return one dict a case: what is known of it and how it was predicted."""
    known = study.cases.set_index("case_id")
    splits = study.predictions.groupby("case_id")["split"].unique()
    p, seen = study.ensemble[study.probabilities].to_numpy(), flow.bags([run.test for run in study.runs])
    rows = []
    for i, case in study.ensemble.iterrows():
        facts = known.loc[case["case_id"]]
        rows.append(
            {
                "case_id": case["case_id"],
                "patient_id": case["patient_id"],
                "split": ", ".join(splits[case["case_id"]]),
                "true": study.classes[case["y"]],
                "code": str(facts["label"]),
                "predicted": study.classes[int(p[i].argmax())],
                "error": float(1 - p[i][case["y"]]),
                "probability": float(study.shown(study.ensemble)[i]),
                "sd": None if pd.isna(case["sd"]) else float(case["sd"]),
                "right": int(case["right"]),
                "times": int(case["times"]),
                "patches": int(seen[case["case_id"]]),
                "slices": int(facts["n_slices"]),
                "missing": ";".join(study.missing[case["case_id"]]),
            }
        )
    return rows


def _rest_on_few(study: Study, headline: str) -> dict[str, Any] | None:
    """Return the wrong cases with few patches, and the headline without them, predictions as they are; None of none."""
    wrong = [
        {"case_id": row["case_id"], "patches": row["patches"]}
        for row in _per_case(study)
        if row["patches"] < PATCHES and row["predicted"] != row["true"]
    ]
    rest = study.predictions[~study.predictions["case_id"].isin([case["case_id"] for case in wrong])]
    replicates = [rows for _, rows in rest.groupby(["repeat", "seed"])]
    aucs = [study.auc(rows) if headline == "roc_auc" else mean_of(study.fold_aucs(rows)) for rows in replicates]
    return {"cases": wrong, "auroc": mean_of(aucs)} if wrong else None


def _subgroups(study: Study) -> list[dict[str, Any]]:
    """Return the ensemble in parts of the cohort: by class code, missing stains, and thirds of the patch number."""
    table = pd.DataFrame(_per_case(study))
    thirds = pd.qcut(table["patches"], 3, labels=False, duplicates="drop").fillna(0)  # equal numbers stay together
    names = {}
    for third in sorted(thirds.unique()):
        patches = table["patches"][thirds == third]
        names[third] = f"{ends(str(patches.min()), str(patches.max()))} patches"
    coded = table["true"] + ", code " + table["code"].map(in_list)
    keys = {
        "class code": coded.where(table["true"] != table["code"], table["true"]),
        "stains": table["missing"].map(lambda text: f"{text.replace(';', ', ')} missing" if text else "all stains"),
        "patches of a case": thirds.map(names),
    }
    return [
        {"kind": kind, "name": name} | _subgroup(study, study.ensemble[(key == name).to_numpy()])
        for kind, key in keys.items()
        for name in sorted(key.unique(), key=natural)
    ]


def _subgroup(study: Study, part: pd.DataFrame) -> dict[str, Any]:
    """Return the numbers of some rows of the ensemble."""
    y, p = part["y"].to_numpy(), part[study.probabilities].to_numpy()
    right = int((p.argmax(axis=1) == y).sum())
    sampled = intervals.weighted_auc(y, p, study.weights_of(part))
    return {
        "n": len(part),
        "right": right,
        "accuracy": intervals.wilson(right, len(part)),
        "roc_auc": intervals.auc_interval(study.auc(part), sampled, study.sides(part), part["patient_id"].nunique()),
        "probability": float(study.shown(part).mean()),
    }


def coverage(study: Study) -> dict[str, dict[str, list[str]]]:
    """Return used cases that a seed predicts less often than most ("missing") or more often ("repeated")."""
    used = study.cases.loc[study.cases["status"] == USED, "case_id"]
    result = {"missing": {}, "repeated": {}}
    for seed, rows in study.predictions.groupby("seed"):
        times = rows["case_id"].value_counts()
        missing = sorted(set(used) - set(times.index[times >= study.repeats]), key=natural)
        repeated = sorted(times.index[times > study.repeats], key=natural)
        result["missing"] |= {str(seed): missing} if missing else {}
        result["repeated"] |= {str(seed): repeated} if repeated else {}
    return result


def _disagreements(study: Study) -> list[str]:
    """Return the runs whose results.json does not fit their predictions: the files are not of one evaluation."""
    different = []
    for run in study.runs:
        rows = _rows_of(study, run)
        ours = metrics.summary(rows["y"], rows[study.probabilities], study.classes)
        for name in ("n", "roc_auc", "log_loss"):
            theirs = run.results.get(name)
            if (ours[name] is None) != (theirs is None) or (
                theirs is not None and abs(ours[name] - theirs) > TOLERANCE
            ):
                different.append(f"{run.name}: {name}")
    return different

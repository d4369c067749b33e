"""Every number of the cross-split report, before any page. What is not defined is None."""

import numpy as np
import pandas as pd

from stratamil.cohort.inventory import USED
from stratamil.core.names import natural
from stratamil.evaluation.study import mean_of, sd_of
from stratamil.stats import intervals, metrics

MEANS = ("accuracy", "balanced_accuracy", "pr_auc", "log_loss", "brier")
PROPORTIONS = {"sensitivity": ("tp", "fn"), "specificity": ("tn", "fp"), "ppv": ("tp", "fp"), "npv": ("tn", "fn")}
LABELS = {"ppv": "PPV", "npv": "NPV", "f1": "F1", "mcc": "MCC", "balanced_accuracy": "balanced accuracy"}
TOLERANCE = 1e-6


def numbers(study):
    """All numbers of the report as a dict that JSON can hold."""
    replicates = [(*key, rows) for key, rows in study.predictions.groupby(["repeat", "seed"])]
    drawn = [study.draws_of(rows) for *_, rows in replicates]
    by_seed = [
        study.judged(rows, draws) | {"repeat": int(repeat), "seed": int(seed)}
        for (repeat, seed, rows), draws in zip(replicates, drawn)
    ]
    cases = study.ensemble
    of_ensemble = study.draws_of(cases)
    ensemble = study.judged(cases, of_ensemble)
    return {
        "classes": study.classes,
        "positive": study.classes[-1] if study.binary else None,
        "cases": len(cases),
        "patients": int(cases["patient_id"].nunique()),
        "counts": {name: int((cases["y"] == c).sum()) for c, name in enumerate(study.classes)},
        "patients_of": {
            name: int(cases.loc[cases["y"] == c, "patient_id"].nunique()) for c, name in enumerate(study.classes)
        },
        "splits": study.splits,
        "seeds": study.seeds,
        "repeats": study.repeats,
        "bootstrap": study.draws,
        "runs": [_of_run(study, run) for run in study.runs],
        "by_seed": by_seed,
        "out_of_fold": _over_replicates(study, by_seed, drawn),
        "ensemble": ensemble,
        "decisions": _decisions(study),
        "scaled": _rescaled(study, of_ensemble),
        "temperatures": [run.results.get("temperature") for run in study.runs],
        "baselines": _baselines(study, of_ensemble, drawn),
        "per_case": _per_case(study),
        "subgroups": _subgroups(study),
        "coverage": coverage(study),
        "disagreements": _disagreements(study),
    }


def _of_run(study, run):
    rows = study.predictions.query("split == @run.split and seed == @run.seed")
    interval = intervals.bootstrap_auc(
        rows["y"], rows[study.probabilities], rows["patient_id"], study.draws, study.seed
    )
    return study.figures(rows) | {
        "split": run.split,
        "seed": run.seed,
        "low": interval[0],
        "high": interval[1],
        "epoch": run.results.get("epoch"),
        "epochs": None if run.history is None else int(run.history["epoch"].max()),
        "threshold": run.results.get("threshold"),
        "temperature": run.results.get("temperature"),
    }


def _over_replicates(study, by_seed, drawn):
    """Mean over replicates of the figures of each; intervals of that mean, by the same draws for all.

    drawn: of `Study.draws_of`, one a replicate. *_sd are over replicates; that of the AUC also over splits (fold_sd),
    seeds and repeats, each the mean of its own.
    """
    each = [entry["discrimination"] for entry in by_seed]
    result = {name: mean_of([entry[name] for entry in each]) for name in ("roc_auc", "fold_mean")}
    result |= {name: (each[0][name] if len(each) == 1 else None) for name in ("delong_low", "delong_high")}
    means = {name: np.mean([draws[name] for draws in drawn], axis=0) for name in drawn[0]}
    one = next(rows for _, rows in study.predictions.groupby(["repeat", "seed"]))
    for low, name, parts in (("low", "roc_auc", [one]), ("fold_low", "fold_mean", study.folds(one))):
        pair = intervals.auc_interval(result[name], means[name], study.sizes(*parts))
        result |= {low: pair[0], low.replace("low", "high"): pair[1]}
    split_means = [
        mean_of([study.auc(rows) for _, rows in part.groupby("seed")]) for _, part in study.predictions.groupby("split")
    ]
    result["fold_sd"] = sd_of(split_means)
    for name in ("seed", "repeat"):
        keys = sorted({entry[name] for entry in by_seed})
        result[f"{name}_sd"] = sd_of(
            [mean_of([entry["roc_auc"] for entry in by_seed if entry[name] == key]) for key in keys]
        )
    result["roc_auc_sd"] = sd_of([entry["roc_auc"] for entry in each])
    result["folds"] = len(split_means)
    for name in MEANS:
        result[name] = mean_of([entry[name] for entry in by_seed])
        result[f"{name}_sd"] = sd_of([entry[name] for entry in by_seed])
    several = {name: list(intervals.interval(result[name], means[name], intervals.SCALES[name])) for name in MEANS}
    return result | {"intervals": several if len(by_seed) > 1 else by_seed[0]["intervals"]}


def _rescaled(study, unscaled):
    """Log loss, Brier score and calibration of the ensemble of temperature-scaled probabilities, and what they gain.

    unscaled: `Study.draws_of` of the ensemble. `gain` is by how much scaling lowers the log loss.
    """
    cases = study.ensemble
    y, p = cases["y"].to_numpy(), cases[study.scaled].to_numpy()
    drawn = study.draws_of(cases, study.scaled)
    result = {"log_loss": metrics.log_loss(y, p), "brier": metrics.brier(y, p)}
    result["intervals"] = {
        name: list(intervals.interval(result[name], drawn[name], "log")) for name in ("log_loss", "brier")
    }
    gain = metrics.log_loss(y, cases[study.probabilities].to_numpy()) - result["log_loss"]
    low, high = intervals.interval(gain, unscaled["log_loss"] - drawn["log_loss"], "plain")
    result |= {"gain": gain, "gain_low": low, "gain_high": high}
    return result | ({"calibration": study.calibration(cases, p[:, 1])} if study.binary else {})


def _decisions(study):
    """What the ensemble decides, at 0.5 and at the validation threshold: [{"name", "rows"}].

    Each row is a dict of name, label, value, low, high and, of shares of cases, k and n. Rows are None where there is
    no threshold. With three or more classes the most probable one is what is decided.
    """
    cases = study.ensemble
    y, p = cases["y"].to_numpy(), cases[study.probabilities].to_numpy()
    if not study.binary:
        return [{"name": "most probable class", "rows": _class_decisions(study, y, p.argmax(axis=1))}]
    points = [("at 0.5", np.full(len(y), 0.5)), ("at the threshold from validation", cases["threshold"].to_numpy())]
    return [
        {
            "name": name,
            "rows": None if np.isnan(threshold).any() else _binary_decisions(study, y, p[:, 1], threshold),
        }
        for name, threshold in points
    ]


def _binary_decisions(study, y, score, threshold):
    found = metrics.at_threshold(y, score, threshold)
    drawn = intervals.weighted_decisions(y, score >= threshold, study.weights)
    shares = {"accuracy": (found["tp"] + found["tn"], len(y))}
    shares |= {name: (found[hit], found[hit] + found[miss]) for name, (hit, miss) in PROPORTIONS.items()}
    rows = [_share(name, found[name], *shares[name]) for name in ("accuracy", *PROPORTIONS)]
    for name, scale in (("balanced_accuracy", "logit"), ("f1", "logit"), ("mcc", "plain")):
        low, high = intervals.interval(found[name], drawn[name], scale)
        if name == "mcc" and low is not None:  # between -1 and 1, where draws say nothing of the next cohort
            low, high = (max(low, -1.0), min(high, 1.0)) if abs(found[name]) < 1 else (None, None)
        rows.append({"name": name, "value": found[name], "low": low, "high": high, "k": None, "n": None})
    return [row | {"label": LABELS.get(row["name"], row["name"])} for row in rows]


def _class_decisions(study, y, called):
    rows = [_share("accuracy", None, int((y == called).sum()), len(y)) | {"label": "accuracy"}]
    for c, name in enumerate(study.classes):
        of = y == c
        rows.append(_share(f"recall {name}", None, int((called[of] == c).sum()), int(of.sum())))
    return [row | {"value": row["k"] / row["n"] if row["n"] else None, "label": row["name"]} for row in rows]


def _share(name, value, k, n):
    low, high = intervals.wilson(k, n)
    return {"name": name, "value": value, "low": low, "high": high, "k": int(k), "n": int(n)}


def _baselines(study, of_ensemble, drawn):
    """Each baseline on the cases of the study: its AUC, and how much the model is better, draw by draw.

    of_ensemble, drawn: of `Study.draws_of`, of the ensemble and of each replicate. gain is that of the ensemble,
    single_gain that of the mean of the replicates: what a model that is trained once gains. fold_gain is the same of
    the means over folds, which do not see folds shift against each other; None where a baseline has no folds.
    """
    replicates = [rows for _, rows in study.predictions.groupby(["repeat", "seed"])]
    once = {name: np.mean([draws[name] for draws in drawn], axis=0) for name in ("roc_auc", "fold_mean")}
    ours = {
        "gain": ("roc_auc", study.auc(study.ensemble), of_ensemble["roc_auc"]),
        "single_gain": ("roc_auc", mean_of([study.auc(rows) for rows in replicates]), once["roc_auc"]),
        "fold_gain": (
            "fold_mean",
            mean_of([mean_of(study.fold_aucs(rows)) for rows in replicates]),
            once["fold_mean"],
        ),
    }
    found = []
    for name, rows in study.baseline_ensembles.items():
        draws = study.draws_of(rows)
        entry = {"name": name, "n": len(rows), "discrimination": study.discrimination(rows, draws)}
        entry |= {"brier": metrics.brier(rows["y"].to_numpy(), rows[study.probabilities].to_numpy())}
        for key, (name, value, model_draws) in ours.items():
            entry |= _gain(key, value, entry["discrimination"][name], model_draws - draws[name])
        found.append(entry)
    return found


def _gain(key, ours, theirs, drawn):
    """{key, key_low, key_high}: a difference of two AUCs with its interval, None where it is not defined."""
    gain = None if ours is None or theirs is None else ours - theirs
    # Where both tell the classes apart without fault, no draw differs, and the data say nothing of the next.
    low, high = (None, None) if ours == theirs == 1 else intervals.interval(gain, drawn, "plain")
    return {key: gain, f"{key}_low": low, f"{key}_high": high}


def _per_case(study):
    """One dict a case: what is known of it and how it was predicted."""
    known = study.cases.set_index("case_id")
    splits = study.predictions.groupby("case_id")["split"].unique()
    p = study.ensemble[study.probabilities].to_numpy()
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
                "probability": float(study.drawn(study.ensemble)[i]),
                "sd": None if pd.isna(case["sd"]) else float(case["sd"]),
                "right": int(case["right"]),
                "times": int(case["times"]),
                "patches": int(facts["n_patches"]),
                "slices": int(facts["n_slices"]),
                "missing": ";".join(study.missing[case["case_id"]]),
            }
        )
    return rows


def _subgroups(study):
    """The ensemble in parts of the cohort: by class code, by missing stains, by thirds of the number of patches."""
    table = pd.DataFrame(_per_case(study))
    thirds = pd.qcut(table["patches"], 3, labels=False, duplicates="drop").fillna(0)  # equal numbers stay together
    names = {}
    for third in sorted(thirds.unique()):
        patches = table["patches"][thirds == third]
        names[third] = f"{patches.min()} to {patches.max()} patches"
    keys = {
        "class code": table["true"] + ", code " + table["code"],
        "stains": table["missing"].map(lambda text: f"without {text.replace(';', ', ')}" if text else "all stains"),
        "patches of a case": thirds.map(names),
    }
    found = []
    for kind, key in keys.items():
        for name in sorted(key.unique(), key=natural):
            part = study.ensemble[(key == name).to_numpy()]
            right = int((part[study.probabilities].to_numpy().argmax(axis=1) == part["y"]).sum())
            low, high = intervals.wilson(right, len(part))
            auc = study.auc(part)
            drawn = intervals.weighted_auc(
                part["y"].to_numpy(), part[study.probabilities].to_numpy(), study.weights_of(part)
            )
            roc_low, roc_high = intervals.auc_interval(auc, drawn, study.sizes(part))
            found.append(
                {
                    "kind": kind,
                    "name": name,
                    "n": len(part),
                    "right": right,
                    "accuracy": right / len(part),
                    "low": low,
                    "high": high,
                }
                | {"roc_auc": auc, "roc_low": roc_low, "roc_high": roc_high}
                | {"probability": float(study.drawn(part).mean())}
            )
    return found


def coverage(study):
    """Used cases that a seed predicts less or more often than most: {"missing": {seed: [..]}, "repeated": {..}}."""
    used = study.cases.loc[study.cases["status"] == USED, "case_id"]
    result = {"missing": {}, "repeated": {}}
    for seed, rows in study.predictions.groupby("seed"):
        times = rows["case_id"].value_counts()
        missing = sorted(set(used) - set(times.index[times >= study.repeats]), key=natural)
        repeated = sorted(times.index[times > study.repeats], key=natural)
        result["missing"] |= {str(seed): missing} if missing else {}
        result["repeated"] |= {str(seed): repeated} if repeated else {}
    return result


def _disagreements(study):
    """Runs whose results.json has other figures than their predictions give: the files are not of one evaluation."""
    found = []
    for run in study.runs:
        rows = study.predictions.query("split == @run.split and seed == @run.seed")
        ours = metrics.summary(rows["y"], rows[study.probabilities], study.classes)
        for name in ("n", "roc_auc", "log_loss"):
            theirs = run.results.get(name)
            if (ours[name] is None) != (theirs is None) or (
                theirs is not None and abs(ours[name] - theirs) > TOLERANCE
            ):
                found.append(f"{run.name}: {name}")
    return found

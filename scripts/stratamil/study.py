"""The runs of a study read together: every number of the cross-split report, before any page.

A case is predicted once a seed and repeat, by the model of the split whose test set holds it: out of fold. One seed in
one repeat is a replicate: it predicts the whole cohort once. The ensemble is the mean probability of a case over all
its predictions. With two classes the last is the positive one. What is not defined is None.
"""

import json
import logging
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy.special import softmax

from stratamil import files, intervals, metrics, tables
from stratamil.errors import UserError
from stratamil.inventory import USED
from stratamil.names import column, natural
from stratamil.ranking import EQUAL

NEEDED = ("results.json", "predictions.csv", "validation_predictions.csv")
MEANS = ("accuracy", "balanced_accuracy", "pr_auc", "log_loss", "brier")
PROPORTIONS = {"sensitivity": ("tp", "fn"), "specificity": ("tn", "fp"), "ppv": ("tp", "fp"), "npv": ("tn", "fn")}
LABELS = {"ppv": "PPV", "npv": "NPV", "f1": "F1", "mcc": "MCC", "balanced_accuracy": "balanced accuracy"}
POINTS = ("at_0.5", "at_threshold")
TOLERANCE = 1e-6
ROUNDED = 1e-5  # of means and cases that were rounded to six digits


@dataclass(frozen=True)
class Run:
    """What one split and seed left behind; what there is no file of is None (no history of a given model)."""

    folder: Path
    split: str
    seed: int
    results: dict
    test: pd.DataFrame
    validation: pd.DataFrame
    history: pd.DataFrame | None
    attention: pd.DataFrame | None
    truth: dict | None
    settings: dict | None

    @property
    def name(self):
        return f"split {self.split}, seed {self.seed}"


def read_runs(folders):
    """The runs in these folders, by split and seed. Raises UserError with every file that lacks or does not fit."""
    if missing := files.lacking(folders, dict.fromkeys(NEEDED, "evaluate")):
        raise UserError(*missing)
    runs = sorted((_read_run(Path(folder)) for folder in folders), key=lambda run: (natural(run.split), run.seed))
    problems = [problem for run in runs for problem in _faults(run, runs[0].results["classes"])]
    seen = Counter((run.split, run.seed) for run in runs)
    problems += [
        f"split {split}, seed {seed} is given {n} times: give each run once"
        for (split, seed), n in seen.items()
        if n > 1
    ]
    if problems:
        raise UserError(*problems)
    return runs


def _read_run(folder):
    def optional(name, read):
        path = folder / name
        return read(path) if path.is_file() else None

    def text(path):
        return path.read_text(encoding="utf-8")

    results = json.loads(text(folder / "results.json"))
    # What training wrote tells of a given checkpoint nothing, even where an earlier training lies beside it.
    trained = Path(results.get("checkpoint", folder / "checkpoints/best.pth")).parent == folder / "checkpoints"
    return Run(
        folder=folder,
        split=str(results["split"]),
        seed=int(results["seed"]),
        results=results,
        test=tables.read(folder / "predictions.csv"),
        validation=tables.read(folder / "validation_predictions.csv"),
        history=optional("history.csv", tables.read) if trained else None,
        attention=optional("attention_analysis/summary.csv", tables.read),
        truth=optional("attention_analysis/truth_auc.json", lambda path: json.loads(text(path))),
        settings=optional("settings.yaml", lambda path: yaml.safe_load(text(path))) if trained else None,
    )


def _faults(run, classes):
    if run.results["classes"] != classes:
        yield f"{run.folder}/results.json: classes {run.results['classes']} differ from {classes}: evaluate all anew"
        return
    wanted = ["patches", *(f"{kind}_{column(name)}" for kind in ("prob", "logit") for name in classes)]
    for name, table in (("predictions.csv", run.test), ("validation_predictions.csv", run.validation)):
        for lacking in (item for item in ["case_id", "true_label", *wanted] if item not in table):
            yield f"{run.folder}/{name}: no column {lacking}: evaluate the run anew"
        for label in sorted(set(table.get("true_label", [])) - set(classes)):
            yield f"{run.folder}/{name}: class {label!r} is none of {', '.join(classes)}: evaluate the run anew"


def read_answers(path):
    """What faithfulness.json says at a glance: overall and by_class (sentences), answers (rows of a table).

    Raises UserError where the file is of another form.
    """
    wanted = {"question", "answer", "measured_by", "value", "low", "high", "reference", "n"}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        result = {name: found[name] for name in ("overall", "by_class", "answers")}
        fits = bool(result["answers"]) and all(wanted <= set(row) for row in result["answers"])
    except (OSError, ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise UserError(f"{path}: no answers with {', '.join(sorted(wanted))}: run faithfulness anew")
    return result


@dataclass(frozen=True)
class Study:
    """Runs, the cases table, and the settings of the bootstrap; everything else is computed from them."""

    runs: list
    cases: pd.DataFrame
    draws: int = 2000
    seed: int = 42
    baselines: pd.DataFrame | None = None
    classes: list = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "classes", self.runs[0].results["classes"])
        known = set(self.cases["case_id"])
        strangers = [
            f"{run.folder}/predictions.csv: case {case} is not in the cases table: run the inventory and evaluate anew"
            for run in self.runs
            for case in run.test["case_id"]
            if case not in known
        ]
        if strangers:
            raise UserError(*strangers)

    @property
    def binary(self):
        return len(self.classes) == 2

    @property
    def probabilities(self):
        return [f"prob_{column(name)}" for name in self.classes]

    @property
    def scaled(self):
        return [f"scaled_{column(name)}" for name in self.classes]

    @property
    def seeds(self):
        return sorted({run.seed for run in self.runs})

    @property
    def splits(self):
        return sorted({run.split for run in self.runs}, key=natural)

    @property
    def repeats(self):
        """How often a seed predicts most cases; the smaller number where it is a draw."""
        return int(self.predictions["repeat"].max())

    @cached_property
    def missing(self):
        """Case -> the stains that it lacks, of those that some used case has."""
        lacked = {
            case: [stain for stain in text.split(";") if stain]
            for case, text in zip(self.cases["case_id"], self.cases["missing_stains"])
        }
        used = self.cases.loc[self.cases["status"] == USED, "case_id"]
        absent = set.intersection(*(set(lacked[case]) for case in used)) if len(used) else set()
        return {case: [stain for stain in stains if stain not in absent] for case, stains in lacked.items()}

    @cached_property
    def predictions(self):
        """One row a case and run: split, seed, repeat, case_id, y, group, right, threshold, prob_*, scaled_*.

        threshold is NaN where a run has none, scaled_* are the probabilities after temperature scaling. The prediction
        of a case is of repeat r where it is the r-th with its seed, in the order of splits; what goes beyond `repeats`
        counts to the last.
        """
        tables = []
        for run in self.runs:
            logits = run.test[[f"logit_{column(name)}" for name in self.classes]].to_numpy(dtype=float)
            temperature = run.results.get("temperature")
            # Without a temperature (one-class validation) nothing is rescaled, rather than the case left out.
            scaled = softmax(logits / (temperature or 1.0), axis=1)
            threshold = run.results.get("threshold")
            tables.append(
                run.test[["case_id", *self.probabilities]].assign(
                    split=run.split,
                    seed=run.seed,
                    y=run.test["true_label"].map(self.classes.index),
                    threshold=np.nan if threshold is None else threshold,
                    **dict(zip(self.scaled, scaled.T)),
                )
            )
        table = pd.concat(tables, ignore_index=True)
        table["right"] = table[self.probabilities].to_numpy().argmax(axis=1) == table["y"]
        of_case = table.groupby(["seed", "case_id"])
        table["repeat"] = np.minimum(of_case.cumcount() + 1, of_case.size().mode()[0])
        return table.assign(group=table["case_id"].map(self.cases.set_index("case_id")["group"]))

    @cached_property
    def ensemble(self):
        """One row a case in natural order: see `of_cases`; `sd` of the drawn probability, `right` of `times`."""
        groups = self.predictions.assign(drawn=self.drawn(self.predictions)).groupby("case_id")
        table = self.of_cases(self.predictions, [*self.probabilities, *self.scaled, "threshold"]).set_index("case_id")
        table["right"], table["times"], table["sd"] = groups["right"].sum(), groups.size(), groups["drawn"].std(ddof=1)
        return table.reset_index().sort_values("case_id", key=lambda ids: ids.map(natural), ignore_index=True)

    @cached_property
    def baseline_ensembles(self):
        """Baseline -> one row a case of the study, see `of_cases`: like `ensemble` the mean of all predictions."""
        if self.baselines is None:
            return {}
        groups = self.ensemble.set_index("case_id")["group"]
        table = self.baselines[self.baselines["case_id"].isin(groups.index) & self.baselines["split"].isin(self.splits)]
        table = table.assign(y=table["true_label"].map(self.classes.index), group=table["case_id"].map(groups))
        return {
            str(name): self.of_cases(rows, self.probabilities).assign(threshold=np.nan)
            for name, rows in table.groupby("baseline", sort=False)
        }

    def of_cases(self, table, columns):
        """One row a case of `table`, in its order: means of the columns (NaN if one is), y, group, split.

        A case of several splits, as with repeats, is of none: its split is None.
        """
        groups = table.groupby("case_id", sort=False)
        facts = groups[["split", "y", "group"]].first()
        facts["split"] = facts["split"].astype(object).where(groups["split"].nunique() == 1, None)
        return groups[columns].mean(skipna=False).join(facts).reset_index()

    def drawn(self, table):
        """(n,) probability that is shown of a case: of the last of two classes, or of the true one of more."""
        p = table[self.probabilities].to_numpy()
        return p[:, 1] if self.binary else p[np.arange(len(p)), table["y"]]

    @cached_property
    def weights(self):
        """Bootstrap counts (draws, cases) of the rows of `ensemble`: shared, so that models are compared in pairs."""
        return intervals.bootstrap_weights(self.ensemble["group"], self.draws, self.seed)

    def weights_of(self, table):
        """The same for the rows of `table`, (draws, rows)."""
        position = pd.Series(range(len(self.ensemble)), index=self.ensemble["case_id"])
        return self.weights[:, position[table["case_id"]]]

    def folds(self, table):
        """The parts of `table` by split; none where a case is of several, for they are no folds then."""
        return [] if table["split"].isna().any() else [part for _, part in table.groupby("split", sort=False)]

    def draws_of(self, table, columns=None):
        """Figures of `table` in each bootstrap draw, name -> (draws,): `intervals.SCALES` and `fold_mean`.

        A fold that lacks a class in a draw leaves that draw without a mean over folds. columns: of the probabilities.
        """
        y, p = table["y"].to_numpy(), table[columns or self.probabilities].to_numpy()
        result = intervals.weighted_figures(y, p, self.weights_of(table))
        folds = [
            intervals.weighted_auc(part["y"].to_numpy(), part[self.probabilities].to_numpy(), self.weights_of(part))
            for part in self.folds(table)
        ]
        return result | {"fold_mean": np.mean(folds, axis=0) if folds else np.full(self.draws, np.nan)}

    def sizes(self, *tables):
        """Patients with and without a case of the class in each table, see `intervals.sizes`."""
        return [size for each in tables for size in intervals.sizes(each["y"], each["group"], len(self.classes))]

    def auc(self, table):
        return metrics.auc(table["y"].to_numpy(), table[self.probabilities].to_numpy())

    def fold_aucs(self, table):
        """AUC of each of the `folds` of `table`."""
        return [self.auc(part) for part in self.folds(table)]

    def figures(self, table):
        """Figures of a set of predictions: metrics.summary, at 0.5 and at the validation threshold, calibration."""
        y, p = table["y"].to_numpy(), table[self.probabilities].to_numpy()
        result = metrics.summary(y, p, self.classes)
        del result["loss"]
        if self.binary:
            score, threshold = p[:, 1], table["threshold"].to_numpy()
            result["at_0.5"] = metrics.at_threshold(y, score, 0.5)
            result["at_threshold"] = None if np.isnan(threshold).any() else metrics.at_threshold(y, score, threshold)
            result["calibration"] = self.calibration(table, score)
        return result

    def calibration(self, table, score):
        """`metrics.calibration` with slope and intercept as [value, low, high] too, in `intervals`."""
        found = metrics.calibration(table["y"], score)
        pairs = intervals.recalibration(table["y"].to_numpy(), score, table["group"])
        return found | {"intervals": {name: list(pair) for name, pair in zip(("slope", "intercept"), pairs)}}

    def judged(self, table, drawn):
        """`figures` of predictions of the whole cohort with `discrimination`, and `intervals` by name.

        drawn: of `draws_of`. The accuracy has Wilson's interval, as other shares have.
        """
        found = self.figures(table)
        pairs = {
            name: list(intervals.interval(found[name], drawn[name], scale)) for name, scale in intervals.SCALES.items()
        }
        pairs["accuracy"] = list(intervals.wilson(round(found["accuracy"] * len(table)), len(table)))
        del pairs["roc_auc"]
        return found | {"intervals": pairs, "discrimination": self.discrimination(table, drawn)}

    def discrimination(self, table, drawn):
        """Pooled AUC and mean of folds with their bootstrap intervals, DeLong beside; SD over folds."""
        value, folds = self.auc(table), self.fold_aucs(table)
        mean = mean_of(folds)
        low, high = intervals.auc_interval(value, drawn["roc_auc"], self.sizes(table))
        fold_low, fold_high = intervals.auc_interval(mean, drawn["fold_mean"], self.sizes(*self.folds(table)))
        p = table[self.probabilities].to_numpy()
        delong = intervals.delong(table["y"], p[:, 1])[1:] if self.binary else (None, None)
        return {
            "roc_auc": value,
            "low": low,
            "high": high,
            "delong_low": delong[0],
            "delong_high": delong[1],
            "fold_mean": mean,
            "fold_low": fold_low,
            "fold_high": fold_high,
            "fold_sd": sd_of(folds),
            "folds": len(folds),
        }


def mean_of(values):
    """Mean, or None if there are no values or one is None."""
    return None if not values or any(value is None for value in values) else float(np.mean(values))


def sd_of(values):
    """Sample standard deviation, or None of fewer than two values or if one is None."""
    return None if len(values) < 2 or any(value is None for value in values) else float(np.std(values, ddof=1))


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
        "patients": int(cases["group"].nunique()),
        "counts": {name: int((cases["y"] == c).sum()) for c, name in enumerate(study.classes)},
        "patients_of": {
            name: int(cases.loc[cases["y"] == c, "group"].nunique()) for c, name in enumerate(study.classes)
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
    interval = intervals.bootstrap_auc(rows["y"], rows[study.probabilities], rows["group"], study.draws, study.seed)
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
                "patient": case["group"],
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


def attention(study):
    """Stain weights over cases, each the mean of its predictions, and attention against known signal; None without.

    Returns (numbers, weights): weights is a DataFrame (cases, stains) aligned with `ensemble`, NaN for a missing stain.
    """
    tables = [run.attention for run in study.runs if run.attention is not None and len(run.attention)]
    if not tables:
        return None, None
    table = pd.concat(tables, ignore_index=True)
    slugs = [name.removeprefix("stain_weight_") for name in table if name.startswith("stain_weight_")]
    spelt = {column(name): name for name in _stain_names(study, table)}
    weights = (
        table.groupby("case_id")[[f"stain_weight_{slug}" for slug in slugs]].mean().reindex(study.ensemble["case_id"])
    )
    weights.columns = [spelt.get(slug, slug) for slug in slugs]
    weights = weights.dropna(axis=1, how="all")  # stains that no case has
    present = weights.notna().sum(axis=1)
    several = weights[present > 1]  # a case with one stain has no choice
    told = several.drop(index=_equal(table), errors="ignore")
    most = Counter(told.idxmax(axis=1)) if len(told) else {}
    stains = [
        {
            "stain": stain,
            "n": int(weights[stain].notna().sum()),
            "mean": _finite(weights[stain].mean()),
            "median": _finite(weights[stain].median()),
            "low": _finite(weights[stain].quantile(0.25)),
            "high": _finite(weights[stain].quantile(0.75)),
            "ratio": _finite((weights[stain] * present).mean()),
            "most": int(most.get(stain, 0)),
        }
        for stain in weights
    ]
    result = {"cases": int((present > 0).sum()), "equal": len(several) - len(told), "stains": stains}
    result["single"] = int((present == 1).sum())
    result["by_class"] = _by_class(study, weights, told)
    result["truth"] = _truth(study)
    for name in ("normalised_entropy", "effective_patches"):
        result[name] = _finite(table[name].mean()) if name in table else None
    return result, weights.reset_index(drop=True)


def _by_class(study, weights, told):
    """Of each true class: its cases, those in which a stain stands out, and of each stain the median and `most`.

    weights: stain weights, index case_id. told: those of the cases with a most attended stain.
    """
    truth = study.ensemble.set_index("case_id")["y"]
    found = []
    for c, name in enumerate(study.classes):
        here, clear = (table[(truth[table.index] == c).to_numpy()].dropna(how="all") for table in (weights, told))
        most = clear.idxmax(axis=1) if len(clear) else pd.Series(dtype=str)
        stains = [
            {"stain": stain, "median": _finite(here[stain].median()), "most": int((most == stain).sum())}
            for stain in weights
        ]
        found.append({"class": name, "cases": len(here), "told": len(most), "stains": stains})
    return found


def _equal(table):
    """Cases without a most attended stain, whatever the seed."""
    if "most_attended_stain" not in table:
        return []
    equal = (table["most_attended_stain"] == EQUAL).groupby(table["case_id"]).all()
    return equal.index[equal]


def _stain_names(study, table):
    """The stains as they are written: of the runs, and where these do not say, of the cases and summaries."""
    named = {stain for run in study.runs for stain in run.results.get("stains", [])}
    listed = {stain for text in study.cases["missing_stains"] for stain in text.split(";") if stain}
    return named or listed | set(table.get("most_attended_stain", pd.Series(dtype=str)).dropna().astype(str))


def _finite(value):
    return None if pd.isna(value) else float(value)


def _truth(study):
    """Attention AUC of known signal patches: each run's and their mean weighted by cases; None if none was scored."""
    scored = [run for run in study.runs if run.truth is not None and run.truth.get("mean_auc") is not None]
    if not scored:
        return None
    cases = [run.truth["cases"] for run in scored]
    names = ("mean_auc", "contribution_auc", "margin_auc")
    means = {
        name: float(np.average([run.truth[name] for run in scored], weights=cases))
        for name in names
        if all(run.truth.get(name) is not None for run in scored)
    }
    rows = [
        {"split": run.split, "seed": run.seed, "cases": n} | {name: run.truth.get(name) for name in names}
        for run, n in zip(scored, cases)
    ]
    scored_class = {run.truth.get("positive_class") for run in scored}
    found = {"class": next((name for name in study.classes if {column(name)} == scored_class), None)}
    found |= dict(zip(("low", "high"), _truth_interval(study, scored, means["mean_auc"], found["class"])))
    spread = sd_of([run.truth["mean_auc"] for run in scored])
    return means | found | {"runs": rows, "cases": sum(cases), "sd": spread}


def _truth_interval(study, scored, value, scored_class):
    """Interval of the mean attention AUC by the draws of patients; none where the summaries do not tell each case's."""
    tables = [run.attention for run in scored if run.attention is not None and "attention_auc" in run.attention]
    if not tables:
        return None, None
    table = pd.concat(tables).assign(auc=lambda rows: pd.to_numeric(rows["attention_auc"], errors="coerce"))
    table = table[table["true_label"].eq(scored_class) & table["auc"].notna()]
    if table.empty or abs(table["auc"].mean() - value) > ROUNDED:
        return None, None
    weights = study.weights_of(table)
    with np.errstate(invalid="ignore"):
        return intervals.interval(value, weights @ table["auc"].to_numpy() / weights.sum(axis=1), "logit")


def resources(folder, runs, shards):
    """Time and memory of each rule from Snakemake's benchmark files: jobs, total and longest seconds, most MB.

    runs: those of the study, shards: paths of its feature files; what earlier settings left of others does not count.
    """
    rows = {}
    names = {f"split_{run.split}_seed_{run.seed}" for run in runs}
    names |= {f"{encoder}_{path.stem}" for path in shards for encoder in (path.parent.name, "stain_stats")}
    for path in sorted(Path(folder).rglob("*.tsv")) if folder else []:
        parts = path.relative_to(folder).with_suffix("").parts
        if re.search(r"(^|_)(split|shard)_", parts[-1]) and parts[-1] not in names:
            continue
        table = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
        if not {"s", "max_rss"} <= set(table):
            logging.warning("%s: no benchmark file: columns s and max_rss are missing", path)
            continue
        rows.setdefault(parts[0], []).append((float(table["s"].sum()), _finite(pd.to_numeric(table["max_rss"]).max())))
    return [
        {
            "rule": rule,
            "jobs": len(jobs),
            "seconds": sum(seconds for seconds, _ in jobs),
            "longest": max(seconds for seconds, _ in jobs),
            "memory": max((memory for _, memory in jobs if memory is not None), default=None),
        }
        for rule, jobs in rows.items()
    ]


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

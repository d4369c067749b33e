"""The runs of a study read together: out-of-fold predictions, their ensemble and its bootstrap.

A case is predicted once a seed and repeat, by the model of the split whose test set holds it: out of fold. One seed in
one repeat is a replicate: it predicts the whole cohort once. The ensemble is the mean probability of a case over all
its predictions. With two classes the last is the positive one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from stratamil.cohort.columns import Column
from stratamil.cohort.inventory import USED
from stratamil.cohort.splits import Split
from stratamil.core.errors import UserError
from stratamil.core.names import column, natural
from stratamil.core.weighting import Kind, kind_of
from stratamil.evaluation import prediction_tables, runs
from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate, Sides

SAME = 1e-9  # probabilities closer than this differ by rounding alone
NEEDED = ("results.json", "predictions.csv", "validation_predictions.csv")


def read_runs(folders: Iterable[Path | str]) -> list[runs.Run]:
    """Read what evaluate left in these folders, see `runs.read`. Raises UserError with every fault."""
    return runs.read(folders, dict.fromkeys(NEEDED, "evaluate"), prediction_tables.faults)


class Validation(NamedTuple):
    """What the ensemble of a split says of its validation cases, and the threshold that it chooses on them."""

    case_ids: list[str]
    y: NDArray[np.bool_]
    score: NDArray[np.float64]
    rule: str | float
    threshold: float | None


@dataclass(frozen=True)
class Study:
    """Runs, the cases table, and the settings of the bootstrap; everything else is computed from them.

    seed: of the bootstrap. retrained: of `retrained.read`. sets: the cases of each split. columns, clinical: columns of
    the labels table to look at, and those that the clinic knows. tuning: of `tuned.read`.
    Raises UserError if a case of a run is not in the table.
    """

    runs: list[runs.Run]
    cases: pd.DataFrame
    bootstrap_samples: int
    seed: int
    baselines: pd.DataFrame | None = None
    retrained: pd.DataFrame | None = None
    sets: Mapping[str, Split] = field(default_factory=dict)
    columns: Mapping[str, Column] = field(default_factory=dict)
    clinical: Mapping[str, Column] = field(default_factory=dict)
    tuning: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        known = set(self.cases["case_id"])
        strangers = [
            f"{run.folder}/predictions.csv: case {case} is not in the cases table: run the inventory and evaluate again"
            for run in self.runs
            for case in run.test["case_id"]
            if case not in known
        ]
        if strangers:
            raise UserError(*strangers)

    @property
    def classes(self) -> list[str]:
        """Class names; of two the last is the positive one."""
        return self.runs[0].classes

    @property
    def binary(self) -> bool:
        """Whether there are two classes."""
        return len(self.classes) == 2

    @property
    def probabilities(self) -> list[str]:
        """Columns of the probabilities as the model gives them, in the order of classes."""
        return [f"prob_{column(name)}" for name in self.classes]

    @property
    def scaled(self) -> list[str]:
        """Columns of the temperature-scaled probabilities, in the order of classes."""
        return [f"scaled_{column(name)}" for name in self.classes]

    @property
    def rescaled(self) -> bool:
        """Whether a temperature was fitted for any run."""
        return any(run.results.get("temperature", 1.0) != 1 for run in self.runs)

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs, ascending."""
        return sorted({run.seed for run in self.runs})

    @property
    def splits(self) -> list[str]:
        """Names of the splits, in natural order."""
        return sorted({run.split for run in self.runs}, key=natural)

    @property
    def repeats(self) -> int:
        """How often a seed predicts most cases; the smaller number of two that are as common."""
        return int(self.predictions["repeat"].max())

    @property
    def aggregation(self) -> str | None:
        """How the models pool patches; None where they differ or do not say."""
        names = {run.aggregation for run in self.runs}
        return names.pop() if len(names) == 1 else None

    @property
    def weighting(self) -> Kind:
        """How the models weigh patches."""
        return kind_of(run.aggregation for run in self.runs)

    @cached_property
    def missing(self) -> dict[str, list[str]]:
        """Case -> the stains that it lacks, of those that some used case has."""
        lacked = {
            case: [stain for stain in text.split(";") if stain]
            for case, text in zip(self.cases["case_id"], self.cases["missing_stains"])
        }
        used = self.cases.loc[self.cases["status"] == USED, "case_id"]
        absent = set.intersection(*(set(lacked[case]) for case in used)) if len(used) else set()
        return {case: [stain for stain in stains if stain not in absent] for case, stains in lacked.items()}

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row a case and run: split, seed, repeat, case_id, y, patient_id, right, threshold, prob_*, scaled_*.

        threshold is NaN where a run has none, scaled_* are the probabilities after temperature scaling. The prediction
        of a case is of repeat r where it is the r-th with its seed, in the order of splits; what goes beyond `repeats`
        counts to the last.
        """
        tables = []
        for run in self.runs:
            logits = run.test[[f"logit_{column(name)}" for name in self.classes]].to_numpy(dtype=float)
            scaled = softmax(logits / run.results.get("temperature", 1.0), axis=1)
            threshold = run.results.get("threshold")
            tables.append(
                run.test[["case_id", *self.probabilities]].assign(
                    split=run.split,
                    seed=run.seed,
                    y=run.test["true_class"].map(self.classes.index),
                    threshold=np.nan if threshold is None else threshold,
                    **dict(zip(self.scaled, scaled.T)),
                )
            )
        table = pd.concat(tables, ignore_index=True)
        table["right"] = table[self.probabilities].to_numpy().argmax(axis=1) == table["y"]
        of_case = table.groupby(["seed", "case_id"])
        table["repeat"] = np.minimum(of_case.cumcount() + 1, of_case.size().mode()[0])
        return table.assign(patient_id=table["case_id"].map(self.cases.set_index("case_id")["patient_id"]))

    @cached_property
    def ensemble(self) -> pd.DataFrame:
        """One row a case in natural order: see `of_cases`; `sd` of the shown probability, `right` of `times`."""
        groups = self.predictions.assign(shown=self.shown(self.predictions)).groupby("case_id")
        table = self.of_cases(self.predictions, [*self.probabilities, *self.scaled]).set_index("case_id")
        thresholds = self.predictions.drop_duplicates(["case_id", "split"]).set_index("case_id")["split"]
        thresholds = thresholds.map({split: part.threshold for split, part in self.validation.items()})
        table["threshold"] = thresholds.astype(float).groupby("case_id").mean(skipna=False)
        table["right"], table["times"], table["sd"] = groups["right"].sum(), groups.size(), groups["shown"].std(ddof=1)
        return table.reset_index().sort_values("case_id", key=lambda ids: ids.map(natural), ignore_index=True)

    @cached_property
    def validation(self) -> dict[str, Validation]:
        """Split -> what its ensemble, the mean of its seeds, says of its validation cases; with two classes only."""
        result = {}
        for split in self.splits if self.binary else ():
            runs_of = [run for run in self.runs if run.split == split]
            rows = pd.concat([run.validation for run in runs_of]).groupby("case_id", sort=False)
            y = rows["true_class"].first().map(self.classes.index).to_numpy() == 1
            score = rows[self.probabilities[1]].mean()
            rule = runs_of[0].results.get("threshold_rule", "youden")
            chosen = metrics.chosen_threshold(y, score, rule)
            result[split] = Validation(list(score.index), y, score.to_numpy(), rule, chosen)
        return result

    def rechosen(self, table: pd.DataFrame) -> NDArray[np.float64] | None:
        """Return thresholds (B, rows) for the rows of `table`, chosen on each bootstrap sample's own validation cases.

        None where a validation case is tested in no split, so that it is in no sample, or `table` has no thresholds.
        """
        known = set(self.ensemble["case_id"])
        if table["threshold"].isna().any() or not all(set(part.case_ids) <= known for part in self.validation.values()):
            return None
        position = pd.Series(range(len(self.ensemble)), index=self.ensemble["case_id"])
        sampled = {
            split: metrics.chosen_thresholds(part.y, part.score, part.rule, self.weights[:, position[part.case_ids]])
            for split, part in self.validation.items()
        }
        splits = self.predictions.groupby("case_id")["split"].unique()
        return np.column_stack([np.mean([sampled[s] for s in splits[case]], axis=0) for case in table["case_id"]])

    @cached_property
    def baseline_ensembles(self) -> dict[str, pd.DataFrame]:
        """Baseline -> one row a case of the study, see `of_cases`: like `ensemble` the mean of all predictions."""
        if self.baselines is None:
            return {}
        patient_of = self.ensemble.set_index("case_id")["patient_id"]
        known = self.baselines["case_id"].isin(patient_of.index) & self.baselines["split"].isin(self.splits)
        table = self.baselines[known]
        table = table.assign(y=table["true_class"].map(self.classes.index), patient_id=table["case_id"].map(patient_of))
        return {
            str(name): self.of_cases(rows, self.probabilities).assign(threshold=np.nan)
            for name, rows in table.groupby("baseline", sort=False)
        }

    def lacks(self, baseline: str, case_ids: Iterable[str]) -> NDArray[np.bool_]:
        """Return which of these cases lack the stain of a baseline of one stain, which it therefore does not judge."""
        stain = baseline.removeprefix("mean_pool_")
        return np.array([stain != baseline and stain in self.missing[case] for case in case_ids], dtype=bool)

    def baseline_rows(self, name: str) -> pd.DataFrame:
        """Return the predictions of a baseline, a row a split and case."""
        return self.baselines[(self.baselines["baseline"] == name) & self.baselines["split"].isin(self.splits)]

    @cached_property
    def retrained_rows(self) -> dict[str, pd.DataFrame]:
        """Variant of the model -> its predictions, rows as of `predictions` with repeat, y and patient_id."""
        if self.retrained is None:
            return {}
        facts = self.predictions[["split", "seed", "repeat", "case_id", "y", "patient_id"]]
        return {
            str(name): facts.merge(table.drop(columns="variant"), on=["split", "seed", "case_id"])
            for name, table in self.retrained.groupby("variant", sort=False)
        }

    def of_cases(self, table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
        """Return one row a case of `table`, in its order: means of the columns (NaN if one is), y, patient_id, split.

        A case of several splits, as with repeats, is of none: its split is None.
        """
        groups = table.groupby("case_id", sort=False)
        facts = groups[["split", "y", "patient_id"]].first()
        facts["split"] = facts["split"].astype(object).where(groups["split"].nunique() == 1, None)
        return groups[columns].mean(skipna=False).join(facts).reset_index()

    def shown(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Return the probability that is shown of each case (n,): of the last of two classes, or of the true one."""
        p = table[self.probabilities].to_numpy()
        return p[:, 1] if self.binary else p[np.arange(len(p)), table["y"]]

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Bootstrap counts (B, cases) of the rows of `ensemble`: shared, so that models are compared in pairs."""
        return intervals.bootstrap_weights(self.ensemble["patient_id"], self.bootstrap_samples, self.seed)

    def weights_of(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Return the same for the rows of `table`, (B, rows)."""
        position = pd.Series(range(len(self.ensemble)), index=self.ensemble["case_id"])
        return self.weights[:, position[table["case_id"]]]

    def folds(self, table: pd.DataFrame) -> list[pd.DataFrame]:
        """Return the parts of `table` by split; none where a case is of several, for they are no folds then."""
        return [] if table["split"].isna().any() else [part for _, part in table.groupby("split", sort=False)]

    def sampled(self, table: pd.DataFrame, columns: list[str] | None = None) -> dict[str, NDArray[np.float64]]:
        """Return metrics of `table` in each bootstrap sample, name -> (B,): `intervals.SCALES` and `fold_mean`.

        A fold that lacks a class in a sample leaves that sample without a mean over folds. columns: of the
        probabilities.
        """
        y, p = table["y"].to_numpy(), table[columns or self.probabilities].to_numpy()
        result = intervals.weighted_metrics(y, p, self.weights_of(table))
        folds = [
            intervals.weighted_auc(part["y"].to_numpy(), part[self.probabilities].to_numpy(), self.weights_of(part))
            for part in self.folds(table)
        ]
        return result | {"fold_mean": np.mean(folds, axis=0) if folds else np.full(self.bootstrap_samples, np.nan)}

    def sides(self, *tables: pd.DataFrame) -> list[Sides]:
        """Return the patients with and without a case of the class in each table, see `intervals.sides`."""
        return [intervals.sides(each["y"], each["patient_id"], len(self.classes)) for each in tables]

    def auc(self, table: pd.DataFrame) -> float | None:
        """Return `metrics.auc` of the rows of `table`, pooled."""
        return metrics.auc(table["y"].to_numpy(), table[self.probabilities].to_numpy())

    def constant(self, table: pd.DataFrame) -> bool:
        """Return whether all cases of each fold, or of `table` where there are none, have the same probabilities."""
        return all(self._alike(part) for part in self.folds(table) or [table])

    def _alike(self, table: pd.DataFrame) -> bool:
        return bool((np.ptp(table[self.probabilities].to_numpy(), axis=0) < SAME).all())

    def fitted(self, tables: Iterable[pd.DataFrame]) -> int:
        """Return how many of these tables do not give all cases the same probabilities."""
        return sum(not self._alike(part) for part in tables)

    def fold_aucs(self, table: pd.DataFrame) -> list[float | None]:
        """Return the AUC of each of the `folds` of `table`."""
        return [self.auc(part) for part in self.folds(table)]

    def measures(self, table: pd.DataFrame) -> dict[str, Any]:
        """Return metrics.summary of a set of predictions, at 0.5 and at the validation threshold, and calibration.

        The metrics of `intervals.SCALES` are Estimates, of which the accuracy has an interval, as other shares have
        (Wilson's).
        """
        y, p = table["y"].to_numpy(), table[self.probabilities].to_numpy()
        result = metrics.summary(y, p, self.classes)
        del result["loss"]
        patients = table["patient_id"].nunique()
        result |= {name: Estimate(result[name], n=patients) for name in intervals.SCALES}
        result["accuracy"] = intervals.wilson(int((p.argmax(axis=1) == y).sum()), len(y))
        if self.binary:
            score, threshold = p[:, 1], table["threshold"].to_numpy()
            result["at_0.5"] = metrics.at_threshold(y, score, 0.5)
            result["at_threshold"] = None if np.isnan(threshold).any() else metrics.at_threshold(y, score, threshold)
            result["calibration"] = self.calibration(table, score)
        return result

    def calibration(self, table: pd.DataFrame, score: NDArray) -> dict[str, Any]:
        """Return `metrics.calibration` with slope and intercept as Estimates."""
        recalibrated = intervals.recalibration(table["y"].to_numpy(), score, table["patient_id"])
        return metrics.calibration(table["y"], score) | recalibrated._asdict()

    def estimates(self, table: pd.DataFrame, sampled: dict[str, NDArray]) -> dict[str, Any]:
        """Return `measures` and `discrimination` of predictions of the whole cohort, with intervals by patient.

        sampled: of `sampled`.
        """
        result, patients = self.measures(table), table["patient_id"].nunique()
        result |= {
            name: intervals.interval(result[name].value, sampled[name], scale, patients)
            for name, scale in intervals.SCALES.items()
            if name != "accuracy"
        }
        return result | self.discrimination(table, sampled)

    def discrimination(self, table: pd.DataFrame, sampled: dict[str, NDArray]) -> dict[str, Any]:
        """Return pooled AUC and mean of folds with intervals by patient, DeLong's beside; SD over folds.

        Predictions that are the same for all cases of a fold have no intervals: their AUC is known beforehand.
        """
        value, folds, patients = self.auc(table), self.fold_aucs(table), table["patient_id"].nunique()
        score = table[self.probabilities].to_numpy()[:, 1]
        if self.constant(table):
            aucs = {
                name: Estimate(each, n=patients) for name, each in (("roc_auc", value), ("fold_mean", mean_of(folds)))
            }
            return aucs | {"delong": Estimate(value), "fold_sd": sd_of(folds), "folds": len(folds)}
        return {
            "roc_auc": intervals.auc_interval(value, sampled["roc_auc"], self.sides(table), patients),
            "delong": intervals.delong(table["y"], score) if self.binary else Estimate(value),
            "fold_mean": intervals.auc_interval(
                mean_of(folds), sampled["fold_mean"], self.sides(*self.folds(table)), patients
            ),
            "fold_sd": sd_of(folds),
            "folds": len(folds),
        }


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean, or None if there are no values or one is None."""
    return None if not values or any(value is None for value in values) else float(np.mean(values))


def sd_of(values: Sequence[float | None]) -> float | None:
    """Return the sample standard deviation, or None of fewer than two values or if one is None."""
    return None if len(values) < 2 or any(value is None for value in values) else float(np.std(values, ddof=1))

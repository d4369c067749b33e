"""The tables of a study for notebooks and scripts, as its files have them: `from stratamil import read_study`.

A table is read when it is asked for. Nothing is computed again, so numbers are those of the pages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from stratamil.cohort import splits
from stratamil.core import files, names, tables
from stratamil.core.errors import UserError
from stratamil.evaluation import retrained, study
from stratamil.evaluation.runs import Run


@dataclass(frozen=True)
class SavedStudy:
    """A study as its results folder has it.

    settings: every setting of the last run, by section, as in the study file and the defaults.
    Asking for a table raises UserError with the rule to run where a file of it is missing. Tables that the runs have
    are put together, with the columns split and seed before their own.
    """

    folder: Path
    settings: Mapping[str, Any] = field(repr=False)

    @cached_property
    def runs(self) -> list[Run]:
        """What evaluate left of each split and seed, in their order."""
        return study.read_runs(run_folders(self.folder, self.settings))

    @property
    def classes(self) -> list[str]:
        """Class names; of two the last is the positive one."""
        return self.runs[0].classes

    @cached_property
    def cases(self) -> pd.DataFrame:
        """One row a case of the labels table: class, patient, slices and patches of each stain, used or why not."""
        return tables.read_cases(self._file("inventory/cases.csv", "inventory"))

    @cached_property
    def excluded(self) -> pd.DataFrame:
        """One row a file, row, case or patch that was excluded, with the reason."""
        return tables.read_excluded(self._file("report/excluded.csv", "report"))

    @cached_property
    def splits(self) -> pd.DataFrame:
        """One row a split and case: split, set (train, val or test), case_id."""
        paths = {name: self._file(f"splits/data_splits_{name}.npz", "splits") for name in _splits(self.settings)}
        read = {name: splits.read(path) for name, path in paths.items()}
        rows = [(name, each, case) for name in read for each in splits.SETS for case in getattr(read[name], each)]
        return pd.DataFrame(rows, columns=["split", "set", "case_id"])

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row a run and test case: label, prediction, probability and logit of each class."""
        return self._of_runs("predictions.csv", "evaluate", lambda run: run.test)

    @cached_property
    def validation_predictions(self) -> pd.DataFrame:
        """One row a run and validation case, as in `predictions`."""
        return self._of_runs("validation_predictions.csv", "evaluate", lambda run: run.validation)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row a run and epoch: losses, validation AUROC, whether the epoch was kept."""
        trained = [run for run in self.runs if run.trained_here]
        if not trained:
            raise UserError(f"{self.folder}: nothing was trained here: its checkpoints are from elsewhere")
        return self._of_runs("history.csv", "train", lambda run: run.history, trained)

    @cached_property
    def baselines(self) -> pd.DataFrame:
        """One row a baseline, split and test case."""
        return tables.read(self._file("baselines/predictions.csv", "baselines"))

    @cached_property
    def retrained(self) -> pd.DataFrame:
        """One row a variant of the model, run and case, validation or test: rule retrain's predictions."""
        variants = retrained.variants(self.settings)
        if not variants:
            raise UserError(f"{self.folder}: no model was trained in another way: set report.retrained")
        return pd.concat(map(self._of_variant, variants), ignore_index=True)

    def _of_variant(self, name: str) -> pd.DataFrame:
        file = f"retrained/{name}.csv"
        table = self._of_runs(file, "retrain", lambda run: tables.read(run.folder / file))
        table.insert(2, "variant", name)
        return table

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Every number of the report: level, model, split, repeat, seed, metric, value, low and high of the CI, n."""
        return tables.read(self._file("report/metrics.csv", "report"))

    @cached_property
    def attention_summary(self) -> pd.DataFrame:
        """One row a run and test case: weight of each stain, how concentrated attention is."""
        return self._of_runs("attention_analysis/summary.csv", "attention", lambda run: run.attention_summary)

    def attention(self, case_id: str) -> pd.DataFrame:
        """Return one row a patch of a case and run that tested it: path, weights, rank, contribution to each class."""
        tested = [run for run in self.runs if case_id in set(run.test["case_id"])]
        if not tested:
            raise UserError(f"{self.folder}: case {case_id!r} is in no test set: take one of predictions['case_id']")
        return self._of_runs("patch_attention.parquet", "evaluate", lambda run: run.attention_of(case_id), tested)

    @cached_property
    def perturbation(self) -> pd.DataFrame:
        """One row a run and test case: its prediction without its most attended patches, and with them alone."""
        return self._of_runs("perturbation.csv", "perturb", lambda run: run.perturbation)

    @cached_property
    def perturbation_curves(self) -> pd.DataFrame:
        """One row a run, test case, order and fraction of removed patches."""
        return self._of_runs("perturbation_curves.csv", "perturb", lambda run: run.curves)

    @cached_property
    def perturbation_parts(self) -> pd.DataFrame:
        """One row a run, test case and stain or slice that was left out."""
        return self._of_runs("perturbation_parts.csv", "perturb", lambda run: run.parts)

    @cached_property
    def faithfulness(self) -> pd.DataFrame:
        """One row a finding of the faithfulness page: measure, value, low and high of the CI, sentence."""
        return tables.read(self._file("faithfulness/faithfulness.csv", "faithfulness"))

    def _file(self, name: str, rule: str) -> Path:
        if missing := files.lacking([self.folder], {name: rule}):
            raise UserError(*missing)
        return self.folder / name

    def _of_runs(
        self, name: str, rule: str, read: Callable[[Run], pd.DataFrame], of: list[Run] | None = None
    ) -> pd.DataFrame:
        """Return a table of several runs, by default of all, with their split and seed as its first columns."""
        of = of or self.runs
        if missing := files.lacking([run.folder for run in of], {name: rule}):
            raise UserError(*missing)
        table = pd.concat({(run.split, run.seed): read(run) for run in of}, names=["split", "seed"])
        return table.reset_index(["split", "seed"]).reset_index(drop=True)


def run_folders(folder: Path, settings: Mapping[str, Any]) -> list[Path]:
    """Return the folder of each split and seed of a study, in their order, whether it is there or not."""
    return [folder / f"split_{split}/seed_{seed}" for split in _splits(settings) for seed in settings["seeds"]]


def _splits(settings: Mapping[str, Any]) -> list[str]:
    return names.of_splits(settings["splits"]["n_splits"], settings["splits"]["n_repeats"])


def read_study(folder: str | Path) -> SavedStudy:
    """Return the study in a results folder; its tables are read when they are asked for.

    Raises UserError if the folder is none of StrataMIL's results.

    >>> from stratamil import read_study
    >>> study = read_study("results/demo")
    >>> study.classes
    ['benign', 'high-grade']
    >>> list(study.predictions)[:5]
    ['split', 'seed', 'case_id', 'true_label', 'predicted_label']

    Out of fold, each case is predicted once a seed and repeat:

    >>> int(study.predictions.groupby(["seed", "case_id"]).size().max())
    1

    The effective weights of a case sum to 1 in each run:

    >>> attention = study.attention(study.predictions["case_id"][0])
    >>> attention.groupby(["split", "seed"])["effective_weight"].sum().round(3).tolist()
    [1.0]

    What is missing is named with the rule that writes it:

    >>> read_study("results")
    Traceback (most recent call last):
    stratamil.core.errors.UserError: results/config.yaml: no such file: give the folder that the setting results names
    """
    path = Path(folder) / "config.yaml"
    with files.readable(path, "give the folder that the setting results names"):
        text = path.read_bytes()
    try:
        settings = yaml.safe_load(text)
        run_folders(Path(folder), settings)
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise UserError(f"{path}: not the settings of a study of this version: run snakemake again") from None
    return SavedStudy(Path(folder), settings)

"""Settings of model and training against each other on the folds of a study: which a cohort is better served by.

Each row is `study` (its own settings), `defaults`, an overlay of config/ or a file, with changes: `classic`,
`study model.aggregation=flat`.
The study's features and splits are used; nothing of it is changed. With --inner K the test cases of each split stay
out of sight: its train and validation cases are split into K new folds, so that settings can be chosen without them.
Without it the test cases are predicted, as in the workflow. The columns:
  AUROC, sd         pooled over the folds: mean and SD of the seeds
  folds             mean of the folds
  ensemble, 95% CI  AUROC of the mean of the seeds' probabilities, bootstrap by patient as in the report
  difference        AUROC less the first row's, with 95% CI: of the ensembles, in the same samples; with --inner
                    mean and standard error (se) of the pairs of split and seed, which are not independent
  log loss          of all predictions
  attention         with --truth: how well weights find the signal in cases of other classes than the first
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pandas as pd
import torch
import yaml
from patches import SCRIPTS
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from stratamil.cohort import inventory, splits
from stratamil.core import tables
from stratamil.evaluation import predict
from stratamil.explain import planted_signal
from stratamil.features import store
from stratamil.mil import training
from stratamil.mil.bags import Bags
from stratamil.mil.model import HierarchicalAttention, ModelSettings
from stratamil.mil.stack import Data, TrainSettings
from stratamil.stats import intervals, metrics

CONFIG = SCRIPTS.parent / "config"
BOOTSTRAP_SAMPLES, SEED = 2000, 42  # as in the report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results folder of a study")
    parser.add_argument("settings", nargs="+", help="e.g. study classic 'study model.aggregation=flat'")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--inner", type=int, help="folds within train and validation cases; test cases stay unseen")
    parser.add_argument("--partition", type=int, default=0, help="which inner folds: a seed")
    parser.add_argument("--truth", type=Path, help="table of file and signal, to score attention with")
    parser.add_argument("--output", type=Path, help="CSV of the table")
    parser.add_argument("--processes", type=int, default=measure.cores())
    args = parser.parse_args()
    study = Study(args.results, args.inner, args.partition, args.truth)
    rows = [row_settings(text, args.results) for text in args.settings]
    jobs = list(itertools.product(range(len(rows)), study.folds, range(1, args.seeds + 1)))
    with ProcessPoolExecutor(args.processes, initializer=begin, initargs=(study,)) as pool:
        made = pool.map(fit, [rows[i] for i, _, _ in jobs], [fold for _, fold, _ in jobs], [seed for *_, seed in jobs])
        made = tqdm(made, total=len(jobs), unit="training", disable=None)
        predictions = pd.concat(
            [table.assign(row=i, fold=fold, seed=seed) for (i, fold, seed), table in zip(jobs, made)]
        )
    names = list(args.settings)
    if not args.inner and (args.results / "baselines/predictions.csv").is_file():
        predictions = pd.concat([predictions, study.mean_pool().assign(row=len(names))])
        names.append("mean_pool (logistic regression)")
    each = [predictions[predictions["row"] == i] for i in range(len(names))]
    table = pd.DataFrame([study.measures(rows) for rows in each], index=names)
    compared = inner_differences(study, predictions, len(names)) if args.inner else ensembles(study, each)
    table = pd.concat([table, compared.set_axis(names)], axis=1).dropna(axis=1, how="all")
    print(table.round(3).to_string())
    if args.output:
        table.round(4).to_csv(args.output, index_label="settings")


def row_settings(text: str, results: Path) -> dict[str, dict[str, Any]]:
    """Return {model: ..., train: ...} of one row: the defaults, an overlay of config/ or a file, and changes."""
    base, *changes = text.split()
    paths = [CONFIG / "config.yaml"]
    if base != "defaults":
        own = results / "config.yaml" if base == "study" else Path(base)
        paths.append(own if own.is_file() else CONFIG / f"{base}.yaml")
    merged = {"model": {}, "train": {}}
    for path in paths:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for section in merged:
            merged[section] |= content.get(section) or {}
    for change in changes:
        name, _, value = change.partition("=")
        section, _, key = name.partition(".")
        if key not in merged[section]:
            sys.exit(f"{change}: no such setting")
        merged[section][key] = yaml.safe_load(value)
    return merged


class Study:
    """Features, labels and folds of a study: fold name -> Split."""

    def __init__(self, results: Path, inner: int | None, partition: int, truth: Path | None) -> None:
        config = yaml.safe_load((results / "config.yaml").read_text(encoding="utf-8"))
        self.results = results
        self.classes = [name for entry in config["cohort"]["classes"] for name in entry]
        self.stains = [name for entry in config["names"]["stains"] for name in entry]
        cases = inventory.used_cases(results / "inventory/cases.csv").set_index("case_id")
        self.patients = cases["patient_id"]
        self.y = cases["class"].map(self.classes.index).to_dict()
        self.shards = sorted(results.glob("features/*/shard_*.h5"))
        made = {path.stem[-2:]: splits.read(path) for path in sorted(results.glob("splits/data_splits_*.npz"))}
        self.folds = (
            {k: v for name, split in made.items() for k, v in self.inner(name, split, inner, partition)}
            if inner
            else made
        )
        data = store.read(self.shards)
        self.truth = planted_signal.read_truth(truth, data.table) if truth else None

    def inner(self, name: str, split: splits.Split, k: int, partition: int) -> Iterator[tuple[str, splits.Split]]:
        """Yield folds of train and validation cases of a split: test, the next for validation, the rest to train."""
        cases = np.array(sorted([*split.train, *split.val]))
        y, patients = [self.y[case] for case in cases], self.patients[cases].to_numpy()
        folds = StratifiedGroupKFold(k, shuffle=True, random_state=partition)
        parts = [cases[at] for _, at in folds.split(cases, y, patients)]
        for i in range(k):
            used = {i, (i + 1) % k}
            train = [case for j, part in enumerate(parts) if j not in used for case in part]
            yield f"{name}/{i}", splits.Split(train, list(parts[(i + 1) % k]), list(parts[i]))

    def mean_pool(self) -> pd.DataFrame:
        """Return the workflow's own baseline, as predictions of one seed."""
        table = tables.read(self.results / "baselines/predictions.csv")
        table = table[table["baseline"] == "mean_pool"].rename(columns={"split": "fold"})
        probabilities = [name for name in table if name.startswith("prob_")]
        return table.assign(seed=1, attention=np.nan, **table[probabilities].astype(float))

    def measures(self, table: pd.DataFrame) -> dict[str, float]:
        """Return AUROC pooled over folds and as their mean, log loss, attention."""
        p = [name for name in table if name.startswith("prob_")]
        inner = table["fold"].str.contains("/").any()
        pool = ["seed", table["fold"].str.partition("/")[0]] if inner else ["seed"]
        pooled = pd.Series([self.auroc(rows, p) for _, rows in table.groupby(pool)])
        folds = [self.auroc(rows, p) for _, rows in table.groupby(["fold", "seed"])]
        result = {"AUROC": pooled.mean(), "sd": pooled.std(), "folds": np.nanmean(folds)}
        y = np.array([self.y[case] for case in table["case_id"]])
        return result | {"log loss": metrics.log_loss(y, table[p].to_numpy()), "attention": table["attention"].mean()}

    def auroc(self, rows: pd.DataFrame, p: list[str]) -> float:
        """Return the AUROC of some predictions for a table; NaN where it is not defined."""
        value = metrics.auc(np.array([self.y[case] for case in rows["case_id"]]), rows[p].to_numpy())
        return np.nan if value is None else value


def ensembles(study: Study, each: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the mean of the seeds of each row, and against the first, with bootstrap intervals; index as `each`."""
    p = [name for name in each[0] if name.startswith("prob_")]
    means = [rows.groupby("case_id")[p].mean() for rows in each]
    cases = means[0].index
    y, patients = np.array([study.y[case] for case in cases]), study.patients[cases]
    weights = intervals.bootstrap_weights(patients, BOOTSTRAP_SAMPLES, SEED)
    sampled = [intervals.weighted_auc(y, mean.loc[cases].to_numpy(), weights) for mean in means]
    sides = [intervals.sides(y, patients, len(p))]
    exact = [metrics.auc(y, mean.loc[cases].to_numpy()) for mean in means]
    rows = []
    for value, samples in zip(exact, sampled):
        auc = intervals.auc_interval(value, samples, sides)
        difference = intervals.interval(value - exact[0], samples - sampled[0], "plain")
        rows.append([auc.value, auc.low, auc.high, difference.value, difference.low, difference.high])
    return pd.DataFrame(rows, columns=["ensemble", "low", "high", "difference", "difference low", "difference high"])


def inner_differences(study: Study, predictions: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the difference of AUROC from the first row, paired by split and seed, with its standard error."""
    p = [name for name in predictions if name.startswith("prob_")]
    outer = predictions["fold"].str.partition("/")[0]
    keys = [predictions["row"], outer, predictions["seed"]]
    each = {key: study.auroc(rows, p) for key, rows in predictions.groupby(keys)}
    pairs = sorted({key[1:] for key in each})
    differences = np.array([[each[i, *pair] - each[0, *pair] for pair in pairs] for i in range(n)])
    errors = differences.std(1, ddof=1) / np.sqrt(len(pairs))
    return pd.DataFrame({"difference": differences.mean(1), "se": errors})


def begin(study: Study) -> None:
    """Let each process read the features once; they are maps of the same files."""
    torch.set_num_threads(1)
    global STUDY, DATA, BAGS
    STUDY, DATA = study, store.read(study.shards)
    BAGS = Bags(DATA, study.stains)


def fit(settings: dict[str, dict[str, Any]], fold: str, seed: int) -> pd.DataFrame:
    """Train on a fold and predict its test cases: a row a case, with the AUROC of attention for the known signal."""
    split, train = STUDY.folds[fold], settings["train"]
    chosen = {name: train[name] for name in TrainSettings.__dataclass_fields__ if name in train}
    shape = ModelSettings(DATA.values.shape[1], len(STUDY.classes), **settings["model"])
    chosen["precision"] = training.precision(train["precision"], BAGS.device, shape)
    cases = Data(BAGS, split.train, split.val, STUDY.y, fold)
    outcome = training.train(cases, shape, TrainSettings(**chosen), [seed])[seed]
    model = HierarchicalAttention(shape)
    model.load(outcome.best["weights"])
    [(table, patches)] = predict.predict(model, BAGS, DATA.table, split.test, y=STUDY.y, classes=STUDY.classes)
    return table.assign(attention=[signal_auroc(case, patches) for case in table["case_id"]])


def signal_auroc(case: str, patches: pd.DataFrame) -> float:
    """Return how well the weights of a case, not of the first class, find its patches with signal; NaN if unknown."""
    if STUDY.truth is None or STUDY.y[case] == 0:
        return np.nan
    here = patches[patches["case_id"] == case]
    signal = STUDY.truth[here["path"]].to_numpy()
    value = None if np.isnan(signal).any() else metrics.roc_auc(signal, here["effective_weight"])
    return np.nan if value is None else value


if __name__ == "__main__":
    main()

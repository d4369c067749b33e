"""Settings of model and training against each other on the splits of a study: which a cohort is better served by.

Each row is `study` (its own settings), `defaults`, an overlay of config/ or a file, with changes: `classic`,
`study model.aggregation=flat`. Its models are trained on the study's features and splits and predict the test cases, as
in the workflow; nothing of the study is changed. The numbers are those of rule compare. Its columns:
  folds       AUROC of each test set, mean over splits and seeds, with 95% CI (bootstrap by patient as in the report)
  ensemble    AUROC of the mean of the seeds' probabilities, as are log loss and accuracy
  difference  from the first row, in the same bootstrap samples
  attention   with --truth: AUROC of the weights for the signal, mean over cases of other classes than the first
To choose settings without the test cases there is tune.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pandas as pd
import yaml
from patches import SCRIPTS

from stratamil.core import names, schema
from stratamil.evaluation import compared_studies, comparison, tuning_space
from stratamil.evaluation.saved_study import read_study
from stratamil.explain import planted_signal
from stratamil.stats import metrics
from stratamil.stats.intervals import Estimate

CONFIG = SCRIPTS.parent / "config"
BOOTSTRAP_SAMPLES, SEED = 2000, 42  # as in the report
SHOWN = {"fold_mean": "folds", "roc_auc": "ensemble", "log_loss": "log loss", "accuracy": "accuracy"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results folder of a study")
    parser.add_argument("settings", nargs="+", help="e.g. study classic 'study model.aggregation=flat'")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--truth", type=Path, help="table of file and signal, to score attention with")
    parser.add_argument("--output", type=Path, help="CSV of the table")
    parser.add_argument("--processes", type=int, default=measure.cores())
    args = parser.parse_args()
    config = configured(args.results)
    rows = {text: config | row_settings(text, args.results) for text in args.settings}
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder, str(number)) for number in range(len(rows))]
        for place, own in zip(folders, rows.values()):
            begin(place, args.results, own, args.seeds)
        with ThreadPoolExecutor(args.processes) as pool:
            list(pool.map(lambda job: train(*job), product(folders, split_names(config))))
        table = compared(dict(zip(rows, folders)))
        if args.truth:
            table["attention"] = [attention(place, args.truth) for place in folders]
    print(table.to_string())
    if args.output:
        table.to_csv(args.output, index_label="settings")


def row_settings(text: str, results: Path) -> dict[str, dict[str, Any]]:
    """Return {model: ..., train: ...} of one row: the defaults, an overlay of config/ or a file, and changes."""
    base, *changes = text.split()
    merged = {section: schema.defaults(section) for section in tuning_space.SECTIONS}
    if base != "defaults":
        own = results / "config.yaml" if base == "study" else Path(base)
        path = own if own.is_file() else CONFIG / f"{base}.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        merged = {section: values | (content.get(section) or {}) for section, values in merged.items()}
    for change in changes:
        name, _, value = change.partition("=")
        section, _, key = name.partition(".")
        if key not in merged.get(section, {}):
            sys.exit(f"{change}: no such setting")
        merged[section][key] = yaml.safe_load(value)
    return merged


def configured(results: Path) -> dict[str, Any]:
    """Return the settings of a study, with the defaults of those that it does not have."""
    config = yaml.safe_load((results / "config.yaml").read_text(encoding="utf-8"))
    sections = (*tuning_space.SECTIONS, "tune", "evaluate")
    return config | {name: schema.defaults(name) | (config.get(name) or {}) for name in sections}


def split_names(config: Mapping[str, Any]) -> list[str]:
    """Return the names of a study's splits."""
    return names.of_splits(config["splits"]["n_splits"], config["splits"]["n_repeats"])


def begin(folder: Path, results: Path, config: Mapping[str, Any], seeds: int) -> None:
    """Make the results folder of a study with the features and splits of another one, and other settings or seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("inventory", "features", "splits"):
        if not os.path.lexists(folder / part):
            (folder / part).symlink_to((results / part).resolve())
    own = dict(config) | {"seeds": list(range(1, seeds + 1))}
    (folder / "config.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")


def train(folder: Path, name: str, *more: str) -> None:
    """Train the models of a split, and evaluate them. more: flags of train.py."""
    config, place = configured(folder), folder / f"split_{name}"
    seeds = schema.flag("seeds", config["seeds"])
    run("train", folder, name, seeds, *settings_flags(config), *more, f"--output {place}")
    evaluate(folder, name, folder)


def evaluate(folder: Path, name: str, trained: Path) -> None:
    """Predict the test cases of a split with its models of the study in the folder `trained`."""
    config, models, place = configured(folder), trained / f"split_{name}", folder / f"split_{name}"
    kept = " ".join(str(models / f"seed_{seed}/checkpoints/best.pth") for seed in config["seeds"])
    run("evaluate", folder, name, schema.flag("seeds", config["seeds"]), f"--checkpoints {kept}", f"--output {place}")


def settings_flags(config: Mapping[str, Any]) -> list[str]:
    """Return the settings of model and training as flags."""
    return [schema.flags(section, config[section], tensorboard=None) for section in tuning_space.SECTIONS]


def run(script: str, folder: Path, name: str, *flags: str) -> None:
    """Run a script on a split of the study in a folder. Exits where it fails."""
    config = configured(folder)
    kinds = {"classes": config["cohort"]["classes"], "stains": config["names"]["stains"]}
    told = [schema.flag(key, list(schema.merged(entries))) for key, entries in kinds.items()]
    shards = " ".join(map(str, sorted(folder.glob("features/*/shard_*.h5"))))
    places = f"--features {shards} --cases {folder}/inventory/cases.csv --threads 1"
    places += f" --split {folder}/splits/data_splits_{name}.npz --name {name} --log {folder}/{script}_{name}.log"
    command = f"OMP_NUM_THREADS=1 {sys.executable} {SCRIPTS}/{script}.py {places}"
    if subprocess.run(f"{command} {' '.join([*told, *flags])}", shell=True).returncode:
        sys.exit(f"{script}.py failed on split {name}")


def compared(folders: Mapping[str, Path]) -> pd.DataFrame:
    """Return a row a finished study: what it reaches, and its difference from the first, as rule compare has them."""
    sides = [compared_studies.read(name, path, BOOTSTRAP_SAMPLES, SEED) for name, path in folders.items()]
    found = comparison.numbers(compared_studies.shared(sides))
    less = {pair["second"]: pair["differences"] for pair in found["pairs"] if pair["first"] == sides[0].name}
    rows = {}
    for side in found["sides"]:
        own, other = side["estimates"], less.get(side["name"], {})
        rows[side["name"]] = {shown: said(own[name]) for name, shown in SHOWN.items()}
        rows[side["name"]] |= {f"{shown}, difference": said(other[name]) for name, shown in SHOWN.items() if other}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def said(estimate: Estimate) -> str:
    """Return a number with its 95% CI."""
    if estimate.value is None:
        return "-"
    interval = "" if estimate.low is None else f" ({estimate.low:.3f} to {estimate.high:.3f})"
    return f"{estimate.value:.3f}{interval}"


def attention(folder: Path, file: Path) -> float:
    """Return how well the weights of cases that are not of the first class find their patches with signal."""
    scores: Sequence[float] = []
    for each in read_study(folder).runs:
        patches = each.patch_attention
        truth = planted_signal.read_truth(file, patches)
        wanted = set(each.test.loc[each.test["true_class"] != each.classes[0], "case_id"])
        for _, rows in patches[patches["case_id"].isin(wanted)].groupby("case_id"):
            signal = truth[rows["path"]].to_numpy()
            if not np.isnan(signal).any() and (value := metrics.roc_auc(signal, rows["effective_weight"])) is not None:
                scores.append(value)
    return round(float(np.mean(scores)), 3) if scores else np.nan


if __name__ == "__main__":
    main()

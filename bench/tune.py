"""How long choosing settings takes on a study's own features and splits, and whether the choice pays.

Each split is a run of scripts/tune.py, as many at a time as there are cores, each on one; --splits measures some of
them. With --outer each split's models are then trained with the study's own settings and with what was chosen, and
both predict the test cases: the AUROC and log loss of the ensemble of seeds out of fold, and their paired difference
with 95% CI (bootstrap by patient as in the report). The study is only read.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pandas as pd
import settings
import yaml
from patches import SCRIPTS

from stratamil.core import schema
from stratamil.evaluation import tuning_space
from stratamil.stats import intervals, metrics

GOAL = 25 * 60  # seconds of 24 candidates x 4 inner folds x 2 seeds x 5 splits on two cores
SIZE = 24 * 4 * 2 * 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results folder of a study with features and splits")
    parser.add_argument("--changes", type=Path, help="YAML with a section tune, laid over the study's")
    parser.add_argument("--splits", nargs="+", help="names of splits, all by default")
    parser.add_argument("--outer", type=int, metavar="SEEDS", help="train both models of each split with so many seeds")
    parser.add_argument("--processes", type=int, default=measure.cores())
    args = parser.parse_args()
    study, config = settings.Study(args.results, None, 0, None), _config(args)
    names = args.splits or list(study.folds)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        with ThreadPoolExecutor(args.processes) as pool:
            list(pool.map(lambda name: tune(study, config, name, Path(folder)), names))
        seconds = time.perf_counter() - begin
        chosen = {name: tuning_space.read(Path(folder, name, "chosen.yaml")) for name in names}
    for name, each in chosen.items():
        print(f"split {name}: {said(each)}")
    models = sum(each["candidates"] * each["inner_folds"] * len(each["seeds"]) for each in chosen.values())
    whole = f", {measure.verdict(seconds, GOAL)}" if models == SIZE else ""
    print(f"{models} models of {len(names)} splits in {seconds / 60:.1f} min, {args.processes} at a time{whole}")
    if args.outer:
        outer(study, config, chosen, args)


def _config(args: argparse.Namespace) -> dict[str, Any]:
    """Return the study's settings, with the defaults of what it does not have, and the changes."""
    config = yaml.safe_load((args.results / "config.yaml").read_text(encoding="utf-8"))
    changes = yaml.safe_load(args.changes.read_text(encoding="utf-8"))["tune"] if args.changes else {}
    own = {name: schema.defaults(name) | config.get(name, {}) for name in (*tuning_space.SECTIONS, "tune")}
    return own | {"tune": own["tune"] | changes}


def tune(study: settings.Study, config: dict[str, Any], name: str, folder: Path) -> None:
    """Run scripts/tune.py on a split."""
    own = config["tune"]
    flags = [
        schema.flag("classes", study.classes), schema.flag("stains", study.stains),
        *(schema.flags(section, config[section], **{"tensorboard": None}) for section in tuning_space.SECTIONS),
        schema.flags("tune", own, "candidates", "inner", "metric"), schema.flag("trainings", own["seeds"]),
        schema.flag("draw", own["seed"]), schema.flag("space", json.dumps(own["space"])),
    ]  # fmt: skip
    places = f"--cases {study.results}/inventory/cases.csv --split {study.results}/splits/data_splits_{name}.npz"
    places += f" --features {' '.join(map(str, study.shards))} --name {name} --threads 1 --output {folder}/{name}"
    command = f"OMP_NUM_THREADS=1 {sys.executable} {SCRIPTS}/tune.py {places} --log {folder}/{name}.log"
    subprocess.run(f"{command} {' '.join(flags)}", shell=True, check=True)


def said(choice: dict[str, Any]) -> str:
    """Return what was chosen in a line."""
    best, chosen = choice["best"], choice["chosen"]
    own = choice["default"]["inner_mean"]
    values = " ".join(f"{name}={value}" for name, value in chosen["settings"].items())
    gain = f"best {best['inner_mean']:.3f}, gain {best['gain']:.3f}, SE {best['standard_error'] or 0:.3f}"
    return f"inner mean of the study's own {own:.3f}, {gain}; candidate {chosen['candidate']} is chosen: {values}"


def outer(study: settings.Study, config: dict[str, Any], chosen: dict[str, Any], args: argparse.Namespace) -> None:
    """Print what both models of each split reach on its test cases."""
    rows, jobs = [], []
    for name, choice in chosen.items():
        for row in ("default", "chosen"):
            made = {section: dict(config[section]) for section in tuning_space.SECTIONS}
            for setting, value in choice[row]["settings"].items():
                section, _, key = setting.partition(".")
                made[section][key] = value
            jobs += [(made, name, seed) for seed in range(1, args.outer + 1)]
            rows += [row] * args.outer
    with ProcessPoolExecutor(args.processes, initializer=settings.begin, initargs=(study,)) as pool:
        tables = list(pool.map(settings.fit, *zip(*jobs)))
    each = [pd.concat([table for table, row in zip(tables, rows) if row == wanted]) for wanted in ("default", "chosen")]
    found = settings.ensembles(study, each).set_axis(["default", "chosen"])
    found["log loss"] = [log_loss(study, rows) for rows in each]
    print(found.round(3).to_string())
    difference = loss_difference(study, *each)
    print(f"log loss of chosen less default: {difference.value:.3f} ({difference.low:.3f} to {difference.high:.3f})")


def log_loss(study: settings.Study, rows: pd.DataFrame) -> float:
    """Return the log loss of the mean of seeds."""
    mean = rows.groupby("case_id")[[name for name in rows if name.startswith("prob_")]].mean()
    return metrics.log_loss(np.array([study.y[case] for case in mean.index]), mean.to_numpy())


def loss_difference(study: settings.Study, default: pd.DataFrame, chosen: pd.DataFrame) -> intervals.Estimate:
    """Return how much higher the log loss of the chosen settings is, paired by patient."""
    p = [name for name in default if name.startswith("prob_")]
    means = [rows.groupby("case_id")[p].mean() for rows in (chosen, default)]
    cases = means[0].index
    y = np.array([study.y[case] for case in cases])
    losses = [-np.log(np.clip(mean.loc[cases].to_numpy()[np.arange(len(y)), y], 1e-15, 1)) for mean in means]
    weights = intervals.bootstrap_weights(study.patients[cases], settings.BOOTSTRAP_SAMPLES, settings.SEED)
    sampled = (weights * (losses[0] - losses[1])).sum(1) / weights.sum(1)
    return intervals.interval(float((losses[0] - losses[1]).mean()), sampled, "plain")


if __name__ == "__main__":
    main()

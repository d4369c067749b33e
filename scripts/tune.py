"""Choose settings of model and training for one split, on its training and validation cases alone.

Each candidate is trained in every inner fold with every seed and scored on the cases that it has not seen. The split's
test cases are not read.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import torch
import yaml

import cli
from stratamil.cohort import duplicates, inventory, splits
from stratamil.core import devices, files, locks, tables
from stratamil.evaluation import tuning, tuning_space
from stratamil.mil import training_data
from stratamil.mil.stack import Recipe


def arguments() -> argparse.Namespace:
    parser = cli.training(cli.parser(__doc__), with_seeds=False)
    group = parser.add_argument_group("tuning")
    group.add_argument("--space", type=json.loads, required=True, help="setting -> values or range (JSON)")
    cli.add_settings(group, "tune", "candidates", "inner", "metric")
    cli.add_settings(group, "splits", "by", "balance")
    group.add_argument("--trainings", type=int, required=True, help="of each candidate in each inner fold")
    group.add_argument("--draw", type=int, required=True, help="seed of candidates and inner folds")
    parser.add_argument("--same-tissue", type=Path, help="patches.csv of rule duplicates: never in two inner folds")
    parser.add_argument("--output", type=Path, required=True, help="folder for candidates.csv and chosen.yaml")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    with locks.held(args.state or args.output / "tune"):
        tune(args)


def tune(args: argparse.Namespace) -> None:
    """Try all candidates; write the table, and the choice last."""
    torch.set_num_threads(args.threads)
    split, device, cases = splits.read(args.split), devices.best(), inventory.used_cases(args.cases)
    if args.same_tissue:
        cases = duplicates.merged(cases, [tables.read(args.same_tissue)])
    how = {"by": args.by, "balance": args.balance}
    folds = tuning.inner_folds(split, cases, args.classes, args.inner, args.draw, args.name, **how)
    y = inventory.class_indices(args.cases, args.classes)
    features, data = training_data.read(
        args.features, split, y=y, classes=args.classes, stains=args.stains, name=args.name, device=device
    )
    own, values = tuning_space.default(args.space, dict.fromkeys(tuning_space.SECTIONS, vars(args))), vars(args)
    found = tuning_space.candidates(args.space, own, args.candidates, args.draw, args.aggregation, tuning.SIDE_BY_SIDE)
    recipes = [recipe(values, each, features.values.shape[1], device) for each in found]
    seeds = list(range(1, args.trainings + 1))
    plan = tuning.Plan(recipes, folds, seeds, args.metric)
    logging.info(
        "%d candidates, %d inner folds, %d seeds: %d models",
        *(len(recipes), len(folds), len(seeds), len(recipes) * len(folds) * len(seeds)),
    )
    with cli.stoppable() as stop:
        tried = tuning.search(data, plan, args.state, stop)
    choice = tuning.choose(tried.scores, args.metric)
    files.write_csv(tuning.table(found, plan, tried, choice), args.output / "candidates.csv")
    content = tuning.described(found, plan, tried, choice, args.name)
    files.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), args.output / "chosen.yaml")
    logging.info("candidate %d is chosen; candidate %d has the best inner mean", choice.chosen, choice.best)


def recipe(values: dict[str, Any], candidate: tuning_space.Settings, in_dim: int, device: torch.device) -> Recipe:
    """Return how a candidate's models are made. values: the study's own settings, by their short names."""
    changed = {name.partition(".")[2]: value for name, value in candidate.items()}
    return Recipe(0, *training_data.settings(values | changed, in_dim, device))


if __name__ == "__main__":
    cli.run(main, arguments())

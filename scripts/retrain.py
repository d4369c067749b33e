"""Train the models of a split in another way, for comparison, and predict its validation and test cases.

All that the flags do not change is as in train.py: cases, seeds, settings, and the epoch is chosen on validation cases.
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from numpy.typing import NDArray

import cli
from stratamil.cohort import inventory, shares, splits
from stratamil.core import devices, files, locks
from stratamil.core.names import column, natural
from stratamil.evaluation import predict, tuning_space
from stratamil.features import store
from stratamil.mil import model, stack, training, training_data
from stratamil.mil.bags import Bags


def arguments() -> argparse.Namespace:
    parser = cli.training(cli.parser(__doc__))
    parser.add_argument("--share", type=int, default=100, metavar="PERCENT", help="of the training cases (%(default)s)")
    parser.add_argument("--share-seed", type=int, default=0, help="seed by which the share is drawn (%(default)s)")
    parser.add_argument("--chosen", type=Path, help="chosen.yaml of rule tune_split, whose settings count instead")
    parser.add_argument("--keep", nargs="*", default=[], help="settings that count as given all the same")
    parser.add_argument("--outputs", nargs="+", type=Path, required=True, help="CSV to write, one a seed")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    with locks.held(args.state or args.outputs[0]):
        retrain(args)


def retrain(args: argparse.Namespace) -> None:
    """Train, predict, and write a table a seed."""
    torch.set_num_threads(args.threads)
    split, device = splits.read(args.split), devices.best()
    if args.share < 100:
        known = inventory.used_cases(args.cases)
        split = replace(split, train=shares.drawn(split.train, known, args.share, args.share_seed, args.name))
    outcomes, settings = trained(args, split, device)
    models = [built(settings, outcome) for outcome in outcomes.values()]
    tested = {"val": split.val, "test": sorted(split.test, key=natural)}
    bags = Bags(store.read(args.features, [*split.val, *split.test]), args.stains, device)
    members = model.stack(models).to(device)
    p = {name: predict.probabilities(members, bags, cases) for name, cases in tested.items()}
    labels = inventory.class_indices(args.cases, args.classes)
    for member, (seed, output) in enumerate(zip(args.seeds, args.outputs, strict=True)):
        parts = [table(name, cases, p[name][member], labels, args.classes) for name, cases in tested.items()]
        written = pd.concat(parts, ignore_index=True)
        files.write_csv(written.assign(training_cases=len(split.train), epoch=outcomes[seed].best["epoch"]), output)
    logging.info("%d cases predicted by %d models", len(split.val) + len(split.test), len(models))


def trained(
    args: argparse.Namespace, split: splits.Split, device: torch.device
) -> tuple[dict[int, stack.Outcome], model.ModelSettings]:
    """Return what each seed came to, and the settings of the model; the features are let go."""
    y = inventory.class_indices(args.cases, args.classes)
    features, data = training_data.read(
        args.features, split, y=y, classes=args.classes, stains=args.stains, name=args.name, device=device
    )
    chosen = tuning_space.read_chosen(args.chosen) if args.chosen else {}
    values = vars(args) | {name: value for name, value in chosen.items() if name not in args.keep}
    model_settings, settings = training_data.settings(values, features.values.shape[1], device)
    with cli.stoppable() as stop:
        outcomes = training.train(data, model_settings, settings, args.seeds, state_path=args.state, stop=stop)
    return outcomes, model_settings


def built(settings: model.ModelSettings, outcome: stack.Outcome) -> model.HierarchicalAttention:
    """Return the model of the epoch that a seed kept."""
    result = model.HierarchicalAttention(settings)
    result.load(outcome.best["weights"])
    return result


def table(name: str, cases: list[str], p: NDArray, y: dict[str, int], classes: list[str]) -> pd.DataFrame:
    """Return the predictions of the cases of a set. p: (cases, K)."""
    columns: dict[str, Any] = {"set": name, "case_id": cases, "true_class": [classes[y[case]] for case in cases]}
    return pd.DataFrame(columns | {f"prob_{column(each)}": p[:, k] for k, each in enumerate(classes)})


if __name__ == "__main__":
    cli.run(main, arguments())

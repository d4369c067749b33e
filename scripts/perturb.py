"""Predict the test cases of one split whole and with parts taken away, by the models of all seeds.

See stratamil/explain/perturb.py. Bags are the cached features; a case is embedded once and its parts are aggregated
many at a time.
"""

import argparse
import logging
from pathlib import Path

import torch

import cli
from stratamil.cohort import inventory, splits
from stratamil.core import files
from stratamil.explain import perturb
from stratamil.features import store
from stratamil.mil import checkpoint


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--checkpoints", nargs="+", type=Path, required=True, help="one a seed, or one for all")
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature shards")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--split", type=Path, required=True, help="npz with test_cases")
    parser.add_argument("--seeds", nargs="+", type=int, required=True, help="of the trainings; of random orders, too")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--stains", nargs="+", required=True)
    cli.add_settings(parser, "faithfulness")
    cli.add_settings(parser, "attention", "top_percent")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the split, in which each seed has its own"
    )
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    split = splits.read(args.split)
    y = inventory.class_indices(args.cases, args.classes)
    data = store.read(args.features, split.test)
    model, all_bags, _ = checkpoint.for_test(args.checkpoints, data, classes=args.classes, stains=args.stains)
    members = cli.members(args.seeds, args.checkpoints)
    tables = perturb.perturb(
        model,
        all_bags,
        data.table,
        case_ids=split.test,
        y=y,
        classes=args.classes,
        settings=[
            (member, perturb.Settings(random_orders=args.random_orders, top_percent=args.top_percent, seed=seed))
            for seed, member in members
        ],
    )
    for (seed, _), (of_cases, curves, parts) in zip(members, tables, strict=True):
        folder = args.output / f"seed_{seed}"
        files.write_csv(of_cases, folder / "perturbation.csv")
        files.write_csv(curves, folder / "perturbation_curves.csv")
        files.write_csv(parts, folder / "perturbation_parts.csv")
        logging.info("%s: %d cases, %d patches", folder, len(of_cases), of_cases["patches"].sum())


if __name__ == "__main__":
    cli.run(main, arguments())

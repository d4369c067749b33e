"""Predict the test cases of every split without attention, for comparison: see stratamil/evaluation/baselines.py.

Reads the features of the model and the colour of images; a fit sees training and validation cases of its split only.
"""

import argparse
import logging
from pathlib import Path

import cli
from stratamil.cohort import inventory, splits
from stratamil.core import files
from stratamil.features import store


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature shards of the model's encoder")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--splits", nargs="+", type=Path, required=True, help="data_splits_<split>.npz")
    parser.add_argument("--classes", nargs="+", required=True, help="class names, in order")
    parser.add_argument("--output", type=Path, required=True, help="predictions.csv to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    cases = inventory.used_cases(args.cases)
    sets = {path.stem.removeprefix("data_splits_"): splits.read(path) for path in args.splits}
    wanted = sorted({case for split in sets.values() for case in [*split.train, *split.val, *split.test]})
    from stratamil.evaluation import baselines  # scikit-learn takes a second; not before it is needed

    described = baselines.descriptions(store.read(args.features, wanted))
    labels = dict(zip(cases["case_id"], cases["class"]))
    predictions = baselines.predict(described, labels, sets, args.classes)
    files.write_csv(predictions, args.output)
    logging.info("%d cases in %d splits predicted by %s", len(wanted), len(sets), ", ".join(described))


if __name__ == "__main__":
    cli.run(main, arguments())

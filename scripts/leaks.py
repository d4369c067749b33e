"""Say which cases of different patients have the same tissue and are in different sets of a split.

With --duplicates error (and merge, which should have kept them together) this is an error, so that no model is trained.
"""

import argparse
from pathlib import Path

import pandas as pd

import cli
from stratamil.cohort import duplicates, inventory, splits
from stratamil.core import files, tables

COLUMNS = ["split", "cases", "sets", "patches", "example", "like"]


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--same-tissue", type=Path, required=True, help="patches.csv of rule duplicates")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--splits", nargs="+", type=Path, required=True, help="data_splits_<split>.npz")
    cli.add_settings(parser, "cohort", "patient_column", "duplicates")
    parser.add_argument("--preset", action=argparse.BooleanOptionalAction, help="whether the splits are given")
    parser.add_argument("--output", type=Path, required=True, help="leaks.csv to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    used, found = inventory.used_cases(args.cases), tables.read(args.same_tissue)
    sets = {path.stem.removeprefix("data_splits_"): splits.read(path) for path in args.splits}
    told = splits.Told("near-duplicate patch", args.patient_column is not None, can_merge=not args.preset)
    if lines := list(splits.copies(sets, found, used, args.same_tissue, told)):
        lines.append(f"{args.same_tissue}: it lists all of them; target cohort shows them side by side")
    splits.refuse(lines, args.duplicates)
    patient_of = dict(zip(used["case_id"], used["patient_id"]))
    rows = duplicates.by_cases(found[found["case_id"].isin(patient_of)])
    parted = [
        (split, ";".join(row["cases"]), ";".join(places), row["files"], *row["examples"][:2])
        for row, split, places in duplicates.parted(rows, sets, patient_of)
    ]
    files.write_csv(pd.DataFrame(parted, columns=COLUMNS), args.output)


if __name__ == "__main__":
    cli.run(main, arguments())

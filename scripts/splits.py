"""Split the used cases into train, validation and test sets, or check the splits that are given."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import cli
from stratamil.cohort import duplicates, generated_splits, sites, splits
from stratamil.cohort.inventory import USED
from stratamil.core import tables
from stratamil.core.errors import UserError, few


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--equal-files", type=Path, help="duplicates.csv of the inventory")
    parser.add_argument("--same-tissue", type=Path, help="patches.csv of rule duplicates, for --duplicates merge")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--labels", default="the labels table", help="where the cases are from, for messages")
    cli.add_settings(parser, "cohort", "patient_column", "duplicates")
    cli.add_settings(parser, "splits", "n_splits", "validation", "n_repeats", "by", "balance", "seed")
    parser.add_argument("--preset", nargs="*", default=[], type=Path, help="existing split files, one an output")
    parser.add_argument("--output", nargs="+", type=Path, required=True, help="one npz a split")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    cases = tables.read_cases(args.cases)
    used = cases[cases["status"] == USED]
    equal = tables.read(args.equal_files) if args.equal_files else None
    if args.duplicates == "merge":
        found = [tables.read(args.same_tissue)] if args.same_tissue else []
        before, used = used, merge(used, found if equal is None else [*found, equal])
        if args.by == "site" and (problems := list(sites.bridged(before, used))):
            raise UserError(*problems)
    if args.preset:
        made, shares = splits.preset(args.preset, cases, args.classes), None
    else:
        made = generated_splits.generate(
            used,
            args.classes,
            n_splits=args.n_splits,
            n_repeats=args.n_repeats,
            validation=args.validation,
            seed=args.seed,
            left_out=generated_splits.left_out(cases, args.labels),
            by=args.by,
            balance=args.balance,
        )
        shares = generated_splits.shares(args.n_splits, args.validation)
    if len(made) != len(args.output):
        raise UserError(f"{len(made)} splits for {len(args.output)} outputs: set splits.n_splits to their number")
    if args.by == "site":
        names = args.preset if len(args.preset) == len(made) else made  # a file may hold several splits
        if problems := [line for split, name in zip(made.values(), names) for line in sites.shared(split, used, name)]:
            raise UserError(*problems)
    if equal is not None:
        told = splits.Told("equal file", args.patient_column is not None, can_merge=not args.preset)
        splits.refuse(list(splits.copies(made, equal, used, args.equal_files, told)), args.duplicates)
    for line in splits.warnings(made, used, args.classes, shares, args.by == "site"):
        logging.warning(line)
    for split, path in zip(made.values(), args.output):
        splits.write(split, path)
    logging.info("splits\n%s", splits.table(made, used, args.classes).to_string(index=False))


def merge(used: pd.DataFrame, found: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the used cases with one patient where several have the same tissue, and say which these are."""
    merged = duplicates.merged(used, found)
    for patient, cases in used[used["patient_id"] != merged["patient_id"]].groupby(merged["patient_id"], sort=False):
        together = [patient, *cases["patient_id"].unique()]
        logging.warning("split as one, for they have the same tissue: %s", few(together, 8))
    return merged


if __name__ == "__main__":
    cli.run(main, arguments())

"""Split the used cases into train, validation and test sets, or check the splits that are given."""

import logging
from pathlib import Path

import cli
from stratamil.cohort import splits
from stratamil.cohort.inventory import USED
from stratamil.core import tables
from stratamil.core.errors import UserError


def arguments():
    parser = cli.parser(__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--duplicates", type=Path, help="duplicates.csv of the inventory")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--labels", default="the labels table", help="where the cases are from, for messages")
    cli.add_settings(parser, "splits", "n_splits", "validation", "n_repeats", "seed")
    parser.add_argument("--preset", nargs="*", default=[], type=Path, help="existing split files, one an output")
    parser.add_argument("--output", nargs="+", type=Path, required=True, help="one npz a split")
    return parser.parse_args()


def main(args):
    cases = tables.read_cases(args.cases)
    used = cases[cases["status"] == USED]
    if args.preset:
        made, shares = splits.preset(args.preset, cases, args.classes), None
    else:
        left_out = splits.left_out(cases, args.labels)
        made = splits.generate(used, args.classes, args.n_splits, args.seed, args.validation, args.n_repeats, left_out)
        shares = splits.shares(args.n_splits, args.validation)
    if len(made) != len(args.output):
        raise UserError(f"{len(made)} splits for {len(args.output)} outputs: name one file a split")
    if args.duplicates and (problems := list(splits.copies(made, tables.read(args.duplicates), used, args.duplicates))):
        raise UserError(*problems)
    for line in splits.warnings(made, used, args.classes, shares):
        logging.warning(line)
    for split, path in zip(made.values(), args.output):
        splits.write(split, path)
    logging.info("splits\n%s", splits.table(made, used, args.classes).to_string(index=False))


if __name__ == "__main__":
    cli.run(main, arguments())

"""Split the used cases into train, validation and test sets, or check the splits that are given."""

import logging
from pathlib import Path

import cli
from stratamil import inventory, splits
from stratamil.errors import UserError


def arguments():
    parser = cli.parser(__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--n", type=int, default=5, help="number of generated splits")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--preset", nargs="*", default=[], type=Path, help="existing split files, one an output")
    parser.add_argument("--output", nargs="+", type=Path, required=True, help="one npz a split")
    return parser.parse_args()


def main(args):
    cases = inventory.used_cases(args.cases)
    made = [splits.read(path) for path in args.preset] or splits.generate(cases, args.n, args.seed)
    problems = [
        problem
        for split, path in zip(made, args.preset or args.output)
        for problem in splits.check(split, cases, path, args.classes)
    ]
    if problems:
        raise UserError(*problems)
    for line in splits.coverage(made, cases):
        logging.warning("cases %s", line)
    for split, path in zip(made, args.output):
        splits.write(split, path)
    logging.info("splits\n%s", splits.table(made, cases, args.classes).to_string(index=False))


if __name__ == "__main__":
    cli.run(main, arguments())

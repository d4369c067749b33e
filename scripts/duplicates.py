"""Find patches that show the same tissue, even turned, trimmed or saved again, in cases of a study.

Those of several cases are listed by group; those within a case are counted. No image is opened.
"""

import argparse
import logging
from pathlib import Path

import cli
from stratamil.core import files
from stratamil.features import duplicate_tables, near_duplicates, store


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature shards of the study")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help="patches.csv: groups of patches of several cases")
    parser.add_argument("--json", type=Path, required=True, help="duplicates.json: numbers")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    data = store.read(args.features)
    found = near_duplicates.find(data, args.threads)
    listed = duplicate_tables.across(data.table, found)
    numbers = duplicate_tables.numbers(data.table, found, data.sketch is not None)
    files.write_csv(listed, args.output)
    files.write_json(numbers, args.json)
    logging.info("%d of %d patches compared", numbers["compared"], numbers["patches"])
    logging.info("same tissue: %d patches of several cases, %d within a case", len(listed), numbers["within"])


if __name__ == "__main__":
    cli.run(main, arguments())

"""Take over the results folder of an earlier version, which had no mark: later runs then replace files in it."""

import argparse

import cli
from stratamil.workflow import results_folder


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("results", help="the folder that the config names results")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    results_folder.adopt(args.results)
    print(f"{args.results}: adopted; run again")


if __name__ == "__main__":
    cli.run(main, arguments())

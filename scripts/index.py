"""Write the first page of a study: which pages there are, with the finding of each.

Reads the JSON file beside each page.
"""

import argparse
import logging
from pathlib import Path

import cli
from stratamil.report import door


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--pages", nargs="+", type=Path, required=True, help="JSON files beside the pages")
    cli.add_settings(parser, "report", "title", "first_look", "colors")
    parser.add_argument("--template", type=Path, required=True, help="door.html.j2")
    parser.add_argument("--output", type=Path, required=True, help="index.html of the results folder")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    told = {"title": args.title, "first_look": args.first_look, "colors": args.colors}
    door.write(args.pages, args.output, template=args.template, **told)
    logging.info("%s: %d pages", args.output, len(args.pages))


if __name__ == "__main__":
    cli.run(main, arguments())

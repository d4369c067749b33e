"""Write the first page of a study: which pages there are, with the finding of each.

Reads the JSON file beside each page.
"""

import argparse
import logging
from pathlib import Path

import cli
from stratamil.core import files
from stratamil.report import door, page


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--pages", nargs="+", type=Path, required=True, help="JSON files beside the pages")
    cli.add_settings(parser, "report", "title", "colors")
    parser.add_argument("--template", type=Path, required=True, help="door.html.j2")
    parser.add_argument("--output", type=Path, required=True, help="index.html of the results folder")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    entries = door.entries(args.pages, args.output.parent)
    text = page.template(args.template).render(title=args.title, colors=args.colors, entries=entries)
    files.write_text(text, args.output)
    logging.info("%s: %d pages", args.output, len(entries))


if __name__ == "__main__":
    cli.run(main, arguments())

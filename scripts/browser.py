"""Write the case browser: every patch of every test case with its weight and contribution; page, data, no server.

Reads tables, and what the thumbnails show.
"""

import argparse
import json
import logging
from pathlib import Path

import cli
from stratamil.core import files, tables
from stratamil.core.errors import UserError


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--folders", nargs="+", type=Path, required=True, help="of each split: its ensemble, or its only run"
    )
    parser.add_argument("--splits", nargs="+", required=True, help="name of the split of each folder")
    parser.add_argument("--seeds", nargs="+", required=True, help="of the study")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--stains", nargs="+", required=True)
    parser.add_argument("--patches-table", type=Path, required=True, help="patches.parquet of the inventory")
    parser.add_argument("--images", type=Path, help="folder of patch images, if there are any")
    parser.add_argument("--thumbnails", nargs="*", type=Path, default=[], help="JSON files of scripts/thumbnails.py")
    cli.add_settings(parser, "browser", "patches", "px")
    cli.add_settings(parser, "attention", "top_percent")
    cli.add_settings(parser, "report", "title", "first_look", "colors")
    parser.add_argument("--page", type=Path, required=True, help="folder of the page's files, report/browser")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from stratamil.report import browser, browser_cases  # matplotlib takes half a second

    if len(args.splits) != len(args.folders):
        raise UserError(f"--splits: {len(args.splits)} names for {len(args.folders)} folders: give one each")
    cases, folders, sprites = tables.read_cases(args.cases), dict(zip(args.splits, args.folders)), {}
    source = browser_cases.of_study(folders, args.seeds, cases, args.classes)
    for path in args.thumbnails:
        with files.readable(path, "run thumbnails"):
            sprites |= json.loads(path.read_text(encoding="utf-8"))["folders"]
    look = browser.Look.of(
        f"{args.title}{' (a first look: not to be quoted)' if args.first_look else ''}",
        args.classes,
        args.stains,
        args.colors,
        px=args.px,
        percent=args.top_percent if args.patches == "top" else None,
        images=args.images,
        places=args.patches_table,
    )
    browser.publish(source, look, sprites, page=args.page, output=args.output)
    logging.info("%s/index.html: %d cases", args.output, sum(len(found) for _, found in source.attention))


if __name__ == "__main__":
    cli.run(main, arguments())

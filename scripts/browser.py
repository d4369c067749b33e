"""Write the case browser: every patch of every test case with its weight and contribution; page, data, no server.

Reads tables, and what the thumbnails show. Of new cases it reads what predict wrote.
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
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folders", nargs="+", type=Path, help="of each split: its ensemble, or its only run")
    source.add_argument("--predictions", type=Path, help="folder that predict wrote")
    parser.add_argument("--splits", nargs="*", default=[], help="name of the split of each folder")
    parser.add_argument("--seeds", nargs="*", default=[], help="of the study")
    parser.add_argument("--cases", type=Path, help="cases.csv of the study's inventory")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--stains", nargs="+", required=True)
    parser.add_argument("--patches-table", type=Path, required=True, help="patches.parquet of the inventory")
    parser.add_argument("--images", type=Path, help="folder of patch images, if there are any")
    parser.add_argument("--thumbnails", nargs="*", type=Path, default=[], help="JSON files of scripts/thumbnails.py")
    cli.add_settings(parser, "browser", "patches", "px")
    cli.add_settings(parser, "attention", "top_percent")
    cli.add_settings(parser, "report", "title", "colors")
    parser.add_argument("--page", type=Path, required=True, help="folder of the page's files, report/browser")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from stratamil.features import thumbnails
    from stratamil.report import browser, browser_cases, page, style  # matplotlib takes half a second

    page.check_colors(args.colors)
    if args.predictions:
        source = browser_cases.of_predictions(args.predictions, args.classes)
    else:
        if not (args.cases and args.seeds and len(args.splits) == len(args.folders)):
            raise UserError("of a study give --cases, --seeds, and in --splits a name for each of --folders")
        folders = dict(zip(args.splits, args.folders))
        source = browser_cases.of_study(folders, args.seeds, tables.read_cases(args.cases), args.classes)
    sprites = {}
    for path in args.thumbnails:
        with files.readable(path, "run thumbnails"):
            sprites |= json.loads(path.read_text(encoding="utf-8"))["folders"]
    look = browser.Look(
        title=args.title,
        classes={name: args.colors[i % len(args.colors)] for i, name in enumerate(args.classes)},
        stains=style.palette(args.stains),
        px=args.px,
        percent=args.top_percent if args.patches == "top" else None,
        images=args.images,
        places=args.patches_table,
    )
    with files.updated_folder(args.output) as folder:
        browser.write(source, look, sprites, args.page, folder, args.output)
    for stale in (args.output / browser.SPRITES).glob("*/"):
        if stale.name not in sprites.values():
            thumbnails.remove(stale)
    logging.info("%s/index.html: %d cases", args.output, sum(len(cases) for _, cases in source.attention))


if __name__ == "__main__":
    cli.run(main, arguments())

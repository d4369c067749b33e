"""Make the thumbnails of the patches of one shard for the case browser; a case whose files are the same keeps its own.

An image that cannot be read is a gap, and one that has been moved leaves the thumbnail that it had.
"""

import argparse
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

import cli
from stratamil.cohort import inventory
from stratamil.core import files, progress
from stratamil.core.errors import Stopped, UserError, few
from stratamil.core.names import file_name
from stratamil.explain import patch_tables
from stratamil.features import store, thumbnails


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    cli.add_shard(parser)
    parser.add_argument("--patches", type=Path, required=True, help="folder of patch images")
    cli.add_settings(parser, "browser", "px")
    parser.add_argument("--attention", nargs="*", type=Path, default=[], help="tables of attention: top patches alone")
    cli.add_settings(parser, "attention", "top_percent")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write; a folder a case lies beside it")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    if not args.patches.is_dir():
        raise UserError(f"{args.patches}: no such folder: give the folder of the patch images")
    used = inventory.used_cases(args.cases)["case_id"]
    cases = store.of_shard(used, args.shard, args.shards)
    patches = pd.read_parquet(args.patches_table, columns=["case_id", "path"])
    paths = patches[patches["case_id"].isin(cases)].groupby("case_id", sort=False)["path"].agg(list).to_dict()
    if args.attention:
        paths = chosen(paths, args.attention, args.top_percent)
    folders = make(paths, args.patches, args.output.parent, args.px, args.threads)
    files.write_json({"folders": folders}, args.output)


def make(paths: dict[str, list[str]], images: Path, sprites: Path, px: int, threads: int) -> dict[str, str]:
    """Make the thumbnails of each case in a folder below `sprites`; return the name of each case's folder.

    paths: case -> its patches, below the folder `images`.
    """
    made, lost = 0, {}
    with cli.stoppable() as stop, ThreadPoolExecutor(threads) as pool:
        for case in progress.track(paths, len(paths), "cases"):
            index, new = thumbnails.update(sprites / file_name(case), images, paths[case], px, pool)
            made, lost = made + new, lost | index.lost
            if stop():
                raise Stopped("stopped: the thumbnails of the cases before this one are kept: run again")
    if lost:
        logging.warning("no thumbnail: %d files: %s", len(lost), few([f"{path} ({lost[path]})" for path in lost], 5))
    logging.info("thumbnails: %d of %d cases made, %d patches", made, len(paths), sum(map(len, paths.values())))
    return {case: file_name(case) for case in paths}


def chosen(paths: dict[str, list[str]], tables: list[Path], percent: float) -> dict[str, list[str]]:
    """Return the paths of each case that are among its top patches in one of the tables of attention."""
    top = {}
    for table in tables:
        for patches in patch_tables.by_case(table):
            case = patches["case_id"].iloc[0]
            if case in paths:
                top.setdefault(case, set()).update(patches["path"][patch_tables.top(patches, percent)])
    return {case: [path for path in paths[case] if path in top.get(case, ())] for case in paths}


if __name__ == "__main__":
    cli.run(main, arguments())

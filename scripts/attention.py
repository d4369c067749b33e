"""Show what the attention of one split says, of each seed and of their ensemble: tables, galleries, figures.

Reads the weights that evaluate wrote and the patches as they are on disk; the model is not run again. Where patches
have coordinates, of their names or of precomputed features, there are maps of attention, and without images no
galleries.
"""

import argparse
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

import cli
from stratamil.cohort import splits
from stratamil.core import files, progress
from stratamil.core.errors import Stopped, UserError
from stratamil.explain import attention_tables, attention_text, planted_signal
from stratamil.explain.attention_tables import Case


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--folders", nargs="+", type=Path, required=True, help="of the runs, the ensemble's last")
    parser.add_argument("--names", nargs="+", required=True, help="of the runs, for titles: 'seed 1'")
    parser.add_argument("--patches", type=Path, help="folder of patch images, if there are any")
    parser.add_argument("--split", required=True)
    parser.add_argument("--stains", nargs="+", required=True, metavar="STAIN", help="all stains, in order")
    cli.add_settings(parser, "attention", "top_n", "top_percent", "cases", "max_cases", "runs")
    parser.add_argument("--tested", nargs="*", type=Path, default=[], help="split files of the study, to check --cases")
    parser.add_argument("--truth", type=Path, help="table with columns file and signal (0 or 1)")
    parser.add_argument("--patches-table", type=Path, help="patches.parquet of the inventory, to check --truth")
    parser.add_argument("--threads", type=int, default=1, help="cases drawn at once")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    if args.patches and not args.patches.is_dir():
        raise UserError(f"{args.patches}: no such folder: give the folder of the patch images")
    if args.truth and args.patches_table:
        planted_signal.check(args.truth, args.patches_table)
    tested = [case for path in args.tested for case in splits.read(path).test]
    with cli.stoppable() as stop:
        for folder, name in zip(args.folders, args.names, strict=True):
            galleries_too = args.runs == "all" or folder == args.folders[-1]
            run = f"split {args.split}, {name}"
            analyse(folder, run, args, tested, stop if galleries_too else None)


def analyse(
    folder: Path,
    run: str,
    args: argparse.Namespace,
    tested: list[str],
    stop: Callable[[], bool] | None,
    kind: str = "test cases",
) -> None:
    """Write attention_analysis of one run; its files are replaced when all is done.

    run, kind: what headings call the run and its cases. tested: test cases of the whole study. stop: whether
    to stop drawing galleries; None draws none.
    """
    from stratamil.report import case_plots, galleries, style  # matplotlib takes half a second

    cases = attention_tables.read_cases(folder / "patch_attention.parquet", folder / "predictions.csv", args.stains)
    patches = pd.concat([case.patches for case in cases], ignore_index=True)
    truth = planted_signal.read_truth(args.truth, patches) if args.truth else None
    chosen = attention_tables.choose(cases, args.cases, args.max_cases, tested)
    # A stain that no test case of the split has says nothing here; the others keep their colours.
    stains = style.palette(args.stains, attention_tables.stains_of(cases, args.stains))
    heading = f"{run}, {len(cases)} {kind}, {len(patches)} patches"
    with files.updated_folder(folder / "attention_analysis") as output:
        write_tables(cases, list(stains), args, heading, output)
        signal = truth and truth[""]
        files.write_csv(attention_tables.summary(cases, args.stains, signal), output / "summary.csv")
        if args.truth:
            files.write_json(score_truth(cases, truth, args, run, folder), output / "truth_auc.json")
        drawn = case_plots.stain_distribution(cases, stains, heading, kind)
        style.save(drawn, output / "stain_attention_distribution.png")
        if stop:
            draw = partial(
                galleries.draw_case, patches=args.patches, output=output, stains=stains, top_n=args.top_n, heading=run
            )
            draw_cases(chosen, draw, args.threads, folder, stop)


def write_tables(cases: list[Case], stains: list[str], args: argparse.Namespace, heading: str, folder: Path) -> None:
    """Write the summary of all cases and the table of the most attended patches."""
    summary = attention_text.summary_text(cases, stains, heading, images=bool(args.patches))
    files.write_text(summary, folder / "attention_summary.txt")
    top, percent = attention_tables.top_table(cases, args.top_percent), args.top_percent
    files.write_csv(top, folder / f"top_effective_patches_per_case_{percent}pct.csv")
    text = attention_text.top_text(cases, top, stains, percent, heading)
    files.write_text(text, folder / f"top_effective_patches_per_case_summary_{percent}pct.txt")


def score_truth(
    cases: list[Case], truth: dict[str, pd.Series], args: argparse.Namespace, run: str, folder: Path
) -> dict[str, Any]:
    """Return how well attention finds the planted or annotated signal, for truth_auc.json. folder: of the run."""
    signal, positive = truth[""], planted_signal.positive_class(folder / "predictions.csv")
    if signal.isna().any():
        logging.warning("%s: %d patches have no signal there and are not scored", args.truth, signal.isna().sum())
    scores = planted_signal.truth_scores(cases, signal, positive)
    logging.info("%s: attention AUROC of signal patches: %s (%d cases)", run, scores["mean_auc"], scores["cases"])
    readers = {"readers": planted_signal.reader_scores(cases, truth, positive)} if len(truth) > 1 else {}
    readers |= {"agreement": planted_signal.agreed(args.truth)} if readers else {}
    return {"split": args.split, "run": run.partition(", ")[2], **scores, **readers}


def draw_cases(
    cases: list[Case], draw: Callable[[Case], list[str]], threads: int, folder: Path, stop: Callable[[], bool]
) -> None:
    """Draw the figures of each case, `threads` cases at once. Raises Stopped when `stop` says so.

    draw: draws those of one case and returns a line for each image that it could not read.
    """
    with ProcessPoolExecutor(threads, initializer=end_with_parent) as pool:
        drawn = pool.map(draw, cases) if threads > 1 else map(draw, cases)
        try:
            for unreadable in progress.track(drawn, len(cases), "cases"):
                for line in unreadable:
                    logging.warning("not drawn: %s", line)
                if stop():
                    pool.shutdown(cancel_futures=True)
                    raise Stopped("stopped: nothing half-written is left: run again")
        except BrokenProcessPool:
            raise UserError(
                f"{folder}: a process that drew was killed, as for want of memory: give the job more, or fewer threads"
            ) from None


def end_with_parent() -> None:
    """End this process when its parent is killed: it would wait for work for ever."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    cli.run(main, arguments())

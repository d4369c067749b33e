"""Paint the demo cohort: H&E, Melan-A and SOX10 patches of an invented study, its labels, and where its signal is.

Writes what it is asked for: patches, labels, truth, preset splits.
The same seed, number of cases and size give the same files.
"""

import argparse
from pathlib import Path

import cli
from stratamil.core.errors import UserError
from stratamil.demo import painter


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, "demo")
    parser.add_argument("--patches", type=Path, help="folder for the patches; must be empty or hold this very cohort")
    parser.add_argument("--labels", type=Path, help="CSV of Case, Class, Patient")
    parser.add_argument("--truth", type=Path, help="CSV of file, case_id, stain, slice_id, signal")
    parser.add_argument("--splits", type=Path, help="folder for data_splits_01.npz and so on")
    parser.add_argument("--threads", type=int, default=2, help="patches painted at once")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    if not (args.patches or args.labels or args.truth or args.splits):
        raise UserError("nothing to write: give --patches, --labels, --truth or --splits")
    cohort = painter.plan(args.seed, args.cases)
    if args.patches:
        painter.write_patches(cohort, args.seed, args.patch_px, args.patches, args.threads)
    if args.labels:
        painter.write_labels(cohort, args.labels)
    if args.truth:
        painter.write_truth(cohort, args.truth)
    if args.splits:
        painter.write_splits(cohort, args.seed, args.splits)


if __name__ == "__main__":
    cli.run(main, arguments())

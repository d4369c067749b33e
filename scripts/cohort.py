"""Show the cohort before any model is trained: a page, its numbers, and a picture of sample patches.

Tables are those of the inventory and the splits; what the patches hold is known from feature files, and only a sample
of the patches is opened.
"""

import logging
from pathlib import Path

import pandas as pd

import cli
from stratamil.cohort import duplicates, splits
from stratamil.core import files, provenance, tables
from stratamil.core.errors import UserError
from stratamil.features import quality
from stratamil.report import cohort_summary, page, samples, style


def arguments():
    parser = cli.parser(__doc__)
    parser.add_argument("--patches-table", type=Path, required=True, help="patches.parquet of the inventory")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--excluded", type=Path, required=True, help="excluded.csv of the inventory")
    parser.add_argument("--duplicates", type=Path, help="duplicates.csv of the inventory, with --features")
    parser.add_argument("--features", nargs="+", type=Path, help="shards of stain_stats, or of precomputed features")
    parser.add_argument("--splits", nargs="+", type=Path, required=True, help="data_splits_<split>.npz")
    parser.add_argument("--preset", help="where the splits were read from, if they were")
    cli.add_settings(parser, "splits", "n_splits", "validation", "n_repeats")  # of generated splits
    parser.add_argument("--split-seed", type=int, help="of the generated splits")
    parser.add_argument("--patches", type=Path, help="folder of patch images, if there are any")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--stains", nargs="+", required=True, metavar="STAIN", help="all stains, in order")
    cli.add_settings(parser, "cohort", "patient_column")
    cli.add_settings(parser, "report", "bootstrap_samples", "seed", "colors")
    parser.add_argument("--template", type=Path, required=True, help="cohort.html.j2")
    parser.add_argument("--output", type=Path, required=True, help="cohort.html")
    parser.add_argument("--json", type=Path, required=True, help="cohort.json")
    parser.add_argument("--samples", type=Path, help="samples.jpg, with --patches")
    return parser.parse_args()


def main(args):
    page.check_colors(args.colors)
    if args.patches and not args.patches.is_dir():
        raise UserError(f"{args.patches}: no such folder: give the folder of the patch images")
    cases = tables.read_cases(args.cases)
    excluded = tables.read_excluded(args.excluded)
    listed = pd.read_parquet(args.patches_table)
    patches = cohort_summary.classed(listed, cases)
    found = {path.stem.removeprefix("data_splits_"): splits.read(path) for path in args.splits}
    sides = samples.sides(patches, args.patches, args.seed) if args.patches else None
    plan = {name: getattr(args, name) for name in ("preset", "n_splits", "validation", "n_repeats")} | {
        "seed": args.split_seed
    }
    of_cohort = (
        args.classes,
        args.stains,
        args.patient_column,
        args.bootstrap_samples,
        args.seed,
        plan,
        look(args, cases),
    )
    numbers = cohort_summary.numbers(patches, cases, excluded, found, sides, *of_cohort)
    numbers["warnings"] += listed.attrs.get("warnings", [])
    inputs = [args.patches_table, args.cases, args.excluded, *args.splits]
    inputs += [args.duplicates] if args.duplicates else []
    numbers |= {
        "samples": draw(patches, numbers["stains"], args) if args.patches else [],
        "folder": str(args.patches) if args.patches else None,
        "commit": provenance.commit(),
        "inputs": {path.name: files.sha256(path) for path in inputs},
    }
    files.write_json(numbers, args.json)
    files.write_text(render(numbers, args), args.output)
    for line in numbers["warnings"]:
        logging.warning(line)
    logging.info("%s: %d cases, warnings: %d", args.output, numbers["total"]["cases"], len(numbers["warnings"]))


def look(args, cases):
    """What the patches hold, if feature files tell; see stratamil/features/quality.py."""
    if not args.features:
        return None
    copies = tables.read(args.duplicates) if args.duplicates else pd.DataFrame(columns=duplicates.COLUMNS)
    return quality.look(args.features, copies, dict(zip(cases["case_id"], cases["patient_id"])), bool(args.patches))


def draw(patches, stains, args):
    """Write the picture of sample patches; returns what it shows."""
    of_cohort = stains, args.classes, args.patches, args.colors, args.seed
    picture, shown, unreadable = samples.montage(patches, *of_cohort)
    samples.write(picture, args.samples)
    for line in unreadable:
        logging.warning("not drawn: %s", line)
    return shown


def render(numbers, args):
    """The page with its figures and the picture of samples."""
    figures = {
        name: page.inline(style.svg(figure), name, words, args.colors)
        for name, (figure, words) in cohort_summary.figures(numbers, args.colors).items()
    }
    return page.template(args.template).render(
        title="The cohort",
        colors=args.colors,
        cohort=numbers,
        samples=page.picture(args.samples) if args.patches else None,
        figures=figures,
    )


if __name__ == "__main__":
    cli.run(main, arguments())

"""Show the cohort before any model is trained: a page, its numbers, and an image of sample patches.

Tables are those of the inventory and the splits; what the patches hold is known from feature files, and only the
patches that are shown are opened.
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import cli
from stratamil.cohort import columns, duplicates, near_copies, sites, splits
from stratamil.cohort.inventory import USED
from stratamil.core import files, provenance, tables
from stratamil.core.errors import UserError
from stratamil.features import left_out, quality, store
from stratamil.report import cohort_sentences

PLAN = ("preset", "n_splits", "validation", "n_repeats", "by", "balance")


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--patches-table", type=Path, required=True, help="patches.parquet of the inventory")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--excluded", type=Path, required=True, help="excluded.csv of the inventory")
    parser.add_argument("--duplicates", type=Path, help="duplicates.csv of the inventory, with --features")
    parser.add_argument("--same-tissue", nargs=2, type=Path, help="patches.csv and duplicates.json of rule duplicates")
    parser.add_argument("--features", nargs="+", type=Path, help="feature shards of the study")
    parser.add_argument("--splits", nargs="+", type=Path, required=True, help="data_splits_<split>.npz")
    parser.add_argument("--preset", help="where the splits were read from, if they were")
    cli.add_settings(parser, "splits", "n_splits", "validation", "n_repeats", "by", "balance")
    parser.add_argument("--split-seed", type=int, help="of the generated splits")
    parser.add_argument("--patches", type=Path, help="folder of patch images, if there are any")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--stains", nargs="+", required=True, metavar="STAIN", help="all stains, in order")
    cli.add_settings(parser, "cohort", "case_column", "patient_column", "site_column", "missing_words")
    cli.add_settings(parser, "cohort.quality", "pen")
    cli.add_settings(parser, "report", "title", "bootstrap_samples", "seed", "colors", "columns")
    parser.add_argument("--first-page", type=Path, help="index.html of the study, to link to")
    parser.add_argument("--labels", type=Path, help="labels table, for columns")
    parser.add_argument("--template", type=Path, required=True, help="cohort.html.j2")
    parser.add_argument("--output", type=Path, required=True, help="index.html")
    parser.add_argument("--json", type=Path, required=True, help="cohort.json")
    parser.add_argument("--samples", type=Path, help="samples.jpg, with --patches")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from stratamil.evaluation import mixed_stains, stain_identity
    from stratamil.report import cohort_summary, page, samples  # matplotlib takes half a second

    page.check_colors(args.colors)
    if args.patches and not args.patches.is_dir():
        raise UserError(f"{args.patches}: no such folder: give the folder of the patch images")
    cases = tables.read_cases(args.cases)
    excluded = tables.read_excluded(args.excluded)
    listed = pd.read_parquet(args.patches_table)
    patches = cohort_summary.classed(listed, cases)
    sets = {path.stem.removeprefix("data_splits_"): splits.read(path) for path in args.splits}
    plan = {name: getattr(args, name) for name in PLAN}
    lost = left_out.read(args.features) if args.features else None
    data = store.read(args.features) if args.features else None
    known = read_columns(args, cases)
    numbers = cohort_summary.numbers(
        patches,
        cases,
        excluded,
        sets,
        sides=samples.sides(patches, store.facts(args.features or [])) if args.patches else None,
        classes=args.classes,
        stains=args.stains,
        patient_column=args.patient_column,
        bootstrap_samples=args.bootstrap_samples,
        seed=args.seed,
        plan=plan | {"seed": args.split_seed},
        quality=look(args, cases),
        unreadable=lost,
        looks={
            "sites": look_at_sites(args, cases, sets, data),
            "names": stain_identity.look(data, args.stains, args.seed) if data else None,
            "mixed_stains": mixed_stains.look(data) if data else [],
            "drift": drift(args, cases, known, data),
            "implausible": list(columns.implausible(known.values(), dict(zip(cases["case_id"], cases["patient_id"])))),
            "twice": look_at_same_tissue(args, cases, sets),
            "patch_quality": grade(args, cases, data),
        },
    )
    numbers["warnings"] += listed.attrs.get("warnings", [])
    numbers["notes"] += [f"{line}." for line in listed.attrs.get("notes", [])]
    inputs = [args.patches_table, args.cases, args.excluded, *args.splits]
    inputs += [args.duplicates] if args.duplicates else []
    read = patches if lost is None else patches[~patches["path"].isin(lost["path"])]
    numbers |= {
        "samples": draw(read, numbers["stains"], args) if args.patches else [],
        "folder": str(args.patches) if args.patches else None,
        "commit": provenance.commit(),
        "inputs": {path.name: files.sha256(path) for path in inputs},
    }
    files.write_json(numbers, args.json)
    files.write_text(render(numbers, args), args.output)
    for line in numbers["warnings"]:
        logging.warning(line)
    logging.info("%s: %d cases, warnings: %d", args.output, numbers["total"]["cases"], len(numbers["warnings"]))


def look(args: argparse.Namespace, cases: pd.DataFrame) -> dict[str, Any] | None:
    """Return what the patches hold, if feature files tell; see stratamil/features/quality.py."""
    if not args.features:
        return None
    copies = tables.read(args.duplicates) if args.duplicates else pd.DataFrame(columns=duplicates.COLUMNS)
    used = cases[cases["status"] == USED]
    return quality.look(args.features, copies, dict(zip(used["case_id"], used["patient_id"])), bool(args.patches))


def look_at_same_tissue(
    args: argparse.Namespace, cases: pd.DataFrame, sets: Mapping[str, splits.Split]
) -> dict[str, Any] | None:
    """Return which cases share tissue, if that was asked."""
    if not args.same_tissue:
        return None
    table, numbers = args.same_tissue
    used = cases[cases["status"] == USED]
    patient_of = dict(zip(used["case_id"], used["patient_id"]))
    return near_copies.seen(tables.read(table), json.loads(numbers.read_text(encoding="utf-8")), sets, patient_of)


def look_at_sites(
    args: argparse.Namespace, cases: pd.DataFrame, sets: Mapping[str, splits.Split], data: store.Features | None
) -> dict[str, Any] | None:
    """Return how classes are spread over sites and how well features tell these, if a column names them."""
    if not args.site_column:
        return None
    from stratamil.evaluation import site_probe  # scikit-learn takes a second

    used = cases[cases["status"] == USED]
    found = {"column": args.site_column, "probe": None} | sites.spread(used, args.classes, sets, args.seed)
    if data:
        found["probe"] = site_probe.probe(data, used, args.bootstrap_samples, args.seed)
    return found


def grade(args: argparse.Namespace, cases: pd.DataFrame, data: store.Features | None) -> dict[str, Any] | None:
    """Return how good the patches are, if their feature files tell."""
    if not data:
        return None
    from stratamil.evaluation import patch_quality

    used = cases[cases["status"] == USED]
    options = {"ink": args.pen != "keep", "bootstrap_samples": args.bootstrap_samples, "seed": args.seed}
    return patch_quality.look(data, store.facts(args.features), used, args.classes, args.stains, **options)


def read_columns(args: argparse.Namespace, cases: pd.DataFrame) -> dict[str, columns.Column]:
    """Return the columns of the labels table that the report reads; nothing without any."""
    if not (args.columns and args.labels):
        return {}
    given = {"case_column": args.case_column, "missing_words": args.missing_words, "site": args.site_column}
    return columns.read(args.labels, args.columns, cases[cases["status"] == USED], **given)


def drift(
    args: argparse.Namespace,
    cases: pd.DataFrame,
    known: Mapping[str, columns.Column],
    data: store.Features | None,
) -> list[dict[str, Any]]:
    """Return how colours go with columns of the labels table; nothing without columns."""
    if not (known and data):
        return []
    from stratamil.evaluation import colour_drift

    return colour_drift.by_columns(data, cases[cases["status"] == USED], known, args.stains, args.seed)


def draw(patches: pd.DataFrame, stains: Sequence[str], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Write the image of sample patches and return what it shows."""
    from stratamil.report import samples

    image, shown, unreadable = samples.montage(
        patches, stains=stains, classes=args.classes, folder=args.patches, colors=args.colors, seed=args.seed
    )
    samples.write(image, args.samples)
    for line in unreadable:
        logging.warning("not drawn: %s", line)
    return shown


def render(numbers: Mapping[str, Any], args: argparse.Namespace) -> str:
    """Return the page with its figures and the image of samples."""
    from stratamil.report import cohort_summary, duplicate_sentences, page, quality_sentences, stain_sentences, style

    figures = {
        name: page.inline(style.svg(figure), name, words, args.colors)
        for name, (figure, words) in cohort_summary.figures(numbers, args.colors).items()
    }
    return page.template(args.template).render(
        title="The cohort",
        study=args.title,
        first_page=args.first_page and page.address(args.first_page, args.output.parent),
        colors=args.colors,
        cohort=numbers,
        prose=cohort_sentences.of_page(numbers),
        looks=stain_sentences.of_page(numbers, args.patches),
        twice=duplicate_sentences.of_page(numbers, args.patches),
        grades_of=quality_sentences.of_page(numbers, args.patches),
        samples=page.image(args.samples) if args.patches else None,
        figures=figures,
    )


if __name__ == "__main__":
    cli.run(main, arguments())

"""Is attention an explanation? One page over all splits and seeds, with its tables and figures.

Reads tables only, and of feature shards what they tell of the images. The folder's files are replaced when all is done.
"""

import argparse
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import cli
from stratamil.core import files, names, provenance, tables
from stratamil.core.weighting import NOTES
from stratamil.evaluation import retrained
from stratamil.explain import faithfulness, faithfulness_runs, findings
from stratamil.report import faithfulness_plots, faithfulness_sentences, page, sentences, style


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--runs", nargs="+", type=Path, required=True, help="folders split_<split>/seed_<seed>")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--patches-table", type=Path, required=True, help="patches.parquet of the inventory")
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature shards of the study")
    parser.add_argument("--patient-column", help="column of the patient, if the labels table has one")
    parser.add_argument("--stains", nargs="+", required=True, metavar="STAIN", help="all stains, in order")
    parser.add_argument("--variants", nargs="*", default=[], help="names of retrained/<variant>.csv in each run")
    cli.add_settings(parser, "attention", "top_percent")
    cli.add_settings(parser, "report", "title", "first_look", "bootstrap_samples", "seed", "colors")
    parser.add_argument("--first-page", type=Path, help="index.html of the study, to link to")
    parser.add_argument("--template", type=Path, required=True, help="faithfulness.html.j2")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    page.check_colors(args.colors)
    runs, cases = faithfulness_runs.read_runs(args.runs), tables.read_cases(args.cases)
    paths = pd.Index(sorted(set().union(*(run.patch_attention["path"] for run in runs))), name="path")
    study = faithfulness_runs.Study(
        runs=runs,
        cases=cases,
        known=faithfulness_runs.known(args.features, pd.read_parquet(args.patches_table), paths),
        percent=args.top_percent,
        bootstrap_samples=args.bootstrap_samples,
        seed=args.seed,
        unit="patient" if args.patient_column else "case",
        retrained=retrained.read(runs, args.variants),
    )
    numbers = faithfulness.numbers(study) | {
        "patient_column": args.patient_column,
        "commit": provenance.commit(),
        "inputs": {f"{run.name}: perturbation.csv": files.sha256(run.folder / "perturbation.csv") for run in runs},
    }
    table = faithfulness.by_case(study)
    with files.updated_folder(args.output) as folder:
        write(study, numbers, table, args, folder)
    logging.info("%s/index.html: %d runs. %s", args.output, len(runs), numbers["overall"])


def write(
    study: faithfulness_runs.Study,
    numbers: Mapping[str, Any],
    table: pd.DataFrame,
    args: argparse.Namespace,
    folder: Path,
) -> None:
    """Write the page, its tables and its figures into `folder`."""
    drawn = faithfulness_plots.draw(study, numbers, table, args.stains, args.colors)
    svgs = {name: style.publish(figure, folder / "figures" / name) for name, (figure, _) in drawn.items()}
    files.write_csv(pd.DataFrame([findings.row(entry) for entry in numbers["findings"]]), folder / "faithfulness.csv")
    files.write_csv(table, folder / "cases.csv")
    files.write_json(numbers, folder / "faithfulness.json")
    of_study = [row for row in numbers["findings"] if row["scope"] == "study"]
    properties = [row for row in of_study if row["section"] == "properties" and row["estimate"].value is not None]
    text = page.template(args.template).render(
        title="Is attention an explanation?",
        weighting=NOTES[study.weighting],
        study=args.title,
        first_look=sentences.first_look(args.first_look),
        first_page=args.first_page and page.address(args.first_page, args.output),
        colors=args.colors,
        figures={name: page.inline(svgs[name], name, words, args.colors) for name, (_, words) in drawn.items()},
        said={(row["measure"], row["of"]): row for row in of_study},
        sections={name: [row for row in of_study if row["section"] == name] for name in faithfulness.SECTIONS},
        by_run={
            run: {(row["measure"], row["of"]): row for row in numbers["findings"] if row["scope"] == run}
            for run in (numbers["runs"] if len(numbers["runs"]) > 1 else [])
        },
        strongest=max(properties, key=lambda row: abs(row["estimate"].value), default=None),
        table=json.loads(table.to_json(orient="records")),  # what is not defined is None
        slugs=[names.column(name) for name in numbers["classes"]],
        numbers=numbers,
        prose=faithfulness_sentences.of_page(numbers),
    )
    files.write_text(text, folder / "index.html")


if __name__ == "__main__":
    cli.run(main, arguments())

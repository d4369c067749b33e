"""Validate a model on new cases: hold its frozen predictions against the labels; a page, and its numbers.

Reads tables only: those of predict, the bundle and the labels table. Nothing here can change a prediction.
"""

import argparse
import logging
from pathlib import Path

import cli
from stratamil.cohort import columns
from stratamil.core import files, provenance, tables
from stratamil.core.errors import UserError


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="zip file that made the predictions")
    parser.add_argument("--predictions", type=Path, required=True, help="folder that predict wrote, with labels")
    parser.add_argument("--browser", action="store_true", help="link to the case browser in the folder of predictions")
    parser.add_argument("--name", required=True, help="of the cohort")
    parser.add_argument("--labels", type=Path, required=True, help="labels table, for columns")
    cli.add_settings(parser, "cohort", "case_column", "missing_words", "patient_column")
    cli.add_settings(parser, "report", "bootstrap_samples", "seed", "colors", "columns")
    parser.add_argument(
        "--template", type=Path, required=True, help="validation.html.j2; checklist_external.yaml lies beside it"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from stratamil.deploy import bundle, validation
    from stratamil.evaluation import external  # these load scikit-learn and matplotlib: a second
    from stratamil.report import page, validation_page

    page.check_colors(args.colors)
    facts = bundle.facts(args.bundle)
    cases = tables.read_cases(args.predictions / "inventory/cases.csv")
    excluded = tables.read_excluded(args.predictions / "inventory/excluded.csv")
    predictions = tables.read_predictions(args.predictions / "predictions.csv")
    flags, shifts = (tables.read(args.predictions / f"{name}.csv") for name in ("flags", "shift"))
    if not (cases["class"] != "").any():
        raise UserError(f"{args.predictions}: predicted without labels: set predict.labels and predict again")
    patients, images = args.patient_column is not None, facts["source"] == "patches"
    flow, counted = validation.followed(cases, excluded, flags, facts["classes"], patients=patients, images=images)
    if counted.empty:
        raise UserError(f"{args.predictions}: no labelled case is new to the model: there is nothing to validate on")
    told = {"case_column": args.case_column, "missing_words": args.missing_words}
    study = external.cohort(
        counted,
        predictions,
        folder=args.predictions,
        classes=facts["classes"],
        decision=facts["decision"],
        columns=columns.read(args.labels, args.columns, cases, **told) if args.columns else {},
        bootstrap_samples=args.bootstrap_samples,
        seed=args.seed,
    )
    found = validation.numbers(study, flags, shifts, facts["reference"])
    inputs = [args.bundle, args.labels, args.predictions / "predictions.csv", args.predictions / "flags.csv"]
    sources = validation_page.Sources(
        facts=facts,
        bundle=args.bundle,
        flags=flags,
        flow=flow,
        predicted=len(predictions),
        predictions=args.predictions,
        browser=args.browser,
        patients=patients,
        inputs={path.name: files.sha256(path) for path in inputs},
        provenance={"commit": provenance.commit(), **provenance.versions()},
    )
    with files.updated_folder(args.output) as folder:
        validation_page.build(
            study,
            found,
            sources,
            template=args.template,
            name=args.name,
            colors=args.colors,
            folder=folder,
            final=args.output,
        )
    auc = found["ensemble"]["roc_auc"].value
    logging.info(
        "%s/index.html: %d cases, AUROC %s", args.output, found["cases"], "not defined" if auc is None else f"{auc:.3f}"
    )


if __name__ == "__main__":
    cli.run(main, arguments())

"""Predict new cases with the model in a bundle: inventory, features, predictions, attention, galleries.

It needs the bundle, the new cases and the encoder's weights, and no study. A rerun encodes only what is new.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import attention
import cli
import thumbnails
from stratamil.cohort import folders
from stratamil.core import files, progress, schema, tables
from stratamil.core.errors import UserError
from stratamil.deploy import apply, bundle, new_cases, predictions
from stratamil.deploy.bundle import Bundle

PAGE = Path(__file__).parents[1] / "report/predict.html.j2"
BROWSER = PAGE.with_name("browser")
NAMES = ("pattern", "stains", "unknown_stains")
COHORT = ("case_column", "class_column", "patient_column", "classes", "excluded_codes", "missing_words")


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="zip file that the target `bundle` of a study made")
    parser.add_argument(
        "--patches", type=Path, required=True, help="folder of patch images, or CSV that lists files of features"
    )
    parser.add_argument("--folder", type=Path, help="folder that the file names of that CSV start from (its own)")
    parser.add_argument("--labels", type=Path, help="labels table, if the classes are known; others are not predicted")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--weights", nargs="*", type=Path, default=[], help="files of the encoder's weights")
    parser.add_argument("--features-encoder", help="name of the encoder of given features, if their files have none")
    for section, keys in (("names", NAMES), ("cohort", COHORT)):
        group = parser.add_argument_group(f"{section}, by default as in the study")
        cli.add_settings(group, section, *keys)
        parser.set_defaults(**dict.fromkeys(keys))
    cli.add_settings(parser, "embed", "batch_size", "max_unreadable")
    cli.add_settings(parser, "attention", "top_n", "top_percent", "cases", "max_cases")
    cli.add_settings(parser, "report", "colors")
    parser.add_argument("--template", type=Path, default=PAGE, help="predict.html.j2 (%(default)s)")
    parser.add_argument("--browser", choices=("all", "top"), help="make the case browser, of all or the top patches")
    cli.add_settings(parser, "browser", "px")
    parser.add_argument("--page", type=Path, default=BROWSER, help="folder of the browser's page (%(default)s)")
    parser.add_argument("--no-galleries", action="store_true", help="tables of attention only, no images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--watched", type=Path, help="file to write, for the next dry run")
    parser.add_argument("--state", default="", help="of the folders as the dry run saw them")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    content = bundle.read(args.bundle)
    model = apply.Model(content)
    source = new_cases.Source.of(args.patches, content, args.bundle, args.folder)
    names, cohort = of_section(args, content, "names", NAMES), of_section(args, content, "cohort", COHORT)
    check(content, names, cohort)
    taken, unknown, identity = new_cases.take(source, names, args.labels, cohort, args.features_encoder)
    for line in taken.told:
        logging.warning(line)
    encoders = new_cases.Encoders(
        content,
        source,
        args.output / "features",
        weights=args.weights,
        identity=identity,
        batch_size=args.batch_size,
        max_unreadable=args.max_unreadable,
        threads=args.threads,
    )
    used = new_cases.used(taken)
    groups = dict(list(taken.patches.groupby("case_id", sort=False)))
    with files.updated_folder(args.output) as folder:
        files.write_parquet(taken.patches, folder / "inventory/patches.parquet")
        files.write_csv(taken.cases, folder / "inventory/cases.csv")
        found = predictions.predict(
            model,
            progress.track(zip(used["case_id"], used["class"]), len(used), "cases"),
            lambda case: encoders.features(groups[case].reset_index(drop=True), case),
            unknown=unknown.groupby("case_id", sort=False)["stain"].agg(list).to_dict(),
            attention=folder / "patch_attention.parquet",
        )
        found.write(folder)
        excluded = pd.concat([taken.excluded, encoders.excluded()], ignore_index=True)
        files.write_csv(excluded, folder / "inventory/excluded.csv")
    encoders.sweep(used["case_id"])
    explain(args, content, source)
    if args.browser:
        browse(args, content, {case: groups[case]["path"].tolist() for case in used["case_id"]})
    show(args, content)
    if args.watched and source.manifest is None:
        paths = taken.patches["path"].tolist()
        folders.remember(args.patches, args.watched, visited=taken.folders, paths=paths, state=args.state)
    flagged = found.predictions["flags"].ne("").sum()
    logging.info("%s: %d cases, %d of them flagged", args.output, len(used), flagged)


def of_section(args: argparse.Namespace, content: Bundle, section: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return settings of names or cohort: those given, in place of those of the study."""
    given = {key: getattr(args, key) for key in keys if getattr(args, key) is not None}
    if "case_column" in given:
        given.setdefault("patient_column", None)  # all of the section is given, and this may be null
    return content.facts[section] | given


def check(content: Bundle, names: dict[str, Any], cohort: dict[str, Any]) -> None:
    """Raise UserError where stains or classes are not those of the model."""
    for what, own, given in (
        ("stains", content.stains, list(schema.merged(names["stains"]))),
        ("classes", content.classes, list(schema.merged(cohort["classes"]))),
    ):
        if own != given:
            raise UserError(
                f"{content.path}: a model of the {what} {', '.join(own)}, but the settings have {', '.join(given)}: "
                "name the same in the same order"
            )


def explain(args: argparse.Namespace, content: Bundle, source: new_cases.Source) -> None:
    """Write attention_analysis: tables of all cases, and galleries."""
    args.patches = None if source.manifest else args.patches
    args.stains, args.truth, args.runs = content.stains, None, "all"
    with cli.stoppable() as stop:
        attention.analyse(args.output, content.title, args, [], None if args.no_galleries else stop, kind="new cases")


def browse(args: argparse.Namespace, content: Bundle, paths: dict[str, list[str]]) -> None:
    """Write the case browser. paths: case -> its patches; args.patches: folder of their images, if they have any."""
    from stratamil.report import browser, browser_cases

    percent, output, sprites = args.top_percent if args.browser == "top" else None, args.output / "browser", {}
    if args.patches:
        if percent:
            paths = thumbnails.chosen(paths, [args.output / "patch_attention.parquet"], percent)
        sprites = thumbnails.make(paths, args.patches, output / browser.SPRITES, args.px, args.threads)
    table = args.output / "inventory/patches.parquet"
    shown = {"px": args.px, "percent": percent, "images": args.patches, "places": table}
    look = browser.Look.of(f"Predictions: {args.output.name}", content.classes, content.stains, args.colors, **shown)
    source = browser_cases.of_predictions(args.output, content.classes)
    browser.publish(source, look, sprites, page=args.page, output=output)


def show(args: argparse.Namespace, content: Bundle) -> None:
    """Write index.html."""
    from stratamil.report import new_case_words, page, predict_page  # matplotlib takes half a second

    page.check_colors(args.colors)
    facts, name = content.facts, args.output.name
    if repeated := new_case_words.repeated(tables.read_excluded(args.output / "inventory/excluded.csv")):
        logging.warning("%s", repeated)
    told = {"bundle": args.bundle, "template": args.template, "colors": args.colors}
    predict_page.write(args.output, facts, name=name, browser=bool(args.browser), **told)


if __name__ == "__main__":
    cli.run(main, arguments())

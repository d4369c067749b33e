"""Look at a folder of patches or feature files and a labels table, and write the study file that they call for.

Nothing is guessed silently: a guess is asked where a terminal is there, and marked "check this" in the file otherwise.
"""

import argparse
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import cli
from stratamil.cohort import folders
from stratamil.core import files, schema, tables
from stratamil.core.errors import UserError, few, visible
from stratamil.core.names import natural
from stratamil.core.wording import in_list
from stratamil.deploy import bundle
from stratamil.features import images
from stratamil.workflow import (
    config_checks,
    proposal,
    propose_features,
    propose_labels,
    propose_names,
    propose_shapes,
    questions,
    study_file,
)
from stratamil.workflow.proposal import Reading
from stratamil.workflow.propose_features import FeatureFiles
from stratamil.workflow.propose_labels import Meaning

SHAPES = 6  # shown
FEATURES = {".h5", ".hdf5", ".pt", ".pth", ".npy", ".npz", ".parquet", ".zarr", ".pkl", ".safetensors"}


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--patches", type=Path, required=True, help="folder of patch images, or of feature files")
    parser.add_argument("--labels", type=Path, required=True, help="labels table (CSV)")
    parser.add_argument("--output", type=Path, default=Path("my_study.yaml"), help="study file to write (%(default)s)")
    parser.add_argument(
        "--bundle",
        type=Path,
        help="model for which these feature files are new cases: write the file that predicts them",
    )
    parser.add_argument("--results", help="results folder (results/ and the study file's name)")
    parser.add_argument("--case-column", help="column of the case ids, where another one would be proposed")
    parser.add_argument("--yes", action="store_true", help="ask nothing; every guess is marked in the file")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    if args.output.exists():
        raise UserError(f"{args.output}: exists: choose another --output, or remove it")
    manifest = args.output.with_name(f"{args.output.stem}_manifest.csv")
    if not args.patches.is_dir():
        raise UserError(f"{args.patches}: no such folder: give the folder of patch images, or of feature files")
    table, rows = tables.sheet(args.labels, "give the labels table")
    if table.empty:
        raise UserError(f"{args.labels}: no rows below the headings: add a row a case")
    table.index = rows  # for messages
    everything = listed(args.patches)
    paths = propose_shapes.images(everything)
    features = propose_features.look(args.patches, everything, len(paths))
    if features and manifest.exists():
        raise UserError(f"{manifest}: exists: choose another --output, or remove it")
    if not paths and not features:
        raise UserError(f"{args.patches}: {no_image(everything)}")
    if args.bundle:
        return new_cases(args, table, features, manifest)
    asks = sys.stdin.isatty() and not args.yes
    table, names, reading, meaning, accounts = proposed(args, table, features or paths, asks)
    splits = partial(proposal.splits, table, names.case_column, cases=reading.cases)
    if asks:
        ask(questions.Questions(table, names, meaning, splits).ask)
    unused = propose_labels.unused(table, (names.case_column, *names.used_columns), meaning)
    study = study_file.Study(
        patches=str(args.patches),
        labels=str(args.labels),
        results=args.results or f"results/{args.output.stem}",
        names=names,
        meaning=meaning,
        splits=of_table(args.labels, splits, meaning),
        embed={} if features or has_gpu() else proposal.small_encoder(sides(args.patches, reading)),
        seeds=[1, 2, 3],
        accounts=accounts,
        title=re.sub("[_-]+", " ", args.output.stem).strip() or args.output.stem,
        unused=unused,
        manifest=str(manifest) if features else None,
    )
    text = study_file.text(study)
    if problems := config_checks.problems(yaml.safe_load(text), schema.read()):
        raise UserError(*(f"{args.output}: {problem}" for problem in problems))
    if features:
        files.write_csv(propose_features.manifest(reading.entries), manifest)
    files.write_text(text, args.output)
    if unused:
        say(study_file.not_used(unused))
    tell_next(args.output, len(names.guesses) + len(meaning.guesses), "-n")


def new_cases(args: argparse.Namespace, table: pd.DataFrame, features: FeatureFiles | None, manifest: Path) -> None:
    """Write the manifest of new cases, and the file that predicts them. table: which file is of which case, or ids."""
    facts = bundle.facts(args.bundle)
    if facts["source"] != "precomputed" or not features:
        raise UserError(
            f"{args.patches}: --bundle is for feature files and a model of these: one of images takes their folder as "
            "predict.patches (docs/how-to/use_the_model.md)"
        )
    tried = [args.case_column] if args.case_column else propose_labels.likely_cases(table)
    names, read = read_by_names(args.patches, features, table, {name: list(table[name]) for name in tried})
    names.stains = {name: dict.fromkeys(others, 0) for name, others in schema.merged(facts["names"]["stains"]).items()}
    reading = read(table[names.case_column])
    say(propose_features.account(features))
    for line in proposal.accounts(reading, names, table[names.case_column]):
        say(line)
    text = study_file.of_new_cases(
        str(args.bundle),
        str(manifest),
        str(args.patches),
        labels=str(args.labels) if facts["cohort"]["class_column"] in table else None,
        encoder=facts["features"].get("named"),
        name=args.output.stem,
    )
    files.write_csv(propose_features.manifest(reading.entries), manifest)
    files.write_text(text, args.output)
    tell_next(args.output, 0, "-- predict")


def tell_next(path: Path, guesses: int, target: str) -> None:
    """Say what was written, how many guesses are marked in it, and the command that comes next."""
    say(f"{path}: written" + (f"; {study_file.lines_say(guesses)} `check this`" if guesses else "") + ". Then:")
    profile = "" if os.environ.get("SNAKEMAKE_PROFILE") else "--profile profiles/local "
    say(f"  snakemake {profile}--configfile {shlex.quote(str(path))} {target}")


def proposed(
    args: argparse.Namespace, table: pd.DataFrame, there: Sequence[str] | FeatureFiles, asks: bool
) -> tuple[pd.DataFrame, propose_names.Names, Reading, Meaning, list[str]]:
    """Return the labels without totals, how names are read, what they say, what columns mean, and what was counted.

    there: paths of images, or feature files.
    Asks for the column of the case ids, and proposes again with another one. Raises UserError where nothing can be
    proposed.
    """
    column = args.case_column
    while True:
        if column and column not in table:
            raise UserError(
                f"{args.labels}: no column {column!r}: it has {few(map(repr, table), 12)}: name one of them"
            )
        tried = [column] if column else propose_labels.likely_cases(table)
        names, read = read_by_names(args.patches, there, table, {name: list(table[name]) for name in tried})
        for form in names.shapes[:SHAPES]:  # names that the workflow knows need no shapes
            say(f"  {form}: {len(form.names):,} files, e.g. {form.names[0]}")
        cases, totals = proposal.without_totals(table, names.case_column)
        reading = read(cases[names.case_column])
        guess = proposal.case_guess(names.case_column, reading, cases[names.case_column])
        if other := propose_labels.also_cases(cases, names.case_column, reading.cases.values()):
            told = f"column {other!r} has the same ids in other rows"
            guess = f"{guess}; {told}" if guess else f"column {names.case_column!r} taken for the case id; {told}"
        names.guesses |= {"case": guess} if guess and not column else {}
        if strange := proposal.unknown_stains(reading):
            names.guesses["stains"] = "; ".join(filter(None, [names.guesses.get("stains"), strange]))
        meaning = propose_labels.propose(
            cases.drop(columns={*names.used_columns} - {None, names.case_column}), names.case_column
        )
        if not meaning.class_column:
            raise UserError(
                f"{args.labels}: no column with 2 to {propose_labels.MOST_CLASSES} different values: add the class; "
                "new cases are predicted by a model's --bundle"
            )
        accounts = [propose_features.account(there)] if isinstance(there, FeatureFiles) else []
        accounts += proposal.accounts(reading, names, cases[names.case_column])
        accounts += [*totals, *proposal.faults(cases, names.case_column, meaning)]
        show(accounts, reading, meaning)
        if not asks:
            break
        column = ask(questions.Questions(table, names, meaning, dict).case)
        if not column:
            break
    return cases, names, reading, meaning, accounts


def read_by_names(
    root: Path, there: Sequence[str] | FeatureFiles, table: pd.DataFrame, labelled: dict[str, Sequence[str]]
) -> tuple[propose_names.Names, Callable[[Collection[str]], Reading]]:
    """Return how the files are named, and what reads them with the ids of the labels table."""
    if isinstance(there, FeatureFiles):
        names, entries = propose_features.propose(there, table, labelled)
        return names, partial(propose_features.read, there, names, entries)
    names = propose_names.propose_all(there, labelled)
    return names, partial(proposal.read, names, root)


def listed(root: Path) -> list[str]:
    """Return the paths of all files that are not in hidden folders, POSIX and relative to `root`, in natural order."""
    found = []
    for folder, _, entries in folders.visit(root):
        below = Path(folder).relative_to(root).as_posix()
        found += [entry.name if below == "." else f"{below}/{entry.name}" for entry in entries]
    return sorted(found, key=natural)


def no_image(paths: Iterable[str]) -> str:
    """Say what is in a folder without images; paths: of all its files."""
    suffixes = Counter(suffix for path in paths if (suffix := features_suffix(path)))
    if not suffixes:
        return "no image in it: give the folder of patch images"
    counts = ", ".join(f"{n:,} {suffix}" for suffix, n in suffixes.most_common())
    return (
        f"no image in it, but feature files ({counts}) that the workflow cannot read: docs/how-to/precomputed.md says "
        "which it can"
    )


def features_suffix(path: str) -> str | None:
    """Return the suffix of a file of features, also of one that is a folder (x.zarr/0)."""
    return next((suffix for part in path.lower().split("/") if (suffix := Path(part).suffix) in FEATURES), None)


def show(accounts: Iterable[str], reading: Reading, meaning: Meaning) -> None:
    for row in proposal.examples(reading):
        number = f"at {row.x:.0f}, {row.y:.0f}" if "x" in reading.patches else row.patch
        patch = f", patch {number}" if reading.unit == "patch" else ""
        say(f"  {row.path}: case {row.case_id}, stain {row.stain}, slice {row.slice_id}{patch}")
    for line in accounts:
        say(line)
    if reading.entries is None:
        say("The cohort page lists the files left out, and images that cannot be opened: init opens none.")
    else:
        say("The cohort page lists the files left out; the features themselves are checked before any training.")
    codes = [f"{in_list(code)}: {meaning.counts[code]}" for code in sorted(meaning.counts, key=natural)]
    codes += [f"no class: {len(meaning.empty)}"] if meaning.empty else []
    say(f"Cases by code in column {meaning.class_column}: {few(codes, 8)}.")


def ask(asked: Callable[[], str | None]) -> str | None:
    """Ask what was guessed, and end in one line where the answers do."""
    try:
        return asked()
    except EOFError:
        print()
        raise UserError("the input ended before the last question: nothing was written; --yes asks nothing") from None
    except KeyboardInterrupt:
        print()
        raise


def of_table(path: Path, splits: Callable[[Meaning], dict[str, Any]], meaning: Meaning) -> dict[str, Any]:
    """Return the settings of the splits. Raises UserError with the table's path in it."""
    try:
        return splits(meaning)
    except UserError as error:
        raise UserError(*(f"{path}: {problem}" for problem in error.problems)) from None


def sides(root: Path, reading: Reading) -> list[int]:
    """Return the longer sides of some images, in pixels."""
    found = []
    for row in proposal.examples(reading):
        try:
            found.append(max(images.sides(root / row.path)))
        except images.Unreadable:
            continue
    return found


def has_gpu() -> bool:
    import torch  # takes seconds

    return torch.cuda.is_available()


def say(line: str) -> None:
    print(visible(line))


if __name__ == "__main__":
    cli.run(main, arguments())

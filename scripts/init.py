"""Look at a folder of patches and a labels table, and write the study file that they call for.

Nothing is guessed silently: a guess is asked where a terminal is there, and marked "check this" in the file otherwise.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import cli
from stratamil.cohort import folders
from stratamil.core import files, schema, tables
from stratamil.core.errors import UserError, few, visible
from stratamil.core.names import natural
from stratamil.features import images
from stratamil.workflow import config_checks, proposal, propose_labels, propose_names, study_file
from stratamil.workflow.proposal import Reading
from stratamil.workflow.propose_labels import Meaning
from stratamil.workflow.propose_names import Names

SHAPES = 6  # shown
YES = ("y", "yes")


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--patches", type=Path, required=True, help="folder of patch images")
    parser.add_argument("--labels", type=Path, required=True, help="labels table (CSV)")
    parser.add_argument("--output", type=Path, default=Path("my_study.yaml"), help="study file to write (%(default)s)")
    parser.add_argument("--results", help="results folder (results/ and the study file's name)")
    parser.add_argument("--yes", action="store_true", help="ask nothing; every guess is marked in the file")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    if args.output.exists():
        raise UserError(f"{args.output}: exists: choose another --output, or remove it")
    if not args.patches.is_dir():
        raise UserError(f"{args.patches}: no such folder: give the folder of patch images")
    table, _ = tables.sheet(args.labels, "give the labels table")
    paths = listed(args.patches)
    forms = propose_names.shapes(paths)
    if not forms:
        raise UserError(f"{args.patches}: no image in it: give the folder of patch images")
    names = propose_names.propose_all(paths, forms, {c: list(table[c]) for c in propose_labels.likely_cases(table)})
    for form in forms[:SHAPES] if names.pattern else ():  # names that the workflow knows need no shapes
        say(f"  {form}: {len(form.names):,} files, e.g. {form.names[0]}")
    reading = proposal.read(names, paths)
    meaning = propose_labels.propose(table, names.case_column)
    if not meaning.class_column:
        raise UserError(
            f"{args.labels}: no column with 2 to {propose_labels.MOST_CLASSES} different values: add the class"
        )
    accounts = proposal.accounts(reading, names, table[names.case_column])
    show(accounts, reading, meaning)
    if sys.stdin.isatty() and not args.yes:
        ask(names, meaning, list(table))
    study = study_file.Study(
        patches=str(args.patches),
        labels=str(args.labels),
        results=args.results or f"results/{args.output.stem}",
        names=names,
        meaning=meaning,
        splits=allowed(args, table, names, meaning, reading),
        embed={} if has_gpu() else proposal.small_encoder(sides(args.patches, reading)),
        seeds=[1, 2, 3],
        accounts=accounts,
    )
    text = study_file.text(study)
    if problems := config_checks.problems(yaml.safe_load(text), schema.read()):
        raise UserError(*(f"{args.output}: {problem}" for problem in problems))
    files.write_text(text, args.output)
    guesses = len(names.guesses) + len(meaning.guesses)
    say(f"{args.output}: written" + (f"; {guesses} lines say `check this`" if guesses else "") + ". Then:")
    profile = "" if os.environ.get("SNAKEMAKE_PROFILE") else "--profile profiles/local "
    say(f"  snakemake {profile}--configfile {shlex.quote(str(args.output))} -n")


def listed(root: Path) -> list[str]:
    """Return the paths of all files that are not in hidden folders, POSIX and relative to `root`, in natural order."""
    found = []
    for folder, _, entries in folders.visit(root):
        below = Path(folder).relative_to(root).as_posix()
        found += [entry.name if below == "." else f"{below}/{entry.name}" for entry in entries]
    return sorted(found, key=natural)


def show(accounts: Iterable[str], reading: Reading, meaning: Meaning) -> None:
    for path, name in proposal.examples(reading):
        number = name.patch if isinstance(name.patch, int) else f"at {name.patch[0]}, {name.patch[1]}"
        say(f"  {path}: case {name.case_id}, stain {name.stain}, slice {name.slice_id}, patch {number}")
    for line in accounts:
        say(line)
    codes = [f"{code}: {meaning.counts[code]}" for code in sorted(meaning.counts, key=natural)]
    say(f"Cases by code in column {meaning.class_column}: {few(codes, 8)}.")


def ask(names: Names, meaning: Meaning, columns: Sequence[str]) -> None:
    """Let the user answer what was guessed; an empty answer keeps the guess, and its mark in the file."""
    if "patient" in meaning.guesses and (answer := prompt(meaning.guesses["patient"], "y, a column, or none")):
        answer = meaning.patient_column if answer in YES else None if answer == "none" else answer
        if answer is not None and answer not in columns:
            raise UserError(f"{answer!r} is no column of the labels: it has {few(map(repr, columns), 12)}")
        meaning.patient_column = answer
        del meaning.guesses["patient"]
    if "classes" in meaning.guesses:
        proposed = " ".join(shlex.quote(f"{name}={','.join(codes)}") for name, codes in meaning.classes.items())
        say(f"Proposed classes: {proposed}. The last is the positive one; codes that are in none are excluded.")
        if answer := prompt(meaning.guesses["classes"], "y, or your own in this form"):
            if answer not in YES:
                pairs = [word.partition("=") for word in shlex.split(answer)]
                meaning.classes = {name: codes.split(",") for name, _, codes in pairs}
            del meaning.guesses["classes"]
    for guesses, what in ((names.guesses, "stains"), (names.guesses, "slice"), (meaning.guesses, "class")):
        if what in guesses and prompt(guesses[what], "y") in YES:
            del guesses[what]


def prompt(guess: str, how: str) -> str:
    return input(f"{visible(guess[0].upper() + guess[1:])}. Right? ({how}; Enter to check it later) ").strip()


def allowed(
    args: argparse.Namespace, table: pd.DataFrame, names: Names, meaning: Meaning, reading: Reading
) -> dict[str, Any]:
    of_class = proposal.patients(table, names.case_column, meaning, reading.cases)
    propose_labels.without_small(meaning, of_class, proposal.FEWEST)
    splits = proposal.splits(of_class, meaning.classes)
    if splits is None:
        told = few([f"{name} {of_class[name]}" for name in meaning.classes], 8)
        raise UserError(f"{args.labels}: patients with patches by class: {told}: each class needs at least 3")
    return splits


def sides(root: Path, reading: Reading) -> list[int]:
    """Return the longer sides of some images, in pixels."""
    found = []
    for path, _ in proposal.examples(reading):
        try:
            found.append(max(images.sides(root / path)))
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

"""The end of a run that made a bundle or predicted new cases: what there is, and the command that comes next."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stratamil.core import tables
from stratamil.core.errors import visible
from stratamil.core.wording import listed, n_of
from stratamil.features import encoder_registry
from stratamil.report import door, predict_page, validation_words

NEW_CASES = "new_cases.yaml"  # what a file for the prediction may be called


def of_bundle(path: Path, facts: Mapping[str, Any], command: str) -> list[str]:
    """Return the lines on a bundle: where it is, and how it predicts new cases.

    facts: bundle.json. command: of a prediction by the file `NEW_CASES`.
    """
    own = [each["weights"] for each in facts["encoders"].values() if encoder_registry.is_file(each["weights"])]
    told = f"Bundle: {path} ({n_of(len(facts['members']), 'model')}; MODEL_CARD.md in it says how good they are)"
    if facts["source"] == "precomputed":
        given = f"--bundle {shlex.quote(str(path))} --patches FOLDER --labels TABLE --output {NEW_CASES}"
        lines = [
            told,
            "Next: predict new cases. TABLE says which file is of which case, or lists the cases:",
            f"  python scripts/init.py {given}",
            f"then run: {command}",
        ]
        return [visible(line) for line in lines]
    lines = [
        told,
        f"Next: predict new cases. Write {NEW_CASES}:",
        "  results: results/new_cases",
        "  predict:",
        f"    bundle: {json.dumps(str(path), ensure_ascii=False)}",
        "    patches: PATH  # folder of the new patches",
        *([f"  embed: {{weights: PATH}}  # of {listed(own)}"] if own else []),
        f"then run: {command}",
    ]
    return [visible(line) for line in lines]


def of_predictions(folder: Path, facts: Mapping[str, Any], validate: str) -> list[str]:
    """Return the lines on predicted cases: how many are called what, flags, pages, and what comes next.

    facts: bundle.json. validate: the command that holds them against their labels; empty where none were given.
    """
    told = (tables.read(folder / f"{kind}.csv") for kind in ("predictions", "flags", "shift"))
    found = predict_page.numbers(*told, facts)
    raised = [f"{row['name'].lower()} in {row['n']}" for row in found["summary"] if row["n"]]
    validation = folder / "validation/validation.json"
    done = validation.is_file() and validation.stat().st_mtime >= (folder / "predictions.csv").stat().st_mtime
    lines = [predict_page.headline(found), *([f"Flags: {listed(raised)}."] if raised else [])]
    if done:
        measured = door.read(validation)
        lines.append(f"{validation_words.headline(measured)} {validation_words.compared(measured)}")
    pages = [folder / "index.html", *([folder / "validation/index.html"] if done else [])]
    lines += ["Open:", *(f"  {page}" for page in pages)]
    if validate and not done:
        lines.append(f"Next: hold the predictions against the labels: {validate}")
    return [visible(line) for line in lines]

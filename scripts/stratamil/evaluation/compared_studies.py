"""Finished studies and predictions read side by side, on the cases that all of them predict."""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import yaml
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stratamil.cohort import splits
from stratamil.core import files, tables
from stratamil.core.errors import UserError, few
from stratamil.core.names import natural
from stratamil.core.wording import n_of
from stratamil.evaluation import external
from stratamil.evaluation.prediction_tables import impossible
from stratamil.evaluation.runs import Run
from stratamil.evaluation.saved_study import read_study, run_folders
from stratamil.evaluation.study import Study

Kind = Literal["study", "prediction"]
VALIDATION = "validation/validation.json"
OTHER_CLASS = "of different classes"  # begins the reason why such a case is left out
NEEDED = {
    "study": ("results.json", "predictions.csv", "validation_predictions.csv", "patch_attention.parquet"),
    "prediction": ("predictions.csv", "inventory/cases.csv", "patch_attention.parquet", VALIDATION, "config.yaml"),
}


@dataclass(frozen=True)
class Side:
    """What one folder says of the shared cases.

    settings: of its config.yaml. own_cases: all that it predicts. training_cases: of each split, of a study that was
    trained here; else empty.
    """

    name: str
    folder: Path
    kind: Kind
    study: Study
    settings: Mapping[str, Any]
    own_cases: int
    training_cases: tuple[int, ...] = ()


class Shared(NamedTuple):
    """The sides on the same cases in the same order.

    left_out: case_id and reason of each case that is not. merged: whether the studies name patients differently, so
    that those who share a case in any of them count as one.
    """

    sides: list[Side]
    left_out: pd.DataFrame
    merged: bool


def kind_of(folder: Path) -> Kind:
    """Return whether a folder is a study's or a prediction's. Raises UserError if it is neither."""
    if (folder / "comparison.json").is_file():
        raise UserError(f"compare: {folder}: a comparison: give the studies that it compares")
    if (folder / "predictions.csv").is_file() and (folder / "inventory").is_dir():
        return "prediction"
    if (folder / "config.yaml").is_file():
        return "study"
    raise UserError(f"compare: {folder}: no finished study or prediction: give a results folder or one of its predict/")


def inputs(folder: Path) -> list[Path]:
    """Return the files that a comparison reads of a folder. Raises UserError with each that is missing."""
    if kind_of(folder) == "prediction":
        rules = dict.fromkeys(NEEDED["prediction"], "predict") | {VALIDATION: "validate, with predict.labels"}
        if missing := files.lacking([folder], rules):
            raise UserError(*missing)
        return [folder / name for name in NEEDED["prediction"]]
    of_runs = run_folders(folder, read_study(folder).settings)
    rules = dict.fromkeys(NEEDED["study"], "evaluate")
    if missing := [*files.lacking([folder], {"inventory/cases.csv": "inventory"}), *files.lacking(of_runs, rules)]:
        raise UserError(f"{folder}: the study is not finished: {few(missing)}")
    listed = [run / name for run in of_runs for name in NEEDED["study"]]
    return [folder / "config.yaml", folder / "inventory/cases.csv", *listed, *_split_files(folder, of_runs)]


def _split_files(folder: Path, of_runs: Sequence[Path]) -> list[Path]:
    """Return the files of the splits of runs that are there: without them the sizes of training are not known."""
    splits_of = dict.fromkeys(run.parent.name.removeprefix("split_") for run in of_runs)
    return [path for name in splits_of if (path := folder / f"splits/data_splits_{name}.npz").is_file()]


def read(name: str, folder: Path, bootstrap_samples: int, seed: int) -> Side:
    """Return what a folder predicts. Raises UserError as `inputs` does, and for damaged files."""
    inputs(folder)
    if kind_of(folder) == "prediction":
        return _of_prediction(name, folder, bootstrap_samples, seed)
    saved = read_study(folder)
    study = Study(saved.runs, saved.cases, bootstrap_samples, seed)
    trained = all(run.trained_here for run in saved.runs)  # of given checkpoints the splits tell nothing
    known = _split_files(folder, [run.folder for run in saved.runs]) if trained else []
    sizes = tuple(len(splits.read(path).train) for path in known)
    return Side(name, folder, "study", study, saved.settings, len(study.ensemble), sizes)


def _of_prediction(name: str, folder: Path, bootstrap_samples: int, seed: int) -> Side:
    """Return what predict and validate wrote of new cases, without those that training knew."""
    cases = tables.read_cases(folder / "inventory/cases.csv")
    predictions = tables.read_predictions(folder / "predictions.csv")
    try:
        found = json.loads((folder / VALIDATION).read_text(encoding="utf-8"))
        classes, known = list(found["classes"]), [row["case_id"] for row in found["per_case"]]
        decision = {key: found[key] for key in ("threshold", "temperature")}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{folder / VALIDATION}: damaged: run validate again") from None
    try:
        settings = dict(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError):
        raise UserError(f"{folder / 'config.yaml'}: damaged: run predict again") from None
    if faults := list(impossible(str(folder / "predictions.csv"), predictions, classes)):
        raise UserError(*faults)
    study = external.cohort(
        cases[cases["case_id"].isin(known)],
        predictions,
        classes=classes,
        decision=decision,
        bootstrap_samples=bootstrap_samples,
        seed=seed,
        folder=folder,
    )
    return Side(name, folder, "prediction", study, settings, len(study.ensemble))


def shared(sides: Sequence[Side]) -> Shared:
    """Return the sides on the cases that all predict with the same class.

    Raises UserError if there are no such cases, or the classes are not the same in the same order.
    """
    first = sides[0]
    problems = [
        f"compare: {side.name} has classes {', '.join(side.study.classes)}, but {first.name} "
        f"{', '.join(first.study.classes)}: only studies with the same classes in the same order can be compared"
        for side in sides
        if side.study.classes != first.study.classes
    ]
    if problems:
        raise UserError(*problems)
    left_out = _left_out(sides)
    kept = set(first.study.ensemble["case_id"]) - set(left_out["case_id"])
    if not kept:
        raise UserError(_nothing_shared(sides, left_out))
    patients, merged = _patients(sides, sorted(kept, key=natural))
    return Shared([replace(side, study=_restricted(side.study, kept, patients)) for side in sides], left_out, merged)


def _nothing_shared(sides: Sequence[Side], left_out: pd.DataFrame) -> str:
    """Return the line where no case is left: the ids are others, or the classes."""
    names = ", ".join(side.name for side in sides)
    labelled = left_out[left_out["reason"].str.startswith(OTHER_CLASS)]
    if len(labelled):
        example = " is ".join(labelled.iloc[0])
        return (
            f"compare: {names} have {n_of(len(labelled), 'case')} in common, but none of the same class (case "
            f"{example}): compare studies with the same labels"
        )
    ids = ", ".join(side.study.ensemble["case_id"].iloc[0] for side in sides)
    return f"compare: {names} have no case in common: their ids are such as {ids}: compare studies of the same cases"


def same_splits(sides: Sequence[Side]) -> bool:
    """Return whether all are studies whose splits test the same shared cases, a case once a seed."""
    if any(side.kind == "prediction" or side.study.repeats > 1 for side in sides):
        return False
    tested = [
        {split: frozenset(rows["case_id"]) for split, rows in side.study.predictions.groupby("split")} for side in sides
    ]
    return all(each == tested[0] for each in tested)


def _left_out(sides: Sequence[Side]) -> pd.DataFrame:
    """Return case_id and reason of each case that some side does not predict, or with another class."""
    labels = {side.name: side.study.ensemble.set_index("case_id")["y"] for side in sides}
    table, rows = pd.DataFrame(labels), []
    for case in sorted(table.index, key=natural):
        mine = table.loc[case]
        if mine.isna().any():
            rows.append((case, f"not predicted by {', '.join(mine.index[mine.isna()])}"))
        elif mine.nunique() > 1:
            classes = sides[0].study.classes
            said = ", ".join(f"{classes[int(y)]} in {name}" for name, y in mine.items())
            rows.append((case, f"{OTHER_CLASS}: {said}"))
    return pd.DataFrame(rows, columns=["case_id", "reason"])


def _patients(sides: Sequence[Side], cases: list[str]) -> tuple[pd.Series, bool]:
    """Return the patient of each case: cases that share one in any study share one here. And whether studies differ."""
    named = [side.study.ensemble.set_index("case_id").loc[cases, "patient_id"] for side in sides]
    codes = [pd.factorize(patients)[0] for patients in named]
    if all(np.array_equal(each, codes[0]) for each in codes):
        return named[0], False
    n = len(cases)
    starts = np.cumsum([n, *(code.max() + 1 for code in codes)])[:-1]
    rows, columns = np.tile(np.arange(n), len(codes)), np.concatenate([a + b for a, b in zip(starts, codes)])
    size = int(columns.max()) + 1
    _, group = connected_components(
        coo_array((np.ones(len(rows)), (rows, columns)), shape=(size, size)), directed=False
    )
    first = pd.Series(cases).groupby(group[:n]).transform("first")
    return pd.Series(first.to_numpy(), index=cases), True


def _restricted(study: Study, kept: set[str], patients: pd.Series) -> Study:
    """Return a study of these cases alone, in natural order, with these patients."""
    own = [_with_tests(run, run.test[run.test["case_id"].isin(kept)]) for run in study.runs]
    cases = study.cases[study.cases["case_id"].isin(kept)]
    cases = cases.assign(patient_id=cases["case_id"].map(patients))
    return replace(study, runs=[run for run in own if len(run.test)], cases=cases)


def _with_tests(run: Run, table: pd.DataFrame) -> Run:
    """Return a run with other test cases; its other tables are read from its folder."""
    result = copy(run)  # its own tables stay where they were read already
    result.__dict__["test"] = table.reset_index(drop=True)
    return result

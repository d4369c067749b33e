"""The cases that the case browser lists: of a study every test case of every split, of new cases each of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stratamil.cohort.cohort_warnings import PATCHES
from stratamil.core import tables
from stratamil.core.errors import UserError
from stratamil.core.names import column
from stratamil.core.wording import counted, listed, n_of
from stratamil.explain import patch_tables
from stratamil.report import browser_links
from stratamil.stats.ranking import alike


@dataclass(frozen=True)
class Case:
    """A case in the browser's list.

    split: None of new cases. patient: None where cases are not known by patient. truth: place of the true class in the
    list of classes, None where it is not known. probability, sd, logit: a number a class; sd None of one member.
    members: probabilities of each member. missing: stains that it lacks. listed: patches in the inventory.
    """

    id: str
    key: str
    split: str | None
    patient: str | None
    truth: int | None
    predicted: int
    probability: list[float]
    sd: list[float] | None
    logit: list[float]
    members: list[list[float]]
    missing: list[str]
    listed: int
    flags: list[str]


@dataclass(frozen=True)
class Source:
    """Cases and where their patches are. members: names of the members. attention: tables, each with its cases."""

    kind: str
    members: list[str]
    attention: list[tuple[Path, dict[str, Case]]]

    def patches(self) -> Iterator[tuple[Case, pd.DataFrame]]:
        """Yield each case with its rows of patch_attention.parquet. Raises UserError where the tables do not fit."""
        for path, cases in self.attention:
            left = dict(cases)
            for patches in patch_tables.by_case(path):
                name = patches["case_id"].iloc[0]
                if name not in left:
                    raise UserError(f"{path}: case {name} has patches but no prediction: make both again")
                case = left.pop(name)
                yield replace(case, flags=[*case.flags, *_of_patches(case, patches)]), patches
            if left:
                raise UserError(f"{path}: case {next(iter(left))} has a prediction but no patches: make both again")


def of_study(folders: Mapping[str, Path], seeds: Sequence[str], cases: pd.DataFrame, classes: Sequence[str]) -> Source:
    """Return the test cases of a study. folders: split -> the folder of its ensemble, or of its only run.

    cases: all rows of cases.csv.
    """
    read = {split: tables.read_predictions(_there(folder / "predictions.csv")) for split, folder in folders.items()}
    keys = browser_links.keys((case, split) for split, table in read.items() for case in table["case_id"])
    known, attention = _known(cases), []
    for split, folder in folders.items():
        runs = [_there(folder.parent / f"seed_{seed}/predictions.csv") for seed in seeds]
        members = [_by_case(tables.read_predictions(path), classes) for path in runs]
        found = {}
        for row in read[split].to_dict("records"):
            of_case = [member[row["case_id"]] for member in members]
            found[row["case_id"]] = _case(row, keys[row["case_id"], split], split, of_case, known, classes)
        attention.append((folder / "patch_attention.parquet", found))
    return Source("study", [f"seed {seed}" for seed in seeds], attention)


def of_predictions(folder: Path, classes: Sequence[str]) -> Source:
    """Return the new cases in a folder that predict wrote."""
    cases = _known(tables.read_cases(_there(folder / "inventory/cases.csv")))
    predictions = tables.read(_there(folder / "predictions.csv"))
    members = tables.read(_there(folder / "members.csv"))
    flags = tables.read(folder / "flags.csv")
    names = members[["split", "seed"]].drop_duplicates()
    names = [
        f"split {split}, seed {seed}" if isinstance(split, str) else f"seed {seed}" for split, seed in names.values
    ]
    of_case = {case: part[_probabilities(classes)].to_numpy().tolist() for case, part in members.groupby("case_id")}
    raised = flags.groupby("case_id", sort=False)["reason"].agg(list).to_dict()
    found = {}
    for row in predictions.to_dict("records"):
        name = row["case_id"]
        case = _case(row, name, None, of_case[name], cases, classes)
        found[name] = replace(case, flags=[f"{reason[:1].upper()}{reason[1:]}." for reason in raised.get(name, [])])
    kind = "validate" if "true_class" in predictions else "predict"
    return Source(kind, names, [(folder / "patch_attention.parquet", found)])


def _there(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file: make it first")
    return path


def _probabilities(classes: Sequence[str]) -> list[str]:
    return [f"prob_{column(name)}" for name in classes]


def _by_case(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, list[float]]:
    return dict(zip(table["case_id"], table[_probabilities(classes)].to_numpy().tolist()))


def _known(cases: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["case_id"]: row for row in cases.to_dict("records")}


def _case(
    row: Mapping[str, Any],
    key: str,
    split: str | None,
    members: list[list[float]],
    known: Mapping[str, Mapping[str, Any]],
    classes: Sequence[str],
) -> Case:
    """Return a case by its row in a table of predictions. known: case -> its row in cases.csv."""
    of_cohort, truth, predicted = known[row["case_id"]], row.get("true_class"), classes.index(row["predicted_class"])
    return Case(
        id=row["case_id"],
        key=key,
        split=split,
        patient=of_cohort["patient_id"] if of_cohort["patient_id"] not in ("", row["case_id"]) else None,
        truth=classes.index(truth) if truth in classes else None,
        predicted=predicted,
        probability=[row[name] for name in _probabilities(classes)],
        sd=np.std(members, axis=0, ddof=1).tolist() if len(members) > 1 else None,
        logit=[row[f"logit_{column(name)}"] for name in classes],
        members=members,
        missing=[stain for stain in of_cohort["missing_stains"].split(";") if stain],
        listed=int(of_cohort["n_patches"]),
        flags=list(_disagreement(members, predicted, classes, "models" if split is None else "seeds of this split")),
    )


def _disagreement(members: Sequence[Sequence[float]], predicted: int, classes: Sequence[str], of: str) -> Iterator[str]:
    """Yield a sentence where members predict another class than their mean. of: what they are, `models`."""
    others = [k for k in np.argmax(members, axis=1).tolist() if k != predicted]
    if others:
        names = listed([classes[k] for k in sorted(set(others))], "or")
        yield f"{len(others)} of {len(members)} {of} predict {names}."


def _of_patches(case: Case, patches: pd.DataFrame) -> Iterator[str]:
    """Yield what there is to say of a case's patches."""
    if len(patches) < PATCHES and case.split is not None:
        yield f"Few patches: {len(patches)}."
    if (lost := case.listed - len(patches)) > 0:
        yield f"{counted(lost, 'patch')} of {case.listed:,} had no features and took no part."
    if len(patches) > 1 and alike(patches["effective_weight"]):
        yield "All patches have the same weight, so attention chooses none."


def finding(source: Source, patches: int) -> str:
    """Say how many cases and patches the browser shows."""
    cases = [case for _, found in source.attention for case in found.values()]
    text = f"{n_of(len({case.id for case in cases}), 'case')} with {n_of(patches, 'patch')}"
    known = [case for case in cases if case.truth is not None]
    wrong = sum(case.truth != case.predicted for case in known)
    return (
        f"{text}; {n_of(wrong, 'prediction')} of {len(known)} {'is' if wrong == 1 else 'are'} wrong."
        if known
        else f"{text}."
    )

"""The predictions of models that rule retrain trained in another way, as one table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from stratamil.cohort import shares
from stratamil.core import files, tables
from stratamil.core.errors import UserError
from stratamil.core.names import column
from stratamil.evaluation.runs import Run

SHARE = "train_"  # before the percentage of the training cases in the name of a variant
DEFAULT = "default"  # the study's own settings, where others were chosen for its models


def variants(settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the ways in which a study trains its model again.

    settings: of the study, by section.
    """
    report, own = settings["report"], settings["model"]["aggregation"]
    others = [name for name in report["retrained"] if name != own]
    others += [DEFAULT] if settings.get("tune", {}).get("enabled") else []  # a study of before has no such section
    return others + [f"{SHARE}{percent}" for percent in (shares.PERCENT if report["learning_curve"] else ())]


def read(runs: Sequence[Run], variants: Iterable[str]) -> pd.DataFrame | None:
    """Return the test cases of each variant and run: variant, split, seed, case_id, prob_<class>, training_cases.

    None without variants. Raises UserError with every file that is missing or does not fit its run.
    """
    names = {variant: f"retrained/{variant}.csv" for variant in variants}
    if missing := files.lacking([run.folder for run in runs], dict.fromkeys(names.values(), "retrain")):
        raise UserError(*missing)
    parts, problems = [], []
    for run in runs:
        for variant, name in names.items():
            table = tables.read(run.folder / name)
            faults = [f"{run.folder}/{name}: {fault}: run retrain again" for fault in _faults(table, run)]
            problems += faults
            if not faults:
                own = table[table["set"] == "test"].drop(columns=["set", "true_class", "epoch"])
                parts.append(own.assign(variant=variant, split=run.split, seed=run.seed))
    if problems:
        raise UserError(*problems)
    return pd.concat(parts, ignore_index=True) if parts else None


def _faults(table: pd.DataFrame, run: Run) -> Iterator[str]:
    wanted = ["set", "case_id", "true_class", *(f"prob_{column(name)}" for name in run.classes), "training_cases"]
    if absent := [name for name in wanted if name not in table]:
        yield f"missing column {', '.join(absent)}"
    elif set(table.loc[table["set"] == "test", "case_id"]) != set(run.test["case_id"]):
        yield "its test cases are not those of predictions.csv"

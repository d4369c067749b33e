"""The tables of new cases: one pass over the cases, each read, predicted, looked at for flags and let go."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow
import pyarrow.parquet
import torch

from stratamil.core import files
from stratamil.core.names import column
from stratamil.deploy import flags
from stratamil.deploy.apply import Model, Prediction
from stratamil.deploy.flags import Seen
from stratamil.deploy.reference import Reference
from stratamil.features.store import Features
from stratamil.mil.bags import Bags

SWITCH = 3e-4  # seconds; a case took 238 ms with this and 311 with 5 ms, medians of three on two busy cores
WORKERS = 4  # cases that are in memory at most; Python's lock leaves no use for more


@dataclass(frozen=True)
class Tables:
    """predictions: a row a case. members: a row a case and member. flags: of `flags.found`. shift: a row a stain."""

    predictions: pd.DataFrame
    members: pd.DataFrame
    flags: pd.DataFrame
    shift: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write each table as CSV."""
        for name in ("predictions", "members", "flags", "shift"):
            files.write_csv(getattr(self, name), folder / f"{name}.csv")


def predict(
    model: Model,
    cases: Iterable[tuple[str, str]],
    features_of: Callable[[str], Features],
    *,
    unknown: Mapping[str, list[str]],
    attention: Path,
) -> Tables:
    """Predict cases one after another, and write the attention of each to the Parquet file `attention`.

    cases: id and class of each, the class empty where it is not known; of all cases or of none. features_of: gives the
    features of a case. unknown: case -> its stains that the model does not know.
    """
    rows, members, seen = [], [], {}  # of all cases, in little memory
    with files.atomic(attention) as temporary:
        writer = None
        try:
            for one in _predicted(model, cases, features_of, unknown):
                rows.append(one.row)
                members += one.members
                seen |= one.seen
                writer = writer or pyarrow.parquet.ParquetWriter(temporary, one.attention.schema)
                writer.write_table(one.attention.cast(writer.schema))
        finally:
            if writer:
                writer.close()
    table, of_members = pd.DataFrame(rows), pd.DataFrame(members)
    raised, shift = flags.found(
        model.bundle.facts["reference"],
        seen,
        table,
        of_members,
        probabilities=[f"prob_{column(name)}" for name in model.classes],
        threshold=model.decision["threshold"],
    )
    table["flags"] = flags.joined(raised, table["case_id"])
    return Tables(_ordered(table), of_members, raised, shift)


class _One(NamedTuple):
    """What is kept of a case: its row in predictions.csv without flags, those in members.csv, what flags need."""

    row: dict[str, Any]
    members: list[dict[str, Any]]
    seen: dict[str, Seen]
    attention: pyarrow.Table


def _predicted(
    model: Model,
    cases: Iterable[tuple[str, str]],
    features_of: Callable[[str], Features],
    unknown: Mapping[str, list[str]],
) -> Iterator[_One]:
    """Yield what is kept of each case, in order; the next is read, or encoded, while others are predicted.

    A case is computed by one thread, so that the number of threads changes no digit, and none waits for another.
    """
    known = Reference(model.bundle.reference, model.bundle.facts["reference"])

    def one(case: str, truth: str, features: Features) -> _One:
        bags = Bags(features, model.stains, model.device)
        found, seen = model.of_case(features, case, bags), flags.seen(known, features, bags, unknown)
        row = {"case_id": case} | ({"true_class": truth} if truth else {}) | found.row()
        row |= {name: getattr(seen[case], name) for name in ("n_patches", "n_slices", "stains")}
        attention = pyarrow.Table.from_pandas(found.attention, preserve_index=False)
        return _One(row, _members(model, found, case), seen, attention)

    workers = min(torch.get_num_threads(), WORKERS)
    with _lively(), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future] = deque()
        for case, truth in cases:
            waiting.append(pool.submit(one, case, truth, features_of(case)))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _lively() -> Iterator[None]:
    """Let threads change over every `SWITCH` seconds, not every 5 ms: a product's thread waits so long to go on."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _members(model: Model, found: Prediction, case: str) -> list[dict[str, Any]]:
    """Return the rows of a case in members.csv; split is empty for a member that was trained on all cases."""
    named = [f"prob_{column(name)}" for name in model.classes]
    return [
        {"case_id": case, "split": each["split"] or "", "seed": each["seed"]} | dict(zip(named, p))
        for each, p in zip(model.listed, found.members, strict=True)
    ]


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the logits, which only explain the contributions, after all else."""
    logits = [name for name in table if name.startswith("logit_")]
    return table[[name for name in table if name not in logits] + logits]

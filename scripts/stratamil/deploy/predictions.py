"""The tables of new cases: one pass over the cases, each read, predicted, looked at for flags and let go."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet

from stratamil.core import files
from stratamil.core.names import column
from stratamil.deploy import flags, reference
from stratamil.deploy.apply import Model, Prediction
from stratamil.features.store import Features

WORKERS = 2


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
    parts: dict[str, pd.DataFrame] = {}  # without a row, for their columns
    rows: dict[str, list[dict[str, Any]]] = {}  # in little memory
    with files.atomic(attention) as temporary:
        writer = None
        try:
            for found, tables in _predicted(model, cases, features_of, unknown):
                for name, part in tables.items():
                    parts.setdefault(name, part.head(0))
                    rows.setdefault(name, []).extend(part.to_dict("records"))
                table = pyarrow.Table.from_pandas(found.attention, preserve_index=False)
                writer = writer or pyarrow.parquet.ParquetWriter(temporary, table.schema)
                writer.write_table(table.cast(writer.schema))
        finally:
            if writer:
                writer.close()
    joined = {name: pd.DataFrame(rows[name], columns=part.columns) for name, part in parts.items()}
    return Tables(**joined | {"predictions": _ordered(joined["predictions"])})


def _predicted(
    model: Model,
    cases: Iterable[tuple[str, str]],
    features_of: Callable[[str], Features],
    unknown: Mapping[str, list[str]],
) -> Iterator[tuple[Prediction, dict[str, pd.DataFrame]]]:
    """Yield prediction and tables of each case, in order; the next is read, or encoded, while one is predicted."""

    def one(case: str, truth: str, features: Features) -> tuple[Prediction, dict[str, pd.DataFrame]]:
        found = model.of_case(features, case)
        row, members = _row(model, found, case, truth), _members(model, found, case)
        raised, shift = _looked_at(model, features, row, members, unknown.get(case, []))
        table = pd.DataFrame([row | {"flags": ";".join(raised["flag"])}])
        return found, {"predictions": table, "members": members, "flags": raised, "shift": shift}

    with ThreadPoolExecutor(WORKERS) as pool:  # their products run outside Python's lock
        waiting: deque[Future] = deque()
        for case, truth in cases:
            waiting.append(pool.submit(one, case, truth, features_of(case)))
            if len(waiting) > WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _row(model: Model, found: Prediction, case: str, truth: str) -> dict[str, Any]:
    """Return the row of a case in predictions.csv, without its flags."""
    patches = found.attention
    slices = set(zip(patches["stain"], patches["slice_id"]))
    own = {stain for stain, _ in slices}
    return (
        {"case_id": case}
        | ({"true_class": truth} if truth else {})
        | found.row()
        | {
            "n_patches": len(patches),
            "n_slices": len(slices),
            "stains": "+".join(stain for stain in model.stains if stain in own),
        }
    )


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the logits, which only explain the contributions, after all else."""
    logits = [name for name in table if name.startswith("logit_")]
    return table[[name for name in table if name not in logits] + logits]


def _members(model: Model, found: Prediction, case: str) -> pd.DataFrame:
    """Return the rows of a case in members.csv; split is empty for a member that was trained on all cases."""
    listed = pd.DataFrame(model.listed)[["split", "seed"]]
    named = {f"prob_{column(name)}": found.members[:, k] for k, name in enumerate(model.classes)}
    return pd.DataFrame({"case_id": case, "split": listed["split"].fillna(""), "seed": listed["seed"], **named})


def _looked_at(
    model: Model, features: Features, row: Mapping[str, Any], members: pd.DataFrame, unknown: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the flags of a case, and how far its stains lie from training."""
    found = flags.found(
        reference.Reference(model.bundle.reference, model.bundle.facts["reference"]),
        features,
        pd.DataFrame([row]),
        members,
        stains=model.stains,
        probabilities=[f"prob_{column(name)}" for name in model.classes],
        threshold=model.decision["threshold"],
        unknown={row["case_id"]: unknown},
    )
    return found.flags, found.shift

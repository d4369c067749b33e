"""Tables of patches read case by case, so that memory does not grow with the cohort."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.core import files
from stratamil.core.errors import UserError
from stratamil.explain import contributions
from stratamil.stats.ranking import top_count

TEXT = ("case_id", "stain", "slice_id", "path")
ROWS = 2**15  # read at once


def by_case(path: Path, needed: Sequence[str] = ("case_id", "path", "effective_weight")) -> Iterator[pd.DataFrame]:
    """Yield the rows of each case in patch_attention.parquet, in the order of the file.

    Raises UserError where a column that is `needed` is missing, a patch stands twice, or the rows of a case do not
    follow one another.
    """
    import pyarrow.parquet as pq  # not every program that imports this reads tables of patches

    with files.readable(path, "run evaluate"), pq.ParquetFile(path) as file:
        if lacking := [name for name in needed if name not in file.schema_arrow.names]:
            raise UserError(f"{path}: missing column {', '.join(lacking)}: make the file again with evaluate")
        told, parts = set(), []
        for batch in file.iter_batches(ROWS):
            rows = batch.to_pandas()
            rows = rows.astype({name: str for name in TEXT if name in rows})
            for case, part in rows.groupby("case_id", sort=False):
                if parts and parts[0]["case_id"].iloc[0] != case:
                    yield _whole(parts, told, path)
                    parts = []
                parts.append(part)
        if parts:
            yield _whole(parts, told, path)


def _whole(parts: list[pd.DataFrame], told: set[str], path: Path) -> pd.DataFrame:
    """Return the parts of a case as one table; told: the cases before it."""
    case = parts[0]["case_id"].iloc[0]
    if case in told:
        raise UserError(f"{path}: the patches of case {case} do not follow one another: make it again with evaluate")
    told.add(case)
    patches = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0].reset_index(drop=True)
    if twice := patches.loc[patches["path"].duplicated(), "path"].tolist():
        raise UserError(f"{path}: patch {twice[0]} stands there twice: make it again with evaluate")
    return patches


def top(patches: pd.DataFrame, percent: float) -> NDArray[np.bool_]:
    """Return which patches of a case are among the `percent` with the most attention, or that support a class most.

    Each ranking counts `top_count` patches, those to the margin of each class alone; equal ones by path.
    """
    chosen, n = np.zeros(len(patches), bool), top_count(len(patches), percent)
    classes = [name.removeprefix(contributions.PREFIX) for name in patches if name.startswith(contributions.PREFIX)]
    for values in (patches["effective_weight"], *(contributions.of_table(patches, name) for name in classes)):
        ranked = pd.DataFrame({"value": np.asarray(values), "path": patches["path"].to_numpy()})
        chosen[ranked.sort_values(["value", "path"], ascending=[False, True]).index[:n]] = True
    return chosen

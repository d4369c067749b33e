"""What is wrong with the tables of predictions of a run, in lines that name file and remedy."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.core.names import column
from stratamil.evaluation.runs import Run

WHOLE = 1e-3  # by which the probabilities of a case may miss 1: tables are rounded


def faults(run: Run) -> Iterator[str]:
    """Yield a line for each thing that is wrong with the predictions of a run."""
    if len(run.test) != run.results.get("n", len(run.test)):
        counted = f"{len(run.test)} cases, but results.json has {run.results['n']}"
        yield f"{run.folder}/predictions.csv: {counted}: evaluate the run again"
    wanted = ["patches", *(f"{kind}_{column(name)}" for kind in ("prob", "logit") for name in run.classes)]
    for name, table in (("predictions.csv", run.test), ("validation_predictions.csv", run.validation)):
        for lacking in (item for item in ["case_id", "true_class", *wanted] if item not in table):
            yield f"{run.folder}/{name}: missing column {lacking}: evaluate the run again"
        yield from impossible(f"{run.folder}/{name}", table, run.classes)
        for label in sorted(set(table.get("true_class", pd.Series()).fillna("").astype(str)) - set(run.classes)):
            yield f"{run.folder}/{name}: class {label!r} is none of {', '.join(run.classes)}: evaluate the run again"


def impossible(path: str, table: pd.DataFrame, classes: Sequence[str]) -> Iterator[str]:
    """Yield a line where a predictions table has a case twice, or numbers that no model gives: see `_numbers`."""
    if (cases := table.get("case_id", pd.Series(dtype=str))).duplicated().any():
        yield f"{path}: case {cases[cases.duplicated()].iloc[0]} stands there twice: evaluate the run again"
    p, logits = (_numbers(table, kind, classes) for kind in ("prob", "logit"))
    if not ((p >= 0) & (p <= 1)).all():
        yield f"{path}: a probability is not between 0 and 1: evaluate the run again"
    elif p.shape[1] == len(classes) and (np.abs(p.sum(axis=1) - 1) > WHOLE).any():
        yield f"{path}: probabilities of a case do not add up to 1: evaluate the run again"
    if not np.isfinite(logits).all():
        yield f"{path}: a logit is not a number: evaluate the run again"


def _numbers(table: pd.DataFrame, kind: str, classes: Sequence[str]) -> NDArray[np.float64]:
    """Return the columns of a kind, prob or logit, that a table has (n, <= K); NaN for what is no number."""
    there = [name for each in classes if (name := f"{kind}_{column(each)}") in table]
    return table[there].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)

"""Table 1: who is in the cohort, by class and by test set, with standardised differences rather than p values.

It counts patients, where they are known: a patient counts once in each group, with the value of their first case that
has one.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from stratamil.cohort.columns import Column
from stratamil.evaluation.study import Study


def table(study: Study, columns: Sequence[Column]) -> dict[str, Any]:
    """Return `groups`, `sizes` and `rows`: a dict a column with cells of each group and standardised differences.

    groups: all, each class, the test set of each split. A cell is {"median", "q1", "q3", "missing", "mean", "sd"} of
    numbers, else {"counts": {level: n}, "known", "missing"}; of days the first three are dates as text. by_class: the
    largest difference of two classes. by_split: the largest of a test set from the other cases. apart: of how many
    pairs of classes, and of how many test sets, it is infinite, which those two do not count. varied: patients whose
    cases differ.
    """
    cases = study.ensemble[["case_id", "patient_id", "y"]]
    of_group = {"all": cases} | {name: cases[cases["y"] == c] for c, name in enumerate(study.classes)}
    tests = {
        split: cases[cases["case_id"].isin(set(rows["case_id"]))] for split, rows in study.predictions.groupby("split")
    }
    of_group |= {f"test {split}": tests[split] for split in study.splits}
    rows = []
    for column in columns:
        values = {name: _values(column, rows_of) for name, rows_of in of_group.items()}
        of_class = list(combinations([values[name] for name in study.classes], 2))
        rest = [
            (values[f"test {split}"], _values(column, cases[~cases["case_id"].isin(test["case_id"])]))
            for split, test in tests.items()
        ]
        rows.append(
            {
                "name": column.name,
                "numeric": column.numeric,
                "levels": column.of(cases["case_id"]).levels,
                "cells": {name: _cell(of, column) for name, of in values.items()},
                "by_class": _largest(of_class, column.numeric),
                "by_split": _largest(rest, column.numeric),
                "apart": {
                    name: sum(apart(a, b, column.numeric) for a, b in pairs)
                    for name, pairs in (("classes", of_class), ("tests", rest))
                },
                "varied": _varied(column, cases),
            }
        )
    return {
        "groups": list(of_group),
        "sizes": {name: int(of["patient_id"].nunique()) for name, of in of_group.items()},
        "rows": rows,
    }


def _values(column: Column, cases: pd.DataFrame) -> pd.Series:
    """Return the value of each patient of some cases, missing where none of the cases has one."""
    return column.values.reindex(cases["case_id"]).groupby(cases["patient_id"].to_numpy(), sort=False).first()


def _varied(column: Column, cases: pd.DataFrame) -> int:
    values = column.values.reindex(cases["case_id"])
    return int((values.groupby(cases["patient_id"].to_numpy()).nunique() > 1).sum())


def _cell(values: pd.Series, column: Column) -> dict[str, Any]:
    known, missing = values.dropna(), int(values.isna().sum())
    if not column.numeric:
        return {"counts": {str(k): int(n) for k, n in known.value_counts().items()}} | {
            "known": len(known),
            "missing": missing,
        }
    q1, median, q3 = known.quantile([0.25, 0.5, 0.75]) if len(known) else (None, None, None)
    if column.dates and len(known):
        q1, median, q3 = map(column.told, (q1, median, q3))
    found = {"median": median, "q1": q1, "q3": q3, "known": len(known), "missing": missing}
    return found | ({"mean": float(known.mean()), "sd": float(known.std(ddof=1))} if len(known) > 1 else {})


def _largest(pairs: Any, numeric: bool) -> float | None:
    known = [value for value in (difference(a, b, numeric) for a, b in pairs) if value is not None]
    return max(known, default=None)


def difference(a: pd.Series, b: pd.Series, numeric: bool) -> float | None:
    """Return the standardised difference of two groups, without its sign; None where it is not defined.

    Of numbers the difference of means, of shares that of their vectors, over the root of the mean variance (Austin
    2009; Yang and Dalton 2012). Missing values do not count.
    """
    a, b = a.dropna(), b.dropna()
    if len(a) < 2 or len(b) < 2:
        return None
    if numeric:
        spread = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
        return float(abs(a.mean() - b.mean()) / spread) if spread > 0 else (0.0 if a.mean() == b.mean() else None)
    levels = sorted({*a, *b})[1:]  # the shares of a group add up to 1
    if not levels:
        return 0.0
    p, q = (np.array([(values == level).mean() for level in levels]) for values in (a, b))
    variance = sum(np.diag(share) - np.outer(share, share) for share in (p, q)) / 2
    if np.linalg.matrix_rank(variance) < len(levels):
        return None if not np.allclose(p, q) else 0.0
    return float(np.sqrt((p - q) @ np.linalg.solve(variance, p - q)))


def apart(a: pd.Series, b: pd.Series, numeric: bool) -> bool:
    """Return whether the difference of two groups is infinite: each is sure to be of values that the other lacks."""
    return min(a.count(), b.count()) > 1 and difference(a, b, numeric) is None


def long_table(found: Mapping[str, Any]) -> pd.DataFrame:
    """Return `table` as a table with a row a column, level and group."""
    rows = []
    for row in found["rows"]:
        for group, cell in row["cells"].items():
            facts = {"column": row["name"], "group": group, "n": found["sizes"][group], "missing": cell["missing"]}
            facts |= {"difference_by_class": row["by_class"], "difference_by_test_set": row["by_split"]}
            if row["numeric"]:
                rows.append(facts | {"level": "", **{name: cell[name] for name in ("median", "q1", "q3")}})
            rows += [
                facts | {"level": level, "count": cell["counts"].get(level, 0), "known": cell["known"]}
                for level in ([] if row["numeric"] else row["levels"])
            ]
    names = ["column", "level", "group", "n", "missing", "known", "count", "median", "q1", "q3"]
    whole = pd.DataFrame(rows, columns=[*names, "difference_by_class", "difference_by_test_set"])
    return whole.astype({"known": "Int64", "count": "Int64"})

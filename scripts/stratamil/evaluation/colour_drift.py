"""Whether the colour of a stain goes with a column of the labels table, such as site, scanner or date.

The colour of a case in a stain is the mean density of haematoxylin, eosin and DAB over its patches; it does not matter
which stains there really are. A permutation test by patient within classes, so that a column which tells the class does
not count for that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.cohort import columns as cohort_columns
from stratamil.cohort.columns import Column
from stratamil.core import cells
from stratamil.evaluation import by_column
from stratamil.features.store import Features

LEAST = 10  # patients with the stain
DENSITIES = 3  # the first columns of a patch's colour are mean densities, the next is the mean optical density


def by_columns(
    features: Features, cases: pd.DataFrame, columns: Mapping[str, Column], stains: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """Return how the colour of each stain goes with each column, ready for JSON: a dict each.

    features: as store.read returns them; nothing is known without colour. cases: used ones with case_id, patient_id and
    class. Keys: column, stain, patients, share (of the variance between patients that goes with the column), p,
    adjusted (for all columns and stains), low and high: the category, or part of the numbers or dates, of the least and
    the largest mean optical density, with it.
    """
    if features.colour is None:
        return []
    described, rows, statistics = _by_case(features), [], []
    for name, column in columns.items():
        for stain in stains:
            found = _one(described[described["stain"] == stain], cases, column, seed)
            if found:
                rows.append({"column": name, "stain": stain} | found[0])
                statistics.append(found[1])
    if rows:
        p, adjusted = by_column.westfall_young(np.column_stack(statistics))
        rows = [row | {"p": a, "adjusted": b} for row, a, b in zip(rows, p, adjusted)]
    return rows


def _by_case(features: Features) -> pd.DataFrame:
    """Return the mean densities and darkness of each case in each stain, without blank patches."""
    table = features.table[["case_id", "stain"]].astype(str)
    table = table[~features.blank] if features.blank is not None else table
    rows = []
    for (case, stain), places in table.groupby(["case_id", "stain"], sort=False).indices.items():
        values = features.colour[table.index.to_numpy()[places]][:, : DENSITIES + 1].astype(np.float64)
        rows.append((case, stain, *values.mean(axis=0)))
    return pd.DataFrame(rows, columns=["case_id", "stain", *range(DENSITIES), "dark"])


def _one(
    described: pd.DataFrame, cases: pd.DataFrame, column: Column, seed: int
) -> tuple[dict[str, Any], NDArray[np.float64]] | None:
    """Return a row of `by_columns` and its statistic, as found and permuted; None where too little is known."""
    column = _dated(column)
    of_case = column.values.rename("value").rename_axis("case_id").reset_index()
    known = described.merge(cases[["case_id", "patient_id", "class"]], on="case_id").merge(of_case, on="case_id")
    known = known.dropna(subset="value")
    numbers = [*range(DENSITIES), "dark"]
    patients = known.groupby("patient_id", sort=False).agg(
        {"class": "first", "value": "first"} | dict.fromkeys(numbers, "mean")
    )
    levels = patients["value"].nunique()
    if len(patients) < LEAST or levels < 2 or (not column.numeric and levels > len(patients) / 2):
        return None
    coded, numeric = by_column.coded(patients["value"], column.numeric)
    order = by_column.permutations(pd.factorize(patients["class"])[0], seed)
    channels = patients[list(range(DENSITIES))].to_numpy()
    shares = [by_column.strength_of(channel[order], coded, numeric) for channel in channels.T]
    statistic = np.average(shares, axis=0, weights=np.maximum(channels.var(axis=0), 1e-12))
    parts = cohort_columns.groups(replace(column, values=patients["value"]))
    dark = patients["dark"].groupby(parts.to_numpy()).mean()
    ends = {end: (str(pick()), float(dark[pick()])) for end, pick in (("low", dark.idxmin), ("high", dark.idxmax))}
    return {"patients": len(patients), "share": float(statistic[0])} | ends, statistic


def _dated(column: Column) -> Column:
    """Return a column of dates as numbers also where few of them differ; any other as it is."""
    days = None if column.numeric else cells.days(column.values.dropna())
    return column if days is None else Column(column.name, days.reindex(column.values.index), True, dates=True)

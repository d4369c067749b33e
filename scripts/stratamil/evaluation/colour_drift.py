"""Whether the colour of a stain goes with a column of the labels table, such as site, scanner or date.

The colour of a case in a stain is the mean density of haematoxylin, eosin and DAB over its patches; it does not matter
which stains there really are. A permutation test by patient within classes, so that a column which tells the class does
not count for that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.cohort import columns as cohort_columns
from stratamil.cohort.columns import Column
from stratamil.evaluation import by_column
from stratamil.features.store import Features

LEAST = 10  # patients with the stain
DENSITIES = 3  # the first columns of a patch's colour are mean densities, the next is the mean optical density
FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%m/%d/%Y", "%d/%m/%Y")


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
    column, dates = _dated(column)
    values = column.values.rename("value").rename_axis("case_id").reset_index()
    known = described.merge(cases[["case_id", "patient_id", "class"]], on="case_id").merge(values, on="case_id")
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
    parts = _parts(Column(column.name, patients["value"], column.numeric), dates)
    dark = patients["dark"].groupby(parts.to_numpy()).mean()
    ends = {end: (str(pick()), float(dark[pick()])) for end, pick in (("low", dark.idxmin), ("high", dark.idxmax))}
    return {"patients": len(patients), "share": float(statistic[0])} | ends, statistic


def _dated(column: Column) -> tuple[Column, bool]:
    """Return a column of dates as numbers, days since 1970, and whether it was one; any other as it is.

    Dates that two of FORMATS read as different days (03/04/2021) are none.
    """
    texts = column.values.dropna()
    read = [_days(texts, form) for form in ([] if column.numeric or texts.empty else FORMATS)]
    fitting = [days for days in read if days is not None]
    if not fitting or any(not days.equals(fitting[0]) for days in fitting):
        return column, False
    return Column(column.name, fitting[0].reindex(column.values.index), True), True


def _days(texts: pd.Series, form: str) -> pd.Series | None:
    """Return the days since 1970 of dates of a format; None if not all are."""
    dates = pd.to_datetime(texts, format=form, errors="coerce").astype("datetime64[s]")
    return (dates - pd.Timestamp(0).as_unit("s")).dt.days.astype(float) if dates.notna().all() else None


def _parts(column: Column, dates: bool) -> pd.Series:
    """Return the category of each patient, or the part of the numbers, which dates name by their first and last."""
    parts = cohort_columns.groups(column)
    if not dates:
        return parts
    ends = column.values.groupby(parts).agg(["min", "max"]).map(_date)
    return parts.map({part: " to ".join(dict.fromkeys(row)) for part, row in zip(ends.index, ends.to_numpy())})


def _date(days: float) -> str:
    return str(np.datetime64(int(days), "D"))

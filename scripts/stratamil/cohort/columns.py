"""Columns of the labels table that tell of the case or patient, such as Site, Age: read, typed, grouped."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from stratamil.cohort.labels import bare
from stratamil.core import cells, ids, tables, wording
from stratamil.core.errors import UserError, few
from stratamil.core.names import natural

DISTINCT = 6  # fewer different numbers are categories, such as a grade or a code
THIRDS = 60  # fewer cases are split at the median, as dates always are
MISSING = "missing"
SEX = re.compile(r"^(sex|gender|geschlecht)", re.I)
AGE = re.compile(r"^([aâ]ge|alter|edad)([ _(].*)?$|age_at", re.I)
NOT_YEARS = re.compile("mon|day|tage|week|woche", re.I)  # in the name of an age
OLDEST, APART = 120, 20  # years: of an age, and between those of one patient in the cases of a study


@dataclass(frozen=True)
class Column:
    """What a column says of each case.

    values: index case_id; numbers with NaN, or texts with None, where it is missing. numeric: which of the two.
    dates: whether the numbers are days since 1970.
    """

    name: str
    values: pd.Series
    numeric: bool
    dates: bool = False

    @property
    def levels(self) -> list[str]:
        """The categories, in natural order; none of numbers."""
        return [] if self.numeric else sorted(self.values.dropna().unique(), key=natural)

    def of(self, case_ids: Sequence[str]) -> "Column":
        """Return the same of some cases."""
        return replace(self, values=self.values.reindex(list(case_ids)))

    def told(self, value: float) -> str:
        """Return a number of the column for readers, a day as its date."""
        return cells.date(value) if self.dates else _plain(value)


def read(
    path: str | Path,
    names: Sequence[str],
    cases: pd.DataFrame,
    *,
    case_column: str,
    missing_words: Sequence[str],
    site: str | None = None,
) -> dict[str, Column]:
    """Read columns of the labels table: name -> Column of the cases of cases.csv.

    missing_words: what counts as empty. site: the column of sites, whose values are those of `cases` and no numbers,
    also if they look like some. Raises UserError for a column that is not there, and where rows of a case
    contradict each other.
    """
    table, numbers = tables.sheet(path, "set `labels` to the labels table", [case_column, *names])
    if absent := [name for name in (case_column, *names) if name not in table]:
        told = few(map(repr, table.columns), 12)
        raise UserError(f"{path}: no column {few(map(repr, absent), 12)}: it has {told}: set report.columns")
    keys = table[case_column].map(ids.Known(cases["case_id"]).match(table[case_column]))
    absent, result, problems = {bare(word) for word in missing_words} | {""}, {}, []
    for name in dict.fromkeys(names):
        if name == site and "site" in cases:
            spelt_once = cases.set_index("case_id")["site"]
            result[name] = typed(name, spelt_once.where(spelt_once != ""), category=True)
            continue
        texts = table[name].where(~table[name].map(lambda text: bare(text) in absent))
        rows = pd.DataFrame({"case": keys, "text": texts, "row": numbers}).dropna()
        for case, same in rows.groupby("case", sort=False):
            if same["text"].nunique() > 1:
                each = few(f"{text!r} in row {row}" for text, row in zip(same["text"], same["row"]))
                problems.append(f"{path}: case {case} has different {name!r}: {each}; keep one")
        first = rows.drop_duplicates("case").set_index("case")["text"]
        result[name] = typed(name, first.reindex(cases["case_id"]))
    if problems:
        raise UserError(*problems)
    return result


def typed(name: str, texts: pd.Series, category: bool = False) -> Column:
    """Return a Column of texts (NaN or None where missing): of numbers or dates if all are and enough of them differ.

    category: whether numbers are but names.
    """
    known = texts.dropna()
    if known.nunique() >= DISTINCT and not category:
        numbers, days = cells.numbers(known), cells.days(known)
        if numbers.notna().all() and numbers.nunique() >= DISTINCT:
            return Column(name, numbers.reindex(texts.index), True)
        if days is not None and days.nunique() >= DISTINCT:
            return Column(name, days.reindex(texts.index), True, dates=True)
    return Column(name, texts.astype(object).where(texts.notna(), None), False)


def implausible(columns: Iterable[Column], patients: Mapping[str, str]) -> Iterator[tuple[str, str, bool]]:
    """Yield (`age 16 and 61`, patient, whether values differ) for ages and sexes that no person has, or not one person.

    patients: case_id -> patient.
    """
    for column in columns:
        age = bool(AGE.search(column.name)) and not NOT_YEARS.search(column.name)
        if not age and not SEX.search(column.name):
            continue
        known = (cells.numbers(column.values) if age else column.values).dropna()
        for patient, own in known.groupby(known.index.map(patients), sort=False):
            different = sorted(set(own))
            least, most = different[0], different[-1]
            if (least < 0 or most > OLDEST or most - least > APART) if age else least != most:
                told = wording.listed([_plain(value) if age else value for value in different])
                yield f"{column.name} {told}", patient, least != most


def groups(column: Column) -> pd.Series:
    """Return the subgroup of each case: its category; a half or third of the numbers, by their range; or missing.

    Dates are split into early and late at their median.
    """
    if not column.numeric:
        return column.values.where(column.values.notna(), MISSING).astype(str)
    known = column.values.dropna()
    parts = pd.qcut(known, 3 if split_into(column) == "thirds" else 2, labels=False, duplicates="drop").fillna(0)
    found = {part: (known[parts == part].min(), known[parts == part].max()) for part in set(parts)}
    names = {part: wording.ends(*map(column.told, both)) for part, both in found.items()}
    return parts.map(names).reindex(column.values.index).fillna(MISSING)


def order(column: Column) -> list[str]:
    """Return the subgroups of `groups` in order: by number, or natural; missing last."""
    of = groups(column)
    present = [name for name in of.unique() if name != MISSING]
    if column.numeric:
        least = column.values.groupby(of).min()
        ordered = sorted(present, key=lambda name: least[name])
    else:
        ordered = sorted(present, key=natural)
    return ordered + [MISSING] * (MISSING in set(of))


def split_into(column: Column) -> str:
    """Return how numbers are split, `halves` or `thirds`; empty of categories."""
    if not column.numeric:
        return ""
    return "halves" if column.dates or column.values.notna().sum() < THIRDS else "thirds"


def _plain(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.6g}"


def by_patient(column: Column, patients: Mapping[str, str]) -> pd.Series:
    """Return the value of each patient, that of their first case that has one; index patient_id."""
    return column.values.groupby(column.values.index.map(patients), sort=False).first()

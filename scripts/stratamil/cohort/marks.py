"""What readers marked patch by patch: the CSV that the case browser exports, or any table with a column file."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from stratamil.core import tables
from stratamil.core.errors import UserError, few, in_rows

ARTEFACT = "artefact"
SPELT = {"artifact": ARTEFACT}
MEANS = {"signal": "1", "not signal": "0", ARTEFACT: ""}  # the signal that goes with a mark of the browser
MARKED = "marked as artefact"  # why a patch is excluded
LISTED = "listed in cohort.exclude_patches"
SIGNAL = {"0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}
SHOWN = 5  # problems of one kind in an error


def read_signal(path: Path) -> pd.DataFrame:
    """Return what each reader said of each patch: file, reader, signal (1 or 0); reader is empty where none is named.

    Rows without a signal are left out. Names of readers that differ by case alone are one. Raises UserError for another
    value, for a mark that says the opposite of its signal, and for a patch that a reader marks twice.
    """
    table, numbers = tables.sheet(path, "set attention.truth to a CSV with columns file and signal", ["file", "signal"])
    if lacking := [column for column in ("file", "signal") if column not in table]:
        raise UserError(*(f"{path}: column {column} is missing: the columns are file and signal" for column in lacking))
    table = table.assign(row=numbers, reader=_readers(table), mark=_marks(table))
    means = table["mark"].map(MEANS)
    odd = table[means.notna() & (means != table["signal"].str.removesuffix(".0"))]
    table = table[table["signal"] != ""]
    wrong = table[~table["signal"].isin(SIGNAL) & ~table.index.isin(odd.index)]
    problems = [
        f"{path}: row {row.row}: signal is {row.signal}: write 0 or 1" for row in wrong.head(SHOWN).itertuples()
    ]
    problems += [
        f"{path}: row {row.row}: mark is {row.mark}, but signal is {row.signal or 'empty'}: correct one of them"
        for row in odd.head(SHOWN).itertuples()
    ]
    table = table.assign(signal=table["signal"].map(SIGNAL))
    again = table.duplicated(["file", "reader", "signal"]) & table["reader"].ne("")  # blinded and not, or added up
    twice = table[table.duplicated(["file", "reader"]) & ~again]
    problems += [
        f"{path}: row {row.row}: {row.file} is listed twice{f' by {row.reader}' if row.reader else ''}: remove one"
        for row in twice.head(SHOWN).itertuples()
    ]
    if problems:
        raise UserError(*problems)
    return table.loc[~again, ["file", "reader", "signal"]].reset_index(drop=True)


def read_excluded(path: Path) -> dict[str, tuple[str, str]]:
    """Return the patches to exclude: file -> (reason, who marked it).

    Of a table with a column mark the rows whose mark is ARTEFACT, of any other all. Raises UserError where a file is
    not named.
    """
    table, numbers = tables.sheet(path, "set cohort.exclude_patches to a CSV with a column file", ["file", "mark"])
    if "file" not in table:
        found = few(map(repr, table.columns), 12)
        raise UserError(f"{path}: column file is missing (found: {found}): name the patches to exclude in it")
    marked = "mark" in table
    chosen = _marks(table).eq(ARTEFACT) if marked else pd.Series(True, index=table.index)
    if nameless := [number for number, name, here in zip(numbers, table["file"], chosen) if here and not name]:
        raise UserError(f"{path}: {in_rows(nameless)}: no file: give the path below the patches folder")
    result: dict[str, list[str]] = {}
    if marked and not chosen.any():
        logging.warning("%s: no mark is %s: nothing is excluded", path, ARTEFACT)
    for row in table.assign(reader=_readers(table))[chosen].to_dict("records"):
        readers = result.setdefault(row["file"], [])
        if (reader := row["reader"]) and reader not in readers:
            readers.append(reader)
    return {file: (MARKED if marked else LISTED, _by(readers)) for file, readers in result.items()}


def _marks(table: pd.DataFrame) -> pd.Series:
    """Return the mark of each row in lower case; empty without such a column."""
    return table["mark"].str.lower().replace(SPELT) if "mark" in table else pd.Series("", index=table.index)


def _readers(table: pd.DataFrame) -> pd.Series:
    """Return the reader of each row, as first spelt; empty where none is named."""
    first: dict[str, str] = {}
    names = table["reader"] if "reader" in table else pd.Series("", index=table.index)
    return names.map(lambda name: first.setdefault(name.casefold(), name))


def _by(readers: Sequence[str]) -> str:
    return f"by {', '.join(readers)}" if readers else ""

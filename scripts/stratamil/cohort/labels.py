"""Reading the labels table: one row a case, with its class code and its patient."""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stratamil.core import files, schema, tables
from stratamil.core.errors import UserError, few, in_rows
from stratamil.core.names import LONGEST, case_id, class_code
from stratamil.core.wording import in_list

SHOWN = 3  # of one kind, named each in a line
NO_CLASS = "(empty)"  # the code of a row without a class, where cohort.excluded_codes has ""
NO_PATIENTS = "; cohort.patient_column: null if patients are not known, then each case counts as one patient"
TOTAL = re.compile(r"(sum|summen?|somme|suma|totals?|gesamt\w*|insgesamt|anzahl|count|[Σ∑])\W*", re.IGNORECASE)


def settings(cohort: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `read` needs of the settings of section `cohort`, as its arguments."""
    names = ("case_column", "class_column", "patient_column", "excluded_codes", "missing_words")
    site = {"site_column": cohort.get("site_column")}  # a bundle has none
    return {name: cohort[name] for name in names} | site | {"classes": schema.merged(cohort["classes"])}


def read(
    path: str | Path,
    *,
    case_column: str,
    class_column: str,
    patient_column: str | None,
    classes: Mapping[str, Sequence[str]],
    excluded_codes: Sequence[str],
    missing_words: Sequence[str],
    site_column: str | None = None,
) -> pd.DataFrame:
    """Read a labels table.

    path: CSV with comma, semicolon or tab; every value is read as text, blank lines are ignored.
    classes: class name -> list of its codes. excluded_codes: codes left out on purpose. `1`, `01` and `1.0` are one
    code; codes of letters are compared without regard to case; "" is that of an empty cell. missing_words: what stands
    for a patient who is not known; case, spaces and punctuation do not matter, and a cell without letter and digit is
    missing, too. One case may be called so, as its files are. patient_column: None if patients are not known,
    `case_column` if each case is one. site_column: None if sites do not matter.
    Returns a DataFrame with one row a row of the file, in its order: case_id and patient_id (each as its first row
    spells it; patient_id is the case itself without a patient column), site if there is a column (as first spelt, never
    empty for a case of a class), label (code as in the config), class (name, empty where the code is left out), row
    (its number in the file; the header is row 1). Rows that repeat a case agree with each other.
    Raises UserError with every problem found: columns, codes, contradicting rows.
    """
    columns = {"case_column": case_column, "class_column": class_column, "patient_column": patient_column}
    columns["site_column"] = site_column
    wanted = [name for name in columns.values() if name]
    table, numbers = tables.sheet(path, "set `labels` to the labels table", wanted)
    if absent := {name: setting for setting, name in columns.items() if name and name not in table}:
        raise UserError(_no_column(path, absent, list(table)))
    codes = _codes(classes, excluded_codes)
    rows = _rows(table, columns, numbers)
    known = rows["label"].map(lambda text: codes.get(class_code(text)))
    absent = {bare(word) for word in missing_words} | {""}
    problems = []
    if (
        total := np.array([*map(is_total, rows["case_id"])], bool) & known.isna().to_numpy()
    ).any():  # what else is wrong with it does not matter
        problems += [f"{path}: {_totals(rows[total])}"]
        table, rows, known = (each[~total].reset_index(drop=True) for each in (table, rows, known))
        numbers = rows["row"].tolist()
    problems += _without_id(path, table[case_column], numbers, absent)
    problems += _too_long(path, table[case_column], numbers)
    if patient_column not in (None, case_column):
        problems += _empty(path, table[patient_column], numbers, absent, "patient")
    if site_column:  # of a case that is left out it does not matter
        used = [code is None or code[1] != "" for code in known]
        problems += _empty(path, table.loc[used, site_column], rows.loc[used, "row"], absent, "site")
    problems += _formulas(path, table[list(dict.fromkeys(wanted[:1] + wanted[2:]))], numbers)
    problems += _unknown_codes(path, rows[known.isna()], codes)
    rows["label"] = [code[0] if code else text for code, text in zip(known, rows["label"])]
    problems += _contradictions(path, rows)
    if problems:
        raise UserError(*problems)
    if rows.empty:
        raise UserError(f"{path}: no rows: add one row a case")
    rows["class"] = [name for _, name in known]
    return rows


def is_total(text: str) -> bool:
    """Tell whether a cell heads the line of totals that a spreadsheet ends with."""
    return bool(TOTAL.fullmatch(text))


def _totals(rows: pd.DataFrame) -> str:
    told = few(_each(rows, "case_id"))
    return (
        f"{told}: {'total lines, not cases: delete them' if len(rows) > 1 else 'a total, not a case: delete the row'}"
    )


def _rows(table: pd.DataFrame, columns: Mapping[str, str | None], numbers: list[int]) -> pd.DataFrame:
    """Return case_id, label, patient_id, site if there is a column of it, and row. columns: setting -> column."""
    case, site = columns["case_column"], columns["site_column"]
    rows = {"case_id": _as_first_spelt(table[case]), "label": table[columns["class_column"]]}
    rows["patient_id"] = _as_first_spelt(table[columns["patient_column"] or case])
    return pd.DataFrame(rows | ({"site": _as_first_spelt(table[site])} if site else {}) | {"row": numbers})


def _no_column(path: object, absent: Mapping[str, str], there: Sequence[str]) -> str:
    """Return the line on columns that a table lacks. absent: name -> its setting."""
    close = {name: difflib.get_close_matches(name, there, 1) for name in absent}
    meant = [f"did you mean {found[0]!r}?" for found in close.values() if found]
    settings = few([f"cohort.{setting}" for setting in absent.values()])
    lacking = ", ".join(map(repr, absent))
    line = f"{path}: no column {lacking}: it has {few(map(repr, there), 12)}; {' '.join([*meant, 'set'])} {settings}"
    return line + (NO_PATIENTS if "patient_column" in absent.values() else "")


def _as_first_spelt(values: pd.Series) -> pd.Series:
    """Return ids as their first row spells them, for `38` and `038` are one; empty where there is none."""
    first = {}
    return values.map(lambda text: first.setdefault(normal, text) if (normal := case_id(text)) else "")


def _codes(classes: Mapping[str, Sequence[str]], excluded_codes: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return what a code means: its class_code -> (the code as in the config, its class, or "" if it is excluded)."""
    entries = [(str(code).strip(), name) for name, codes in classes.items() for code in codes]
    entries += [(str(code).strip(), "") for code in excluded_codes]
    codes = [class_code(code) for code, _ in entries]
    entries = [(code or NO_CLASS, name) for code, name in entries]
    twice = sorted({code for code in codes if codes.count(code) > 1})
    if twice:
        raise UserError(
            f"cohort.classes: codes named twice: {', '.join(map(in_list, twice))}: each belongs to one class"
        )
    return dict(zip(codes, entries))


def bare(text: str) -> str:
    """Return what is left of a word without spaces and punctuation: `na` of `N/A`, nothing of `-`."""
    return "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())


def _words(column: pd.Series, numbers: Iterable[int], absent: Collection[str]) -> dict[str, list[int]]:
    """Return the words that mean nothing in a column: the word as it stands there -> its rows."""
    rows_of = {}
    for text, number in zip(column, numbers):
        if bare(text) in absent:
            rows_of.setdefault(text, []).append(number)
    return rows_of


def _without_id(path: object, column: pd.Series, numbers: list[int], absent: Collection[str]) -> Iterator[str]:
    """Yield a line for rows without a case id; a word for nothing may be the name of one case."""
    words = _words(column, numbers, absent)
    rows = sorted(number for word, same in words.items() if not bare(word) for number in same)
    if rows:
        yield f"{path}: {in_rows(rows)}: no case id: fill it in or delete the row"
    several = {word: rows for word, rows in words.items() if bare(word)}
    if sum(map(len, several.values())) > 1:
        told = few(f"{word!r} in {in_rows(rows)}" for word, rows in several.items())
        yield f"{path}: no case id: {told}: name the cases or delete the rows"


def _too_long(path: object, column: pd.Series, numbers: list[int]) -> Iterator[str]:
    """Yield a line for ids that are rather text that slipped into the column."""
    if rows := [number for text, number in zip(column, numbers) if len(text) > LONGEST]:
        yield f"{path}: {in_rows(rows)}: a case id of more than {LONGEST} characters: shorten it"


def _empty(
    path: object, column: pd.Series, numbers: Sequence[int], absent: Collection[str], what: str
) -> Iterator[str]:
    """Yield a line for the rows that name no patient or site; different people would be one patient otherwise."""
    if words := _words(column, numbers, absent):
        told = few((f"{word!r} in {in_rows(rows)}" if word else in_rows(rows) for word, rows in words.items()), 6)
        names = "; if it is a name, take the word out of cohort.missing_words" if any(map(bare, words)) else ""
        yield (
            f"{path}: nothing in column {column.name!r}: {told}: name the {what}, "
            f"or set cohort.{what}_column to null{names}"
        )


def _formulas(path: object, ids: pd.DataFrame, numbers: list[int]) -> Iterator[str]:
    """Yield a line for ids that a spreadsheet would run, and that cannot be made harmless without being other ids."""
    formulas = [
        f"{text!r} in row {number}"
        for name in ids
        for text, number in zip(ids[name], numbers)
        if files.FORMULA.match(text) and re.search(r"\w", text)
    ]
    if formulas:
        yield f"{path}: a spreadsheet takes for a formula: {few(formulas)}: begin the id with a letter or digit"


def _unknown_codes(path: object, rows: pd.DataFrame, codes: dict[str, tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each code; one for all where there are many, as with the wrong column."""
    known = ", ".join(in_list(code) for code, _ in codes.values())
    where = f"in neither cohort.classes nor cohort.excluded_codes ({known}): correct it or add it to one of them"
    unknown = list(rows.groupby("label", sort=False))
    if len(unknown) > SHOWN:
        told = few(f"{label!r} in {in_rows(list(same['row']))}" for label, same in unknown)
        yield f"{path}: {len(unknown)} class codes are {where}: {told}"
        return
    for label, same in unknown:
        empty = (
            'the class is empty: fill it in, remove the row, or add "" to cohort.excluded_codes to exclude such cases'
        )
        what = f"class code {label!r} is {where}" if label else empty
        if len(same) > SHOWN:
            yield f"{path}: {in_rows(list(same['row']))}: {what}"
        else:
            yield from (f"{path}: row {row.row}: case {row.case_id}: {what}" for row in same.itertuples())


def _contradictions(path: object, rows: pd.DataFrame) -> Iterator[str]:
    """Yield a line for cases with different classes, one for those with different patients, one for sites."""
    repeated = rows[(rows["case_id"] != "") & rows.duplicated("case_id", keep=False)]
    sites = [("sites", "site")] if "site" in rows else []
    for what, column in [("classes", "label"), ("patients", "patient_id"), *sites]:
        different = repeated.groupby("case_id")[column].transform("nunique") > 1
        contradictions = [
            f"case {case} has different {what}: {few(_each(same, column))}"
            for case, same in repeated[different].groupby("case_id", sort=False)
        ]
        if contradictions:
            out = ", or give all rows of the case an excluded code" if column == "label" else ""
            yield f"{path}: {few(contradictions)}; keep one{out}"


def _each(rows: pd.DataFrame, column: str) -> Iterable[str]:
    return (f"{value!r} in row {row}" for value, row in zip(rows[column], rows["row"]))

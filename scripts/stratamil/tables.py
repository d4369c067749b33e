"""Reading CSV tables: the workflow's own as they were written, and those of users however they were written."""

import csv
import io
import re
from pathlib import Path

import pandas as pd

from stratamil.errors import UserError

SEPARATOR = re.compile(r"sep=.\s*", re.IGNORECASE)  # the line by which a spreadsheet program tells itself
TEXT = ("case_id", "stain", "slice_id", "name", "label", "class", "group", "split")
LABELS = ("true_label", "predicted_label", "most_attended_stain")


def read(path):
    """A DataFrame with ids and names as text; only an empty cell is missing, so a case may be called `nan`."""
    try:
        return pd.read_csv(path, dtype=dict.fromkeys(TEXT + LABELS, str), keep_default_na=False, na_values=[""])
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: no table ({error}): make it again") from None


def read_cases(path):
    """All rows of cases.csv, used or not, in natural order: ids and codes as text, what is empty as empty text."""
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False)


def read_excluded(path):
    """All rows of excluded.csv."""
    return pd.read_csv(path, dtype=str, keep_default_na=False).astype({"patches": int})


def sheet(path, remedy, wanted=()):
    """A user's CSV table: all values as stripped text in a DataFrame, and the number of each row in the file.

    The separator is that of comma, semicolon and tab with which the header has most of the columns `wanted`, and most
    columns; a byte order mark, a line `sep=;` and blank lines do not matter. Rows are numbered as a spreadsheet shows
    them: the header is row 1.
    Raises UserError with every problem found; `remedy` says what to do where there is no such file.
    """
    try:
        text = Path(path).read_bytes()
        if b"\0" in text:
            raise UserError(f"{path}: not a CSV table in UTF-8: save it as CSV UTF-8")
        text = text.decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: {remedy}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not in UTF-8 (byte {error.start + 1}): save it as CSV UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    # blank lines count, a line break within quotes does not
    head = next((line for line in text.splitlines() if line.strip() and not SEPARATOR.fullmatch(line)), "")
    header = {sep: [name.strip() for name in next(csv.reader([head], delimiter=sep))] for sep in ",;\t"}
    separator = max(header, key=lambda sep: (sum(name in header[sep] for name in wanted), len(header[sep])))
    # strict: a quote that is never closed would swallow the rest of the table
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [(number, [value.strip() for value in row]) for number, row in enumerate(reader, 1)]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not CSV: {error}: check the quotes") from None
    if SEPARATOR.fullmatch(text.partition("\n")[0]):
        del rows[0]
    rows = [(number, row) for number, row in rows if any(row)]
    if not rows:
        raise UserError(f"{path}: empty: write a header and its rows")
    (_, columns), *rows = rows
    width = len(columns)
    problems = [
        f"{path}: column {name!r} twice: keep one"
        for name in dict.fromkeys(columns)
        if name and columns.count(name) > 1
    ]
    problems += [
        f"{path}: row {number}: {len(row)} values, but {width} columns: quote values that hold the separator"
        for number, row in rows
        if any(row[width:]) or len(row) < width
    ]
    if problems:
        raise UserError(*problems)
    return pd.DataFrame([row[:width] for _, row in rows], columns=columns, dtype=str), [number for number, _ in rows]

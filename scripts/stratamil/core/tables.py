"""Reading CSV tables: the workflow's own as they were written, and those of users however they were written."""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
from pandas.api.types import union_categoricals

from stratamil.core.errors import UserError, few
from stratamil.core.files import as_typed, readable

csv.field_size_limit(2**31 - 1)  # a cell may be as long as a line; the file is in memory anyway

LARGEST = 2**30  # bytes of a user's table
SEPARATOR = re.compile(r"sep=.\s*", re.IGNORECASE)  # the line by which a spreadsheet program tells itself
TEXT = ("case_id", "stain", "stains", "slice_id", "name", "label", "class", "patient_id", "site", "split")
LABELS = ("true_label", "predicted_label", "true_class", "predicted_class", "most_attended_stain")
INDICES = ("true_label", "predicted_label")


def read(path: str | Path) -> pd.DataFrame:
    """Read a table of the workflow's own, with ids and names as text.

    Only an empty cell is missing, so a case may be called `nan`. Raises UserError if it is not a table.
    """
    return _own(path, (), dtype=dict.fromkeys(TEXT + LABELS, str), na_values=[""])


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read a run's predictions: labels are indices of classes, classes are names.

    Raises UserError if they are of a version that wrote names as labels, or no table.
    """
    table = read(path)
    try:
        return table.astype({name: int for name in INDICES if name in table})
    except ValueError:
        raise UserError(f"{path}: labels are not indices of classes: evaluate the run again") from None


def read_cases(path: str | Path) -> pd.DataFrame:
    """Read all rows of cases.csv, used or not, in natural order: ids and codes as text, what is empty as empty text."""
    return _own(path, ("case_id", "status"), dtype=dict.fromkeys(TEXT, str))


def read_excluded(path: str | Path) -> pd.DataFrame:
    """Read all rows of excluded.csv. Raises UserError if it is damaged."""
    table = _own(path, ("kind", "name", "reason", "detail", "patches"), dtype=str)
    if not table["patches"].str.fullmatch("[0-9]{1,15}").all():
        raise UserError(f"{path}: damaged: a number of patches is not a number: delete it and run again")
    return table.astype({"patches": int})


def sheet(path: str | Path, remedy: str, wanted: Collection[str] = ()) -> tuple[pd.DataFrame, list[int]]:
    """Read a user's CSV table: all values as stripped text in a DataFrame, and the number of each row in the file.

    The separator is that of comma, semicolon and tab with which the header has most of the columns `wanted`, and most
    columns; a byte order mark, a line `sep=;` and blank lines do not matter. Rows are numbered as a spreadsheet shows
    them: the header is row 1.
    Raises UserError with every problem found; `remedy` says what to do where there is no such file.
    """
    with readable(path, remedy):
        if Path(path).stat().st_size > LARGEST:
            raise UserError(f"{path}: {Path(path).stat().st_size / 2**30:.1f} GiB: too large for a table: {remedy}")
        text = Path(path).read_bytes()
    if b"\0" in text:
        raise UserError(f"{path}: not a CSV table in UTF-8: save it as CSV UTF-8")
    try:
        text = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = text.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: row {row}: not in UTF-8: save it as CSV UTF-8 (a file type of Excel)") from None
    # blank lines count, a line break within quotes does not
    head = next((line for line in text.splitlines() if line.strip() and not SEPARATOR.fullmatch(line)), "")
    header = {sep: [name.strip() for name in next(csv.reader([head], delimiter=sep))] for sep in ",;\t"}
    separator = max(header, key=lambda sep: (len(set(wanted) & set(header[sep])), len(header[sep])))
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
    (first, columns), *rows = rows
    width = len(columns)
    twice = [repr(name) for name, n in Counter(columns).items() if name and n > 1]
    problems = [f"{path}: column {few(twice)} twice: keep one"] if twice else []
    uneven = [f"row {number}: {len(row)} values" for number, row in rows if any(row[width:]) or len(row) < width]
    if uneven:
        told = f"{path}: {few(uneven)}, but {width} columns: quote values that hold the separator"
        remark = f"{path}: row {first} begins with #, where the column names should stand: delete it"
        problems.append(remark if columns[0].startswith("#") else told)
    if problems:
        raise UserError(*problems)
    return pd.DataFrame([row[:width] for _, row in rows], columns=columns, dtype=str), [number for number, _ in rows]


def joined(frames: Sequence[pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """Return tables one below another, their text columns `names` as categories: a number a row, not a text."""
    apart = {name: union_categoricals([frame[name].astype("category") for frame in frames]) for name in names}
    rest = pd.concat([frame.drop(columns=list(names)) for frame in frames], ignore_index=True)
    ordered = [name for name in frames[0] if name in names]
    return rest.assign(**apart)[[*ordered, *rest]]


def _own(path: str | Path, columns: tuple[str, ...], **options: object) -> pd.DataFrame:
    """Read a table of the workflow's own, with its text as it was before files.write_csv escaped it."""
    try:
        table = pd.read_csv(path, keep_default_na=False, **options)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: no table ({' '.join(str(error).split())}): delete it and run again") from None
    if absent := [name for name in columns if name not in table]:
        raise UserError(f"{path}: damaged: no column {', '.join(absent)}: delete it and run again")
    return as_typed(table)

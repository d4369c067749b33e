"""Reading the labels table: one row a case, with its class code and its patient."""

import csv
from pathlib import Path

import pandas as pd

from stratamil.errors import UserError
from stratamil.names import case_id


def read(path, case_column, class_column, group_column, classes, excluded_codes):
    """Read a labels table.

    path: CSV with comma, semicolon or tab; every value is read as text.
    classes: class name -> list of its codes. excluded_codes: codes left out on purpose.
    Returns a DataFrame with one row a case: case_id, label (code), class (name, empty where the
    code is left out), group (the case itself without a group column), in the order of the file.
    Raises UserError with every problem found: columns, codes, contradicting rows.
    """
    table = _table(path)
    wanted = [case_column, class_column, *([group_column] if group_column else [])]
    missing = [name for name in wanted if name not in table]
    if missing:
        raise UserError(
            *(
                f"{path}: no column {name!r}: it has {', '.join(map(repr, table.columns))}; set cohort.*_column"
                for name in missing
            )
        )
    class_of = _class_of_code(classes, excluded_codes)
    rows = pd.DataFrame(
        {
            "case_id": table[case_column].map(case_id),
            "label": table[class_column].map(_code),
            "group": (table[group_column] if group_column else table[case_column]).map(case_id),
            # the header is row 1, as a spreadsheet shows it
            "row": range(2, len(table) + 2),
        }
    )
    rows = rows[(table != "").any(axis=1).to_numpy()]
    problems = [
        f"{path}: row {row.row}: {problem}"
        for row in rows.itertuples()
        if (problem := _problem(row, class_of, group_column))
    ]
    problems += _contradictions(path, rows)
    if problems:
        raise UserError(*problems)
    if rows.empty:
        raise UserError(f"{path}: no rows: add one row a case")
    rows["class"] = rows["label"].map(class_of)
    return rows.drop_duplicates("case_id").drop(columns="row").reset_index(drop=True)


def _table(path):
    """All values as stripped text, one row a line of the file; the separator is the commonest of , ; and tab."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.split("\n", 1)[0].count)
        rows = [[value.strip() for value in row] for row in csv.reader(text.splitlines(), delimiter=separator)]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: set `labels` to the labels table") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV table in UTF-8: {error}: save it as CSV UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not rows:
        raise UserError(f"{path}: empty: write a header and one row a case")
    columns, width = rows[0], len(rows[0])
    problems = [f"{path}: column {name!r} twice: keep one" for name in set(columns) if name and columns.count(name) > 1]
    problems += [
        f"{path}: row {number}: {len(row)} values, but {width} columns: quote values that hold the separator"
        for number, row in enumerate(rows[1:], 2)
        if any(row[width:]) or (0 < len(row) < width and any(row))
    ]
    if problems:
        raise UserError(*problems)
    return pd.DataFrame([(row + [""] * width)[:width] for row in rows[1:]], columns=columns)


def _code(text):
    text = text.strip()
    return text[:-2] if text.endswith(".0") and text[:-2].isdigit() else text


def _class_of_code(classes, excluded_codes):
    pairs = [(_code(str(code)), name) for name, codes in classes.items() for code in codes]
    pairs += [(_code(str(code)), "") for code in excluded_codes]
    codes = [code for code, _ in pairs]
    twice = sorted({code for code in codes if codes.count(code) > 1})
    if twice:
        raise UserError(f"config: cohort: class codes named twice: {', '.join(twice)}; each belongs to one class")
    return dict(pairs)


def _problem(row, class_of, group_column):
    if not row.case_id:
        return "no case id: fill it in or delete the row"
    if not row.group:
        return (
            f"case {row.case_id}: nothing in column {group_column!r}: "
            "name the patient, or set cohort.group_column to null"
        )
    if row.label not in class_of:
        return (
            f"case {row.case_id}: class code {row.label!r} is in neither cohort.classes nor cohort.excluded_codes "
            f"({', '.join(class_of)}): correct it or add it to one of them"
        )


def _contradictions(path, rows):
    for case, same in rows[rows["case_id"] != ""].groupby("case_id", sort=False):
        for what, column in (("classes", "label"), ("patients", "group")):
            if same[column].nunique() > 1:
                told = ", ".join(f"{value!r} in row {row}" for value, row in zip(same[column], same["row"]))
                yield f"{path}: case {case} has different {what}: {told}; keep one"

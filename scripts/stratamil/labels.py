"""Reading the labels table: one row a case, with its class code and its patient."""

import pandas as pd

from stratamil import tables
from stratamil.errors import UserError
from stratamil.names import LONGEST, case_id, class_code

SHOWN = 3  # rows named of one unknown code


def read(path, case_column, class_column, group_column, classes, excluded_codes):
    """Read a labels table.

    path: CSV with comma, semicolon or tab; every value is read as text, blank lines are passed over.
    classes: class name -> list of its codes. excluded_codes: codes left out on purpose. `1`, `01` and `1.0` are one
    code; codes of letters are compared without regard to case.
    Returns a DataFrame with one row a row of the file, in its order: case_id and group (each as its first
    row spells it; group is the case itself without a group column), label (code as in the config), class (name, empty
    where the code is left out), row (its number in the file; the header is row 1). Rows that repeat a case agree with
    each other.
    Raises UserError with every problem found: columns, codes, contradicting rows.
    """
    wanted = [case_column, class_column, *([group_column] if group_column else [])]
    table, numbers = tables.sheet(path, "set `labels` to the labels table", wanted)
    missing = [name for name in wanted if name not in table]
    if missing:
        raise UserError(
            *(
                f"{path}: no column {name!r}: it has {', '.join(map(repr, table.columns))}; set cohort.*_column"
                for name in missing
            )
        )
    codes = _codes(classes, excluded_codes)
    rows = pd.DataFrame(
        {
            "case_id": _as_first_spelt(table[case_column]),
            "label": table[class_column],
            "group": _as_first_spelt(table[group_column or case_column]),
            "row": numbers,
        }
    )
    known = rows["label"].map(lambda text: codes.get(class_code(text)))
    problems = [
        f"{path}: row {row.row}: {problem}" for row in rows.itertuples() if (problem := _problem(row, group_column))
    ]
    problems += _unknown_codes(path, rows[known.isna()], codes)
    rows["label"] = [code[0] if code else text for code, text in zip(known, rows["label"])]
    problems += _contradictions(path, rows)
    if problems:
        raise UserError(*problems)
    if rows.empty:
        raise UserError(f"{path}: no rows: add one row a case")
    rows["class"] = [name for _, name in known]
    return rows


def _as_first_spelt(values: pd.Series) -> pd.Series:
    """Return ids as their first row spells them, for `38` and `038` are one; empty where there is none."""
    first = {}
    return values.map(lambda text: first.setdefault(normal, text) if (normal := case_id(text)) else "")


def _codes(classes, excluded_codes):
    """What a code means: its class_code -> (the code as in the config, its class, or nothing where it is left out)."""
    entries = [(str(code).strip(), name) for name, codes in classes.items() for code in codes]
    entries += [(str(code).strip(), "") for code in excluded_codes]
    codes = [class_code(code) for code, _ in entries]
    twice = sorted({code for code in codes if codes.count(code) > 1})
    if twice:
        raise UserError(f"cohort.classes: codes named twice: {', '.join(twice)}: each belongs to one class")
    return dict(zip(codes, entries))


def _problem(row, group_column):
    if not row.case_id:
        return "no case id: fill it in or delete the row"
    if len(row.case_id) > LONGEST:
        return f"case {row.case_id[:20]}...: an id of {len(row.case_id)} characters: at most {LONGEST}: shorten it"
    if not row.group:
        return (
            f"case {row.case_id}: nothing in column {group_column!r}: "
            "name the patient, or set cohort.group_column to null"
        )


def _unknown_codes(path, rows, codes):
    """A line for each code, or for each row where they are few."""
    known = ", ".join(code for code, _ in codes.values())
    for label, same in rows.groupby("label", sort=False):
        why = f"class code {label!r} is in neither cohort.classes nor cohort.excluded_codes ({known})"
        remedy = "correct it or add it to one of them"
        if len(same) > SHOWN:
            numbers = ", ".join(map(str, same["row"][:SHOWN]))
            yield f"{path}: rows {numbers} and {len(same) - SHOWN} more: {why}: {remedy}"
        else:
            yield from (f"{path}: row {row.row}: case {row.case_id}: {why}: {remedy}" for row in same.itertuples())


def _contradictions(path, rows):
    for case, same in rows[rows["case_id"] != ""].groupby("case_id", sort=False):
        for what, column in (("classes", "label"), ("patients", "group")):
            if same[column].nunique() > 1:
                told = ", ".join(f"{value!r} in row {row}" for value, row in zip(same[column], same["row"]))
                yield f"{path}: case {case} has different {what}: {told}; keep one"

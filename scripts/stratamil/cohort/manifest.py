"""The manifest of precomputed features: which file has which case, stain and slice."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from stratamil.core import files, tables
from stratamil.core.errors import UserError, by_kind, few
from stratamil.core.names import natural

# Reasons in excluded.csv for files that were not opened.
UNLISTED = "not in the manifest"
EXCLUDED = "marked as excluded in the manifest"
UNOPENED = (UNLISTED, EXCLUDED)
NAMES = ("case", "stain", "slice")
COLUMNS = ("file", *NAMES, "excluded")
FOLDER = "the folder that names start from: features.folder (of new cases predict.folder)"
REMEDY = "set features.manifest to the CSV that lists the feature files"
# What other tools call the columns; read as ours they could take the place of what the files say themselves.
ELSEWHERE = {
    "file": ("path", "filename", "file_name", "file_path", "filepath", "feature_path", "feature_file", "h5_path"),
    "case": ("case_id", "caseid", "case id", "patient", "patient_id", "submitter_id"),
    "stain": ("stain_name", "stain_id", "staining", "marker", "antibody"),
    "slice": ("slide", "slide_id", "slide_name", "slice_id", "section", "block"),
}


class Entry(NamedTuple):
    """One row: its number (the header is row 1), the file, and what it says of all patches of the file, or "".

    excluded: why the file is not to be opened; "" where it is.
    """

    row: int
    file: str
    case: str
    stain: str
    slice: str
    excluded: str = ""


def read(path: Path, folder: Path) -> list[Entry]:
    """Read the entries of a manifest, in its order, but those that it excludes.

    path: CSV with a column file and, where the files do not say it themselves, case, stain and slice; perhaps with a
    column excluded; other columns are passed over. folder: what the files are relative to.
    Raises UserError with every problem found, one line a kind: no column, no rows, a file that is missing, outside or
    listed twice.
    """
    table, numbers = _table(path)
    if "file" not in table:
        absent = [name for name in NAMES if name not in table]
        also = f" (nor {', '.join(absent)}, which are needed where the files do not have them)" if absent else ""
        raise UserError(
            f"{path}: no column 'file'{also}: it has {_headings(table)}: {_rename(table, ['file', *absent])}"
        )
    entries = _entries(table, numbers)
    if all(entry.excluded for entry in entries):
        none = "every row is excluded: empty that column for" if entries else "no rows: add"
        raise UserError(f"{path}: {none} one row a feature file")
    first, beside = {}, {}
    problems = [
        problem
        for entry in entries
        if (problem := _problem(entry, folder, first.setdefault(entry.file, entry.row), beside))
    ]
    if problems:
        raise UserError(*(f"{path}: {problem}" for problem in by_kind(problems)))
    return [entry for entry in entries if not entry.excluded]


def unopened(path: Path, folder: Path) -> list[tuple[str, str, str]]:
    """Return (file, reason, detail) of the files that the manifest excludes, and of those beside its own without a row.

    Beside are those with the suffix of a file in the same folder. The manifest is one that `read` accepts.
    """
    entries = _entries(*_table(path))
    told = [(entry.file, EXCLUDED, entry.excluded) for entry in entries if entry.excluded]
    listed = {entry.file for entry in entries}
    kinds = {(PurePosixPath(file).parent, PurePosixPath(file).suffix.lower()) for file in listed}
    beside = {}
    for parent, suffix in kinds:
        beside.setdefault(parent, set()).add(suffix)
    found = [
        (parent / item.name).as_posix()
        for parent, suffixes in beside.items()
        for item in os.scandir(Path(folder, parent))
        if not item.name.startswith(".") and PurePosixPath(item.name).suffix.lower() in suffixes and item.is_file()
    ]
    return told + [(file, UNLISTED, "") for file in sorted(set(found) - listed, key=natural)]


def lacking(path: Path, entries: list[tuple[Entry, list[str]]]) -> list[str]:
    """Return lines for files of which neither the manifest nor their own columns say the case, stain or slice.

    entries: entry and the names that it lacks.
    """
    if not entries:
        return []
    table, _ = _table(path)
    lines = []
    if absent := [name for name in NAMES if name not in table and any(name in none for _, none in entries)]:
        these = [entry.file for entry, none in entries if set(none) & set(absent)]
        lines.append(
            f"no column {', '.join(absent)}, and {len(these):,} files have none of their own ({few(these)}): "
            f"it has {_headings(table)}: {_rename(table, absent)}"
        )
    cells = [(entry, [name for name in none if name in table]) for entry, none in entries]
    return lines + by_kind(
        (f"row {entry.row}: {entry.file}", f"no {', '.join(none)}: fill it in, for the file has no column of that name")
        for entry, none in cells
        if none
    )


def state(path: Path, folder: Path) -> str:
    """Return a short text that changes when the manifest or one of its files does; the files are not opened.

    Raises UserError as `read` does.
    """
    stats = [(entry.file, os.stat(Path(folder, entry.file))) for entry in read(path, folder)]
    seen = [files.sha256(path), *((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats)]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]


def _table(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """Return the table with its headings in lower case, and the number of each row in the file."""
    table, numbers = tables.sheet(path, REMEDY)
    table.columns = [name.lower() for name in table]
    if twice := [name for name in COLUMNS if list(table).count(name) > 1]:
        raise UserError(f"{path}: column {', '.join(map(repr, twice))} twice, but for upper and lower case: keep one")
    return table, numbers


def _entries(table: pd.DataFrame, numbers: Iterable[int]) -> list[Entry]:
    said = table.reindex(columns=COLUMNS, fill_value="")
    said["file"] = [PurePosixPath(name).as_posix() if name else "" for name in said["file"]]
    return [Entry(row, *texts) for row, texts in zip(numbers, said.itertuples(index=False, name=None))]


def _headings(table: pd.DataFrame) -> str:
    return few(map(repr, table), 8)


def _rename(table: pd.DataFrame, absent: list[str]) -> str:
    """Return what to do about columns that are not there."""
    renamed = {name: next((other for other in ELSEWHERE[name] if other in table), None) for name in absent}
    said = [f"rename {other} to {name}" for name, other in renamed.items() if other]
    missing = [name for name, other in renamed.items() if not other]
    return ", ".join([*said, *([f"add {', '.join(missing)}"] if missing else [])])


def _problem(entry: Entry, folder: Path, first: int, beside: dict[Path, dict[str, str]]) -> tuple[str, str] | None:
    """Return (where, what is wrong) of an entry, or None.

    first: the first row with this file. beside: a cache of the files in each folder, by their stem.
    """
    where, parts = f"row {entry.row}: {entry.file}", PurePosixPath(entry.file).parts
    if not entry.file:
        return f"row {entry.row}", "no file: name one or delete the row"
    if first != entry.row:
        return f"{where} is in row {first} already", "keep one"
    if entry.excluded:
        return None
    if PurePosixPath(entry.file).is_absolute() or ".." in parts:
        return where, f"write it relative to {folder}, without .., or set {FOLDER}"
    if _is_file(Path(folder, entry.file)):
        return None
    if "\\" in entry.file:
        return where, "no such file: write / between folders, not \\"
    there = Path(folder, entry.file).parent
    if there not in beside:
        names = os.listdir(there) if there.is_dir() else []
        beside[there] = {Path(name).stem: name for name in names if Path(name).suffix}
    if parts[-1] in beside[there]:
        return f"{where} ({beside[there][parts[-1]]})", "no such file: write its suffix, too"
    return where, f"no such file in {folder}: correct it, or set {FOLDER}"


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError:
        raise
    except (OSError, ValueError):
        return False

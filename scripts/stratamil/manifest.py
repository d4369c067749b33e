"""The manifest of features made elsewhere: which file holds which case, stain and slice."""

import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from stratamil import files, tables
from stratamil.errors import UserError

NAMES = ("case", "stain", "slice")
REMEDY = "set features.manifest to the CSV that lists the feature files"


class Entry(NamedTuple):
    """One row: its number (the header is row 1), the file, and what it says of all patches of the file, or ""."""

    row: int
    file: str
    case: str
    stain: str
    slice: str


def read(path, folder):
    """The entries of a manifest, in its order.

    path: CSV with a column file and, where the files do not say it themselves, case, stain and slice; other columns
    are passed over. folder: what the files are relative to.
    Raises UserError with every problem found: no column, no rows, a file that is missing, outside or listed twice.
    """
    table, numbers = tables.sheet(path, REMEDY)
    table.columns = [name.lower() for name in table]
    if "file" not in table:
        raise UserError(f"{path}: no column 'file': it has {', '.join(map(repr, table))}: name one so")
    if table.empty:
        raise UserError(f"{path}: no rows: add one row a feature file")
    columns = [table[name] if name in table else [""] * len(table) for name in NAMES]
    normal = [PurePosixPath(name).as_posix() if name else "" for name in table["file"]]
    entries = [Entry(*row) for row in zip(numbers, normal, *columns)]
    first = {}
    problems = [
        f"{path}: row {entry.row}: {problem}"
        for entry in entries
        if (problem := _problem(entry, folder, first.setdefault(entry.file, entry.row)))
    ]
    if problems:
        raise UserError(*problems)
    return entries


def _problem(entry, folder, first):
    if not entry.file:
        return "no file: name one or delete the row"
    if first != entry.row:
        return f"{entry.file} is in row {first} already: keep one"
    if PurePosixPath(entry.file).is_absolute() or ".." in PurePosixPath(entry.file).parts:
        return f"{entry.file}: write it relative to {folder}, or set features.folder"
    if not Path(folder, entry.file).is_file():
        return f"{entry.file}: no such file in {folder}: correct it, or set features.folder"


def state(path, folder):
    """A short text that changes when the manifest or one of its files does; the files are not opened.

    Raises UserError as `read` does.
    """
    stats = [(entry.file, os.stat(Path(folder, entry.file))) for entry in read(path, folder)]
    seen = [files.sha256(path), *((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats)]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]

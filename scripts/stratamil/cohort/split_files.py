"""Files of splits that other programs wrote: npz of ours, CSV of CLAM and of tables, JSON of STAMP and of ours.

A set that a file does not have, as STAMP's have none for validation, is None. What stands there are ids of cases, or of
patients: `splits` matches them.
"""

import json
import math
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stratamil.core import files, npz, tables
from stratamil.core.errors import UserError, few
from stratamil.core.names import LONGEST

SETS = ("train", "val", "test")
MOST, LARGEST = 1_000_000, 2**28  # cases and bytes of a set in a split file
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: it cannot be written
REMEDY = "set splits.preset and splits.n_splits to the split files"
ALIASES = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "tune": "val", "testing": "test"}
TRUE, FALSE = ("true", "1", "1.0"), ("false", "0", "0.0", "")
COLUMNS = ("case", "case_id", "slide_id", "patient", "patient_id")  # of a table with a row a case
BEHIND = "(.*?)(_cases|_patients|_ids|)"  # a key of JSON: a set, and whose ids they are
KINDS = (".npz", ".csv", ".json")


class Sets(NamedTuple):
    """The ids of the three sets as they stand in a file; None of one that it does not have. patients: whose ids."""

    train: list[str]
    val: list[str] | None
    test: list[str]
    patients: bool = False


def read(path: str | Path) -> list[Sets]:
    """Return the splits in a file: one, or of a JSON file those in its list. Raises UserError if it has none."""
    kind = Path(path).suffix.lower()
    if kind not in KINDS:
        raise UserError(f"{path}: not one of {', '.join(KINDS)}: {REMEDY}")
    with files.readable(path, REMEDY):
        size = Path(path).stat().st_size
        Path(path).open("rb").close()
    if kind == ".npz":
        return [_npz(path)]
    if kind == ".csv":
        return [_csv(path)]
    if size > LARGEST:
        raise UserError(f"{path}: not a split file: {size:,} bytes: {REMEDY}")
    return _json(path)


def _npz(path: str | Path) -> Sets:
    try:
        return Sets(*(_text(_array(path, f"{name}_cases"), f"{path}: {name}_cases") for name in SETS))
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f"{path}: no array {error.args[0]}: it needs train_cases, val_cases and test_cases") from None
    except Exception:  # zip, zlib, numpy and Python's own parser each have their errors for damaged bytes
        raise UserError(f"{path}: not a split file: it must be an npz of three lists without pickled objects") from None


def _csv(path: str | Path) -> Sets:
    """Read a table: a column of ids a set, a column of true and false a set, or a row a case with its set."""
    table, _ = tables.sheet(path, REMEDY)
    heads = [_set(name) for name in table]
    if twice := {name for name in SETS if heads.count(name) > 1}:
        raise UserError(f"{path}: several columns of {few(sorted(twice))}: keep one")
    table.columns = heads
    if {"train", "test"} <= set(heads):
        columns = {name: table[name].tolist() for name in SETS if name in heads}
        if {cell.lower() for cells in columns.values() for cell in cells} <= {*TRUE, *FALSE} and heads[0] not in SETS:
            ids = table.iloc[:, heads.index(_ids(heads) or heads[0])]  # without a heading of its own, as CLAM's
            marked = {name: [cell.lower() in TRUE for cell in cells] for name, cells in columns.items()}
            return _sets(path, {name: _once(ids[cells]) for name, cells in marked.items()})
        return _sets(path, {name: [_whole(cell) for cell in _padded(cells)] for name, cells in columns.items()})
    column, place = _ids(heads), next((name for name in ("set", "split") if name in heads), None)
    if column is None or place is None:
        raise UserError(
            f"{path}: no columns train, val and test, nor case and set: it has {few(map(repr, heads), 8)}: rename them"
        )
    set_of = table[place].map(_set)
    if wrong := sorted(set(table.loc[~set_of.isin(SETS), place])):
        raise UserError(f"{path}: column {place} has {few(map(repr, wrong))}: write train, val or test")
    lists = {name: _once(table.loc[set_of == name, column]) for name in SETS}
    return _sets(path, lists, patients="patient" in column)


def _ids(heads: Collection[str]) -> str | None:
    """Return the column of ids, where one is called so."""
    return next((name for name in COLUMNS if name in heads), None)


def _once(ids: Iterable[str]) -> list[str]:
    """Return each id once: a case has a row for each of its slides in some tables."""
    return list(dict.fromkeys(ids))


def _padded(cells: list[str]) -> list[str]:
    """Return the ids in a column without what fills it up to the length of others: nothing, or pandas' NaN."""
    full = len(cells)
    while full and cells[full - 1].lower() in ("", "nan"):
        full -= 1
    return [cell for cell in cells[:full] if cell]


def _json(path: str | Path) -> list[Sets]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({few(str(error).splitlines())}): recreate it") from None
    content = content.get("splits", content) if isinstance(content, Mapping) else content
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise UserError(f"{path}: no splits in it: {REMEDY}")
    return [_entry(path, entry) for entry in entries]


def _entry(path: str | Path, entry: Any) -> Sets:
    """Return a split of a JSON file: keys train, val and test, alone or with _cases or _patients behind."""
    keys = [str(key) for key in entry] if isinstance(entry, Mapping) else []
    lists = {}
    for key in keys:
        name, behind = re.fullmatch(BEHIND, key.strip().lower()).groups()
        if _set(name) in SETS and entry[key] is not None:
            lists.setdefault(_set(name), []).append((behind, entry[key]))
    if twice := [name for name, found in lists.items() if len(found) > 1]:
        raise UserError(f"{path}: a split with several lists {few(twice)} (it has {few(keys, 8)}): keep one")
    found = {name: each[0][1] for name, each in lists.items()}
    if {"train", "test"} <= found.keys() and all(isinstance(each, list) for each in found.values()):
        whose = {each[0][0] == "_patients" for each in lists.values()}
        if len(whose) > 1:
            raise UserError(
                f"{path}: a split with lists of cases and of patients (it has {few(keys, 8)}): make them one"
            )
        whole = {name: [_whole(str(each)) for each in ids] for name, ids in found.items()}
        return _sets(path, whole, patients=whose == {True})
    raise UserError(f"{path}: a split without the lists train and test (and val): it has {few(keys, 8) or 'none'}")


def _sets(path: str | Path, lists: Mapping[str, list[str]], patients: bool = False) -> Sets:
    for name, ids in lists.items():
        _check(ids, f"{path}: {name}")
    return Sets(lists["train"], lists.get("val") or None, lists["test"], patients)


def _set(text: str) -> str:
    """Return the set that a heading or a cell names."""
    text = text.strip().lower()
    return ALIASES.get(text, text)


def _whole(text: str) -> str:
    """Return an id without the decimals that pandas gives to numbers in a column with gaps: 12 for 12.0."""
    return re.sub(r"^([0-9]+)\.0$", r"\1", text.strip())


def _text(array: np.ndarray, where: str) -> list[str]:
    """Return the ids of an array. Raises UserError, which begins with `where`, for ids that none can be."""
    if array.ndim != 1:
        raise ValueError("not a list")
    if array.dtype.kind == "f" and (np.abs(array) > 2 ** np.finfo(array.dtype).nmant).any():
        raise UserError(f"{where}: {array.dtype} rounds such large numbers to others: save the ids as text")
    return _check(array.astype(str).tolist(), where)


def _check(ids: Iterable[str], where: str) -> list[str]:
    ids = list(ids)
    if wrong := [place for place, text in enumerate(ids, 1) if len(text) > LONGEST or SURROGATE.search(text)]:
        raise UserError(f"{where}: entry {few(wrong)}: no case id (half a character, or over {LONGEST}): correct it")
    return ids


def _array(path: str | Path, name: str) -> np.ndarray:
    """Return an array of an npz.

    Raises KeyError if it is not there, and UserError if it claims more than a split file holds.
    """
    with zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise KeyError(name)
        info = archive.getinfo(f"{name}.npy")
        shape, _, dtype, _ = npz.header(archive, info)
        n = math.prod(shape)
        if n > MOST or n * dtype.itemsize > min(info.file_size, LARGEST):
            raise UserError(
                f"{path}: not a split file: {name} claims {n:,} cases in {info.file_size:,} bytes: make it again"
            )
        return npz.array(archive, info)

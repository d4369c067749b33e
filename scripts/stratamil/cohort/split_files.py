"""Files of splits that other programs wrote: npz of ours, CSV of CLAM and of tables, JSON of STAMP and of ours.

A set that a file does not have, as STAMP's have none for validation, is None. What stands there are ids of cases, or of
patients: `splits` matches them.
"""

import csv
import io
import json
import math
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stratamil.core import files, npz
from stratamil.core.errors import UserError, few
from stratamil.core.names import LONGEST

SETS = ("train", "val", "test")
MOST, LARGEST = 1_000_000, 2**28  # cases and bytes of a set in a split file
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: it cannot be written
REMEDY = "set splits.preset and splits.n_splits to the split files"
ALIASES = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "tune": "val", "testing": "test"}
TRUE, FALSE = ("true", "1", "1.0"), ("false", "0", "0.0", "")
COLUMNS = ("case", "case_id", "slide_id", "patient", "patient_id")  # of a table with a row a case
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
    if size > LARGEST:
        raise UserError(f"{path}: not a split file: {size:,} bytes: {REMEDY}")
    with files.readable(path, REMEDY):
        text = Path(path).read_text(encoding="utf-8-sig")
    return [_csv(path, text)] if kind == ".csv" else _json(path, text)


def _npz(path: str | Path) -> Sets:
    try:
        return Sets(*(_text(_array(path, f"{name}_cases"), f"{path}: {name}_cases") for name in SETS))
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f"{path}: no array {error.args[0]}: it needs train_cases, val_cases and test_cases") from None
    except Exception:  # zip, zlib, numpy and Python's own parser each have their errors for damaged bytes
        raise UserError(f"{path}: not a split file: it must be an npz of three lists without pickled objects") from None


def _csv(path: str | Path, text: str) -> Sets:
    """Read a table: a column of ids a set, a column of true and false a set, or a row a case with its set."""
    rows = [row for row in csv.reader(io.StringIO(text), _dialect(text)) if any(cell.strip() for cell in row)]
    heads = [_set(cell) for cell in rows[0]] if rows else []
    table = [[cell.strip() for cell in row] + [""] * (len(heads) - len(row)) for row in rows[1:]]
    if {"train", "test"} <= set(heads):
        at = {name: heads.index(name) for name in SETS if name in heads}
        cells = {row[place].lower() for row in table for place in at.values()}
        if cells <= {*TRUE, *FALSE} and min(at.values()) > 0:
            lists = {name: [row[0] for row in table if row[place].lower() in TRUE] for name, place in at.items()}
        else:
            lists = {name: [_whole(row[place]) for row in table if row[place]] for name, place in at.items()}
        return _sets(path, lists)
    column = next((heads.index(name) for name in COLUMNS if name in heads), None)
    place = next((heads.index(name) for name in ("set", "split") if name in heads), None)
    if column is None or place is None:
        raise UserError(
            f"{path}: no columns train, val and test, nor case and set: it has {few(map(repr, heads), 8) or 'none'}: "
            "rename them"
        )
    if wrong := sorted({row[place] for row in table if _set(row[place]) not in SETS}):
        raise UserError(f"{path}: column {heads[place]} has {few(map(repr, wrong))}: write train, val or test")
    lists = {name: [row[column] for row in table if _set(row[place]) == name] for name in SETS}
    return _sets(path, lists, patients="patient" in heads[column])


def _json(path: str | Path, text: str) -> list[Sets]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({few(str(error).splitlines())}): recreate it") from None
    content = content.get("splits", content) if isinstance(content, Mapping) else content
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise UserError(f"{path}: no splits in it: {REMEDY}")
    return [_entry(path, entry) for entry in entries]


def _entry(path: str | Path, entry: Any) -> Sets:
    """Return a split of a JSON file: keys train, val and test, alone or with _cases or _patients behind."""
    keys = {str(key).lower(): key for key in entry} if isinstance(entry, Mapping) else {}
    for behind in ("", "_cases", "_patients", "_ids"):
        lists = {_set(key.removesuffix(behind)): entry[keys[key]] for key in keys if key.endswith(behind)}
        lists = {name: lists[name] for name in SETS if lists.get(name) is not None}
        if {"train", "test"} <= lists.keys() and all(isinstance(each, list) for each in lists.values()):
            whole = {name: [_whole(str(each)) for each in ids] for name, ids in lists.items()}
            return _sets(path, whole, patients=behind == "_patients")
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


def _dialect(text: str) -> type[csv.Dialect]:
    try:
        return csv.Sniffer().sniff(text.partition("\n")[0], delimiters=",;\t")
    except csv.Error:
        return csv.excel


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

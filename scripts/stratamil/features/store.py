"""Feature files: one row a patch, with the path that names it. Written by `embed`, read by every later stage."""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import union_categoricals

from stratamil.core import files, names, tables
from stratamil.core.errors import UserError
from stratamil.core.names import natural
from stratamil.features import images, matrices, seal, sketch
from stratamil.features.encoder_registry import STAIN_STATS
from stratamil.features.matrices import Rows, Values
from stratamil.features.measures import Measures

IDS = ("case_id", "stain", "slice_id")  # few different ones, which tables hold as categories
TEXT = (*IDS, "path")
COLUMNS = ("case_id", "stain", "slice_id", "patch", "path")
PLACE = ("x", "y")  # on the slide, of patches that have no file
# images.Facts, of patches with images
FACTS = {"width": "int32", "height": "int32", "bits": "uint8", "odd": "uint16"}
SIZES = tuple(FACTS)
FACTS |= dict.fromkeys(Measures._fields, "float32")
EXCLUDED = "excluded"  # 0, or the number of a reason in exclusion.REASONS: `read` leaves such a patch out
NUMBERS = FACTS | {EXCLUDED: "uint8"}
COLOUR = 60  # features of stain_stats, which describe the colour of each image beside its features
BESIDE = {"colour": COLOUR, "sketch": sketch.WIDTH}  # matrices beside the features, of patches with images: columns
UNREADABLE = ("case_id", "path", "reason")
BLOCK = 256  # rows written at once
TEXTS = 2**16  # texts read at once: as objects they take some 60 bytes each


def shard_of(case_id: str, shards: int) -> int:
    """Return the shard of a case: the same on every machine and in every spelling, whatever other cases there are."""
    return int(hashlib.sha256(names.case_id(case_id).encode()).hexdigest(), 16) % shards


def of_shard(cases: Iterable[str], shard: int, shards: int) -> list[str]:
    """Return the cases of one of so many shards."""
    return [case for case in cases if shard_of(case, shards) == shard]


@dataclass
class Features:
    """Features of some cases.

    values: float16 (N, D), an array or Rows. table: DataFrame of N rows with case_id, stain, slice_id (as categories),
    patch, path, and x, y of precomputed features; cases in natural order, patches as in the inventory. identity:
    what the features depend on. blank: bool (N,), of patches whose pixels are all equal, where that is known.
    colour: float16 (N, COLOUR), the stain_stats of each image; None of precomputed features. sketch: float16
    (N, sketch.WIDTH), of each image; None of precomputed features. viewed: float16 ((1 + V) N, D), `values` and behind
    them those of V further views, all patches of one after the other, if there are. emptied: cases
    that keep patches which are excluded, for they have no other.
    """

    values: NDArray[np.float16] | Rows
    table: pd.DataFrame
    identity: dict[str, Any]
    blank: NDArray[np.bool_] | None = None
    colour: NDArray[np.float16] | Rows | None = None
    viewed: NDArray[np.float16] | Rows | None = None
    sketch: NDArray[np.float16] | Rows | None = None
    emptied: frozenset[str] = frozenset()


@dataclass
class Shard(Features):
    """Features as one file holds them. further: float16 (N, D) of each further view."""

    further: Sequence[NDArray[np.float16]] = ()


def read(paths: Iterable[Path | str], case_ids: Iterable[str] | None = None, viewed: bool = False) -> Features:
    """Read the shards at `paths`; all cases, or those in `case_ids`. Returns Features; its values are Rows.

    Without the patches that are excluded, but for those of a case that would have none left. viewed: whether
    those of further views are read, too, for training.

    The shards in one folder are of one encoder. Features of several stand side by side in blocks of columns, in the
    order of the folders' names, with zeros in the blocks of encoders that a patch has no features of; their identity is
    {"encoders": {folder: identity}}.
    Raises UserError if shards of a folder were made with different settings, shards of two folders have some patches in
    common but not all, or a wanted case has no patches in any.
    """
    paths = sorted(map(Path, paths), key=lambda path: path.parent.name)
    wanted = None if case_ids is None else set(map(str, case_ids))
    folders: dict[str, list[Shard]] = {}
    for path in paths:
        folders.setdefault(path.parent.name, []).append(_read_shard(path, wanted))
    shards = [shard for same in folders.values() for shard in same]
    _check_identities(paths, shards)
    identities = {name: same[0].identity for name, same in folders.items()}
    identity = {"encoders": identities} if len(identities) > 1 else shards[0].identity
    shards, emptied = _of_used(shards)
    beside = _beside(paths, shards)
    others = {number for numbers in beside.values() for number in numbers}
    first = [number for number in range(len(shards)) if number not in others]
    table = tables.joined([shards[number].table for number in first], IDS)
    table = table[[name for name in (*COLUMNS, *PLACE) if name in table]]
    if lacking := sorted((wanted or set()) - set(table["case_id"].cat.categories), key=natural):
        raise UserError(
            f"features: no patches of {len(lacking)} cases in {paths[0]} and its like: {', '.join(lacking)}: "
            "run embed again, or recreate the splits from the inventory"
        )
    blank = np.concatenate([shards[number].blank for number in first])
    part = np.repeat(np.array(first, dtype=np.int16), [len(shards[number].table) for number in first])
    row = np.concatenate([shards[number].table.index.to_numpy(np.int32) for number in first])
    order = np.lexsort([_ranks(table["stain"]), _ranks(table["case_id"])])
    widths = [same[0].values.shape[1] for same in folders.values()]
    columns = np.repeat(np.cumsum([0, *widths[:-1]]), [len(same) for same in folders.values()])
    values = Rows([shard.values for shard in shards], part[order], row[order], columns, sum(widths), beside)
    others = matrices.viewed(values, [shard.further for shard in shards]) if viewed else None
    beside_them = {}
    for name, width in BESIDE.items():
        there = [getattr(shard, name) for shard in shards]
        if all(matrix is not None for matrix in there):
            beside_them[name] = Rows(there, part[order], row[order], np.zeros_like(columns), width)
    table = table.iloc[order].reset_index(drop=True)
    return Features(values, table, identity, blank[order], viewed=others, emptied=emptied, **beside_them)


def _of_used(shards: Sequence[Shard]) -> tuple[list[Shard], frozenset[str]]:
    """Return shards without the patches that are excluded, and the cases that keep theirs, having no other."""
    if not any(shard.table[EXCLUDED].any() for shard in shards):
        return list(shards), frozenset()
    every = {case for shard in shards for case in shard.table["case_id"].unique()}
    some = {case for shard in shards for case in shard.table["case_id"][shard.table[EXCLUDED] == 0].unique()}
    result = []
    for shard in shards:
        used = (shard.table[EXCLUDED].eq(0) | ~shard.table["case_id"].isin(some)).to_numpy()
        table = shard.table[used]
        table = table.assign(**{name: table[name].cat.remove_unused_categories() for name in IDS})
        result.append(replace(shard, table=table, blank=shard.blank[used]))
    return result, frozenset(every - some)


def _beside(paths: Sequence[Path], shards: Sequence[Shard]) -> dict[int, list[int]]:
    """Return the number of each shard whose patches other encoders' shards have, too, with the numbers of these.

    Raises UserError if two have patches in common, but not all.
    """
    firsts: dict[str, list[int]] = {}
    beside: dict[int, list[int]] = {}
    for number, (path, shard) in enumerate(zip(paths, shards, strict=True)):
        for first in firsts.setdefault(path.name, []):
            there, here = shards[first].table, shard.table
            if set(there["stain"].cat.categories).isdisjoint(here["stain"].cat.categories):
                continue  # encoders of different stains
            if there["path"].equals(here["path"]):
                beside.setdefault(first, []).append(number)
                break
            raise UserError(f"{path}: has other patches than {paths[first]}: delete both and run embed again")
        else:
            firsts[path.name].append(number)
    return beside


def _check_identities(paths: Iterable[Path], shards: Iterable[Shard]) -> None:
    """Raise UserError if shards of one folder were made with different settings."""
    firsts, problems = {}, []
    for path, shard in zip(paths, shards, strict=True):
        first, identity = firsts.setdefault(path.parent.name, (path, shard.identity))
        if shard.identity != identity:
            problems.append(
                f"{path}: made with other settings than {first} ({_difference(identity, shard.identity)}): "
                "delete the one that is out of date and run again; if machines differ, set embed.precision"
            )
    if problems:
        raise UserError(*problems)


def _ranks(names: pd.Series) -> NDArray[np.int64]:
    """Return the place of each category in natural order, (N,)."""
    ranks = {name: i for i, name in enumerate(sorted(names.cat.categories, key=natural))}
    return np.array([ranks[name] for name in names.cat.categories], np.int32)[names.cat.codes]


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Yield an open shard; HDF5 sees only one whose seal fits. Raises UserError for any other."""
    try:
        seal.check(path)
        with h5py.File(path) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: run embed") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno:  # refused by the machine, not damaged
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: not a feature file of this workflow ({reason}): delete it and run embed again"
        ) from None


def _read_shard(path: Path, case_ids: Collection[str] | None = None) -> Shard:
    """Return what a shard holds; with case_ids, of these alone, but for its values. The table's index are its rows."""
    with _opened(path) as file:
        identity = json.loads(file.attrs["identity"])
        numbers = {name: file[name][:] for name in ("patch", *PLACE) if name in file}
        numbers[EXCLUDED] = file[EXCLUDED][:] if EXCLUDED in file else np.zeros(len(numbers["patch"]), np.uint8)
        table = pd.DataFrame({name: _texts(file[name]) for name in TEXT} | numbers)
        values = _mapped(path, file["features"])
        views = [_mapped(path, file[name]) for name in matrices.view_names(identity)]
        beside = {name: _mapped(path, file[name]) for name in BESIDE if name in file}
        if "colour" not in beside and "odd" in file and identity["encoder"] == STAIN_STATS:
            beside["colour"] = values
        blank = file["odd"][:] & images.Odd.BLANK > 0 if "odd" in file else np.zeros(len(table), bool)
        if not isinstance(identity, dict) or values.shape != (len(table), values.shape[-1]) or len(blank) != len(table):
            raise ValueError("its parts do not fit")
        if any(matrix.shape != (len(table), BESIDE[name]) for name, matrix in beside.items()):
            raise ValueError("its colours or sketches do not fit")
        if values.dtype != np.float16 or table["patch"].dtype.kind != "i":
            raise ValueError("its numbers are of another type")
        if any((view.shape, view.dtype) != (values.shape, values.dtype) for view in views):
            raise ValueError("its views do not fit")
    if case_ids is not None:
        table = table[table["case_id"].isin(case_ids)]
        table = table.assign(**{name: table[name].cat.remove_unused_categories() for name in IDS})
    return Shard(values, table, identity, blank[table.index], further=views, **beside)


def _texts(dataset: h5py.Dataset) -> pd.Series:
    """Return a column of texts, read block by block; of IDS as categories."""
    kind = "category" if dataset.name[1:] in IDS else "str"
    blocks = [pd.Series(dataset.asstr()[begin : begin + TEXTS], dtype=kind) for begin in range(0, len(dataset), TEXTS)]
    if not blocks:
        return pd.Series([], dtype="str").astype(kind)
    return pd.Series(union_categoricals(blocks)) if kind == "category" else pd.concat(blocks, ignore_index=True)


def _mapped(path: Path, dataset: h5py.Dataset) -> NDArray[Any]:
    """Return a data set as a map of its file, or read, where it is not one piece (HDF5 compresses by chunks)."""
    offset = dataset.id.get_offset()
    return dataset[:] if offset is None else np.memmap(path, dataset.dtype, "c", offset, dataset.shape)


def facts(paths: Iterable[Path]) -> pd.DataFrame:
    """Return the images.Facts of all patches in shards: case_id, stain, path, the columns of FACTS, and EXCLUDED.

    EXCLUDED is 0 for a patch that `read` gives; emptied: of a case that would have no other. A shard without Facts (of
    precomputed features) has no rows here; what one of an earlier version does not tell is NaN.
    """
    tables = []
    for path in paths:
        with _opened(path) as file:
            if set(SIZES) <= set(file):
                text = {name: file[name].asstr()[:] for name in ("case_id", "stain", "path")}
                unknown = dict.fromkeys(FACTS, np.nan) | {EXCLUDED: 0}
                numbers = {name: file[name][:] if name in file else unknown[name] for name in NUMBERS}
                tables.append(pd.DataFrame(text | numbers))
    columns = ["case_id", "stain", "path", *NUMBERS]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns).astype(NUMBERS)
    table = table.drop_duplicates("path", ignore_index=True)  # which several encoders have
    emptied = ~table["case_id"].isin(table["case_id"][table[EXCLUDED] == 0])
    return table.assign(emptied=emptied, **{EXCLUDED: table[EXCLUDED].where(~emptied, 0)})


def unreadable(paths: Iterable[Path]) -> pd.DataFrame:
    """Return the patches that the shards at `paths` have no features of: case_id, path, reason."""
    tables = []
    for path in paths:
        with _opened(path) as file:
            tables.append(pd.DataFrame({name: file[f"unreadable_{name}"].asstr()[:] for name in UNREADABLE}))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=UNREADABLE)
    return table.drop_duplicates("path").sort_values("path", key=lambda paths: paths.map(natural), ignore_index=True)


def _difference(a: dict[str, Any], b: dict[str, Any]) -> str:
    keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
    return "; ".join(f"{key} {b.get(key)}, not {a.get(key)}" for key in keys)


def write(
    path: Path,
    values: Values,
    table: pd.DataFrame,
    unreadable: pd.DataFrame,
    identity: dict[str, Any],
    colour: Values | None = None,
    sketches: Values | None = None,
    further: Sequence[Values] = (),
) -> None:
    """Write a shard, whole or not at all; the same content gives the same bytes.

    values: float16 (N, D): an array, or what has its shape and gives its rows by slices, to be written as they are
    read. table: N rows with case_id, stain, slice_id, patch, path; x and y, those of FACTS, and EXCLUDED, may be there,
    too.
    unreadable: DataFrame of case_id, path and reason of the patches that have no features. colour, sketches:
    float16 (N, COLOUR) and (N, sketch.WIDTH), and further: float16 (N, D) of each view, given as `values` are. Raises
    UserError if the file does not hold what was written.
    """
    text = h5py.string_dtype("utf-8")
    written = {"features": values, "colour": colour, "sketch": sketches}
    written = {name: rows for name, rows in written.items() if rows is not None}
    written |= dict(zip(matrices.view_names(identity), further, strict=True))
    with files.atomic(path) as temporary:
        _reserve(temporary, written, table, unreadable)
        with h5py.File(temporary, "w", userblock_size=seal.SIZE) as file:
            file.attrs["identity"] = json.dumps(identity, sort_keys=True)
            columns = {name: (table[name], text) for name in TEXT}
            columns["patch"] = (table["patch"], "int32")
            columns |= {name: (table[name], "float32") for name in PLACE if name in table}
            columns |= {name: (table[name], dtype) for name, dtype in NUMBERS.items() if name in table}
            columns |= {f"unreadable_{name}": (unreadable[name], text) for name in UNREADABLE}
            for name, (column, dtype) in columns.items():  # one at a time: texts become objects
                data = column.to_numpy(dtype=object if dtype is text else None)
                file.create_dataset(name, data=data, shape=data.shape, dtype=dtype, track_times=False)
            digests = {name: _write_rows(file, name, rows) for name, rows in written.items()}
            places = [(file[name].id.get_offset() or 0, file[name].id.get_storage_size()) for name in written]
        seal.put(temporary, sorted(places))
        _verify(path, temporary, table, digests)


def _write_rows(file: h5py.File, name: str, values: Values) -> str:
    """Write a matrix block by block, and return the SHA-256 of its rows."""
    dataset = file.create_dataset(name, shape=values.shape, dtype="float16", track_times=False)
    digest = hashlib.sha256()
    for begin in range(0, values.shape[0], BLOCK):
        block = np.ascontiguousarray(values[begin : begin + BLOCK], dtype=np.float16)
        dataset[begin : begin + BLOCK] = block
        digest.update(block)
    return digest.hexdigest()


def _verify(path: Path, written: Path, table: pd.DataFrame, digests: dict[str, str]) -> None:
    """Raise UserError unless the file `written`, which is to become the shard `path`, holds what it was given."""
    try:
        shard = _read_shard(written)
    except UserError:
        same = False
    else:
        kinds = dict.fromkeys(TEXT, str) | {"patch": int}
        same = all(
            shard.table[name].astype(kind).equals(table[name].reset_index(drop=True).astype(kind))
            for name, kind in kinds.items()
        )
        kept = {"features": shard.values} | {name: getattr(shard, name) for name in BESIDE}
        kept |= dict(zip(matrices.view_names(shard.identity), shard.further))
        same = same and all(_digest(kept[name]) == digest for name, digest in digests.items())
    if not same:
        raise UserError(f"{path}: what was read back is not what was written: check the disk, and run again")


def _digest(values: NDArray[np.float16]) -> str:
    """Return the SHA-256 of the rows of an array, read block by block."""
    digest = hashlib.sha256()
    for begin in range(0, len(values), BLOCK):
        digest.update(np.ascontiguousarray(values[begin : begin + BLOCK]))
    return digest.hexdigest()


def _reserve(path: Path, written: dict[str, Values], table: pd.DataFrame, unreadable: pd.DataFrame) -> None:
    """Raise OSError if there is no room for a shard: HDF5 crashes the program when a write fails. Quotas count, too."""
    texts = [*(table[name] for name in TEXT), *(unreadable[name] for name in UNREADABLE)]
    size = sum(2 * math.prod(values.shape) for values in written.values()) + 64 * len(table) + 2**14
    size += sum(int(text.str.len().sum()) + 64 * len(text) for text in texts)
    try:
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:  # macOS has no such call
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # a file system without it
            raise

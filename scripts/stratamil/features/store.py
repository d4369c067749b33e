"""Feature files: one row a patch, with the path that names it. Written by `embed`, read by every later stage."""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from stratamil.core import files, names
from stratamil.core.errors import UserError
from stratamil.core.names import natural
from stratamil.features import images

TEXT = ("case_id", "stain", "slice_id", "path")
COLUMNS = ("case_id", "stain", "slice_id", "patch", "path")
PLACE = ("x", "y")  # on the slide, of patches that have no file
FACTS = {"width": "int32", "height": "int32", "bits": "uint8", "odd": "uint16"}  # images.Facts, of patches with images
UNREADABLE = ("case_id", "path", "reason")
BLOCK = 256  # rows written at once


def shard_of(case_id: str, shards: int) -> int:
    """Return the shard of a case: the same on every machine and in every spelling, whatever other cases there are."""
    return int(hashlib.sha256(names.case_id(case_id).encode()).hexdigest(), 16) % shards


class Rows:
    """The rows of several matrices as one float16 matrix (N, D), read when they are asked for.

    The matrices are maps of the files: memory holds what is in use, once for all programs that read the same files,
    and gives it back when it runs short. `rows[index]` is an array (n, D), of one row (D,).
    """

    dtype = np.dtype(np.float16)

    def __init__(self, parts, part, row, columns, width):
        """parts: arrays (n, d); part, row (N,): where each row is; columns: where each part's begin among `width`."""
        self.parts, self.part, self.row, self.columns = parts, part, row, columns
        self.shape = (len(row), width)

    def __len__(self):
        return len(self.row)

    def __array__(self, dtype=None, copy=None):
        return self[:].astype(dtype or self.dtype)

    def __getitem__(self, index):
        if isinstance(index, int | np.integer):
            return self[np.array([index])][0]
        part, row = self.part[index], self.row[index]
        if len(part) and (part == part[0]).all() and self.parts[part[0]].shape[1] == self.shape[1]:
            one_run = row[-1] - row[0] == len(row) - 1 and (np.diff(row) == 1).all()
            return self.parts[part[0]][row[0] : row[-1] + 1] if one_run else self.parts[part[0]][row]
        values = np.zeros((len(part), self.shape[1]), self.dtype)
        for number in np.unique(part):
            here, begin = np.flatnonzero(part == number), self.columns[number]
            values[here, begin : begin + self.parts[number].shape[1]] = self.parts[number][row[here]]
        return values


@dataclass
class Features:
    """Features of some cases.

    values: float16 (N, D), an array or Rows. table: DataFrame of N rows with case_id, stain, slice_id, patch, path,
    and x, y of features made elsewhere; cases in natural order, patches as in the inventory. identity: what the
    features depend on. blank: bool (N,), of patches whose pixels are all equal, where that is known.
    """

    values: np.ndarray | Rows
    table: pd.DataFrame
    identity: dict
    blank: np.ndarray | None = None


def read(paths, case_ids=None):
    """Read the shards at `paths`; all cases, or those in `case_ids`. Returns Features; its values are Rows.

    The shards in one folder are of one encoder. Features of several stand side by side in blocks of columns, in the
    order of the folders' names, with zeros in the other blocks; their identity is {"encoders": {folder: identity}}.
    Raises UserError if shards of a folder were made with different settings, or a wanted case has no patches in any.
    """
    folders = {}
    for path in sorted(paths, key=lambda path: Path(path).parent.name):
        folders.setdefault(Path(path).parent.name, []).append((path, _read_shard(path)))
    firsts = {name: found[0] for name, found in folders.items()}
    problems = [
        f"{path}: made with other settings than {firsts[name][0]} "
        f"({_difference(firsts[name][1].identity, shard.identity)}): "
        "delete the one that is out of date and run again; if machines differ, set embed.precision"
        for name, found in folders.items()
        for path, shard in found
        if shard.identity != firsts[name][1].identity
    ]
    if problems:
        raise UserError(*problems)
    shards = [shard for found in folders.values() for _, shard in found]
    identities = {name: first.identity for name, (_, first) in firsts.items()}
    identity = {"encoders": identities} if len(identities) > 1 else shards[0].identity
    table = pd.concat([shard.table for shard in shards], ignore_index=True)
    blank = np.concatenate([shard.blank for shard in shards])
    part = np.repeat(np.arange(len(shards)), [len(shard.table) for shard in shards])
    row = np.concatenate([np.arange(len(shard.table)) for shard in shards])
    if case_ids is not None:
        lacking = sorted(set(map(str, case_ids)) - set(table["case_id"]), key=natural)
        if lacking:
            raise UserError(
                f"features: no patches of {len(lacking)} cases in {paths[0]} and its like: {', '.join(lacking)}: "
                "run embed again, or make the splits anew from the inventory"
            )
        wanted = table["case_id"].isin(set(map(str, case_ids))).to_numpy()
        table, part, row, blank = table[wanted], part[wanted], row[wanted], blank[wanted]
    order = np.lexsort([_ranks(table["stain"]), _ranks(table["case_id"])])
    widths = [first.values.shape[1] for _, first in firsts.values()]
    columns = np.repeat(np.cumsum([0, *widths[:-1]]), [len(found) for found in folders.values()])
    values = Rows([shard.values for shard in shards], part[order], row[order], columns, sum(widths))
    return Features(values, table.iloc[order].reset_index(drop=True), identity, blank[order])


def _ranks(names):
    """The place of each name in natural order, (N,)."""
    ranks = {name: i for i, name in enumerate(sorted(names.unique(), key=natural))}
    return names.map(ranks).to_numpy(dtype=int)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Yield an open shard; what a damaged one makes HDF5 raise, which can be anything, becomes one line."""
    try:
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


def _read_shard(path):
    with _opened(path) as file:
        identity = json.loads(file.attrs["identity"])
        numbers = {name: file[name][:] for name in ("patch", *PLACE) if name in file}
        table = pd.DataFrame({name: file[name].asstr()[:] for name in TEXT} | numbers)
        values = _mapped(path, file["features"])
        blank = file["odd"][:] & images.Odd.BLANK > 0 if "odd" in file else np.zeros(len(table), bool)
        if not isinstance(identity, dict) or values.shape != (len(table), values.shape[-1]) or len(blank) != len(table):
            raise ValueError("its parts do not fit")
        if values.dtype != np.float16 or table["patch"].dtype.kind != "i":
            raise ValueError("its numbers are of another type")
    return Features(values, table[[name for name in (*COLUMNS, *PLACE) if name in table]], identity, blank)


def _mapped(path, dataset):
    """A data set as a map of its file, or read, where it is not one piece (HDF5 compresses by chunks)."""
    offset = dataset.id.get_offset()
    return dataset[:] if offset is None else np.memmap(path, dataset.dtype, "c", offset, dataset.shape)


def facts(paths: list[Path]) -> pd.DataFrame:
    """Return the images.Facts of all patches in shards: case_id, path and the columns of FACTS.

    A shard without them (of precomputed features, or of an earlier version) has no rows here.
    """
    tables = []
    for path in paths:
        with _opened(path) as file:
            if set(FACTS) <= set(file):
                text = {name: file[name].asstr()[:] for name in ("case_id", "path")}
                tables.append(pd.DataFrame(text | {name: file[name][:] for name in FACTS}))
    columns = ["case_id", "path", *FACTS]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns).astype(FACTS)


def unreadable(paths):
    """The patches that the shards at `paths` have no features of: a DataFrame of case_id, path, reason."""
    tables = []
    for path in paths:
        with _opened(path) as file:
            tables.append(pd.DataFrame({name: file[f"unreadable_{name}"].asstr()[:] for name in UNREADABLE}))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=UNREADABLE)
    return table.sort_values("path", key=lambda found: found.map(natural), ignore_index=True)


def _difference(a, b):
    keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
    return "; ".join(f"{key} {b.get(key)}, not {a.get(key)}" for key in keys)


def write(path, values, table, unreadable, identity):
    """Write a shard, whole or not at all; the same content gives the same bytes.

    values: float16 (N, D): an array, or what has its shape and gives its rows by slices, to be written as they are
    read. table: N rows with case_id, stain, slice_id, patch, path; x and y, and those of FACTS, may be there, too.
    unreadable: DataFrame of case_id, path and reason of the patches that have no features.
    """
    text = h5py.string_dtype("utf-8")
    with files.atomic(path) as temporary:
        _reserve(temporary, values, table, unreadable)
        with h5py.File(temporary, "w") as file:
            file.attrs["identity"] = json.dumps(identity, sort_keys=True)
            columns = {name: (table[name].to_numpy(dtype=object), text) for name in TEXT}
            columns["patch"] = (table["patch"].to_numpy(), "int32")
            columns |= {name: (table[name].to_numpy(), "float32") for name in PLACE if name in table}
            columns |= {name: (table[name].to_numpy(), dtype) for name, dtype in FACTS.items() if name in table}
            columns |= {f"unreadable_{name}": (unreadable[name].to_numpy(dtype=object), text) for name in UNREADABLE}
            for name, (data, dtype) in columns.items():
                file.create_dataset(name, data=data, shape=data.shape, dtype=dtype, track_times=False)
            dataset = file.create_dataset("features", shape=values.shape, dtype="float16", track_times=False)
            written = hashlib.sha256()
            for begin in range(0, len(table), BLOCK):
                block = np.ascontiguousarray(values[begin : begin + BLOCK], dtype=np.float16)
                dataset[begin : begin + BLOCK] = block
                written.update(block)
        _verify(path, temporary, table, written.hexdigest())


def _verify(path, written, table, digest):
    """Raise UserError unless the file `written`, which is to become the shard `path`, holds what it was given."""
    try:
        found = _read_shard(written)
    except UserError:
        same = False
    else:
        names = [*TEXT, "patch"]
        same = found.table[names].to_numpy().tolist() == table[names].to_numpy().tolist()
        same = same and _digest(found.values) == digest
    if not same:
        raise UserError(f"{path}: what was read back is not what was written: check the disk, and run again")


def _digest(values):
    """SHA-256 of the rows of an array, read block by block."""
    digest = hashlib.sha256()
    for begin in range(0, len(values), BLOCK):
        digest.update(np.ascontiguousarray(values[begin : begin + BLOCK]))
    return digest.hexdigest()


def _reserve(path, values, table, unreadable):
    """Raise OSError if there is no room for a shard: HDF5 crashes the program when a write fails. Quotas count, too."""
    texts = [*(table[name] for name in TEXT), *(unreadable[name] for name in UNREADABLE)]
    size = 2 * math.prod(values.shape) + 32 * len(table) + 2**14
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

"""Files of precomputed features, read with no trust in what they claim.

Layouts that are read, by suffix; N rows, one a patch, of D features:
    .h5, .hdf5  `features` or `feats` (N, D) or (1, N, D) and `coords` (N, 2), as written by
        TRIDENT 0.2.4, trident/wsi_objects/WSI.py, extract_patch_features: attributes of `coords` say how it was tiled
        CLAM, extract_features_fp.py, compute_w_loader: float32, appended batch by batch, without attributes
        STAMP 2, stamp/preprocessing/__init__.py, extract_: `feats` in float16, attributes extractor, unit and others
    .npz        `features` (N, D) and, of N values each, case, stain, slice, instance; `coords` (N, 2)
    .pt         a tensor (N, D) or (1, N, D), as CLAM's pt_files, or a dict with `features` or `feats` and, of N values
        each, what an npz may have
    .parquet    columns f0 to fD-1, or one column of lists; case, stain, slice, instance; x, y
Names are read without regard to case. Nothing is unpickled but the tensors of .pt, which torch.load does with
weights_only=True. No memory is taken for more than a file can hold, and no
value is taken from outside it, but for HDF5 links and virtual data sets whose sources lie in the folder of the study.
Integers of 16 bits are refused: numpy has no bfloat16, so programs store its bits as these, and as numbers they are
nonsense. HDF5 can crash on a damaged file, so `stratamil.precomputed` calls this module in a process that may die.
"""

import errno
import math
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stratamil.core import names, npz
from stratamil.core.errors import REFUSALS, UserError, few
from stratamil.features import precomputed_checks as checks
from stratamil.features.precomputed_hdf5 import blocks_of_hdf5, describe_hdf5
from stratamil.features.precomputed_torch import blocks_of_pt, describe_pt

# What libraries say of a damaged file -> in plain words.
SAID = {"truncated file": "it is cut short", "file signature not found": "it is no HDF5 file"}
Describe = Callable[[Path, Path], checks.Source]
Blocks = Callable[[Path, Path, int], Iterator[tuple[int, NDArray[Any]]]]


def describe(path: Path, folder: Path | None = None) -> checks.Source:
    """Read what a file holds besides its features, which are not read.

    folder: where the sources of links may lie; None is the file's own. Raises UserError if the file cannot be used.
    """
    with _readable(path):
        return _format(path)[0](path, folder or Path(path).parent)


def blocks(path: Path, folder: Path | None = None, most: int = 4096) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first row, numbers (n, D)) over a file, at most `most` rows at once. See `describe`."""
    with _readable(path):
        yield from _format(path)[1](path, folder or Path(path).parent, most)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in one line what is wrong with a file: libraries raise anything on a damaged one."""
    try:
        yield
    except (UserError, GeneratorExit):
        raise
    except MemoryError:
        raise UserError(f"{path}: claims more than memory can hold: {checks.OUT}") from None
    except Exception as error:
        number = _number(error)
        if number in REFUSALS:  # the file may be good
            raise UserError(f"{path}: {os.strerror(number)}: {REFUSALS[number]} and run again") from None
        said = checks.plain(str(error) or type(error).__name__)
        said = next((words for text, words in SAID.items() if text in said), said)
        raise UserError(f"{path}: cannot be read: {said}: {checks.OUT}") from None


def _number(error: Exception) -> int | None:
    """Return the errno of an error; HDF5 may hide it in its text."""
    number = getattr(error, "errno", None)
    hidden = re.search(r"errno = (\d+)", str(error)) if isinstance(error, OSError) and number is None else None
    return int(hidden[1]) if hidden else errno.EAGAIN if isinstance(error, BlockingIOError) else number


def _format(path: Path) -> tuple[Describe, Blocks]:
    """Return the two functions that read the files of a suffix: what there is, and the features."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UserError(f"{path}: not one of {', '.join(FORMATS)}: {checks.OUT.replace(checks.ANEW, 'convert it')}")
    return FORMATS[suffix]


# npz


@contextmanager
def _archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Yield the open archive, and its arrays that matter: name in lower case -> zipfile.ZipInfo."""
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise UserError(f"{path}: not an npz of named arrays: save it with numpy.savez")
        with zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(members) < len(archive.infolist()):
                raise UserError(f"{path}: two arrays of one name: keep one")
            there = checks.headings(path, members, "|".join(("features", "coords", *checks.COLUMNS)))
            if "features" not in there:
                raise UserError(f"{path}: no array features: it has {checks.plain(few(members)) or 'none'}")
            yield archive, {low: members[name] for low, name in there.items()}


def _header(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, order and type of an array in an npz, which is not read; as many bytes as these need are there."""
    name = checks.plain(info.filename.removesuffix(".npy"))
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{path}: {name} is compressed in a way that numpy does not: save it with numpy.savez")
    shape, fortran, dtype, head = npz.header(archive, info)
    size = math.prod(shape) * dtype.itemsize + head
    if dtype.hasobject:
        raise UserError(f"{path}: cannot be read: Object arrays cannot be loaded: save {name} as an array of text")
    if any(n < 0 for n in shape) or size != info.file_size:
        raise UserError(f"{path}: {name} claims {size:,} bytes, but has {info.file_size:,}: {checks.OUT}")
    stored = info.compress_type == zipfile.ZIP_STORED
    room, ratio = os.path.getsize(path), 1 if stored else checks.RATIO + 100
    checks.backed(path, name, claimed=info.file_size, stored=info.compress_size, room=room, ratio=ratio)
    return shape, fortran, dtype


def _npz(path: Path, folder: Path) -> checks.Source:
    with _archive(path) as (archive, there):
        shape, _, dtype = _header(path, archive, there["features"])
        rows, dim = checks.features_shape(path, shape, dtype)
        columns, coords = {}, None
        for name in (name for name in checks.COLUMNS if name in there):
            shape, _, dtype = _header(path, archive, there[name])
            checks.column_fits(path, name, shape, dtype, rows)
            columns[name] = checks.column_of(path, name, npz.array(archive, there[name]), rows)
        if "coords" in there:
            checks.coords_shape(path, _header(path, archive, there["coords"])[0], rows)
            coords = checks.coords_of(path, npz.array(archive, there["coords"]))
        return checks.Source(rows, dim, columns, coords)


def _npz_blocks(path: Path, folder: Path, most: int) -> Iterator[tuple[int, NDArray[Any]]]:
    with _archive(path) as (archive, there):
        shape, by_column, dtype = _header(path, archive, there["features"])
        rows, dim = checks.features_shape(path, shape, dtype)
        whole = npz.array(archive, there["features"]).reshape(rows, dim) if by_column else None
        with archive.open(there["features"]) as file:
            file.read(there["features"].file_size - rows * dim * dtype.itemsize)
            for start, end in checks.steps(rows, dim * dtype.itemsize, most):
                if by_column:
                    yield start, whole[start:end]
                else:
                    read = file.read((end - start) * dim * dtype.itemsize)
                    yield start, np.frombuffer(read, dtype).reshape(-1, dim)


# parquet


@contextmanager
def _table(path: Path) -> Iterator[tuple[pq.ParquetFile, list[str], int, int]]:
    """Yield the open file, the columns of its features, and (rows, dim) of these."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        rows, schema = file.metadata.num_rows, file.schema_arrow
        if rows != sum(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)):
            raise UserError(f"{path}: claims {rows:,} rows, but has others: {checks.OUT}")
        columns = _feature_columns(path, schema)
        kinds, dim = [schema.field(name).type for name in columns], len(columns)
        if _is_list(kinds[0]):
            first = next(file.iter_batches(1, columns=columns, use_threads=False)).column(0)[0] if rows else None
            kinds, dim = [kinds[0].value_type], len(first) if first is not None and first.is_valid else 0
        for kind in dict.fromkeys(kinds):
            known = pa.types.is_integer(kind) or pa.types.is_floating(kind)
            checks.features_shape(path, (rows, dim), np.dtype(kind.to_pandas_dtype()) if known else np.dtype(object))
        claimed = rows * dim * min(kind.bit_width for kind in kinds) // 8
        size = os.path.getsize(path)
        checks.backed(path, "features", claimed=claimed, stored=size, room=size, ratio=checks.RATIO)
        yield file, columns, rows, dim


def _parquet(path: Path, folder: Path) -> checks.Source:
    with _table(path) as (file, _, rows, dim):
        there = checks.headings(path, file.schema_arrow.names, "|".join((*checks.COLUMNS, "x", "y")))
        for low, name in there.items():
            if pa.types.is_nested(kind := file.schema_arrow.field(name).type):
                raise UserError(f"{path}: {low} is neither text nor numbers ({checks.plain(kind)}): {checks.ANEW}")
        # an index of pandas is a column like any other, but one of numbers in a row is written as their range
        ranges = _ranges(file.schema_arrow, rows)
        table = file.read(list(there.values()), use_threads=False).to_pandas(ignore_metadata=True, use_threads=False)
        values = {low: table[name].to_numpy() for low, name in there.items()}
    coords = None
    if {"x", "y"} <= set(values):
        coords = checks.coords_of(path, np.column_stack([values[axis].astype("float64") for axis in "xy"]))
    values = ranges | values
    columns = {name: checks.column_of(path, name, values[name], rows) for name in checks.COLUMNS if name in values}
    return checks.Source(rows, dim, columns, coords)


def _ranges(schema: pa.Schema, rows: int) -> dict[str, NDArray[np.int64]]:
    """Return name in lower case -> numbers, of an index that pandas wrote as a range."""
    indices = (schema.pandas_metadata or {}).get("index_columns", [])
    indices = [index for index in indices if isinstance(index, dict) and index.get("kind") == "range" and index["name"]]
    numbers = {index["name"].lower(): range(index["start"], index["stop"], index["step"]) for index in indices}
    return {name: np.array(values) for name, values in numbers.items() if len(values) == rows}


def _feature_columns(path: Path, schema: pa.Schema) -> list[str]:
    """Return the columns of a parquet file that hold its features: f0, f1, ... or one of lists."""
    there = checks.headings(path, schema.names, r"f[0-9]+")
    numbered = [there[low] for low in sorted(there, key=names.natural)]
    lists = [name for name in schema.names if _is_list(schema.field(name).type) and name.lower() not in checks.COLUMNS]
    if numbered and set(there) == {f"f{i}" for i in range(len(there))} and not lists:
        return numbered
    if len(lists) == 1 and not numbered:
        return lists
    present = checks.plain(few(schema.names, 5)) or "none"
    raise UserError(f"{path}: no columns f0, f1, ... without a gap, nor one of lists: it has {present}")


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _parquet_blocks(path: Path, folder: Path, most: int) -> Iterator[tuple[int, NDArray[Any]]]:
    with _table(path) as (file, columns, rows, dim):
        start = 0
        step = next(end for _, end in checks.steps(rows, 8 * dim, most))
        for batch in file.iter_batches(step, columns=columns, use_threads=False):
            lists = batch.column(0) if _is_list(batch.schema.types[0]) else None
            lengths = pc.list_value_length(lists).to_pylist() if lists is not None else []
            if odd := [row for row, length in enumerate(lengths, start) if length != dim]:
                raise UserError(f"{path}: row {odd[0]}: its list is missing or not of {dim} features: {checks.ANEW}")
            values = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
            yield start, np.stack(values[0]) if lists is not None else np.column_stack(values)
            start += len(batch)


FORMATS = {
    ".h5": (describe_hdf5, blocks_of_hdf5),
    ".hdf5": (describe_hdf5, blocks_of_hdf5),
    ".npz": (_npz, _npz_blocks),
    ".parquet": (_parquet, _parquet_blocks),
    ".pt": (describe_pt, blocks_of_pt),
}

"""Files of precomputed features, read with no trust in what they claim.

Layouts that are read, by suffix; N rows, one a patch, of D features:
    .h5, .hdf5  `features` or `feats` (N, D) or (1, N, D) and `coords` (N, 2), as written by
        TRIDENT 0.2.4, trident/wsi_objects/WSI.py, extract_patch_features: attributes of `coords` say how it was tiled
        CLAM, extract_features_fp.py, compute_w_loader: float32, appended batch by batch, without attributes
        STAMP 2, stamp/preprocessing/__init__.py, extract_: `feats` in float16, attributes extractor, unit and others
    .npz        `features` (N, D) and, of N values each, case, stain, slice, instance; `coords` (N, 2)
    .parquet    columns f0 to fD-1, or one column of lists; case, stain, slice, instance; x, y
Names are read without regard to case. Nothing is unpickled. No memory is taken for more than a file can hold, and no
value is taken from outside it, but for HDF5 links and virtual data sets whose sources lie in the folder of the study.
Integers of 16 bits are refused: numpy has no bfloat16, so programs store its bits as these, and as numbers they are
nonsense. HDF5 can crash on a damaged file, so `stratamil.precomputed` calls this module in a process that may die.
"""

import errno
import math
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stratamil import manifest, names, npz
from stratamil.errors import REFUSALS, UserError, few

FEATURES = ("features", "feats")  # what the tools call them
ENCODER = ("extractor", "encoder")  # attributes that name it; files of one study must agree
TILING = (
    "unit", "tile_size_um", "tile_size_px", "target_magnification", "patch_size",
    "magnification", "patch_size_um", "target_mpp",
)  # fmt: skip
# Compared, but no part of identity: names of other tools, and what differs a little from scanner to scanner.
SCANNED = (
    "mpp",
    "tile_mpp",
    "patch_mpp",
    "mag",
    "target_mag",
    "tile_size",
    "tile_px",
    "patch_size_px",
    "target_patch_size",
)
NATIVE = ("mpp", "mag")  # of the scan, not of the tiles
COLUMNS = (*manifest.NAMES, "instance")
ROWS, WIDTH = 20_000_000, 100_000  # the most of a file
RATIO = 1000  # bytes that one stored byte can stand for: deflate reaches 1,032, with nothing but zeros
AT_ONCE = 2**28  # bytes of features read at once
DEPTH = 5  # virtual data sets of virtual data sets
ANEW = "recreate it"
OUT = "recreate it, or remove it from the manifest"


@dataclass(frozen=True)
class Source:
    """What a file holds besides its features: (rows, dim) of these, columns (rows,), coords (rows, 2), attributes."""

    rows: int
    dim: int
    columns: dict = field(default_factory=dict)
    coords: np.ndarray | None = None
    said: dict = field(default_factory=dict)


def describe(path: Path, folder: Path | None = None) -> Source:
    """Read what a file holds besides its features, which are not read.

    folder: where the sources of links may lie; None is the file's own. Raises UserError if the file cannot be used.
    """
    with _readable(path):
        return _format(path)[0](path, folder or Path(path).parent)


def blocks(path: Path, folder: Path | None = None, most: int = 4096) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, numbers (n, D)) over a file, at most `most` rows at once. See `describe`."""
    with _readable(path):
        yield from _format(path)[1](path, folder or Path(path).parent, most)


@contextmanager
def _readable(path):
    """Say in one line what is wrong with a file: libraries raise anything on a damaged one."""
    try:
        yield
    except (UserError, GeneratorExit):
        raise
    except MemoryError:
        raise UserError(f"{path}: claims more than memory can hold: {OUT}") from None
    except Exception as error:
        number = _number(error)
        if number in REFUSALS:  # the file may be good
            raise UserError(f"{path}: {os.strerror(number)}: {REFUSALS[number]} and run again") from None
        said = plain(str(error) or type(error).__name__)
        raise UserError(f"{path}: cannot be read: {said}: {OUT}") from None


def _number(error):
    """The errno of an error; HDF5 may hide it in its text."""
    number = getattr(error, "errno", None)
    hidden = re.search(r"errno = (\d+)", str(error)) if isinstance(error, OSError) and number is None else None
    return int(hidden[1]) if hidden else errno.EAGAIN if isinstance(error, BlockingIOError) else number


def plain(text: str, most: int = 200) -> str:
    """Return a text of unknown origin as one line that can be written."""
    text = " ".join(str(text).encode(errors="replace").decode().split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text[:most] + ("..." if len(text) > most else "")


def _format(path):
    """The two functions that read the files of a suffix: what there is, and the features."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UserError(f"{path}: not one of {', '.join(FORMATS)}: convert it, or take it out of the manifest")
    return FORMATS[suffix]


def _headings(path, found, wanted):
    """Name in lower case -> name in the file, of those that match `wanted` (a regular expression)."""
    there = {}
    for name in (name for name in found if isinstance(name, str)):  # HDF5 gives bytes where they are no UTF-8
        if re.fullmatch(wanted, name.lower()):
            if name.lower() in there:
                raise UserError(f"{path}: {there[name.lower()]} and {name} are one name: keep one")
            there[name.lower()] = name
    return there


def _features_shape(path, shape, dtype):
    """(N, D) of features of this shape. Raises UserError if they are not one row of numbers a patch."""
    if dtype.kind not in "fiu" or dtype.metadata:  # HDF5's codes and references are integers with metadata
        hint = ": save bfloat16 as float32" if dtype.str[1:] == "V2" else f": {ANEW}"
        raise UserError(f"{path}: features are no numbers ({plain(dtype)}){hint}")
    if dtype.kind in "iu" and dtype.itemsize == 2:
        raise UserError(
            f"{path}: features are whole numbers of 16 bits ({dtype}), as bits of bfloat16 are: save them as float32"
        )
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2 or shape[1] < 1 or shape[0] < 0:
        raise UserError(f"{path}: features of shape {shape}, not one row a patch: give features of patches")
    if shape[0] == 0:
        raise UserError(f"{path}: no rows: {OUT}")
    if shape[0] > ROWS or shape[1] > WIDTH:
        raise UserError(f"{path}: claims features of shape {shape}; at most {ROWS:,} x {WIDTH:,} are read: split it")
    return shape


def _coords_shape(path, shape, rows):
    if shape not in ((rows, 2), (1, rows, 2)):
        raise UserError(f"{path}: coords of shape {shape} for {rows} rows of features: {ANEW}")


def _coords(path, values):
    """float64 (N, 2). Raises UserError if these are no numbers."""
    if values.dtype.kind in "fiu" and not values.dtype.metadata:
        values = values.reshape(-1, 2).astype("float64")
        if np.isfinite(values).all():
            return values
    raise UserError(f"{path}: coords that are not numbers: {ANEW}")


def _backed(path, name, claimed, stored, room, ratio=1):
    """Raise UserError if a file of `room` bytes, `stored` of them of `name`, cannot hold the bytes it claims."""
    if stored > room or claimed > ratio * stored:
        raise UserError(f"{path}: {name} claims {claimed:,} bytes, more than the file can hold: {OUT}")


def _column_fits(path, name, shape, dtype, rows):
    if shape != (rows,):
        raise UserError(f"{path}: {name} of shape {shape} for {rows} rows of features: {ANEW}")
    if dtype.kind not in "iufUSO":
        raise UserError(f"{path}: {name} is neither text nor numbers ({plain(dtype)}): {ANEW}")


def _column(path, name, values, rows):
    """A column of a file: numbers, or an array of objects: text, numbers and None."""
    _column_fits(path, name, values.shape, values.dtype, rows)
    if values.dtype.kind in "iuf":
        return values.astype("float64" if values.dtype.kind == "f" else values.dtype.newbyteorder("="))
    found = np.empty(rows, dtype=object)
    found[:] = [_word(path, name, value) for value in values.tolist()]
    return found


def _word(path, name, value):
    if isinstance(value, str | bytes):
        return (value if isinstance(value, bytes) else value.encode(errors="replace")).decode(errors="replace")
    if value is None or isinstance(value, int | float):
        return value
    raise UserError(f"{path}: {name} is neither text nor numbers ({type(value).__name__}): {ANEW}")


# HDF5


@contextmanager
def _opened(path):
    with h5py.File(path, "r", locking=False) as file:
        yield file


def _hdf5(path, folder):
    with _opened(path) as file:
        found = _hdf5_features(path, file, folder)
        rows, dim = _features_shape(path, found.shape, found.dtype)
        there, coords = [file, found], None
        for name in _headings(path, file, "coords").values():
            places = _linked(path, file, name, folder)
            if not isinstance(places, h5py.Dataset):
                raise UserError(f"{path}: coords are no dataset: {ANEW}")
            _coords_shape(path, places.shape, rows)
            _written(path, name, places, folder)
            coords = _coords(path, places[:])
            there.append(places)
        said = {
            "extractor" if name in ENCODER else name: value
            for item in there
            for name in (*ENCODER, *TILING, *SCANNED)
            if name in item.attrs and (value := _said(name, item.attrs[name])) is not None
        }
        return Source(rows, dim, {}, coords, said)


def _hdf5_blocks(path, folder, most):
    with _opened(path) as file:
        found = _hdf5_features(path, file, folder)
        rows, dim = _features_shape(path, found.shape, found.dtype)
        for start, end in _steps(rows, dim * found.dtype.itemsize, most):
            yield start, found[..., start:end, :].reshape(-1, dim)


def _steps(rows, width, most):
    """(first, last + 1) of the rows to read at once; width: bytes of one."""
    step = max(1, min(most, AT_ONCE // width))
    return ((start, min(start + step, rows)) for start in range(0, rows, step))


def _hdf5_features(path, file, folder):
    """The features of an open HDF5 file, all of them written."""
    there = _headings(path, file, "|".join(FEATURES))
    for name in (there[name] for name in FEATURES if name in there):
        found = _linked(path, file, name, folder)
        if isinstance(found, h5py.Dataset):
            if found.shape is None:
                raise UserError(f"{path}: {name} holds nothing (a null data set), as of a slide without tissue: {OUT}")
            _features_shape(path, found.shape, found.dtype)
            _written(path, name, found, folder)
            return found
    raise UserError(f"{path}: no dataset {' or '.join(FEATURES)}: it has {plain(few(file)) or 'none'}")


def _linked(path, file, name, folder):
    """An object of an open HDF5 file, which may be a link to another file below `folder`."""
    try:
        found = file[name]
    except Exception:
        if isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise
        raise UserError(f"{path}: {name} is a link that leads nowhere: copy the data into this file") from None
    _inside(path, name, found.file.filename, folder)
    return found


def _inside(path, name, target, folder):
    target = Path(target).resolve()
    if target != Path(path).resolve() and not target.is_relative_to(Path(folder).resolve()):
        raise UserError(
            f"{path}: {name} lies in {plain(target)}, outside of {folder}: copy the data into this file, "
            "or set features.folder"
        )


def _written(path, name, found, folder, depth=0):
    """Raise UserError unless all of a data set was written, fits the file, and lies in it or below `folder`.

    HDF5 gives the fill value, mostly 0, for what was never written and for sources that are gone.
    """
    claimed = math.prod(found.shape) * found.dtype.itemsize
    settings = found.id.get_create_plist()
    if found.is_virtual:
        _virtual(path, name, found, folder, depth)
    elif found.external:
        for raw, offset, size in found.external:
            _inside(path, name, raw, folder)
            if not Path(raw).is_file() or Path(raw).stat().st_size < offset + min(size, claimed):
                raise UserError(f"{path}: {name} lies in {plain(raw)}, gone or too short: copy it into this file")
    elif settings.get_layout() != h5py.h5d.COMPACT:
        due = [-(-n // chunk) for n, chunk in zip(found.shape, found.chunks or found.shape)]
        there = found.id.get_num_chunks() if found.chunks else int(found.id.get_offset() is not None)
        if there < math.prod(due):
            raise UserError(
                f"{path}: {name}: {there:,} of {math.prod(due):,} parts were written, the rest would be 0: {OUT}"
            )
        room = os.path.getsize(found.file.filename)
        _backed(path, name, claimed, found.id.get_storage_size(), room, RATIO if settings.get_nfilters() else 1)


def _virtual(path, name, found, folder, depth):
    """The same for a virtual data set: every row must be in a source that is there."""
    axis, whole = found.ndim - 2, f"{path}: {name} is a virtual data set"
    if depth == DEPTH:
        raise UserError(f"{whole} of virtual data sets without end: copy the data into this file")
    covered = np.zeros(found.shape[axis], dtype=bool)
    for part in found.virtual_sources():
        own = part.file_name == "."
        file = found.file.filename if own else Path(found.file.filename).parent / part.file_name
        _inside(path, name, file, folder)
        if not Path(file).is_file():
            raise UserError(f"{whole} whose source {plain(part.file_name)} is gone: copy the data into this file")
        with _opened(file) as other:
            if part.dset_name not in other or not isinstance(source := other[part.dset_name], h5py.Dataset):
                raise UserError(f"{whole}, and {plain(part.file_name)} has no {plain(part.dset_name)}: {ANEW}")
            _inside(path, name, source.file.filename, folder)
            low, high = (np.array(bound) for bound in part.vspace.get_select_bounds())
            box = high - low + 1
            rest = np.delete(box, axis), np.delete(found.shape, axis)
            if part.src_space.get_select_type() == h5py.h5s.SEL_ALL:
                fits = source.shape is not None and math.prod(source.shape) == part.vspace.get_select_npoints()
            else:
                last = part.src_space.get_select_bounds()[1]
                fits = source.shape is not None and len(last) == source.ndim and (last < np.array(source.shape)).all()
            if not fits or math.prod(box.tolist()) != part.vspace.get_select_npoints() or not np.array_equal(*rest):
                raise UserError(f"{whole} that is not whole rows of its sources: copy the data into this file")
            _written(path, name, source, folder, depth + 1)
            covered[low[axis] : high[axis] + 1] = True
    if not covered.all():
        raise UserError(f"{whole} without a source of {np.sum(~covered):,} rows: copy the data into this file")


def _said(name, value):
    """An attribute as JSON has it, a number of the tiling as one (`20x`, `[256 256]`); None if nothing is there."""
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray) and value.size and (value == value.flat[0]).all():
        value = value.flat[0]
    value = _plain(value)
    number = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*[xX]?", value) if isinstance(value, str) else None
    return value if number is None or name in ENCODER else float(number[1])


def _plain(value):
    """An attribute as JSON has it."""
    value = value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    return plain(value.decode(errors="replace") if isinstance(value, bytes) else value)


# npz


@contextmanager
def _archive(path):
    """The open archive, and its arrays that matter: name in lower case -> zipfile.ZipInfo."""
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise UserError(f"{path}: not an npz of named arrays: save it with numpy.savez")
        with zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(members) < len(archive.infolist()):
                raise UserError(f"{path}: two arrays of one name: keep one")
            there = _headings(path, members, "|".join(("features", "coords", *COLUMNS)))
            if "features" not in there:
                raise UserError(f"{path}: no array features: it has {plain(few(members)) or 'none'}")
            yield archive, {low: members[name] for low, name in there.items()}


def _header(path, archive, info):
    """Shape, order and type of an array in an npz, which is not read; as many bytes as these need are there."""
    name = plain(info.filename.removesuffix(".npy"))
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{path}: {name} is compressed in a way that numpy does not: save it with numpy.savez")
    shape, fortran, dtype, head = npz.header(archive, info)
    size = math.prod(shape) * dtype.itemsize + head
    if dtype.hasobject:
        raise UserError(f"{path}: cannot be read: Object arrays cannot be loaded: save {name} as an array of text")
    if any(n < 0 for n in shape) or size != info.file_size:
        raise UserError(f"{path}: {name} claims {size:,} bytes, but has {info.file_size:,}: {OUT}")
    stored = info.compress_type == zipfile.ZIP_STORED
    _backed(path, name, info.file_size, info.compress_size, os.path.getsize(path), 1 if stored else RATIO + 100)
    return shape, fortran, dtype


def _npz(path, folder):
    with _archive(path) as (archive, there):
        shape, _, dtype = _header(path, archive, there["features"])
        rows, dim = _features_shape(path, shape, dtype)
        columns, coords = {}, None
        for name in (name for name in COLUMNS if name in there):
            shape, _, dtype = _header(path, archive, there[name])
            _column_fits(path, name, shape, dtype, rows)
            columns[name] = _column(path, name, npz.array(archive, there[name]), rows)
        if "coords" in there:
            _coords_shape(path, _header(path, archive, there["coords"])[0], rows)
            coords = _coords(path, npz.array(archive, there["coords"]))
        return Source(rows, dim, columns, coords)


def _npz_blocks(path, folder, most):
    with _archive(path) as (archive, there):
        shape, by_column, dtype = _header(path, archive, there["features"])
        rows, dim = _features_shape(path, shape, dtype)
        whole = npz.array(archive, there["features"]).reshape(rows, dim) if by_column else None
        with archive.open(there["features"]) as file:
            file.read(there["features"].file_size - rows * dim * dtype.itemsize)
            for start, end in _steps(rows, dim * dtype.itemsize, most):
                if by_column:
                    yield start, whole[start:end]
                else:
                    read = file.read((end - start) * dim * dtype.itemsize)
                    yield start, np.frombuffer(read, dtype).reshape(-1, dim)


# parquet


@contextmanager
def _table(path):
    """The open file, the columns of its features, and (rows, dim) of these."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        rows, schema = file.metadata.num_rows, file.schema_arrow
        if rows != sum(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)):
            raise UserError(f"{path}: claims {rows:,} rows, but has others: {OUT}")
        columns = _feature_columns(path, schema)
        kinds, dim = [schema.field(name).type for name in columns], len(columns)
        if _is_list(kinds[0]):
            first = next(file.iter_batches(1, columns=columns, use_threads=False)).column(0)[0] if rows else None
            kinds, dim = [kinds[0].value_type], len(first) if first is not None and first.is_valid else 0
        for kind in dict.fromkeys(kinds):
            known = pa.types.is_integer(kind) or pa.types.is_floating(kind)
            _features_shape(path, (rows, dim), np.dtype(kind.to_pandas_dtype()) if known else np.dtype(object))
        claimed = rows * dim * min(kind.bit_width for kind in kinds) // 8
        size = os.path.getsize(path)
        _backed(path, "features", claimed, size, size, RATIO)
        yield file, columns, rows, dim


def _parquet(path, folder):
    with _table(path) as (file, _, rows, dim):
        there = _headings(path, file.schema_arrow.names, "|".join((*COLUMNS, "x", "y")))
        for low, name in there.items():
            if pa.types.is_nested(kind := file.schema_arrow.field(name).type):
                raise UserError(f"{path}: {low} is neither text nor numbers ({plain(kind)}): {ANEW}")
        # an index of pandas is a column like any other, but one of numbers in a row is written as their range
        ranges = _ranges(file.schema_arrow, rows)
        table = file.read(list(there.values()), use_threads=False).to_pandas(ignore_metadata=True, use_threads=False)
        values = {low: table[name].to_numpy() for low, name in there.items()}
    coords = None
    if {"x", "y"} <= set(values):
        coords = _coords(path, np.column_stack([values[axis].astype("float64") for axis in "xy"]))
    values = ranges | values
    columns = {name: _column(path, name, values[name], rows) for name in COLUMNS if name in values}
    return Source(rows, dim, columns, coords)


def _ranges(schema, rows):
    """Name in lower case -> numbers, of an index that pandas wrote as a range."""
    found = (schema.pandas_metadata or {}).get("index_columns", [])
    found = [index for index in found if isinstance(index, dict) and index.get("kind") == "range" and index["name"]]
    numbers = {index["name"].lower(): range(index["start"], index["stop"], index["step"]) for index in found}
    return {name: np.array(values) for name, values in numbers.items() if len(values) == rows}


def _feature_columns(path, schema):
    """The columns of a parquet file that hold its features: f0, f1, ... or one of lists."""
    there = _headings(path, schema.names, r"f[0-9]+")
    numbered = [there[low] for low in sorted(there, key=names.natural)]
    lists = [name for name in schema.names if _is_list(schema.field(name).type) and name.lower() not in COLUMNS]
    if numbered and set(there) == {f"f{i}" for i in range(len(there))} and not lists:
        return numbered
    if len(lists) == 1 and not numbered:
        return lists
    found = plain(few(schema.names, 5)) or "none"
    raise UserError(f"{path}: no columns f0, f1, ... without a gap, nor one of lists: it has {found}")


def _is_list(kind):
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _parquet_blocks(path, folder, most):
    with _table(path) as (file, columns, rows, dim):
        start = 0
        step = next(end for _, end in _steps(rows, 8 * dim, most))
        for batch in file.iter_batches(step, columns=columns, use_threads=False):
            lists = batch.column(0) if _is_list(batch.schema.types[0]) else None
            lengths = pc.list_value_length(lists).to_pylist() if lists is not None else []
            if odd := [row for row, length in enumerate(lengths, start) if length != dim]:
                raise UserError(f"{path}: row {odd[0]}: its list is missing or not of {dim} features: {ANEW}")
            values = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
            yield start, np.stack(values[0]) if lists is not None else np.column_stack(values)
            start += len(batch)


FORMATS = {
    ".h5": (_hdf5, _hdf5_blocks),
    ".hdf5": (_hdf5, _hdf5_blocks),
    ".npz": (_npz, _npz_blocks),
    ".parquet": (_parquet, _parquet_blocks),
}

"""Features made elsewhere: what their files hold, as an inventory, and their rows copied into feature files of ours.

Layouts that are read, by suffix; N rows, one a patch, of D features:
    .h5, .hdf5  `features` or `feats` (N, D) or (1, N, D) and `coords` (N, 2), as written by
        TRIDENT 0.2.4, trident/wsi_objects/WSI.py, extract_patch_features: attributes of `coords` say how it was tiled
        CLAM, extract_features_fp.py, compute_w_loader: float32, appended batch by batch, without attributes
        STAMP 2, stamp/preprocessing/__init__.py, extract_: `feats` in float16, attributes extractor, unit and others
    .npz        `features` (N, D) and, of N values each, case, stain, slice, instance; `coords` (N, 2)
    .parquet    columns f0 to fD-1, or one column of lists; case, stain, slice, instance; x, y
What the manifest says of a file holds for all its rows; only what it leaves empty is taken from the file's own columns.
`instance` is the number of a patch in its slice; without it, that is its row. Rows count from 0, as in their paths:
`file#row`. Nothing is unpickled.

The identity of such features is their width, what their files agree to say of encoder and tiling, and the name that
the config gives the encoder. The files' own hashes are not in it, for then a model could never be tested on the
features of another cohort; that a file has changed is for the inventory to notice.
"""

import re
import zipfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stratamil import manifest, names
from stratamil.errors import UserError
from stratamil.inventory import PATCH, spelt

BLOCK = 4096  # rows read at once
LARGEST = float(np.finfo(np.float16).max)
FEATURES = ("features", "feats")  # what the tools call them
ENCODER = ("extractor", "encoder")  # attributes that name it; files of one study must agree
TILING = ("unit", "tile_size_um", "tile_size_px", "target_magnification", "patch_size")
COLUMNS = (*manifest.NAMES, "instance")
MOST = 999_999_999  # the largest number of a patch
SHOWN = 5  # places named in a problem
FAULTS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, pa.ArrowException)


@dataclass(frozen=True)
class Source:
    """What a file holds besides its features: (rows, dim) of these, columns (rows,), coords (rows, 2), attributes."""

    rows: int
    dim: int
    columns: dict = field(default_factory=dict)
    coords: np.ndarray | None = None
    said: dict = field(default_factory=dict)


def describe(path):
    """The Source of a file; its features are not read. Raises UserError if it has none, or they do not fit."""
    with _readable(path):
        source = _format(path)[0](path)
    problems = [] if source.rows else [f"{path}: no rows: make it anew, or take it out of the manifest"]
    parts = {name: (values, (source.rows,)) for name, values in source.columns.items()}
    if source.coords is not None:
        parts["coords"] = source.coords, (source.rows, 2)
        if source.coords.dtype.kind not in "fiu" or not np.isfinite(source.coords).all():
            problems.append(f"{path}: coords that are not numbers: make it anew")
    problems += [
        f"{path}: {name} of shape {values.shape} for {source.rows} rows of features: make it anew"
        for name, (values, shape) in parts.items()
        if values.shape != shape
    ]
    if problems:
        raise UserError(*problems)
    return source


def blocks(path):
    """Yield (first row, numbers (n, D)) over a file, at most BLOCK rows at once; an npz is read whole."""
    with _readable(path):
        yield from _format(path)[1](path)


@contextmanager
def _readable(path):
    """Says in one line what is wrong with a file that a library cannot read."""
    try:
        yield
    except FAULTS as error:
        raise UserError(f"{path}: cannot be read: {error}: make it anew, or take it out of the manifest") from None


def _format(path):
    """The two functions that read the files of a suffix: what there is, and the features."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UserError(f"{path}: not one of {', '.join(FORMATS)}: convert it, or take it out of the manifest")
    return FORMATS[suffix]


def _shape(path, shape, dtype):
    """(N, D) of features of this shape. Raises UserError if they are not one row of numbers a patch."""
    if dtype.kind not in "fiu":
        raise UserError(f"{path}: features are no numbers ({dtype}): make it anew")
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2 or not shape[1]:
        raise UserError(f"{path}: features of shape {shape}, not one row a patch: give features of patches")
    return shape


def _hdf5(path):
    with h5py.File(path) as file:
        found = _dataset(path, file)
        rows, dim = _shape(path, found.shape, found.dtype)
        if not isinstance(file.get("coords"), h5py.Dataset | None):
            raise UserError(f"{path}: coords are no dataset: make it anew")
        there = [file, found, *([file["coords"]] if "coords" in file else [])]
        said = {
            "extractor" if name in ENCODER else name: _plain(item.attrs[name])
            for item in there
            for name in (*ENCODER, *TILING)
            if name in item.attrs
        }
        coords = file["coords"][:] if "coords" in file else None
        if coords is not None and coords.ndim == 3 and len(coords) == 1:
            coords = coords[0]
        return Source(rows, dim, {}, coords, said)


def _dataset(path, file):
    """The features of an open HDF5 file."""
    for name in FEATURES:
        if isinstance(file.get(name), h5py.Dataset):
            return file[name]
    raise UserError(f"{path}: no dataset {' or '.join(FEATURES)}: it has {', '.join(file) or 'none'}")


def _hdf5_blocks(path):
    with h5py.File(path) as file:
        found = _dataset(path, file)
        for start in range(0, found.shape[-2], BLOCK):
            yield start, found[..., start : start + BLOCK, :].reshape(-1, found.shape[-1])


def _plain(value):
    """An attribute as JSON has it."""
    value = value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value
    return value if isinstance(value, int | float) else value.decode() if isinstance(value, bytes) else str(value)


def _npz(path):
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not an npz of named arrays: save it with numpy.savez")
    with np.load(path, allow_pickle=False) as file:
        if "features" not in file:
            raise UserError(f"{path}: no array features: it has {', '.join(file) or 'none'}")
        rows, dim = _shape(path, *_header(path, "features.npy"))
        columns = {name: file[name] for name in COLUMNS if name in file}
        return Source(rows, dim, columns, file.get("coords"))


def _header(path, member):
    """Shape and type of an array in an npz, which is not read."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read[np.lib.format.read_magic(file)](file)
        return shape, dtype


def _npz_blocks(path):
    with np.load(path, allow_pickle=False) as file:
        found = file["features"]
    for start in range(0, found.shape[-2], BLOCK):
        yield start, found[..., start : start + BLOCK, :].reshape(-1, found.shape[-1])


def _parquet(path):
    with pq.ParquetFile(path) as file:
        columns = _feature_columns(path, file.schema_arrow)
        rows, dim = file.metadata.num_rows, len(columns)
        kinds = [file.schema_arrow.field(name).type for name in columns]
        if _is_list(kinds[0]):
            first = next(file.iter_batches(1, columns=columns)).column(0)[0].as_py() if rows else None
            kinds, dim = [kinds[0].value_type], len(first or [])
        for kind in kinds:
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise UserError(f"{path}: features are no numbers ({kind}): make it anew")
        if rows:
            _shape(path, (rows, dim), np.dtype(float))
        wanted = [name for name in (*COLUMNS, "x", "y") if name in file.schema_arrow.names]
        table = file.read(wanted).to_pandas()
    coords = table[["x", "y"]].to_numpy(dtype=float) if {"x", "y"} <= set(table) else None
    return Source(rows, dim, {name: table[name].to_numpy() for name in table if name in COLUMNS}, coords)


def _feature_columns(path, schema):
    """The columns of a parquet file that hold its features: f0, f1, ... or one of lists."""
    numbered = sorted((name for name in schema.names if re.fullmatch(r"f\d+", name)), key=names.natural)
    lists = [name for name in schema.names if _is_list(schema.field(name).type)]
    if numbered and numbered == [f"f{i}" for i in range(len(numbered))] and not lists:
        return numbered
    if len(lists) == 1 and not numbered:
        return lists
    raise UserError(f"{path}: no columns f0, f1, ... without a gap, nor one of lists: it has {_few(schema.names)}")


def _is_list(kind):
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _parquet_blocks(path):
    start = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BLOCK, columns=_feature_columns(path, file.schema_arrow)):
            columns = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
            yield start, np.stack(columns[0]) if columns[0].dtype == object else np.column_stack(columns)
            start += len(batch)


FORMATS = {
    ".h5": (_hdf5, _hdf5_blocks),
    ".hdf5": (_hdf5, _hdf5_blocks),
    ".npz": (_npz, _npz_blocks),
    ".parquet": (_parquet, _parquet_blocks),
}


@dataclass(frozen=True)
class Found:
    """What the manifest's files hold: patches and left_out as inventory.scan has them, rows in all, and the identity.

    patches has columns x and y, too, NaN where a file has no coordinates. left_out: (file, reason, detail, rows).
    """

    patches: pd.DataFrame
    left_out: list
    rows: int
    identity: dict


def scan(path, folder, grammar, encoder=None):
    """Read the manifest at `path` and what its files hold besides features. Returns Found.

    folder: what the manifest's files are relative to. grammar: names.Grammar. encoder: the name that the user gives it.
    Raises UserError with every problem found, of all files.
    """
    entries = manifest.read(path, folder)
    sources, tables, left_out, problems = {}, [], [], []
    for entry in entries:
        where = f"{path}: row {entry.row}"
        try:
            source = sources[entry.file] = describe(Path(folder, entry.file))
            table, unknown = _patches(entry, source, grammar)
        except UserError as error:
            problems += [f"{where}: {problem}" for problem in error.problems]
            continue
        tables.append(table)
        left_out += [(entry.file, names.UNKNOWN_STAIN, stain, n) for stain, n in unknown.items()]
    problems += [f"{path}: {problem}" for problem in _disagreements(sources)]
    patches = spelt(pd.concat(tables, ignore_index=True)) if tables else None
    problems += [f"{path}: {problem}" for problem in _repeated(patches)] if tables else []
    if problems:
        raise UserError(*problems)
    return Found(patches, left_out, sum(source.rows for source in sources.values()), _identity(sources, encoder))


def _patches(entry, source, grammar):
    """(table of the patches of a file, rows of each stain that the config does not name)."""
    said = {name: getattr(entry, name) or source.columns.get(name) for name in manifest.NAMES}
    problems = [
        f"{entry.file}: no {name}: fill it in, for the file has no column of that name"
        for name, values in said.items()
        if values is None
    ]
    if problems:
        raise UserError(*problems)
    table = pd.DataFrame({name: _text(values, source.rows) for name, values in said.items()})
    stains = {text: _stain(text, grammar) for text in table["stain"].unique()}
    number = source.columns.get("instance", np.arange(source.rows))
    found = pd.DataFrame(
        {
            "case_id": table["case"],
            "stain": table["stain"].map(stains),
            "slice_id": table["slice"],
            "patch": pd.to_numeric(pd.Series(number), errors="coerce"),
            "path": [f"{entry.file}#{row}" for row in range(source.rows)],
            "bytes": 0,
        }
    )
    found[["x", "y"]] = np.full((source.rows, 2), np.nan) if source.coords is None else source.coords
    faults = {
        f"no case, or one of unreadable text or over {names.LONGEST} characters": ~found["case_id"].map(_usable),
        "no stain": table["stain"] == "",
        f"no slice, or one of unreadable text or over {names.LONGEST} characters": ~found["slice_id"].map(_usable),
        "instance is no number from 0 on": ~(found["patch"].between(0, MOST) & (found["patch"] % 1 == 0)),
    }
    problems = [f"{entry.file}: {_rows(bad)}: {what}: correct it" for what, bad in faults.items() if bad.any()]
    if problems:
        raise UserError(*problems)
    unknown = table.loc[found["stain"].isna(), "stain"].str.lower().value_counts(sort=False).to_dict()
    return found[found["stain"].notna()].astype({"patch": "int64", "stain": str}), unknown


def _text(values, rows):
    """One value for all rows, or a column of a file, as stripped text; what is missing is empty."""
    if isinstance(values, str):
        return [values] * rows
    column = pd.Series(values)
    return column.map(_word).where(column.notna(), "")


def _word(value):
    """A value of a column as text: bytes as UTF-8, 1.0 as `1`."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _usable(text):
    text = names.composed(text).strip()
    return 0 < len(text) <= names.LONGEST and text.isprintable()


def _stain(text, grammar):
    try:
        return grammar.stain(text)
    except names.NotAPatch:
        return None


def _rows(bad):
    """`row 3`, or `rows 3, 5 and 7 more`, of a mask."""
    rows = np.flatnonzero(bad)
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:SHOWN]))}{more}"


def _few(values):
    return ", ".join(map(str, values[:SHOWN])) + (", ..." if len(values) > SHOWN else "")


def _disagreements(sources):
    """Files whose features are of another width or encoder than those of most."""
    widths = {file: source.dim for file, source in sources.items()}
    encoders = {file: source.said["extractor"] for file, source in sources.items() if "extractor" in source.said}
    for what, values in (("width", widths), ("encoder", encoders)):
        for usual, _ in Counter(values.values()).most_common(1):
            like = next(file for file, value in values.items() if value == usual)
            for file, value in values.items():
                if value != usual:
                    yield f"{file}: features of {what} {value}, but {like} has {usual}: give features of one encoder"


def _repeated(patches):
    """Slices in which several rows are the same patch."""
    repeated = patches[patches.duplicated(PATCH, keep=False)]
    for (case, stain, slice_id), rows in repeated.groupby(PATCH[:3], sort=False):
        first = rows[rows["patch"] == rows["patch"].iloc[0]]["path"].tolist()
        yield (
            f"case {case}, {stain}, {slice_id}: {_few(first)} are the same patch: keep one, or name their slices or "
            "instances differently"
        )


def _identity(sources, encoder):
    """What the features depend on, as far as the files and the user say; see the head of this module."""
    said = {}
    for name in ("extractor", *TILING):
        values = {source.said.get(name) for source in sources.values()}
        if len(values) == 1 and values != {None}:
            said[name] = values.pop()
    dim = next(iter(sources.values())).dim
    return {"encoder": "precomputed", "dim": dim} | ({"named": encoder} if encoder else {}) | said


def take(patches, folder, dim):
    """Features of patches from their files: float16 (N, dim), in the order of `patches`.

    patches: DataFrame as of the inventory, with columns path and others. folder: what its paths are relative to.
    Raises UserError with every file that has changed since the inventory, or that holds features that are no number
    or too large for float16, and in which rows.
    """
    values = np.empty((len(patches), dim), np.float16)
    places = pd.DataFrame([path.rpartition("#") for path in patches["path"]], columns=["file", "#", "row"])
    rows, problems = places["row"].to_numpy(dtype=int), []
    for file, positions in places.groupby("file", sort=False).indices.items():
        try:
            values[positions] = _take(Path(folder, file), rows[positions], dim)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*problems)
    return values


def _take(path, rows, dim):
    """float16 (n, dim): these rows of a file."""
    order = np.argsort(rows)
    values, bad, done = np.empty((len(rows), dim), np.float16), [], 0
    for start, block in blocks(path):
        if block.shape[1] != dim:
            break
        end = np.searchsorted(rows, start + len(block), sorter=order)
        here = order[done:end]
        found = block[rows[here] - start]
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(found.astype(np.float32)) <= LARGEST).all(axis=1)
        bad += rows[here[wrong]].tolist()
        values[here[~wrong]] = found[~wrong]
        done = end
    if done < len(rows):
        raise UserError(f"{path}: has changed since the inventory was taken: run again")
    if bad:
        where = _rows(np.isin(np.arange(max(bad) + 1), bad))
        raise UserError(f"{path}: {where}: features that are no number or beyond {LARGEST:.0f}: make it anew")
    return values

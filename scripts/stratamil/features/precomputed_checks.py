"""What every reader of precomputed features asks of a file: headings, shapes, room, and plain words for it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stratamil.cohort import manifest
from stratamil.core.errors import UserError, visible

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
ANEW = "recreate it"
OUT = f"{ANEW}, or give a reason in the column excluded of the manifest"


@dataclass(frozen=True)
class Source:
    """What a file holds besides its features: (rows, dim) of these, columns (rows,), coords (rows, 2), attributes."""

    rows: int
    dim: int
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    coords: NDArray[np.float64] | None = None
    said: dict[str, Any] = field(default_factory=dict)


def plain(text: str, most: int = 200) -> str:
    """Return a text of unknown origin as one line that can be written."""
    text = visible(" ".join(str(text).split()))
    return text[:most] + ("..." if len(text) > most else "")


def headings(path: Path, present: Iterable[Any], wanted: str) -> dict[str, str]:
    """Return name in lower case -> name in the file, of those that match `wanted` (a regular expression).

    Raises UserError if two are one name.
    """
    there = {}
    for name in (name for name in present if isinstance(name, str)):  # HDF5 gives bytes where they are no UTF-8
        if re.fullmatch(wanted, name.lower()):
            if name.lower() in there:
                raise UserError(f"{path}: {there[name.lower()]} and {name} are one name: keep one")
            there[name.lower()] = name
    return there


def features_shape(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int]:
    """Return (N, D) of features of this shape. Raises UserError if they are not one row of numbers a patch."""
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


def coords_shape(path: Path, shape: tuple[int, ...] | None, rows: int) -> None:
    """Raise UserError unless coords are two for each row of features."""
    if shape not in ((rows, 2), (1, rows, 2)):
        raise UserError(f"{path}: coords of shape {shape} for {rows} rows of features: {ANEW}")


def coords_of(path: Path, values: NDArray[Any]) -> NDArray[np.float64]:
    """Return coords as float64 (N, 2). Raises UserError if these are no numbers."""
    if values.dtype.kind in "fiu" and not values.dtype.metadata:
        values = values.reshape(-1, 2).astype("float64")
        if np.isfinite(values).all():
            return values
    raise UserError(f"{path}: coords that are not numbers: {ANEW}")


def backed(path: Path, name: str, *, claimed: int, stored: int, room: int, ratio: int = 1) -> None:
    """Raise UserError if a file of `room` bytes, `stored` of them of `name`, cannot hold the bytes it claims."""
    if stored > room or claimed > ratio * stored:
        raise UserError(f"{path}: {name} claims {claimed:,} bytes, more than the file can hold: {OUT}")


def column_fits(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype, rows: int) -> None:
    """Raise UserError unless a column has a text or a number for each row of features."""
    if shape != (rows,):
        raise UserError(f"{path}: {name} of shape {shape} for {rows} rows of features: {ANEW}")
    if dtype.kind not in "iufUSO":
        raise UserError(f"{path}: {name} is neither text nor numbers ({plain(dtype)}): {ANEW}")


def column_of(path: Path, name: str, values: NDArray[Any], rows: int) -> NDArray[Any]:
    """Return a column of a file: numbers, or an array of objects: text, numbers and None."""
    column_fits(path, name, values.shape, values.dtype, rows)
    if values.dtype.kind in "iuf":
        return values.astype("float64" if values.dtype.kind == "f" else values.dtype.newbyteorder("="))
    words = np.empty(rows, dtype=object)
    words[:] = [_word(path, name, value) for value in values.tolist()]
    return words


def _word(path: Path, name: str, value: Any) -> Any:
    if isinstance(value, str | bytes):
        return (value if isinstance(value, bytes) else value.encode(errors="replace")).decode(errors="replace")
    if value is None or isinstance(value, int | float):
        return value
    raise UserError(f"{path}: {name} is neither text nor numbers ({type(value).__name__}): {ANEW}")


def steps(rows: int, width: int, most: int) -> Iterator[tuple[int, int]]:
    """Return (first, last + 1) of the rows to read at once; width: bytes of one."""
    step = max(1, min(most, AT_ONCE // width))
    return ((start, min(start + step, rows)) for start in range(0, rows, step))

"""HDF5 files of precomputed features: what they hold, and that all of it is really there and theirs."""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from stratamil.core.errors import UserError, few
from stratamil.features import precomputed_checks as checks

DEPTH = 5  # virtual data sets of virtual data sets


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    with h5py.File(path, "r", locking=False) as file:
        yield file


def describe_hdf5(path: Path, folder: Path) -> checks.Source:
    """Return what an HDF5 file holds besides its features; see precomputed_readers.describe."""
    with _opened(path) as file:
        dataset = _features(path, file, folder)
        rows, dim = checks.features_shape(path, dataset.shape, dataset.dtype)
        there, coords = [file, dataset], None
        for name in checks.headings(path, file, "coords").values():
            places = _linked(path, file, name, folder)
            if not isinstance(places, h5py.Dataset):
                raise UserError(f"{path}: coords are no dataset: {checks.ANEW}")
            checks.coords_shape(path, places.shape, rows)
            _written(path, name, places, folder)
            coords = checks.coords_of(path, places[:])
            there.append(places)
        said = {
            "extractor" if name in checks.ENCODER else name: value
            for item in there
            for name in (*checks.ENCODER, *checks.TILING, *checks.SCANNED)
            if name in item.attrs and (value := _said(name, item.attrs[name])) is not None
        }
        if (kind := _said("feat_type", file.attrs.get("feat_type", ""))) in ("slide", "patient"):
            raise UserError(f"{path}: features of a {kind}, not of patches: give those of its tiles")
        return checks.Source(rows, dim, {}, coords, said)


def blocks_of_hdf5(path: Path, folder: Path, most: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first row, numbers (n, D)) over an HDF5 file; see precomputed_readers.blocks."""
    with _opened(path) as file:
        dataset = _features(path, file, folder)
        rows, dim = checks.features_shape(path, dataset.shape, dataset.dtype)
        for start, end in checks.steps(rows, dim * dataset.dtype.itemsize, most):
            yield start, dataset[..., start:end, :].reshape(-1, dim)


def _features(path: Path, file: h5py.File, folder: Path) -> h5py.Dataset:
    """Return the features of an open HDF5 file, all of them written."""
    there = checks.headings(path, file, "|".join(checks.FEATURES))
    for name in (there[name] for name in checks.FEATURES if name in there):
        dataset = _linked(path, file, name, folder)
        if isinstance(dataset, h5py.Dataset):
            if dataset.shape is None:
                raise UserError(
                    f"{path}: {name} holds nothing (a null data set), as of a slide without tissue: {checks.OUT}"
                )
            checks.features_shape(path, dataset.shape, dataset.dtype)
            _written(path, name, dataset, folder)
            return dataset
    raise UserError(f"{path}: no dataset {' or '.join(checks.FEATURES)}: it has {checks.plain(few(file)) or 'none'}")


def _linked(path: Path, file: h5py.File, name: str, folder: Path) -> Any:
    """Return an object of an open HDF5 file, which may be a link to another file below `folder`."""
    try:
        dataset = file[name]
    except Exception:
        if isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise
        raise UserError(f"{path}: {name} is a link that leads nowhere: copy the data into this file") from None
    _inside(path, name, dataset.file.filename, folder)
    return dataset


def _inside(path: Path, name: str, target: Path | str, folder: Path) -> None:
    target = Path(target).resolve()
    if target != Path(path).resolve() and not target.is_relative_to(Path(folder).resolve()):
        raise UserError(
            f"{path}: {name} lies in {checks.plain(target)}, outside of {folder}: copy the data into this file, "
            "or set features.folder"
        )


def _written(path: Path, name: str, dataset: h5py.Dataset, folder: Path, depth: int = 0) -> None:
    """Raise UserError unless all of a data set was written, fits the file, and lies in it or below `folder`.

    HDF5 gives the fill value, mostly 0, for what was never written and for sources that are gone.
    """
    claimed = math.prod(dataset.shape) * dataset.dtype.itemsize
    settings = dataset.id.get_create_plist()
    if dataset.is_virtual:
        _virtual(path, name, dataset, folder, depth)
    elif dataset.external:
        for raw, offset, size in dataset.external:
            _inside(path, name, raw, folder)
            if not Path(raw).is_file() or Path(raw).stat().st_size < offset + min(size, claimed):
                raise UserError(
                    f"{path}: {name} lies in {checks.plain(raw)}, gone or too short: copy it into this file"
                )
    elif settings.get_layout() != h5py.h5d.COMPACT:
        due = [-(-n // chunk) for n, chunk in zip(dataset.shape, dataset.chunks or dataset.shape)]
        there = dataset.id.get_num_chunks() if dataset.chunks else int(dataset.id.get_offset() is not None)
        if there < math.prod(due):
            raise UserError(
                f"{path}: {name}: {there:,} of {math.prod(due):,} parts were written, the rest would be 0: {checks.OUT}"
            )
        room = os.path.getsize(dataset.file.filename)
        ratio = checks.RATIO if settings.get_nfilters() else 1
        checks.backed(path, name, claimed=claimed, stored=dataset.id.get_storage_size(), room=room, ratio=ratio)


def _virtual(path: Path, name: str, dataset: h5py.Dataset, folder: Path, depth: int) -> None:
    """Do the same for a virtual data set: every row must be in a source that is there."""
    axis, whole = dataset.ndim - 2, f"{path}: {name} is a virtual data set"
    if depth == DEPTH:
        raise UserError(f"{whole} of virtual data sets without end: copy the data into this file")
    covered = np.zeros(dataset.shape[axis], dtype=bool)
    for part in dataset.virtual_sources():
        own = part.file_name == "."
        file = dataset.file.filename if own else Path(dataset.file.filename).parent / part.file_name
        _inside(path, name, file, folder)
        if not Path(file).is_file():
            raise UserError(
                f"{whole} whose source {checks.plain(part.file_name)} is gone: copy the data into this file"
            )
        with _opened(file) as other:
            if part.dset_name not in other or not isinstance(source := other[part.dset_name], h5py.Dataset):
                raise UserError(
                    f"{whole}, and {checks.plain(part.file_name)} has no {checks.plain(part.dset_name)}: {checks.ANEW}"
                )
            _inside(path, name, source.file.filename, folder)
            low, high = (np.array(bound) for bound in part.vspace.get_select_bounds())
            box = high - low + 1
            rest = np.delete(box, axis), np.delete(dataset.shape, axis)
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


def _said(name: str, value: Any) -> Any:
    """Return an attribute as JSON has it, a number of the tiling as one (`20x`, `[256 256]`); None of nothing."""
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray) and value.size and (value == value.flat[0]).all():
        value = value.flat[0]
    value = _plain(value)
    number = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*[xX]?", value) if isinstance(value, str) else None
    return value if number is None or name in checks.ENCODER else float(number[1])


def _plain(value: Any) -> Any:
    """Return an attribute as JSON has it."""
    value = value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    return checks.plain(value.decode(errors="replace") if isinstance(value, bytes) else value)

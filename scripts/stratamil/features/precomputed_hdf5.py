"""HDF5 files of precomputed features: what they hold, and that all of it is really there and theirs."""

import math
import os
import re
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from stratamil.core.errors import UserError, few
from stratamil.features.precomputed_checks import (
    ANEW,
    ENCODER,
    FEATURES,
    OUT,
    RATIO,
    SCANNED,
    TILING,
    Source,
    backed,
    coords_of,
    coords_shape,
    features_shape,
    headings,
    plain,
    steps,
)

DEPTH = 5  # virtual data sets of virtual data sets


@contextmanager
def _opened(path):
    with h5py.File(path, "r", locking=False) as file:
        yield file


def describe_hdf5(path, folder):
    with _opened(path) as file:
        found = _features(path, file, folder)
        rows, dim = features_shape(path, found.shape, found.dtype)
        there, coords = [file, found], None
        for name in headings(path, file, "coords").values():
            places = _linked(path, file, name, folder)
            if not isinstance(places, h5py.Dataset):
                raise UserError(f"{path}: coords are no dataset: {ANEW}")
            coords_shape(path, places.shape, rows)
            _written(path, name, places, folder)
            coords = coords_of(path, places[:])
            there.append(places)
        said = {
            "extractor" if name in ENCODER else name: value
            for item in there
            for name in (*ENCODER, *TILING, *SCANNED)
            if name in item.attrs and (value := _said(name, item.attrs[name])) is not None
        }
        return Source(rows, dim, {}, coords, said)


def blocks_of_hdf5(path, folder, most):
    with _opened(path) as file:
        found = _features(path, file, folder)
        rows, dim = features_shape(path, found.shape, found.dtype)
        for start, end in steps(rows, dim * found.dtype.itemsize, most):
            yield start, found[..., start:end, :].reshape(-1, dim)


def _features(path, file, folder):
    """The features of an open HDF5 file, all of them written."""
    there = headings(path, file, "|".join(FEATURES))
    for name in (there[name] for name in FEATURES if name in there):
        found = _linked(path, file, name, folder)
        if isinstance(found, h5py.Dataset):
            if found.shape is None:
                raise UserError(f"{path}: {name} holds nothing (a null data set), as of a slide without tissue: {OUT}")
            features_shape(path, found.shape, found.dtype)
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
        backed(path, name, claimed, found.id.get_storage_size(), room, RATIO if settings.get_nfilters() else 1)


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

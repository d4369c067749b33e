"""Feature files at random, for hypothesis: HDF5 trees of any type and shape, and damage to sound files."""

from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pandas as pd
from hypothesis import strategies as st

from stratamil.core import isolated
from stratamil.features import precomputed, precomputed_checks

NAMES = st.sampled_from(["features", "feats", "coords", "Features", "x", "features/y", "é"])
TYPES = st.sampled_from(
    ["f2", "f4", ">f8", "i1", "u2", "i8", ">i4", "c8", "?", "S3", "longdouble", h5py.string_dtype(), h5py.ref_dtype,
     h5py.vlen_dtype("f4"), h5py.enum_dtype({"a": 1}), [("a", "f4"), ("b", "S2")], ("f4", (2,))]
)  # fmt: skip
SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
ATTRIBUTES = st.dictionaries(
    st.sampled_from([*precomputed_checks.ENCODER, *precomputed_checks.TILING, "mpp"]),
    st.one_of(st.floats(), st.text(), st.integers(-(2**63), 2**63 - 1), st.just(h5py.Empty("f4"))),
    max_size=3,
)


def read(path: Path) -> np.ndarray:
    """Return all features of a file, in the order of its rows."""
    with mock.patch.object(isolated, "PATIENCE", 10):  # now and then damage sends HDF5 round in circles
        source = precomputed.describe(path)
        values = np.concatenate([block for _, block in precomputed.blocks(path)])
    assert values.shape == (source.rows, source.dim)
    return values


@st.composite
def _objects(draw):
    kind = draw(st.sampled_from(["data", "data", "data", "empty", "null", "group", "soft", "external"]))
    shape, dtype = draw(SHAPES), draw(TYPES)
    chunked, packed = draw(st.booleans()), draw(st.sampled_from([None, "gzip", "lzf"]))
    target = draw(NAMES)

    def write(file, name):
        if kind == "null":
            return file.create_dataset(name, data=h5py.Empty("f4"))
        if kind in ("soft", "external"):
            file[name] = h5py.SoftLink(target) if kind == "soft" else h5py.ExternalLink("gone.h5", target)
            return None
        if kind == "group":
            return file.create_group(name)
        options = {"chunks": True, "compression": packed} if chunked and 0 not in shape and shape else {}
        found = file.create_dataset(name, shape, dtype, **options)
        if kind == "data" and found.size and found.dtype.kind in "fiu" and not found.dtype.metadata:
            found[...] = 1
        return found

    return write


@st.composite
def _trees(draw):
    objects, attributes = draw(st.dictionaries(NAMES, _objects(), max_size=4)), draw(ATTRIBUTES)

    def write(path):
        with h5py.File(path, "w") as file:
            for name, make in objects.items():
                try:
                    made = make(file, name)
                    for key, value in attributes.items():
                        (file if made is None else made).attrs[key] = value
                except (ValueError, TypeError, OSError, KeyError, RuntimeError):
                    pass  # HDF5 does not write it

    return write


trees = _trees()


def _hdf5(folder, **options):
    values = np.random.default_rng(0).normal(size=(40, 16)).astype("f4")
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("features", data=values, **options)
        file.create_dataset("coords", data=np.arange(80).reshape(40, 2), **options)
        file["features"].attrs["encoder"] = "uni"
    return folder / "a.h5"


def _npz(folder):
    values = np.random.default_rng(0).normal(size=(40, 16))
    np.savez_compressed(folder / "a.npz", features=values, case=np.array(["3"] * 40), coords=np.ones((40, 2)))
    return folder / "a.npz"


def _parquet(folder):
    values = np.random.default_rng(0).normal(size=(40, 4))
    table = pd.DataFrame(values, columns=["f0", "f1", "f2", "f3"]).assign(case="3", x=1.0, y=2.0)
    table.to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


layouts = st.sampled_from(
    [_hdf5, lambda folder: _hdf5(folder, chunks=(8, 2), compression="gzip", shuffle=True), _npz, _parquet]
)


@st.composite
def _damage(draw):
    """Bytes changed, most of them at the beginning or the end, where the structure is; or an end that is missing."""
    share = st.one_of(st.floats(0, 0.1), st.floats(0.9, 1), st.floats(0, 1))
    places = draw(st.lists(st.tuples(share, st.integers(0, 255)), min_size=1, max_size=8))
    cut = draw(st.one_of(st.just(1.0), st.just(1.0), st.floats(0, 1)))

    def apply(path):
        content = bytearray(path.read_bytes())
        for where, value in places:
            content[min(int(where * len(content)), len(content) - 1)] = value
        path.write_bytes(content[: int(cut * len(content))])
        return path

    return apply


damaged = _damage()

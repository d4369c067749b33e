"""Files of precomputed features as the tools write them: TRIDENT, CLAM, STAMP, npz, parquet, and any HDF5."""

import h5py
import numpy as np
import pandas as pd
import pytest
from factories import GRAMMAR

from stratamil.core.errors import UserError
from stratamil.features import precomputed

D = 6


def made(n=5, d=D, seed=0):
    """float32 (n, d) features and (n, 2) coordinates."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype("float32"), rng.integers(0, 90_000, (n, 2))


def trident(path, values, coords, leading=False):
    """One file a slide; `name` is that of the slide, not of the encoder."""
    with h5py.File(path, "w") as file:
        file["features"] = values[None] if leading else values
        file["features"].attrs.update({"name": path.stem, "savetodir": "/scratch/features_uni_v1"})
        file["coords"] = coords
        file["coords"].attrs.update({"patch_size": 256, "target_magnification": 20, "name": path.stem, "overlap": 0})


def clam(path, values, coords):
    """float32, one chunk a row, appended batch by batch, no attributes."""
    with h5py.File(path, "w") as file:
        for name, data in (("features", values), ("coords", coords.astype("int32"))):
            file.create_dataset(name, data=data, maxshape=(None, data.shape[1]), chunks=(1, data.shape[1]))


def stamp(path, values, coords, extractor="uni2-0123abcd", unit="um"):
    """float16 `feats`, coordinates in um, attributes of the file."""
    with h5py.File(path, "w") as file:
        file["coords"], file["feats"] = coords.astype("float32"), values.astype("float16")
        file.attrs.update({"stamp_version": "2.3.0", "extractor": extractor, "unit": unit, "tile_size_um": 256.0})
        file.attrs.update({"tile_size_px": 224, "code_hash": path.stem, "feat_type": "tile"})


def own(n):
    """Columns of a file of several slices."""
    return {"case": ["038", "2"] * n, "stain": ["HE"] * 2 * n, "slice": ["match1"] * 2 * n}


def npz(path, values, coords):
    assert len(values) % 2 == 0
    columns = {name: np.array(column) for name, column in own(len(values) // 2).items()}
    np.savez(path, features=values, coords=coords, instance=np.arange(len(values)) + 100, **columns)


def parquet(path, values, coords, lists=False):
    table = pd.DataFrame(own(len(values) // 2) | {"instance": np.arange(len(values)) + 100})
    table["x"], table["y"] = coords.T
    more = {"embedding": list(values)} if lists else {f"f{i}": values[:, i] for i in range(values.shape[1])}
    pd.concat([table, pd.DataFrame(more)], axis=1).to_parquet(path)


def listed(folder, *rows, head="file,case,stain,slice", encoding="utf-8"):
    """A manifest in `folder`."""
    path = folder / "manifest.csv"
    path.write_bytes("\n".join([head, *rows, ""]).encode(encoding))
    return path


def h5(**datasets):
    """A function that writes these datasets."""

    def write(path):
        with h5py.File(path, "w") as file:
            for name, data in datasets.items():
                file[name] = data

    return write


X, XY = made()


def scan(path, encoder=None):
    return precomputed.scan(path, path.parent, GRAMMAR, encoder)


def problems(path):
    with pytest.raises(UserError) as error:
        scan(path)
    return error.value.problems

"""The seal of a feature file: any change of what HDF5 would believe is noticed before HDF5 sees it."""

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratamil.core.errors import UserError
from stratamil.features import seal, store
from stratamil.features.measures import Measures

MEASURED = [1.5] * len(Measures._fields)


def shard(path):
    """Write a shard of 15 patches; return its bytes and where its matrices lie."""
    rows = [(case, "h&e", "match_1", n, f"{case}_{n}.png", 74, 74, 8, 0, *MEASURED) for case in "123" for n in range(5)]
    table = pd.DataFrame(rows, columns=[*store.COLUMNS, *store.FACTS])
    none = pd.DataFrame(columns=list(store.UNREADABLE), dtype=str)
    colour = np.ones((15, store.COLOUR), np.float16)
    store.write(path, np.ones((15, 6), np.float16), table, none, {"encoder": "x"}, colour)
    with h5py.File(path) as file:
        inside = [
            range(file[n].id.get_offset(), file[n].id.get_offset() + file[n].id.get_storage_size()) for n in MATRICES
        ]
    return path.read_bytes(), inside


MATRICES = ("features", "colour")


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_every_changed_byte_but_a_number_of_a_matrix_is_noticed(tmp_path, data):
    path = tmp_path / "shard_00.h5"
    whole, inside = shard(path)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    if any(at in place for place in inside):
        seal.check(path)
    else:
        with pytest.raises(UserError, match="delete it and run embed again"):
            store.read([path])


@pytest.mark.parametrize("n", [0, 100, seal.SIZE, 3000])
def test_a_file_cut_short_is_noticed(tmp_path, n):
    path = tmp_path / "shard_00.h5"
    whole, _ = shard(path)
    path.write_bytes(whole[:n])
    with pytest.raises(UserError, match=r"shard_00\.h5: not a feature file of this workflow"):
        store.read([path])


def test_a_file_of_an_earlier_version_is_one_line(tmp_path):
    with h5py.File(tmp_path / "shard_00.h5", "w") as file:
        file["features"] = np.ones((3, 2), np.float16)
    with pytest.raises(UserError, match="earlier version"):
        store.read([tmp_path / "shard_00.h5"])

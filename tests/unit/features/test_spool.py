"""A matrix on disk: what is put in comes out, by slices."""

import numpy as np
import pytest

from stratamil.features.spool import Spool


@pytest.mark.parametrize("places", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 3, 0, 4, 1]])
def test_rows_come_out_as_they_were_put_in_whatever_their_order(places):
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float16)
    spool = Spool(5, 3)
    spool.put(np.array(places[:2]), values[:2])
    spool.put(np.array(places[2:]), values[2:])
    expected = np.empty_like(values)
    expected[places] = values
    assert np.array_equal(np.asarray(spool), expected) and np.array_equal(spool[1:3], expected[1:3])
    assert spool.shape == (5, 3) and spool[5:9].shape == (0, 3)


def test_no_rows_are_a_matrix_too(tmp_path):
    spool = Spool(0, 3, tmp_path)
    spool.put(np.array([], int), np.empty((0, 3), np.float16))
    assert np.asarray(spool).shape == (0, 3) and not list(tmp_path.iterdir())

"""Damaged tables and split files in great number: whatever is in them, a user gets one line. Minutes long."""

import numpy as np
import pytest
from seeds import SEED
from test_splits import fuzz as fuzz_splits
from test_tables import fuzz as fuzz_tables


@pytest.mark.long
def test_labels_and_own_tables(tmp_path):
    fuzz_tables(tmp_path, seed=SEED, n=20_000)


@pytest.mark.long
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_split_files(tmp_path, save):
    fuzz_splits(tmp_path, save, seed=SEED, n=20_000)

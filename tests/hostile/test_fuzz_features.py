"""Thousands of random and damaged feature files: each is read, or refused in one line."""

import pytest
from fuzz_features import damaged, layouts, trees
from hypothesis import HealthCheck, given, seed, settings
from seeds import SEED
from test_precomputed_readers import assert_line_or_rows

MANY = settings(deadline=None, max_examples=2000, suppress_health_check=list(HealthCheck), database=None)


@pytest.mark.long
@seed(SEED)
@MANY
@given(tree=trees)
def test_hdf5_trees(tmp_path, tree):
    tree(tmp_path / "a.h5")
    assert_line_or_rows(tmp_path / "a.h5")


@pytest.mark.long
@seed(SEED)
@MANY
@given(layout=layouts, damage=damaged)
def test_damage(tmp_path, layout, damage):
    assert_line_or_rows(damage(layout(tmp_path)))

"""A patch's contribution to the margin of a class: one formula, whether of an array or of a table."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratamil.explain import contributions


@given(classes=st.integers(2, 5), patches=st.integers(1, 9), seed=st.integers(0, 99))
def test_it_is_the_contribution_less_the_mean_of_the_others_of_an_array_and_of_a_table(classes, patches, seed):
    values = np.random.default_rng(seed).normal(size=(patches, classes))
    names = [f"class_{k}" for k in range(classes)]
    table = pd.DataFrame(values, columns=[f"contribution_{name}" for name in names]).assign(effective_weight=1.0)
    of_each = [contributions.margin_contribution(values, k) for k in range(classes)]
    for k, (name, own) in enumerate(zip(names, of_each)):
        np.testing.assert_allclose(own, values[:, k] - (values.sum(1) - values[:, k]) / (classes - 1), atol=1e-12)
        np.testing.assert_allclose(
            contributions.of_table(table.sample(frac=1, axis=1, random_state=0), name), own, atol=1e-12
        )
    np.testing.assert_allclose(sum(of_each), 0, atol=1e-12)


def test_two_classes_have_opposite_margins_and_an_unknown_one_has_none():
    values = np.array([[2.0, -1.0], [0.5, 0.5]])
    assert list(contributions.margin_contribution(values, 1)) == [-3, 0]
    assert list(contributions.margin_contribution(values, 0)) == [3, 0]
    with pytest.raises(ValueError):
        contributions.of_table(pd.DataFrame({"contribution_a": [1.0]}), "b")

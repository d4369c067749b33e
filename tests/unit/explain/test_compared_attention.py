"""How alike two studies attend."""

import numpy as np
import pandas as pd
import pytest

from stratamil.explain.compared_attention import agreement

PATHS = [f"p{i:02d}" for i in range(40)]


def weights(values, paths=PATHS):
    return pd.Series(values, index=pd.Index(paths, name="path"))


def test_the_same_order_the_reverse_and_half_of_the_top():
    rising = np.arange(40.0)
    swapped = rising.copy()
    swapped[[39, 0]] = swapped[[0, 39]]  # of the two at the top one goes
    first = dict.fromkeys(("same", "reverse", "half"), weights(rising))
    second = {"same": weights(rising * 2), "reverse": weights(-rising), "half": weights(swapped)}
    table, missing = agreement(first, second, 5)
    assert missing == 0 and set(table["n"]) == {40} and set(table["chance"]) == {0.05}
    assert table.loc["same", ["correlation", "overlap"]].tolist() == [pytest.approx(1), 1]
    assert table.loc["reverse", ["correlation", "overlap"]].tolist() == [pytest.approx(-1), 0]
    assert table.loc["half", "overlap"] == 0.5


def test_patches_of_one_alone_are_counted_and_cases_of_one_left_out():
    table, missing = agreement(
        {"a": weights(range(40)), "b": weights([1.0], ["x"]), "c": weights([1.0], ["x"])},
        {"a": weights(range(38), PATHS[2:]), "b": weights([1.0], ["x"])},
        5,
    )
    assert list(table.index) == ["a"] and table.loc["a", "n"] == 38 and missing == 2

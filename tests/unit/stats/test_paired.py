"""Tests of two models on the same cases, against their formulas written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratamil.stats import metrics, paired
from stratamil.stats.intervals import Estimate

SCORES = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=30)


def by_hand(y, a, b):
    """Variance of the difference of two AUROCs from the pairs of a positive and a negative case."""
    wins = [np.sign(s[y][:, None] - s[~y]) / 2 + 0.5 for s in (a, b)]
    gap = wins[1] - wins[0]
    return gap.mean(1).var(ddof=1) / y.sum() + gap.mean(0).var(ddof=1) / (~y).sum()


@given(SCORES)
def test_delong_is_the_variance_of_the_placements(rows):
    y, a, b = (np.array(column) for column in zip(*rows))
    found, back = paired.delong(y, a, b), paired.delong(y, b, a)
    if min(y.sum(), (~y).sum()) == 0:
        assert found.value is None
        return
    assert found.value == pytest.approx(metrics.roc_auc(y, b) - metrics.roc_auc(y, a))
    assert back.value == pytest.approx(-found.value)
    if min(y.sum(), (~y).sum()) < 2 or by_hand(y, a, b) < 1e-20:
        assert found.low is None
    else:
        assert (found.high - found.low) / 2 == pytest.approx(1.959964 * np.sqrt(by_hand(y, a, b)), rel=1e-6)


def test_p_goes_with_the_interval():
    assert paired.p_value(Estimate(0.1, 0.0, 0.2)) == pytest.approx(0.05)
    assert paired.p_value(Estimate(-0.1, -0.2, 0.0)) == pytest.approx(0.05)
    assert paired.p_value(Estimate(0.1)) is None


def test_mcnemar_counts_who_is_right_alone():
    first = [True] * 5 + [True] + [False] * 9 + [False] * 2
    second = [True] * 5 + [False] + [True] * 9 + [False] * 2
    assert paired.mcnemar(first, second) == (5, 1, 9, 2, pytest.approx(0.021484375))  # 2 (C(10,0) + C(10,1)) / 2^10
    assert paired.mcnemar(first, first).p == 1


def test_holm():
    assert paired.holm([0.01, None, 0.04, 0.03]) == [
        pytest.approx(0.03),
        None,
        pytest.approx(0.06),
        pytest.approx(0.06),
    ]
    assert paired.holm([0.9, 0.8]) == [1, 1]

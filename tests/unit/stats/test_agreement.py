"""Kappa of readers against published examples and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from stratamil.stats import agreement

# Ten subjects, fourteen raters, five categories: the example of the statistic's article in Wikipedia, kappa 0.210.
RATINGS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def test_fleiss_as_published():
    assert agreement.fleiss(RATINGS) == pytest.approx(0.210, abs=5e-4)


def test_cohen_as_scikit_learn():
    random = np.random.default_rng(0)
    for _ in range(5):
        a = random.integers(0, 3, 40)
        b = np.where(random.random(40) < 0.6, a, random.integers(0, 3, 40))
        assert agreement.cohen(a, b) == pytest.approx(cohen_kappa_score(a, b))


def test_items_may_have_different_readers_and_perfect_agreement_is_one():
    assert agreement.fleiss([[2, 0], [0, 3], [5, 0]]) == pytest.approx(1)
    assert agreement.fleiss([[1, 1], [1, 1]]) == pytest.approx(-1)
    with pytest.raises(ValueError, match="fewer than two"):
        agreement.fleiss([[1, 0]])


def test_one_category_alone_defines_no_kappa():
    assert agreement.fleiss([[3, 0], [2, 0]]) is None and agreement.fleiss(np.empty((0, 2))) is None
    assert agreement.cohen([1, 1], [1, 1]) is None and agreement.cohen([], []) is None

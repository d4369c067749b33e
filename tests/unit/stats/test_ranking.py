"""How many patches are the top of a case: one formula for tables, perturbation, findings and the instance loss."""

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from stratamil.stats.ranking import top_count

counts = st.integers(1, 100_000)
percents = st.integers(1, 10_000).map(lambda hundredths: hundredths / 100)


@given(n=counts, percent=percents)
def test_it_is_the_exact_share_rounded_up(n, percent):
    """In rational numbers, of the percent as it is written, whatever floats make of it."""
    assert top_count(n, percent) == math.ceil(n * Fraction(str(percent)) / 100)


@given(n=counts, percent=percents)
def test_a_share_as_a_fraction_gives_the_same(n, percent):
    assert top_count(n, 100 * (percent / 100)) == top_count(n, percent)


@given(n=counts, percent=st.floats(1e-300, 100))
def test_there_is_at_least_one_and_never_more_than_there_are(n, percent):
    assert 1 <= top_count(n, percent) <= n


@given(n=st.integers(1, 10_000), more=st.integers(0, 100), percent=percents)
def test_more_patches_never_have_a_smaller_top(n, more, percent):
    assert top_count(n, percent) <= top_count(n + more, percent)
    assert top_count(n, 100) == n

"""Words for readers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratamil.core import wording


@pytest.mark.parametrize(
    "counts, shares",
    [([31, 20], [61, 39]), ([1, 1, 1], [34, 33, 33]), ([2, 1], [67, 33]), ([0, 0], [0, 0]), ([5], [100]), ([], [])],
)
def test_shares_of_a_whole(counts, shares):
    assert wording.percentages(counts) == shares


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9).filter(any))
def test_shares_of_a_whole_add_up_to_100_and_are_each_rounded(counts):
    shares = wording.percentages(counts)
    assert sum(shares) == 100
    assert all(abs(share - 100 * n / sum(counts)) < 1 for share, n in zip(shares, counts))


@pytest.mark.parametrize(
    "low, high, said",
    [
        (-0.0049, 0.12, "−0.005 to 0.12"),
        (0.004, 0.2, "0.004 to 0.20"),
        (-0.2, 0.00026, "−0.20 to 0.0003"),
        (-0.2, -0.0, "−0.20 to 0.00"),
        (0.0, 0.005, "0.00 to 0.01"),
        (-1e-17, 1e-17, "0.00 to 0.00"),
    ],
)
def test_an_end_of_an_interval_shows_on_which_side_of_0_it_lies(low, high, said):
    assert wording.span(low, high, 2) == said


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_an_interval_that_holds_0_reads_so_and_one_that_does_not_does_not(a, b):
    low, high = sorted((round(a, 5), round(b, 5)))
    read = [float(text.replace("−", "-")) for text in wording.span(low, high, 2).split(" to ")]
    assert (read[0] <= 0 <= read[1]) == (low <= 0 <= high)
    assert "−0.00 " not in wording.span(low, high, 2) + " "


def test_counts_and_lists():
    assert [wording.ends("27", high) for high in ("27", "34")] == ["27", "27 to 34"]
    assert [wording.n_of(n, "patch") for n in (1, 1200)] == ["1 patch", "1,200 patches"]
    assert [wording.listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_what_an_ensemble_averages():
    assert [wording.averaged(*each) for each in ((1,), (3,), (1, 2), (3, 2))] == [
        "",
        "3 seeds",
        "2 repeats",
        "2 repeats x 3 seeds",
    ]


def test_a_slice_is_called_one():
    assert (wording.of_slice("C"), wording.of_slice("Slice_2")) == ("slice C", "Slice_2")

"""Sums over the rows that belong together, against loops over the segments."""

import pytest
import torch

from stratamil.mil import segments
from stratamil.mil.segments import Segments

SIZES = [3, 1, 4]
OF = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))


@pytest.mark.parametrize("in_order", [False, True])
def test_sums_and_means_are_those_of_loops_as_are_their_gradients(in_order):
    """in_order: the way of a GPU, which computes on a CPU, too."""
    rows, x = Segments(OF, 3), torch.randn(8, 2, 5, dtype=torch.double, requires_grad=True)
    total = segments._in_order(x, rows.offsets) if in_order else rows.sum(x)
    parts = x.split(SIZES)
    torch.testing.assert_close(total, torch.stack([part.sum(0) for part in parts]))
    torch.testing.assert_close(rows.mean(x), torch.stack([part.mean(0) for part in parts]))
    assert rows.sizes.tolist() == SIZES
    weights = torch.randn(3, 2, 5, dtype=torch.double)
    (total * weights).sum().backward()
    assert torch.equal(x.grad, weights[OF])


def test_a_softmax_is_that_of_each_segment_as_is_its_gradient():
    scores = (10 * torch.randn(8, 2, dtype=torch.double)).requires_grad_()
    weights, summed = Segments(OF, 3).softmax(scores)
    parts = scores.split(SIZES)
    torch.testing.assert_close(weights, torch.cat([torch.softmax(part, 0) for part in parts]))
    torch.testing.assert_close(summed, torch.stack([torch.logsumexp(part, 0) for part in parts]))
    assert torch.autograd.gradcheck(Segments(OF, 3).softmax, scores)


def test_a_row_alone_in_its_segment_has_no_gradient_in_its_weight():
    scores = torch.randn(8, 2, requires_grad=True)
    weights, _ = Segments(OF, 3).softmax(scores)
    (weights * torch.randn(8, 2)).sum().backward()
    assert not scores.grad[3].any() and scores.grad[:3].all()

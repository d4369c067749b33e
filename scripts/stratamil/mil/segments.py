"""Sums over the rows that belong together, such as the patches of a slice: the same bits at every run, on a GPU too."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor


class Segments:
    """n segments of rows that lie after one another.

    of: (N,) the segment of each row; it counts up from 0 without gaps.
    """

    def __init__(self, of: Tensor, n: int) -> None:
        self.of, self.n = of, n

    @cached_property
    def offsets(self) -> Tensor:
        """Where each segment begins, and N after the last: (n + 1,). Counting rows would wait for a GPU."""
        return torch.searchsorted(self.of, torch.arange(self.n + 1, device=self.of.device))

    @property
    def sizes(self) -> Tensor:
        """Rows of each segment (n,)."""
        return self.offsets.diff()

    def sum(self, x: Tensor) -> Tensor:
        """Return the sums (n, ...) of the rows of x (N, ...)."""
        return _in_order(x, self.offsets) if x.is_cuda else x.new_zeros(self.n, *x.shape[1:]).index_add(0, self.of, x)

    def mean(self, x: Tensor) -> Tensor:
        """Return the means (n, ...) of the rows of x (N, ...)."""
        return self.sum(x) / self.sizes.view(-1, *[1] * (x.dim() - 1))

    def softmax(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return the softmax (N, M) of scores (N, M) within each segment, and the log sums of exponentials (n, M)."""
        return _Softmax.apply(scores, self)

    def spread(self, values: Tensor) -> Tensor:
        """Return each row's own of the values (n, ...) of the segments, (N, ...), to be used without a gradient."""
        return values.index_select(0, self.of)


class _Softmax(torch.autograd.Function):
    """Segments.softmax; where a segment has one row, the gradient of its weight is 0, not what rounding leaves."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, rows: Segments) -> tuple[Tensor, Tensor]:
        lowest = scores.new_full((rows.n, scores.shape[1]), -torch.inf)
        highest = lowest.scatter_reduce(0, rows.of[:, None].expand_as(scores), scores, "amax")
        exponential = torch.exp(scores - rows.spread(highest))
        total = rows.sum(exponential)
        weights = exponential / rows.spread(total)
        ctx.save_for_backward(weights)
        ctx.rows = rows
        return weights, highest + torch.log(total)

    @staticmethod
    def backward(ctx: Any, of_weights: Tensor, of_sums: Tensor) -> tuple[Tensor, None]:
        (weights,), rows = ctx.saved_tensors, ctx.rows
        return weights * (of_weights - rows.spread(rows.sum(weights * of_weights)) + rows.spread(of_sums)), None


def _in_order(x: Tensor, offsets: Tensor) -> Tensor:
    """Return the sums of rows, added one after the other: a GPU's index_add adds in another order at each run."""
    return torch.segment_reduce(x.contiguous(), "sum", offsets=offsets, unsafe=True)

"""Layers of several members side by side, and a dropout whose draws are a member's own.

M members; N rows.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stratamil.mil import cpu

# SplitMix64 (Steele, Lea, Flood 2014), as signed numbers.
STRIDE, FIRST, SECOND = (value - 2**64 for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
PACKED = 4  # draws of 16 bits in one number


class Linear(nn.Module):
    """M linear layers: weight (M, F, E), bias (M, F). Each is drawn as nn.Linear draws itself."""

    def __init__(self, dim: int, width: int, *, bias: bool = True) -> None:
        super().__init__()
        drawn = nn.Linear(dim, width, bias)
        self.weight = nn.Parameter(drawn.weight.detach()[None])
        self.bias = nn.Parameter(drawn.bias.detach()[None]) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, M, F) of x: rows (N, E) that all members share, in one product, or rows (N, M, E) of each."""
        rows, weight, bias = cpu.padded(x), self.weight, self.bias
        if x.dim() == 2:
            flat = nn.functional.linear(rows, weight.flatten(0, 1), None if bias is None else bias.flatten())
            return cpu.first(flat.unflatten(1, weight.shape[:2]), len(x))
        rows = rows.transpose(0, 1)
        result = torch.bmm(rows, weight.mT) if bias is None else torch.baddbmm(bias[:, None], rows, weight.mT)
        return cpu.first(result.transpose(0, 1), len(x))


def dropout(x: Tensor, shares: Sequence[float], keys: Tensor | None) -> Tensor:
    """Return x (N, M, E) with each value zeroed with a member's probability p, the others divided by 1 - p.

    shares: M probabilities. keys: (M,) int64, a member's own; its draws depend on nothing else and are the same on
    every device. Without keys nothing is dropped.
    """
    if keys is None or not any(shares):
        return x
    least = [min(round(p * 2**16), 2**16 - 1) - 2**15 for p in shares]  # of a draw that is kept
    scale = [1 / (1 - p) for p in shares]
    drawn = draws(keys, len(x), x.shape[2])
    if len(set(shares)) == 1:
        return x * (drawn >= least[0]).to(x.dtype).mul_(scale[0])
    kept = drawn >= torch.tensor(least, dtype=drawn.dtype, device=x.device)[:, None]
    return x * kept.to(x.dtype).mul_(torch.tensor(scale, dtype=x.dtype, device=x.device)[:, None])


def draws(keys: Tensor, n: int, width: int) -> Tensor:
    """Return int16 numbers (N, M, E), uniform: of each member the SplitMix64 sequence that its key seeds."""
    packed = -(-width // PACKED)
    place = torch.arange(1, n * packed + 1, device=keys.device).mul_(STRIDE).view(n, 1, packed)
    z = place + keys[:, None]
    for shift, factor in ((30, FIRST), (27, SECOND)):
        z.bitwise_xor_(_shifted(z, shift)).mul_(factor)
    return z.bitwise_xor_(_shifted(z, 31)).view(torch.int16)[..., :width]


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Return z shifted to the right, zeros coming in: torch's own shift repeats the sign."""
    return (z >> bits).bitwise_and_(2 ** (64 - bits) - 1)

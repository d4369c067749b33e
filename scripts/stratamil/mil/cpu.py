"""What makes the model fast on a CPU, kept out of model.py; none of it changes what the model computes.

Times are medians on one core of an AMD EPYC.
"""

import torch
from torch import Tensor, nn

ROUND = 128  # the rows of a bf16 product are a multiple of this
BLOCK = 64  # rows that are standardised at once


def standardised(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return (x - mean) * scale in the precision of the product to come; in bf16 on a CPU, `padded`.

    x: (P, D) features, float16 as stored. mean, scale: (D,).
    A block of rows at a time stays in the CPU's cache and needs no second matrix: 2,800 patches of 4,096 features take
    7 ms into bf16 and 35 ms into float32, as a plain formula 101 and 94 ms.
    """
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else mean.dtype
    result = torch.empty(_rows(len(x), dtype, kind), x.shape[1], dtype=dtype, device=x.device)
    result[len(x) :] = 0
    size = BLOCK if kind == "cpu" else max(len(x), 1)
    for begin in range(0, len(x), size):
        stored, place = x[begin : begin + size], result[begin : min(begin + size, len(x))]
        # In place where the precision allows.
        block = place.copy_(stored) if dtype == mean.dtype else stored.to(mean.dtype, copy=True)
        block.sub_(mean).mul_(scale)
        if block is not place:
            place.copy_(block)
    return result


def padded(x: Tensor) -> Tensor:
    """Return x (N, ...) and, in bf16 on a CPU, rows of zeros after it, up to a multiple of `ROUND`.

    A CPU with bf16 instructions compiles a product for each number of rows and keeps it, and each bag has its own
    number. Where a CPU has none, as the one measured, padding costs nothing: 55 ms a product of 300 to 1,300 rows of
    256 features and its gradient, against 54 ms without.
    """
    more = _rows(len(x), x.dtype, x.device.type) - len(x)
    return nn.functional.pad(x, (0, 0) * (x.dim() - 1) + (0, more)) if more else x


def first(x: Tensor, n: int) -> Tensor:
    """Return the first n rows of x, which may have more: see `padded`. A slice of all rows would copy its gradient."""
    return x if len(x) == n else x[:n]


def _rows(n: int, dtype: torch.dtype, kind: str) -> int:
    return -(-n // ROUND) * ROUND if (kind, dtype) == ("cpu", torch.bfloat16) else n

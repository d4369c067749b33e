"""Tensors of precomputed features, as CLAM and others save them; only tensors, numbers and texts are unpickled."""

import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stratamil.core.errors import UserError, few
from stratamil.features import precomputed_checks as checks

if TYPE_CHECKING:
    import torch


def describe_pt(path: Path, folder: Path) -> checks.Source:
    """Return what a .pt file holds besides its features; see precomputed_readers.describe."""
    content = _content(path)
    features = _features(path, content)
    rows, dim = checks.features_shape(path, tuple(features.shape), _dtype(features))
    beside = {} if _is_tensor(content) else content
    there, columns, coords = checks.headings(path, beside, "|".join(("coords", *checks.COLUMNS))), {}, None
    for low, name in there.items():
        values = _array(path, name, beside[name])
        if low == "coords":
            checks.coords_shape(path, values.shape, rows)
            coords = checks.coords_of(path, values)
        else:
            checks.column_fits(path, low, values.shape, values.dtype, rows)
            columns[low] = checks.column_of(path, low, values, rows)
    return checks.Source(rows, dim, columns, coords)


def blocks_of_pt(path: Path, folder: Path, most: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first row, numbers (n, D)) over a .pt file; see precomputed_readers.blocks."""
    features = _features(path, _content(path))
    rows, dim = checks.features_shape(path, tuple(features.shape), _dtype(features))
    features = features.reshape(rows, dim)
    for start, end in checks.steps(rows, dim * features.element_size(), most):
        yield start, _numbers(features[start:end])


def _content(path: Path) -> Any:
    """Return the tensor of a file, or its dict."""
    import torch  # takes seconds

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: holds more than tensors, numbers and texts (torch.load with weights_only=True refuses it): "
            "save the tensor of features alone, torch.save(features, path)"
        ) from None


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _features(path: Path, content: Any) -> "torch.Tensor":
    """Return the tensor of features, as much of it as the file holds."""
    import torch

    found = content
    if isinstance(content, Mapping):
        there = checks.headings(path, content, "|".join(checks.FEATURES))
        found = next((content[there[name]] for name in checks.FEATURES if name in there), None)
    if not isinstance(found, torch.Tensor):
        kind = few(content) if isinstance(content, Mapping) else type(found).__name__
        raise UserError(
            f"{path}: no tensor {' or '.join(checks.FEATURES)}: it has {checks.plain(kind) or 'none'}: save them so"
        )
    if found.layout != torch.strided or found.is_quantized:
        raise UserError(f"{path}: features are sparse or quantised: save them as a plain tensor")
    claimed, stored = found.numel() * found.element_size(), found.untyped_storage().nbytes()
    checks.backed(path, "features", claimed=claimed, stored=stored, room=os.path.getsize(path))
    return found.detach()


def _dtype(features: "torch.Tensor") -> np.dtype:
    """Return the type of the numbers that `_numbers` gives."""
    return _numbers(features.reshape(-1)[:0]).dtype


def _numbers(features: "torch.Tensor") -> NDArray[Any]:
    """Return a tensor as an array; numpy has no bfloat16, of which each number is a float32."""
    import torch

    return (features.float() if features.dtype == torch.bfloat16 else features).numpy()


def _array(path: Path, name: str, value: Any) -> NDArray[Any]:
    """Return a tensor or a list as an array."""
    if _is_tensor(value):
        return _numbers(value.detach())
    with suppress(ValueError):  # lists of different lengths
        if isinstance(value, list | tuple) and (values := np.array(value)).dtype.kind in "iufU":
            return values
    raise UserError(f"{path}: {name} is neither a tensor nor a list of texts or numbers: {checks.ANEW}")

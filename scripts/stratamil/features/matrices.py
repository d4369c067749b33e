"""Matrices of features that lie in several files, read as one: those of the patches, and of their further views."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stratamil.core.errors import UserError


class Values(Protocol):
    """A matrix (N, D) that gives its rows by slices: an array, Rows, or one that reads or computes them then."""

    shape: tuple[int, ...]

    def __getitem__(self, rows: slice) -> NDArray[np.float16]: ...


class Rows:
    """The rows of several matrices as one float16 matrix (N, D), read when they are asked for.

    The matrices are maps of the files: memory holds what is in use, once for all programs that read the same files,
    and gives it back when it runs short. `rows[index]` is an array (n, D), of one row (D,).
    """

    dtype = np.dtype(np.float16)

    def __init__(
        self,
        parts: Sequence[NDArray[np.float16]],
        part: NDArray[np.int64],
        row: NDArray[np.int64],
        columns: NDArray[np.int64],
        width: int,
        beside: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        """parts: arrays (n, d); part, row (N,): where each row is; columns: where each part's begin among `width`.

        beside: number of a part -> those of parts that hold further columns of the same rows.
        """
        self.parts, self.part, self.row, self.columns, self.beside = parts, part, row, columns, beside or {}
        self.shape = (len(row), width)

    def __len__(self) -> int:
        return len(self.row)

    def __array__(self, dtype: DTypeLike = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype)

    def __getitem__(self, index: int | slice | NDArray[Any]) -> NDArray[np.float16]:
        if isinstance(index, int | np.integer):
            return self[np.array([index])][0]
        part, row = self.part[index], self.row[index]
        if len(part) and (part == part[0]).all() and self.parts[part[0]].shape[1] == self.shape[1]:
            one_run = row[-1] - row[0] == len(row) - 1 and (np.diff(row) == 1).all()
            return self.parts[part[0]][row[0] : row[-1] + 1] if one_run else self.parts[part[0]][row]
        values = np.zeros((len(part), self.shape[1]), self.dtype)
        for number in np.unique(part):
            here = np.flatnonzero(part == number)
            for each in (number, *self.beside.get(int(number), ())):
                begin = self.columns[each]
                values[here, begin : begin + self.parts[each].shape[1]] = self.parts[each][row[here]]
        return values


def view_names(identity: Mapping[str, Any]) -> list[str]:
    """Return the names of the matrices that hold the further views of the patches."""
    return [f"view_{number}" for number in range(1, identity.get("views", 0) + 1)]


def viewed(values: Rows, views: Sequence[Sequence[NDArray[np.float16]]]) -> Rows | None:
    """Return the rows of the plain patches and of their further views, which each shard has; None where one has none.

    Raises UserError if encoders have other numbers of them.
    """
    n, numbers = len(views), set(map(len, views))
    if len(numbers) > 1:
        raise UserError(
            "features: encoders with different numbers of views: delete the feature files and run embed again"
        )
    if not (v := numbers.pop()):
        return None
    parts = [*values.parts, *(shard[number] for number in range(v) for shard in views)]
    shifts = n * np.arange(v + 1, dtype=np.int32)
    beside = {
        int(first + shift): [int(other + shift) for other in others]
        for first, others in values.beside.items()
        for shift in shifts
    }
    part = (shifts[:, None] + values.part).ravel()
    return Rows(parts, part, np.tile(values.row, v + 1), np.tile(values.columns, v + 1), values.shape[1], beside)

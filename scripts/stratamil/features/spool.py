"""Rows that one process writes and another reads, on disk: memory holds those at hand, however many there are."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Spool:
    """A float16 matrix (N, D) in a temporary file that needs no deletion; gives its rows by slices, as an array does.

    folder: on the disk that has room for it; by default that of temporary files.
    """

    dtype = np.dtype(np.float16)

    def __init__(self, rows: int, width: int, folder: Path | None = None) -> None:
        self.shape = (rows, width)
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  open as long as this
        self.file.truncate(rows * width * self.dtype.itemsize)

    def __getitem__(self, rows: slice) -> NDArray[np.float16]:
        begin, end, _ = rows.indices(self.shape[0])
        size = self.shape[1] * self.dtype.itemsize
        content, wanted = bytearray(), max(0, end - begin) * size
        while len(content) < wanted:
            content += os.pread(self.file.fileno(), wanted - len(content), begin * size + len(content))
        return np.frombuffer(content, self.dtype).reshape(-1, self.shape[1])

    def __array__(self, dtype: DTypeLike = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype)

    def put(self, places: NDArray[np.integer], values: NDArray[np.float16]) -> None:
        """Write rows at their places (n,), those that follow one another at once."""
        size = self.shape[1] * self.dtype.itemsize
        for run in np.split(np.arange(len(places)), np.flatnonzero(np.diff(places) != 1) + 1):
            if len(run):
                content, done = memoryview(np.ascontiguousarray(values[run[0] : run[-1] + 1])).cast("B"), 0
                while done < len(content):
                    done += os.pwrite(self.file.fileno(), content[done:], int(places[run[0]]) * size + done)

"""The seal of a feature file: a digest of all but its matrices, checked before HDF5 reads the file.

HDF5 trusts what a file says of itself; damaged files have made it crash the program or loop for ever. The seal stands
in the 512 bytes before the HDF5 part (its user block), which HDF5 and other readers skip.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

SIZE = 512  # bytes of the user block
PIECE = 2**20  # bytes read at once

Span = tuple[int, int]  # begin and number of bytes of a matrix


class Broken(ValueError):
    """The file is not as it was written."""


def put(path: Path, matrices: Sequence[Span]) -> None:
    """Seal a file that has an empty user block. matrices: what is not part of the digest, in ascending order."""
    with open(path, "r+b") as file:
        size = file.seek(0, 2)
        head = json.dumps({"size": size, "matrices": matrices, "sha256": _digest(file, size, matrices)}).encode()
        file.seek(0)
        file.write(head.ljust(SIZE, b"\0"))


def check(path: Path) -> None:
    """Raise Broken unless the file has a seal that fits. Raises OSError where it cannot be read."""
    with open(path, "rb") as file:
        head, size = file.read(SIZE), file.seek(0, 2)
        try:
            seal = json.loads(head.rstrip(b"\0"))
            matrices = [(begin, n) for begin, n in seal["matrices"] if type(begin) is int and type(n) is int]
            whole = seal["size"] == size and len(matrices) == len(seal["matrices"])
            whole = whole and seal["sha256"] == _digest(file, size, matrices)
        except (ValueError, KeyError, TypeError):
            raise Broken("it has no seal, or is of an earlier version") from None
    if not whole:
        raise Broken("it is damaged")


def _digest(file: BinaryIO, size: int, matrices: Sequence[Span]) -> str:
    """Return the SHA-256 of where the matrices lie and of all else behind the user block."""
    digest = hashlib.sha256(json.dumps([size, *map(list, matrices)]).encode())
    for begin, end in _between(size, matrices):
        file.seek(begin)
        while begin < end and (piece := file.read(min(PIECE, end - begin))):
            digest.update(piece)
            begin += len(piece)
    return digest.hexdigest()


def _between(size: int, matrices: Sequence[Span]) -> Iterator[Span]:
    """Yield begin and end of each part of the file that is no matrix."""
    begin = SIZE
    for at, n in matrices:
        yield begin, min(at, size)
        begin = max(begin, at + n)
    yield begin, size

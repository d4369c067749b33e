"""What earlier jobs have made of the patches of a shard, so that an unchanged file is never opened again."""

import io
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from stratamil.core import files
from stratamil.core.errors import UserError
from stratamil.features import images, matrices, seal, store

FACTS = np.dtype(list(store.FACTS.items()))


class Key(NamedTuple):
    """What tells an unchanged file: its path, size in bytes and time of change in ns.

    colours: how its colours are changed before they are encoded, 0 where they are not: recolour.Plan.known_by.
    """

    path: str
    bytes: int
    mtime_ns: int
    colours: int = 0


class Place(NamedTuple):
    """Where the rows of a patch begin: a file, and a byte in it for each matrix; and the Facts of its image."""

    file: Path
    begins: tuple[int, ...]
    facts: images.Facts


class Cache:
    """Features that an earlier job has made, by path, size and time of the file. Never an output that is declared.

    With them stand those of further views, the colour, the sketch and the Facts of each image, so that none is opened
    again.

    Three files: `path`, the feature file of the last success (a hard link to it where that is possible);
    `path` with suffix .npy, size and time of its rows; and with suffix .part what a job that has not ended
    has encoded: a sequence of arrays in npy format, first the identity, then a record a patch. A job that is killed
    while it writes leaves a broken last array, which the next one cuts off. In memory are the keys, the places of each
    one's rows, and its Facts.
    """

    def __init__(self, path: Path | str, identity: dict[str, Any], beside: Sequence[str] = ("colour",)) -> None:
        """identity: of the encoder, with its `dim`. beside: which of store.BESIDE the patches have, too."""
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.keys, self.part = self.path.with_suffix(".npy"), self.path.with_suffix(".part")
        self.identity = json.dumps(identity, sort_keys=True)
        self.widths = {"features": identity["dim"]} | {name: store.BESIDE[name] for name in beside}
        self.widths |= dict.fromkeys(matrices.view_names(identity), identity["dim"])
        self.places: dict[Key, Place] = self._last() | self._unfinished()

    def __contains__(self, key: Key) -> bool:
        return key in self.places

    def read(self, keys: Sequence[Key], matrix: str = "features") -> NDArray[np.float16]:
        """Return the rows of `keys` in a matrix, features, one of those beside or a view: float16 (n, D).

        Raises UserError if a file of the cache has become shorter.
        """
        values = np.empty((len(keys), self.widths[matrix]), dtype=np.float16)
        number = list(self.widths).index(matrix)
        places = [self.places[key] for key in keys]
        for path in (self.path, self.part):
            rows = [row for row, place in enumerate(places) if place.file == path]
            if rows:
                with open(path, "rb") as file:
                    for row in rows:
                        file.seek(places[row].begins[number])
                        if file.readinto(values[row]) != values[row].nbytes:
                            raise UserError(f"{path}: shorter than it was: delete it and run again")
        return values

    def facts(self, keys: Iterable[Key]) -> dict[str, NDArray[Any]]:
        """Return the Facts of the images of `keys` as columns of a table."""
        facts = np.array([self.places[key].facts for key in keys], dtype=FACTS)
        return {name: facts[name] for name in store.FACTS}

    def _last(self) -> dict[Key, Place]:
        """Return what the last success has, if it was made with this identity."""
        try:
            keys = np.load(self.keys, allow_pickle=False)
            seal.check(self.path)
            with h5py.File(self.path) as file:
                if file.attrs["identity"] != self.identity or file["path"].asstr()[:].tolist() != keys["path"].tolist():
                    return {}
                begins = zip(*(_begins(file[name], width) for name, width in self.widths.items()))
                facts = zip(*(file[name][:].tolist() for name in store.FACTS))
                rows = list(zip(map(Key._make, keys.tolist()), begins, map(images.Facts._make, facts)))
        except FileNotFoundError:
            return {}
        except (OSError, KeyError, ValueError) as error:
            logging.warning("%s: not readable, so its patches are encoded again (%s)", self.path, error)
            return {}
        return {key: Place(self.path, begin, each) for key, begin, each in rows}

    def _unfinished(self) -> dict[Key, Place]:
        """Return what a job that has not ended left, and cut off what it did not finish."""
        places, end = {}, 0
        if not self.part.exists():
            return places
        with open(self.part, "r+b") as file:
            try:
                if str(np.load(file, allow_pickle=False)) == self.identity:
                    end = file.tell()
                    while True:
                        places |= self._records(np.load(file, allow_pickle=False), file.tell())
                        end = file.tell()
            except (EOFError, ValueError, KeyError):
                pass
            file.truncate(end)
        return places

    def _records(self, records: NDArray[np.void], end: int) -> dict[Key, Place]:
        """Return the places of records that stand in the .part file up to byte `end`."""
        first = end - records.nbytes
        offsets = [records.dtype.fields[name][1] for name in self.widths]
        keys = map(Key._make, records[list(Key._fields)].tolist())
        facts = map(images.Facts._make, np.ascontiguousarray(records["facts"]).view(FACTS).tolist())
        return {
            key: Place(self.part, tuple(first + row * records.itemsize + offset for offset in offsets), each)
            for row, (key, each) in enumerate(zip(keys, facts))
        }

    def add(
        self, keys: Sequence[Key], facts: Sequence[images.Facts], matrices: Mapping[str, NDArray[np.float16]]
    ) -> None:
        """Append a batch of n patches: `features` (n, D), the matrices beside them, and views."""
        kept = [("facts", np.void, FACTS.itemsize)]
        kept += [(name, np.float16, width) for name, width in self.widths.items()]
        records = np.zeros(len(keys), dtype=[*_dtype(keys), *kept])
        records[list(Key._fields)] = np.array(keys, dtype=_dtype(keys))
        records["facts"] = np.array(facts, FACTS).view(records.dtype["facts"])
        for name in self.widths:
            records[name] = matrices[name]
        # numpy writes behind Python's back and misses that a disk is full: it makes the bytes, and Python writes them.
        content = io.BytesIO()
        with open(self.part, "ab", buffering=0) as file:
            begin = file.tell()
            if begin == 0:
                np.save(content, np.array(self.identity))
            np.save(content, records)
            rest = content.getbuffer()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(begin)
                raise
            self.places |= self._records(records, file.tell())

    def keep(self, output: Path, keys: Sequence[Key]) -> None:
        """Make `output`, with a row for each of `keys`, the last success."""
        self.keys.unlink(missing_ok=True)  # never these keys with another file's features
        with files.atomic(self.path) as temporary:
            try:
                os.link(output, temporary)
            except OSError:
                shutil.copyfile(output, temporary)
        with files.atomic(self.keys) as temporary:
            np.save(temporary, np.array(keys, dtype=_dtype(keys)))
        self.part.unlink(missing_ok=True)


class Rows:
    """The rows of `keys` in one matrix of a Cache as if they were one float16 array (N, D): a slice reads its rows."""

    def __init__(self, cache: Cache, keys: Sequence[Key], matrix: str = "features") -> None:
        self.cache, self.keys, self.matrix = cache, keys, matrix
        self.shape = (len(keys), cache.widths[matrix])

    def __getitem__(self, rows: slice) -> NDArray[np.float16]:
        return self.cache.read(self.keys[rows], self.matrix)


def key(folder: Path, path: str, colours: int = 0) -> Key | None:
    """Return the Key of the file `path` in `folder`; None for a file that is gone."""
    try:
        status = os.stat(folder / path)
    except OSError:
        return None
    return Key(path, status.st_size, status.st_mtime_ns, colours)


def _begins(dataset: h5py.Dataset, width: int) -> Iterator[int]:
    """Return the byte at which each row of a matrix of a shard begins. Raises ValueError if it is of another width."""
    if dataset.shape[1] != width:
        raise ValueError(f"{dataset.name} has {dataset.shape[1]} columns, not {width}")
    begin = dataset.id.get_offset()  # None if there are no rows
    return (begin + row * 2 * width for row in range(len(dataset)))


def _dtype(keys: Sequence[Key]) -> list[tuple[Any, ...]]:
    longest = max((len(key.path) for key in keys), default=1)
    return [("path", np.str_, longest), ("bytes", np.int64), ("mtime_ns", np.int64), ("colours", np.int64)]

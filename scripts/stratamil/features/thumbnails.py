"""Thumbnails of the patches of a case, on a few sheets: what a page shows of thousands of images without opening them.

A sheet is a WebP image of COLUMNS x ROWS cells. The cell of a patch is its place in the list of paths, so a file that
cannot be read is an empty cell. INDEX, beside the sheets, holds path, size and time of each file: a case whose files
are the same is not encoded again. A file that is gone keeps the thumbnail that it had.
"""

import json
import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from PIL import Image

from stratamil.core import files
from stratamil.features import images
from stratamil.features.cache import Key, key

INDEX = "index.json"
VERSION = 1  # of how a thumbnail is made
COLUMNS, ROWS = 10, 10
CELLS = COLUMNS * ROWS
GREY = (127, 127, 127)  # beside a patch that is not square
QUALITY, METHOD = 80, 2  # of WebP; method 4 is twice as slow for files 3 % smaller
GONE = (-1, -1)  # size and time of a file that is not there


@dataclass(frozen=True)
class Index:
    """What a case's sheets show.

    px: side of a cell. paths: of the patches, in the order of their cells. states: size and time in ns of each file,
    GONE where there is none. lost: path -> why it has no thumbnail.
    """

    px: int
    paths: list[str]
    states: list[tuple[int, int]]
    lost: dict[str, str] = field(default_factory=dict)
    version: int = VERSION

    @property
    def missing(self) -> list[str]:
        """The paths of files that were gone."""
        return [path for path, state in zip(self.paths, self.states) if state == GONE]

    def place(self, path: str) -> tuple[int, int]:
        """Return the sheet of a patch, from 0, and its cell there; (-1, -1) where it has no thumbnail."""
        number = self._numbers.get(path)
        return (-1, -1) if number is None or path in self.lost else divmod(number, CELLS)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {path: number for number, path in enumerate(self.paths)}


def sheet_name(number: int) -> str:
    """Return the file name of a sheet, counted from 0."""
    return f"{number + 1:04d}.webp"


def read(folder: Path) -> Index | None:
    """Return what the sheets in a folder show; None where there are none, or of an earlier version."""
    try:
        content = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        index = Index(**content | {"states": [tuple(state) for state in content["states"]]})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        logging.warning("%s: not readable, so its thumbnails are made again (%s)", folder / INDEX, error)
        return None
    return index if index.version == VERSION and len(index.states) == len(index.paths) else None


def update(folder: Path, root: Path, paths: Sequence[str], px: int, pool: ThreadPoolExecutor) -> tuple[Index, bool]:
    """Make the sheets of a case as its files are now; return what they show, and whether they were made again.

    folder: of the sheets. root: the patches folder. px: side of a cell. pool: threads that decode.
    """
    before = read(folder)
    if before and (before.px != px or not _whole(folder, before)):
        before = None
    states = [_state(key(root, path)) for path in paths]
    if before and before.paths == list(paths) and all(map(_same, states, before.states)):
        if before.states == states:
            return before, False
        index = Index(px, list(paths), states, before.lost)  # some files are gone, and their thumbnails are here
        files.write_json(asdict(index), folder / INDEX)
        return index, False
    index = Index(px, list(paths), states)
    with files.updated_folder(folder) as new:
        _encode(index, root, new, folder, before, pool)
        files.write_json(asdict(index), new / INDEX)
    return index, True


def remove(folder: Path) -> None:
    """Remove the sheets of a case that is no more; what others laid beside them stays."""
    listing = folder / files.LISTING
    for name in files.made(listing):
        (folder / name).unlink(missing_ok=True)
    listing.unlink(missing_ok=True)
    with suppress(OSError):  # something is in it
        folder.rmdir()


def _state(found: Key | None) -> tuple[int, int]:
    return (found.bytes, found.mtime_ns) if found else GONE


def _same(now: tuple[int, int], before: tuple[int, int]) -> bool:
    return now in (before, GONE)


def _whole(folder: Path, index: Index) -> bool:
    """Return whether all sheets of an index are there."""
    return all((folder / sheet_name(n)).is_file() for n in range(math.ceil(len(index.paths) / CELLS)))


def _encode(index: Index, root: Path, new: Path, old: Path, before: Index | None, pool: ThreadPoolExecutor) -> None:
    """Write all sheets into the folder `new`; put what cannot be read into `index.lost`."""

    def small(path: str) -> Image.Image | str:
        try:
            return images.small(root / path, index.px)
        except images.Unreadable as error:
            return str(error)

    thumbnails = pool.map(small, index.paths)
    saving = []
    for number in range(math.ceil(len(index.paths) / CELLS)):
        here = index.paths[number * CELLS : (number + 1) * CELLS]
        sheet = Image.new("RGB", (COLUMNS * index.px, math.ceil(len(here) / COLUMNS) * index.px), GREY)
        for cell, (path, found) in enumerate(zip(here, thumbnails)):
            if before and index.states[number * CELLS + cell] == GONE:
                found = _kept(old, before, path) or found
            if isinstance(found, str):
                index.lost[path] = found
            else:
                sheet.paste(found, _corner(cell, index.px, found.size))
        saving.append(pool.submit(sheet.save, new / sheet_name(number), quality=QUALITY, method=METHOD))
    for each in saving:
        each.result()


def _corner(cell: int, px: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return where an image of this size begins, so that it is in the middle of its cell."""
    row, column = divmod(cell, COLUMNS)
    return column * px + (px - size[0]) // 2, row * px + (px - size[1]) // 2


def _kept(folder: Path, index: Index, path: str) -> Image.Image | None:
    """Return the whole cell of a patch whose file is gone, from the sheets that were made when it was there."""
    number, cell = index.place(path)
    if number < 0:
        return None
    left, top = _corner(cell, index.px, (index.px, index.px))
    with Image.open(folder / sheet_name(number), formats=("WEBP",)) as sheet:
        return sheet.convert("RGB").crop((left, top, left + index.px, top + index.px))

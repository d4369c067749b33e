"""Patches as galleries show them: made larger or smaller, never stretched or recoloured; and the text beside them."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
from PIL import Image, ImageFont
from PIL.ImageFont import FreeTypeFont

from stratamil.features import images

TILE = 224  # pixels a patch may take
INK = "#1a1a1a"
MISSING = "#e9e9e9"  # where a patch cannot be shown


class Tile(NamedTuple):
    """A patch as an RGB image, or None, and a note: the size on disk, or why there is no image."""

    image: Image.Image | None
    note: str


class Tiles:
    """Reads patches as tiles and keeps them; `unreadable` lists those that it could not read.

    folder: the patches folder, to which paths are relative. side: pixels that a patch may take.
    """

    def __init__(self, folder: Path | str, side: int = TILE) -> None:
        self.folder, self.side = Path(folder), side
        self.unreadable: list[str] = []
        self.kept: dict[str, Tile] = {}

    def __call__(self, path: str) -> Tile:
        """Return the tile of a patch, at most `side` pixels wide and high."""
        if path not in self.kept:
            self.kept[path] = self._read(path)
        return self.kept[path]

    def _read(self, path: str) -> Tile:
        try:
            return fitted(images.load(self.folder / path), self.side)
        except images.Unreadable as error:
            gone = not (self.folder / path).exists()
            why, reason = ("file not found", "") if gone else ("unreadable file", error.refusal)
        self.unreadable.append(f"{path}: {why}" + (f" ({reason})" if reason else ""))
        return Tile(None, why)


def fitted(image: Image.Image, side: int = TILE) -> Tile:
    """Return an image made to fit `side` pixels, enlarged by whole and half factors only, with a note of its size."""
    longest = max(image.size)
    scale = int(2 * side / longest) / 2 if longest <= side else side / longest
    size = tuple(max(1, round(length * scale)) for length in image.size)
    note = "{} × {} px".format(*image.size) + ("" if scale == 1 else f", shown × {short(scale)}")
    return Tile(image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2), note)


@cache
def font(size: float, bold: bool = False) -> FreeTypeFont:
    """Return DejaVu Sans as it comes with matplotlib, `size` in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def short(number: float) -> str:
    """Return a number in about two digits: 120, 12, 1.2, 0.012."""
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def broken(text: str, face: FreeTypeFont, width: float) -> list[str]:
    """Return a text as one line, or as two if it is wider than `width` pixels; the second may still be too wide."""
    end = next((end for end in range(len(text), 1, -1) if face.getlength(text[:end]) <= width), 1)
    return [text[:end], text[end:]] if end < len(text) else [text]


def cut(text: str, face: FreeTypeFont, width: float) -> str:
    """Return a text, without its middle if it is wider than `width` pixels."""
    if face.getlength(text) <= width:
        return text
    half = len(text) // 2
    while half > 1 and face.getlength(f"{text[:half]}…{text[-half:]}") > width:
        half -= 1
    return f"{text[:half]}…{text[-half:]}"

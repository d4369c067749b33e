"""A look at the patches themselves: some of each stain and class in one image, and how large they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from PIL.ImageDraw import Draw, ImageDraw

from stratamil.core.files import atomic
from stratamil.core.names import natural
from stratamil.report.tiles import INK, MISSING, Tile, Tiles, cut, font

ACROSS = 9  # tiles side by side at most over all classes, but two a class at least
SIDE = 160  # pixels of a tile
GAP = 10
BLOCK = 34  # pixels between the blocks of two classes or stains
TITLE, CAPTION, NOTE = 21, 17, 14  # letters in pixels
LARGEST = 400_000  # bytes of the image: a page holds it
QUALITIES = (92, 88, 84, 80, 75, 70, 60, 50)


def choose(patches: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Return at most n rows of `patches`, one from each of n cases, cases in natural order.

    Every case is as likely as another. The choice depends on the seed and on what there is to choose from, not on the
    order of the rows.
    """
    one = patches.sort_values("path").sample(frac=1, random_state=seed).drop_duplicates("case_id")
    drawn = one.sort_values("case_id").sample(min(n, len(one)), random_state=seed)
    return drawn.sort_values("case_id", key=lambda ids: ids.map(natural))


def montage(
    patches: pd.DataFrame,
    *,
    stains: Sequence[str],
    classes: Sequence[str],
    folder: Path,
    colors: Sequence[str],
    seed: int,
) -> tuple[Image.Image, list[dict[str, str]], list[str]]:
    """Return sample patches in one image: stains in rows, classes side by side, each patch from another case.

    patches: table of the inventory with the class of each. folder: of the patches. colors: of the classes. Returns
    (RGB image, shown, unreadable): shown is one dict a tile, unreadable one line a patch that cannot be read.
    """
    n = max(2, ACROSS // len(classes))
    tiles, shown = Tiles(folder, SIDE), []
    wide, high = n * SIDE + (n - 1) * GAP, _line(TITLE) + SIDE + _line(CAPTION) + _line(NOTE)
    size = len(classes) * (wide + BLOCK) + BLOCK, len(stains) * (high + BLOCK) + BLOCK
    image = Image.new("RGB", size, "white")
    draw = Draw(image)
    for row, stain in enumerate(stains):
        for column, name in enumerate(classes):
            here = patches[(patches["stain"] == stain) & (patches["class"] == name)]
            left, top = BLOCK + column * (wide + BLOCK), BLOCK + row * (high + BLOCK)
            draw.rectangle((left, top - 8, left + wide - 1, top - 5), colors[column % len(colors)])
            _heading(draw, (left, top), wide, f"{stain}, {name}", here["case_id"].nunique())
            for i, patch in enumerate(choose(here, n, seed).itertuples()):
                corner = left + i * (SIDE + GAP), top + _line(TITLE)
                _tile(image, draw, corner, tiles(patch.path), f"case {patch.case_id}")
                shown.append({"stain": stain, "class": name, "case_id": patch.case_id, "path": patch.path})
    return image, shown, tiles.unreadable


def _line(size: int) -> int:
    """Return the height of a line of text."""
    return round(1.5 * size)


def _heading(draw: ImageDraw, corner: tuple[int, int], width: int, title: str, cases: int) -> None:
    """Draw the heading of a stain and class: how many cases there are to choose from."""
    (x, y), face = corner, font(TITLE, bold=True)
    count = f"{cases} case{'' if cases == 1 else 's'}" if cases else "no case"
    beside = font(CAPTION)
    title = cut(title, face, width - beside.getlength(count) - 2 * GAP)
    draw.text((x, y), title, INK, face)
    draw.text((x + width, y + TITLE), count, INK, beside, anchor="rs")


def _tile(image: Image.Image, draw: ImageDraw, corner: tuple[int, int], tile: Tile, caption: str) -> None:
    """Draw a patch in its cell with its case and its size on disk; grey with the reason where there is none."""
    x, y = corner
    if tile.image is None:
        draw.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), MISSING)
        draw.text((x + SIDE / 2, y + SIDE / 2), tile.note, INK, font(NOTE), anchor="mm")
    else:
        image.paste(tile.image, (x, y + (SIDE - tile.image.height) // 2))
    draw.text((x, y + SIDE + 3), cut(caption, font(CAPTION), SIDE), INK, font(CAPTION))
    if tile.image:
        draw.text((x, y + SIDE + 1 + _line(CAPTION)), tile.note.partition(",")[0], INK, font(NOTE))


def write(image: Image.Image, path: Path) -> None:
    """Write an image as JPEG, as good as LARGEST bytes allow; the same image gives the same bytes."""
    with atomic(path) as temporary:
        for quality in QUALITIES:
            image.save(temporary, "JPEG", quality=quality, optimize=True)
            if temporary.stat().st_size <= LARGEST:
                break


def sides(patches: pd.DataFrame, facts: pd.DataFrame) -> dict[str, Any]:
    """Return how large the patches are, as embed measured them.

    patches: table of the inventory with the class of each. facts: of store.facts. Returns a dict: longer (stain, class,
    pixels, n: how many have this longer side), oblong (how many are not square), of (how many there are, measured or
    not).
    """
    measured = patches[["path", "stain", "class"]].astype(str).merge(facts[["path", "width", "height"]], on="path")
    measured["pixels"] = measured[["width", "height"]].max(axis=1).astype(int)
    counts = measured.groupby(["stain", "class", "pixels"]).size().reset_index(name="n")
    oblong = int((measured["width"] != measured["height"]).sum())
    return {"longer": counts.to_dict("records"), "oblong": oblong, "of": len(patches)}

"""A look at the patches themselves: some of each stain and class as a picture, and the sizes of a sample of them."""

from PIL import Image, ImageDraw

from stratamil.core.files import atomic
from stratamil.core.names import natural
from stratamil.features import images
from stratamil.report.tiles import INK, MISSING, Tiles, cut, font

MEASURED = 1000  # patches whose size is read: enough for a distribution, and seconds on a slow file system
ACROSS = 9  # tiles side by side at most over all classes, but two a class at least
SIDE = 160  # pixels of a tile
GAP = 10
BLOCK = 34  # pixels between the blocks of two classes or stains
TITLE, CAPTION, NOTE = 21, 17, 14  # letters in pixels
LARGEST = 400_000  # bytes of the picture: a page holds it
QUALITIES = (92, 88, 84, 80, 75, 70, 60, 50)


def choose(patches, n, seed):
    """At most n rows of `patches`, one from each of n cases, every case as likely as another; cases in natural order.

    The choice depends on the seed and on what there is to choose from, not on its order.
    """
    one = patches.sort_values("path").sample(frac=1, random_state=seed).drop_duplicates("case_id")
    drawn = one.sort_values("case_id").sample(min(n, len(one)), random_state=seed)
    return drawn.sort_values("case_id", key=lambda ids: ids.map(natural))


def montage(patches, stains, classes, folder, colors, seed):
    """Sample patches as a picture: stains in rows, classes side by side, each from another case.

    patches: table of the inventory with the class of each. folder: of the patches. Returns (RGB image, shown,
    unreadable): shown is one dict a tile, unreadable one line a patch that cannot be read.
    """
    n = max(2, ACROSS // len(classes))
    tiles, shown = Tiles(folder, SIDE), []
    wide, high = n * SIDE + (n - 1) * GAP, _line(TITLE) + SIDE + _line(CAPTION) + _line(NOTE)
    size = len(classes) * (wide + BLOCK) + BLOCK, len(stains) * (high + BLOCK) + BLOCK
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for row, stain in enumerate(stains):
        for column, name in enumerate(classes):
            here = patches[(patches["stain"] == stain) & (patches["class"] == name)]
            corner = BLOCK + column * (wide + BLOCK), BLOCK + row * (high + BLOCK)
            chosen = choose(here, n, seed)
            _block(draw, corner, wide, f"{stain}, {name}", here["case_id"].nunique(), colors[column % len(colors)])
            for i, patch in enumerate(chosen.itertuples()):
                tile, note = tiles(patch.path)
                x, y = corner[0] + i * (SIDE + GAP), corner[1] + _line(TITLE)
                _tile(picture, draw, (x, y), tile, f"case {patch.case_id}", note)
                shown.append({"stain": stain, "class": name, "case_id": patch.case_id, "path": patch.path})
    return picture, shown, tiles.unreadable


def _line(size):
    return round(1.5 * size)


def _block(draw, corner, width, title, cases, color):
    """The heading of a stain and class, with a line in the colour of the class."""
    (x, y), face = corner, font(TITLE, bold=True)
    count = f"{cases} case{'' if cases == 1 else 's'}" if cases else "no case"
    beside = font(CAPTION)
    title = cut(title, face, width - beside.getlength(count) - 2 * GAP)
    draw.rectangle((x, y - 8, x + width - 1, y - 5), color)
    draw.text((x, y), title, INK, face)
    draw.text((x + width, y + TITLE), count, INK, beside, anchor="rs")


def _tile(picture, draw, corner, tile, caption, note):
    """A patch in its cell with its case and its size on disk; grey with the reason where there is none."""
    x, y = corner
    if tile is None:
        draw.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), MISSING)
        draw.text((x + SIDE / 2, y + SIDE / 2), note, INK, font(NOTE), anchor="mm")
    else:
        picture.paste(tile, (x, y + (SIDE - tile.height) // 2))
    draw.text((x, y + SIDE + 3), cut(caption, font(CAPTION), SIDE), INK, font(CAPTION))
    if tile is not None:
        draw.text((x, y + SIDE + 1 + _line(CAPTION)), note.partition(",")[0], INK, font(NOTE))


def write(picture, path):
    """Write a picture as JPEG, as good as LARGEST bytes allow; the same picture gives the same bytes."""
    with atomic(path) as temporary:
        for quality in QUALITIES:
            picture.save(temporary, "JPEG", quality=quality, optimize=True)
            if temporary.stat().st_size <= LARGEST:
                break


def sides(patches, folder, seed):
    """Sizes of a sample of patches from the heads of their files; the pixels are not decoded.

    patches: table of the inventory with the class of each. Returns a dict: longer (one dict a patch: stain, class,
    pixels), oblong (how many are not square), drawn, of (how many there are), unreadable (paths).
    """
    sample = patches.sort_values("path").sample(min(MEASURED, len(patches)), random_state=seed)
    longer, oblong, unreadable = [], 0, []
    for path, stain, name in zip(sample["path"], sample["stain"], sample["class"]):
        try:
            width, height = images.sides(folder / path)
        except images.Unreadable:
            unreadable.append(path)
            continue
        longer.append({"stain": stain, "class": name, "pixels": max(width, height)})
        oblong += width != height
    return {"longer": longer, "oblong": oblong, "drawn": len(sample), "of": len(patches), "unreadable": unreadable}

"""Galleries of the most and least attended patches, and all figures of a case.

Galleries are drawn with Pillow, a patch as it is on disk: made larger or smaller, never stretched or recoloured.
Borders show the ratio to an equal share (weight x N) on one scale for all galleries, so that they can be compared.
Where patches have coordinates, of their names or of precomputed features, maps show the same ratio there.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image
from PIL.ImageDraw import Draw, ImageDraw
from PIL.ImageFont import FreeTypeFont

from stratamil.core.names import file_name
from stratamil.core.wording import of_slice
from stratamil.explain import attention_tables
from stratamil.explain.attention_tables import Case
from stratamil.report import case_plots
from stratamil.report.ratio_scale import RATIOS, SCALE, ratio_color
from stratamil.report.style import GREY, save
from stratamil.report.tiles import INK, MISSING, TILE, Tile, Tiles, broken, cut, font, short
from stratamil.stats.ranking import alike, rank

BORDER = 8
GAP = 18
MARGIN = 28
LEAST_COLUMNS = 5  # a gallery is at least so wide, for its heading
MOST_COLUMNS = 8
LINE = 1.4  # of the font size
SMALL = 12  # letters of file names
SHORT_CAVEAT = "Attention shows what the model weighted, not why it decided."
ADDS = "adds: to the logit of {0}, over {1}; below 0 it is evidence against {0}"
WHICH = {"top": "most", "bottom": "least"}

Caption = Callable[[Any], tuple[str, ...]]  # row of a ranked patch -> lines above its file name, as many for each


def wrapped(facts: Sequence[str], face: FreeTypeFont, width: float) -> list[str]:
    """Return facts joined by dots into lines of at most `width` pixels; a fact longer than a line is cut."""
    lines = []
    for fact in facts:
        longer = f"{lines[-1]}  ·  {fact}" if lines else fact
        if lines and face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(cut(fact, face, width))
    return lines


def gallery(
    shown: pd.DataFrame, tiles: Tiles, title: str, facts: Sequence[Sequence[str]], caption: Caption
) -> Image.Image:
    """Return an image of patches in the order of `shown`, rows of `stats.ranking.rank`.

    facts: what the heading says below the title; each list begins a line. caption: gives the lines above a patch's
    file name.
    """
    cell = TILE + 2 * BORDER
    files = [broken(path, font(SMALL), cell) for path in shown["path"]]
    long = max(map(len, files))
    captions = [
        [*caption(row), *file, *[""] * (long - len(file)), tiles(row.path).note]
        for row, file in zip(shown.itertuples(), files)
    ]
    fonts = [(16, True), *[(14, False)] * (len(captions[0]) - long - 2), *[(SMALL, False)] * (long + 1)]
    rows = -(-len(shown) // MOST_COLUMNS)
    columns = max(LEAST_COLUMNS, -(-len(shown) // rows))
    width = 2 * MARGIN + columns * cell + (columns - 1) * GAP
    heading = [line for some in facts for line in wrapped(some, font(16), width - 2 * MARGIN)]
    top = MARGIN + round(26 * LINE) + len(heading) * round(16 * LINE) + GAP
    text_height = sum(round(size * LINE) for size, _ in fonts) + 6
    height = top + rows * (cell + text_height + GAP) + 40 + MARGIN // 2
    image = Image.new("RGB", (width, height), "white")
    draw = Draw(image)
    _lines(draw, (MARGIN, MARGIN - 6), [title, *heading], [(26, True)] + [(16, False)] * len(heading), width)
    for i, (path, ratio) in enumerate(zip(shown["path"], shown["ratio"])):
        x, y = MARGIN + i % columns * (cell + GAP), top + i // columns * (cell + text_height + GAP)
        _tile(image, draw, (x, y), tiles(path), ratio)
        _lines(draw, (x, y + cell + 6), captions[i], fonts, cell)
    _scale(image, draw, height - 40 - MARGIN // 2)
    return image


def _lines(
    draw: ImageDraw,
    corner: tuple[int, int],
    lines: Sequence[str],
    fonts: Sequence[tuple[int, bool]],
    width: float,
) -> None:
    """Draw lines below each other, each with its size and whether it is bold, cut to `width` pixels."""
    x, y = corner
    for line, (size, bold) in zip(lines, fonts, strict=True):
        face = font(size, bold)
        draw.text((x, y), cut(line, face, width), INK if size > SMALL else GREY, face)
        y += round(size * LINE)


def _tile(image: Image.Image, draw: ImageDraw, corner: tuple[int, int], tile: Tile, ratio: float) -> None:
    """Draw a patch with its border, centred in its cell; a grey cell with the reason if there is no image."""
    (x, y), cell = corner, TILE + 2 * BORDER
    width, height = tile.image.size if tile.image else (TILE, TILE)
    left, up = x + (cell - width) // 2, y + (cell - height) // 2
    frame = (left - BORDER, up - BORDER, left + width + BORDER - 1, up + height + BORDER - 1)
    draw.rectangle(frame, ratio_color(ratio))
    if tile.image:
        image.paste(tile.image, (left, up))
    else:
        draw.rectangle((left, up, left + width - 1, up + height - 1), MISSING)
        draw.text((x + cell / 2, y + cell / 2), tile.note, INK, font(16), anchor="mm")


@cache
def _ramp(width: int, height: int) -> Image.Image:
    """Return the colours of the borders from the lowest ratio to the highest."""
    colors = RATIOS(np.linspace(0, 1, width), bytes=True)[None, :, :3]
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(colors, (height, width, 3))))


def _scale(image: Image.Image, draw: ImageDraw, y: int) -> None:
    """Draw the scale of the borders, and the caveat."""
    label, face = "border: weight ÷ equal share (1/N)", font(14)
    draw.text((MARGIN, y + 2), label, INK, face)
    start, long = MARGIN + round(face.getlength(label)) + 36, 300
    image.paste(_ramp(long, 17), (start, y))
    for i, text in enumerate(SCALE):
        draw.text((start + i * long / (len(SCALE) - 1), y + 20), text, INK, font(12), anchor="mt")
    right, room = image.width - MARGIN, image.width - start - long - 2 * MARGIN - 20
    draw.text((right, y + 2), cut(SHORT_CAVEAT, face, room), GREY, face, anchor="rt")


def write(image: Image.Image, path: Path) -> None:
    """Write a gallery as PNG; the same gallery gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, compress_level=2)


def draw_case(
    case: Case, *, patches: Path | None, output: Path, stains: Mapping[str, str], top_n: int, heading: str
) -> list[str]:
    """Write all figures and galleries of a case below `output`; return what cannot be read, one line a patch.

    patches: the patches folder, or None where patches have no images. stains: of `palette`; figures name those that
    the case lacks. top_n: patches in a gallery. heading: split and seed.
    """
    name = file_name(case.id)
    histogram, ranks = case_plots.histogram(case, stains, heading), case_plots.slice_ranks(case, stains, heading)
    save(histogram, output / "plots" / f"effective_patch_attn_distro_case_{name}.png")
    save(ranks, output / "slice_attention" / f"slice_attn_rankplot_case_{name}.png")
    if "x" in case.patches and case.patches["x"].notna().any():
        save(case_plots.maps(case, heading), output / "attention_maps" / f"case_{name}_attention_map.png")
    if patches is None:
        return []
    tiles = Tiles(patches)
    for stain in case.stains.index:
        slices = case.slices(stain)
        for place in sorted({0, len(slices) - 1}):
            for end, image in slice_galleries(case, stain, place, tiles=tiles, n=top_n, heading=heading).items():
                which = f"{file_name(stain)}_slice_{file_name(slices['slice_id'][place])}"
                write(image, output / "patch_attention" / f"case_{name}_{which}_{end}_patches.png")
    for end, image in case_galleries(case, stains, tiles=tiles, n=top_n, heading=heading).items():
        write(image, output / "case_effective_patches" / f"case_{name}_{end}_effective_patches.png")
    return tiles.unreadable


def slice_galleries(
    case: Case, stain: str, place: int, *, tiles: Tiles, n: int, heading: str
) -> dict[str, Image.Image]:
    """Return galleries of the n most and n least attended patches of a slice: "top", "bottom" -> image.

    place: of the slice among the stain's slices, the highest weight first.
    """
    slices = case.slices(stain)
    ranked = rank(case.of_slice(stain, slices["slice_id"][place]), "patch_weight")
    slice_id, weight = slices["slice_id"][place], slices["weight"][place]
    if len(slices) == 1:
        fact = f"the only {stain} slice"
    else:
        which = "equal" if alike(slices["weight"]) else "highest" if place == 0 else "lowest"
        fact = f"{which} slice weight of {len(slices)}: {weight:.3f} = {short(weight * len(slices))} × equal share"
    facts = [fact, _stain_fact(case, stain)]

    def caption(row: Any) -> tuple[str, ...]:
        return f"{row.rank}. patch {row.patch}", _share(row.patch_weight, row.ratio)

    return _both_ends(
        case, ranked, "patch_weight",
        where=f"{stain}, {of_slice(slice_id)}", facts=facts, caption=caption, tiles=tiles, n=n, heading=heading,
    )  # fmt: skip


def case_galleries(
    case: Case, stains: Mapping[str, str], *, tiles: Tiles, n: int, heading: str
) -> dict[str, Image.Image]:
    """Return galleries of the n most and n least attended patches of a case: "top", "bottom" (not of one) -> image.

    stains: of `palette`; the heading names those that the case lacks.
    """
    ranked = case.ranked
    missing = [stain for stain in stains if stain not in case.stains.index]
    facts = ["weight = patch × slice × stain weight", *[f"missing: {', '.join(missing)}"] * bool(missing)]

    def caption(row: Any) -> tuple[str, ...]:
        return (
            f"{row.rank}. {row.stain} patch {row.patch}",
            of_slice(row.slice_id),
            _share(row.effective_weight, row.ratio),
            f"({short(row.patch_weight)} × {short(row.slice_weight)} × {short(row.stain_weight)})",
        )

    return _both_ends(
        case, ranked, "effective_weight",
        where="all stains", facts=facts, caption=caption, tiles=tiles, n=n, heading=heading,
    )  # fmt: skip


def _both_ends(
    case: Case,
    ranked: pd.DataFrame,
    weight: Literal["patch_weight", "effective_weight"],
    *,
    where: str,
    facts: Sequence[str],
    caption: Caption,
    tiles: Tiles,
    n: int,
    heading: str,
) -> dict[str, Image.Image]:
    """Return galleries of both ends of `ranked`, patches by `weight`; each caption ends with what its patch adds."""
    galleries, margins = {}, case.margin_contribution

    def told(row: Any) -> tuple[str, ...]:
        return *caption(row), f"adds {_signed(margins[row.path])}"

    for end, shown in attention_tables.ends(ranked, n).items():
        if end == "bottom" and len(ranked) == 1:  # the same picture
            continue
        share = _share_of(shown, ranked, weight)
        same = [f"all {len(ranked)} have equal weight: in the order of their names"] * (len(ranked) > 1)
        lines = [[*case_plots.facts(case), heading], [*facts, share, *(same if alike(ranked[weight]) else [])]]
        lines.append([ADDS.format(case.predicted_label, case.rival)])
        which = f"{WHICH[end]} attended patches" if len(ranked) > 1 else "the only patch"
        title = f"Case {case.id}: {which} of {where}"
        galleries[end] = gallery(shown, tiles, title, lines, told)
    return galleries


def _share_of(shown: pd.DataFrame, ranked: pd.DataFrame, weight: str) -> str:
    """Return how many patches are shown, and their share of the weight."""
    n = len(ranked)
    if len(shown) == n:
        return f"all {n} patches" if n > 1 else "the only patch"
    held = shown[weight].sum()
    percent = f"{held:.1%}" if held >= 0.0005 else "less than 0.1%"
    return f"{len(shown)} of {n} patches have {percent} of the attention (equal shares: {len(shown) / n:.1%})"


def _stain_fact(case: Case, stain: str) -> str:
    """Return the weight of a stain beside the equal share."""
    weight, n = case.stains[stain], len(case.stains)
    if n == 1:
        return "the only stain"
    return f"stain weight {weight:.3f} = {short(weight * n)} × equal share of {n}"


def _signed(value: float) -> str:
    """Return a number in two digits with its sign."""
    return f"{value:+.2g}".replace("-", "−")


def _share(weight: float, ratio: float) -> str:
    """Return a weight beside its ratio to the equal share."""
    return f"{weight:.3g} = {short(ratio)} × equal"

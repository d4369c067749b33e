"""Pictures of attention: galleries of patches, weights of slices and stains, histograms of patch weights.

Galleries are drawn with Pillow, a patch as it is on disk: made larger or smaller, never stretched or recoloured.
Borders show the ratio to an equal share (weight x N) on one scale for all pictures, so that they can be compared.
Where patches have no pictures, maps show the same ratio at their coordinates.
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from stratamil.core.names import file_name
from stratamil.explain import attention_tables
from stratamil.report import case_plots
from stratamil.report.ratio_scale import RATIOS, SCALE, ratio_color
from stratamil.report.style import GREY, save
from stratamil.report.tiles import INK, MISSING, TILE, Tiles, broken, cut, font, short
from stratamil.stats.ranking import alike, rank

BORDER = 8
GAP = 18
MARGIN = 28
LEAST_COLUMNS = 5  # a gallery is at least so wide, for its heading
MOST_COLUMNS = 8
LINE = 1.4  # of the font size
SMALL = 12  # letters of file names
SHORT_CAVEAT = "Attention is what the model weighed, not why it decided."
EVIDENCE = "adds: to the logit of {0}, over the mean of the other classes; below 0 the patch speaks against {0}"
WHICH = {"top": "most", "bottom": "least"}


def wrapped(facts, face, width):
    """Facts joined by dots into lines of at most `width` pixels; one longer than a line is cut."""
    lines = []
    for fact in facts:
        longer = f"{lines[-1]}  ·  {fact}" if lines else fact
        if lines and face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(cut(fact, face, width))
    return lines


def gallery(shown, tiles, title, facts, caption):
    """A picture of patches in the order of `shown`.

    shown: rows of `attention.rank`. tiles: `Tiles`. facts: what the heading says below the title, a list for each line
    or more.
    caption: gives the lines that stand above a patch's file name, as many for each, from its row. Returns a PIL image.
    """
    cell = TILE + 2 * BORDER
    files = [broken(Path(path).name, font(SMALL), cell + GAP - 4) for path in shown["path"]]
    long = max(map(len, files))
    captions = [
        [*caption(row), *file, *[""] * (long - len(file)), tiles(row.path)[1]]
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
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    _lines(draw, (MARGIN, MARGIN - 6), [title, *heading], [(26, True)] + [(16, False)] * len(heading), width)
    for i, (path, ratio) in enumerate(zip(shown["path"], shown["ratio"])):
        x, y = MARGIN + i % columns * (cell + GAP), top + i // columns * (cell + text_height + GAP)
        _tile(picture, draw, (x, y), tiles(path), ratio)
        _lines(draw, (x, y + cell + 6), captions[i], fonts, cell + GAP - 4)
    _scale(picture, draw, MARGIN, height - 40 - MARGIN // 2, width)
    return picture


def _lines(draw, corner, lines, fonts, width):
    x, y = corner
    for line, (size, bold) in zip(lines, fonts, strict=True):
        face = font(size, bold)
        draw.text((x, y), cut(line, face, width), INK if size > SMALL else GREY, face)
        y += round(size * LINE)


def _tile(picture, draw, corner, tile, ratio):
    """A patch with its border, centred in its cell; a grey cell with the reason if there is none."""
    (x, y), cell, (image, note) = corner, TILE + 2 * BORDER, tile
    width, height = image.size if image else (TILE, TILE)
    left, up = x + (cell - width) // 2, y + (cell - height) // 2
    frame = (left - BORDER, up - BORDER, left + width + BORDER - 1, up + height + BORDER - 1)
    draw.rectangle(frame, ratio_color(ratio))
    if image:
        picture.paste(image, (left, up))
    else:
        draw.rectangle((left, up, left + width - 1, up + height - 1), MISSING)
        draw.text((x + cell / 2, y + cell / 2), note, INK, font(16), anchor="mm")


@cache
def _ramp(width, height):
    """The colours of the borders from the lowest ratio to the highest."""
    colors = RATIOS(np.linspace(0, 1, width), bytes=True)[None, :, :3]
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(colors, (height, width, 3))))


def _scale(picture, draw, x, y, width):
    """The scale of the borders, and the caveat."""
    label, face = "border: weight ÷ equal share (1/N)", font(14)
    draw.text((x, y + 2), label, INK, face)
    start, long = x + round(face.getlength(label)) + 36, 300
    picture.paste(_ramp(long, 17), (start, y))
    for i, text in enumerate(SCALE):
        draw.text((start + i * long / (len(SCALE) - 1), y + 20), text, INK, font(12), anchor="mt")
    right, room = x + width - 2 * MARGIN, width - start - long - 2 * MARGIN - 20
    draw.text((right, y + 2), cut(SHORT_CAVEAT, face, room), GREY, face, anchor="rt")


def write(picture, path):
    """Write a gallery as PNG; the same gallery gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, compress_level=2)


def draw_case(case, patches, output, stains, top_n, heading):
    """Write all pictures of a case below `output`.

    case: attention.Case. patches: the patches folder, or None where patches have no pictures. stains: of `palette`;
    the pictures name those that the case lacks. top_n: patches in a gallery. heading: split and seed.
    Returns what cannot be read, one line a patch.
    """
    name = file_name(case.id)
    histogram, ranks = case_plots.histogram(case, stains, heading), case_plots.slice_ranks(case, stains, heading)
    save(histogram, output / "plots" / f"effective_patch_attn_distro_case_{name}.png")
    save(ranks, output / "slice_attention" / f"slice_attn_rankplot_case_{name}.png")
    if patches is None:
        if "x" in case.patches and case.patches["x"].notna().any():
            save(case_plots.maps(case, heading), output / "attention_maps" / f"case_{name}_attention_map.png")
        return []
    tiles = Tiles(patches)
    for stain in case.stains.index:
        slices = case.slices(stain)
        for place in sorted({0, len(slices) - 1}):
            for end, picture in slice_galleries(case, stain, slices, place, tiles, top_n, heading).items():
                which = f"{file_name(stain)}_slice_{file_name(slices['slice_id'][place])}"
                write(picture, output / "patch_attention" / f"case_{name}_{which}_{end}_patches.png")
    for end, picture in case_galleries(case, tiles, top_n, heading, stains).items():
        write(picture, output / "case_effective_patches" / f"case_{name}_{end}_effective_patches.png")
    return tiles.unreadable


def slice_galleries(case, stain, slices, place, tiles, n, heading):
    """Galleries of the n most and n least attended patches of the slice at `place` of the ranking `slices`."""
    ranked = rank(case.of_slice(stain, slices["slice_id"][place]), "patch_weight")
    slice_id, weight = slices["slice_id"][place], slices["weight"][place]
    if len(slices) == 1:
        fact = f"the only {stain} slice"
    else:
        which = "equal" if alike(slices["weight"]) else "highest" if place == 0 else "lowest"
        fact = f"{which} slice weight of {len(slices)}: {weight:.3f} = {short(weight * len(slices))} × equal share"
    facts = [fact, _stain_fact(case, stain)]

    def caption(row):
        return f"{row.rank}. patch {row.patch}", _share(row.patch_weight, row.ratio)

    return _both_ends(case, ranked, caption, tiles, n, "patch_weight", f"{stain} {slice_id}", facts, heading)


def case_galleries(case, tiles, n, heading, stains):
    """Galleries of the n most and n least attended patches of a case by effective weight.

    stains: of `palette`; the heading names those that the case lacks.
    """
    ranked = case.ranked
    missing = [stain for stain in stains if stain not in case.stains.index]
    facts = ["weight = patch × slice × stain weight", *[f"missing: {', '.join(missing)}"] * bool(missing)]

    def caption(row):
        return (
            f"{row.rank}. {row.stain} patch {row.patch}",
            row.slice_id,
            _share(row.effective_weight, row.ratio),
            f"({short(row.patch_weight)} × {short(row.slice_weight)} × {short(row.stain_weight)})",
        )

    return _both_ends(case, ranked, caption, tiles, n, "effective_weight", "all stains", facts, heading)


def _both_ends(case, ranked, caption, tiles, n, weight, where, facts, heading):
    pictures, evidence = {}, case.margin_contribution

    def told(row):
        return *caption(row), f"adds {_signed(evidence[row.path])}"

    for end, shown in attention_tables.ends(ranked, n).items():
        share = _share_of(shown, ranked, weight)
        same = [f"all {len(ranked)} weigh the same: in the order of their names"] * (len(ranked) > 1)
        lines = [[*case_plots.facts(case), heading], [*facts, share, *(same if alike(ranked[weight]) else [])]]
        lines.append([EVIDENCE.format(case.predicted_label)])
        title = f"Case {case.id}: {WHICH[end]} attended patches of {where}"
        pictures[end] = gallery(shown, tiles, title, lines, told)
    return pictures


def _share_of(shown, ranked, weight):
    """How many patches are shown, and what they hold."""
    n = len(ranked)
    if len(shown) == n:
        return f"all {n} patches" if n > 1 else "the only patch"
    held = shown[weight].sum()
    percent = f"{held:.1%}" if held >= 0.0005 else "less than 0.1%"
    return f"{len(shown)} of {n} patches hold {percent} (equal shares: {len(shown) / n:.1%})"


def _stain_fact(case, stain):
    weight, n = case.stains[stain], len(case.stains)
    if n == 1:
        return "the only stain"
    return f"stain weight {weight:.3f} = {short(weight * n)} × equal share of {n}"


def _signed(value):
    return f"{value:+.2g}".replace("-", "−")


def _share(weight, ratio):
    return f"{weight:.3g} = {short(ratio)} × equal"

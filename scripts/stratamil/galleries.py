"""Pictures of attention: galleries of patches, weights of slices and stains, histograms of patch weights.

Galleries are drawn with Pillow, a patch as it is on disk: made larger or smaller, never stretched or recoloured.
Borders show the ratio to an equal share (weight x N) on one scale for all pictures, so that they can be compared.
Where patches have no pictures, maps show the same ratio at their coordinates.
"""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw

from stratamil import attention
from stratamil.names import file_name
from stratamil.ranking import alike
from stratamil.style import GREY, STAIN_COLORS, STYLE, save
from stratamil.tiles import INK, MISSING, TILE, Tiles, broken, cut, font, short

BORDER = 8
GAP = 18
MARGIN = 28
LEAST_COLUMNS = 5  # a gallery is at least so wide, for its heading
MOST_COLUMNS = 8
LINE = 1.4  # of the font size
SMALL = 12  # letters of file names
OCTAVES = 3  # the border's colour spans ratios of 1/8 to 8
SCALE = ("≤ 1/8", "1/4", "1/2", "1", "2", "4", "≥ 8")
RATIOS = LinearSegmentedColormap.from_list("ratio", ["#0072B2", "#cccccc", "#D55E00"])
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
SMALLEST_RATIO = 1e-6  # smaller ratios fall in the first bar of a histogram
BINS = 40
MAPS = 4  # side by side
SLICE_NAMES = 1.4, 4.0  # inches that names of slices take, at least and at most
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


def octaves(ratios):
    """Ratios to an equal share as places from 0 (1/8 and less) over .5 (1) to 1 (8 and more)."""
    return (np.clip(np.log2(np.maximum(ratios, 1e-12)) / OCTAVES, -1, 1) + 1) / 2


def ratio_color(ratio):
    """Border colour of a ratio to an equal share: blue below, grey at and vermilion above 1; ends at 1/8 and 8."""
    return tuple(round(255 * part) for part in RATIOS(octaves(ratio))[:3])


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


def palette(stains, shown=None):
    """The colour of each stain, the same whatever other stains are shown. shown: some of `stains`, or None for all."""
    colors = {stain: STAIN_COLORS[i % len(STAIN_COLORS)] for i, stain in enumerate(stains)}
    return colors if shown is None else {stain: colors[stain] for stain in shown}


def draw_case(case, patches, output, stains, top_n, heading):
    """Write all pictures of a case below `output`.

    case: attention.Case. patches: the patches folder, or None where patches have no pictures. stains: of `palette`;
    the pictures name those that the case lacks. top_n: patches in a gallery. heading: split and seed.
    Returns what cannot be read, one line a patch.
    """
    name = file_name(case.id)
    save(histogram(case, stains, heading), output / "plots" / f"effective_patch_attn_distro_case_{name}.png")
    save(slice_ranks(case, stains, heading), output / "slice_attention" / f"slice_attn_rankplot_case_{name}.png")
    if patches is None:
        if "x" in case.patches and case.patches["x"].notna().any():
            save(maps(case, heading), output / "attention_maps" / f"case_{name}_attention_map.png")
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
    ranked = attention.rank(case.of_slice(stain, slices["slice_id"][place]), "patch_weight")
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
    pictures, evidence = {}, case.evidence

    def told(row):
        return *caption(row), f"adds {_signed(evidence[row.path])}"

    for end, shown in attention.ends(ranked, n).items():
        share = _share_of(shown, ranked, weight)
        same = [f"all {len(ranked)} weigh the same: in the order of their names"] * (len(ranked) > 1)
        lines = [[*_case_facts(case), heading], [*facts, share, *(same if alike(ranked[weight]) else [])]]
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


def _case_facts(case):
    right = "correct" if case.true_label == case.predicted_label else "WRONG"
    return [f"true: {case.true_label}", f"predicted: {case.predicted_label}, p = {case.probability:.3f} ({right})"]


def _stain_fact(case, stain):
    weight, n = case.stains[stain], len(case.stains)
    if n == 1:
        return "the only stain"
    return f"stain weight {weight:.3f} = {short(weight * n)} × equal share of {n}"


def _signed(value):
    return f"{value:+.2g}".replace("-", "−")


def _share(weight, ratio):
    return f"{weight:.3g} = {short(ratio)} × equal"


@matplotlib.rc_context(STYLE)
def maps(case, heading):
    """Each slice with coordinates as a map: a point a patch, y downwards, its colour the ratio to an equal share.

    The share is that of the case, so that the slices of a case can be compared.
    """
    patches = case.patches.assign(ratio=case.patches["effective_ratio"])
    slices = list(patches[patches["x"].notna()].groupby(["stain", "slice_id"], sort=False, observed=True))
    columns = min(MAPS, len(slices))
    rows = -(-len(slices) // columns)
    width, height = max(6.0, 3.0 * columns), 3.2 * rows + 1.6
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(0.03, 0.7 / height, 0.97, 1 - 1.3 / height, 0.08, 0.24)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, ((stain, slice_id), here) in zip(grid.flat, slices):
        here = here.sort_values("ratio")
        size = np.clip(4000 / len(here), 2, 60)
        axes.scatter(here["x"], here["y"], size, RATIOS(octaves(here["ratio"].to_numpy())), linewidths=0)
        axes.set_aspect("equal", anchor="NW")
        axes.invert_yaxis()
        axes.set_title(f"{_cut(stain, 9, 2)}: {here['effective_weight'].sum():.1%}", fontsize=9, pad=24)
        name = "\n".join(_cut(line, 7, 2.7) for line in broken(slice_id, font(7), 2.7 * 72))
        axes.annotate(name, (0, 1), (0, 22), "axes fraction", "offset points", size=7, va="top")
    levels = ScalarMappable(Normalize(-OCTAVES, OCTAVES), RATIOS)
    bar = figure.colorbar(
        levels, cax=figure.add_axes((0.3, 0.45 / height, 0.4, 0.12 / height)), orientation="horizontal"
    )
    bar.set_ticks(range(-OCTAVES, OCTAVES + 1), labels=SCALE)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("effective weight ÷ equal share of the case", fontsize=8)
    title = _cut(f"Case {case.id}: attention over its slices", 12, 0.94 * width, bold=True)
    figure.text(0.03, 1 - 0.3 / height, title, weight="bold", size=12)
    lines = [_line(case, heading), "in percent: the share of the case's attention; each slice fills its frame"]
    text = "\n".join(_cut(line, 9, 0.94 * width) for line in lines)
    figure.text(0.03, 1 - 0.4 / height, text, size=9, linespacing=1.4, va="top")
    return figure


def _axes(width, height, left, right, bottom, top):
    """A figure of one axes; margins in inches, for a layout that is computed takes twice the time."""
    figure = Figure(figsize=(width, height))
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    return figure, figure.add_axes(box)


def _cut(text, size, inches, bold=False):
    """Text of `size` points cut to fit a width."""
    return cut(text, font(size, bold), inches * 72)


def _patches(n):
    return f"{n} patch{'es' if n != 1 else ''}"


def _titled(axes, title, lines):
    """A title and lines below it, above the axes, cut where the figure ends."""
    room = axes.figure.get_figwidth() * (1 - axes.get_position().x0) - 0.1
    title, lines = _cut(title, 12, room, bold=True), [_cut(line, 9, room) for line in lines]
    axes.annotate(title, (0, 1), (0, 8 + 14 * len(lines)), "axes fraction", "offset points", weight="bold", size=12)
    axes.annotate("\n".join(lines), (0, 1), (0, 6), "axes fraction", "offset points", size=9, linespacing=1.4)


@matplotlib.rc_context(STYLE)
def histogram(case, stains, heading):
    """Histogram of a case's effective weights as ratios to an equal share, on a logarithmic axis, stacked by stain.

    stains: of `palette`.
    """
    weights = case.patches["effective_weight"].to_numpy(dtype=float)
    n = len(weights)
    ratios = np.log10(np.maximum(weights * n, SMALLEST_RATIO))
    edges = _log_bins(min(ratios.min(), -0.2), max(ratios.max(), 0.2), n)
    if alike(weights):  # one bar, on the line
        ratios[:], edges = 0, edges - (edges[1] - edges[0]) / 2
    figure, axes = _axes(9, 3.8, 0.7, 2.6, 0.6, 0.85)
    base = np.zeros(len(edges) - 1)
    for stain in case.stains.index:
        here = (case.patches["stain"] == stain).to_numpy()
        counts, share = np.histogram(ratios[here], edges)[0], weights[here].sum()
        label = f"{_cut(stain, 9, 0.9)}: {_patches(here.sum())}, {here.mean():.0%}\nattention: {share:.0%}"
        axes.stairs(base + counts, edges, baseline=base, fill=True, color=stains[stain], label=label)
        base = base + counts
    axes.axvline(0, color=INK, linestyle="--", linewidth=1.2, label=f"equal share 1/{n}")
    axes.set(xlim=edges[[0, -1]], ylim=(0, base.max() * 1.08), ylabel="patches")
    axes.set_xlabel(f"effective weight ÷ equal share (1/{n} = {1 / n:.3g}), logarithmic")
    axes.set_xticks(*_log_ticks(*edges[[0, -1]]))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.03), fontsize=9)
    tail = (weights * n < SMALLEST_RATIO).sum()
    effective = short(attention.effective_number(weights))
    facts = f"effective number of patches {effective} of {n}; largest weight {weights.max():.3g}"
    if tail:
        facts += f"; {tail} below {SMALLEST_RATIO:g} × equal share stand in the first bar"
    _titled(axes, f"Case {case.id}: effective weights of its patches", [_line(case, heading), facts])
    return figure


def _line(case, heading):
    return ", ".join([*_case_facts(case), heading])


def _log_bins(low, high, n):
    """Edges of equal bins of decimal logarithms, one of them at 0, about as many as fit n values."""
    width = (high - low) / np.clip(2 * np.sqrt(n), 10, BINS)
    return np.arange(np.floor(low / width), np.ceil(high / width + 1e-9) + 1) * width


def _log_ticks(low, high):
    """Positions and labels of round ratios between two decimal logarithms, at most nine."""
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps if low <= np.log10(step) + power <= high]
        if len(ticks) <= 9:
            break
    return np.log10(ticks), [f"{tick:g}" for tick in ticks]


@matplotlib.rc_context(STYLE)
def slice_ranks(case, stains, heading):
    """Bars of the slice weights of a case, sorted within each stain, with the equal share of each stain's slices.

    stains: of `palette`.
    """
    bars, labels, y = [], [], 0.0
    for stain in stains:
        slices = case.slices(stain)
        bars.append((stain, y, slices))
        labels += [(y + 1 + i, name) for i, name in enumerate(slices["slice_id"])]
        y += len(slices) + 1.6
    longest = max(font(10).getlength(name) / 72 for _, name in labels)
    left = float(np.clip(longest + 0.3, *SLICE_NAMES))
    size = float(np.clip(10 * (left - 0.3) / longest, 6.5, 10))
    figure, axes = _axes(left + 7.6, 1.3 + 0.27 * y, left, 0.3, 0.55, 0.65)
    for stain, start, slices in bars:
        _stain_bars(axes, case, stain, stains[stain], start, slices)
    # Many slices share little each: their bars are drawn larger.
    highest = max(slices["weight"].max() for _, _, slices in bars if len(slices))
    end = 1 if highest > 0.5 else highest
    axes.set(xlim=(0, end * 1.16), ylim=(y - 0.6, -0.6), xlabel="slice weight (adds up to 1 within a stain)")
    axes.set_xticks(MaxNLocator(5).tick_values(0, end)[:6])
    axes.set_xlim(0, end * 1.16)
    axes.set_yticks([at for at, _ in labels], [_cut(name, size, left - 0.25) for _, name in labels], size=size)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    _titled(axes, f"Case {case.id}: slice weights", [_line(case, heading)])
    return figure


def _stain_bars(axes, case, stain, color, start, slices):
    if slices.empty:
        axes.text(0, start, f"{stain}: missing", weight="bold", va="center", color=GREY)
        return
    n, places = len(slices), start + 1 + np.arange(len(slices))
    title = f"{stain}: stain weight {case.stains[stain]:.3f}, " + (
        f"{n} slices, dashed: equal share {1 / n:.2g}" if n > 1 else "1 slice"
    )
    axes.text(0, start, title, weight="bold", va="center")
    axes.barh(places, slices["weight"], height=0.72, color=color)
    for place, weight, patches in zip(places, slices["weight"], slices["patches"]):
        axes.annotate(
            f"{weight:.3f}, {_patches(patches)}",
            (weight, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            size=8.5,
            bbox=PAPER,
            zorder=4,
        )
    if n > 1:
        axes.plot([1 / n] * 2, [places[0] - 0.5, places[-1] + 0.5], color=INK, linestyle="--", linewidth=1.2)


@matplotlib.rc_context(STYLE)
def stain_distribution(cases, stains, heading):
    """Weight of each stain, a box and a point a case; cases without the stain are counted below.

    stains: of `palette`.
    """
    figure, axes = _axes(max(8.9, 4.4 + 1.6 * len(stains)), 5.0, 0.7, 2.6, 0.8, 0.85)
    classes = sorted({label for case in cases for label in (case.true_label, case.predicted_label)})
    marks = dict(zip(classes, "o^sDvP*X" * (1 + len(classes) // 8)))
    ticks = []
    for x, stain in enumerate(stains):
        having = [case for case in cases if stain in case.stains.index]
        weights = np.array([case.stains[stain] for case in having], dtype=float)
        ticks.append(f"{stain}\nn = {len(having)}\nmissing in {len(cases) - len(having)}")
        if having:
            _box(axes, x, weights)
        for place, weight, case in zip(x + _spread(weights), weights, having):
            axes.plot(place, weight, marks[case.true_label], ms=5.5, mfc=stains[stain], mec=INK, mew=0.5, alpha=0.85)
    for name in classes:
        label = f"{_cut(name, 9, 1.6)} ({sum(case.true_label == name for case in cases)})"
        axes.plot([], [], marks[name], mfc="white", mec=INK, label=label)
    axes.axhline(
        1 / len(stains), color=INK, linestyle="--", linewidth=1, zorder=0, label=f"equal share of {len(stains)}"
    )
    axes.set(xlim=(-0.6, len(stains) - 0.4), ylim=(-0.03, 1.03), ylabel="stain weight")
    axes.set_xticks(range(len(stains)), ticks)
    axes.grid(visible=False, axis="x")
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        fontsize=9,
        title="true class",
        title_fontsize=9,
        alignment="left",
    )
    lines = [heading, "weights of a case add up to 1 over the stains that it has"]
    _titled(axes, f"Stain weights of {len(cases)} test cases", lines)
    return figure


def _box(axes, x, weights):
    line = {"color": GREY, "linewidth": 1.2}
    styles = dict.fromkeys(("boxprops", "whiskerprops", "capprops"), line)
    axes.boxplot(
        weights, positions=[x], widths=0.5, showfliers=False, medianprops={"color": INK, "linewidth": 2}, **styles
    )


def _spread(weights):
    """Sideways places of points so that near ones do not cover each other: centre, right, left, further right, ..."""
    places, seen = np.zeros(len(weights)), {}
    for i in np.argsort(weights, kind="stable"):
        level = round(weights[i] / 0.025)
        k = seen.get(level, 0)
        seen[level] = k + 1
        places[i] = np.clip((k + 1) // 2 * 0.045 * (-1) ** k, -0.4, 0.4)
    return places

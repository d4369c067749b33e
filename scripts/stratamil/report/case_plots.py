"""Figures of attention in a case: patch weights, slice weights, maps; and of stain weights over cases."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from stratamil.core.wording import of_slice
from stratamil.explain import attention_tables
from stratamil.explain.attention_tables import Case
from stratamil.report.ratio_scale import OCTAVES, RATIOS, SCALE, octaves
from stratamil.report.style import GREY, STYLE
from stratamil.report.tiles import INK, broken, cut, font, short
from stratamil.stats.ranking import alike

PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
SMALLEST_RATIO = 1e-6  # smaller ratios fall in the first bar of a histogram
BINS = 40
FRAME = (
    "each frame: a slice, at its own scale; dots: its patches at their x and y, y downwards",
    "percent: share of the case's attention",
)
# Of maps, in inches: the largest frame of several and of one, the least, and dots that lie as near as they can.
LARGE, LARGEST, LEAST, DOT = (2.7, 3.0), (6.0, 5.0), 0.7, 0.32
WIDEST, EDGE, APART, NAME = 11.8, 0.35, 0.35, 1.6  # a row, its margin, between frames, a name above one
HEAD, NAMED, FOOT, BAR = 1.2, 0.62, 0.85, 4.8  # heights of heading, name and scale; width of the scale
OF_STAINS = "stain weight (adds up to 1 over the case)"
SLICE_NAMES = 1.4, 4.0  # inches that names of slices take, at least and at most


def facts(case: Case) -> list[str]:
    """Return the labels of a case and the probability of the predicted one, as a heading has them."""
    if not case.true_label:
        return [f"predicted: {case.predicted_label}, p = {case.probability:.3f}"]
    right = "correct" if case.true_label == case.predicted_label else "WRONG"
    return [f"true: {case.true_label}", f"predicted: {case.predicted_label}, p = {case.probability:.3f} ({right})"]


class Frame(NamedTuple):
    """A slice on a map: its patches, spans of x and y, and the size in inches; patches lie `apart` from each other."""

    stain: str
    slice_id: str
    patches: pd.DataFrame
    apart: float
    spans: tuple[tuple[float, float], tuple[float, float]]
    size: tuple[float, float]


@matplotlib.rc_context(STYLE)
def maps(case: Case, heading: str) -> Figure:
    """Draw each slice with coordinates in a frame: a dot a patch, y downwards, its colour the ratio to an equal share.

    The share is that of the case, so that the slices of a case can be compared.
    """
    patches = case.patches.assign(ratio=case.patches["effective_ratio"])
    slices = list(patches[patches["x"].notna()].groupby(["stain", "slice_id"], sort=False, observed=True))
    frames = [_frame(*name, here, LARGEST if len(slices) == 1 else LARGE) for name, here in slices]
    rows = _in_rows(frames)
    heights = [max(frame.size[1] for frame in row) + NAMED for row in rows]
    width, height = _width(rows), HEAD + sum(heights) + FOOT
    figure = Figure(figsize=(width, height))
    top = HEAD
    for row, tall in zip(rows, heights):
        left = EDGE
        for frame in row:
            box = (left / width, 1 - (top + NAMED + frame.size[1]) / height, frame.size[0] / width)
            _map(figure.add_axes((*box, frame.size[1] / height)), frame)
            left += _slot(frame)
        top += tall
    _ratio_bar(figure)
    room = width - 2 * EDGE
    title = _cut(f"Case {case.id}: attention over its slices", 12, room, bold=True)
    figure.text(EDGE / width, 1 - 0.3 / height, title, weight="bold", size=12)
    text = "\n".join(_cut(line, 9, room) for line in (", ".join(facts(case)), heading, *FRAME))
    figure.text(EDGE / width, 1 - 0.4 / height, text, size=9, linespacing=1.4, va="top")
    return figure


def _frame(stain: str, slice_id: str, patches: pd.DataFrame, largest: tuple[float, float]) -> Frame:
    """Return the frame of a slice, as large as dots of `DOT` and `largest`, width and height in inches, allow."""
    places = patches[["x", "y"]].to_numpy(dtype=float)
    near = cKDTree(np.unique(places, axis=0)).query(places, k=2)[0][:, 1]
    apart = float(np.median(near[np.isfinite(near)])) if np.isfinite(near).any() else 1.0
    (left, top), (right, bottom) = places.min(0) - 0.7 * apart, places.max(0) + 0.7 * apart
    scale = min(largest[0] / (right - left), largest[1] / (bottom - top), DOT / apart)
    size = (max((right - left) * scale, LEAST), max((bottom - top) * scale, LEAST))
    spans = [
        (middle - length / scale / 2, middle + length / scale / 2)
        for middle, length in zip(((left + right) / 2, (top + bottom) / 2), size)
    ]
    return Frame(stain, slice_id, patches.sort_values("ratio"), apart, tuple(spans), size)


def _slot(frame: Frame) -> float:
    """Return the inches that a frame takes in its row: those of its name at least."""
    return max(frame.size[0], NAME) + APART


def _in_rows(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Return frames in rows, as many in each as have room."""
    rows: list[list[Frame]] = [[]]
    for frame in frames:
        if rows[-1] and sum(map(_slot, [*rows[-1], frame])) > WIDEST:
            rows.append([])
        rows[-1].append(frame)
    return rows


def _width(rows: Sequence[Sequence[Frame]]) -> float:
    """Return the inches of a picture of these rows; the heading needs some."""
    return max(6.5, *(sum(map(_slot, row)) - APART + 2 * EDGE for row in rows))


def _map(axes: Axes, frame: Frame) -> None:
    """Draw the patches of a slice in its frame, with stain, share of the attention and name above it."""
    (left, right), (top, bottom) = frame.spans
    dot = np.clip(0.9 * frame.apart * frame.size[0] / (right - left) * 72, 1.4, None)  # points
    here = frame.patches
    colors = RATIOS(octaves(here["ratio"].to_numpy()))
    axes.scatter(here["x"], here["y"], dot**2, colors, linewidths=0)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=GREY, linewidth=0.6)
    room = max(frame.size[0], NAME)
    title = _cut(f"{frame.stain}: {here['effective_weight'].sum():.1%}", 9, room, bold=True)
    name = [_cut(line, 7, room) for line in broken(of_slice(frame.slice_id), font(7), room * 72)]
    above = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate("\n".join(name), xytext=(0, 4), size=7, linespacing=1.2, **above)
    axes.annotate(title, xytext=(0, 6 + 9 * len(name)), size=9, weight="bold", **above)


def _ratio_bar(figure: Figure) -> None:
    """Draw the scale of ratios below the frames."""
    width, height = figure.get_size_inches()
    levels = ScalarMappable(Normalize(-OCTAVES, OCTAVES), RATIOS)
    box = ((width - BAR) / 2 / width, 0.5 / height, BAR / width, 0.12 / height)
    bar = figure.colorbar(levels, cax=figure.add_axes(box), orientation="horizontal")
    bar.set_ticks(range(-OCTAVES, OCTAVES + 1), labels=SCALE)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("effective weight ÷ equal share of the case", fontsize=8)


def _axes(size: tuple[float, float], *, left: float, right: float, bottom: float, top: float) -> tuple[Figure, Axes]:
    """Return a figure of one axes, sizes in inches: a layout that matplotlib computes takes twice the time."""
    width, height = size
    figure = Figure(figsize=size)
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    return figure, figure.add_axes(box)


def _cut(text: str, size: float, inches: float, bold: bool = False) -> str:
    """Return a text of `size` points cut to fit a width."""
    return cut(text, font(size, bold), inches * 72)


def _patches(n: int) -> str:
    """Return a number of patches in words."""
    return f"{n} patch{'es' if n != 1 else ''}"


def _titled(axes: Axes, title: str, lines: Sequence[str]) -> None:
    """Write a title and lines below it above the axes, cut where the figure ends."""
    room = axes.figure.get_figwidth() * (1 - axes.get_position().x0) - 0.1
    title, lines = _cut(title, 12, room, bold=True), [_cut(line, 9, room) for line in lines]
    axes.annotate(title, (0, 1), (0, 8 + 14 * len(lines)), "axes fraction", "offset points", weight="bold", size=12)
    axes.annotate("\n".join(lines), (0, 1), (0, 6), "axes fraction", "offset points", size=9, linespacing=1.4)


@matplotlib.rc_context(STYLE)
def histogram(case: Case, stains: Mapping[str, str], heading: str) -> Figure:
    """Draw a case's effective weights as ratios to an equal share: a histogram, logarithmic, stacked by stain.

    stains: of `palette`.
    """
    weights = case.patches["effective_weight"].to_numpy(dtype=float)
    n = len(weights)
    ratios = np.log10(np.maximum(weights * n, SMALLEST_RATIO))
    edges = _log_bins(min(ratios.min(), -0.2), max(ratios.max(), 0.2), n)
    if alike(weights):  # one bar, on the line
        ratios[:], edges = 0, edges - (edges[1] - edges[0]) / 2
    figure, axes = _axes((9, 3.8), left=0.7, right=2.6, bottom=0.6, top=0.85)
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
    effective = short(attention_tables.effective_number(weights))
    facts = f"effective number of patches {effective} of {n}; largest weight {weights.max():.3g}"
    if tail:
        facts += f"; {tail} below {SMALLEST_RATIO:g} × equal share stand in the first bar"
    _titled(axes, f"Case {case.id}: effective weights of its patches", [_line(case, heading), facts])
    return figure


def _line(case: Case, heading: str) -> str:
    """Return the line below a title: the facts of a case, and split and seed."""
    return ", ".join([*facts(case), heading])


def _log_bins(low: float, high: float, n: int) -> NDArray[np.float64]:
    """Return edges of equal bins of decimal logarithms, one of them at 0, about as many as fit n values."""
    width = (high - low) / np.clip(2 * np.sqrt(n), 10, BINS)
    return np.arange(np.floor(low / width), np.ceil(high / width + 1e-9) + 1) * width


def _log_ticks(low: float, high: float) -> tuple[NDArray[np.float64], list[str]]:
    """Return positions and labels of round ratios between two decimal logarithms, at most nine."""
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps if low <= np.log10(step) + power <= high]
        if len(ticks) <= 9:
            break
    return np.log10(ticks), [f"{tick:g}" for tick in ticks]


@matplotlib.rc_context(STYLE)
def slice_ranks(case: Case, stains: Mapping[str, str], heading: str) -> Figure:
    """Draw bars of the slice weights of a case, sorted within each stain, with the equal share of each stain's slices.

    Where each stain has one slice, bars are of the stain weights. stains: of `palette`.
    """
    bars, labels, y = [], [], 0.0
    for stain in stains:
        slices = case.slices(stain)
        bars.append((stain, y, slices))
        labels += [(y + 1 + i, of_slice(name)) for i, name in enumerate(slices["slice_id"])]
        y += len(slices) + 1.6
    longest = max(font(10).getlength(name) / 72 for _, name in labels)
    left = float(np.clip(longest + 0.3, *SLICE_NAMES))
    size = float(np.clip(10 * (left - 0.3) / longest, 6.5, 10))
    alone = all(len(slices) < 2 for _, _, slices in bars)
    figure, axes = _axes((left + 7.6, 1.3 + 0.27 * y), left=left, right=0.3, bottom=0.55, top=0.65)
    for stain, start, slices in bars:
        if slices.empty:
            axes.text(0, start, f"{stain}: missing", weight="bold", va="center", color=GREY)
        elif alone:
            _stain_bar(axes, start, slices, stain, case.stains[stain], stains[stain])
        else:
            title = f"{stain}: stain weight {case.stains[stain]:.3f}, "
            _stain_bars(axes, start, slices, title, stains[stain])
    # Many slices share little each: their bars are drawn larger.
    highest = case.stains.max() if alone else max(part["weight"].max() for _, _, part in bars if len(part) > 1)
    end = 1 if highest > 0.5 else highest
    axes.set(xlim=(0, end * 1.16), ylim=(y - 0.6, -0.6))
    axes.set_xlabel(OF_STAINS if alone else "slice weight (adds up to 1 within a stain)")
    axes.set_xticks(MaxNLocator(5).tick_values(0, end)[:6])
    axes.set_xlim(0, end * 1.16)
    axes.set_yticks([at for at, _ in labels], [_cut(name, size, left - 0.25) for _, name in labels], size=size)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    each = "the only slice of the case" if len(labels) == 1 else "one slice per stain"
    lines = [_line(case, f"{heading}; {each}" if alone else heading)]
    _titled(axes, f"Case {case.id}: {'stain' if alone else 'slice'} weights", lines)
    return figure


def _stain_bar(axes: Axes, start: float, slices: pd.DataFrame, stain: str, weight: float, color: str) -> None:
    """Draw the weight of a stain of one slice below its name, which stands at `start`."""
    axes.text(0, start, stain, weight="bold", va="center")
    axes.barh([start + 1], [weight], height=0.72, color=color)
    _beside(axes, weight, start + 1, f"{weight:.3f}, {_patches(slices['patches'].iloc[0])}")


def _stain_bars(axes: Axes, start: float, slices: pd.DataFrame, title: str, color: str) -> None:
    """Draw the slices of a stain below its title, which stands at `start`; one alone has no bar."""
    n, places = len(slices), start + 1 + np.arange(len(slices))
    title += f"{n} slices, dashed: equal share {1 / n:.2g}" if n > 1 else "1 slice"
    axes.text(0, start, title, weight="bold", va="center")
    if n == 1:
        _beside(axes, 0, places[0], f"the only slice, {_patches(slices['patches'].iloc[0])}")
        return
    axes.barh(places, slices["weight"], height=0.72, color=color)
    for place, weight, patches in zip(places, slices["weight"], slices["patches"]):
        _beside(axes, weight, place, f"{weight:.3f}, {_patches(patches)}")
    axes.plot([1 / n] * 2, [places[0] - 0.5, places[-1] + 0.5], color=INK, linestyle="--", linewidth=1.2)


def _beside(axes: Axes, x: float, y: float, text: str) -> None:
    """Write a text to the right of a bar that ends at x."""
    told = {"textcoords": "offset points", "va": "center", "size": 8.5, "bbox": PAPER, "zorder": 4}
    axes.annotate(text, (x, y), (4, 0), **told)


@matplotlib.rc_context(STYLE)
def stain_distribution(
    cases: Sequence[Case], stains: Mapping[str, str], heading: str, kind: str = "test cases"
) -> Figure:
    """Draw the weight of each stain, a box and a point a case; cases without the stain are counted below.

    stains: of `palette`. kind: what the cases are called. Where the true class is not known, marks are of the predicted
    one.
    """
    figure, axes = _axes((max(8.9, 4.4 + 1.6 * len(stains)), 5.0), left=0.7, right=2.6, bottom=0.8, top=0.85)
    known = all(case.true_label for case in cases)
    marked = [case.true_label if known else case.predicted_label for case in cases]
    classes = sorted({*marked, *(case.predicted_label for case in cases)})
    marks = dict(zip(classes, "o^sDvP*X" * (1 + len(classes) // 8)))
    ticks = []
    for x, stain in enumerate(stains):
        having = [(case, label) for case, label in zip(cases, marked) if stain in case.stains.index]
        weights = np.array([case.stains[stain] for case, _ in having], dtype=float)
        ticks.append(f"{stain}\nn = {len(having)}\nmissing in {len(cases) - len(having)}")
        if having:
            _box(axes, x, weights)
        for place, weight, (_, label) in zip(x + _spread(weights), weights, having):
            axes.plot(place, weight, marks[label], ms=5.5, mfc=stains[stain], mec=INK, mew=0.5, alpha=0.85)
    for name in classes:
        label = f"{_cut(name, 9, 1.6)} ({marked.count(name)})"
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
        title="true class" if known else "predicted class",
        title_fontsize=9,
        alignment="left",
    )
    lines = [heading, "weights of a case add up to 1 over the stains that it has"]
    _titled(axes, f"Stain weights of {len(cases)} {kind}", lines)
    return figure


def _box(axes: Axes, x: float, weights: NDArray[np.float64]) -> None:
    """Draw a box of the quartiles with the median."""
    line = {"color": GREY, "linewidth": 1.2}
    styles = dict.fromkeys(("boxprops", "whiskerprops", "capprops"), line)
    axes.boxplot(
        weights, positions=[x], widths=0.5, showfliers=False, medianprops={"color": INK, "linewidth": 2}, **styles
    )


def _spread(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sideways places of points so that near ones do not cover each other: centre, right, left, right."""
    places, seen = np.zeros(len(weights)), {}
    for i in np.argsort(weights, kind="stable"):
        level = round(weights[i] / 0.025)
        k = seen.get(level, 0)
        seen[level] = k + 1
        places[i] = np.clip((k + 1) // 2 * 0.045 * (-1) ** k, -0.4, 0.4)
    return places

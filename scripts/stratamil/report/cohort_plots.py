"""Figures of a cohort: amounts, stains, and the flow of cases."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from stratamil.report.style import COLORS, GREY, SINGLE, class_legend, figure_of, styled

NUMBERS = ("cases", "patients", "patches", "counts")  # of a step of the flow
BOX = 0.7  # lines that a box of a flow is higher than its text
KEPT, LOST = 4.3, 5.0  # inches: width of a box that is kept, beginning of one that is left out
FEW = 9  # amounts up to here are all marked on the axis
POINTS = 2000  # beyond, a strip shows boxes only: a page of more would be slow and large


@styled
def strips(
    values: Mapping[str, ArrayLike],
    y: ArrayLike,
    classes: Sequence[str],
    title: str,
    xlabel: str,
    *,
    colors: Sequence[str] = COLORS,
    what: str = "cases",
) -> Figure:
    """Draw amounts on a logarithmic axis: a row an entry of `values`, a colour a class, boxes of quartiles, all points.

    values: name -> (n,) amounts above 0, NaN where there is none. y: (n,) labels. what: what is counted.
    """
    y, rows, n_classes = np.asarray(y, dtype=int), list(values), len(classes)
    values = {name: np.asarray(column, dtype=float) for name, column in values.items()}
    shown = sum(np.isfinite(column).sum() for column in values.values()) <= POINTS
    figure, axes = figure_of(SINGLE, 1.5 + (0.2 + 0.22 * n_classes) * len(rows))
    for row, name in enumerate(rows):
        for c in range(n_classes):
            amounts = np.sort(values[name][(y == c) & np.isfinite(values[name])])
            if len(amounts):
                place = row + (c - (n_classes - 1) / 2) * 0.8 / n_classes
                _strip(axes, place, amounts, colors[c % len(colors)], shown)
    axes.set_xscale("log")
    every = np.concatenate([column[np.isfinite(column)] for column in values.values()])
    few = len(every) and every.max() <= FEW  # slices: each number has its tick
    axes.xaxis.set_major_locator(LogLocator(10, range(1, 10) if few else (1, 2, 5), numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(rows)), [f"{name}\nn = {np.isfinite(values[name]).sum()}" for name in rows])
    axes.set(ylim=(len(rows) - 0.45, -0.55), xlabel=xlabel)
    axes.grid(visible=False, axis="y")
    class_legend(figure, y, classes, colors)
    figure.suptitle(f"{title} (n = {len(y)} {what})", fontsize=11, fontweight="bold")
    return figure


def _strip(axes: Axes, place: float, amounts: NDArray, color: str, shown: bool) -> None:
    """Draw one class of a row: a line over the range, a box of the quartiles with the median, and each amount."""
    low, median, high = np.quantile(amounts, [0.25, 0.5, 0.75])
    axes.plot([amounts[0], amounts[-1]], [place] * 2, color=color, linewidth=1)
    axes.plot([low, high], [place] * 2, color=color, linewidth=9, alpha=0.35, solid_capstyle="butt")
    axes.plot([median] * 2, [place - 0.1, place + 0.1], color="black", linewidth=2, zorder=3)
    if shown:  # spread a little, always the same way: equal amounts would hide each other
        spread = 0.08 * np.sin(2.4 * np.arange(len(amounts)))
        axes.plot(amounts, place + spread, "o", color=color, markersize=3.5, alpha=0.6, markeredgewidth=0)


@styled
def stain_patterns(
    present: ArrayLike,
    counts: ArrayLike,
    stains: Sequence[str],
    classes: Sequence[str],
    title: str,
    *,
    colors: Sequence[str] = COLORS,
) -> Figure:
    """Draw how many cases of each class have which stains: a row a combination, dots of its stains, bars of its cases.

    present: (rows, stains) booleans. counts: (rows, classes).
    """
    present, counts = np.asarray(present, dtype=bool), np.asarray(counts, dtype=int)
    rows = len(counts)
    widths = {"width_ratios": [0.55 * len(stains), 4.5]}
    size = 2.2 + 0.45 * len(stains) + 3.4, 1.7 + 0.36 * rows
    figure, (left, right) = figure_of(*size, ncols=2, sharey=True, gridspec_kw=widths)
    for row, here in enumerate(present):
        at = np.flatnonzero(here)
        left.plot(np.arange(len(stains)), [row] * len(stains), "o", color="#e4e4e4", markersize=9)
        left.plot(at, [row] * len(at), "o-", color=GREY, markersize=9, linewidth=2)
    left.set_xticks(range(len(stains)), stains, rotation=45, ha="left", rotation_mode="anchor")
    left.set(xlim=(-0.6, len(stains) - 0.4), ylim=(rows - 0.4, -0.6))
    left.tick_params(length=0, labeltop=True, labelbottom=False, labelleft=False)
    left.spines[:].set_visible(False)
    base = np.zeros(rows)
    for c in range(len(classes)):
        right.barh(range(rows), counts[:, c], left=base, height=0.62, color=colors[c % len(colors)])
        base += counts[:, c]
    for row, total in enumerate(base):
        right.annotate(f"{total:.0f}", (total, row), (4, 0), textcoords="offset points", va="center", fontsize=9)
    right.set(xlabel="cases", xlim=(0, max(base.max(initial=1) * 1.12, 1)))
    right.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    right.tick_params(axis="y", length=0)
    for axes in (left, right):
        axes.grid(visible=False, axis="both" if axes is left else "y")
    class_legend(figure, np.repeat(np.arange(len(classes)), counts.sum(axis=0)), classes, colors, "s")
    figure.suptitle(f"{title} (n = {counts.sum()} cases)", fontsize=11, fontweight="bold")
    return figure


@styled
def flow(sources: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the flow of cases and patches as boxes, kept ones down the left, left out ones beside (CONSORT, TRIPOD+AI).

    sources, steps: of cohort.flow.follow. A step that leaves nothing out has no box of its own.
    """
    figure = Figure(figsize=(9, 1))
    axes = figure.add_axes((0, 0, 1, 1))  # in inches across, in lines of text down
    kept = [_wrapped(f"{source['n']:,} {source['name']}", 20) for source in sources]
    y, height = 0.4, max(map(len, kept)) + BOX
    width = (KEPT - 0.2 * (len(sources) - 1)) / len(sources)
    for i, lines in enumerate(kept):
        _box(axes, (0.2 + i * (width + 0.2), y), (width, height), lines, "black", bold=len(lines))
    middles = [0.2 + width / 2 + i * (width + 0.2) for i in range(len(sources))]
    of_sources = [line for source in sources for line in _lost(source["left_out"], source["unit"])]
    unopened = [part for source in sources for part in source.get("unopened", [])]
    of_sources += _lost([part | {"reason": _with(part["reason"], part["why"])} for part in unopened], "files")
    for step in _distinct(steps):
        lost, of_sources = of_sources + _lost(step["left_out"]), []
        below = y + height + max(1.2, len(lost) + BOX + 0.6)
        for x in middles:
            _arrow(axes, (x, y + height), (x, below))
        if lost:
            middle, tall = (y + height + below) / 2, len(lost) + BOX
            _arrow(axes, (middles[0], middle), (LOST, middle))
            _box(axes, (LOST, middle - tall / 2), (8.8 - LOST, tall), lost, GREY)
        heading, text = _step(step)
        y, height, middles = below, len(heading + text) + BOX, [0.2 + KEPT / 2]
        _box(axes, (0.2, y), (KEPT, height), heading + text, "black", bold=len(heading))
    axes.set(xlim=(0, 9), ylim=(y + height + 0.4, 0))
    axes.set_axis_off()
    figure.set_size_inches(9, 0.22 * (y + height + 0.4))
    return figure


def _distinct(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the steps without those whose numbers the next one repeats."""
    kept: list[Mapping[str, Any]] = []
    for step in steps:
        if kept and not step["left_out"] and all(step[name] == kept[-1][name] for name in NUMBERS):
            step = {**step, "left_out": kept.pop()["left_out"]}
        kept.append(step)
    return kept


def _box(
    axes: Axes,
    corner: tuple[float, float],
    size: tuple[float, float],
    lines: Sequence[str],
    color: str,
    *,
    bold: int = 0,
) -> None:
    """Draw a box with lines of text, the first of them bold."""
    (x, y), (width, height) = corner, size
    axes.add_patch(Rectangle((x, y), width, height, facecolor="none", edgecolor=color, linewidth=0.9))
    top = y + (height - len(lines)) / 2 + 0.55
    for i, line in enumerate(lines):
        weight = "bold" if i < bold else "normal"
        axes.text(x + 0.12, top + i, line, va="center", fontsize=9.5, fontweight=weight, color=color)


def _arrow(axes: Axes, begin: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, begin, arrowprops={"arrowstyle": "->", "color": GREY, "shrinkA": 0, "shrinkB": 0})


def _step(step: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the lines of a step: its heading, and its numbers."""
    counts = ", ".join(f"{n:,} {name}" for name, n in step["counts"].items())
    other = step["cases"] - sum(step["counts"].values())
    counts += f", {other:,} of other codes" if other else ""
    amounts = [(step[name], name) for name in ("patients", "patches") if step[name] is not None]
    numbers = ", ".join(_several(*amount) for amount in amounts)
    heading = f"{_several(step['cases'], 'cases')} {step['name']}"
    return _wrapped(heading, 44), _wrapped(numbers, 50) + _wrapped(counts, 50)


def _lost(left_out: Iterable[Mapping[str, Any]], unit: str | None = None) -> list[str]:
    """Return the lines of what is left out, with its reasons."""
    lines = []
    for part in left_out:
        amounts = [(part["n"], unit)] if unit else [(part[name], name) for name in ("cases", "patches") if part[name]]
        lines += _wrapped(f"{', '.join(_several(*amount) for amount in amounts)}: {part['reason']}", 46, indent="  ")
    return lines


def _with(reason: str, why: str) -> str:
    return f"{reason} ({why})" if why else reason


def _several(n: int, what: str) -> str:
    return f"{n:,} {what if n != 1 else {'patches': 'patch'}.get(what, what.removesuffix('s'))}"


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent) or [text]

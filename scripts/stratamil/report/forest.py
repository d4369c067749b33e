"""Two figures that answer at a glance: a forest of estimates, and a mean ROC curve with its band and operating point.

Both take data alone, no study: runs, baselines and subgroups are rows of the same forest.
"""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from stratamil.core.wording import num, span
from stratamil.report.style import BROKEN, DASHED, GREY, MODEL, SINGLE, figure_of, styled
from stratamil.stats.curves import Band
from stratamil.stats.intervals import Estimate

ROW = 0.235  # inches a row of a forest, of one line
TEXT = 0.155  # inches a line of a label
GAP = 0.34  # of a row: between labels of several lines and the next
DIGIT = 5.3  # points that a character of 9 points takes, on average
LABEL = 24  # characters, beyond which a label goes on in the next line
HEAD = "value (95% CI)"
OPEN = "open mark: no CI defined"


class Row(NamedTuple):
    """A line of a forest.

    estimate: drawn as a square with its CI, as a diamond where `mean`; open where it has no CI. n: beside it. group:
    written above the first of several rows of the same group. runs: single values behind the estimate, drawn as faint
    dots; they stand for a CI.
    """

    label: str
    estimate: Estimate
    n: int | None = None
    group: str = ""
    mean: bool = False
    runs: Sequence[float] = ()


class Point(NamedTuple):
    """An operating point on a ROC curve; label: what it is, as `at 0.5`."""

    label: str
    sensitivity: Estimate
    specificity: Estimate


@styled
def forest(
    rows: Sequence[Row],
    title: str,
    measure: str,
    *,
    reference: float | None = None,
    digits: int = 2,
    sides: tuple[str, str] | None = None,
    unit: str = "cases",
) -> Figure:
    """Draw a line a row: its label, its estimate with 95% CI on one axis, the same in digits, and its n.

    measure: name of the axis, as `AUROC` or `difference of AUROC`. reference: value of no effect, a dashed line.
    sides: what it means to lie left and right of the reference. unit: what n counts, the heading of its column.
    """
    labels = [textwrap.fill(row.label, LABEL) for row in rows]
    places, headings, y = _places(rows, labels)
    figure, axes = figure_of(SINGLE, 1.25 + ROW * y + (0.2 if sides else 0))
    low, high = _limits(rows, reference)
    axes.set(xlim=(low, high), ylim=(y - 0.4, -1.5))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if reference is not None:
        axes.axvline(reference, color=GREY, linewidth=0.9, linestyle=DASHED)
    told = [_digits(row.estimate, digits) for row in rows]
    digits_of_n = max((len(str(row.n)) for row in rows if row.n is not None), default=1)
    widths = (max(map(len, [*told, ""])), digits_of_n), (len(HEAD), len(unit))
    column = 16 + max(DIGIT * left + 6.5 * right for left, right in widths)  # where n ends
    for place, row, text in zip(places, rows, told):
        _row(axes, place, row)
        weight = "bold" if row.mean else "normal"
        _beside(axes, place, text, 8, "left", weight)
        _beside(axes, place, "" if row.n is None else f"{row.n}", column, "right", weight)
    _beside(axes, -1, HEAD, 8, "left", "bold")
    if any(row.n is not None for row in rows):
        _beside(axes, -1, unit, column, "right", "bold")
    ticks = sorted([*zip(places, labels), *headings])
    axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks], fontsize=9)
    bold = {at for at, _ in headings} | {at for at, row in zip(places, rows) if row.mean}
    for (at, _), label in zip(ticks, axes.get_yticklabels()):
        label.set_fontweight("bold" if at in bold else "normal")
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=9)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{measure} ({OPEN})" if any(map(_is_open, rows)) else measure, labelpad=18 if sides else 4)
    for text, align, apart in ((f"← {sides[0]}", "right", -6), (f"{sides[1]} →", "left", 6)) if sides else ():
        place = {"xycoords": ("data", "axes fraction"), "xytext": (apart, -18), "textcoords": "offset points"}
        axes.annotate(text, (reference, 0), ha=align, va="top", fontsize=9, annotation_clip=False, **place)
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left", wrap=True)
    return figure


def _places(rows: Sequence[Row], labels: Sequence[str]) -> tuple[list[float], list[tuple[float, str]], float]:
    """Return where each row lies, in lines from the top, the headings with their places, and the lines of all."""
    places, headings, y = [], [], 0.0
    for i, (row, label) in enumerate(zip(rows, labels)):
        if row.group and (i == 0 or rows[i - 1].group != row.group):
            headings.append((y, row.group))
            y += 1
        y += 0.4 if row.mean and i and not rows[i - 1].mean else 0
        height = max(1.0, (label.count("\n") + 1) * TEXT / ROW + GAP)
        places.append(y + (height - 1) / 2)
        y += height
    return places, headings, y


def _digits(estimate: Estimate, digits: int) -> str:
    if estimate.value is None:
        return "not defined"
    return num(estimate.value, digits) + (
        "" if estimate.low is None else f" ({span(estimate.low, estimate.high, digits)})"
    )


def _limits(rows: Sequence[Row], reference: float | None) -> tuple[float, float]:
    """Return limits that hold all values, CIs and the reference."""
    ends = [
        end for row in rows for end in (row.estimate.value, row.estimate.low, row.estimate.high, *row.runs, reference)
    ]
    known = [end for end in ends if end is not None] or [0.0, 1.0]
    low, high = min(known), max(known)
    room = 0.05 * (high - low or 1)
    return low - room, high + room


def _row(axes: Axes, place: float, row: Row) -> None:
    """Draw the marks of a row."""
    value, low, high, _ = row.estimate.value, row.estimate.low, row.estimate.high, row.estimate.n
    axes.plot(row.runs, [place] * len(row.runs), "o", color=GREY, markersize=3.5, alpha=0.5, linestyle="")
    if value is None:
        return
    if low is not None:
        axes.plot([low, high], [place] * 2, color=MODEL, linewidth=2 if row.mean else 1.2)
    marker, size = ("D", 6.5) if row.mean else ("s", 4.5)
    axes.plot(value, place, marker, color=MODEL, markersize=size, fillstyle="none" if _is_open(row) else "full")


def _is_open(row: Row) -> bool:
    return row.estimate.value is not None and row.estimate.low is None and not row.runs


def _beside(axes: Axes, place: float, text: str, points: float, align: str, weight: str) -> None:
    """Write text so many points right of the axes, at the height of a row."""
    axes.annotate(
        text,
        (1, place),
        xycoords=("axes fraction", "data"),
        xytext=(points, 0),
        textcoords="offset points",
        ha=align,
        va="center",
        fontsize=9,
        fontweight=weight,
        annotation_clip=False,
    )


@styled
def roc_band(
    runs: Sequence[tuple[ArrayLike, ArrayLike]],
    mean: Band,
    label: str,
    title: str,
    *,
    points: Sequence[Point] = (),
    beside: Sequence[tuple[str, Band]] = (),
) -> Figure:
    """Draw the ROC curves of single runs, faint, under their mean with its band, and operating points with CIs.

    runs: labels and scores of each; those of one class have no curve. mean: of `stats.curves.mean_roc`. label: of the
    mean, as `mean of 5 runs: AUROC 0.91`. beside: more mean curves, of baselines, in broken grey lines.
    """
    from sklearn.metrics import roc_curve  # a second, which a forest need not wait for

    figure, axes = figure_of(SINGLE, SINGLE)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=DASHED)
    drawn = [(y, score) for y, score in runs if 0 < np.count_nonzero(y) < len(np.asarray(y))]
    for i, (y, score) in enumerate(drawn):
        x, z, _ = roc_curve(y, score, drop_intermediate=False)
        name = f"{len(drawn)} trainings" if i == 0 and len(drawn) > 1 else None
        axes.plot(x, z, color=GREY, linewidth=0.7, alpha=0.45, label=name)
    if mean.low is not None:
        axes.fill_between(mean.x, mean.low, mean.high, color=MODEL, alpha=0.13, linewidth=0, label="95% CI, pointwise")
    for i, (name, other) in enumerate(beside):
        axes.plot(other.x, other.y, color=GREY, linewidth=1.6, linestyle=BROKEN[i % len(BROKEN)], label=name)
    axes.plot(mean.x, mean.y, color=MODEL, linewidth=2.2, label=label)
    for i, point in enumerate(points):
        _point(axes, point, "oDs^"[i % 4])
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="sensitivity", aspect="equal")
    axes.legend(loc="lower right", fontsize=9)
    axes.set_title(title)
    return figure


def _point(axes: Axes, point: Point, marker: str) -> None:
    """Draw an operating point, with a bar for each CI there is."""
    sensitivity, specificity = point.sensitivity, point.specificity
    if sensitivity.value is None or specificity.value is None:
        return
    x, y = 1 - specificity.value, sensitivity.value
    if specificity.low is not None:
        axes.plot([1 - specificity.high, 1 - specificity.low], [y, y], color=MODEL, linewidth=1.2)
    if sensitivity.low is not None:
        axes.plot([x, x], [sensitivity.low, sensitivity.high], color=MODEL, linewidth=1.2)
    text = f"{point.label}: sens. {num(y, 2)}, spec. {num(specificity.value, 2)}"
    axes.plot(x, y, marker, color=MODEL, markeredgecolor="white", markersize=8, label=text)

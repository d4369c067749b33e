"""Colours and fonts of every figure, and how a figure becomes a file."""

import re
from collections.abc import Callable, Sequence
from functools import wraps
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from stratamil.core import files

# Of classes: Okabe and Ito, safe for colour vision deficiency.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Of stains: Paul Tol's muted colours, none of them a class colour.
STAIN_COLORS = ("#AA4499", "#44AA99", "#DDCC77", "#332288", "#999933", "#882255")
# Of orders of patches: by attention and by signed contribution.
ATTENTION, CONTRIBUTION = "#8A2BE2", "#A0712A"
WRONG = "#B00020"
GREY = "#6b6b6b"
# Of the model as a whole: its mean, its operating point, its row in a forest. Not quite black, which SVG leaves out as
# the default, so that a page could not turn it light on dark paper.
MODEL = "#010101"
DASHED = (0, (4, 3))  # of what would be by chance, or perfect
BROKEN = ((0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))  # of baselines
SETS = {"test": (MODEL, "-"), "validation": (MODEL, BROKEN[1]), "training": (GREY, "-")}  # colour and line of each
# Inches a figure is drawn wide for one and for two columns of a journal, and the millimetres that these have there.
SINGLE, DOUBLE = 5.2, 9.6
COLUMNS = {SINGLE: 89, DOUBLE: 183}
PRINTED = 300  # dots an inch
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "text.parse_math": False,
    "svg.hashsalt": "stratamil",
    "svg.fonttype": "none",
}


def figure_of(width: float, height: float, **subplots: Any) -> tuple[Figure, Any]:
    """Return a figure of so many inches in this module's style, and its axes. subplots: of `Figure.subplots`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(**subplots)


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Return `draw` so that it draws in this module's style and leaves matplotlib's settings as they were."""

    @wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def lay_out(figure: Figure) -> None:
    """Give the axes their places for good. `savefig` would draw the figure twice to do so, and again each time."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine("none")


def save(figure: Figure, path: Path) -> None:
    """Write the figure to `path`, PNG (150 dpi) or SVG by its suffix; the same figure gives the same bytes."""
    undated = {"Date": None} if str(path).endswith(".svg") else {"Software": None}
    with matplotlib.rc_context(STYLE), files.atomic(path) as temporary:
        lay_out(figure)
        figure.savefig(temporary, dpi=150, facecolor="white", metadata=undated)


def svg(figure: Figure) -> str:
    """Return the figure as the text of an SVG file; the same figure gives the same text."""
    text = StringIO()
    with matplotlib.rc_context(STYLE):
        lay_out(figure)
        figure.savefig(text, format="svg", facecolor="white", metadata={"Date": None})
    return text.getvalue()


def publish(figure: Figure, path: Path) -> str:
    """Write `path`.svg and `path`.png of 300 dpi, as wide as one or two columns of a journal; return the SVG's text.

    Both are the same drawing: a figure of up to `SINGLE` inches goes into one column.
    """
    drawn = figure.get_figwidth()
    scale = COLUMNS[SINGLE if drawn <= SINGLE else DOUBLE] / 25.4 / drawn
    text = svg(figure)
    for name, inches in (("width", drawn), ("height", figure.get_figheight())):
        text = re.sub(rf'(<svg [^>]*?{name}=")[^"]*"', rf'\g<1>{inches * scale * 25.4:.2f}mm"', text, count=1)
    files.write_text(text, path.with_name(f"{path.name}.svg"))
    with matplotlib.rc_context(STYLE), files.atomic(path.with_name(f"{path.name}.png")) as temporary:
        dpi = {"dpi": (PRINTED, PRINTED)}
        metadata = {"Software": None}
        figure.savefig(temporary, dpi=PRINTED * scale, facecolor="white", metadata=metadata, pil_kwargs=dpi)
    return text


def class_legend(figure: Figure, y: NDArray, classes: Sequence[str], colors: Sequence[str], marker: str = "o") -> None:
    """Draw the classes with their colours and numbers of cases below the figure. y: class of each case, an index."""
    handles = []
    for c, name in enumerate(classes):
        label = f"{name} (n = {(y == c).sum()})"
        handles.append(Line2D([], [], color=colors[c % len(colors)], marker=marker, linestyle="", label=label))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3), fontsize=9)


def palette(stains: Sequence[str], shown: Sequence[str] | None = None) -> dict[str, str]:
    """Return stain -> colour, the same whatever other stains are shown. shown: some of `stains`, or None for all."""
    colors = {stain: STAIN_COLORS[i % len(STAIN_COLORS)] for i, stain in enumerate(stains)}
    return colors if shown is None else {stain: colors[stain] for stain in shown}

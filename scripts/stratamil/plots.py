"""Figures of predictions and training, for one model and for the cross-split report.

Each function returns a matplotlib Figure; `save` writes it. Labels y are integers; of two classes the last is positive.
"""

import textwrap
from io import StringIO

import matplotlib
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from stratamil import intervals, metrics
from stratamil.files import atomic

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito, told apart by all eyes
# Of stains (Paul Tol's muted, told apart by all eyes): other colours than those of classes in the figures beside them.
STAIN_COLORS = ("#AA4499", "#44AA99", "#DDCC77", "#332288", "#999933", "#882255")
TEST, VALIDATION, TRAINING = 0, 1, 2  # which of the colours each set has, in every figure of a run
WRONG = "#B00020"
GREY = "#6b6b6b"
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
BROKEN = ((0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))
APART = 0.035  # of an axis that thin ROC curves are moved at most, so that each is seen
BOX = 0.7  # lines that a box of a flow is higher than its text
KEPT, LOST = 4.3, 5.0  # inches: width of a box that is kept, beginning of one that is left out
POINTS = 2000  # beyond, a strip shows boxes only: a page of more would be slow and large
CASES_A_COLUMN = 40  # lines of a deviation plot before it goes on in a second column


def _figure(width, height, **subplots):
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(**subplots)


def _styled(draw):
    """Draw with this module's style and leave matplotlib's settings as they were."""

    def drawn(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    drawn.__name__, drawn.__doc__ = draw.__name__, draw.__doc__
    return drawn


def save(figure, path):
    """Write the figure to `path`, PNG (150 dpi) or SVG by its suffix; the same figure gives the same bytes."""
    undated = {"Date": None} if str(path).endswith(".svg") else {"Software": None}
    with matplotlib.rc_context(STYLE), atomic(path) as temporary:
        figure.savefig(temporary, dpi=150, facecolor="white", metadata=undated)


def svg(figure):
    """The figure as the text of an SVG file; the same figure gives the same text."""
    text = StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(text, format="svg", facecolor="white", metadata={"Date": None})
    return text.getvalue()


def _square(axes, xlabel, ylabel):
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=xlabel, ylabel=ylabel, aspect="equal")


def _percent(k, n):
    return f"{k / n:.0%}" if n else "no cases"


@_styled
def confusion_matrix(y, predicted, classes, title, colors=COLORS):
    """Counts of true (rows) against predicted class, each with its share of the row."""
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (np.asarray(y, dtype=int), np.asarray(predicted, dtype=int)), 1)
    rows = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(rows, 1)
    side = 2.2 + 1.0 * len(classes)
    figure, axes = _figure(side + 0.6, side)
    axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5), aspect="equal")
    for i, j in np.ndindex(counts.shape):
        color = "white" if share[i, j] > 0.55 else "black"
        axes.add_patch(
            Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, facecolor=to_rgba(colors[0], share[i, j]), linewidth=0)
        )
        axes.text(j, i - 0.08, counts[i, j], ha="center", va="center", color=color, fontsize=17)
        axes.text(j, i + 0.22, _percent(counts[i, j], rows[i, 0]), ha="center", va="center", color=color, fontsize=10)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), [f"{name}\nn = {n}" for name, n in zip(classes, rows[:, 0])])
    axes.set(xlabel="predicted", ylabel="true")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{title} (n = {len(y)})", fontsize=11, wrap=True)
    return figure


@_styled
def deviation(case_ids, y, p, classes, title, wrong=None, colors=COLORS):
    """One line a case from its true label to its predicted probability: short is good, across the middle is wrong.

    p: (n,) with two classes the probability of the last class, drawn from the true label 0 or 1; with more the
    probability of the true class, drawn from 1. `wrong` (n,) marks the misclassified cases; with two classes it
    is known from p. Cases are sorted by class and probability and spread over columns of `CASES_A_COLUMN`.
    """
    y, p, binary = np.asarray(y, dtype=int), np.asarray(p, dtype=float), len(classes) == 2
    if wrong is None:
        wrong = (p > 0.5) != y if binary else p < 0.5
    wrong, truth = np.asarray(wrong, dtype=bool), y if binary else np.ones(len(y))
    order = np.lexsort((p, y))
    columns = max(1, -(-len(y) // CASES_A_COLUMN))
    lines = -(-len(y) // columns) if len(y) else 1
    figure, grid = _figure(2.2 + 3.8 * columns, 1.7 + 0.2 * lines, ncols=columns, squeeze=False)
    for column, axes in enumerate(grid[0]):
        _deviation_column(axes, order[column * lines : (column + 1) * lines], case_ids, y, p, truth, wrong, colors)
        axes.set_ylim(lines - 0.4, -0.6)
        axes.set_xlabel(f"probability of {classes[-1]}" if binary else "probability of the true class")
    handles = [
        Line2D([], [], color=colors[c % len(colors)], marker="o", label=f"{name} (n = {(y == c).sum()})")
        for c, name in enumerate(classes)
    ]
    handles.append(
        Line2D([], [], color=WRONG, marker="X", markersize=9, linestyle="", label=f"wrong (n = {wrong.sum()})")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), fontsize=9)
    figure.suptitle(f"{title} (n = {len(y)})", fontsize=11, fontweight="bold")
    return figure


def _deviation_column(axes, rows, case_ids, y, p, truth, wrong, colors):
    for line, case in enumerate(rows):
        color = colors[y[case] % len(colors)]
        axes.plot([truth[case], p[case]], [line, line], color=color, linewidth=2.2, alpha=0.55, solid_capstyle="butt")
        axes.plot(truth[case], line, marker="|", color=color, markersize=8, markeredgewidth=2)
        if wrong[case]:
            axes.plot(p[case], line, marker="X", color=WRONG, markersize=8, linestyle="")
        else:
            axes.plot(p[case], line, marker="o", color=color, markersize=5.5, linestyle="")
    axes.axvline(0.5, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(rows)), [str(case_ids[case]) for case in rows], fontsize=8)
    for label, case in zip(axes.get_yticklabels(), rows):
        if wrong[case]:
            label.set(color=WRONG, fontweight="bold")
    axes.set_xlim(-0.03, 1.03)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


@_styled
def roc(curves, title, thin=(), beside=(), colors=COLORS):
    """ROC curves of (label, y, score); a set of one class is named only. thin: more (y, score), in grey behind.

    Thin curves are moved apart, up and to the left: with few cases most of them would lie on the axes, one on another.
    beside: curves to compare with, in broken lines and the colours from the third on.
    """
    figure, axes = _figure(5.2, 5.2)
    thin = [(y, score) for y, score in thin if metrics.has_both(y)]
    for i, (y, score) in enumerate(thin):
        x, z, _ = roc_curve(y, score, drop_intermediate=False)
        apart = APART * (i + 1) / len(thin)
        label = "each split, moved up and left a little" if i == 0 else None
        axes.plot(x - apart, z + apart, color=GREY, linewidth=0.8, alpha=0.7, label=label)
    drawn = [(*curve, colors[i % len(colors)], "-") for i, curve in enumerate(curves)]
    drawn += [(*curve, colors[(i + 2) % len(colors)], BROKEN[i % len(BROKEN)]) for i, curve in enumerate(beside)]
    for label, y, score, color, line in drawn:
        value = metrics.roc_auc(y, score)
        text = f"{label}: " + (f"AUROC {value:.3f}" if value is not None else "AUROC not defined") + f", n = {len(y)}"
        x, z = roc_curve(y, score, drop_intermediate=False)[:2] if value is not None else ([], [])
        axes.plot(x, z, color=color, linewidth=2 if line == "-" else 1.5, linestyle=line, label=text)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    _square(axes, "1 - specificity", "sensitivity")
    if thin:
        axes.set(xlim=(-0.02 - APART, 1.02), ylim=(-0.02, 1.02 + APART))
    axes.legend(loc="lower right", fontsize=9)
    axes.set_title(f"{title} ({_counts(curves)})")
    return figure


def _counts(curves):
    """The number of cases of the curves, one number if all have the same."""
    sizes = sorted({len(y) for _, y, _ in curves})
    return f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}" if sizes else "n = 0"


@_styled
def precision_recall(curves, title, colors=COLORS):
    """Precision-recall curves of (label, y, score), with the prevalence, which a coin would give, as dashed line."""
    figure, axes = _figure(5.2, 5.2)
    for i, (label, y, score) in enumerate(curves):
        value, color = metrics.pr_auc(y, score), colors[i % len(colors)]
        if value is None:
            axes.plot([], [], color=color, label=f"{label}: not defined, n = {len(y)}")
            continue
        precision, recall, _ = precision_recall_curve(y, score)
        share = np.mean(y)
        label = f"{label}: AP {value:.3f}, prevalence {share:.2f}, n = {len(y)}"
        axes.step(recall, precision, where="post", color=color, linewidth=2, label=label)
        axes.axhline(share, color=color, linewidth=0.9, linestyle=(0, (4, 3)))
    _square(axes, "recall (sensitivity)", "precision (PPV)")
    axes.legend(loc="lower left", fontsize=9)
    axes.set_title(f"{title} ({_counts(curves)})")
    return figure


@_styled
def calibration(y, score, title, bins=10, scaled=None, colors=COLORS, names=("negative", "positive")):
    """Observed share against mean probability of bins of equal width (Wilson 95 % bars), above the counts a class.

    scaled: (n,) probabilities after temperature scaling, drawn as a broken line. names: what y is where 0 and where 1.
    """
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=float)
    result = metrics.calibration(y, score, bins)
    figure, (upper, lower) = _figure(5.2, 6.4, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3.4, 1]})
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    full = [b for b in result["bins"] if b["n"]]
    for b in full:
        upper.plot(
            [b["mean"]] * 2, intervals.wilson(round(b["observed"] * b["n"]), b["n"]), color=colors[0], linewidth=1
        )
    label = "as the model gives them" if scaled is not None else "observed, with 95 % interval"
    ends = [b["mean"] for b in full], [b["observed"] for b in full]
    upper.plot(*ends, "o-", color=colors[0], linewidth=1.5, label=label)
    if scaled is not None:
        after = [b for b in metrics.calibration(y, scaled, bins)["bins"] if b["n"]]
        ends = [b["mean"] for b in after], [b["observed"] for b in after]
        color, label = colors[2 % len(colors)], "after temperature scaling"
        upper.plot(*ends, "s", linestyle=BROKEN[0], color=color, linewidth=1.2, markersize=4, label=label)
    upper.set(ylim=(-0.03, 1.03), ylabel=f"observed share of {names[1]}")
    figures = ((name, result[name]) for name in ("ece", "slope", "intercept"))
    note = ", ".join(f"{name} {'not defined' if value is None else format(value, '.2f')}" for name, value in figures)
    # Above the axes: within, the curve would cross it.
    upper.text(0, 1.02, note.replace("ece", "ECE"), transform=upper.transAxes, va="bottom", fontsize=9)
    upper.set_title(f"{title} (n = {len(y)}, {bins} bins)", pad=20)
    edges = np.linspace(0, 1, bins + 1)
    lower.hist([score[~y], score[y]], edges, stacked=True, color=[colors[0], colors[1]], label=list(names))
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.set(xlim=(-0.02, 1.02), xlabel="predicted probability", ylabel="cases")
    figure.legend(fontsize=9, ncols=2, loc="outside lower center")
    return figure


@_styled
def loss(history, title, colors=COLORS):
    """Training and validation loss, and validation AUROC, over the epochs; the epoch kept is marked.

    history: columns epoch, train_loss, val_loss, val_auc, best (one True).
    """
    figure, (left, right) = _figure(9, 3.8, ncols=2)
    training, validation = (colors[i % len(colors)] for i in (TRAINING, VALIDATION))
    left.plot(history["epoch"], history["train_loss"], color=training, linewidth=2, label="training")
    left.plot(history["epoch"], history["val_loss"], color=validation, linewidth=2, label="validation")
    right.plot(history["epoch"], history["val_auc"].astype(float), color=validation, linewidth=2)
    best = history.loc[history["best"].astype(bool), "epoch"]
    for axes, name in ((left, "loss"), (right, "AUROC")):
        for epoch in best:
            label = f"kept: epoch {epoch}" if axes is left else None
            axes.axvline(epoch, color=GREY, linewidth=1, linestyle=(0, (4, 3)), label=label)
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_ylim(bottom=0)
    right.set_ylim(-0.02, 1.02)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    epochs = f"{len(history)} epoch{'s' if len(history) != 1 else ''}"
    figure.suptitle(f"{title}: {epochs} of training", fontsize=11, fontweight="bold")
    return figure


@_styled
def losses(histories, title, colors=COLORS, across=5):
    """Small multiples of (label, history): training and validation loss with the epoch kept, on one scale."""
    across = max(1, min(across, len(histories)))
    down = max(1, -(-len(histories) // across))
    size = max(2.1 * across, 4.2), 0.9 + 1.7 * down
    figure, grid = _figure(*size, nrows=down, ncols=across, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(histories) :]:
        axes.set_visible(False)
    training, validation = (colors[i % len(colors)] for i in (TRAINING, VALIDATION))
    for axes, (label, history) in zip(grid.flat, histories):
        axes.plot(history["epoch"], history["train_loss"], color=training, linewidth=1.5)
        axes.plot(history["epoch"], history["val_loss"], color=validation, linewidth=1.5)
        kept = history[history["best"].astype(bool)]
        axes.plot(kept["epoch"], kept["val_loss"], "o", color=validation, markersize=6, markerfacecolor="none")
        axes.set_title(label, fontsize=9, fontweight="normal")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    grid.flat[0].set_ylim(bottom=0)  # of all, for they share it
    handles = [
        Line2D([], [], color=training, label="training"),
        Line2D([], [], color=validation, label="validation"),
        Line2D([], [], color=validation, marker="o", linestyle="", markerfacecolor="none", label="epoch kept"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
    figure.suptitle(f"{title} (n = {len(histories)} runs)", fontsize=11, fontweight="bold")
    return figure


@_styled
def stain_weights(weights, y, classes, title, colors=COLORS):
    """Stain weight of each case, a row a stain, a colour a class, with the median of each as a bar.

    weights: DataFrame (cases, stains), NaN where a case lacks the stain. y: (cases,) labels.
    """
    y, rows = np.asarray(y, dtype=int), len(weights.columns)
    figure, axes = _figure(6.4, 1.5 + 0.95 * rows)
    offsets = np.linspace(-0.2, 0.2, len(classes)) if len(classes) > 1 else [0]
    for row, stain in enumerate(weights):
        for c, offset in enumerate(offsets):
            values = weights[stain].to_numpy(dtype=float)[y == c]
            values = np.sort(values[~np.isnan(values)])
            # Spread a little, always the same way: equal weights would hide each other.
            spread = 0.07 * np.sin(2.4 * np.arange(len(values)))
            axes.plot(values, row + offset + spread, "o", color=colors[c % len(colors)], markersize=4.5, alpha=0.6)
            if len(values):
                axes.plot(
                    [np.median(values)] * 2, [row + offset - 0.14, row + offset + 0.14], color="black", linewidth=2
                )
    axes.set_yticks(range(rows), [f"{stain}\nn = {weights[stain].notna().sum()}" for stain in weights])
    axes.set(xlim=(-0.03, 1.03), ylim=(rows - 0.5, -0.5), xlabel="stain weight of a case (sums to 1 over its stains)")
    axes.grid(visible=False, axis="y")
    handles = [
        Line2D([], [], color=colors[c % len(colors)], marker="o", linestyle="", label=f"{name} (n = {(y == c).sum()})")
        for c, name in enumerate(classes)
    ]
    handles.append(Line2D([], [], color="black", linewidth=2, label="median"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), fontsize=9)
    figure.suptitle(f"{title} (n = {len(y)})", fontsize=11, fontweight="bold")
    return figure


@_styled
def strips(values, y, classes, title, xlabel, colors=COLORS, what="cases"):
    """Amounts on a logarithmic axis: a row an entry of `values`, a colour a class, quartiles as a box, all as points.

    values: name -> (n,) amounts above 0, NaN where there is none. y: (n,) labels. what: what is counted.
    """
    y, rows, n_classes = np.asarray(y, dtype=int), list(values), len(classes)
    values = {name: np.asarray(column, dtype=float) for name, column in values.items()}
    shown = sum(np.isfinite(column).sum() for column in values.values()) <= POINTS
    figure, axes = _figure(5.4, 1.5 + (0.2 + 0.22 * n_classes) * len(rows))
    for row, name in enumerate(rows):
        for c in range(n_classes):
            amounts = np.sort(values[name][(y == c) & np.isfinite(values[name])])
            if len(amounts):
                _strip(axes, row + (c - (n_classes - 1) / 2) * 0.8 / n_classes, amounts, colors[c % len(colors)], shown)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5), numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(rows)), [f"{name}\nn = {np.isfinite(values[name]).sum()}" for name in rows])
    axes.set(ylim=(len(rows) - 0.45, -0.55), xlabel=xlabel)
    axes.grid(visible=False, axis="y")
    _legend(figure, y, classes, colors)
    figure.suptitle(f"{title} (n = {len(y)} {what})", fontsize=11, fontweight="bold")
    return figure


def _strip(axes, place, amounts, color, shown):
    """One class of a row: a line over the range, a box of the quartiles with the median, and each amount."""
    low, median, high = np.quantile(amounts, [0.25, 0.5, 0.75])
    axes.plot([amounts[0], amounts[-1]], [place] * 2, color=color, linewidth=1)
    axes.plot([low, high], [place] * 2, color=color, linewidth=9, alpha=0.35, solid_capstyle="butt")
    axes.plot([median] * 2, [place - 0.1, place + 0.1], color="black", linewidth=2, zorder=3)
    if shown:  # spread a little, always the same way: equal amounts would hide each other
        spread = 0.08 * np.sin(2.4 * np.arange(len(amounts)))
        axes.plot(amounts, place + spread, "o", color=color, markersize=3.5, alpha=0.6, markeredgewidth=0)


@_styled
def stain_patterns(present, counts, stains, classes, title, colors=COLORS):
    """How many cases of each class have which stains: a row a combination, dots for its stains, bars for its cases.

    present: (rows, stains) booleans. counts: (rows, classes).
    """
    present, counts = np.asarray(present, dtype=bool), np.asarray(counts, dtype=int)
    rows = len(counts)
    widths = {"width_ratios": [0.55 * len(stains), 4.5]}
    size = 2.2 + 0.45 * len(stains) + 3.4, 1.7 + 0.36 * rows
    figure, (left, right) = _figure(*size, ncols=2, sharey=True, gridspec_kw=widths)
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
    _legend(figure, np.repeat(np.arange(len(classes)), counts.sum(axis=0)), classes, colors, "s")
    figure.suptitle(f"{title} (n = {counts.sum()} cases)", fontsize=11, fontweight="bold")
    return figure


def _legend(figure, y, classes, colors, marker="o"):
    """The classes with their colours and numbers, below the figure."""
    handles = [
        Line2D(
            [], [], color=colors[c % len(colors)], marker=marker, linestyle="", label=f"{name} (n = {(y == c).sum()})"
        )
        for c, name in enumerate(classes)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3), fontsize=9)


@_styled
def flow(sources, steps):
    """The flow of cases and patches as boxes, kept ones down the left, left out ones beside them (CONSORT, TRIPOD+AI).

    sources, steps: of stratamil.flow.follow.
    """
    figure = Figure(figsize=(9, 1))
    axes = figure.add_axes((0, 0, 1, 1))  # in inches across, in lines of text down
    lost = [line for source in sources for line in _lost(source["left_out"], source["unit"])]
    kept = [_wrapped(f"{source['n']:,} {source['name']}", 20) for source in sources]
    y, height = 0.4, max(map(len, [lost, *kept])) + BOX
    width = (KEPT - 0.2 * (len(sources) - 1)) / len(sources)
    for i, lines in enumerate(kept):
        _box(axes, 0.2 + i * (width + 0.2), y, width, height, lines, "black", bold=len(lines))
    if lost:
        _arrow(axes, (0.2 + KEPT, y + height / 2), (LOST, y + height / 2))
        _box(axes, LOST, y, 8.8 - LOST, height, lost, GREY)
    middles = [0.2 + width / 2 + i * (width + 0.2) for i in range(len(sources))]
    for step in steps:
        lost = _lost(step["left_out"])
        below = y + height + max(1.2, len(lost) + BOX + 0.6)
        for x in middles:
            _arrow(axes, (x, y + height), (x, below))
        if lost:
            middle, tall = (y + height + below) / 2, len(lost) + BOX
            _arrow(axes, (middles[0], middle), (LOST, middle))
            _box(axes, LOST, middle - tall / 2, 8.8 - LOST, tall, lost, GREY)
        heading, text = _step(step)
        y, height, middles = below, len(heading + text) + BOX, [0.2 + KEPT / 2]
        _box(axes, 0.2, y, KEPT, height, heading + text, "black", bold=len(heading))
    axes.set(xlim=(0, 9), ylim=(y + height + 0.4, 0))
    axes.set_axis_off()
    figure.set_size_inches(9, 0.22 * (y + height + 0.4))
    return figure


def _box(axes, x, y, width, height, lines, color, bold=0):
    axes.add_patch(Rectangle((x, y), width, height, facecolor="none", edgecolor=color, linewidth=0.9))
    top = y + (height - len(lines)) / 2 + 0.55
    for i, line in enumerate(lines):
        weight = "bold" if i < bold else "normal"
        axes.text(x + 0.12, top + i, line, va="center", fontsize=9.5, fontweight=weight, color=color)


def _arrow(axes, begin, end):
    axes.annotate("", end, begin, arrowprops={"arrowstyle": "->", "color": GREY, "shrinkA": 0, "shrinkB": 0})


def _step(step):
    """Lines of a step: its heading, and its numbers."""
    counts = ", ".join(f"{n:,} {name}" for name, n in step["counts"].items())
    other = step["cases"] - sum(step["counts"].values())
    counts += f", {other:,} of other codes" if other else ""
    amounts = [(step[name], name) for name in ("patients", "patches") if step[name] is not None]
    numbers = ", ".join(_several(*amount) for amount in amounts)
    heading = f"{_several(step['cases'], 'cases')} {step['name']}"
    return _wrapped(heading, 44), _wrapped(numbers, 50) + _wrapped(counts, 50)


def _lost(left_out, unit=None):
    """Lines of what is left out, with its reasons."""
    lines = []
    for part in left_out:
        amounts = [(part["n"], unit)] if unit else [(part[name], name) for name in ("cases", "patches") if part[name]]
        lines += _wrapped(f"{', '.join(_several(*amount) for amount in amounts)}: {part['reason']}", 46, indent="  ")
    return lines


def _several(n, what):
    return f"{n:,} {what if n != 1 else {'patches': 'patch'}.get(what, what.removesuffix('s'))}"


def _wrapped(text, width, indent=""):
    return textwrap.wrap(text, width, subsequent_indent=indent) or [text]

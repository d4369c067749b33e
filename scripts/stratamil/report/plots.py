"""Figures of predictions, for one model and for the cross-split report.

Each function returns a matplotlib Figure; `style.save` writes it. Labels y are integers;
of two classes the last is positive.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from stratamil.core.wording import num
from stratamil.report.style import BROKEN, COLORS, DASHED, GREY, MODEL, SETS, SINGLE, WRONG, figure_of, styled
from stratamil.stats import metrics
from stratamil.stats.curves import quantile_bins, smooth_calibration

Curve = tuple[str, ArrayLike, ArrayLike]  # its label, labels y and scores

CASES_A_COLUMN = 40  # lines of a deviation plot that need no second column


def _square(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=xlabel, ylabel=ylabel, aspect="equal")


def _percent(k: int, n: int) -> str:
    return f"{k / n:.0%}" if n else "no cases"


@styled
def confusion_matrix(y: ArrayLike, predicted: ArrayLike, classes: Sequence[str], title: str) -> Figure:
    """Draw the counts of true (rows) against predicted class, each with its share of the row."""
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (np.asarray(y, dtype=int), np.asarray(predicted, dtype=int)), 1)
    rows = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(rows, 1)
    side = 2.2 + 1.0 * len(classes)
    figure, axes = figure_of(side + 0.6, side)
    axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5), aspect="equal")
    for i, j in np.ndindex(counts.shape):
        shade = to_rgba(GREY, 0.6 * share[i, j])  # black text reads on all of them
        axes.add_patch(Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, facecolor=shade, linewidth=0))
        axes.text(j, i - 0.08, counts[i, j], ha="center", va="center", fontsize=17)
        axes.text(j, i + 0.22, _percent(counts[i, j], rows[i, 0]), ha="center", va="center", fontsize=10)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), [f"{name}\nn = {n}" for name, n in zip(classes, rows[:, 0])])
    axes.set(xlabel="predicted", ylabel="true")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{title} (n = {len(y)})", fontsize=11, wrap=True)
    return figure


@styled
def deviation(
    case_ids: Sequence[str],
    y: ArrayLike,
    p: ArrayLike,
    classes: Sequence[str],
    title: str,
    *,
    wrong: ArrayLike | None = None,
    colors: Sequence[str] = COLORS,
) -> Figure:
    """Draw one line a case from its true label to its predicted probability: short is good, across the middle is wrong.

    p: (n,) with two classes the probability of the last class, drawn from the true label 0 or 1; with more the
    probability of the true class, drawn from 1. `wrong` (n,) marks the misclassified cases; with two classes it
    is known from p. Cases are sorted by class and probability, above `CASES_A_COLUMN` in two columns.
    """
    y, p, binary = np.asarray(y, dtype=int), np.asarray(p, dtype=float), len(classes) == 2
    if wrong is None:
        wrong = (p > 0.5) != y if binary else p < 0.5
    wrong, truth = np.asarray(wrong, dtype=bool), y if binary else np.ones(len(y))
    order = np.lexsort((p, y))
    columns = 1 if len(y) <= CASES_A_COLUMN else 2
    lines = -(-len(y) // columns) if len(y) else 1
    figure, grid = figure_of(2.2 + 3.8 * columns, 1.7 + 0.2 * lines, ncols=columns, squeeze=False)
    cases = pd.DataFrame({"name": [str(case) for case in case_ids], "truth": truth, "p": p, "wrong": wrong})
    cases = cases.assign(color=[colors[c % len(colors)] for c in y]).iloc[order]
    for column, axes in enumerate(grid[0]):
        _deviation_column(axes, cases.iloc[column * lines : (column + 1) * lines])
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


def _deviation_column(axes: Axes, cases: pd.DataFrame) -> None:
    """Draw some cases: columns name, truth, p, wrong, color."""
    for line, case in enumerate(cases.itertuples()):
        axes.plot([case.truth, case.p], [line] * 2, color=case.color, linewidth=2.2, alpha=0.55, solid_capstyle="butt")
        axes.plot(case.truth, line, marker="|", color=case.color, markersize=8, markeredgewidth=2)
        if case.wrong:
            axes.plot(case.p, line, marker="X", color=WRONG, markersize=8, linestyle="")
        else:
            axes.plot(case.p, line, marker="o", color=case.color, markersize=5.5, linestyle="")
    axes.axvline(0.5, color=GREY, linewidth=0.9, linestyle=DASHED)
    axes.set_yticks(range(len(cases)), list(cases["name"]), fontsize=8.5)
    for label, wrong in zip(axes.get_yticklabels(), cases["wrong"]):
        if wrong:
            label.set(color=WRONG, fontweight="bold")
    axes.set_xlim(-0.03, 1.03)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


@styled
def roc(curves: Sequence[Curve], title: str, *, colors: Sequence[str] | None = None) -> Figure:
    """Draw ROC curves; a set of one class is named only. colors: of the curves, else they are those of the sets."""
    figure, axes = figure_of(SINGLE, SINGLE)
    for (label, y, score), (color, line) in zip(curves, _lines(curves, colors)):
        value = metrics.roc_auc(y, score)
        text = f"{label}: " + (f"AUROC {value:.2f}" if value is not None else "AUROC not defined") + f", n = {len(y)}"
        x, z = roc_curve(y, score, drop_intermediate=False)[:2] if value is not None else ([], [])
        axes.plot(x, z, color=color, linewidth=2, linestyle=line, label=text)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=DASHED)
    _square(axes, "1 - specificity", "sensitivity")
    axes.legend(loc="lower right", fontsize=9)
    axes.set_title(f"{title} ({_counts(curves)})")
    return figure


def _lines(curves: Sequence[Curve], colors: Sequence[str] | None) -> list[tuple[str, Any]]:
    """Return colour and line of each curve: of `colors`, or of the set that its label names, or of the model."""
    if colors:
        return [(colors[i % len(colors)], "-") for i in range(len(curves))]
    return [SETS.get(label, SETS["test"]) for label, *_ in curves]


def _counts(curves: Sequence[Curve]) -> str:
    """Return the number of cases of the curves, one number if all have the same."""
    sizes = sorted({len(y) for _, y, _ in curves})
    return f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}" if sizes else "n = 0"


@styled
def precision_recall(curves: Sequence[Curve], title: str, *, colors: Sequence[str] | None = None) -> Figure:
    """Draw precision-recall curves, with the prevalence, which a random classifier reaches, as thin broken line."""
    figure, axes = figure_of(SINGLE, SINGLE)
    for (label, y, score), (color, line) in zip(curves, _lines(curves, colors)):
        value = metrics.pr_auc(y, score)
        if value is None:
            axes.plot([], [], color=color, linestyle=line, label=f"{label}: not defined, n = {len(y)}")
            continue
        precision, recall, _ = precision_recall_curve(y, score)
        share = np.mean(y)
        label = f"{label}: AP {value:.2f}, prevalence {share:.2f}, n = {len(y)}"
        axes.step(recall, precision, where="post", color=color, linewidth=2, linestyle=line, label=label)
        axes.axhline(share, color=color if colors else GREY, linewidth=0.9, linestyle=DASHED)
    _square(axes, "recall (sensitivity)", "precision (PPV)")
    axes.legend(loc="lower left", fontsize=9)
    axes.set_title(f"{title} ({_counts(curves)})")
    return figure


@styled
def calibration(
    y: ArrayLike,
    score: ArrayLike,
    title: str,
    *,
    scaled: ArrayLike | None = None,
    colors: Sequence[str] = COLORS,
    names: tuple[str, str] = ("negative", "positive"),
) -> Figure:
    """Draw the observed share against the mean probability of a fifth of the cases each, above the counts a class.

    Shares are dots with Wilson's 95% CIs; a line is the smooth curve of `smooth_calibration`, where there is
    one. scaled: (n,) probabilities after temperature scaling, drawn hollow. names, colors: of y, where 0 and where 1.
    """
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=float)
    figure, (upper, lower) = figure_of(SINGLE, 6.4, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3.4, 1]})
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=DASHED)
    whole = "a fifth of the cases each, 95% CI"
    _shares(upper, y, score, "o", MODEL, "as the model gives them" if scaled is not None else whole)
    if scaled is not None:
        _shares(upper, y, np.asarray(scaled, dtype=float), "s", GREY, "after temperature scaling")
    upper.set(ylim=(-0.03, 1.03), ylabel=f"observed share of {names[1]}")
    result = metrics.calibration(y, score)
    shown = (("ECE in 10 bins", "ece"), ("slope", "slope"), ("intercept", "intercept"))
    note = ", ".join(f"{name} {num(result[key], 2)}" for name, key in shown)
    # Above the axes: within, the curve would cross it.
    upper.text(0, 1.02, note, transform=upper.transAxes, va="bottom", fontsize=9)
    upper.set_title(f"{title} (n = {len(y)})", pad=20)
    edges = np.linspace(0, 1, 11)
    lower.hist([score[~y], score[y]], edges, stacked=True, color=[colors[0], colors[1]], label=list(names))
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.set(xlim=(-0.02, 1.02), xlabel="predicted probability", ylabel="cases")
    figure.legend(fontsize=9, ncols=2, loc="outside lower center")
    return figure


def _shares(axes: Axes, y: NDArray, score: NDArray, marker: str, color: str, label: str) -> None:
    """Draw observed shares with their CIs, and the smooth curve if there are cases enough for one."""
    for i, share in enumerate(quantile_bins(y, score) if len(y) else []):
        observed, x = share["observed"], share["mean"]
        axes.plot([x, x], [observed.low, observed.high], color=color, linewidth=1.2)
        face = color if marker == "o" else "white"
        name = label if i == 0 else None
        axes.plot(x, observed.value, marker, color=color, markerfacecolor=face, markersize=6, label=name, linestyle="")
    smooth = smooth_calibration(y, score)
    if smooth is not None:
        line = "-" if marker == "o" else BROKEN[1]
        axes.plot(smooth.x, smooth.y, color=color, linewidth=1.6, alpha=0.6, linestyle=line, label="smooth curve")


@styled
def stain_weights(
    weights: pd.DataFrame, y: ArrayLike, classes: Sequence[str], title: str, *, colors: Sequence[str] = COLORS
) -> Figure:
    """Draw the stain weight of each case, a row a stain, a colour a class, with the median of each as a bar.

    weights: DataFrame (cases, stains), NaN where a case lacks the stain. y: (cases,) labels.
    """
    y, rows = np.asarray(y, dtype=int), len(weights.columns)
    figure, axes = figure_of(SINGLE, 1.5 + 0.95 * rows)
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

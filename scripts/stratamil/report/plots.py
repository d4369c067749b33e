"""Figures of predictions, for one model and for the cross-split report.

Each function returns a matplotlib Figure; `style.save` writes it. Labels y are integers;
of two classes the last is positive.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_curve, roc_curve

from stratamil.report.style import COLORS, GREY, WRONG, figure_of, styled
from stratamil.stats import intervals, metrics

Curve = tuple[str, ArrayLike, ArrayLike]  # its label, labels y and scores

BROKEN = ((0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))
APART = 0.035  # of an axis that thin ROC curves are moved at most, so that each is seen
CASES_A_COLUMN = 40  # lines of a deviation plot before it goes on in a second column


def _square(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=xlabel, ylabel=ylabel, aspect="equal")


def _percent(k: int, n: int) -> str:
    return f"{k / n:.0%}" if n else "no cases"


@styled
def confusion_matrix(
    y: ArrayLike, predicted: ArrayLike, classes: Sequence[str], title: str, *, colors: Sequence[str] = COLORS
) -> Figure:
    """Draw the counts of true (rows) against predicted class, each with its share of the row."""
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (np.asarray(y, dtype=int), np.asarray(predicted, dtype=int)), 1)
    rows = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(rows, 1)
    side = 2.2 + 1.0 * len(classes)
    figure, axes = figure_of(side + 0.6, side)
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
    is known from p. Cases are sorted by class and probability and spread over columns of `CASES_A_COLUMN`.
    """
    y, p, binary = np.asarray(y, dtype=int), np.asarray(p, dtype=float), len(classes) == 2
    if wrong is None:
        wrong = (p > 0.5) != y if binary else p < 0.5
    wrong, truth = np.asarray(wrong, dtype=bool), y if binary else np.ones(len(y))
    order = np.lexsort((p, y))
    columns = max(1, -(-len(y) // CASES_A_COLUMN))
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
    axes.axvline(0.5, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(cases)), list(cases["name"]), fontsize=8)
    for label, wrong in zip(axes.get_yticklabels(), cases["wrong"]):
        if wrong:
            label.set(color=WRONG, fontweight="bold")
    axes.set_xlim(-0.03, 1.03)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


@styled
def roc(
    curves: Sequence[Curve],
    title: str,
    *,
    thin: Sequence[tuple[ArrayLike, ArrayLike]] = (),
    beside: Sequence[Curve] = (),
    colors: Sequence[str] = COLORS,
) -> Figure:
    """Draw ROC curves; a set of one class is named only. thin: more (y, score), in grey behind.

    Thin curves are moved apart, up and to the left: with few cases most of them would lie on the axes, one on another.
    beside: curves to compare with, in broken lines and the colours from the third on.
    """
    figure, axes = figure_of(5.2, 5.2)
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


def _counts(curves: Sequence[Curve]) -> str:
    """Return the number of cases of the curves, one number if all have the same."""
    sizes = sorted({len(y) for _, y, _ in curves})
    return f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}" if sizes else "n = 0"


@styled
def precision_recall(curves: Sequence[Curve], title: str, *, colors: Sequence[str] = COLORS) -> Figure:
    """Draw precision-recall curves, with the prevalence, which a coin would give, as dashed line."""
    figure, axes = figure_of(5.2, 5.2)
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


@styled
def calibration(
    y: ArrayLike,
    score: ArrayLike,
    title: str,
    *,
    bins: int = 10,
    scaled: ArrayLike | None = None,
    colors: Sequence[str] = COLORS,
    names: tuple[str, str] = ("negative", "positive"),
) -> Figure:
    """Draw observed share against mean probability in bins of equal width (Wilson 95% CIs), above the counts a class.

    scaled: (n,) probabilities after temperature scaling, drawn as a broken line. names: what y is where 0 and where 1.
    """
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=float)
    result = metrics.calibration(y, score, bins)
    figure, (upper, lower) = figure_of(5.2, 6.4, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3.4, 1]})
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    full = [b for b in result["bins"] if b["n"]]
    for b in full:
        share = intervals.wilson(round(b["observed"] * b["n"]), b["n"])
        upper.plot([b["mean"]] * 2, [share.low, share.high], color=colors[0], linewidth=1)
    label = "as the model gives them" if scaled is not None else "observed, with 95% CI"
    ends = [b["mean"] for b in full], [b["observed"] for b in full]
    upper.plot(*ends, "o-", color=colors[0], linewidth=1.5, label=label)
    if scaled is not None:
        after = [b for b in metrics.calibration(y, scaled, bins)["bins"] if b["n"]]
        ends = [b["mean"] for b in after], [b["observed"] for b in after]
        color, label = colors[2 % len(colors)], "after temperature scaling"
        upper.plot(*ends, "s", linestyle=BROKEN[0], color=color, linewidth=1.2, markersize=4, label=label)
    upper.set(ylim=(-0.03, 1.03), ylabel=f"observed share of {names[1]}")
    shown = ((name, result[name]) for name in ("ece", "slope", "intercept"))
    note = ", ".join(f"{name} {'not defined' if value is None else format(value, '.2f')}" for name, value in shown)
    # Above the axes: within, the curve would cross it.
    upper.text(0, 1.02, note.replace("ece", "ECE"), transform=upper.transAxes, va="bottom", fontsize=9)
    upper.set_title(f"{title} (n = {len(y)}, {bins} bins)", pad=20)
    edges = np.linspace(0, 1, bins + 1)
    lower.hist([score[~y], score[y]], edges, stacked=True, color=[colors[0], colors[1]], label=list(names))
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.set(xlim=(-0.02, 1.02), xlabel="predicted probability", ylabel="cases")
    figure.legend(fontsize=9, ncols=2, loc="outside lower center")
    return figure


@styled
def stain_weights(
    weights: pd.DataFrame, y: ArrayLike, classes: Sequence[str], title: str, *, colors: Sequence[str] = COLORS
) -> Figure:
    """Draw the stain weight of each case, a row a stain, a colour a class, with the median of each as a bar.

    weights: DataFrame (cases, stains), NaN where a case lacks the stain. y: (cases,) labels.
    """
    y, rows = np.asarray(y, dtype=int), len(weights.columns)
    figure, axes = figure_of(6.4, 1.5 + 0.95 * rows)
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

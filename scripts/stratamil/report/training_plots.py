"""Figures of training: losses over the epochs."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from stratamil.report.style import DASHED, GREY, MODEL, SETS, figure_of, styled


@styled
def loss(history: pd.DataFrame, title: str) -> Figure:
    """Draw training and validation loss, and validation AUROC, over the epochs; the epoch kept is marked.

    history: columns epoch, train_loss, val_loss, val_auc, best (one True).
    """
    figure, (left, right) = figure_of(9, 3.8, ncols=2)
    for column, name, axes in (("train_loss", "training", left), ("val_loss", "validation", left)):
        color, line = SETS[name]
        axes.plot(history["epoch"], history[column], color=color, linestyle=line, linewidth=2, label=name)
    color, line = SETS["validation"]
    right.plot(history["epoch"], history["val_auc"].astype(float), color=color, linestyle=line, linewidth=2)
    best = history.loc[history["best"].astype(bool), "epoch"]
    for axes, name in ((left, "loss"), (right, "AUROC")):
        for epoch in best:
            label = f"kept: epoch {epoch}" if axes is left else None
            axes.axvline(epoch, color=GREY, linewidth=1, linestyle=DASHED, label=label)
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_ylim(bottom=0)
    right.set_ylim(-0.02, 1.02)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    epochs = f"{len(history)} epoch{'s' if len(history) != 1 else ''}"
    figure.suptitle(f"{title}: {epochs} of training", fontsize=11, fontweight="bold")
    return figure


@styled
def losses(histories: Sequence[tuple[str, pd.DataFrame]], title: str, *, across: int = 5) -> Figure:
    """Draw small multiples of (label, history): training and validation loss with the epoch kept, on one scale."""
    across = max(1, min(across, len(histories)))
    down = max(1, -(-len(histories) // across))
    size = max(2.1 * across, 4.2), 0.9 + 1.7 * down
    figure, grid = figure_of(*size, nrows=down, ncols=across, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(histories) :]:
        axes.set_visible(False)
    for axes, (label, history) in zip(grid.flat, histories):
        for column, name in (("train_loss", "training"), ("val_loss", "validation")):
            color, line = SETS[name]
            axes.plot(history["epoch"], history[column], color=color, linestyle=line, linewidth=1.5)
        kept = history[history["best"].astype(bool)]
        axes.plot(kept["epoch"], kept["val_loss"], "o", color=MODEL, markersize=6, markerfacecolor="none")
        axes.set_title(label, fontsize=9, fontweight="normal")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    grid.flat[0].set_ylim(bottom=0)  # of all, for they share it
    handles = [
        *(
            Line2D([], [], color=SETS[name][0], linestyle=SETS[name][1], label=name)
            for name in ("training", "validation")
        ),
        Line2D([], [], color=MODEL, marker="o", linestyle="", markerfacecolor="none", label="epoch kept"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
    figure.suptitle(f"{title} (n = {len(histories)} runs)", fontsize=11, fontweight="bold")
    return figure

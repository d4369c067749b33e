"""Figures of new cases: how far each lies from those that the model was trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from stratamil.report.style import DASHED, GREY, MODEL, SINGLE, WRONG, figure_of, styled


@styled
def shift(stains: Sequence[Mapping[str, Any]], limit: float | None, cases: int) -> Figure:
    """Draw the distance of each case from the training cases, a row a stain, and the limit.

    stains: of `validation.shifted`. limit: beyond it a case is flagged.
    """
    figure, axes = figure_of(SINGLE, 1.5 + 0.5 * len(stains))
    for row, each in enumerate(stains):
        values = np.sort(np.array(each["values"], dtype=float))
        spread = 0.16 * np.sin(2.4 * np.arange(len(values)))  # always the same: equal values would hide each other
        beyond = values > limit if limit is not None else np.zeros(len(values), dtype=bool)
        for chosen, color, marker in ((~beyond, MODEL, "o"), (beyond, WRONG, "X")):
            at = row + spread[chosen]
            axes.plot(values[chosen], at, marker, color=color, markersize=5, alpha=0.7, linestyle="")
    axes.axvline(1, color=GREY, linewidth=0.9, linestyle=DASHED)
    if limit is not None:
        axes.axvline(limit, color=WRONG, linewidth=1.1)
        axes.annotate("limit", (limit, -0.62), xytext=(3, 0), textcoords="offset points", fontsize=9, color=WRONG)
    axes.set_yticks(range(len(stains)), [f"{each['stain']}\nn = {len(each['values'])}" for each in stains])
    axes.set(ylim=(len(stains) - 0.4, -0.75), xlabel="distance; 1 is usual for held-out training cases")
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    axes.set_title(f"How unlike the training cases? (n = {cases})")
    return figure

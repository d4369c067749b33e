"""Figures of what decisions are worth at each threshold, and of what more training cases give."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from stratamil.core.wording import baseline_label
from stratamil.report.style import BROKEN, DASHED, GREY, MODEL, SINGLE, figure_of, styled


@styled
def net_benefit(
    curve: Mapping[str, Any], positive: str, cases: int, model_is: str = "model, single training"
) -> Figure:
    """Draw net benefit against the threshold: model with band, best baseline, calling all cases or none.

    model_is: what is drawn as the model, for the legend.
    """
    figure, axes = figure_of(SINGLE, 4.4)
    x, model = np.array(curve["thresholds"]), curve["model"]
    banded = [(t, each.low, each.high) for t, each in zip(x, model) if each.low is not None]
    if banded:
        axes.fill_between(*zip(*banded), color=MODEL, alpha=0.13, linewidth=0, label="95% CI, pointwise")
    axes.plot(x, [each.value for each in model], color=MODEL, linewidth=2.2, label=model_is)
    if curve["baseline"]:
        name = baseline_label(curve["baseline"])
        axes.plot(x, curve["of_baseline"], color=GREY, linewidth=1.6, linestyle=BROKEN[0], label=name)
    axes.plot(x, curve["all"], color=GREY, linewidth=1.1, label=f"call all {positive}")
    axes.axhline(0, color=GREY, linewidth=1.1, linestyle=DASHED, label="call none")
    highest = max([each.high or each.value for each in model] + [curve["all"][0]])
    axes.set(xlim=(0, 1), ylim=(-0.35 * highest, 1.1 * highest))
    axes.set(xlabel=f"threshold: probability from which a case is called {positive}", ylabel="net benefit")
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    axes.set_title(f"Is it worth deciding by the model? (n = {cases})")
    return figure


@styled
def learning(points: Sequence[Mapping[str, Any]], headline: str, cases: int) -> Figure:
    """Draw the AUROC against the number of training cases, a dot with CI a share."""
    figure, axes = figure_of(SINGLE, 3.4)
    known = [point for point in points if point[headline].value is not None]
    x, y = [point["training_cases"] for point in known], [point[headline].value for point in known]
    axes.plot(x, y, color=MODEL, linewidth=0.9, alpha=0.5)
    for point in known:
        estimate, at = point[headline], point["training_cases"]
        if estimate.low is not None:
            axes.plot([at, at], [estimate.low, estimate.high], color=MODEL, linewidth=1.3)
        axes.plot(at, estimate.value, "o", color=MODEL, markersize=5)
        axes.annotate(
            f"{point['percent']}%", (at, estimate.value), xytext=(6, 4), textcoords="offset points", fontsize=9
        )
    which = "mean of folds" if headline == "fold_mean" else "pooled"
    axes.set(xlabel="training cases per split", ylabel=f"AUROC, {which}")
    axes.set_title(f"Would more cases help? (n = {cases})")
    return figure

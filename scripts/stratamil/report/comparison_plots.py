"""Figures of the comparison of studies: each answers one question of its title."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import roc_curve

from stratamil.core.wording import num, sized
from stratamil.evaluation.compared_studies import Side
from stratamil.report.comparison_words import NAMES
from stratamil.report.forest import Row, forest
from stratamil.report.style import BROKEN, COLORS, DASHED, DOUBLE, GREY, MODEL, SINGLE, class_legend, figure_of, styled
from stratamil.stats import metrics
from stratamil.stats.curves import quantile_bins

Drawn = dict[str, tuple[Figure, str]]  # name -> the figure, and what it shows in words
# Line, marker and colour of each study, without a colour that means a class.
LINES, MARKERS = ("-", *BROKEN, (0, (1, 1)), (0, (8, 2, 1, 2, 1, 2))), "osD^vP"
LOOKS = [(line, marker, (MODEL, GREY)[i % 2]) for i, (line, marker) in enumerate(zip(LINES, MARKERS))]
LOOKS += [(line, marker, (GREY, MODEL)[i % 2]) for i, (line, marker) in enumerate(zip(LINES, MARKERS))]
ALL_PAIRS = 3  # studies of which each pair has a line; of more, those with the first
NAME, PANEL = 40, 18  # characters of a name in a figure, and below one of several panels
AUROCS = ("fold_mean", "roc_auc", "pr_auc")


def draw(sides: Sequence[Side], found: Mapping[str, Any], colors: Sequence[str] = COLORS) -> Drawn:
    """Draw the figures that there is anything to draw of. found: of `comparison.numbers`."""
    n = found["cases"]
    drawn = {"differences": (differences(found), f"Paired differences of {n} cases with 95% CI")}
    if found["positive"]:
        drawn["roc"] = roc(sides), f"ROC curves of {len(sides)} studies, {n} cases"
        drawn["calibration"] = calibration(sides), f"Observed share against predicted probability, {n} cases"
    if len(sides) <= 3:
        drawn["scatter"] = scatter(sides, found, colors), f"Probability of each of {n} cases by one study and another"
    if found["folds"]:
        drawn["folds"] = folds(found), "AUROC of each split by study"
    return drawn


def differences(found: Mapping[str, Any]) -> Figure:
    """Draw the differences of the AUROCs as a forest: of one pair each AUROC, of several the one that leads."""
    pairs, leading, n = found["pairs"], found["headline"], found["cases"]
    title, measure, sides = (
        "How far apart are they?",
        f"difference of {NAMES[leading]}",
        ("first better", "second better"),
    )
    if len(pairs) == 1:
        known = {name: pairs[0]["differences"][name] for name in AUROCS}
        rows = [Row(NAMES[k], each, n, mean=k == leading) for k, each in known.items() if each.value is not None]
        sides = tuple(f"{shorten(pairs[0][side], 18, placeholder='…')} better" for side in ("first", "second"))
        measure = "difference, paired"
    elif len(found["sides"]) > ALL_PAIRS:
        first = found["sides"][0]["name"]
        rows = [Row(pair["second"], pair["differences"][leading], n) for pair in pairs if pair["first"] == first]
        title, sides = f"How far are they from {_short(first)}?", ("worse", "better")
    else:
        rows = [Row(f"{pair['second']} − {pair['first']}", pair["differences"][leading], n) for pair in pairs]
    return forest(rows, f"{title} ({sized(n, found['patients'])})", measure, reference=0, sides=sides)


@styled
def roc(sides: Sequence[Side]) -> Figure:
    """Draw the ROC curve of each study's ensemble, all cases pooled."""
    figure, axes = figure_of(SINGLE, SINGLE)
    for side, (line, _, color) in zip(sides, _looks(sides)):
        cases = side.study.ensemble
        y, score = cases["y"].to_numpy(), cases[side.study.probabilities[1]].to_numpy()
        value = metrics.roc_auc(y, score)
        x, z = roc_curve(y, score, drop_intermediate=False)[:2] if value is not None else ([], [])
        label = f"{_short(side.name)}: AUROC {num(value, 2)}"
        axes.plot(x, z, color=color, linewidth=2, linestyle=line, label=label)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=DASHED)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="sensitivity", aspect="equal")
    axes.legend(loc="lower right", fontsize=9)
    axes.set_title(f"How well are the classes separated? (n = {len(cases)})")
    return figure


@styled
def calibration(sides: Sequence[Side]) -> Figure:
    """Draw the observed share against the mean probability, a fifth of the cases each."""
    figure, axes = figure_of(SINGLE, SINGLE)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=DASHED)
    for i, (side, (_, marker, color)) in enumerate(zip(sides, _looks(sides))):
        cases = side.study.ensemble
        bins = quantile_bins(cases["y"], cases[side.study.probabilities[1]])
        face = color if i == 0 else "white"
        for place, share in enumerate(bins):
            x, observed = share["mean"], share["observed"]
            axes.plot([x, x], [observed.low, observed.high], color=color, linewidth=1.1)
            label = _short(side.name) if place == 0 else None
            axes.plot(x, observed.value, marker, color=color, markerfacecolor=face, linestyle="", label=label)
    positive = sides[0].study.classes[-1]
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.03), xlabel=f"probability of {positive}", aspect="equal")
    axes.set_ylabel("observed share, 95% CI")
    _names_below(figure, [side.name for side in sides])
    axes.set_title(f"Do the probabilities hold? (n = {len(cases)})")
    return figure


@styled
def scatter(sides: Sequence[Side], found: Mapping[str, Any], colors: Sequence[str]) -> Figure:
    """Draw the probability of each case by one study against that by another, a panel a pair."""
    pairs, classes = list(combinations(sides, 2)), found["classes"]
    width = SINGLE if len(pairs) == 1 else DOUBLE
    figure, panels = figure_of(width, 0.6 + width / len(pairs), ncols=len(pairs), squeeze=False)
    y = sides[0].study.ensemble["y"].to_numpy()
    for axes, (one, other) in zip(panels[0], pairs):
        a, b = (side.study.shown(side.study.ensemble) for side in (one, other))
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=DASHED)
        for c, name in enumerate(classes):
            color = colors[c % len(colors)]
            axes.plot(a[y == c], b[y == c], "o", color=color, alpha=0.65, markersize=4.5, linestyle="", label=name)
        names = [_short(side.name, NAME if len(pairs) == 1 else PANEL) for side in (one, other)]
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=names[0], ylabel=names[1], aspect="equal")
    of = found["positive"] or "the true class"
    figure.suptitle(f"Which cases differ? Probability of {of}", fontsize=11, fontweight="bold", wrap=True)
    class_legend(figure, y, classes, colors)
    return figure


@styled
def folds(found: Mapping[str, Any]) -> Figure:
    """Draw the AUROC of each split by study, mean over trainings, joined within a split."""
    rows = found["folds"]
    figure, axes = figure_of(SINGLE, 1.4 + 0.32 * len(rows))
    for place, row in enumerate(rows):
        known = [value for value in row["roc_auc"] if value is not None]
        axes.plot([min(known, default=0), max(known, default=0)], [place] * 2, color=GREY, linewidth=0.8)
    for i, (side, (_, marker, color)) in enumerate(zip(found["sides"], _looks(found["sides"]))):
        values = [np.nan if row["roc_auc"][i] is None else row["roc_auc"][i] for row in rows]
        look = {"color": color, "markerfacecolor": color if i == 0 else "white", "label": _short(side["name"])}
        axes.plot(values, range(len(rows)), marker, linestyle="", **look)
    axes.set_yticks(range(len(rows)), [f"split {row['split']} (n = {row['n']})" for row in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="AUROC of the test cases, mean over trainings")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="y")
    _names_below(figure, [side["name"] for side in found["sides"]])
    axes.set_title("Is it the same in every split?")
    return figure


def _short(name: str, most: int = NAME) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _names_below(figure: Figure, names: Sequence[str]) -> None:
    """Draw the legend below the axes, in as many columns as there is place for."""
    longest = max(len(_short(name)) for name in names)
    figure.legend(loc="outside lower center", ncols=max(1, min(3, len(names), NAME // longest)), fontsize=9)


def _looks(sides: Sequence[Any]) -> list[tuple[Any, str, str]]:
    return [LOOKS[i % len(LOOKS)] for i in range(len(sides))]

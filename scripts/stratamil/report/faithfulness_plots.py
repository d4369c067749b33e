"""Figures of the faithfulness page, from its numbers: each function returns a matplotlib Figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from stratamil.core.names import column
from stratamil.core.wording import ends, n_of, sized
from stratamil.explain import faithfulness
from stratamil.explain.faithfulness_runs import TOPS, Study
from stratamil.report.forest import Row, forest
from stratamil.report.style import ATTENTION, COLORS, CONTRIBUTION, DASHED, GREY, SINGLE, STYLE, palette
from stratamil.stats.intervals import Estimate

Line = tuple[str, Any]  # colour and style

# What a line of the curves is called, and how it is drawn.
LINES = {
    "attention": (ATTENTION, "-"),
    "contribution": (CONTRIBUTION, "-"),
    "least": ("black", (0, (1.5, 2))),
    "random": (GREY, DASHED),
}
ORDERS = {
    "attention": "most attended",
    "contribution": "largest contribution",
    "least": "least attended",
    "random": "random",
}
REVERSED = {"attention": "least", "least": "attention", "contribution": "against", "random": "random"}
AREAS = {"deletion": "removed first", "insertion": "added first"}
PARTS = {"stain": "one stain left out", "slice": "one slice left out"}


def _figure(width: float, height: float, **subplots: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(squeeze=False, **subplots)


def draw(
    study: Study,
    numbers: Mapping[str, Any],
    table: pd.DataFrame,
    stains: Sequence[str],
    colors: Sequence[str] = COLORS,
) -> dict[str, tuple[Figure, str]]:
    """Draw the figures of the page that there is anything to draw of: name -> (Figure, what it shows in words).

    study: faithfulness_runs.Study. numbers: of faithfulness.numbers. table: of faithfulness.by_case. stains: in order.
    """
    classes, several, drawn = study.classes, table[table["patches"] > 1], {}
    if len(several):
        words = f"Mean probability of the predicted class of {len(several)} cases as patches are removed or added"
        sizes = {name: _size(rows) for name, rows in several.groupby("predicted")}
        drawn["curves"] = curves(numbers["curves"], sizes), f"{words}, by predicted class"
    if table["deletion_attention_probability"].notna().any():
        drawn["areas"] = (
            areas(table, classes, colors),
            "Area between attention and random of each case by predicted class",
        )
    if any(numbers["tops"].values()):
        labels = {name: f"{study.percent:g}%" if name == "percent" else name for name in TOPS}
        words = "Probability of the predicted class without, and with only, top or random patches, by class"
        whole = table.groupby("predicted")["probability"].agg(["mean", "size"])
        drawn["tops"] = tops(numbers["tops"], labels, whole), words
    of_parts = pd.concat([run.parts for run in study.runs])
    keys = ["case_id", "level", "stain", "slice_id"]
    means = of_parts.groupby(keys, dropna=False)[["weight", "margin_change"]].mean().reset_index()
    if means["margin_change"].notna().any():
        words = "Attention of each stain and slice against the margin that its case loses without it"
        drawn["parts"] = parts(means, palette(stains)), words
    binary = len(classes) == 2
    shown = table["true_class"].map(classes.index) if not binary else pd.Series(1, index=table.index)
    p, q = (
        np.choose(shown, table[[f"{kind}prob_{column(name)}" for name in classes]].to_numpy().T)
        for kind in ("", "uniform_")
    )
    label = f"probability of {classes[1]}" if binary else "probability of the true class"
    y = table["true_class"].map(classes.index)
    words = "Probability of each case with attention against that with equal weights"
    drawn["uniform"] = uniform(p, q, y, classes=classes, xlabel=label, size=_size(table), colors=colors), words
    if rows := _pairs(study, table):
        drawn["stability"] = stability(rows), "How alike two models order the patches of each case"
    if rows := _properties(numbers):
        title = f"What does attention go with? ({_size(table)})"
        figure = forest(rows, title, "mean rank correlation with attention", reference=0, unit=f"{numbers['unit']}s")
        drawn["properties"] = figure, "Correlation of attention with properties of patches"
    return drawn


def _size(table: pd.DataFrame) -> str:
    """Return `51 cases of 43 patients`. table: some rows of faithfulness.by_case."""
    return sized(len(table), table["patient_id"].nunique())


def _pairs(study: Study, table: pd.DataFrame) -> list[tuple[str, pd.Series, float]]:
    """Return the rows of `stability`."""
    pairs, rows = faithfulness.agreements(study), []
    for between in faithfulness.BETWEEN:
        means = pairs[pairs["between"] == between].groupby("case_id")[["correlation", "overlap", "chance"]].mean()
        means = means.dropna()
        if len(means):
            size = _size(table[table["case_id"].isin(means.index)])
            rows.append((f"two {between}: rank correlation\n{size}", means["correlation"], 0.0))
            label = f"two {between}: share of the top {study.percent:g}% in common\n{size}"
            rows.append((label, means["overlap"], float(means["chance"].mean())))
    return rows


def _properties(numbers: Mapping[str, Any]) -> list[Row]:
    """Return the rows of the forest of what is known of the patches, over cases and within slices."""
    words = {
        "pixels": "size in pixels",
        "bytes": "file size",
        "brightness": "brightness",
        "distance": "distance from the middle",
        "number": "patch number",
    }
    scopes = {"case": "over a case", "slice": "within a slice"}
    rows = []
    for row in numbers["findings"]:
        if row["section"] == "properties" and row["estimate"].value is not None:
            name, _, scope = row["measure"].rpartition("_")
            rows.append(Row(words[name], row["estimate"], row["estimate"].n, scopes[scope]))
    return sorted(rows, key=lambda row: row.group != scopes["case"])


def curves(by_class: Mapping[str, Any], sizes: Mapping[str, str]) -> Figure:
    """Draw deletion, left, and insertion, right, a row a class: mean probability of the predicted class with 95% CIs.

    by_class: predicted class -> faithfulness.curves. sizes: predicted class -> its cases in words.
    """
    shown = {name: means for name, means in by_class.items() if means}
    with matplotlib.rc_context(STYLE):
        figure, rows = _figure(9.4, 1.0 + 3.3 * len(shown), nrows=len(shown), ncols=2, sharex=True, sharey=True)
        for axes, (name, means) in zip(rows, shown.items()):
            for order in ORDERS:
                for panel, source in zip(axes, (order, REVERSED[order])):
                    if source in means:
                        _band(panel, means[source]["probability"], panel is axes[1], LINES[order])
            axes[0].set(ylabel=f"probability of {name}", xlim=(0, 1))
            axes[0].set_title(f"Predicted {name}: removed first\n{sizes[name]}", fontsize=10)
            axes[1].set_title("added first", fontsize=10)
        rows[-1][0].set(xlabel="share of patches removed")
        rows[-1][1].set(xlabel="share of patches kept")
        rows[0][0].set_ylim(top=min(rows[0][0].get_ylim()[1], 1.02))
        drawn = [order for order in ORDERS if any(order in means for means in shown.values())]
        handles = [
            Line2D([], [], color=color, linestyle=style, linewidth=2, label=ORDERS[order])
            for order, (color, style) in ((order, LINES[order]) for order in drawn)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9)
        figure.suptitle("Does the prediction follow what is attended?", fontsize=11, fontweight="bold")
        return figure


def _band(axes: Axes, line: Mapping[str, Sequence], backwards: bool, drawn: Line) -> None:
    color, style = drawn
    known = [(x, mean) for x, mean in zip(line["fraction"], line["mean"]) if mean.value is not None]
    x = np.array([x for x, _ in known])
    x = 1 - x if backwards else x
    axes.plot(x, [mean.value for _, mean in known], color=color, linestyle=style, linewidth=2)
    low, high = np.array([(mean.low, mean.high) for _, mean in known], dtype=float).reshape(-1, 2).T
    if np.isfinite(low).any() and color != "black":  # four bands would hide each other
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)


def areas(table: pd.DataFrame, classes: Sequence[str], colors: Sequence[str] = COLORS) -> Figure:
    """Draw each case's areas between attention and random, a row a predicted class, with the mean of each as a bar.

    table: of faithfulness.by_case.
    """
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = _figure(9.4, 1.7 + 0.75 * len(classes), ncols=2, sharey=True)
        for panel, (direction, words) in zip(axes, AREAS.items()):
            values = table[f"{direction}_attention_probability"].astype(float)
            panel.axvline(0, color=GREY, linewidth=0.9, linestyle=DASHED)
            for row, name in enumerate(classes):
                mine = np.sort(values[(table["predicted"] == name) & values.notna()])
                _dots(panel, mine, row, colors[row % len(colors)])
            panel.set(xlabel="area; right of 0 is better than random", ylim=(len(classes) - 0.5, -0.5))
            panel.set_title(f"Most attended {words}", fontsize=10)
            panel.xaxis.set_major_locator(MaxNLocator(5))
            panel.grid(visible=False, axis="y")
        known = table[table["deletion_attention_probability"].notna()]
        labels = [f"predicted {name}\n{_size(known[known['predicted'] == name])}" for name in classes]
        axes[0].set_yticks(range(len(classes)), labels)
        title = f"In how many cases is attention better than random? ({_size(known)})"
        figure.suptitle(title, fontsize=11, fontweight="bold")
        return figure


def _dots(axes: Axes, values: pd.Series | np.ndarray, row: int, color: str) -> None:
    """Draw sorted values as dots of a row, spread a little, always the same way, and their mean as a bar."""
    axes.plot(values, row + 0.2 * np.sin(2.4 * np.arange(len(values))), "o", color=color, markersize=4.5, alpha=0.6)
    if len(values):
        axes.plot([values.mean()] * 2, [row - 0.32, row + 0.32], color="black", linewidth=2)


def parts(table: pd.DataFrame, colors: Mapping[str, str]) -> Figure:
    """Draw the weight of each stain and slice against what the margin loses without it.

    table: case_id, level, stain, slice_id, weight, margin_change, one row a part. colors: of each stain.
    """
    levels = list(PARTS) if faithfulness.several_slices(table[table["level"] == "slice"]) else ["stain"]
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = _figure(9.4, 4.2, ncols=len(levels))
        for panel, level in zip(axes, levels):
            of_level, words = table[(table["level"] == level) & table["margin_change"].notna()], PARTS[level]
            panel.axhline(0, color=GREY, linewidth=0.9, linestyle=DASHED)
            for stain, color in colors.items():
                mine = of_level[of_level["stain"] == stain]
                panel.plot(mine["weight"], mine["margin_change"], "o", color=color, markersize=4, alpha=0.55)
            panel.set(xlabel=f"attention of the {level} (share of the case)", xlim=(-0.02, 1.02))
            panel.set_title(f"{words[0].upper()}{words[1:]} ({n_of(len(of_level), level)})", fontsize=10)
        axes[0].set_ylabel("margin lost without it")
        handles = [
            Line2D([], [], color=color, marker="o", linestyle="", label=stain) for stain, color in colors.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), fontsize=9)
        title = f"Do {' and '.join(f'{level}s' for level in levels)} with more attention support the predicted class?"
        figure.suptitle(title, fontsize=11, fontweight="bold")
        return figure


def tops(
    by_class: Mapping[str, Sequence[Mapping[str, Any]]],
    labels: Mapping[str, str],
    whole: pd.DataFrame,
) -> Figure:
    """Draw the probability of the predicted class without, and with nothing but, top and random patches, a row a class.

    by_class: predicted class -> rows of faithfulness.tops. labels: top -> its words. whole: index predicted class; mean
    probability of whole bags, and size, cases.
    """
    shown = {name: rows for name, rows in by_class.items() if rows}
    with matplotlib.rc_context(STYLE):
        figure, grid = _figure(9.4, 1.0 + 3.0 * len(shown), nrows=len(shown), ncols=2, sharex=True, sharey=True)
        names = [name for name in labels if any(row["top"] == name for rows in shown.values() for row in rows)]
        for axes, (predicted, rows) in zip(grid, shown.items()):
            for panel, kind in zip(axes, ("without", "only")):
                panel.axhline(whole.loc[predicted, "mean"], color="black", linewidth=1, linestyle=(0, (1.5, 2)))
                _tops(panel, rows, kind, names)
                panel.set_xticks(range(len(names)), [labels[name] for name in names])
                panel.set(xlim=(-0.5, len(names) - 0.5))
                panel.grid(visible=False, axis="x")
            axes[0].set_ylabel(f"probability of {predicted}")
            sizes = {
                (row["cases"], row["mean"].n) for row in rows if row["of"] == "probability" and row["top"] in names
            }
            size = ends(sized(*min(sizes)), sized(*max(sizes)))  # fewer have more than 20 patches
            axes[0].set_title(f"Predicted {predicted}: without them\n{size}", fontsize=10)
            axes[1].set_title("nothing but them", fontsize=10)
        for panel in grid[-1]:
            panel.set(xlabel="patches")
        handles = [
            Line2D([], [], color=ATTENTION, marker="o", linestyle="", label="most attended"),
            Line2D([], [], color=GREY, marker="o", linestyle="", label="random"),
            Line2D([], [], color="black", linestyle=(0, (1.5, 2)), label="all patches"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
        figure.suptitle("Are the most attended patches necessary, and are they enough?", fontsize=11, fontweight="bold")
        return figure


def _tops(axes: Axes, rows: Sequence[Mapping[str, Any]], kind: str, names: Sequence[str]) -> None:
    for offset, group, color in ((-0.09, "top", ATTENTION), (0.09, "random", GREY)):
        for row in rows:
            if (row["kind"], row["group"], row["of"]) == (kind, group, "probability") and row["top"] in names:
                _interval(axes, names.index(row["top"]) + offset, row["mean"], color)


def _interval(axes: Axes, place: float, mean: Estimate, color: str) -> None:
    """Draw an estimate as a dot with a vertical bar."""
    if mean.value is None:
        return
    if mean.low is not None:
        axes.plot([place] * 2, [mean.low, mean.high], color=color, linewidth=2, alpha=0.6)
    axes.plot(place, mean.value, "o", color=color, markersize=6)


def uniform(
    with_attention: ArrayLike,
    without: ArrayLike,
    y: ArrayLike,
    *,
    classes: Sequence[str],
    xlabel: str,
    size: str,
    colors: Sequence[str] = COLORS,
) -> Figure:
    """Draw each case's probability with attention against that without, a colour a true class.

    with_attention, without (n,): probabilities. y (n,): true classes. size: the cases in words.
    """
    y = np.asarray(y)
    with matplotlib.rc_context(STYLE):
        figure, ((axes,),) = _figure(SINGLE, SINGLE)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=DASHED)
        axes.axhline(0.5, color=GREY, linewidth=0.7, linestyle=(0, (1, 3)))
        axes.axvline(0.5, color=GREY, linewidth=0.7, linestyle=(0, (1, 3)))
        for c in range(len(classes)):
            color = colors[c % len(colors)]
            axes.plot(np.asarray(with_attention)[y == c], np.asarray(without)[y == c], "o", color=color, alpha=0.6)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel=f"{xlabel}, with attention", ylabel="with equal weights of all patches")
        handles = [
            Line2D(
                [],
                [],
                color=colors[c % len(colors)],
                marker="o",
                linestyle="",
                label=f"{name} ({n_of((y == c).sum(), 'case')})",
            )
            for c, name in enumerate(classes)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3), fontsize=9)
        figure.suptitle(f"Do equal weights change predictions? ({size})", fontsize=11, fontweight="bold")
        return figure


def stability(rows: Sequence[tuple[str, ArrayLike, float]]) -> Figure:
    """Draw how alike two models attend: a row a comparison, a dot a case, its mean as a bar, chance as a grey one.

    rows: [(label, values, chance)].
    """
    with matplotlib.rc_context(STYLE):
        figure, ((axes,),) = _figure(7.2, 1.3 + 0.62 * len(rows))
        for row, (_, values, chance) in enumerate(rows):
            _dots(axes, np.sort(np.asarray(values, dtype=float)), row, ATTENTION)
            axes.plot([chance] * 2, [row - 0.32, row + 0.32], color=GREY, linewidth=2, linestyle=(0, (2, 1.5)))
        axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="black: mean over cases; dashed: by chance")
        axes.grid(visible=False, axis="y")
        figure.suptitle("Do two models attend to the same patches?", fontsize=11, fontweight="bold")
        return figure

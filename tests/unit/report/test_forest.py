"""The forest and the ROC curve with its band: marks lie where the numbers say."""

import itertools

import numpy as np
import pandas as pd
import pytest

from stratamil.report import forest, page, style
from stratamil.stats import curves
from stratamil.stats.intervals import Estimate

ROWS = [
    forest.Row("colour", Estimate(0.1, -0.1, 0.3), 20, "patches", runs=(0.05, 0.15)),
    forest.Row("slices", Estimate(0.5, 0.2, 0.8), 20, "no patches"),
    forest.Row("no CI", Estimate(0.3), 3, "no patches"),
    forest.Row("one class", Estimate(None), 2, "no patches"),
    forest.Row("mean", Estimate(0.2, 0.1, 0.3), mean=True),
]


def words(axes):
    return [text.get_text() for text in axes.texts]


def drawn(axes, marker):
    return [tuple(np.ravel(line.get_xdata())) for line in axes.lines if line.get_marker() == marker]


def test_a_forest_draws_each_row_at_its_numbers_and_says_them():
    axes = forest.forest(ROWS, "Which is better?", "difference", reference=0).axes[0]
    assert drawn(axes, "s") == [(0.1,), (0.5,), (0.3,)] and drawn(axes, "D") == [(0.2,)]
    assert drawn(axes, "o")[0] == (0.05, 0.15)
    segments = [
        tuple(line.get_xdata())
        for line in axes.lines
        if line.get_marker() == "None" and line.get_color() == style.MODEL
    ]
    assert segments == [(-0.1, 0.3), (0.2, 0.8), (0.1, 0.3)]
    assert {"0.10 (−0.10 to 0.30)", "0.30", "not defined", "20", "3"} <= set(words(axes))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["patches", "colour", "no patches", "slices", "no CI", "one class", "mean"]


def test_open_marks_are_explained_where_there_are_any():
    label = [forest.forest(rows, "T", "AUROC").axes[0].get_xlabel() for rows in (ROWS, ROWS[:2])]
    assert label == [f"AUROC ({forest.OPEN})", "AUROC"]
    dotted = forest.Row("split 01", Estimate(0.3), 3, runs=(0.2, 0.3))  # a dot within would fill an open square
    axes = forest.forest([*ROWS, dotted], "T", "AUROC").axes[0]
    squares = {line.get_xdata()[0]: line.get_fillstyle() for line in axes.lines if line.get_marker() == "s"}
    assert squares == {0.1: "full", 0.5: "full", 0.3: "full"}
    assert [line.get_fillstyle() for line in axes.lines if line.get_marker() == "s"].count("none") == 1


def test_the_axis_holds_every_ci_and_the_reference():
    low, high = forest.forest(ROWS, "T", "difference", reference=1).axes[0].get_xlim()
    assert low < -0.1 and high > 1


@pytest.mark.parametrize("low, high, ticks", [(-0.15, 0.75, 4), (0.86, 0.97, 2), (-0.03, 0.02, 3), (-0.9, 0.9, 3)])
def test_no_label_touches_another_and_the_axis_has_ticks(low, high, ticks):
    long = "The model retrained without attention (mean of all patches)"
    rows = [forest.Row(label, Estimate(high, low, high), 63) for label in (long, "colour", long, long, "slices")]
    figure = forest.forest(rows, "Better?", "difference", reference=low, sides=("baseline better", "model better"))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    left, right = axes.get_xlim()
    below = [label for label in axes.get_xticklabels() if left <= label.get_position()[0] <= right]
    assert ticks <= len(below) <= 6
    for labels, side in ((axes.get_yticklabels(), 1), (below, 0)):
        boxes = sorted(tuple(label.get_window_extent().get_points()[:, side]) for label in labels)
        assert all(before[1] + 2 < after[0] for before, after in itertools.pairwise(boxes)), boxes


@pytest.mark.parametrize("rows", [[], ROWS[3:4]])
def test_a_forest_without_numbers_is_drawn(rows):
    forest.forest(rows, "T", "AUROC").draw_without_rendering()


def test_the_roc_curve_has_true_coordinates_a_band_and_its_operating_point():
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 40)
    cases = pd.DataFrame({"run": [0, 1] * 20, "patient_id": range(40), "y": y, "score": y + random.normal(size=40)})
    runs = [(run["y"], run["score"]) for _, run in cases.groupby("run")] + [([1, 1], [0.1, 0.2])]
    point = forest.Point("at 0.5", Estimate(0.8, 0.6, 0.9), Estimate(0.7, 0.5, 0.9))
    band = curves.mean_roc(cases, 50, 0)
    axes = forest.roc_band(runs, band, "mean", "Test", points=[point], beside=[("baseline", band)]).axes[0]
    for line in axes.lines:
        assert all(0 <= value <= 1 for value in np.ravel(line.get_xydata()))
    assert drawn(axes, "o") == [(pytest.approx(0.3),)]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == [
        "2 trainings",
        "95% CI, pointwise",
        "baseline",
        "mean",
        "at 0.5: sens. 0.80, spec. 0.70",
    ]


def test_marks_and_bands_are_light_on_dark_paper():
    band = curves.Band(np.array([0, 1]), np.array([0, 1]), np.array([0, 0.5]), np.array([0.5, 1]))
    for figure in (forest.forest(ROWS, "T", "AUROC"), forest.roc_band([], band, "mean", "T")):
        text = page.inline(style.svg(figure), "x", "words", style.COLORS)
        assert "fill: currentColor" in text and style.MODEL not in text

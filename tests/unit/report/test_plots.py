"""Plots: every figure can be drawn and saved, for the sizes and degenerate sets that occur."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stratamil.report import cohort_plots, plots, style, training_plots

CLASSES = ["benign", "high-grade"]


def sample(n):
    random = np.random.default_rng(n)
    y = random.integers(0, 2, n)
    return y, 1 / (1 + np.exp(-3 * (y - 0.5) - random.normal(size=n)))


def history():
    return pd.DataFrame(
        {"epoch": [1, 2, 3], "train_loss": [1, 0.5, 0.2], "val_loss": [0.9, 0.6, 0.7]}
        | {"val_auc": [0.5, np.nan, 0.9], "best": [False, True, False]}
    )


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 18, 100])
def test_every_figure_says_how_many_cases(n, tmp_path):
    y, score = sample(n)
    for figure in (
        plots.confusion_matrix(y, score > 0.5, CLASSES, "Test"),
        plots.deviation([f"$x_{i}" for i in range(n)], y, score, CLASSES, "Test"),
        plots.roc([("model", y, score)], "Test", thin=[(y, score)]),
        plots.precision_recall([("model", y, score)], "Test"),
        plots.calibration(y, score, "Test"),
        cohort_plots.strips({"all": 1 + 9 * score, "h&e": np.full(n, np.nan)}, y, CLASSES, "Test", "patches"),
        cohort_plots.stain_patterns([[1, 0], [1, 1]], [[n - 1, 0], [0, 1]], ["h&e", "melan"], CLASSES, "Test"),
    ):
        assert f"n = {n}" in texts(figure)
        style.save(figure, tmp_path / "figure.svg")
        assert "<svg" in (tmp_path / "figure.svg").read_text()


def test_splits_without_error_do_not_hide_each_other():
    axes = plots.roc([("model", [0, 1], [0, 1])], "Test", thin=[([0, 1], [0, 1])] * 3).axes[0]
    thin = [tuple(line.get_xydata().ravel()) for line in axes.lines if line.get_color() == style.GREY][:3]
    assert len(set(thin)) == 3
    assert all(axes.get_xlim()[0] < min(line[::2]) and max(line[1::2]) < axes.get_ylim()[1] for line in thin)


def test_calibration_names_classes_and_what_its_lines_are():
    y, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    figure = plots.calibration(y, score, "Test", scaled=score, names=CLASSES)
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["as the model gives them", "after temperature scaling", *CLASSES]
    assert "slope not defined" in texts(figure) and "observed share of high-grade" in texts(figure)
    figure.draw_without_rendering()
    note = next(text for text in figure.axes[0].texts if "ECE" in text.get_text())
    assert note.get_window_extent().y0 >= figure.axes[0].get_window_extent().y1


def test_one_class_is_named_not_drawn():
    assert "AUROC not defined" in texts(plots.roc([("model", [1, 1], [0.2, 0.3])], "Test"))
    assert "not defined" in texts(plots.precision_recall([("model", [1, 1], [0.2, 0.3])], "Test"))


@pytest.mark.slow
def test_deviation_names_each_case_and_counts_the_wrong():
    y, score = sample(100)
    drawn = texts(plots.deviation([f"case-{i}" for i in range(100)], y, score, CLASSES, "Test"))
    assert all(f"case-{i}" in drawn for i in range(100))
    assert f"wrong (n = {((score > 0.5) != y).sum()})" in drawn
    assert "wrong (n = 1)" in texts(
        plots.deviation("abc", [0, 1, 2], [0.4, 0.9, 0.45], "xyz", "T", wrong=[False, False, True])
    )


@pytest.mark.parametrize("n", [cohort_plots.POINTS, cohort_plots.POINTS + 1])
def test_strips_of_very_many_are_boxes(n):
    figure = cohort_plots.strips({"all": np.arange(1, n + 1)}, np.arange(n) % 2, CLASSES, "Test", "patches")
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in points) == (n if n == cohort_plots.POINTS else 0)


def test_names_are_text_not_formulas(tmp_path):
    figure = plots.deviation(["$\\frac{", "b"], [0, 1], [0.2, 0.8], ["a$", "b$"], "$T")
    style.save(figure, tmp_path / "figure.svg")
    assert "$\\frac{" in (tmp_path / "figure.svg").read_text()


@pytest.mark.slow
def test_same_figure_same_bytes_and_png_of_150_dpi(tmp_path):
    for suffix in ("svg", "png"):
        for name in "ab":
            style.save(training_plots.loss(history(), "Split 01"), tmp_path / f"{name}.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert Image.open(tmp_path / "a.png").size == (1350, 570)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]

"""Plots: every figure can be drawn and saved, for the sizes and degenerate sets that occur."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stratamil.report import cohort_plots, decision_plots, forest, plots, style, training_plots
from stratamil.stats.intervals import Estimate

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
        plots.roc([("model", y, score)], "Test"),
        plots.precision_recall([("model", y, score)], "Test"),
        plots.calibration(y, score, "Test"),
        cohort_plots.strips({"all": 1 + 9 * score, "h&e": np.full(n, np.nan)}, y, CLASSES, "Test", "patches"),
        cohort_plots.stain_patterns([[1, 0], [1, 1]], [[n - 1, 0], [0, 1]], ["h&e", "melan"], CLASSES, "Test"),
    ):
        assert f"n = {n}" in texts(figure)
        style.save(figure, tmp_path / "figure.svg")
        assert "<svg" in (tmp_path / "figure.svg").read_text()


def test_curves_are_drawn_at_their_true_coordinates_in_the_lines_of_their_sets():
    axes = plots.roc([("test", [0, 1, 0, 1], [0.1, 0.9, 0.6, 0.4]), ("validation", [0, 1], [0, 1])], "Test").axes[0]
    test, validation = axes.lines[:2]
    assert list(map(tuple, test.get_xydata())) == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert test.get_linestyle() == "-" and validation.get_linestyle() == "--"
    assert axes.get_xlim() == axes.get_ylim() == (-0.02, 1.02)


def test_calibration_names_classes_and_what_its_marks_are():
    y, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    figure = plots.calibration(y, score, "Test", scaled=score, names=CLASSES)
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["as the model gives them", "after temperature scaling", *CLASSES]
    assert "slope not defined" in texts(figure) and "observed share of high-grade" in texts(figure)
    figure.draw_without_rendering()
    note = next(text for text in figure.axes[0].texts if "ECE" in text.get_text())
    assert note.get_window_extent().y0 >= figure.axes[0].get_window_extent().y1


@pytest.mark.parametrize(("n", "smooth"), [(30, 0), (100, 1)])
def test_calibration_joins_no_dots_and_has_a_smooth_curve_where_n_allows(n, smooth):
    y, score = sample(n)
    axes = plots.calibration(y, score, "Test", names=CLASSES).axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(dots) == 5 and all(len(line.get_xdata()) == 1 for line in dots)
    assert sum(len(line.get_xdata()) > 2 for line in axes.lines) == smooth


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


def test_an_axis_of_few_slices_marks_each_number():
    for most, marked in ((7, {3, 4, 6}), (70, set())):
        figure = cohort_plots.strips({"all": [1, 2, most]}, [0, 1, 1], CLASSES, "Test", "slices")
        assert {3, 4, 6} & set(figure.axes[0].get_xticks()) == marked


def test_what_either_source_loses_leaves_the_way_of_both():
    sources = [
        {"name": "rows", "unit": "rows", "n": 9, "left_out": [{"reason": "twice", "n": 1}]},
        {"name": "files", "unit": "files", "n": 90, "left_out": []},
    ]
    step = {"name": "used", "cases": 8, "patients": 8, "patches": 90, "counts": {"a": 8}, "left_out": []}
    arrows = [each for each in cohort_plots.flow(sources, [step]).axes[0].texts if getattr(each, "arrowprops", None)]
    (across,) = [(each.xyann[0], each.xy[0]) for each in arrows if each.xyann[1] == each.xy[1]]
    down = [each.xy[0] for each in arrows if each.xyann[0] == each.xy[0]]
    assert len(down) == 2 and across[0] == min(down) < max(down) < across[1]


def test_feature_files_that_were_not_opened_are_among_what_is_left_out():
    unopened = [{"reason": "marked", "why": "cannot be read", "n": 1}, {"reason": "not listed", "why": "", "n": 2}]
    source = {"name": "rows of the feature files", "unit": "rows", "n": 60, "left_out": [], "unopened": unopened}
    step = {"name": "used", "cases": 8, "patients": None, "patches": 60, "counts": {"a": 8}, "left_out": []}
    drawn = [each.get_text() for each in cohort_plots.flow([source], [step]).axes[0].texts]
    assert "1 file: marked (cannot be read)" in drawn and "2 files: not listed" in drawn


def test_a_step_that_leaves_nothing_out_has_no_box_of_its_own():
    """What is left out before one of several equal steps stays beside the box that is left of them."""
    sources = [{"name": "rows of the labels table", "n": 7, "unit": "rows", "left_out": [{"reason": "twice", "n": 1}]}]
    same = {"cases": 6, "patients": None, "patches": 60, "counts": {"a": 3, "b": 3}, "left_out": []}
    lost = [{"reason": "no patches", "cases": 1, "patches": 0}]
    fewer = same | {"cases": 5, "counts": {"a": 2, "b": 3}, "left_out": lost}
    steps = [same | {"name": "in the table"}, same | {"name": "of a class"}, fewer | {"name": "with patches"}]
    steps.append({**fewer, "name": "validated", "left_out": []})
    drawn = [each.get_text() for each in cohort_plots.flow(sources, steps).axes[0].texts if each.get_text()]
    assert [line for line in drawn if "cases" in line] == ["6 cases of a class", "5 cases validated"]
    assert "1 row: twice" in drawn and "1 case: no patches" in drawn
    assert [step["name"] for step in steps] == ["in the table", "of a class", "with patches", "validated"]


@pytest.mark.parametrize("n", [cohort_plots.POINTS, cohort_plots.POINTS + 1])
def test_strips_of_very_many_are_boxes(n):
    figure = cohort_plots.strips({"all": np.arange(1, n + 1)}, np.arange(n) % 2, CLASSES, "Test", "patches")
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in points) == (n if n == cohort_plots.POINTS else 0)


MODEL = [Estimate(0.3, 0.2, 0.4), Estimate(0.1), Estimate(0.0, -0.1, 0.1)]
DECISIONS = {"thresholds": [0.2, 0.5, 0.8], "model": MODEL, "all": [0.4, 0.0, -1.0]}
DECISIONS |= {"baseline": "summary", "of_baseline": [0.2] * 3}


@pytest.mark.slow
def test_text_is_at_least_6_points_in_a_journal(tmp_path):
    y, score = sample(100)
    weights = pd.DataFrame({"h&e": score, "melan": 1 - score})
    drawn = {
        "confusion": plots.confusion_matrix(y, score > 0.5, CLASSES, "Test"),
        "deviation": plots.deviation([f"case {i}" for i in range(100)], y, score, CLASSES, "Test"),
        "roc": plots.roc([("model", y, score)], "Test"),
        "calibration": plots.calibration(y, score, "Test"),
        "stains": plots.stain_weights(weights, y, CLASSES, "Test"),
        "losses": training_plots.losses([(f"run {i}", history()) for i in range(10)], "Test"),
        "decision": decision_plots.net_benefit(DECISIONS, "high-grade", 100),
        "learning": decision_plots.learning(
            [{"percent": p, "training_cases": p, "roc_auc": Estimate(p / 100, 0.1, 1)} for p in (25, 100)], "roc_auc", 9
        ),
        "forest": forest.forest([forest.Row("row", Estimate(0.5, 0.2, 0.8), 9)], "Test", "AUROC"),
    }
    for name, figure in drawn.items():
        text = style.publish(figure, tmp_path / name)
        printed = float(re.search(r'width="([\d.]+)mm"', text)[1]) / 25.4 * 72
        scale = printed / float(re.search(r'viewBox="0 0 ([\d.]+)', text)[1])
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:bold )?([\d.]+)px", text)]
        assert min(sizes) * scale >= 6, name


def test_names_are_text_not_formulas(tmp_path):
    figure = plots.deviation(["$\\frac{", "b"], [0, 1], [0.2, 0.8], ["a$", "b$"], "$T")
    style.save(figure, tmp_path / "figure.svg")
    assert "$\\frac{" in (tmp_path / "figure.svg").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "column"), [(style.SINGLE, 89), (style.DOUBLE, 183), (12, 183)])
def test_a_published_figure_is_one_drawing_as_wide_as_a_column(width, column, tmp_path):
    figure, _ = style.figure_of(width, 4)
    text = style.publish(figure, tmp_path / "fig.ure")
    assert text == (tmp_path / "fig.ure.svg").read_text() and f'width="{column}.00mm"' in text
    image = Image.open(tmp_path / "fig.ure.png")
    assert image.width == pytest.approx(column / 25.4 * 300, abs=1) and image.info["dpi"][0] == pytest.approx(300, 0.01)


@pytest.mark.slow
def test_same_figure_same_bytes_and_png_of_150_dpi(tmp_path):
    for suffix in ("svg", "png"):
        for name in "ab":
            style.save(training_plots.loss(history(), "Split 01"), tmp_path / f"{name}.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert Image.open(tmp_path / "a.png").size == (1350, 570)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]

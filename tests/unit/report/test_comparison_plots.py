"""Figures of many studies: each has a look of its own, and names stay within the figure."""

from itertools import combinations

import pytest

from stratamil.report import comparison_plots as plots
from stratamil.report import comparison_words, faithfulness_sentences, style
from stratamil.stats.intervals import Estimate

NAMES = ["first", "a study with a name that is much longer than a figure is wide", "third", "fourth", "fifth"]
NUMBERS = {"unit": "patient", "bootstrap": {"samples": 9, "seed": 1}, "classes": ["a", "b"]}


def found(n):
    differences = {"fold_mean": Estimate(0.1, 0.0, 0.2), "roc_auc": Estimate(0.1, 0.0, 0.2), "pr_auc": Estimate(None)}
    pairs = [{"first": a, "second": b, "differences": differences} for a, b in combinations(NAMES[:n], 2)]
    rows = [{"split": f"0{i}", "n": 9, "roc_auc": [0.5 + 0.1 * place for place in range(n)]} for i in (1, 2)]
    known = {"headline": "fold_mean", "patients": 9, "cases": 9, "pairs": pairs, "folds": rows}
    return known | {"sides": [{"name": name} for name in NAMES[:n]]}


def labels(figure):
    return [text.get_text().replace("\n", " ") for text in figure.axes[0].get_yticklabels()]


def test_no_two_studies_look_alike():
    assert len(set(plots._looks(range(12)))) == 12


@pytest.mark.parametrize("n, rows", [(2, 2), (3, 3), (5, 4)])
def test_of_many_studies_the_forest_has_the_differences_from_the_first(n, rows):
    figure = plots.differences(found(n))
    assert len([label for label in labels(figure) if label]) == rows
    if n == 5:
        assert labels(figure)[-1] == "fifth" and "from first?" in figure.get_suptitle()


def test_an_interval_is_a_value_and_what_lies_on_both_sides():
    prose = comparison_words.METHODS[1] + " ".join(faithfulness_sentences.methods(NUMBERS))
    assert prose.count("value ± 1.96 SD") == prose.replace("\u2213", "±").count("±") == 2


def test_a_number_of_cases_or_patients_says_which():
    figure = plots.differences(found(2) | {"cases": 58, "patients": 52})
    assert figure.get_suptitle().endswith("(58 cases of 52 patients)")
    column = [text.get_text() for text in figure.axes[0].texts]
    assert "cases" in column and "58" in column and not {"n", "52"} & set(column)


@pytest.mark.parametrize("n", [2, 5])
def test_a_legend_lies_within_the_figure(n):
    figure = plots.folds(found(n))
    style.svg(figure)
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert len(figure.legends[0].get_texts()) == n

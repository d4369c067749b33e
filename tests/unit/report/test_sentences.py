"""The sentences of the report, for every outcome."""

import pytest

from stratamil.report import sentences
from stratamil.stats.intervals import Estimate

FITTED, FEW, BOUND = ({"value": value, "off": off} for value, off in ((1.5, None), (1.0, "few"), (1.0, "bound")))
AS_GIVEN = "Probabilities are shown as the model gives them: "
LOSS = "log loss of the test cases "
RANGE = " Fitted temperatures: 1.50 to 1.50."


@pytest.mark.parametrize(
    "runs, reduction, text",
    [
        ([FEW] * 5, None, f"{AS_GIVEN}each run has fewer than 50 validation cases, too few to fit a temperature."),
        ([BOUND], None, f"{AS_GIVEN}the run has a fit that ends at its bound."),
        (
            [FITTED], Estimate(0.1, 0.02, 0.18, 50),
            f"Temperature scaling helped: {LOSS}lower by 0.100 (95% CI 0.020 to 0.180).{RANGE}",
        ),
        (
            [FITTED], Estimate(0.1, -0.02, 0.22, 50),
            f"Temperature scaling is not shown to help: {LOSS}lower by 0.100 (95% CI −0.020 to 0.220); the CI includes "
            f"0.{RANGE}",
        ),
        (
            [FITTED, FEW], Estimate(-0.4, -0.9, 0.1, 50),
            f"Temperature scaling did not help: {LOSS}higher by 0.400 (95% CI −0.100 to 0.900). Use the probabilities "
            f"as the model gives them.{RANGE} Other runs keep a temperature of 1: 1 of 2 runs has fewer than 50 "
            "validation cases, too few to fit a temperature.",
        ),
    ],
)  # fmt: skip
def test_temperature(runs, reduction, text):
    assert sentences.temperature(runs, reduction) == text


@pytest.mark.parametrize(
    "half, chosen, words", [(0.85, 0.8, "worse than"), (0.8, 0.85, "better than"), (0.8, 0.8, "as well as")]
)
def test_chosen_thresholds_against_one_half(half, chosen, words):
    points = [{"rows": [{"name": "balanced_accuracy", "estimate": Estimate(value)}]} for value in (half, chosen)]
    assert sentences.threshold(points) == (
        f"The thresholds chosen on validation cases did {words} 0.5 on the test cases: balanced accuracy {chosen:.2f}, "
        f"at 0.5 {half:.2f}."
    )


def test_nothing_is_said_of_thresholds_that_there_are_not():
    one = {"rows": [{"name": "balanced_accuracy", "estimate": Estimate(None)}]}
    assert (
        sentences.threshold([one])
        == sentences.threshold([one, {"rows": None}])
        == sentences.threshold([one, one])
        == ""
    )


def numbers(**parts):
    value = Estimate(0.912, 0.841, 0.953, 80)
    of = {"fold_mean": value, "roc_auc": value, "folds": 5}
    made = {"headline": "fold_mean", "out_of_fold": of, "classes": ["benign", "high-grade"], "positive": "high-grade"}
    return made | {"cases": 87, "by_seed": [{}]} | parts


def test_the_result_is_the_fold_mean_of_a_single_training():
    begin = "AUROC 0.91 (95% CI 0.84 to 0.95), high-grade against benign, 87 cases: "
    assert sentences.result(numbers()) == (
        f"{begin}mean of the 5 test sets, each ranked by its own model; of a single training."
    )
    assert sentences.result(numbers(by_seed=[{}] * 3)).endswith(
        "of a single training, averaged over 3 trainings per case."
    )
    assert sentences.result(numbers(headline="roc_auc")) == (
        f"{begin}all test cases ranked together; of a single training. The mean of the test sets is not given, because "
        "a test set lacks a class."
    )
    nothing = {"roc_auc": Estimate(None), "folds": 5}
    assert "AUROC is not defined" in sentences.result(numbers(headline="roc_auc", out_of_fold=nothing))


def test_what_a_model_saw():
    end = " No final model was fitted to all cases."
    assert sentences.trained([30, 31], 51) == f"Each model was trained on about 60% of the cases (30 to 31 of 51).{end}"
    assert sentences.trained([30, 30], 50) == f"Each model was trained on about 60% of the cases (30 of 50).{end}"

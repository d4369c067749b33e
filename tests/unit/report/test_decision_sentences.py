"""Sentences on decisions, power and training cases: each outcome says what was found, with its numbers."""

import itertools

import pytest

from stratamil.report import decision_sentences as sentences
from stratamil.stats.intervals import Estimate

T = [0.4, 0.5, 0.6]


def curve(difference=None, useful=((0.4, 0.6),), baseline="summary"):
    model = [Estimate(0.3, 0.2, 0.4, 80)] * 3
    return {
        "thresholds": T, "model": model, "useful": list(useful), "baseline": baseline,
        "of_baseline": [0.25] * 3, "over_baseline": [difference] * 3,
    }  # fmt: skip


def test_where_the_model_s_decisions_are_worth_more():
    assert sentences.net_benefit(curve(), "high-grade", 80) == (
        "Deciding by the model has a higher net benefit than calling all 80 cases or none high-grade at thresholds "
        "0.40 to 0.60 (pointwise 95% CIs above 0)."
    )
    both = sentences.net_benefit(curve(useful=[(0.1, 0.15), (0.4, 0.6)]), "b", 8)
    assert "at thresholds 0.10 to 0.15 and 0.40 to 0.60 (" in both
    many = curve(useful=[(0.1, 0.2), (0.4, 0.6), (0.8, 0.9)]) | {"thresholds": [n / 10 for n in range(1, 10)]}
    assert "at 7 of 9 thresholds from 0.10 to 0.90 (" in sentences.net_benefit(many, "b", 8)
    assert sentences.net_benefit(curve(useful=()), "b", 80).startswith("At no threshold is deciding by the model shown")


def test_a_range_as_narrow_as_a_step_of_the_curve_is_no_finding():
    said = sentences.net_benefit(curve(useful=[(0.08, 0.65), (0.97, 0.98)]), "carcinoma", 63)
    assert said.endswith(
        "at thresholds 0.08 to 0.65 (pointwise 95% CIs above 0; ranges narrower than 0.05 are not counted)."
    )
    none = sentences.net_benefit(curve(useful=[(0.5, 0.5)]), "carcinoma", 63)
    assert none == (
        "In no range of thresholds 0.05 wide or more is deciding by the model shown to have a higher net benefit than "
        "calling all 63 cases or none carcinoma."
    )


@pytest.mark.parametrize(
    "difference, words",
    [
        (Estimate(0.05, 0.01, 0.09), "the model is worth more, difference 0.05 (95% CI 0.01 to 0.09)."),
        (Estimate(-0.05, -0.09, -0.01), "the model is worth less, difference −0.05 (95% CI −0.09 to −0.01)."),
        (Estimate(0.05, -0.01, 0.09), "so this cohort cannot show a difference."),
        (Estimate(0.0), "difference 0.00."),
    ],
)
def test_net_benefit_beside_the_best_baseline(difference, words):
    said = sentences.beside_baseline(curve(difference), "summary")
    assert said.endswith(words) and "At a threshold of 0.5 the net benefit is 0.30 (95% CI 0.20 to 0.40)" in said
    assert "that of the best baseline (Mean, maximum and SD of patch features) 0.25" in said
    of_all = sentences.beside_baseline(curve(difference), "mean_pool_melan")
    assert "that of the best baseline that judges all cases (Mean, maximum and SD of patch features) 0.25" in of_all
    assert sentences.beside_baseline(curve(baseline=None), None) == ""


def test_what_can_be_detected():
    found = {"power": 0.8, "patients": 87, "against": "summary", "difference": 0.081, "auroc": 0.68}
    assert sentences.detectable(found, "summary", "patient") == (
        "With 87 patients this study can detect, with 80% power, an AUROC of 0.68 or more against chance, and a "
        "difference of 0.08 or more from the best baseline (Mean, maximum and SD of patch features). It would mostly "
        "miss smaller ones."
    )
    assert sentences.detectable(found | {"difference": None}, "summary", "case").endswith(
        "0.68 or more against chance."
    )
    assert "87 cases no AUROC can be told from chance" in sentences.detectable(
        found | {"auroc": None}, "summary", "case"
    )


def point(percent, value, gain=None):
    estimate = Estimate(value, value and value - 0.05, value and value + 0.05)
    difference = gain and {"fold_mean": gain, "model": gain}
    sizes = {"percent": percent, "training_cases": percent / 2}
    return sizes | {"fold_mean": estimate, "roc_auc": estimate, "auc_difference": difference}


@pytest.mark.parametrize(
    "gain, words",
    [
        (Estimate(0.04, 0.01, 0.07), "It still rises from 75% to 100% by 0.04 (95% CI 0.01 to 0.07): more cases would"),
        (Estimate(0.04, -0.01, 0.07), "It rises from 75% to 100% by 0.04 (95% CI −0.01 to 0.07); the CI includes 0"),
        (Estimate(-0.02, -0.06, 0.01), "It falls from 75% to 100% by 0.02"),
        (Estimate(-0.04, -0.07, -0.01), "look for a fault in the cases"),
        (Estimate(0.04), "by 0.04."),
        (Estimate(None), "is 0.80, 0.86 and 0.90."),
    ],
)
def test_what_more_cases_give(gain, words):
    points = [point(25, 0.8, Estimate(0.1, 0, 0.2)), point(75, 0.86, gain), point(100, 0.9)]
    said = sentences.learning(points, "fold_mean")
    assert words in said and said.startswith(
        "With 25%, 75% and 100% of the training cases (12, 38 and 50 per split) the AUROC, mean of folds, is 0.80, "
    )
    assert "the AUROC, pooled, is" in sentences.learning(points, "roc_auc")


def test_without_shares_nothing_is_said():
    assert sentences.learning([], "fold_mean") == ""


def test_no_sentence_has_a_hole():
    every = [sentences.net_benefit(curve(useful=useful), "b", 8) for useful in ((), [(0.1, 0.1)], [(0.1, 0.2)])]
    for a, b in itertools.product((0.1, None), (0.7, None)):
        found = {"patients": 9, "against": a and "colour", "difference": a, "auroc": b}
        every.append(sentences.detectable(found, "summary", "patient"))
    every += [sentences.decision_limits(True, "b"), sentences.decision_limits(False, None), sentences.LEARNING_LIMITS]
    for said in every:
        assert said.endswith(".") and "None" not in said and "nan" not in said and "  " not in said


@pytest.mark.parametrize(
    "own, way, gain, words",
    [
        (
            "hierarchical",
            "mean",
            Estimate(0.05, 0.01, 0.09),
            "Trained without attention, on the mean of all patches, the model reaches",
        ),
        ("flat", "mean", Estimate(0.05, 0.01, 0.09), ": attention adds 0.05 (95% CI 0.01 to 0.09)."),
        ("flat", "mean", Estimate(0.05, -0.01, 0.11), "not shown that attention adds anything, difference 0.05 (95%"),
        ("lse", "mean", Estimate(0.05, 0.01, 0.09), ": the model’s own way to pool patches adds 0.05"),
        (None, "flat", Estimate(0.05, -0.01, 0.09), "not shown that the model’s own way to pool patches adds anything"),
        ("flat", "hierarchical", Estimate(0.05, 0.01, 0.09), ": the simpler model adds 0.05"),
        ("lse", "flat", Estimate(-0.05, -0.09, -0.01), ", higher than its own: difference −0.05 (95% CI −0.09 to"),
        ("hierarchical", "flat", Estimate(0.05, 0.01, 0.09), "the levels of slices and stains add 0.05"),
        ("flat", "hierarchical", Estimate(0.0), "; equal, so no difference can be seen."),
        ("flat", "hierarchical", Estimate(0.1), "; difference 0.10."),
        ("mean", "flat", Estimate(None), "AUROC of the model trained with one attention over all patches is not"),
    ],
)
def test_what_the_model_reaches_when_trained_in_another_way(own, way, gain, words):
    auc = Estimate(0.8, 0.7, 0.9)
    row = {"retrained": way, "fold_mean": auc, "roc_auc": auc, "auc_difference": {"fold_mean": gain, "model": gain}}
    said = sentences.retrained([{"retrained": None}, row], "fold_mean", own)
    assert words in said and said == sentences.retrained([row], "roc_auc", own) and said.endswith(".")
    assert "attention adds" not in said or own in ("flat", "hierarchical")
    assert sentences.retrained([{"retrained": None}], "fold_mean", own) == ""


def test_measures_that_disagree_are_both_told():
    perfect, gains = Estimate(1.0, 0.86, 1.0), {"fold_mean": Estimate(0.0), "model": Estimate(-0.06, -0.1, -0.02)}
    row = {"retrained": "mean", "fold_mean": perfect, "roc_auc": Estimate(1.0), "auc_difference": gains}
    assert sentences.retrained([row], "fold_mean", "flat").endswith(
        "; equal, but pooled it reaches 1.00: difference −0.06 (95% CI −0.10 to −0.02)."
    )

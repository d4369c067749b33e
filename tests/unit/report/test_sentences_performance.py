"""The sentences on performance, for every outcome."""

import pytest

from stratamil.report import sentences
from stratamil.report import sentences_performance as performance
from stratamil.stats.intervals import Estimate

FITTED, FEW, BOUND = ({"value": value, "off": off} for value, off in ((1.5, None), (1.0, "few"), (1.0, "bound")))
AS_GIVEN = "Probabilities are shown as the model gives them: "
LOSS = "log loss of the test cases "
RANGE = " Fitted temperatures: 1.50."
SCORES = "Brier score was 0.06 (95% CI 0.03 to 0.12) and the log loss 0.21"


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
    assert performance.temperature(runs, reduction) == text


@pytest.mark.parametrize(
    "fits, cases, told",
    [([FEW] * 5, 68, True), ([FITTED, FEW], 68, True), ([FEW] * 5, 49, False), ([FITTED, BOUND], 68, False)],
)
def test_why_the_model_file_has_a_temperature_where_a_split_has_none(fits, cases, told):
    said = performance.temperature_of_bundle({"temperatures": fits, "cases": cases})
    assert said.endswith("all splits together, 68 cases.") if told else said == ""


def test_chosen_thresholds_against_one_half():
    points = [{"rows": [{"name": "balanced_accuracy", "estimate": Estimate(value)}]} for value in (0.66, 0.74)]
    assert performance.threshold(points) == (
        "Balanced accuracy was 0.74 at the thresholds chosen on validation cases, 0.66 at 0.5."
    )


def test_a_baseline_below_one_half_is_no_better_model():
    rows = [{"name": name, "roc_auc": Estimate(0.3, 0.117, high)} for name, high in (("colour", 0.43), ("x", 0.5))]
    rows += [{"name": "slice_count", "roc_auc": Estimate(0.3)}]
    told = performance.below(rows, "roc_auc")
    assert told.startswith("The CI of “Colour and coarse texture” lies wholly below 0.5, a sign of few cases")
    assert "The CIs of “Colour and coarse texture” and “y” lie" in performance.below(
        [*rows, {"name": "y", "roc_auc": Estimate(0.1, 0.0, 0.2)}], "roc_auc"
    )
    assert performance.below(rows[1:], "roc_auc") == ""


def test_thresholds_that_there_are_not():
    one = {"rows": [{"name": "balanced_accuracy", "estimate": Estimate(None)}]}
    assert performance.threshold([one]) == performance.threshold([one, one]) == ""
    assert "There is no threshold from validation" in performance.threshold([one, {"rows": None}])


def test_what_a_model_saw():
    end = " No final model was fitted to all cases."
    assert (
        performance.trained([30, 31], 51) == f"Each model was trained on about 60% of the cases (30 to 31 of 51).{end}"
    )
    assert performance.trained([30, 30], 50) == f"Each model was trained on about 60% of the cases (30 of 50).{end}"


def runs(*aucs, n=10, **spread):
    of = {"fold_sd": None, "seed_sd": None, "repeat_sd": None} | spread
    return {"runs": [{"n": n, "roc_auc": Estimate(value)} for value in aucs], "out_of_fold": of}


def test_how_far_runs_differ():
    begin = "In 3 runs the AUROC of the test cases ranges from 0.80 to 1.00"
    assert performance.runs(runs(0.8, 1, 0.9, fold_sd=0.1)) == f"{begin} (SD 0.10 over splits)."
    found = performance.runs(runs(0.8, 1, None, fold_sd=0.1, seed_sd=0.02, repeat_sd=0.03))
    assert found == (
        f"{begin} (SD 0.10 over splits, 0.02 over seeds, 0.03 over repeats); in 1 it is not defined, because the test "
        "cases are of one class."
    )
    assert performance.runs(runs(None)) == "No AUROC is defined in any of 1 run: no test set has every class."
    assert performance.runs_limits(runs(0.8)).startswith("With 10 test cases a split,")
    assert performance.perfect(runs(0.8), "case") == "" and "weak evidence" in performance.perfect(runs(1.0), "case")


def complete(**parts):
    made = {"coverage": {"missing": {}, "repeated": {}}, "disagreements": [], "repeats": 1}
    return made | parts


def test_what_was_checked_and_what_does_not_fit():
    assert performance.checked(complete()).startswith("Every used case was predicted exactly once per seed, and")
    assert "exactly 2 times per seed, once in each repeat" in performance.checked(complete(repeats=2))
    assert performance.faults(complete()) == []
    coverage = {"missing": {"1": ["7"]}, "repeated": {"2": [str(i) for i in range(22)]}}
    bad = complete(coverage=coverage, disagreements=["run 1: n"])
    assert performance.checked(bad) == ""
    missing, repeated, different = performance.faults(bad)
    assert missing == "Seed 1: 1 case is not predicted: 7."
    assert repeated.startswith("Seed 2: 22 cases are predicted by more than one split: 0, 1,")
    assert repeated.endswith("and 2 more.") and different.startswith(
        "results.json and predictions.csv do not agree: run 1: n."
    )
    assert "predicted fewer than 3 times" in performance.faults(complete(repeats=3, coverage=coverage))[0]


def calibrated(slope, positive="b", **parts):
    ensemble = {"brier": Estimate(0.06, 0.03, 0.12), "log_loss": Estimate(0.21), "roc_auc": Estimate(0.9, 0.8, 0.95)}
    ensemble["fold_mean"] = Estimate(0.88)
    ensemble["calibration"] = {"slope": slope, "intercept": Estimate(0.1, -0.2, 0.4)}
    return {"ensemble": ensemble, "positive": positive, "classes": ["a", "b", "c"], "cases": 9} | parts


@pytest.mark.parametrize(
    "slope, verdict",
    [
        (Estimate(1.2, 0.8, 1.6), "both CIs include the ideal value, so no miscalibration is shown"),
        (Estimate(0.4, 0.2, 0.6), "probabilities are too extreme"),
        (Estimate(1.8, 1.2, 2.4), "probabilities are too close to the middle"),
        (Estimate(-0.4, -0.6, -0.2), "probabilities run against the labels"),
        (Estimate(1.2), "too few cases to judge"),
    ],
)
def test_calibration(slope, verdict):
    text = performance.calibration(calibrated(slope), "")
    assert f" and the intercept 0.10 (ideal: 0; 95% CI −0.20 to 0.40): {verdict}. The {SCORES}." in text
    assert text.startswith(f"The calibration slope was {slope.value:.2f} (ideal: 1".replace("-", "−"))


def test_a_slope_of_1_is_no_calibration_where_the_intercept_is_off():
    slope, text = Estimate(1.1, 0.6, 1.5), "at a probability of 0.5, b is {} frequent than predicted"
    for intercept, way in ((Estimate(-0.7, -1.4, -0.1), "less"), (Estimate(0.7, 0.1, 1.4), "more")):
        assert performance.calibration_verdict(slope, intercept, "b") == text.format(way)
    both = performance.calibration_verdict(Estimate(0.4, 0.2, 0.6), Estimate(0.7, 0.1, 1.4), "b")
    assert both == f"probabilities are too extreme; {text.format('more')}"


def test_calibration_without_a_slope():
    assert "slope is not defined" in performance.calibration(calibrated(Estimate(None)), "")
    several = performance.calibration(calibrated(Estimate(1), positive=None), "3 seeds")
    assert several == f"For the ensemble, the mean probability of 3 seeds, summed over 3 classes, the {SCORES}."
    limits = performance.calibration_limits(True, "3 seeds")
    assert limits.startswith("Class weights in the training loss") and "closer to the middle" in limits
    assert performance.calibration_limits(False, "") == "Calibration may differ in another population."


def test_whose_decisions():
    rows = [{"name": "accuracy", "k": 8}]
    one = calibrated(Estimate(1), decisions=[{"rows": rows}])
    assert performance.decisions(one, "") == "At a probability of 0.5, 8 of 9 cases are classified correctly."
    three = performance.decisions(one, "3 seeds")
    assert "those of the ensemble, the mean probability of 3 seeds. The pooled AUROC of the ensemble is 0.90" in three
    assert three.count("0.88") == 0  # one figure of the ensemble is enough: that of the section, pooled
    text = performance.decisions(one | {"positive": None}, "")
    assert text == "For the out-of-fold predictions, the most probable class is right in 8 of 9 cases."


def baseline(name, value, gain, fitted=2):
    found = {"name": name, "fitted": fitted, "fold_mean": Estimate(value), "roc_auc": Estimate(value)}
    return found | {"auc_difference": {"fold_mean": gain, "model": gain}}


@pytest.mark.parametrize(
    "gain, text",
    [
        (Estimate(0.05, 0.02, 0.08), "The model is 0.05 higher (paired 95% CI 0.02 to 0.08)."),
        (
            Estimate(-0.05, -0.1, 0.01),
            "The model is 0.05 lower (paired 95% CI −0.10 to 0.01); the CI includes 0, so this cohort cannot show a "
            "difference.",
        ),
        (
            Estimate(-0.13),
            "The model is 0.13 lower; no CI is defined, because in most bootstrap samples some test set has cases of "
            "one class only.",
        ),
        (
            Estimate(-0.003, -0.11, 0.1),
            "The model is within 0.005 of it (paired 95% CI −0.11 to 0.10); the CI includes 0, so this cohort cannot "
            "show a difference.",
        ),
        (Estimate(0.0), "The model equals it (both 0.90): no difference can be seen."),
        (Estimate(None), "The paired difference is not defined."),
    ],
)
def test_against_baselines(gain, text):
    found = [baseline("mean_pool", 0.8, gain), baseline("colour", 0.9, gain), baseline("prevalence", 0.5, gain)]
    numbers = {"headline": "fold_mean", "baselines": found, "splits": ["1", "2"]}
    begin = "The strongest of 2 baselines, “Colour and coarse texture”, reached an AUROC of 0.90."
    assert performance.baselines(numbers) == f"{begin} {text}"
    pooled = performance.mean_pooling(numbers)
    begin = "The mean of patch features, without attention, reached 0.80; paired difference "
    assert pooled.startswith(begin + sentences.quoted(gain))
    assert performance.mean_pooling(numbers | {"baselines": found[:1]}) == performance.unfitted(numbers) == ""
    none = numbers | {"baselines": [baseline("colour", 0.9, gain, fitted=0)]}
    assert performance.baselines(none) == "None of 1 baseline has a defined AUROC." and performance.unfitted(none)


def test_each_stain_alone_has_its_paired_difference_beside_it():
    found = [
        baseline("mean_pool", 0.86, Estimate(0.03, -0.05, 0.1)),
        baseline("mean_pool_h&e", 0.85, Estimate(0.04, -0.11, 0.19)) | {"n": 58},
        baseline("mean_pool_melan", 0.53, Estimate(0.3)) | {"n": 1},
        baseline("mean_pool_sox10", 0.5, Estimate(0.4), fitted=0) | {"n": 50},
    ]
    said = performance.one_stain({"headline": "fold_mean", "baselines": found})
    assert said.startswith(
        "AUROC of one stain alone (mean of patch features), in the cases that have it: h&e 0.85, model − baseline 0.04 "
        "(58 cases; 95% CI −0.11 to 0.19); melan 0.53, model − baseline 0.30 (1 case). The model differs"
    )
    assert performance.one_stain({"headline": "fold_mean", "baselines": found[:1]}) == ""


def test_a_difference_without_a_ci_has_its_reason_and_the_pooled_one():
    entry = baseline("mean_pool_h&e", 0.93, Estimate(-0.13)) | {"n": 27, "without_stain": 2, "constant": False}
    entry["auc_difference"]["model"] = Estimate(-0.09, -0.23, 0.05)
    numbers = {"headline": "fold_mean", "baselines": [entry], "splits": ["1", "2"], "cases": 29}
    said = performance.baselines(numbers)
    assert "In the 27 cases that have the stain the model is 0.13 lower; no CI is defined, because in most" in said
    assert said.endswith("−0.09 (95% CI −0.23 to 0.05): the CI includes 0, so this cohort cannot show a difference.")
    assert "the same probability" in performance.without_ci(entry | {"constant": True})
    assert "0.13 lower than the baseline “Mean of patch features, h&e alone” in the 27 cases" in sentences.no_better(
        numbers
    )


@pytest.mark.parametrize("high, asks", [(-0.02, True), (0.02, False)])
def test_a_model_below_a_baseline_asks_for_the_order_of_the_classes(high, asks):
    entry = baseline("mean_pool_h&e", 0.93, Estimate(-0.13, -0.3, high)) | {"n": 27, "constant": False}
    said = sentences.no_better({"headline": "fold_mean", "baselines": [entry], "splits": ["1"], "cases": 27})
    assert ("Check the order of cohort.classes" in said) == asks


@pytest.mark.parametrize(
    "gains, ci",
    [
        ([Estimate(0.1, 0, 0.2)], "paired, 95% CI. n"),
        ([Estimate(0.1, 0, 0.2), Estimate(0.1)], "paired, 95% CI, no CI where there is no line. n"),
        ([Estimate(0.1)], "paired; no CI is defined. n"),
    ],
)
def test_the_caption_of_the_baselines_promises_only_the_cis_that_there_are(gains, ci):
    found = [baseline("colour", 0.8, gain) for gain in gains]
    numbers = {"headline": "fold_mean", "baselines": found, "cases": 29}
    assert performance.baselines_caption(numbers) == f"AUROC of the model less that of each baseline, {ci} = 29 cases."
    found[0]["without_stain"] = 2
    assert performance.baselines_caption(numbers).endswith("cases; one of a stain judges the cases that have it.")


def test_why_no_ci_includes_the_choice_of_the_threshold():
    def points(*estimates):
        return [{"rows": []}, {"rows": [{"with_choice": each} for each in estimates]}]

    assert performance.choice(points(Estimate(0.7, 0.5, 0.9), Estimate(1.0))) == performance.choice([{}]) == ""
    assert "validation cases of some split are of one class" in performance.choice(points(Estimate(0.7, n=24)))
    assert "some validation case is in no test set" in performance.choice(points(Estimate(0.7)))


def test_how_baselines_were_made():
    names = ("summary", "mean_pool", "mean_pool_h&e", "colour")
    numbers = {"baselines": [{"name": name} for name in names]}
    with_images = performance.baselines_made(numbers, True)
    assert (
        "the mean of one stain (trained with other cases as average, compared on those that have it), a descriptor of"
        in with_images
    )
    assert "colour and coarse texture, the number of patches and" in with_images
    assert "There is no colour baseline" in performance.baselines_made({"baselines": []}, False)


def test_the_worst_subgroup_has_five_cases_where_one_has():
    group = {"right": 4, "accuracy": Estimate(0.8, 0.376, 0.964)}
    groups = [group | {"name": "large", "n": 5}, {"name": "tiny", "n": 1, "right": 0, "accuracy": Estimate(0, 0, 0.8)}]
    text = performance.subgroups({"subgroups": groups})
    assert text.startswith(
        "The least accurate of 1 subgroup of at least 5 cases (1 smaller) is “large”: 4 of 5 correct ("
    )
    assert "“tiny”" in performance.subgroups({"subgroups": groups[1:]})


def test_why_the_fold_mean_leads():
    of = {"roc_auc": Estimate(0.9, 0.8, 0.95), "fold_mean": Estimate(0.934)}
    many = {"patients_of": {"a": 20, "b": 30}, "out_of_fold": of, "by_seed": [{}]}
    several = performance.estimand({"headline": "fold_mean"} | many | {"by_seed": [{}, {}]}, "case")
    assert several.startswith("Quote 0.93, of single trainings: ")
    assert "The pooled AUROC of single trainings, 0.90 (95% CI 0.80 to 0.95), ranks" in several
    said = performance.estimand({"headline": "fold_mean"} | many, "case")
    assert " comes from bootstrap samples of test cases" in said
    assert said.startswith("Quote 0.93: ") and "The pooled AUROC, 0.90 (95% CI 0.80 to 0.95), ranks" in said
    assert "Quote" not in performance.estimand({"headline": "roc_auc"} | many, "case")
    said = performance.estimand({"headline": "roc_auc"} | many | {"patients_of": {"a": 19, "b": 30}}, "patient")
    assert "Newcombe’s method, because a class has fewer than 20 patients" in said

"""The sentences of the first screen, for every outcome."""

import pytest

from stratamil.report import sentences
from stratamil.stats.intervals import Estimate

VALUE = Estimate(0.912, 0.841, 0.953, 80)
SHARES = {"sensitivity": (17, Estimate(0.85, 0.64, 0.95, 20)), "specificity": (30, Estimate(0.97, 0.84, 0.99, 31))}
ROWS = [{"name": name, "k": k, "estimate": estimate} for name, (k, estimate) in SHARES.items()]


def baseline(name, value, gain, fitted=5):
    differences = {"fold_mean": gain, "model": Estimate(0.3, 0.1, 0.5)}
    return {"name": name, "fitted": fitted, "fold_mean": value, "roc_auc": value, "auc_difference": differences}


def numbers(**parts):
    of = {"fold_mean": VALUE, "roc_auc": VALUE, "folds": 5}
    made = {"headline": "fold_mean", "out_of_fold": of, "classes": ["benign", "high-grade"], "positive": "high-grade"}
    made |= {"runs": [], "cases": 87, "patients": 80, "by_seed": [{}], "baselines": [], "decisions": [{"rows": ROWS}]}
    made |= {"counts": {"benign": 57, "high-grade": 30}, "patients_of": {"benign": 52, "high-grade": 28}}
    made |= {"coverage": {"missing": {}, "repeated": {}}, "disagreements": [], "weighting": "attention"}
    return made | parts


def test_the_result_is_the_fold_mean():
    begin = "AUROC 0.91 (95% CI 0.84 to 0.95), high-grade against benign, 87 cases of 80 patients, out of fold: "
    assert sentences.result(numbers()) == f"{begin}mean of 5 test sets, each model trained once."
    several = sentences.result(numbers(by_seed=[{}] * 3))
    assert several == f"{begin}mean of 5 test sets, mean of 3 single trainings each."
    assert sentences.result(numbers(headline="roc_auc")) == (
        f"{begin}all test cases ranked together, each model trained once. There is no mean of the test sets, because "
        "one lacks a class."
    )
    alone = sentences.result(numbers(patients=87, positive=None))
    assert ", mean of each class against the rest, 87 cases, out of fold: " in alone
    nothing = {"roc_auc": Estimate(None), "folds": 5}
    assert "AUROC is not defined" in sentences.result(numbers(headline="roc_auc", out_of_fold=nothing))


def test_cards_have_counts_and_say_whose_they_are():
    cards, at = sentences.cards(numbers(), ""), "out of fold, at a probability of 0.5 or more"
    assert cards[:2] == [
        ("Sensitivity", "0.85", f"17 of 20 high-grade, 3 missed; 95% CI 0.64 to 0.95; {at}"),
        ("Specificity", "0.97", f"30 of 31 benign, 1 called high-grade; 95% CI 0.84 to 0.99; {at}"),
    ]
    assert cards[2] == ("Best baseline", "none", "no baseline has a defined AUROC")
    assert sentences.cards(numbers(), "3 seeds")[0].note.endswith("mean probability of 3 seeds of 0.5 or more")
    rows = [{"name": "accuracy", "k": 40, "estimate": Estimate(0.46, 0.36, 0.57, 87)}]
    (card, *_) = sentences.cards(numbers(positive=None, decisions=[{"rows": rows}]), "")
    assert card == ("Accuracy", "0.46", "40 of 87 cases, 47 wrong; 95% CI 0.36 to 0.57; out of fold")


@pytest.mark.parametrize(
    "gain, figure, verdict",
    [
        (Estimate(0.05, -0.02, 0.12), "+0.05", "95% CI −0.02 to 0.12: no difference shown"),
        (Estimate(0.05, 0.02, 0.08), "+0.05", "95% CI 0.02 to 0.08: the model is better"),
        (Estimate(-0.05, -0.08, -0.02), "−0.05", "95% CI −0.08 to −0.02: the model is worse"),
        (Estimate(0.0), "0.00", "equal, so no difference shown"),
        (Estimate(0.1), "+0.10", "no CI is defined"),
        (Estimate(None), "not defined", "no CI is defined"),
    ],
)
def test_the_best_baseline_is_compared_in_pairs(gain, figure, verdict):
    found = [
        baseline("mean_pool", Estimate(0.86, 0.7, 0.9), gain),
        baseline("prevalence", Estimate(0.99), gain),
        baseline("colour", Estimate(0.97), gain, fitted=0),
        baseline("slice_count", Estimate(0.6), gain),
    ]
    cards = sentences.cards(numbers(baselines=found), "")
    assert cards[2] == ("Best of 2 baselines, AUROC", "0.86", "Mean of patch features; 95% CI 0.70 to 0.90")
    assert cards[3] == ("Model − baseline", figure, f"paired{', ' if gain.low is not None else '; '}{verdict}")
    pooled = sentences.cards(numbers(baselines=found, headline="roc_auc"), "")
    assert pooled[3].figure == "+0.30"


def test_a_difference_in_fewer_cases_says_so():
    best = baseline("mean_pool_h&e", VALUE, Estimate(-0.06)) | {"n": 27, "without_stain": 2}
    card = sentences.cards(numbers(baselines=[best]), "")[3]
    assert card[2].startswith("in the 27 cases with the stain, paired; ")


COHORT = {"warnings": ["Leak. More.", "Shortcut. More.", "Small thing."], "grave": 2}
INTERNAL = "Internal test only: no other hospital, scanner or laboratory was tested."


def test_flags_are_short_and_the_most_dangerous_first():
    few = "Few cases: one more error among 30 high-grade cases moves sensitivity by 3 points."
    explained = {"benign": None, "high-grade": True}
    only = "Predictions of high-grade rest on the attended patches; those of benign are not shown to."
    assert sentences.flags(numbers(), COHORT, explained, "patient") == ["Leak.", "Shortcut.", few, only, INTERNAL]
    worse = {"fold_mean": Estimate(0.3, 0.2, 0.4), "folds": 5}
    bad = numbers(
        out_of_fold=worse, disagreements=["x"], coverage={"missing": {"1": ["2"]}, "repeated": {}},
        patients_of={"benign": 52, "high-grade": 3},
    )  # fmt: skip
    found = sentences.flags(bad, {"warnings": [], "grave": 0}, {"a": True}, "case")
    assert [line.split()[0] for line in found] == ["The", "results.json", "Some", "Too", "Internal"]
    assert found[3].startswith("Too few to quote: there are 3 cases of high-grade, and one of so few")


def test_wrong_cases_with_few_patches_lost_cases_and_unsettled_trainings_are_flags():
    cohort = {"warnings": ["Leak.", "1 labelled case has no patches and is excluded: 777. More.", "Small."]}
    one = {"cases": [{"case_id": "17", "patches": 1}], "auroc": 0.938}
    runs = [{"n": 8, "roc_auc": Estimate(0.9), "epoch": n, "epochs": 5} for n in (3, 5)]
    found = sentences.flags(numbers(rest_on_few=one, runs=runs), cohort | {"grave": 1, "lost": 1}, {"a": True}, "case")
    assert found[:4] == [
        "Leak.",
        "Case 17 rests on 1 patch and is predicted wrongly; without it the AUROC would be 0.94.",
        "1 labelled case has no patches and is excluded: 777.",
        "In 1 of 2 trainings the last epoch was the best, so training may not have settled: allow more epochs.",
    ]
    two = {"cases": [{"case_id": "1", "patches": 1}, {"case_id": "2", "patches": 9}], "auroc": None}
    told = sentences.rest_on_few({"rest_on_few": two})
    assert told.startswith("Cases 1, 2 rest on fewer than 10 patches and are predicted wrongly; without them")
    assert sentences.unsettled([{"epoch": None, "epochs": 3}]) == sentences.rest_on_few({}) == ""


def test_a_split_whose_trainings_predict_one_class_is_named():
    def run(split, *recalls):
        recall = {str(i): share for i, share in enumerate(recalls)}
        return {"n": 8, "roc_auc": Estimate(0.7), "epoch": 1, "epochs": 5, "split": split, "recall": recall}

    runs = [run("01", 0.0, 1.0), run("01", 0.2, 0.9), run("02", 1.0, 0.0), run("02", 0.0, 1.0), run("03", 1.0, None)]
    assert sentences.collapsed(runs).startswith("In split 02 every training predicts one class for all test cases")
    assert sentences.collapsed(runs) in sentences.flags(numbers(runs=runs), {"warnings": [], "grave": 0}, {}, "case")
    assert sentences.collapsed([run("1", 0.0, 0.0, 1.0)]) and not sentences.collapsed([run("1", 0.0, 0.5, 1.0)])


def test_contradicted_labels_are_named_after_too_few_and_before_the_warnings_of_the_cohort():
    cases = [{"case_id": name, "true": "benign"} for name in ("A1", "<b>", "7", "8", "9")]
    two = {"above": 0.95, "trainings": 3, "cases": cases[:2]}
    told = (
        "2 cases are contradicted by each training with a probability above 0.95 of another class: check the labels of "
        "A1 (benign), <b> (benign); the model may also be wrong."
    )
    found = numbers(contradicted=two, patients_of={"benign": 52, "high-grade": 3})
    flags = sentences.flags(found, COHORT, {"a": True}, "case")
    assert [line[:8] for line in flags[:1]] == ["Too few "] and flags[1:3] == [told, "Leak."]
    one = sentences.contradicted({"contradicted": two | {"trainings": 1, "cases": cases[:1]}})
    assert one.startswith("1 case is contradicted by the model ") and "check the label of A1 (benign);" in one
    assert "7 (benign) and 2 more;" in sentences.contradicted({"contradicted": two | {"cases": cases}})
    assert sentences.contradicted({}) == sentences.contradicted({"contradicted": None}) == ""


@pytest.mark.parametrize(
    "n, auc, said",
    [
        (61, Estimate(0.81, 0.64, 0.9), "In the 61 of 87 cases with all stains the pooled AUROC is 0.81 (95% CI 0.64 "
         "to 0.90); in all cases it is 0.89. A missing stain may help the model, or this is chance."),
        (61, Estimate(0.86, 0.7, 0.9), ""),
        (61, Estimate(0.93, 0.8, 1), ""),
        (1, Estimate(None), "Only 1 case has all stains: no AUROC is defined for them."),
        (0, None, "No case has all stains."),
    ],
)  # fmt: skip
def test_a_warning_of_missing_stains_has_the_auroc_without_them_beside_it(n, auc, said):
    rows = [{"kind": "stains", "name": "melan missing", "n": 9, "roc_auc": Estimate(1.0)}]
    rows += [{"kind": "stains", "name": "all stains", "n": n, "roc_auc": auc}] if n else []
    made, cohort = numbers(subgroups=rows, ensemble={"roc_auc": Estimate(0.89)}), COHORT | {"stains_warned": True}
    flags = sentences.flags(made, cohort, {"a": True}, "case")
    assert flags[:3] == ["Leak.", "Shortcut.", said] if said else not any("all stains" in line for line in flags)
    unwarned = sentences.flags(made, COHORT | {"stains_warned": False}, {"a": True}, "case")
    assert not any("all stains" in line for line in unwarned)
    plain = sentences.with_all_stains(made)  # in its place, whatever it says
    assert plain.startswith("In the 61 of 87 cases with all stains") if n > 1 else plain == said
    assert sentences.with_all_stains(numbers(subgroups=rows[1:])) == ""
    several = sentences.with_all_stains(made | {"by_seed": [{}] * 3})
    assert n < 2 or "with all stains the pooled AUROC of the ensemble is" in several


def test_many_warnings_leave_room():
    found = sentences.flags(numbers(), {"warnings": ["W."] * 5, "grave": 5}, {"a": True}, "case")
    assert found[:4] == ["W.", "W.", "W.", "2 more grave warnings on the cohort page."]


def test_a_large_cohort_that_is_explained_has_one_flag():
    large = {"benign": 400, "high-grade": 300}
    found = sentences.flags(numbers(counts=large, patients_of=large), {"warnings": [], "grave": 0}, {"a": True}, "case")
    assert found == [INTERNAL]


@pytest.mark.parametrize(
    "explained, words",
    [
        (None, "Whether attention explains the predictions was not checked."),
        ({"a": True, "b": True}, ""),
        ({"a": None, "b": None}, "Predictions are not shown to rest on the attended patches, in any class."),
        (
            {"a": True, "b": None, "c": None},
            "Predictions of a rest on the attended patches; those of b and c are not shown to.",
        ),
        (
            {"a": True, "b": False},
            "Predictions of a rest on the attended patches; for those of b attention is worse than random.",
        ),
        ({"a": False, "b": None}, "For those of a attention is worse than random; for those of b nothing is shown."),
    ],
)
def test_which_classes_attention_explains(explained, words):
    assert sentences.one_class(explained) == words


def test_test_sets_that_are_all_ranked_perfectly():
    runs = [{"n": 8, "roc_auc": Estimate(1.0)}] * 5
    told = sentences.flags(numbers(runs=runs), {"warnings": [], "grave": 0}, {"a": True}, "case")
    assert told[0].startswith("Each test set of 8 cases is ranked perfectly") and told[0].endswith(
        "0.91 (95% CI 0.84 to 0.95)."
    )
    assert sentences.perfect([1, None], [8, 8], "") == sentences.perfect([1], [51], "") == ""


def test_too_few_to_quote():
    assert (
        sentences.few({"a": 10, "b": 11}, "patient")
        == sentences.below_chance(None)
        == sentences.below_chance(0.5)
        == ""
    )
    assert sentences.few({"a": 1, "b": 2}, "case").startswith(
        "Too few to quote: there is 1 case of a and 2 cases of b,"
    )
    assert sentences.small({"a": 0, "b": 900}, "b") == sentences.small({"a": 51}, None) == ""
    assert "among 9 a cases moves specificity by 11 points" in sentences.small({"a": 9, "b": 10}, "b")
    assert "among 1 a case moves recall by 100 points" in sentences.small({"a": 1, "b": 10}, None)

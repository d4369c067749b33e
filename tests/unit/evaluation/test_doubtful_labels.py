"""Labels that every training contradicts: found in all trainings or not at all, of two and of three classes."""

from types import SimpleNamespace

import made_study
import numpy as np
import pandas as pd

from stratamil.evaluation import doubtful_labels

Y = np.arange(40) % 2


def test_a_label_that_was_swapped_is_found_and_nothing_else():
    score = np.where(Y == 1, 2.0, -2.0)
    score[[3, 8]] = [-4.0, 5.0]  # cases 4 and 9
    found = doubtful_labels.contradicted(made_study.study(score, Y, seeds=(1, 2, 3), noise=0.1))
    assert [(case["case_id"], case["true"], case["predicted"]) for case in found["cases"]] == [
        ("9", "benign", "high-grade"),
        ("4", "high-grade", "benign"),
    ]
    assert found["trainings"] == 3 and found["above"] == 0.95 and 0.97 < found["cases"][1]["least"] < 0.99
    assert doubtful_labels.contradicted(made_study.study(np.where(Y == 1, 2.0, -2.0), Y)) is None


def test_one_training_that_is_not_sure_acquits_the_label_though_the_mean_is():
    score = np.where(Y == 1, 2.0, -2.0)
    score[3] = -4.5
    study = made_study.study(score, Y, seeds=(1, 2, 3))
    assert doubtful_labels.contradicted(study)
    (run,) = [run for run in study.runs if run.seed == 2 and "4" in set(run.test["case_id"])]
    run.test.loc[run.test["case_id"] == "4", ["prob_benign", "prob_high_grade"]] = [0.9, 0.1]
    of_case = made_study.study(score, Y, seeds=(1, 2, 3)).ensemble.set_index("case_id").loc["4"]
    assert (2 * of_case["prob_benign"] + 0.9) / 3 > doubtful_labels.SURE
    study.__dict__.pop("predictions"), study.__dict__.pop("ensemble")
    assert doubtful_labels.contradicted(study) is None


def test_of_three_classes_another_must_be_likely_not_only_the_true_one_unlikely():
    p = pd.DataFrame([[0.01, 0.5, 0.49], [0.01, 0.02, 0.97]], columns=["prob_a", "prob_b", "prob_c"])
    rows = p.assign(case_id=["1", "2"], y=0)
    study = SimpleNamespace(
        predictions=rows, ensemble=rows.assign(times=1), probabilities=list(p), classes=["a", "b", "c"]
    )
    found = doubtful_labels.contradicted(study)
    assert [(case["case_id"], case["predicted"]) for case in found["cases"]] == [("2", "c")]

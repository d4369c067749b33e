"""Whether choosing settings helped is said as the intervals allow."""

import pytest

from stratamil.report import paragraphs, tuning_sentences
from stratamil.stats.intervals import Estimate


def numbers(auc=(0.02, -0.01, 0.05), loss=(0.03, -0.02, 0.08), kept=1, different=3, **more):
    row = {"split": "01", "candidate": 3, "changed": {"train.lr": 0.001, "model.aggregation": "mean"}}
    auc, loss = (Estimate(value, low, high) for value, low, high in (auc, loss))
    made = {"auc_difference": {"fold_mean": auc, "model": auc}, "gain": loss, "kept": kept, "different": different}
    made |= {"rows": [row] * 5, "metric": "log_loss", "candidates": 24, "inner_folds": 4, "seeds": 2}
    return made | {"inner": 0.41, "outer": 0.52, "settings": ["train.lr", "model.aggregation"], "differ": {}} | more


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "This cohort cannot show that choosing settings helped: against the study’s own settings the AUROC "
         "changed by +0.02 (95% CI −0.01 to 0.05) and the log loss by −0.03 (95% CI −0.08 to 0.02)."),
        ({"auc": (0.04, 0.01, 0.07)}, "raised the AUROC: against the study’s own settings the AUROC changed by +0.04"),
        ({"auc": (-0.04, -0.07, -0.01)}, "Choosing settings lowered the AUROC: against"),
        ({"loss": (0.05, 0.01, 0.09)}, "lowered the log loss, but is not shown to change the AUROC"),
        ({"loss": (-0.05, -0.09, -0.01)}, "raised the log loss, and is not shown to change the AUROC"),
        ({"auc": (0.0, None, None), "loss": (0.0, None, None)}, "cannot show"),
        ({"auc": (0.002, -0.03, 0.04)}, "the AUROC changed by 0.00 (95% CI −0.03 to 0.04)"),
        ({"kept": 5, "different": 1}, "Every split kept the study’s own settings"),
    ],
)  # fmt: skip
def test_whether_it_helped(options, words):
    assert words in tuning_sentences.helped(numbers(**options), "fold_mean")


def test_what_was_chosen_and_how_stable():
    said = tuning_sentences.chosen(numbers())
    assert "24 candidates were trained twice in each of 4 inner folds of its" in said and "scored by log loss" in said
    assert said.endswith("own settings were kept in 1 of 5 splits; the others chose 2 different candidates.")
    assert tuning_sentences.chosen(numbers(different=2)).endswith("the others chose the same candidate.")
    assert tuning_sentences.chosen(numbers(kept=0, different=5)).endswith(
        "No split kept the study’s own settings; the splits chose 5 different candidates."
    )
    assert tuning_sentences.chosen(numbers(kept=5)).endswith("scored by log loss.")
    assert tuning_sentences.chosen(numbers(kept=4, different=2)).endswith("of 5 splits; one chose another candidate.")
    assert "trained once in each" in tuning_sentences.chosen(numbers(seeds=1))
    row = numbers()["rows"][0]
    assert tuning_sentences.changes(row) == "learning rate 0.001, mean of all patches"
    assert tuning_sentences.changes({"changed": {}}) == "none"
    odd = {"model.gated": True, "model.coupled": False, "train.clip_norm": None, "train.class_weights": [1, 2.5]}
    assert tuning_sentences.changes({"changed": odd}) == "gated: yes, coupled: no, clip norm: no, class weights 1; 2.5"


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "too good by 0.11"),
        ({"outer": 0.3}, "not too good."),
        ({"outer": 0.4149}, "0.41 in the inner folds and 0.41 on test cases: the inner score was not too good."),
        (
            {"inner": 0.4051, "outer": 0.4151},
            "0.41 in the inner folds and 0.42 on test cases: the inner score was too good by 0.01",
        ),
        ({"metric": "auc", "inner": 0.9, "outer": 0.8}, "mean AUROC of 0.90 in the inner folds and 0.80 on test cases"),
        ({"metric": "auc", "inner": 0.8, "outer": 0.9}, "not too good."),
    ],
)
def test_optimism_of_the_inner_score(options, words):
    assert words in tuning_sentences.optimism(numbers(**options))
    assert tuning_sentences.optimism(numbers(inner=None)) == ""


def test_the_methods_say_that_settings_were_chosen():
    run = {"features": {}, "model": {"aggregation": "flat", "embed_dim": 8}, "train": {"optimizer": "adamw"}}
    run |= {"rule": "youden", "sizes": {"train": [9], "val": [3], "test": [3]}}
    made = {"seeds": [1], "splits": ["01"], "positive": "x", "tuning": numbers(differ={"model.aggregation": [1, 2]})}
    said = " ".join(paragraphs._training(made, run))
    assert "2 settings of the model and its training (AdamW) were chosen among 24 candidates by the log loss" in said
    assert "learning rate" not in said
    assert "was chosen in each split" in " ".join(paragraphs._model(run["model"], made["tuning"]))
    assert "embedding 8" in " ".join(paragraphs._model(run["model"], numbers()))

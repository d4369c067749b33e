"""Evaluation: one pass for predictions and attention, and figures whose choices come from validation."""

import numpy as np
import pandas as pd
import pytest
import torch
from factories import STAINS, build, features, model_settings, scores
from scipy.special import softmax

from stratamil.core import progress
from stratamil.core.names import column
from stratamil.evaluation import predict
from stratamil.features.store import Features
from stratamil.mil.bags import Bags
from stratamil.mil.model import HierarchicalAttention, stack
from stratamil.stats import intervals

CLASSES = ["benign", "in-situ", "high grade"]
Y = {"1": 0, "2": 1, "10": 2}


@pytest.fixture
def predicted():
    torch.manual_seed(0)
    model = HierarchicalAttention(model_settings(6, 3, embed_dim=8, attention_dim=4, zero_start=False))
    data = features()
    [tables] = predict.predict(model, Bags(data, STAINS), data.table, ["10", "2", "1"], y=Y, classes=CLASSES)
    return model, data, *tables


def test_predictions(predicted):
    _, _, predictions, _ = predicted
    assert list(predictions) == [
        "case_id", "true_label", "predicted_label", "prob_benign", "prob_in_situ", "prob_high_grade", "correct",
        "true_class", "predicted_class", "logit_benign", "logit_in_situ", "logit_high_grade", "patches",
    ]  # fmt: skip
    assert list(predictions["case_id"]) == ["1", "2", "10"]
    y, p, logits = predict.arrays(predictions, CLASSES)
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_allclose(p, np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    assert list(predictions["correct"]) == list(p.argmax(1) == y)
    assert list(y) == [0, 1, 2] and list(predictions["true_class"]) == CLASSES
    assert list(predictions["predicted_label"]) == list(p.argmax(1))
    assert [CLASSES[k] for k in predictions["predicted_label"]] == list(predictions["predicted_class"])


def test_attention_names_every_patch_and_explains_the_logit(predicted):
    model, data, predictions, attention = predicted
    assert list(attention["path"]) == list(data.table["path"])
    total = attention.groupby("case_id", sort=False)
    np.testing.assert_allclose(total["effective_weight"].sum(), 1, atol=1e-6)
    product = attention["patch_weight"] * attention["slice_weight"] * attention["stain_weight"]
    np.testing.assert_allclose(product, attention["effective_weight"], rtol=1e-5)
    for k, name in enumerate(["benign", "in_situ", "high_grade"]):
        logit = total[f"contribution_{name}"].sum() + predict.biases(model, 0, CLASSES)[CLASSES[k]]
        np.testing.assert_allclose(logit, predictions[f"logit_{name}"], atol=1e-5)


def test_each_weight_is_that_of_its_file_whatever_the_order_of_names_and_rows():
    """Names of which text order, number order and the order of the rows differ, against a softmax file by file."""
    data = features({"1": [[12], [11, 3]]})
    data.table["path"] = [f"case_1_{row.slice_id}_{row.stain}_patch{row.patch}.png" for row in data.table.itertuples()]
    order = np.random.default_rng(4).permutation(len(data.table))
    shuffled = Features(data.values[order], data.table.iloc[order].reset_index(drop=True), {})
    model = build().float()
    [(_, attention)] = predict.predict(model, Bags(shuffled, STAINS), shuffled.table, ["1"], y=Y, classes=CLASSES)
    score = {}
    for path, value in zip(data.table["path"], torch.from_numpy(data.values).float()):
        with torch.inference_mode():
            h = model.embed(value[None])[:, 0]
            score[path] = scores(model.attention["patch"], h).item()
    assert sorted(attention["path"]) == sorted(score)
    for _, of_slice in attention.groupby(["stain", "slice_id"]):
        expected = softmax([score[path] for path in of_slice["path"]])
        np.testing.assert_allclose(of_slice["patch_weight"], expected, rtol=1e-4)


def test_ranks_and_ratios_are_those_of_a_plain_sort(predicted):
    *_, attention = predicted
    for _, case in attention.groupby("case_id"):
        ordered = sorted(zip(-case["effective_weight"], case["path"], case["rank"]))
        assert [rank for *_, rank in ordered] == list(range(1, len(case) + 1))
        np.testing.assert_allclose(case["effective_ratio"], case["effective_weight"] * len(case), rtol=1e-6)


@pytest.mark.parametrize("aggregation", ["hierarchical", "flat", "mean"])
def test_contributions_and_bias_add_up_to_the_logit_of_3000_patches(aggregation):
    torch.manual_seed(0)
    settings = model_settings(64, 3, aggregation, zero_start=False)
    data = features({"1": [[900, 100], [800], [700, 300, 200]]}, dim=64)
    model = HierarchicalAttention(settings)
    [(predictions, attention)] = predict.predict(model, Bags(data, STAINS), data.table, ["1"], y=Y, classes=CLASSES)
    assert attention["effective_weight"].sum() == pytest.approx(1, abs=1e-5)
    biases = predict.biases(model, 0, CLASSES)
    for name, bias in biases.items():
        told = attention[f"contribution_{column(name)}"].astype(float).sum() + bias
        assert told == pytest.approx(predictions[f"logit_{column(name)}"][0], abs=1e-5)


def test_the_log_counts_the_cases_that_are_predicted(predicted, monkeypatch, caplog):
    model, data, *_ = predicted
    monkeypatch.setattr(progress, "SECONDS", 0)
    with caplog.at_level("INFO"):
        predict.predict(model, Bags(data, STAINS), data.table, ["10", "2"], y=Y, classes=CLASSES)
    assert caplog.messages == ["1 of 2 cases", "2 of 2 cases"]


def test_a_second_pass_gives_the_same_bytes(predicted):
    model, data, predictions, attention = predicted
    [again] = predict.predict(model, Bags(data, STAINS), data.table, list(Y), y=Y, classes=CLASSES)
    assert again[0].equals(predictions)
    assert again[1].equals(attention)


def test_each_member_predicts_what_it_does_alone(predicted):
    model, data, *alone = predicted
    torch.manual_seed(1)
    other = HierarchicalAttention(model.settings)
    for place, both in enumerate((stack([model, other]), stack([other, model]))):
        tables = predict.predict(both, Bags(data, STAINS), data.table, list(Y), y=Y, classes=CLASSES)
        for ours, expected in zip(tables[place], alone):
            pd.testing.assert_frame_equal(ours, expected, rtol=1e-5)
        assert not tables[1 - place][0].equals(alone[0])
        assert predict.biases(both, place, CLASSES) == predict.biases(model, 0, CLASSES)


def table(y, score):
    """A predictions table of two classes."""
    score = np.asarray(score)
    return pd.DataFrame(
        {
            "case_id": [str(i) for i in range(len(y))], "true_label": y,
            "predicted_label": (score > 0.5).astype(int), "prob_benign": 1 - score, "prob_high": score,
            "logit_benign": np.log(1 - score), "logit_high": np.log(score),
        }
    )  # fmt: skip


def test_threshold_and_temperature_never_see_test_labels():
    rng = np.random.default_rng(0)
    val = table(rng.integers(0, 2, 30), rng.uniform(0.05, 0.95, 30))
    score = rng.uniform(0.05, 0.95, 20)
    labels = rng.integers(0, 2, 20)
    chosen = [
        {
            key: predict.results(table(y, score), val, ["benign", "high"], "youden")[key]
            for key in ("threshold", "temperature")
        }
        for y in (labels, 1 - labels)
    ]
    assert chosen[0] == chosen[1]


def test_one_class_is_not_defined():
    result = predict.results(table([1, 1], [0.2, 0.9]), table([0, 1], [0.2, 0.9]), ["benign", "high"], "youden")
    assert result["roc_auc"] is None
    text = predict.text({"split": "01", "seed": 1, "checkpoint": "best.pth", "epoch": 3} | result)
    assert "AUROC: not defined" in text
    assert "recall benign: not defined" in text
    assert "best.pth (epoch 3" in text


def test_results_txt_has_counts_and_intervals():
    y = np.repeat([0, 1], 10)
    score = np.concatenate([np.linspace(0.05, 0.6, 10), np.linspace(0.3, 0.95, 10)])
    result = predict.results(table(y, score), table(y, score), ["benign", "high"], "youden")
    text = predict.text({"split": "01", "seed": 1, "checkpoint": "best.pth", "epoch": 3} | result)
    assert "number of samples: 20 test cases (10 benign, 10 high)" in text
    assert text.count("loss") == 2 and f"test loss: {result['log_loss']:.4f} (log loss)" in text
    share = intervals.wilson((score[y == 0] < 0.5).sum(), 10)
    assert f"recall benign: {share.value:.4f}, 8 of 10 ({share.low:.4f} to {share.high:.4f})" in text
    auc = intervals.score_interval(intervals.delong(y, score).value, [intervals.Sides(10, 10)], 20)
    assert f"AUROC: {auc.value:.4f} ({auc.low:.4f} to {auc.high:.4f})" in text
    assert result["roc_auc_interval"] == auc and result["roc_auc_delong"] == intervals.delong(y, score)
    assert intervals.of_cases(np.tile(y, 2), np.tile(score, 2)) == intervals.delong(np.tile(y, 2), np.tile(score, 2))
    assert (result["temperature"], result["temperature_off"]) == (1, "few")
    assert "temperature: 1.0000 (not fitted: fewer than 50 validation cases)" in text
    many = predict.results(table(y, score), table(np.tile(y, 3), np.tile(score, 3)), ["benign", "high"], "youden")
    assert many["temperature"] != 1 and many["temperature_off"] is None

"""The ensemble of a split: means of its members, told in tables that every reader of one member can read."""

import numpy as np
import pandas as pd
import pytest
import torch
from factories import STAINS, build, features
from scipy.special import softmax

from stratamil.evaluation import ensemble, predict
from stratamil.explain import attention_tables
from stratamil.mil.bags import Bags
from stratamil.mil.model import stack

CLASSES = ["benign", "in-situ", "high grade"]
Y = {"1": 0, "2": 1, "10": 2}
P = [f"prob_{name}" for name in ("benign", "in_situ", "high_grade")]


@pytest.fixture(scope="module")
def members():
    """Predictions and attention of three members."""
    data, model = features(), stack([build(seed=seed) for seed in (3, 4, 5)]).float()
    with torch.no_grad():
        model.classifier.weight.mul_(9)  # so that members disagree
    return predict.predict(model, Bags(data, STAINS), data.table, list(Y), y=Y, classes=CLASSES)


def test_probabilities_are_means_and_decide(members):
    alone = [table for table, _ in members]
    mean = ensemble.predictions(alone, CLASSES)
    assert list(mean)[: len(alone[0].columns)] == list(alone[0])
    p = np.stack([table[P].to_numpy() for table in alone])
    np.testing.assert_allclose(mean[P], p.mean(0))
    np.testing.assert_allclose(mean["sd_in_situ"], p[..., 1].std(0, ddof=1))
    assert list(mean["predicted_label"]) == list(p.mean(0).argmax(1))
    assert list(mean["predicted_class"]) == [CLASSES[k] for k in p.mean(0).argmax(1)]
    assert list(mean["correct"]) == list(p.mean(0).argmax(1) == mean["true_label"])
    logits = mean[[name.replace("prob_", "logit_") for name in P]].to_numpy()
    assert not np.allclose(softmax(logits, axis=1), mean[P])  # the mean of probabilities is not that of mean logits


def test_weights_are_means_and_add_up_at_each_level(members):
    alone = [table for _, table in members]
    mean = ensemble.attention(alone)
    weights = np.stack([table["effective_weight"].to_numpy(float) for table in alone])
    np.testing.assert_allclose(mean["effective_weight"], weights.mean(0), rtol=1e-6)
    np.testing.assert_allclose(mean["effective_sd"], weights.std(0, ddof=1), rtol=1e-5)
    product = mean["patch_weight"] * mean["slice_weight"] * mean["stain_weight"]
    np.testing.assert_allclose(product, mean["effective_weight"], rtol=1e-5)
    for keys, part, whole in (
        (["case_id", "stain", "slice_id"], "patch_weight", 1),
        (["case_id"], "effective_weight", 1),
    ):
        np.testing.assert_allclose(mean.groupby(keys)[part].sum(), whole, rtol=1e-5)
    of_stains = mean.groupby(["case_id", "stain"])["stain_weight"].first().groupby("case_id").sum()
    np.testing.assert_allclose(of_stains, 1, rtol=1e-5)
    assert all(sorted(case["rank"]) == list(range(1, len(case) + 1)) for _, case in mean.groupby("case_id"))


def test_the_readers_of_one_run_read_the_ensemble(members, tmp_path):
    """Contributions explain the logits, ranks are those of the weights: else read_cases refuses the tables."""
    ensemble.predictions([table for table, _ in members], CLASSES).to_csv(tmp_path / "predictions.csv", index=False)
    ensemble.attention([table for _, table in members]).to_parquet(tmp_path / "patch_attention.parquet")
    cases = attention_tables.read_cases(tmp_path / "patch_attention.parquet", tmp_path / "predictions.csv", STAINS)
    assert [case.id for case in cases] == ["1", "2", "10"]


def test_threshold_and_temperature_are_chosen_on_the_mean(members):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)

    def table(noise):
        z = 2.0 * (2 * y - 1) + rng.normal(0, noise, 60)
        p = 1 / (1 + np.exp(-z))
        columns = {"case_id": range(60), "true_label": y, "predicted_label": (p > 0.5).astype(int), "prob_a": 1 - p}
        return pd.DataFrame(columns | {"prob_b": p, "correct": True, "true_class": "a", "predicted_class": "a"}).assign(
            logit_a=0.0, logit_b=z
        )

    alone = [table(3.0) for _ in range(3)]
    mean = ensemble.predictions(alone, ["a", "b"])
    result = predict.results(mean, mean, ["a", "b"], "youden")
    expected = predict.metrics.chosen_threshold(y, np.mean([each["prob_b"] for each in alone], 0), "youden")
    assert result["threshold"] == pytest.approx(expected)
    own = np.log(mean[["prob_a", "prob_b"]].to_numpy())
    assert result["temperature"] == pytest.approx(predict.metrics.temperature(y, own)[0])

"""Baselines: they find what is there, and never look at the test labels."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from stratamil.cohort.splits import Split
from stratamil.core.errors import UserError
from stratamil.evaluation import baselines
from stratamil.stats import metrics

pytestmark = pytest.mark.slow

CLASSES = ["benign", "high-grade"]


@pytest.fixture
def cohort():
    """40 cases of 5 or 8 patches: the first of 6 features and the patch count tell the class, colour does not."""
    random = np.random.default_rng(0)
    ids = [str(i) for i in range(1, 41)]
    y = np.arange(40) % 2
    n = 5 + 3 * y
    # every fifth patch is of another stain, which case 1 lacks
    table = pd.DataFrame({"case_id": pd.Categorical(np.repeat(ids, n)), "slice_id": random.integers(1, 5, n.sum())})
    table["stain"] = np.concatenate([np.resize(["h&e"] * 4 + ["sox10"], each) for each in n])
    table.loc[4, "stain"] = "h&e"
    values = random.normal(size=(n.sum(), 6)) + np.repeat(y, n)[:, None] * [4, 0, 0, 0, 0, 0]
    colour = random.normal(size=(n.sum(), 3)).astype(np.float16)
    features = SimpleNamespace(values=values.astype(np.float16), table=table, colour=colour)
    splits = {
        "01": Split(train=ids[:20], val=ids[20:30], test=ids[30:]),
        "02": Split(train=ids[20:], val=ids[:10], test=ids[10:20]),
    }
    labels = {case: CLASSES[label] for case, label in zip(ids, y)}
    return baselines.descriptions(features), labels, splits


def aucs(predictions):
    return {
        name: metrics.roc_auc(rows["true_class"] == "high-grade", rows["prob_high_grade"])
        for name, rows in predictions.groupby("baseline")
    }


def test_a_separable_signal_is_found_where_it_is(cohort):
    found = aucs(baselines.predict(*cohort, CLASSES))
    assert found["mean_pool"] == 1 and found["summary"] > 0.95
    assert found["patch_count"] == 1
    assert found["mean_pool_h&e"] > 0.95 and found["mean_pool_sox10"] > 0.9
    assert found["colour"] < 0.9
    assert found["prevalence"] == 0.5


def test_each_test_case_once_a_split_and_baseline(cohort):
    predictions = baselines.predict(*cohort, CLASSES)
    assert list(predictions) == ["split", "baseline", "case_id", "true_class", "prob_benign", "prob_high_grade", "C"]
    assert len(predictions) == 2 * 10 * 8
    assert not predictions.duplicated(["split", "baseline", "case_id"]).any()
    np.testing.assert_allclose(predictions[["prob_benign", "prob_high_grade"]].sum(axis=1), 1)
    assert list(predictions["case_id"][:10]) == [str(i) for i in range(31, 41)]


def test_no_test_case_has_a_part_in_what_is_fitted_or_chosen(cohort):
    """Other labels and features of the test cases, and the penalties and all predictions of other cases stay."""
    described, labels, splits = cohort
    before = baselines.predict(described, labels, splits, CLASSES)
    other, random = dict(zip(CLASSES, reversed(CLASSES))), np.random.default_rng(9)
    for name, split in splits.items():
        swapped = {case: other[label] if case in split.test else label for case, label in labels.items()}
        mine = before[before["split"] == name].reset_index(drop=True)
        after = baselines.predict(described, swapped, {name: split}, CLASSES)
        pd.testing.assert_frame_equal(after.drop(columns="true_class"), mine.drop(columns="true_class"))
        changed = {key: table.copy() for key, table in described.items()}
        for table in changed.values():
            table.loc[split.test[1:]] = random.normal(size=(9, table.shape[1]))
        after = baselines.predict(changed, swapped, {name: split}, CLASSES)
        pd.testing.assert_series_equal(after["C"], mine["C"])
        first = after["case_id"] == split.test[0]
        np.testing.assert_array_equal(after.loc[first, "prob_high_grade"], mine.loc[first, "prob_high_grade"])


def test_validation_chooses_the_penalty_and_the_fit_has_converged(cohort):
    """Against scikit-learn on the features as they are, by another solver."""
    described, labels, splits = cohort
    predictions, split = baselines.predict(described, labels, splits, CLASSES), splits["01"]
    x = described["summary"]
    y = {case: CLASSES.index(label) for case, label in labels.items()}
    scale = StandardScaler().fit(x.loc[split.train])
    losses, tests = {}, {}
    for strength in baselines.STRENGTHS:
        fit = LogisticRegression(C=strength, class_weight="balanced", solver="newton-cg", tol=1e-12, max_iter=1000)
        fit.fit(scale.transform(x.loc[split.train]), [y[case] for case in split.train])
        p = {part: fit.predict_proba(scale.transform(x.loc[getattr(split, part)])) for part in ("val", "test")}
        losses[strength], tests[strength] = (
            log_loss([y[case] for case in split.val], p["val"], labels=[0, 1]),
            p["test"],
        )
    best = min(losses, key=losses.get)
    found = predictions.query("split == '01' and baseline == 'summary'")
    assert set(found["C"]) == {best}
    np.testing.assert_allclose(found["prob_high_grade"], tests[best][:, 1], atol=1e-5)


def test_the_summary_is_mean_maximum_and_sd_of_a_case():
    values = np.array([[1, 5], [3, 1], [7, 7]], dtype=np.float16)
    found = baselines.summary(values, ["2", "2", "1"])
    assert found.loc["2"].tolist() == [2, 3, 3, 5, 1, 2] and found.loc["1"].tolist() == [7, 7, 7, 7, 0, 0]


def test_patches_and_slices_are_counted_that_the_model_sees():
    """A case that is in the shard but was not asked for, and the same slice number in two stains."""
    rows = [("2", "h&e", 1), ("2", "h&e", 1), ("2", "sox10", 1), ("1", "h&e", 3)]
    table = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id"])
    table["case_id"] = pd.Categorical(table["case_id"], categories=["1", "2", "3"])
    features = SimpleNamespace(values=np.ones((4, 2), dtype=np.float16), table=table, colour=None)
    described = baselines.descriptions(features)
    assert np.exp(described["patch_count"]["n"]).round().to_dict() == {"1": 1, "2": 3}
    assert np.exp(described["slice_count"]["n"]).round().to_dict() == {"1": 1, "2": 2}
    assert list(described["prevalence"].index) == list(described["mean_pool"].index) == ["1", "2"]


def test_half_precision_does_not_overflow_in_the_mean():
    values = np.full((5000, 2), 60000, dtype=np.float16)
    assert np.isfinite(baselines.pooled(values, ["1"] * 5000).to_numpy()).all()


def test_three_classes_and_one_that_is_not_in_training(cohort):
    described, labels, splits = cohort
    predictions = baselines.predict(described, labels, splits, ["benign", "low", "high-grade"])
    assert (predictions["prob_low"] == 0).all()


def test_missing_features_and_one_class_are_named_at_once(cohort):
    described, labels, splits = cohort
    described["colour"] = described["colour"].drop(index="33")
    splits["03"] = Split(train=["1", "3", "5"], val=["2"], test=["4"])
    with pytest.raises(UserError) as error:
        baselines.predict(described, labels, splits, CLASSES)
    assert "colour: case 33 of split 01" in str(error.value)
    assert "split 03" in str(error.value)

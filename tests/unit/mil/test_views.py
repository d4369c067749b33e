"""Training on further views of the patches: drawn a slice at each step, and nowhere else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from factories import MODEL, STAINS, features, train_settings

from stratamil.cohort.splits import Split
from stratamil.features import matrices, store
from stratamil.mil import stack, training, training_data
from stratamil.mil.bags import Bags, Sampling

CASES = [str(i) for i in range(1, 13)]
Y = {case: i % 2 for i, case in enumerate(CASES)}
VIEWS = 3
WHOLE = Sampling(None, None, 0.0)


def viewed(data, views=VIEWS):
    """The same features with further views: in view k each number is 100 k larger."""
    shifts = np.arange(views + 1, dtype=np.float16)[:, None, None]
    stacked = (data.values + 100 * shifts).reshape(-1, data.values.shape[1])
    return replace(data, viewed=stacked)


@pytest.fixture(scope="module")
def data():
    return features({case: [[4, 2], [3]] for case in CASES})


def number_of(batch, data):
    """The view that each patch of a batch is of."""
    return np.rint((batch.x.numpy() - data.values[batch.rows]).mean(axis=1) / 100).astype(int)


def test_a_step_draws_a_view_of_each_slice_and_evaluation_takes_the_patches_as_they_are(data):
    bags = Bags(viewed(data), STAINS)
    drawn = [bags.batch(CASES, WHOLE, np.random.default_rng(step)) for step in range(40)]
    for batch in drawn:
        views, slices = number_of(batch, data), batch.slice_of_patch.numpy()
        assert all(len(set(views[slices == place])) == 1 for place in set(slices))
    counts = np.bincount(np.concatenate([number_of(batch, data) for batch in drawn]), minlength=VIEWS + 1)
    np.testing.assert_allclose(counts / counts.sum(), 1 / (VIEWS + 1), atol=0.03)
    plain = bags.batch(CASES)
    assert torch.equal(plain.x, Bags(data, STAINS).batch(CASES).x) and not number_of(plain, data).any()
    first, again = (bags.batch(CASES, WHOLE, np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(first.x, again.x)


def test_the_patches_of_a_step_are_those_that_it_would_draw_without_views(data):
    few = Sampling(2, 1, 0.3)
    steps = [Bags(each, STAINS).batch(CASES, few, np.random.default_rng(3)) for each in (data, viewed(data))]
    assert np.array_equal(steps[0].rows, steps[1].rows) and not torch.equal(steps[0].x, steps[1].x)


def test_all_that_is_said_of_a_case_is_of_its_patches_but_the_fingerprint(data):
    """By which a training is known: one on other views is another training."""
    plain, with_views = Bags(data, STAINS), Bags(viewed(data), STAINS)
    for one, other in zip(plain.statistics(CASES), with_views.statistics(CASES)):
        assert torch.equal(one, other)
    assert plain.minhash("1") == with_views.minhash("1")
    assert len({bags.fingerprint("1") for bags in (plain, with_views, Bags(viewed(data, 2), STAINS))}) == 3


def test_training_on_views_is_another_training_and_the_same_each_time(data):
    def weights(each):
        cohort = stack.Data(Bags(each, STAINS), CASES[:8], CASES[8:], Y, name="01")
        return training.train(cohort, MODEL, train_settings(epochs=2, lr=0.01), [1])[1].best["weights"]

    def same(a, b):
        return all(torch.equal(a[name], b[name]) for name in a)

    plain, first, again = weights(data), weights(viewed(data)), weights(viewed(data))
    assert same(first, again) and not same(plain, first)
    # views that are the patches themselves teach what the patches do
    assert same(plain, weights(replace(data, viewed=np.tile(data.values, (VIEWS + 1, 1)))))


def test_training_reads_the_views_of_a_feature_file(data, tmp_path):
    whole, none = viewed(data), pd.DataFrame(columns=list(store.UNREADABLE))
    n, identity = len(data.table), {"encoder": "a", "dim": data.values.shape[1], "views": VIEWS}
    views = [whole.viewed[n * k : n * (k + 1)] for k in range(1, VIEWS + 1)]
    path = tmp_path / "a" / "shard_00.h5"
    store.write(path, data.values, data.table, none, identity, further=views)
    assert matrices.view_names(identity) == ["view_1", "view_2", "view_3"]
    split = Split(CASES[:8], CASES[8:10], CASES[10:])
    told = {"y": Y, "classes": ["a", "b"], "stains": STAINS, "name": "01", "device": torch.device("cpu")}
    found, trained = training_data.read([path], split, **told)
    assert trained.bags.views == VIEWS and "11" not in trained.bags.cases
    batch = trained.bags.batch(CASES[:8], WHOLE, np.random.default_rng(0))
    base = found.values[batch.rows].astype(np.float32)
    assert set(np.rint((batch.x.numpy() - base).mean(axis=1) / 100)) == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="argument"):
        store.write(path, data.values, data.table, none, identity)  # fewer views than it is said to have

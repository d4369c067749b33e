"""The ragged model against a plain loop, and the properties that any hierarchical attention must have."""

import numpy as np
import pandas as pd
import pytest
import torch

from stratamil.bags import Bags, Sampling
from stratamil.features import Features
from stratamil.model import AttentionPool, HierarchicalAttention, ModelSettings, segment_softmax

STAINS = ["h&e", "melan", "sox10"]
SHAPE = {"1": [[3, 1], [4], [2]], "2": [[1], [5, 2, 2]], "10": [[6]]}  # case -> stain -> patches of each slice


def features(shape=SHAPE, dim=6, seed=0):
    rows = [
        (case, STAINS[t], f"match_{s + 1}", p, f"{case}/{t}/{s}/{p}")
        for case, stains in shape.items()
        for t, slices in enumerate(stains)
        for s, n in enumerate(slices)
        for p in range(n)
    ]
    values = np.random.default_rng(seed).standard_normal((len(rows), dim)).astype(np.float16)
    return Features(values, pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"]), {})


@pytest.fixture(params=[False, True], ids=["tanh", "gated"])
def model(request):
    torch.manual_seed(3)
    settings = ModelSettings(6, 2, embed_dim=8, attention_dim=4, gated=request.param, zero_start=False, dropout=0)
    return HierarchicalAttention(settings).double().eval()


def pool(module, rows):
    """One attention pool the plain way: rows (n, E) -> (E,), weights (n,)."""
    hidden = torch.tanh(rows @ module.value.weight.T + module.value.bias)
    if module.gate is not None:
        hidden = hidden * torch.sigmoid(rows @ module.gate.weight.T + module.gate.bias)
    weights = torch.softmax(hidden @ module.score.weight[0], 0)
    return weights @ rows, weights


def loop(model, data, case):
    """The model as nested loops over one case: logits and effective weights."""
    stains, effective = [], []
    of_case = data.table[data.table["case_id"] == case]
    for _, of_stain in of_case.groupby("stain", sort=False):
        slices, weights = [], []
        for _, of_slice in of_stain.groupby("slice_id", sort=False):
            x = torch.from_numpy(data.values[of_slice.index]).double()
            pooled, weight = pool(
                model.patch_pool, torch.relu(x @ model.projector[0].weight.T + model.projector[0].bias)
            )
            slices.append(pooled)
            weights.append(weight)
        pooled, slice_weights = pool(model.slice_pool, torch.stack(slices))
        stains.append(pooled)
        effective.append(torch.cat([w * s for w, s in zip(weights, slice_weights)]))
    pooled, stain_weights = pool(model.stain_pool, torch.stack(stains))
    return model.classifier(pooled), torch.cat([w * s for w, s in zip(effective, stain_weights)])


def run(model, data, cases):
    batch = Bags(data, STAINS).batch(cases)
    batch = type(batch)(**{**batch.__dict__, "x": batch.x.double()})
    return batch, model(batch)


def test_equals_a_loop_forward_and_gradient(model):
    data, cases = features(), list(SHAPE)
    batch, output = run(model, data, cases)
    looped = [loop(model, data, case) for case in cases]
    torch.testing.assert_close(output.logits, torch.stack([logits for logits, _ in looped]), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(output.effective(batch), torch.cat([w for _, w in looped]), rtol=1e-9, atol=1e-9)
    ours = torch.autograd.grad(output.logits.square().sum(), list(model.parameters()))
    theirs = torch.autograd.grad(sum(logits.square().sum() for logits, _ in looped), list(model.parameters()))
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_effective_weights_sum_to_one_and_contributions_to_the_logit(model):
    batch, output = run(model, features(), list(SHAPE))
    case = batch.case_of_stain[batch.stain_of_slice[batch.slice_of_patch]]
    total = torch.zeros(3, dtype=torch.double).index_add(0, case, output.effective(batch))
    torch.testing.assert_close(total, torch.ones(3, dtype=torch.double))
    shares = model.contributions(output, batch)
    logits = torch.zeros(3, 2, dtype=torch.double).index_add(0, case, shares) + model.classifier.bias
    torch.testing.assert_close(logits, output.logits)


def test_order_does_not_matter(model):
    data = features()
    _, expected = run(model, data, ["1"])
    order = np.random.default_rng(1).permutation(len(data.table))
    shuffled = Features(data.values[order], data.table.iloc[order].reset_index(drop=True), {})
    _, output = run(model, shuffled, ["1"])
    torch.testing.assert_close(output.logits, expected.logits)


def test_every_patch_twice_changes_nothing(model):
    data = features()
    twice = Features(
        np.repeat(data.values, 2, 0), data.table.loc[data.table.index.repeat(2)].reset_index(drop=True), {}
    )
    torch.testing.assert_close(run(model, twice, ["1", "2"])[1].logits, run(model, data, ["1", "2"])[1].logits)


def test_a_missing_stain_is_as_if_never_given(model):
    full = features({"1": [[3, 1], [4], [2]]})
    kept = full.table["stain"] != "melan"
    without = Features(full.values[kept], full.table[kept].reset_index(drop=True), {})
    expected = HierarchicalAttention.forward(model, double(Bags(full, ["h&e", "sox10"]).batch(["1"])))
    torch.testing.assert_close(run(model, without, ["1"])[1].logits, expected.logits)


def double(batch):
    return type(batch)(**{**batch.__dict__, "x": batch.x.double()})


def test_one_patch_has_weight_one(model):
    batch, output = run(model, features({"1": [[1]]}), ["1"])
    assert output.effective(batch).tolist() == [1.0]


def test_zero_start_is_mean_pooling():
    module = AttentionPool(5, 3, gated=True, zero_start=True)
    x = torch.randn(7, 5)
    segment = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    pooled, _ = module(x, segment, 3)
    torch.testing.assert_close(pooled, torch.stack([x[:3].mean(0), x[3:5].mean(0), x[5:].mean(0)]))


def test_huge_scores_do_not_overflow():
    scores = torch.tensor([1e4, 1e4 - 1, -1e4, 3.0])
    weights = segment_softmax(scores, torch.tensor([0, 0, 1, 1]), 2)
    expected = torch.cat([torch.softmax(scores[:2], 0), torch.softmax(scores[2:], 0)])
    torch.testing.assert_close(weights, expected)


def test_sampling_is_seeded_ordered_and_only_on_demand():
    data = features({"1": [[50, 3], [20]], "2": [[10]]})
    bags = Bags(data, STAINS)
    assert len(bags.batch(["1"]).x) == 73
    sampling = Sampling(per_slice_cap=15, max_slices_per_stain=1, instance_dropout=0.5)
    draws = [bags.batch(["1", "2"], sampling, np.random.default_rng(seed)).rows for seed in (0, 0, 1)]
    assert (draws[0] == draws[1]).all()
    assert list(draws[0]) != list(draws[2])
    assert (np.diff(draws[0]) > 0).all()
    by_slice = data.table.iloc[draws[0]].groupby(["case_id", "stain", "slice_id"]).size()
    assert by_slice[("1", "melan", "match_1")] == 10
    assert by_slice[("2", "h&e", "match_1")] == 5
    assert by_slice.max() <= 15

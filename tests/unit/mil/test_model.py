"""The ragged model against a plain loop and a library's, and what any hierarchical attention must do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from factories import DIM, SHAPE, STAINS, build, features, model_settings, scores
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st
from torchmil.models import ABMIL

from stratamil.features.store import Features
from stratamil.mil.bags import Bags, Sampling
from stratamil.mil.model import AGGREGATIONS, AttentionScore, HierarchicalAttention, stack
from stratamil.mil.segments import Segments


@pytest.fixture(params=[False, True], ids=["tanh", "gated"])
def model(request):
    """Of two members."""
    return stack([build(gated=request.param, seed=seed) for seed in (3, 4)])


def loop(model, data, case, member=0):
    """A member as nested loops over one case: logits and effective weights."""
    table = data.table[data.table["case_id"] == case]

    def embedded(rows):
        x = (torch.from_numpy(data.values[rows]).to(model.mean.dtype) - model.mean) * model.scale
        return torch.relu(x @ model.projector.weight[member].T + model.projector.bias[member])

    def scored(level, h):
        return scores(model.attention[level], h, member)

    def classified(h):
        return h @ model.classifier.weight[member].T + model.classifier.bias[member]

    if model.settings.aggregation == "lse":
        margins = classified(embedded(table.index))
        margins, r = margins[:, 1:] - margins[:, :1], model.own[member].sharpness
        pooled = torch.log(torch.exp(r * margins).mean(0)) / r
        logits = model.classifier.bias[member, 0] + torch.cat([pooled.new_zeros(1), pooled])
        return logits, torch.softmax(r * margins, 0).mean(1)
    if model.settings.aggregation == "mean_mlp":
        x = (torch.from_numpy(data.values[table.index]).to(model.mean.dtype) - model.mean) * model.scale
        hidden = torch.relu(x.mean(0) @ model.projector.weight[member].T + model.projector.bias[member])
        return classified(hidden), x.new_full((len(x),), 1 / len(x))
    if model.settings.aggregation != "hierarchical":
        h = embedded(table.index)
        flat = model.settings.aggregation == "flat"
        weights = torch.softmax(scored("patch", h) if flat else h.new_zeros(len(h)), 0)
        return classified(weights @ h), weights
    coupled = 1.0 if model.settings.coupled else 0.0
    stains, effective, of_stain_sums = [], [], []
    for _, of_stain in table.groupby("stain", sort=False):
        slices, weights, sums = [], [], []
        for _, of_slice in of_stain.groupby("slice_id", sort=False):
            h = embedded(of_slice.index)
            patch_scores = scored("patch", h)
            weights.append(torch.softmax(patch_scores, 0))
            sums.append(torch.log(torch.exp(patch_scores).sum()))
            slices.append(weights[-1] @ h)
        slices = torch.stack(slices)
        slice_scores = scored("slice", slices) + coupled * torch.stack(sums)
        of_slices = torch.softmax(slice_scores, 0)
        of_stain_sums.append(torch.log(torch.exp(slice_scores).sum()))
        stains.append(of_slices @ slices)
        effective.append(torch.cat([w * s for w, s in zip(weights, of_slices)]))
    stains = torch.stack(stains)
    of_stains = torch.softmax(scored("stain", stains) + coupled * torch.stack(of_stain_sums), 0)
    return classified(of_stains @ stains), torch.cat([w * s for w, s in zip(effective, of_stains)])


def run(model, data, cases):
    batch = Bags(data, STAINS).batch(cases)
    return batch, model(batch)


slices = st.lists(st.integers(1, 6), min_size=0, max_size=3)
case_shapes = st.lists(slices, min_size=3, max_size=3).filter(any)  # an empty list is a missing stain


@pytest.mark.slow
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@tries(max_examples=25, deadline=None)
@given(
    shapes=st.lists(case_shapes, min_size=1, max_size=4),
    gated=st.booleans(),
    coupled=st.booleans(),
    members=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_each_member_equals_a_loop_forward_and_gradient(
    aggregation, dtype, limit, shapes, gated, coupled, members, seed
):
    shape = {str(i): stains for i, stains in enumerate(shapes)}
    alone = [build(aggregation, gated, coupled=coupled, seed=3 + i) for i in range(members)]
    for i, each in enumerate(alone):
        each.own = [replace(each.settings, sharpness=0.5 + i)]
    model = stack(alone).to(dtype)
    data = features(shape, seed=seed)
    _batch, output = run(model, data, list(shape))
    looped = [[loop(model, data, case, member) for member in range(members)] for case in shape]
    logits = torch.stack([torch.stack([logits for logits, _ in of_case]) for of_case in looped])
    weights = torch.cat([torch.stack([w for _, w in of_case], 1) for of_case in looped])
    torch.testing.assert_close(output.logits, logits, rtol=limit, atol=limit)
    torch.testing.assert_close(output.effective, weights, rtol=limit, atol=limit)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(output.logits.square().sum(), parameters)
    theirs = torch.autograd.grad(logits.square().sum(), parameters)
    largest = max(1, *(gradient.abs().max().item() for gradient in theirs))
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=limit, atol=limit * largest)


@pytest.mark.parametrize("gated", [False, True], ids=["tanh", "gated"])
@pytest.mark.parametrize("aggregation", ["hierarchical", "flat"])
def test_equals_abmil_of_torchmil_for_one_stain_and_one_slice(aggregation, gated):
    ours, data = build(aggregation, gated), features({"1": [[9]]})
    theirs = ABMIL((8,), att_dim=4, gated=gated).double().eval()
    theirs.feat_ext = torch.nn.Sequential(torch.nn.Linear(DIM, 8), torch.nn.ReLU()).double()
    patch = ours.attention["patch"]
    layers = {"feat_ext.0": ours.projector, "pool.fc1.module": patch.value, "pool.fc2": patch.score}
    for name, layer in (layers | ({"pool.fc_gated.module": patch.gate} if gated else {})).items():
        one = {name: parameter[0] for name, parameter in layer.named_parameters()}
        theirs.get_submodule(name).load_state_dict(one)
    batch, output = run(ours, data, ["1"])
    x = (batch.x.double() - ours.mean) * ours.scale
    for k in range(3):
        theirs.classifier.module.weight.data = ours.classifier.weight[0, k : k + 1].detach().clone()
        theirs.classifier.module.bias.data = ours.classifier.bias[0, k : k + 1].detach().clone()
        logit, score = theirs(x[None], return_att=True)
        torch.testing.assert_close(output.logits[0, 0, k], logit[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(output.effective[:, 0], torch.softmax(score[0], 0), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_gradients_are_those_of_finite_differences(aggregation):
    model, batch = build(aggregation), Bags(features(), STAINS).batch(list(SHAPE))
    names, values = zip(*model.named_parameters())

    def logits(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values)), (replace(batch, x=x),)).logits

    assert torch.autograd.gradcheck(logits, (batch.x.double().requires_grad_(), *values))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("gated", [False, True], ids=["tanh", "gated"])
def test_effective_weights_sum_to_one_and_contributions_to_the_logit(aggregation, gated):
    model = stack([build(aggregation, gated, seed=seed) for seed in (3, 4)])
    batch, output = run(model, features(), list(SHAPE))
    total = torch.zeros(3, 2, dtype=torch.double).index_add(0, batch.case_of_patch, output.effective)
    torch.testing.assert_close(total, torch.ones(3, 2, dtype=torch.double))
    shares = model.contributions(output)
    logits = torch.zeros(3, 2, 3, dtype=torch.double).index_add(0, batch.case_of_patch, shares)
    torch.testing.assert_close(logits + model.classifier.bias, output.logits)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_weights_of_each_level_sum_to_one(aggregation):
    batch, output = run(build(aggregation), features(), list(SHAPE))
    for weights, parent in (
        (output.patch, batch.slice_of_patch), (output.slice, batch.stain_of_slice), (output.stain, batch.case_of_stain),
    ):  # fmt: skip
        total = weights.new_zeros(int(parent.max()) + 1, 1).index_add(0, parent, weights)
        torch.testing.assert_close(total, torch.ones_like(total))


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
    expected = model(Bags(full, ["h&e", "sox10"]).batch(["1"]))
    torch.testing.assert_close(run(model, without, ["1"])[1].logits, expected.logits)


def test_one_patch_has_weight_one(model):
    _batch, output = run(model, features({"1": [[1]]}), ["1"])
    assert output.effective.tolist() == [[1.0, 1.0]]


def test_zero_start_is_the_mean_of_all_patches():
    model = HierarchicalAttention(model_settings(DIM, 2, embed_dim=8, attention_dim=4, gated=True))
    batch, output = run(model, features(), list(SHAPE))
    equal = 1 / torch.bincount(batch.case_of_patch)[batch.case_of_patch]
    torch.testing.assert_close(output.effective[:, 0], equal)


def test_without_attention_above_the_patches_coupled_levels_are_flat_attention():
    hierarchical, flat = build(coupled=True), build("flat")
    flat.load_state_dict(hierarchical.state_dict(), strict=False)
    for level in ("slice", "stain"):
        torch.nn.init.zeros_(hierarchical.attention[level].score.weight)
    (_batch, ours), (_, theirs) = (run(model, features(), list(SHAPE)) for model in (hierarchical, flat))
    torch.testing.assert_close(ours.logits, theirs.logits)
    torch.testing.assert_close(ours.effective, theirs.effective)


def test_zero_start_without_coupling_is_the_mean_of_means():
    model = HierarchicalAttention(model_settings(DIM, 2, embed_dim=8, attention_dim=4, coupled=False))
    _, output = run(model, features(), list(SHAPE))
    for weights, counts in (
        (output.patch, [3, 1, 4, 2, 1, 5, 2, 2, 6]),
        (output.slice, [2, 1, 1, 1, 3, 1]),
        (output.stain, [3, 2, 1]),
    ):
        torch.testing.assert_close(
            weights[:, 0], 1 / torch.repeat_interleave(torch.tensor(counts), torch.tensor(counts))
        )


def test_huge_scores_do_not_overflow():
    scores = torch.tensor([[1e4, 1], [1e4 - 1, 1], [-1e4, 1], [3.0, 1]])
    weights, summed = Segments(torch.tensor([0, 0, 1, 1]), 2).softmax(scores)
    torch.testing.assert_close(weights, torch.cat([torch.softmax(scores[:2], 0), torch.softmax(scores[2:], 0)]))
    expected = torch.stack([torch.logsumexp(scores[:2], 0), torch.logsumexp(scores[2:], 0)])
    torch.testing.assert_close(summed, expected)


def test_scores_of_bf16_are_float32():
    with torch.autocast("cpu", torch.bfloat16):
        assert AttentionScore(8, 4, gated=False, zero_start=True)(torch.ones(3, 1, 8)).dtype == torch.float32


def test_what_hardly_varies_is_not_blown_up_and_what_does_not_is_left_out():
    model = build()
    model.standardise(torch.zeros(DIM), torch.tensor([0.0, 2.0, 2.0, 2.0, 2.0, 1e-6]))
    torch.testing.assert_close(model.scale, torch.tensor([0.0, *[1 / 4.04**0.5] * 4, 5.0]).double())
    model.standardise(torch.zeros(DIM), torch.zeros(DIM))
    assert not model.scale.any()


def test_features_kept_on_a_gpu_give_the_same_batches_where_they_fit(monkeypatch):
    """On the CPU, which the code cannot tell: what a GPU adds is its own memory."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1 << 40))
    data, free = features(), 1 << 20
    bags, kept = Bags(data, STAINS), Bags(data, STAINS)
    kept.kept = kept._keep()
    sampling = Sampling(per_slice_cap=None, max_slices_per_stain=None, instance_dropout=0.5)
    for case in SHAPE:
        a, b = (each.batch([case], sampling, np.random.default_rng(1)) for each in (bags, kept))
        assert torch.equal(a.x, b.x) and (a.rows == b.rows).all() and len(a.x) < len(bags.rows(case))
    free = 2 * data.values.nbytes - 1
    assert kept._keep() is None


def test_statistics_are_those_of_the_patches_of_these_cases():
    data = features()
    rows = data.table["case_id"].isin(["1", "10"]).to_numpy()
    mean, deviation = Bags(data, STAINS).statistics(["1", "10"])
    np.testing.assert_allclose(mean, data.values[rows].astype(float).mean(0))
    np.testing.assert_allclose(deviation, data.values[rows].astype(float).std(0))


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


def test_weights_of_the_mean_are_equal_to_the_last_digit():
    """Products of three softmaxes are not, and ranks of patches would be made of rounding."""
    shape = {str(i): [[i + 1, 7], [3, 11, 5], [i]] for i in range(1, 20)}
    batch, output = run(build("mean").float(), features(shape), list(shape))
    assert all(len(output.effective[batch.case_of_patch == i].unique()) == 1 for i in range(len(shape)))


def test_members_are_drawn_as_plain_layers_are_kept_and_taken_apart():
    torch.manual_seed(3)
    plain = torch.nn.Linear(DIM, 8).double()
    assert torch.equal(build(seed=3).projector.weight[0], plain.weight)
    alone = [build(seed=seed) for seed in (3, 4, 5)]
    model = stack(alone)
    assert model.members == 3
    for number, each in enumerate(alone):
        again = build(seed=6)
        again.load(model.weights(number))
        for one in (model.member(number), again):
            assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), each.state_dict().values()))
        assert {name: tensor.shape for name, tensor in model.weights(number).items()} == model.shapes()
    model.keep([2, 0])
    torch.testing.assert_close(
        run(model, features(), ["1"])[1].logits[:, 0], run(alone[2], features(), ["1"])[1].logits[:, 0]
    )
    other = build()
    other.standardise(torch.zeros(DIM), torch.ones(DIM))
    for different in (other, build("flat")):
        with pytest.raises(ValueError, match="other shape"):
            stack([alone[0], different])


def test_a_log_sum_exp_lies_between_mean_and_maximum_of_the_patches():
    model, data = build("lse"), features()
    logits = model.classifier(run(model, data, ["1"])[1].h)[:, 0]
    margins = (logits - logits[:, :1])[:, 1:]
    pooled = {}
    for sharpness in (1e-4, 1.0, 1e3):
        model.own = [replace(model.settings, sharpness=sharpness)]
        output = run(model, data, ["1"])[1].logits[0, 0]
        pooled[sharpness] = output[1:] - output[0]
    torch.testing.assert_close(pooled[1e-4], margins.mean(0), rtol=0, atol=1e-3)
    torch.testing.assert_close(pooled[1e3], margins.max(0).values, rtol=0, atol=1e-2)
    assert (pooled[1e-4] < pooled[1.0]).all() and (pooled[1.0] < pooled[1e3]).all()


def test_contributions_have_signs_of_their_own_except_in_a_log_sum_exp():
    for aggregation in AGGREGATIONS:
        model = build(aggregation)
        shares = model.contributions(run(model, features(), ["1"])[1])[:, 0, 1:]
        mixed = (shares > 0).any(0) & (shares < 0).any(0)
        assert mixed.any() == (aggregation != "lse")

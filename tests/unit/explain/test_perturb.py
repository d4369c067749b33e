"""Bags with parts taken away: against the plain model on what is left, and a model whose behaviour is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from factories import STAINS, build, features, model_settings, perturb_settings

from stratamil.explain import perturb
from stratamil.features.store import Features
from stratamil.mil.bags import Bags
from stratamil.mil.model import AGGREGATIONS, HierarchicalAttention

CLASSES = ["benign", "in-situ", "high grade"]
Y = {"1": 0, "2": 1, "10": 2}
SETTINGS = perturb_settings(random_orders=4)


def run(model, data, cases=tuple(Y), classes=CLASSES, settings=SETTINGS):
    y = {case: Y.get(case, 0) for case in cases}
    [tables] = perturb.perturb(
        model, Bags(data, STAINS), data.table, case_ids=cases, y=y, classes=classes, settings=[(0, settings)]
    )
    return tables


def reduced(data, rows):
    """Features that hold only these rows."""
    return Features(data.values[rows], data.table.iloc[rows].reset_index(drop=True), {})


def predicted(model, data, case):
    with torch.inference_mode():
        return model(Bags(data, STAINS).batch([case])).logits[:, 0].numpy()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("coupled", [True, False])
def test_a_part_is_as_if_there_was_nothing_else(aggregation, coupled):
    """Oracle: the model on the features of the kept patches alone."""
    data, model, random = features(), build(aggregation, coupled=coupled), np.random.default_rng(1)
    batch = Bags(data, STAINS).batch(["2"])
    masks = random.random((30, len(batch.rows))) < 0.3
    masks[np.arange(30), random.integers(0, len(batch.rows), 30)] = True
    with torch.inference_mode():
        bag = perturb.embedded(model, batch)
        plain = model(batch.parts(torch.from_numpy(masks))).logits[:, 0].numpy()
        of_parts = bag.logits(masks)
    expected = np.concatenate([predicted(model, reduced(data, batch.rows[mask]), "2") for mask in masks])
    np.testing.assert_allclose(of_parts, expected, atol=1e-10)
    np.testing.assert_allclose(plain, expected, atol=1e-10)


@pytest.mark.parametrize("aggregation", ["mean", "mean_mlp"])
def test_equal_weights_change_nothing_in_a_model_whose_weights_are_equal(aggregation):
    cases, _, _ = run(build(aggregation), features())
    names = [column for column in cases if column.startswith("prob_")]
    for name in names:
        np.testing.assert_allclose(cases[f"uniform_{name}"], cases[name], atol=1e-9)
    assert len(names) == 3


def test_parts_are_numbered_without_gaps():
    batch = Bags(features(), STAINS).batch(["2"])  # slices of 1; 5, 2, 2 patches in two stains
    masks = np.zeros((2, 10), dtype=bool)
    masks[0, [0, 6, 9]] = True
    masks[1, [7]] = True
    parts = batch.parts(torch.from_numpy(masks))
    assert parts.slice_of_patch.tolist() == [0, 1, 2, 3]
    assert parts.stain_of_slice.tolist() == [0, 1, 1, 2]
    assert parts.case_of_stain.tolist() == [0, 0, 1] and parts.cases == 2
    assert list(parts.rows) == list(batch.rows[[0, 6, 9, 7]])
    assert torch.equal(parts.x, batch.x[[0, 6, 9, 7]])


def test_what_a_stain_and_a_slice_weigh_and_change():
    data, model = features(), build()
    cases, _, parts = run(model, data)
    whole = cases.set_index("case_id")
    for row in parts.to_dict("records"):
        case = row["case_id"]
        own = data.table["case_id"] == case
        here = own & (data.table["stain"] == row["stain"])
        if row["level"] == "slice":
            here &= data.table["slice_id"] == row["slice_id"]
        assert row["patches"] == here.sum()
        if here.sum() == own.sum():
            assert np.isnan(row["margin_change"])
            continue
        left = reduced(data, np.flatnonzero(own & ~here))
        c = CLASSES.index(whole.loc[case, "predicted_class"])
        p, margin = perturb.values(predicted(model, left, case), c)[0]
        assert row["probability_change"] == pytest.approx(whole.loc[case, "probability"] - p, abs=1e-9)
        assert row["margin_change"] == pytest.approx(whole.loc[case, "margin"] - margin, abs=1e-9)
    totals = parts.groupby(["case_id", "level"])["weight"].sum()
    np.testing.assert_allclose(totals, 1)
    assert parts.loc[parts["case_id"] == "10", "margin_change"].isna().all()  # one slice of one stain


def test_values_hold_where_probabilities_round_to_one():
    logits = np.array([[800.0, 0.0, -50.0], [0.0, 800.0, -50.0], [1.0, 2.0, 3.0]])
    p, margin = perturb.values(logits, 0).T
    np.testing.assert_allclose(margin[:2], [800, -800], atol=1e-9)
    softmax = np.exp(1) / np.exp([1, 2, 3]).sum()
    assert p[2] == pytest.approx(softmax) and margin[2] == pytest.approx(np.log(softmax / (1 - softmax)))
    assert p[0] == 1 and p[1] == pytest.approx(0)


def planted(scores, signal):
    """A case of one slice; a patch's attention score is the first feature, what it says of class b the second."""
    table = pd.DataFrame({"case_id": "1", "stain": "h&e", "slice_id": "s", "patch": range(len(scores))})
    values = np.column_stack([scores, signal]).astype(np.float16)
    return Features(values, table.assign(path=[f"p{i:03d}" for i in range(len(scores))]), {})


def known(strength):
    """A flat model of two classes: weights are the softmax of `strength` x the first feature, the margin of b is
    twice the weighted mean of the second less 1."""
    model = HierarchicalAttention(
        model_settings(2, 2, "flat", embed_dim=2, attention_dim=1, zero_start=False, standardise=False)
    ).double()
    with torch.no_grad():
        model.projector.weight.copy_(torch.eye(2))
        model.projector.bias.zero_()
        score = model.attention["patch"]
        score.value.weight.copy_(torch.tensor([[1e-3, 0.0]]))  # tanh is linear there
        score.value.bias.zero_()
        score.score.weight.fill_(strength * 1e3)
        model.classifier.weight.copy_(torch.tensor([[0.0, -1.0], [0.0, 1.0]]))
        model.classifier.bias.copy_(torch.tensor([0.5, -0.5]))
    return model


def test_one_patch_that_decides_is_found():
    """All signal is in one patch that has nearly all attention: each curve is known."""
    n = 20
    scores, signal = np.zeros(n), np.zeros(n)
    scores[7], signal[7] = 1, 4
    data, model = planted(scores, signal), known(20.0)
    with torch.inference_mode():
        bag = perturb.embedded(model, Bags(data, STAINS).batch(["1"]))
    ranked = perturb.orders(bag, SETTINGS, "1")
    assert ranked["attention"][0, 0] == ranked["contribution"][0, 0] == ranked["least"][0, -1] == 7
    cases, curves, _ = run(model, data, ["1"], ["a", "b"])
    lines = {order: part.set_index("fraction")["margin"] for order, part in curves.groupby("order")}
    with_it, without = 2 * 4 - 1, -1
    counts = [perturb.removed(n, fraction) for fraction in perturb.FRACTIONS]
    for order in ("attention", "contribution"):
        np.testing.assert_allclose(lines[order], np.where(np.array(counts) > 0, without, with_it), atol=1e-3)
    np.testing.assert_allclose(lines["least"], with_it, atol=1e-3)
    share = [(np.argmax(ranked["random"] == 7, axis=1) >= count).mean() for count in counts]
    np.testing.assert_allclose(lines["random"], without + (with_it - without) * np.array(share), atol=1e-3)
    row = cases.iloc[0]
    assert (row["predicted_class"], row["only_top_1_margin"]) == ("b", pytest.approx(with_it, abs=1e-3))
    assert row["without_top_1_margin"] == pytest.approx(without, abs=1e-9)
    p = np.trapezoid(lines["random"] - lines["attention"], perturb.FRACTIONS) / 0.99
    assert row["deletion_attention_margin"] == pytest.approx(p) and p > 2
    assert row["insertion_attention_margin"] > 2
    np.testing.assert_allclose(row["uniform_prob_b"], 1 / (1 + np.exp(-(2 * 4 / n - 1))), atol=1e-9)


def test_margin_contributions_sum_to_the_margin():
    """Of two classes, with the biases."""
    data, model = planted(np.arange(9), np.linspace(0, 3, 9)), known(0.3)
    with torch.inference_mode():
        bag = perturb.embedded(model, Bags(data, STAINS).batch(["1"]))
    margin = perturb.values(bag.whole[None], bag.predicted)[0, 1]
    assert bag.margin_contribution.sum() + (1 if bag.predicted == 0 else -1) == pytest.approx(margin)


@pytest.mark.slow
def test_attention_that_means_nothing_is_no_better_than_random():
    random = np.random.default_rng(0)
    rows = []
    for case in range(60):
        data = planted(random.random(25), random.random(25) * 2)
        settings = replace(SETTINGS, seed=case)
        rows.append(run(known(2.0), data, ["1"], ["a", "b"], settings)[0].iloc[0])
    cases = pd.DataFrame(rows)
    for name in ("deletion_attention_margin", "insertion_attention_margin"):
        error = cases[name].std() / np.sqrt(len(cases))
        assert abs(cases[name].mean()) < 3.5 * error
    assert (cases["deletion_contribution_margin"] > 0).all()


@pytest.mark.parametrize("aggregation", ["mean", "hierarchical"])
def test_without_attention_there_is_no_order_by_it(aggregation):
    """Neither in a mean, nor in a model that has not learned any: weights differ by rounding alone."""
    torch.manual_seed(0)
    model = HierarchicalAttention(model_settings(6, 3, aggregation, embed_dim=8, attention_dim=4))
    cases, curves, _ = run(model, features())
    assert cases[[name for name in cases if "attention" in name]].isna().all(axis=None)
    assert not any("top" in name for name in cases)
    assert set(curves["order"]) == {"contribution", "against", "random"}
    assert cases["deletion_contribution_margin"].notna().all()


def test_one_patch_has_no_curves():
    data = planted([1.0], [2.0])
    cases, curves, parts = run(known(1.0), data, ["1"], ["a", "b"])
    assert curves.empty and "deletion_attention_margin" not in cases
    assert list(parts["weight"]) == [1, 1] and parts["margin_change"].isna().all()
    assert list(parts["level"]) == ["stain", "slice"]


def test_orders_depend_on_the_case_and_seed_alone(monkeypatch):
    data, model = features(), build()
    whole, alone = run(model, data), run(model, data, ["2"])
    for a, b in zip(whole, alone):
        a = a[a["case_id"] == "2"].reset_index(drop=True)[list(b)]
        pd.testing.assert_frame_equal(a, b)
    assert not run(model, data, settings=replace(SETTINGS, seed=1))[1].equals(whole[1])
    monkeypatch.setattr(perturb, "ROWS", 7)  # in small pieces
    for a, b in zip(run(model, data), whole):
        pd.testing.assert_frame_equal(a, b)


def test_equal_weights_are_in_random_order():
    """Not in that of paths, which is that of stains and slices."""
    data, model = planted([0] * 50 + [1] * 50, np.ones(100)), known(3.0)
    with torch.inference_mode():
        bag = perturb.embedded(model, Bags(data, STAINS).batch(["1"]))
    first = perturb.orders(bag, SETTINGS, "1")["attention"][0]
    assert set(first[:50]) == set(range(50, 100)) and not (np.diff(first[:50]) > 0).all()
    other = perturb.orders(bag, replace(SETTINGS, seed=3), "1")["attention"][0]
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "n, percent, counts",
    [
        (1, 5, {}),
        (2, 5, {"percent": 1, "1": 1}),
        (21, 5, {"percent": 2, "1": 1, "5": 5, "20": 20}),
        (20, 5, {"percent": 1, "1": 1, "5": 5}),
        (3, 100, {"1": 1}),
    ],
)
def test_what_counts_as_top(n, percent, counts):
    assert perturb.top_counts(n, percent) == counts


def test_one_patch_always_stays():
    for n in (2, 3, 10, 1000):
        counts = [perturb.removed(n, fraction) for fraction in perturb.FRACTIONS]
        assert counts[0] == 0 and max(counts) <= n - 1 and counts == sorted(counts)
    assert np.allclose(np.add(perturb.FRACTIONS[1:], perturb.FRACTIONS[:0:-1]), 1)

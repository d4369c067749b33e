"""Layers of several members: each member's part is that of a plain layer, its draws are its own."""

import numpy as np
import pytest
import torch

from stratamil.mil import cpu, layers


def linear(bias, members=3):
    """A layer of several members."""
    layer = layers.Linear(3, 2, bias=bias)
    layer.weight.data = torch.randn(members, 2, 3)
    if bias:
        layer.bias.data = torch.randn(members, 2)
    return layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_member_s_layer_is_a_plain_one(bias, dtype):
    layer = linear(bias).to(dtype)
    shared, own = torch.randn(5, 3).to(dtype), torch.randn(5, 3, 3).to(dtype)
    for m in range(3):
        b = layer.bias[m] if bias else None
        plain = [torch.nn.functional.linear(x, layer.weight[m], b) for x in (shared, own[:, m])]
        torch.testing.assert_close(layer(shared)[:, m], plain[0])
        torch.testing.assert_close(layer(own)[:, m], plain[1])
    assert len(cpu.padded(own)) == (cpu.ROUND if dtype == torch.bfloat16 else 5)


def splitmix(key, n):
    """SplitMix64 as it was published, in Python's integers."""
    mask, state, values = 2**64 - 1, key, []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        values.append(z ^ (z >> 31))
    return np.array(values, np.uint64)


def test_draws_are_those_of_splitmix64_whoever_is_beside():
    assert splitmix(0, 1)[0] == 0xE220A8397B1DCDAF  # of the reference implementation
    keys = torch.tensor([5, -(2**63), 2**63 - 1])
    drawn = layers.draws(keys, 6, 10)  # ten draws a row are three numbers
    assert drawn.shape == (6, 3, 10) and drawn.dtype == torch.int16
    for m, key in enumerate(keys.tolist()):
        expected = splitmix(key % 2**64, 18).view(np.int16).reshape(6, 12)[:, :10]
        assert (drawn[:, m].numpy() == expected).all()
        assert torch.equal(drawn[:, m], layers.draws(keys[m : m + 1], 6, 10)[:, 0])


def test_dropout_keeps_the_share_and_the_mean_and_nothing_is_dropped_without_keys():
    keys, x = torch.tensor([1, 2]), torch.ones(1001, 2, 333)
    dropped = layers.dropout(x, [0.3, 0.3], keys)
    for m in range(2):
        assert (dropped[:, m] == 0).float().mean().item() == pytest.approx(0.3, abs=0.005)
        assert dropped[:, m].mean().item() == pytest.approx(1, abs=0.005)
    both = ((dropped[:, 0] == 0) & (dropped[:, 1] == 0)).float().mean().item()
    assert both == pytest.approx(0.09, abs=0.005)
    assert layers.dropout(x, [0.3, 0.3], None) is x and layers.dropout(x, [0.0, 0.0], keys) is x
    assert (layers.dropout(torch.ones(1000, 1, 1), [0.999999], keys[:1]) == 0).float().mean() > 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_members_drop_shares_of_their_own_and_draw_as_they_do_alone(dtype):
    keys, x = torch.tensor([1, 2, 3]), torch.randn(101, 3, 33).to(dtype)
    shares = [0.3, 0.0, 0.75]
    together = layers.dropout(x, shares, keys)
    for m, share in enumerate(shares):
        assert torch.equal(together[:, m : m + 1], layers.dropout(x[:, m : m + 1], [share], keys[m : m + 1]))

"""The parts of the training's loss, against their definitions."""

import numpy as np
import pytest
import torch

from stratamil.explain import attention_tables
from stratamil.mil import losses


def test_class_weights():
    labels = np.array([0, 0, 0, 1])
    for choice in ("balanced", "none", [1, 2.5]):
        weights = losses.class_weights(choice, labels, 2).numpy()
        assert weights[labels].mean() == pytest.approx(1)
    balanced = losses.class_weights("balanced", labels, 2)
    assert balanced[1] / balanced[0] == pytest.approx(3)


def test_entropy_is_one_for_uniform_attention_and_its_gradient_is_not_zero():
    case = torch.tensor([0, 0, 0, 0, 1, 1])
    uniform = torch.tensor([0.25] * 4 + [0.5] * 2)
    skewed = torch.tensor([0.7, 0.1, 0.1, 0.1, 0.9, 0.1], requires_grad=True)
    entropy = losses.batch_entropy(torch.stack([uniform, skewed], 1), case, 2)
    torch.testing.assert_close(entropy[:, 0], torch.ones(2))
    in_tables = [attention_tables.normalised_entropy(part) for part in ([0.7, 0.1, 0.1, 0.1], [0.9, 0.1])]
    assert entropy[:, 1].tolist() == pytest.approx(in_tables)
    assert losses.batch_entropy(torch.ones(1, 1), torch.zeros(1, dtype=torch.long), 1) == 0
    entropy.sum().backward()
    assert skewed.grad.abs().min() > 0


def test_top_logits_are_the_mean_margins_of_the_most_suspect_patches():
    sizes, share = [7, 1, 32], 0.25
    logits = torch.randn(40, 2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    of_cases = losses.top_logits(logits, sizes, [share, share])
    assert of_cases.shape == (3, 2, 3) and torch.equal(of_cases[..., 0], torch.zeros(3, 2))
    falling = torch.stack([torch.zeros(100), -torch.arange(100.0)], dim=1)[:, None]
    assert losses.top_logits(falling, [100], [0.15])[0, 0, 1] == -7  # 15 patches, not 16
    for i, (part, k) in enumerate(zip(logits.split(sizes), [2, 1, 8])):
        for c in (1, 2):
            expected = (part[..., c] - part[..., 0]).sort(dim=0, descending=True).values[:k].mean(0)
            torch.testing.assert_close(of_cases[i, :, c], expected)
    of_cases[2, 1].sum().backward()
    assert (logits.grad[8:, 1] != 0).any(1).sum() <= 16 and not logits.grad[:8].any() and not logits.grad[:, 0].any()


def test_members_have_shares_and_smoothing_of_their_own():
    sizes, shares = [7, 1, 32], [0.25, 0.1, 1.0]
    logits = torch.randn(40, 3, 3, generator=torch.Generator().manual_seed(0))
    of_cases = losses.top_logits(logits, sizes, shares)
    for m, share in enumerate(shares):
        torch.testing.assert_close(of_cases[:, m], losses.top_logits(logits[:, m : m + 1], sizes, [share])[:, 0])
    y, own = torch.tensor([0, 2, 1]), [0.0, 0.1, 0.3]
    plain = [torch.nn.functional.cross_entropy(of_cases[:, m], y, reduction="none") for m in range(3)]
    expected = [
        torch.nn.functional.cross_entropy(of_cases[:, m], y, reduction="none", label_smoothing=share)
        for m, share in enumerate(own)
    ]
    smoothed = losses.smoothed(torch.stack(plain, 1), of_cases, torch.tensor(own))
    torch.testing.assert_close(smoothed, torch.stack(expected, 1))

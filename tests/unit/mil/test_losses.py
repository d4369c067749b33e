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
    torch.testing.assert_close(losses.batch_entropy(uniform, case, 2), torch.ones(2))
    skewed = torch.tensor([0.7, 0.1, 0.1, 0.1, 0.9, 0.1], requires_grad=True)
    in_tables = [attention_tables.normalised_entropy(part) for part in ([0.7, 0.1, 0.1, 0.1], [0.9, 0.1])]
    assert losses.batch_entropy(skewed, case, 2).tolist() == pytest.approx(in_tables)
    assert losses.batch_entropy(torch.ones(1), torch.zeros(1, dtype=torch.long), 1) == 0
    losses.batch_entropy(skewed, case, 2).sum().backward()
    assert skewed.grad.abs().min() > 0


def test_top_logits_are_the_mean_margins_of_the_most_suspect_patches():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 3, generator=generator, requires_grad=True)
    case = torch.tensor([1] * 7 + [0] * 1 + [2] * 32)[torch.randperm(40, generator=generator)]
    logits_of_cases = losses.top_logits(logits, case, 3, 0.25)
    assert torch.equal(logits_of_cases[:, 0], torch.zeros(3))
    falling = torch.stack([torch.zeros(100), -torch.arange(100.0)], dim=1)
    assert losses.top_logits(falling, torch.zeros(100, dtype=torch.long), 1, 0.15)[0, 1] == -7  # 15 patches, not 16
    for i, k in enumerate([1, 2, 8]):
        for c in (1, 2):
            expected = (logits[case == i, c] - logits[case == i, 0]).sort(descending=True).values[:k].mean()
            torch.testing.assert_close(logits_of_cases[i, c], expected)
    logits_of_cases[2].sum().backward()
    assert (logits.grad[case == 2] != 0).any(1).sum() <= 16 and not logits.grad[case != 2].any()

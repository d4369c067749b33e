"""What makes the model fast on a CPU: it may change the time, and nothing else."""

import pytest
import torch
from factories import SHAPE, STAINS, build, features

from stratamil.mil import cpu
from stratamil.mil.bags import Bags
from stratamil.mil.model import AGGREGATIONS


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_rows_that_round_up_a_batch_in_bf16_change_nothing(aggregation, monkeypatch):
    model, batch = build(aggregation).float(), Bags(features(), STAINS).batch(list(SHAPE))
    results = []
    for rows in (1, 1024):
        monkeypatch.setattr(cpu, "ROUND", rows)
        with torch.autocast("cpu", torch.bfloat16):
            output = model(batch)
        assert output.h.shape == (len(batch.x), 1, 8)
        gradients = torch.autograd.grad(output.logits.float().square().sum(), list(model.parameters()))
        results.append([output.logits, output.patch, output.slice, output.stain, *gradients])
    for alone, rounded in zip(*results):
        torch.testing.assert_close(alone, rounded)


@pytest.mark.parametrize("rows", [0, 1, cpu.BLOCK, 2 * cpu.BLOCK + 3])
def test_features_are_standardised_as_a_plain_formula_does(rows):
    generator = torch.Generator().manual_seed(0)
    x, mean, scale = (torch.randn(shape, generator=generator) for shape in ((rows, 5), 5, 5))
    assert torch.equal(cpu.standardised(x.half(), mean, scale), (x.half().float() - mean) * scale)
    with torch.autocast("cpu", torch.bfloat16):
        wide = cpu.standardised(x.half(), mean, scale)
    assert torch.equal(wide[:rows], ((x.half().float() - mean) * scale).bfloat16())
    assert len(wide) % cpu.ROUND == 0 and not wide[rows:].any()

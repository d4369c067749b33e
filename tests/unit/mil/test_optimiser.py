"""Steps and learning rates: those of torch.optim, for each member."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from stratamil.mil.optimiser import Optimiser, clip, learning_rate

SHAPES = [(3, 4, 5), (3, 7), (3, 1)]  # of three members


def torchs(choice, parameters, rate, weight_decay):
    if choice == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=weight_decay)
    return torch.optim.AdamW(parameters, rate, weight_decay=weight_decay)


@pytest.mark.parametrize("norm", [None, 0.5])
@pytest.mark.parametrize(
    "rates",
    [
        [(0.1, 0.1), (0.1, 0.1), (0.1, 0.1)],
        [(0.1, 0.1), (0.05, 0.1), (0.1, 0.1)],
        [(0.1, 0.0), (0.05, 0.1), (0.1, 0.2)],
    ],
    ids=["equal", "own rate", "own rate and decay"],
)
@pytest.mark.parametrize("choice", ["adamw", "sgd"])
def test_each_member_steps_as_torch_optim_does_alone(choice, rates, norm):
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    alone = [[nn.Parameter(parameter.detach()[place].clone()) for parameter in parameters] for place in range(3)]
    optimiser = Optimiser(parameters, choice)
    theirs = [torchs(choice, own, *each) for own, each in zip(alone, rates)]
    for _ in range(5):
        for number, parameter in enumerate(parameters):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            for place, own in enumerate(alone):
                own[number].grad = parameter.grad[place].clone()
        if norm:
            clip([parameter.grad for parameter in parameters], norm)
        optimiser.step(rates)
        for own, other in zip(alone, theirs):
            if norm:
                nn.utils.clip_grad_norm_(own, norm)
            other.step()
    for place, own in enumerate(alone):
        for parameter, expected in zip(parameters, own):
            torch.testing.assert_close(parameter[place], expected, rtol=1e-5, atol=1e-6)
            assert parameter.grad is None


@pytest.mark.parametrize("scheduler", ["plateau", "cosine", "none"])
@pytest.mark.parametrize("sign", [1, -1], ids=["loss", "auc"])
def test_learning_rates_are_those_of_torch(scheduler, sign):
    epochs, values = 40, []
    settings = SimpleNamespace(lr=0.1, scheduler=scheduler, epochs=epochs)
    other = torch.optim.SGD([torch.zeros(1)], 0.1)
    theirs = {
        "plateau": torch.optim.lr_scheduler.ReduceLROnPlateau(other, factor=0.5, patience=3),
        "cosine": torch.optim.lr_scheduler.CosineAnnealingLR(other, epochs),
        "none": torch.optim.lr_scheduler.ConstantLR(other, factor=1.0),
    }[scheduler]
    rates = set()
    for value in sign * np.random.default_rng(0).random(epochs):
        assert learning_rate(settings, values) == pytest.approx(other.param_groups[0]["lr"], abs=1e-12)
        rates.add(learning_rate(settings, values))
        values.append(value)
        other.step()
        theirs.step(*([value] if scheduler == "plateau" else []))
    assert (len(rates) > 3) == (scheduler != "none")

"""The steps of torch.optim for members side by side, each at its own rates, by torch's own kernels.

torch.optim itself would take a step a member, and two seconds to import.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

Choice = Literal["adamw", "sgd"]
Scheduler = Literal["plateau", "cosine", "none"]
MOMENTUM, BETAS, EPSILON = 0.9, (0.9, 0.999), 1e-8
FACTOR, PATIENCE, THRESHOLD = 0.5, 3, 1e-4  # of the plateau: the fourth epoch without gain halves the rate


class Rate(Protocol):
    """The settings that decide a learning rate."""

    lr: float
    scheduler: Scheduler
    epochs: int


def learning_rate(settings: Rate, values: Sequence[float]) -> float:
    """Return the learning rate that follows epochs of these values, which are to fall: as torch.optim.lr_scheduler."""
    if settings.scheduler == "cosine":
        return settings.lr * (1 + math.cos(math.pi * len(values) / settings.epochs)) / 2
    rate, best, stale = settings.lr, math.inf, 0
    for value in values if settings.scheduler == "plateau" else ():
        best, stale = (value, 0) if value < best * (1 - THRESHOLD) else (best, stale + 1)
        if stale > PATIENCE:
            rate, stale = rate * FACTOR, 0
    return rate


class Optimiser:
    """AdamW, or SGD with momentum, of parameters (M, ...) of M members.

    steps: that were taken. moments: for each parameter the running means of its gradients and, in AdamW, of their
    squares.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], choice: Choice) -> None:
        self.parameters, self.choice, self.steps = list(parameters), choice, 0
        kinds = 2 if choice == "adamw" else 1
        self.moments = [[torch.zeros_like(parameter.data) for parameter in self.parameters] for _ in range(kinds)]

    @torch.no_grad()
    def step(self, rates: Sequence[tuple[float, float]]) -> None:
        """Step along the gradients, which are used up.

        rates: learning rate and weight decay of each member; those of equal rates share kernels.
        """
        self.steps += 1
        gradients = [parameter.grad for parameter in self.parameters]
        tensors = [[parameter.data for parameter in self.parameters], gradients, *self.moments]
        for rate in dict.fromkeys(rates):
            chosen = [place for place, own in enumerate(rates) if own == rate]
            if len(chosen) == len(rates):
                self._update(rate, *tensors)
            else:
                self._update(rate, *([tensor[place] for tensor in same for place in chosen] for same in tensors))
        for parameter in self.parameters:
            parameter.grad = None

    def _update(
        self, rates: tuple[float, float], parameters: list[Tensor], gradients: list[Tensor], *moments: list[Tensor]
    ) -> None:
        shared = {"lr": rates[0], "weight_decay": rates[1], "maximize": False}
        if self.choice == "sgd":
            torch._fused_sgd_(
                parameters, gradients, *moments, momentum=MOMENTUM, dampening=0, nesterov=False, is_first_step=False,
                **shared,
            )  # fmt: skip
            return
        steps = [torch.full((), self.steps, dtype=torch.float32, device=parameters[0].device)] * len(parameters)
        torch._fused_adamw_(
            parameters, gradients, *moments, [], steps, beta1=BETAS[0], beta2=BETAS[1], eps=EPSILON, amsgrad=False,
            **shared,
        )  # fmt: skip

    def keep(self, members: Sequence[int]) -> None:
        """Go on with some members alone."""
        self.moments = [[moment[list(members)] for moment in same] for same in self.moments]

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on."""
        return {"steps": self.steps, "moments": self.moments}

    def restore(self, content: dict[str, Any]) -> None:
        """Take up what `state` returned. Raises any Exception where it is of another form."""
        shapes = [[moment.shape for moment in same] for same in self.moments]
        if not isinstance(content["steps"], int) or shapes != [[x.shape for x in same] for same in content["moments"]]:
            raise ValueError("optimiser of another form")
        self.steps = content["steps"]
        for same, kept in zip(self.moments, content["moments"], strict=True):
            for moment, value in zip(same, kept, strict=True):
                moment.copy_(value)


def clip(gradients: Sequence[Tensor], norm: float) -> None:
    """Scale the gradients (M, ...) of each member to a norm of at most `norm`, all of its parameters taken together."""
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    share = (norm / (norms + 1e-6)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(share.view(-1, *[1] * (gradient.dim() - 1)))

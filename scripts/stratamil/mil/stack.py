"""Members that train side by side on the same bags, each with its own weights, dropout, optimiser and best epoch.

A member is what it would be alone, to rounding: nothing that it draws or decides depends on those beside it. M members,
C cases, K classes.
"""

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stratamil.mil import losses
from stratamil.mil.bags import Bags, Sampling
from stratamil.mil.losses import ClassWeights
from stratamil.mil.model import DROPOUTS, HierarchicalAttention, ModelSettings, stack
from stratamil.stats import metrics

# Columns of history.csv, a row an epoch. Speed and seconds are those of all members together.
ROW = ("epoch", "lr", "train_loss", "val_loss", "val_auc", "val_accuracy", "patches_per_second", "seconds")

Precision = Literal["fp32", "bf16"]
Row = dict[str, float]  # ROW of an epoch


@dataclass(frozen=True)
class Data:
    """The cases of one training.

    train, val: case ids. y: case id -> class index, of these cases at least. name: of the split; the order of the cases
    and the patches of each step are drawn from it, so that all members see the same. identity: JSON value that names
    the features, so that a state is resumed on the same ones alone.
    """

    bags: Bags
    train: Sequence[str]
    val: Sequence[str]
    y: dict[str, int]
    name: str
    identity: Any = None

    def labels(self, cases: Sequence[str]) -> Tensor:
        """Return the class indices (C,) of some cases, on the device of the bags."""
        return torch.tensor([self.y[case] for case in cases], device=self.bags.device)


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides the outcome besides data and seed; meanings and units in config/README.md."""

    epochs: int
    lr: float
    weight_decay: float
    optimizer: Literal["adamw", "sgd"]
    scheduler: Literal["plateau", "cosine", "none"]
    batch_size: int
    class_weights: ClassWeights
    monitor: Literal["loss", "auc"]
    patience: int
    min_delta: float
    min_epochs: int
    per_slice_cap: int | None
    max_slices_per_stain: int | None
    instance_dropout: float
    label_smoothing: float
    instance_weight: float
    instance_share: float
    entropy_weight: float
    clip_norm: float | None
    precision: Precision

    @property
    def sampling(self) -> Sampling:
        """What a training step sees of a bag."""
        return Sampling(self.per_slice_cap, self.max_slices_per_stain, self.instance_dropout)


@dataclass(frozen=True)
class Outcome:
    """What a member came to.

    best: of the epoch that is kept, its number `epoch`, the `value` that chose it and, unless no loss was a number, the
    `weights`, as HierarchicalAttention.weights returns them. history: a ROW an epoch.
    """

    best: dict[str, Any]
    history: list[Row]

    def table(self) -> pd.DataFrame:
        """Return the history with a row an epoch, and `best`, true for the epoch that is kept."""
        history = pd.DataFrame(self.history)
        return history.assign(best=history["epoch"] == self.best["epoch"])


class Member:
    """One member of a stack: its part of the weights, its optimiser and schedule, and when it is to stop.

    best, history: as of an Outcome. The stack takes the optimiser's steps.
    """

    PROGRESS = ("best", "history", "mark", "stale")

    def __init__(self, seed: int, settings: TrainSettings, model: HierarchicalAttention, place: int) -> None:
        self.seed, self.settings = seed, settings
        self.parameters = [nn.Parameter(parameter.data[place]) for parameter in model.parameters()]
        self.optimizer = _optimizer(self.parameters, settings)
        self.scheduler = _scheduler(self.optimizer, settings)
        self.best, self.history = {"value": math.inf, "epoch": 0}, []
        # what an epoch has to beat by min_delta, and for how many epochs none has
        self.mark, self.stale = math.inf, 0

    def follow(self, model: HierarchicalAttention, place: int) -> None:
        """Take the weights at a place of the stack for its own, after those of the stack have moved."""
        for own, stacked in zip(self.parameters, model.parameters(), strict=True):
            own.data = stacked.data[place]

    def end_epoch(self, row: Row, weights: Callable[[], dict[str, Tensor]]) -> None:
        """Note an epoch, whose weights are asked for where they are the best so far."""
        s = self.settings
        value = row["val_loss"] if s.monitor == "loss" or math.isnan(row["val_auc"]) else -row["val_auc"]
        if value < self.best["value"]:
            self.best = {"value": value, "epoch": row["epoch"], "weights": weights()}
        if value < self.mark - s.min_delta:
            self.mark, self.stale = value, 0
        else:
            self.stale += 1
        self.optimizer.step()  # of no gradients: a schedule asks that there was a step
        self.scheduler.step(*([value] if s.scheduler == "plateau" else []))
        self.history.append(row)

    @property
    def lr(self) -> float:
        """The learning rate of its next step."""
        return self.optimizer.param_groups[0]["lr"]

    def finished(self) -> bool:
        """Return whether no epoch is to follow."""
        s, epochs = self.settings, len(self.history)
        return epochs >= s.epochs or (epochs >= s.min_epochs and self.stale >= s.patience)

    def outcome(self) -> Outcome:
        """Return what it has come to so far."""
        return Outcome(self.best, self.history)

    def state(self) -> dict[str, Any]:
        """Return what it needs to go on, besides its weights."""
        content = {name: getattr(self, name) for name in self.PROGRESS}
        return content | {"optimizer": self.optimizer.state_dict(), "scheduler": self.scheduler.state_dict()}

    def restore(self, content: dict[str, Any]) -> None:
        """Take up what `state` returned. Raises any Exception where it is of another form."""
        for name in self.PROGRESS:
            if not isinstance(content[name], type(getattr(self, name))):
                raise TypeError(f"{name} is a {type(content[name]).__name__}")
            setattr(self, name, content[name])
        self.optimizer.load_state_dict(content["optimizer"])
        for weights, kept in self.optimizer.state.items():
            same_shapes(kept, dict.fromkeys(kept, weights.shape), torch.Size())
        if set(content["scheduler"]) != set(self.scheduler.state_dict()):
            raise ValueError("scheduler of another form")
        self.scheduler.load_state_dict(content["scheduler"])


class Stack:
    """Members that train together, and where they are: epochs done, steps done in the next, their loss and patches."""

    PROGRESS = ("epoch", "at", "loss", "patches")

    def __init__(
        self, data: Data, model_settings: ModelSettings, settings: TrainSettings, seeds: Sequence[int]
    ) -> None:
        self.data, self.settings, self.device = data, settings, data.bags.device
        self.model = stack([_drawn(model_settings, seed) for seed in seeds])
        if model_settings.standardise:
            self.model.standardise(*data.bags.statistics(data.train))
        self.model.to(self.device)
        self.members = [Member(seed, settings, self.model, place) for place, seed in enumerate(seeds)]
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bf16")
        self.labels = data.labels(data.train)
        weights = losses.class_weights(settings.class_weights, self.labels.cpu().numpy(), model_settings.classes)
        self.weights = weights.to(self.device)
        self.epoch, self.at, self.patches = 0, 0, 0
        self.loss = torch.zeros(len(seeds), dtype=torch.float64, device=self.device)
        self.optimizer = _optimizer([p for member in self.members for p in member.parameters], settings)

    @property
    def seeds(self) -> list[int]:
        """Seeds of the members."""
        return [member.seed for member in self.members]

    def next_epoch(self, stop: Callable[[], bool]) -> bool:
        """Train the rest of an epoch and validate; return whether it came to its end, else stopped."""
        begin, before = time.perf_counter(), self.patches
        rates = [member.lr for member in self.members]
        if not self._train_epoch(stop):
            return False
        train_loss = (self.loss / len(self.data.train)).tolist()
        speed = (self.patches - before) * len(self.members) / (time.perf_counter() - begin)
        self.epoch, self.at, self.loss, self.patches = self.epoch + 1, 0, torch.zeros_like(self.loss), 0
        validated = self._validate()
        seconds = time.perf_counter() - begin
        for place, member in enumerate(self.members):
            values = self.epoch, rates[place], train_loss[place], *validated[place], speed, seconds
            member.end_epoch(dict(zip(ROW, values, strict=True)), lambda place=place: self.model.weights(place))
        return True

    def _train_epoch(self, stop: Callable[[], bool]) -> bool:
        """Take the steps of an epoch that are left; return whether it came to the end."""
        size, n = self.settings.batch_size, len(self.data.train)
        split, epoch = zlib.crc32(self.data.name.encode()), self.epoch + 1
        order = np.random.default_rng([split, epoch]).permutation(n)
        labels = self.labels[torch.from_numpy(order).to(self.device)]
        steps = -(-n // size)
        keys = self._keys(epoch, steps)
        self._share_steps()
        while self.at < steps:
            part = slice(size * self.at, size * (self.at + 1))
            generator = np.random.default_rng([split, epoch, self.at + 1])
            self._step([self.data.train[i] for i in order[part]], labels[part], keys[self.at], generator)
            self.at += 1
            if self.at < steps and stop():
                return False
        return True

    def _keys(self, epoch: int, steps: int) -> Tensor:
        """Return the keys (steps, M, DROPOUTS) of an epoch's dropout, each member's from its own generator."""
        drawn = [
            np.random.default_rng([seed, epoch]).integers(-(2**63), 2**63, (steps, DROPOUTS)) for seed in self.seeds
        ]
        return torch.from_numpy(np.stack(drawn, 1)).to(self.device)

    def _step(self, cases: list[str], y: Tensor, keys: Tensor, generator: np.random.Generator) -> None:
        """Take one step of the optimisers on a batch of cases."""
        s = self.settings
        batch = self.data.bags.batch(cases, s.sampling, generator)
        with self.autocast:
            output = self.model(batch, keys)
        objective = self._losses(output.logits, y, s.label_smoothing)
        if s.instance_weight:
            logits = losses.top_logits(self.model.classifier(output.h.float()), batch.sizes, s.instance_share)
            objective = objective + s.instance_weight * self._losses(logits, y)
        if s.entropy_weight:
            entropy = losses.batch_entropy(output.effective, batch.case_of_patch, batch.cases)
            objective = objective - s.entropy_weight * entropy.mean(0)
        self.model.zero_grad()
        objective.sum().backward()  # no member's loss has a gradient in another's weights
        self._descend()
        # Without smoothing, as in validation. Read once an epoch: at each step it would wait for the GPU.
        self.loss += self._losses(output.logits.detach(), y) * len(cases)
        self.patches += len(batch.rows)

    def _share_steps(self) -> None:
        """Let members of the same learning rate share the kernels of the optimiser's steps, but not its state."""
        by_rate: dict[float, list[nn.Parameter]] = {}
        for member in self.members:
            by_rate.setdefault(member.lr, []).extend(member.parameters)
        self.optimizer.param_groups = [
            self.optimizer.defaults | {"lr": lr, "params": parameters} for lr, parameters in by_rate.items()
        ]
        self.optimizer.state = {p: member.optimizer.state[p] for member in self.members for p in member.parameters}

    def _descend(self) -> None:
        """Take a step of each member's optimiser along its part of the gradient."""
        if self.settings.clip_norm:
            _clip([parameter.grad for parameter in self.model.parameters()], self.settings.clip_norm)
        parts = [parameter.grad.unbind() for parameter in self.model.parameters()]
        for member, gradients in zip(self.members, zip(*parts, strict=True), strict=True):
            for parameter, gradient in zip(member.parameters, gradients, strict=True):
                parameter.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _losses(self, logits: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the members' mean cross-entropies (M,) over cases, each weighted by its class.

        logits: (C, M, K). y: (C,).
        """
        each = y[:, None].expand(logits.shape[:2])
        loss = nn.functional.cross_entropy(logits.float().mT, each, reduction="none", label_smoothing=smoothing)
        return (self.weights[each] * loss).mean(0)

    @torch.inference_mode()
    def _validate(self) -> list[tuple[float, float, float]]:
        """Return each member's loss, AUROC (NaN where it is not defined) and accuracy of the validation cases."""
        with self.autocast:
            logits = torch.cat([self.model(self.data.bags.batch([case])).logits.float() for case in self.data.val])
        y = self.data.labels(self.data.val)
        loss = self._losses(logits, y).tolist()
        p, y = logits.softmax(2).transpose(0, 1).cpu().numpy().astype(float), y.cpu().numpy()
        return [(loss[place], _auc(y, p[place]), float((p[place].argmax(1) == y).mean())) for place in range(len(p))]

    def release(self) -> list[Member]:
        """Return the members that have finished; the others go on without them."""
        going = [place for place, member in enumerate(self.members) if not member.finished()]
        finished = [member for member in self.members if member.finished()]
        if finished and going:
            self.model.keep(going)
            self.loss = self.loss[going]
        self.members = [self.members[place] for place in going]
        for place, member in enumerate(self.members):
            member.follow(self.model, place)
        return finished

    def state(self) -> dict[str, Any]:
        """Return all that the members need to go on."""
        content = {name: getattr(self, name) for name in self.PROGRESS}
        members = {member.seed: member.state() for member in self.members}
        return content | {"model": self.model.state_dict(), "members": members}

    def restore(self, content: dict[str, Any]) -> None:
        """Take up what `state` returned of members of the same seeds.

        Raises any Exception, with part of the content in use, where it is of another form.
        """
        for name in self.PROGRESS:
            if not isinstance(content[name], type(getattr(self, name))):
                raise TypeError(f"{name} is a {type(content[name]).__name__}")
            setattr(self, name, content[name])
        self.loss = self.loss.reshape(len(self.members)).to(self.device)
        self.model.load_state_dict(content["model"])
        for member in self.members:
            member.restore(content["members"][member.seed])
            check_outcome(member.outcome(), self.epoch, self.model)


def check_outcome(outcome: Outcome, epochs: int, model: HierarchicalAttention) -> None:
    """Raise any Exception if this cannot be what a member came to after some epochs."""
    best, history = outcome.best, outcome.history
    if [row["epoch"] for row in history] != list(range(1, epochs + 1)):
        raise ValueError(f"no history of {epochs} epochs")
    if any(set(row) != set(ROW) or not all(map(math.isfinite, (row["lr"], row["seconds"]))) for row in history):
        raise ValueError("history of another form")
    if not isinstance(best["value"], float) or not isinstance(best["epoch"], int):
        raise ValueError("best epoch of another form")
    if "weights" in best:
        same_shapes(best["weights"], model.shapes())


def same_shapes(tensors: dict[str, Tensor], wanted: dict[str, torch.Size], *also: torch.Size) -> None:
    """Raise ValueError if tensors have other names than those wanted, or neither their shapes nor a shape of `also`."""
    if set(tensors) != set(wanted) or any(
        tensor.shape not in (wanted[name], *also) for name, tensor in tensors.items()
    ):
        raise ValueError("weights of another form")


def _drawn(settings: ModelSettings, seed: int) -> HierarchicalAttention:
    torch.manual_seed(seed)
    return HierarchicalAttention(settings)


def _auc(y: NDArray[np.integer], p: NDArray[np.float64]) -> float:
    auc = metrics.auc(y, p)
    return math.nan if auc is None else auc


def _clip(gradients: list[Tensor], norm: float) -> None:
    """Scale the gradients (M, ...) of each member to a norm of at most `norm`, all of its parameters taken together."""
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    share = (norm / (norms + 1e-6)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(share.view(-1, *[1] * (gradient.dim() - 1)))


def _optimizer(parameters: list[nn.Parameter], s: TrainSettings) -> torch.optim.Optimizer:
    if s.optimizer == "sgd":
        return torch.optim.SGD(parameters, s.lr, momentum=0.9, weight_decay=s.weight_decay, fused=True)
    return torch.optim.AdamW(parameters, s.lr, weight_decay=s.weight_decay, fused=True)


def _scheduler(optimizer: torch.optim.Optimizer, s: TrainSettings) -> torch.optim.lr_scheduler.LRScheduler:
    schedule = torch.optim.lr_scheduler
    if s.scheduler == "plateau":
        return schedule.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)  # the fourth epoch halves it
    if s.scheduler == "cosine":
        return schedule.CosineAnnealingLR(optimizer, s.epochs)
    return schedule.ConstantLR(optimizer, factor=1.0)

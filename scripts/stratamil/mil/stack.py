"""Members that train side by side on the same bags, each with its own weights, dropout, optimiser and best epoch.

A member is what it would be alone, to rounding: nothing that it draws or decides depends on those beside it. M members,
C cases, K classes.
"""

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
from stratamil.mil.optimiser import Choice, Optimiser, Scheduler, clip, learning_rate
from stratamil.stats import metrics

# Columns of history.csv, a row an epoch. Speed and seconds are those of all members together.
ROW = ("epoch", "lr", "train_loss", "val_loss", "val_auc", "val_accuracy", "patches_per_second", "seconds")

# What each member of a stack may have of its own, beside `model.OWN`.
OWN = ("epochs", "lr", "weight_decay", "scheduler", "monitor", "patience", "min_delta", "min_epochs")
OWN += ("label_smoothing", "instance_weight", "instance_share", "entropy_weight")

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
    optimizer: Choice
    scheduler: Scheduler
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
class Recipe:
    """How a member is made."""

    seed: int
    model: ModelSettings
    train: TrainSettings

    @property
    def shared(self) -> dict[str, Any]:
        """What members of one stack have in common."""
        train = {name: value for name, value in asdict(self.train).items() if name not in OWN}
        return {"model": self.model.shape, "train": train}


def recipes(model: ModelSettings, train: TrainSettings, seeds: Sequence[int]) -> list[Recipe]:
    """Return the recipes of members that differ in their seeds alone."""
    return [Recipe(seed, model, train) for seed in seeds]


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
    """One member of a stack: what it came to, its learning rate, and when it is to stop.

    best, history: as of an Outcome.
    """

    PROGRESS = ("best", "history", "mark", "stale")

    def __init__(self, recipe: Recipe) -> None:
        self.seed, self.settings = recipe.seed, recipe.train
        self.best, self.history = {"value": math.inf, "epoch": 0}, []
        # what an epoch has to beat by min_delta, and for how many epochs none has
        self.mark, self.stale = math.inf, 0

    def end_epoch(self, row: Row, weights: Callable[[], dict[str, Tensor]]) -> None:
        """Note an epoch, whose weights are asked for where they are the best so far."""
        value = self._value(row)
        if value < self.best["value"]:
            self.best = {"value": value, "epoch": row["epoch"], "weights": weights()}
        if value < self.mark - self.settings.min_delta:
            self.mark, self.stale = value, 0
        else:
            self.stale += 1
        self.history.append(row)

    def _value(self, row: Row) -> float:
        """Return what is to fall from epoch to epoch."""
        return row["val_loss"] if self.settings.monitor == "loss" or math.isnan(row["val_auc"]) else -row["val_auc"]

    @property
    def lr(self) -> float:
        """The learning rate of its next epoch."""
        return learning_rate(self.settings, [self._value(row) for row in self.history])

    def finished(self) -> bool:
        """Return whether no epoch is to follow."""
        s, epochs = self.settings, len(self.history)
        return epochs >= s.epochs or (epochs >= s.min_epochs and self.stale >= s.patience)

    def outcome(self) -> Outcome:
        """Return what it has come to so far."""
        return Outcome(self.best, self.history)

    def state(self) -> dict[str, Any]:
        """Return what it needs to go on, besides its part of the stack."""
        return {name: getattr(self, name) for name in self.PROGRESS}

    def restore(self, content: dict[str, Any]) -> None:
        """Take up what `state` returned. Raises any Exception where it is of another form."""
        for name in self.PROGRESS:
            if not isinstance(content[name], type(getattr(self, name))):
                raise TypeError(f"{name} is a {type(content[name]).__name__}")
            setattr(self, name, content[name])


class Stack:
    """Members that train together, and where they are: epochs done, steps done in the next, their loss and patches.

    recipes: of the members, alike in what `Recipe.shared` names.
    """

    PROGRESS = ("epoch", "at", "loss", "patches")

    def __init__(self, data: Data, recipes: Sequence[Recipe]) -> None:
        model_settings, settings = recipes[0].model, recipes[0].train
        if any(recipe.shared != recipes[0].shared for recipe in recipes):
            raise ValueError("members that cannot train together")
        self.data, self.settings, self.device = data, settings, data.bags.device
        self.model = stack([_drawn(recipe.model, recipe.seed) for recipe in recipes])
        if model_settings.standardise:
            self.model.standardise(*data.bags.statistics(data.train))
        self.model.to(self.device)
        self.members = [Member(recipe) for recipe in recipes]
        self.optimiser = Optimiser(list(self.model.parameters()), settings.optimizer)
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bf16")
        self.labels = data.labels(data.train)
        weights = losses.class_weights(settings.class_weights, self.labels.cpu().numpy(), model_settings.classes)
        self.weights = weights.to(self.device)
        self.epoch, self.at, self.patches = 0, 0, 0
        self.loss = torch.zeros(len(recipes), dtype=torch.float64, device=self.device)

    @property
    def seeds(self) -> list[int]:
        """Seeds of the members."""
        return [member.seed for member in self.members]

    def next_epoch(self, stop: Callable[[], bool]) -> bool:
        """Train the rest of an epoch and validate; return whether it came to its end, else stopped."""
        begin, before = time.perf_counter(), self.patches
        rates = [member.lr for member in self.members]
        if not self._train_epoch(rates, stop):
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

    def _train_epoch(self, rates: list[float], stop: Callable[[], bool]) -> bool:
        """Take the steps of an epoch that are left, at each member's rate; return whether it came to the end."""
        size, n = self.settings.batch_size, len(self.data.train)
        split, epoch = zlib.crc32(self.data.name.encode()), self.epoch + 1
        order = np.random.default_rng([split, epoch]).permutation(n)
        labels = self.labels[torch.from_numpy(order).to(self.device)]
        steps = -(-n // size)
        keys = self._keys(epoch, steps)
        while self.at < steps:
            part = slice(size * self.at, size * (self.at + 1))
            generator = np.random.default_rng([split, epoch, self.at + 1])
            self._step([self.data.train[i] for i in order[part]], labels[part], keys[self.at], rates, generator)
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

    def _step(
        self, cases: list[str], y: Tensor, keys: Tensor, rates: list[float], generator: np.random.Generator
    ) -> None:
        """Take one step of the optimisers on a batch of cases."""
        s = self.settings
        batch = self.data.bags.batch(cases, s.sampling, generator)
        with self.autocast:
            output = self.model(batch, keys)
        objective = self._losses(output.logits, y, self._own("label_smoothing"))
        if any(weights := self._own("instance_weight")):
            shares = self._own("instance_share")
            logits = losses.top_logits(self.model.classifier(output.h.float()), batch.sizes, shares)
            objective = objective + self._factor(weights) * self._losses(logits, y)
        if any(weights := self._own("entropy_weight")):
            entropy = losses.batch_entropy(output.effective, batch.case_of_patch, batch.cases)
            objective = objective - self._factor(weights) * entropy.mean(0)
        objective.sum().backward()  # no member's loss has a gradient in another's weights
        if s.clip_norm:
            clip([parameter.grad for parameter in self.optimiser.parameters], s.clip_norm)
        self.optimiser.step(list(zip(rates, self._own("weight_decay"))))
        # Without smoothing, as in validation. Read once an epoch: at each step it would wait for the GPU.
        self.loss += self._losses(output.logits.detach(), y) * len(cases)
        self.patches += len(batch.rows)

    def _own(self, setting: str) -> list[float]:
        """Return a setting of each member."""
        return [getattr(member.settings, setting) for member in self.members]

    def _factor(self, values: list[float]) -> float | Tensor:
        """Return what a loss (M,) of the members is multiplied by."""
        return values[0] if len(set(values)) == 1 else torch.tensor(values, dtype=torch.float32, device=self.device)

    def _losses(self, logits: Tensor, y: Tensor, smoothing: Sequence[float] = (0.0,)) -> Tensor:
        """Return the members' mean cross-entropies (M,) over cases, each weighted by its class.

        logits: (C, M, K). y: (C,). smoothing: of each member, or of all.
        """
        logits, each, alike = logits.float(), y[:, None].expand(logits.shape[:2]), len(set(smoothing)) == 1
        loss = nn.functional.cross_entropy(
            logits.mT, each, reduction="none", label_smoothing=smoothing[0] if alike else 0.0
        )
        if not alike:
            loss = losses.smoothed(loss, logits, self._factor(smoothing))
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
            self.optimiser.keep(going)
            self.loss = self.loss[going]
        self.members = [self.members[place] for place in going]
        return finished

    def state(self) -> dict[str, Any]:
        """Return all that the members need to go on."""
        content = {name: getattr(self, name) for name in self.PROGRESS}
        members = {member.seed: member.state() for member in self.members}
        own = {"model": self.model.state_dict(), "optimiser": self.optimiser.state(), "members": members}
        return content | own

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
        self.optimiser.restore(content["optimiser"])
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
    if "weights" in best and {name: tensor.shape for name, tensor in best["weights"].items()} != model.shapes():
        raise ValueError("weights of another form")


def _drawn(settings: ModelSettings, seed: int) -> HierarchicalAttention:
    torch.manual_seed(seed)
    return HierarchicalAttention(settings)


def _auc(y: NDArray[np.integer], p: NDArray[np.float64]) -> float:
    auc = metrics.auc(y, p)
    return math.nan if auc is None else auc

"""Training of one model on one split: best epoch kept, early stopping, resumed exactly after a kill at any step."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from stratamil.core import devices, progress, provenance
from stratamil.core.errors import Stopped, UserError
from stratamil.mil import checkpoint, losses
from stratamil.mil.bags import Bags, Sampling
from stratamil.mil.losses import ClassWeights
from stratamil.mil.model import HierarchicalAttention, ModelSettings
from stratamil.stats import metrics

# Columns of history.csv, a row an epoch.
ROW = ("epoch", "lr", "train_loss", "val_loss", "val_auc", "val_accuracy", "patches_per_second", "seconds")
# Weights of a projector from which bf16 saves time: measured on CPUs with 1024 x 128 (none) and 4096 x 128 (a third).
WORTH_BF16 = 2**18

Precision = Literal["fp32", "bf16"]
Row = dict[str, float]  # ROW of an epoch


@dataclass(frozen=True)
class Data:
    """The cases of one training.

    train, val: case ids. y: case id -> class index, of these cases at least. identity: JSON value that names the
    features, so that a state is resumed on the same ones alone.
    """

    bags: Bags
    train: Sequence[str]
    val: Sequence[str]
    y: dict[str, int]
    identity: Any = None


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides the outcome besides the data; meanings and units in config/README.md."""

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
    seed: int

    @property
    def sampling(self) -> Sampling:
        """What a training step sees of a bag."""
        return Sampling(self.per_slice_cap, self.max_slices_per_stain, self.instance_dropout)


def precision(choice: Literal["auto"] | Precision, device: torch.device, model_settings: ModelSettings) -> Precision:
    """Return the precision of the products.

    "auto" is bf16 where the device computes in it and the model is wide enough to gain from it, else fp32.
    """
    if choice != "auto":
        return choice
    weights = model_settings.in_dim * model_settings.embed_dim
    return "bf16" if devices.fast_bf16(device) and weights >= WORTH_BF16 else "fp32"


def train(
    data: Data,
    model_settings: ModelSettings,
    settings: TrainSettings,
    *,
    state_path: Path | None = None,
    watch: Callable[[Row], None] = lambda row: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Train a HierarchicalAttention; return the best epoch (a dict with its number `epoch` and `weights`), the history.

    state_path: file of the resumable state, written each epoch; one of other settings, data or code is ignored.
    watch: called with each epoch's row of the history, those of a resumed training first.
    stop: asked after each step and epoch; if it is true, the state is saved and Stopped raised.
    The history is a DataFrame with a row an epoch: `ROW`, and `best`, true for the epoch that is returned. Every step
    draws from its own generator (seed, epoch, step), so that a resumed training equals an undisturbed one.
    Raises UserError if the validation loss is not a number from the first epoch on.
    """
    key = _key(data, model_settings, settings)
    run = _Run(data, model_settings, settings)
    logging.info("%s", _heading(run))
    try:
        resumed = bool(state_path) and run.resume(state_path, key)
    except Exception as error:  # what a state holds can be anything; half of it may be in use by now
        logging.warning("%s: not the state of a training (%s): training starts again", state_path, _reason(error))
        run, resumed = _Run(data, model_settings, settings), False
    if resumed:
        done = "finished after" if run.finished() else "resumed after"
        logging.info("%s epoch %d, step %d: taken from %s", done, run.epoch, run.at, state_path)
    for row in run.history:
        logging.info("%s", _line(row, run.best["epoch"], settings.epochs))
        watch(row)
    with tqdm(total=settings.epochs, initial=run.epoch, unit="epoch", disable=progress.hidden()) as bar:
        while not run.finished():
            row = run.next_epoch(stop)
            saved = bool(state_path) and run.save(state_path, key)
            if row is not None:
                logging.info("%s", _line(row, run.best["epoch"], settings.epochs))
                watch(row)
                bar.set_postfix(val_loss=f"{row['val_loss']:.4f}")
                bar.update()
            if row is None or (stop() and not run.finished()):
                remedy = "run again to go on" if saved else "nothing is saved, so the next run starts again"
                raise Stopped(f"stopped after epoch {run.epoch}, step {run.at}: {remedy}")
    if "weights" not in run.best:
        raise UserError("training: the validation loss was never a number: lower train.lr or set train.clip_norm")
    reason = (
        f"at train.epochs {settings.epochs}" if run.epoch == settings.epochs else f"{run.stale} epochs without gain"
    )
    logging.info("ended: %s; epoch %d is kept", reason, run.best["epoch"])
    history = pd.DataFrame(run.history)
    history["best"] = history["epoch"] == run.best["epoch"]
    return run.best, history


def _heading(run: "_Run") -> str:
    weights = ", ".join(f"{weight:.2f}" for weight in run.weights.tolist())
    return (
        f"{len(run.data.train)} training and {len(run.data.val)} validation cases; on {run.device.type} in "
        f"{run.settings.precision}; class weights {weights}"
    )


def _line(row: Row, best: int, epochs: int) -> str:
    auc = "not defined" if math.isnan(row["val_auc"]) else f"{row['val_auc']:.3f}"
    return (
        f"epoch {row['epoch']} of {epochs}: train loss {row['train_loss']:.4f}, val loss {row['val_loss']:.4f}, "
        f"val AUROC {auc}, lr {row['lr']:.2g}, {row['patches_per_second']:.0f} patches/s"
        + (", best so far" if best == row["epoch"] else "")
    )


def _key(data: Data, model_settings: ModelSettings, settings: TrainSettings) -> str:
    """Return the digest of all that decides the outcome."""
    content = [
        asdict(model_settings),
        asdict(settings),
        list(data.train),
        list(data.val),
        data.y,
        data.identity,
        torch.__version__,
        np.__version__,
        provenance.code_digest(__file__),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class _Run:
    """The state of one training: everything that a resumed one needs to go on as if never stopped."""

    # epochs done, steps done in the next, their loss and patches; then what decides when to stop
    PROGRESS = ("epoch", "at", "loss", "patches", "best", "history", "mark", "stale")

    def __init__(self, data: Data, model_settings: ModelSettings, settings: TrainSettings) -> None:
        self.data, self.settings, self.device = data, settings, data.bags.device
        torch.manual_seed(settings.seed)
        self.model = HierarchicalAttention(model_settings)
        if model_settings.standardise:
            self.model.standardise(*data.bags.statistics(data.train))
        self.model.to(self.device)
        self.optimizer = _optimizer(self.model, settings)
        self.scheduler = _scheduler(self.optimizer, settings)
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bf16")
        labels = self._labels(data.train).cpu().numpy()
        self.weights = losses.class_weights(settings.class_weights, labels, model_settings.classes).to(self.device)
        self.epoch, self.best, self.history = 0, {"value": math.inf, "epoch": 0}, []
        self.at, self.loss, self.patches = 0, torch.zeros((), dtype=torch.float64, device=self.device), 0
        # what an epoch has to beat by min_delta, and for how many epochs none has
        self.mark, self.stale = math.inf, 0

    def _loss(self, logits: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the mean cross-entropy over cases, each weighted by its class."""
        loss = nn.functional.cross_entropy(logits.float(), y, reduction="none", label_smoothing=smoothing)
        return (self.weights[y] * loss).mean()

    def _seed(self, seed: int) -> None:
        """Do what torch.manual_seed does, without the millisecond that it spends on every kind of device."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _labels(self, cases: Sequence[str]) -> Tensor:
        return torch.tensor([self.data.y[case] for case in cases], device=self.device)

    def finished(self) -> bool:
        """Return whether no epoch is to follow."""
        s = self.settings
        return self.epoch >= s.epochs or (self.epoch >= s.min_epochs and self.stale >= s.patience)

    def next_epoch(self, stop: Callable[[], bool]) -> Row | None:
        """Train the rest of an epoch and validate; return its row of the history, or None if stopped."""
        begin, before = time.perf_counter(), self.patches
        lr = self.optimizer.param_groups[0]["lr"]
        if not self._train_epoch(stop):
            return None
        loss = self.loss.item() / len(self.data.train)
        seconds = time.perf_counter() - begin
        speed = (self.patches - before) / seconds
        self.epoch, self.at, self.loss, self.patches = self.epoch + 1, 0, torch.zeros_like(self.loss), 0
        val_loss, val_auc, val_accuracy = self._validate()
        value = val_loss if self.settings.monitor == "loss" or math.isnan(val_auc) else -val_auc
        if value < self.best["value"]:
            weights = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
            self.best = {"value": value, "epoch": self.epoch, "weights": weights}
        if value < self.mark - self.settings.min_delta:
            self.mark, self.stale = value, 0
        else:
            self.stale += 1
        self.scheduler.step(*([value] if self.settings.scheduler == "plateau" else []))
        values = self.epoch, lr, loss, val_loss, val_auc, val_accuracy, speed, time.perf_counter() - begin
        row = dict(zip(ROW, values, strict=True))
        self.history.append(row)
        return row

    def _train_epoch(self, stop: Callable[[], bool]) -> bool:
        """Take the steps of an epoch that are left; return whether it came to the end."""
        s, epoch = self.settings, self.epoch + 1
        order = np.random.default_rng([s.seed, epoch]).permutation(len(self.data.train))
        batches = [order[begin : begin + s.batch_size] for begin in range(0, len(order), s.batch_size)]
        self.model.train()
        for batch in batches[self.at :]:
            self._step([self.data.train[i] for i in batch], np.random.default_rng([s.seed, epoch, self.at + 1]))
            self.at += 1
            if self.at < len(batches) and stop():
                return False
        return True

    def _step(self, cases: list[str], generator: np.random.Generator) -> None:
        """Take one step of the optimiser on a batch of cases."""
        s = self.settings
        self._seed(int(generator.integers(2**63)))
        batch = self.data.bags.batch(cases, s.sampling, generator)
        with self.autocast:
            output = self.model(batch)
        y = self._labels(cases)
        objective = self._loss(output.logits, y, s.label_smoothing)
        if s.instance_weight:
            logits = self.model.classifier[-1](output.h.float())
            logits = losses.top_logits(logits, batch.case_of_patch, batch.cases, s.instance_share)
            objective = objective + s.instance_weight * self._loss(logits, y)
        if s.entropy_weight:
            entropy = losses.batch_entropy(output.effective, batch.case_of_patch, batch.cases)
            objective = objective - s.entropy_weight * entropy.mean()
        self.optimizer.zero_grad()
        objective.backward()
        if s.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), s.clip_norm)
        self.optimizer.step()
        # Without smoothing, as in validation. Read once an epoch: at each step it would wait for the GPU.
        self.loss += self._loss(output.logits.detach(), y) * len(cases)
        self.patches += len(batch.rows)

    @torch.inference_mode()
    def _validate(self) -> tuple[float, float, float]:
        """Return loss, AUROC (NaN where it is not defined) and accuracy of the validation cases."""
        self.model.eval()
        with self.autocast:
            logits = torch.cat([self.model(self.data.bags.batch([case])).logits.float() for case in self.data.val])
        y = self._labels(self.data.val)
        loss = self._loss(logits, y).item()
        p, y = logits.softmax(1).cpu().numpy().astype(float), y.cpu().numpy()
        auc = metrics.auc(y, p)
        return loss, math.nan if auc is None else auc, float((p.argmax(1) == y).mean())

    def save(self, path: Path, key: str) -> bool:
        """Write the state, of a finished training only what its result needs; return whether it could be written."""
        content = {"key": key} | {name: getattr(self, name) for name in self.PROGRESS}
        if not self.finished():
            content |= {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
            }
        try:
            checkpoint.save_state(content, path)
        except OSError as error:
            logging.warning("%s: cannot be written (%s): training goes on, but cannot be resumed", path, error.strerror)
            return False
        return True

    def resume(self, path: Path, key: str) -> bool:
        """Take up the state at `path` if it is of this very training; return whether it was.

        Raises any Exception, with part of the state in use, where the content is not what `save` writes.
        """
        state = checkpoint.read_state(path)
        if not isinstance(state, dict) or state.get("key") != key:
            return False
        for name in self.PROGRESS:
            if not isinstance(state[name], type(getattr(self, name))):
                raise TypeError(f"{name} is a {type(state[name]).__name__}")
            setattr(self, name, state[name])
        self.loss = self.loss.reshape(()).to(self.device)
        if [row["epoch"] for row in self.history] != list(range(1, self.epoch + 1)):
            raise ValueError(f"no history of {self.epoch} epochs")
        if any(
            set(row) != set(ROW) or not all(map(math.isfinite, (row["lr"], row["seconds"]))) for row in self.history
        ):
            raise ValueError("history of another form")
        if not isinstance(self.best["value"], float) or not isinstance(self.best["epoch"], int):
            raise ValueError("best epoch of another form")
        if "weights" in self.best:
            _same_shapes(self.best["weights"], self.model.state_dict())
        if not self.finished():
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            for weights, kept in self.optimizer.state.items():
                _same_shapes(kept, dict.fromkeys(kept, weights), also=())
            if set(state["scheduler"]) != set(self.scheduler.state_dict()):
                raise ValueError("scheduler of another form")
            self.scheduler.load_state_dict(state["scheduler"])
        return True


def _same_shapes(tensors: dict[str, Tensor], wanted: dict[str, Tensor], also: tuple[int, ...] | None = None) -> None:
    """Raise ValueError if tensors have other names than those wanted, or neither their shapes nor the shape `also`."""
    if set(tensors) != set(wanted) or any(
        tensor.shape not in (wanted[name].shape, also) for name, tensor in tensors.items()
    ):
        raise ValueError("weights of another form")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _optimizer(model: nn.Module, s: TrainSettings) -> torch.optim.Optimizer:
    if s.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), s.lr, momentum=0.9, weight_decay=s.weight_decay, fused=True)
    return torch.optim.AdamW(model.parameters(), s.lr, weight_decay=s.weight_decay, fused=True)


def _scheduler(optimizer: torch.optim.Optimizer, s: TrainSettings) -> torch.optim.lr_scheduler.LRScheduler:
    schedule = torch.optim.lr_scheduler
    if s.scheduler == "plateau":
        return schedule.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)  # the fourth epoch halves it
    if s.scheduler == "cosine":
        return schedule.CosineAnnealingLR(optimizer, s.epochs)
    return schedule.ConstantLR(optimizer, factor=1.0)

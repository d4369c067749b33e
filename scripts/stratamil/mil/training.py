"""Training of one model on one split: best epoch kept, early stopping, resumed exactly after a kill at any step."""

import hashlib
import json
import logging
import math
import time
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from stratamil.core import devices, progress, provenance
from stratamil.core.errors import Stopped, UserError
from stratamil.mil import checkpoint
from stratamil.mil.bags import Sampling
from stratamil.mil.model import HierarchicalAttention
from stratamil.stats import metrics

# What history.csv tells of an epoch.
ROW = ("epoch", "lr", "train_loss", "val_loss", "val_auc", "val_accuracy", "patches_per_second", "seconds")
# Weights of a projector from which bf16 saves time: measured on CPUs with 1024 x 128 (none) and 4096 x 128 (a third).
WORTH_BF16 = 2**18


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides the outcome besides the data; meanings and units in config/README.md."""

    epochs: int
    lr: float
    weight_decay: float
    optimizer: str
    scheduler: str
    batch_size: int
    class_weights: str | list[float]
    monitor: str
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
    precision: str
    seed: int

    @property
    def sampling(self):
        """What a training step sees of a bag."""
        return Sampling(self.per_slice_cap, self.max_slices_per_stain, self.instance_dropout)


def precision(choice, device, model_settings):
    """Of the products, fp32 or bf16; auto is bf16 where the device computes in it and the model is wide enough."""
    if choice != "auto":
        return choice
    weights = model_settings.in_dim * model_settings.embed_dim
    return "bf16" if devices.fast_bf16(device) and weights >= WORTH_BF16 else "fp32"


def train(
    bags, train_cases, val_cases, y, model_settings, settings, state_path=None, identity=None,
    watch=lambda row: None, stop=lambda: False,
):  # fmt: skip
    """Train a HierarchicalAttention and return the best epoch's weights and the history.

    bags: Bags. train_cases, val_cases: case ids. y: case id -> class index.
    state_path: file for resumable state, written each epoch; a state of other settings, data or code is ignored.
    identity: JSON value that names the data, for that key.
    watch: called with each epoch's row of the history, those of a resumed training first.
    stop: asked after each step and epoch; if it is true, the state is saved and Stopped raised.
    Returns (dict with weights and epoch, DataFrame with one row an epoch). Raises UserError if training diverges
    from the first epoch. Every step draws from a generator of its own (seed, epoch, step), so a resumed training
    equals an undisturbed one.
    """
    key = _key(model_settings, settings, train_cases, val_cases, y, identity)
    run = _Run(bags, train_cases, val_cases, y, model_settings, settings)
    logging.info("%s", _heading(run))
    try:
        resumed = bool(state_path) and run.resume(state_path, key)
    except Exception as error:  # what a state holds can be anything; half of it may be in use by now
        logging.warning("%s: not the state of a training (%s): training starts again", state_path, _reason(error))
        run, resumed = _Run(bags, train_cases, val_cases, y, model_settings, settings), False
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
                remedy = "run again to go on" if saved else "nothing is saved, the next run begins anew"
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


def _heading(run):
    weights = ", ".join(f"{weight:.2f}" for weight in run.weights.tolist())
    return (
        f"{len(run.train_cases)} training and {len(run.val_cases)} validation cases; on {run.device.type} in "
        f"{run.settings.precision}; class weights {weights}"
    )


def _line(row, best, epochs):
    auc = "not defined" if math.isnan(row["val_auc"]) else f"{row['val_auc']:.3f}"
    return (
        f"epoch {row['epoch']} of {epochs}: train loss {row['train_loss']:.4f}, val loss {row['val_loss']:.4f}, "
        f"val AUROC {auc}, lr {row['lr']:.2g}, {row['patches_per_second']:.0f} patches/s"
        + (", best so far" if best == row["epoch"] else "")
    )


def _key(model_settings, settings, train_cases, val_cases, y, identity):
    content = [
        asdict(model_settings),
        asdict(settings),
        train_cases,
        val_cases,
        y,
        identity,
        torch.__version__,
        np.__version__,
        provenance.code_digest(__file__),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def class_weights(choice, labels, classes):
    """(K,) loss weights with mean 1 over the training cases.

    choice: "balanced" (inverse class frequency), "none", or one number a class. labels: (n,) class indices.
    Raises UserError where there is not one number a class.
    """
    counts = np.bincount(labels, minlength=classes)
    if choice == "none":
        weights = np.ones(classes)
    elif choice == "balanced":
        weights = len(labels) / (classes * np.maximum(counts, 1))
    elif len(choice) == classes:
        weights = np.array(choice, dtype=float)
    else:
        raise UserError(f"train.class_weights: {len(choice)} numbers for {classes} classes: give one a class")
    return torch.tensor(weights * len(labels) / (weights * counts).sum(), dtype=torch.float32)


def normalised_entropy(weights, case_of_patch, cases):
    """(C,) entropy of effective weights over log N: 1 for uniform attention, 0 for all on one patch."""
    terms = -weights * torch.log(weights.clamp_min(1e-12))
    entropy = weights.new_zeros(cases).index_add(0, case_of_patch, terms)
    n = torch.bincount(case_of_patch, minlength=cases).clamp_min(2)
    return entropy / torch.log(n.to(weights.dtype))


def top_logits(patch_logits, case_of_patch, cases, share):
    """(C, K) logits of each case from the patches that speak most for a class: what the instance loss is taken of.

    patch_logits: (P, K). For every class but the first, the mean of the highest `share` of a case's patches in
    logit over the first class, whose own is 0: a case is of a class if some of its patches are, and of the first if
    none is of another (the assumption of multiple-instance learning; Dietterich, Lathrop, Lozano-Perez 1997).
    """
    margin, rank = (patch_logits[:, 1:] - patch_logits[:, :1]).sort(dim=0, descending=True)
    case, order = case_of_patch[rank].sort(dim=0, stable=True)  # now by case, the highest first
    counts = torch.bincount(case_of_patch, minlength=cases)
    kept = torch.ceil((counts.double() * share).round(decimals=9)).long()
    place = torch.arange(len(margin), device=margin.device)[:, None] - (counts.cumsum(0) - counts)[case]
    margin = margin.gather(0, order) * (place < kept[case])
    columns = torch.arange(margin.shape[1], device=margin.device)
    total = margin.new_zeros(cases, margin.shape[1]).index_put((case, columns.expand_as(case)), margin, accumulate=True)
    return nn.functional.pad(total / kept[:, None], (1, 0))


class _Run:
    """The state of one training: everything that a resumed one needs to go on as if never stopped."""

    # epochs done, steps done in the next, their loss and patches; then what decides when to stop
    PROGRESS = ("epoch", "at", "loss", "patches", "best", "history", "mark", "stale")

    def __init__(self, bags, train_cases, val_cases, y, model_settings, settings):
        self.bags, self.train_cases, self.val_cases, self.settings = bags, train_cases, val_cases, settings
        self.y, self.device = y, bags.device
        torch.manual_seed(settings.seed)
        self.model = HierarchicalAttention(model_settings)
        if model_settings.standardise:
            self.model.standardise(*bags.statistics(train_cases))
        self.model.to(self.device)
        self.optimizer = _optimizer(self.model, settings)
        self.scheduler = _scheduler(self.optimizer, settings)
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bf16")
        labels = self._labels(train_cases).cpu().numpy()
        self.weights = class_weights(settings.class_weights, labels, model_settings.classes).to(self.device)
        self.epoch, self.best, self.history = 0, {"value": math.inf, "epoch": 0}, []
        self.at, self.loss, self.patches = 0, torch.zeros((), dtype=torch.float64, device=self.device), 0
        # what an epoch has to beat by min_delta, and for how many epochs none has
        self.mark, self.stale = math.inf, 0

    def _loss(self, logits, y, smoothing=0.0):
        """The mean cross-entropy over cases, each weighted by its class."""
        loss = nn.functional.cross_entropy(logits.float(), y, reduction="none", label_smoothing=smoothing)
        return (self.weights[y] * loss).mean()

    def _seed(self, seed):
        """What torch.manual_seed does, without the millisecond that it takes to be ready for every kind of device."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _labels(self, cases):
        return torch.tensor([self.y[case] for case in cases], device=self.device)

    def finished(self):
        s = self.settings
        return self.epoch >= s.epochs or (self.epoch >= s.min_epochs and self.stale >= s.patience)

    def next_epoch(self, stop):
        """The rest of an epoch of training and its validation; returns its row of the history, or None if stopped."""
        begin, before = time.perf_counter(), self.patches
        lr = self.optimizer.param_groups[0]["lr"]
        if not self._train_epoch(stop):
            return None
        loss = self.loss.item() / len(self.train_cases)
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

    def _train_epoch(self, stop):
        """The steps of an epoch that are left; returns whether it came to the end."""
        s, epoch = self.settings, self.epoch + 1
        order = np.random.default_rng([s.seed, epoch]).permutation(len(self.train_cases))
        batches = [order[begin : begin + s.batch_size] for begin in range(0, len(order), s.batch_size)]
        self.model.train()
        for batch in batches[self.at :]:
            self._step([self.train_cases[i] for i in batch], np.random.default_rng([s.seed, epoch, self.at + 1]))
            self.at += 1
            if self.at < len(batches) and stop():
                return False
        return True

    def _step(self, cases, generator):
        s = self.settings
        self._seed(int(generator.integers(2**63)))
        batch = self.bags.batch(cases, s.sampling, generator)
        with self.autocast:
            output = self.model(batch)
        y = self._labels(cases)
        objective = self._loss(output.logits, y, s.label_smoothing)
        if s.instance_weight:
            logits = self.model.classifier[-1](output.h.float())
            logits = top_logits(logits, batch.case_of_patch, batch.cases, s.instance_share)
            objective = objective + s.instance_weight * self._loss(logits, y)
        if s.entropy_weight:
            entropy = normalised_entropy(output.effective, batch.case_of_patch, batch.cases)
            objective = objective - s.entropy_weight * entropy.mean()
        self.optimizer.zero_grad()
        objective.backward()
        if s.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), s.clip_norm)
        self.optimizer.step()
        # As validation has it, without smoothing; read once an epoch, for a GPU would have to be waited for.
        self.loss += self._loss(output.logits.detach(), y) * len(cases)
        self.patches += len(batch.rows)

    @torch.inference_mode()
    def _validate(self):
        self.model.eval()
        with self.autocast:
            logits = torch.cat([self.model(self.bags.batch([case])).logits.float() for case in self.val_cases])
        y = self._labels(self.val_cases)
        loss = self._loss(logits, y).item()
        p, y = logits.softmax(1).cpu().numpy().astype(float), y.cpu().numpy()
        auc = metrics.auc(y, p)
        return loss, math.nan if auc is None else auc, float((p.argmax(1) == y).mean())

    def save(self, path, key):
        """Write the state, of a finished training only what its result needs; returns whether it could be written."""
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

    def resume(self, path, key):
        """Take up the state at `path` if it is of this very training; returns whether it was.

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


def _same_shapes(found, wanted, also=None):
    """Raise ValueError if a dict of tensors has other names or shapes than another, or the shape `also`."""
    if set(found) != set(wanted) or any(
        tensor.shape not in (wanted[name].shape, also) for name, tensor in found.items()
    ):
        raise ValueError("weights of another form")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _optimizer(model, s):
    if s.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), s.lr, momentum=0.9, weight_decay=s.weight_decay, fused=True)
    return torch.optim.AdamW(model.parameters(), s.lr, weight_decay=s.weight_decay, fused=True)


def _scheduler(optimizer, s):
    schedule = torch.optim.lr_scheduler
    if s.scheduler == "plateau":
        return schedule.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)  # the fourth epoch halves it
    if s.scheduler == "cosine":
        return schedule.CosineAnnealingLR(optimizer, s.epochs)
    return schedule.ConstantLR(optimizer, factor=1.0)

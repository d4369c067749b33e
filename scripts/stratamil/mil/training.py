"""Training of the models of one split: best epoch kept, early stopping, resumed exactly after a kill at any step."""

import hashlib
import json
import logging
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from stratamil.core import devices, progress, provenance
from stratamil.core.errors import Stopped, UserError, few
from stratamil.mil import checkpoint
from stratamil.mil.model import HierarchicalAttention, ModelSettings
from stratamil.mil.stack import Data, Outcome, Precision, Row, Stack, TrainSettings, check_outcome, recipes

# Weights of a projector from which bf16 saves time on CPUs with instructions for it: 1024 x 128 saved none, 4096 x 128
# a third with AMX as with AVX-512 alone. Figures: docs/background/performance.md.
WORTH_BF16 = 2**18
SAVING = 0.05  # share of the time that states are written in

Watch = Callable[[int, Row], None]  # of a seed and a row of its history
Told = tuple[int, Row, int]  # a seed, a row of its history, its best epoch so far


def precision(choice: str, device: torch.device, model_settings: ModelSettings) -> Precision:
    """Return what is meant by "auto", "fp32" or "bf16" for products.

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
    seeds: Sequence[int],
    *,
    state_path: Path | None = None,
    watch: Watch = lambda seed, row: None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[int, Outcome]:
    """Train a HierarchicalAttention of each seed, all at once; return them by seed.

    state_path: file of the resumable state; one of other settings, data or code is ignored. What a seed came to is kept
    in it: a seed that is added later trains alone, and one that is left out trains nothing again.
    watch: called with a seed and each row of its history, those of a resumed training first.
    stop: asked after each step and epoch; if it is true, the state is saved and Stopped raised.
    A resumed training equals an undisturbed one. Raises UserError if a validation loss is not a number from the first
    epoch on.
    """
    run = _Run(data, model_settings, settings, state_path)
    logging.info("%s", _heading(run, seeds))
    run.resume(seeds)
    for row in run.rows(seeds):
        _tell(row, settings, watch)
    while waiting := run.waiting(seeds):
        run.begin(waiting)
        _finish(run, watch, stop)
    outcomes = {seed: run.done[seed] for seed in seeds}
    if diverged := [seed for seed, outcome in outcomes.items() if "weights" not in outcome.best]:
        raise UserError(
            f"training, seed {few(diverged)}: the validation loss was never a number: lower train.lr or set "
            "train.clip_norm"
        )
    return outcomes


def _finish(run: "_Run", watch: Watch, stop: Callable[[], bool]) -> None:
    """Train the members of the stack until each has finished. Raises Stopped when asked to stop."""
    epochs, stack = run.settings.epochs, run.stack
    with tqdm(total=epochs, initial=stack.epoch, unit="epoch", disable=progress.hidden()) as bar:
        while run.stack:
            complete = stack.next_epoch(stop)
            if complete:
                for member in stack.members:
                    _tell((member.seed, member.history[-1], member.best["epoch"]), run.settings, watch)
                bar.set_postfix(val_loss=f"{statistics.median(m.history[-1]['val_loss'] for m in stack.members):.4f}")
                bar.update()
                run.release()
            stopped = not complete or (run.stack and stop())
            saved = run.save(at_once=stopped or not run.stack)
            if stopped:
                remedy = "run again to go on" if saved else "nothing is saved, so the next run starts again"
                raise Stopped(f"stopped after epoch {stack.epoch}, step {stack.at}: {remedy}")


class _Run:
    """A training and its state on disk.

    done: seed -> what it came to. stack: the members that train.
    """

    def __init__(
        self, data: Data, model_settings: ModelSettings, settings: TrainSettings, state_path: Path | None
    ) -> None:
        self.data, self.model_settings, self.settings, self.path = data, model_settings, settings, state_path
        self.key = _key(data, model_settings, settings)
        self.done: dict[int, Outcome] = {}
        self.stack: Stack | None = None
        self.saved, self.saving = -math.inf, 0.0  # when the last state was written, and the seconds that it took

    def waiting(self, seeds: Sequence[int]) -> list[int]:
        """Return the seeds that have not finished."""
        return [seed for seed in seeds if seed not in self.done]

    def begin(self, seeds: Sequence[int]) -> None:
        """Let these seeds train, unless some do."""
        self.stack = self.stack or Stack(self.data, recipes(self.model_settings, self.settings, seeds))

    def release(self) -> None:
        """Take the members that have finished out of the stack."""
        for member in self.stack.release():
            self.done[member.seed] = member.outcome()
            epochs, s = len(member.history), self.settings
            reason = f"at train.epochs {s.epochs}" if epochs == s.epochs else f"{member.stale} epochs without gain"
            logging.info("seed %d ended: %s; epoch %d is kept", member.seed, reason, member.best["epoch"])
        if not self.stack.members:
            self.stack = None

    def rows(self, seeds: Sequence[int]) -> Iterator[Told]:
        """Yield what was done before: seed, row of the history, and the best epoch of all."""
        outcomes = self.done | {member.seed: member.outcome() for member in (self.stack.members if self.stack else ())}
        for seed in seeds:
            if seed in outcomes:
                yield from ((seed, row, outcomes[seed].best["epoch"]) for row in outcomes[seed].history)

    def save(self, at_once: bool) -> bool:
        """Write the state, unless that took more than its share of the time; return whether it is on disk."""
        begin = time.monotonic()
        if self.path is None or not (at_once or begin - self.saved > self.saving / SAVING):
            return False
        done = {seed: vars(outcome) for seed, outcome in self.done.items()}
        content = {"key": self.key, "done": done, "stack": self.stack.state() if self.stack else None}
        try:
            checkpoint.save_state(content, self.path)
        except OSError as error:
            logging.warning(
                "%s: cannot be written (%s): training goes on, but cannot be resumed", self.path, error.strerror
            )
            return False
        self.saved = time.monotonic()
        self.saving = self.saved - begin
        return True

    def resume(self, seeds: Sequence[int]) -> None:
        """Take up the state on disk if it is of this training; of one that cannot be used, nothing."""
        state = checkpoint.read_state(self.path) if self.path else None
        if not isinstance(state, dict) or state.get("key") != self.key:
            return
        try:
            self._restore(state, seeds)
        except Exception as error:  # what a state holds can be anything; half of it may be in use by now
            logging.warning("%s: not the state of a training (%s): training starts again", self.path, _reason(error))
            self.done, self.stack = {}, None

    def _restore(self, state: dict[str, Any], seeds: Sequence[int]) -> None:
        """Take up a state. Raises any Exception where it is not what `save` writes."""
        model = HierarchicalAttention(self.model_settings)
        for seed, content in state["done"].items():
            outcome = Outcome(**content)
            check_outcome(outcome, len(outcome.history), model)
            self.done[seed] = outcome
            if seed in seeds:
                logging.info("seed %d finished after epoch %d: taken from %s", seed, len(outcome.history), self.path)
        if state["stack"] is None:
            return
        members = state["stack"]["members"]
        if not isinstance(members, dict) or not all(isinstance(seed, int) for seed in members):
            raise TypeError("members of another form")
        if not set(members) <= set(self.waiting(seeds)):
            return
        self.begin(list(members))
        self.stack.restore(state["stack"])
        logging.info("resumed after epoch %d, step %d: taken from %s", self.stack.epoch, self.stack.at, self.path)


def _heading(run: _Run, seeds: Sequence[int]) -> str:
    data, several = run.data, f", seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""
    return (
        f"{len(data.train)} training and {len(data.val)} validation cases{several}; on {data.bags.device.type} in "
        f"{run.settings.precision}"
    )


def _tell(told: Told, settings: TrainSettings, watch: Watch) -> None:
    """Write a row of the history into the log, and let `watch` know."""
    seed, row, best = told
    auc = "not defined" if math.isnan(row["val_auc"]) else f"{row['val_auc']:.3f}"
    logging.info(
        "seed %d, epoch %d of %d: train loss %.4f, val loss %.4f, val AUROC %s, lr %.2g, %.0f patches/s%s",
        *(seed, row["epoch"], settings.epochs, row["train_loss"], row["val_loss"], auc, row["lr"]),
        *(row["patches_per_second"], ", best so far" if best == row["epoch"] else ""),
    )
    watch(seed, row)


def _key(data: Data, model_settings: ModelSettings, settings: TrainSettings) -> str:
    """Return the digest of all that decides the outcome, but for the seed."""
    content = [
        asdict(model_settings),
        asdict(settings),
        list(data.train),
        list(data.val),
        data.y,
        data.name,
        data.identity,
        torch.__version__,
        np.__version__,
        provenance.code_digest(__file__),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

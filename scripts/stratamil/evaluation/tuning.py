"""Choosing settings of a split on its training and validation cases alone: inner folds, candidates, scores, the choice.

Candidates that can train side by side are members of one stack: see `mil.stack.Recipe`.
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from stratamil.cohort import generated_splits
from stratamil.cohort.splits import Split
from stratamil.core import files, progress, provenance
from stratamil.core.errors import Stopped, UserError
from stratamil.evaluation import predict
from stratamil.evaluation.tuning_space import Settings
from stratamil.mil import model, stack
from stratamil.mil.stack import Data, Member, Recipe
from stratamil.stats import metrics

TOGETHER = 24  # members of a stack: more gain little, and take memory
# Settings in which the members of a stack may differ.
SIDE_BY_SIDE = {f"model.{name}" for name in model.OWN} | {f"train.{name}" for name in stack.OWN}
LOWER = {"log_loss": True, "auc": False}  # whether less is better
RULE = (
    "the candidate of the best inner mean, unless the study's own settings are within one standard error of it: that "
    "of their difference over inner folds, each the mean of its seeds"
)

Metric = Literal["log_loss", "auc"]
Scores = NDArray[np.float64]  # (candidates, folds, seeds)


@dataclass(frozen=True)
class Plan:
    """What is tried on which cases.

    recipes: of each candidate, its seed of no account; the first is the study's own. folds: inner folds by name.
    seeds: of the trainings of each candidate in each fold.
    """

    recipes: Sequence[Recipe]
    folds: Mapping[str, Split]
    seeds: Sequence[int]
    metric: Metric


@dataclass(frozen=True)
class Tried:
    """What the candidates came to: scores (candidates, folds, seeds), and seconds and mean best epoch (candidates,).

    seconds: of training, shared equally by the members of a stack.
    """

    scores: Scores
    seconds: NDArray[np.float64]
    epochs: NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """The candidate of the best inner mean, the one to train with, and how much better the best is than the first.

    gain: of the inner means, above 0 where the best is better. error: its standard error; NaN where the first is best.
    """

    best: int
    chosen: int
    gain: float
    error: float


def inner_folds(
    split: Split,
    cases: pd.DataFrame,
    classes: Sequence[str],
    n: int,
    seed: int,
    name: str,
    *,
    by: str,
    balance: Sequence[str],
) -> dict[str, Split]:
    """Return the inner folds of a split: name -> Split of its training and validation cases; test cases have no part.

    cases: case_id, class, patient_id, and site if it matters. name: of the split. by, balance: what stays in one fold,
    and what each has its share of, as in the splits of the study. Each fold is once what is scored, the next one
    chooses the epoch, and the rest train. Raises UserError where the folds cannot hold all classes.
    """
    known = cases[cases["case_id"].isin({*split.train, *split.val})]
    how = {"n_splits": n, "n_repeats": 1, "validation": None, "seed": seed, "setting": "tune.inner"}
    try:
        folds = generated_splits.generate(known, classes, **how, by=by, balance=balance)
    except UserError as error:
        where = f"split {name}, training and validation cases"
        raise UserError(*(f"{where}: {line}" for line in error.problems)) from None
    return {f"{name}/{fold}": part for fold, part in folds.items()}


def search(data: Data, plan: Plan, state_path: Path | None, stop: Callable[[], bool] = lambda: False) -> Tried:
    """Train every candidate in every inner fold with every seed, and score it on the cases that it has not seen.

    data: of the split; `train` and `val` of the folds take the place of its own. state_path: JSON file that keeps what
    each stack came to; one of other settings, data or code is ignored. stop: asked after each step; if it is true,
    Stopped is raised, and the next run begins with the stack that was training.
    """
    jobs = [(name, members) for name in plan.folds for members in _stacks(plan)]
    key, done = _key(data, plan), {}
    if state_path:
        done = _read_state(state_path, key)
    for number, (name, members) in enumerate(progress.track(jobs, len(jobs), "stacks")):
        if str(number) in done:
            continue
        done[str(number)] = _stack(data, plan, name, members, stop)
        if state_path:
            files.write_json({"key": key, "done": done}, state_path)
    return _gathered(plan, jobs, done)


def choose(scores: Scores, metric: Metric) -> Choice:
    """Return the choice that `RULE` states. Of equal means the first counts."""
    by_fold = (1 if LOWER[metric] else -1) * scores.mean(2)  # less is better
    means = np.where(np.isfinite(by_fold).all(1), by_fold.mean(1), np.inf)
    best = int(means.argmin())
    if best == 0:
        return Choice(0, 0, 0.0, math.nan)
    differences = by_fold[0] - by_fold[best]
    gain, error = float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(len(differences)))
    within = math.isfinite(gain) and gain <= error
    return Choice(best, 0 if within else best, gain, error)


def table(candidates: Sequence[Settings], plan: Plan, tried: Tried, choice: Choice) -> pd.DataFrame:
    """Return candidates.csv: a row a candidate with its settings, inner scores by fold and seed, epochs and seconds."""
    rows = [{"candidate": number} | settings for number, settings in enumerate(candidates)]
    result = pd.DataFrame(rows).assign(inner_mean=tried.scores.mean((1, 2)))
    for fold in range(tried.scores.shape[1]):
        for place, seed in enumerate(plan.seeds):
            result[f"fold_{fold + 1}_seed_{seed}"] = tried.scores[:, fold, place]
    numbers = result["candidate"]
    result = result.assign(best=numbers == choice.best, chosen=numbers == choice.chosen)
    return result.assign(epochs=tried.epochs, seconds=tried.seconds.round(1))


def described(candidates: Sequence[Settings], plan: Plan, tried: Tried, choice: Choice, name: str) -> dict[str, Any]:
    """Return what chosen.yaml says of a split: the study's own settings, the best candidate, and the chosen one."""

    def one(number: int) -> dict[str, Any]:
        mean = float(tried.scores[number].mean())
        return {"candidate": number, "inner_mean": _known(mean), "settings": dict(candidates[number])}

    return {
        "split": name,
        "metric": plan.metric,
        "candidates": len(candidates),
        "inner_folds": len(plan.folds),
        "seeds": list(plan.seeds),
        "rule": RULE,
        "default": one(0),
        "best": one(choice.best) | {"gain": _known(choice.gain), "standard_error": _known(choice.error)},
        "chosen": one(choice.chosen),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _stacks(plan: Plan) -> list[list[tuple[int, int]]]:
    """Return the members of each stack: candidate, place of the seed."""
    groups: dict[str, list[tuple[int, int]]] = {}
    for number, recipe in enumerate(plan.recipes):
        members = [(number, place) for place in range(len(plan.seeds))]
        groups.setdefault(json.dumps(recipe.shared, sort_keys=True), []).extend(members)
    return [group[at : at + TOGETHER] for group in groups.values() for at in range(0, len(group), TOGETHER)]


def _stack(
    data: Data, plan: Plan, name: str, members: Sequence[tuple[int, int]], stop: Callable[[], bool]
) -> dict[str, Any]:
    """Train the members of a stack in a fold; return their scores, their best epochs, and the seconds of all."""
    fold, begin = plan.folds[name], time.perf_counter()
    recipes = [replace(plan.recipes[number], seed=plan.seeds[place]) for number, place in members]
    together = stack.Stack(replace(data, train=fold.train, val=fold.val, name=name), recipes)
    order = list(together.members)
    while not all(member.finished() for member in order):
        if stop() or not together.next_epoch(stop):  # an epoch may be a single step
            raise Stopped("stopped: run again to go on with the stack that was training")
        together.release()
    scores = _scores(data, order, recipes, fold.test, plan.metric)
    seconds = time.perf_counter() - begin
    logging.info("%s: %d models in %.1f s", name, len(members), seconds)
    return {"scores": scores, "epochs": [member.best["epoch"] for member in order], "seconds": seconds}


def _scores(
    data: Data, members: Sequence[Member], recipes: Sequence[Recipe], cases: Sequence[str], metric: Metric
) -> list[float | None]:
    """Return how the members predict some cases; None for one whose training diverged."""
    models = []
    for member, recipe in zip(members, recipes, strict=True):
        if "weights" in member.best:
            models.append(model.HierarchicalAttention(recipe.model))
            models[-1].load(member.best["weights"])
    y, scored = np.array([data.y[case] for case in cases]), iter(())
    if models:
        p = predict.probabilities(model.stack(models).to(data.bags.device), data.bags, cases)
        scored = iter([getattr(metrics, metric)(y, each) for each in p])
    return [next(scored) if "weights" in member.best else None for member in members]


def _gathered(plan: Plan, jobs: Sequence[tuple[str, Any]], done: Mapping[str, Mapping[str, Any]]) -> Tried:
    shape = len(plan.recipes), len(plan.folds), len(plan.seeds)
    scores, epochs, seconds = np.full(shape, np.nan), np.zeros(shape), np.zeros(len(plan.recipes))
    folds = {name: place for place, name in enumerate(plan.folds)}
    for number, (name, members) in enumerate(jobs):
        own = done[str(number)]
        for (candidate, seed), score, epoch in zip(members, own["scores"], own["epochs"], strict=True):
            at = candidate, folds[name], seed
            scores[at], epochs[at] = math.nan if score is None else score, epoch
            seconds[candidate] += own["seconds"] / len(members)
    return Tried(scores, seconds, epochs.mean((1, 2)))


def _key(data: Data, plan: Plan) -> str:
    """Return the digest of all that decides the scores."""
    recipes = [[asdict(recipe.model), asdict(recipe.train)] for recipe in plan.recipes]
    folds = {name: asdict(fold) for name, fold in plan.folds.items()}
    content = [recipes, folds, list(plan.seeds), plan.metric, data.y, data.identity, TOGETHER, torch.__version__]
    content += [np.__version__, provenance.code_digest(__file__)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _read_state(path: Path, key: str) -> dict[str, Any]:
    """Return what the stacks of a search came to; nothing of another search, or of a damaged file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content["done"]) if content["key"] == key else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}

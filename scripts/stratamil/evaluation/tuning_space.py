"""The settings that tuning chooses from, and the candidates that are drawn of them; needs neither torch nor data."""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stratamil.core import files, schema
from stratamil.core.errors import UserError

Settings = dict[str, Any]  # by their whole names: train.lr
Space = Mapping[str, Sequence[Any]]  # setting -> its values, or [low, high, scale]

SECTIONS = ("model", "train")
NOT_CHOSEN = ("train.precision", "train.tensorboard")  # they decide how fast, and what is shown
SCALES = ("linear", "log")
DIGITS = 3  # that a number drawn from a range keeps
SHARED = 4  # candidates that share what must be alike to train side by side
# Aggregation -> the settings of the model that it does not use.
ATTENTION = ("attention_dim", "gated", "zero_start", "coupled")
NOT_USED = {"hierarchical": ("sharpness",), "flat": ("coupled", "sharpness"), "mean": (*ATTENTION, "sharpness")}
NOT_USED |= {"mean_mlp": (*ATTENTION, "classifier_dropout", "sharpness"), "lse": (*ATTENTION, "classifier_dropout")}


def scale(values: Sequence[Any]) -> str | None:
    """Return the scale of a range `[low, high, scale]`; None of a list of values."""
    return values[2] if len(values) == 3 and values[2] in SCALES else None


def default(space: Space, sections: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Return the study's own values of the settings in a space. sections: model and train, with all settings."""
    return {name: sections[name.partition(".")[0]][name.partition(".")[2]] for name in space}


def candidates(
    space: Space, own: Settings, n: int, seed: int, aggregation: str, side_by_side: Collection[str]
) -> list[Settings]:
    """Return at most n candidates, each once: first the study's own settings, then those drawn from the space.

    own: of `default`. aggregation: the study's. side_by_side: settings in which models that train together may differ.
    A space of few values is taken whole, as a grid; of a larger one a Latin hypercube is drawn, which takes each value
    about equally often. A setting that a candidate's aggregation does not use keeps the study's own value, so that no
    two candidates are the same model.
    """
    drawn = _grid(space, own, n) or _hypercube(space, n, seed, side_by_side)
    result = [own]
    for each in drawn:
        unused = [f"model.{name}" for name in NOT_USED[each.get("model.aggregation", aggregation)]]
        settled = each | {name: own[name] for name in unused if name in own}
        result += [settled] if settled not in result else []
    return result[:n]


def _grid(space: Space, own: Settings, n: int) -> list[Settings]:
    """Return all combinations of a space without ranges; none where these and the study's own are more than n."""
    if any(map(scale, space.values())):
        return []
    size = math.prod(map(len, space.values()))
    inside = all(own[name] in values for name, values in space.items())
    if size > (n if inside else n - 1):
        return []
    return [dict(zip(space, values)) for values in itertools.product(*space.values())]


def _hypercube(space: Space, n: int, seed: int, side_by_side: Collection[str]) -> list[Settings]:
    """Return n - 1 draws; those of settings that must be alike to train side by side serve `SHARED` candidates each."""
    from scipy.stats import qmc  # takes a second to import

    sample = qmc.LatinHypercube(len(space), rng=seed).random(n - 1)
    alike = [place for place, name in enumerate(space) if name not in side_by_side]
    if 0 < len(alike) < len(space):
        few = qmc.LatinHypercube(len(alike), rng=seed).random(max(math.ceil((n - 1) / SHARED), min(n - 1, SHARED)))
        sample[:, alike] = few[np.arange(n - 1) % len(few)]
    whole = set(filter(_whole, space))
    return [
        {name: _value(values, float(u), name in whole) for (name, values), u in zip(space.items(), row)}
        for row in sample
    ]


def _whole(name: str) -> bool:
    """Return whether the numbers of a setting are whole."""
    section, _, key = name.partition(".")
    return "integer" in schema.section(section)[key].get("type", ())


def _value(values: Sequence[Any], u: float, whole: bool) -> Any:
    """Return the value of a setting at the share u, 0 <= u < 1, of what it may be. whole: whether numbers are."""
    if not (kind := scale(values)):
        return values[int(u * len(values))]
    low, high, _ = values
    drawn = low * (high / low) ** u if kind == "log" else low + (high - low) * u
    rounded = float(f"{drawn:.{DIGITS}g}")
    within = min(max(rounded, low), high)
    return round(within) if whole else within


def read(path: Path) -> dict[str, Any]:
    """Return what chosen.yaml says of a split. Raises UserError where it is not what rule tune_split writes."""
    with files.readable(path, "run rule tune_split"):
        text = path.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
        dict(content["chosen"]["settings"]), dict(content["default"]["settings"]), content["best"]["gain"]
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise UserError(f"{path}: not a choice of settings: delete it and run again") from None
    return content


def read_chosen(path: Path) -> dict[str, Any]:
    """Return the chosen settings of a split by their short names: lr, dropout."""
    return {name.partition(".")[2]: value for name, value in read(path)["chosen"]["settings"].items()}

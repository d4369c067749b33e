"""What a dry run can say of settings to choose from: names, ranges, and classes too small for inner folds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import pandas as pd

from stratamil.core.wording import n_of, of_class
from stratamil.evaluation import tuning_space
from stratamil.workflow import schema_errors


def problems(tune: Mapping[str, Any], bundle: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each setting of a space that is none, each value that it may not have, and each bad range.

    tune, bundle: sections of the config with all settings. schema: that of the configuration.
    """
    known = [
        f"{section}.{name}"
        for section in tuning_space.SECTIONS
        for name in schema["properties"][section]["properties"]
        if f"{section}.{name}" not in tuning_space.NOT_CHOSEN
    ]
    for name, values in tune["space"].items():
        if name in known:
            yield from _values(name, values, schema)
        else:
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else "name a setting of model or train, such as train.lr"
            yield f"tune.space: {name}: no setting to choose: {hint}"
    if tune["enabled"] and bundle["refit"]:
        yield "bundle.refit: true with tune.enabled, which chooses other settings in each split: set one to false"


def _values(name: str, values: Sequence[Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the values or the range of a setting."""
    section, _, key = name.partition(".")
    kind = tuning_space.scale(values)
    if not kind and any(word in values for word in tuning_space.SCALES if isinstance(word, str)):
        yield f"tune.space: {name}: a range is [low, high, log] or [low, high, linear]"
        return
    if kind and not all(type(value) in (int, float) and math.isfinite(value) for value in values[:2]):
        yield f"tune.space: {name}: {values[0]!r} to {values[1]!r} is no range of numbers: list the values"
        return
    wrong = [
        f"tune.space: {line}"
        for value in (values[:2] if kind else values)
        for line in schema_errors.lines({section: {key: value}}, schema)
    ]
    if kind and not wrong and values[0] >= values[1]:
        wrong.append(f"tune.space: {name}: {values[0]} to {values[1]} is no range: write the smaller number first")
    if kind == "log" and not wrong and values[0] <= 0:
        wrong.append(f"tune.space: {name}: a log range begins above 0, and this one at {values[0]}")
    yield from dict.fromkeys(wrong)


def too_small(labels: pd.DataFrame, inner: int, n_splits: int | None) -> Iterator[str]:
    """Yield a line for each class that cannot be in every inner fold of every split.

    labels: class (empty where a case is left out) and patient_id. n_splits: of generated splits, whose largest test
    set has 1 / n_splits of a class's patients or more; None where existing files name the cases.
    """
    used = labels[labels["class"] != ""]
    for name, patients in used.groupby("class")["patient_id"].nunique().items():
        left = patients - (math.ceil(patients / n_splits) if n_splits else 1)
        if left < inner:
            yield (
                f"tune.inner: {inner} inner folds, but {of_class(name)} has {n_of(patients, 'patient')}, and some "
                f"split leaves at most {left} of them to train and validate: lower tune.inner or add cases"
            )

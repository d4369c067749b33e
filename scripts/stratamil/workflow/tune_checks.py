"""What a dry run can say of settings to choose from: names, ranges, and classes too small for inner folds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import pandas as pd

from stratamil.core.schema import section as settings_of
from stratamil.core.wording import listed, n_of, of_class
from stratamil.evaluation import tuning_space
from stratamil.workflow import schema_errors

SECTIONS = ("tune", "bundle", *tuning_space.SECTIONS)  # of the config that the checks look at


def problems(sections: Mapping[str, Mapping[str, Any]], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each setting of a space that is none, each value that it may not have, and each bad range.

    sections: tune, bundle, model and train of the config, with all settings. schema: that of the configuration.
    """
    tune, wrong = sections["tune"], False
    known = [
        f"{section}.{name}"
        for section in tuning_space.SECTIONS
        for name in schema["properties"][section]["properties"]
        if f"{section}.{name}" not in tuning_space.NOT_CHOSEN
    ]
    for name, values in tune["space"].items():
        lines = list(_values(name, values, schema)) if name in known else [_unknown(name, known)]
        yield from lines
        wrong = wrong or bool(lines)
    if not wrong:
        yield from _without_choice(tune["space"], sections)
    if tune["enabled"] and sections["bundle"]["refit"]:
        yield "bundle.refit: true with tune.enabled, which chooses other settings in each split: set one to false"


def _unknown(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}?" if close else "name a setting of model or train, such as train.lr"
    return f"tune.space: {name}: no setting to choose: {hint}"


def _without_choice(space: Mapping[str, Sequence[Any]], sections: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each setting of a sound space that no candidate uses, and where there is no other candidate."""
    own = tuning_space.default(space, sections)
    ways = {sections["model"]["aggregation"], *space.get("model.aggregation", [])}
    idle = set.intersection(*({f"model.{name}" for name in tuning_space.NOT_USED[way]} for way in ways)) & set(space)
    for name in sorted(idle):
        using = [way for way, unused in tuning_space.NOT_USED.items() if name.partition(".")[2] not in unused]
        yield (
            f"tune.space: {name}: no candidate uses it, which {listed(using, 'or')} would: take it out, or "
            "add that to model.aggregation"
        )
    if not idle and all(value == own[name] for name, values in space.items() for value in values):
        yield "tune.space: no value but the study's own settings: add others to choose from"


def _values(name: str, values: Sequence[Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the values or the range of a setting."""
    section, _, key = name.partition(".")
    kind = tuning_space.scale(values)
    if not kind and any(word in values for word in tuning_space.SCALES):
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


def too_small(labels: pd.DataFrame, inner: int, n_splits: int | None, by: str) -> Iterator[str]:
    """Yield a line for each class that cannot be in every inner fold of every split.

    labels: class (empty where a case is left out), patient_id, and site if it matters. n_splits: of generated splits,
    whose largest test set has 1 / n_splits of a class's patients or more; None where existing files name the cases.
    by: what stays in one set, patient or site; sites are counted in place of patients then.
    """
    column, has, remedy = {
        "patient": ("patient_id", "has", "add cases"),
        "site": ("site", "is in", "set splits.by: patient"),
    }[by]
    used, least = labels[labels["class"] != ""], settings_of("tune")["inner"]["minimum"]
    for name, groups in used.groupby("class")[column].nunique().items():
        left = groups - (math.ceil(groups / n_splits) if n_splits else 1)
        if left < inner:
            lower = f"set it to {left}, or " if left >= least else ""
            yield (
                f"tune.inner: {inner} inner folds, but {of_class(name)} {has} {n_of(groups, by)}, and some split "
                f"leaves at most {left} of them to train and validate: {lower}{remedy}"
            )

"""What a dry run says of settings to choose from."""

import pandas as pd
import pytest

from stratamil.core import schema
from stratamil.workflow import config_checks, config_values, tune_checks

SCHEMA = schema.read()


def said(space, **more):
    return config_checks.problems({"tune": {"space": space} | more}, SCHEMA)


@pytest.mark.parametrize(
    "space, line",
    [
        ({"train.lrr": [1]}, "tune.space: train.lrr: no setting to choose: did you mean train.lr?"),
        ({"report.title": ["a"]}, "tune.space: report.title: no setting to choose: name a setting of model or train"),
        ({"train.precision": ["fp32"]}, "tune.space: train.precision: no setting to choose"),
        ({"train.lr": [0, 0.1]}, "tune.space: train.lr: 0 must be above 0"),
        ({"model.dropout": [0.2, 1.0, "linear"]}, "tune.space: model.dropout: 1.0 must be below 1"),
        (
            {"model.aggregation": ["max"]},
            "tune.space: model.aggregation: 'max' must be one of hierarchical, flat, mean",
        ),
        ({"train.epochs": [5, 10.5]}, "tune.space: train.epochs: 10.5 must be a whole number"),
        ({"train.lr": [0.1, 0.01, "log"]}, "train.lr: 0.1 to 0.01 is no range: write the smaller number first"),
        ({"train.min_delta": [0, 0.1, "log"]}, "train.min_delta: a log range begins above 0, and this one at 0"),
        ({"model.gated": [False, True, "log"]}, "model.gated: False to True is no range of numbers: list the values"),
        ({"train.lr": [0.1, "log"]}, "tune.space: train.lr: a range is [low, high, log] or [low, high, linear]"),
        ({"train.lr": []}, "tune.space.train.lr"),
        ({"train.lr": 0.1}, "tune.space.train.lr: 0.1 must be a list: write [0.1]"),
        ({}, "tune.space"),
        ({"train.class_weights": [[1, 2, 3], "none"]}, "tune.space: train.class_weights: 3 numbers for 2 classes"),
        ({"model.sharpness": [1, 2]}, "tune.space: model.sharpness: no candidate uses it, which lse would: take it"),
        ({"model.dropout": [0.5, 0.5]}, "tune.space: no value but the study's own settings: add others to choose"),
    ],
)
def test_a_fault_of_the_space_is_one_line(space, line):
    (found,) = said(space)
    assert found.startswith(line) or line in found


def test_sound_spaces_have_no_fault():
    assert not config_checks.problems({}, SCHEMA)
    assert not said({"train.class_weights": ["balanced", "none"], "train.clip_norm": [None, 1], "model.gated": [True]})
    assert not said({"train.epochs": [5, 50, "log"], "train.instance_weight": [0, 1, "linear"]}, enabled=True)
    assert not said({"model.sharpness": [1, 2], "model.aggregation": ["lse"]})
    own = {"model": {"aggregation": "mean"}}
    assert not config_checks.problems(own, SCHEMA)
    (line,) = config_checks.problems(own | {"tune": {"space": {"model.gated": [True], "train.lr": [1]}}}, SCHEMA)
    assert line.startswith("tune.space: model.gated: no candidate uses it, which hierarchical or flat would")


def test_one_model_of_all_cases_has_no_settings_of_a_split():
    (found,) = config_checks.problems({"tune": {"enabled": True}, "bundle": {"refit": True}}, SCHEMA)
    assert found.startswith("bundle.refit: true with tune.enabled")


def test_a_class_too_small_for_inner_folds_is_named():
    labels = pd.DataFrame({"class": ["a"] * 10 + ["b"] * 5 + [""], "patient_id": [*map(str, range(15)), "x"]})
    assert not list(tune_checks.too_small(labels, 4, 5, "patient"))
    (line,) = tune_checks.too_small(labels, 5, 5, "patient")
    assert line.startswith("tune.inner: 5 inner folds, but class b has 5 patients")
    assert line.endswith("leaves at most 4 of them to train and validate: set it to 4, or add cases")
    assert len(list(tune_checks.too_small(labels, 10, None, "patient"))) == 2
    sites = labels.assign(site=[*"12345" * 3, "6"])
    assert not list(tune_checks.too_small(sites, 4, 5, "site"))
    lines = list(tune_checks.too_small(sites, 4, 3, "site"))
    assert len(lines) == 2 and "class a is in 5 sites" in lines[0]
    assert lines[0].endswith("leaves at most 3 of them to train and validate: set it to 3, or set splits.by: patient")
    assert next(tune_checks.too_small(sites, 3, 2, "site")).endswith("validate: set splits.by: patient")


def test_a_study_s_own_space_replaces_the_default_one():
    config = {"tune": {"space": {"train.lr": [1, 2], "model.gated": [True]}}}
    config_values.take_space(config, {"tune": {"space": {"train.lr": [1, 2]}}})
    assert config["tune"]["space"] == {"train.lr": [1, 2]}
    for odd in ({}, {"tune": 5}, {"tune": {"space": [1]}}):
        config_values.take_space(config, odd)
    assert config["tune"]["space"] == {"train.lr": [1, 2]}

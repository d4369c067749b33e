"""Settings from the schema to the command line and back."""

import argparse
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cli
from stratamil.core import schema

TEXT = st.text("abcäα -'$\"=,", min_size=1, max_size=8)


def parsed(section, *words):
    parser = argparse.ArgumentParser()
    cli.add_settings(parser, section)
    return vars(parser.parse_args(words))


@pytest.mark.parametrize("section", ["model", "train", "faithfulness", "attention", "report", "splits"])
def test_a_script_without_flags_has_the_schema_s_defaults(section):
    assert parsed(section) == schema.defaults(section)


VALUES = {
    "epochs": st.integers(1, 99), "lr": st.floats(1e-9, 1), "optimizer": st.sampled_from(["adamw", "sgd"]),
    "scheduler": st.sampled_from(["plateau", "cosine", "none"]), "per_slice_cap": st.none() | st.integers(1, 999),
    "class_weights": st.sampled_from(["balanced", "none"]) | st.lists(st.floats(0.1, 9), min_size=2, max_size=3),
    "clip_norm": st.none() | st.floats(0.1, 9), "tensorboard": st.booleans(), "instance_dropout": st.floats(0, 0.9),
}  # fmt: skip


@pytest.mark.slow
@given(st.fixed_dictionaries(VALUES))
def test_a_script_gets_from_its_flags_what_the_config_says(values):
    config = schema.defaults("train") | values
    assert parsed("train", *shlex.split(schema.flags("train", config))) == config


@given(TEXT.map(str.strip).filter(lambda text: text not in ("", "--")))
def test_text_arrives_as_it_is(title):
    config = schema.defaults("report") | {"title": title}
    assert parsed("report", *shlex.split(schema.flags("report", config)))["title"] == title


def test_a_null_differs_from_a_flag_that_is_left_out():
    config = schema.defaults("train") | {"per_slice_cap": None}
    assert schema.flags("train", config, "per_slice_cap", "clip_norm") == "--per-slice-cap=none"
    assert schema.flags("train", config, "per_slice_cap", per_slice_cap=None) == ""


@pytest.mark.parametrize(
    "words, said",
    [
        (["--epochs", "0"], "'0' is not allowed (minimum 1)"),
        (["--dropout", "1"], "'1' is not allowed (exclusiveMaximum 1)"),
        (["--optimizer", "adam"], "'adam' is not allowed: choose from adamw, sgd"),
        (["--lr", "fast"], "'fast' is not allowed"),
        (["--epochs", "none"], "'none' is not allowed"),
    ],
)
def test_what_the_schema_does_not_allow(capsys, words, said):
    with pytest.raises(SystemExit):
        parsed("model" if "dropout" in words[0] else "train", *words)
    assert said in capsys.readouterr().err

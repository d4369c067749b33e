"""Settings from the schema to the command line and back."""

import argparse
import ast
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repository import REPOSITORY

import cli
from stratamil.core import schema

TEXT = st.text("abcäα -'$\"=,", min_size=1, max_size=8)


def parsed(section, *words):
    parser = argparse.ArgumentParser()
    cli.add_settings(parser, section)
    return vars(parser.parse_args(words))


WHOLE = [
    "cohort",
    "cohort.quality",
    "names",
    "features",
    "model",
    "train",
    "faithfulness",
    "attention",
    "browser",
    "report",
    "splits",
]


@pytest.mark.parametrize("section", WHOLE)
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


@given(st.dictionaries(TEXT.map(lambda text: text.replace("=", "")), st.lists(TEXT), min_size=2))
def test_a_named_list_arrives_as_it_is(classes):
    config = schema.defaults("cohort") | {"classes": [{f"c{name}": codes} for name, codes in classes.items()]}
    assert parsed("cohort", *shlex.split(schema.flags("cohort", config))) == config
    assert schema.merged(config["classes"]) == {f"c{name}": codes for name, codes in classes.items()}


def test_an_empty_list_and_the_word_none_are_not_the_default():
    config = schema.defaults("cohort") | {"excluded_codes": [], "missing_words": [], "patient_column": "none"}
    assert parsed("cohort", *shlex.split(schema.flags("cohort", config))) == config


def test_a_setting_without_a_default_must_be_given(capsys):
    with pytest.raises(SystemExit):
        parsed("demo")
    assert "the following arguments are required: --seed, --cases, --patch-px" in capsys.readouterr().err


@given(TEXT.map(str.strip).filter(lambda text: text not in ("", "--")))
def test_text_arrives_as_it_is(title):
    config = schema.defaults("report") | {"title": title}
    assert parsed("report", *shlex.split(schema.flags("report", config)))["title"] == title


# What an encoder of the registry is by itself; no setting says it.
OWN = {("Entry", key) for key in ("pooling", "precision", "final_relu", "layer", "source")}
# What a study has of these settings, which may be nothing.
OWN |= {("Study", key) for key in ("columns", "clinical", "retrained")} | {("Source", "columns"), ("Row", "runs")}
OWN |= {("Bundle", "weights"), ("Features", "blank")}  # of its members; which patches are so
OWN |= {("ModelSettings", "sharpness")}  # of a checkpoint from before there was such a setting
# The same of functions: `auto` leaves the choice to the registry, as None does for other settings; a part of a path.
OWN |= {("_vit", "pooling"), ("load", "precision"), ("spelt", "folder")}
SCRIPTS = sorted((REPOSITORY / "scripts").rglob("*.py"))


SETTINGS = {
    key
    for name, section in schema.read()["properties"].items()
    if "properties" in section and name != "predict"  # whose files are inputs of programs
    for part in (name, *schema.within(name))
    for key in schema.section(part)
}


def test_no_script_has_a_default_of_its_own_for_a_setting():
    for path in (REPOSITORY / "scripts").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                name = ast.unparse(node.args[0]).strip("'").removeprefix("--").replace("-", "_")
                assert name not in SETTINGS or given.get("default", "[]") == "[]", (path.name, name)


def test_no_class_has_a_default_of_its_own_for_a_setting():
    own = {
        (node.name, field.target.id)
        for path in SCRIPTS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and field.value is not None
    }
    assert {field for field in own if field[1] in SETTINGS} <= OWN


def test_no_function_has_a_default_of_its_own_for_a_setting():
    """None means nothing chosen, and COLORS of report/style.py are those of figures without a study."""
    own = {
        (node.name, name.arg)
        for path in SCRIPTS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        for name, default in (
            *zip(reversed([*node.args.posonlyargs, *node.args.args]), reversed(node.args.defaults)),
            *zip(node.args.kwonlyargs, node.args.kw_defaults),
        )
        if default is not None and not ast.unparse(default).endswith(("None", "COLORS"))
    }
    assert {argument for argument in own if argument[1] in SETTINGS} <= OWN


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

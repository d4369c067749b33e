"""The user's YAML: nothing is lost, and names, ids and codes are the text that stands there."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from repository import REPOSITORY

from stratamil.core.errors import UserError
from stratamil.workflow import config_checks, config_files

SCHEMA = yaml.safe_load((REPOSITORY / "schemas/config.schema.yaml").read_text())

# What YAML takes for something else than the text.
WORDS = "010 0 1 34 1_2 12_3 1e3 0x10 0b1 1:20 2021-01-05 yes no on off y n true null ~ .5 .inf .nan 1.0 +1 0o7 NaN"


def read(tmp_path, text, name="my.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return config_files.read(path, SCHEMA)


@pytest.mark.parametrize("word", WORDS.split())
def test_names_ids_and_codes_are_the_text_that_stands_there(tmp_path, word):
    text = (
        f"attention: {{cases: [{word}]}}\ncohort:\n  classes:\n    - {word}: [{word}]\n    - b: [x]\n"
        f"  excluded_codes:\n    - {word}\nnames: {{stains: [{{{word}: [{word}]}}]}}\n"
    )
    assert read(tmp_path, text) == {
        "attention": {"cases": [word]},
        "cohort": {"classes": [{word: [word]}, {"b": ["x"]}], "excluded_codes": [word]},
        "names": {"stains": [{word: [word]}]},
    }


@given(st.text(st.characters(categories=("L", "N"), include_characters="_.:+-"), min_size=1))
def test_any_word_is_itself(tmp_path_factory, word):
    try:
        plain = isinstance(yaml.compose(f"[{word}]").value[0], yaml.ScalarNode)
    except yaml.YAMLError:
        plain = False
    if plain and yaml.compose(f"[{word}]").value[0].value == word:
        folder = tmp_path_factory.getbasetemp()
        assert read(folder, f"attention: {{cases: [{word}]}}")["attention"]["cases"] == [word]


def test_values_have_the_types_of_the_schema(tmp_path):
    text = "labels: 2021\nreport: {title: yes}\ncohort: {patient_column: null, class_column: 1}\ntrain: {lr: 1.e-3}\n"
    content = read(tmp_path, text + "model: {gated: yes}\nseeds: [1, 010]\nembed: {batch_size: ~}\n")
    assert content["labels"] == "2021"
    assert content["report"]["title"] == "yes"
    assert content["cohort"] == {"patient_column": None, "class_column": "1"}
    assert content["train"]["lr"] == 0.001
    assert read(tmp_path, "train: {lr: 3e-4, weight_decay: 1e-05}")["train"] == {"lr": 3e-4, "weight_decay": 1e-5}
    assert read(tmp_path, "train: {lr: '3e-4'}\nlabels: 1e3") == {"train": {"lr": "3e-4"}, "labels": "1e3"}
    assert content["model"]["gated"] is True
    assert content["seeds"] == [1, "010"]  # nobody knows whether 8 or 10 is meant
    assert content["embed"]["batch_size"] is None
    problems = config_checks.problems({"seeds": [1, "010"]}, SCHEMA)
    assert problems == ["seeds.1: '010' is text to YAML: write 10"]


def test_every_shipped_file_is_read_as_before():
    for path in sorted((REPOSITORY / "config").glob("*.yaml")):
        assert config_files.read(path, SCHEMA) == yaml.safe_load(path.read_text()), path


def test_a_key_that_is_written_twice_is_named_with_its_lines(tmp_path):
    text = "train: {lr: 1}\ncohort:\n  patient_column: P\n  classes:\n    - a: [1]\n      a: [2]\n\n"
    text += "'train':\n  epochs: 2\n  epochs: 3\n"
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    assert [line.removeprefix(f"{tmp_path}/") for line in error.value.problems] == [
        "my.yaml: lines 1 and 8: 'train' is written more than once: join them",
        "my.yaml: lines 5 and 6: 'cohort.classes.0.a' is written more than once: join them",
        "my.yaml: lines 9 and 10: 'train.epochs' is written more than once: join them",
    ]


def test_json_is_read_and_its_double_keys_refused(tmp_path):
    content = {"train": {"lr": 0.1, "class_weights": [1.5, 2]}, "labels": "a\tb\u00e4.csv"}
    assert read(tmp_path, json.dumps(content, indent="\t"), "my.json") == content
    with pytest.raises(UserError, match="lines 1 and 1: 'a' is written more than once"):
        read(tmp_path, '{"a": 1, "a": 2}', "my.json")


def test_anchors_and_merge_keys_work(tmp_path):
    text = "embed:\n  by_stain:\n    melan: &own {encoder: resnet18, weights: none}\n"
    text += "    sox10: {<<: *own, weights: default}\n"
    own = read(tmp_path, text)["embed"]["by_stain"]
    assert own["sox10"] == {"encoder": "resnet18", "weights": "default"}
    assert own["melan"] == {"encoder": "resnet18", "weights": "none"}


@pytest.mark.parametrize(
    "text, words",
    [
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" * 1 + "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi")
        ) + "report: {title: *i}", "values and .* characters with its aliases"),
        ("a: &a {x: 1}\n" + "".join(
            f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 10)}]}}\n" for a, b in zip("abcdefgh", "bcdefghi")
        ), "with its aliases"),
        (f"a: &a {'x' * 10000}\nb: [{', '.join(['*a'] * 1000)}]", "10,010,0.. characters"),
        ("a: &a [*a]", "line 1: an alias within what it stands for"),
        ("train: {lr: 1", "not YAML"),
        ("? [a, b]\n: c", "a key must be a word"),
        ('seeds: [1]\nreport: {title: "\\ud83e"}', "not YAML: line 2: half a character"),
        ("- a", "keys and values are wanted"),
        ("", "keys and values are wanted"),
    ],
    ids=["lists", "merges", "text", "circle", "open", "key", "half", "list", "empty"],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line(tmp_path, text, words):
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path, text)
    assert len(error.value.problems) == 1
    assert len(str(error.value)) < 400


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "my.yaml").write_bytes(b"labels: \xff\n")
    with pytest.raises(UserError, match="not in UTF-8"):
        config_files.read(tmp_path / "my.yaml", SCHEMA)
    with pytest.raises(UserError, match="cannot be read"):
        config_files.read(tmp_path, SCHEMA)


def test_a_number_of_thousands_of_digits_is_text(tmp_path):
    assert read(tmp_path, f"seeds: [{'9' * 5000}]\n") == {"seeds": ["9" * 5000]}

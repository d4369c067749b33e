"""What a dry run can know of a configuration, it says."""

from functools import reduce

import pytest
import yaml
from conftest import REPOSITORY

from stratamil.workflow import config_checks

SCHEMA = yaml.safe_load((REPOSITORY / "schemas/config.schema.yaml").read_text())
THREE = {"classes": [{"a": ["1"]}, {"b": ["2"]}, {"c": ["3"]}], "excluded_codes": []}


@pytest.mark.slow
@pytest.mark.parametrize(
    "config, said",
    [
        ({"train": {"class_weights": [1, 2, 3]}}, "train.class_weights: 3 numbers for 2 classes: give one a class, in"),
        ({"cohort": THREE, "train": {"class_weights": [1, 2]}}, "in the order a, b, c"),
        (
            {"cohort": THREE, "evaluate": {"threshold": 0.9}},
            "evaluate.threshold: 0.9 is for two classes, and there are 3",
        ),
        ({"cohort": THREE, "report": {"colors": ["#000000", "#111111"]}}, "report.colors: 2 for 3 classes"),
        (
            {"report": {"colors": ["#00AAbb", "#00aaBB", "#111111"]}},
            "report.colors: two of the 2 classes have the same",
        ),
        ({"cohort": {"classes": [{"a": []}, {"b": ["1"]}]}}, "cohort.classes: 'a' has no code"),
        (
            {"names": {"stains": [{"x": ["\u00e9"]}, {"y": ["e\u0301"]}]}},
            "names.stains: 'x' and 'y' share the spelling",
        ),
        ({"names": {"stains": [{"a.": []}, {"b": ["A "]}]}}, "names.stains: 'a.' and 'b' share the spelling 'a'"),
        ({"names": {"stains": [{"a": [" ."]}]}}, "names.stains: 'a' has an empty spelling"),
        ({"demo": {}}, "demo: {} lacks seed, cases, patch_px"),
        ({"train": {"lr": "1e-5"}}, "train.lr: '1e-5' is text to YAML: write 1e-05"),
        (
            {"cohort": {"class_column": "X", "patient_column": "X"}},
            "cohort.class_column: 'X' is cohort.patient_column, too",
        ),
        ({"embed": {"encoder": "resnet999"}}, "embed.encoder: no encoder 'resnet999': set resnet50"),
        ({"embed": {"encoder": "resnet34", "weights": "V9"}}, "embed.weights: resnet34 has no weights 'V9'"),
        ({"embed": {"encoder": "vit_b_16"}}, "embed.encoder: vit_b_16 has no last feature map"),
        ({"embed": {"pooling": "cls"}}, "embed.pooling: cls is for tokens, and densenet121 has a map"),
        (
            {"embed": {"by_stain": {"melan": {"encoder": "uni", "pooling": "2x2"}}}},
            "by_stain.melan.pooling: 2x2 is for a",
        ),
        ({"embed": {"encoder": "hf-hub:a/b", "weights": "none"}}, "embed.weights: hf-hub:a/b needs its weights"),
        ({"train": {"lr": float("inf")}}, "train.lr: inf must be a number"),
        ({"report": {"bootstrap_samples": "many" * 1000}}, "... must be a whole number"),
    ],
)
def test_what_cannot_go_together(config, said):
    (line,) = config_checks.problems(config, SCHEMA)
    assert said in line
    assert len(line) < 400


def former(part, *where):
    """(names of the sections, old name, new name) of every setting that had another name once."""
    for key, setting in part.get("properties", {}).items():
        if "x-was" in setting:
            yield where, setting["x-was"], key
        yield from former(setting, *where, key)


@pytest.mark.parametrize("where, old, new", list(former(SCHEMA)), ids=str)
def test_a_setting_of_an_earlier_version_is_told_its_new_name(where, old, new):
    (line,) = config_checks.problems(reduce(lambda inner, name: {name: inner}, reversed(where), {old: 3}), SCHEMA)
    assert line == f"{'.'.join((*where, old))}: is called {new} now: rename it"


@pytest.mark.parametrize(
    "config, said",
    [
        (
            {"results": "my results/é"},
            "results: 'my results/é' must be a path of the letters A to Z, digits and . _ / + - ",
        ),
        ({"results": "my results/é"}, "; not ' ' 'é'"),
        ({"results": "out\n"}, "; not '\\n'"),
        ({"results": "-out"}, "that does not begin with a dash"),
        ({"splits": {"preset": "a.npz"}}, "splits.preset: 'a.npz' must be a path that holds {split} and ends in .npz"),
        ({"evaluate": {"checkpoint": "a.pth\n"}}, "must be a path that ends in .pth"),
        ({"report": {"colors": ["#000000", "red"]}}, "report.colors.1: 'red' must be a colour in quotes, such as"),
        (
            {"attention": {"cases": ["7", "-8"]}},
            "attention.cases.1: '-8' must be an id that does not begin with a dash",
        ),
    ],
)
def test_a_pattern_is_told_in_words(config, said):
    (line,) = config_checks.problems(config, SCHEMA)
    assert said in line
    assert "^" not in line

"""The schema is the one home of a setting: config.yaml, the reference and the examples say what it says."""

import re
import shutil
import subprocess
import sys

import pytest
import yaml
from jsonschema import Draft202012Validator
from repository import REPOSITORY

from stratamil.core import schema
from stratamil.workflow import config_checks, config_files

sys.path.insert(0, str(REPOSITORY / "docs"))
import reference

SCHEMA = schema.read()
CONFIGS = sorted((REPOSITORY / "config").glob("*.yaml"))
MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")


def parts(part, where="config"):
    """(place, schema) of each schema within a schema."""
    if isinstance(part, dict):
        yield where, part
        for key, inner in part.items():
            yield from parts(inner, f"{where}.{key}")
    if isinstance(part, list):
        for number, inner in enumerate(part):
            yield from parts(inner, f"{where}.{number}")


def keys(mapping, where=""):
    """The keys of a mapping and of its sections, in order."""
    for key, value in mapping.items():
        yield where + key
        if isinstance(value, dict):
            yield from keys(value, f"{key}.")


def defaults():
    return {
        name: whole(name) if entry.get("default") == {} else entry["default"]
        for name, entry in SCHEMA["properties"].items()
    }


def whole(name):
    """The defaults of a section and of those within it."""
    return schema.defaults(name) | {part.partition(".")[2]: schema.defaults(part) for part in schema.within(name)}


def test_config_yaml_has_every_setting_with_its_default_in_the_schema_s_order():
    config = config_files.read(REPOSITORY / "config/config.yaml", SCHEMA)
    assert config == defaults()
    assert list(keys(config)) == list(keys(defaults()))


def test_the_reference_is_up_to_date():
    """If not: `python docs/reference.py`."""
    text = reference.PAGE.read_text(encoding="utf-8")
    assert reference.page(text) == text


def test_the_reference_has_every_setting_once():
    named = re.findall(r"^\| `(\w+(?:\.\w+)*)` \|", reference.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    own = {name: entry.get("properties") for name, entry in SCHEMA["properties"].items()}
    sections = [part for name, entry in own.items() if entry for part in (name, *schema.within(name))]
    settings = [f"{part}.{key}" for part in sections for key in schema.section(part)]
    assert set(settings) | {name for name, entry in own.items() if not entry} <= set(named)
    assert sorted(name for name in named if "." in name) == sorted(settings)


@pytest.mark.parametrize(
    "setting, words",
    [
        ({"type": "integer", "minimum": 2, "maximum": 99}, "whole number, ≥ 2, ≤ 99"),
        ({"type": ["number", "null"], "exclusiveMinimum": 0}, "number or null, > 0"),
        ({"type": ["string", "null"], "x-form": "a path"}, "a path, or null"),
        ({"type": ["boolean", "null"]}, "true, false, null"),
        ({"enum": ["a", None]}, "a, null"),
        ({"oneOf": [{"enum": ["a"]}, {"type": "number", "minimum": 0}]}, "a, or number, ≥ 0"),
        ({"type": "array", "minItems": 2, "items": {"type": "string"}}, "list of 2 or more texts"),
    ],
)
def test_type_and_range_in_words(setting, words):
    assert reference.values(setting) == words


def test_every_setting_has_a_meaning_and_a_default():
    inner = [
        part for name, entry in SCHEMA["properties"].items() if "properties" in entry for part in schema.within(name)
    ]
    for name, entry in [*SCHEMA["properties"].items(), *((part, {"properties"}) for part in inner)]:
        for setting in schema.section(name).values() if "properties" in entry else [entry]:
            assert setting["description"], name
            assert "default" in setting or name == "demo", name


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_an_editor_finds_the_schema_and_the_example_fits_it(path):
    place = MODELINE.match(path.read_text(encoding="utf-8"))[1]
    assert (path.parent / place).resolve() == schema.FILE
    config = config_files.read(path, SCHEMA)
    assert config_checks.problems(config, SCHEMA) == []
    assert list(Draft202012Validator(SCHEMA).iter_errors(config)) == []
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == config  # as an editor reads it


def test_the_schema_is_one_to_any_validator():
    Draft202012Validator.check_schema(SCHEMA)
    assert {key for _, part in parts(SCHEMA) for key in part if isinstance(key, str) and key.startswith("x-")} == {
        "x-form",
        "x-was",
    }


def patterns():
    return {where: part["pattern"] for where, part in parts(SCHEMA) if isinstance(part.get("pattern"), str)}


def test_each_pattern_says_in_words_what_it_wants():
    assert [where for where, part in parts(SCHEMA) if where in patterns() and "x-form" not in part] == []


def test_patterns_mean_the_same_to_python_and_to_an_editor():
    for where, pattern in patterns().items():
        assert pattern.startswith("^") and pattern.endswith(r"$(?!\n)"), where
        assert not re.search(r"\\[AZwWdDbB]|\(\?P|\(\?[a-z]", pattern), where


@pytest.mark.skipif(not shutil.which("node"), reason="no JavaScript here")
def test_javascript_reads_the_patterns_as_python_does(tmp_path):
    words = ["a", "\u03b1-SMA", "(a) 1.5 %", "-a", "a\n", "a ", "a=b", "a\u00a0b", "\U0001f9ea"]
    words += ["a{split}.npz", "b.pth", "#0072B2", "0" * 64, "timm:x", "results/a", "hf-hub:a/b@c", "a" * 101]
    program = "const [p, w] = JSON.parse(require('fs').readFileSync(0)); "
    program += "console.log(JSON.stringify(p.map(x => w.map(y => new RegExp(x, 'u').test(y)))))"
    asked = reference.json.dumps([list(patterns().values()), words])
    done = subprocess.run(["node", "-e", program], input=asked, capture_output=True, text=True, check=True)
    python = [[bool(re.search(pattern, word)) for word in words] for pattern in patterns().values()]
    assert reference.json.loads(done.stdout) == python


def test_the_reference_says_how_a_study_file_elsewhere_finds_the_schema():
    assert "# yaml-language-server: $schema=" in (REPOSITORY / "config/README.md").read_text(encoding="utf-8")

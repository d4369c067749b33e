"""The schema of the configuration: the one home of each setting's type, range, default, unit and meaning."""

import csv
import io
import shlex
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[3] / "schemas/config.schema.yaml"


@cache
def read() -> dict[str, Any]:
    """Return the JSON schema of the configuration."""
    return yaml.load(FILE.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def section(name: str) -> dict[str, dict[str, Any]]:
    """Return the settings of a section in the schema's order: key -> its schema, with what `$ref` points to.

    name: `cohort`, or that of a section within one, `cohort.quality`, whose settings are not among those of the other.
    """
    entry = read()
    for part in name.split("."):
        entry = entry["properties"][part]
    return {key: _resolved(setting) for key, setting in entry["properties"].items() if "properties" not in setting}


def within(name: str) -> list[str]:
    """Return the names of the sections within a section: `cohort.quality` of `cohort`."""
    inner = read()["properties"][name].get("properties", {})
    return [f"{name}.{key}" for key, setting in inner.items() if "properties" in setting]


def defaults(name: str) -> dict[str, Any]:
    """Return the default of each setting of a section."""
    return {key: setting["default"] for key, setting in section(name).items()}


def flags(name: str, values: Mapping[str, Any], *only: str, **others: Any) -> str:
    """Return a section's values as command-line flags, in the schema's order: `--epochs=30 --lr=0.0003`.

    Given to a rule as one param, it reruns the rule when one of its own settings changes and never for another's, and
    reads well in a dry run and in a printed command. only: the settings to give, all by default. others: values in
    place of the section's; None leaves the flag out.
    """
    settings, values = section(name), {**values, **others}
    keys = [key for key in only or settings if key in values and (key not in others or others[key] is not None)]
    # What a flag does not say is the schema's default, also where that is not null and the value is.
    stated = [key for key in keys if values[key] is not None or settings[key]["default"] is not None]
    return " ".join(flag(key, "none" if values[key] is None else values[key]) for key in stated)


def flag(key: str, value: Any) -> str:
    """Return one setting as a flag: `--no-gated`, `--lr=0.0003`, `--classes benign=1 high-grade=3,4`."""
    name = key.replace("_", "-")
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    if not isinstance(value, list):
        return shlex.join([f"--{name}={value}"])  # a value may begin with a dash
    return shlex.join([f"--{name}", *map(_word, value)])


def merged(entries: Iterable[Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """Return a setting of named lists, `[{benign: [1]}, {high-grade: [3, 4]}]`, as one dict in the same order."""
    return {name: items for entry in entries for name, items in entry.items()}


def _resolved(setting: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with what its `$ref`, or that of its items, points to."""
    if "$ref" in setting:
        setting = read()["$defs"][setting["$ref"].removeprefix("#/$defs/")] | setting
    return setting | {"items": _resolved(setting["items"])} if "items" in setting else setting


def _word(value: Any) -> str:
    """Return an item of a list on the command line; a named list as `name=a,b`, quoted as in CSV."""
    if not isinstance(value, dict):
        return str(value)
    ((name, items),) = value.items()
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(map(str, items))
    return f"{name}={line.getvalue()}"

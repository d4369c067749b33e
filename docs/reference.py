"""Write the tables of settings in config/README.md from schemas/config.schema.yaml: the text between them stays.

Run it after a change of the schema: `python docs/reference.py`.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from stratamil.core import files, schema  # noqa: E402

PAGE = ROOT / "config/README.md"
HEAD = "| setting | values | default | meaning |\n| --- | --- | --- | --- |\n"
ONE = {"string": "text", "integer": "whole number", "number": "number", "object": "mapping", "null": "null"}
MANY = {"string": "texts", "integer": "whole numbers", "number": "numbers", "object": "named lists"}
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def page(text: str) -> str:
    """Return the reference with each table as the schema has it: that of `## train` for section train, and so on.

    Raises KeyError for a table under a heading that is no section, and ValueError for a section without a table.
    """
    sections = {name for name, entry in schema.read()["properties"].items() if "properties" in entry}
    written = set()

    def table(match: re.Match) -> str:
        written.add(match["section"])
        return match["before"] + HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows(match["section"]))

    heading = r"(?P<before>^## (?P<section>\w+)\n(?:(?!## ).*\n)*?)"
    text = re.sub(heading + re.escape(HEAD) + r"(?:\|.*\n)*", table, text, flags=re.MULTILINE)
    if absent := {"Study", *sections} - written:
        raise ValueError(f"{PAGE}: no table for {', '.join(sorted(absent))}: add `## name` and the head of a table")
    return text


def rows(section: str) -> list[tuple[str, str, str, str]]:
    """Return name, values, default and meaning of each setting of a section; `Study` has those outside sections."""
    if section == "Study":
        settings = {name: entry for name, entry in schema.read()["properties"].items() if "properties" not in entry}
    else:
        parts = [section, *schema.within(section)]
        settings = {f"{part}.{key}": setting for part in parts for key, setting in schema.section(part).items()}
    return [
        (f"`{name}`", values(setting), _default(setting), _cell(setting["description"]))
        for name, setting in settings.items()
    ]


def values(setting: dict[str, Any]) -> str:
    """Return the type and range of a setting in words: `whole number or null, ≥ 1`."""
    if "oneOf" in setting:
        return ", or ".join(map(values, setting["oneOf"]))
    if "enum" in setting:
        return ", ".join("null" if word is None else str(word) for word in setting["enum"])
    kinds = [setting["type"]] if isinstance(setting["type"], str) else setting["type"]
    if "boolean" in kinds:
        return "true, false, null" if "null" in kinds else "true, false"
    words = ONE | {"array": _list(setting)} | ({"string": setting["x-form"]} if "x-form" in setting else {})
    either = ", or " if "x-form" in setting or "x-form" in setting.get("items", {}) else " or "
    return either.join(words[kind] for kind in kinds) + _range(setting)


def _list(setting: dict[str, Any]) -> str:
    if "items" not in setting:
        return "list"
    items, least = setting["items"], setting.get("minItems", 0)
    if "oneOf" in items:
        return f"list of {items['x-form']}"
    if "enum" in items:
        return f"list of any of {', '.join(items['enum'])}"
    each = f", each {items['x-form']}" if "x-form" in items else ""
    return f"list of {f'{least} or more ' if least > 1 else ''}{MANY[items['type']]}{_range(items)}{each}"


def _range(setting: dict[str, Any]) -> str:
    return "".join(f", {sign} {setting[name]}" for name, sign in LIMITS.items() if name in setting)


def _default(setting: dict[str, Any]) -> str:
    if "default" not in setting:
        return ""
    value = setting["default"]
    return f"`{_cell(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    files.write_text(page(PAGE.read_text(encoding="utf-8")), PAGE)

"""Which setting is why a job runs again: what Snakemake says of params and input files, in the names of settings."""

import ast
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from stratamil.core import schema
from stratamil.workflow.config_paths import PATHS

# Path of a file that a setting names -> that setting, and how it differs from the last run; the Snakefile fills it in.
FILES: dict[str, str] = {}
NUMBERS = ("cohort", "splits", "seeds", "features", "embed", "model", "train", "evaluate")  # sections
SIDES = re.compile(r"before: (.*) now: (.*)", re.DOTALL)
NOTHING = "<nothing exclusive>"
CONTENT = "content-of-"


def content(setting: str, paths: Collection[str], digests: Collection[str]) -> str:
    """Return a param of a rule that changes with the paths and the content of the user's files: as flags."""
    if not paths:
        return ""
    return " ".join([schema.flag(setting, " ".join(paths)), schema.flag(CONTENT + setting, " ".join(digests))])


def of_files(config: Mapping[str, Any], before: Any) -> dict[str, str]:
    """Return `attention.truth: old.csv -> new.csv` for each path that the config names, by that path.

    before: config of the last run, None where there was none.
    """
    return {
        now: f"{setting}: {was or 'none'} -> {now}" if known and was != now else f"{setting}: content of {now}"
        for setting, now, was, known in _paths(config, before)
        if now
    }


def _paths(config: Mapping[str, Any], before: Any) -> Iterator[tuple[str, Any, Any, bool]]:
    """Yield the settings that are paths: name, value now and before, and whether that is known."""
    for section, keys in PATHS.items():
        old = before.get(section) if section and isinstance(before, dict) else before
        for key in keys:
            known = isinstance(old, dict) and key in old
            now = (config[section] if section else config)[key]
            yield f"{section}.{key}" if section else key, now, old[key] if known else None, known


def of_configs(before: Any, now: Mapping[str, Any]) -> list[str]:
    """Return `train.epochs: 20 -> 12` for each setting that decides the numbers and differs from the last run.

    before: config of the last run, None where there was none.
    """
    lines = []
    for section in NUMBERS:
        was, new = (each.get(section) if isinstance(each, Mapping) else None for each in (before, now))
        if was is None or was == new:
            continue
        if not (isinstance(was, Mapping) and isinstance(new, Mapping)):
            was, new, section = {section: was}, {section: new}, ""
        names = [name for name in new if name in was and was[name] != new[name]]
        lines += [f"{section}.{name}: {was[name]} -> {new[name]}".removeprefix(".") for name in names]
    return lines


def after_first_look(before: Any, now: Mapping[str, Any]) -> list[str]:
    """Return a line where what a first look left is replaced by a whole study. before: config of the last run."""
    was = before.get("report") if isinstance(before, Mapping) else None
    ends = isinstance(was, Mapping) and was.get("first_look") and not now["report"]["first_look"]
    return ["The last run was a first look: its models, predictions and pages are replaced."] if ends else []


def of_params(text: str) -> list[str]:
    """Return `train.lr: 0.003 -> 0.001` for each changed setting of a rule.

    text: what Snakemake says of its params, `before: '--lr=0.003' now: '--lr=0.001'`; each side lists whole params, so
    most of what they hold is the same.
    """
    try:
        before, now = map(_flags, SIDES.search(text).groups())
    except (AttributeError, SyntaxError, ValueError):  # another Snakemake says it in other words
        return ["settings"]
    changed = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    lines = []
    for key in changed:
        if key.startswith(CONTENT):
            setting = key.removeprefix(CONTENT)
            lines += [] if setting in changed else [f"{setting}: content of {' '.join(now[setting])}"]
        elif not key:
            lines.append("files of the study")
        else:
            lines.append(f"{_setting(key)}: {_value(before, now, key)} -> {_value(now, before, key)}")
    return lines


def _flags(side: str) -> dict[str, list[str]]:
    """Return the flags of some params: name -> its words; words that follow no flag are under an empty name."""
    result = {}
    for param in [] if side.strip() == NOTHING else ast.literal_eval(f"[{side}]"):
        key = ""
        for word in shlex.split(param) if isinstance(param, str) else [str(param)]:
            if not word.startswith("--"):
                result.setdefault(key, []).append(word)
                continue
            key, equals, value = word[2:].partition("=")
            no = not equals and key.startswith("no-")
            key = key.removeprefix("no-") if no else key
            result[key] = [value] if equals else ["no"] if no else []
    return result


def _setting(key: str) -> str:
    """Return the setting of a flag with its section, if only one section has it: `train.lr` for `lr`."""
    name, known = key.replace("-", "_"), schema.read()["properties"]
    if name in known:  # of no section
        return name
    every = [part for section in known if "properties" in known[section] for part in (section, *schema.within(section))]
    sections = [part for part in every if name in schema.section(part)]
    return f"{sections[0]}.{name}" if len(sections) == 1 and "." not in key else name


def _value(flags: Mapping[str, list[str]], others: Mapping[str, list[str]], key: str) -> str:
    """Return the words of a flag; a flag that is not given is null, and one without words `yes` or an empty list."""
    if flags.get(key) == [] and others.get(key) == ["no"]:
        return "yes"
    return " ".join(flags.get(key, [])) or "none"

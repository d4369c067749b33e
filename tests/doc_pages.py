"""The pages of the documentation as the tests read them: blocks of commands, links, tables of outputs."""

import re
import shlex
from fnmatch import fnmatch
from typing import NamedTuple

from repository import REPOSITORY

DOCS = REPOSITORY / "docs"
OUTPUTS = DOCS / "reference/outputs.md"
# Markdown that readers see beside the site, too.
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "config/README.md", "profiles/README.md")
FENCE = re.compile(r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?```bash\n(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)
# What a column or file of `<name>` in the page of outputs may be.
PLACEHOLDERS = {"<class>": r"\w+", "<stain>": r"\w+", "<value>": "(probability|margin)", "<top>": "(percent|1|5|20)"}
OPTIONAL = re.compile(r"\bonly (of|with|if|during)\b|\babsent\b", re.IGNORECASE)  # of some studies


class Block(NamedTuple):
    """Commands of a page. reason: why no test runs them, or None."""

    page: str
    reason: str | None
    commands: list[list[str]]


class Output(NamedTuple):
    """What the page of outputs says of some files. columns: name -> whether each study has it; None is no table."""

    pattern: str
    always: bool
    columns: dict[str, bool] | None


def pages():
    return [REPOSITORY / name for name in ROOT_PAGES] + sorted(
        path for path in DOCS.rglob("*.md") if "_build" not in path.parts
    )


def blocks(path):
    name = path.relative_to(REPOSITORY).as_posix()
    found = []
    for match in FENCE.finditer(path.read_text(encoding="utf-8")):
        lines = match["lines"].replace("\\\n", " ").splitlines()
        commands = [words for line in lines if (words := shlex.split(line, comments=True))]
        found.append(Block(name, match["reason"], commands))
    return found


def outputs():
    """Every file that the page of outputs names, with its columns where it is a table."""
    found, prefix, current = [], "", None
    for line in OUTPUTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            prefix = "" if line.startswith("## ") else prefix
            current = [Output(name, not OPTIONAL.search(line), {}) for name in re.findall("`(.+?)`", line)]
            found += current
        elif begin := re.match(r"In `(.+?)`[:.]", line):
            prefix = begin[1]
        elif line.startswith("| `"):
            name, *rest = line.strip("| ").split(" | ")
            always = not OPTIONAL.search(rest[-1])
            if current:
                for output in current:
                    output.columns.update(dict.fromkeys(re.findall("`(.+?)`", name), always))
            elif "/" in name or "." in name:
                found += [Output(prefix + each, always, None) for each in re.findall("`(.+?)`", name)]
    return found


def pattern(name):
    """The regular expression of a column as the page writes it."""
    text = re.escape(name)
    for placeholder, what in PLACEHOLDERS.items():
        text = text.replace(re.escape(placeholder), what)
    return re.compile(f"{text}$")


def fits(path, output):
    return fnmatch(path, output.pattern + ("*" if output.pattern.endswith("/") else ""))

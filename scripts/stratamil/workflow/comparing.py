"""A configuration that compares studies: what it may set, and which folders it names."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stratamil.core.errors import UserError
from stratamil.evaluation import compared_studies
from stratamil.workflow import config_values

# What a file with `compare` may set: whole sections (None), or some of their settings.
ALLOWED: dict[str, tuple[str, ...] | None] = {
    "compare": None,
    "results": None,
    "report": ("bootstrap_samples", "seed", "colors", "title"),
    "attention": ("top_percent",),
}
RESULTS = "results/comparison"
LONGEST = 80  # characters of a study's name


def folders(config: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> folder of each study. Without a name it has its folder's, or its path where two are alike."""
    named = [entry if isinstance(entry, Mapping) else {None: entry} for entry in config["compare"]]
    pairs = [pair for entry in named for pair in entry.items()]
    last = Counter(Path(folder).name for _, folder in pairs)
    names = [name or (Path(folder).name if last[Path(folder).name] == 1 else folder) for name, folder in pairs]
    if double := [name for name, n in Counter(names).items() if n > 1]:
        raise UserError(f"compare: {', '.join(double)}: two studies of this name: give each a name of its own")
    return dict(zip(names, (folder for _, folder in pairs)))


def inputs(folder: str) -> list[str]:
    """Return the files that a comparison reads of a folder. Raises UserError with each that is missing."""
    return list(map(str, compared_studies.inputs(Path(folder))))


def take_over(config: dict[str, Any], own: Mapping[str, Any]) -> dict[str, str]:
    """Put into a configuration, in place, what a comparison needs, and return `folders`. own: what the files set."""
    config["patches"], config["labels"] = "", ""
    if "results" not in own:
        config["results"] = RESULTS
    if "title" not in own.get("report", {}):
        config["report"]["title"] = "Comparison"
    return folders(config)


def _name_faults(name: str) -> Iterator[str]:
    """Yield a line for a name that the page, or the command that makes it, cannot take."""
    if name.startswith("-"):
        yield f"compare: name {name!r} begins with a dash: rename it"
    if not name.strip() or not name.isprintable():
        yield f"compare: name {name!r} is empty or holds characters that cannot be printed: rename it"
    if len(name) > LONGEST:
        yield f"compare: name {name[:20]!r}... has {len(name)} characters: at most {LONGEST}: give it a shorter one"


def _within(path: str, folder: str) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def problems(config: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return a line for each fault of a comparison. own: what the user's files set."""
    lines = []
    if foreign := config_values.foreign(own, ALLOWED):
        lines.append(
            f"compare: the same settings name a study ({', '.join(foreign)}), but studies are compared as they are: "
            "put `compare` into a file of its own"
        )
    try:
        given = list(folders(config).values())
    except UserError as error:
        return [*lines, *error.problems]
    if len(given) < 2:
        lines.append(
            f"compare: {given[0]}: one study alone: give two or more" if given else "compare: give two or more"
        )
    lines += [line for name in folders(config) for line in _name_faults(name)]
    if odd := [folder for folder in given if set("{}<>") & set(folder)]:
        return lines + [
            f"compare: {folder}: Snakemake cannot take braces, < or > in a path: rename it" for folder in odd
        ]
    within = [folder for folder in given if _within(config["results"], folder)]
    lines += [f"results: {config['results']} lies in {folder}, which is compared: set another" for folder in within]
    there = Counter(os.path.realpath(folder) for folder in given)
    lines += [f"compare: {path}: given {n} times: give each study once" for path, n in there.items() if n > 1]
    for folder in dict.fromkeys(given):
        try:
            inputs(folder)
        except UserError as error:
            lines += [line if line.startswith("compare") else f"compare: {line}" for line in error.problems]
    return lines

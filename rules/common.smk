"""What the rules share: the wildcards' values, and how settings and code become parts of a rule."""

import ast
import os
import shlex
import sys
from pathlib import Path

import yaml

# Relative, so that a moved or copied checkout reruns nothing.
ROOT = Path(os.path.relpath(workflow.basedir))
sys.path.insert(0, str(ROOT / "scripts"))

from stratamil import folders, names

SCHEMA = yaml.safe_load((ROOT / "schemas/config.schema.yaml").read_text())
SPLITS = [f"{i:02d}" for i in range(1, config["splits"]["n"] + 1)]
SHARDS = [f"{i:02d}" for i in range(config["embed"]["shards"])]
SEEDS = config["seeds"]
STAINS = [name for entry in config["names"]["stains"] for name in entry]
CLASSES = [name for entry in config["cohort"]["classes"] for name in entry]
ENCODER = config["embed"]["encoder"]


wildcard_constraints:
    split="|".join(SPLITS),
    shard="|".join(SHARDS),
    seed="|".join(map(str, SEEDS)),
    encoder="|".join({ENCODER, "stain_stats"}),


def flags(section, *only, **settings):
    """A config section as command-line flags, in the schema's order: `--epochs 30 --lr 0.0003`.

    Given to a rule as one param, it reruns the rule when one of its own settings changes and
    never for another's, and reads well in a dry run and in a printed command. `settings`
    replaces values of the section.
    """
    order = SCHEMA["properties"][section]["properties"]
    values = {key: config[section][key] for key in order} | settings
    return " ".join(flag(key, values[key]) for key in only or order if values[key] is not None)


def flag(key, value):
    """One setting as a flag; a named list as `name=a,b`."""
    name = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return name if value else name.replace("--", "--no-", 1)
    values = value if isinstance(value, list) else [value]
    words = [
        "".join(f"{name}={','.join(map(str, items))}" for name, items in word.items())
        if isinstance(word, dict)
        else str(word)
        for word in values
    ]
    return shlex.join([name, *words])


def code(name):
    """The script of a rule and every library module that it imports: an edit of one reruns the rule."""
    found = [ROOT / "scripts" / f"{name}.py"]
    for path in found:
        for imported_name in imported(path):
            file = ROOT / "scripts" / f"{imported_name}.py"
            if file.is_file() and file not in found:
                found.append(file)
    return [str(path) for path in found]


def imported(path):
    """The modules that a Python file imports, as paths without suffix: `stratamil/names`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.replace(".", "/") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module.replace(".", "/")
            yield from [origin, *(f"{origin}/{alias.name}" for alias in node.names)]


def attempts(amount):
    """A resource that grows with each attempt: enough for most, and more for a job that was killed."""
    return lambda wildcards, attempt: amount * attempt


def save_config():
    """Write the resolved config beside the results, so that every number can be traced to its settings."""
    path = Path(config["results"]) / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

"""The files and folders that a configuration names: what is missing, misplaced, or somebody else's."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stratamil.core import tables
from stratamil.core.errors import UserError, few
from stratamil.features import encoder_registry
from stratamil.workflow import results_folder
from stratamil.workflow.config_values import preset_files

# Settings that are paths, by section; `results` must not begin with a dash.
PATHS = {
    "": ["patches", "labels"],
    "cohort": ["exclude_patches"],
    "splits": ["preset"],
    "features": ["manifest", "folder"],
    "attention": ["truth"],
    "embed": ["weights"],
}


def missing_files(config: Mapping[str, Any]) -> list[str]:
    """Return one line for each file or folder that the config names and that is not there."""
    if config["compare"]:  # whose folders `comparing` looks at
        return []
    truth, features = config["attention"]["truth"], config["features"]
    precomputed = features["source"] == "precomputed"
    named = [("splits.preset", path) for path in preset_files(config)]
    if precomputed:
        named.append(("features.manifest", features["manifest"]))
    else:
        named += [(key, path) for key, path in _weights(config["embed"]) if encoder_registry.is_file(path)]
    if config["cohort"]["exclude_patches"]:
        named.append(("cohort.exclude_patches", config["cohort"]["exclude_patches"]))
    if truth and not config["demo"]:
        named.append(("attention.truth", truth))
    lines = [f"{key}: {path}: no such file" for key, path in named if not os.path.isfile(path)]
    if not config["demo"]:
        hint = "set it in your --configfile, or try --configfile config/demo.yaml"
        if precomputed and features["folder"] and not os.path.isdir(features["folder"]):
            section = "predict" if config["predict"]["bundle"] else "features"
            lines.append(f"{section}.folder: {features['folder']}: no such folder")
        if not precomputed and not os.path.isdir(config["patches"]):
            lines.append(f"patches: {config['patches']}: no such folder: {hint}")
        if not os.path.isfile(config["labels"]) and not (config["predict"]["bundle"] and not config["labels"]):
            lines.append(f"labels: {config['labels']}: no such file: {hint}")
    return lines


def missing_columns(config: Mapping[str, Any]) -> list[str]:
    """Return one line for each setting that names columns which the labels table does not have, if it is there yet."""
    wanted = {f"report.{key}": config["report"][key] for key in ("columns", "clinical")}
    if not any(wanted.values()) or not os.path.isfile(config["labels"]):
        return []
    try:
        table, _ = tables.sheet(config["labels"], "set `labels` to the labels table", [*wanted["report.columns"]])
    except UserError as error:
        return list(error.problems)
    return [
        f"{setting}: no column {few(map(repr, absent), 12)} in {config['labels']}: it has "
        f"{few(map(repr, table.columns), 12)}"
        for setting, names in wanted.items()
        if (absent := [name for name in names if name not in table])
    ]


def inputs(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what the user's study is read from: setting -> path, of those that are set."""
    features = config["features"]
    named = {"patches": config["patches"], "labels": config["labels"], "attention.truth": config["attention"]["truth"]}
    named |= {"cohort.exclude_patches": config["cohort"]["exclude_patches"]}
    if features["source"] == "precomputed":
        named |= {"patches": None, "features.manifest": features["manifest"], "features.folder": features["folder"]}
    return {setting: path for setting, path in named.items() if path}


def tidy(config: dict[str, Any]) -> None:
    """Write paths as Snakemake compares them, `results` for `./results/`, in place; none begins with a dash.

    A program would take `-data` for a flag, so it becomes the whole path.
    """
    for key in ("patches", "labels", "results"):
        config[key] = config[key].rstrip("/").removeprefix("./") or config[key]
    for section, keys in PATHS.items():
        values = config[section] if section else config
        for key in keys:
            if (values[key] or "").startswith("-"):
                values[key] = os.path.abspath(values[key])
    for own in (config["embed"]["by_stain"] or {}).values():
        if own.get("weights", "").startswith("-"):
            own["weights"] = os.path.abspath(own["weights"])


def misplaced(config: Mapping[str, Any]) -> list[str]:
    """Return one line for each path that the workflow cannot handle, or that puts results or the demo into data."""
    paths = {key: config[key] for key in ("patches", "labels", "results")}
    paths |= {
        "attention.truth": config["attention"]["truth"] or "",
        "features.manifest": config["features"]["manifest"] or "",
    }
    paths |= {key: path for key, path in _weights(config["embed"]) if encoder_registry.is_file(path)}
    lines = [
        f"{key}: {path}: Snakemake takes braces in paths for wildcards: rename it"
        for key, path in paths.items()
        if {"{", "}"} & set(path)
    ]
    if os.path.normpath(config["results"]).startswith("-"):
        lines.append(f"results: {config['results']}: begins with a dash: rename it")
    if not config["demo"] and not config["compare"] and config["features"]["source"] == "patches":
        results, patches = (Path(os.path.realpath(config[key])) for key in ("results", "patches"))
        if results.is_relative_to(patches):
            lines.append(f"results: {config['results']} lies in the patches folder {config['patches']}: set another")
    return lines + _misplaced_demo(config)


def painted_over(config: Mapping[str, Any]) -> list[str]:
    """Return a line for each file of somebody else that the demo would paint over."""
    if not config["demo"]:
        return []
    return results_folder.painted_over(
        config["patches"], {"labels": config["labels"], "attention.truth": config["attention"]["truth"]}
    )


def _misplaced_demo(config: Mapping[str, Any]) -> list[str]:
    """Return a line for each path of the demo that is not below resources/, where it may paint over files."""
    if not config["demo"]:
        return []
    paths = {"patches": config["patches"], "labels": config["labels"], "attention.truth": config["attention"]["truth"]}
    unset = [f"{key}: not set, but the demo writes it: set a path below resources/" for key in paths if not paths[key]]
    return unset + [
        f"{key}: {path}: the demo paints below resources/ only: set demo: null to read your own data"
        for key, path in paths.items()
        if path and (Path(path).parts[0] != "resources" or ".." in Path(path).parts)
    ]


def _weights(embed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of the setting and its value for the weights of each encoder that has such a setting."""
    yield "embed.weights", embed["weights"]
    for stain, settings in (embed["by_stain"] or {}).items():
        if "weights" in settings:
            yield f"embed.by_stain.{stain}.weights", settings["weights"]

"""A configuration that predicts new cases: what it may set, and what it takes from the bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stratamil.core import schema
from stratamil.core.errors import UserError
from stratamil.deploy import bundle
from stratamil.features import encoder_registry
from stratamil.workflow import config_values

# What a file with predict.bundle may set: whole sections (None), or some of their settings.
ALLOWED: dict[str, tuple[str, ...] | None] = {
    "results": None,
    "predict": None,
    "names": None,
    "cohort": ("case_column", "class_column", "patient_column", "classes", "excluded_codes", "missing_words"),
    "embed": ("weights", "batch_size", "max_unreadable"),
    "features": ("encoder",),
    "attention": ("top_n", "top_percent", "cases", "max_cases"),
    "browser": None,
    "report": ("bootstrap_samples", "seed", "colors", "columns", "clinical"),
}


def problems(own: Mapping[str, Any]) -> list[str]:
    """Return a line for what the user's files set that a prediction takes from the bundle. own: what they set."""
    lines = []
    if foreign := config_values.foreign(own, ALLOWED):
        lines.append(
            f"predict.bundle: the same settings name a study ({', '.join(foreign)}): a prediction takes these from the "
            "bundle: put `predict` into a file of its own"
        )
    if not own.get("predict", {}).get("patches"):
        lines.append(
            "predict.patches: none with predict.bundle: set it to the new cases' folder, or CSV of feature files"
        )
    return lines


def take_over(config: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Put the settings of the bundle into a configuration, in place, and return the facts of the bundle.

    own: what the user's files set, which goes before the names and labels of the study. Raises UserError with what does
    not fit the bundle.
    """
    predict = config["predict"]
    facts = bundle.facts(predict["bundle"])
    for section in ("names", "cohort"):
        config[section] = {**config[section], **facts[section], **own.get(section, {})}
    config["report"]["title"] = facts["title"]
    config["patches"], config["labels"] = predict["patches"], predict["labels"] or ""
    if facts["source"] == "precomputed":
        config["features"] |= {"source": "precomputed", "manifest": predict["patches"], "folder": predict["folder"]}
    lines = [
        f"{setting}: {', '.join(given)}, but the model has {', '.join(facts[what])}: name the same in the same order"
        for setting, what, given in (
            ("names.stains", "stains", list(schema.merged(config["names"]["stains"]))),
            ("cohort.classes", "classes", list(schema.merged(config["cohort"]["classes"]))),
        )
        if given != facts[what]
    ]
    if lines := lines + _other_kind(facts, predict) + _weights(facts, config["embed"]["weights"]):
        raise UserError(*lines)
    return facts


def encoders(facts: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the encoders of a bundle as `config_values.encoders` has those of a study."""
    shared = {key: config["embed"][key] for key in ("batch_size", "shards", "max_unreadable")}
    given = config["embed"]["weights"]
    return {
        folder: shared | settings | ({"weights": given} if encoder_registry.is_file(settings["weights"]) else {})
        for folder, settings in facts["encoders"].items()
    }


def _other_kind(facts: Mapping[str, Any], predict: Mapping[str, Any]) -> list[str]:
    """Return a line where a model of images is given files of features, or the reverse."""
    path, precomputed = Path(predict["patches"]), facts["source"] == "precomputed"
    if path.is_dir() and precomputed:
        return [f"predict.patches: {path}: a folder, but the model takes precomputed features: set their manifest"]
    if path.is_file() and not precomputed:
        return [f"predict.patches: {path}: a file, but the model takes patch images: set their folder"]
    if predict["folder"] and not precomputed:
        return [
            f"predict.folder: {predict['folder']}: the model takes patch images: set predict.patches to their folder"
        ]
    return []


def _weights(facts: Mapping[str, Any], given: str) -> list[str]:
    """Return a line for each encoder whose weights were a file of the study's own, and are not given."""
    return [
        f"embed.weights: {settings['encoder']} has weights of its own: copy {settings['weights']} (SHA-256 "
        f"{settings['weights_sha256']}) from where the model was trained, and set its path"
        for settings in facts["encoders"].values()
        if encoder_registry.is_file(settings["weights"]) and not encoder_registry.is_file(given)
    ]

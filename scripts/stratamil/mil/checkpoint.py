"""Checkpoints: a trained model with all that is needed to use it on the right features."""

import hashlib
import io
import numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stratamil.core import devices
from stratamil.core.errors import UserError
from stratamil.core.files import atomic
from stratamil.features.store import Features
from stratamil.mil.bags import Bags
from stratamil.mil.model import AGGREGATIONS, HierarchicalAttention, ModelSettings, stack

# Parts of the features' identity that may differ where the features mean the same.
VERSIONS = ("code", "colour_code", "views", "pillow", "torch", "torchvision", "timm")


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _named(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)


def _weights(value: object) -> bool:
    return _named(value) and all(
        isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.layout == torch.strided
        for tensor in value.values()
    )


def _identity(value: object) -> bool:
    return _named(value) and _named(parts := value.get("encoders", {"": {}})) and all(map(_named, parts.values()))


# What a checkpoint holds, and whether a value can be it.
FIELDS = {
    "weights": _weights,
    "model": _named,
    "classes": lambda value: _texts(value) and len(value) > 1,
    "stains": lambda value: _texts(value) and len(value) > 0,
    "features": _identity,
    "epoch": lambda value: isinstance(value, numbers.Integral),
    "minhash": _texts,
}


def save(content: dict[str, Any], path: Path) -> None:
    """Write a dict of tensors and plain values atomically, with the same bytes for the same content."""
    with atomic(path) as temporary:
        temporary.write_bytes(_bytes(content))


def save_state(content: dict[str, Any], path: Path) -> None:
    """Write the state of an unfinished training atomically, with a digest: see `read_state`."""
    content = _bytes(content)
    with atomic(path) as temporary:
        temporary.write_bytes(content + hashlib.sha256(content).digest())


def read_state(path: Path) -> Any:
    """Return what `save_state` wrote; None if there is nothing, or a single bit of it has changed."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    size = hashlib.sha256().digest_size
    content, digest = content[:-size], content[-size:]
    if hashlib.sha256(content).digest() != digest:
        return None
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # what it holds can be anything
        return None


def _bytes(content: dict[str, Any]) -> bytes:
    """Return what torch.save writes into memory: given a path, it stores the file's name in the archive."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def read(path: Path | str) -> dict[str, Any]:
    """Return what a checkpoint holds, see `FIELDS`; nothing in it is executed.

    Raises UserError if it is not one of this workflow, or its weights are not finite.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint: run train") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder, not a checkpoint: give best.pth of a run") from None
    try:
        content = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # damage makes torch raise anything
        raise UserError(f"{path}: not a checkpoint of this workflow: it is damaged or of another program") from None
    if isinstance(content, dict) and "seen_patches" in content:  # what minhash was called in 0.1 before its release
        content.setdefault("minhash", content.pop("seen_patches"))
    absent = [field for field in FIELDS if not isinstance(content, dict) or field not in content]
    if absent:
        raise UserError(f"{path}: not a checkpoint of this workflow: it has no {', '.join(absent)}")
    wrong = [field for field, fits in FIELDS.items() if not fits(content[field])]
    if wrong:
        raise UserError(f"{path}: not a checkpoint of this workflow: {', '.join(wrong)} of another kind: train again")
    if not all(bool(tensor.isfinite().all()) for tensor in content["weights"].values()):
        raise UserError(f"{path}: its weights are not finite: it is damaged, or its training diverged: train again")
    return content


def for_test(
    paths: Sequence[Path],
    features: Features,
    *,
    classes: Sequence[str],
    stains: Sequence[str],
) -> tuple[HierarchicalAttention, Bags, list[dict[str, Any]]]:
    """Return the models of checkpoints as the members of one, the Bags of the features, and what `read` gives of each.

    Model and bags are on the best device. The splits guarantee that the models have not seen the test cases. Raises
    UserError with all that does not fit.
    """
    contents = [read(path) for path in paths]
    models = [model(content, path, features, classes, stains) for content, path in zip(contents, paths, strict=True)]
    device = devices.best()
    try:
        return stack(models).to(device), Bags(features, stains, device), contents
    except ValueError:
        raise UserError(
            f"{paths[0]}: trained with other settings or on other cases than {paths[-1]}: train the split again"
        ) from None


def model(
    content: dict[str, Any], path: Path | str, features: Features, classes: Sequence[str], stains: Sequence[str]
) -> HierarchicalAttention:
    """Return the model of a checkpoint, of one member, for these features, classes and stains.

    Raises UserError with all that does not fit: a model refuses features that are not its own.
    """
    now = meaning(features.identity)
    problems = [
        f"{path}: trained on features with {key} {was!r}, but these have {now.get(key)!r}: "
        "set embed.* as it was, or train again"
        for key, was in meaning(content["features"]).items()
        if now.get(key) != was
    ]
    result, width = _built(content, path), features.values.shape[1]
    if not problems and width != result.settings.in_dim:
        problems.append(
            f"{path}: trained on features of width {result.settings.in_dim}, but these have {width}: "
            "set embed.* as it was, or train again"
        )
    for what, wanted in (("classes", classes), ("stains", stains)):
        if list(content[what]) != list(wanted):
            problems.append(
                f"{path}: trained with {what} {', '.join(content[what])}, but the config has {', '.join(wanted)}"
            )
    if problems:
        raise UserError(*problems)
    return result


def _built(content: dict[str, Any], path: Path | str) -> HierarchicalAttention:
    """Return the model that a checkpoint holds; its shape is compared before there is memory for it."""
    try:
        settings = ModelSettings(**content["model"])
        if settings.aggregation not in AGGREGATIONS:
            raise ValueError(settings.aggregation)
        with torch.device("meta"):
            shapes = HierarchicalAttention(settings).shapes()
        if shapes != {name: tensor.shape for name, tensor in content["weights"].items()}:
            raise ValueError("other shapes")
        result = HierarchicalAttention(settings)
        result.load(content["weights"])
    except Exception:
        raise UserError(f"{path}: its model is of another version of this workflow, or damaged: train again") from None
    if settings.classes != len(content["classes"]):
        named = ", ".join(content["classes"])
        raise UserError(f"{path}: a model of {settings.classes} classes, but it names {named}: damaged: train again")
    return result


def meaning(identity: dict[str, Any]) -> dict[str, Any]:
    """Return what features mean, without versions; of several encoders, the keys begin with their folders."""
    parts = identity.get("encoders", {"": identity})
    pairs = [(f"{name} {key}".strip(), key, value) for name, part in parts.items() for key, value in part.items()]
    return {name: value for name, key, value in pairs if key not in VERSIONS}

"""Checkpoints: a trained model with all that is needed to use it on the right features."""

import hashlib
import io
import pickle

import torch

from stratamil import devices
from stratamil.bags import Bags
from stratamil.errors import UserError
from stratamil.files import atomic
from stratamil.model import HierarchicalAttention, ModelSettings

# Parts of the features' identity that may differ where the features mean the same.
VERSIONS = ("code", "pillow", "torch", "torchvision", "timm")
FIELDS = ("weights", "model", "classes", "stains", "features", "epoch", "seen_patches")


def save(content, path):
    """Write a dict of tensors and plain values atomically, with the same bytes for the same content."""
    with atomic(path) as temporary:
        temporary.write_bytes(_bytes(content))


def save_state(content, path):
    """Write the state of an unfinished training atomically, with a digest: see `read_state`."""
    content = _bytes(content)
    with atomic(path) as temporary:
        temporary.write_bytes(content + hashlib.sha256(content).digest())


def read_state(path):
    """Read what `save_state` wrote; None if there is nothing, or not a bit as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    size = hashlib.sha256().digest_size
    content, digest = content[:-size], content[-size:]
    if hashlib.sha256(content).digest() != digest:
        return None
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _bytes(content):
    """What torch.save writes, from memory: given a path, it stores the file's name in the archive."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def read(path):
    """Read a checkpoint without pickled objects. Raises UserError if it is not one of ours."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint: set evaluate.checkpoint") from None
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError, OSError):
        raise UserError(f"{path}: not a checkpoint of this workflow: it is damaged or of another program") from None
    absent = [field for field in FIELDS if not isinstance(content, dict) or field not in content]
    if absent:
        raise UserError(f"{path}: not a checkpoint of this workflow: it has no {', '.join(absent)}")
    return content


def refuse_seen(content, path, bags, case_ids):
    """Raise UserError if the checkpoint was trained, or its epoch chosen, on half of a case's patches or more."""
    known = set(content["seen_patches"])
    marks = {case: bags.marks(case) for case in case_ids}
    seen = [case for case in case_ids if 2 * len(known.intersection(marks[case])) >= len(marks[case])]
    if seen:
        raise UserError(
            f"{path}: has seen test cases {', '.join(seen)} in training or validation: "
            "evaluate it on the test set of its own split, or on other patients"
        )


def for_test(path, features, classes, stains, case_ids):
    """The model of a checkpoint, the Bags of the features, both on the best device, and the checkpoint's content.

    Raises UserError with all that does not fit, and where it has seen one of the test cases.
    """
    content = read(path)
    result, device = model(content, path, features, classes, stains), devices.best()
    all_bags = Bags(features, stains, device)
    refuse_seen(content, path, all_bags, case_ids)
    return result.to(device), all_bags, content


def model(content, path, features, classes, stains):
    """The model of a checkpoint, in evaluation mode, for these features, classes and stains.

    Raises UserError with all that does not fit: a model refuses features that are not its own.
    """
    now = _meaning(features.identity)
    problems = [
        f"{path}: trained on features with {key} {was!r}, but these have {now.get(key)!r}: "
        "set embed.* as it was, or train anew"
        for key, was in _meaning(content["features"]).items()
        if now.get(key) != was
    ]
    result, width = _built(content, path), features.values.shape[1]
    if not problems and width != result.settings.in_dim:
        problems.append(
            f"{path}: trained on features of width {result.settings.in_dim}, but these have {width}: "
            "set embed.* as it was, or train anew"
        )
    for what, wanted in (("classes", classes), ("stains", stains)):
        if list(content[what]) != list(wanted):
            problems.append(
                f"{path}: trained with {what} {', '.join(content[what])}, but the config has {', '.join(wanted)}"
            )
    if problems:
        raise UserError(*problems)
    return result.eval()


def _built(content, path):
    """The model that a checkpoint holds."""
    try:
        result = HierarchicalAttention(ModelSettings(**content["model"]))
        result.load_state_dict(content["weights"])
    except (TypeError, KeyError, RuntimeError):
        raise UserError(f"{path}: its model is of another version of this workflow: train anew") from None
    return result


def _meaning(identity):
    """What features mean, without versions: key -> value; of several encoders, the keys begin with their folders."""
    parts = identity.get("encoders", {"": identity})
    pairs = [(f"{name} {key}".strip(), key, value) for name, part in parts.items() for key, value in part.items()]
    return {name: value for name, key, value in pairs if key not in VERSIONS}

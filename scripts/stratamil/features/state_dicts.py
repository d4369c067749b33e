"""Files of weights, however a training program nested and named what is in them."""

import logging
import pickle
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from stratamil.core.errors import UserError, few

MATCHED = 0.95
TEACHER = re.compile(r"(^|[._])teacher([._]|$)")  # of the networks in a file of self-supervised training, the result
BESIDE = re.compile(r"(^|[._])(student|ema|momentum|encoder_k|key|target)([._]|$)")  # copies that help another
RENAMED = (
    (re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\."), r"\1\2."),  # the published DenseNet files
    (re.compile(r"((?:^|\.)blocks)\.\d+\.(\d+\.)"), r"\1.\2"),  # DINOv2 trains in chunks of blocks
)
TRAINING = re.compile(r"(^|\.)mask_token$")  # of self-supervised training alone


def load(network: nn.Module, path: Path | str, encoder: str) -> None:
    """Copy the weights in a file into `network`, whatever prefix their names carry. Raises UserError if few fit."""
    read = _read_weights(path)
    if not isinstance(read, dict):
        raise UserError(f"{path}: holds a {type(read).__name__}, not a state dict: save the network's state_dict()")
    wanted = {
        name: value.shape for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    tensors = _renamed(dict(_tensors(read)), wanted)
    matched, prefix = _match(tensors, wanted, path, encoder)
    missing = [name for name in wanted if name not in matched]
    if len(matched) < MATCHED * len(wanted):
        raise UserError(
            f"{path}: only {len(matched)} of the {len(wanted)} weights of {encoder} are in it "
            f"({_nearest(tensors, wanted)}missing: {few(missing) or 'none'}; "
            f"in the file: {_content(tensors) or few(read) or 'none'}): "
            "give the weights of this encoder, or set embed.encoder to the network that they are of"
        )
    if hasattr(network, "pretrained_cfg"):  # timm's: a layer too many or too few makes it another network
        heads = network.pretrained_cfg.get("classifier") or ()
        heads = (heads,) if isinstance(heads, str) else heads
        used = {id(value) for value in matched.values()}
        excess = [
            name
            for name, value in tensors.items()
            if id(value) not in used
            and name.startswith(prefix)
            and not name.endswith("num_batches_tracked")
            and not any(f".{head}." in f".{name}" for head in heads)
        ]
        if missing or excess:
            raise UserError(
                f"{path}: not the weights of {encoder} (missing: {few(missing) or 'none'}; "
                f"not of it: {few(excess) or 'none'}): "
                "give the weights of this encoder, or set embed.encoder to the network that they are of"
            )
    if damaged := [name for name, value in matched.items() if not value.isfinite().all()]:
        raise UserError(f"{path}: weights that are no numbers: {few(damaged)}: give a file of a sound training")
    if missing:
        logging.warning(
            "%s: %d of %d weights are missing and stay random: %s", path, len(missing), len(wanted), few(missing)
        )
    network.load_state_dict(matched, strict=False)


def _read_weights(path: Path | str) -> Any:
    """Return what a file of weights holds, told by its first bytes; nothing that could run code is unpickled."""
    try:
        with open(path, "rb") as file:
            if file.read(9)[8:] == b"{":  # the length of a header in JSON, then the header
                return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: make it with scripts/weights.py, or set embed.weights") from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, safetensors.SafetensorError):
        raise UserError(
            f"{path}: not a file of weights alone (torch.load with weights_only=True refuses it): "
            "save the network's state_dict() with torch.save"
        ) from None


def _tensors(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) of dicts in dicts, whatever they are called: `teacher.backbone.conv1.weight`."""
    for key, inner in value.items():
        if torch.is_tensor(inner):
            yield f"{prefix}{key}", inner
        elif isinstance(inner, dict):
            yield from _tensors(inner, f"{prefix}{key}.")


def _match(
    tensors: dict[str, Tensor], wanted: dict[str, torch.Size], path: Path | str, encoder: str
) -> tuple[dict[str, Tensor], str]:
    """Return (entries of `tensors` under the names in `wanted`, prefix), by the one change of prefix that fits most.

    tensors: name -> tensor. wanted: name -> shape. An entry matches by name and shape. Of several networks that fit
    alike, a teacher is taken first, and a student or a running mean last. Raises UserError where two are left.
    """

    def fitting(strip: str, add: str) -> dict[str, Tensor]:
        names = _changed(tensors, strip, add)
        return {new: tensors[old] for new, old in names.items() if new in wanted and tensors[old].shape == wanted[new]}

    def rank(fit: tuple[dict[str, Tensor], str]) -> tuple[int, int]:
        matched, strip = fit
        return -len(matched), 0 if TEACHER.search(strip) else 2 if BESIDE.search(strip) else 1

    fits = sorted(((fitting(strip, add), strip) for strip, add in _changes(tensors, wanted)), key=rank)
    best, prefix = fits[0]
    same = [(matched, strip) for matched, strip in fits if rank((matched, strip)) == rank(fits[0])]
    others = [strip for matched, strip in same if any(matched[name] is not best.get(name) for name in matched)]
    if others and len(best) >= MATCHED * len(wanted):
        raise UserError(
            f"{path}: holds {len(others) + 1} networks that fit {encoder} ({few([prefix, *others])}): "
            "save the state_dict() of one"
        )
    return best, prefix


def _changes(tensors: Iterable[str], wanted: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the changes of prefix that may be called for: one to take off names, and one to put before them."""
    prefixes = Counter(
        ".".join(parts[:depth]) + "."
        for parts in (name.split(".") for name in tensors)
        for depth in range(1, len(parts))
    )
    # A network's prefix is on many names; that of a block inside it is on few.
    strips = ["", *(prefix for prefix, n in prefixes.items() if n >= len(wanted) / 2)]
    adds = ["", *dict.fromkeys(name.split(".")[0] + "." for name in wanted)]
    return product(strips, adds)


def _changed(tensors: Iterable[str], strip: str, add: str) -> dict[str, str]:
    """Return changed name -> name."""
    return {add + name.removeprefix(strip): name for name in tensors if name.startswith(strip)}


def _nearest(tensors: dict[str, Tensor], wanted: dict[str, torch.Size]) -> str:
    """Say which change of prefix would fit most names, and whose shapes are others then, as of a larger network."""
    fits = {change: _changed(tensors, *change).keys() & wanted.keys() for change in _changes(tensors, wanted)}
    (strip, add), names = max(fits.items(), key=lambda fit: (len(fit[1]), -len(fit[0][0]) - len(fit[0][1])))
    if not names:
        return ""
    how = [f"without the prefix {strip}"] * bool(strip) + [f"with the prefix {add} before them"] * bool(add)
    old = _changed(tensors, strip, add)
    other = [name for name in wanted if name in names and tensors[old[name]].shape != wanted[name]]
    told = [f"{name} {_size(tensors[old[name]].shape)}, not {_size(wanted[name])}" for name in other]
    shapes = f", {len(other)} of them of another shape: {few(told, 1)}" if other else ""
    return f"{' '.join([f'{len(names)} by name', *how])}{shapes}; "


def _size(shape: torch.Size) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _renamed(tensors: dict[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """Return the tensors under the names that timm and torchvision give them, without those of training alone.

    A network whose own names look like the old ones keeps them.
    """
    rules = [rule for rule in RENAMED if not any(rule[0].search(name) for name in wanted)]

    def now(name: str) -> str:
        for old, new in rules:
            name = old.sub(new, name)
        return name

    return {now(name): value for name, value in tensors.items() if not TRAINING.search(name)}


def _content(tensors: dict[str, Tensor]) -> str:
    """What weights there are: the parts of the network and how many each has, and the first names."""
    parts = [name.split(".") for name in tensors]
    depth = next((i for i, level in enumerate(zip(*parts)) if len(set(level)) > 1), 0) + 1
    counts = Counter(".".join(part[:depth]) for part in parts).most_common()
    return f"{few([f'{name} ({n})' for name, n in counts], 5)}, such as {few(list(tensors))}" if tensors else ""

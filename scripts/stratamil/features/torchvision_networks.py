"""Classification networks of torchvision, cut after their last map. Importing torchvision takes seconds."""

import difflib
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models import WeightsEnum, feature_extraction

from stratamil.core.errors import UserError, few
from stratamil.features.encoder_registry import LITE0, STAIN_STATS, Normalisation

VERSION = str(torchvision.__version__)
HEAD = ("classifier", "avgpool", "fc", "head", "heads")  # modules that follow the last map
PROBE_SIZE = 224  # every network takes it, and has a last map larger than 1 x 1 for it


def build(encoder: str, final_relu: bool | None = None, layer: str | None = None) -> nn.Module:
    """Return a network up to its last map, with random weights; without DenseNet's last ReLU if final_relu is False.

    layer: the part whose output is the map. Raises UserError if it has no such map.
    """
    network = _network(encoder)
    name = layer or ("features.norm5" if final_relu is False else _last_map_of(encoder))
    try:
        return feature_extraction.create_feature_extractor(
            network, train_return_nodes={}, eval_return_nodes={name: "map"}, suppress_diff_warning=True
        )
    except ValueError:
        raise UserError(no_layer(encoder, name, [each for each, _ in network.named_modules() if each])) from None


def no_layer(encoder: str, layer: str, there: Sequence[str]) -> str:
    """Say that a network has no such layer, and which are like it. there: names of its layers."""
    near = difflib.get_close_matches(layer, there, n=3, cutoff=0.4) or there[-5:]
    return f"config: embed.layer: {encoder} has no {layer}: set one like {few(near, 5)}"


def _network(encoder: str) -> nn.Module:
    """Return a whole network with random weights."""
    network = torchvision.models.get_model(encoder, weights=None).eval()
    if hasattr(network, "transform_input"):
        network.transform_input = True  # GoogLeNet and Inception turn the ImageNet normalisation into their own
    return network


@cache
def _last_map_of(encoder: str) -> str:
    """Return the name of a network's last map, from the shapes alone. Raises UserError if it has none."""
    network = _network(encoder).to("meta")  # shapes without numbers
    with torch.device("meta"), torch.inference_mode():
        in_training, in_eval = feature_extraction.get_graph_node_names(network, suppress_diff_warning=True)
        probe = feature_extraction.create_feature_extractor(
            network, train_return_nodes=in_training, eval_return_nodes=in_eval, suppress_diff_warning=True
        ).eval()
        name = _last_map(probe(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE)))
    if name is None:
        raise UserError(f"config: embed.encoder: {encoder} has no last feature map: {_supported(encoder)}")
    return name


def _last_map(outputs: dict[str, Any]) -> str | None:
    """Name of the last (1, C, H, W) with H x W > 1 before the head; None where tokens (1, T, C) come after it."""
    before_head = {
        name: tuple(value.shape)
        for name, value in outputs.items()
        if isinstance(value, torch.Tensor) and value.dim() > 2 and name.split(".")[0] not in HEAD
    }
    shapes = {name: shape for name, shape in before_head.items() if shape[-2:] != (1, 1)}
    name = next(reversed(shapes), None)
    return name if name and len(shapes[name]) == 4 else None


def published(encoder: str, weights: str) -> WeightsEnum:
    """Return torchvision's enum entry of published weights. Raises UserError if there is none of that name."""
    if encoder not in torchvision.models.list_models(module=torchvision.models):
        raise UserError(f"config: embed.encoder: no encoder {encoder!r}: {_supported(encoder)}")
    entries = torchvision.models.get_model_weights(encoder)
    if weights == "default":
        return entries.DEFAULT
    if weights not in entries.__members__:
        names = ", ".join(entry.name for entry in entries)
        raise UserError(
            f"config: embed.weights: {encoder} has no weights {weights!r}: set default, none, {names} or a .pth file"
        )
    return entries[weights]


def _supported(encoder: str) -> str:
    known = [LITE0, STAIN_STATS, *torchvision.models.list_models(module=torchvision.models, exclude="vit_*")]
    near = difflib.get_close_matches(encoder, known, n=3) or [
        "densenet121",
        "resnet50",
        "efficientnet_b0",
        "convnext_tiny",
    ]
    return (
        f"set {', '.join(near)}, {LITE0}, {STAIN_STATS}, another convolutional classification network of torchvision, "
        "or one of timm as timm:NAME"
    )


def normalisation(encoder: str) -> Normalisation:
    """Return mean and SD (of 3 channels, pixels from 0 to 1) with which the published weights were trained."""
    transforms = published(encoder, "default").transforms()
    mean, std = (tuple(round(float(value), 4) for value in part) for part in (transforms.mean, transforms.std))
    return mean, std

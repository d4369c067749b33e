"""What is known of each encoder: defaults, architecture, and where its weights come from. Needs neither torch nor timm.

The config names an encoder by a row of ENCODERS, by a classification network of torchvision (`resnet34`), by `timm:`
and an architecture of timm (`timm:vit_small_patch16_224.dino`), or by `hf-hub:` and a repository of the Hugging Face
Hub that holds a timm network (`hf-hub:owner/name`). A setting that the config leaves null is the default given here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stratamil.core.names import column

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # mean and SD of R, G and B
LITE0, STAIN_STATS = "efficientnet_lite0", "stain_stats"
FILES = (".pth", ".pt", ".bin", ".safetensors")  # suffixes of a user's own weights
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
EXTRA = "config: embed.encoder: this encoder needs timm: pip install -r requirements-timm.txt -c constraints.txt"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BIOPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))


@dataclass(frozen=True)
class Entry:
    """One encoder.

    library: what makes the network: torchvision, timm, or the encoder's own name. network: the architecture there;
    None: named by the config.json of the repository. arguments: of timm.create_model.
    size: side of the input in pixels. resize: see images.fit. pooling: see encoders.load. None: as timm has it.
    normalisation: mean and SD of R, G and B, of pixels from 0 to 1; None: as the library has it.
    width: features at one place of the map, or of one token; 2x2 gives 4 times, cls+mean twice as many.
    precision: what "auto" is; "auto" here: bf16 where the machine computes in it.
    final_relu: whether the network applies DenseNet's last ReLU before it pools; None where there is none.
    layer: the part of the network whose output is taken; None: the last map, or the tokens after the last norm.
    published: torchvision's name of the weights that "default" are; "default": its own choice.
    trained_on: what the published weights were trained on. hub: repository of the Hugging Face Hub. source: where all
    this is documented.
    """

    library: str
    network: str | None
    size: int | None
    resize: str
    pooling: str | None = "2x2"
    width: int | None = None
    normalisation: Normalisation | None = None
    precision: str = "auto"
    final_relu: bool | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    layer: str | None = None
    published: str = "default"
    trained_on: str | None = None
    hub: str | None = None
    source: str = ""


def _torchvision(network: str, width: int | None = None) -> Entry:
    relu = True if network.startswith("densenet") else None
    return Entry("torchvision", network, 224, "squash", width=width, final_relu=relu, trained_on="ImageNet")


def _vit(
    hub: str,
    network: str,
    width: int,
    pooling: str = "cls",
    normalisation: Normalisation = IMAGENET,
    **arguments: Any,
) -> Entry:
    """A published vision transformer, with the arguments, normalisation and pooling that TRIDENT a91fa84 loads it with.

    docs/how-to/encoders.md says how each row was checked against its authors' text.
    Their transforms scale the shorter side to 224 and take the centre; only Prov-GigaPath's scales it to 256 first.
    """
    return Entry(
        "timm", network, 224, "crop", pooling, width, normalisation, arguments=arguments, hub=hub,
        source=f"https://huggingface.co/{hub}",
    )  # fmt: skip


_SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}

ENCODERS = {
    "densenet121": _torchvision("densenet121", 1024),
    "densenet169": _torchvision("densenet169", 1664),
    "resnet18": _torchvision("resnet18", 512),
    "resnet50": _torchvision("resnet50", 2048),
    "efficientnet_b0": _torchvision("efficientnet_b0", 1280),
    "convnext_tiny": _torchvision("convnext_tiny", 768),
    # In bf16 its features of tissue differ: cosine with those of fp32 from .986, median .998.
    LITE0: Entry(
        LITE0, LITE0, 224, "squash", pooling="global", width=1280, normalisation=((127 / 255,) * 3, (128 / 255,) * 3),
        precision="fp32", trained_on="ImageNet", source="Python package efficientnet-lite-pytorch",
    ),
    STAIN_STATS: Entry(
        STAIN_STATS, STAIN_STATS, 96, "squash", pooling="global", width=60, normalisation=((0.0,) * 3, (1 / 255,) * 3),
        precision="fp32",
    ),
    # Its authors' code pools right after `features`, without the ReLU, and takes patches as they are (1000 px at 20x).
    "kimianet": Entry(
        "torchvision", "densenet121", 224, "squash", "global", 1024, normalisation=IMAGENET, final_relu=False,
        source="https://github.com/KimiaLabMayo/KimiaNet",
    ),
    # The truncated ResNet50 of CLAM 53e2409, models/timm_wrapper.py: timm's resnet50.tv_in1k up to its third block.
    "clam_resnet50": Entry(
        "torchvision", "resnet50", 224, "squash", "global", 1024, normalisation=IMAGENET, precision="fp32",
        layer="layer3", published="IMAGENET1K_V1", trained_on="ImageNet", source="https://github.com/mahmoodlab/CLAM",
    ),
    "uni": _vit("MahmoodLab/UNI", "vit_large_patch16_224", 1024, init_values=1e-5),
    "uni2_h": _vit(
        "MahmoodLab/UNI2-h", "vit_giant_patch14_224", 1536, depth=24, num_heads=24, init_values=1e-5, embed_dim=1536,
        mlp_ratio=2.66667 * 2, no_embed_class=True, reg_tokens=8, **_SWIGLU,
    ),
    "virchow": _vit(
        "paige-ai/Virchow", "vit_huge_patch14_224", 1280, "cls+mean", init_values=1e-5, mlp_ratio=5.3375,
        global_pool="", **_SWIGLU,
    ),
    "virchow2": _vit(
        "paige-ai/Virchow2", "vit_huge_patch14_224", 1280, "cls+mean", init_values=1e-5, mlp_ratio=5.3375,
        global_pool="", reg_tokens=4, **_SWIGLU,
    ),
    "h_optimus_0": _vit(
        "bioptimus/H-optimus-0", "vit_giant_patch14_reg4_dinov2", 1536, normalisation=BIOPTIMUS, img_size=224,
        init_values=1e-5,
    ),
    "h_optimus_1": _vit(
        "bioptimus/H-optimus-1", "vit_giant_patch14_reg4_dinov2", 1536, normalisation=BIOPTIMUS, img_size=224,
        init_values=1e-5,
    ),
    "prov_gigapath": _vit(
        "prov-gigapath/prov-gigapath", "vit_giant_patch14_dinov2", 1536, img_size=224, patch_size=16, init_values=1e-5,
        mlp_ratio=5.33334,
    ),
}  # fmt: skip

# Published in formats of their own, which timm does not read.
ELSEWHERE = (
    "conch", "conchv1_5", "conch_v15", "phikon", "phikon_v2", "hibou_b", "hibou_l", "midnight", "midnight_12k",
    "pathoduet", "pathoduet_ihc", "musk", "keep", "ctranspath", "gpfm",
)  # fmt: skip
# Encoders of slides, with the encoder of patches whose features they take.
OF_SLIDES = {
    "titan": "CONCH v1.5", "prism": "virchow", "chief": "CTransPath", "madeleine": "CONCH",
    "gigapath_slide": "prov_gigapath", "threads": "CONCH v1.5", "feather": "CONCH v1.5",
}  # fmt: skip


def entry(encoder: str) -> Entry:
    """Return the Entry of an encoder, by any of its names."""
    kind, _, name = encoder.partition(":")
    if kind == "timm":
        return Entry("timm", name, None, "squash", pooling=None)
    if kind == "hf-hub":
        repository = name.partition("@")[0].lower()
        row = Entry("timm", None, None, "squash", pooling=None, source=f"https://huggingface.co/{repository}")
        row = next((known for known in ENCODERS.values() if (known.hub or "").lower() == repository), row)
        return replace(row, hub=name)
    return ENCODERS.get(encoder) or _torchvision(encoder)


def folder(encoder: str) -> str:
    """Return the name of an encoder in paths: `hf_hub_owner_name`."""
    return column(encoder)


def filled(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an encoder with its defaults in place of null, as far as they are known without timm."""
    row = entry(settings["encoder"])
    defaults = {"input_size": row.size, "resize": row.resize, "pooling": row.pooling, "layer": row.layer}
    return settings | {key: default for key, default in defaults.items() if settings[key] is None}


def needs_timm(encoder: str) -> bool:
    """Return whether an encoder needs the optional extra timm."""
    return entry(encoder).library == "timm"


def is_file(weights: str) -> bool:
    """Return whether the setting embed.weights names a file of the user's own."""
    return weights.endswith(FILES)


def fetched(encoder: str, weights: str) -> str | None:
    """Return the name of the file that the published weights are put into; None if there is nothing to fetch."""
    if weights == "none" or is_file(weights) or encoder == STAIN_STATS:
        return None
    # Files of the Hub are of either format; they are told apart by their content.
    suffix = "weights" if needs_timm(encoder) else "pth"
    return f"{folder(encoder)}_{Path(weights).name}.{suffix}"


def pretraining(encoder: str, weights: str | None) -> str:
    """Return what the weights are, for a sentence: `pretrained on ImageNet`; empty where that is not known.

    weights: as the identity of features has it, the name of a file.
    """
    row = entry(encoder)
    if not weights or row.library == STAIN_STATS:
        return ""
    if weights == "none":
        return "random weights"
    if weights not in {fetched(encoder, name) for name in ("default", "IMAGENET1K_V1", "IMAGENET1K_V2")}:
        return "own weights"
    if row.trained_on:
        return f"pretrained on {row.trained_on}"
    return f"pretrained, weights of {row.hub} on the Hugging Face Hub" if row.hub else "pretrained, weights of timm"


def version(encoder: str, weights: str) -> str:
    """Return the name that torchvision gives to published weights; "default" is what the registry says."""
    return entry(encoder).published if weights == "default" else weights


def problems(
    encoder: str,
    weights: str,
    final_relu: bool | None = None,
    pooling: str | None = None,
    layer: str | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield (setting, message) of what cannot work, before anything is loaded."""
    name = column(encoder.rpartition("/")[2].partition("@")[0])
    if encoder not in ENCODERS and name in OF_SLIDES:
        yield (
            "encoder",
            f"{encoder} encodes whole slides, from features of their patches: a row a slide has no patches to weigh. "
            f"Set the encoder of patches that it takes, {OF_SLIDES[name]}",
        )
        return
    if encoder not in ENCODERS and name in ELSEWHERE:
        yield "encoder", f"timm has no {encoder}: make its features with TRIDENT and set features.source: precomputed"
        return
    row, own = entry(encoder), weights == "none" or is_file(weights)
    if encoder == "kimianet" and not own:
        message = f"kimianet needs your consent to its agreement: get KimiaNetPyTorchWeights.pth from {row.source}"
        yield "weights", f"{message} and set embed.weights to its path"
    if row.library == "timm" and not own and weights != "default":
        yield "weights", f"{encoder} has no weights {weights!r}: set default, none or a file ({', '.join(FILES)})"
    if row.library == "torchvision" and encoder.startswith("vit_"):
        yield "encoder", f"{encoder} has no last feature map: set timm:NAME, or another network"
    elif pooling in ("cls", "cls+mean") and row.library in ("torchvision", LITE0):
        yield "pooling", f"{pooling} is for tokens, and {encoder} has a map: set 2x2 or global"
    elif pooling == "2x2" and row.pooling in ("cls", "cls+mean"):
        yield "pooling", f"2x2 is for a map, and {encoder} has tokens: set cls, cls+mean or global"
    if layer and row.library not in ("torchvision", "timm"):
        yield "layer", f"{encoder} has no layers to choose from: set it to null"
    if layer and final_relu is not None:
        yield "final_relu", f"is of DenseNet's last map, and embed.layer is {layer}: set one of them to null"
    if final_relu is not None and row.final_relu is None:
        yield "final_relu", f"{encoder} is no DenseNet of torchvision and has no such ReLU: set it to null"

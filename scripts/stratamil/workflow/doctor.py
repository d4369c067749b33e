"""Check the machine, the environment and a study's needs before the study does: a line each, ok or what to do.

What could be broken is imported where it is needed: a missing package is a line, never a traceback.
"""

import getpass
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stratamil.core.errors import UserError
from stratamil.workflow import machine
from stratamil.workflow.machine import Line, State

HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Study:
    """What the checks need of a study. encoders: each with its setting of weights; None where no study was read."""

    results: Path = Path("results")
    encoders: tuple[tuple[str, str], ...] | None = None
    configfiles: tuple[Path, ...] = ()


Check = Callable[[], Iterable[Line]]


def examine(name: str, check: Check) -> list[Line]:
    """Return the lines of a check; one that fails in a way of its own is a line, never a traceback."""
    lines = []
    try:
        for line in check():
            lines.append(line)
    except Exception as error:
        lines.append(Line("wrong", name, f"could not be checked ({machine.reason(error)}): report it with these lines"))
    return lines


def checks(root: Path, study: Study) -> dict[str, Check]:
    """Return every check by name, in the order in which a reader wants them. root: the checkout."""
    torch = {}
    return {
        "Python": lambda: machine.python(root),
        "packages": lambda: machine.packages(root),
        "Snakemake": machine.snakemake,
        "torch": lambda: machine.torch_build(torch),
        "GPU": lambda: machine.gpu(torch),
        "memory": machine.memory,
        "disk": lambda: machine.disk(study.results),
        "results folder": lambda: machine.results_folder(study.results),
        "weights": lambda: weights(study),
        "network": lambda: network(study),
        "hub token": hub_token,
        "SLURM": lambda: slurm(root, study),
        "Chromium": chromium,
    }


def read_study(root: Path, configfiles: list[Path]) -> Study:
    """Return what the checks need of the config; without files of the user's, only the results folder.

    Raises UserError for what is wrong with a file, ImportError where packages are missing.
    """
    from stratamil.core import schema
    from stratamil.workflow import config_checks, config_files, config_values

    config: dict[str, Any] = {name: schema.defaults(name) for name in ("embed", "features", "names")}
    for path in [root / "config/config.yaml", *configfiles]:
        for key, value in config_files.read(path, schema.read()).items():
            both = isinstance(config.get(key), dict) and isinstance(value, dict)
            config[key] = {**config[key], **value} if both else value
    if not configfiles:
        return Study(Path(config["results"]))
    if problems := config_checks.problems(config, schema.read()):
        raise UserError(*problems)
    precomputed = config["features"]["source"] == "precomputed"
    used = [] if precomputed else config_values.encoders(config).values()
    encoders = tuple((each["encoder"], each["weights"]) for each in used)
    return Study(Path(config["results"]), encoders, tuple(configfiles))


def weights(study: Study) -> Iterator[Line]:
    """Check that the weights of the configured encoders are there, or can be fetched."""
    if study.encoders is None:
        yield Line("note", "weights", "not checked, no study was read: make doctor CONFIG=my_study.yaml")
    for encoder, chosen in study.encoders or ():
        state, what = _weights_of(encoder, chosen)
        yield Line(state, "weights", f"{encoder}: {what}")


def _weights_of(encoder: str, chosen: str) -> tuple[State, str]:
    """Return the state of an encoder's weights, and what to say of them."""
    from stratamil.features import encoder_registry

    if encoder_registry.is_file(chosen):
        there = Path(chosen).is_file()
        return ("ok", chosen) if there else ("wrong", f"{chosen} is not there: copy it there, or set embed.weights")
    for _, problem in encoder_registry.problems(encoder, chosen):
        return "wrong", problem
    fetched = encoder_registry.fetched(encoder, chosen)
    if not fetched:
        return "ok", "needs no weights"
    if (file := Path("resources/weights", fetched)).is_file():
        return "ok", str(file)
    address = url(encoder, chosen)
    if not address:
        return "ok", "its weights come with the installed packages"
    cache = Path(os.environ.get("TORCH_HOME") or "~/.cache/torch").expanduser() / "hub/checkpoints"
    if (cache / address.rpartition("/")[2]).is_file() or reached(host(address)):
        if encoder_registry.needs_timm(encoder):
            from stratamil.features import hub

            if refused := hub.refusal(encoder):
                return "wrong", refused
        return "note", "no weights here yet: the first run fetches them"
    return "wrong", f"no weights here, and {host(address)} cannot be reached: run once where there is internet"


def network(study: Study) -> Iterator[Line]:
    """Check the hosts that serve weights: those of the configured encoders, or of all without a study."""
    from stratamil.features import encoder_registry

    encoders = study.encoders
    if encoders is None:
        encoders = [(name, "default") for name in encoder_registry.ENCODERS]
    try:
        addresses = [url(*each) for each in encoders]
    except ImportError as error:
        yield Line("note", "network", f"not checked ({machine.reason(error)}): see packages")
        return
    hosts = list(dict.fromkeys(host(address) for address in addresses if address))
    if not hosts:
        yield Line("ok", "network", "not needed, no weights to download")
    for each in hosts:
        if reached(each):
            yield Line("ok", "network", f"{each} can be reached")
        else:
            remedy = "fetch weights on a machine with internet, or set https_proxy"
            yield Line("note", "network", f"{each} cannot be reached: {remedy}")


def url(encoder: str, chosen: str) -> str | None:
    """Return where an encoder's weights are downloaded from, None if they are not. Raises ImportError without torch."""
    from stratamil.features import encoder_registry

    row = encoder_registry.entry(encoder)
    packaged = row.library == encoder_registry.LITE0
    if packaged or not encoder_registry.fetched(encoder, chosen) or any(encoder_registry.problems(encoder, chosen)):
        return None
    if row.library == "timm":
        return os.environ.get("HF_ENDPOINT") or HUB
    from stratamil.features import torchvision_networks

    return torchvision_networks.published(row.network, encoder_registry.version(encoder, chosen)).url


def host(address: str) -> str:
    """Return `https://host` of an address."""
    return "/".join(address.split("/")[:3])


def reached(address: str, timeout: float = 5) -> bool:
    """Tell whether a host answers, whatever it says."""
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "StrataMIL doctor"})
    try:
        urllib.request.urlopen(request, timeout=timeout).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def hub_token() -> Iterator[Line]:
    """Check whether a token of the Hugging Face Hub is there, as its own library looks for it; it is never read."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"))
    file = Path(os.environ.get("HF_TOKEN_PATH") or home / "token").expanduser()
    if any(os.environ.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")) or file.is_file():
        yield Line("ok", "hub token", "there (not shown)")
    else:
        yield Line("note", "hub token", "none: only gated encoders such as uni need one: hf auth login")


def slurm(root: Path, study: Study) -> Iterator[Line]:
    """Check SLURM, and with check_slurm.py what the study (without one, the demo) would ask of it."""
    if not shutil.which("sinfo"):
        yield Line("note", "SLURM", "not here: only needed to run on a cluster")
        return
    try:
        yield Line("ok", "SLURM", machine.asked("sinfo", "--version").strip())
        machine.asked("sinfo", "--noheader")
    except (OSError, subprocess.SubprocessError) as error:
        yield Line("note", "SLURM", f"its commands are here, but no cluster answers ({machine.reason(error)})")
        return
    config = list(map(os.path.abspath, study.configfiles)) or ["config/demo.yaml"]
    try:
        said = machine.asked(sys.executable, "scripts/check_slurm.py", "--configfile", *config, timeout=180, cwd=root)
        yield Line("ok", "check-slurm", said.strip().splitlines()[-1])
    except subprocess.SubprocessError as error:
        yield Line("note", "check-slurm", f"{machine.reason(error, first=True)}; make check-slurm has the rest")


def chromium() -> Iterator[Line]:
    """Check for the browser that the tests look at pages with."""
    if any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        yield Line("ok", "Chromium", "there (only used by the tests)")
    else:
        yield Line("note", "Chromium", "not here: the tests of pages are skipped; nothing else needs it")


def shareable(text: str, root: Path) -> str:
    """Return text without the paths, the user's name and the passwords in URLs that a bug report must not have."""
    for folder, short in [(root, "<checkout>"), (Path.home(), "~"), (Path(os.path.realpath(Path.home())), "~")]:
        if len(folder.parts) > 1:
            text = re.sub(rf"{re.escape(str(folder))}(?=$|[/\s:'\"),])", short, text)
    text = re.sub(r"://[^/@\s]+@", "://", text)
    with suppress(KeyError, OSError, ImportError):  # a container may have no name for its user
        if (user := getpass.getuser()) != "root":
            text = re.sub(rf"(?<![\w.-]){re.escape(user)}(?![\w-]|\.\w)", "<user>", text)
    return text

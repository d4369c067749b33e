"""Weights on the Hugging Face Hub: fetched at one commit, and checked by the hash that the Hub states.

The Hub's own client follows redirects, goes on where a connection was cut, and sends the user's login. What its cache
on this machine has already is taken from there, also where the machine is offline. Each failure is one line.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from stratamil.core import files
from stratamil.core.errors import REFUSALS, UserError
from stratamil.features import encoder_registry
from stratamil.features.encoder_registry import Entry

SITE = "https://huggingface.co"
DESCRIPTION = "config.json"
FINE = "a fine-grained token needs the right to read gated repositories"


class Repository(NamedTuple):
    """Where the weights of an encoder are. names: of the file, of which the first that is there is taken."""

    name: str
    revision: str | None
    names: Sequence[str]

    @property
    def page(self) -> str:
        """The address for a person."""
        return f"{SITE}/{self.name}"


class Held(NamedTuple):
    """A file that is here now. sha256: as the Hub states it, where it does. cached: whether the client's cache has it.

    A file in the cache must not be moved away.
    """

    path: Path
    commit: str
    sha256: str | None
    cached: bool


def client() -> ModuleType:
    """Return the module huggingface_hub, which is an optional extra. Raises UserError without it."""
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise UserError(encoder_registry.EXTRA) from None
    return huggingface_hub


def fetch(entry: Entry, temporary: Path, output: Path) -> tuple[Path | str, str | None]:
    """Put the weights of an encoder at `temporary`, which will become `output`.

    Returns where they come from and the SHA-256 that the Hub states, which is not checked here. Where the architecture
    is told by the repository only, its config.json is put beside `output`, of the same commit.
    Raises UserError with what went wrong and what to do.
    """
    client()
    repository, beside = _repository(entry), output.with_suffix(".json")
    wanted = output.with_suffix(Path(repository.names[0]).suffix)
    also = "" if entry.network else f" (and {DESCRIPTION} to {beside})"
    copy = f"download it on a machine with internet, copy it to {wanted}{also} and set embed.weights to that path"
    with _folder(output) as folder, _told(repository, f"run again where there is internet, or {copy}"):
        held = _held(repository, folder)
        if not entry.network:
            described = _held(repository._replace(revision=held.commit, names=(DESCRIPTION,)), folder)
            _describe(described.path, beside, repository)
        (shutil.copyfile if held.cached else os.replace)(held.path, temporary)
    return held.path if held.cached else f"{repository.page}/tree/{held.commit}", held.sha256


def refusal(encoder: str) -> str | None:
    """Return why the weights of an encoder cannot be fetched from here, and what to do; None if they can.

    Only asked for is what the Hub states of the file.
    """
    try:
        client()
        repository = _repository(encoder_registry.entry(encoder))
        with _told(repository, "run once where there is internet"):
            _stated(repository)
    except UserError as error:
        return str(error)
    return None


def _repository(entry: Entry) -> Repository:
    """Return where the weights of an encoder are; timm knows those of its own networks."""
    hub, names = entry.hub, encoder_registry.HUB_FILES
    if not hub:
        from stratamil.features import networks

        configured = networks.import_timm().models.get_pretrained_cfg(entry.network)
        hub = configured and configured.hf_hub_id
        names = (configured.hf_hub_filename,) if configured and configured.hf_hub_filename else names
        if not hub:
            raise UserError(f"config: embed.weights: timm publishes none for {entry.network}: set a file of your own")
    name, _, revision = hub.partition("@")
    return Repository(name, revision or None, names)


@contextmanager
def _folder(output: Path) -> Iterator[Path]:
    """Yield an empty folder on the disk of `output`, and remove it; what a killed run left is removed first."""
    folder = output.with_name(f".hub_{output.name}")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _held(repository: Repository, folder: Path) -> Held:
    """Return a file of a repository, downloaded into `folder` unless the client's cache has it.

    Raises what the client raises; where the Hub cannot be reached, only if the cache does not have it, either.
    """
    hub = client()
    try:
        name, stated = _stated(repository)
        commit, sha256 = stated.commit_hash, _sha256(stated.etag)
        if cached := _cached(repository.name, name, commit):
            return Held(cached, commit, sha256, True)
        path = hub.hf_hub_download(repository.name, name, revision=commit, local_dir=folder)
        return Held(Path(path), commit, sha256, False)
    except (hub.errors.HTTPError, OSError) as error:
        if isinstance(error, (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError)):
            raise
        here = [_cached(repository.name, name, repository.revision) for name in repository.names]
        if not (path := next(filter(None, here), None)):
            raise
        # The cache names a file by what the Hub stated of it.
        named = Path(os.readlink(path)).name if path.is_symlink() else ""
        return Held(path, path.parent.name, _sha256(named), True)


def _stated(repository: Repository) -> tuple[str, Any]:
    """Return the first of the names that is there, and what the Hub states of it: commit, hash and size."""
    hub = client()
    for name in repository.names:
        try:
            return name, hub.get_hf_file_metadata(hub.hf_hub_url(repository.name, name, revision=repository.revision))
        except hub.errors.RemoteEntryNotFoundError:
            pass
    raise UserError(
        f"{repository.page}: has no {' or '.join(repository.names)}: download its weights yourself "
        "and set embed.weights to their path"
    )


def _cached(name: str, file: str, revision: str | None) -> Path | None:
    path = client().try_to_load_from_cache(name, file, revision=revision)
    return Path(path) if isinstance(path, str) else None


def _sha256(etag: str | None) -> str | None:
    """Return the hash in an ETag; small files, which git holds, have another."""
    return etag if etag and re.fullmatch("[0-9a-f]{64}", etag) else None


def _describe(source: Path, beside: Path, repository: Repository) -> None:
    try:
        files.write_json(json.loads(source.read_text(encoding="utf-8")), beside)
    except ValueError:
        raise UserError(
            f"{repository.page}: its {DESCRIPTION} is no JSON: it is no network of timm, set another encoder"
        ) from None


@contextmanager
def _told(repository: Repository, elsewhere: str) -> Iterator[None]:
    """Turn what the client raises into a UserError of one line. elsewhere: what to do where the Hub is not reached."""
    hub = client()
    try:
        yield
    except UserError:
        raise
    except (hub.errors.HTTPError, OSError, ValueError) as error:
        raise UserError(f"{repository.page}: {_why(error, repository, elsewhere)}") from None


def _why(error: Exception, repository: Repository, elsewhere: str) -> str:
    errors = client().errors
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else None
    if isinstance(error, errors.GatedRepoError):
        if client().get_token():
            return (
                "gated, and your login has no access: accept its licence on that page with the same account, wait if "
                f"its authors have to agree, and run again ({FINE})"
            )
        return (
            "gated, and there is no login here: accept its licence on that page, log in with `hf auth login` "
            "(or set HF_TOKEN), and run again"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"no revision {repository.revision}: correct what follows the @ in embed.encoder"
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        return "no such repository, or a private one that your login does not see: correct embed.encoder, or log in"
    if status == 401:
        return "the Hub does not accept your login: renew it with `hf auth login`, or correct HF_TOKEN"
    if status == 403:
        return f"the Hub forbids it (403): give your token the right to read this repository; {FINE}"
    if status and (status == 429 or status >= 500):
        return f"the Hub answers {status}: run again later, or {elsewhere.partition(', or ')[2] or elsewhere}"
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return f"cannot be written ({error.strerror}): {REFUSALS[error.errno]} and run again"
    reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return f"could not be downloaded ({reason.rstrip('.')}): {elsewhere}"

"""The bundle: one zip file with all that a prediction of new cases needs. Nothing in it is executed or unpacked.

bundle.json says what the model is and has a SHA-256 of every other file and of itself; weights and reference are in
safetensors. Files are stored, not compressed: what a bundle takes in memory is what it takes on disk. The same content
gives the same bytes. No module here needs torch: the workflow reads bundles when it reads its settings.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from stratamil.core import files
from stratamil.core.errors import UserError

FORMAT = 1
FACTS, CARD, REFERENCE = "bundle.json", "MODEL_CARD.md", "reference.safetensors"
MEMBER = re.compile(r"members/[\w.-]{1,200}\.safetensors", re.ASCII)
TIME = (1980, 1, 1, 0, 0, 0)  # the same for all files, or no two bundles would be equal
LARGEST = 2**33  # bytes of a bundle
DIGEST = "sha256"
REMEDY = "get the bundle again from where it was made"

Arrays = dict[str, NDArray[Any]]


REFERRED = ("stains", "combinations", "patches", "shift", "disagreement")  # what flags need


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _named(value: object) -> bool:
    return isinstance(value, dict)


# What bundle.json holds at least, and whether a value can be it.
FIELDS: dict[str, Callable[[Any], bool]] = {
    "title": lambda value: isinstance(value, str),
    "classes": lambda value: _texts(value) and len(value) > 1,
    "stains": lambda value: _texts(value) and len(value) > 0,
    "names": lambda value: _with("pattern", "stains", "unknown_stains")(value),
    "cohort": lambda value: _with("case_column", "class_column", "classes", "excluded_codes")(value),
    "source": lambda value: value in ("patches", "precomputed"),
    "encoders": lambda value: _named(value) and all(map(_named, value.values())),
    "features": _named,
    "model": _named,
    "members": lambda value: isinstance(value, list) and len(value) > 0 and all(map(_member, value)),
    "decision": lambda value: _decision(value),
    "splits": lambda value: _named(value) and all(map(_decision, value.values())),
    "reference": lambda value: value == {} or _with(*REFERRED)(value),
    "files": lambda value: _named(value) and all(isinstance(digest, str) for digest in value.values()),
}


def _with(*names: str) -> Callable[[Any], bool]:
    """Return whether a value is an object that has these fields."""
    return lambda value: _named(value) and set(names) <= set(value)


def _member(value: object) -> bool:
    kinds = {"file": str, "split": (str, type(None)), "seed": int, "epoch": int}
    return _named(value) and all(isinstance(value.get(name, 0.5), kind) for name, kind in kinds.items())


def _decision(value: object) -> bool:
    """Tell whether this can be a frozen threshold, None where there is none, and a temperature."""
    numbers = (value.get("threshold", ""), value.get("temperature")) if _named(value) else ("", None)
    return isinstance(numbers[0], int | float | None) and isinstance(numbers[1], int | float) and numbers[1] > 0


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds.

    facts: bundle.json. weights: file of each member -> its weights by name. reference: arrays on the training patches,
    see deploy/reference.py. card: MODEL_CARD.md. sha256: of the zip file.
    """

    path: Path
    facts: Mapping[str, Any]
    weights: Mapping[str, Arrays] = field(repr=False)
    reference: Arrays = field(repr=False)
    card: str = field(repr=False)
    sha256: str

    @property
    def classes(self) -> list[str]:
        """Class names; of two the last is the positive one."""
        return self.facts["classes"]

    @property
    def stains(self) -> list[str]:
        """Stains of the model, in its order."""
        return self.facts["stains"]

    @property
    def title(self) -> str:
        """Title of the study."""
        return self.facts["title"]

    def members(self, split: str | None = None) -> list[dict[str, Any]]:
        """Return file, split, seed and epoch of each member; with `split`, of those of that split alone."""
        chosen = [each for each in self.facts["members"] if split in (None, each["split"])]
        if not chosen:
            there = sorted({each["split"] for each in self.facts["members"] if each["split"]})
            raise UserError(f"{self.path}: no members of split {split}: it has {', '.join(there) or 'none by split'}")
        return chosen

    def decision(self, split: str | None = None) -> dict[str, Any]:
        """Return the frozen threshold and temperature, of all members or of those of a split."""
        self.members(split)
        return self.facts["decision"] if split is None else self.facts["splits"][split]


def write(
    path: Path | str, facts: Mapping[str, Any], weights: Mapping[str, Arrays], reference: Arrays, card: str
) -> None:
    """Write a bundle, whole or not at all. The fields `format`, `files` and DIGEST of bundle.json are added here."""
    contents = {name: safetensors.numpy.save(dict(arrays)) for name, arrays in weights.items()}
    contents |= {REFERENCE: safetensors.numpy.save(reference)} if reference else {}
    contents |= {CARD: card.encode()}
    digests = {name: hashlib.sha256(contents[name]).hexdigest() for name in sorted(contents)}
    whole = {"format": FORMAT, **plain(facts), "files": digests}
    text = json.dumps(whole | {DIGEST: _digest(whole)}, indent=2, ensure_ascii=False)
    with files.atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [(FACTS, f"{text}\n".encode()), *((name, contents[name]) for name in digests)]:
            info = zipfile.ZipInfo(name, TIME)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content)


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what bundle.json will hold: Estimates as objects. Raises ValueError for NaN."""
    return json.loads(json.dumps(dict(facts), default=asdict, allow_nan=False))


def read(path: Path | str) -> Bundle:
    """Read a bundle. Raises UserError, one line, for what is none, damaged, altered, or of a newer format."""
    path = Path(path)
    contents, facts = _contents(path)
    try:
        weights = {name: _arrays(contents[name]) for name in contents if MEMBER.fullmatch(name)}
        reference = _arrays(contents[REFERENCE]) if REFERENCE in contents else {}
        card = contents[CARD].decode()
    except Exception:  # of whatever a library makes of bytes that somebody made
        raise UserError(f"{path}: not a bundle of this workflow: its arrays cannot be read: {REMEDY}") from None
    return Bundle(path, facts, weights, reference, card, files.sha256(path))


def facts(path: Path | str) -> dict[str, Any]:
    """Return bundle.json of a bundle; every digest is checked, no array is made. Raises UserError as `read` does."""
    return _contents(Path(path))[1]


def _contents(path: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the bytes of each file in the zip, and bundle.json, both checked."""
    with files.readable(path, "give the zip file that the target `bundle` of a study made"):
        size = path.stat().st_size
        if size > LARGEST:
            raise UserError(f"{path}: {size / 2**30:.1f} GiB: too large for a bundle: {REMEDY}")
        try:
            with zipfile.ZipFile(path) as archive:
                names = _names(path, archive, size)
                contents = {name: archive.read(name) for name in names}
                found = json.loads(contents.pop(FACTS), parse_constant=_refused) if FACTS in contents else None
        except (
            zipfile.BadZipFile,
            EOFError,
            ValueError,
            RuntimeError,
        ) as error:  # encrypted, too deep, unknown packing
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: not a bundle, or a damaged or truncated one ({reason}): {REMEDY}") from None
    if not _named(found) or not isinstance(found.get("format"), int):
        raise UserError(f"{path}: not a bundle of this workflow: it has no {FACTS} with a format: {REMEDY}")
    if found["format"] > FORMAT:
        made = found.get("versions", {}).get("stratamil", "a newer version") if _named(found.get("versions")) else "?"
        raise UserError(
            f"{path}: a bundle of format {found['format']}, made by StrataMIL {made}: this version reads formats up to "
            f"{FORMAT}: update StrataMIL"
        )
    _check(path, contents, found)
    return contents, found


def _refused(word: str) -> None:
    raise ValueError(f"{word} in {FACTS}")


def _names(path: Path, archive: zipfile.ZipFile, size: int) -> list[str]:
    """Return the names in a zip that is a bundle's. Raises UserError for strange, repeated or compressed ones."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    strange = [name for name in names if name not in (FACTS, CARD, REFERENCE) and not MEMBER.fullmatch(name)]
    if strange or len(set(names)) < len(names):
        shown = repr(strange[0]) if strange else "a file twice"
        raise UserError(f"{path}: not a bundle of this workflow: it holds {shown}: {REMEDY}")
    packed = any(each.compress_type != zipfile.ZIP_STORED or each.file_size != each.compress_size for each in entries)
    if packed or sum(entry.file_size for entry in entries) > size:
        raise UserError(f"{path}: not a bundle of this workflow: its files are compressed: {REMEDY}")
    return names


def _check(path: Path, contents: dict[str, bytes], found: dict[str, Any]) -> None:
    """Raise UserError unless all digests fit and bundle.json has all its parts."""
    said = found.get("files") if _named(found.get("files")) else {}
    altered = [FACTS] if found.get(DIGEST) != _digest(found) else []
    altered += [name for name in contents if said.get(name) != hashlib.sha256(contents[name]).hexdigest()]
    if altered:
        raise UserError(f"{path}: altered since it was made: {altered[0]} has another digest: {REMEDY}")
    wanted = {each["file"] for each in found["members"]} if FIELDS["members"](found.get("members")) else set()
    lacking = sorted((set(said) | wanted | {CARD}) - set(contents))
    wrong = [name for name, fits in FIELDS.items() if name not in found or not fits(found[name])]
    if lacking or wrong:
        raise UserError(f"{path}: not a bundle of this workflow: no usable {', '.join(lacking or wrong)}: {REMEDY}")


def _digest(found: Mapping[str, Any]) -> str:
    """Return the SHA-256 of bundle.json without its own."""
    content = {name: value for name, value in found.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _arrays(content: bytes) -> Arrays:
    arrays = safetensors.numpy.load(content)
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        raise ValueError("not finite")
    return arrays

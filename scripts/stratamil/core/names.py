"""The grammar of patch file names, what of two spellings is one id, and the order of everything that is named.

Ids are matched by their normal form, `case_id` and `slice_id`. Every output has the user's own spelling instead:
patch_files.py chooses one for each case and slice; from then on an id is text that nothing changes.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from stratamil.core.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
ONLY_SLICE = "1"  # of names that tell no slices apart
LONGEST = 200  # characters of an id
PORTABLE = 60  # characters of a part of a file name
MATCHING = re.compile("((?:un)?match(?:ed)?)_?0*([0-9]+)")
COPY = "copy made by an operating system"
UNKNOWN_STAIN = "stain not in names.stains"


class PatchName(NamedTuple):
    """What a file name says of a patch; the stain as in the config. patch: its number, or its place (x, y)."""

    case_id: str
    stain: str
    slice_id: str
    patch: int | tuple[int, int]


class NotAPatch(Exception):
    """The name is not that of a patch to use; the message is the reason, `detail` what to look at."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class Grammar:
    """Reads patch file names by one regular expression and a table of stains.

    pattern: regular expression with the groups case and patch, or case, x and y: a number, or a place on the slide in
        pixels. Group slice may be absent where a case has one slice of each stain, group stain where there is one
        stain. Group copy recognises names that an operating system gives to duplicates. A pattern with a slash outside
        brackets reads the path below the patches folder, any other the file's name; case is ignored.
    stains: canonical stain -> other spellings.
    Names are compared in Unicode's composed form (NFC): some file systems take letters and accents apart.
    Raises UserError if the expression is not valid or lacks a group.
    """

    def __init__(self, pattern: str, stains: Mapping[str, Iterable[str]]) -> None:
        try:
            self.pattern = re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            raise UserError(f"names.pattern: not a regular expression: {error}") from None
        self.groups = set(self.pattern.groupindex)
        self.placed = {"x", "y"} <= self.groups and "patch" not in self.groups
        missing = [] if "case" in self.groups else ["case"]
        missing += [] if self.placed or "patch" in self.groups else ["patch (or x and y)"]
        missing += ["stain (names.stains has several)"] if "stain" not in self.groups and len(stains) > 1 else []
        if missing:
            raise UserError(f"names.pattern: add the named groups {', '.join(missing)}")
        self.of_paths = "/" in re.sub(r"\[[^\]]*\]", "", pattern)
        self.only_stain = next(iter(stains), "")
        self.stains = {spelling(text): stain for stain, others in stains.items() for text in (stain, *others)}
        # A slice has hundreds of patches: what comes before their number is understood once.
        self._slice = lru_cache(maxsize=100_000)(self._slice)

    def _slice(self, case: str, stain: str, slice_: str) -> tuple[str, str, str]:
        return case.strip(), self.stain(stain), slice_.strip()

    def stain(self, text: str) -> str:
        """Return the canonical stain of a spelling. Raises NotAPatch if the config does not name it."""
        text = spelling(text)
        if text not in self.stains:
            raise NotAPatch(UNKNOWN_STAIN, text)
        return self.stains[text]

    def read(self, name: str) -> PatchName:
        """Return the PatchName in a file's name, in normal form; see `spelt`."""
        case, stain, slice_, patch = self.spelt(name)
        return PatchName(case_id(case), stain, slice_id(slice_), patch)

    def spelt(self, name: str, folder: str = "") -> PatchName:
        """Return the PatchName in a file's name, case and slice as they stand there.

        folder: its folder below that of the patches, with a slash at its end; looked at by patterns of paths only.
        Raises NotAPatch with the reason if it is none to use.
        """
        name = composed(folder + name if self.of_paths else name)
        match = self.pattern.match(name)
        if not match:
            raise NotAPatch(_why_not(name, "patch(?P<patch>" in self.pattern.pattern))
        if "copy" in self.groups and match["copy"]:
            start, end = match.span("copy")
            raise NotAPatch(COPY, (name[:start] + name[end:]).rpartition("/")[2])
        case, slice_ = match["case"], match["slice"] if "slice" in self.groups else ONLY_SLICE
        stain = match["stain"] if "stain" in self.groups else self.only_stain
        numbers = match.group("x", "y") if self.placed else (match["patch"],)
        if None in (case, slice_, stain, *numbers) or not all(text.isdecimal() for text in numbers):
            raise NotAPatch("name does not follow the pattern")  # a group of it that is optional, or no number
        if any(len(text) > 9 for text in numbers):
            raise NotAPatch("patch number too long")
        if not name.isprintable():
            raise NotAPatch("name is not readable text")
        case, stain, slice_ = self._slice(case, stain, slice_)
        place = tuple(map(int, numbers))
        return PatchName(case, stain, slice_, place if self.placed else place[0])


def natural(text: str) -> list[tuple]:
    """Return a sort key that orders numbers in text by value: case_2 before case_10; equal ones by the text."""
    parts = [(part, part.lstrip("0")) for part in re.split("([0-9]+)", text) if part]
    # Longer numbers are larger ones, at any length; the last entry is before all that could follow.
    return [(0, len(n), n) if part[0] in "0123456789" else (1, 0, part) for part, n in parts] + [(-1, 0, text)]


def of_splits(n_splits: int, n_repeats: int) -> list[str]:
    """Return the names of all splits of all repeats, in order: 01, 02, ..."""
    return [f"{number:02d}" for number in range(1, n_splits * n_repeats + 1)]


def composed(text: str) -> str:
    """Return text with letters and accents joined (NFC), without invisible characters (zero-width spaces)."""
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c) != "Cf")


@lru_cache(maxsize=100_000)
def case_id(text: str | int) -> str:
    """Return the normal form of a case id: 38 for `038`, ` 38 ` and `38.0`; other ids in lower case."""
    text = composed(str(text)).strip()
    return _whole(text) or text.lower()


def class_code(text: str | int) -> str:
    """Return the normal form of a class code: `1` for `01`, `1.0` and `1,0`; letters in lower case."""
    text = str(text).strip()
    return _whole(text) or text.casefold()


@lru_cache(maxsize=100_000)
def slice_id(text: str) -> str:
    """Return the normal form of a slice id: `match_1` for `Match1` and `match_01`; other ids in lower case.

    Only after the words (un)match and (un)matched are the underscore and leading zeros a matter of spelling. In other
    ids both may tell two slices: 1_1 and 11, S21-00123 and S21-123.
    """
    text = composed(text).strip().lower()
    match = MATCHING.fullmatch(text)
    return f"{match[1]}_{match[2]}" if match else text


def spelling(text: str) -> str:
    """Return the normal form of a stain's spelling: lower case, without spaces, dots and underscores at its ends."""
    return composed(text).lower().strip(" ._")


def column(name: str) -> str:
    """Return a class or stain name as part of a column name: `high_grade` for `high-grade`, `öd` for `Öd`."""
    kept = [c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in composed(name).casefold()]
    return "_".join("".join(kept).split())


def file_name(text: str) -> str:
    """Return a text as a part of a file name that every system takes: itself, or what is portable of it and a hash.

    Different texts give different names, also where a file system does not regard case: ids that differ by case alone
    are one id. The tilde stands in changed names only.
    """
    if len(text) <= PORTABLE and re.fullmatch(r"[A-Za-z0-9_&+](?:[A-Za-z0-9_&+.-]*[A-Za-z0-9_&+-])?", text):
        return text
    told = re.sub("[^A-Za-z0-9&+]+", "_", text).strip("_")[: PORTABLE - 9]
    return f"{told}~{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


def _why_not(name: str, numbered: bool) -> str:
    name = name.rpartition("/")[2]
    if name.startswith("."):
        return "hidden file"
    if not name.lower().endswith(IMAGE_SUFFIXES):
        return "not an image"
    if numbered and not re.search(r"patch\s*\d", name, re.IGNORECASE):
        return "no patch number"
    return "name does not follow the pattern"


def _whole(text: str) -> str:
    """Return the digits of a whole number, `38` for `038`, `38.0` and `38,00`; nothing for other texts."""
    number = re.fullmatch("([0-9]+)(?:[.,]0+)?", text)
    return (number[1].lstrip("0") or "0") if number else ""

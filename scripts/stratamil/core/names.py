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

from stratamil.core import name_patterns
from stratamil.core.errors import UserError
from stratamil.core.wording import counted, listed

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
ONLY_SLICE = "1"  # of names that tell no slices apart
LONGEST = 200  # characters of an id
PORTABLE = 60  # characters of a part of a file name
DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)", re.IGNORECASE)  # Windows opens no such file
MATCHING = re.compile("((?:un)?match(?:ed)?)_?0*([0-9]+)")
COPY = "copy made by an operating system"
# What Windows, macOS and others add to the name of a duplicate, where the pattern itself has no group for it.
COPIES = re.compile(
    r"^(?:kopie von|copy of|copie de|copia de) | (?:- )?(?:kopie|copy|copie|copia)(?: ?\(?\d+\)?)?(?=\.\w+$)"
    r"| ?\(\d+\)(?=\.\w+$)",
    re.IGNORECASE,
)
HIDDEN = "hidden or system file"
UNREAD = "name does not follow the pattern"
UNKNOWN_STAIN = "stain not in names.stains"


class PatchName(NamedTuple):
    """What a file name says of a patch; the stain as in the config.

    patch: its number, or what tells it from others of its slice: its place, or a text. place: (x, y), if it is told.
    """

    case_id: str
    stain: str
    slice_id: str
    patch: int | tuple[int, int] | str
    place: tuple[int, int] | None = None


class NotAPatch(Exception):
    """The name is not that of a patch to use; the message is the reason, `detail` what to look at."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class Grammar:
    """Reads patch file names by one regular expression and a table of stains.

    pattern: a name in name_patterns, or a regular expression with the group case and one or more of patch, a number;
        x and y, a place on the slide in pixels; and tile, a text. Group slice may be absent where a case has one slice
        of each stain, group stain where there is one stain. Group copy recognises names that an operating system gives
        to duplicates. A pattern with a slash outside brackets reads the path below the patches folder, any other the
        file's name; case is ignored.
    stains: canonical stain -> other spellings.
    Names are compared in Unicode's composed form (NFC): some file systems take letters and accents apart.
    Raises UserError if the expression is not valid or lacks a group.
    """

    def __init__(self, pattern: str, stains: Mapping[str, Iterable[str]]) -> None:
        self.stains = {spelling(text): stain for stain, others in stains.items() for text in (stain, *others)}
        expression, loose = name_patterns.expanded(pattern, self.stains)
        try:
            self.pattern = re.compile(expression, re.IGNORECASE)
        except re.error as error:
            raise UserError(f"names.pattern: not a regular expression: {error}") from None
        self.loose = loose and re.compile(loose, re.IGNORECASE)  # reads names with stains that the config does not have
        self.groups = set(self.pattern.groupindex)
        self.placed = {"x", "y"} <= self.groups
        # What numbers the patches of a slice.
        self.mark = next((name for name in ("patch", "tile") if name in self.groups), "place" if self.placed else None)
        self._check(pattern, len(stains))
        self.of_paths = "/" in re.sub(r"\[[^\]]*\]", "", expression)
        self.only_stain = next(iter(stains), "")
        self.met: dict[str, dict[str, set[str]]] = {}  # stain -> spelling in names -> cases
        # A slice has hundreds of patches: what comes before their number is understood once.
        self._slice = lru_cache(maxsize=100_000)(self._slice)

    def _check(self, pattern: str, n_stains: int) -> None:
        """Raise UserError if a group is missing."""
        if re.fullmatch(r"[\w-]+", pattern) and "case" not in self.groups:
            raise UserError(
                f"names.pattern: no pattern is called {pattern}: set one of {', '.join(name_patterns.PATTERNS)}, "
                "or a regular expression"
            )
        missing = [] if "case" in self.groups else ["case"]
        missing += [] if self.mark else ["patch (or x and y, or tile)"]
        several = "stain" not in self.groups and n_stains > 1
        if several and pattern in name_patterns.PATTERNS:
            raise UserError(f"names.pattern: {pattern} has one stain, and names.stains several: take the others out")
        missing += ["stain (names.stains has several)"] if several else []
        if missing:
            raise UserError(f"names.pattern: add the named groups {', '.join(missing)}")

    def _slice(self, case: str, stain: str, slice_: str) -> tuple[str, str, str]:
        canonical = self.stain(stain)
        self.note(stain, case)
        return case.strip(), canonical, slice_.strip()

    def stain(self, text: str) -> str:
        """Return the canonical stain of a spelling. Raises NotAPatch if the config does not name it."""
        text = spelling(text)
        if text not in self.stains:
            raise NotAPatch(UNKNOWN_STAIN, text)
        return self.stains[text]

    def note(self, text: str, case: str) -> None:
        """Remember that a case has a stain in this spelling, one that the config names."""
        text = spelling(text)
        self.met.setdefault(self.stains[text], {}).setdefault(text, set()).add(case_id(case))

    def merged(self) -> list[str]:
        """Return `mart1 (6 cases) and melan-a (31 cases) are melan` for each stain that names spell in several ways."""
        counts = {
            stain: [f"{text} ({counted(len(cases), 'case')})" for text, cases in sorted(spellings.items())]
            for stain, spellings in sorted(self.met.items())
        }
        return [f"{listed(spellings)} are {stain}" for stain, spellings in counts.items() if len(spellings) > 1]

    def read(self, name: str) -> PatchName:
        """Return the PatchName in a file's name, in normal form; see `spelt`."""
        case, stain, slice_, *rest = self.spelt(name)
        return PatchName(case_id(case), stain, slice_id(slice_), *rest)

    def spelt(self, name: str, folder: str = "") -> PatchName:
        """Return the PatchName in a file's name, case and slice as they stand there.

        folder: its folder below that of the patches, with a slash at its end; looked at by patterns of paths only.
        Raises NotAPatch with the reason if it is none to use.
        """
        name = composed(folder + name if self.of_paths else name)
        match = self.pattern.match(name)
        if not match:
            if self.loose and (strange := self.loose.match(name)):
                raise NotAPatch(UNKNOWN_STAIN, _strange(strange))
            head, slash, last = name.rpartition("/")
            plain = head + slash + COPIES.sub("", last, count=1)
            if plain != name and self.pattern.match(plain):
                raise NotAPatch(COPY, plain.rpartition("/")[2])
            raise NotAPatch(_why_not(name, "patch(?P<patch>" in self.pattern.pattern))
        if "copy" in self.groups and match["copy"]:
            start, end = match.span("copy")
            raise NotAPatch(COPY, (name[:start] + name[end:]).rpartition("/")[2])
        case, slice_ = match["case"], match["slice"] if "slice" in self.groups else ONLY_SLICE
        stain = match["stain"] if "stain" in self.groups else self.only_stain
        if stain is None and self.loose and len(set(self.stains.values())) == 1:
            stain = self.only_stain
        elif stain is None and self.loose:
            raise NotAPatch(UNKNOWN_STAIN, _strange(match))
        patch, place = self._number(match)
        if None in (case, slice_, stain):
            raise NotAPatch(UNREAD)  # a group of it that is optional
        if not name.isprintable():
            raise NotAPatch("name is not readable text")
        return PatchName(*self._slice(case, stain, slice_), patch, place)

    def _number(self, match: re.Match[str]) -> tuple[int | str | tuple[int, int], tuple[int, int] | None]:
        """Return what numbers a patch in its slice, and its place. Raises NotAPatch if that is no number."""
        x_y = match.group("x", "y") if self.placed else ()
        numbers = [text and text.removeprefix("-") for text in x_y]  # a tile may begin outside the slide
        numbers += [match["patch"]] if self.mark == "patch" else []
        if not all(text and text.isdecimal() for text in numbers):
            raise NotAPatch(UNREAD)
        if any(len(text) > 9 for text in numbers):
            raise NotAPatch("patch number too long")
        place = (int(x_y[0]), int(x_y[1])) if self.placed else None
        if self.mark == "tile":
            return match["tile"] or "", place
        return int(numbers[-1]) if self.mark == "patch" else place, place


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
    portable = re.fullmatch(r"[A-Za-z0-9_&+](?:[A-Za-z0-9_&+.-]*[A-Za-z0-9_&+-])?", text)
    if len(text) <= PORTABLE and portable and not DEVICE.match(text):
        return text
    told = re.sub("[^A-Za-z0-9&+]+", "_", text).strip("_")[: PORTABLE - 9]
    return f"{told}~{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


def _strange(match: re.Match[str]) -> str:
    """Return what stands for the stain in a name whose stain the config does not have: the slide, if it is in that."""
    group = "stain" if match.re.groupindex.get("stain") and match["stain"] else "slice"
    return spelling(match[group])


def _why_not(name: str, numbered: bool) -> str:
    name = name.rpartition("/")[2]
    if name.startswith("."):
        return HIDDEN
    if not name.lower().endswith(IMAGE_SUFFIXES):
        return "not an image"
    if numbered and not re.search(r"patch\s*\d", name, re.IGNORECASE):
        return "no patch number"
    return UNREAD


def _whole(text: str) -> str:
    """Return the digits of a whole number, `38` for `038`, `38.0` and `38,00`; nothing for other texts."""
    number = re.fullmatch("([0-9]+)(?:[.,]0+)?", text)
    return (number[1].lstrip("0") or "0") if number else ""

"""Cut the names of patch files into fields, and group names by their shape.

Which characters separate fields is not known beforehand, nor that any does. `Cut` is one way to cut names, `cuts` all
that a folder calls for: propose_names.py looks at what each of them lets it read.
"""

import difflib
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Literal

from stratamil.core.names import COPIES, IMAGE_SUFFIXES, case_id, composed

MOST_SEPARATORS = 6  # different characters that are tried as separators
MISTYPED = 0.02  # share of a field's values whose letters may differ a little from those of all others
ALIKE = 0.7  # of these letters, as difflib has it
MOST_FORMS = 3  # of the ids in a column, for them to be looked for within names
# Before the last number where a letter is there, and between the two numbers of a place: A001, x0y512.
NUMBERED = re.compile("(.*?[^0-9])([0-9]+)")
GLUED = r"(?<=[^\W\d_])(?=[0-9]+$)|(?<=[0-9])(?=y[0-9])"


@dataclass(frozen=True)
class Field:
    """A field of a shape. kind: constant, number, numbered (letters and a number), or text.

    head: the letters of a numbered field, or the constant. column: its value in each name.
    """

    kind: Literal["constant", "number", "numbered", "text"]
    head: str
    column: tuple[str, ...]

    @cached_property
    def values(self) -> Counter:
        """What occurs -> number of files."""
        return Counter(self.column)

    def __str__(self) -> str:
        return {"constant": self.head, "number": "#", "numbered": f"{self.head}#", "text": "*"}[self.kind]


@dataclass(frozen=True)
class Cut:
    """A way to cut names. characters: that separate fields, besides the slash; by default the usual ones.

    ids, stain_words: regular expressions of what is one field anywhere. glued: cut before the last number of a
    name, too. lenient: few names with more behind a number than all others have (tile009b) are a shape of their own.
    """

    characters: str = ""
    ids: str = ""
    stain_words: str = ""
    glued: bool = False
    lenient: bool = False

    def fields(self, stem: str) -> tuple[list[str], list[str]]:
        """Return the fields of a name and the separators between them; those that nothing separates have ""."""
        name = stem.rpartition("/")[2]
        usual = "_/" if "_" in name else "- /" if "-" in name else " /"
        separator = f"[{re.escape(self.characters)}/]+" if self.characters else f"[{usual}]"
        stains = rf"(?<![^\W_])(?:{self.stain_words})(?![^\W_])" if self.stain_words else ""
        ways = [f"(?i:{each})" for each in (self.ids, stains) if each] + [separator] + [GLUED] * self.glued
        parts: list[str] = []
        for token in filter(None, re.split(f"({'|'.join(ways)})", stem)):
            if bool(re.fullmatch(separator, token)) == (len(parts) % 2 == 0):
                parts.append("")
            parts.append(token)
        parts += [""] * (len(parts) % 2 == 0)
        return parts[0::2], parts[1::2]


@dataclass(frozen=True)
class Shape:
    """Files named alike: their fields with the separators between them; how they were cut."""

    fields: tuple[Field, ...]
    separators: tuple[str, ...]
    suffix: str
    names: tuple[str, ...]
    cut: Cut

    def __str__(self) -> str:
        """Return the names' form, such as `case_#_slide#_*_x#_y#.tif`."""
        return "".join(f"{each}{after}" for each, after in zip(self.fields, (*self.separators, ""))) + self.suffix

    def head(self, at: int) -> str:
        """Return the word before the number of a field: its own letters, or the constant field before it."""
        own = self.fields[at].head
        before = self.fields[at - 1] if at and not own else None
        return (before.head if before and before.kind == "constant" else own).lower().strip("-= ")


def images(paths: Iterable[str]) -> list[str]:
    """Return the paths of images, with letters and accents joined as in all that is read; without copies of others."""
    found = dict.fromkeys(composed(p) for p in paths if p.lower().endswith(IMAGE_SUFFIXES))
    return [path for path in found if path.rpartition("/")[2][0] != "." and not copied(path, found)]


def copied(path: str, others: Container[str]) -> str:
    """Return which of the others a file is a copy of, by its name; empty if of none."""
    folder, slash, name = path.rpartition("/")
    original = folder + slash + COPIES.sub("", name, count=1)
    return original if original != path and original in others else ""


def shapes(paths: Iterable[str], cut: Cut) -> list[Shape]:
    """Return the shapes of image files, that of most files first.

    paths: POSIX paths below the patches folder; folders are fields, too, if they vary.
    """
    groups: dict[tuple, list[tuple[str, list[str]]]] = {}
    for path in paths:
        stem, dot, suffix = path.rpartition(".")
        values, separators = cut.fields(stem)
        groups.setdefault((tuple(separators), f"{dot}{suffix}".lower()), []).append((path, values))
    found = []
    for (separators, suffix), rows in groups.items():
        for some in _without_mistyped(rows, cut.lenient):
            fields = tuple(map(_field, zip(*(values for _, values in some))))
            found.append(Shape(fields, separators, suffix, tuple(path for path, _ in some), cut))
    return sorted(found, key=lambda shape: -len(shape.names))


def _without_mistyped(rows: list[tuple[str, list[str]]], lenient: bool) -> list[list[tuple[str, list[str]]]]:
    """Return the names of a shape, and apart those in which letters before a number are mistyped: til003 for tile003.

    Else a single one would make its field a text, and no number of patches. lenient: of Cut.
    """
    apart = set()
    for column in zip(*(values for _, values in rows)):
        split = [match[1].lower() if (match := NUMBERED.fullmatch(text)) else None for text in column]
        counts = Counter(split)
        (usual, _), *others = counts.most_common()
        rare = sum(n for _, n in others)
        if not usual or not others or rare > MISTYPED * len(rows):
            continue
        odd = {i for i, head in enumerate(split) if head != usual}
        more = re.compile(re.escape(usual) + "[0-9]", re.IGNORECASE)
        if all(_near(usual, split[i]) or (lenient and more.match(column[i])) for i in odd):
            apart |= odd
    if not apart:
        return [rows]
    return [[row for i, row in enumerate(rows) if (i in apart) == odd] for odd in (False, True)]


def _near(a: str, b: str | None) -> bool:
    return b is not None and difflib.SequenceMatcher(None, a, b).ratio() >= ALIKE


def _field(column: tuple[str, ...]) -> Field:
    different = set(column)
    if len(different) == 1:
        return Field("constant", column[0], column)
    if all(re.fullmatch("[0-9]+", text) for text in different):
        return Field("number", "", column)
    split = [NUMBERED.fullmatch(text) for text in different]
    heads = {match[1].lower() for match in split if match}
    if all(split) and len(heads) == 1:
        return Field("numbered", split[0][1], column)
    return Field("text", "", column)


def cuts(paths: Sequence[str], ids: dict[str, Sequence[str]], stains: str) -> Iterator[Cut]:
    """Yield the ways to cut these names, the simplest first.

    ids: column of the labels table -> its values; where they have a form (19H10010), it is looked for within names.
    stains: regular expression of those that have a separator in them (Melan A); empty without any.
    """
    stems = [path.rpartition(".")[0] for path in paths]
    counts = Counter(c for stem in stems for c in set(stem) if not c.isalnum() and c not in "/&")
    characters = [c for c, _ in counts.most_common(MOST_SEPARATORS)]
    subsets = [""] + ["".join(some) for n in range(1, len(characters) + 1) for some in combinations(characters, n)]
    # a name may have other separators than the table
    tried = ((form(values), form(values, levelled=True)) for values in ids.values())
    there = ([f for f in some if f and any(re.search(f, stem, re.I) for stem in stems)] for some in tried)
    forms = ["", *(some[0] for some in there if some)]
    for lenient, glued, some in product((False, True), (False, True), subsets):
        for each, words in product(dict.fromkeys(forms), dict.fromkeys(["", stains])):
            yield Cut(some, each, words, glued, lenient)


def form(ids: Iterable[str], levelled: bool = False) -> str:
    """Return a regular expression of the form of ids, as [0-9]{2}H[0-9]+; nothing if they are numbers or of no form.

    levelled: with any sign but a slash where ids have their separators.
    """
    texts = {case_id(text): composed(text).strip() for text in ids if text}.values()
    for letters in (False, True):
        forms: dict[tuple, list[list[str]]] = {}
        for text in texts:
            runs = re.findall(r"[0-9]+|[^\W\d_]+|[\W_]+", text)
            told = tuple(
                "0" if run.isdecimal() else "a" if letters and run.isalnum() else f"={run.lower()}" for run in runs
            )
            forms.setdefault(told, []).append(runs)
        if len(forms) <= MOST_FORMS:
            break
    else:
        return ""
    if any("0" not in told or len(told) < 2 for told in forms):
        return ""
    ordered = sorted(forms.items(), key=lambda f: -len(f[0]))
    return "(?:" + "|".join(_form(told, rows, levelled) for told, rows in ordered) + ")"


def _form(told: tuple[str, ...], rows: list[list[str]], levelled: bool) -> str:
    parts = []
    for kind, column in zip(told, zip(*rows)):
        lengths = {len(run) for run in column}
        digits = "[0-9]{" + str(min(lengths)) + "}" if len(lengths) == 1 else "[0-9]+"
        sign = r"[^/\w]|_" if levelled and not column[0].isalnum() else ""
        parts.append(
            digits if kind == "0" else r"[^\W\d_]+" if kind == "a" else f"(?:{sign})" if sign else plain(column[0])
        )
    return "".join(parts)


def plain(text: str) -> str:
    """Return text for a regular expression, escaped only where it must be."""
    return re.sub(r"\\([&\s\-~#])", r"\1", re.escape(text))

"""Propose how patch files are named, from the names alone: their shapes, and what each part means.

A name is cut at its separators into fields. Names with the same separators are of one shape; in it each field is the
same everywhere, or varies as a number, a word with a number behind it (x1024, slide2), or any text. The case is the
field whose values are ids of the labels table; the stain one of few words; coordinates and patch numbers the last
numbers; the slice what varies between them. Every step that is more than counting is noted as a guess.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal

from stratamil.core import schema
from stratamil.core.errors import UserError, few
from stratamil.core.names import IMAGE_SUFFIXES, Grammar, case_id, natural, spelling

# Spellings of stains in file names, without separators; the first is how the proposal calls it.
STAINS = {
    "h&e": ("h&e", "he", "hande", "hes", "hematoxylin", "haematoxylin"),
    "melan": ("melan", "melana", "mart1", "mlana"),
    "sox10": ("sox10",),
    "ki67": ("ki67", "mib1"),
    "hmb45": ("hmb45", "pmel"),
    "s100": ("s100",),
    "prame": ("prame",),
    "p16": ("p16",),
    "p53": ("p53",),
    "er": ("er", "esr1"),
    "pr": ("pr", "pgr"),
    "her2": ("her2", "erbb2"),
    "pdl1": ("pdl1", "cd274"),
    **{name: (name,) for name in ("cd3", "cd4", "cd8", "cd20", "cd31", "cd34", "cd45", "cd56", "cd68", "cd138")},
    **{name: (name,) for name in ("pas", "trichrome", "masson", "jones", "sirius", "giemsa", "ihc", "dab", "pax8")},
}
KNOWN = {text: name for name, texts in STAINS.items() for text in texts}
MOST_STAINS = 12  # different words in a field that may name stains
ENOUGH = 0.5  # share of a field's values, or of the labels' ids, that makes it the case
WELL_READ = 0.5  # share of the images whose names the workflow's own pattern must read
COORDINATES = 16  # least common divisor of coordinates, in pixels


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
class Shape:
    """Files named alike. parts: fields with the separators between them, separators last in each pair."""

    fields: tuple[Field, ...]
    separators: tuple[str, ...]
    suffix: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        """Return the names' form, such as `case_#_slide#_*_x#_y#.tif`."""
        return "".join(f"{each}{after}" for each, after in zip(self.fields, (*self.separators, ""))) + self.suffix


@dataclass
class Names:
    """How the patches are named.

    case_column: of the labels table. pattern: for names.pattern, None for the workflow's own. shape: of the names that
    it reads. stains: name -> spelling -> files. guesses: what a person should check, by what it decides.
    """

    case_column: str
    pattern: str | None
    shape: Shape | None
    stains: dict[str, dict[str, int]]
    guesses: dict[str, str] = field(default_factory=dict)

    @property
    def spellings(self) -> dict[str, list[str]]:
        """Stain -> its other spellings, as names.stains has them."""
        return {
            name: sorted({spelling(text) for text in texts} - {spelling(name)}, key=natural)
            for name, texts in self.stains.items()
        }

    @property
    def grammar(self) -> Grammar:
        """What reads the names."""
        return Grammar(self.pattern or schema.section("names")["pattern"]["default"], self.spellings)


def shapes(paths: Iterable[str]) -> list[Shape]:
    """Return the shapes of image files, that of most files first.

    paths: POSIX paths below the patches folder; folders are fields, too, if they vary.
    """
    groups: dict[tuple, list[tuple[str, list[str]]]] = {}
    for path in paths:
        stem, dot, suffix = path.rpartition(".")
        name = stem.rpartition("/")[2]
        if f".{suffix.lower()}" not in IMAGE_SUFFIXES or name.startswith("."):
            continue
        cut = "_/" if "_" in name else "- /" if "-" in name else " /"
        pieces = re.split(f"([{re.escape(cut)}])", stem)
        groups.setdefault((tuple(pieces[1::2]), f"{dot}{suffix}".lower()), []).append((path, pieces[0::2]))
    return sorted(
        (_shape(separators, suffix, rows) for (separators, suffix), rows in groups.items()),
        key=lambda shape: -len(shape.names),
    )


def _shape(separators: tuple[str, ...], suffix: str, rows: list[tuple[str, list[str]]]) -> Shape:
    columns = zip(*(values for _, values in rows))
    return Shape(tuple(map(_field, columns)), separators, suffix, tuple(path for path, _ in rows))


def _field(column: tuple[str, ...]) -> Field:
    different = set(column)
    if len(different) == 1:
        return Field("constant", column[0], column)
    if all(re.fullmatch("[0-9]+", text) for text in different):
        return Field("number", "", column)
    split = [re.fullmatch("(.*?[^0-9])([0-9]+)", text) for text in different]
    heads = {match[1].lower() for match in split if match}
    if all(split) and len(heads) == 1:
        return Field("numbered", split[0][1], column)
    return Field("text", "", column)


def propose_all(paths: Sequence[str], forms: Sequence[Shape], ids: dict[str, Sequence[str]]) -> Names:
    """Return how patch files are named.

    paths: of all files, below the patches folder. forms: of `shapes`. ids: column of the labels table -> its values,
    the likeliest to be the case first.
    Raises UserError where no shape can be read: with the shapes, for the user to write a pattern.
    """
    if own := _own(paths, forms, ids):
        return own
    for shape in forms:
        if found := propose(shape, ids):
            if not found.stains:
                constant = [_plain(each.head) for each in shape.fields if each.kind == "constant"]
                known = [KNOWN[word] for word in constant if word in KNOWN]
                found.stains = {known[0] if known else "h&e": {}}
                found.guesses |= {} if known else {"stains": "the names tell no stain, so it is called h&e"}
            return found
    raise UserError(
        "no part of the patches' names is an id of the labels table, or none numbers the patches: "
        f"names are like {few([str(shape) for shape in forms], 3)}; columns are {few(map(repr, ids), 6)}: "
        "set names.pattern yourself"
    )


def _own(paths: Sequence[str], forms: Sequence[Shape], ids: dict[str, Sequence[str]]) -> Names | None:
    """Return Names by the workflow's own pattern, if it reads most images and a column has their cases."""
    pattern = re.compile(schema.section("names")["pattern"]["default"], re.IGNORECASE)
    read = [match for path in paths if (match := pattern.match(path.rpartition("/")[2]))]
    if len(read) <= WELL_READ * sum(len(shape.names) for shape in forms):
        return None
    cases = {case_id(match["case"]) for match in read}
    shared = {name: len(cases & set(map(case_id, values))) for name, values in ids.items()}
    column = max(ids, key=shared.get, default=None)
    if not column or not shared[column]:
        return None
    stains = named(Counter(match["stain"] for match in read))
    rest = {name: texts for name, texts in stains.items() if name not in STAINS}
    guesses = {"stains": f"{few(rest)} not known as a stain"} if rest else {}
    return Names(column, None, None, stains, guesses)


def propose(shape: Shape, ids: dict[str, Sequence[str]]) -> Names | None:
    """Return how to read the names of a shape, or None where no field names cases or none numbers patches.

    ids: column of the labels table -> its values, in the order in which the columns are likely to be the case.
    """
    case = _case(shape, ids)
    if not case:
        return None
    column, at, pattern, why = case
    groups, guesses = {at: pattern}, {"case": why} if why else {}
    free = [i for i, each in enumerate(shape.fields) if each.kind != "constant" and i not in groups]
    place = _place(shape, free)
    if not place:
        return None
    groups |= place
    free = [i for i in free if i not in groups]
    stain, certain = _stain(shape, free)
    stains = {}
    if stain is not None:
        groups[stain] = "(?P<stain>[^/]+?)"
        stains = named(shape.fields[stain].values)
        if not certain:
            guesses["stains"] = f"{few_values(shape.fields[stain])} taken for stains"
    free = [i for i in free if i not in groups and _varies(shape.fields[i], shape.fields[at])]
    span = range(0) if "(?P<slice>" in groups[at] else _span(free, groups, guesses, shape)
    pattern = _joined(shape, groups, span)
    return Names(column, pattern, shape, stains, guesses)


def few_values(each: Field) -> str:
    """Return the commonest values of a field for a message."""
    common = [text for text, _ in each.values.most_common(4)]
    return ", ".join(common) + (", ..." if len(each.values) > 4 else "")


def _case(shape: Shape, ids: dict[str, Sequence[str]]) -> tuple[str, int, str, str] | None:
    """Return column, field, pattern of its group and a note: where most values of a field are ids of a column.

    Tried are whole values, the number behind a word (case26 for 26), and what stands before a further hyphen
    (TCGA-AA-0001 of TCGA-AA-0001-01Z-00-DX1, whose rest is then the slice).
    """
    best, score = None, ENOUGH
    for column, values in ids.items():
        known = {case_id(text) for text in values if text}
        for at, each in enumerate(shape.fields):
            for pattern, read in _readings(each):
                of_field = {read(text) for text in each.values} - {None}
                common = {case_id(text) for text in of_field} & known
                if not common:
                    continue
                share = len(common) / len(of_field), len(common) / len(known)
                if max(share) > ENOUGH and sum(share) / 2 > score:
                    note = "" if share[0] > 0.8 else f"{len(common)} of {len(of_field)} ids in names are in the table"
                    best, score = (column, at, pattern, note), sum(share) / 2
    return best


def _readings(each: Field) -> list:
    whole = ("(?P<case>[^/]+?)", lambda text: text)
    if each.kind == "number":
        return [("(?P<case>[0-9]+)", lambda text: text)]
    if each.kind == "numbered":
        head = len(each.head)
        return [whole, (f"{re.escape(each.head)}(?P<case>[0-9]+)", lambda text: text[head:])]
    if each.kind == "constant":
        return [whole]
    parts = max(text.count("-") for text in each.values)
    cut = [
        (
            "(?P<case>[^/-]+" + "-[^/-]+" * n + ")-(?P<slice>[^/]+?)",
            lambda text, n=n: "-".join(text.split("-")[: n + 1]) if text.count("-") >= n else None,
        )
        for n in range(parts)
    ]
    return [whole, *cut]


def _place(shape: Shape, free: list[int]) -> dict[int, str]:
    """Return the groups of coordinates, where the last two numbers are some, or of the patch number."""
    numbers = [i for i in free if shape.fields[i].kind in ("number", "numbered")]
    if len(numbers) > 1:
        x, y = numbers[-2:]
        heads = tuple(shape.fields[i].head.lower().strip("-=") for i in (x, y))
        if heads == ("x", "y") or (heads == ("", "") and _stepped(shape.fields[x], shape.fields[y])):
            return {x: _numbered(shape.fields[x], "x"), y: _numbered(shape.fields[y], "y")}
    return {numbers[-1]: _numbered(shape.fields[numbers[-1]], "patch")} if numbers else {}


def _numbered(each: Field, group: str) -> str:
    return f"{re.escape(each.head)}(?P<{group}>[0-9]+)"


def _stepped(*fields: Field) -> bool:
    """Tell whether the numbers of fields are multiples of a step, as the places of tiles on a grid are."""
    values = sorted({int(text) for each in fields for text in each.values})
    return len(values) > 2 and math.gcd(*(b - a for a, b in pairwise(values))) >= COORDINATES


def _varies(each: Field, cases: Field) -> bool:
    """Tell whether a field has several values within a case."""
    return len(set(zip(cases.column, each.column))) > len(cases.values)


def _stain(shape: Shape, free: list[int]) -> tuple[int | None, bool]:
    """Return the field of stains, if there is one, and whether its words are known stains."""
    few = [i for i in free if shape.fields[i].kind != "number" and len(shape.fields[i].values) <= MOST_STAINS]
    known = {i: sum(_plain(text) in KNOWN for text in shape.fields[i].values) for i in few}
    if best := max(few, key=known.get, default=None):
        if known[best]:
            return best, known[best] == len(shape.fields[best].values)
        words = [i for i in few if all(re.search("[^0-9]", text) for text in shape.fields[i].values)]
        if words and shape.fields[words[-1]].kind == "text":
            return words[-1], False
    return None, True


def _plain(text: str) -> str:
    return re.sub(r"[\s._-]", "", spelling(text).casefold())


def named(values: Counter) -> dict[str, dict[str, int]]:
    """Return the stains of a field: name -> spelling -> files; known spellings of one stain come together."""
    stains: dict[str, dict[str, int]] = {}
    for text, n in values.most_common():
        stains.setdefault(KNOWN.get(_plain(text), spelling(text)), {})[text] = n
    return stains


def _span(free: list[int], groups: dict[int, str], guesses: dict[str, str], shape: Shape) -> range:
    """Return the fields that name the slice: those left that vary, as one span; empty where there are none."""
    if not free:
        return range(0)
    spans, begin = [], free[0]
    for before, at in zip(free, [*free[1:], None]):
        if at is None or any(i in groups for i in range(before + 1, at)):
            spans.append(range(begin, before + 1))
            begin = at
    span = max(spans, key=len)
    left = [i for i in free if i not in span]
    told = "_".join(str(shape.fields[i]) for i in span)
    guesses["slice"] = f"{told} taken for the slice" + (
        f"; {', '.join(str(shape.fields[i]) for i in left)} is not used" if left else ""
    )
    return span


def _joined(shape: Shape, groups: dict[int, str], span: range) -> str:
    parts = []
    for i, each in enumerate(shape.fields):
        if span and i == span.start:
            parts.append("(?P<slice>")
        if i in groups:
            parts.append(groups[i])
        elif each.kind == "constant":
            parts.append(re.escape(each.head).replace(r"\&", "&").replace(r"\ ", " ").replace(r"\-", "-"))
        else:
            parts.append("[0-9]+" if each.kind == "number" else "[^/]+?")
        if span and i == span.stop - 1:
            parts.append(")")
        parts.append("" if i == len(shape.separators) else shape.separators[i])
    return f"^{''.join(parts)}{re.escape(shape.suffix)}$"

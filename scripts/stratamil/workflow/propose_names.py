"""Propose how patch files are named, from the names and the labels table: what each part of a name means.

Names are cut at what may be their separators into fields, each the same everywhere, a number, a word with a number
behind it (x1024, slide2), or any text (propose_shapes.py). The case is the field whose values are ids of the labels
table; the stain one of few words that recur in most cases; coordinates two numbers side by side, or the patch number
the one that runs; the slice what varies between them. Of the ways to cut that is taken by which most files are each a
patch of a labelled case. Every step that is more than counting is noted as a guess.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise

from stratamil.core import schema
from stratamil.core.errors import UserError, few
from stratamil.core.ids import unpadded
from stratamil.core.name_patterns import PATTERNS
from stratamil.core.names import Grammar, NotAPatch, case_id, natural, spelling
from stratamil.workflow import propose_stains
from stratamil.workflow.propose_named import recognised
from stratamil.workflow.propose_shapes import Cut, Field, Shape, cuts, plain, shapes
from stratamil.workflow.propose_stains import KNOWN, MOST_STAINS, STAINS, bare

RECUR = 3  # rows of a code, on average at least
ENOUGH = 0.5  # share of a field's values, or of the labels' ids, that makes it the case
WELL_READ = 0.5  # share of the images whose names the workflow's own pattern must read
COORDINATES = 16  # least common divisor of coordinates, in pixels
SAMPLE = 400  # names that each way to cut is tried on
CERTAIN = (18, True)  # rank of a reading that leaves nothing to look for between letters and numbers
DENSE = 0.5  # share of the numbers from the least to the largest that patch numbers have
UNTOLD = "the names tell no stain, so it is called h&e"
BY_HAND = "set names.pattern and names.stains (docs/how-to/own_names.md)"
WHOLE = "(?P<tile>)"  # nothing numbers patches in the names of files that have a slice each
PATCH = re.compile(r"patch|tile|img|image|bild|feld|field|kachel|roi|crop", re.I)
CASE = re.compile(r"case|fall|pat|subj|spec|^p$", re.I)
NO_CASE = re.compile(r"sli[cd]e|scan|block|level|patch|tile|schnitt", re.I)
ROWS = (("y", "x"), ("r", "c"), ("row", "col"), ("row", "column"), ("zeile", "spalte"))  # a place, the row first
SLICE = re.compile(r"sli[cd]e|sec|schnitt|block|level|^s$", re.I)


@dataclass
class Names:
    """How the patches are named.

    case_column: of the labels table. pattern: for names.pattern, None for the workflow's own. shape: of the names that
    it reads. stains: name -> spelling -> files. guesses: what a person should check, by what it decides. shapes: of all
    names. groups, span: fields of the shape -> their part of the pattern, and those of the slice. used_columns: of the
    labels table that name files and stains.
    """

    case_column: str
    pattern: str | None
    shape: Shape | None
    stains: dict[str, dict[str, int]]
    guesses: dict[str, str] = field(default_factory=dict)
    shapes: list[Shape] = field(default_factory=list)
    groups: dict[int, str] = field(default_factory=dict)
    span: range = range(0)
    used_columns: tuple[str | None, ...] = ()

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


def propose_all(paths: Sequence[str], ids: dict[str, Sequence[str]], whole: bool = False) -> Names:
    """Return how patch files are named.

    paths: of images, below the patches folder. ids: column of the labels table -> its values, the likeliest to be the
    case first. whole: each file has all patches of a slice, so that no number of a patch is looked for.
    Raises UserError where no way to cut the names lets most of them be read, with what is missing.
    """
    if own := None if whole else _own(paths, ids) or _named(paths, ids):
        return own
    some = random.Random(0).sample(paths, min(SAMPLE, len(paths)))
    best, cut, words = None, Cut(), propose_stains.words(some)
    for each in cuts(some, ids, propose_stains.with_separators(words)):
        if best and (each.lenient or (each.glued and best >= CERTAIN)):
            break
        found = _first(shapes(some, each), ids, whole)
        rank = _rank(found, some, ids) if found else None
        if rank and rank[0] and (best is None or rank > best):
            best, cut = rank, each
    found = _first(shapes(paths, cut), ids, whole) if best else None
    if found:
        _read_all(found, paths)
        if words and "(?P<stain>" not in found.pattern and "stains" in found.guesses:
            found.guesses["stains"] += f", though they have {few(map(repr, words))}: {BY_HAND}"
        return found
    raise UserError(_missing(shapes(paths, Cut()), ids, whole))


def _first(forms: list[Shape], ids: dict[str, Sequence[str]], whole: bool) -> Names | None:
    """Return how to read the names of the first shape that can be read; with a stain, if the names tell none."""
    found = next(filter(None, (propose(shape, ids, whole) for shape in forms)), None)
    if found:
        found.shapes = forms
        endings = sorted({re.escape(form.suffix) for form in forms})
        if len(endings) > 1 and not whole:  # the pattern tells which files of another suffix are named alike
            found.pattern = (
                found.pattern.removesuffix(f"{re.escape(found.shape.suffix)}$") + f"(?:{'|'.join(endings)})$"
            )
        if not found.stains:
            constant = [bare(each.head) for each in found.shape.fields if each.kind == "constant"]
            known = [KNOWN[word] for word in constant if word in KNOWN]
            found.stains = {known[0] if known else "h&e": {}}
            found.guesses |= {} if known else {"stains": UNTOLD}
    return found


def _read_all(found: Names, paths: Sequence[str]) -> None:
    """Look for the stains of all names that the pattern reads, not of one shape alone, and note what to check."""
    if "(?P<stain>" in found.pattern:
        reads, of_paths = re.compile(found.pattern, re.IGNORECASE), found.grammar.of_paths
        matches = (reads.match(path if of_paths else path.rpartition("/")[2]) for path in paths)
        found.stains, rest = propose_stains.with_all(found.stains, (match["stain"] for match in matches if match))
        spelt = propose_stains.also_spelt(found.stains)
        if told := "; ".join(filter(None, [found.guesses.get("stains"), spelt, rest])):
            found.guesses["stains"] = told


def swapped(names: Names) -> Names:
    """Return the names with slice and patch number exchanged. Raises UserError where they are not one number each."""
    numbers = [i for i, group in names.groups.items() if "(?P<patch>" in group]
    fields = names.shape.fields if names.shape else ()
    if len(numbers) != 1 or len(names.span) != 1 or fields[names.span[0]].kind not in ("number", "numbered"):
        raise UserError(
            "slice and patch cannot be exchanged here, for they are not one number each: change names.pattern"
        )
    patch, at = numbers[0], names.span[0]
    groups = {i: group for i, group in names.groups.items() if i != patch} | {at: _numbered(fields[at], "patch")}
    span = range(patch, patch + 1)
    return replace(names, pattern=_joined(names.shape, groups, span), groups=groups, span=span)


def _rank(names: Names, paths: Sequence[str], ids: dict[str, Sequence[str]]) -> tuple:
    """Return the evidence for a reading, strongest first.

    These are the share of files that are each a patch of its own of a case in the labels, in steps of 5%; whether all
    stains are known; whether names tell places, and stains; and how many fields and stains are more than a word.
    """
    grammar, labelled, different = names.grammar, set(map(unpadded, ids[names.case_column])), set()
    for path in paths:
        folder, slash, name = path.rpartition("/")
        with suppress(NotAPatch):
            read = grammar.read(name) if not grammar.of_paths else grammar.spelt(name, folder + slash)
            if unpadded(read.case_id) in labelled:
                different.add((case_id(read.case_id), *read[1:]))
    known = "stains" not in names.guesses
    mixed = 0 if known else sum(not text.isalnum() for texts in names.stains.values() for text in texts)
    varying = [each for each in names.shape.fields if each.kind != "constant"]
    mixed += sum(not all(text[:1].isalnum() and text[-1:].isalnum() for text in each.values) for each in varying)
    return round(20 * len(different) / len(paths)), known, grammar.placed, "stain" in grammar.groups, -mixed


def _missing(forms: Sequence[Shape], ids: dict[str, Sequence[str]], whole: bool) -> str:
    """Return what keeps names from being read, as one line."""
    what = "no part of the files' names" if whole else "no part of the patches' names"
    none, else_ = (
        ("", "write the manifest yourself (docs/how-to/precomputed.md)")
        if whole
        else (", or none numbers the patches", "set names.pattern yourself")
    )
    columns = [f"{name!r} ({next(filter(None, values))})" for name, values in ids.items()]
    return (
        f"{what} is an id of the labels table{none}: "
        f"names are like {few([shape.names[0] for shape in forms], 3)}; columns are like {few(columns, 6)}: "
        f"add a column with the ids as the names have them, or {else_}"
    )


def _own(paths: Sequence[str], ids: dict[str, Sequence[str]]) -> Names | None:
    """Return Names by the workflow's own pattern, if it reads most images and a column has their cases."""
    pattern = re.compile(schema.section("names")["pattern"]["default"], re.IGNORECASE)
    read = [match for path in paths if (match := pattern.match(path.rpartition("/")[2]))]
    if len(read) <= WELL_READ * len(paths):
        return None
    column = column_of({match["case"] for match in read}, ids)
    if not column:
        return None
    stains = propose_stains.named(Counter(match["stain"] for match in read))
    told = propose_stains.unknown(stains)
    guesses = {"stains": told} if told else {}
    return Names(column, None, None, stains, guesses)


def _named(paths: Sequence[str], ids: dict[str, Sequence[str]]) -> Names | None:
    """Return Names by a pattern that has a name, if it reads nearly all images and a column has their cases."""
    found = recognised(paths, STAINS)
    column = found and column_of(found.cases, ids)
    if not column:
        return None
    told = "{stain}" in PATTERNS[found.pattern]
    guesses = {} if told else {"stains": UNTOLD}
    return Names(column, found.pattern, None, propose_stains.named(found.stains), guesses)


def column_of(cases: Collection[str], ids: dict[str, Sequence[str]]) -> str | None:
    """Return the column of the labels table that has most of the cases, None if none has any."""
    cases = set(map(unpadded, cases))
    shared = {name: len(cases & set(map(unpadded, values))) for name, values in ids.items()}
    best = max(ids, key=shared.get, default=None)
    return best if best and shared[best] else None


def propose(shape: Shape, ids: dict[str, Sequence[str]], whole: bool = False) -> Names | None:
    """Return how to read the names of a shape, or None where no field names cases or none numbers patches.

    ids: column of the labels table -> its values, in the order in which the columns are likely to be the case. whole:
    of `propose_all`.
    """
    case = _case(shape, ids)
    if not case:
        return None
    column, at, pattern, why = case
    groups, guesses = {at: pattern}, {"case": why} if why else {}
    free = [i for i, each in enumerate(shape.fields) if each.kind != "constant" and i not in groups]
    place = {} if whole else _place(shape, free, shape.fields[at])
    if not place and not whole:
        return None
    groups |= place
    free = [i for i in free if i not in groups]
    few_words = ({propose_stains.bare(text) for text in values if text} for values in ids.values())
    codes = [words for words in few_words if len(words) <= MOST_STAINS and not words <= set(KNOWN)]
    stain, certain = propose_stains.find(shape, free, shape.fields[at], codes)
    stains = {}
    if stain is not None:
        stains = propose_stains.named(shape.fields[stain].values)
        groups[stain] = f"(?P<stain>{f'{shape.cut.stain_words}|' if shape.cut.stain_words else ''}[^/]+?)"
        if not certain:
            guesses["stains"] = f"{few(shape.fields[stain].values, MOST_STAINS)} taken for stains"
            if len(set(zip(shape.fields[at].column, shape.fields[stain].column))) == len(shape.fields[at].values):
                guesses["stains"] += ", though no case has two of them"
    free = [i for i in free if i not in groups and _varies(shape.fields[i], shape.fields[at])]
    span = range(0) if "(?P<slice>" in groups[at] else _span(free, groups, guesses, shape)
    pattern = _joined(shape, groups, span)
    return Names(column, pattern, shape, stains, guesses, groups=groups, span=span)


def few_values(each: Field) -> str:
    """Return the commonest values of a field for a message."""
    common = [text for text, _ in each.values.most_common(4)]
    return ", ".join(common) + (", ..." if len(each.values) > 4 else "")


def _case(shape: Shape, ids: dict[str, Sequence[str]]) -> tuple[str, int, str, str] | None:
    """Return column, field, pattern of its group and a note: where most values of a field are ids of a column.

    Tried are whole values, the number behind a word (case26 for 26), and what stands before a further hyphen
    (TCGA-AA-0001 of TCGA-AA-0001-01Z-00-DX1, whose rest is then the slice).
    """
    best, score = None, (ENOUGH, 1)
    for column, values in ids.items():
        known = {unpadded(text) for text in values if text}
        if len(known) <= MOST_STAINS and RECUR * len(known) <= sum(map(bool, values)):
            continue  # codes, such as those of the class
        for at, each in enumerate(shape.fields):
            for pattern, read in _readings(shape, at):
                of_field = {read(text) for text in each.values} - {None}
                common = {unpadded(text) for text in of_field} & known
                if not common:
                    continue
                # a sample of names cannot have more cases than names
                share = len(common) / len(of_field), len(common) / min(len(known), len(shape.names))
                rank = sum(share) / 2, bool(CASE.search(shape.head(at))) - bool(NO_CASE.search(shape.head(at)))
                if max(share) > ENOUGH and rank > score:
                    note = "" if share[0] > 0.8 else f"{len(common)} of {len(of_field)} ids in names are in the table"
                    best, score = (column, at, pattern, note), rank
    return best


def _readings(shape: Shape, at: int) -> list:
    each, around = shape.fields[at], ("/", *shape.separators, "/")
    whole = ("(?P<case>[^/]+?)", lambda text: text)
    if "" in around[at : at + 2] and shape.cut.ids:
        return [(f"(?P<case>{shape.cut.ids})", whole[1])]
    if each.kind == "number":
        return [("(?P<case>[0-9]+)", lambda text: text)]
    if each.kind == "numbered":
        head = len(each.head)
        return [whole, (f"{re.escape(each.head)}(?P<case>[0-9]+)", lambda text: text[head:])]
    if each.kind == "constant":
        return []
    parts = max(text.count("-") for text in each.values)
    cut = [
        (
            "(?P<case>[^/-]+" + "-[^/-]+" * n + ")-(?P<slice>[^/]+?)",
            lambda text, n=n: "-".join(text.split("-")[: n + 1]) if text.count("-") >= n else None,
        )
        for n in range(parts)
    ]
    return [whole, *cut]


def _place(shape: Shape, free: list[int], cases: Field) -> dict[int, str]:
    """Return the groups of coordinates, where the last two numbers are some, or of the patch number."""
    numbers = [i for i in free if shape.fields[i].kind in ("number", "numbered")]
    for x, y in reversed(list(pairwise(numbers))):
        bare = not shape.fields[x].head and not shape.fields[y].head
        heads = shape.head(x), shape.head(y)
        if heads in ROWS:
            x, y = y, x
        if heads in (("x", "y"), *ROWS) or (bare and _stepped(shape.fields[x], shape.fields[y])):
            return {x: _numbered(shape.fields[x], "x"), y: _numbered(shape.fields[y], "y")}
    at = max(numbers, key=lambda i: _runs(shape, i, cases), default=None)
    return {} if at is None else {at: _numbered(shape.fields[at], "patch")}


def _runs(shape: Shape, at: int, cases: Field) -> tuple:
    """Return the evidence that a number is that of patches: its word, few gaps, how many a case has, and its place."""
    word, each = shape.head(at), shape.fields[at]
    whole = {int(re.search("[0-9]+$", text)[0]) for text in each.values}
    dense = len(whole) > DENSE * (max(whole) - min(whole) + 1)
    told = bool(PATCH.search(word)) - bool(SLICE.search(word))
    return told, dense, len(set(zip(cases.column, each.column))), at


def _numbered(each: Field, group: str) -> str:
    return f"{re.escape(each.head)}(?P<{group}>[0-9]+)"


def _stepped(*fields: Field) -> bool:
    """Tell whether the numbers of fields are multiples of a step, as the places of tiles on a grid are."""
    values = sorted({int(text) for each in fields for text in each.values})
    return len(values) > 2 and math.gcd(*(b - a for a, b in pairwise(values))) >= COORDINATES


def _varies(each: Field, cases: Field) -> bool:
    """Tell whether a field has several values within a case."""
    return len(set(zip(cases.column, each.column))) > len(cases.values)


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
    fields = [shape.fields[i] for i in span]
    told = "_".join(few_values(each) if each.kind == "text" else str(each) for each in fields)
    numbers = [str(shape.fields[i]) for i, group in groups.items() if "(?P<patch>" in group]
    guesses["slice"] = f"{told} taken for the slice" + "".join(f", {each} for the patch" for each in numbers)
    guesses["slice"] += f"; {', '.join(str(shape.fields[i]) for i in left)} is not used" if left else ""
    return span


def _joined(shape: Shape, groups: dict[int, str], span: range) -> str:
    parts = []
    for i, each in enumerate(shape.fields):
        if span and i == span.start:
            parts.append("(?P<slice>")
        if i in groups:
            parts.append(groups[i])
        elif each.kind == "constant":
            parts.append(plain(each.head))
        else:
            parts.append("[0-9]+" if each.kind == "number" else "[^/]+?")
        if span and i == span.stop - 1:
            parts.append(")")
        parts.append("" if i == len(shape.separators) else plain(shape.separators[i]))
    numbered = any(re.search(r"\?P<(patch|x)>", group) for group in groups.values())
    return f"^{''.join(parts)}{'' if numbered else WHOLE}{re.escape(shape.suffix)}$"

"""Propose the stains of patch files: which words of their names are stains, and which spellings are of one stain."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

from stratamil.core.errors import few
from stratamil.core.names import spelling
from stratamil.workflow.propose_shapes import Field, Shape, plain

# Spellings of stains in file names, without separators; the first is how the proposal calls it.
STAINS = {
    "h&e": ("h&e", "he", "hande", "hunde", "h+e", "hematoxylin", "haematoxylin"),
    "melan": ("melan", "melana", "mart1", "mlana"),
    "hes": ("hes",),
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
WITHIN = "[ ._-]?"  # may stand between the letters of a stain: Melan A, PD-L1
MOST_STAINS = 12  # different words in a field that may name stains
# Words, bare, of encoders and magnifications, and of classes and sets, which stand in names of folders.
ENCODER = (
    r"(?:feat\w*)?(?:uni\w*|conch\w*|ctranspath|resnet\w*|virchow\w*|gigapath|phikon\w*|hoptimus\w*|musk|titan|dino\w*|lunit\w*|"
    r"kimianet|retccl|hibou\w*|chief)|[0-9]+x\w*|[0-9]*mpp[0-9]*"
)
NO_STAIN = re.compile(
    r"tumou?r\w*|normal\w*|benign\w*|malign\w*|cancer|healthy|control|pos\w*|neg\w*|train\w*|val\w*|test\w*|"
    r"(?:tile|patch|level|img|image)\w*|" + ENCODER
)
RECURS = 0.5  # share of the stains that a case has on average


def find(shape: Shape, free: list[int], cases: Field, codes: Iterable[set[str]]) -> tuple[int | None, bool]:
    """Return the field of stains, if there is one, and whether its words are known stains, of which cases have several.

    codes: words, bare, that are no stains: those of each column of the labels that has few.
    """
    some = [i for i in free if shape.fields[i].kind != "number" and len(shape.fields[i].values) <= MOST_STAINS]
    known = {i: sum(bare(text) in KNOWN for text in shape.fields[i].values) for i in some}
    best = max(some, key=lambda i: (known[i], _recurs(shape.fields[i], cases)), default=None)
    if best is None or not known[best]:
        best = None
    elif len(shape.fields[best].values) == 1 or _several(shape.fields[best], cases):
        return best, known[best] == len(shape.fields[best].values)
    words = [i for i in some if _may_be_stains(shape.fields[i], cases, codes)]
    if words or best is not None:  # known words that no case has two of may be those of a hospital
        return max(words, default=best), False
    return None, True


def _several(each: Field, cases: Field) -> bool:
    """Whether a case has several values of a field."""
    return len(set(zip(cases.column, each.column))) > len(cases.values)


def _may_be_stains(each: Field, cases: Field, codes: Iterable[set[str]]) -> bool:
    """Whether the words of a field, none of them known, can be stains; single letters are those of slices."""
    if each.kind != "text" or _recurs(each, cases) <= RECURS or _other_words(each, codes):
        return False
    return all(re.search("[^0-9]", text) for text in each.values) and max(len(bare(text)) for text in each.values) > 1


def _other_words(each: Field, codes: Iterable[set[str]]) -> bool:
    """Whether the words of a field are codes of the labels, sets, encoders or magnifications."""
    words = {bare(text) for text in each.values}
    return any(words <= of_column for of_column in codes) or all(map(NO_STAIN.fullmatch, words))


def _recurs(each: Field, cases: Field) -> float:
    """Return the share of a field's values that a case has, as the mean over cases."""
    return len(set(zip(cases.column, each.column))) / len(cases.values) / len(each.values)


def _spaced(text: str) -> str:
    """Return a regular expression of a spelling with separators in it; short ones have them around numbers only."""
    gaps = [WITHIN if len(text) > 3 or a.isdigit() != b.isdigit() else "" for a, b in pairwise(text)]
    return "".join(re.escape(letter) + gap for letter, gap in zip(text, [*gaps, ""]))


# A stain as a word of its own in a name.
WORD = re.compile(
    rf"(?<![^\W_])(?:{'|'.join(map(_spaced, sorted(KNOWN, key=len, reverse=True)))})(?![^\W_])", re.IGNORECASE
)


def words(paths: Iterable[str]) -> Counter[str]:
    """Return the spellings of known stains in names, with how many names have each."""
    return Counter(word for path in paths for word in set(WORD.findall(path)))


def with_separators(found: Iterable[str]) -> str:
    """Return a regular expression of the spellings that have a separator in them (Melan A); empty if none has."""
    return "|".join(plain(word) for word in sorted(found, key=len, reverse=True) if re.search(r"[^\w&+]|_", word))


def bare(text: str) -> str:
    return re.sub(r"[\s._-]", "", spelling(text).casefold())


def named(values: Counter) -> dict[str, dict[str, int]]:
    """Return the stains of a field: name -> spelling -> files.

    Known spellings of one stain come together; another stain has the name that most of its files give it.
    """
    stains: dict[str, dict[str, int]] = {}
    own: dict[str, str] = {}
    for text, n in values.most_common():
        stains.setdefault(KNOWN.get(bare(text)) or own.setdefault(spelling(text), text), {})[text] = n
    return stains


def unknown(stains: Iterable[str]) -> str:
    """Return which stains have a name that is not in STAINS, to check; empty without any."""
    strange = [name for name in stains if name not in STAINS]
    one = len(strange) == 1
    which = "which is a name that init does not know" if one else "which are names that init does not know"
    return f"{few(strange, MOST_STAINS)} taken for {'a stain' if one else 'stains'}, {which}" if strange else ""


def also_spelt(stains: Mapping[str, Mapping[str, int]]) -> str:
    """Return which different spellings were taken for one stain, to check; empty where none were."""
    several = {
        name: [f"{text} ({n:,})" for text, n in texts.items()]
        for name, texts in stains.items()
        if len({spelling(text) for text in texts}) > 1
    }
    return "; ".join(f"{few(texts, MOST_STAINS)} taken for {name}" for name, texts in several.items())


def with_all(stains: Mapping[str, Mapping[str, int]], words: Iterable[str]) -> tuple[dict[str, dict[str, int]], str]:
    """Return the stains with all their spellings, and a note on words that are of none.

    stains: of the names of one shape. words: what stands for the stain in all names that the pattern reads. A word is
    of a stain that is there, or one that is known; any other could be anything.
    """
    counts = Counter(words)
    there = {spelling(text) for texts in stains.values() for text in texts}
    mine = Counter({text: n for text, n in counts.items() if spelling(text) in there or bare(text) in KNOWN})
    rest = [f"{text!r} ({n:,} {'file' if n == 1 else 'files'})" for text, n in counts.items() if text not in mine]
    return named(mine), f"not taken for stains, so left out: {few(rest, MOST_STAINS)}" if rest else ""

"""Recognise names that a program or a published data set gives to patches: the patterns of core/name_patterns.py."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from stratamil.core.name_patterns import PATTERNS
from stratamil.core.names import Grammar, NotAPatch, case_id

READ = 0.95  # share of the images that a pattern must read
SAMPLE = 400  # names that each pattern is tried on
# Stains of published sets: their names are told by these alone, for other words could be anything.
PUBLISHED = {
    "deepliif": ("ihc", "hema", "dapi", "lap2", "marker"),
    "mihic": (
        "cd3",
        "cd20",
        "cd34",
        "cd38",
        "cd68",
        "cdk4",
        "cyclin-d1",
        "cyclin",
        "d2-40",
        "d2",
        "fap",
        "ki67",
        "p53",
        "sma",
    ),
}
NOT_STAINED = "_seg."  # the masks of DeepLIIF are no images of tissue


class Recognised(NamedTuple):
    """A pattern by its name, the cases that it reads in normal form, and the words of stains with their files."""

    pattern: str
    cases: set[str]
    stains: Counter


def recognised(paths: Sequence[str], known: Mapping[str, Sequence[str]]) -> Recognised | None:
    """Return what reads nearly all of these names; None where no pattern does. known: stain -> its spellings."""
    for pattern in PATTERNS:
        wanted = [path for path in paths if pattern != "deepliif" or NOT_STAINED not in path.lower()]
        for some in (wanted[:: max(1, len(wanted) // SAMPLE)], wanted):  # most patterns read none
            found = _read(pattern, some, known)
            if not some or sum(found.stains.values()) < READ * len(some):
                break
        else:
            return found
    return None


def _read(pattern: str, paths: Sequence[str], known: Mapping[str, Sequence[str]]) -> Recognised:
    own = {name: [] for name in PUBLISHED.get(pattern, ())}
    stained = "{stain}" in PATTERNS[pattern]
    grammar = Grammar(pattern, own or (known if stained else {"h&e": []}))
    found = Recognised(pattern, set(), Counter())
    for path in paths:
        folder, slash, name = path.rpartition("/")
        with suppress(NotAPatch):
            read = grammar.spelt(name, folder + slash)
            found.cases.add(case_id(read.case_id))
            matched = grammar.pattern.match(folder + slash + name if grammar.of_paths else name)
            found.stains[matched["stain"] if stained else read.stain] += 1
    return found

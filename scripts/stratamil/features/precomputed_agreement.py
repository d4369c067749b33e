"""Whether feature files of one study agree on what made them: width, encoder, and tiling of each stain."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from stratamil.core.errors import few
from stratamil.features.precomputed_checks import NATIVE, SCANNED, TILING, Source

NEAR = 0.05  # numbers of the tiling that differ by less are the same: scanners differ a little


def disagreements(sources: dict[str, Source]) -> list[str]:
    """A line for each width or encoder of features that is not that of most files."""
    widths = {file: source.dim for file, source in sources.items()}
    encoders = {file: source.said["extractor"] for file, source in sources.items() if "extractor" in source.said}
    lines = []
    for what, values in (("width", widths), ("encoder", encoders)):
        for usual, like, value, others in _odd(values):
            lines.append(
                f"{few(others)}: features of {what} {value}, but {like[0]} has {usual}: give features of one encoder"
            )
    return lines


def _odd(values: dict[str, Any]) -> list[tuple[Any, list[str], Any, list[str]]]:
    """(the commonest value, its files, another value, its files), of file -> value; numbers may differ a little."""
    common = Counter(values.values()).most_common(1)
    usual = common[0][0] if common else None
    like = [file for file, value in values.items() if _near(value, usual)]
    others = {}
    for file, value in values.items():
        if not _near(value, usual):
            others.setdefault(value, []).append(file)
    return [(usual, like, value, files) for value, files in others.items()]


def _near(a: Any, b: Any) -> bool:
    numbers = all(isinstance(value, int | float) for value in (a, b))
    return a == b or (numbers and math.isclose(a, b, rel_tol=NEAR))


def tilings(sources: dict[str, Source], stains: dict[str, Iterable[str]]) -> tuple[list[str], list[str]]:
    """(problems, warnings): files of one stain tiled in different ways; stains that were, and other scans.

    stains: file -> the stains in it.
    """
    problems, warnings = [], []
    for name in (*TILING, *SCANNED):
        usual = {}
        for stain in dict.fromkeys(stain for of_file in stains.values() for stain in of_file):
            values = {
                file: sources[file].said[name]
                for file, of_file in stains.items()
                if stain in of_file and name in sources[file].said
            }
            differ = [
                f"{few(others)}: {name} {value}, but {_of_files(len(like), len(values), stain)} {most}, as {like[0]}"
                for most, like, value, others in _odd(values)
            ]
            if name in NATIVE:  # two scanners, of which the tiles may show the same field
                warnings += [f"{line}." for line in differ]
            else:
                problems += [f"{line}: give features of one tiling" for line in differ]
            if values:
                usual[stain] = Counter(values.values()).most_common(1)[0][0]
        if any(not _near(value, next(iter(usual.values()))) for value in usual.values()):
            kinds = ", ".join(f"{value} in {stain}" for stain, value in usual.items())
            warnings.append(f"The features of the stains were made in different ways: {name} is {kinds}.")
    return list(dict.fromkeys(problems)), warnings


def _of_files(n: int, of: int, stain: str) -> str:
    """Return `1 file of 111 of stain h&e has`."""
    return f"1 file of {of} of stain {stain} has" if n == 1 else f"{n} of {of} files of stain {stain} have"

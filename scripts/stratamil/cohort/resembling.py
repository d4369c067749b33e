"""What files resemble whose names no pattern reads: a patch with the same bytes, or one of nearly the same name.

A copy of a folder is of no matter; a mistyped name costs its case a patch.
"""

import difflib
import filecmp
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

SAME = "same bytes as "
LIKE = "mistyped? like "
COPIED, MISTYPED = "same bytes as a patch", "but nearly"
MOST = 200  # names that are compared with those of their folder; copies of folders have thousands
NEAR = 0.9  # ratio of difflib: one or two letters of a usual name


def of(sizes: Mapping[str, int], patches: pd.DataFrame, root: Path) -> dict[str, str]:
    """Return what is known of files: path -> `same bytes as ...`, or `mistyped? like ...`; others are absent.

    sizes: path -> bytes. patches: DataFrame with path and bytes. Only files of the same size are read.
    """
    found: dict[str, str] = {}
    if not sizes:
        return found
    there = patches[patches["bytes"].isin([size for size in sizes.values() if size])]
    by_size = there.groupby("bytes")["path"].agg(list).to_dict()
    for path, size in sizes.items():
        twin = next((other for other in by_size.get(size, []) if _equal(root / path, root / other)), None)
        if twin:
            found[path] = f"{SAME}{twin}"
    rest = [path for path in sizes if path not in found][:MOST]
    folders = {path.rpartition("/")[0] for path in rest}
    beside: dict[str, list[str]] = {}
    for path in patches["path"] if rest else ():
        if (folder := path.rpartition("/")[0]) in folders:
            beside.setdefault(folder, []).append(path)
    known = set(patches["path"]) if rest else set()
    for path in rest:
        near = difflib.get_close_matches(path, beside.get(path.rpartition("/")[0], []), 1, NEAR)
        found |= {path: f"{LIKE}{_mended(path, near[0], known)}"} if near else {}
    return found


def _mended(path: str, near: str, known: Collection[str]) -> str:
    """Return a name with the words of one nearly like it and numbers of its own; the other, where that is taken."""
    own, words = (re.split("([0-9]+)", text) for text in (path, near))
    mended = "".join(own[i] if i % 2 else word for i, word in enumerate(words)) if len(own) == len(words) else near
    return near if mended in known else mended


def about(detail: str) -> str:
    """Return what sort of file a detail of `of` tells of; empty for any other text."""
    return COPIED if detail.startswith(SAME) else MISTYPED if detail.startswith(LIKE) else ""


def _equal(a: Path, b: Path) -> bool:
    try:
        return filecmp.cmp(a, b, shallow=False)
    except OSError:
        return False

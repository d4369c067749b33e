"""The folders that hold the patches: what a dry run looks at to notice new and removed files."""

import os
from pathlib import Path


def find(root, known=None):
    """All folders at and below `root`, sorted, as strings that begin with `root`.

    A new or removed file changes the time of its folder, so the times of the folders tell all.
    `known` is a text file with the folders of an earlier walk, one a line: where none of them has
    changed since it was written, it is the answer, and the cost does not grow with the number of files.
    """
    remembered = recall(known) if known else None
    return remembered or walk(root) or [str(root)]  # painted later, by the demo


def walk(root):
    """All folders at and below `root`, symbolic links followed, each folder once."""
    found, seen = [], set()
    for folder, below, _ in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()  # a link back into the tree
            continue
        seen.add(real)
        below.sort()
        found.append(folder)
    return sorted(found)


def recall(known):
    """The folders listed in the file `known`, or None if one of them has changed since."""
    try:
        written = os.stat(known).st_mtime_ns
        listed = Path(known).read_text(encoding="utf-8").splitlines()
        changed = any(os.stat(folder).st_mtime_ns >= written for folder in listed)
    except OSError:
        return None
    return None if changed else listed

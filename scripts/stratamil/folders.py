"""The folders that hold the patches: what a dry run looks at to notice new and removed files."""

import hashlib
import os
from pathlib import Path

from stratamil.errors import UserError


def find(root, known=None):
    """All folders at and below `root`, sorted, as strings that begin with `root`.

    A new or removed file changes the time of its folder, so the times of the folders tell all.
    `known` is a file with the `times` of an earlier walk: where none has changed since, it is the
    answer, and the cost does not grow with the number of files.
    """
    remembered = recall(known) if known else None
    return remembered or walk(root) or [str(root)]  # painted later, by the demo


def walk(root):
    """All folders at and below `root`, symbolic links followed, each folder once."""
    found, seen = [], set()
    for folder, below, _ in os.walk(root, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()  # a link back into the tree
            continue
        seen.add(real)
        below.sort()
        found.append(folder)
    return sorted(found)


def _unreadable(error):
    if not isinstance(error, FileNotFoundError):
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}): give read permission, or move it away")


def times(found):
    """The time of change of each folder, as the text of `known`: one line a folder, nanoseconds and path."""
    return "".join(f"{os.stat(folder).st_mtime_ns} {folder}\n" for folder in found if os.path.isdir(folder))


def digest(found):
    """The `times` of folders as a short text."""
    return hashlib.sha256(times(found).encode(errors="replace")).hexdigest()[:16]


def recall(known):
    """The folders listed in the text file `known`, or None if one of them has changed since."""
    try:
        text = Path(known).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    listed = [line.partition(" ")[2] for line in text.splitlines()]
    return listed if times(listed) == text else None

"""Errors that a user can mend."""

import errno
import re
from collections.abc import Iterable

# What a machine refuses, which is no error of the program and no damage of a file, with the remedy.
REFUSALS = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room within your quota",
    errno.EROFS: "choose a folder that can be written to",
    errno.EEXIST: "move away the file that is where a folder should be",
    errno.ENOTDIR: "move away the file that is where a folder should be",
    errno.EISDIR: "move away the folder that is where a file should be",
    errno.EACCES: "ask for the right to read or write it",
    errno.EPERM: "ask for the right to read or write it",
    errno.EIO: "look at the disk, or the connection to it",
    errno.ENOLCK: "its file system has no lock service: mount it with locks, or choose a folder on another",
    errno.EAGAIN: "another program has locked it: wait until that program has ended",
    errno.ESTALE: "the connection to its file system was lost: mount it again",
    errno.ETIMEDOUT: "the connection to its file system was lost: mount it again",
    errno.ENOMEM: "give the job more memory",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "end other programs: the machine has too many files open",
}


class UserError(Exception):
    """One or more problems with the user's input, each a line that names file, row and remedy.

    Collect all problems first and raise once, so that one run shows them all.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Stopped(Exception):
    """Work was asked to stop and has saved its state; the next run goes on from it."""


def few(items: Iterable[object], shown: int = 3) -> str:
    """Return `a, b, c and 4 more`: examples of places with their number, for a problem that many places share."""
    items = list(map(str, items))
    more = f" and {len(items) - shown:,} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more


def in_rows(numbers: Iterable[int], shown: int = 3) -> str:
    """Return `row 3`, or `rows 3, 5, 7 and 2 more`."""
    numbers = list(numbers)
    return f"row{'' if len(numbers) == 1 else 's'} {few(numbers, shown)}"


def by_kind(problems: Iterable[tuple[str, str]], shown: int = 3) -> list[str]:
    """Return one line for all places with the same problem, from pairs (place, problem).

    Problems that differ in their numbers alone are one kind where there are more of them than examples are shown.
    """
    same, alike = {}, {}
    for place, what in problems:
        same.setdefault(what, []).append(place)
    for what in same:
        alike.setdefault(re.sub(r"\d+", "0", what), []).append(what)
    lines = []
    for kinds in alike.values():
        places = [place for what in kinds for place in same[what]]
        if len(kinds) > shown:
            lines.append(f"{few(places, shown)}: {kinds[0]}")
        else:
            lines += [f"{few(same[what], shown)}: {what}" for what in kinds]
    return lines


def visible(text: str, keep: str = "") -> str:
    """Return `text` with all that is not seen as its code (`\\x1b`), so that no name can command a terminal.

    keep: characters that stay, such as line breaks of a table.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )

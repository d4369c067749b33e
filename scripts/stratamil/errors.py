"""Errors that a user can mend."""

from collections.abc import Iterable


class UserError(Exception):
    """One or more problems with the user's input, each a line that names file, row and remedy.

    Collect all problems first and raise once, so that one run shows them all.
    """

    def __init__(self, *problems: str):
        super().__init__("\n".join(problems))
        self.problems = problems


class Stopped(Exception):
    """Work was asked to stop and has saved its state; the next run goes on from it."""


def few(items: Iterable[object], shown: int = 3) -> str:
    """Return `a, b, c and 4 more`: examples of places with their number, for a problem that many places share."""
    items = list(map(str, items))
    more = f" and {len(items) - shown:,} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more


def visible(text: str, keep: str = "") -> str:
    """Return `text` with all that is not seen as its code (`\\x1b`), so that no name can command a terminal.

    keep: characters that stay, such as line breaks of a table.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )

"""Addresses of the case browser: how other pages lead to a case there."""

from collections import Counter
from collections.abc import Iterable
from urllib.parse import quote

FOLDER, PAGE = "browser", "index.html"
LABEL = "patches"  # of a link from the row of a case


def keys(tested: Iterable[tuple[str, str | None]]) -> dict[tuple[str, str | None], str]:
    """Return the key of each case in each split that tests it: its id, or id@split where several splits do."""
    tested = list(tested)
    times = Counter(case for case, _ in tested)
    return {(case, split): case if times[case] == 1 else f"{case}@{split}" for case, split in tested}


def link(page: str, key: str) -> str:
    """Return the address of a case. page: relative address of the browser's page."""
    return f"{page}#case={quote(key, safe='')}"

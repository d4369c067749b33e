"""Match the ids that files, splits and settings name with those of the labels table.

An id is that of the table which it equals in normal form (names.case_id). Where there is none, separators do not
matter: a file's name cannot have the slash of B001/24, so B001-24 is that case, if it can be no other.
"""

import re
import unicodedata
from collections.abc import Iterable

from stratamil.core.errors import UserError, few
from stratamil.core.names import case_id

SHOWN = 3  # ids that a line names


def levelled(text: str) -> str:
    """Return the normal form of an id with one sign for all separators: `b001-24` for `B001/24` and `B001_24`."""
    dashes = "".join("-" if unicodedata.category(c) == "Pd" else c for c in case_id(text))
    return re.sub(r"[\s/\\_.:,-]+", "-", dashes)


class Known:
    """Ids by which others are known.

    own: normal form -> as it is spelt. levelled: those that were matched with their separators levelled -> own.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self.own = {case_id(text): text for text in ids if case_id(text)}
        self.levelled: dict[str, str] = {}
        self._alike: dict[str, list[str]] = {}
        for text in self.own.values():
            self._alike.setdefault(levelled(text), []).append(text)

    def match(self, texts: Iterable[str]) -> dict[str, str]:
        """Return the id that each of the texts is: text -> the own spelling; those that are none are absent.

        Raises UserError, a line for each, where one text could be several ids, or several texts could be one.
        """
        texts = list(dict.fromkeys(texts))
        found = {text: self.own[case_id(text)] for text in texts if case_id(text) in self.own}
        taken, problems = {case_id(text) for text in found.values()}, []
        claims: dict[str, dict[str, str]] = {}
        for text in texts:
            alike = [own for own in self._alike.get(levelled(text), []) if case_id(own) not in taken]
            if text in found:
                continue
            if len(alike) > 1:
                problems.append(f"{text!r} could be {few(map(repr, alike))}: spell it as one of them")
            elif alike:
                claims.setdefault(alike[0], {})[case_id(text)] = text
                found[text] = alike[0]
        for own, claimants in claims.items():
            if len(claimants) > 1:
                each = few(map(repr, claimants.values()))
                problems.append(f"{each} could each be {own!r}: spell one as {own!r}, and the others differently")
        if problems:
            raise UserError(*problems)
        self.levelled |= {text: own for text, own in found.items() if case_id(text) != case_id(own)}
        return found


def told(same: dict[str, str], where: str) -> str:
    """Return a line on ids that were matched with their separators levelled. same: of `Known`."""
    pairs = {case_id(text): f"{text} = {own}" for text, own in same.items()}
    n = "1 id differs" if len(pairs) == 1 else f"{len(pairs):,} ids differ"
    return f"{where}: {n} from the labels table in separators alone, taken as the same: {few(pairs.values(), SHOWN)}"

"""Match the ids that files, splits and settings name with those of the labels table.

An id is that of the table which it equals in normal form (names.case_id). Where there is none, separators do not
matter: a file's name cannot have the slash of B001/24, so B001-24 is that case, if it can be no other. Where there is
still none, nor do leading zeros of its numbers: a spreadsheet has B1/24 for a slide that is called B001-24.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

from stratamil.core.errors import UserError, few
from stratamil.core.names import case_id, natural

SHOWN = 3  # ids that a line names
Level = Callable[[str], str]


def levelled(text: str) -> str:
    """Return the normal form of an id with one sign for all separators: `b001-24` for `B001/24` and `B001_24`."""
    dashes = "".join("-" if unicodedata.category(c) == "Pd" else c for c in case_id(text))
    return re.sub(r"[\s/\\_.:,-]+", "-", dashes)


def unpadded(text: str) -> str:
    """Return a levelled id without the leading zeros of its numbers: `b1-24` for `B001/24`."""
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", levelled(text))


class Known:
    """Ids by which others are known.

    own: normal form -> as it is spelt. levelled: those that were matched by `levelled` or `unpadded` alone -> own.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self.own = {case_id(text): text for text in ids if case_id(text)}
        self.levelled: dict[str, str] = {}
        self._alike: dict[Level, dict[str, list[str]]] = {levelled: {}, unpadded: {}}
        for level, alike in self._alike.items():
            for text in self.own.values():
                alike.setdefault(level(text), []).append(text)

    def match(self, texts: Iterable[str]) -> dict[str, str]:
        """Return the id that each of the texts is: text -> the own spelling; those that are none are absent.

        Raises UserError, a line for each, where one text could be several ids, or several texts could be one.
        """
        texts = list(dict.fromkeys(texts))
        found = {text: self.own[case_id(text)] for text in texts if case_id(text) in self.own}
        for level in self._alike:
            alike, problems = self._nearly([text for text in texts if text not in found], set(found.values()), level)
            if problems:
                raise UserError(*problems)
            found |= alike
        self.levelled |= {text: own for text, own in found.items() if case_id(text) != case_id(own)}
        return found

    def _nearly(self, texts: list[str], taken: set[str], level: Level) -> tuple[dict[str, str], list[str]]:
        """Return the ids that texts are at a level, but those that are taken, and what leaves a choice."""
        found, problems, claims = {}, [], {}
        for text in texts:
            alike = [own for own in self._alike[level].get(level(text), []) if own not in taken]
            if len(alike) > 1:
                problems.append(f"{text!r} could be {few(map(repr, alike))}: spell it as one of them")
            elif alike:
                claims.setdefault(alike[0], {})[case_id(text)] = text
                found[text] = alike[0]
        for own, claimants in claims.items():
            if len(claimants) > 1:
                each = few(map(repr, claimants.values()))
                problems.append(f"{each} could each be {own!r}: spell one as {own!r}, and the others differently")
        return found, problems


def in_zeros(same: Mapping[str, str]) -> dict[str, str]:
    """Return those of the matched ids that differ in leading zeros, too. same: of `Known`."""
    return {text: own for text, own in same.items() if levelled(text) != levelled(own)}


def told(same: Mapping[str, str], where: str) -> str:
    """Return a line on ids that were matched with separators, or zeros, levelled. same: of `Known`."""
    what = "separators or leading zeros" if in_zeros(same) else "separators"
    pairs = {case_id(text): f"{text} = {own}" for text, own in sorted(same.items(), key=lambda pair: natural(pair[0]))}
    n = "1 id differs" if len(pairs) == 1 else f"{len(pairs):,} ids differ"
    return f"{where}: {n} from the labels table in {what} alone, taken as the same: {few(pairs.values(), SHOWN)}"

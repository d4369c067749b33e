"""The first page of a study: which pages there are, what each found, and what to know before reading it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stratamil.core import files
from stratamil.core.errors import UserError
from stratamil.core.weighting import NOTES
from stratamil.report import cohort_sentences, page, sentences
from stratamil.stats.intervals import Estimate

Content = Mapping[str, Any]

FLAGS = 5  # of a page; the page itself has all of them


class Entry(NamedTuple):
    """A page: its title, what it answers, its finding in a sentence, what to know of it, and links (words, file)."""

    title: str
    about: str
    finding: str
    flags: list[str]
    links: list[tuple[str, str]]


def write(
    paths: Sequence[Path], output: Path, *, template: Path, title: str, first_look: bool, colors: Sequence[str]
) -> None:
    """Write the first page, index.html of the results folder. paths: the JSON files beside the pages."""
    told = {"title": title, "first_look": sentences.first_look(first_look), "colors": colors}
    files.write_text(page.template(template).render(**told, entries=entries(paths, output.parent)), output)


def outdated(paths: Iterable[Path], output: Path) -> list[Path]:
    """Return those JSON files that there are, if the first page is missing or older than one of them."""
    there = [path for path in paths if path.is_file()]
    newest = max((path.stat().st_mtime for path in there), default=0)
    return there if not output.is_file() or output.stat().st_mtime < newest else []


def entries(paths: Sequence[Path], folder: Path) -> list[Entry]:
    """Return the pages beside these JSON files, the result first; what one page warns of is not said again.

    folder: of the study, for relative links. A file that is not known by its name says title, about, finding and flags.
    """
    contents = {path: read(path) for path in paths}
    told, result = set(), []
    for path in sorted(contents, key=lambda path: _place(path.name)):
        entry = _entry(path, contents, path.parent.relative_to(folder).as_posix())
        flags = [flag for flag in entry.flags if flag not in told]
        told |= set(flags)
        result.append(entry._replace(flags=[*flags[:FLAGS], *_more(len(flags) - FLAGS)]))
    return result


def read(path: Path) -> Content:
    """Return the numbers beside a page, its estimates as such."""
    with files.readable(path, "make its page first"):
        text = path.read_text(encoding="utf-8")
    try:
        return json.loads(text, object_hook=lambda item: Estimate(**item) if item.keys() == ESTIMATE else item)
    except ValueError as error:
        raise UserError(f"{path}: no JSON ({error}): make its page again") from None


ESTIMATE = {"value", "low", "high", "n"}
NAMES = ("metrics.json", "faithfulness.json", "cohort.json")  # in the order of their pages here


def _place(name: str) -> int:
    return NAMES.index(name) if name in NAMES else len(NAMES)


def _more(n: int) -> Iterator[str]:
    if n > 0:
        yield f"{n} more on the page."


def _entry(path: Path, contents: Mapping[Path, Content], where: str) -> Entry:
    content, links = contents[path], [("Open the page", f"{where}/index.html")]
    try:
        if path.name == "metrics.json":
            others = {other.name: content for other, content in contents.items()}
            links.append(("methods, settings and checklists", f"{where}/appendix.html"))
            return Entry("The report", REPORT, sentences.result(content), _of_report(content, others), links)
        if path.name == "faithfulness.json":
            flags = list(filter(None, (content["by_class"], NOTES[content["weighting"]])))
            return Entry("Is attention an explanation?", FAITHFULNESS, content["overall"], flags, links)
        if path.name == "cohort.json":
            flags = [sentences.first_sentence(line) for line in content["warnings"]]
            return Entry("The cohort", COHORT, cohort_sentences.finding(content), flags, links)
        return Entry(*(content[name] for name in ("title", "about", "finding", "flags")), links)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: of another version ({error!r}): make its page again") from None


REPORT = "How well the model separates the classes, case by case."
FAITHFULNESS = "Whether predictions rest on the patches with the most attention."
COHORT = "What was given to training, and what was excluded."


def _of_report(content: Content, others: Mapping[str, Content]) -> list[str]:
    """Return the flags of the first screen of the report."""
    cohort, checked = others.get("cohort.json"), others.get("faithfulness.json")
    unit = "case" if cohort and cohort["patient_column"] is None else "patient"
    known = cohort or {"warnings": [], "grave": 0}
    return sentences.flags(content, known, checked and checked["explained"], unit)

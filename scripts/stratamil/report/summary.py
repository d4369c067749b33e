"""The end of a run in ten lines: the result, what to know of it, the pages to open, and what to do next."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stratamil.cohort import duplicates
from stratamil.cohort.inventory import USED
from stratamil.core import tables
from stratamil.core.errors import few, visible
from stratamil.core.names import column
from stratamil.core.wording import duration, n_of, thousands
from stratamil.report import door, sentences

Numbers = Mapping[str, Any]
FLAGS = 3
TARGET = "a target"

PAGES = {
    "index.html": "every page with its finding; start here",
    "report/index.html": "the result, split by split and case by case",
    "faithfulness/index.html": "is attention an explanation?",
    "cohort/index.html": "the cohort and its splits",
    "browser/index.html": "every patch of every case, to look at and to mark",
}


def of_folder(
    results: Path, seconds: float, target: str = TARGET, command: str = "", of_stains: Sequence[str] = ()
) -> list[str]:
    """Return the lines on what stands in a results folder.

    seconds: what the run took. target: what was asked for. command: that of the whole study, after a first look.
    of_stains: those of the study, in the order of tables.
    """
    pages = [results / name for name in PAGES if (results / name).is_file()]
    metrics = _read(results / "report/metrics.json")
    inputs = [*results.glob("split_*/seed_*/predictions.csv"), *results.glob("cohort/cohort.json")]
    newest = max((path.stat().st_mtime for path in inputs), default=0)
    if metrics and newest > (results / "report/metrics.json").stat().st_mtime:
        metrics, pages = None, [page for page in pages if page.parent.name != "report"]  # of earlier settings
    cohort, faithfulness = _read(results / "cohort/cohort.json"), _read(results / "faithfulness/faithfulness.json")
    try:
        result = lines(metrics, cohort, faithfulness, pages, seconds, target, command)
    except (
        AttributeError,
        KeyError,
        TypeError,
    ):  # the numbers of another version of the program, in a folder that is not all made again
        result = lines(None, None, None, pages, seconds, target)
    if not metrics and (not cohort or _older(results / "cohort/cohort.json", results / "inventory/cases.csv")):
        result = (
            [*of_inventory(results / "inventory", of_stains), *result[-1:]] if _whole(results / "inventory") else result
        )
    return [visible(line) for line in result]


def _older(path: Path, other: Path) -> bool:
    return other.is_file() and path.stat().st_mtime < other.stat().st_mtime


def _whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("cases.csv", "excluded.csv", "duplicates.csv"))


def _read(path: Path) -> Numbers | None:
    return door.read(path) if path.is_file() else None


def lines(
    metrics: Numbers | None,
    cohort: Numbers | None,
    faithfulness: Numbers | None,
    pages: Sequence[Path],
    seconds: float,
    target: str = TARGET,
    command: str = "",
) -> list[str]:
    """Return about ten lines for a terminal, from metrics.json, cohort.json and faithfulness.json, each if it is there.

    pages: files to open, the most important first. seconds: what the run took. target: what was asked for, in words.
    command: see `of_folder`.
    """
    result = [headline(metrics)] if metrics else []
    if metrics and faithfulness:
        result.append(faithfulness["overall"])
    warnings = flags(metrics, cohort, faithfulness)
    if warnings:
        shown = warnings if len(warnings) == FLAGS + 1 else warnings[:FLAGS]  # instead of a line on one more
        more = len(warnings) - len(shown)
        result += ["Read with care:", *(f"  - {line}" for line in shown)]
        result += [f"  - and {more} more on the pages"] if more else []
    if pages:
        width = max(len(str(page)) for page in pages)
        about = {page: text for page in pages for name, text in PAGES.items() if page.as_posix().endswith(name)}
        result += ["Open:", *(f"  {page!s:<{width}}  {about.get(page, '')}".rstrip() for page in pages)]
    return [*result, f"It took {duration(seconds)}. {_next(metrics, pages, target, command)}"]


def headline(metrics: Numbers) -> str:
    """Return the result as a sentence, `AUROC 0.91 (95% CI 0.84 to 0.95) ...`."""
    apart, of = sentences.question(metrics["classes"], metrics["positive"]), metrics["out_of_fold"]
    cases, patients = metrics["cases"], metrics["patients"]
    counts = f"{cases} cases" + (f" of {patients} patients" if patients != cases else "")
    several = len(metrics["by_seed"])
    how = f"mean of {of['folds']} folds" if metrics["headline"] == "fold_mean" else "pooled"
    how += f", mean of {several} single trainings each" if several > 1 else ""
    return f"AUROC {sentences.quoted(of[metrics['headline']])}, {apart}; {counts}, out of fold, {how}."


def flags(metrics: Numbers | None, cohort: Numbers | None, faithfulness: Numbers | None = None) -> list[str]:
    """Return what a reader must know, as the first screen of the report has it; without a result, of the cohort."""
    if not metrics:
        return [sentences.first_sentence(line) for line in cohort["warnings"]] if cohort else []
    unit = "case" if cohort and cohort["patient_column"] is None else "patient"
    explained = faithfulness and faithfulness["explained"]
    first = [metrics["first_look"]] if metrics.get("first_look") else []
    return first + sentences.flags(metrics, cohort or {"warnings": [], "grave": 0}, explained, unit)


def of_inventory(folder: Path, stains: Sequence[str]) -> list[str]:
    """Return what the inventory found: cases, patches by stain, what is excluded and why, cases that share files."""
    cases, excluded = tables.read_cases(folder / "cases.csv"), tables.read_excluded(folder / "excluded.csv")
    used = cases[cases["status"] == USED]
    by_class = sentences.by_class(used["class"].value_counts(sort=False).to_dict())
    patches = n_of(int(used["n_patches"].astype(int).sum()), "patch")
    lines = [f"{n_of(len(used), 'case')} ({by_class}), {patches}, before their content is read."]
    counts = [(stain, used[name].astype(int)) for stain in stains if (name := f"patches_{column(stain)}") in used]
    told = [f"{stain} {thousands(int(n.sum()))} in {n_of(int((n > 0).sum()), 'case')}" for stain, n in counts]
    lines += [f"Patches of each stain: {'; '.join(told)}."] if told else []
    counts = excluded[["kind", "reason"]].value_counts(sort=False)
    told = [f"  {n_of(int(n), kind)}: {reason}" for (kind, reason), n in counts.items()]
    lines += ["Excluded (inventory/excluded.csv names them):", *told] if told else ["Nothing is excluded."]
    shared = duplicates.by_cases(tables.read(folder / "duplicates.csv"))
    lines += [f"  cases {few(row['cases'])} share {n_of(row['files'], 'equal file')}" for row in shared[:FLAGS]]
    more = len(shared) - FLAGS
    return lines + ([f"  and {more} more groups in inventory/duplicates.csv"] if more > 0 else [])


def _next(metrics: Numbers | None, pages: Sequence[Path], target: str, command: str) -> str:
    if metrics and metrics.get("first_look") and command:
        return f"Next: read the report, then run the whole study, whose results replace these: {command}"
    if metrics:
        return "Next: read the report. For other settings, copy the study file and give it a results folder of its own."
    whole = f"run the same command without {target} for the whole study."
    return f"Next: read the page, then {whole}" if pages else f"Next: {whole}"

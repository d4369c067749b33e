"""The end of a run in ten lines: the result, what to know of it, the pages to open, and what to do next."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stratamil.core.errors import visible
from stratamil.core.wording import baseline_label, duration, num, span
from stratamil.report import sentences

Numbers = Mapping[str, Any]
FLAGS = 3
TARGET = "a target"

PAGES = {
    "index.html": "every page with its finding; start here",
    "report/index.html": "the result, split by split and case by case",
    "faithfulness/index.html": "is attention an explanation?",
    "cohort/index.html": "the cohort and its splits",
}


def of_folder(results: Path, seconds: float, target: str = TARGET) -> list[str]:
    """Return the lines on what stands in a results folder; seconds: what the run took, target: what was asked for."""
    pages = [results / name for name in PAGES if (results / name).is_file()]
    metrics = _read(results / "report/metrics.json")
    inputs = [*results.glob("split_*/seed_*/predictions.csv"), *results.glob("cohort/cohort.json")]
    newest = max((path.stat().st_mtime for path in inputs), default=0)
    if metrics and newest > (results / "report/metrics.json").stat().st_mtime:
        metrics, pages = None, [page for page in pages if page.parent.name != "report"]  # of earlier settings
    cohort, faithfulness = _read(results / "cohort/cohort.json"), _read(results / "faithfulness/faithfulness.json")
    try:
        result = lines(metrics, cohort, faithfulness, pages, seconds, target)
    except (
        KeyError,
        TypeError,
    ):  # the numbers of another version of the program, in a folder that is not all made again
        result = lines(None, None, None, pages, seconds, target)
    return [visible(line) for line in result]


def _read(path: Path) -> Numbers | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def lines(
    metrics: Numbers | None,
    cohort: Numbers | None,
    faithfulness: Numbers | None,
    pages: Sequence[Path],
    seconds: float,
    target: str = TARGET,
) -> list[str]:
    """Return about ten lines for a terminal, from metrics.json, cohort.json and faithfulness.json, each if it is there.

    pages: files to open, the most important first. seconds: what the run took. target: what was asked for, in words.
    """
    result = [headline(metrics, cohort)] if metrics else []
    if metrics and faithfulness:
        result.append(faithfulness["overall"])
    warnings = flags(metrics, cohort)
    if warnings:
        shown = warnings if len(warnings) == FLAGS + 1 else warnings[:FLAGS]  # instead of a line on one more
        more = len(warnings) - len(shown)
        result += ["Read with care:", *(f"  - {_first_sentence(line)}" for line in shown)]
        result += [f"  - and {more} more on the pages"] if more else []
    if pages:
        width = max(len(str(page)) for page in pages)
        about = {page: text for page in pages for name, text in PAGES.items() if page.as_posix().endswith(name)}
        result += ["Open:", *(f"  {page!s:<{width}}  {about.get(page, '')}".rstrip() for page in pages)]
    return [*result, f"It took {duration(seconds)}. {_next(metrics, pages, target)}"]


def headline(metrics: Numbers, cohort: Numbers | None = None) -> str:
    """Return the result as a sentence, `AUROC 0.91 (95% CI 0.84 to 0.95) ...`, and what keeps one from quoting it."""
    apart, of = sentences.question(metrics["classes"], metrics["positive"]), metrics["out_of_fold"]
    cases, patients = metrics["cases"], metrics["patients"]
    counts = f"{cases} cases" + (f" of {patients} patients" if patients != cases else "")
    several = len(metrics["by_seed"])
    how = f"mean of {of['folds']} folds" if metrics["headline"] == "fold_mean" else "pooled"
    how += f", mean of {several} trainings each" if several > 1 else ""
    told = f"AUROC {quoted(of[metrics['headline']])}, {apart}; {counts}, out of fold, {how}."
    unit = "case" if cohort and cohort["patient_column"] is None else "patient"
    doubts = (sentences.below_chance(of[metrics["headline"]]["high"]), sentences.few(metrics["patients_of"], unit))
    return " ".join(filter(None, (told, *doubts)))


def quoted(estimate: Numbers) -> str:
    """Return `0.91 (95% CI 0.84 to 0.95)`, from value, low and high."""
    low, high = estimate["low"], estimate["high"]
    return num(estimate["value"], 2) + ("" if low is None else f" (95% CI {span(low, high, 2)})")


def flags(metrics: Numbers | None, cohort: Numbers | None) -> list[str]:
    """Return what a reader must know of the result, the most dangerous first; those of the cohort in their order."""
    result = []
    warnings, grave = (cohort["warnings"], cohort["grave"]) if cohort else ([], 0)
    if metrics:
        if metrics["disagreements"]:
            result.append("results.json and predictions.csv of some runs do not agree: evaluate these runs again.")
        if metrics["coverage"]["missing"] or metrics["coverage"]["repeated"]:
            result.append("Some cases are predicted less or more often than others: the report names them.")
        aucs, sizes = [run["roc_auc"]["value"] for run in metrics["runs"]], [run["n"] for run in metrics["runs"]]
        if told := sentences.perfect(aucs, sizes, quoted(metrics["out_of_fold"]["roc_auc"]) if aucs else ""):
            result.append(told)
    return [*result, *warnings[:grave], *(_against_baselines(metrics) if metrics else []), *warnings[grave:]]


def _against_baselines(metrics: Numbers) -> list[str]:
    """Return a line if the cohort cannot show that the model is better than the strongest baseline."""
    judged = [entry for entry in metrics["baselines"] if entry["name"] != "prevalence" and entry["fitted"]]
    judged = [entry for entry in judged if not entry.get("retrained")]
    measure = metrics["headline"]
    judged = [entry for entry in judged if entry[measure]["value"] is not None]
    if not judged:
        return []
    strongest = max(judged, key=lambda entry: entry[measure]["value"])
    gain = strongest["auc_difference"]["fold_mean" if measure == "fold_mean" else "model"]
    if gain["value"] is None or (gain["low"] is not None and gain["low"] > 0):
        return []
    equal = num(gain["value"], 2) == num(0, 2)
    if gain["low"] is not None:
        difference = f"; the 95% CI of the difference is {span(gain['low'], gain['high'], 2)}"
    else:  # too few patients, or all test sets ranked perfectly
        difference = "" if equal else "; the difference has no CI"
    reaches = "also reaches" if equal and not difference else "reaches"
    name, reached = baseline_label(strongest["name"]), num(strongest[measure]["value"], 2)
    return [f"The baseline “{name}” {reaches} {reached}{difference}: this cohort cannot show that the model is better."]


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.) (?=[A-Z])", text)[0]


def _next(metrics: Numbers | None, pages: Sequence[Path], target: str) -> str:
    if metrics:
        return "Next: read the report. For other settings, copy the study file and give it a results folder of its own."
    whole = f"run the same command without {target} for the whole study."
    return f"Next: read the page, then {whole}" if pages else f"Next: {whole}"

"""The end of a run in ten lines: the result, what to know of it, the pages to open, and what to do next."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stratamil.core.errors import visible
from stratamil.core.wording import duration, num, span

Numbers = Mapping[str, Any]
FLAGS = 3

PAGES = {
    "report/index.html": "the result, split by split and case by case",
    "faithfulness/index.html": "is attention an explanation?",
    "inventory/cohort.html": "the cohort and its splits",
}


class Estimate(NamedTuple):
    """An AUROC with its 95% CI; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        ci = "" if self.low is None else f" (95% CI {span(self.low, self.high, 2)})"
        return f"{num(self.value, 2)}{ci}"


def of_folder(results: Path, seconds: float) -> list[str]:
    """Return the lines on what stands in a results folder; seconds: what the run took."""
    pages = [results / name for name in PAGES if (results / name).is_file()]
    metrics = _read(results / "report/metrics.json")
    predicted = [path.stat().st_mtime for path in results.glob("split_*/seed_*/predictions.csv")]
    if metrics and max(predicted, default=0) > (results / "report/metrics.json").stat().st_mtime:
        metrics, pages = None, [page for page in pages if page.parent.name != "report"]  # of a run before
    cohort, faithfulness = _read(results / "inventory/cohort.json"), _read(results / "faithfulness/faithfulness.json")
    return [visible(line) for line in lines(metrics, cohort, faithfulness, pages, seconds)]


def _read(path: Path) -> Numbers | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def lines(
    metrics: Numbers | None,
    cohort: Numbers | None,
    faithfulness: Numbers | None,
    pages: Sequence[Path],
    seconds: float,
) -> list[str]:
    """Return about ten lines for a terminal, from metrics.json, cohort.json and faithfulness.json, each if it is there.

    pages: files to open, the most important first. seconds: what the run took.
    """
    result = [headline(metrics)] if metrics else []
    if metrics and faithfulness:
        result.append(faithfulness["overall"])
    warnings = flags(metrics, cohort)
    if warnings:
        more = len(warnings) - FLAGS
        left = f" (the first {FLAGS} of {len(warnings)}; the pages have all)" if more > 0 else ""
        result += [f"Read with care{left}:", *(f"  - {_first_sentence(line)}" for line in warnings[:FLAGS])]
    if pages:
        width = max(len(str(page)) for page in pages)
        about = {page: text for page in pages for name, text in PAGES.items() if page.as_posix().endswith(name)}
        result += ["Open:", *(f"  {page!s:<{width}}  {about.get(page, '')}".rstrip() for page in pages)]
    return [*result, f"It took {duration(seconds)}. {_next(metrics, pages)}"]


def headline(metrics: Numbers) -> str:
    """Return the result as a sentence: `AUROC 0.91 (95% CI 0.84 to 0.95) ...`."""
    classes, positive = metrics["classes"], metrics["positive"]
    question = f"{positive} against {classes[0]}" if positive else "each class against the rest, mean"
    replicates = len(metrics["by_seed"])
    over = f", mean of {replicates} trainings a case" if replicates > 1 else ""
    cases, patients = metrics["cases"], metrics["patients"]
    counts = f"{cases} cases" + (f" of {patients} patients" if patients != cases else "")
    return f"AUROC {auc(metrics['out_of_fold'])}, {question}: {counts}{over}, out of fold."


def auc(entry: Numbers) -> Estimate:
    """Return the AUROC of an entry of metrics.json with its CI, as the report has it now or as it was before."""
    entry = entry.get("discrimination", entry)
    found = entry["roc_auc"]
    return _estimate(found) if isinstance(found, Mapping) else Estimate(found, entry["low"], entry["high"])


def difference(baseline: Numbers) -> Estimate:
    """Return how much higher the AUROC of a model that is trained once is than that of a baseline."""
    if "auc_difference" in baseline:
        return _estimate(baseline["auc_difference"]["model"])
    return Estimate(*(baseline[f"single_gain{end}"] for end in ("", "_low", "_high")))


def _estimate(found: Numbers) -> Estimate:
    return Estimate(found["value"], found["low"], found["high"])


def flags(metrics: Numbers | None, cohort: Numbers | None) -> list[str]:
    """Return what a reader must know of the result, the most important first."""
    result = []
    if metrics:
        if metrics["disagreements"]:
            result.append("results.json and predictions.csv of some runs do not agree: evaluate these runs again.")
        if metrics["coverage"]["missing"] or metrics["coverage"]["repeated"]:
            result.append("Some cases are predicted less or more often than others: the report names them.")
        result += _against_baselines(metrics)
    return result + list(cohort["warnings"] if cohort else [])


def _against_baselines(metrics: Numbers) -> list[str]:
    """Return a line if the cohort cannot show that the model is better than the strongest baseline."""
    known = [entry for entry in metrics["baselines"] if entry["name"] != "prevalence" and auc(entry).value is not None]
    if not known:
        return []
    strongest = max(known, key=lambda entry: auc(entry).value)
    gain = difference(strongest)
    if gain.low is None or gain.low > 0:
        return []
    name = strongest["name"].replace("_", " ")
    return [
        f"The baseline {name} reaches {num(auc(strongest).value, 2)}; the 95% CI of the difference is "
        f"{span(gain.low, gain.high, 2)}: this cohort cannot show that the model is better."
    ]


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.) (?=[A-Z])", text)[0]


def _next(metrics: Numbers | None, pages: Sequence[Path]) -> str:
    if metrics:
        return "Next: read the report. For other settings, copy the study file and give it a results folder of its own."
    if pages:
        return "Next: read the page, then run the same command without a target for the whole study."
    return "Next: run the same command without a target for the whole study."

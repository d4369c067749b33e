"""Sentences on methods, for the appendix: intervals, training, time and memory, settings and checklists."""

from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.core.wording import duration, n_of, thousands
from stratamil.report.sentences import Numbers, unsettled


def intervals(numbers: Numbers, unit: str) -> list[str]:
    """Return how confidence intervals were made, and what they leave out."""
    samples = f"{thousands(numbers['bootstrap']['samples'])} bootstrap samples of {unit}s"
    whole = " with all their cases" if unit == "patient" else ""
    return [
        f"95% CIs come from {samples}{whole}: the estimate ± 1.96 SD of the samples, on the logit or log scale for "
        f"bounded measures. With fewer than 20 {unit}s of a class the CI of an AUROC is Newcombe’s (2006, method 5). "
        "Coverage was checked by simulation: see Statistics in the documentation.",
        "CIs of shares of cases are Wilson’s; like DeLong’s they assume independent cases. The CI “with the choice” "
        f"comes from bootstrap samples of {unit}s that each choose their own thresholds on validation cases.",
        f"A CI reflects the sampling of {unit}s, not of splits or training runs. What is constant by construction has "
        "no CI. Paired differences use the same bootstrap samples for both models; no correction was made for the "
        "number of comparisons.",
        "Calibration slope and intercept follow Cox (1958). The ECE in 10 bins of equal width has no CI, because "
        "resampling adds to it. The CI of the log loss is too narrow where a few confident errors make up most of it.",
    ]


def training(numbers: Numbers, drawn: bool) -> str:
    """Say which epochs were kept. drawn: whether there are histories."""
    epochs = [run["epoch"] for run in numbers["runs"] if run["epoch"] is not None]
    total = n_of(len(numbers["runs"]), "run")
    if not drawn or not epochs:
        return f"The {total} evaluate a given model: nothing was trained here."
    kept = f"epoch {epochs[0]}" if min(epochs) == max(epochs) else f"epochs {min(epochs)} to {max(epochs)}"
    settled = unsettled(numbers["runs"]) or "Every training went on after its best epoch, so none was cut short."
    return f"Validation cases chose {kept} in {total}; test cases had no part in training or in any choice. {settled}"


def flow(steps: Sequence[Mapping[str, Any]]) -> str:
    """Say how many cases and patches were predicted of those there are."""
    first, last = steps[0], steps[-1]
    return (
        f"{last['cases']} of {first['cases']} labelled cases and {thousands(last['patches'])} of "
        f"{thousands(first['patches'])} patches were predicted. Everything excluded is in excluded.csv."
    )


def resources(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say what the jobs took, and which rule took the most."""
    if not rows:
        return "Time and memory are unknown: there are no benchmark files."
    slowest = max(rows, key=lambda row: row["seconds"])
    jobs, seconds = sum(row["jobs"] for row in rows), sum(row["seconds"] for row in rows)
    most = f"{slowest['rule']} took the most ({duration(slowest['seconds'])})"
    return (
        f"{n_of(jobs, 'job')} took {duration(seconds)}, added up; {most}. Waiting times and earlier runs are not "
        "counted."
    )


def settings(shown: Sequence[Any], provenance: Mapping[str, Any]) -> list[str]:
    """Return what stands behind the numbers, and that the runs are of one kind or not."""
    lines = [
        f"{n_of(len(shown), 'setting')} and {n_of(len(provenance['inputs']), 'input table')} stand behind the results."
    ]
    for key, words in (("run_commits", "commits"), ("run_versions", "sets of library versions")):
        if len(provenance[key]) > 1:
            lines.append(f"The runs were trained with {len(provenance[key])} different {words}.")
    return lines


def checklists(lists: Sequence[Mapping[str, Any]]) -> str:
    """Say how many items of all checklists are answered, partly answered, and left to the author."""
    states = [item["state"] for each in lists for item in each["items"]]
    counts = {state: states.count(state) for state in ("answered", "partly", "for the author")}
    return (
        f"Of {len(states)} items, {counts['answered']} are answered on these pages, {counts['partly']} partly, and "
        f"{counts['for the author']} are for the author. Topics are shortened; the published lists apply."
    )

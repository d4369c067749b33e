"""All prose of the report and its appendix, by section: the templates hold layout only."""

from collections.abc import Mapping
from typing import Any

from stratamil.core.weighting import NOTES
from stratamil.core.wording import n_of
from stratamil.report import paragraphs, sentences
from stratamil.report import sentences_cases as cases
from stratamil.report import sentences_methods as methods
from stratamil.report import sentences_performance as performance
from stratamil.report.sentences import Numbers

Text = dict[str, Any]

SECTIONS = {
    "result": "Result",
    "cohort": "Cohort",
    "cases": "Cases",
    "curves": "Decisions",
    "calibration": "Calibration",
    "baselines": "Baselines",
    "subgroups": "Subgroups",
    "characteristics": "Columns",
    "clinical": "What images add",
    "decision": "Net benefit and power",
    "learning": "Training cases",
    "tuning": "Chosen settings",
    "attention": "Attention",
    "faithfulness": "Faithfulness",
    "runs": "Single trainings",
}
OPTIONAL = {"characteristics": "columns"} | {name: name for name in ("clinical", "learning", "tuning")}  # its numbers
APPENDIX = {
    "methods": "Methods",
    "training": "Training",
    "flow": "Flow of cases",
    "resources": "Time and memory",
    "settings": "Settings, versions, inputs",
    "checklists": "Checklists",
}


def of_study(numbers: Numbers, used: Mapping[str, Any], replicates: str, unit: str) -> Text:
    """Return the prose of each section, and the sections of both pages.

    used: what the page has beside the numbers. replicates: what the ensemble averages, empty where it is one
    prediction. unit: patient, or case where patients are not known.
    """
    repeated = "seed" if numbers["repeats"] == 1 else "repeat" if len(numbers["seeds"]) == 1 else "replicate"
    return {
        "sections": {key: name for key, name in SECTIONS.items() if numbers.get(OPTIONAL.get(key, "cases"))},
        "appendix": APPENDIX,
        "repeated": repeated,
        **_results(numbers, used, replicates, unit),
        **_of_cases(numbers, used, repeated, unit),
        **_methods(numbers, used, unit),
    }


def _results(numbers: Numbers, used: Mapping[str, Any], replicates: str, unit: str) -> Text:
    scaled, faithful = numbers["scaled"], used["faithfulness"]
    training = used["run"]["sizes"]["train"]
    return {
        "result": {
            "header": header(numbers),
            "headline": sentences.result(numbers),
            "cards": sentences.cards(numbers, replicates),
            "flags": sentences.flags(numbers, used["cohort"], faithful and faithful["explained"], unit),
            "estimand": performance.estimand(numbers, unit),
            "trained": performance.trained(training, numbers["cases"]),
            "limits": RESULT_LIMITS.format(unit=unit),
            "roc": captions(numbers, "roc"),
            "runs": captions(numbers, "runs"),
        },
        "runs": {
            "range": performance.runs(numbers),
            "limits": performance.runs_limits(numbers),
            "perfect": performance.perfect(numbers, unit),
            "checked": performance.checked(numbers),
            "faults": performance.faults(numbers),
        },
        "curves": {
            "whose": performance.decisions(numbers, replicates),
            "threshold": performance.threshold(numbers["decisions"]),
            "choice": performance.choice(numbers["decisions"]),
            "bundle": performance.of_bundle(numbers["positive"]),
            "limits": "Predictive values and precision depend on the prevalence, which differs in a clinic.",
        },
        "calibration": {
            "fit": performance.calibration(numbers, replicates),
            "temperature": performance.temperature(numbers["temperatures"], scaled and scaled["log_loss_reduction"]),
            "bundle": performance.temperature_of_bundle(numbers),
            "limits": performance.calibration_limits(
                used["run"]["train"].get("class_weights") not in (None, "none"), replicates
            ),
        },
        "baselines": {
            "best": performance.baselines(numbers),
            "pooling": performance.mean_pooling(numbers),
            "stains": performance.one_stain(numbers),
            "figure": performance.baselines_caption(numbers),
            "unfitted": performance.unfitted(numbers),
            "limits": BASELINE_LIMITS,
        },
        "subgroups": {
            "worst": performance.subgroups(numbers),
            "stains": sentences.with_all_stains(numbers),
            "limits": SUBGROUP_LIMITS,
        },
    }


RESULT_LIMITS = (
    "These figures say nothing of slides from another hospital, scanner or staining protocol. If settings were changed "
    "after a look at these test cases, all figures are too good."
)
BASELINE_LIMITS = (
    "A small difference does not show that attention was needed, nor a large one that colour or amount of tissue play "
    "no part. The strongest baseline was chosen after the fact."
)
SUBGROUP_LIMITS = "Where CIs overlap no difference is shown. None of these comparisons was planned."
ERROR_LIMITS = (
    "This page does not show why a case is wrong: look at the slides before blaming model or label. Correct a label by "
    "what a second reader says who does not know the prediction; labels that follow the model flatter it."
)
ATTENTION_LIMITS = (
    "Attention shows what was weighted, not why. A patch with a large weight may be evidence for either class."
)
FAITHFULNESS_LIMITS = "This tests what moves the model, not what a pathologist would accept as a reason."


def header(numbers: Numbers) -> str:
    """Say in a line how it was studied."""
    repeats = f" in {numbers['repeats']} repeats" if numbers["repeats"] > 1 else ""
    seeds, splits = len(numbers["seeds"]), len(numbers["splits"])
    each = f", {seeds} trainings each (seeds)" if seeds > 1 else ""
    return (
        f"{sentences.by_class(numbers['counts'])} cases; {n_of(splits, 'test set')}{repeats}{each}. "
        "For research, not for diagnosis."
    )


def captions(numbers: Numbers, name: str) -> str:
    """Return the caption of a figure of the first screen, with its n."""
    runs, n = len(numbers["runs"]), sentences.cases(numbers)
    if name == "runs":
        if runs > sentences.MOST_RUNS:
            return f"Squares: mean of a split’s trainings (dots). Diamond: mean of all, 95% CI. n = {n}."
        return f"Squares: each training, 95% CI. Diamond: mean of all, 95% CI. n = {n}."
    if numbers["positive"] is None:
        return f"One class against the rest, n = {n}."
    dot = "the mean probability of all trainings" if len(numbers["seeds"]) > 1 else "all test cases together"
    return (
        f"Thin: {runs} trainings; thick: their mean, pointwise 95% band. Dot: {dot} at 0.5, so it need not lie on the "
        f"curve. n = {n}."
    )


def _of_cases(numbers: Numbers, used: Mapping[str, Any], repeated: str, unit: str) -> Text:
    several = len(numbers["by_seed"]) > 1
    found = used["attention"]
    return {
        "cohort": {"lines": cases.cohort(used["cohort"], used["flow"])},
        "cases": {"errors": cases.errors(numbers["per_case"], repeated, several), "limits": ERROR_LIMITS},
        "attention": {
            "stains": cases.attention(found),
            "truth": cases.known_signal(found and found["truth"]),
            "limits": ATTENTION_LIMITS,
            "note": NOTES[numbers["weighting"]],
        },
        "faithfulness": {"verdict": cases.faithfulness(used["faithfulness"]), "limits": FAITHFULNESS_LIMITS},
    }


def _methods(numbers: Numbers, used: Mapping[str, Any], unit: str) -> Text:
    return {
        "methods": {
            "paragraph": paragraphs.methods(numbers, used, unit),
            "intervals": methods.intervals(numbers, unit),
            "baselines": performance.baselines_made(numbers, used["images"]),
        },
        "training": methods.training(numbers, "losses" in used["drawn"]),
        "flow": methods.flow(used["flow"]["steps"]),
        "resources": methods.resources(used["resources"]),
        "settings": methods.settings(used["settings"], used["provenance"]),
        "checklists": methods.checklists(used["checklists"]),
    }

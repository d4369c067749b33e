"""Every sentence of the comparison page, from its numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.core.wording import listed, n_of, num, pct, span
from stratamil.evaluation.compared_studies import OTHER_CLASS
from stratamil.report.sentences import quoted
from stratamil.stats.intervals import Estimate

Numbers = Mapping[str, Any]
NAMES = {
    "fold_mean": "AUROC, mean of test sets",
    "roc_auc": "AUROC, pooled",
    "pr_auc": "PR AUC",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "accuracy": "Accuracy, most probable class",
    "balanced_accuracy": "Balanced accuracy, most probable class",
    "sensitivity": "Sensitivity, own threshold",
    "specificity": "Specificity, own threshold",
}
SHOWN = 30  # characters of a setting's value


def headline(found: Numbers) -> str:
    """Say which study is better, or that this cohort cannot show it: a sentence for each but the first study."""
    first = found["sides"][0]["name"]
    return " ".join(verdict(pair, found) for pair in found["pairs"] if pair["first"] == first)


def verdict(pair: Mapping[str, Any], found: Numbers) -> str:
    """Say how the second study of a pair differs from the first in the figure that leads."""
    estimate, names = pair["differences"][found["headline"]], (pair["first"], pair["second"])
    if estimate.value is None:
        absent = listed([name for name, n in found["counts"].items() if not n], "or")
        return f"{names[1]} against {names[0]}: the AUROC is not defined, because no shared case is {absent}."
    if round(estimate.value, 2) == 0 and estimate.low is None:
        return f"{names[1]} and {names[0]} have the same AUROC: no difference can be seen."
    if round(estimate.value, 2) == 0:
        interval = f"95% CI of the difference {span(estimate.low, estimate.high, 2)}"
        same = f"{names[1]} and {names[0]} have the same AUROC to two digits ({interval})"
        return f"{same}: this cohort cannot show a difference." if estimate.holds(0) else f"{same}."
    size = f"{num(abs(estimate.value), 2)} {'higher' if estimate.value >= 0 else 'lower'}"
    if estimate.low is None:
        return f"The AUROC of {names[1]} is {size} than that of {names[0]}; too few cases for a CI."
    flipped = estimate if estimate.value >= 0 else estimate.flipped()
    text = f"The AUROC of {names[1]} is {size} than that of {names[0]} (95% CI {span(flipped.low, flipped.high, 2)})"
    if estimate.holds(0):
        return f"{text}: this cohort cannot show a difference."
    if pair["holm"] is not None and len(found["pairs"]) > 1 and pair["holm"] > 0.05:
        return (
            f"{text}; adjusted for {len(found['pairs'])} comparisons, no difference is shown (p = {p(pair['holm'])})."
        )
    return f"{text}."


def p(value: float | None) -> str:
    """Return a p value as it is printed."""
    return "not defined" if value is None else "< .001" if value < 0.001 else num(value, 3)


def notes(found: Numbers, settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what to read with care."""
    lines, sides = [], found["sides"]
    left = sum(found["left_out"].values())
    if other := sum(n for reason, n in found["left_out"].items() if reason.startswith(OTHER_CLASS)):
        lines.append(
            f"{other} of {n_of(other + found['cases'], 'case')} that all predict {'has' if other == 1 else 'have'} "
            "different classes: check that equal ids are the same cases."
        )
    if left:
        lines.append(
            f"{n_of(left, 'case')} of the studies {'is' if left == 1 else 'are'} left out: see Cases compared."
        )
    trainings = {side["trainings"] for side in sides if side["kind"] == "study"}
    if len(trainings) > 1:
        said = listed([f"{side['name']} {side['trainings']}" for side in sides if side["kind"] == "study"])
        lines.append(f"The studies average a case over different numbers of trainings ({said}): more average out more.")
    if any(side["kind"] == "prediction" for side in sides):
        lines.append("A prediction has no splits: AUROCs are those of all cases pooled.")
    elif found["repeats"] > 1:
        lines.append("A study tests each case several times: AUROCs are those of all cases pooled, each case’s mean.")
    elif not found["folds"]:
        lines.append("Splits differ, so each study trained on other cases, and AUROCs are those of all cases pooled.")
    elif found["headline"] == "roc_auc" and all(found["counts"].values()):
        lines.append("The mean of the test sets has no CI, as where one lacks a class: the pooled AUROC leads.")
    for pair in found["pairs"]:
        folds, pooled = (pair["differences"][name].value for name in ("fold_mean", "roc_auc"))
        if folds is not None and pooled is not None and round(folds, 2) * round(pooled, 2) < 0:
            lines.append(
                f"{pair['second']} less {pair['first']}: {num(folds, 2)} as the mean of test sets, {num(pooled, 2)} "
                "with all cases pooled. Quote both."
            )
    if found["merged"]:
        lines.append("The studies name patients differently: cases that share a patient in any of them count as one.")
    if len(found["pairs"]) > 1:
        lines.append(f"{len(found['pairs'])} comparisons: p values are adjusted (Holm).")
    if not settings:
        lines.append("No setting differs: what differs is chance, the data or the version.")
    return lines


def sections(found: Numbers) -> dict[str, str]:
    """Return the sections: id -> heading."""
    return {
        "result": "Result",
        "measures": "All measures",
        "cases_compared": "Cases compared",
        **({"folds": "Split by split"} if found["folds"] else {}),
        "decisions": "Decisions",
        "cases": "Cases",
        "attention": "Weights of patches",
        "settings": "Settings that differ",
        "resources": "Time and memory",
        "methods": "Methods",
    }


def compared(found: Numbers, unit: str) -> str:
    """Say which cases are compared."""
    of_classes = listed([f"{n} {name}" for name, n in found["counts"].items()])
    units = "" if unit == "case" else f" of {n_of(found['patients'], 'patient')}"
    text = f"{n_of(found['cases'], 'case')}{units} ({of_classes}), with the same class in all studies."
    own = [f"{side['name']} predicts {side['own_cases']}" for side in found["sides"]]
    return f"{text} {'; '.join(own)}." if found["left_out"] else f"{text} No case is left out."


def decisions(pair: Mapping[str, Any]) -> list[str]:
    """Say for each kind of decision how many cases only one of the two decides rightly."""
    lines = []
    for row in pair["decisions"]:
        total = row["both"] + row["first"] + row["second"] + row["neither"]
        where = "At each study's own threshold" if row["at"] == "own threshold" else "By the most probable class"
        lines.append(
            f"{where}: of {n_of(total, 'case')}, {row['first']} only {pair['first']} decides rightly, {row['second']} "
            f"only {pair['second']}, {row['both']} both, {row['neither']} neither (McNemar's exact p = {p(row['p'])})."
        )
    return lines


def attention(pair: Mapping[str, Any], found: Mapping[str, Any], percent: float) -> str:
    """Say how alike two studies weigh patches."""
    which = f"{pair['first']} and {pair['second']}"
    if not found["cases"] or found["correlation"].value is None:
        return f"{which}: no case has patches in common whose weights differ in both."
    text = (
        f"{which} rank the patches of a case with a correlation of {quoted(found['correlation'])} and share "
        f"{pct(found['overlap'].value)} of their top {percent:g}%; chance is {pct(found['chance'])}. "
        f"{n_of(found['cases'], 'case')} with two patches or more in common."
    )
    return (
        f"{text} {n_of(found['missing'], 'patch')} that only one of them has were left out."
        if found["missing"]
        else text
    )


def calibration(side: Mapping[str, Any]) -> str:
    """Return slope and intercept of a study in words."""
    both: Mapping[str, Estimate] | None = side["calibration"]
    if both is None or both["slope"].value is None:
        return "not defined"
    return f"slope {quoted(both['slope'])}, intercept {quoted(both['intercept'])}"


def value(content: Any) -> str:
    """Return a setting's value as a study file has it, in short."""
    text = "absent" if content is None else str(content)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


METHODS = (
    "A case's prediction is the mean over the seeds and repeats of a study. Where splits agree, the AUROC that leads "
    "is that of single trainings, mean of the test sets, as in each report. Otherwise, and where that has no CI, it is "
    "that of the mean predictions, pooled.",
    "Differences are paired: the same {samples:,} bootstrap samples of {unit}s (seed {seed}) for all studies, value ± "
    "1.96 SD. The leading AUROC is defined in {used:,} of them: the others lack a class somewhere. p goes with that "
    "normal approximation; only that of the leading AUROC is adjusted over pairs (Holm). DeLong's test for correlated "
    "ROC curves (1988) and McNemar's exact test take cases as independent. Thresholds are each study's own, "
    "chosen on its validation cases or frozen, and held fixed in the samples.",
    "The CIs reflect which {unit}s were sampled. They do not hold for another choice of splits or seeds.",
)


def of_page(found: Numbers, percent: float, unit: str) -> dict[str, Any]:
    """Return all sentences of the page."""
    return {
        "sections": sections(found),
        "headline": headline(found),
        "notes": notes(found, found["settings"]),
        "compared": compared(found, unit),
        "left_out": [f"{n_of(n, 'case')} {reason}" for reason, n in found["left_out"].items()],
        "decisions": [decisions(pair) for pair in found["pairs"]],
        "attention": [attention(pair, own, percent) for pair, own in zip(found["pairs"], found["attention"])],
        "calibration": {side["name"]: calibration(side) for side in found["sides"]},
        "methods": [line.format(unit=unit, **found["bootstrap"]) for line in METHODS],
    }

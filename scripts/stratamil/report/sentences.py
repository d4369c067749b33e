"""Sentences of the report, made from its numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.cohort.cohort_warnings import PATIENTS
from stratamil.core.wording import num, span
from stratamil.stats.intervals import Estimate
from stratamil.stats.metrics import TEMPERATURE_CASES

OFF = {
    "few": f"fewer than {TEMPERATURE_CASES} validation cases, too few to fit a temperature",
    "one class": "validation cases of one class only",
    "bound": "a fit that ends at its bound",
}


def of_study(numbers: Mapping[str, Any], training: Sequence[int], unit: str) -> dict[str, str]:
    """Return all sentences, by name, from `cross_split.numbers`.

    training: how many cases each split trains on. unit: patient, or case where patients are not known.
    """
    scaled = numbers["scaled"]
    return {
        "below_chance": below_chance(numbers["out_of_fold"][numbers["headline"]].high),
        "few": few(numbers["patients_of"], unit),
        "result": result(numbers),
        "trained": trained(training, numbers["cases"]),
        "temperature": temperature(numbers["temperatures"], scaled and scaled["log_loss_reduction"]),
        "threshold": threshold(numbers["decisions"]),
    }


def ci(estimate: Estimate, digits: int = 3) -> str:
    """Return ` (95% CI 0.81 to 0.93)`, or nothing where there is none."""
    return "" if estimate.low is None else f" (95% CI {span(estimate.low, estimate.high, digits)})"


def question(classes: Sequence[str], positive: str | None) -> str:
    """Return what is told apart, in words."""
    return f"{positive} against {classes[0]}" if positive else "each class against the rest, mean"


def trainings(numbers: Mapping[str, Any]) -> str:
    """Return `a single training`, or that several are averaged."""
    several = len(numbers["by_seed"])
    return "a single training" if several == 1 else f"a single training, averaged over {several} trainings per case"


def result(numbers: Mapping[str, Any]) -> str:
    """Say the headline figure: the fold mean, or where it is not defined the pooled AUROC and why."""
    estimate, folds = numbers["out_of_fold"][numbers["headline"]], numbers["out_of_fold"]["folds"]
    apart = question(numbers["classes"], numbers["positive"])
    if estimate.value is None:
        return f"The AUROC is not defined: the {numbers['cases']} predicted cases are not of every class."
    begin = f"AUROC {num(estimate.value, 2)}{ci(estimate, 2)}, {apart}, {numbers['cases']} cases"
    if numbers["headline"] == "fold_mean":
        return f"{begin}: mean of the {folds} test sets, each ranked by its own model; of {trainings(numbers)}."
    return (
        f"{begin}: all test cases ranked together; of {trainings(numbers)}. The mean of the test sets is not given, "
        "because a test set lacks a class."
    )


def below_chance(high: float | None) -> str:
    """Say that the CI of an AUROC, which ends at `high`, lies below 0.5; empty where it does not."""
    if high is None or high >= 0.5:
        return ""
    return (
        "The whole 95% CI lies below 0.5, which is worse than chance: check the classes and their order, and whether "
        "the splits are too small."
    )


def few(patients: Mapping[str, int], unit: str) -> str:
    """Say that there are too few of a class to quote a figure; empty where there are not. patients: of each class."""
    rare = [(n, name) for name, n in patients.items() if n < PATIENTS]
    if not rare:
        return ""
    named = " and ".join(f"{n} {unit}{'' if n == 1 else 's'} of {name}" for n, name in rare)
    return (
        f"Too few to quote: there {'is' if rare[0][0] == 1 else 'are'} {named}, and one of so few moves sensitivity or "
        "specificity by more than 10 points."
    )


def trained(training: Sequence[int], cases: int) -> str:
    """Say what share of the cases each model saw, and that none was fitted to all."""
    least, most = min(training), max(training)
    counts = f"{least}" if least == most else f"{least} to {most}"
    share = round(100 * sum(training) / len(training) / cases)
    seen = f"Each model was trained on about {share}% of the cases ({counts} of {cases})."
    return f"{seen} No final model was fitted to all cases."


def negative(estimate: Estimate) -> Estimate:
    """Return minus an estimate, with its interval."""
    return Estimate(
        -estimate.value, *(None if end is None else -end for end in (estimate.high, estimate.low)), estimate.n
    )


def of(n: int, total: int) -> str:
    """Return `each run has`, `the run has` or `2 of 5 runs have`."""
    if n == total:
        return "the run has" if total == 1 else "each run has"
    return f"{n} of {total} runs {'has' if n == 1 else 'have'}"


def temperature(runs: Sequence[Mapping[str, Any]], reduction: Estimate | None) -> str:
    """Say whether temperatures were fitted, and what they did to the log loss of the test cases.

    runs: value and off (why it was not fitted) of each. reduction: of the log loss, None where no run is rescaled.
    """
    off = {reason: sum(run["off"] == reason for run in runs) for reason in OFF}
    because = "; ".join(f"{of(n, len(runs))} {OFF[reason]}" for reason, n in off.items() if n)
    if reduction is None:
        return f"Probabilities are shown as the model gives them: {because or 'no temperature was fitted'}."
    values = [run["value"] for run in runs if run["off"] is None]
    better = reduction.value > 0
    loss = f"log loss of the test cases {'lower' if better else 'higher'} by {num(abs(reduction.value))}"
    size = f"{loss}{ci(reduction if better else negative(reduction))}"
    if not better:
        effect = f"Temperature scaling did not help: {size}. Use the probabilities as the model gives them."
    elif reduction.low is None or reduction.low <= 0:
        effect = (
            f"Temperature scaling is not shown to help: {size}{'' if reduction.low is None else '; the CI includes 0'}."
        )
    else:
        effect = f"Temperature scaling helped: {size}."
    rest = f" Other runs keep a temperature of 1: {because}." if because else ""
    return f"{effect} Fitted temperatures: {num(min(values), 2)} to {num(max(values), 2)}.{rest}"


def threshold(decisions: Sequence[Mapping[str, Any]]) -> str:
    """Say whether the thresholds chosen on validation did better than 0.5; empty where there are none."""
    if len(decisions) < 2 or not decisions[1]["rows"]:
        return ""
    at_half, chosen = (_value(point, "balanced_accuracy") for point in decisions)
    if at_half is None or chosen is None:
        return ""
    both = f"balanced accuracy {num(chosen, 2)}, at 0.5 {num(at_half, 2)}"
    if chosen < at_half:
        return f"The thresholds chosen on validation cases did worse than 0.5 on the test cases: {both}."
    if chosen > at_half:
        return f"The thresholds chosen on validation cases did better than 0.5 on the test cases: {both}."
    return f"The thresholds chosen on validation cases did as well as 0.5 on the test cases: {both}."


def _value(point: Mapping[str, Any], name: str) -> float | None:
    return next(row["estimate"].value for row in point["rows"] if row["name"] == name)

"""Sentences on performance: single trainings, decisions, calibration, baselines and subgroups."""

from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.core.wording import baseline_label, ends, listed, n_of, num, pct, span
from stratamil.report import sentences
from stratamil.report.sentences import Numbers, ci, quoted
from stratamil.stats.intervals import FEW, Estimate, scored
from stratamil.stats.metrics import TEMPERATURE_CASES

OFF = {
    "few": f"fewer than {TEMPERATURE_CASES} validation cases, too few to fit a temperature",
    "one class": "validation cases of one class only",
    "bound": "a fit that ends at its bound",
}


def estimand(numbers: Numbers, unit: str) -> str:
    """Say why the mean of folds leads, what the pooled AUROC is, and where the CIs come from."""
    pooled = f"{sentences.pooled(numbers)}, {quoted(numbers['out_of_fold']['roc_auc'])}"
    if numbers["headline"] != "fold_mean":
        pooling = "A pooled AUROC ranks cases across models and falls where their probabilities are shifted."
        return f"{pooling} {_cis(numbers, unit)}"
    of = ", of single trainings" if len(numbers["by_seed"]) > 1 else ""
    quote = f"{num(numbers['out_of_fold']['fold_mean'].value, 2)}{of}"
    lead = "The mean of folds leads" if numbers.get("first_look") else f"Quote {quote}"
    return (
        f"{lead}: models ranked each test set without having seen it. The {pooled}, ranks cases "
        "across models and falls where their probabilities are shifted. "
        f"{_cis(numbers, unit)}"
    )


def _cis(numbers: Numbers, unit: str) -> str:
    """Say how the CI of the headline was made."""
    value = numbers["out_of_fold"][numbers["headline"]].value
    fewest = min(numbers["patients_of"].values())
    how = f"bootstrap samples of test {unit}s"
    if value is not None and scored(value, fewest):
        few = f"a class has fewer than {FEW} {unit}s" if fewest < FEW else "all test sets are ranked alike"
        how = f"Newcombe’s method, because {few}"
    return f"The CI of {num(value, 2)} comes from {how}, and does not include the variation of splits and trainings."


def trained(training: Sequence[int], cases: int) -> str:
    """Say what share of the cases each model saw, and that none was fitted to all. training: cases of each split."""
    least, most = min(training), max(training)
    counts = ends(f"{least}", f"{most}")
    share = round(100 * sum(training) / len(training) / cases)
    seen = f"Each model was trained on about {share}% of the cases ({counts} of {cases})."
    return f"{seen} No final model was fitted to all cases."


def runs(numbers: Numbers) -> str:
    """Say how far the AUROC of single runs ranges, and over what."""
    aucs = [run["roc_auc"].value for run in numbers["runs"] if run["roc_auc"].value is not None]
    total, found = len(numbers["runs"]), numbers["out_of_fold"]
    if not aucs:
        return f"No AUROC is defined in any of {n_of(total, 'run')}: no test set has every class."
    spread = [(found["fold_sd"], "splits"), (found["seed_sd"], "seeds"), (found["repeat_sd"], "repeats")]
    known = [f"{num(sd, 2)} over {name}" for sd, name in spread if sd is not None]
    text = f"In {n_of(total, 'run')} the AUROC of the test cases ranges from {num(min(aucs), 2)} to {num(max(aucs), 2)}"
    text += f" (SD {', '.join(known)})" if known else ""
    lacking = total - len(aucs)
    return text + (f"; in {lacking} it is not defined, because the test cases are of one class." if lacking else ".")


def runs_limits(numbers: Numbers) -> str:
    """Say what differences between splits do not show."""
    sizes = [run["n"] for run in numbers["runs"]]
    n = ends(f"{min(sizes)}", f"{max(sizes)}")
    return (
        f"With {n} test cases a split, most of the difference between splits is chance. The SD over splits is not a "
        "standard error: splits use each other’s cases for training."
    )


def perfect(numbers: Numbers, unit: str) -> str:
    """Say of runs with perfect separation that this is weak evidence; empty where there are none."""
    if not any(run["roc_auc"].value in (0.0, 1.0) for run in numbers["runs"]):
        return ""
    return f"An AUROC of 0 or 1 has Newcombe’s score interval: perfect separation of so few {unit}s is weak evidence."


def checked(numbers: Numbers) -> str:
    """Say that every case was predicted as often as it should, and that the files agree; empty where it is not so."""
    if numbers["coverage"]["missing"] or numbers["coverage"]["repeated"] or numbers["disagreements"]:
        return ""
    repeats = numbers["repeats"]
    times = "once per seed" if repeats == 1 else f"{repeats} times per seed, once in each repeat"
    return f"Every used case was predicted exactly {times}, and recomputed metrics agree with those of all runs."


def faults(numbers: Numbers) -> list[str]:
    """Return what does not fit: cases predicted too rarely or too often, files of different evaluations."""
    repeats, lines = numbers["repeats"], []
    kinds = {
        "missing": "not predicted" if repeats == 1 else f"predicted fewer than {repeats} times",
        "repeated": "predicted by more than one split" if repeats == 1 else f"predicted more than {repeats} times",
    }
    for kind, words in kinds.items():
        for seed, ids in numbers["coverage"][kind].items():
            more = f" and {len(ids) - 20} more" if len(ids) > 20 else ""
            are = "is" if len(ids) == 1 else "are"
            lines.append(f"Seed {seed}: {n_of(len(ids), 'case')} {are} {words}: {', '.join(ids[:20])}{more}.")
    if different := numbers["disagreements"]:
        more = f" and {len(different) - 9} more" if len(different) > 9 else ""
        lines.append(
            f"results.json and predictions.csv do not agree: {'; '.join(different[:9])}{more}. Evaluate these runs "
            "again; this page uses predictions.csv."
        )
    return lines


def whose(replicates: str) -> str:
    """Return whose decisions a section shows; replicates: what the ensemble averages, or empty."""
    return f"the ensemble, the mean probability of {replicates}" if replicates else "the out-of-fold predictions"


def decisions(numbers: Numbers, replicates: str) -> str:
    """Say whose decisions follow, with the AUROC of the ensemble; of several classes the accuracy."""
    ensemble = numbers["ensemble"]
    if numbers["positive"] is None:
        right = numbers["decisions"][0]["rows"][0]
        return f"For {whose(replicates)}, the most probable class is right in {right['k']} of {numbers['cases']} cases."
    if not replicates:
        rate = {row["name"]: row for row in numbers["decisions"][0]["rows"]}["accuracy"]
        return f"At a probability of 0.5, {rate['k']} of {numbers['cases']} cases are classified correctly."
    return (
        f"Decisions, calibration, cases and subgroups are those of {whose(replicates)}. The pooled AUROC "
        f"of the ensemble is {quoted(ensemble['roc_auc'])}. All this holds only for a model that averages as many "
        "trainings."
    )


def threshold(points: Sequence[Mapping[str, Any]]) -> str:
    """Say how the thresholds chosen on validation did beside 0.5, or that there are none."""
    if len(points) < 2:
        return ""
    if not points[1]["rows"]:
        return "There is no threshold from validation: the validation cases of a split are of one class."
    at_half, chosen = (_value(point, "balanced_accuracy") for point in points)
    if at_half is None or chosen is None:
        return ""
    at_chosen = f"Balanced accuracy was {num(chosen, 2)} at the thresholds chosen on validation cases"
    return f"{at_chosen}, {num(at_half, 2)} at 0.5."


def of_bundle(positive: str | None) -> str:
    """Point out that new cases are decided at another threshold; empty of several classes."""
    if positive is None:
        return ""
    return (
        "The model file for new cases (target bundle) decides at a threshold of its own, neither 0.5 nor these; its "
        "model card gives it, with its sensitivity and specificity."
    )


def _value(point: Mapping[str, Any], name: str) -> float | None:
    return next(row["estimate"].value for row in point["rows"] if row["name"] == name)


def calibration(numbers: Numbers, replicates: str) -> str:
    """Say how well probabilities fit outcomes: slope and intercept where there are two classes, else the scores."""
    ensemble = numbers["ensemble"]
    brier, log_loss = quoted(ensemble["brier"]), quoted(ensemble["log_loss"])
    if numbers["positive"] is None:
        over = f"{len(numbers['classes'])} classes"
        return f"For {whose(replicates)}, summed over {over}, the Brier score was {brier} and the log loss {log_loss}."
    scores = f"The Brier score was {brier} and the log loss {log_loss}"
    slope, intercept = ensemble["calibration"]["slope"], ensemble["calibration"]["intercept"]
    if slope.value is None:
        return f"The calibration slope is not defined: the classes are perfectly separated or only one. {scores}."
    return (
        f"The calibration slope was {quoted(slope, more='ideal: 1')} and the intercept "
        f"{quoted(intercept, more='ideal: 0')}: {calibration_verdict(slope, intercept, numbers['positive'])}. {scores}."
    )


def calibration_verdict(slope: Estimate, intercept: Estimate, positive: str) -> str:
    """Say what calibration slope and intercept with their CIs mean."""
    if slope.low is None or intercept.low is None:
        return "too few cases to judge"
    found = []
    if not slope.holds(1):
        way = "too extreme" if slope.value < 1 else "too close to the middle"
        found.append("probabilities run against the labels" if slope.high < 0 else f"probabilities are {way}")
    if not intercept.holds(0):
        way = "less" if intercept.value < 0 else "more"
        found.append(f"at a probability of 0.5, {positive} is {way} frequent than predicted")
    return "; ".join(found) or "both CIs include the ideal value, so no miscalibration is shown"


def calibration_limits(class_weights: bool, replicates: str) -> str:
    """Say what shifts probabilities here, and what the figures leave open."""
    weights = "Class weights in the training loss shift probabilities on purpose. " if class_weights else ""
    mean = "The mean of several models lies closer to the middle than each of them. " if replicates else ""
    return f"{weights}{mean}Calibration may differ in another population."


def of_runs(n: int, total: int) -> str:
    """Return `each run has`, `the run has` or `2 of 5 runs have`."""
    if n == total:
        return "the run has" if total == 1 else "each run has"
    return f"{n} of {total} runs {'has' if n == 1 else 'have'}"


def negative(estimate: Estimate) -> Estimate:
    """Return minus an estimate, with its interval."""
    ends = (None if end is None else -end for end in (estimate.high, estimate.low))
    return Estimate(-estimate.value, *ends, estimate.n)


def temperature(fits: Sequence[Mapping[str, Any]], reduction: Estimate | None) -> str:
    """Say whether temperatures were fitted, and what they did to the log loss of the test cases.

    fits: value and off (why it was not fitted) of each run. reduction: of the log loss, None where no run is rescaled.
    """
    off = {reason: sum(fit["off"] == reason for fit in fits) for reason in OFF}
    because = "; ".join(f"{of_runs(n, len(fits))} {OFF[reason]}" for reason, n in off.items() if n)
    if reduction is None:
        return f"Probabilities are shown as the model gives them: {because or 'no temperature was fitted'}."
    values = [fit["value"] for fit in fits if fit["off"] is None]
    better = reduction.value > 0
    loss = f"log loss of the test cases {'lower' if better else 'higher'} by {num(abs(reduction.value))}"
    size = f"{loss}{ci(reduction if better else negative(reduction), 3)}"
    if not better:
        effect = f"Temperature scaling did not help: {size}. Use the probabilities as the model gives them."
    elif reduction.low is None or reduction.low <= 0:
        held = "" if reduction.low is None else "; the CI includes 0"
        effect = f"Temperature scaling is not shown to help: {size}{held}."
    else:
        effect = f"Temperature scaling helped: {size}."
    rest = f" Other runs keep a temperature of 1: {because}." if because else ""
    return f"{effect} Fitted temperatures: {ends(num(min(values), 2), num(max(values), 2))}.{rest}"


def temperature_of_bundle(numbers: Numbers) -> str:
    """Say why the model file can have a temperature where splits have too few cases for one; empty where it cannot."""
    few = any(fit["off"] == "few" for fit in numbers["temperatures"])
    if not few or numbers["cases"] < TEMPERATURE_CASES:
        return ""
    return (
        "The model file for new cases (target bundle) can have one: it is fitted to the out-of-fold predictions of all "
        f"splits together, {numbers['cases']} cases."
    )


def baselines(numbers: Numbers) -> str:
    """Say what the strongest baseline reaches, and how the model compares."""
    judged, best, headline = sentences.compared(numbers), sentences.strongest(numbers), numbers["headline"]
    if not best:
        return f"None of {n_of(len(numbers['baselines']), 'baseline')} has a defined AUROC."
    named = f"“{baseline_label(best['name'])}”"
    text = f"The strongest of {n_of(len(judged), 'baseline')}, {named}, reached an AUROC of {quoted(best[headline])}."
    return " ".join(filter(None, (text, against(best, numbers), below(judged, headline))))


def below(judged: Sequence[Mapping[str, Any]], headline: str) -> str:
    """Say what a baseline means whose CI lies below 0.5; empty where there is none."""
    names = [f"“{baseline_label(entry['name'])}”" for entry in judged if (entry[headline].high or 1) < 0.5]
    if not names:
        return ""
    ends = "CI of {} lies" if len(names) == 1 else "CIs of {} lie"
    return (
        f"The {ends.format(listed(names))} wholly below 0.5, a sign of few cases, unbalanced folds or shifted labels, "
        "not of a model that would be better the other way round."
    )


def mean_pooling(numbers: Numbers) -> str:
    """Say what the mean of patch features reaches, without attention; empty where it is the strongest, or missing."""
    best = sentences.strongest(numbers)
    pooled = [entry for entry in sentences.compared(numbers) if entry["name"] == "mean_pool" and entry is not best]
    if not pooled:
        return ""
    reached, gain = quoted(pooled[0][numbers["headline"]]), sentences.difference(pooled[0], numbers)
    return f"The mean of patch features, without attention, reached {reached}; paired difference {quoted(gain)}."


def one_stain(numbers: Numbers) -> str:
    """Say what each stain alone reaches, and how much higher the model is in the same cases; empty without any."""
    headline, told = numbers["headline"], []
    for entry in numbers["baselines"]:
        stain = entry["name"].removeprefix("mean_pool_")
        if stain == entry["name"] or not entry["fitted"] or entry[headline].value is None:
            continue
        gain = quoted(sentences.difference(entry, numbers), more=n_of(entry["n"], "case"))
        told.append(f"{stain} {num(entry[headline].value, 2)}, model − baseline {gain}")
    if not told:
        return ""
    return (
        f"AUROC of one stain alone (mean of patch features), in the cases that have it: {'; '.join(told)}. The model "
        "differs from these in more than its stains: to compare stains alone, compare studies."
    )


def against(entry: Mapping[str, Any], numbers: Numbers) -> str:
    """Say how much higher or lower the model is than a baseline, and whether that is a difference."""
    gain = sentences.difference(entry, numbers)
    if gain.value is None:
        return "The paired difference is not defined."
    if gain.low is None and sentences.equal(gain):
        return f"The model equals it (both {num(entry[numbers['headline']].value, 2)}): no difference can be seen."
    size = f"The model is {num(abs(gain.value), 2)} {'higher' if gain.value >= 0 else 'lower'}"
    if entry.get("without_stain"):
        size = f"In the {entry['n']} cases that have the stain the{size.removeprefix('The')}"
    size = "The model is within 0.005 of it" if sentences.equal(gain) and gain.holds(0) else size
    paired = f"{size} (paired 95% CI {span(gain.low, gain.high, 2)})" if gain.low is not None else size
    if gain.low is None:
        return f"{paired}; {without_ci(entry)}. {_pooled(entry, numbers)}".rstrip()
    if gain.holds(0):
        return f"{paired}; the CI includes 0, so this cohort cannot show a difference."
    return f"{paired}, which rounds to no difference." if sentences.equal(gain) else f"{paired}."


def without_ci(entry: Mapping[str, Any]) -> str:
    """Say why a difference has no CI."""
    if entry.get("constant"):
        return "no CI is defined, because the baseline gives all cases of a test set the same probability"
    return "no CI is defined, because in most bootstrap samples some test set has cases of one class only"


def _pooled(entry: Mapping[str, Any], numbers: Numbers) -> str:
    """Say what the pooled difference is, where that of the test sets has no CI; empty where it has none, too."""
    gain = entry["auc_difference"]["model"]
    if numbers["headline"] != "fold_mean" or gain.low is None:
        return ""
    end = ": the CI includes 0, so this cohort cannot show a difference" if gain.holds(0) else ""
    return f"The pooled difference is {quoted(gain)}{end}."


def baselines_caption(numbers: Numbers) -> str:
    """Return the caption of the figure of baselines."""
    shown = [entry for entry in numbers["baselines"] if entry["fitted"] and entry["name"] != "prevalence"]
    gains = [sentences.difference(entry, numbers) for entry in shown]
    lacking = sum(gain.low is None for gain in gains)
    ci = ", 95% CI" if lacking < len(gains) else ""
    none = f"{', ' if ci else '; '}no CI {'where there is no line' if ci else 'is defined'}" if lacking else ""
    stain = "; one of a stain judges the cases that have it" if any(row.get("without_stain") for row in shown) else ""
    return f"AUROC of the model less that of each baseline, paired{ci}{none}. n = {numbers['cases']} cases{stain}."


def choice(points: Sequence[Mapping[str, Any]]) -> str:
    """Say why no CI includes the choice of the threshold; empty where one does."""
    rows = (points[1]["rows"] or []) if len(points) > 1 else []
    made = [row["with_choice"] for row in rows if "with_choice" in row]
    if not made or any(each.low is not None for each in made):
        return ""
    why = "in most bootstrap samples the validation cases of some split are of one class"
    if all(each.n is None for each in made):  # no sample chose
        why = "some validation case is in no test set"
    return f"No 95% CI with the choice is defined, because {why}."


def subgroups(numbers: Numbers) -> str:
    """Say which subgroup is classified worst; of those with five cases or more, where there are any."""
    groups = numbers["subgroups"]
    large = [row for row in groups if row["n"] >= 5]
    of = f" of at least 5 cases ({len(groups) - len(large)} smaller)" if 0 < len(large) < len(groups) else ""
    judged = large or groups
    worst = min(judged, key=lambda row: row["accuracy"].value)
    share = worst["accuracy"]
    return (
        f"The least accurate of {n_of(len(judged), 'subgroup')}{of} is “{worst['name']}”: {worst['right']} of "
        f"{worst['n']} correct ({pct(share.value)}, 95% CI {round(100 * share.low)} to {round(100 * share.high)}%)."
    )


def unfitted(numbers: Numbers) -> str:
    """Say when a baseline is not fitted; empty where each is."""
    rows = [entry for entry in numbers["baselines"] if entry["name"] != "prevalence"]
    if all(entry["fitted"] == len(numbers["splits"]) for entry in rows):
        return ""
    return (
        "A baseline is not fitted where all test cases of a split get the same probability, as when no training case "
        "has its stain."
    )


def baselines_made(numbers: Numbers, images: bool) -> str:
    """Say how the baselines were fitted."""
    names = {entry["name"] for entry in numbers["baselines"]}
    inputs = ["mean, maximum and SD of all patch features of a case", "their mean"]
    inputs += (
        ["the mean of one stain (trained with other cases as average, compared on those that have it)"]
        if any(name.startswith("mean_pool_") for name in names)
        else []
    )
    inputs += ["a descriptor of colour and coarse texture"] if "colour" in names else []
    inputs += ["the number of patches", "the number of slices"]
    none = "" if images else " There is no colour baseline, because it needs patch images."
    return (
        "Baselines are standardised logistic regressions with balanced class weights, trained on the same splits, with "
        f"the L2 penalty of least validation log loss, on {listed(inputs)}. The pooled AUROC of the training "
        f"prevalence is at most 0.5 by construction.{none}"
    )

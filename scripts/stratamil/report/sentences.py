"""The result in sentences: the headline, what a reader must know of it, and the words that all sentences share."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stratamil.cohort import sites
from stratamil.cohort.cohort_warnings import PATCHES, PATIENTS
from stratamil.core.errors import few as few_of
from stratamil.core.wording import baseline_label, ends, listed, n_of, num, sized, span
from stratamil.stats.intervals import Estimate

Numbers = Mapping[str, Any]  # of `cross_split.numbers`
SMALL = 50  # of a class: with as many, one more error moves sensitivity or specificity by 2 points

MOST_RUNS = 12  # rows of the forest of trainings: beyond, one a split instead of one a training
DOUBTFUL = 3  # contradicted cases that a sentence names
FALL = 0.05  # of the AUROC in the cases with all stains, from which it is a warning
GRAVE = 3  # warnings of the cohort that the first screen shows


class Card(NamedTuple):
    """A figure of the first screen: its label, the figure itself, what it is of."""

    label: str
    figure: str
    note: str


ORDER = (
    "Check the order of cohort.classes: training takes the first for the absence of the others; if none is, set "
    "train.instance_weight: 0."
)


def ci(estimate: Estimate, digits: int = 2, more: str = "") -> str:
    """Return ` (95% CI 0.81 to 0.93)`, or nothing where there is none. more: said before it, in the same brackets."""
    parts = [more, "" if estimate.low is None else f"95% CI {span(estimate.low, estimate.high, digits)}"]
    return f" ({'; '.join(filter(None, parts))})" if any(parts) else ""


def quoted(estimate: Estimate, digits: int = 2, more: str = "") -> str:
    """Return `0.91 (95% CI 0.84 to 0.95)`."""
    return num(estimate.value, digits) + ci(estimate, digits, more)


def question(classes: Sequence[str], positive: str | None) -> str:
    """Return what is classified, in words."""
    return f"{positive} against {classes[0]}" if positive else "mean of each class against the rest"


def trainings(numbers: Numbers) -> str:
    """Return `a single training`, or that several are averaged."""
    several = len(numbers["by_seed"])
    return "a single training" if several == 1 else f"a single training, averaged over {several} trainings per case"


def pooled(numbers: Numbers, of: str = "single trainings") -> str:
    """Return `pooled AUROC of single trainings`; `pooled AUROC` where there is one training, so one such figure."""
    return f"pooled AUROC of {of}" if len(numbers["by_seed"]) > 1 else "pooled AUROC"


def cases(numbers: Numbers) -> str:
    """Return `51 cases of 43 patients`."""
    return sized(numbers["cases"], numbers["patients"])


def by_class(counts: Mapping[str, int]) -> str:
    """Return `31 benign and 20 high-grade`."""
    return listed([f"{n} {name}" for name, n in counts.items()])


def result(numbers: Numbers) -> str:
    """Say the headline figure: the fold mean, or where it is not defined the pooled AUROC and why."""
    estimate, folds = numbers["out_of_fold"][numbers["headline"]], numbers["out_of_fold"]["folds"]
    if estimate.value is None:
        return f"The AUROC is not defined: the {numbers['cases']} predicted cases are not of every class."
    apart = question(numbers["classes"], numbers["positive"])
    begin = f"AUROC {quoted(estimate)}, {apart}, {cases(numbers)}, out of fold"
    several = len(numbers["by_seed"])
    how = "each model trained once" if several == 1 else f"mean of {several} single trainings each"
    if numbers["headline"] == "fold_mean":
        return f"{begin}: mean of {n_of(folds, 'test set')}, {how}."
    return (
        f"{begin}: all test cases ranked together, {how}. There is no mean of the test sets, because one lacks a class."
    )


def cards(numbers: Numbers, replicates: str) -> list[Card]:
    """Return the figures of the first screen beside the AUROC. replicates: what the ensemble averages, or empty."""
    of = f"mean probability of {replicates}" if replicates else "out of fold"
    if numbers["positive"] is not None:
        of += " of 0.5 or more" if replicates else ", at a probability of 0.5 or more"
    names = ("sensitivity", "specificity") if numbers["positive"] else ("accuracy",)
    rows = {row["name"]: row for row in numbers["decisions"][0]["rows"]}
    positive, negative = numbers["classes"][-1], numbers["classes"][0]
    kinds = {"sensitivity": (positive, "missed"), "specificity": (negative, f"called {positive}")}
    kinds["accuracy"] = ("cases", "wrong")
    found = []
    for name in names:
        row, estimate = rows[name], rows[name]["estimate"]
        share = f"{row['k']} of {estimate.n} {kinds[name][0]}, {estimate.n - row['k']} {kinds[name][1]}"
        found.append(Card(name.capitalize(), num(estimate.value, 2), f"{share}; 95% CI {_span(estimate)}; {of}"))
    best = strongest(numbers)
    if not best:
        return [*found, Card("Best baseline", "none", "no baseline has a defined AUROC")]
    auc, gain = best[numbers["headline"]], difference(best, numbers)
    best_of = f"Best of {n_of(len(compared(numbers)), 'baseline')}, AUROC"
    found.append(Card(best_of, num(auc.value, 2), f"{baseline_label(best['name'])}; 95% CI {_span(auc)}"))
    sign = "+" if (gain.value or 0) > 0 else ""
    figure = "not defined" if gain.value is None else sign + num(gain.value, 2)
    on = f"in the {n_of(best['n'], 'case')} with the stain, " if best.get("without_stain") else ""
    paired = f"{on}paired{f', 95% CI {_span(gain)}: ' if gain.low is not None else '; '}{shown(gain)}"
    return [*found, Card("Model − baseline", figure, paired)]


def _span(estimate: Estimate) -> str:
    return span(estimate.low, estimate.high, 2)


def strongest(numbers: Numbers, of_all: bool = False) -> Mapping[str, Any] | None:
    """Return the baseline with the highest AUROC, None where no AUROC is defined; the prevalence is not one.

    of_all: of those that judge all cases, so that curves of one figure are of the same cases.
    """
    judged = [entry for entry in compared(numbers) if not (of_all and entry.get("without_stain"))]
    return max(judged, key=lambda entry: entry[numbers["headline"]].value) if judged else None


def compared(numbers: Numbers) -> list[Mapping[str, Any]]:
    """Return the baselines that were fitted, judge half of the cases and have an AUROC; a retrained model is none."""
    measure = numbers["headline"]
    known = [entry for entry in numbers["baselines"] if entry["fitted"] and entry[measure].value is not None]
    known = [entry for entry in known if entry.get("competes", True)]
    return [entry for entry in known if entry["name"] != "prevalence" and not entry.get("retrained")]


def difference(entry: Mapping[str, Any], numbers: Numbers) -> Estimate:
    """Return how much higher than a baseline's the model's AUROC is, by the measure of the headline."""
    return entry["auc_difference"]["fold_mean" if numbers["headline"] == "fold_mean" else "model"]


def equal(gain: Estimate) -> bool:
    """Return whether a difference is none to two digits."""
    return gain.value is not None and num(gain.value, 2) == num(0, 2)


def shown(gain: Estimate) -> str:
    """Say what a difference and its CI show."""
    if gain.low is None:
        lower = gain.value is not None and gain.value < 0
        return "equal, so no difference shown" if equal(gain) else f"{'the model is lower; ' * lower}no CI is defined"
    if gain.holds(0) or equal(gain):
        return "no difference shown"
    return "the model is better" if gain.low > 0 else "the model is worse"


def unit_of(cohort: Mapping[str, Any]) -> str:
    """Return what counts as one: patient, or case where patients are not known."""
    return "case" if cohort["patient_column"] is None else "patient"


def first_look(is_one: bool) -> str:
    """Say what a first look is not for; empty of a whole study."""
    text = "This is a first look, with short trainings: do not quote its numbers, nor choose settings by them."
    return text if is_one else ""


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


def small(counts: Mapping[str, int], positive: str | None) -> str:
    """Say how much one error weighs in the smallest class; empty where it weighs little. counts: its cases."""
    name, n = min(counts.items(), key=lambda item: item[1])
    if not 0 < n <= SMALL:
        return ""
    measure = "recall" if positive is None else "sensitivity" if name == positive else "specificity"
    return f"Few cases: one more error among {n_of(n, f'{name} case')} moves {measure} by {100 / n:.0f} points."


def perfect(aucs: Sequence[float | None], sizes: Sequence[int], pooled: str) -> str:
    """Say that small test sets are all ranked perfectly; empty where they are not. pooled: what to quote beside."""
    if not aucs or any(auc != 1 for auc in aucs) or min(sizes) > SMALL:
        return ""
    n = ends(f"{min(sizes)}", f"{max(sizes)}")
    return f"Each test set of {n} cases is ranked perfectly, weak evidence from so few pairs: also quote the {pooled}."


def flags(
    numbers: Numbers, cohort: Mapping[str, Any], explained: Mapping[str, bool | None] | None, unit: str
) -> list[str]:
    """Return what a reader must know of the result, short, the most dangerous first.

    explained: class -> whether attention explains its predictions, None where nothing is shown; None without a check.
    """
    missing = numbers["coverage"]["missing"] or numbers["coverage"]["repeated"]
    told = [first_sentence(line) for line in cohort["warnings"]]
    end = cohort["grave"] + cohort.get("lost", 0)
    grave, lost = told[: cohort["grave"]], told[cohort["grave"] : end]
    more = len(grave) - GRAVE
    few_cases = few(numbers["patients_of"], unit)
    found = [
        below_chance(numbers["out_of_fold"][numbers["headline"]].high),
        *(["results.json and predictions.csv disagree: see Single trainings."] if numbers["disagreements"] else []),
        *(["Some cases were predicted more or less often than others: see Single trainings."] if missing else []),
        few_cases,
        "" if numbers.get("first_look") else _perfect(numbers),  # which says what to quote
        collapsed(numbers["runs"]),
        contradicted(numbers),
        *grave[:GRAVE],
        f"{n_of(more, 'more grave warning')} on the cohort page." if more > 0 else "",
        helped_by_missing_stains(numbers) if cohort.get("stains_warned") else "",
        rest_on_few(numbers),
        no_better(numbers),
        *lost,
        unsettled(numbers["runs"]),
        "" if few_cases else small(numbers["counts"], numbers["positive"]),
        one_class(explained),
        tested_elsewhere(cohort),
    ]
    return [line for line in found if line]


def tested_elsewhere(cohort: Mapping[str, Any]) -> str:
    """Say of what places the test cases are: new to their models, or not. cohort: of cohort.json."""
    if n := sites.unseen(cohort.get("sites")):
        named = f"{n_of(n, 'site')} (column {cohort['sites']['column']}), all of this study"
        return f"Each test is on sites that its models had not seen: {named}. No other site was tested."
    return "Internal test only: no other hospital, scanner or laboratory was tested."


def collapsed(runs: Sequence[Mapping[str, Any]]) -> str:
    """Name the splits in which each training predicts the same class for all test cases; empty where there is none."""
    constant: dict[str, list[bool]] = {}
    for run in runs:
        shares = sorted(share for share in run.get("recall", {}).values() if share is not None)
        constant.setdefault(run.get("split"), []).append(len(shares) > 1 and shares[-2:] == [0, 1])
    same = [split for split, each in constant.items() if all(each)]
    if not same:
        return ""
    where = f"{'split' if len(same) == 1 else 'splits'} {few_of(same)}"
    return (
        f"In {where} every training predicts one class for all test cases, so next to nothing was learnt there: see "
        "the losses in the appendix."
    )


def contradicted(numbers: Numbers) -> str:
    """Name the cases that every training contradicts with near certainty; empty where there is none."""
    found = numbers.get("contradicted")
    if not found:
        return ""
    cases, by = found["cases"], "each training" if found["trainings"] > 1 else "the model"
    named, one = few_of([f"{case['case_id']} ({case['true']})" for case in cases], DOUBTFUL), len(cases) == 1
    return (
        f"{n_of(len(cases), 'case')} {'is' if one else 'are'} contradicted by {by} with a probability above "
        f"{found['above']} of another class: check the label{'' if one else 's'} of {named}; the model may also be "
        "wrong."
    )


def rest_on_few(numbers: Numbers) -> str:
    """Say which wrong cases have next to no patches, and what the AUROC is without them; empty where none has."""
    found = numbers.get("rest_on_few")
    if not found:
        return ""
    cases, names = found["cases"], [case["case_id"] for case in found["cases"]]
    one = f"rests on {n_of(cases[0]['patches'], 'patch')}"
    rest = f"rest on fewer than {PATCHES} patches" if names[1:] else one
    return (
        f"Case{'s' if names[1:] else ''} {few_of(names)} {rest} and {'are' if names[1:] else 'is'} predicted wrongly; "
        f"without {'them' if names[1:] else 'it'} the AUROC would be {num(found['auroc'], 2)}."
    )


def helped_by_missing_stains(numbers: Numbers) -> str:
    """Warn where the AUROC falls, or is not known, in the cases that lack no stain; empty where it holds."""
    said, found = with_all_stains(numbers), _complete(numbers)
    if not said or found is None or found["roc_auc"].value is None:
        return said
    falls = numbers["ensemble"]["roc_auc"].value - found["roc_auc"].value >= FALL
    return f"{said} A missing stain may help the model, or this is chance." if falls else ""


def _complete(numbers: Numbers) -> Mapping[str, Any] | None:
    """Return the subgroup of the cases with all stains, None without one."""
    return next((row for row in numbers["subgroups"] if (row["kind"], row["name"]) == ("stains", "all stains")), None)


def with_all_stains(numbers: Numbers) -> str:
    """Say what the AUROC is where no stain is missing, beside that of all cases; empty where none is in any."""
    found = _complete(numbers)
    if all(row["name"] == "all stains" for row in numbers["subgroups"] if row["kind"] == "stains"):
        return ""
    if found is None:
        return "No case has all stains."
    n, auc, whole = found["n"], found["roc_auc"], numbers["ensemble"]["roc_auc"]
    if auc.value is None:
        return f"Only {n_of(n, 'case')} {'has' if n == 1 else 'have'} all stains: no AUROC is defined for them."
    of = f"In the {n} of {n_of(numbers['cases'], 'case')} with all stains"
    return f"{of} the {pooled(numbers, 'the ensemble')} is {quoted(auc)}; in all cases it is {num(whole.value, 2)}."


def no_better(numbers: Numbers) -> str:
    """Say that the cohort cannot show the model to be better than the strongest baseline; empty where it can."""
    best = strongest(numbers)
    if not best:
        return ""
    gain, reached = difference(best, numbers), num(best[numbers["headline"]].value, 2)
    if gain.value is None or (gain.low is not None and gain.low > 0):
        return ""
    named = f"“{baseline_label(best['name'])}”"
    than = f"This cohort cannot show that the model is better than {named}"
    if gain.low is None and equal(gain):
        return f"{than}, which also reaches {reached}."
    if gain.value < 0 and not equal(gain):
        on = f" in the {n_of(best['n'], 'case')} that have the stain" if best.get("without_stain") else ""
        than = f"The model is {num(-gain.value, 2)} lower than the baseline {named}{on}"
    ends = f"95% CI of the difference {span(gain.low, gain.high, 2)}"
    told = f"{than} (AUROC {reached}; {'no CI is defined: see Baselines' if gain.low is None else ends})."
    return f"{told} {ORDER}" if gain.high is not None and gain.high < 0 else told


def unsettled(runs: Sequence[Mapping[str, Any]]) -> str:
    """Say in how many trainings the last epoch was the best; empty where in none."""
    known = [run for run in runs if run.get("epoch") is not None and run.get("epochs")]
    n = sum(run["epoch"] >= run["epochs"] for run in known)
    if not n:
        return ""
    which = "the training" if len(known) == 1 else f"{n} of {n_of(len(known), 'training')}"
    return f"In {which} the last epoch was the best, so training may not have settled: allow more epochs."


def _perfect(numbers: Numbers) -> str:
    if not (runs := numbers["runs"]):
        return ""
    aucs, sizes = [run["roc_auc"].value for run in runs], [run["n"] for run in runs]
    quote = f"{pooled(numbers)}, {quoted(numbers['out_of_fold']['roc_auc'])}"
    return perfect(aucs, sizes, quote)


def one_class(explained: Mapping[str, bool | None] | None) -> str:
    """Say of which predicted classes attention is no explanation; empty where it explains all, or was not checked."""
    if explained is None:
        return "Whether attention explains the predictions was not checked."
    yes, worse, rest = ([name for name, known in explained.items() if known is state] for state in (True, False, None))
    if not yes and not worse:
        return "Predictions are not shown to rest on the attended patches, in any class."
    if not worse and not rest:
        return ""
    parts = [f"Predictions of {listed(yes)} rest on the attended patches"] if yes else []
    parts += [f"{'for' if yes else 'For'} those of {listed(worse)} attention is worse than random"] if worse else []
    parts += [f"those of {listed(rest)} are not shown to"] if rest and not worse else []
    parts += [f"for those of {listed(rest)} nothing is shown"] if rest and worse else []
    return f"{'; '.join(parts)}."


def first_sentence(text: str) -> str:
    """Return the first sentence of a text."""
    return re.split(r"(?<=\.) (?=[A-Z])", text)[0]

"""What an estimate says, in a sentence: also that a thing is no better than chance, cannot be told, or is not defined.

An interval decides: above the reference, below it, or holding it. Sentences are made for readers, numbers filled in.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from stratamil.core.wording import num, pct, span
from stratamil.stats.estimates import PATIENTS
from stratamil.stats.intervals import Estimate

Verdict = Literal["above", "below", "no different", "too few", "not defined"]
Value = Literal["probability", "margin"]
Order = Literal["attention", "contribution"]
Direction = Literal["deletion", "insertion"]
TopMeasure = Literal["necessity", "sufficiency"]
Level = Literal["stain", "slice"]
Uniform = Literal["uniform", "levels"]
Between = Literal["seeds", "splits"]

NOTHING = 0.005  # a difference that reads as 0.00
END = 0.0005  # of a CI that reads as 0.000
ABOVE, BELOW, SAME, FEW, NONE = "above", "below", "no different", "too few", "not defined"
VALUES = {"probability": "probability of the predicted class", "margin": "margin (log odds) of the predicted class"}
ALIKE = {"uniform": "all patches of a case", "levels": "all patches of a slice, slices of a stain and stains"}
# What is asked of the cases predicted as each class; over all cases it is a number without a verdict.
BY_CLASS = ("deletion_attention", "insertion_attention", "necessity_percent", "sufficiency_percent")
BY_CLASS += ("contribution_over_attention", "stain_support", "slice_support")
POOLED = (*BY_CLASS, *(f"{kind}_{top}" for kind in ("necessity", "sufficiency") for top in ("1", "5", "20")))
POOLED += ("deletion_contribution", "insertion_contribution")
WORDS = {ABOVE: "better than random", BELOW: "worse than random", SAME: "no better than random"}


@dataclass(frozen=True)
class Finding:
    """An estimate of one measure, what it would be by chance, and what that says.

    scope: "study", or one "split 01, seed 42". value_of: what was measured of the model, e.g. probability or margin.
    reference, verdict: None where there is nothing to compare with.
    """

    section: str
    measure: str
    scope: str
    value_of: str
    estimate: Estimate
    reference: float | None
    verdict: Verdict | None
    sentence: str

    def entry(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return {
            "section": self.section,
            "measure": self.measure,
            "scope": self.scope,
            "of": self.value_of,
            "estimate": self.estimate,
            "reference": self.reference,
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


def row(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a finding as a row of a table, its estimate as columns value, low, high and n."""
    columns = {}
    for name, value in entry.items():
        columns |= asdict(value) if name == "estimate" else {name: value}
    return columns


def verdict(estimate: Estimate, reference: float = 0.0) -> Verdict:
    """Return what the interval says of the estimate: ABOVE or BELOW the reference, or SAME; FEW patients, or NONE.

    What reads as no difference, or as a CI that ends at the reference, is SAME.
    """
    if estimate.value is None:
        return NONE
    if estimate.n < PATIENTS or estimate.low is None:
        return FEW
    if abs(estimate.value - reference) < NOTHING:
        return SAME
    if estimate.low - reference >= END:
        return ABOVE
    return BELOW if reference - estimate.high >= END else SAME


def held(estimate: Estimate) -> str:
    """Say why an estimate that is SAME as 0 shows nothing."""
    if estimate.holds(0):
        return "the CI includes 0"
    return "this rounds to no difference" if abs(estimate.value) < NOTHING else f"the CI ends within {END} of 0"


def unvaried(estimate: Estimate) -> bool:
    """Return whether a difference is 0 in every bootstrap sample of enough patients, so that it has no CI."""
    return estimate.value == 0 and estimate.low is None and estimate.n >= PATIENTS


def count(n: int, noun: str) -> str:
    """Return `1 patient`, `3 patients`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def basis(estimate: Estimate) -> str:
    """Return the interval and the number of patients, in brackets."""
    patients = count(estimate.n, "patient")
    if estimate.low is None:
        return f"({patients})"
    return f"(95% CI {span(estimate.low, estimate.high, 2)}; {patients})"


def against_random(
    estimate: Estimate, *, subject: str, did: tuple[str, str], ends: tuple[str, str], reason: str
) -> str:
    """Say how much more a choice of patches did than a random one.

    estimate: of the difference, above 0 where the choice did more. subject, did: who did what, as `Removing them` and
    `lowered the margin`. did, ends: where it is above 0 and below: ends follow the number. reason: why there may be
    none.
    """
    said = verdict(estimate)
    if said == NONE:
        return f"{subject}: not defined, because {reason}."
    below = estimate.value < 0
    shown = estimate.flipped() if below else estimate  # the CI has the sign of the sentence
    size = f"{subject} {did[below]} {num(shown.value, 2)} {ends[below]}"
    end = f"; {held(estimate)}" if said == SAME else "; too few to conclude" if said == FEW else ""
    return f"{size} {basis(shown)}{end}."


def area(direction: Direction, order: Order, value: Value, estimate: Estimate) -> str:
    """Say what the area between the curves of an order of patches and of a random one shows."""
    which = {"attention": "most attended patches", "contribution": "patches of the largest contribution"}[order]
    verb, did, other = ("Removing", "lowered", "higher") if direction == "deletion" else ("Adding", "raised", "lower")
    return against_random(
        estimate,
        subject=f"{verb} the {which} first",
        did=(f"{did} the {VALUES[value]}", f"left the {VALUES[value]}"),  # it may have done the reverse
        ends=tuple(f"{than} than {verb.lower()} random patches" for than in ("more", other)),
        reason="no case has two patches" + (" of different attention" if order == "attention" else ""),
    )


def beside_contribution(value: Value, estimate: Estimate) -> str:
    """Say whether the exact contribution finds what matters better than attention: the difference of the two areas.

    Its order is read off the model, so that attention can be as good, and better by chance only.
    """
    said = verdict(estimate)
    if said == NONE:
        return "Contribution and attention cannot be compared: there is no order by attention."
    size = f"difference of the areas {num(estimate.value, 2)}, {VALUES[value]} {basis(estimate)}"
    return {
        ABOVE: f"Signed contributions find what the prediction rests on better than attention does: {size}.",
        BELOW: f"Attention finds what the prediction rests on as well as signed contributions, or better: {size}.",
        SAME: f"No difference is shown between signed contributions and attention: {size}; {held(estimate)}.",
        FEW: f"Too few to compare signed contributions with attention: {size}.",
    }[said]


def of_top(measure: TopMeasure, top: str, value: Value, estimate: Estimate) -> str:
    """Say what is lost without the top patches (necessity), or left with them alone (sufficiency), against random ones.

    ERASER calls the first comprehensiveness.
    """
    subject, did, ends = {
        "necessity": (
            f"Removing {top}",
            (f"lowered the {VALUES[value]}", f"left the {VALUES[value]}"),
            tuple(f"{than} than removing as many random patches" for than in ("more", "higher")),
        ),
        "sufficiency": (
            f"Keeping only {top}",
            (f"left the {VALUES[value]}",) * 2,
            tuple(f"{than} than keeping as many random patches" for than in ("higher", "lower")),
        ),
    }[measure]
    reason = "no case has more patches than that, with different attention"
    return against_random(estimate, subject=subject, did=did, ends=ends, reason=reason)


def top(name: str, percent: float) -> str:
    """Return the top patches in words: `the 5% most attended patches`, `the most attended patch`."""
    if name == "percent":
        return f"the {percent:g}% most attended patches"
    return "the most attended patch" if name == "1" else f"the {name} most attended patches"


def part(level: Level, estimate: Estimate) -> str:
    """Say whether the attention of a stain or slice tells which way the prediction changes without it."""
    said, parts = verdict(estimate), f"{level}s"
    if said == NONE:
        lacking = {"stain": "case has two stains", "slice": "stain of a case has two slices"}[level]
        return f"Attention and support of {parts}: not defined, because no {lacking} to compare."
    size = f"rank correlation {num(estimate.value, 2)} {basis(estimate)}"
    more = f"{parts} with more attention support the predicted class more"
    return {
        ABOVE: f"{more.capitalize()}: {size}.",
        BELOW: f"{more.capitalize().removesuffix('more')}less: {size}.",
        SAME: f"It is not shown that {more}: {size}; {held(estimate)}.",
        FEW: f"Too few to say whether {more}: {size}.",
    }[said]


def uniform(
    kind: Uniform, model: float | None, without: float | None, estimate: Estimate, reason: str, seeds: int
) -> str:
    """Say what equal weights do to the AUROC of the model that was trained with attention.

    model, without: the two AUROCs; estimate: of their difference. reason: why there may be no estimate. seeds: of which
    the AUROC is the ensemble's.
    """
    said = verdict(estimate)
    alike = ALIKE[kind]
    if said == NONE:
        return f"What equal weights of {alike} change in this model is not defined, because {reason}."
    of = f", ensemble of {seeds} seeds," if seeds > 1 else ""
    both = f"AUROC within a split{of} {num(model, 2)} with attention, {num(without, 2)} with equal weights of {alike}"
    if unvaried(estimate):
        return f"{both}: no difference can be seen {basis(estimate)}."
    size = f"difference {num(estimate.value, 2)} {basis(estimate)}"
    return {
        ABOVE: f"Equal weights lower the AUROC of this model: {both}; {size}.",
        BELOW: f"Equal weights raise the AUROC of this model: {both}; {size}.",
        SAME: f"Equal weights are not shown to change the AUROC of this model: {both}; {size}; {held(estimate)}.",
        FEW: f"Too few to say whether equal weights change the AUROC of this model: {both}; {size}.",
    }[said]


def changed(kind: Uniform, estimate: Estimate) -> str:
    """Say how often the prediction changes with equal weights."""
    alike = ALIKE[kind]
    if estimate.value is None:
        return "How often predictions change with equal weights is not defined, because there are none."
    return f"With equal weights of {alike}, {pct(estimate.value)} of the predictions change {_percent(estimate)}."


def _percent(estimate: Estimate) -> str:
    patients = count(estimate.n, "patient")
    if estimate.low is None:
        return f"({patients})"
    return f"(95% CI {pct(estimate.low)} to {pct(estimate.high)}; {patients})"


def agreement(between: Between, estimate: Estimate, attends: bool = True) -> str:
    """Say whether two models order the patches of a case alike.

    attends: whether their attention has an order at all.
    """
    said = verdict(estimate)
    models = {"seeds": "two trainings on the same split", "splits": "models of two splits that test the same case"}[
        between
    ]
    if said == NONE and not attends:
        return f"How alike {models} attend is not defined: all patches of a case have equal weight."
    if said == NONE:
        return {
            "seeds": "Whether attention depends on the seed is unknown: each split was trained with one seed.",
            "splits": "Whether attention depends on the training cases is unknown: each case is tested in one split.",
        }[between]
    size, capital = f"mean rank correlation {num(estimate.value, 2)} {basis(estimate)}", models[0].upper() + models[1:]
    return {
        ABOVE: f"{capital} rank the patches of a case more alike than chance: {size}.",
        BELOW: f"{capital} rank the patches of a case less alike than chance: {size}.",
        SAME: f"{capital} are not shown to rank the patches of a case more alike than chance: {size}; "
        f"{held(estimate)}.",
        FEW: f"Too few to say whether {models} rank the patches of a case alike: {size}.",
    }[said]


def overlap(between: Between, percent: float, chance: float | None, excess: Estimate, estimate: Estimate) -> str:
    """Say how many of the top patches two models share.

    chance: the share expected of random patches. excess: Estimate of the overlap above chance.
    """
    models = {"seeds": "Two trainings on the same split", "splits": "Models of two splits"}[between]
    said = verdict(excess)
    if said == NONE:
        return f"{models}: there are no two to compare."
    size = f"{pct(estimate.value)} {_percent(estimate)}, {pct(chance)} by chance"
    top_ = f"the {percent:g}% most attended patches of a case"
    return {
        ABOVE: f"{models} share more of {top_} than by chance: {size}.",
        BELOW: f"{models} share fewer of {top_} than by chance: {size}.",
        SAME: f"{models} are not shown to share more of {top_} than by chance: {size}.",
        FEW: f"{models} share {size}, of {top_}; too few to conclude.",
    }[said]


def related(
    estimate: Estimate, *, more: str, less: str, subject: str, scope: Literal["case", "slice"], reason: str
) -> str:
    """Say whether attention depends on a property of a patch: more attended ones are `more` or `less`.

    reason: why there may be no estimate.
    """
    said = verdict(estimate)
    where = {"case": "Over a whole case", "slice": "Within a slice"}[scope]
    if said == NONE:
        return f"{where}: whether attention depends on {subject} is not defined, because {reason}."
    size = f"mean rank correlation {num(estimate.value, 2)} {basis(estimate)}"
    return {
        ABOVE: f"{where}, more attended patches {more}: {size}.",
        BELOW: f"{where}, more attended patches {less}: {size}.",
        SAME: f"{where}, attention is not shown to depend on {subject}: {size}; {held(estimate)}.",
        FEW: f"{where}, too few to say whether attention depends on {subject}: {size}.",
    }[said]


def headline(
    by_class: Mapping[str, tuple[Verdict, Verdict]], absent: Collection[str] = ()
) -> dict[Literal["overall", "by_class"], str | None]:
    """Give the answer in a sentence, overall, and what to know of it, by_class, which may be None.

    by_class: class -> verdicts of deletion and insertion of the cases predicted so. absent: classes that no case is
    predicted as. There is no verdict over all cases:
    an attention that finds one class's patches wherever they are explains predictions of that class only.
    """
    pairs = [pair for pair in by_class.values() if NONE not in pair]
    if not pairs:
        alike = "Attention cannot explain anything here: all patches of a case have equal weight, or there is only one."
        return {"overall": alike, "by_class": None}
    if all(FEW in pair for pair in pairs):
        few = "There are too few patients to say whether attention explains the predictions."
        return {"overall": few, "by_class": None}
    told = {name: _both(f"in cases predicted {name}", *pair) for name, pair in by_class.items() if name not in absent}
    parts = "; ".join([*told.values(), *(f"no case is predicted {name}" for name in by_class if name in absent)])
    opposed = {(ABOVE, ABOVE), (BELOW, BELOW)} <= set(pairs)
    return {
        "overall": f"As a guide to what predictions rest on, attention is {parts}.",
        "by_class": ONE_CLASS if opposed else None,
    }


def explains(deletion: Verdict, insertion: Verdict) -> bool | None:
    """Return whether attention explains predictions, better than random in both tests; None where that is not shown.

    False is worse than random in one test and better in none.
    """
    if deletion == insertion == ABOVE:
        return True
    return False if BELOW in (deletion, insertion) and ABOVE not in (deletion, insertion) else None


ONE_CLASS = (
    "Attention probably marks evidence for one class, as the instance loss of training favours: where another class is "
    "predicted, the most attended patches are evidence against it."
)


def _both(where: str, deletion: Verdict, insertion: Verdict) -> str:
    if NONE in (deletion, insertion):
        return f"not defined {where}"
    if FEW in (deletion, insertion):
        return f"undecided {where} (too few patients)"
    if deletion == insertion:
        return f"{WORDS[deletion]} {where} (deletion and insertion)"
    joint = "but" if ABOVE in (deletion, insertion) else "and"  # worse than random, and no better
    return f"{WORDS[deletion]} by deletion {joint} {WORDS[insertion]} by insertion {where}"


def of_predicted(measure: str, slug: str) -> str:
    """Return the name of a measure among the cases predicted as one class."""
    return f"{measure}_predicted_{slug}"


def in_class(name: str, sentence: str) -> str:
    """Return a sentence as one on the cases predicted as a class."""
    return f"In cases predicted {name}: {sentence[0].lower()}{sentence[1:]}"


def of_no_case(name: str) -> str:
    """Return the sentence on a class that no case is predicted as."""
    return f"No case is predicted {name}."


def pooled(item: Finding, percent: float) -> Finding:
    """Return a finding over cases of several predicted classes without a verdict. percent: the top share."""
    size = "not defined" if item.estimate.value is None else f"{num(item.estimate.value, 2)} {basis(item.estimate)}"
    kind, _, rest = item.measure.partition("_")
    of_top = kind in ("necessity", "sufficiency")
    named = f"{kind} of {top(rest, percent)}" if of_top else item.measure.replace("_", " ")
    what = f"{named}, {VALUES.get(item.value_of, 'rank correlation')}"
    return replace(item, verdict=None, sentence=f"All cases together, without a verdict: {what} {size}.")

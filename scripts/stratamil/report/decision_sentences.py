"""Sentences on what decisions are worth, what the cohort can detect, and on models that were trained in another way."""

from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.core.wording import baseline_label, ends, num, span
from stratamil.stats.intervals import Estimate

RANGES = 2  # of thresholds that a sentence lists
NARROW = (
    0.05  # of thresholds: with a few dozen cases the curve has steps, and a CI clears 0 in a narrower range by chance
)


def ci(estimate: Estimate, digits: int = 2) -> str:
    """Return ` (95% CI 0.81 to 0.93)`, or nothing where there is none."""
    return "" if estimate.low is None else f" (95% CI {span(estimate.low, estimate.high, digits)})"


def listed(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), *words[-1:]])


def net_benefit(curve: Mapping[str, Any], positive: str, cases: int) -> str:
    """Say at which thresholds the model's decisions are worth more than calling all cases, or none, positive."""
    choices = f"calling all {cases} cases or none {positive}"
    wide = [(low, high) for low, high in curve["useful"] if round(high - low, 6) >= NARROW]
    if not wide:
        where = f"In no range of thresholds {num(NARROW, 2)} wide or more" if curve["useful"] else "At no threshold"
        return f"{where} is deciding by the model shown to have a higher net benefit than {choices}."
    where = f"thresholds {listed([ends(num(low, 2), num(high, 2)) for low, high in wide])}"
    if len(wide) > RANGES:
        first, last = wide[0][0], wide[-1][1]
        inside = [at for at in curve["thresholds"] if first <= at <= last]
        held = sum(any(low <= at <= high for low, high in wide) for at in inside)
        where = f"{held} of {len(inside)} thresholds from {num(first, 2)} to {num(last, 2)}"
    rest = f"; ranges narrower than {num(NARROW, 2)} are not counted" if len(wide) < len(curve["useful"]) else ""
    return (
        f"Deciding by the model has a higher net benefit than {choices} at {where} (pointwise 95% CIs above 0{rest})."
    )


def best_baseline(name: str, best: str | None) -> str:
    """Return `best baseline (Mean of patch features)`; one that is not `best` is that of those that judge all cases."""
    which = "best baseline" if name == best else "best baseline that judges all cases"
    return f"{which} ({baseline_label(name)})"


def beside_baseline(curve: Mapping[str, Any], best: str | None, at: float = 0.5) -> str:
    """Say how the model's net benefit compares with that of the curve's baseline at a threshold; empty without one.

    best: the best of all baselines.
    """
    if not curve["baseline"]:
        return ""
    place = curve["thresholds"].index(at)
    model, difference, other = (curve[name][place] for name in ("model", "over_baseline", "of_baseline"))
    both = (
        f"At a threshold of {num(at, 1)} the net benefit is {num(model.value, 2)}{ci(model)}, that of the "
        f"{best_baseline(curve['baseline'], best)} {num(other, 2)}"
    )
    size = f"difference {num(difference.value, 2)}{ci(difference)}"
    if difference.low is None:
        return f"{both}; {size}."
    if difference.low > 0:
        return f"{both}: the model is worth more, {size}."
    if difference.high < 0:
        return f"{both}: the model is worth less, {size}."
    return f"{both}; {size}, so this cohort cannot show a difference."


def detectable(found: Mapping[str, Any], best: str | None, unit: str) -> str:
    """Say how small an AUROC and a difference the cohort can detect. best: of baselines. unit: patient, or case."""
    if found["auroc"] is None:
        return f"With {found['patients']} {unit}s no AUROC can be told from chance with 80% power."
    begin = (
        f"With {found['patients']} {unit}s this study can detect, with 80% power, an AUROC of {num(found['auroc'], 2)}"
    )
    if found["difference"] is None:
        return f"{begin} or more against chance."
    return (
        f"{begin} or more against chance, and a difference of {num(found['difference'], 2)} or more from the "
        f"{best_baseline(found['against'], best)}. It would mostly miss smaller ones."
    )


def decision_limits(curve: bool, positive: str | None) -> str:
    """Return what a reader must know of the section; curve: whether it has decision curves."""
    power = "The power comes from this study's own standard errors, to plan the next study."
    if not curve:
        return power
    return (
        f"Net benefit depends on the share of {positive} cases, which may differ in a clinic, and takes probabilities "
        f"as they are: read it with the calibration. The best baseline was chosen on the same cases. {power}"
    )


LEARNING_LIMITS = (
    "The curve does not say how it goes on beyond this cohort. Shares are drawn by class and patient, each within the "
    "next; the validation cases, which choose the epoch, stay the same."
)


WAYS = {
    "mean": "without attention, on the mean of all patches",
    "flat": "with one attention over all patches",
    "hierarchical": "with hierarchical attention",
}
# What the model has and one trained in another way has not: (the model's aggregation, the other's) -> what it is.
GAINS = {
    ("hierarchical", "mean"): "attention adds",
    ("flat", "mean"): "attention adds",
    ("hierarchical", "flat"): "the levels of slices and stains add",
    ("flat", "hierarchical"): "the simpler model adds",
}


def retrained(baselines: Sequence[Mapping[str, Any]], headline: str, own: str | None) -> str:
    """Say what the model trained with another aggregation reaches, and what its own adds; empty without one.

    own: the model's aggregation; None where the splits chose different ones.
    """
    said = []
    for row in baselines:
        if row["retrained"] not in WAYS:
            continue
        how = WAYS[row["retrained"]]
        gains = GAINS.get((own, row["retrained"]), "the model’s own way to pool patches adds")
        gain = row["auc_difference"]["fold_mean" if headline == "fold_mean" else "model"]
        if gain.value is None:
            said.append(f"The AUROC of the model trained {how} is not defined.")
            continue
        text = f"Trained {how}, the model reaches an AUROC of {num(row[headline].value, 2)}{ci(row[headline])}"
        if gain.low is None:
            said.append(f"{text}; {_without_ci(row, gain, headline)}.")
        elif gain.low <= 0 <= gain.high:
            said.append(f"{text}: it is not shown that {gains} anything, difference {num(gain.value, 2)}{ci(gain)}.")
        elif gain.low > 0:
            said.append(f"{text}: {gains} {num(gain.value, 2)}{ci(gain)}.")
        else:
            said.append(f"{text}, higher than its own: difference {num(gain.value, 2)}{ci(gain)}.")
    return " ".join(said)


def _without_ci(row: Mapping[str, Any], gain: Estimate, headline: str) -> str:
    """Say how a model trained in another way differs where the difference has no CI, by the pooled AUROC, too."""
    if num(gain.value, 2) != num(0, 2):
        return f"difference {num(gain.value, 2)}"
    pooled = row["auc_difference"]["model"]
    if headline != "fold_mean" or pooled.value is None or num(pooled.value, 2) == num(0, 2):
        return "equal, so no difference can be seen"
    auc = num(row["roc_auc"].value, 2)
    return f"equal, but pooled it reaches {auc}: difference {num(pooled.value, 2)}{ci(pooled)}"


def learning(points: Sequence[Mapping[str, Any]], headline: str) -> str:
    """Say how the AUROC grows with the number of training cases; empty without shares. headline: which AUROC."""
    if len(points) < 2:
        return ""
    shares = listed([f"{point['percent']}%" for point in points])
    sizes = listed([num(point["training_cases"], 0) for point in points])
    values = listed([num(point[headline].value, 2) for point in points])
    which = "mean of folds" if headline == "fold_mean" else "pooled"
    begin = f"With {shares} of the training cases ({sizes} per split) the AUROC, {which}, is {values}."
    before = points[-2]
    gain = before["auc_difference"]["fold_mean" if headline == "fold_mean" else "model"]
    if gain.value is None:
        return begin
    step = f"from {before['percent']}% to 100% by {num(abs(gain.value), 2)}{ci(gain)}"
    if gain.low is None or gain.low <= 0 <= gain.high:
        which = "rises" if gain.value >= 0 else "falls"
        held = "" if gain.low is None else "; the CI includes 0, so more cases are not shown to help"
        return f"{begin} It {which} {step}{held}."
    if gain.low > 0:
        return f"{begin} It still rises {step}: more cases would probably help."
    return f"{begin} It falls {step}: look for a fault in the cases that came last."

"""Prose of the faithfulness page that no finding says: header, captions, limits and methods, from its numbers."""

from collections.abc import Mapping
from typing import Any

from stratamil.core.wording import n_of

Numbers = Mapping[str, Any]

SECTIONS = {
    "overview": "At a glance",
    "curves": "Deletion and insertion",
    "top": "The top patches",
    "parts": "Stains and slices",
    "uniform": "Without attention",
    "stability": "Stability",
    "properties": "What attention depends on",
    "cases": "All cases",
    "methods": "Methods",
}
LIMITS = {
    "overview": "These are checks of the model's own predictions, right or wrong: they do not show that it "
    "looks where a pathologist would. The model was not trained on cases that lack patches. The number of "
    "comparisons is not corrected for.",
    "curves": "The curve of contributions is an upper reference nearly by construction: its order is read off "
    "the model.",
    "top": "With redundant patches none is necessary and any few suffice.",
    "parts": "The tests are of direction only. A part with more weight moves the margin more, whatever it "
    "shows. What a stain is worth to a model trained without it is another question: see the baselines of each "
    "stain in the report.",
    "uniform": "Equal weights in a model that was trained with attention do not make it one trained without. They "
    "can also shift all probabilities of a split, which changes predictions but not the AUROC within the split.",
    "stability": "Stable attention can be wrong: models of the same design can share a mistake.",
    "properties": "A dependence is not a shortcut in itself: tumour is often darker than fat or stroma.",
}
CAPTIONS = {
    "curves": "Left: patches are removed in four orders. A line that falls fast removed first what the "
    "prediction rested on. Right: only these patches are kept. Means over cases with 95% CIs; random is the mean "
    "of several orders.",
    "areas": "Each dot is a case: how much more than random patches its probability fell (deletion) or rose "
    "(insertion) along the curve. Bar: the mean.",
    "tops": "Left: attention below random means that the most attended patches are necessary. Right: "
    "attention above random means that they are sufficient. Only cases with more patches than that; 95% CIs.",
    "parts": "Each dot is a stain or a slice of a case: its share of the attention and the margin lost "
    "without it. A case's only stain or slice is not drawn.",
    "uniform": "Each dot is a case. On the diagonal attention changes nothing{corners}.",
    "stability": "Each dot is a case, the mean over all pairs of its models. Solid bar: mean over cases; "
    "dashed: chance.",
    "properties": "Over a case the correlation includes differences between stains; within a slice it does not. "
    "n counts {unit}s.",
}


def of_page(numbers: Numbers) -> dict[str, Any]:
    """Return all prose of the page but the sentences of its findings."""
    binary = len(numbers["classes"]) == 2
    corners = "; in the upper left and lower right corners it changes the prediction" if binary else ""
    return {
        "header": header(numbers),
        "sections": SECTIONS,
        "limits": LIMITS,
        "captions": {name: text.format(corners=corners, unit=numbers["unit"]) for name, text in CAPTIONS.items()},
        "top": top(numbers),
        "cases": cases(numbers),
        "methods": methods(numbers),
    }


def header(numbers: Numbers) -> str:
    """Say what was predicted, by how many models."""
    patients = "" if numbers["patient_column"] is None else f" of {n_of(numbers['patients'], 'patient')}"
    models = n_of(len(numbers["runs"]), "model")
    tested = f"{n_of(numbers['cases'], 'test case')}{patients}, predicted whole and with parts removed by {models}."
    return f"{tested} For research, not for diagnosis."


def top(numbers: Numbers) -> str:
    """Say how many patches the top share of a case is."""
    least, most = numbers["top_counts"]
    patches = n_of(most, "patch") if least == most else f"{least} to {n_of(most, 'patch')}"
    return f"The top {numbers['top_percent']:g}% of a case are {patches}."


def cases(numbers: Numbers) -> str:
    """Explain the columns of the table of cases."""
    return (
        "Means over the runs of a case. Areas are those of the probability of the predicted class. Top: only the "
        f"{numbers['top_percent']:g}% most attended patches; less top: all others; random: only as many random patches."
    )


def methods(numbers: Numbers) -> list[str]:
    """Return how it was measured, a paragraph each."""
    unit, samples, seed = numbers["unit"], numbers["bootstrap"]["samples"], numbers["bootstrap"]["seed"]
    other = "the other" if len(numbers["classes"]) == 2 else "the mean of the others"
    return [
        "The predicted class is that of the whole case. 1 to 99% of its patches are removed in an order, at least one "
        "stays, and the model predicts the rest; a slice or stain without patches is dropped. The area is the mean "
        "difference from random orders along the curve. Margin: log p − log(1 − p). Contribution: the exact share of a "
        f"patch in the margin between the predicted class and {other}. Ties are broken at random.",
        "Values of a case are means over its runs, and its predicted class is that of the largest mean probability, as "
        "in the report; rank correlations of stains and slices are pooled. The curve of one case rests on few random "
        "orders and can be off by 0.1. "
        f"95% CIs: value ± 1.96 SD of {samples} {unit}-level bootstrap samples (seed {seed}), for shares on the logit "
        f"scale. Coverage was simulated for the AUROC only. With fewer than 5 {unit}s, or no variation, there is no CI "
        "and no claim. Probabilities saturate, so the table also says where the margin disagrees. Chance is 0 for "
        "differences and correlations, and the top share itself for the overlap of two models.",
        "Necessity and sufficiency: DeYoung et al., ERASER, ACL 2020 (comprehensiveness, sufficiency). Patch dropping "
        "and signed relevance: Hense et al., xMIL, NeurIPS 2024. Regions removed from slides: Kaczmarzyk et al., "
        "HIPPO, arXiv 2409.03080.",
    ]

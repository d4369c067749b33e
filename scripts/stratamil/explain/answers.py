"""The questions that a reader asks first, answered by the findings, by predicted class where they are of predictions.

Attention that marks what supports one class, wherever it is, explains predictions of that class only: a mean over all
cases would show how many are predicted as which.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.core.names import column
from stratamil.explain import findings
from stratamil.explain.findings import BY_CLASS, Finding

# What a reader asks first -> the finding that answers it (measure, of), how that is measured, and why it may have none.
QUESTIONS = (
    (
        "Does removing the most attended patches lower the prediction?",
        ("deletion_attention", "probability"),
        "area between random and attention, deletion",
        "not defined",
    ),
    (
        "Do the most attended patches restore the prediction?",
        ("insertion_attention", "probability"),
        "area between attention and random, insertion",
        "not defined",
    ),
    (
        "Are the top {percent:g}% necessary?",
        ("necessity_percent", "probability"),
        "fall of the probability, compared with random patches",
        "not defined",
    ),
    (
        "Are the top {percent:g}% sufficient?",
        ("sufficiency_percent", "probability"),
        "probability with them alone, compared with random patches",
        "not defined",
    ),
    (
        "Do stains with more attention support the prediction more?",
        ("stain_support", "margin"),
        "rank correlation with the margin lost without them",
        "not defined",
    ),
    (
        "Do slices with more attention support the prediction more?",
        ("slice_support", "margin"),
        "rank correlation with the margin lost without them",
        "not defined: no stain of a case has two slices",
    ),
    (
        "Does attention improve the AUROC?",
        ("auc_over_retrained", "AUROC"),
        "AUROC within a split of single trainings, less that of the same model trained without attention",
        "cannot be told: no model was trained without it",
    ),
    (
        "Do equal weights change the AUROC of this model?",
        ("auc_over_uniform", "AUROC"),
        "AUROC within a split of the mean of all seeds, minus that with equal weights",
        "not defined",
    ),
    (
        "Do two seeds attend to the same patches?",
        ("seeds_correlation", "attention"),
        "rank correlation within a case",
        "unknown: one seed",
    ),
    (
        "Do models of two splits attend to the same patches?",
        ("splits_correlation", "attention"),
        "rank correlation within a case",
        "unknown: a case is tested once",
    ),
)
ANSWERS = {
    findings.ABOVE: "yes",
    findings.SAME: "not shown",
    findings.BELOW: "less than chance",
    findings.FEW: "too few to say",
}

# A difference of AUROCs below 0, for which chance is the wrong word.
LOWER = {"auc_over_retrained": "no: better without", "auc_over_uniform": "yes: it rises"}


def answers(items: Sequence[Finding], percent: float, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the `QUESTIONS` answered: question, predicted, answer, measured_by, estimate and reference of the finding.

    predicted: the class that the cases are predicted as, one row each; None where the question is not of predictions.
    """
    of_study = {(item.measure, item.value_of): item for item in items if item.scope == "study"}
    rows = []
    for question, (measure, of), measured_by, nothing in QUESTIONS:
        for name in classes if measure in BY_CLASS else (None,):
            own = measure if name is None else findings.of_predicted(measure, column(name))
            item = of_study[own, of]
            said = {"question": question.format(percent=percent), "predicted": name, "measured_by": measured_by}
            said |= {"answer": _said(item, nothing, of_study), "estimate": item.estimate, "reference": item.reference}
            rows.append(said)
    return rows


def _said(item: Finding, nothing: str, of_study: Mapping[tuple[str, str], Finding]) -> str:
    """Return the answer of a finding; also what the margin says, where a probability, which saturates, says another."""
    if item.verdict == findings.BELOW and item.measure in LOWER:
        return LOWER[item.measure]
    if findings.unvaried(item.estimate):
        return "no difference seen"
    answer, margin = ANSWERS.get(item.verdict, nothing), of_study.get((item.measure, "margin"))
    if item.value_of == "probability" and margin is not None and margin.verdict != item.verdict:
        answer += f"; by the margin: {ANSWERS.get(margin.verdict, nothing)}"
    return answer

"""Figures and sentences of the sections beyond discrimination: decisions, power, training cases, columns, clinic."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from stratamil.report import decision_plots, decision_sentences


def figures(numbers: Mapping[str, Any]) -> dict[str, tuple[Figure, str]]:
    """Draw the figures that there are: name -> (Figure, what it shows in words)."""
    drawn, cases = {}, numbers["cases"]
    if numbers["decision_curve"]:
        words = f"Net benefit of the model against the threshold, {cases} cases out of fold"
        drawn["decision"] = decision_plots.net_benefit(numbers["decision_curve"], numbers["positive"]), words
    if numbers["learning"]:
        words = f"AUROC against the number of training cases, {cases} test cases"
        drawn["learning"] = decision_plots.learning(numbers["learning"], numbers["headline"]), words
    return drawn


def said(numbers: Mapping[str, Any], unit: str) -> dict[str, str]:
    """Return the sentences, by name. unit: patient, or case where patients are not known."""
    curve = numbers["decision_curve"]
    return {
        "net_benefit": decision_sentences.net_benefit(curve, numbers["positive"], numbers["cases"]) if curve else "",
        "beside_baseline": decision_sentences.beside_baseline(curve) if curve else "",
        "detectable": decision_sentences.detectable(numbers["detectable"], unit),
        "decision_limits": decision_sentences.decision_limits(bool(curve), numbers["positive"]),
        "learning_limits": decision_sentences.LEARNING_LIMITS,
        "learning": decision_sentences.learning(numbers["learning"], numbers["headline"]),
    }

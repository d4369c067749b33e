"""Sentences of the cohort page, made from its numbers."""

from collections.abc import Mapping
from typing import Any

from stratamil.core.wording import listed, n_of

Cohort = Mapping[str, Any]


def finding(cohort: Cohort) -> str:
    """Say what the cohort is, in a sentence."""
    total, classes = cohort["total"], ", ".join(f"{row['cases']} {row['class']}" for row in cohort["by_class"])
    patients = "" if cohort["patient_column"] is None else f" of {n_of(total['patients'], 'patient')}"
    stains = f"{n_of(len(cohort['stains']), 'stain')} ({listed(cohort['stains'])})"
    return (
        f"{n_of(total['cases'], 'case')}{patients}: {classes}; {n_of(total['patches'], 'patch')} in "
        f"{n_of(total['slices'], 'slice')} of {stains}."
    )

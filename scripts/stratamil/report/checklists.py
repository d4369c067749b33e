"""Reporting checklists: which items the pages of a study answer, in part or in full, and which are for the author.

The items stand in report/checklists.yaml; what depends on the study is decided here.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

ANSWERED, PARTLY, AUTHOR = STATES = ("answered", "partly", "for the author")


def read(path: Path) -> list[dict[str, Any]]:
    """Return the checklists: name, source, checked, and items of item, topic, state, where, remark and `unless`."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def facts(
    cohort: Mapping[str, Any], *, faithfulness: bool, class_weights: bool, columns: bool, encoder: bool
) -> set[str]:
    """Return what a study lacks: the conditions of `unless`.

    columns: of the labels table, to describe cases by. encoder: whether the study encoded the patches itself.
    """
    lacks = {
        "no patients": cohort["patient_column"] is None,
        "no faithfulness": not faithfulness,
        "no class weights": not class_weights,
        "no columns": not columns,
        "no encoder": not encoder,
    }
    return {name for name, lacking in lacks.items() if lacking}


def states(lists: list[dict[str, Any]], lacks: Collection[str]) -> list[dict[str, Any]]:
    """Return the checklists with the state, sections and remark that each item has in this study.

    lacks: of `facts`; the first of an item's `unless` that is among them replaces what it names.
    """
    return [each | {"items": [_in_study(item, lacks) for item in each["items"]]} for each in lists]


def _in_study(item: Mapping[str, Any], lacks: Collection[str]) -> dict[str, Any]:
    found = {"state": AUTHOR, "where": [], "remark": ""} | {k: v for k, v in item.items() if k != "unless"}
    for fact, other in item.get("unless", {}).items():
        if fact in lacks:
            found |= {"state": AUTHOR, "where": [], "remark": ""} | other
            break
    return found | {"item": str(found["item"])}


def facts_of_validation(*, patients: bool, columns: bool, binary: bool, encoder: bool) -> set[str]:
    """Return what a validation on new cases lacks: conditions of `unless`, as of `facts`."""
    lacks = {"no patients": not patients, "no columns": not columns, "several classes": not binary}
    lacks |= {"no encoder": not encoder}
    return {name for name, lacking in lacks.items() if lacking}

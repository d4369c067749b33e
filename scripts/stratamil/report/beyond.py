"""Figures and sentences of the sections beyond discrimination: decisions, power, training cases, columns, clinic."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from stratamil.report import clinical_sentences, decision_plots, decision_sentences, tuning_sentences
from stratamil.report.forest import Row, forest


def figures(numbers: Mapping[str, Any]) -> dict[str, tuple[Figure, str]]:
    """Draw the figures that there are: name -> (Figure, what it shows in words)."""
    drawn, cases = {}, numbers["cases"]
    if numbers["decision_curve"]:
        words = f"Net benefit of the model against the threshold, {cases} cases out of fold"
        drawn["decision"] = (
            decision_plots.net_benefit(numbers["decision_curve"], numbers["positive"], numbers["cases"]),
            words,
        )
    if numbers["learning"]:
        words = f"AUROC against the number of training cases, {cases} test cases"
        drawn["learning"] = decision_plots.learning(numbers["learning"], numbers["headline"], numbers["cases"]), words
    if numbers["columns"]:
        rows = [
            Row(group["name"], group["roc_auc"], group["n"], group["kind"]) for group in numbers["columns"]["groups"]
        ]
        found = numbers["columns"]["all"]
        whole = Row(found["name"], found["roc_auc"], cases, mean=True)
        words = f"AUROC in each of {len(rows)} subgroups by columns of the labels table, {cases} cases"
        drawn["groups"] = (
            forest([*rows, whole], "Does the AUROC differ between subgroups?", "AUROC, pooled", reference=0.5),
            words,
        )
    return drawn


def said(numbers: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """Return the sentences by name, and the rows of Table 1 as `table`. unit: patient, or case if these are unknown."""
    names = ("decision_curve", "columns", "clinical", "best_baseline")
    curve, found, clinical, best = (numbers[name] for name in names)
    result = {
        "net_benefit": decision_sentences.net_benefit(curve, numbers["positive"], numbers["cases"]) if curve else "",
        "beside_baseline": decision_sentences.beside_baseline(curve, best) if curve else "",
        "retrained": decision_sentences.retrained(numbers["baselines"], numbers["headline"], numbers["aggregation"]),
        "detectable": decision_sentences.detectable(numbers["detectable"], best, unit),
        "decision_limits": decision_sentences.decision_limits(bool(curve), numbers["positive"]),
        "learning_limits": decision_sentences.LEARNING_LIMITS,
        "learning": decision_sentences.learning(numbers["learning"], numbers["headline"]),
    }
    if found:
        rows = found["characteristics"]["rows"]
        result |= {
            "table": table(found["characteristics"]),
            "unlike": clinical_sentences.unlike(rows),
            "counted": clinical_sentences.counted(rows, unit),
            "groups": clinical_sentences.groups(found["groups"], unit),
            "error": clinical_sentences.error(found["error"], unit),
            "column_limits": clinical_sentences.COLUMN_LIMITS,
        }
    if clinical:
        result |= {
            "images_add": clinical_sentences.images_add(clinical, numbers["headline"]),
            "filled": clinical_sentences.filled(clinical),
            "clinical_limits": clinical_sentences.CLINICAL_LIMITS,
        }
    if tuned := numbers.get("tuning"):
        result["tuning"] = {
            "helped": tuning_sentences.helped(tuned, numbers["headline"]),
            "chosen": tuning_sentences.chosen(tuned),
            "optimism": tuning_sentences.optimism(tuned),
            "changes": [tuning_sentences.changes(row) for row in tuned["rows"]],
            "limits": tuning_sentences.LIMITS,
            "metric": tuning_sentences.METRICS[tuned["metric"]],
        }
    return result


def table(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of Table 1: name, cells, and in the first of a column its differences and `first`."""
    lines = []
    for row in found["rows"]:
        of = {name: row[name] for name in ("by_class", "by_split", "apart")}
        levels = [None] if row["numeric"] else row["levels"]
        if not row["numeric"]:
            lines.append({"name": row["name"], "cells": [""] * len(found["groups"]), "first": True} | of)
        for level in levels:
            cells = [clinical_sentences.cell(row, group, level) for group in found["groups"]]
            lines.append({"name": row["name"] if level is None else level, "cells": cells, "first": level is None} | of)
        if any(cell["missing"] for cell in row["cells"].values()):
            cells = [str(row["cells"][group]["missing"]) for group in found["groups"]]
            lines.append({"name": f"{row['name']} missing", "cells": cells, "first": False} | of)
    return lines

"""Every number of a validation: frozen predictions of new cases against their labels.

Nothing of the cohort moves the model, its threshold or its temperature. What is fitted to the cohort, the updated
calibration, is named so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from stratamil.cohort import flow
from stratamil.core import wording
from stratamil.core.names import natural
from stratamil.deploy import reference
from stratamil.deploy.shift import COLOURS
from stratamil.evaluation import by_column, characteristics, cross_split, decision_curve
from stratamil.evaluation.external import Cohort
from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate

KNOWN = "of the training cohort, or of a patient who is in it"


def numbers(study: Cohort, flags: pd.DataFrame, shifts: pd.DataFrame, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of the page, but for the flow.

    flags, shifts: of all predicted cases. facts: of the reference.
    """
    cases, stains, development = study.ensemble, facts["stains"], facts["development"]
    table = study.runs[0].test.set_index("case_id").loc[cases["case_id"]]
    estimates = study.estimates(cases, study.sampled(cases))
    before = {name: Estimate(**development["ensemble"][name]) for name in ("roc_auc", "fold_mean")}
    averaged = wording.averaged(development["seeds"], development.get("repeats", 1))  # earlier bundles have none
    listed = [*reference.described(table, stains), *study.columns.values()]
    threshold = study.runs[0].results["threshold"]
    return {
        "classes": study.classes,
        "positive": study.classes[-1] if study.binary else None,
        "cases": len(cases),
        "patients": int(cases["patient_id"].nunique()),
        "counts": {name: int((cases["y"] == c).sum()) for c, name in enumerate(study.classes)},
        "bootstrap": {"samples": study.bootstrap_samples, "seed": study.seed},
        "threshold": threshold,
        "temperature": study.runs[0].results["temperature"],
        "ensemble": estimates,
        "out_of_fold": before | {"averaged": averaged},
        # both rank all cases together by the ensemble; the mean of test sets ranks them within each alone
        "difference": intervals.unpaired(estimates["roc_auc"], before["roc_auc"]),
        "decisions": decisions(study),
        "calibration": calibration(study),
        "decision_curve": decision_curve.curve(study, None),
        "characteristics": beside(characteristics.table(study, listed), development),
        "groups": [row for row in by_column.groups(study, listed, at=threshold or 0.5) if row["n"] < len(cases)],
        "per_case": per_case(study, table, flags),
        "shift": shifted(shifts[shifts["case_id"].isin(cases["case_id"])], facts),
        "flags": {str(name): int(n) for name, n in flags["flag"].value_counts().items()},
    }


def decisions(study: Cohort) -> list[dict[str, Any]]:
    """Return `cross_split.decisions`, with the threshold called what it is here: frozen, not chosen."""
    named = {cross_split.CHOSEN: "at the frozen threshold"}
    return [row | {"name": named.get(row["name"], row["name"])} for row in cross_split.decisions(study) if row["rows"]]


def calibration(study: Cohort) -> list[dict[str, Any]]:
    """Return a row for each set of probabilities, of two classes: name, updated, observed, predicted and measures.

    in_the_large: log odds by which the probabilities are too low. Updated ones are fitted to the same cases: their
    measures tell the best that an update can do, not what it does for the next cases.
    """
    if not study.binary:
        return []
    cases = study.ensemble
    y, patients = cases["y"].to_numpy(), cases["patient_id"]
    raw, scaled = (cases[names[1]].to_numpy() for names in (study.probabilities, study.scaled))
    rows = [("as the model gives them", False, raw)]
    rows += [("after the frozen temperature", False, scaled)] if study.runs[0].results["temperature"] != 1 else []
    x = logit(np.clip(raw, metrics.SMALLEST, 1 - metrics.SMALLEST))
    large, both = intervals.in_the_large(y, raw, patients).value, intervals.recalibration(y, raw, patients)
    rows += [] if large is None else [("updated: intercept", True, expit(x + large))]
    if both.slope.value is not None:
        rows.append(("updated: intercept and slope", True, expit(both.intercept.value + both.slope.value * x)))
    return [{"name": name, "updated": new} | _calibrated(study, y, p, patients) for name, new, p in rows]


def _calibrated(study: Cohort, y: NDArray, p: NDArray, patients: pd.Series) -> dict[str, Any]:
    both = np.column_stack([1 - p, p])
    sampled = intervals.weighted_metrics(y, both, study.weights)
    values = {"log_loss": metrics.log_loss(y, both), "brier": metrics.brier(y, both)}
    result = {
        name: intervals.interval(value, sampled[name], "log", len(set(patients))) for name, value in values.items()
    }
    fitted = intervals.recalibration(y, p, patients)
    return result | {
        "observed": float(y.mean()),
        "predicted": float(p.mean()),
        "in_the_large": intervals.in_the_large(y, p, patients),
        "slope": fitted.slope,
        "ece": metrics.calibration(y, p)["ece"],
    }


def beside(found: Mapping[str, Any], development: Mapping[str, Any]) -> dict[str, Any]:
    """Return Table 1 of both cohorts: groups of each with sizes, and rows with the cells of both.

    A column that only one cohort has is in it, with empty cells of the other. difference: standardised, of all cases;
    None where it is not defined or a cohort lacks the column; apart: whether it is infinite.
    """
    groups = development["characteristics"]["groups"]
    theirs = {row["name"]: row for row in development["characteristics"]["rows"]}
    rows = []
    for row in found["rows"]:
        other = theirs.get(row["name"])
        same = other is not None and other["numeric"] == row["numeric"]
        cells = {f"development {g}": other["cells"][g] if same else None for g in groups}
        cells |= {f"new {g}": row["cells"][g] for g in groups}
        levels = list(dict.fromkeys([*(other["levels"] if same else []), *row["levels"]]))
        both = [each["cells"]["all"] for each in (other, row)] if same else []
        gap = _difference(*both, row["numeric"]) if both else None
        apart = bool(both) and gap is None and min(cell["known"] for cell in both) > 1
        rows.append(
            {name: row[name] for name in ("name", "numeric")}
            | {"levels": levels, "cells": cells, "difference": gap, "apart": apart}
        )
    sizes = {f"development {g}": development["characteristics"]["sizes"][g] for g in groups}
    sizes |= {f"new {g}": found["sizes"][g] for g in groups}
    return {"groups": list(sizes), "sizes": sizes, "rows": rows}


def _difference(a: Mapping[str, Any], b: Mapping[str, Any], numeric: bool) -> float | None:
    """Return the standardised difference of two cells, as `characteristics.difference` gives it of their values."""
    if min(a["known"], b["known"]) < 2:
        return None
    if not numeric:
        values = [pd.Series([level for level, n in cell["counts"].items() for _ in range(n)]) for cell in (a, b)]
        return characteristics.difference(*values, numeric=False)
    spread = np.sqrt((a["sd"] ** 2 + b["sd"] ** 2) / 2)
    return float(abs(a["mean"] - b["mean"]) / spread) if spread > 0 else (0.0 if a["mean"] == b["mean"] else None)


def per_case(study: Cohort, table: pd.DataFrame, flags: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a dict a case of the table of cases, wrong ones first by how far they are off."""
    known, codes = flags.groupby("case_id")["flag"].agg(list), study.cases.set_index("case_id")["label"]
    shown = study.shown(study.ensemble)
    rows = [
        {
            "case_id": case["case_id"],
            "patient_id": case["patient_id"],
            "true": study.classes[case["y"]],
            "code": str(codes[case["case_id"]]),
            "predicted": of["predicted_class"],
            "probability": float(p),
            **{name: float(of[name]) for name in ("sd", "low", "high")},
            "n_patches": int(of["n_patches"]),
            "n_slices": int(of["n_slices"]),
            "stains": str(of["stains"]),
            "flags": known.get(case["case_id"], []),
        }
        for (_, case), p, (_, of) in zip(study.ensemble.iterrows(), shown, table.iterrows())
    ]
    return sorted(rows, key=lambda row: (row["predicted"] == row["true"], natural(row["case_id"])))


def shifted(shifts: pd.DataFrame, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a dict a stain: cases, the median shift, how many lie above the limit, and the colours of both cohorts.

    colours: name -> training and new (mean and SD over cases) and the standardised difference, with its sign.
    """
    limit, rows = facts["shift"]["limit"], []
    for stain in facts["stains"]:
        own = shifts[shifts["stain"] == stain]
        known = own["shift"].dropna()
        colours = {}
        for name in COLOURS:
            values, before = own[name].dropna(), facts["colours"].get(stain, {}).get(name)
            if before and len(values) > 1:
                spread = np.sqrt((before["sd"] ** 2 + values.var(ddof=1)) / 2)
                gap = float((values.mean() - before["mean"]) / spread) if spread > 0 else None
                new = {"mean": float(values.mean()), "sd": float(values.std(ddof=1)), "n": len(values)}
                colours[name] = {"training": before, "new": new, "difference": gap}
        rows.append(
            {
                "stain": stain,
                "cases": len(own),
                "median": float(known.median()) if len(known) else None,
                "above": int((known > limit).sum()) if limit is not None else None,
                "values": known.tolist(),
                "colours": colours,
            }
        )
    return rows


def followed(
    cases: pd.DataFrame,
    excluded: pd.DataFrame,
    flags: pd.DataFrame,
    classes: Sequence[str],
    *,
    patients: bool,
    images: bool,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the flow of cases and patches to the validation, as `flow.follow`, and the rows of the cases that count.

    cases, excluded: of predict's inventory. Cases of the training cohort are left out, with all cases of their
    patients. patients: whether they are known. images: as there.
    """
    begun = flow.begin(cases, excluded)
    used = begun[-1][1]
    seen = used.index.isin(flags.loc[flags["flag"] == "known_case", "case_id"])
    if patients:  # whose other cases are as little independent
        seen |= used["patient_id"].isin(used.loc[seen, "patient_id"]).to_numpy()
    steps = [*begun, ("new to the model: validated", used[~seen], flow.left_out_of(KNOWN, used[seen]))]
    result = {
        "sources": flow.sources(begun[0][1], excluded, images),
        "steps": [flow.step(*each, classes, patients) for each in steps],
    }
    flow.check(result)
    return result, used[~seen].reset_index()

"""What the runs of a study say of stains, and of known signal: attention over cases."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from stratamil.core.names import column
from stratamil.evaluation.runs import Run
from stratamil.evaluation.study import Study, sd_of
from stratamil.stats import intervals
from stratamil.stats.intervals import Estimate
from stratamil.stats.ranking import EQUAL

ROUNDED = 1e-5  # of means and cases that were rounded to six digits


def summarise(study: Study) -> tuple[dict[str, Any], pd.DataFrame] | tuple[None, None]:
    """Return stain weights over cases, each the mean of its predictions, and attention against known signal.

    Returns (numbers, weights): weights is a DataFrame (cases, stains) aligned with `ensemble`, NaN for a missing stain.
    q1, q3: the quartiles. None, None where no run has a summary of attention.
    """
    tables = [
        run.attention_summary for run in study.runs if run.attention_summary is not None and len(run.attention_summary)
    ]
    if not tables:
        return None, None
    table = pd.concat(tables, ignore_index=True)
    slugs = [name.removeprefix("stain_weight_") for name in table if name.startswith("stain_weight_")]
    spelt = {column(name): name for name in _stain_names(study, table)}
    weights = (
        table.groupby("case_id")[[f"stain_weight_{slug}" for slug in slugs]].mean().reindex(study.ensemble["case_id"])
    )
    weights.columns = [spelt.get(slug, slug) for slug in slugs]
    weights = weights.dropna(axis=1, how="all")  # stains that no case has
    present = weights.notna().sum(axis=1)
    several = weights[present > 1]  # a case with one stain has no choice
    told = several.drop(index=_equal(table), errors="ignore")
    most = Counter(told.idxmax(axis=1)) if len(told) else {}
    stains = [
        {
            "stain": stain,
            "n": int(weights[stain].notna().sum()),
            "mean": _finite(weights[stain].mean()),
            "median": _finite(weights[stain].median()),
            "q1": _finite(weights[stain].quantile(0.25)),
            "q3": _finite(weights[stain].quantile(0.75)),
            "ratio": _finite((weights[stain] * present).mean()),
            "most": int(most.get(stain, 0)),
        }
        for stain in weights
    ]
    result = {"cases": int((present > 0).sum()), "equal": len(several) - len(told), "stains": stains}
    result["single"] = int((present == 1).sum())
    result["by_class"] = _by_class(study, weights, told)
    result["truth"] = _truth(study)
    for name in ("normalised_entropy", "effective_patches"):
        result[name] = _finite(table[name].mean()) if name in table else None
    return result, weights.reset_index(drop=True)


def _by_class(study: Study, weights: pd.DataFrame, told: pd.DataFrame) -> list[dict[str, Any]]:
    """Return of each true class its cases, those in which a stain stands out, and of each stain the median and `most`.

    weights: stain weights, index case_id. told: those of the cases with a most attended stain.
    """
    truth = study.ensemble.set_index("case_id")["y"]
    rows = []
    for c, name in enumerate(study.classes):
        here, clear = (table[(truth[table.index] == c).to_numpy()].dropna(how="all") for table in (weights, told))
        most = clear.idxmax(axis=1) if len(clear) else pd.Series(dtype=str)
        stains = [
            {"stain": stain, "median": _finite(here[stain].median()), "most": int((most == stain).sum())}
            for stain in weights
        ]
        rows.append({"class": name, "cases": len(here), "told": len(most), "stains": stains})
    return rows


def _equal(table: pd.DataFrame) -> Sequence[str]:
    """Return the cases without a most attended stain, whatever the seed."""
    if "most_attended_stain" not in table:
        return []
    equal = (table["most_attended_stain"] == EQUAL).groupby(table["case_id"]).all()
    return equal.index[equal]


def _stain_names(study: Study, table: pd.DataFrame) -> set[str]:
    """Return the stains as they are written: of the runs, and where these do not say, of the cases and summaries."""
    named = {stain for run in study.runs for stain in run.results.get("stains", [])}
    listed = {stain for text in study.cases["missing_stains"] for stain in text.split(";") if stain}
    return named or listed | set(table.get("most_attended_stain", pd.Series(dtype=str)).dropna().astype(str))


def _finite(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def _truth(study: Study) -> dict[str, Any] | None:
    """Return the attention AUC of known signal patches: each run's and their mean weighted by cases.

    None if none was scored.
    """
    scored = [run for run in study.runs if run.truth is not None and run.truth.get("mean_auc") is not None]
    if not scored:
        return None
    cases = [run.truth["cases"] for run in scored]
    names = ("mean_auc", "contribution_auc", "margin_auc")
    means = {
        name: float(np.average([run.truth[name] for run in scored], weights=cases))
        for name in names
        if all(run.truth.get(name) is not None for run in scored)
    }
    rows = [
        {"split": run.split, "seed": run.seed, "cases": n} | {name: run.truth.get(name) for name in names}
        for run, n in zip(scored, cases)
    ]
    slugs = {run.truth.get("positive_class") for run in scored}
    scored_class = next((name for name in study.classes if {column(name)} == slugs), None)
    mean = _truth_estimate(study, scored, means["mean_auc"], scored_class)
    spread = sd_of([run.truth["mean_auc"] for run in scored])
    told = means | {"mean_auc": mean, "class": scored_class, "runs": rows, "cases": sum(cases), "sd": spread}
    return told | {"readers": _by_reader(scored), "agreement": scored[0].truth.get("agreement")}


def _by_reader(scored: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the attention AUC by each reader's marks: its mean over predictions, and their number."""
    found = {}
    for row in (row for run in scored for row in run.truth.get("readers", []) if row["mean_auc"] is not None):
        found.setdefault(row["reader"], []).append((row["mean_auc"], row["cases"]))
    return [
        {"reader": reader, "mean_auc": sum(auc * n for auc, n in rows) / sum(n for _, n in rows)}
        | {"cases": sum(n for _, n in rows)}
        for reader, rows in found.items()
    ]


def _truth_estimate(study: Study, scored: Sequence[Run], value: float, scored_class: str | None) -> Estimate:
    """Return the mean attention AUC by patient; without an interval where the summaries do not tell each case's."""
    tables = [
        run.attention_summary
        for run in scored
        if run.attention_summary is not None and "attention_auc" in run.attention_summary
    ]
    if not tables:
        return Estimate(value)
    table = pd.concat(tables).assign(auc=lambda rows: pd.to_numeric(rows["attention_auc"], errors="coerce"))
    table = table[table["true_class"].eq(scored_class) & table["auc"].notna()]
    if table.empty or abs(table["auc"].mean() - value) > ROUNDED:
        return Estimate(value)
    weights = study.weights_of(table)
    patients = study.cases.set_index("case_id")["patient_id"][table["case_id"]].nunique()
    with np.errstate(invalid="ignore"):
        sampled = weights @ table["auc"].to_numpy() / weights.sum(axis=1)
    return intervals.interval(value, sampled, "logit", patients)

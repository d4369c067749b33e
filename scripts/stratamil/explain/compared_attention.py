"""How alike the models of two studies attend: the same patches of the same cases, each study's mean over its runs."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from stratamil.core.errors import UserError
from stratamil.evaluation.compared_studies import Side
from stratamil.stats.estimates import Sample
from stratamil.stats.ranking import top_count

READ = ["case_id", "path", "effective_weight"]


def numbers(sides: Sequence[Side], percent: float) -> list[dict[str, Any]]:
    """Return a dict a pair of sides, in their order, with Estimates over cases.

    correlation: Spearman's, within a case. overlap: share of the top patches in common; chance: its expectation, for k
    of n drawn at random hold k / n of any other k. cases: that both have two patches of in common. missing: patches
    that one of them alone has. percent: of a case's patches that are the top.
    """
    weights, rows = [of_side(side) for side in sides], []
    first = sides[0].study
    sample = Sample(first.ensemble.set_index("case_id")[["patient_id"]], first.bootstrap_samples, first.seed)
    for a, b in combinations(range(len(sides)), 2):
        alike, missing = agreement(weights[a], weights[b], percent)
        alike = alike.reindex(sample.cases.index)
        rows.append(
            {
                "cases": int(alike["n"].notna().sum()),
                "missing": missing,
                "correlation": sample.mean(alike["correlation"]),
                "overlap": sample.mean(alike["overlap"], "logit"),
                "excess": sample.mean(alike["overlap"] - alike["chance"]),
                "chance": None if alike["chance"].isna().all() else float(alike["chance"].mean()),
                "per_case": alike["correlation"].dropna().to_dict(),
            }
        )
    return rows


def of_side(side: Side) -> Mapping[str, pd.Series]:
    """Return the mean effective weight of each patch over the runs that tested its case: case -> weights by path."""
    tables = []
    for run in side.study.runs:
        path = run.folder / "patch_attention.parquet"
        try:
            table = pd.read_parquet(path, columns=READ)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path}: cannot be read ({type(error).__name__}): evaluate or predict again") from None
        tables.append(table[table["case_id"].isin(run.test["case_id"])])
    mean = pd.concat(tables).groupby(["case_id", "path"], sort=True)["effective_weight"].mean()
    return {case: rows.droplevel("case_id") for case, rows in mean.groupby("case_id")}


def agreement(
    first: Mapping[str, pd.Series], second: Mapping[str, pd.Series], percent: float
) -> tuple[pd.DataFrame, int]:
    """Return correlation, overlap, chance and n of each case that both weigh two patches of; and how many one lacks."""
    rows, missing = {}, 0
    for case in first.keys() & second.keys():
        both = pd.concat([first[case], second[case]], axis=1, keys=["a", "b"])
        missing += int(both.isna().any(axis=1).sum())
        both = both.dropna().sort_index()
        if len(both) < 2:
            continue
        k = top_count(len(both), percent)
        top = [set(both[name].sort_values(ascending=False, kind="stable").index[:k]) for name in both]
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.corrcoef(both.rank().to_numpy().T)[0, 1]
        rows[case] = correlation, len(top[0] & top[1]) / k, k / len(both), len(both)
    columns = ["correlation", "overlap", "chance", "n"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float), missing

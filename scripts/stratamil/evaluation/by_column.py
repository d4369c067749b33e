"""The model in subgroups by columns of the labels table, and whether its error goes with any of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.cohort import columns as cohort_columns
from stratamil.cohort.columns import Column
from stratamil.evaluation import characteristics
from stratamil.evaluation.study import Study
from stratamil.stats import intervals
from stratamil.stats.intervals import Estimate

LEAST = 5  # patients of a class: of fewer no figure is given
PERMUTATIONS = 5000


def groups(study: Study, columns: Sequence[Column], at: float = 0.5) -> list[dict[str, Any]]:
    """Return a dict a subgroup, in order: kind (its column), name, split (how numbers are), figures of the ensemble.

    n; counts of each class; roc_auc; sensitivity and specificity at a threshold (two classes), or accuracy. Estimates
    without a value where fewer than `LEAST` patients of a class make them.
    """
    cases, rows = study.ensemble, []
    for column in columns:
        mine = column.of(cases["case_id"])
        of, split = cohort_columns.groups(mine).to_numpy(), cohort_columns.split_into(mine)
        rows += [
            {"kind": column.name, "name": name, "split": split} | _figures(study, cases[of == name], at)
            for name in cohort_columns.order(mine)
        ]
    return rows


def _figures(study: Study, part: pd.DataFrame, at: float) -> dict[str, Any]:
    y, p = part["y"].to_numpy(), part[study.probabilities].to_numpy()
    counts = {name: int((y == c).sum()) for c, name in enumerate(study.classes)}
    patients = [part.loc[part["y"] == c, "patient_id"].nunique() for c in range(len(study.classes))]
    result = {
        "n": len(part),
        "counts": counts,
        "roc_auc": _auc(study, part) if min(patients) >= LEAST else Estimate(None),
    }
    right = p.argmax(axis=1) == y
    shares = {"accuracy": np.ones(len(y), dtype=bool)}
    if study.binary:
        shares = {"specificity": y == 0, "sensitivity": y == 1}
        right = (p[:, 1] >= at) == (y == 1)
    enough = {"specificity": patients[0], "sensitivity": patients[-1], "accuracy": part["patient_id"].nunique()}
    for name, of in shares.items():
        known = enough[name] >= LEAST
        result[name] = intervals.wilson(int(right[of].sum()), int(of.sum())) if known else Estimate(None)
    return result


def _auc(study: Study, part: pd.DataFrame) -> Estimate:
    sampled = intervals.weighted_auc(part["y"].to_numpy(), part[study.probabilities].to_numpy(), study.weights_of(part))
    return intervals.auc_interval(study.auc(part), sampled, study.sides(part), part["patient_id"].nunique())


def error(study: Study, columns: Sequence[Column]) -> dict[str, Any]:
    """Return whether the error of the ensemble, 1 - probability of the true class, goes with any of the columns.

    A permutation test by patient within classes: the error of a patient is the mean rank of that of their cases among
    those of the class. Of numbers the statistic is the rank correlation without its sign, of categories the variance
    between them; the p values of the columns are adjusted by the smallest one in each permutation (Westfall and Young
    1993), which holds the chance of any false finding at 5 % over all columns. rows: name, effect (rank correlation of
    numbers, share of variance of categories), p, adjusted; levels: mean error of each category.
    """
    cases = study.ensemble
    p = cases[study.probabilities].to_numpy()[np.arange(len(cases)), cases["y"]]
    table = pd.DataFrame({"patient": cases["patient_id"], "y": cases["y"], "error": 1 - p})
    ranks = table.groupby("y")["error"].rank(pct=True) - 0.5
    patients = table.assign(rank=ranks).groupby("patient", sort=False).agg(y=("y", "first"), rank=("rank", "mean"))
    patient_of = dict(zip(cases["case_id"], cases["patient_id"]))
    values = [
        coded(
            cohort_columns.by_patient(column.of(cases["case_id"]), patient_of).reindex(patients.index), column.numeric
        )
        for column in columns
    ]
    order = permutations(patients["y"].to_numpy(), study.seed)
    strength = np.column_stack([strength_of(patients["rank"].to_numpy()[order], *one) for one in values])
    p_values, adjusted = westfall_young(strength)
    rows = [
        {
            "name": column.name,
            "numeric": column.numeric,
            "effect": _effect(strength[0, i], column.numeric, one[0], patients),
        }
        | {"p": p_values[i], "adjusted": adjusted[i], "levels": _levels(column, cases, table["error"])}
        for i, (column, one) in enumerate(zip(columns, values))
    ]
    return {"patients": len(patients), "permutations": PERMUTATIONS, "rows": rows}


def coded(values: pd.Series, numeric: bool) -> tuple[NDArray[np.float64], bool]:
    """Return ranks of numbers or codes of categories, NaN where missing."""
    if numeric:
        return values.rank().to_numpy(dtype=float), True
    codes = pd.Categorical(values).codes.astype(float)
    return np.where(codes < 0, np.nan, codes), False


def permutations(y: NDArray, seed: int) -> NDArray[np.integer]:
    """Return orders (1 + PERMUTATIONS, n), the first as they are, in which each takes the place of one of its class."""
    random, orders = np.random.default_rng(seed), np.tile(np.arange(len(y)), (PERMUTATIONS + 1, 1))
    for c in np.unique(y):
        of = np.flatnonzero(y == c)
        orders[1:, of] = of[random.permuted(np.tile(np.arange(len(of)), (PERMUTATIONS, 1)), axis=1)]
    return orders


def strength_of(errors: NDArray, values: NDArray, numeric: bool) -> NDArray[np.float64]:
    """Return the statistic of each row of errors (B, n): the larger, the more the error goes with the values."""
    known = ~np.isnan(values)
    errors, values = errors[:, known], values[known]
    errors = errors - errors.mean(axis=1, keepdims=True)
    total = (errors**2).sum(axis=1)
    if numeric:
        centred = values - values.mean()
        among = (errors @ centred) ** 2 / ((centred**2).sum() or 1)
    else:
        among = sum(
            errors[:, values == level].sum(axis=1) ** 2 / (values == level).sum() for level in np.unique(values)
        )
    return np.divide(among, total, out=np.zeros_like(total), where=total > 0)


def westfall_young(strength: NDArray) -> tuple[list[float], list[float]]:
    """Return p values of columns of statistics (1 + B, k), whose first row is what was found, alone and adjusted."""
    ranks = pd.DataFrame(-strength.round(12)).rank(method="max").to_numpy()
    p = ranks / len(strength)
    least = p.min(axis=1)
    return p[0].tolist(), [float((least <= own + 1e-12).mean()) for own in p[0]]


def _effect(strength: float, numeric: bool, values: NDArray, patients: pd.DataFrame) -> float:
    """Return the rank correlation of numbers with its sign, or the share of variance between categories."""
    if not numeric:
        return float(strength)
    known = ~np.isnan(values)
    covariance = np.mean((values[known] - values[known].mean()) * patients["rank"].to_numpy()[known])
    return float(np.sign(covariance) * np.sqrt(strength))


def _levels(column: Column, cases: pd.DataFrame, errors: pd.Series) -> dict[str, float]:
    """Return the mean error of the cases of each subgroup."""
    mine = column.of(cases["case_id"])
    of = cohort_columns.groups(mine).to_numpy()
    return {name: float(errors[of == name].mean()) for name in cohort_columns.order(mine)}


def found(study: Study, columns: Mapping[str, Column]) -> dict[str, Any]:
    """Return `characteristics`, `groups` and `error` of columns."""
    listed = list(columns.values())
    return {
        "characteristics": characteristics.table(study, listed),
        "groups": groups(study, listed),
        "error": error(study, listed),
    }

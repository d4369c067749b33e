"""The model in subgroups by columns of the labels table, and whether error or shift goes with any of them."""

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

ERROR = "error"
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


def whole(study: Study, at: float = 0.5) -> dict[str, Any]:
    """Return the same figures of all cases, beside which those of subgroups are read."""
    return {"kind": "", "name": "all cases"} | _figures(study, study.ensemble, at)


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
    """Return whether the error of the ensemble, or a shift of its probabilities, goes with any of the columns.

    The error is 1 - probability of the true class. Errors that differ in direction between the classes cancel in it,
    so the probability itself is tested too: that of the positive class or, of several classes, each. A permutation
    test by patient within classes: the mark of a patient is the mean rank of that of their cases among those of the
    class. Of numbers the statistic is the rank correlation without its sign, of categories the variance between them;
    of a column it is the larger one of error and shift in each permutation, so that its p is of both. The p values of
    the columns are adjusted by the smallest one in each permutation (Westfall and Young 1993), which holds the chance
    of any false finding at 5 % over all columns. rows: name, effect (of the error: rank correlation of numbers, share
    of variance of categories), by (error or shift, which is the larger), p, adjusted; levels: mean error of each
    category; shift: class, effect and levels, the mean distance from the probability of cases of the same class.
    """
    cases = study.ensemble
    y, marks = cases["y"].to_numpy(), _marks(study)
    ranks = marks.groupby(y).rank(pct=True) - 0.5
    patients = cases["patient_id"].to_numpy()
    ranks, first = (table.groupby(patients, sort=False) for table in (ranks, pd.Series(y)))
    ranks, first = ranks.mean(), first.first().to_numpy()
    patient_of = dict(zip(cases["case_id"], cases["patient_id"]))
    values = [
        coded(cohort_columns.by_patient(column.of(cases["case_id"]), patient_of).reindex(ranks.index), column.numeric)
        for column in columns
    ]
    order = permutations(first, study.seed)
    strength = [[strength_of(ranks[mark].to_numpy()[order], *one) for mark in ranks] for one in values]
    p_values, adjusted = westfall_young(np.column_stack([np.max(each, axis=0) for each in strength]))
    away = marks - marks.groupby(y).transform("mean")
    rows = []
    for column, one, each, *p in zip(columns, values, strength, p_values, adjusted):
        found = [float(own[0]) for own in each]
        shifted = 1 + int(np.argmax(found[1:]))
        effects = [_effect(found[i], column.numeric, one[0], ranks.iloc[:, i].to_numpy()) for i in (0, shifted)]
        shift = {"class": study.classes[ranks.columns[shifted]], "effect": effects[1]}
        rows.append(
            {"name": column.name, "numeric": column.numeric, "effect": effects[0], "p": p[0], "adjusted": p[1]}
            | {"by": "shift" if found[shifted] > found[0] else "error"}
            | {"levels": _levels(column, cases, marks.iloc[:, 0])}
            | {"shift": shift | {"levels": _levels(column, cases, away.iloc[:, shifted])}}
        )
    return {"patients": len(ranks), "permutations": PERMUTATIONS, "rows": rows}


def _marks(study: Study) -> pd.DataFrame:
    """Return of each case the error, and of the positive class or, of several, of each k its probability."""
    cases = study.ensemble
    p = cases[study.probabilities].to_numpy()
    tested = [1] if study.binary else range(len(study.classes))
    return pd.DataFrame({ERROR: 1 - p[np.arange(len(cases)), cases["y"]]} | {k: p[:, k] for k in tested})


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


def _effect(strength: float, numeric: bool, values: NDArray, ranks: NDArray) -> float:
    """Return the rank correlation of numbers with its sign, or the share of variance between categories."""
    if not numeric:
        return float(strength)
    known = ~np.isnan(values)
    covariance = np.mean((values[known] - values[known].mean()) * ranks[known])
    return float(np.sign(covariance) * np.sqrt(strength))


def _levels(column: Column, cases: pd.DataFrame, marks: pd.Series) -> dict[str, float]:
    """Return the mean mark of the cases of each subgroup."""
    mine = column.of(cases["case_id"])
    of = cohort_columns.groups(mine).to_numpy()
    return {name: float(marks[of == name].mean()) for name in cohort_columns.order(mine)}


def found(study: Study, columns: Mapping[str, Column]) -> dict[str, Any]:
    """Return `characteristics`, `groups`, the figures of `all` cases, and `error` of columns."""
    listed = list(columns.values())
    return {
        "characteristics": characteristics.table(study, listed),
        "groups": groups(study, listed),
        "all": whole(study),
        "error": error(study, listed),
    }

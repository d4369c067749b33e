"""What the images add to what the clinic knows: clinical columns alone, the model alone, and both, on the same splits.

clinical: logistic regression on the columns, fitted on all cases that a split does not test. images: the model. both:
that regression and the model's score, stacked: log odds = a + b clinical + c score, with b and c not below 0 (Breiman
1996) and a ridge penalty, fitted on the other test sets' cases, each with the score of the model that did not see it.
A test case has no part in the fits of its split but one: the models of the other splits trained on it.
bench/clinical.py compares this with the strict way, which trains each of them again without it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from stratamil.cohort.columns import Column
from stratamil.evaluation import competitors
from stratamil.evaluation.competitors import Measured
from stratamil.evaluation.study import Study
from stratamil.stats import metrics

RIDGE = 1.0  # of the stack's two weights, on standardised scores: that of scikit-learn's C = 1
NAMES = ("clinical", "both")


def design(columns: Sequence[Column], train: Sequence[str], cases: Sequence[str]) -> NDArray[np.float64]:
    """Return the values of cases as numbers (cases, k), by what the training cases have.

    Numbers are standardised, categories an indicator each, of which one unknown in training has none. What is missing
    is the median, or the most common category, of the training cases; an indicator says so where some of them miss it.
    """
    parts = []
    for column in columns:
        known, values = column.of(train).values, column.of(cases).values
        absent = values.isna().to_numpy()
        if known.isna().any():
            parts.append(absent.astype(float))
        if not known.notna().any():
            continue
        if column.numeric:
            scale = known.std() or 1.0
            parts.append(((values.fillna(known.median()) - known.mean()) / scale).to_numpy(dtype=float))
        else:
            filled = values.where(~absent, known.mode()[0])
            parts += [(filled == level).to_numpy(dtype=float) for level in column.of(train).levels[1:]]
    return np.column_stack(parts) if parts else np.zeros((len(cases), 0))


def fitted(columns: Sequence[Column], train: Sequence[str], y: Mapping[str, int]) -> Any:
    """Return a function case ids -> log odds, of logistic regression (C = 1) on the columns of some cases."""
    x, truth = design(columns, train, train), np.array([y[case] for case in train])
    if x.shape[1] == 0:
        return lambda cases: np.full(len(cases), logit(np.clip(truth.mean(), 0.01, 0.99)))
    regression = LogisticRegression(C=1.0, tol=1e-8, max_iter=10_000).fit(x, truth)
    return lambda cases: regression.decision_function(design(columns, train, cases))


def stacked(scores: NDArray, y: NDArray) -> Any:
    """Return a function scores (n, 2) -> log odds, fitted on these; weights are not below 0."""
    from scipy.optimize import minimize

    centre, scale = scores.mean(axis=0), scores.std(axis=0)
    scale[scale == 0] = 1.0
    x = (scores - centre) / scale

    def loss(weights: NDArray) -> tuple[float, NDArray]:
        z = weights[0] + x @ weights[1:]
        value = np.logaddexp(0, z).sum() - z[y == 1].sum() + RIDGE / 2 * (weights[1:] ** 2).sum()
        slope = expit(z) - y
        return value, np.concatenate([[slope.sum()], x.T @ slope + RIDGE * weights[1:]])

    weights = minimize(loss, np.zeros(3), jac=True, bounds=[(None, None), (0, None), (0, None)]).x
    return lambda others: weights[0] + (others - centre) / scale @ weights[1:]


def predictions(study: Study, columns: Sequence[Column]) -> dict[str, pd.DataFrame]:
    """Return the predictions by clinical columns, and by both, rows as of `Study.predictions`."""
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in NAMES}
    for _, replicate in study.predictions.groupby(["repeat", "seed"]):
        score = _log_odds(replicate[study.probabilities[1]])
        for split in replicate["split"].unique():
            test = (replicate["split"] == split).to_numpy()
            others, rows = replicate[~test], replicate[test]
            truth = dict(zip(others["case_id"], others["y"]))
            regression = fitted(columns, list(others["case_id"]), truth)
            alone = regression(list(rows["case_id"]))
            known = np.column_stack([regression(list(others["case_id"])), score[~test]])
            both = stacked(known, others["y"].to_numpy())(np.column_stack([alone, score[test]]))
            for name, odds in zip(NAMES, (alone, both)):
                p = expit(odds)
                parts[name].append(rows.assign(**dict(zip(study.probabilities, (1 - p, p)))))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def _log_odds(p: pd.Series) -> NDArray[np.float64]:
    return logit(np.clip(p.to_numpy(dtype=float), metrics.SMALLEST, 1 - metrics.SMALLEST))


def found(
    study: Study, columns: Mapping[str, Column], ours: Mapping[str, Measured], whole: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return rows of `clinical`, `images` and `both`, and paired differences of AUROC; None unless two classes.

    images_add: both less clinical. clinic_adds: both less images. Each by the names of `competitors.of_model`. ours,
    whole: of the model, as of `learning_curve.points`.
    """
    if not study.binary or not columns:
        return None
    tables = predictions(study, list(columns.values()))
    measured = {name: competitors.measured(study, table) for name, table in tables.items()}
    patients = int(study.ensemble["patient_id"].nunique())
    rows = {name: competitors.summary(study, table, ours) for name, table in tables.items()}
    rows["images"] = {name: whole[name] for name in ("roc_auc", "fold_mean", "log_loss", "brier")}
    return {
        "columns": list(columns),
        "missing": {
            name: int(column.of(study.ensemble["case_id"]).values.isna().sum()) for name, column in columns.items()
        },
        "rows": [{"name": name} | rows[name] for name in ("clinical", "images", "both")],
        "images_add": competitors.differences(measured["both"], measured["clinical"], patients, False),
        "clinic_adds": competitors.differences(measured["both"], ours, patients, False),
    }

"""How well the features of a case tell the site that it comes from: what a model could use instead of morphology.

A multinomial logistic regression on the mean features of a case, standardised on the training cases, predicts the site
of patients that it has not seen: folds are of whole patients, each with its share of each site. Sites weigh the same,
so that features which tell nothing have an AUROC of 0.5 on average.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from stratamil.cohort.sites import LEAST
from stratamil.core.names import natural
from stratamil.evaluation import baselines
from stratamil.features.encoder_registry import STAIN_STATS
from stratamil.features.store import Features
from stratamil.stats import intervals, metrics

FOLDS = 10
PENALTY = 10  # sum of squared weights costs as much as so many cases; the AUROC hardly depends on it


def probe(features: Features, cases: pd.DataFrame, bootstrap_samples: int, seed: int) -> dict[str, Any] | None:
    """Return how well sites are told, ready for JSON; None where fewer than two have sites.LEAST patients.

    features: as store.read returns them. cases: used ones with case_id, patient_id, class and site.
    Keys: sites (those compared), few (those of too few patients), patients, cases, folds; features, colour, class:
    Estimates of the AUROC by the mean features, by the mean colour of the patches (None where there is no other) and by
    the class alone, of one site against the rest, mean over sites if there are several; each: site -> its AUROC by the
    mean features.
    """
    cases = cases[cases["case_id"].isin(set(features.table["case_id"]))]
    patients = cases.groupby("site")["patient_id"].nunique()
    sites = sorted(patients.index[patients >= LEAST], key=natural)
    few = sorted(patients.index[patients < LEAST], key=natural)
    known = cases[cases["site"].isin(sites)].reset_index(drop=True)
    if len(sites) < 2:
        return None
    y = known["site"].map(sites.index).to_numpy()
    seen = {"features": baselines.pooled(features.values, features.table["case_id"])}
    if features.colour is not None and features.identity.get("encoder") != STAIN_STATS:  # whose features are these
        seen["colour"] = baselines.pooled(features.colour, features.table["case_id"])
    seen["class"] = pd.get_dummies(known.set_index("case_id")["class"]).astype(float)
    folds = by_patient(y, known["patient_id"], seed)
    told = {name: out_of_fold(x.loc[known["case_id"]].to_numpy(), y, folds) for name, x in seen.items()}
    aucs = {
        name: intervals.bootstrap_auc(y, p, known["patient_id"], bootstrap_samples, seed) for name, p in told.items()
    }
    each = {site: metrics.roc_auc(y == i, told["features"][:, i]) for i, site in enumerate(sites)}
    sizes = {"patients": known["patient_id"].nunique(), "cases": len(known), "folds": len(set(folds))}
    return {"sites": sites, "few": few, **sizes, "colour": None, **aucs, "each": each}


def out_of_fold(
    x: NDArray, y: NDArray, folds: NDArray, penalty: float | None = None, taught: NDArray | bool = True
) -> NDArray[np.float64]:
    """Return the probabilities of the sites y (n,) from x (n, D), each by a regression on the other folds, (n, C).

    penalty: of the sum of squared weights, by default `PENALTY` for each feature. taught: rows (n,) to learn from; a
    site that has none of them in the other folds is learned from all of its rows there.
    """
    p = np.zeros((len(y), y.max() + 1))
    for fold in np.unique(folds):
        others, test = folds != fold, folds == fold
        train = others & (taught | ~np.isin(y, y[others & taught]))
        p[np.ix_(test, np.unique(y[train]))] = _fitted(x[train], y[train], x[test], penalty)
    return p


def _fitted(x: NDArray, y: NDArray, new: NDArray, penalty: float | None) -> NDArray[np.float64]:
    """Return the probabilities of the sites in y for new rows, by a regression on x; equal where x tells nothing."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    told = scale > 1e-6 * np.abs(centre).max(initial=1e-6)  # what hardly varies is dropped
    n = len(np.unique(y))
    if n == 1 or not told.any():
        return np.full((len(new), n), 1 / n)
    strength = 1 / (PENALTY * told.sum() if penalty is None else penalty)
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    a, b = _narrowed(*((rows[:, told] - centre[told]) / scale[told] for rows in (x, new)))
    return model.fit(a, y).predict_proba(b)


def by_patient(y: NDArray, patients: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return the fold of each case: whole patients, each fold with a share of each site."""
    smallest = min(len(set(np.asarray(patients)[y == site])) for site in np.unique(y))
    folds = np.zeros(len(y), dtype=int)
    folding = StratifiedGroupKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
    for fold, (_, test) in enumerate(folding.split(y, y, patients)):
        folds[test] = fold
    return folds


def _narrowed(a: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
    """Return rows (n, D), and others, in the space that the first span: a ridge regression is the same there."""
    if a.shape[1] <= a.shape[0]:
        return a, b
    squares, directions = np.linalg.eigh(a @ a.T)
    kept = squares > squares.max(initial=0) * 1e-10
    basis = a.T @ (directions[:, kept] / np.sqrt(squares[kept]))
    return a @ basis, b @ basis

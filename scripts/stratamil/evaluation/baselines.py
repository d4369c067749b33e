"""What a case can be told by without attention: models that a useful one must beat, on the same folds.

Each is fitted on the training cases of a split and predicts its test cases. Standardised logistic regression with
balanced class weights, whose L2 penalty has the least log loss of the validation cases, as the model's epoch has, on:
    summary      mean, maximum and SD of each patch feature of a case
    mean_pool    the mean alone
    mean_pool_X  the mean over the patches of stain X alone, where there are several stains; a case without it gets
                 the mean of the training cases, which tells nothing
    colour       mean, maximum and SD of the colour descriptor of a case: what staining and scanner alone tell
    patch_count  the logarithm of its number of patches, of those that the model sees
    slice_count  the logarithm of its number of slices, of those with such a patch
and `prevalence`, the share of each class among the training cases.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from stratamil.cohort.splits import Split
from stratamil.core.errors import UserError
from stratamil.core.names import column, natural
from stratamil.features.store import Features
from stratamil.stats import metrics

STRENGTHS = tuple(10.0 ** np.arange(-6, 3))  # of scikit-learn's C: the smaller, the stronger the penalty
SLICE = ["case_id", "stain", "slice_id"]  # what names a slice


def pooled(values: NDArray, case_ids: ArrayLike, rows: NDArray | None = None) -> pd.DataFrame:
    """Return the mean feature of each case as a DataFrame (cases, D), index case_id.

    values: (N, D) of patches. case_ids: (n,) of the given rows (n,), by default of all N.
    """
    return _by_case(values, case_ids, lambda patches: patches.mean(axis=0), rows)


def summary(values: NDArray, case_ids: ArrayLike) -> pd.DataFrame:
    """Return mean, maximum and SD of the features of each case, (cases, 3 D), index case_id."""
    return _by_case(values, case_ids, lambda p: np.concatenate([p.mean(axis=0), p.max(axis=0), p.std(axis=0)]))


def _by_case(
    values: NDArray, case_ids: ArrayLike, describe: Callable[[NDArray], NDArray], rows: NDArray | None = None
) -> pd.DataFrame:
    rows = np.arange(len(case_ids)) if rows is None else rows
    groups = pd.Series(rows).groupby(np.asarray(case_ids, dtype=str)).indices
    # In double precision case by case: a float16 sum over a case overflows, a float64 copy of all patches is large.
    return pd.DataFrame({case: describe(values[rows[at]].astype(np.float64)) for case, at in groups.items()}).T


def descriptions(features: Features) -> dict[str, pd.DataFrame]:
    """Return what each baseline sees of a case: name -> DataFrame (cases, D), index case_id.

    features: as store.read returns them: `values` (N, D), `table` (case_id, stain, slice_id a row) and `colour`
    (N, COLOUR); where that is None there is no such baseline. Patches that could not be read are not among them.
    """
    case_ids = features.table["case_id"]
    patches, slices = (_counted(rows) for rows in (features.table, features.table.drop_duplicates(SLICE)))
    return {
        "summary": summary(features.values, case_ids),
        **_pooled_stains(features),
        **({} if features.colour is None else {"colour": summary(features.colour, case_ids)}),
        "patch_count": np.log(patches),
        "slice_count": np.log(slices),
        "prevalence": patches[[]],
    }


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how many rows each case has, (cases, 1), index case_id."""
    counts = rows.groupby("case_id", observed=True).size()
    return counts.set_axis(counts.index.astype(str)).to_frame("n")


def _pooled_stains(features: Features) -> dict[str, pd.DataFrame]:
    """Return the mean of all patches of a case, and of those of each stain, if there are several."""
    case, stain = (features.table[name].to_numpy(dtype=str) for name in ("case_id", "stain"))
    result = {"mean_pool": pooled(features.values, case)}
    stains = sorted(set(stain))
    for name in stains if len(stains) > 1 else []:
        rows = np.flatnonzero(stain == name)
        of_stain = pooled(features.values, case[rows], rows)
        result[f"mean_pool_{name}"] = of_stain.reindex(result["mean_pool"].index)
    return result


def predict(
    described: Mapping[str, pd.DataFrame],
    labels: Mapping[str, str],
    splits: Mapping[str, Split],
    classes: Sequence[str],
) -> pd.DataFrame:
    """Predict by every baseline the test cases of every split.

    described: see `descriptions`. labels: case_id -> class name. splits: name -> Split. classes: K names.
    Returns a DataFrame: split, baseline, case_id, true_class, prob_<class>..., C (of the penalty that the validation
    cases chose; NaN of the prevalence); cases in natural order.
    Raises UserError if a case of a split has no features, or a training set holds one class only.
    """
    problems = [
        f"{name}: case {case} of split {split} has no features: run embed for it, or take it out of the split"
        for split, sets in splits.items()
        for name, table in described.items()
        for case in sorted({*sets.train, *sets.val, *sets.test} - set(table.index), key=natural)
    ]
    problems += [
        f"split {split}: its training cases are of one class only: make other splits"
        for split, sets in splits.items()
        if len({labels[case] for case in sets.train if case in labels}) < 2
    ]
    if problems:
        raise UserError(*problems)
    return pd.concat(
        [
            _predict_split(table, labels, sets, classes).assign(split=split, baseline=name)
            for split, sets in splits.items()
            for name, table in described.items()
        ],
        ignore_index=True,
    )[["split", "baseline", "case_id", "true_class", *(f"prob_{column(name)}" for name in classes), "C"]]


def _predict_split(table: pd.DataFrame, labels: Mapping[str, str], sets: Split, classes: Sequence[str]) -> pd.DataFrame:
    test = sorted(sets.test, key=natural)
    x = {
        name: table.loc[cases].to_numpy() for name, cases in (("train", sets.train), ("val", sets.val), ("test", test))
    }
    y, validation = (np.array([classes.index(labels[case]) for case in cases]) for cases in (sets.train, sets.val))
    if table.shape[1] == 0:  # nothing to tell cases by
        p = np.tile(np.bincount(y, minlength=len(classes)) / len(y), (len(test), 1))
        chosen = np.nan
    else:
        fits = {strength: _fit(x["train"], y, strength) for strength in STRENGTHS}
        p = {strength: _probabilities(fit, x["val"], len(classes)) for strength, fit in fits.items()}
        chosen = min(fits, key=lambda strength: metrics.log_loss(validation, p[strength]))  # of equals the first
        p = _probabilities(fits[chosen], x["test"], len(classes))
    frame = pd.DataFrame(p, columns=[f"prob_{column(name)}" for name in classes])
    return frame.assign(case_id=test, true_class=[labels[case] for case in test], C=chosen)


def _fit(x: NDArray, y: NDArray, strength: float) -> Pipeline:
    """Return the fitted regression; turning the axes (PCA with all components) changes only how long it takes."""
    regression = LogisticRegression(C=strength, class_weight="balanced", tol=1e-8, max_iter=10_000)
    impute = SimpleImputer(keep_empty_features=True)
    return make_pipeline(impute, StandardScaler(), PCA(svd_solver="full"), regression).fit(x, y)


def _probabilities(fit: Pipeline, x: NDArray, n_classes: int) -> NDArray:
    p = np.zeros((len(x), n_classes))  # a class without training cases keeps probability 0
    p[:, fit.classes_] = fit.predict_proba(x)
    return p

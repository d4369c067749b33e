"""What a case can be told by without attention: models that a useful one must beat, on the same folds.

Each is fitted on the training cases of a split and predicts its test cases. Standardised logistic regression with
balanced class weights, as scikit-learn has it, on:
    mean_pool    the mean of all patch features of a case
    mean_pool_X  the mean over the patches of stain X alone, where there are several stains; a case without it gets
                 the mean of the training cases, which tells nothing
    colour       the mean colour descriptor of a case: what staining and scanner alone tell
    patch_count  the logarithm of its number of patches
    slice_count  the logarithm of its number of slices
and `prevalence`, the share of each class among the training cases.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stratamil.cohort.splits import Split
from stratamil.core.errors import UserError
from stratamil.core.names import column, natural
from stratamil.features.store import Features


def pooled(values: NDArray, case_ids: ArrayLike, rows: NDArray | None = None) -> pd.DataFrame:
    """Return the mean feature of each case as a DataFrame (cases, D), index case_id.

    values: (N, D) of patches. case_ids: (n,) of the given rows (n,), by default of all N.
    """
    rows = np.arange(len(case_ids)) if rows is None else rows
    groups = pd.Series(rows).groupby(np.asarray(case_ids, dtype=str)).indices
    # In double precision case by case: a float16 sum over a case overflows, a float64 copy of all patches is large.
    return pd.DataFrame({case: values[rows[at]].mean(axis=0, dtype=np.float64) for case, at in groups.items()}).T


def descriptions(cases: pd.DataFrame, features: Features) -> dict[str, pd.DataFrame]:
    """Return what each baseline sees of a case: name -> DataFrame (cases, D), index case_id.

    cases: DataFrame with case_id, n_patches, n_slices. features: as store.read returns them: `values` (N, D), `table`
    (case_id a row) and `colour` (N, COLOUR); where that is None there is no such baseline.
    """
    counts = cases.set_index("case_id")
    return {
        **_pooled_stains(features),
        **({} if features.colour is None else {"colour": pooled(features.colour, features.table["case_id"])}),
        "patch_count": np.log(counts[["n_patches"]]),
        "slice_count": np.log(counts[["n_slices"]]),
        "prevalence": counts[[]].assign(nothing=0.0),
    }


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
    Returns a DataFrame: split, baseline, case_id, true_label, prob_<class>...; cases in natural order.
    Raises UserError if a case of a split has no features, or a training set holds one class only.
    """
    problems = [
        f"{name}: case {case} of split {split} has no features: run embed for it, or take it out of the split"
        for split, sets in splits.items()
        for name, table in described.items()
        for case in sorted({*sets.train, *sets.test} - set(table.index), key=natural)
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
            _predict_split(table, labels, sets, classes, name == "prevalence").assign(split=split, baseline=name)
            for split, sets in splits.items()
            for name, table in described.items()
        ],
        ignore_index=True,
    )[["split", "baseline", "case_id", "true_label", *(f"prob_{column(name)}" for name in classes)]]


def _predict_split(
    table: pd.DataFrame, labels: Mapping[str, str], sets: Split, classes: Sequence[str], prior: bool
) -> pd.DataFrame:
    test = sorted(sets.test, key=natural)
    model = make_pipeline(
        SimpleImputer(keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(class_weight="balanced", max_iter=5000),
    )
    model = DummyClassifier(strategy="prior") if prior else model
    model.fit(table.loc[sets.train].to_numpy(), [classes.index(labels[case]) for case in sets.train])
    p = np.zeros((len(test), len(classes)))  # a class without training cases keeps probability 0
    p[:, model.classes_] = model.predict_proba(table.loc[test].to_numpy())
    frame = pd.DataFrame(p, columns=[f"prob_{column(name)}" for name in classes])
    return frame.assign(case_id=test, true_label=[labels[case] for case in test])

"""Generate cross-validation splits: stratified by class, with all cases of a patient, or of a site, in one set.

What StratifiedGroupKFold cannot do, sets balanced by site or sites kept whole, `balance` solves as a MILP.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.cohort import balance as balancing
from stratamil.cohort import sites
from stratamil.cohort.inventory import ONLY_UNKNOWN, USED
from stratamil.cohort.splits import Split
from stratamil.core.errors import UserError
from stratamil.core.names import natural
from stratamil.core.wording import of_class

FINEST = 20  # a share for validation is drawn as m of at most so many folds


def generate(
    cases: pd.DataFrame,
    classes: Sequence[str],
    *,
    n_splits: int,
    n_repeats: int,
    validation: float | None,
    seed: int,
    left_out: str = "",
    setting: str = "splits.n_splits",
    by: str | None = None,
    balance: Sequence[str] | None = None,
) -> dict[str, Split]:
    """Return cross-validation splits, stratified by class, patients kept together: name -> Split, in order.

    cases: DataFrame with case_id, class, patient_id, and site if it matters, in any order. classes: names of the
    classes. n_splits: n, those of a repeat, whose test sets are a partition of the cases. validation: None, the next
    test set (n >= 3), or a share of the cohort, drawn from what the test set leaves. n_repeats: partitions; repeat r
    (from 1) has splits (r - 1) * n + 1 to r * n. left_out: what `left_out` says, for the message where a class has too
    few patients. setting: that names n, for messages. by: `site` keeps sites whole, too; where what a test set leaves
    has too few sites for two sets, a share for validation is of patients of all of them. balance: with `site` each set
    has its share of each site and of each class within it, see `balance`.

    Folds are those of sklearn's StratifiedGroupKFold or, where one of them lacks a class, the nearest that lack none
    (see `_complete`). The same seed gives the same splits: the first partition is drawn with `seed` itself, that of
    repeat r with SeedSequence(seed, spawn_key=(r - 1,)), the validation cases of its split i (from 1) with
    SeedSequence(seed, spawn_key=(r - 1, i)).
    Raises UserError if n and validation leave nothing to train on, or if whole patients cannot be shared out so that
    every set holds every class; with by: site, for a patient of two sites and for too few sites.
    """
    n = n_splits
    if shares(n, validation)["train"] < 1e-9:
        asked = "the next test set" if validation is None else f"{validation} of the cases"
        raise UserError(f"{setting} is {n}: validation on {asked} leaves no training cases: set a smaller share")
    order = sorted(cases["case_id"], key=lambda case: (natural(case), case))
    cases = cases.set_index("case_id").loc[order].reset_index()
    patients = _enough_patients(cases, classes, n, left_out, setting)
    if by == "site":
        sites.check(cases, classes, n, setting)
    draw_folds, draw_share = _draws(by, balance or [])
    everyone, made = cases.index.to_numpy(), []
    for repeat in range(n_repeats):
        # Of two halves each is once all there is to train and validate on.
        folds = draw_folds(cases, n, _state(seed, repeat), parts=2 if n == 2 and by != "site" else 1)
        if folds is None:
            no_way = sites.impossible(cases, n, setting, draw_folds) if by == "site" else _no_way(patients, n, setting)
            raise UserError(no_way)
        for i, test in enumerate(folds):
            rest = np.setdiff1d(everyone, test)
            if validation is None:
                val = folds[(i + 1) % n]
            else:
                drawn = draw_share(cases.iloc[rest], validation * n / (n - 1), _state(seed, repeat, i + 1))
                if drawn is None:
                    raise UserError(sites.no_validation(cases.iloc[test], setting, by))
                val = rest[drawn]
            sets = {"train": np.setdiff1d(rest, val), "val": val, "test": test}
            made.append(Split(**{name: cases["case_id"].iloc[part].to_list() for name, part in sets.items()}))
    return {f"{number:02d}": split for number, split in enumerate(made, 1)}


def _draws(by: str | None, balance: Sequence[str]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what draws folds, and what draws a share for validation."""
    if by != "site" and "site" not in balance:
        return _folds, _draw
    how = {"group": "site" if by == "site" else "patient_id", "also": [name for name in balance if name != "class"]}
    folds, draw = partial(balancing.folds, **how), partial(balancing.draw, **how)

    def sites_or_patients(cases: pd.DataFrame, share: float, state: int) -> NDArray[np.int64] | None:
        whole = draw(cases, share, state)
        return _draw(cases, share, state) if whole is None else whole

    return folds, sites_or_patients if by == "site" else draw


def _no_way(patients: pd.Series, n: int, setting: str) -> str:
    """Return the line where whole patients cannot be shared out. patients: number of each class."""
    return (
        f"{setting} is {n}: no way to share out whole patients gives every set every class: some have "
        f"cases of several classes, and {patients.idxmin()} has only {patients.min()}; "
        f"lower {setting} or add cases"
    )


def shares(n: int, validation: float | None) -> dict[str, float]:
    """Return the share of the cohort that is due to each set of generated splits; see `generate`."""
    validation = validation or 1 / n
    return {"train": 1 - 1 / n - validation, "val": validation, "test": 1 / n}


def left_out(cases: pd.DataFrame, labels: str) -> str:
    """Return why a class has few cases, `; 24 of 30 cases are excluded: 24 with code '2' ...`, or nothing.

    cases: the whole cases table. labels: the labels table that it is of.
    """
    unused = cases[cases["status"] != USED]
    by_code = unused[unused["class"] == ""]["label"].value_counts()
    codes = " and ".join(f"{n} with code {code!r}" for code, n in by_code.items())
    why = [f"{codes} (cohort.excluded_codes)"] if codes else []
    others = int((unused["status"] == ONLY_UNKNOWN).sum())
    if bare := len(unused) - by_code.sum() - others:
        why.append(f"{bare} without patches")
    why += [f"{others} without patches of a stain in names.stains"] if others else []
    return f"; {len(unused)} of {len(cases)} cases in {labels} are excluded: {', '.join(why)}" if why else ""


def _enough_patients(cases: pd.DataFrame, classes: Sequence[str], n: int, left_out: str, setting: str) -> pd.Series:
    """Return the number of patients of each class. Raises UserError if one has fewer than there are sets to fill."""
    patients = cases.groupby("class")["patient_id"].nunique().reindex(classes, fill_value=0)
    needed, remedy = (4, "add cases") if n == 2 else (n, f"lower {setting} or add cases")
    short = [
        f"{setting} is {n}, but {of_class(name)} has {there} patients: {needed} are needed, one for every set; "
        f"{remedy if there else 'add cases, or correct its codes in cohort.classes'}{left_out}"
        for name, there in patients.items()
        if there < needed
    ]
    if short:
        raise UserError(*short)
    return patients


def _folds(cases: pd.DataFrame, n: int, state: int, parts: int = 1) -> list[NDArray[np.int64]] | None:
    """Return the positions in `cases` of n stratified folds of whole patients; None if not all can hold every class.

    parts: 2 if each fold must itself be divisible into two sets with every class.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # a second, which the cohort page need not wait for

    folding = StratifiedGroupKFold(n, shuffle=True, random_state=state)
    fold_of_case = np.empty(len(cases), dtype=int)
    for fold, (_, test) in enumerate(folding.split(cases, cases["class"], cases["patient_id"])):
        fold_of_case[test] = fold
    _, first, patient = np.unique(cases["patient_id"], return_index=True, return_inverse=True)
    counts = pd.crosstab(patient, cases["class"].to_numpy()).to_numpy()
    fold_of = _complete(fold_of_case[first], counts, n, parts)
    return None if fold_of is None else [np.flatnonzero(fold_of[patient] == fold) for fold in range(n)]


def _complete(fold_of: NDArray[np.int64], counts: NDArray[np.int64], n: int, parts: int) -> NDArray[np.int64] | None:
    """Return the nearest assignment of patients to folds in which every fold holds every class.

    fold_of: (patients,) the present one; nearest is that with the fewest cases in another fold. counts: (patients,
    classes) cases. A greedy draw can miss a class that has few patients; this is exact, by integer programming: None
    only if there is no such assignment.
    """
    holds = (counts > 0).astype(float)
    if parts == 1 and all(holds[fold_of == fold].any(axis=0).all() for fold in range(n)):
        return fold_of
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import eye_array, kron

    home = np.arange(n * parts) // parts  # the fold of each part
    moved = counts.sum(axis=1)[:, None] * (home != fold_of[:, None])
    solved = milp(
        moved.ravel(),
        integrality=1,
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(kron(eye_array(len(counts)), np.ones((1, n * parts))), 1, 1),  # each patient in one part
            LinearConstraint(kron(holds.T, eye_array(n * parts)), 1),  # each class in each part
        ],
    )
    return None if solved.x is None else home[solved.x.reshape(len(counts), -1).argmax(axis=1)]


def _draw(cases: pd.DataFrame, share: float, state: int) -> NDArray[np.int64]:
    """Return the positions of about `share` of the cases, whole patients; both they and the rest hold every class.

    They are m adjoining ones of k stratified folds, those that come nearest to the share of each class; m / k is the
    fraction nearest to the share that has every class in every fold.
    """
    holds = pd.get_dummies(cases["class"]).to_numpy()
    most = min(FINEST, cases.groupby("class")["patient_id"].nunique().min())
    for k in range(most, 1, -1):
        part = Fraction(share).limit_denominator(k)
        part = min(max(part, Fraction(1, k)), Fraction(k - 1, k))
        folds = _folds(cases, part.denominator, state)
        if folds is not None:
            runs = [np.sort(np.concatenate((folds[i:] + folds[:i])[: part.numerator])) for i in range(len(folds))]
            return min(runs, key=lambda run: np.abs(holds[run].sum(axis=0) - share * holds.sum(axis=0)).sum())


def _state(seed: int, *key: int) -> int:
    """Return the random state of a draw: `seed` itself for the first partition, else derived from it."""
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0]) if any(key) else seed

"""Share out whole patients or whole sites so that each set has its part of every class and site, by a MILP (HiGHS).

A set is balanced where it holds its due of each class, site and class within a site, rounded up or down; what lies
beyond is made as small as possible. Groups that are alike, such as patients with one case of the same class and site,
are one integer variable of the program, so that a thousand patients are solved in a second.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NODES = 1000  # of the search: unlike a limit of time it gives the same sets on every machine
EXACT = 1e-9  # so much is due to rounding of floats


def folds(
    cases: pd.DataFrame, n: int, state: int, parts: int = 1, *, group: str, also: Sequence[str] = ()
) -> list[NDArray[np.int64]] | None:
    """Return the positions in `cases` of n balanced folds of whole groups; None if not all can hold every class.

    cases: DataFrame with class and the columns `group` and `also`. group: of which cases stay together. also: columns
    that are balanced beside the class. parts: 2 if each fold must itself be divisible into two with every class.
    """
    where = share_out(cases, [1 / n] * n, state, parts, group=group, also=also)
    return None if where is None else [np.flatnonzero(where == fold) for fold in range(n)]


def draw(
    cases: pd.DataFrame, share: float, state: int, *, group: str, also: Sequence[str] = ()
) -> NDArray[np.int64] | None:
    """Return the positions of about `share` of the cases; they and the rest hold every class. None if they cannot."""
    where = share_out(cases, [share, 1 - share], state, group=group, also=also)
    return None if where is None else np.flatnonzero(where == 0)


def share_out(
    cases: pd.DataFrame,
    shares: Sequence[float],
    state: int,
    parts: int = 1,
    *,
    group: str,
    also: Sequence[str] = (),
) -> NDArray[np.int64] | None:
    """Return the set of each case, a place in `shares`; see `folds` for the rest. The state decides among equals."""
    _, member = np.unique(cases[group].astype(str), return_inverse=True)
    counts = np.stack([np.bincount(member, weights=column) for column in margins(cases, also).to_numpy().T], axis=1)
    random = np.random.default_rng(state)
    order = random.permutation(len(counts))  # among equally good ways the state decides
    kinds, kind = np.unique(counts[order], axis=0, return_inverse=True)
    mixed = random.permutation(len(kinds))
    n_classes = cases["class"].nunique()
    dealt = _solve(kinds[mixed], np.bincount(kind)[mixed], shares, costs(cases, also), n_classes, parts)
    if dealt is None:
        return None
    turns = random.permutation(len(shares)) if _equal(shares) else np.arange(len(shares))
    sets = np.empty(len(counts), dtype=int)
    for row, each in zip(mixed, dealt):
        sets[order[kind == row]] = np.repeat(turns, each)
    return sets[member]


def margins(cases: pd.DataFrame, also: Sequence[str] = ()) -> pd.DataFrame:
    """Return what is balanced, (cases, margins) of 0 and 1: the classes, then each of `also`, then both."""
    parts = [cases["class"]]
    for name in also:
        parts += [cases[name], cases["class"].str.cat(cases[name].astype(str), sep="\0")]
    return pd.concat([pd.get_dummies(part).astype(float) for part in parts], axis=1)


def costs(cases: pd.DataFrame, also: Sequence[str] = ()) -> NDArray[np.float64]:
    """Return what a case beyond the due costs in each margin: in a class its share of it, so a rare one counts more.

    Elsewhere it costs as much as in the largest margin, divided by the number of margins: classes come first.
    """
    sizes = margins(cases, also).sum().to_numpy()
    return np.where(np.arange(len(sizes)) < cases["class"].nunique(), 1 / sizes, 1 / sizes.max() / len(sizes))


def beyond(counts: NDArray, shares: Sequence[float], costs: NDArray) -> float:
    """Return what counts (sets, margins) cost beyond their dues, rounded up or down; see `costs`."""
    low, high = _dues(counts.sum(axis=0), shares)
    return float(((np.maximum(low - counts, 0) + np.maximum(counts - high, 0)) * costs).sum())


def _dues(total: NDArray, shares: Sequence[float]) -> tuple[NDArray, NDArray]:
    """Return the due of each set and margin, (sets, margins), rounded down and up."""
    due = np.outer(shares, total)
    return np.floor(due + EXACT), np.ceil(due - EXACT)


def _equal(shares: Sequence[float]) -> bool:
    return max(shares) - min(shares) < EXACT


def _solve(
    kinds: NDArray, sizes: NDArray, shares: Sequence[float], costs: NDArray, n_classes: int, parts: int
) -> NDArray[np.int64] | None:
    """Return how many groups of each kind go to each set, (kinds, sets); None if not every part can hold every class.

    kinds: (kinds, margins) cases of a group of this kind. sizes: (kinds,) groups. parts: of each set, see `folds`.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import eye_array, hstack, kron

    (n_kinds, n_margins), n = kinds.shape, len(shares)
    held = n * n_margins  # numbers of cases, set by set
    low, high = _dues(sizes @ kinds, shares)
    # Variables: groups of each kind in each part; then cases lacking, then cases too many, of each set and margin.
    of_sets = kron(kinds.T, kron(eye_array(n), np.ones((1, parts))))  # margins x sets rows
    rows = np.arange(held).reshape(n_margins, n).T.ravel()  # as dues are: sets x margins
    counted = of_sets.tocsr()[rows]
    whole = kron(eye_array(n_kinds), np.ones((1, n * parts)))
    classes = kron((kinds[:, :n_classes] > 0).T.astype(float), eye_array(n * parts))
    none, unit = eye_array(held) * 0, eye_array(held)
    solved = milp(
        np.concatenate([np.zeros(n_kinds * n * parts), np.tile(costs, 2 * n)]),
        integrality=np.concatenate([np.ones(n_kinds * n * parts), np.zeros(2 * held)]),
        bounds=Bounds(0, np.concatenate([np.repeat(sizes, n * parts), np.full(2 * held, np.inf)])),
        constraints=[
            LinearConstraint(hstack([whole, np.zeros((n_kinds, 2 * held))]), sizes, sizes),
            LinearConstraint(hstack([classes, np.zeros((n_classes * n * parts, 2 * held))]), 1),
            LinearConstraint(hstack([counted, unit, none]), low.ravel()),
            LinearConstraint(hstack([counted, none, -unit]), -np.inf, high.ravel()),
        ],
        options={"node_limit": NODES},
    )
    if solved.x is None:
        return None
    dealt = solved.x[: n_kinds * n * parts].round().astype(int).reshape(n_kinds, n, parts)
    return dealt.sum(axis=2)

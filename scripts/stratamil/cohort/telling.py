"""What tells the class without a look at any patch, amounts of tissue and stains, and when to warn of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate

CLEAR = 0.6  # AUROC: below, a shortcut is too weak to carry a model
UNEVEN = 0.1  # difference of the shares of two classes that have a stain: an AUROC says little of what is mostly there
PRESENCE = "presence of the stain "
Row = dict[str, Any]  # of a measure and the class that has more of it; see `found`


def presence(there: Mapping[str, pd.Series]) -> dict[str, pd.Series]:
    """Return measures for `found` of whether cases have a stain. there: stain -> of each case."""
    return {f"{PRESENCE}{stain}": values.astype(int) for stain, values in there.items()}


def found(
    measures: Mapping[str, pd.Series], cases: pd.DataFrame, classes: Sequence[str], bootstrap_samples: int, seed: int
) -> list[Row]:
    """Return how well each measure separates the classes, but for one that is the same for all cases.

    measures: name -> a number of each case, in the order of `cases`: DataFrame of class and patient_id. A row has the
    AUROC (so at least 0.5) with its bootstrap interval by patient, and what is typical of the class that has more and
    of the other. With more than two classes each is set against the rest, and the one told best is given.
    """
    varying = {name: values.to_numpy(dtype=float) for name, values in measures.items() if values.nunique() > 1}
    rows: dict[str, list[Row]] = {name: [] for name in varying}
    weights = intervals.bootstrap_weights(cases["patient_id"], bootstrap_samples, seed)
    for target in classes[-1:] if len(classes) == 2 else classes:
        y = (cases["class"] == target).to_numpy(dtype=int)
        if not metrics.has_both(y):
            continue
        other = classes[0] if len(classes) == 2 else "the rest"
        for name, values in varying.items():
            sampled = intervals.weighted_auc(y, np.column_stack([-values, values]), weights)
            sides, patients = intervals.sides(y, cases["patient_id"], 2), cases["patient_id"].nunique()
            auc = intervals.auc_interval(metrics.roc_auc(y, values), sampled, [sides], patients)
            typical = np.mean if name.startswith((PRESENCE, "share")) else np.median
            more, fewer = (target, typical(values[y == 1])), (other, typical(values[y == 0]))
            rows[name].append({"measure": name} | _row(auc, more, fewer))
    return [max(each, key=lambda row: row["auc"].value) for each in rows.values() if each]


def _row(auc: Estimate, more: tuple[str, float], fewer: tuple[str, float]) -> Row:
    """Return the rest of a row of `found`; the classes, each with what is typical of it, are swapped below 0.5."""
    if auc.value < 0.5:
        low, high = (None, None) if auc.low is None else (1 - auc.high, 1 - auc.low)
        auc, more, fewer = Estimate(1 - auc.value, low, high, auc.n), fewer, more
    row = {"more": more[0], "fewer": fewer[0], "auc": auc}
    return row | {"typical_more": float(more[1]), "typical_fewer": float(fewer[1])}


def warned(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows that separate the classes so well that a model can carry itself by them."""
    for row in rows:
        uneven = is_presence(row) and row["typical_more"] - row["typical_fewer"] >= UNEVEN
        if (row["auc"].value > CLEAR or uneven) and (row["auc"].low or 0) > 0.5:
            yield row


def is_presence(row: Row) -> bool:
    """Return whether the measure of a row is that cases have a stain."""
    return row["measure"].startswith(PRESENCE)


def sentence(row: Row) -> str:
    """Return the warning of a row."""
    auc = row["auc"]
    return (
        f"The {row['measure']} alone separates {row['more']} from {row['fewer']} with an AUROC of "
        f"{auc.value:.2f} (95% CI {auc.low:.2f} to {auc.high:.2f}): {_more(row)}. A model can learn this "
        "instead of morphology."
    )


def _more(row: Row) -> str:
    """Return what a class has more of than the other."""
    if is_presence(row):
        return f"{row['typical_more']:.0%} of {row['more']} cases have it, {row['typical_fewer']:.0%} of {row['fewer']}"
    if row["measure"].startswith("share"):
        return (
            f"on average {row['typical_more']:.1%} in {row['more']} cases, {row['typical_fewer']:.1%} in {row['fewer']}"
        )
    typical = f"median {row['typical_more']:g} against {row['typical_fewer']:g}"
    return f"{row['more']} cases have more ({typical})"

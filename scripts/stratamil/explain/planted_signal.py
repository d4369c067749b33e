"""Whether attention finds known signal, planted or annotated, which a table of the user gives patch by patch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stratamil.cohort import marks
from stratamil.core import names
from stratamil.core.errors import UserError
from stratamil.explain import contributions
from stratamil.explain.attention_tables import Case, rounded
from stratamil.stats import agreement
from stratamil.stats.metrics import roc_auc

SCORES = ("mean_auc", "contribution_auc", "margin_auc")


def positive_class(predictions: Path) -> str:
    """Return the positive class of a predictions file as column names have it: that of the last column prob_<class>."""
    return [name for name in pd.read_csv(predictions, nrows=0) if name.startswith("prob_")][-1].removeprefix("prob_")


def read_truth(file: Path, patches: pd.DataFrame) -> dict[str, pd.Series]:
    """Return whether each patch carries the signal: reader -> 1, 0, or NaN where the reader did not say; index path.

    file: see `marks.read_signal`; its column file is the path relative to the patches folder, as in `patches`.
    The first entry, with an empty name, is what most readers say; NaN where as many say the opposite.
    Raises UserError for a wrong table; one without any of these patches is not wrong, see `check`.
    """
    table = marks.read_signal(file)
    share = table.groupby("file")["signal"].mean()
    most = (share > 0.5).astype(float).where(share != 0.5)
    said = {reader: part.set_index("file")["signal"] for reader, part in table.groupby("reader") if reader}
    return {name: signal.reindex(patches["path"]) for name, signal in ({"": most} | said).items()}


def check(file: Path, inventory: Path) -> None:
    """Raise UserError for a table without any patch of the study. inventory: patches.parquet.

    Marks of a few cases may all be of another split than the one at hand.
    """
    named = set(marks.read_signal(file)["file"])
    if not named:
        raise UserError(
            f"{file}: no row has a signal: mark patches as signal and not signal, or set attention.truth to null"
        )
    listed = pq.ParquetFile(inventory).iter_batches(columns=["path"])
    if all(named.isdisjoint(batch["path"].to_pylist()) for batch in listed):
        raise UserError(f"{file}: none of the patches is in it: file must be the path below the patches folder")


def truth_scores(cases: list[Case], truth: pd.Series, positive: str) -> dict[str, Any]:
    """Return how well attention finds the signal patches of positive cases, as AUROCs; chance is 0.5.

    truth: as of `read_truth`. positive: as of `positive_class`. Scored are its cases with known patches of both kinds,
    and of them these patches. Each number is the mean over cases of the AUROC within a case: `mean_auc` of the
    effective weight, `contribution_auc` of the contribution to the positive logit, `margin_auc` of the
    `margin_contribution` to that class. None where no case could be scored.
    """
    scored = []
    for case in cases:
        signal = truth[case.patches["path"]].to_numpy()
        known = ~np.isnan(signal)
        if names.column(case.true_label) == positive and both(signal[known]):
            scores = _scores(case.patches, positive)
            scored.append({name: roc_auc(signal[known], np.asarray(score)[known]) for name, score in scores.items()})
    table = pd.DataFrame(scored, columns=list(SCORES))
    spread = table["mean_auc"].std(ddof=1) if len(table) > 1 else None
    means = {name: rounded(table[name].mean()) if len(table) else None for name in table}
    return {"positive_class": positive, "cases": len(table), **means, "sd_auc": rounded(spread)}


def both(signal: NDArray[np.float64]) -> bool:
    """Return whether there are patches with the signal and without."""
    return 0 < signal.sum() < len(signal)


def reader_scores(cases: list[Case], truth: Mapping[str, pd.Series], positive: str) -> list[dict[str, Any]]:
    """Return `truth_scores` by each reader, with the number of patches of these cases that they marked."""
    return [
        {"reader": reader, "marked": int(signal.notna().sum()), **truth_scores(cases, signal, positive)}
        for reader, signal in truth.items()
        if reader
    ]


def agreed(file: Path) -> dict[str, Any] | None:
    """Return how far readers agree on the patches that several marked; None where none did.

    kappa: Cohen's of two readers, Fleiss' of more; None where all have one mark. same: share of pairs of marks of a
    patch that are equal.
    """
    table = marks.read_signal(file)
    table = table[table["reader"] != ""]
    table = table[table.groupby("file")["reader"].transform("size") > 1]
    if table.empty:
        return None
    wide = table.pivot(index="file", columns="reader", values="signal")
    counts = np.stack([(wide == value).sum(axis=1) for value in (0, 1)], axis=1)
    n = counts.sum(axis=1)
    two = wide.shape[1] == 2
    kappa = agreement.cohen(*wide.to_numpy().T) if two else agreement.fleiss(counts)
    same = (counts * (counts - 1)).sum(axis=1) / (n * (n - 1))
    found = {"readers": wide.shape[1], "patches": len(wide), "statistic": "Cohen's kappa" if two else "Fleiss' kappa"}
    return found | {"kappa": rounded(kappa), "same": rounded(same.mean())}


def _scores(patches: pd.DataFrame, positive: str) -> dict[str, pd.Series | NDArray]:
    return {
        "mean_auc": patches["effective_weight"],
        "contribution_auc": patches[contributions.PREFIX + positive].astype(float),
        "margin_auc": contributions.of_table(patches, positive),
    }

"""Whether attention finds known signal, planted or annotated, which a table of the user gives patch by patch."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.core import names
from stratamil.core.errors import UserError
from stratamil.explain import contributions
from stratamil.explain.attention_tables import Case, rounded
from stratamil.stats.metrics import roc_auc

SHOWN = 5  # problems of one kind in an error


def positive_class(predictions: Path) -> str:
    """Return the positive class of a predictions file as column names have it: that of the last column prob_<class>."""
    return [name for name in pd.read_csv(predictions, nrows=0) if name.startswith("prob_")][-1].removeprefix("prob_")


def read_truth(file: Path, patches: pd.DataFrame) -> pd.Series:
    """Return whether each patch carries the signal: 1, 0, or NaN where `file` has no row; index path.

    file: table with columns file (path relative to the patches folder, as in `patches`) and signal (0 or 1).
    Raises UserError for another value, a file listed twice, or a table without any of the patches.
    """
    try:
        truth = pd.read_csv(file, dtype=str, keep_default_na=False, sep=None, engine="python", encoding="utf-8-sig")
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise UserError(f"{file}: not a CSV table in UTF-8: {error}: save it as CSV UTF-8") from None
    lacking = [column for column in ("file", "signal") if column not in truth]
    if lacking:
        raise UserError(*(f"{file}: column {column} is missing: the columns are file and signal" for column in lacking))
    problems = [
        f"{file}: row {i + 2}: signal is {value}: write 0 or 1"
        for i, value in truth.loc[~truth["signal"].isin(["0", "1", "0.0", "1.0"]), "signal"].head(SHOWN).items()
    ]
    problems += [
        f"{file}: row {i + 2}: {value} is listed twice: remove one"
        for i, value in truth.loc[truth["file"].duplicated(), "file"].head(SHOWN).items()
    ]
    signal = truth.set_index("file")["signal"]
    if not problems and not patches["path"].isin(signal.index).any():
        problems.append(f"{file}: none of the patches is in it: file must be the path below the patches folder")
    if problems:
        raise UserError(*problems)
    return signal.reindex(patches["path"]).astype(float)


def truth_scores(cases: list[Case], truth: pd.Series, positive: str) -> dict[str, Any]:
    """Return how well attention finds the signal patches of positive cases, as AUROCs; chance is 0.5.

    truth: as of `read_truth`. positive: as of `positive_class`. Scored are its cases whose patches all have a known
    truth, of both kinds. Each number is the mean over cases of the AUROC within a case: `mean_auc` of the effective
    weight, `contribution_auc` of the contribution to the positive logit, `margin_auc` of the `margin_contribution` to
    that class. None where no case could be scored.
    """
    scored = []
    for case in cases:
        signal = truth[case.patches["path"]].to_numpy()
        if names.column(case.true_label) == positive and not np.isnan(signal).any() and 0 < signal.sum() < len(signal):
            scored.append({name: roc_auc(signal, score) for name, score in _scores(case.patches, positive).items()})
    table = pd.DataFrame(scored, columns=["mean_auc", "contribution_auc", "margin_auc"])
    spread = table["mean_auc"].std(ddof=1) if len(table) > 1 else None
    means = {name: rounded(table[name].mean()) if len(table) else None for name in table}
    return {"positive_class": positive, "cases": len(table), **means, "sd_auc": rounded(spread)}


def _scores(patches: pd.DataFrame, positive: str) -> dict[str, pd.Series | NDArray]:
    return {
        "mean_auc": patches["effective_weight"],
        "contribution_auc": patches[contributions.PREFIX + positive].astype(float),
        "margin_auc": contributions.of_table(patches, positive),
    }

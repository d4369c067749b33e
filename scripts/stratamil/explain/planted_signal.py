"""Whether attention finds known signal, as a table of the user names it patch by patch: planted, or annotated."""

import csv

import numpy as np
import pandas as pd

from stratamil.core import names
from stratamil.core.errors import UserError
from stratamil.explain import contributions
from stratamil.explain.attention_tables import rounded
from stratamil.stats.metrics import roc_auc

SHOWN = 5  # problems of one kind in an error


def positive_class(predictions):
    """The positive class of a predictions file as part of a column name: that of the last column prob_<class>."""
    return [name for name in pd.read_csv(predictions, nrows=0) if name.startswith("prob_")][-1].removeprefix("prob_")


def read_truth(file, patches):
    """Whether each patch carries the signal: Series of 1, 0, or NaN where `file` has no row, index path.

    file: table with columns file (path relative to the patches folder, as in `patches`) and signal (0 or 1).
    Raises UserError for other values, a file listed twice, or a table without any of the patches.
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
    found = truth.set_index("file")["signal"]
    if not problems and not patches["path"].isin(found.index).any():
        problems.append(f"{file}: none of the patches is in it: file must be the path below the patches folder")
    if problems:
        raise UserError(*problems)
    return found.reindex(patches["path"]).astype(float)


def truth_scores(cases, truth, positive):
    """How well attention tells signal patches of positive cases from their others; chance is .5.

    positive: as of `positive_class`. Scored are its cases with a known truth of all patches, of both kinds. AUC in a
    case, then the mean over cases: `mean_auc` of the effective weight, `contribution_auc` of the contribution to the
    positive logit, `margin_auc` of the `margin_contribution` to that class. None where no case could be scored.
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


def _scores(patches, positive):
    return {
        "mean_auc": patches["effective_weight"],
        "contribution_auc": patches[contributions.PREFIX + positive].astype(float),
        "margin_auc": contributions.of_table(patches, positive),
    }

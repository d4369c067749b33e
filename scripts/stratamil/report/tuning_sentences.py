"""Sentences on settings that were chosen: what was chosen, how stable it is, and whether it helped."""

from collections.abc import Mapping
from typing import Any

from stratamil.core.wording import listed, n_of, num
from stratamil.report.sentences import ci

METRICS = {"log_loss": "log loss", "auc": "AUROC"}

LIMITS = (
    "Inner models train on fewer cases than the split’s own. With few cases the best of many candidates is mostly "
    "luck: trust the difference on test cases, not the inner score."
)


def helped(tuned: Mapping[str, Any], headline: str) -> str:
    """Say in a sentence whether choosing settings helped, by AUROC and log loss on test cases."""
    auc, loss = tuned["auc_difference"]["fold_mean" if headline == "fold_mean" else "model"], tuned["gain"]
    if tuned["kept"] == len(tuned["rows"]):
        return "Every split kept the study’s own settings, so choosing changed nothing."
    figures = (
        f"AUROC {_signed(auc.value)}{ci(auc)} against the study’s own settings, log loss "
        f"{_signed(None if loss.value is None else -loss.value)}{_flipped(loss)}"
    )
    if auc.low is None or auc.low <= 0 <= auc.high:
        if loss.low is not None and loss.low > 0:
            return f"Choosing settings lowered the log loss, but is not shown to change the AUROC: {figures}."
        if loss.high is not None and loss.high < 0:
            return f"Choosing settings raised the log loss, and is not shown to change the AUROC: {figures}."
        return f"This cohort cannot show that choosing settings helped: {figures}."
    return f"Choosing settings {'raised' if auc.low > 0 else 'lowered'} the AUROC: {figures}."


def chosen(tuned: Mapping[str, Any]) -> str:
    """Say what was tried, and how much the splits agree."""
    splits, times = len(tuned["rows"]), tuned["seeds"]
    tried = (
        f"In each split {n_of(tuned['candidates'], 'candidate')} were trained in {tuned['inner_folds']} inner folds of "
        f"its training and validation cases, {'once' if times == 1 else f'{times} times'} each, and scored by "
        f"{METRICS[tuned['metric']]}."
    )
    if tuned["kept"] == splits:
        return tried
    kept = f"{tuned['kept']} of {splits} splits kept the study’s own settings"
    agree = (
        "the others chose the same candidate"
        if tuned["different"] - (tuned["kept"] > 0) == 1
        else f"the others chose {tuned['different'] - (tuned['kept'] > 0)} different candidates"
    )
    return f"{tried} {kept}; {agree}."


def optimism(tuned: Mapping[str, Any]) -> str:
    """Say how the inner score of what was chosen compares with its score on test cases."""
    if tuned["inner"] is None or tuned["outer"] is None:
        return ""
    name, worse = METRICS[tuned["metric"]], tuned["outer"] - tuned["inner"]
    worse = worse if tuned["metric"] == "log_loss" else -worse
    how = "too good" if worse > 0 else "not too good"
    return (
        f"The chosen settings had an inner {name} of {num(tuned['inner'], 2)} and one of {num(tuned['outer'], 2)} on "
        f"test cases, mean of splits: the inner score was {how}{f' by {num(worse, 2)}' if worse > 0 else ''}."
    )


def changes(row: Mapping[str, Any]) -> str:
    """Return what a split chose otherwise than the study, in a cell."""
    return listed([f"{_called(name)} {value}" for name, value in row["changed"].items()]) or "the study’s own"


def _called(setting: str) -> str:
    """Return a setting's name for readers: learning rate for train.lr."""
    name = setting.partition(".")[2]
    return {"lr": "learning rate", "embed_dim": "embedding width"}.get(name, name.replace("_", " "))


def _signed(value: float | None) -> str:
    return num(value, 2) if value is None or value <= 0 else f"+{num(value, 2)}"


def _flipped(gain: Any) -> str:
    """Return the CI of a change whose gain has this one."""
    if gain.low is None:
        return ""
    return f" (95% CI {num(-gain.high, 2)} to {num(-gain.low, 2)})"

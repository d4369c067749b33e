"""Sentences on settings that were chosen: what was chosen, how stable it is, and whether it helped."""

from collections.abc import Mapping
from typing import Any

from stratamil.core.wording import n_of, num, span
from stratamil.report.sentences import ci

METRICS = {"log_loss": "log loss", "auc": "AUROC"}
TIMES = {1: "once", 2: "twice"}
CALLED = {"lr": "learning rate", "embed_dim": "embedding width", "instance_weight": "weight of the instance loss"}
POOLED = {
    "hierarchical": "hierarchical attention",
    "flat": "one attention over all patches",
    "mean": "mean of all patches",
    "mean_mlp": "mean of all patches and a hidden layer",
    "lse": "log-sum-exp of all patches",
}

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
        f"against the study’s own settings the AUROC changed by {_signed(auc.value)}{ci(auc)} and the log loss by "
        f"{_signed(None if loss.value is None else -loss.value)}{_flipped(loss)}"
    )
    if auc.low is not None and not auc.low <= 0 <= auc.high:
        return f"Choosing settings {'raised' if auc.low > 0 else 'lowered'} the AUROC: {figures}."
    if loss.low is not None and not loss.low <= 0 <= loss.high:
        how = "lowered the log loss, but" if loss.low > 0 else "raised the log loss, and"
        return f"Choosing settings {how} is not shown to change the AUROC: {figures}."
    return f"This cohort cannot show that choosing settings helped: {figures}."


def chosen(tuned: Mapping[str, Any]) -> str:
    """Say what was tried, and how much the splits agree."""
    splits, times = len(tuned["rows"]), tuned["seeds"]
    tried = (
        f"In each split, {n_of(tuned['candidates'], 'candidate')} were trained {TIMES.get(times, f'{times} times')} in "
        f"each of {tuned['inner_folds']} inner folds of its training and validation cases and scored by "
        f"{METRICS[tuned['metric']]}."
    )
    if tuned["kept"] == splits:
        return tried
    others = tuned["different"] - (tuned["kept"] > 0)
    agree = "the others chose the same candidate" if others == 1 else f"the others chose {others} different candidates"
    if not tuned["kept"]:
        return f"{tried} No split kept the study’s own settings; {agree.replace('the others', 'the splits')}."
    if splits - tuned["kept"] == 1:
        agree = "one chose another candidate"
    return f"{tried} The study’s own settings were kept in {tuned['kept']} of {n_of(splits, 'split')}; {agree}."


def optimism(tuned: Mapping[str, Any]) -> str:
    """Say how the inner score of what was chosen compares with its score on test cases."""
    if tuned["inner"] is None or tuned["outer"] is None:
        return ""
    name, worse = METRICS[tuned["metric"]], round(tuned["outer"], 2) - round(tuned["inner"], 2)
    worse = round(worse if tuned["metric"] == "log_loss" else -worse, 2)
    how = f"too good by {num(worse, 2)}" if worse > 0 else "not too good"
    return (
        f"The chosen settings had a mean {name} of {num(tuned['inner'], 2)} in the inner folds and "
        f"{num(tuned['outer'], 2)} on test cases: the inner score was {how}."
    )


def changes(row: Mapping[str, Any]) -> str:
    """Return what a split chose otherwise than the study, in a cell."""
    return ", ".join(_called(name, value) for name, value in row["changed"].items()) or "none"


def _called(setting: str, value: Any) -> str:
    """Return a setting with its value for readers: learning rate 0.001 for train.lr."""
    name = setting.partition(".")[2]
    called = CALLED.get(name, name.replace("_", " "))
    if name == "aggregation":
        return POOLED[value]
    if isinstance(value, bool) or value is None:
        return f"{called}: {'yes' if value else 'no'}"
    return f"{called} {'; '.join(map(str, value)) if isinstance(value, list) else value}"


def _signed(value: float | None) -> str:
    return num(value, 2) if value is None or round(value, 2) <= 0 else f"+{num(value, 2)}"


def _flipped(gain: Any) -> str:
    """Return the CI of a change whose gain has this one."""
    if gain.low is None:
        return ""
    return f" (95% CI {span(-gain.high, -gain.low, 2)})"

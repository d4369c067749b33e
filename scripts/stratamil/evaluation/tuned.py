"""What choosing settings came to: chosen where, how stable, inner against outer scores, and whether it helped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stratamil.core.names import natural
from stratamil.evaluation import competitors, tuning_space
from stratamil.evaluation.competitors import Measured
from stratamil.evaluation.retrained import DEFAULT
from stratamil.evaluation.study import Study, mean_of
from stratamil.stats import intervals, metrics

SCORES = {"log_loss": metrics.log_loss, "auc": metrics.auc}


def read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return what chosen.yaml says of each split, in the order of splits."""
    return sorted((tuning_space.read(path) for path in paths), key=lambda choice: natural(str(choice["split"])))


def found(study: Study, choices: Sequence[Mapping[str, Any]], ours: Mapping[str, Measured]) -> dict[str, Any] | None:
    """Return the numbers of the section on chosen settings; None where nothing was chosen.

    choices: of `read`. ours: of `competitors.of_model`. rows: a split with what was chosen, its inner mean and the
    outer score of a single training, both of the chosen and of the study's own settings. gain: log loss of the study's
    own settings less that of the chosen, paired by patient. auc_difference: of the chosen less the study's own, by
    `ours`. settings: names of those that were chosen; differ: of which the splits chose different values, with these.
    """
    own = study.retrained_rows.get(DEFAULT)
    choices = [choice for choice in choices if str(choice["split"]) in study.splits]
    if own is None or not choices:
        return None
    metric = choices[0]["metric"]
    rows = [_row(study, choice, own) for choice in choices]
    settings = {name: [choice["chosen"]["settings"][name] for choice in choices] for name in _names(choices)}
    summary = competitors.summary(study, own, ours)
    return {
        "metric": metric,
        "candidates": choices[0]["candidates"],
        "inner_folds": choices[0]["inner_folds"],
        "seeds": len(choices[0]["seeds"]),
        "settings": list(settings),
        "rows": rows,
        "kept": sum(row["candidate"] == 0 for row in rows),
        "different": len({row["candidate"] for row in rows}),
        "differ": {name: values for name, values in settings.items() if len(set(map(str, values))) > 1},
        "inner": mean_of([row["inner"] for row in rows]),
        "outer": mean_of([row["outer"] for row in rows]),
        "gain": _gain(study, own),
        "auc_difference": summary["auc_difference"],
    }


def _names(choices: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for choice in choices for name in choice["chosen"]["settings"]))


def _row(study: Study, choice: Mapping[str, Any], own: pd.DataFrame) -> dict[str, Any]:
    split, chosen, default = str(choice["split"]), choice["chosen"], choice["default"]
    changed = {name: value for name, value in chosen["settings"].items() if value != default["settings"][name]}
    return {
        "split": split,
        "candidate": chosen["candidate"],
        "best": choice["best"]["candidate"],
        "changed": changed,
        "inner_default": default["inner_mean"],
        "inner": chosen["inner_mean"],
        "outer_default": _outer(study, own[own["split"] == split], choice["metric"]),
        "outer": _outer(study, study.predictions.query("split == @split"), choice["metric"]),
    }


def _outer(study: Study, rows: pd.DataFrame, metric: str) -> float | None:
    """Return the score of the test cases of a split, mean over seeds, as inner folds are scored."""
    score = SCORES[metric]
    return mean_of(
        [score(each["y"].to_numpy(), each[study.probabilities].to_numpy()) for _, each in rows.groupby("seed")]
    )


def _gain(study: Study, own: pd.DataFrame) -> intervals.Estimate:
    """Return by how much the chosen settings lower the log loss of a single training, mean over replicates."""
    values, samples = [], []
    for table in (own, study.predictions):
        tables = [rows for _, rows in table.groupby(["repeat", "seed"])]
        losses = [metrics.log_loss(rows["y"].to_numpy(), rows[study.probabilities].to_numpy()) for rows in tables]
        values.append(mean_of(losses))
        samples.append(sum(study.sampled(rows)["log_loss"] for rows in tables) / len(tables))
    return competitors.difference(*values, samples[0] - samples[1], study.ensemble["patient_id"].nunique())

"""The attention of a split as tables: how much each stain, slice and patch got.

Everywhere, `patches` is the table of evaluate: one row a patch of a test case; columns `COLUMNS`, contribution_<class>.
A weight alone says little, because it shrinks with the number of patches: beside it stands its ratio to an equal share,
weight x N. A patch is known by its `path` only; equal weights are ranked by path, whatever the order of the rows.
The ranking within a case was made by evaluate and stands in the table: figures and other tables follow it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from stratamil.core import ids, names, tables
from stratamil.core.errors import UserError
from stratamil.explain import contributions
from stratamil.stats.metrics import roc_auc
from stratamil.stats.ranking import COMPARED, EQUAL, alike, top_count

WEIGHTS = ["patch_weight", "slice_weight", "stain_weight", "effective_weight"]
COLUMNS = ["case_id", "stain", "slice_id", "patch", "path", *WEIGHTS, *COMPARED]
PREDICTION_COLUMNS = ["case_id", "predicted_class"]
PLACE = ["x", "y"]  # on the slide, of precomputed features
TOLERANCE = 1e-3  # float32 weights of some thousand patches add up to 1 within this, and contributions to a logit


@dataclass(frozen=True)
class Case:
    """A case: its labels, the probability of the predicted one, and its patches, in the table's order.

    true_label: empty where it is not known.
    """

    id: str
    true_label: str
    predicted_label: str
    probability: float
    patches: pd.DataFrame

    @property
    def wrong(self) -> bool:
        """Whether the predicted label is known to be wrong."""
        return self.true_label not in ("", self.predicted_label)

    @property
    def stains(self) -> pd.Series:
        """Weight of each stain that the case has, the stains in the table's order."""
        return self.patches.groupby("stain", sort=False, observed=True)["stain_weight"].first()

    def slices(self, stain: str) -> pd.DataFrame:
        """Return slice_id, weight and patches of a stain's slices, highest weight first (ties: the table's order)."""
        groups = self.patches[self.patches["stain"] == stain].groupby("slice_id", sort=False)
        slices = groups.agg(weight=("slice_weight", "first"), patches=("path", "size")).reset_index()
        return slices.sort_values("weight", ascending=False, kind="stable", ignore_index=True)

    def of_slice(self, stain: str, slice_id: str) -> pd.DataFrame:
        """Return the patches of one slice."""
        return self.patches[(self.patches["stain"] == stain) & (self.patches["slice_id"] == slice_id)]

    @property
    def ranked(self) -> pd.DataFrame:
        """The patches by their rank in the case, as `rank` gives them."""
        ranked = self.patches.sort_values("rank", ignore_index=True)
        return ranked.assign(ratio=ranked["effective_ratio"].astype(float))

    @property
    def margin_contribution(self) -> dict[str, float]:
        """What each patch adds to the margin of the predicted class, by path; below 0 it speaks against that class."""
        values = contributions.of_table(self.patches, names.column(self.predicted_label))
        return dict(zip(self.patches["path"], values))

    @property
    def rival(self) -> str:
        """What the margin of the predicted class is over: the logit of the other class, or the mean of several."""
        classes = sum(name.startswith("contribution_") for name in self.patches)
        return "the other class" if classes == 2 else "the mean of the other classes"

    @property
    def uniform(self) -> bool:
        """Whether all patches weigh the same: the weights of slices and stains then only tell how many they have."""
        return len(self.patches) > 1 and alike(self.patches["effective_weight"])

    @property
    def most_attended(self) -> str:
        """The stain of the highest weight, or `EQUAL` where all patches weigh the same or the highest two stains do."""
        weights = self.stains.sort_values(ascending=False, kind="stable")
        tied = len(weights) > 1 and (self.uniform or alike(weights.iloc[:2]))
        return EQUAL if tied else weights.index[0]

    @property
    def per_patch(self) -> pd.Series:
        """Mean ratio of the patches of each stain to an equal share, highest first: above 1 is more than its number."""
        ratios = self.patches["effective_ratio"].astype(float).groupby(self.patches["stain"], sort=False).mean()
        return ratios.sort_values(ascending=False, kind="stable")

    @property
    def most_per_patch(self) -> str:
        """The stain whose patches weigh most on average, or `EQUAL` where no stain's do."""
        ratios = self.per_patch
        return EQUAL if len(ratios) > 1 and alike(ratios.iloc[:2]) else ratios.index[0]


def read_cases(patch_attention: Path, predictions: Path, stains: list[str]) -> list[Case]:
    """Return the test cases with their patches, in natural order of case_id.

    patch_attention, predictions: files that evaluate wrote for one split and seed. stains: the order of the stains.
    Raises UserError if a column is missing, the files are not of the same cases, or weights do not add up.
    """
    patches, predicted = pd.read_parquet(patch_attention), tables.read(predictions)
    classes = [name.removeprefix("prob_") for name in predicted if name.startswith("prob_")]
    lacking = [
        f"{file}: column {column} is missing: make the file again with evaluate"
        for file, table, wanted in (
            (patch_attention, patches, [*COLUMNS, *(f"contribution_{name}" for name in classes)]),
            (predictions, predicted, [*PREDICTION_COLUMNS, *(f"logit_{name}" for name in classes)]),
        )
        for column in wanted
        if column not in table
    ]
    if lacking:
        raise UserError(*lacking)
    patches = patches.astype(dict.fromkeys(("case_id", "stain", "slice_id", "path"), str))
    problems = [f"{predictions}: {problem}" for problem in _disagreements(patches, predicted, classes)]
    problems += [f"{patch_attention}: {problem}" for problem in _faults(patches, stains)]
    if problems:
        raise UserError(*(f"{problem}: make both files again with evaluate" for problem in problems))
    patches = patches.sort_values("stain", key=lambda s: s.map(stains.index), kind="stable")
    groups = dict(list(patches.groupby("case_id", sort=False)))
    rows = sorted(predicted.to_dict("records"), key=lambda row: names.natural(row["case_id"]))
    return [_case(row, groups[row["case_id"]].reset_index(drop=True)) for row in rows]


def _case(row: dict[str, Any], patches: pd.DataFrame) -> Case:
    label = str(row["predicted_class"])
    return Case(
        id=row["case_id"],
        true_label=str(row.get("true_class", "")),
        predicted_label=label,
        probability=row[f"prob_{names.column(label)}"],
        patches=patches,
    )


def _disagreements(patches: pd.DataFrame, predicted: pd.DataFrame, classes: list[str]) -> Iterator[str]:
    """Yield what shows that the two tables are not of one evaluation."""
    have, wanted = set(patches["case_id"]), set(predicted["case_id"])
    for case in sorted(have ^ wanted, key=names.natural):
        yield f"case {case} has " + ("patches but no prediction" if case in have else "a prediction but no patches")
    for case in predicted.loc[predicted["case_id"].duplicated(), "case_id"]:
        yield f"case {case} is predicted twice"
    for label in predicted["predicted_class"].unique():
        if f"prob_{names.column(str(label))}" not in predicted:
            yield f"class {label} has no column of probabilities"
    if have == wanted and predicted["case_id"].is_unique:
        yield from _of_other_runs(patches.groupby("case_id"), predicted.set_index("case_id"), classes)


def _of_other_runs(
    groups: "pd.api.typing.DataFrameGroupBy", predicted: pd.DataFrame, classes: list[str]
) -> Iterator[str]:
    """Yield cases whose contributions do not explain their logits: logit less contributions is the one bias of all."""
    wrong = set()
    for name in classes:
        explained = groups[f"contribution_{name}"].sum().reindex(predicted.index).astype(float)
        bias = predicted[f"logit_{name}"] - explained
        wrong |= set(bias.index[~((bias - bias.median()).abs() <= TOLERANCE)])
    for case in sorted(wrong, key=names.natural):
        yield f"case {case}: its logits are not those of these patches: the two files are of different runs"


def _faults(patches: pd.DataFrame, stains: list[str]) -> Iterator[str]:
    """Yield what makes the table of patches useless."""
    for stain in sorted(set(patches["stain"]) - set(stains)):
        yield f"stain {stain} is none of {', '.join(stains)}"
    if patches["path"].duplicated().any():
        yield f"patch {patches.loc[patches['path'].duplicated(), 'path'].iloc[0]} stands twice"
    weights = patches[WEIGHTS]
    if not (np.isfinite(weights).all(axis=None) and (weights >= 0).all(axis=None)):
        yield "a weight is negative or not finite"
        return
    totals = weights["effective_weight"].astype(float).groupby(patches["case_id"]).sum()
    for case, total in totals[(totals - 1).abs() > TOLERANCE].items():
        yield f"case {case}: effective weights add up to {total:.4f} instead of 1"
    ranked = patches.sort_values(["case_id", "rank"])
    groups = ranked.groupby("case_id", sort=False)
    unlike = (groups.cumcount() + 1 != ranked["rank"]) | (groups["effective_weight"].diff() > 0)
    for case in sorted(set(ranked.loc[unlike, "case_id"]), key=names.natural):
        yield f"case {case}: its ranks are not those of its effective weights"


def choose(
    cases: list[Case], wanted: Sequence[str] | None = None, most: int | None = None, tested: Sequence[str] = ()
) -> list[Case]:
    """Return the cases to draw figures of: those with the ids `wanted` (None: all), at most `most` (None: any number).

    Where not all are drawn, the wrong ones come first, and among these the surest.

    Ids are matched as everywhere: 038 is 38. tested: ids of all test cases of the study, this split's or not.
    Raises UserError if a wanted id is in none.
    """
    if wanted is not None:
        wanted = [str(text) for text in wanted]
        known = ids.Known([*tested, *(case.id for case in cases)]).match(wanted)
        if unknown := sorted((text for text in wanted if text not in known), key=names.natural) if tested else []:
            raise UserError(
                f"attention.cases: {', '.join(unknown)}: in no test set of the study: take it out, or look for it in"
                " excluded.csv of the inventory"
            )
        cases = [case for case in cases if case.id in known.values()]
    if most is None or len(cases) <= most:
        return cases
    drawn = {case.id for case in sorted(cases, key=lambda case: (not case.wrong, -case.probability))[:most]}
    return [case for case in cases if case.id in drawn]


def ends(ranked: pd.DataFrame, n: int) -> dict[str, pd.DataFrame]:
    """Return the first n and the last n of a ranking, the latter from the last: {"top": ..., "bottom": ...}."""
    return {"top": ranked.head(n), "bottom": ranked.tail(n).iloc[::-1]}


def stains_of(cases: list[Case], stains: Sequence[str]) -> list[str]:
    """Return those of `stains`, in their order, that at least one of the cases has."""
    there = {stain for case in cases for stain in case.patches["stain"].unique()}
    return [stain for stain in stains if stain in there]


def effective_number(weights: ArrayLike) -> float:
    """Return how many equal weights would be as concentrated: 1 / sum(w^2), the inverse Simpson index.

    weights: they sum to 1.
    """
    return float(1 / np.square(np.asarray(weights, dtype=float)).sum())


def normalised_entropy(weights: ArrayLike) -> float:
    """Return -sum(w ln w) / ln N of weights that sum to 1: 1 is an equal share for all. NaN for a single weight.

    Training has it with a gradient: losses.batch_entropy.
    """
    w = np.asarray(weights, dtype=float)
    positive = w[w > 0]
    return float(-(positive * np.log(positive)).sum() / np.log(len(w))) + 0.0 if len(w) > 1 else math.nan


def summary(cases: list[Case], stains: list[str], truth: pd.Series | None = None) -> pd.DataFrame:
    """Return one row a case: labels, stain weights, how concentrated its attention is, and how well it finds the truth.

    truth: 1, 0 or NaN by path; adds n_signal and attention_auc, of the patches with a truth (the latter empty unless
    both kinds occur).
    """
    return pd.DataFrame([_summary_row(case, stains, truth) for case in cases])


def _summary_row(case: Case, stains: list[str], truth: pd.Series | None) -> dict[str, Any]:
    weights, effective = case.stains, case.patches["effective_weight"]
    row = {
        "case_id": case.id,
        "true_class": case.true_label,
        "predicted_class": case.predicted_label,
        "probability": case.probability,
        "n_patches": len(case.patches),
        "most_attended_stain": case.most_attended,
        "most_attended_per_patch": case.most_per_patch,
        **{f"stain_weight_{names.column(stain)}": rounded(weights.get(stain, math.nan)) for stain in stains},
        "normalised_entropy": rounded(normalised_entropy(effective)),
        "effective_patches": round(effective_number(effective), 3),
    }
    if truth is not None:
        signal = truth[case.patches["path"]].to_numpy()
        known = ~np.isnan(signal)
        row["n_signal"] = str(int(signal[known].sum())) if known.any() else ""
        row["attention_auc"] = rounded(roc_auc(signal[known], effective[known])) if known.any() else None
    return row


def rounded(value: float | None) -> float | None:
    """Return a number to six decimals, as tables show it; None stays None."""
    return None if value is None else round(float(value), 6)


def top_patches(case: Case, percent: float) -> pd.DataFrame:
    """Return the `top_count` patches of a case with the highest effective weight, by rank."""
    return case.ranked.head(top_count(len(case.patches), percent))


def top_table(cases: list[Case], percent: float) -> pd.DataFrame:
    """Return `top_patches` of all cases, with their labels."""
    tops = [
        top_patches(case, percent).assign(true_label=case.true_label, pred_label=case.predicted_label) for case in cases
    ]
    table = pd.concat(tops, ignore_index=True).rename(columns={"slice_id": "slice"})
    place = [name for name in PLACE if name in table]
    columns = ["case_id", "stain", "slice", "patch", "path", *place, *WEIGHTS, "true_label", "pred_label", *COMPARED]
    return table[columns]

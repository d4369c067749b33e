"""What a reader must know before trusting the prediction of a new case: flags, each with value, limit and reason."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stratamil.core.names import natural
from stratamil.core.wording import counted, listed, num, pct
from stratamil.deploy import reference, shift
from stratamil.deploy.reference import Reference
from stratamil.features.store import Features

COLUMNS = ("case_id", "flag", "value", "limit", "reason")
# Each flag with its name for readers, the gravest first.
FLAGS = {
    "known_case": "Known case",
    "stain_unknown": "Unknown stain",
    "stains_missing": "Missing stains",
    "few_patches": "Few patches",
    "feature_shift": "Unlike the training cases",
    "members_disagree": "Models disagree",
    "near_threshold": "Near the threshold",
}
SEEN = 0.5  # of a case's images, in the training cohort: a part of a training case is known, too
NEAR = 0.02  # of the threshold: nearer is near, also where all members agree
DISSENT = 1 / 3  # of the members, where out-of-fold predictions give no limit


class Found(NamedTuple):
    """flags: a row a case and flag, COLUMNS; cases in natural order. shift: of `shift.of_cases`."""

    flags: pd.DataFrame
    shift: pd.DataFrame


def found(
    known: Reference,
    features: Features,
    predictions: pd.DataFrame,
    members: pd.DataFrame,
    *,
    stains: Sequence[str],
    probabilities: Sequence[str],
    threshold: float | None,
    unknown: Mapping[str, Sequence[str]] | None = None,
) -> Found:
    """Return the flags of new cases, and how far each stain of theirs lies from training.

    predictions: case_id, the columns `probabilities` (of two the last is of the positive class), sd. members: the same
    of each member, with split and seed. stains: of the model. threshold: the frozen one, of two classes. unknown: case
    -> the stains that the grammar of names does not know; those that the model does not know are seen here.
    """
    amounts = reference.amounts(features.table, stains)
    shifts = shift.of_cases(features, known.distributions, known.facts["shift"]["usual"], stains)
    rows = [
        *_known(known, features, stains, amounts.index),
        *_unknown(features.table, stains, unknown or {}),
        *_missing(known.facts, amounts),
        *_few(known.facts, amounts),
        *_shifted(known.facts, shifts),
        *_disagreeing(known.facts, predictions, members, probabilities, threshold),
        *_near(predictions, probabilities, threshold),
    ]
    order, table = list(FLAGS), pd.DataFrame(rows, columns=list(COLUMNS))
    table = table.iloc[sorted(range(len(rows)), key=lambda i: (natural(rows[i][0]), order.index(rows[i][1])))]
    return Found(table.reset_index(drop=True), shifts)


def joined(table: pd.DataFrame, case_ids: Sequence[str]) -> list[str]:
    """Return the flags of each case, joined by semicolons; table: `Found.flags`."""
    of_case = table.groupby("case_id", sort=False)["flag"].agg(";".join)
    return [of_case.get(case, "") for case in case_ids]


Row = tuple[str, str, Any, Any, str]


def _known(known: Reference, features: Features, stains: Sequence[str], cases: Sequence[str]) -> list[Row]:
    bags, rows = reference.hashed(features, stains), []
    for case in cases:
        share = known.known(bags.distinct(case))
        if share >= SEEN:
            text = f"{pct(share)} of its images were in the training cohort: this prediction is not independent"
            rows.append((case, "known_case", share, SEEN, text))
    return rows


def _unknown(table: pd.DataFrame, stains: Sequence[str], unknown: Mapping[str, Sequence[str]]) -> list[Row]:
    strange: dict[str, set[str]] = {case: set(names) for case, names in unknown.items() if names}
    for case, stain in table.loc[~table["stain"].isin(stains), ["case_id", "stain"]].drop_duplicates().to_numpy():
        strange.setdefault(case, set()).add(stain)
    return [
        (case, "stain_unknown", len(names), 0, f"the model does not know {listed(sorted(names))}: not used")
        for case, names in strange.items()
    ]


def _missing(facts: Mapping[str, Any], amounts: pd.DataFrame) -> list[Row]:
    seen = set(facts["combinations"])
    return [
        (case, "stains_missing", len(text.split("+")), None, f"no training case had {text.replace('+', ', ')} alone")
        for case, text in amounts["stains"].items()
        if text not in seen
    ]


def _few(facts: Mapping[str, Any], amounts: pd.DataFrame) -> list[Row]:
    least = facts["patches"]["least"]
    return [
        (case, "few_patches", n, least, f"{counted(n, 'patch')}; every training case had {least} or more")
        for case, n in amounts["n_patches"].items()
        if n < least
    ]


def _shifted(facts: Mapping[str, Any], shifts: pd.DataFrame) -> list[Row]:
    limit, rows = facts["shift"]["limit"], []
    if limit is None:
        return rows
    for case, own in shifts[shifts["shift"] > limit].groupby("case_id", sort=False):
        worst = own.sort_values("shift", ascending=False)
        told = listed([f"{stain} {num(value, 1)}" for stain, value in zip(worst["stain"], worst["shift"])])
        text = f"its patches are unlike those of training: {told} times the usual distance, limit {num(limit, 1)}"
        rows.append((case, "feature_shift", float(worst["shift"].iloc[0]), limit, text))
    return rows


def _disagreeing(
    facts: Mapping[str, Any],
    predictions: pd.DataFrame,
    members: pd.DataFrame,
    probabilities: Sequence[str],
    threshold: float | None,
) -> list[Row]:
    limit = facts["disagreement"]["limit"]
    if limit is not None:
        sds = reference.disagreement(members, probabilities)
        share = pct(facts["disagreement"]["share"])
        return [
            (case, "members_disagree", float(sd), limit,
             f"SD {num(sd, 2)} between trainings; {share} of training cases had {num(limit, 2)} or less")
            for case, sd in sds.items() if sd > limit
        ]  # fmt: skip
    mine = dict(zip(predictions["case_id"], _decided(predictions, probabilities, threshold)))
    others = pd.Series(_decided(members, probabilities, threshold)) != members["case_id"].map(mine).to_numpy()
    shares = others.groupby(members["case_id"].to_numpy(), sort=False).mean()
    return [
        (case, "members_disagree", float(share), DISSENT, f"{pct(share)} of the models decide otherwise")
        for case, share in shares.items()
        if share >= DISSENT
    ]


def _decided(table: pd.DataFrame, probabilities: Sequence[str], threshold: float | None) -> np.ndarray:
    p = table[list(probabilities)].to_numpy()
    return p.argmax(axis=1) if threshold is None else (p[:, -1] >= threshold).astype(int)


def _near(predictions: pd.DataFrame, probabilities: Sequence[str], threshold: float | None) -> list[Row]:
    """Return the cases whose decision would differ within one SD over members; without a threshold, of two classes."""
    p, sds, rows = predictions[list(probabilities)].to_numpy(), predictions["sd"].fillna(0.0), []
    for case, own, sd in zip(predictions["case_id"], p, sds):
        second, first = np.sort(own)[-2:]
        value, limit = (own[-1], threshold) if threshold is not None else (first, second)
        if abs(value - limit) <= max(sd, NEAR):
            beside = "the threshold" if threshold is not None else "the next class"
            margin = f"SD over models {num(sd, 2)}" if sd > NEAR else f"within {num(NEAR, 2)}"
            text = f"probability {num(value, 2)}, {beside} {num(limit, 2)}; {margin}"
            rows.append((case, "near_threshold", float(value), float(limit), text))
    return rows

"""What a reader must know before trusting the prediction of a new case: flags, each with value, limit and reason."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stratamil.core.names import natural
from stratamil.core.wording import apart, counted, listed, num, pct
from stratamil.deploy import reference, shift
from stratamil.deploy.reference import Reference
from stratamil.features.store import Features
from stratamil.mil.bags import Bags

COLUMNS = ("case_id", "flag", "value", "limit", "reason")
# Each flag with its name for readers, the gravest first.
FLAGS = {
    "known_case": "Known case",
    "no_good_patch": "No good patch",
    "stain_unknown": "Unknown stain",
    "stains_missing": "Missing stains",
    "telling_stain_missing": "Lacks a stain that told the class",
    "few_patches": "Few patches",
    "feature_shift": "Unlike the training cases",
    "members_disagree": "Models disagree",
    "near_threshold": "Near the threshold",
}
SEEDS_DISAGREE = "Seeds disagree"  # its name where the training cases gave a limit: of the seeds of a split
SEEN = 0.5  # of a case's images, in the training cohort: a part of a training case is known, too
NEAR = 0.02  # of the threshold: nearer is near, also where all members agree
DISSENT = 1 / 3  # of the members, where out-of-fold predictions give no limit


class Seen(NamedTuple):
    """What flags need of the features of a case, which can then be let go.

    known: share of its images that were in the training cohort. emptied: whether all of its patches would be excluded
    for their quality. unknown: its stains that the model does not know.
    stains: joined by +, in the model's order. shift: of `shift.rows`.
    """

    known: float
    emptied: bool
    unknown: tuple[str, ...]
    n_patches: int
    n_slices: int
    stains: str
    shift: list[tuple[Any, ...]]


class Found(NamedTuple):
    """flags: a row a case and flag, COLUMNS; cases in natural order. shift: of `shift.of_cases`."""

    flags: pd.DataFrame
    shift: pd.DataFrame


def seen(known: Reference, features: Features, bags: Bags, unknown: Mapping[str, Sequence[str]]) -> dict[str, Seen]:
    """Return what there is to see in the features of each case.

    bags: those of the features. unknown: case -> the stains that the grammar of names does not know.
    """
    digests, result = reference.hashed(features, bags), {}
    strange = _strange(features.table, bags)
    shifts = groupby(shift.rows(features, bags, known.distributions, known.facts["shift"]["usual"]), itemgetter(0))
    for case, rows in ((case, list(rows)) for case, rows in shifts):
        result[case] = Seen(
            known=known.known(digests.distinct(case)),
            emptied=case in features.emptied,
            unknown=tuple(sorted({*unknown.get(case, ()), *strange.get(case, ())})),
            n_patches=sum(patches for _, _, patches, *_ in rows),
            n_slices=sum(map(len, bags.cases[case])),
            stains="+".join(stain for _, stain, *_ in rows),
            shift=rows,
        )
    return result


def found(
    facts: Mapping[str, Any],
    cases: Mapping[str, Seen],
    predictions: pd.DataFrame,
    members: pd.DataFrame,
    *,
    probabilities: Sequence[str],
    threshold: float | None,
) -> Found:
    """Return the flags of new cases, and how far each stain of theirs lies from training.

    facts: of the Reference. predictions: case_id, the columns `probabilities` (of two the last is of the positive
    class), sd. members: the same of each member, with split and seed. threshold: the frozen one, of two classes.
    """
    shifts = pd.DataFrame([row for each in cases.values() for row in each.shift], columns=list(shift.COLUMNS))
    rows = [
        *(row for case, each in cases.items() for row in _of_case(facts, case, each)),
        *_shifted(facts, shifts),
        *_disagreeing(facts, predictions, members, probabilities, threshold),
        *_near(predictions, probabilities, threshold, len(members) / max(len(predictions), 1)),
    ]
    order, table = list(FLAGS), pd.DataFrame(rows, columns=list(COLUMNS))
    table = table.iloc[sorted(range(len(rows)), key=lambda i: (natural(rows[i][0]), order.index(rows[i][1])))]
    return Found(table.reset_index(drop=True), shifts)


def names(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return each flag with its name for readers, the gravest first. facts: of the Reference."""
    seeds = {"members_disagree": SEEDS_DISAGREE} if facts["disagreement"]["limit"] is not None else {}
    return FLAGS | seeds


def joined(table: pd.DataFrame, case_ids: Sequence[str]) -> list[str]:
    """Return the flags of each case, joined by semicolons; table: `Found.flags`."""
    of_case = table.groupby("case_id", sort=False)["flag"].agg(";".join)
    return [of_case.get(case, "") for case in case_ids]


Row = tuple[str, str, Any, Any, str]


def _of_case(facts: Mapping[str, Any], case: str, own: Seen) -> Iterator[Row]:
    """Yield the flags that need no other than the case's patches."""
    if own.known >= SEEN:
        text = f"{pct(own.known)} of its images were in the training cohort: this prediction is not independent"
        yield case, "known_case", own.known, SEEN, text
    if own.emptied:
        text = "every patch would be excluded for its quality, so all are used: look at them before the prediction"
        yield case, "no_good_patch", own.n_patches, None, text
    if own.unknown:
        text = f"the model does not know {listed(own.unknown)}: not used"
        yield case, "stain_unknown", len(own.unknown), 0, text
    if own.stains not in facts["combinations"]:
        stains = own.stains.split("+")
        yield case, "stains_missing", len(stains), None, f"no training case had {', '.join(stains)} alone"
    lacked = [row for row in telling(facts) if row["stain"] not in {stain for _, stain, *_ in own.shift}]
    if lacked:
        yield case, "telling_stain_missing", len(lacked), 0, "; ".join(map(_lacking, lacked))
    least = facts["patches"]["least"]
    if own.n_patches < least:
        text = f"{counted(own.n_patches, 'patch')}; every training case had {least} or more"
        yield case, "few_patches", own.n_patches, least, text


def telling(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stains whose presence told the class in training; bundles of earlier versions do not know them."""
    return facts.get("telling_stains", [])


def _lacking(row: Mapping[str, Any]) -> str:
    had = listed([f"{each['with']} of {each['cases']} {name}" for name, each in row["by_class"].items()])
    return f"lacks {row['stain']}; in training {had} cases had it: the model may decide by that"


def _strange(table: pd.DataFrame, bags: Bags) -> dict[str, set[str]]:
    """Return the stains of each case whose patches are in no bag. table: of Features."""
    used, result = np.zeros(len(table), bool), defaultdict(set)
    for case in bags.cases:
        used[bags.rows(case)] = True
    for case, stain in [] if used.all() else table.loc[~used, ["case_id", "stain"]].drop_duplicates().to_numpy():
        result[case].add(stain)
    return result


def _shifted(facts: Mapping[str, Any], shifts: pd.DataFrame) -> list[Row]:
    limit, rows = facts["shift"]["limit"], []
    if limit is None:
        return rows
    for case, own in shifts[shifts["shift"] > limit].groupby("case_id", sort=False):
        worst = own.sort_values("shift", ascending=False)
        nearest = apart(worst["shift"].iloc[-1], limit, 1)[1]
        digits = len(nearest.partition(".")[2])
        told = listed([f"{stain} {num(value, digits)}" for stain, value in zip(worst["stain"], worst["shift"])])
        text = f"its patches are unlike those of training: {told} times the usual distance, limit {nearest}"
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
        told = {case: apart(sd, limit, 2) for case, sd in sds.items() if sd > limit}
        return [
            (case, "members_disagree", float(sds[case]), limit,
             f"SD {sd} between seeds of a split; {share} of training cases had {least} or less")
            for case, (sd, least) in told.items()
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


def _near(
    predictions: pd.DataFrame, probabilities: Sequence[str], threshold: float | None, members: float
) -> list[Row]:
    """Return the cases that as many members, trained again, could well decide otherwise.

    Two such means differ with an SD of root 2 times the SE of one over members; within 2 SE more than 1 in 13 of them
    lie beyond the threshold. Without a threshold, the two most probable classes are compared.
    """
    p, rows = predictions[list(probabilities)].to_numpy(), []
    margins = 2 * predictions["sd"].fillna(0.0) / np.sqrt(members)
    for case, own, margin in zip(predictions["case_id"], p, margins):
        second, first = np.sort(own)[-2:]
        value, limit = (own[-1], threshold) if threshold is not None else (first, second)
        if abs(value - limit) <= max(margin, NEAR):
            beside = "the threshold" if threshold is not None else "the next class"
            within = f"twice the SE over models, {num(margin, 2)}" if margin > NEAR else num(NEAR, 2)
            own, other = apart(value, limit, 2)
            text = f"probability {own}, {beside} {other}: within {within}"
            rows.append((case, "near_threshold", float(value), float(limit), text))
    return rows

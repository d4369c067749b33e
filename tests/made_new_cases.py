"""New cases in memory: features like those of a study, what a bundle says, and predictions as predict writes them."""

import made_study
import numpy as np
import pandas as pd
from factories import STAINS, features

from stratamil.deploy import flags, reference
from stratamil.mil.bags import Bags

N, DIM = 40, 12
LIKE = {str(i + 1): [[8, 6], [7], [9] if i % 3 else []] for i in range(N)}  # every third case lacks sox10
PROBS = ["prob_benign", "prob_high_grade"]


def moved(shape, seed=0, by=0.0, colour=False):
    """Features of a cohort whose cases differ among themselves; `by` moves all of them."""
    data, random = features(shape, DIM, seed), np.random.default_rng(seed + 1)
    own = {case: random.normal(size=DIM) for case in shape}
    data.values = (data.values + np.array([own[case] for case in data.table["case_id"]]) + by).astype(np.float16)
    if colour:
        data.colour = (random.normal(size=(len(data.table), 60)) * 0.1 + 0.5 + by).astype(np.float16)
    return data


def new(shape, **how):
    """Features of cases that no training has seen."""
    return moved({f"new {case}": slices for case, slices in shape.items()}, seed=50, **how)


def study(**more):
    """A study of cases 1 to N with two seeds."""
    y = np.arange(N) % 2
    return made_study.study(np.random.default_rng(3).normal(size=N) + 1.5 * y, y, seeds=(1, 2), noise=0.3, **more)


def facts(known, **more):
    """What bundle.json says, as far as the pages read it."""
    return {
        "title": "Made study",
        "classes": made_study.CLASSES,
        "stains": STAINS,
        "source": "patches",
        "members": [{"split": "01", "seed": 1}, {"split": "02", "seed": 1}],
        "decision": {"threshold": 0.45, "temperature": 1.3},
        "reference": known.facts,
    } | more


def predicted(known, data, score, threshold=0.45, spread=0.02):
    """predictions.csv, members and the flags of the cases of these features; score: probability of the last class."""
    amounts = reference.amounts(data.table, STAINS)
    p = np.asarray(score)
    table = pd.DataFrame({"case_id": amounts.index, "prob_benign": 1 - p, "prob_high_grade": p})
    members = pd.concat(
        [
            table.assign(split=split, seed=1, prob_high_grade=p + sign * spread, prob_benign=1 - p - sign * spread)
            for split, sign in (("01", 1), ("02", -1))
        ]
    )
    table = table.assign(
        predicted_class=np.where(p >= threshold, *made_study.CLASSES[::-1]),
        calibrated_benign=1 - p,
        calibrated_high_grade=p,
        sd=spread,
        low=p - spread,
        high=p + spread,
        **amounts.reset_index(drop=True),
    )
    seen = flags.seen(known, data, Bags(data, STAINS), {})
    found = flags.found(known.facts, seen, table, members, probabilities=PROBS, threshold=threshold)
    return table.assign(flags=flags.joined(found.flags, table["case_id"])), members, found

"""What a bundle says of the cohort that its model was trained on: summaries to hold new cases against, without any id.

The limit of the feature shift comes from cases that the statistics did not see: for each split they are those of its
training cases, and the distances those of its test cases.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.cohort import telling
from stratamil.cohort.columns import Column
from stratamil.deploy import shift
from stratamil.deploy.shift import Distribution
from stratamil.evaluation import characteristics
from stratamil.evaluation.study import Study
from stratamil.features.store import Features
from stratamil.mil.bags import Bags

SHARE = 0.95  # of held-out training cases that lie below a limit
PART = "shift.{}.{}"  # of a Distribution among the arrays: number of the stain, field


@dataclass(frozen=True)
class Reference:
    """What a bundle says of the training cohort.

    arrays: hashes (uint64, ascending) of its patches, and the Distribution of each stain. facts: for JSON.
    """

    arrays: dict[str, NDArray]
    facts: dict[str, Any]

    @cached_property
    def distributions(self) -> dict[str, Distribution]:
        """Stain -> Distribution of its training cases."""
        return {
            stain: Distribution(*(self.arrays[PART.format(i, name)] for name in Distribution._fields))
            for i, stain in enumerate(self.facts["stains"])
            if PART.format(i, "centre") in self.arrays
        }

    def known(self, digests: NDArray[np.uint64]) -> float:
        """Return the share of a case's digests (`Bags.distinct`) that are of patches of the training cohort."""
        hashes = self.arrays["hashes"]
        if not (len(digests) and len(hashes)):
            return 0.0
        return float((hashes[np.searchsorted(hashes, digests).clip(max=len(hashes) - 1)] == digests).mean())


def of_study(study: Study, features: Features, stains: Sequence[str]) -> Reference:
    """Return the Reference of a study's cases.

    study: with `sets`, and `columns` for the table of the cohort. features: of all its cases. stains: of the model.
    """
    of_training = trained_on(study)
    cases = of_training["case_id"].tolist()
    x: dict[str, dict[str, NDArray]] = {stain: {} for stain in stains}
    colours: dict[str, list[NDArray]] = {stain: [] for stain in stains}
    bags, used = Bags(features, stains), set(cases)
    for case, stain, values, colour, _ in shift.described(features, bags):
        if case in used:
            x[stain][case] = values
            colours[stain] += [] if colour is None else [colour]
    held_out = _held_out(study, x)
    usual = {stain: float(rows.median()) for stain, rows in held_out.items() if len(rows)}
    ratios = pd.DataFrame({stain: rows / usual[stain] for stain, rows in held_out.items() if stain in usual})
    found = amounts(features.table, stains).loc[cases]
    facts = {
        "stains": list(stains),
        "cases": len(cases),
        "combinations": sorted(set(found["stains"])),
        "telling_stains": _telling(study, of_training, features.table, stains),
        "patches": {"least": int(found["n_patches"].min()), "most": int(found["n_patches"].max())},
        "shift": {"limit": limit(ratios.max(axis=1)), "usual": usual, "share": SHARE, "cases": len(ratios)},
        "disagreement": {"limit": limit(disagreement(study.predictions, study.probabilities)), "share": SHARE},
        "colours": {stain: _spread(rows) for stain, rows in colours.items() if rows},
        "development": _development(study, found, stains),
    }
    told_apart = hashed(features, bags)
    arrays = {"hashes": np.unique(np.concatenate([told_apart.distinct(case) for case in cases]))}
    for i, stain in enumerate(stains):
        fitted = shift.fit(np.array(list(x[stain].values())))
        arrays |= {PART.format(i, name): part for name, part in fitted._asdict().items()} if fitted else {}
    return Reference(arrays, json.loads(json.dumps(facts, default=_plain)))


def hashed(features: Features, bags: Bags) -> Bags:
    """Return Bags whose `distinct` recognises cases: by the colour of their images, which no encoder changes.

    bags: those of the features. Precomputed features have no images: they are recognised by themselves.
    """
    result = copy.copy(bags)
    result.values = bags.values if features.colour is None else features.colour
    return result


def amounts(table: pd.DataFrame, stains: Sequence[str]) -> pd.DataFrame:
    """Return n_patches, n_slices and stains (joined by +, in order) of each case, index case_id.

    table: of Features.
    """
    order = {stain: i for i, stain in enumerate(stains)}
    groups = table[table["stain"].isin(order)].groupby("case_id", sort=False)
    slices = groups[["stain", "slice_id"]].apply(lambda rows: len(rows.drop_duplicates()))
    joined = groups["stain"].unique().map(lambda names: "+".join(sorted(names, key=order.get)))
    return pd.DataFrame({"n_patches": groups.size(), "n_slices": slices, "stains": joined})


def described(found: pd.DataFrame, stains: Sequence[str]) -> list[Column]:
    """Return what is known of cases without a labels table, as Columns. found: of `amounts`."""
    counts = (("Patches of a case", "n_patches"), ("Slices of a case", "n_slices"))
    columns = [Column(name, found[key].astype(float), True) for name, key in counts]
    of_case = found["stains"].str.split("+")
    for stain in stains:
        has = ["yes" if stain in names else "no" for names in of_case]
        columns.append(Column(f"Stain {stain}", pd.Series(has, found.index, dtype=object), False))
    return columns


def disagreement(members: pd.DataFrame, probabilities: Sequence[str]) -> pd.Series:
    """Return the SD of the probability over the seeds of a split, root mean square over splits; index case_id.

    The largest over classes; NaN with one seed. members: rows of case_id, split, seed and the probabilities.
    """
    within = members.groupby(["case_id", "split"], sort=False)[list(probabilities)].var(ddof=1)
    return within.groupby(level=0, sort=False).mean().pow(0.5).max(axis=1)


def limit(values: pd.Series) -> float | None:
    """Return what a further case exceeds with a chance of 1 - `SHARE` at most, if there are cases enough to tell.

    The value of rank (n + 1) `SHARE` (split conformal, Vovk et al. 2005), or else the largest; None without values.
    """
    known = np.sort(values.dropna().to_numpy())
    rank = int(np.ceil((len(known) + 1) * SHARE))
    return float(known[min(rank, len(known)) - 1]) if len(known) else None


def trained_on(study: Study) -> pd.DataFrame:
    """Return the rows of the cases table that the splits use."""
    used = {case for one in study.sets.values() for case in (*one.train, *one.val, *one.test)}
    return study.cases[study.cases["case_id"].isin(used)]


def _telling(study: Study, cases: pd.DataFrame, table: pd.DataFrame, stains: Sequence[str]) -> list[dict[str, Any]]:
    """Return the stains whose presence told the class, as the cohort page warns: cases of each class, and the warning.

    table: of Features.
    """
    there = {stain: cases["case_id"].isin(table.loc[table["stain"] == stain, "case_id"]) for stain in stains}
    rows = telling.found(telling.presence(there), cases, study.classes, study.bootstrap_samples, study.seed)
    result = []
    for row in telling.warned(rows):
        stain = row["measure"].removeprefix(telling.PRESENCE)
        of_class = there[stain].groupby(cases["class"])
        counts = {name: {"with": int(part.sum()), "cases": len(part)} for name, part in of_class}
        result.append({"stain": stain, "by_class": counts, "warning": telling.sentence(row)})
    return result


def _held_out(study: Study, x: Mapping[str, Mapping[str, NDArray]]) -> dict[str, pd.Series]:
    """Return the distance of each test case from the training cases of its split, by stain; index case_id."""
    result = {}
    for stain, of in x.items():
        found: list[tuple[str, float]] = []
        for split in study.sets.values():
            train, test = ([case for case in part if case in of] for part in (split.train, split.test))
            fitted = shift.fit(np.array([of[case] for case in train]))
            if fitted and test:
                found += zip(test, shift.distance(fitted, np.array([of[case] for case in test])))
        rows = pd.DataFrame(found, columns=["case_id", "distance"])
        result[stain] = rows.groupby("case_id", sort=False)["distance"].mean()
    return result


def _spread(rows: Sequence[NDArray]) -> dict[str, dict[str, float]]:
    """Return mean and SD over cases of each of the COLOURS."""
    means, sds = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1 if len(rows) > 1 else 0)
    return {name: {"mean": float(m), "sd": float(s), "n": len(rows)} for name, m, s in zip(shift.COLOURS, means, sds)}


def _development(study: Study, found: pd.DataFrame, stains: Sequence[str]) -> dict[str, Any]:
    """Return the out-of-fold results and Table 1, for the validation on new cases."""
    cases = study.ensemble
    columns = [
        *described(found, sorted({s for text in found["stains"] for s in text.split("+")})),
        *study.columns.values(),
    ]
    table = characteristics.table(study, columns)
    groups = ["all", *study.classes]
    rows = [
        {name: row[name] for name in ("name", "numeric", "levels", "by_class")}
        | {"cells": {name: row["cells"][name] for name in groups}}
        for row in table["rows"]
    ]
    return {
        "cases": len(cases),
        "patients": int(cases["patient_id"].nunique()),
        "patients_known": bool((cases["patient_id"] != cases["case_id"]).any()),
        "counts": {name: int((cases["y"] == c).sum()) for c, name in enumerate(study.classes)},
        "splits": len(study.splits),
        "seeds": len(study.seeds),
        "repeats": study.repeats,
        "ensemble": study.estimates(cases, study.sampled(cases)),
        "characteristics": {"groups": groups, "sizes": {g: table["sizes"][g] for g in groups}, "rows": rows},
    }


def _plain(value: Any) -> Any:
    """Return what JSON has no word for as what it has."""
    return asdict(value) if is_dataclass(value) else value.item()

"""Sentences that the pages of new cases share: what a flag means, how far cases lie from training."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from stratamil.core.wording import averaged, listed, n_of, num, pct, span
from stratamil.deploy.flags import NEAR, SEEDS_DISAGREE, names, telling

MEANING = {
    "known_case": "The training cohort had half of the images or more. The prediction is not independent.",
    "no_good_patch": "All patches would be excluded for their quality, as blank ones are; they were used.",
    "stain_unknown": "Patches of a stain that the model does not know were not used.",
    "stains_missing": "No training case had exactly these stains.",
    "telling_stain_missing": "A stain is missing that told the class in training: the model may decide by its absence.",
    "few_patches": "Fewer patches than in any training case.",
    "feature_shift": "Patches unlike those of training: other staining, scanner or tissue, or artefacts.",
    "members_disagree": "A third of the models or more decide otherwise.",
    "near_threshold": f"The probability lies within {NEAR}, or twice its SE over models, of the threshold.",
}

SEEDS = (
    "The seeds of one split disagree more than on most training cases. Models of different splits are not compared: "
    "of the training cases, out of fold, each was tested by one split, so that no usual range over splits is known."
)
WIDE = f"A wide range over models of different splits is no flag: “{SEEDS_DISAGREE}” compares the seeds of one split."
NOT_JUDGED = "Whether patches of {} are unlike those of training was not judged: too few training cases have them."


def summary(flags: pd.DataFrame, cases: int, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each flag, raised or not: name, meaning, n of the cases; None where none could be judged.

    facts: of the reference.
    """
    counts = flags["flag"].value_counts()
    meaning = MEANING | ({"members_disagree": SEEDS} if by_seeds(facts) else {})
    rows = [
        {"flag": flag, "name": name, "meaning": meaning[flag], "n": int(counts.get(flag, 0)), "cases": cases}
        for flag, name in names(facts).items()
    ]
    far = next(row for row in rows if row["flag"] == "feature_shift")
    if stains := unjudged(facts):
        far["meaning"] += f" {NOT_JUDGED.format(listed(stains))}"
        far["n"] = None if stains == facts["stains"] else far["n"]
    return rows


def by_seeds(facts: Mapping[str, Any]) -> bool:
    """Tell whether disagreement is that of the seeds of a split, by a limit of the training cases."""
    return facts["disagreement"]["limit"] is not None


def unjudged(facts: Mapping[str, Any]) -> list[str]:
    """Return the stains of which too few training cases had any to say how far a case lies from them."""
    shift = facts["shift"]
    return [stain for stain in facts["stains"] if shift["limit"] is None or stain not in shift["usual"]]


def grave(flags: pd.DataFrame, cases: int, facts: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know first: known cases, bad or unlike ones, and what was not judged.

    facts: of the reference.
    """
    first = ("known_case", "no_good_patch", "feature_shift")
    known, bad, far = (flags.loc[flags["flag"] == name, "case_id"].tolist() for name in first)
    lines = []
    if known:
        lines.append(f"{n_of(len(known), 'case')} of {cases} had a part in the training: {few(known)}.")
    if bad:
        verb = "has" if len(bad) == 1 else "have"
        lines.append(f"{n_of(len(bad), 'case')} of {cases} {verb} nothing but patches of bad quality: {few(bad)}.")
    if far:
        text = f"{len(far)} of {n_of(cases, 'case')} have patches unlike those of training"
        more = " The model was not tested on such images." if len(far) > cases / 4 else ""
        lines.append(f"{text}: {few(far)}.{more}")
    if stains := unjudged(facts):
        lines.append(NOT_JUDGED.format(listed(stains)))
    return lines


def told_by_stains(shifts: pd.DataFrame, facts: Mapping[str, Any]) -> list[str]:
    """Repeat what the training cohort warned of, that a stain tells the class, with the new cases that lack it.

    shifts: shift.csv, a row a case and stain. facts: of the reference.
    """
    cases, lines = shifts["case_id"].unique(), []
    for row in telling(facts):
        there = set(shifts.loc[shifts["stain"] == row["stain"], "case_id"])
        lacking = [case for case in cases if case not in there]
        verb = "lacks" if len(lacking) == 1 else "lack"
        who = f"{len(lacking)} of {n_of(len(cases), 'new case')} {verb} it: {few(lacking)}." if lacking else ""
        lines.append(f"Training cohort: {row['warning']} {who or 'All new cases have it.'}")
    return lines


def repeated(excluded: pd.DataFrame) -> str:
    """Say which rows of the labels repeat a case; nothing if none does."""
    rows = excluded[excluded["kind"] == "row"]
    if rows.empty:
        return ""
    named = few([f"{name} ({detail})" for name, detail in zip(rows["name"], rows["detail"])], 3)
    verb = "repeats" if len(rows) == 1 else "repeat"
    return f"Labels: {named} {verb} a case; ids that differ only in spelling, such as 7 and 007, are one."


def few(names: Sequence[str], shown: int = 6) -> str:
    """Return names, the first few of many."""
    return listed(list(names)) if len(names) <= shown else f"{', '.join(names[:shown])} and {len(names) - shown} more"


def tested(development: Mapping[str, Any]) -> str:
    """Say how the model did out of fold."""
    found = development["ensemble"]
    folds = found["fold_mean"]["low"] is not None
    value, how = (found["fold_mean"], "mean of the test sets") if folds else (found["roc_auc"], "pooled")
    if value["value"] is None:
        return f"The model was trained on {n_of(development['cases'], 'case')}; its AUROC is not defined."
    ci = "" if value["low"] is None else f" (95% CI {span(value['low'], value['high'], 2)})"
    of = f" of {of_ensemble(development)}" if of_ensemble(development) else ""
    own = f"Out of fold, on its own {n_of(development['cases'], 'case')}"
    return f"{own}, the AUROC{of} was {num(value['value'], 2)}{ci}, {how}."


def of_ensemble(development: Mapping[str, Any]) -> str:
    """Return `the ensemble of 3 seeds`, what the out-of-fold AUROC is of; empty where a case was predicted once."""
    trainings = averaged(development["seeds"], development.get("repeats", 1))  # bundles of earlier versions have none
    return f"the ensemble of {trainings}" if trainings else ""


def shifted(facts: Mapping[str, Any]) -> str:
    """Say what the distance is and where the limit comes from. facts: of the reference."""
    limit, share = facts["shift"]["limit"], pct(facts["shift"]["share"])
    if limit is None:
        return NOT_JUDGED.format("any stain")
    return (
        "The distance (Mahalanobis) compares a case's mean patch features with the training cases', stain by stain. "
        f"1 is the median of held-out training cases; at least {share} had no stain beyond {num(limit, 2)}, the limit."
    )

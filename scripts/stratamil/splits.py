"""Splits of the used cases into train, validation and test: generated, or read and checked hard."""

import zipfile
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from stratamil.errors import UserError
from stratamil.files import atomic
from stratamil.names import case_id, natural

SETS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Case ids of the three sets, each in natural order."""

    train: list[str]
    val: list[str]
    test: list[str]


def generate(cases, n, seed):
    """Cross-validation splits: test sets are a partition of the cases, validation is the next fold.

    Stratified by class, grouped by patient (sklearn's StratifiedGroupKFold), the same for the same
    seed whatever the order of the labels table. cases: DataFrame with case_id, class, group.
    Returns a list of n Split. Raises UserError if a class has fewer patients than splits.
    """
    cases = cases.sort_values("case_id", key=lambda ids: ids.map(natural)).reset_index(drop=True)
    patients = cases.groupby("class")["group"].nunique()
    short = [
        f"splits.n is {n}, but class {name} has {found} patients: every test set needs one; lower splits.n or add cases"
        for name, found in patients.items()
        if found < n
    ]
    if short:
        raise UserError(*short)
    folding = StratifiedGroupKFold(n, shuffle=True, random_state=seed)
    folds = [test for _, test in folding.split(cases, cases["class"], cases["group"])]
    ids = cases["case_id"].to_numpy()
    result = []
    for i, test in enumerate(folds):
        val = folds[(i + 1) % n]
        train = np.setdiff1d(np.arange(len(ids)), np.concatenate([test, val]))
        result.append(Split(*(list(ids[np.sort(part)]) for part in (train, val, test))))
    return result


def read(path):
    """Read a split file (npz with train_cases, val_cases, test_cases; integers or text) as a Split."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            sets = {name: [case_id(value) for value in arrays[f"{name}_cases"].tolist()] for name in SETS}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: set splits.preset and splits.n to the split files") from None
    except KeyError as error:
        raise UserError(
            f"{path}: no array {error.args[0].split()[0]}: it needs train_cases, val_cases and test_cases"
        ) from None
    except (ValueError, TypeError, AttributeError, EOFError, OSError, zipfile.BadZipFile):
        raise UserError(f"{path}: not a split file: it must be an npz of three lists without pickled objects") from None
    return Split(**sets)


def write(split, path):
    """Write a Split as npz arrays of text."""
    with atomic(path) as temporary:
        np.savez(temporary, **{f"{name}_cases": np.array(getattr(split, name), dtype=str) for name in SETS})


def check(split, cases, name, classes):
    """All that is wrong with a split, as lines; none if it can be trusted.

    cases: the used cases (case_id, class, group). name: how to call the split in messages.
    classes: names of the classes; a test or training set without one of them is an error.
    """
    sets = {part: getattr(split, part) for part in SETS}
    known = cases.set_index("case_id")
    for part, ids in sets.items():
        twice = sorted({case for case in ids if ids.count(case) > 1}, key=natural)
        if twice:
            yield f"{name}: {part}_cases names {_list(twice)} more than once: keep one"
        unknown = [case for case in ids if case not in known.index]
        if unknown:
            yield (
                f"{name}: {part}_cases names {_list(unknown)}, not among the used cases (see cases.csv): "
                "correct the split or the labels"
            )
        there = set(known.loc[[case for case in ids if case in known.index], "class"])
        absent = [label for label in classes if label not in there]
        if absent:
            yield f"{name}: {part}_cases holds no case of class {_list(absent)}: every set needs every class"
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        both = sorted(set(sets[a]) & set(sets[b]), key=natural)
        if both:
            yield f"{name}: {a}_cases and {b}_cases both hold {_list(both)}: a case belongs to one set"
        groups = {
            part: {known.at[case, "group"]: case for case in sets[part] if case in known.index} for part in (a, b)
        }
        for group in sorted(set(groups[a]) & set(groups[b]), key=natural):
            pair = groups[a][group], groups[b][group]
            if pair[0] != pair[1]:
                yield (
                    f"{name}: patient {group} is in {a}_cases (case {pair[0]}) and {b}_cases (case {pair[1]}): "
                    "keep a patient in one set"
                )


def coverage(splits, cases):
    """Lines that say which used cases are never or more than once in a test set; none if each is once."""
    times = pd.Series([case for split in splits for case in split.test]).value_counts()
    never = [case for case in cases["case_id"] if case not in times.index]
    often = sorted(times[times > 1].index, key=natural)
    if never:
        yield f"in no test set: {_list(never)}"
    if often:
        yield f"in several test sets: {_list(often)}"


def table(splits, cases, classes):
    """Counts of cases, patients and classes of every set: one row a split and set."""
    known = cases.set_index("case_id")
    rows = []
    for i, split in enumerate(splits, 1):
        for part in SETS:
            chosen = known.loc[getattr(split, part)]
            counts = {name: int((chosen["class"] == name).sum()) for name in classes}
            rows.append(
                {"split": f"{i:02d}", "set": part, "cases": len(chosen), "patients": chosen["group"].nunique()} | counts
            )
    return pd.DataFrame(rows)


def _list(ids, n=8):
    return ", ".join(ids[:n]) + (f" and {len(ids) - n} more" if len(ids) > n else "")

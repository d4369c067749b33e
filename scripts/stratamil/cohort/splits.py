"""Splits of the used cases into train, validation and test: generated, or read and checked hard."""

import math
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import eye_array, kron
from sklearn.model_selection import StratifiedGroupKFold

from stratamil.cohort import duplicates
from stratamil.cohort.inventory import USED
from stratamil.core import npz
from stratamil.core.errors import UserError, few
from stratamil.core.files import atomic
from stratamil.core.names import LONGEST, case_id, natural

SETS = ("train", "val", "test")
FINEST = 20  # a share for validation is drawn as m of at most so many folds
MOST, LARGEST = 1_000_000, 2**28  # cases and bytes of a set in a split file
MOST_COPIES = 20  # lines on equal files before the rest is counted
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: it cannot be written
TOLERANCE = 0.1  # share of the due count by which a set may be off balance


@dataclass(frozen=True)
class Split:
    """Case ids of the three sets, each in natural order."""

    train: list[str]
    val: list[str]
    test: list[str]


def generate(cases, classes, n, seed, validation=None, repeats=1, left_out=""):
    """Cross-validation splits, stratified by class and grouped by patient: name -> Split, in order.

    cases: DataFrame with case_id, class, patient_id, in any order. classes: names of the classes. n: splits a repeat,
    whose test sets are a partition of the cases. validation: None, the next test set (n >= 3), or a share of the
    cohort, drawn from what the test set leaves. repeats: partitions; repeat r (from 1) has
    splits (r - 1) * n + 1 to r * n. left_out: what `left_out` says, for the message where a class has too few patients.

    Folds are those of sklearn's StratifiedGroupKFold or, where one of them lacks a class, the nearest that lack none
    (see `_complete`). The same seed gives the same splits: the first partition is drawn with `seed` itself, that of
    repeat r with SeedSequence(seed, spawn_key=(r - 1,)), the validation cases of its split i (from 1) with
    SeedSequence(seed, spawn_key=(r - 1, i)).
    Raises UserError if n and validation leave nothing to train on, or if whole patients cannot be shared out so that
    every set holds every class.
    """
    if shares(n, validation)["train"] < 1e-9:
        asked = "the next test set" if validation is None else f"{validation} of the cases"
        raise UserError(f"splits.n_splits is {n}: validation on {asked} leaves no training cases: set a smaller share")
    cases = cases.set_index("case_id").loc[_sorted(cases["case_id"])].reset_index()
    patients = _enough_patients(cases, classes, n, left_out)
    everyone, made = cases.index.to_numpy(), []
    for repeat in range(repeats):
        # Of two halves each is once all there is to train and validate on.
        folds = _folds(cases, n, _state(seed, repeat), parts=2 if n == 2 else 1)
        if folds is None:
            raise UserError(
                f"splits.n_splits is {n}: no way to share out whole patients gives every set every class: some have "
                f"cases of several classes, and {patients.idxmin()} has only {patients.min()}; "
                "lower splits.n_splits or add cases"
            )
        for i, test in enumerate(folds):
            rest = np.setdiff1d(everyone, test)
            if validation is None:
                val = folds[(i + 1) % n]
            else:
                val = rest[_draw(cases.iloc[rest], validation * n / (n - 1), _state(seed, repeat, i + 1))]
            sets = np.setdiff1d(rest, val), val, test
            made.append(Split(*(cases["case_id"].iloc[part].to_list() for part in sets)))
    return {f"{number:02d}": split for number, split in enumerate(made, 1)}


def left_out(cases: pd.DataFrame, labels: str) -> str:
    """Return why a class has few cases, `; 24 of 30 cases are excluded: 24 with code '2' ...`, or nothing.

    cases: the whole cases table. labels: the labels table that it is of.
    """
    unused = cases[cases["status"] != USED]
    by_code = unused[unused["class"] == ""]["label"].value_counts()
    codes = " and ".join(f"{n} with code {code!r}" for code, n in by_code.items())
    why = [f"{codes} (cohort.excluded_codes)"] if codes else []
    if bare := len(unused) - by_code.sum():
        why.append(f"{bare} without patches")
    return f"; {len(unused)} of {len(cases)} cases in {labels} are excluded: {', '.join(why)}" if why else ""


def _enough_patients(cases, classes, n, left_out):
    """The number of patients of each class. Raises UserError if one has fewer than there are sets that need one."""
    patients = cases.groupby("class")["patient_id"].nunique().reindex(classes, fill_value=0)
    needed, remedy = (4, "add cases") if n == 2 else (n, "lower splits.n_splits or add cases")
    short = [
        f"splits.n_splits is {n}, but class {name} has {found} patients: {needed} are needed, one for every set; "
        f"{remedy if found else 'add cases, or correct its codes in cohort.classes'}{left_out}"
        for name, found in patients.items()
        if found < needed
    ]
    if short:
        raise UserError(*short)
    return patients


def _state(seed, *key):
    """Random state of a draw: `seed` itself for the first partition, else derived from it."""
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0]) if any(key) else seed


def _draw(cases, share, state):
    """Positions of about `share` of the cases, whole patients; both they and the rest hold every class.

    They are m adjoining ones of k stratified folds, those that come nearest to the share of each class; m / k is the
    fraction nearest to the share that has every class in every fold.
    """
    holds = pd.get_dummies(cases["class"]).to_numpy()
    most = min(FINEST, cases.groupby("class")["patient_id"].nunique().min())
    for k in range(most, 1, -1):
        part = Fraction(share).limit_denominator(k)
        part = min(max(part, Fraction(1, k)), Fraction(k - 1, k))
        folds = _folds(cases, part.denominator, state)
        if folds is not None:
            runs = [np.sort(np.concatenate((folds[i:] + folds[:i])[: part.numerator])) for i in range(len(folds))]
            return min(runs, key=lambda run: np.abs(holds[run].sum(axis=0) - share * holds.sum(axis=0)).sum())


def _folds(cases, n, state, parts=1):
    """Positions in `cases` of n stratified folds of whole patients, each with every class; None if there are no such.

    parts: 2 if each fold must itself be divisible into two sets with every class.
    """
    folding = StratifiedGroupKFold(n, shuffle=True, random_state=state)
    fold_of_case = np.empty(len(cases), dtype=int)
    for fold, (_, test) in enumerate(folding.split(cases, cases["class"], cases["patient_id"])):
        fold_of_case[test] = fold
    _, first, patient = np.unique(cases["patient_id"], return_index=True, return_inverse=True)
    counts = pd.crosstab(patient, cases["class"].to_numpy()).to_numpy()
    fold_of = _complete(fold_of_case[first], counts, n, parts)
    return None if fold_of is None else [np.flatnonzero(fold_of[patient] == fold) for fold in range(n)]


def _complete(fold_of, counts, n, parts):
    """The assignment of patients to folds nearest to `fold_of`, (patients,), in which every fold holds every class.

    Nearest: the fewest cases in another fold. counts: (patients, classes) cases. A greedy draw can miss a class that
    has few patients; this is exact, by integer programming: None only if there is no such assignment.
    """
    holds = (counts > 0).astype(float)
    if parts == 1 and all(holds[fold_of == fold].any(axis=0).all() for fold in range(n)):
        return fold_of
    home = np.arange(n * parts) // parts  # the fold of each part
    moved = counts.sum(axis=1)[:, None] * (home != fold_of[:, None])
    found = milp(
        moved.ravel(),
        integrality=1,
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(kron(eye_array(len(counts)), np.ones((1, n * parts))), 1, 1),  # each patient in one part
            LinearConstraint(kron(holds.T, eye_array(n * parts)), 1),  # each class in each part
        ],
    )
    return None if found.x is None else home[found.x.reshape(len(counts), -1).argmax(axis=1)]


def preset(paths, cases, classes):
    """Existing split files, read and checked: name -> Split, numbered in order.

    cases: the whole cases table, see `check`. Raises UserError with all that is wrong with all files.
    """
    made, problems, known = {}, [], {case_id(text): text for text in cases["case_id"]}
    for number, path in enumerate(paths, 1):
        try:
            split = made[f"{number:02d}"] = _as_spelt(read(path), known)
            problems += check(split, cases, path, classes)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*problems)
    return made


def _as_spelt(split: Split, known: dict[str, str]) -> Split:
    """Return the split with the ids that `known` has, normal form -> spelling, so spelt."""
    return Split(*([known.get(case_id(text), text) for text in getattr(split, name)] for name in SETS))


def read(path):
    """Read a split file (npz with train_cases, val_cases, test_cases; whole numbers or text) as a Split.

    The ids are what stands there; `preset` matches those of foreign files with the cases.
    """
    try:
        sets = {name: _text(_array(path, f"{name}_cases"), f"{path}: {name}_cases") for name in SETS}
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: set splits.preset and splits.n_splits to the split files") from None
    except PermissionError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except KeyError as error:
        raise UserError(f"{path}: no array {error.args[0]}: it needs train_cases, val_cases and test_cases") from None
    except Exception:  # zip, zlib, numpy and Python's own parser each have their errors for damaged bytes
        raise UserError(f"{path}: not a split file: it must be an npz of three lists without pickled objects") from None
    return Split(**sets)


def _array(path: str | Path, name: str) -> np.ndarray:
    """An array of an npz. Raises KeyError if it is not there, UserError if it claims more than a split file holds."""
    with zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise KeyError(name)
        info = archive.getinfo(f"{name}.npy")
        shape, _, dtype, _ = npz.header(archive, info)
        n = math.prod(shape)
        if n > MOST or n * dtype.itemsize > min(info.file_size, LARGEST):
            raise UserError(
                f"{path}: not a split file: {name} claims {n:,} cases in {info.file_size:,} bytes: make it again"
            )
        return npz.array(archive, info)


def _text(array: np.ndarray, where: str) -> list[str]:
    """Return the ids of an array. Raises UserError, which begins with `where`, for ids that none can be."""
    if array.ndim != 1:
        raise ValueError("not a list")
    if array.dtype.kind == "f" and (np.abs(array) > 2 ** np.finfo(array.dtype).nmant).any():
        raise UserError(f"{where}: {array.dtype} rounds such large numbers to others: save the ids as text")
    ids = array.astype(str).tolist()
    if wrong := [place for place, text in enumerate(ids, 1) if len(text) > LONGEST or SURROGATE.search(text)]:
        raise UserError(f"{where}: entry {few(wrong)}: no case id (half a character, or over {LONGEST}): correct it")
    return ids


def write(split, path):
    """Write a Split as npz arrays of text."""
    with atomic(path) as temporary:
        np.savez(temporary, **{f"{name}_cases": np.array(getattr(split, name), dtype=str) for name in SETS})


def check(split, cases, name, classes):
    """All that is wrong with a split, as lines that begin with `name`; none if it can be trusted.

    cases: the whole cases table (case_id, class, patient_id, status), for a case
    that is not used is named with its reason.
    classes: names of the classes, each of which every set needs.
    """
    known = cases.set_index("case_id")
    used = known[known["status"] == USED]
    sets = {part: getattr(split, part) for part in SETS}
    for part, ids in sets.items():
        named = pd.Series(ids, dtype=str)
        twice = _sorted(named[named.duplicated()])
        if twice:
            yield f"{name}: {part}_cases names {few(twice, 8)} more than once: keep one"
        for why, unusable in _unusable(named.unique(), known):
            yield f"{name}: {part}_cases names {few(unusable, 8)}, {why}"
        absent = [label for label in classes if label not in set(used["class"].reindex(ids))]
        if not ids:
            yield f"{name}: {part}_cases is empty: every set needs cases of every class"
        elif absent:
            yield f"{name}: {part}_cases holds no used case of class {', '.join(absent)}: every set needs every class"
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        both = set(sets[a]) & set(sets[b])
        if both:
            yield f"{name}: {a}_cases and {b}_cases both hold {few(_sorted(both), 8)}: a case belongs to one set"
        here, there = (_by_patient(known, set(sets[part]) - both) for part in (a, b))
        shared = _sorted(set(here) & set(there))
        if shared:
            found = [f"{patient} (case {here[patient][0]} and case {there[patient][0]})" for patient in shared]
            yield f"{name}: {a}_cases and {b}_cases share patient {few(found, 8)}: keep a patient in one set"


def copies(splits: dict[str, Split], found: pd.DataFrame, cases: pd.DataFrame, name: Path) -> Iterator[str]:
    """Yield a line for cases of different patients that share files and are in different sets of a split.

    splits: name -> Split. found: of duplicates.find. cases: the used cases. name: of the table, for messages.
    """
    patient_of = dict(zip(cases["case_id"], cases["patient_id"]))
    lines = list(duplicates.parted(duplicates.by_cases(found), splits, patient_of))
    for row, split, sets in lines[:MOST_COPIES]:
        number = f"{row['files']} equal file{'s' if row['files'] > 1 else ''}"
        places = ", ".join(f"case {case} in {part}" for part, case in sets.items())
        yield (
            f"{name}: cases {few(row['cases'])} share {number} (e.g. {' = '.join(row['examples'])}), but are of "
            f"different patients, and split {split} has {places}: give them the same patient in the column that "
            "cohort.patient_column names, or remove all but one"
        )
    if len(lines) > MOST_COPIES:
        yield f"{name}: {len(lines) - MOST_COPIES} more groups of cases share files in the same way: see the table"


def _unusable(ids, known):
    """(what is wrong and what to do, ids) of those ids that are no used cases."""
    status = pd.Series(ids).map(known["status"]).fillna("no row")
    for kind in sorted(set(status) - {USED}):
        if kind == "no row":
            why = "not in the labels table: correct the ids, or add them to the labels"
        elif kind == "no patches":
            why = "labelled but without patches: take them out, or add their patches"
        else:
            why = f"labelled but with {kind}: take them out, or give the code a class in cohort.classes"
        yield why, _sorted(ids[status == kind])


def _by_patient(known, ids):
    """Patient -> its cases among `ids`."""
    rows = known.loc[_sorted(case for case in ids if case in known.index)]
    return rows.groupby("patient_id").groups


def shares(n, validation=None):
    """The share of the cohort that is due to each set of generated splits; see `generate`."""
    validation = validation or 1 / n
    return {"train": 1 - 1 / n - validation, "val": validation, "test": 1 / n}


def warnings(splits, cases, classes, shares=None):
    """What a reader should know of splits that are not wrong, one line each.

    Used cases in no test set; cases in several test sets of one repeat; sets where the count of a class is off by at
    least one case and by more than a tenth of what is due, each with its worst class and, where that has too many, the
    largest patient.
    splits: name -> Split, in order. cases: the used cases (case_id, class, patient_id). shares: set -> share of
    the cohort
    that was asked for (`shares`); without, as in preset splits, a class is due its share of the set's own size.
    """
    lines = []
    tested = {case for split in splits.values() for case in split.test}
    never = [case for case in cases["case_id"] if case not in tested]
    if never:
        lines.append(f"{len(never)} of {len(cases)} used cases are in no test set, so never predicted: {few(never, 8)}")
    for names in _repeats(splits, cases["case_id"]):
        for a, b in combinations(names, 2):
            both = _sorted(set(splits[a].test) & set(splits[b].test))
            if both:
                lines.append(f"splits {a} and {b} both test {len(both)} of the cases: {few(both, 8)}")
    known, total = cases.set_index("case_id"), cases["class"].value_counts()
    for name, split in splits.items():
        for part in SETS:
            chosen = known.loc[getattr(split, part)]
            share = shares[part] if shares else len(chosen) / len(cases)
            lines += [f"split {name}: {part} {words}" for words in _imbalance(chosen, total.reindex(classes), share)]
    return lines


def _repeats(splits, ids):
    """Names of the splits by repeat, which ends where every case has been tested; an incomplete rest belongs to it."""
    repeats, left = [[]], set(ids)
    for name, split in splits.items():
        if not left:
            repeats.append([])
            left = set(ids)
        repeats[-1].append(name)
        left -= set(split.test)
    return [*repeats[:-2], repeats[-2] + repeats[-1]] if left and len(repeats) > 1 else repeats


def _imbalance(chosen, total, share):
    """In words, the class whose count in a set is furthest from its due, if that is off balance."""
    found, due = chosen["class"].value_counts().reindex(total.index, fill_value=0), share * total
    off = (found - due).abs()
    worst = off[(off > 1 - 1e-9) & (off > TOLERANCE * due)]
    if len(worst):
        # Of two classes of a set one is as much too many as the other is too few: the former has its reason in the set.
        name = max(worst.index, key=lambda label: (round(off[label], 9), found[label] - due[label]))
        patients, why = chosen["patient_id"][chosen["class"] == name].value_counts(), ""
        if found[name] > due[name] and patients.max() > 1:
            largest = _sorted(patients.index[patients == patients.max()])[0]
            why = f": patient {largest} alone has {patients.max()} cases"
        yield f"holds {found[name]} of {total[name]} {name} cases, {_plain(due[name])} were due{why}"


def _plain(value):
    return f"{value:.1f}".removesuffix(".0")


def table(splits, cases, classes):
    """Counts of cases, patients and classes of every set: one row a split and set. splits: name -> Split."""
    known = cases.set_index("case_id")
    rows = []
    for name, split in splits.items():
        for part in SETS:
            chosen = known.loc[getattr(split, part)]
            counts = {label: int((chosen["class"] == label).sum()) for label in classes}
            rows.append(
                {"split": name, "set": part, "cases": len(chosen), "patients": chosen["patient_id"].nunique()} | counts
            )
    return pd.DataFrame(rows)


def _sorted(ids):
    return sorted(ids, key=lambda text: (natural(text), text))

"""Splits of the used cases into train, validation and test: read, written, checked hard, and their balance."""

import logging
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from stratamil.cohort import duplicates, split_files
from stratamil.cohort.inventory import NO_PATCHES, ONLY_UNKNOWN, USED
from stratamil.core import ids as case_ids
from stratamil.core.errors import UserError, few
from stratamil.core.files import atomic
from stratamil.core.names import natural
from stratamil.core.wording import listed, n_of, of_class

SETS = split_files.SETS
MOST_COPIES = 20  # lines on equal files before the rest is counted
NO_ROW = "no row"  # of a case that the labels table does not have
TOLERANCE = 0.1  # share of the due count by which a set may be off balance


@dataclass(frozen=True)
class Split:
    """Case ids of the three sets, each in natural order."""

    train: list[str]
    val: list[str]
    test: list[str]


@dataclass(frozen=True)
class Off:
    """How a set is off balance: in words, and by which share of the cases that are due."""

    words: str
    by: float


def preset(paths: Iterable[str | Path], cases: pd.DataFrame, classes: Sequence[str]) -> dict[str, Split]:
    """Read and check existing split files: name -> Split, numbered in order.

    cases: the whole cases table, see `check`. Where a split has no validation cases, those of its training cases that
    the next split tests become them. Raises UserError with all that is wrong with all files.
    """
    found, problems = [], {str(path): [] for path in paths}
    for path in problems:
        try:
            known = {}
            found += [(path, _of_cases(each, cases, known)) for each in split_files.read(path)]
            if known:
                logging.warning(case_ids.told(known, str(path)))
        except UserError as error:
            problems[path] += error.problems
    made = {f"{number:02d}": split for number, split in enumerate(_validated(found), 1)}
    read = [(path, split) for (path, _), split in zip(found, made.values())]
    for path, split in read:
        problems[path] += _own_faults(split, cases, path, classes)
    problems = {"": _unusable(read, cases)} | problems
    if lines := [line for each in problems.values() for line in each]:
        raise UserError(*lines)
    return made


def read(path: str | Path) -> Split:
    """Read a split file of ours, or another with all three sets, as a Split.

    The ids are what stands there; `preset` matches those of foreign files with the cases. Raises UserError if it is no
    such file, or claims more than a split file holds.
    """
    found = split_files.read(path)[0]
    return Split(found.train, found.val or [], found.test)


def write(split: Split, path: str | Path) -> None:
    """Write a Split as npz arrays of text."""
    with atomic(path) as temporary:
        np.savez(temporary, **{f"{name}_cases": np.array(getattr(split, name), dtype=str) for name in SETS})


def check(split: Split, cases: pd.DataFrame, name: str | Path, classes: Sequence[str]) -> Iterator[str]:
    """Yield all that is wrong with a split, as lines that begin with `name`; nothing if it can be trusted.

    cases: the whole cases table (case_id, class, patient_id, status): a case that is not used is named with its reason.
    classes: names of the classes, each of which every set needs.
    """
    yield from _unusable([(name, split)], cases)
    yield from _own_faults(split, cases, name, classes)


def _own_faults(split: Split, cases: pd.DataFrame, name: str | Path, classes: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with a split but for cases that are not used; see `check`."""
    known = cases.set_index("case_id")
    used = known[known["status"] == USED]
    sets = {part: getattr(split, part) for part in SETS}
    for part, ids in sets.items():
        named = pd.Series(ids, dtype=str)
        twice = _sorted(named[named.duplicated()])
        if twice:
            yield f"{name}: {part}_cases names {few(twice, 8)} more than once: keep one"
        absent = [label for label in classes if label not in set(used["class"].reindex(ids))]
        if not ids:
            yield f"{name}: {part}_cases is empty: every set needs cases of every class"
        elif absent:
            which = of_class(", ".join(absent))
            yield f"{name}: {part}_cases holds no used case of {which}: every set needs every class"
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        both = set(sets[a]) & set(sets[b])
        if both:
            yield f"{name}: {a}_cases and {b}_cases both hold {few(_sorted(both), 8)}: a case belongs to one set"
        here, there = (_by_patient(known, set(sets[part]) - both) for part in (a, b))
        shared = _sorted(set(here) & set(there))
        if shared:
            whose = [f"{patient} (case {here[patient][0]} and case {there[patient][0]})" for patient in shared]
            yield f"{name}: {a}_cases and {b}_cases share patient {few(whose, 8)}: keep a patient in one set"


@dataclass(frozen=True)
class Told:
    """How a line speaks of what cases share: what one is, whether patients are known and could be merged."""

    what: str
    patients: bool
    can_merge: bool


def copies(
    splits: dict[str, Split], copied: pd.DataFrame, cases: pd.DataFrame, name: Path, told: Told
) -> Iterator[str]:
    """Yield a line for cases of different patients that share files and are in different sets of a split.

    splits: name -> Split. copied: of duplicates.find, or of rule duplicates. cases: the used cases. name: of the
    table, for messages.
    """
    patient_of = dict(zip(cases["case_id"], cases["patient_id"]))
    copied = copied[copied["case_id"].isin(cases["case_id"])]
    lines = list(duplicates.parted(duplicates.by_cases(copied), splits, patient_of))
    whose = "are of different patients" if told.patients else "no patient column says that they are one patient's"
    for row, split, sets in lines[:MOST_COPIES]:
        number, merge = n_of(row["files"], told.what), ", or set cohort.duplicates: merge" if told.can_merge else ""
        remedy = (
            "give them the same patient in the column that cohort.patient_column names, or list what is not this "
            f"case's tissue in cohort.exclude_patches{merge}"
        )
        if row["whole"]:
            out = "one" if len(row["cases"]) == 2 else "all but one"
            remedy = f"they have nothing else, so leave {out} out: remove its row from the labels table"
        places = ", ".join(f"case {case} in {part}" for part, case in sets.items())
        yield (
            f"{name}: cases {few(row['cases'])} share {number} (e.g. {duplicates.example(row)}), but {whose}, "
            f"and split {split} has {places}: {remedy}"
        )
    if len(lines) > MOST_COPIES:
        yield f"{name}: {len(lines) - MOST_COPIES} more groups of cases are parted in the same way: see the table"


def refuse(lines: Sequence[str], mode: str) -> None:
    """Raise UserError with the lines of `copies`, or only warn of them. mode: cohort.duplicates."""
    if lines and mode != "warn":
        raise UserError(*lines)
    for line in lines:
        logging.warning(line)


def warnings(
    splits: Mapping[str, Split],
    cases: pd.DataFrame,
    classes: Sequence[str],
    shares: Mapping[str, float] | None = None,
    whole_sites: bool = False,
) -> list[str]:
    """Return what a reader should know of splits that are not wrong, one line each: of coverage, then of balance.

    Used cases in no test set; cases in several test sets of one repeat; sets where the count of a class is off by at
    least one case and by more than a tenth of what is due: the worst, with its worst class and, where that has too
    many, the largest patient, and how many sets there are.
    splits: name -> Split, in order. cases: the used cases (case_id, class, patient_id). shares: set -> share of the
    cohort that was asked for (generated_splits.shares); without, as in preset splits, a class is due its share of the
    set's own size. whole_sites: whether sets are of whole sites, which are as large as they are: one line tells how.
    """
    if whole_sites:
        known = cases.set_index("case_id")
        return [*_covered(splits, cases), *_within(splits, known), _ranges(splits, known, classes)]
    found = list(off_balance(splits, cases, classes, shares))
    return [*_covered(splits, cases), *([_worst(found, len(splits))] if found else [])]


def _worst(found: Sequence[tuple[str, str, Off]], n: int) -> str:
    """Return one line for all sets of n splits that are off balance. found: of `off_balance`."""
    name, part, off = max(found, key=lambda row: row[2].by)
    if len(found) == 1:
        return f"split {name}: {part} {off.words}"
    where = f"in {len({split for split, _, _ in found})} of {n_of(n, 'split')}"
    return (
        f"{where}, {len(found)} sets hold too few or too many cases of a class, most of all in split {name}: {part} "
        f"{off.words}"
    )


def _covered(splits: Mapping[str, Split], cases: pd.DataFrame) -> list[str]:
    """Return lines on used cases that no split tests, or that several of a repeat do."""
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
    return lines


def off_balance(
    splits: Mapping[str, Split], cases: pd.DataFrame, classes: Sequence[str], shares: Mapping[str, float] | None
) -> Iterator[tuple[str, str, Off]]:
    """Yield (split, set, how) for each set that is off balance; see `warnings`."""
    known, total = cases.set_index("case_id"), cases["class"].value_counts()
    for name, split in splits.items():
        for part in SETS:
            chosen = known.loc[getattr(split, part)]
            share = shares[part] if shares else len(chosen) / len(cases)
            for off in _imbalance(chosen, total.reindex(classes), share):
                yield name, part, off


def _within(splits: Mapping[str, Split], known: pd.DataFrame) -> list[str]:
    """Return the line on splits that validate on sites that they train on."""
    site_of = known["site"].to_dict()
    of_sets = [[{site_of[case] for case in part} for part in (split.train, split.val)] for split in splits.values()]
    if not (n := sum(bool(train & val) for train, val in of_sets)):
        return []
    return [
        f"validation cases of {n_of(n, 'split')} are patients of the sites that are trained on, for no site was left"
    ]


def _ranges(splits: Mapping[str, Split], known: pd.DataFrame, classes: Sequence[str]) -> str:
    """Return how many cases the test sets have, and how many of these are of the last class."""
    held = [known.loc[split.test, "class"] == classes[-1] for split in splits.values()]
    cases = [str(n) for n in sorted(map(len, held))]
    shares = [f"{share:.0%}" for share in sorted(each.mean() for each in held)]
    n, of = (" to ".join(dict.fromkeys([each[0], each[-1]])) for each in (cases, shares))
    return (
        f"test sets of whole sites have {n} cases, {of} of them {classes[-1]}: the mean over splits counts small ones "
        "as much as large ones"
    )


def table(splits: Mapping[str, Split], cases: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return the counts of cases, patients and classes of every set: one row a split and set."""
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


def _of_cases(sets: split_files.Sets, cases: pd.DataFrame, levelled: dict[str, str]) -> split_files.Sets:
    """Return the sets with ids of cases as the table spells them; of a patient all used cases.

    levelled: gets the ids that differ in separators or leading zeros alone, see `ids.Known`.
    """
    if sets.patients:
        used = cases[cases["status"] == USED]
        cases_of = {patient: list(own) for patient, own in used.groupby("patient_id")["case_id"]}
    else:
        cases_of = {text: [text] for text in cases["case_id"]}
    known = case_ids.Known(cases_of)
    own = known.match([text for each in (sets.train, sets.val, sets.test) for text in each or []])
    levelled |= known.levelled

    def matched(texts: list[str] | None) -> list[str] | None:
        return texts and [case for text in texts for case in (cases_of[own[text]] if text in own else [text])]

    return sets._replace(train=matched(sets.train), val=matched(sets.val), test=matched(sets.test), patients=False)


def _validated(found: Sequence[tuple[str | Path, split_files.Sets]]) -> list[Split]:
    """Return the splits, those without validation cases with those that the next split tests."""
    made = []
    for (path, sets), (_, following) in zip(found, [*found[1:], *found[:1]]):
        if sets.val is not None:
            made.append(Split(sets.train, sets.val, sets.test))
            continue
        if following is sets:
            raise UserError(f"{path}: no validation cases, nor a further split whose test cases they could be: add val")
        val = [case for case in sets.train if case in set(following.test)]
        logging.warning("%s: no validation cases: %d of the training cases, tested next, are taken", path, len(val))
        made.append(Split([case for case in sets.train if case not in set(val)], val, sets.test))
    return made


def _sorted(ids: Iterable[str]) -> list[str]:
    return sorted(ids, key=lambda text: (natural(text), text))


def _unusable(splits: Sequence[tuple[str | Path, Split]], cases: pd.DataFrame) -> list[str]:
    """Return what to do with cases that are named and not used, a line for all that have one reason.

    It names the splits and sets of them, and each case once. splits: (name, Split). cases: see `check`.
    """
    status = dict(zip(cases["case_id"], cases["status"]))
    named = [
        (status.get(case, NO_ROW), str(name), f"{part}_cases", case)
        for part in SETS
        for name, split in splits
        for case in getattr(split, part)
    ]
    found = pd.DataFrame(named, columns=["why", "name", "part", "case"])
    return [
        f"{few(_sorted(rows['name'].unique()))}: {listed(rows['part'].unique().tolist())} "
        f"{'names' if rows['part'].nunique() == 1 else 'name'} {few(_sorted(rows['case'].unique()), 8)}, "
        f"{_remedy(why, rows['case'], cases['case_id'])}"
        for why, rows in found[found["why"] != USED].groupby("why")
    ]


def _remedy(why: str, ids: Iterable[str], cases: Iterable[str]) -> str:
    """Return what is wrong with ids and what to do. why: their status, or NO_ROW. cases: ids of the labels table."""
    if why == NO_ROW:
        known = set(cases)
        if slides := [text for text in ids if _case_of_slide(text, known)]:
            return f"not in the labels table: {slides[0]} seems to be a slide: write the ids of cases instead"
        return "not in the labels table: correct the ids, or add them to the labels"
    if why == NO_PATCHES:
        return "labelled but without patches: take them out, or add their patches"
    if why == ONLY_UNKNOWN:
        return f"labelled but with {why}: take them out, or name the stains of their patches"
    return f"labelled but with {why}: take them out, or give the code a class in cohort.classes"


def _case_of_slide(text: str, cases: Collection[str]) -> bool:
    """Return whether an id goes on where that of a case ends, as `S21-1_HE.svs` does."""
    return any(text[: mark.start()] in cases for mark in re.finditer("[^A-Za-z0-9]", text))


def _by_patient(known: pd.DataFrame, ids: Iterable[str]) -> Mapping[str, pd.Index]:
    """Return patient -> its cases among `ids`."""
    rows = known.loc[_sorted(case for case in ids if case in known.index)]
    return rows.groupby("patient_id").groups


def _repeats(splits: Mapping[str, Split], ids: Iterable[str]) -> list[list[str]]:
    """Return the names of the splits by repeat, which ends where every case has been tested.

    An incomplete rest belongs to the last one.
    """
    repeats, left = [[]], set(ids)
    for name, split in splits.items():
        if not left:
            repeats.append([])
            left = set(ids)
        repeats[-1].append(name)
        left -= set(split.test)
    return [*repeats[:-2], repeats[-2] + repeats[-1]] if left and len(repeats) > 1 else repeats


def _imbalance(chosen: pd.DataFrame, total: pd.Series, share: float) -> Iterator[Off]:
    """Yield the class whose count in a set is furthest from its due, if that is off balance."""
    counts, due = chosen["class"].value_counts().reindex(total.index, fill_value=0), share * total
    off = (counts - due).abs()
    worst = off[(off > 1 - 1e-9) & (off > TOLERANCE * due)]
    if len(worst):
        # Of two classes of a set one is as much too many as the other is too few: the former has its reason in the set.
        name = max(worst.index, key=lambda label: (round(off[label], 9), counts[label] - due[label]))
        patients, why = chosen["patient_id"][chosen["class"] == name].value_counts(), ""
        if counts[name] > due[name] and patients.max() > 1:
            largest = _sorted(patients.index[patients == patients.max()])[0]
            why = f": patient {largest} alone has {patients.max()} cases"
        words = f"holds {counts[name]} of {total[name]} {name} cases, {_whole(due[name])} were due{why}"
        yield Off(words, off[name] / due[name])


def _whole(value: float) -> str:
    """Return how many cases a due is: `14 or 15` for 14.4."""
    near = round(value)
    return str(near) if abs(value - near) < 1e-9 else f"{math.floor(value)} or {math.ceil(value)}"

"""Files with the same bytes in different cases: the same tissue under two ids, which a split must not part.

In one case they are one patch under two names, or in two stains a wrong name.

Candidates have the same size and the same sketch (head, middle and tail); only these are read whole. Images whose
pixels are all equal are left out: tilers leave the same blank patch in many cases. So are files that are no images,
for they are not used.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from stratamil.core import files, wording
from stratamil.core.names import natural

COLUMNS = ["group", "case_id", "stain", "path", "of"]
BLOCK = 4096  # bytes of each part of a sketch
READERS = 8  # files read at once: a slow file system answers several as fast as one


def find(listed: pd.DataFrame, root: Path, shows: Callable[[Path], bool] | None = None) -> pd.DataFrame:
    """Return the files that another case, or another stain of the case, has, too: a row each of COLUMNS.

    group: of equal files, from 1. of: how many files the case has in all, without blank ones that others have, too.

    listed: case_id, stain, path (relative to `root`) and bytes of each file, in order. shows: whether a file counts,
    asked once for each group; None counts all.
    """
    every, listed = listed, alike(listed, root, lambda rows, name: shared(rows, name, "stain"))
    if shows:
        first = listed.drop_duplicates("digest")
        with ThreadPoolExecutor(READERS) as pool:
            shown = list(pool.map(shows, (Path(root, path) for path in first["path"])))
        blank = listed.index[~listed["digest"].isin(first.loc[shown, "digest"])]
        every, listed = every.drop(blank), listed.drop(blank)
    return grouped(listed, every)


def alike(listed: pd.DataFrame, root: Path, suspects: Callable[[pd.DataFrame, str], pd.DataFrame]) -> pd.DataFrame:
    """Return the files whose bytes another has, too, with the digest of these.

    suspects: the rows of a table that count where a column of it, bytes or digest, has the same value.
    """
    listed = suspects(listed, "bytes")
    for read in (_sketch, _whole):
        with ThreadPoolExecutor(READERS) as pool:
            digests = list(pool.map(read, (Path(root, path) for path in listed["path"]), listed["bytes"]))
        listed = suspects(listed.assign(digest=digests).dropna(subset="digest"), "digest")
    return listed


def grouped(equal: pd.DataFrame, every: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `equal` (case_id, path, digest) that are in `every`, with COLUMNS; `of` counts in `every`."""
    equal = equal[equal.index.isin(every.index)]
    sizes = every.groupby("case_id").size()
    equal = equal.assign(group=pd.factorize(equal["digest"])[0] + 1, of=equal["case_id"].map(sizes))
    return equal.sort_values("group", kind="stable")[COLUMNS]


def by_cases(copied: pd.DataFrame) -> list[dict]:
    """Return what is shared by which cases: a dict each of cases, files (how many of a case), examples (paths), stains.

    whole tells whether none of these cases has anything else. Files of one case alone are in `by_stains`.
    copied: as of `find`. Most files first; the example is one such file of each case, of three at most, and stains are
    theirs.
    """
    of_cases: dict[tuple, list] = {}
    for _, rows in copied.groupby("group", sort=False):
        cases = tuple(sorted(set(rows["case_id"]), key=natural))
        if len(cases) > 1:
            of_cases.setdefault(cases, []).append(rows)
    shown = {cases: groups[0].drop_duplicates("case_id")[:3] for cases, groups in of_cases.items()}
    rows = [
        {
            "cases": list(cases),
            "files": len(groups),
            "examples": shown[cases]["path"].tolist(),
            "stains": sorted(set(shown[cases]["stain"])),
            "whole": all(len(of) == int(of.iloc[0]) for _, of in pd.concat(groups).groupby("case_id")["of"]),
        }
        for cases, groups in of_cases.items()
    ]
    return sorted(rows, key=lambda row: (-row["files"], [natural(case) for case in row["cases"]]))


def example(row: Mapping[str, Any]) -> str:
    """Return `a.png = b.png`, and that their stains differ, if they do. row: of `by_cases`."""
    stains = f", named {wording.listed(row['stains'])}" if len(row["stains"]) > 1 else ""
    return " = ".join(row["examples"]) + stains


def by_stains(copied: pd.DataFrame) -> list[dict]:
    """Return the cases that have a file in several stains: a dict each of case, stains, files, examples (paths)."""
    found: dict[tuple, list] = {}
    for (_, case), rows in copied.groupby(["group", "case_id"], sort=False):
        if rows["stain"].nunique() > 1:
            found.setdefault((case, tuple(sorted(set(rows["stain"])))), []).append(rows["path"].tolist())
    rows = [
        {"case": case, "stains": list(stains), "files": len(paths), "examples": paths[0]}
        for (case, stains), paths in found.items()
    ]
    return sorted(rows, key=lambda row: natural(row["case"]))


def unused(copied: pd.DataFrame, used: Collection[str]) -> dict[str, list[str]]:
    """Return the cases that are not used and whose files used ones have: case -> these. copied: as of `find`."""
    found: dict[str, set] = {}
    for _, rows in copied.groupby("group", sort=False):
        here = set(rows["case_id"])
        for case in here.difference(used):
            found.setdefault(case, set()).update(here.intersection(used))
    return {case: sorted(found[case], key=natural) for case in sorted(found, key=natural) if found[case]}


def parted(rows: list[dict], splits: dict, patient_of: dict[str, str]) -> Iterable[tuple[dict, str, dict]]:
    """Yield (row of `by_cases`, split, set -> first case) where a split parts cases of different patients.

    splits: name -> Split; the first that does so is named. patient_of: case -> patient.
    """
    sets = {
        name: {case: part for part in ("train", "val", "test") for case in getattr(split, part)}
        for name, split in splits.items()
    }
    for row in rows:
        for name, of_case in sets.items():
            here = [case for case in row["cases"] if case in of_case]
            first = {of_case[case]: case for case in reversed(here)}
            if len(first) > 1 and len({patient_of[case] for case in here}) > 1:
                yield row, name, {part: first[part] for part in ("train", "val", "test") if part in first}
                break


def merged(cases: pd.DataFrame, found: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the cases with one patient_id, the first in natural order, where patients have something of one group.

    cases: case_id, patient_id. found: tables with columns group and case_id; cases that are not known are ignored.
    """
    one = {patient: patient for patient in cases["patient_id"]}

    def first(patient: str) -> str:
        while one[patient] != patient:
            patient = one[patient]
        return patient

    patient_of = dict(zip(cases["case_id"], cases["patient_id"]))
    for table in found:
        for _, rows in table[table["case_id"].isin(patient_of)].groupby("group", sort=False):
            together = sorted({first(patient_of[case]) for case in rows["case_id"]}, key=natural)
            one.update(dict.fromkeys(together, together[0]))
    return cases.assign(patient_id=cases["patient_id"].map(first))


def shared(listed: pd.DataFrame, name: str, *also: str) -> pd.DataFrame:
    """Return the rows whose value in column `name` occurs in several cases, or several pairs of case and `also`."""
    pairs = listed[[name, "case_id", *also]].drop_duplicates()
    return listed[listed[name].isin(pairs.loc[pairs[name].duplicated(), name])]


def _sketch(path: Path, size: int) -> str | None:
    """Return a digest of a file's size, head, middle and tail, or of all of a small one; None if it cannot be read."""
    digest = hashlib.sha256(str(size).encode())
    try:
        with open(path, "rb", buffering=0) as file:
            if size <= 3 * BLOCK:
                digest.update(file.read(3 * BLOCK))
            else:
                for begin in (0, size // 2, size - BLOCK):
                    file.seek(begin)
                    digest.update(file.read(BLOCK))
    except OSError:
        return None
    return digest.hexdigest()


def _whole(path: Path, size: int) -> str | None:
    try:
        return files.sha256(path)
    except OSError:
        return None

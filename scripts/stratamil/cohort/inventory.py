"""The inventory of a study: which patches and cases there are, which are used, and why the rest are not."""

import filecmp
import os
import stat
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stratamil.cohort.folders import hidden, visit
from stratamil.core import tables
from stratamil.core.errors import UserError, few
from stratamil.core.names import (
    COPY,
    UNKNOWN_STAIN,
    Grammar,
    NotAPatch,
    PatchName,
    case_id,
    column,
    composed,
    natural,
    slice_id,
)

USED = "used"
BROKEN_LINK = "broken link"
HIDDEN_FOLDER = "in a hidden or system folder"
# What tells a patch; its path is the key all the same.
PATCH = ["case_id", "stain", "slice_id", "patch"]


@dataclass(frozen=True)
class Inventory:
    """What there is: every file is in `patches` or in `excluded`, every row of the labels in `cases` or in `excluded`.

    patches: one row a patch, of cases that are not used, too. cases: one row a case of the labels, with its status.
    excluded: kind (file, row, case), name, reason, detail, patches (of a case that is not used, or in a feature file).
    folders: folder -> time of change in ns, before its files were listed.
    """

    patches: pd.DataFrame
    cases: pd.DataFrame
    excluded: pd.DataFrame
    folders: dict


def take(root, labels, grammar, stains, unknown_stains="exclude"):
    """Read every file name below the folder `root`, flat or nested, and join it with the labels. Returns an Inventory.

    labels: DataFrame of labels.read. grammar: names.Grammar. stains: canonical stains in the order of tables.
    unknown_stains: "exclude" or "error". Raises UserError where there is nothing to work on.
    """
    found, left_out, visited = scan(root, grammar)
    patches = spelt(found, labels["case_id"])
    patches, copies = _without_copies(ordered(numbered(patches) if grammar.placed else patches, stains), root)
    n = len(found) + len(left_out)
    left_out = [(*row, 0) for row in left_out + copies]
    remedy = "set `patches` to the folder of patches, or names.pattern to how they are named"
    return join(root, patches, left_out, n, remedy, labels, stains, unknown_stains, visited)


def join(root, patches, left_out, n, remedy, labels, stains, unknown_stains="exclude", visited=None):
    """Join patches with the labels, and account for each. Returns an Inventory.

    root: where they are, for messages. patches: DataFrame as of `spelt`, in order. left_out: (name, reason, detail,
    patches) of each file left out; patches is 0 where the file itself would have been one. n: how many patches there
    are in all, left out or not. remedy: what to do where there are none. For the rest see `take`.
    """
    unknown = Counter()
    for _, reason, detail, number in left_out:
        if reason == UNKNOWN_STAIN:
            unknown[detail] += max(1, number)
    if unknown and unknown_stains == "error":
        raise UserError(
            *(
                f"{root}: {n} patches of stain {stain!r}: add it to names.stains, or set names.unknown_stains: exclude"
                for stain, n in sorted(unknown.items())
            )
        )
    if patches.empty:
        example = f" (e.g. {left_out[0][0]!r}: {left_out[0][1]})" if left_out else ""
        raise UserError(f"{root}: none of {len(left_out)} files is a patch{example}: {remedy}")
    cases = _case_table(patches, labels.drop_duplicates("case_id"), stains)
    if not cases["n_patches"].any():
        raise UserError(
            f"{root}: none of the {len(cases)} cases in the labels has a patch "
            f"(labels: {few(cases['case_id'], 4)}; patches: {few(patches['case_id'].unique(), 4)}): "
            "check `labels`, cohort.case_column and names.pattern"
        )
    excluded = _excluded_table(left_out, labels, patches, cases)
    _account(n, len(labels), patches, cases, excluded)
    return Inventory(patches, cases, excluded, visited or {})


def of_files(excluded):
    """How many patches each file in excluded.csv stands for: a file of features for its rows, any other for one."""
    return excluded.loc[excluded["kind"] == "file", "patches"].clip(lower=1)


def _account(n, n_rows, patches, cases, excluded):
    """Nothing is lost between what was read and what is listed; a fault of the program, not of the user."""
    kinds, of_left_out = excluded["kind"].value_counts(), of_files(excluded).sum()
    if n != len(patches) + of_left_out:
        raise RuntimeError(f"{n} patches read, but {len(patches)} listed and {of_left_out} excluded")
    if n_rows != len(cases) + kinds.get("row", 0):
        raise RuntimeError(f"{n_rows} rows of labels, but {len(cases)} cases and {kinds.get('row', 0)} excluded")
    of_cases = cases.loc[cases["status"] == USED, "n_patches"].sum()
    of_excluded = excluded.loc[excluded["kind"] == "case", "patches"].sum()
    if len(patches) != of_cases + of_excluded:
        raise RuntimeError(f"{len(patches)} patches, but {of_cases} in used and {of_excluded} in excluded cases")


def used_cases(path):
    """The used rows of cases.csv, in natural order of case_id, with all ids as text."""
    cases = tables.read_cases(path)
    return cases[cases["status"] == USED].reset_index(drop=True)


def class_indices(path, classes):
    """Of each used case in cases.csv its class, as a place in `classes`."""
    cases = used_cases(path)
    return {case: classes.index(name) for case, name in zip(cases["case_id"], cases["class"])}


def scan(root, grammar):
    """Read the name and size of every file below `root`; contents are not opened.

    Returns (found, left_out, visited): found is a DataFrame of case_id, stain, slice_id, patch, path and bytes in no
    order, cases and slices as the names spell them, left_out a list of (path, reason, detail), visited the folders and
    their times. Paths are POSIX and relative to `root`.
    """
    if not Path(root).is_dir():
        raise UserError(f"{root}: no such folder: set `patches` to the folder of patch images")
    slices, which, numbers, sizes, paths = {}, array("q"), array("q"), array("q"), []
    left_out, visited = [], {}

    def keep(name: PatchName, size: int, path: str) -> None:
        which.append(slices.setdefault(name[:3], len(slices)))
        numbers.extend(name.patch if grammar.placed else (name.patch,))
        sizes.append(size)
        paths.append(path)

    for folder, time, entries in visit(root, also_hidden=True):
        below = os.path.relpath(folder, root)
        below = "" if below == "." else f"{Path(below).as_posix()}/"
        if trash := next(filter(hidden, below.split("/")), ""):
            left_out += [(below + entry.name, HIDDEN_FOLDER, trash) for entry in entries]
            continue
        visited[folder] = time
        unreadable = below != readable(below)
        copies = []
        for entry in entries:
            path = below + entry.name
            try:
                if unreadable:
                    raise NotAPatch("name of its folder is not readable text")
                if hidden(entry.name):
                    raise NotAPatch("hidden file")
                name, size = grammar.spelt(entry.name, below), _size(entry)
            except NotAPatch as why:
                if _state(entry) is None:
                    left_out.append((path, BROKEN_LINK, ""))
                elif why.reason == COPY:
                    copies.append((entry, why.detail))
                else:
                    left_out.append((path, why.reason, why.detail))
                continue
            if size:
                keep(name, size, path)
            else:
                left_out.append((path, BROKEN_LINK, "") if size is None else (path, "empty file", "0 bytes"))
        if copies:
            beside = {composed(entry.name).lower(): entry for entry in entries if _state(entry)}
            for entry, original in copies:
                path, first = below + entry.name, beside.get(original.lower())
                if other := first and _another(entry, first, folder, below, grammar):
                    keep(*other, path)
                elif first:
                    left_out.append((path, COPY, below + first.name))
                else:  # it may be the only picture of a patch
                    left_out.append((path, f"{COPY}, original missing", f"rename it to {original} to use it"))
    found = pd.DataFrame(list(slices), columns=PATCH[:3], dtype=str).iloc[np.array(which)].reset_index(drop=True)
    if grammar.placed:
        found[["x", "y"]] = np.array(numbers, dtype=float).reshape(-1, 2)
    else:
        found["patch"] = np.array(numbers)
    found["path"], found["bytes"] = paths, np.array(sizes)
    return found, [(readable(path), reason, readable(detail)) for path, reason, detail in left_out], visited


def _state(entry):
    """os.stat of a file, or None for a link that leads nowhere, perhaps to a share that is not there now."""
    try:
        return entry.stat()
    except OSError:
        return None


def _size(entry):
    """Bytes of a file, or None for a link that leads nowhere. Raises NotAPatch for a pipe, a socket or a device."""
    state = _state(entry)
    if state and not stat.S_ISREG(state.st_mode):
        raise NotAPatch("not a regular file")
    return state.st_size if state else None


def _another(
    entry: os.DirEntry, first: os.DirEntry, folder: str, below: str, grammar: Grammar
) -> tuple[PatchName, int] | None:
    """The name and size of a file called a copy that is another patch of the slice, as a browser keeps both; or None.

    It has the number of its original.
    """
    try:
        name, size = grammar.spelt(first.name, below), _size(entry)
        return (
            (name, size) if size and not filecmp.cmp(*(Path(folder, e.name) for e in (entry, first)), False) else None
        )
    except (NotAPatch, OSError):
        return None


def readable(path):
    """A path as text that can be written, where its bytes are not UTF-8."""
    return path.encode(errors="replace").decode()


def spelt(patches: pd.DataFrame, labelled: Iterable[str] = ()) -> pd.DataFrame:
    """Give each case and each slice of `patches` one spelling, so that from here on equal text is the same id.

    A case is spelt as in `labelled`, the ids of the labels table; one that is not there, and every slice, as most of
    its patches have it, of several equally frequent spellings the first in natural order.
    """
    groups = patches.groupby(PATCH[:3], sort=False)
    slices = groups.size().rename("n").reset_index()
    slices["case"], slices["slice"] = slices["case_id"].map(case_id), slices["slice_id"].map(slice_id)
    of_case = _most(slices, ["case"], "case_id") | {case_id(text): text for text in labelled}
    of_slice = _most(slices, ["case", "stain", "slice"], "slice_id")
    names = slices[["case", "stain", "slice"]].itertuples(index=False, name=None)
    which = groups.ngroup().to_numpy()
    return patches.assign(
        case_id=slices["case"].map(of_case).to_numpy(dtype=object)[which],
        slice_id=np.array([of_slice[name] for name in names], dtype=object)[which],
    )


def _most(slices, keys, name):
    """Key, or keys, -> its most frequent value of the column `name`, weighed by `n`."""
    counts = slices.groupby([*keys, name], sort=False)["n"].sum().reset_index()
    rows = sorted(counts.itertuples(index=False, name=None), key=lambda row: (-row[-1], natural(row[-2])))
    found = {}
    for *key, text, _ in rows:
        found.setdefault(key[0] if len(keys) == 1 else tuple(key), text)
    return found


def numbered(patches: pd.DataFrame) -> pd.DataFrame:
    """Number the patches of each slice by their place, row by row from the top left; equal places have one number."""
    place = [*PATCH[:3], "y", "x"]
    first = patches.drop_duplicates(place).sort_values(["y", "x"])
    first["patch"] = first.groupby(PATCH[:3], sort=False).cumcount() + 1
    return patches.merge(first[[*place, "patch"]], on=place, how="left", validate="many_to_one")


def ordered(found, stains):
    """The patches by case, stain, slice and number, numbers by value; paths only where all else is the same."""
    keys = [
        _ranks(found["case_id"], natural),
        _ranks(found["stain"], list(stains).index),
        _ranks(found["slice_id"], natural),
        found["patch"].to_numpy(),
    ]
    ties = np.zeros(len(found), dtype="int64")
    same = found.duplicated(PATCH, keep=False).to_numpy()
    ties[same] = _ranks(found["path"][same], natural)
    order = np.lexsort([ties, *reversed(keys)])
    return found.iloc[order].reset_index(drop=True).astype({"patch": "int32"})


def _ranks(values, key):
    """Position of each value among the different ones, ordered by `key`."""
    codes, different = pd.factorize(values)
    ranks = np.empty(len(different), dtype="int64")
    ranks[sorted(range(len(different)), key=lambda i: (key(different[i]), different[i]))] = np.arange(len(different))
    return ranks[codes]


def _without_copies(patches, root):
    """(patches without the files that repeat another, those files as left out).

    Files of the same case, stain, slice and number (38 and 038, a folder copied into another) are one patch if their
    bytes are equal; if not, all are kept, for each has its own path.
    """
    keep, copies = np.ones(len(patches), dtype=bool), []
    for _, rows in patches[patches.duplicated(PATCH, keep=False)].groupby(PATCH, sort=False):
        originals = []
        for i, path, size in zip(rows.index, rows["path"], rows["bytes"]):
            first = next((one for one, its in originals if its == size and _equal(root, one, path)), None)
            if first is None:
                originals.append((path, size))
            else:
                keep[i] = False
                copies.append((path, "copy of another file", first))
    return (patches if keep.all() else patches[keep].reset_index(drop=True)), copies


def _equal(root, a, b):
    try:
        return filecmp.cmp(Path(root, a), Path(root, b), shallow=False)
    except OSError:
        return False


def namesakes(patches):
    """The rows of `patches` whose case, stain, slice and number another row has, too."""
    return patches[patches.duplicated(PATCH, keep=False)]


def _case_table(patches, labels, stains):
    cases = labels.drop(columns="row").sort_values("case_id", key=lambda ids: ids.map(natural), ignore_index=True)
    slices = patches.groupby(["case_id", "stain", "slice_id"], sort=False).size().rename("n").reset_index()
    by_stain = slices.pivot_table(index="case_id", columns="stain", values="n", aggfunc=["count", "sum"], fill_value=0)
    for stain in stains:
        for name, what in (("slices", "count"), ("patches", "sum")):
            counts = by_stain.get((what, stain), pd.Series(dtype=int))
            cases[f"{name}_{column(stain)}"] = cases["case_id"].map(counts).fillna(0).astype(int)
    for name in ("slices", "patches"):
        cases[f"n_{name}"] = cases[[f"{name}_{column(stain)}" for stain in stains]].sum(axis=1)
    present = cases[[f"patches_{column(stain)}" for stain in stains]].to_numpy() > 0
    cases["missing_stains"] = [";".join(np.array(stains, dtype=object)[~row]) for row in present]
    cases["status"] = _status(cases)
    first = ["case_id", "label", "class", "patient_id", "n_slices", "n_patches"]
    return cases[first + [name for name in cases if name not in first]]


def _status(cases):
    left_out = cases["class"] == ""
    status = pd.Series(USED, index=cases.index)
    status[cases["n_patches"] == 0] = "no patches"
    status[left_out] = "class code " + cases["label"][left_out] + " excluded"
    return status


def _excluded_table(left_out, labels, patches, cases):
    rows = [
        ("file", path, f"stain {detail!r} not in the config" if reason == UNKNOWN_STAIN else reason, detail, number)
        for path, reason, detail, number in sorted(left_out, key=lambda row: natural(row[0]))
    ]
    first = labels.drop_duplicates("case_id").set_index("case_id")["row"]
    rows += [
        ("row", f"row {row.row}", "repeats a case", f"case {row.case_id} is in row {first[row.case_id]}", 0)
        for row in labels[labels.duplicated("case_id")].itertuples()
    ]
    rows += [
        ("case", case.case_id, case.status, "", case.n_patches) for case in cases[cases["status"] != USED].itertuples()
    ]
    unlabelled = patches[~patches["case_id"].isin(cases["case_id"])]["case_id"].value_counts(sort=False)
    rows += [("case", case, "no row in the labels", "", n) for case, n in unlabelled.items()]
    return pd.DataFrame(rows, columns=["kind", "name", "reason", "detail", "patches"])

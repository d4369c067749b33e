"""The inventory of a study: which patches and cases there are, which are used, and why the rest are not."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd

from stratamil.cohort.manifest import UNOPENED
from stratamil.cohort.patch_files import PATCH, LeftOut, of_unknown_stains, scan, settled
from stratamil.core import ids, tables
from stratamil.core.errors import UserError, few
from stratamil.core.names import UNKNOWN_STAIN, Grammar, case_id, column, natural
from stratamil.core.wording import counted, in_list

USED = "used"
NO_PATCHES = "no patches"  # status of a case
ONLY_UNKNOWN = "no patches of a stain in names.stains"  # status of a case whose patches are all of other stains
ALL_EXCLUDED = "all are in cohort.exclude_patches"  # of a case without patches
MOST = 0.5  # share of the cases that have several rows in a table of slides
UnknownStains = Literal["exclude", "error"]


@dataclass(frozen=True)
class Inventory:
    """What there is: every file is in `patches` or in `excluded`, every row of the labels in `cases` or in `excluded`.

    patches: one row a patch, of cases that are not used, too. cases: one row a case of the labels, with its status.
    excluded: kind (file, row, case), name, reason, detail, patches (of a case that is not used, in a feature file, or
    1 of one that is excluded on purpose).
    folders: folder -> time of change in ns, before its files were listed. told: lines on what a reader should know.
    """

    patches: pd.DataFrame
    cases: pd.DataFrame
    excluded: pd.DataFrame
    folders: dict[str, int]
    told: Sequence[str] = ()


def take(
    root: str | Path,
    labels: pd.DataFrame,
    grammar: Grammar,
    stains: Sequence[str],
    unknown_stains: UnknownStains,
    exclude: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> Inventory:
    """Read every file name below the folder `root`, flat or nested, and join it with the labels.

    labels: DataFrame of labels.read. stains: canonical stains in the order of tables. exclude: file -> why, as of
    `marks.read_excluded`.
    Raises UserError if no file is a patch, if no labelled case has one, or if `unknown_stains` is "error" and there are
    such stains.
    """
    scanned = scan(root, grammar)
    kept = settled(scanned, root, labels["case_id"], stains)
    return join(
        kept.patches,
        labels,
        stains,
        left_out=kept.left_out,
        n_read=len(scanned.patches) + len(scanned.left_out),
        unknown_stains=unknown_stains,
        where=root,
        remedy="set `patches` to the folder of patches, or names.pattern to how they are named",
        folders=scanned.folders,
        exclude=exclude,
        levelled=kept.levelled,
        unknown=of_unknown_stains(kept.left_out, grammar),
    )


def join(
    patches: pd.DataFrame,
    labels: pd.DataFrame,
    stains: Sequence[str],
    *,
    left_out: Sequence[LeftOut],
    n_read: int,
    unknown_stains: UnknownStains,
    where: str | Path,
    remedy: str,
    folders: dict[str, int] | None = None,
    exclude: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    levelled: Mapping[str, str] = MappingProxyType({}),
    unknown: Iterable[tuple[str, str]] = (),
) -> Inventory:
    """Join patches with the labels, and account for each.

    patches: DataFrame as of `ordered`. n_read: how many patches there are in all, left out or not. where: the folder or
    file that they come from, for messages. remedy: what to do where there are none. levelled: of patch_files.Scan.
    unknown: (case, stain) of `of_unknown_stains`. For the rest see `take`.
    Raises UserError as `take` does, and RuntimeError if a patch or a row got lost: a fault of the program.
    """
    listed = patches["path"].isin(exclude)
    emptied = set(patches["case_id"][listed])
    left_out = [*left_out, *(LeftOut(path, *exclude[path], 1) for path in patches["path"][listed])]
    patches = patches[~listed].reset_index(drop=True) if listed.any() else patches
    left_out, counts = [LeftOut(*each) for each in left_out], Counter()
    for _, reason, detail, number in left_out:
        if reason == UNKNOWN_STAIN:
            counts[detail] += max(1, number)
    if counts and unknown_stains == "error":
        raise UserError(
            *(
                f"{where}: {n} patches of stain {stain!r}: add it to names.stains, or set names.unknown_stains: exclude"
                for stain, n in sorted(counts.items())
            )
        )
    if patches.empty:
        example = f" (e.g. {left_out[0][0]!r}: {left_out[0][1]})" if left_out else ""
        raise UserError(f"{where}: none of {len(left_out)} files is a patch{example}: {remedy}")
    told = [ids.told(levelled, str(where))] * bool(levelled)
    if line := _of_slides(labels):
        told, labels = [*told, line], labels.drop_duplicates("case_id")
    cases = _case_table(patches, labels.drop_duplicates("case_id"), stains)
    if not cases["n_patches"].any():
        raise UserError(
            f"{where}: none of the {len(cases)} cases in the labels has a patch "
            f"(labels: {few(cases['case_id'], 4)}; patches: {few(patches['case_id'].unique(), 4)}): "
            "check `labels`, cohort.case_column and names.pattern"
        )
    others = _only_unknown(cases, unknown)
    cases.loc[cases["case_id"].isin(others), "status"] = ONLY_UNKNOWN
    excluded = _excluded_table(left_out, labels, patches, cases, _details(cases, emptied, others))
    _account(n_read, len(labels), patches, cases, excluded)
    return Inventory(patches, cases, excluded, folders or {}, told)


def of_files(excluded: pd.DataFrame) -> pd.Series:
    """Return how many patches each file in excluded.csv stands for: a feature file for its rows, any other for one.

    A feature file that the manifest does not list, or excludes, was not opened, and stands for none.
    """
    files = excluded[excluded["kind"] == "file"]
    return files["patches"].clip(lower=1).where(~files["reason"].isin(UNOPENED), 0)


def used_cases(path: str | Path) -> pd.DataFrame:
    """Return the used rows of cases.csv, in natural order of case_id, with all ids as text."""
    cases = tables.read_cases(path)
    return cases[cases["status"] == USED].reset_index(drop=True)


def class_indices(path: str | Path, classes: Sequence[str]) -> dict[str, int]:
    """Return the class of each used case in cases.csv, as a place in `classes`."""
    cases = used_cases(path)
    return {case: classes.index(name) for case, name in zip(cases["case_id"], cases["class"])}


def without(patches: pd.DataFrame, cases: pd.DataFrame, paths: Collection[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return patches and cases without the patches at these paths: fewer rows, and smaller numbers in cases.csv."""
    gone = patches["path"].isin(paths)
    listed = patches[patches["case_id"].isin(patches.loc[gone, "case_id"])]
    kept = listed[~listed["path"].isin(paths)]
    cases, slices = cases.copy(), ["case_id", "stain", "slice_id"]
    for name, keys in (("patches", [*slices, "path"]), ("slices", slices)):
        there, left = (set(table[keys].astype(str).itertuples(index=False, name=None)) for table in (listed, kept))
        for case, stain, *_ in there - left:
            cases.loc[cases["case_id"] == case, [f"{name}_{column(stain)}", f"n_{name}"]] -= 1
    return patches[~gone], cases


def _of_slides(labels: pd.DataFrame) -> str:
    """Return the line on a table that has several rows of most of its cases, which agree; empty for any other."""
    n = labels["case_id"].value_counts()
    if not len(n) or (n > 1).mean() <= MOST:
        return ""
    return (
        f"The labels table has several rows a case, as for slides: {len(labels):,} rows are {counted(len(n), 'case')}"
    )


def _case_table(patches: pd.DataFrame, labels: pd.DataFrame, stains: Sequence[str]) -> pd.DataFrame:
    """Return the rows of cases.csv: a case of the labels, its slices and patches of each stain, and its status."""
    cases = labels.drop(columns="row").sort_values("case_id", key=lambda ids: ids.map(natural), ignore_index=True)
    slices = patches.groupby(PATCH[:3], sort=False).size().rename("n").reset_index()
    slices = slices.astype(dict.fromkeys(PATCH[:3], str))
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


def _status(cases: pd.DataFrame) -> pd.Series:
    left_out = cases["class"] == ""
    status = pd.Series(USED, index=cases.index)
    status[cases["n_patches"] == 0] = NO_PATCHES
    status[left_out] = "class code " + cases["label"][left_out].map(in_list) + " excluded"
    return status


def _only_unknown(cases: pd.DataFrame, unknown: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the cases without patches that have some of stains which the config does not name: case -> these stains.

    unknown: (case as it stands in names, stain).
    """
    unknown, bare = list(unknown), set(cases["case_id"][cases["status"] == NO_PATCHES])
    known = ids.Known(cases["case_id"])
    try:
        own = known.match(case for case, _ in unknown)
    except UserError:  # an id that could be several: of files that take no part it is not worth an error
        own = {case: known.own.get(case_id(case)) for case, _ in unknown}
    found: dict[str, set[str]] = {}
    for case, stain in unknown:
        if own.get(case) in bare:
            found.setdefault(own[case], set()).add(stain)
    return {case: f"patches of {', '.join(sorted(stains))}" for case, stains in found.items()}


def _details(cases: pd.DataFrame, emptied: Collection[str], others: Mapping[str, str]) -> dict[str, str]:
    """Return what else there is to say of cases without patches. emptied: those with patches that the user excluded."""
    bare = cases["case_id"][cases["n_patches"] == 0]
    return {case: ALL_EXCLUDED for case in bare if case in emptied} | dict(others)


def _excluded_table(
    left_out: Collection[LeftOut],
    labels: pd.DataFrame,
    patches: pd.DataFrame,
    cases: pd.DataFrame,
    details: Mapping[str, str],
) -> pd.DataFrame:
    """Return the rows of excluded.csv: files, rows of the labels and cases, each with its reason. details: of cases."""
    rows = [
        ("file", each.name, each.why, each.detail, each.patches)
        for each in sorted(left_out, key=lambda each: natural(each.name))
    ]
    first = labels.drop_duplicates("case_id").set_index("case_id")["row"]
    rows += [
        ("row", f"row {row.row}", "repeats a case", f"case {row.case_id} is in row {first[row.case_id]}", 0)
        for row in labels[labels.duplicated("case_id")].itertuples()
    ]
    rows += [
        ("case", case.case_id, case.status, details.get(case.case_id, ""), case.n_patches)
        for case in cases[cases["status"] != USED].itertuples()
    ]
    unlabelled = patches["case_id"][~patches["case_id"].isin(cases["case_id"])].astype(str).value_counts(sort=False)
    rows += [("case", case, "no row in the labels", "", n) for case, n in unlabelled.items()]
    return pd.DataFrame(rows, columns=["kind", "name", "reason", "detail", "patches"])


def _account(n_read: int, n_rows: int, patches: pd.DataFrame, cases: pd.DataFrame, excluded: pd.DataFrame) -> None:
    """Raise RuntimeError if anything is lost between what was read and what is listed: a fault of the program."""
    kinds, of_left_out = excluded["kind"].value_counts(), of_files(excluded).sum()
    if n_read != len(patches) + of_left_out:
        raise RuntimeError(f"{n_read} patches read, but {len(patches)} listed and {of_left_out} excluded")
    if n_rows != len(cases) + kinds.get("row", 0):
        raise RuntimeError(f"{n_rows} rows of labels, but {len(cases)} cases and {kinds.get('row', 0)} excluded")
    of_cases = cases.loc[cases["status"] == USED, "n_patches"].sum()
    of_excluded = excluded.loc[excluded["kind"] == "case", "patches"].sum()
    if len(patches) != of_cases + of_excluded:
        raise RuntimeError(f"{len(patches)} patches, but {of_cases} in used and {of_excluded} in excluded cases")

"""The inventory of a study: which patches and cases there are, which are used, and why the rest are not."""

import os
import unicodedata
from collections import Counter
from pathlib import Path

import pandas as pd

from stratamil.errors import UserError
from stratamil.folders import walk
from stratamil.names import NotAPatch, column, natural

USED = "used"


def take(patches, labels, grammar, stains, unknown_stains="exclude"):
    """Read every file name below `patches` and join it with the labels.

    patches: folder, flat or nested. labels: DataFrame of labels.read. grammar: names.Grammar.
    stains: canonical stains in the order of tables. unknown_stains: "exclude" or "error".
    Returns three DataFrames, patches, cases and excluded.
    Every file is in patches or in excluded; every case of the labels is in cases with its status,
    and every case that is not used is in excluded as well.
    Raises UserError where there is nothing to work on.
    """
    found, excluded = scan(patches, grammar)
    unknown = Counter(detail for _, reason, detail in excluded if reason == "stain not in the config")
    if unknown and unknown_stains == "error":
        raise UserError(
            *(
                f"{patches}: {n} patches of stain {stain!r}: "
                "add it to names.stains, or set names.unknown_stains: exclude"
                for stain, n in sorted(unknown.items())
            )
        )
    if not found:
        raise UserError(
            f"{patches}: none of {len(excluded)} files is a patch"
            + (f" (e.g. {excluded[0][0]!r}: {excluded[0][1]})" if excluded else "")
            + ": set `patches` to the folder of patches, or names.pattern to how they are named"
        )
    patch_table = _patch_table(found, stains)
    case_table = _case_table(patch_table, labels, stains)
    if not (case_table["n_patches"] > 0).any():
        raise UserError(
            f"{patches}: none of the {len(labels)} cases in the labels has a patch "
            f"(labels: {_few(labels['case_id'])}; patches: {_few(patch_table['case_id'].unique())}): "
            "check `labels`, cohort.case_column and names.pattern"
        )
    return patch_table, case_table, _excluded_table(excluded, patch_table, case_table)


def used_cases(path):
    """The used rows of cases.csv, in natural order of case_id, with all ids as text."""
    cases = pd.read_csv(path, dtype={"case_id": str, "label": str, "group": str}, keep_default_na=False)
    return cases[cases["status"] == USED].reset_index(drop=True)


def scan(root, grammar):
    """Read the name and size of every file below `root`; contents are not opened.

    Returns (found, excluded): found is a list of (PatchName, path, bytes), excluded a list of
    (path, reason, detail); paths are POSIX and relative to `root`.
    """
    found, excluded, seen = [], [], {}
    for path, name, size in _files(root):
        try:
            parsed = grammar.read(name)
            if size is None:
                raise NotAPatch("broken link")
            if size == 0:
                raise NotAPatch("empty file", "0 bytes")
            first = seen.setdefault((parsed.case_id, name), path)
            if first != path:
                raise NotAPatch("same name as another file", first)
            found.append((parsed, path, size))
        except NotAPatch as why:
            excluded.append((path, why.reason, why.detail))
    return found, excluded


def _files(root):
    if not Path(root).is_dir():
        raise UserError(f"{root}: no such folder: set `patches` to the folder of patch images")
    for folder in walk(root):
        try:
            with os.scandir(folder) as entries:
                files = sorted((entry.name, _size(entry)) for entry in entries if not entry.is_dir())
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be read ({error.strerror}): give read permission, or move it away"
            ) from None
        below = os.path.relpath(folder, root)
        for name, size in files:
            path = (name if below == "." else f"{Path(below).as_posix()}/{name}").encode(errors="replace").decode()
            yield path, unicodedata.normalize("NFC", name), size


def _size(entry):
    """Bytes of a file, or None for a link that leads nowhere."""
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return None


def _patch_table(found, stains):
    order = {stain: i for i, stain in enumerate(stains)}
    found = sorted(
        found,
        key=lambda item: (
            natural(item[0].case_id), order[item[0].stain], natural(item[0].slice_id), item[0].patch, natural(item[1])
        ),
    )  # fmt: skip
    names = [name for name, _, _ in found]
    return pd.DataFrame(
        {
            "case_id": [name.case_id for name in names],
            "stain": [name.stain for name in names],
            "slice_id": [name.slice_id for name in names],
            "patch": pd.array([name.patch for name in names], dtype="int32"),
            "path": [path for _, path, _ in found],
            "bytes": pd.array([size for _, _, size in found], dtype="int64"),
        }
    )


def _case_table(patches, labels, stains):
    cases = labels.sort_values("case_id", key=lambda ids: ids.map(natural)).reset_index(drop=True)
    by_case = patches.groupby("case_id")
    slices = patches.drop_duplicates(["case_id", "stain", "slice_id"])

    def count(frame):
        counts = frame["case_id"].value_counts()
        return cases["case_id"].map(counts).fillna(0).astype(int)

    cases["n_slices"] = count(slices)
    cases["n_patches"] = count(patches)
    for stain in stains:
        cases[f"slices_{column(stain)}"] = count(slices[slices["stain"] == stain])
        cases[f"patches_{column(stain)}"] = count(patches[patches["stain"] == stain])
    present = by_case["stain"].agg(set)
    cases["missing_stains"] = [
        ";".join(stain for stain in stains if stain not in present.get(case, set())) for case in cases["case_id"]
    ]
    cases["status"] = _status(cases)
    first = ["case_id", "label", "class", "group"]
    return cases[first + [name for name in cases if name not in first]]


def _status(cases):
    left_out = cases["class"] == ""
    status = pd.Series(USED, index=cases.index)
    status[cases["n_patches"] == 0] = "no patches"
    status[left_out] = "class code " + cases["label"][left_out] + " excluded"
    return status


def _excluded_table(excluded, patches, cases):
    rows = [
        ("file", path, reason, detail) for path, reason, detail in sorted(excluded, key=lambda row: natural(row[0]))
    ]
    rows += [
        ("case", case.case_id, case.status, f"{case.n_patches} patches")
        for case in cases[cases["status"] != USED].itertuples()
    ]
    unlabelled = patches[~patches["case_id"].isin(cases["case_id"])]["case_id"].value_counts(sort=False)
    rows += [("case", case, "no row in the labels", f"{n} patches") for case, n in unlabelled.items()]
    return pd.DataFrame(rows, columns=["kind", "name", "reason", "detail"])


def _few(values, n=4):
    values = list(values)
    return ", ".join(values[:n]) + (", ..." if len(values) > n else "")

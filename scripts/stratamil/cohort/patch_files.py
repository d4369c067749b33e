"""The files in the folder of patches: which are patches, spelt one way, in order, and without copies."""

import filecmp
import os
import stat
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.cohort import duplicates, resembling
from stratamil.cohort.folders import hidden, visit
from stratamil.core import ids
from stratamil.core.errors import UserError
from stratamil.core.names import (
    COPY,
    HIDDEN,
    UNKNOWN_STAIN,
    UNREAD,
    Grammar,
    NotAPatch,
    PatchName,
    case_id,
    composed,
    natural,
    slice_id,
)
from stratamil.core.wording import counted

BROKEN_LINK = "broken link"
HIDDEN_FOLDER = "in a hidden or system folder"
REPEATED = "copy of another file"
RENAMED = "same bytes as another file of its case and stain"
# What identifies a patch to a person; its path is the key all the same.
PATCH = ["case_id", "stain", "slice_id", "patch"]


class LeftOut(NamedTuple):
    """A file that is not a patch to use. patches: how many are in it, 0 where the file itself would have been one."""

    name: str
    reason: str
    detail: str
    patches: int

    @property
    def why(self) -> str:
        """The reason as tables and pages have it; it names the stain that the config does not."""
        return f"stain {self.detail!r} not in names.stains" if self.reason == UNKNOWN_STAIN else self.reason


class Scan(NamedTuple):
    """What lies in a folder of patches.

    patches: DataFrame of case_id, stain, slice_id, path, bytes and what the names tell of patch, tile, x and y, in no
    order, ids as the names spell them.
    folders: folder -> time of change in ns, before its files were listed. sizes: bytes of files that no pattern reads.
    levelled: id in names -> that of the labels table which differs in separators or leading zeros alone.
    """

    patches: pd.DataFrame
    left_out: list[LeftOut]
    folders: dict[str, int]
    sizes: Mapping[str, int] = MappingProxyType({})
    levelled: Mapping[str, str] = MappingProxyType({})


def scan(root: str | Path, grammar: Grammar) -> Scan:
    """Read the name and size of every file below `root`; contents are not opened.

    Paths are POSIX and relative to `root`. Raises UserError if there is no such folder, or if one in it cannot be read.
    """
    if not Path(root).is_dir():
        raise UserError(f"{root}: no such folder: set `patches` to the folder of patch images")
    kept, left_out, visited, unread = _Kept(grammar.mark, grammar.placed), [], {}, {}
    for folder, time, entries in visit(root, also_hidden=True):
        below = os.path.relpath(folder, root)
        below = "" if below == "." else f"{Path(below).as_posix()}/"
        if trash := next(filter(hidden, below.split("/")), ""):
            left_out += [(below + entry.name, HIDDEN_FOLDER, trash) for entry in entries]
            continue
        visited[folder] = time
        unreadable = below != _readable(below)
        copies = []
        for entry in entries:
            path = below + entry.name
            try:
                if unreadable:
                    raise NotAPatch("name of its folder is not readable text")
                if hidden(entry.name):
                    raise NotAPatch(HIDDEN)
                name, size = grammar.spelt(entry.name, below), _size(entry)
            except NotAPatch as why:
                if (state := _state(entry)) is None:
                    left_out.append((path, BROKEN_LINK, ""))
                elif why.reason == UNREAD and stat.S_ISREG(state.st_mode):
                    unread[_readable(path)] = state.st_size
                    left_out.append((path, why.reason, why.detail))
                elif why.reason == COPY:
                    copies.append((entry, why.detail))
                else:
                    left_out.append((path, why.reason, why.detail))
                continue
            if size:
                kept.add(name, size, path)
            else:
                left_out.append((path, BROKEN_LINK, "") if size is None else (path, "empty file", "0 bytes"))
        beside = {composed(entry.name).lower(): entry for entry in entries if _state(entry)} if copies else {}
        for entry, original in copies:
            path, first = below + entry.name, beside.get(original.lower())
            if other := first and _another(entry, first, folder, below, grammar):
                kept.add(*other, path)
            elif first:
                left_out.append((path, COPY, below + first.name))
            else:  # it may be the only image of a patch
                left_out.append((path, f"{COPY}, original missing", f"rename it to {original} to use it"))
    listed = [LeftOut(_readable(path), reason, _readable(detail), 0) for path, reason, detail in left_out]
    return Scan(kept.table(), listed, visited, unread)


def settled(scanned: Scan, root: str | Path, labelled: Iterable[str], stains: Sequence[str]) -> Scan:
    """Return a scan of the folder `root` with each id spelt one way, patches numbered and in order, copies left out.

    labelled: ids of the labels table. stains: canonical stains in the order of tables.
    """
    known = ids.Known(labelled)
    patches, copies = without_copies(ordered(numbered(spelt(scanned.patches, known)), stains), root)
    patches, renamed = without_renamed(patches, root)
    like = resembling.of(scanned.sizes, patches, Path(root))
    left_out = [each._replace(detail=like.get(each.name, each.detail)) for each in scanned.left_out]
    return scanned._replace(patches=patches, left_out=left_out + copies + renamed, levelled=known.levelled)


class _Kept:
    """The patches of a scan, in little memory. mark, placed: of the Grammar."""

    def __init__(self, mark: str, placed: bool) -> None:
        self.mark, self.placed, self.slices, self.paths = mark, placed, {}, []
        self.which, self.places, self.sizes = array("q"), array("q"), array("q")
        self.numbers = [] if mark == "tile" else array("q")

    def add(self, name: PatchName, size: int, path: str) -> None:
        self.which.append(self.slices.setdefault(name[:3], len(self.slices)))
        if self.mark != "place":
            self.numbers.append(name.patch)
        if self.placed:
            self.places.extend(name.place)
        self.sizes.append(size)
        self.paths.append(path)

    def table(self) -> pd.DataFrame:
        slices = pd.DataFrame(list(self.slices), columns=PATCH[:3], dtype=str)
        patches = slices.iloc[np.array(self.which, dtype=np.int64)].reset_index(drop=True)
        if self.placed:
            patches[["x", "y"]] = np.array(self.places, dtype=float).reshape(-1, 2)
        if self.mark != "place":
            patches[self.mark] = self.numbers if self.mark == "tile" else np.array(self.numbers)
        return patches.assign(path=self.paths, bytes=np.array(self.sizes))


def of_unknown_stains(
    left_out: Iterable[LeftOut], grammar: Grammar, case_of: Mapping[str, str] = MappingProxyType({})
) -> Counter[tuple[str, str]]:
    """Return how many patches each case has of stains that the config does not name: (case as it stands, stain) -> n.

    case_of: file -> case, of a manifest; else its name tells. A file whose case is not known is left out.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for name, reason, detail, n in left_out:
        if reason != UNKNOWN_STAIN:
            continue
        read = composed(name if grammar.of_paths else name.rpartition("/")[2])
        match = (grammar.loose or grammar.pattern).match(read)
        if case := (case_of.get(name) or (match and match["case"]) or "").strip():
            counts[case, detail] += max(1, n)
    return counts


def spelt(patches: pd.DataFrame, labelled: ids.Known | None = None) -> pd.DataFrame:
    """Give each case and each slice of `patches` one spelling, so that from here on equal text is the same id.

    A case is spelt as in `labelled`, the ids of the labels table; one that is not there, and every slice, as most of
    its patches have it, of several equally frequent spellings the first in natural order. Raises UserError for an id
    that could be several of the table.
    """
    labelled = labelled or ids.Known(())
    groups = patches.groupby(PATCH[:3], sort=False)
    slices = groups.size().rename("n").reset_index().astype(dict.fromkeys(PATCH[:3], str))
    of_table = labelled.match(slices["case_id"].unique())
    slices["case"] = slices["case_id"].map(lambda text: case_id(of_table.get(text, text)))
    slices["slice"] = slices["slice_id"].map(slice_id)
    of_case = _most(slices, ["case"], "case_id") | labelled.own
    of_slice = _most(slices, ["case", "stain", "slice"], "slice_id")
    names = slices[["case", "stain", "slice"]].itertuples(index=False, name=None)
    which = groups.ngroup().to_numpy()
    spellings = pd.DataFrame(
        {"case_id": slices["case"].map(of_case), "slice_id": [of_slice[name] for name in names]}, dtype="category"
    )
    return patches.assign(**{name: spellings[name].array.take(which) for name in spellings})


def numbered(patches: pd.DataFrame) -> pd.DataFrame:
    """Return the patches with numbers: as they are, or by their place, row by row from the top left of each slice.

    Those that a text distinguishes have the order of these texts. Equal places, or texts, have one number.
    """
    if "patch" in patches:
        return patches
    marks = ["tile"] if "tile" in patches else ["y", "x"]
    same = [*PATCH[:3], *marks]
    first = patches.drop_duplicates(same)
    first = first.sort_values(marks, key=lambda each: each.map(natural) if marks == ["tile"] else each)
    first["patch"] = first.groupby(PATCH[:3], sort=False).cumcount() + 1
    numbers = patches.merge(first[[*same, "patch"]], on=same, how="left", validate="many_to_one")
    return numbers.drop(columns="tile", errors="ignore")


def ordered(patches: pd.DataFrame, stains: Sequence[str]) -> pd.DataFrame:
    """Return the patches by case, stain, slice and number, numbers by value; paths only where all else is the same."""
    return patches.iloc[_order(patches, stains)].reset_index(drop=True).astype({"patch": "int32"})


def _order(patches: pd.DataFrame, stains: Sequence[str]) -> NDArray[np.int64]:
    keys = [
        _ranks(patches["case_id"], natural),
        _ranks(patches["stain"], list(stains).index),
        _ranks(patches["slice_id"], natural),
        patches["patch"].to_numpy(),
    ]
    ties, same = np.zeros(len(patches), np.int32), repeated(patches, PATCH)
    ties[same] = _ranks(patches["path"][same], _short)
    return np.lexsort([ties, *reversed(keys)])


def without_copies(patches: pd.DataFrame, root: str | Path) -> tuple[pd.DataFrame, list[LeftOut]]:
    """Return the patches without the files that repeat another, and those files as left out.

    Files of the same case, stain, slice and number (38 and 038, a folder copied into another) are one patch if their
    bytes are equal; if not, all are kept, for each has its own path.
    """
    keep, copies = np.ones(len(patches), dtype=bool), []
    for _, rows in namesakes(patches).groupby(PATCH, sort=False):
        originals = []
        for i, path, size in zip(rows.index, rows["path"], rows["bytes"]):
            first = next((one for one, its in originals if its == size and _equal(root, one, path)), None)
            if first is None:
                originals.append((path, size))
            else:
                keep[i] = False
                copies.append(LeftOut(path, REPEATED, first, 0))
    return (patches if keep.all() else patches[keep].reset_index(drop=True)), copies


def without_renamed(patches: pd.DataFrame, root: str | Path) -> tuple[pd.DataFrame, list[LeftOut]]:
    """Return the patches without the files whose bytes another of the same case and stain has, and those as left out.

    The first stays, of several folders that of the highest. Only files of the same size are read.
    """
    same = duplicates.alike(patches, Path(root), lambda rows, name: rows[repeated(rows, ["case_id", "stain", name])])
    if same.empty:
        return patches, []
    same = same.assign(depth=same["path"].str.count("/")).sort_values("depth", kind="stable")
    first = same.groupby(["case_id", "stain", "digest"], sort=False, observed=True)["path"].transform("first")
    lost = same.index[same["path"] != first]
    copies = [LeftOut(path, RENAMED, of, 0) for path, of in zip(same.loc[lost, "path"], first[lost])]
    return patches.drop(lost).reset_index(drop=True), copies


def namesakes(patches: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `patches` whose case, stain, slice and number another row has, too."""
    return patches[repeated(patches, PATCH)]


def told(same: pd.DataFrame) -> str:
    """Return a line on `namesakes`, for a reader who may want to look at them; empty where there are none."""
    if same.empty:
        return ""
    placed = "x" in same and same["x"].notna().all() and same.duplicated([*PATCH, "x", "y"], keep=False).all()
    what, shown = "place" if placed else "number", ", ".join(same["path"][:2])
    return (
        f"{counted(len(same), 'patch')} of used cases have the {what} of another patch of their slice, but other "
        f"content: {shown}{' and more' if len(same) > 2 else ''}. All are used"
    )


def repeated(patches: pd.DataFrame, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which rows another has, too, by these columns, (N,). DataFrame.duplicated takes three times the memory."""
    keys = [patches[name].astype("category").cat.codes for name in reversed(names)]
    order, found = np.lexsort(keys), np.zeros(len(patches), bool)
    same = np.ones(max(0, len(patches) - 1), bool)
    for key in keys:
        ascending = np.asarray(key)[order]
        same &= ascending[1:] == ascending[:-1]
    found[order[1:][same]] = found[order[:-1][same]] = True
    return found


def _readable(path: str) -> str:
    """Return a path as text that can be written, where its bytes are not UTF-8."""
    return path.encode(errors="replace").decode()


def _size(entry: os.DirEntry) -> int | None:
    """Return the bytes of a file, or None for a broken link. Raises NotAPatch for a pipe, a socket or a device."""
    state = _state(entry)
    if state and not stat.S_ISREG(state.st_mode):
        raise NotAPatch("not a regular file")
    return state.st_size if state else None


def _state(entry: os.DirEntry) -> os.stat_result | None:
    """Return os.stat of a file, or None for a link that leads nowhere, perhaps to a share that is not there now."""
    try:
        return entry.stat()
    except OSError:
        return None


def _another(
    entry: os.DirEntry, first: os.DirEntry, folder: str, below: str, grammar: Grammar
) -> tuple[PatchName, int] | None:
    """Return name and size of a file called a copy that is another patch of the slice; None if it is a copy.

    A browser keeps both under such names. It has the number of its original.
    """
    try:
        name, size = grammar.spelt(first.name, below), _size(entry)
        return (
            (name, size) if size and not filecmp.cmp(*(Path(folder, e.name) for e in (entry, first)), False) else None
        )
    except (NotAPatch, OSError):
        return None


def _most(slices: pd.DataFrame, keys: list[str], name: str) -> dict[Hashable, str]:
    """Return for each key, or tuple of keys, its most frequent value of the column `name`, weighted by `n`."""
    counts = slices.groupby([*keys, name], sort=False)["n"].sum().reset_index()
    rows = sorted(counts.itertuples(index=False, name=None), key=lambda row: (-row[-1], natural(row[-2])))
    most = {}
    for *key, text, _ in rows:
        most.setdefault(key[0] if len(keys) == 1 else tuple(key), text)
    return most


def _short(path: str) -> tuple:
    """Return what puts the file of a folder before its copy in a folder below."""
    return path.count("/"), len(path), natural(path)


def _ranks(values: pd.Series, key: Callable[[str], object]) -> NDArray[np.int32]:
    """Return the position of each value among the different ones, ordered by `key`."""
    codes, different = pd.factorize(values)
    ranks = np.empty(len(different), np.int32)
    ranks[sorted(range(len(different)), key=lambda i: (key(different[i]), different[i]))] = np.arange(len(different))
    return ranks[codes]


def _equal(root: str | Path, a: str, b: str) -> bool:
    try:
        return filecmp.cmp(Path(root, a), Path(root, b), shallow=False)
    except OSError:
        return False

"""Precomputed features: what their files hold, as an inventory, and their rows copied into feature files of ours.

`precomputed_readers` says which layouts are read, and how. What the manifest says of a file holds for all its rows;
only what it leaves empty is taken from the file's own columns. `instance` is the number of a patch in its slice;
without it, that is its row. Rows count from 0, as in their paths: `file#row`.

The identity of such features is their width, what their files agree to say of encoder and tiling, and the name that
the config gives the encoder. The files' own hashes are not in it, for then a model could never be tested on the
features of another cohort; that a file has changed is for the inventory to notice.
"""

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stratamil.cohort import manifest
from stratamil.cohort.patch_files import PATCH, namesakes, spelt
from stratamil.core import isolated, names
from stratamil.core.errors import UserError, by_kind, few, in_rows
from stratamil.core.tables import joined
from stratamil.features import precomputed_agreement, precomputed_readers
from stratamil.features.precomputed_checks import OUT, TILING, Source
from stratamil.features.spool import Spool
from stratamil.features.store import IDS

BLOCK = 4096  # rows read at once
FEW = 5  # rows of a file: fewer may well be equal, as of blank tiles
LARGEST = float(np.finfo(np.float16).max)
MOST = 999_999_999  # the largest number of a patch
SHOWN = 5  # places named in a problem


def describe(path: Path) -> Source:
    """Read what a file holds besides its features; a file that crashes its library ends in a UserError, too."""
    return list(_apart(_READER, path, None))[-1]


def blocks(path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first row, numbers (n, D)) over a file, at most BLOCK rows at once; raises as `describe`."""
    yield from _apart(_READER, path, BLOCK)


def _read(path: Path, most: int | None) -> Iterator[Source | tuple[int, NDArray[Any]]]:
    """The blocks of a file, or with None its Source."""
    yield from [precomputed_readers.describe(path)] if most is None else precomputed_readers.blocks(path, None, most)


_READER = isolated.Worker(_read)


def _apart(worker: isolated.Worker, path: Path, *args: object) -> Iterator[Any]:
    """What a worker yields for a file; its death is a UserError."""
    try:
        yield from worker.run(path, *args)
    except isolated.Died as died:
        raise UserError(_death(path, died)) from None


def _death(path: Path, died: isolated.Died) -> str:
    """What to say of a file at which the process that read it ended."""
    if died.status is None:
        what = f"no end of reading it within {isolated.PATIENCE:.0f} s: it is damaged, or its disk does not answer"
    elif died.status == -signal.SIGKILL:
        return f"{path}: reading it was killed (signal 9), as when memory runs out: give the job more, or recreate it"
    else:
        library = "HDF5 library" if Path(path).suffix.lower() in (".h5", ".hdf5") else "library that reads it"
        how = f"signal {-died.status}" if died.status < 0 else f"status {died.status}"
        what = f"the {library} crashed on it ({how}): it is damaged"
    return f"{path}: {what}: {OUT}"


@dataclass(frozen=True)
class Scanned:
    """What the manifest's files hold: patches, left_out as patch_files.scan has them, rows in all, and the identity.

    patches has columns x and y, too, NaN where a file has no coordinates. left_out: (file, reason, detail, rows).
    warnings: sentences on what may be meant, but could mislead.
    """

    patches: pd.DataFrame
    left_out: list[tuple[str, str, str, int]]
    rows: int
    identity: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def scan(path: Path, folder: Path, grammar: names.Grammar, encoder: str | None = None) -> Scanned:
    """Read the manifest at `path` and what its files hold besides features.

    folder: what the manifest's files are relative to. encoder: the name that the user gives it.
    Raises UserError with every problem found, of all files, those of one kind in one line.
    """
    entries = manifest.read(path, folder)
    sources, tables, left_out, problems, lacking = {}, {}, [], [], []
    for entry, (source, faults) in zip(entries, described([entry.file for entry in entries], folder)):
        where = f"row {entry.row}: {entry.file}"
        problems += [(where, fault) for fault in faults]
        if source is None:
            continue
        sources[entry.file] = source
        if none := [name for name in manifest.NAMES if not getattr(entry, name) and name not in source.columns]:
            lacking.append((entry, none))
            continue
        try:
            tables[entry.file], unknown = _patches(entry, source, grammar)
        except UserError as error:
            problems += [(where, line.removeprefix(f"{entry.file}: ")) for line in error.problems]
        except MemoryError:
            problems.append((where, f"more rows than memory can hold: {OUT}"))
        else:
            left_out += [(entry.file, names.UNKNOWN_STAIN, stain, n) for stain, n in unknown.items()]
    problems = by_kind(problems) + manifest.lacking(path, lacking) + precomputed_agreement.disagreements(sources)
    stains = {file: list(table["stain"].unique()) for file, table in tables.items()}
    uneven, warnings = precomputed_agreement.tilings(sources, stains)
    patches = spelt(joined(list(tables.values()), IDS)) if tables else None
    tables.clear()
    problems += uneven + (_repeated(patches) if patches is not None else [])
    if problems:
        raise UserError(*(f"{path}: {problem}" for problem in problems))
    warnings += _other_name(_identity(sources, encoder))
    return Scanned(
        patches, left_out, sum(source.rows for source in sources.values()), _identity(sources, encoder), warnings
    )


def described(files: Iterable[str], folder: Path) -> Iterator[tuple[Source | None, list[str]]]:
    """Yield what each file holds besides features, or None with what is wrong with it."""
    with isolated.Worker(lambda file: [precomputed_readers.describe(file, folder)]) as worker:
        for path in (Path(folder, file) for file in files):
            try:
                [source] = _apart(worker, path)
            except UserError as error:
                yield None, [line.removeprefix(f"{path}: ") for line in error.problems]
            except MemoryError:
                yield None, [f"more rows than memory can hold: {OUT}"]
            else:
                yield source, []


def _patches(entry: manifest.Entry, source: Source, grammar: names.Grammar) -> tuple[pd.DataFrame, dict[str, int]]:
    """(table of the patches of a file, rows of each stain that the config does not name)."""
    case, said, slice_ = (texts(getattr(entry, name) or source.columns[name], source.rows) for name in manifest.NAMES)
    stains = {text: _stain(text, grammar) for text in said.cat.categories}
    known = _each(said, lambda text: stains[text] is not None)
    number = source.columns.get("instance", np.arange(source.rows))
    x, y = np.full((2, source.rows), np.nan) if source.coords is None else source.coords.T
    patches = pd.DataFrame(
        {
            "case_id": case,
            "stain": said.map(lambda text: stains[text] or "").astype(str).astype("category"),
            "slice_id": slice_,
            "patch": pd.to_numeric(pd.Series(number), errors="coerce"),
            "path": [f"{entry.file}#{row}" for row in range(source.rows)],
            "bytes": 0,
            "x": x,
            "y": y,
        }
    )
    faults = {
        f"no case, or one of unreadable text or over {names.LONGEST} characters": ~_each(case, _usable),
        "no stain": _each(said, "".__eq__),
        f"no slice, or one of unreadable text or over {names.LONGEST} characters": ~_each(slice_, _usable),
        "instance is no number from 0 on": ~(patches["patch"].between(0, MOST) & (patches["patch"] % 1 == 0)),
    }
    problems = [
        f"{entry.file}: {in_rows(np.flatnonzero(bad), SHOWN)}: {what}: correct it"
        for what, bad in faults.items()
        if bad.any()
    ]
    if problems:
        raise UserError(*problems)
    for text, whose in pd.DataFrame({"stain": said, "case": case})[known].drop_duplicates().itertuples(index=False):
        grammar.note(text, whose)
    unknown = {} if known.all() else said[~known].astype(str).str.lower().value_counts(sort=False).to_dict()
    return patches[known].astype({"patch": "int64"}), unknown


def texts(values: str | NDArray[Any], rows: int) -> pd.Series:
    """Return a value for all rows, or a column of a file, as categories of stripped text; what is missing is empty."""
    if isinstance(values, str):
        return pd.Series(pd.Categorical.from_codes(np.zeros(rows, np.int8), [values]))
    column = pd.Series(values)
    return column.map(_word).where(column.notna(), "").astype(str).astype("category")


def _each(column: pd.Series, true: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Return whether each value of a column of categories is such a text, each text asked once."""
    return np.array([true(text) for text in column.cat.categories], bool)[column.cat.codes]


def of_files(paths: pd.Series) -> tuple[pd.Series, NDArray[np.int64]]:
    """Return the file of each patch, as categories, and its row there, of paths `file#row`."""
    parts = pc.split_pattern(pa.array(paths), "#", max_splits=1, reverse=True)
    file, row = (pc.list_element(parts, place) for place in (0, 1))
    return pd.Series(file.dictionary_encode().to_pandas().array, index=paths.index), row.cast("int64").to_numpy()


def _word(value: Any) -> str:
    """A value of a column as text: bytes as UTF-8, 1.0 as `1`."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _usable(text: str) -> bool:
    text = names.composed(text).strip()
    return 0 < len(text) <= names.LONGEST and text.isprintable()


def _stain(text: str, grammar: names.Grammar) -> str | None:
    try:
        return grammar.stain(text)
    except names.NotAPatch:
        return None


def _repeated(patches: pd.DataFrame) -> list[str]:
    """A line for each slice in which several rows are the same patch, or one with their number."""
    problems = []
    for (case, stain, slice_id), rows in namesakes(patches).groupby(PATCH[:3], sort=False):
        first = rows[rows["patch"] == rows["patch"].iloc[0]]["path"].tolist()
        where = f"case {case}, {stain}, {slice_id}: {few(first, SHOWN)} are the same patch"
        problems.append((where, "keep one, or name their slices or instances differently"))
    return by_kind(problems)


def _identity(sources: dict[str, Source], encoder: str | None) -> dict[str, Any]:
    """What the features depend on, as far as the files and the user say; see the head of this module."""
    said = {}
    for name in ("extractor", *TILING):
        values = {source.said.get(name) for source in sources.values()}
        if len(values) == 1 and values != {None}:
            said[name] = values.pop()
    dim = next(iter(sources.values())).dim
    return {"encoder": "precomputed", "dim": dim} | ({"named": encoder} if encoder else {}) | said


def _other_name(identity: dict[str, Any]) -> list[str]:
    """A warning where the user and the files name different encoders."""
    named, said = identity.get("named"), identity.get("extractor")
    if not named or not said or names.column(named) == names.column(str(said)):
        return []
    return [f"features.encoder is {named}, but the files name the encoder {said}: check which is right."]


def take(patches: pd.DataFrame, folder: Path, dim: int, scratch: Path | None = None) -> Spool:
    """Return the features of patches from their files: float16 (N, dim), in the order of `patches`.

    patches: as of the inventory, with columns path and others. folder: what its paths are relative to. scratch: a
    folder on a disk that has room for the features; the default is that of temporary files.
    Warns of rows without information. Raises UserError with every file that has changed since the inventory, that
    holds features that are no number or too large for float16 (and in which rows), or that holds no information.
    """
    values = Spool(len(patches), dim, scratch)  # on disk, which the process that reads shares: see isolated.Worker
    places, rows = of_files(patches["path"])
    positions = {Path(folder, file): here for file, here in places.groupby(places, sort=False).indices.items()}
    problems, flat = [], {}

    def copy(path: Path, here: NDArray[np.int64]) -> Iterator[tuple[int, int] | None]:
        return _take(path, folder, rows=rows[here], values=values, positions=here)

    with isolated.Worker(lambda path: copy(path, positions[path])) as worker:
        for path in positions:
            try:
                *_, counts = _apart(worker, path)
            except UserError as error:
                problems += [(str(path), problem.removeprefix(f"{path}: ")) for problem in error.problems]
                continue
            if counts[0]:
                flat[path] = counts
    if problems:
        raise UserError(*by_kind(problems))
    if flat:
        constant, zero = (sum(counts) for counts in zip(*flat.values()))
        logging.warning(
            "%d rows hold one value in all columns, %d of them 0, and say nothing of their patch: %s",
            constant, zero, few(f"{path} ({n})" for path, (n, _) in flat.items()),
        )  # fmt: skip
    return values


def _take(
    path: Path,
    folder: Path,
    *,
    rows: NDArray[np.int64],
    values: Spool,
    positions: NDArray[np.int64],
) -> Iterator[tuple[int, int] | None]:
    """Copy these rows of a file to their positions in `values` (N, dim).

    A generator: None with each block, as a sign of life, and at last (rows of one value in all columns, rows of 0).
    """
    dim, order, done = values.shape[1], np.argsort(rows), 0
    bad, columns, constant, zero, first, differ = [], np.zeros(dim, bool), 0, 0, None, False
    for start, block in precomputed_readers.blocks(path, folder, BLOCK):
        if block.shape[1] != dim:
            break
        end = np.searchsorted(rows, start + len(block), sorter=order)
        here = order[done:end]
        with np.errstate(invalid="ignore", over="ignore"):
            copied = block[rows[here] - start].astype(np.float16)
        fits = np.isfinite(copied)
        wrong = ~fits.all(axis=1)
        bad += rows[here[wrong]].tolist()
        columns |= ~fits.all(axis=0)
        values.put(positions[here], copied)
        constant += int((copied == copied[:, :1]).all(axis=1).sum())
        zero += int((copied == 0).all(axis=1).sum())
        first = copied[:1] if first is None or not len(first) else first
        differ = differ or not (copied == first).all()
        done = end
        yield None
    if done < len(rows):
        raise UserError(f"{path}: has changed since the inventory was taken: run again")
    if bad:
        where = in_rows(sorted(bad), SHOWN)
        which = "" if columns.all() else f" (in column {few(np.flatnonzero(columns), SHOWN)})"
        remedy = f"recreate it, or exclude {path.name}#{min(bad)} by cohort.exclude_patches"
        raise UserError(f"{path}: {where}: features that are no number or beyond {LARGEST:.0f}{which}: {remedy}")
    if zero == len(rows):
        raise UserError(f"{path}: all its features are 0: {OUT}")
    if constant == len(rows) and dim > 1:
        raise UserError(f"{path}: each row holds one value in all columns: {OUT}")
    if len(rows) >= FEW and not differ:
        raise UserError(f"{path}: all its rows are equal: {OUT}")
    yield (constant, zero) if dim > 1 else (zero, zero)

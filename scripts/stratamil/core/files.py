"""Reading and writing files so that nothing is ever half-written, and nothing deleted that was not made here."""

import csv
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from stratamil.core import processes
from stratamil.core.errors import UserError

# In a folder that is made as a whole: the files that were made in it.
LISTING = ".made.json"
PARTIAL = ".partial"
GROUP = 2**17  # rows of a table that are written at once
# What a writer on another machine left behind is removed after so many seconds; one that works has written since.
ABANDONED = 7 * 24 * 3600
# Text that a spreadsheet runs, or takes for more than text; numbers are not.
NUMBER = r"(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:e[-+]?[0-9]+)?%?"
FORMULA = re.compile(rf"'*(?:[=@\t\r\n\uff1d\uff20\uff0b\uff0d]|[-+](?!{NUMBER}\Z))", re.IGNORECASE)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes `path`'s place if the block succeeds, and goes if not.

    The temporary keeps the suffix, for libraries that choose a format by it. No two writers have the same; what a
    killed one left behind is removed by the next.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = temporary(path)
    try:
        yield new
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def updated_folder(path: str | Path, listing: str | Path | None = None) -> Iterator[Path]:
    """Yield a new folder beside `path`; if the block succeeds, its files take their places in `path`, one by one.

    Of what was there before, only files that an earlier call made, and this one did not, are removed: `listing`, by
    default LISTING in the folder, names them. A program that is killed leaves each file whole, the old or the new, and
    a listing that holds all of them, so that the next run completes the work.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = temporary(path)
    try:
        new.mkdir()
        yield new
        _move(new, path, Path(listing or path / LISTING))
    finally:
        shutil.rmtree(new, ignore_errors=True)


def made(listing: str | Path) -> set[str]:
    """Return the files that `updated_folder` made in a folder, relative to it, as far as the listing can be read."""
    try:
        names = json.loads(Path(listing).read_text(encoding="utf-8"))["files"]
        within = {name for name in names if not PurePosixPath(name).is_absolute() and ".." not in Path(name).parts}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, TypeError, KeyError) as error:
        logging.warning("%s: not readable, so files made earlier stay (%s)", listing, error)
        return set()
    return within


def temporary(path: Path) -> Path:
    """Return a name beside `path` that no other writer has.

    Removes what writers of `path` that are dead have left behind.
    """
    if not any(part.endswith(PARTIAL) for part in path.parent.parts):  # in a new folder there is nothing yet
        _sweep(path)
    return path.with_name(f".{path.stem[:40]}.{processes.tag()}{PARTIAL}{path.suffix}")


@contextmanager
def readable(path: str | Path, remedy: str) -> Iterator[None]:
    """Raise UserError where the block cannot read `path`; the remedy is for a file that is not there."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def lacking(folders: Iterable[str | Path], needed: Mapping[str, str]) -> list[str]:
    """Return a line for each file that a folder lacks; needed: file name -> the rule that makes it."""
    return [
        f"{folder}/{name}: no such file: run {rule}"
        for folder in folders
        for name, rule in needed.items()
        if not (Path(folder) / name).is_file()
    ]


def write_text(text: str, path: str | Path) -> None:
    """Write `text` to `path` as UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(value: Any, path: str | Path) -> None:
    """Write `value` to `path` as indented JSON, dataclasses as objects. Raises ValueError for NaN."""
    write_text(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False, default=asdict) + "\n", path)


def write_csv(frame: pd.DataFrame, path: str | Path, float_format: str | None = None) -> None:
    """Write a data frame to `path` without its index; `float_format` like "%.6g" shortens its numbers.

    An apostrophe before text that a spreadsheet would run makes it plain text there; `as_typed` removes it.
    """
    with atomic(path) as temporary:
        plain = _with_text(frame, lambda text: f"'{text}" if FORMULA.match(text) else text)
        torn = any("\r" in text for name in frame for text in frame[name] if isinstance(text, str))
        quoting = csv.QUOTE_NONNUMERIC if torn else csv.QUOTE_MINIMAL  # which does not quote a carriage return
        plain.to_csv(temporary, index=False, float_format=float_format, quoting=quoting)


def as_typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table that write_csv wrote with its text as it was."""
    return _with_text(frame, lambda text: text[1:] if text.startswith("'") and FORMULA.match(text) else text)


def write_parquet(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a data frame to `path` as `parquet` does."""
    with parquet(path) as write:
        for begin in range(0, max(1, len(frame)), GROUP):
            write(frame.iloc[begin : begin + GROUP])


@contextmanager
def parquet(path: str | Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield a function that adds a data frame to the table at `path`, without its index; categories become text.

    All have the columns of the first, and its attrs count. Rows wait until a group is together.
    """
    import pyarrow as pa  # pandas has it already, but not every program writes tables of patches
    import pyarrow.parquet as pq

    waiting: list[pd.DataFrame] = []
    with atomic(path) as temporary, ExitStack() as opened:
        writer = None

        def flush() -> None:
            nonlocal writer
            frame = pd.concat(waiting) if len(waiting) > 1 else waiting[0]
            waiting.clear()
            text = {name: str for name, kind in frame.dtypes.items() if isinstance(kind, pd.CategoricalDtype)}
            rows = pa.Table.from_pandas(frame.astype(text), writer and writer.schema, preserve_index=False)
            if writer is None:
                if frame.attrs:  # as pandas writes and reads them
                    attrs = {b"PANDAS_ATTRS": json.dumps(frame.attrs)}
                    rows = rows.replace_schema_metadata(rows.schema.metadata | attrs)
                writer = opened.enter_context(pq.ParquetWriter(temporary, rows.schema))
            writer.write_table(rows, GROUP)

        def write(frame: pd.DataFrame) -> None:
            waiting.append(frame)
            if sum(map(len, waiting)) >= GROUP:
                flush()

        yield write
        if waiting:
            flush()


def sha256(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _move(new: Path, path: Path, listing: Path) -> None:
    """Put the files of the folder `new` into `path`, and remove those made there earlier that are not among them."""
    names = {file.relative_to(new).as_posix() for file in new.rglob("*") if file.is_file()}
    before = made(listing)
    folders = {path / parent for name in names for parent in Path(name).parents}
    taken = [file for file in (path / name for name in names) if file.is_dir()]
    taken += [folder for folder in folders if folder.exists() and not folder.is_dir()]
    if taken:
        raise UserError(
            *(f"{each}: this is the name of a result: rename what is there and run again" for each in sorted(taken))
        )
    path.mkdir(exist_ok=True)
    # First what may come, at last what is there: whenever this ends, the listing holds all that was made.
    _list(names | before, listing)
    for name in sorted(names):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(new / name, path / name)
    kept = {name.casefold() for name in names}  # on a disk that does not regard case, they may be the same files
    for name in (name for name in before - names if name.casefold() not in kept):
        if (path / name).is_symlink() or (path / name).is_file():
            (path / name).unlink()
    for folder in sorted({parent for name in before - names for parent in Path(name).parents[:-1]}, reverse=True):
        with suppress(OSError):  # something is in it
            (path / folder).rmdir()
    _list(names, listing)


def _list(names: Iterable[str], listing: Path) -> None:
    write_json({"files": sorted(names)}, listing)


def _sweep(path: Path) -> None:
    writer = rf"\.{re.escape(path.stem[:40])}\.(\w{{6}})-(\d+)-\w{{8}}{re.escape(PARTIAL + path.suffix)}"
    for name in os.listdir(path.parent):
        if match := re.fullmatch(writer, name):
            left, (machine, pid) = path.with_name(name), match.groups()
            with suppress(OSError):
                here = machine == processes.machine()
                if not processes.lives(int(pid)) if here else time.time() - left.stat().st_mtime > ABANDONED:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()


def _with_text(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Return a data frame with each text in it, headings as well, changed."""
    columns = {}
    for name, kind in frame.dtypes.items():
        texts = {value for value in frame[name] if isinstance(value, str)} if kind.kind == "O" else ()
        if other := {text: new for text in texts if (new := change(text)) != text}:
            columns[name] = [other.get(value, value) if isinstance(value, str) else value for value in frame[name]]
    return frame.assign(**columns).rename(columns=lambda name: change(name) if isinstance(name, str) else name)

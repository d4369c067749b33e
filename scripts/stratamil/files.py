"""Reading and writing files so that nothing is ever half-written."""

import csv
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pandas as pd


@contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; it takes `path`'s place if the block succeeds, and goes if not.

    The temporary keeps the suffix, for libraries that choose a format by it. Its name is fixed, so that
    what a killed program left behind is overwritten by the next.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path):
    """Yield a new folder beside `path`; it takes `path`'s place if the block succeeds, and goes if not."""
    path = Path(path)
    new, old = (path.with_name(f".{path.name}.{kind}") for kind in ("partial", "old"))
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        yield new
        if path.exists():
            path.rename(old)
        new.rename(path)
    finally:
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)


def lacking(folders, needed):
    """A line for each file that a folder lacks; needed: file name -> the rule that makes it."""
    return [
        f"{folder}/{name}: no such file: run {rule}"
        for folder in folders
        for name, rule in needed.items()
        if not (Path(folder) / name).is_file()
    ]


def write_text(text, path):
    """Write `text` to `path` as UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(value, path):
    """Write `value` to `path` as indented JSON; NaN is refused, for it is not JSON."""
    write_text(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n", path)


# Text that a spreadsheet runs, or takes for more than text; numbers are none.
NUMBER = r"(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:e[-+]?[0-9]+)?%?"
FORMULA = re.compile(rf"'*(?:[=@\t\r\n\uff1d\uff20\uff0b\uff0d]|[-+](?!{NUMBER}\Z))", re.IGNORECASE)


def write_csv(frame, path, float_format=None):
    """Write a data frame to `path` without its index; `float_format` like "%.6g" shortens its numbers.

    An apostrophe before text that a spreadsheet would run makes it plain text there; `as_typed` takes it away.
    """
    with atomic(path) as temporary:
        plain = _with_text(frame, lambda text: f"'{text}" if FORMULA.match(text) else text)
        torn = any("\r" in text for name in frame for text in frame[name] if isinstance(text, str))
        quoting = csv.QUOTE_NONNUMERIC if torn else csv.QUOTE_MINIMAL  # which does not quote a carriage return
        plain.to_csv(temporary, index=False, float_format=float_format, quoting=quoting)


def as_typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table that write_csv wrote with its text as it was."""
    return _with_text(frame, lambda text: text[1:] if text.startswith("'") and FORMULA.match(text) else text)


def _with_text(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """A data frame with each text in it, headings as well, changed."""
    columns = {}
    for name, kind in frame.dtypes.items():
        texts = {value for value in frame[name] if isinstance(value, str)} if kind.kind == "O" else ()
        if other := {text: new for text in texts if (new := change(text)) != text}:
            columns[name] = [other.get(value, value) if isinstance(value, str) else value for value in frame[name]]
    return frame.assign(**columns).rename(columns=lambda name: change(name) if isinstance(name, str) else name)


def write_parquet(frame, path):
    """Write a data frame to `path` without its index."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, index=False)


def sha256(path):
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

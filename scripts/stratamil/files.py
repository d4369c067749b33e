"""Reading and writing files so that nothing is ever half-written."""

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path


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


def write_csv(frame, path, float_format=None):
    """Write a data frame to `path` without its index; `float_format` like "%.6g" shortens its numbers."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False, float_format=float_format)


def write_parquet(frame, path):
    """Write a data frame to `path` without its index."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, index=False)


def sha256(path):
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

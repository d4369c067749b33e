"""The results folder: whose it is, and who works in it."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from stratamil.cohort import folders
from stratamil.core import files, locks
from stratamil.core.errors import UserError, few

# Written at the first run: the workflow replaces files in a folder with this mark only.
MARK = ".stratamil.json"
CONTENT = {"what": "results of StrataMIL; files in here are replaced by its runs", "layout": 1}
LOCK = f".stratamil{locks.SUFFIX}"
# What operating systems lay into a folder on their own.
SYSTEM = {".DS_Store", "Thumbs.db", "desktop.ini", ".directory", ".localized"}
# Where the locks of jobs are; see cli.run and those who call locks.held.
JOBS = ("logs/*/*", "features/*/cache/*", "split_*/*")


def problems(folder: str, inputs: dict[str, str | Path]) -> list[str]:
    """Return a line if results must not go into `folder`; an empty list if they may.

    inputs: what a run reads, setting or name -> path: no results folder may hold one of these. A folder with files in
    it needs the workflow's mark.
    """
    path = Path(folder)
    for part in (path, *path.parents):
        if os.path.lexists(part) and not part.is_dir():
            return [f"results: {part} is no folder: set results to a new one"]
    if held := [f"{what} ({place})" for what, place in inputs.items() if _within(place, path)]:
        return [f"results: {folder} holds {few(held)}: set results to a folder of its own"]
    try:
        if (path / MARK).exists():
            return []
        foreign = list(_foreign(path))
    except OSError as error:
        return [f"results: {error.filename}: cannot be read ({error.strerror}): set results to a folder of your own"]
    if not foreign:
        return []
    return [
        f"results: {folder} is not empty and was not made by this workflow, which would replace files in it (such as "
        f"{', '.join(foreign)}): set results to a new folder, or, if they are results of an earlier version, run "
        f"python scripts/adopt.py {shlex.quote(folder)}"
    ]


def painted_over(patches: str, others: dict[str, str]) -> list[str]:
    """Return a line for each file of somebody else that the demo would paint over.

    patches: folder that the demo paints. others: setting -> path of its other files.
    """
    if painted(patches).exists() or (Path(patches) / folders.MARK).exists():
        return []
    there = {"patches": next(_foreign(Path(patches)), None)} if Path(patches).is_dir() else {}
    there |= {setting: path for setting, path in others.items() if os.path.lexists(path)}
    return [
        f"{setting}: {path} was not painted by the demo, which would replace it: move it, or set demo: null to read it"
        for setting, path in there.items()
        if path
    ]


def painted(patches: str | Path) -> Path:
    """Return where the demo lists what it painted: beside the folder of patches, in which it would be one file more."""
    return Path(patches).with_name(f".{Path(patches).name}{files.LISTING}")


def refuse_second(folder: str) -> None:
    """Raise UserError, one line, where another run works in `folder`; nothing is locked or written."""
    for holder in locks.living([Path(folder) / LOCK]).values():
        raise locks.busy(folder, holder)


def claim(folder: str) -> locks.Lock:
    """Mark `folder` as results and lock it for this process; returns the lock.

    Raises UserError, a line for each process, where another one works in it, of this run or of one that was killed.
    """
    path = Path(folder)
    lock = locks.acquire(path / LOCK, folder)
    try:
        at_work = locks.living(each for pattern in JOBS for each in path.glob(pattern + locks.SUFFIX))
        if at_work:
            raise UserError(*_left(at_work))
        if not (path / MARK).exists():
            files.write_json(CONTENT, path / MARK)
    except BaseException:
        lock.release()
        raise
    return lock


def adopt(folder: str) -> None:
    """Mark a folder that an earlier version wrote. Raises UserError if it does not look like results of one."""
    path = Path(folder)
    lacking = [name for name in ("config.yaml", "inventory/cases.csv", "logs") if not (path / name).exists()]
    if lacking:
        raise UserError(f"{folder}: not results of this workflow, which have {', '.join(lacking)}: name another folder")
    files.write_json(CONTENT, path / MARK)


def _left(at_work: dict[Path, locks.Holder]) -> Iterator[str]:
    """Yield a line for each process that holds locks."""
    # A job's log, which names it best, is the last of its locks by name.
    by_process = {(holder.machine, holder.pid): (path, holder) for path, holder in sorted(at_work.items())}
    for path, holder in by_process.values():
        yield (
            f"{str(path).removesuffix(locks.SUFFIX)}: in use by {holder}, a job of an earlier run that was killed, or "
            f"of another: wait for it, or end it with {holder.ending}, and run again"
        )


def _within(place: str | Path, folder: Path) -> bool:
    """Tell whether `place` is `folder` or lies in it, whatever links lead there."""
    if not os.path.exists(folder):
        return False
    place = Path(os.path.realpath(place))
    return any(each.exists() and each.samefile(folder) for each in (place, *place.parents))


def _foreign(folder: Path, shown: int = 3) -> Iterator[str]:
    """Yield some of the files in `folder` that are not a system's, in other results, or of a run that just began.

    Paths are relative to it. shown: at most so many.
    """
    for place, below, names in os.walk(folder, onerror=_raise):
        # What lies in other results belongs to them.
        below[:] = sorted(name for name in below if not os.path.exists(os.path.join(place, name, MARK)))
        for name in sorted(names + [name for name in below if os.path.islink(os.path.join(place, name))]):
            if name not in SYSTEM and not name.lstrip(".").startswith("stratamil."):
                yield os.path.relpath(os.path.join(place, name), folder)
                shown -= 1
                if not shown:
                    return


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error

"""The folders that hold the patches: one walk through them, and what a dry run looks at to notice a change."""

import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stratamil.core import files
from stratamil.core.errors import UserError

# Files whose time a dry run looks at, besides that of every folder: as many as cost it some milliseconds.
WATCHED = 5000
# Snakemake's own mark in a folder that one of its rules made, as the demo's was in earlier versions.
MARK = ".snakemake_timestamp"


# Files and folders that people do not see: bins, snapshots, previews and notes of operating systems and file servers.
HIDDEN = re.compile(
    r"""\..* | ~.* | .*~ | \#.*\# | \$.* | @[a-z_].* | \#(recycle|snapshot|tmp).* | __macosx | _macosx | __pycache__
    | lost\+found | system\ volume\ information | recycle[rd] | thumbs\.db | desktop\.ini | icon\r
    | network\ trash\ folder | temporary\ items | recycle\ bin | found\.\d{3} | dfsrprivate | onedrivetemp
    | ehthumbs\.db | thevolumesettingsfolder | resource\.frk | _gsdata_""",
    re.IGNORECASE | re.VERBOSE,
)


def hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is hidden, or an operating system's own."""
    return bool(HIDDEN.fullmatch(name))


def visit(root: str | Path, also_hidden: bool = False) -> Iterator[tuple[str, int, list[os.DirEntry]]]:
    """Yield each folder at and below `root` once: (folder, time of change in ns, its files as os.DirEntry).

    The time is taken before the files are listed, so that a file that comes meanwhile is noticed by the next run.
    Symbolic links to folders are followed last. Hidden folders are passed over, or come after all others, without the
    links in them: what a link elsewhere leads to is not hidden. Raises UserError for a folder that cannot be read.
    """
    seen, pending, later, below_hidden = set(), deque([str(root)]), [], False
    while pending or later:
        if not pending:
            pending, later, below_hidden = deque(later), [], True
        folder = pending.popleft()
        below, inside = [], []
        try:
            # by its descriptor, so that looking at a file does not look up the whole path again
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be read ({error.strerror}): give read permission, or move it away"
            ) from None
        try:
            state = os.fstat(descriptor)
            if (state.st_dev, state.st_ino) in seen:
                continue  # a link to what was visited, or back into the tree
            seen.add((state.st_dev, state.st_ino))
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    (below if is_folder(entry) else inside).append(entry)
            below.sort(key=lambda entry: entry.name)
            if below_hidden:
                below = [entry for entry in below if not entry.is_symlink()]
            elif trash := [entry for entry in below if hidden(entry.name)]:
                below = [entry for entry in below if not hidden(entry.name)]
                later += [os.path.join(folder, entry.name) for entry in trash if also_hidden and not entry.is_symlink()]
            real = [os.path.join(folder, entry.name) for entry in below if not entry.is_symlink()]
            pending.extendleft(reversed(real))
            pending.extend(os.path.join(folder, entry.name) for entry in below if entry.is_symlink())
            yield folder, state.st_mtime_ns, [entry for entry in inside if entry.name != MARK]
        finally:
            os.close(descriptor)


def is_folder(entry: os.DirEntry) -> bool:
    """Tell whether a directory entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def look(root: str | Path, known: str | Path | None = None) -> tuple[list[str], str]:
    """Return what a dry run sees of `root`: its folders, and a text that changes when its content does.

    A file that comes or goes changes the time of its folder; one that is rewritten in place changes only its own.
    `known` is a file that `remember` wrote after an earlier visit: if none of the times in it has changed, it is the
    answer, so that the cost does not grow with the number of files.
    Returns (folders, state): sorted strings that begin with `root`, itself first, and a short text.
    """
    memory = _recall(root, known)
    if memory and all(_time(path) == time for path, time in {**memory["folders"], **memory["files"]}.items()):
        return list(memory["folders"]), memory["state"]
    if not os.path.isdir(root):
        return [str(root)], ""  # painted later, by the demo
    times = {folder: time for folder, time, _ in visit(root)}
    now = times | {path: _time(path) for path in (memory["files"] if memory else [])}
    return sorted(times), hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()[:16]


def remember(
    root: str | Path,
    known: str | Path,
    *,
    visited: Mapping[str, int],
    paths: Sequence[str],
    state: str,
    also: Iterable[str] = (),
) -> None:
    """Write to `known` what `look` compares with.

    visited: folder -> time of a visit. paths: the patches, relative to `root`, in their order; all of them or WATCHED
    at equal distances are watched. state: what `look` said before the visit. also: more paths to watch, such as broken
    links.
    """
    step = max(1, -(-len(paths) // WATCHED))
    watched = [os.path.join(root, path) for path in [*paths[::step], *also]]
    memory = {
        "root": str(root),
        "state": state,
        "folders": dict(sorted(visited.items())),
        "files": {path: _time(path) for path in watched},
    }
    files.write_text(json.dumps(memory, indent=0), known)


def _recall(root: str | Path, known: str | Path | None) -> dict[str, Any] | None:
    """Return the memory in the file `known`, or None if there is none of this root."""
    try:
        memory = json.loads(Path(known).read_text(encoding="utf-8")) if known else {}
    except (OSError, ValueError):
        return None
    complete = isinstance(memory, dict) and {"root", "state", "folders", "files"} <= set(memory)
    return memory if complete and memory["root"] == str(root) else None


def _time(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None

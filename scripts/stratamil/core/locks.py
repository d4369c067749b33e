"""Locks: a file that says who may write to another, so that two processes never do.

A lock names its holder: program, host, process number and start, and the SLURM job if there is one. It is a file made
in one step with its content (a hard link; O_EXCL where a file system has none), so it needs no file locks and works
on NFS. On the holder's own machine the process table tells whether it lives, and a lock whose holder was killed is
taken over at once. From another machine or container it is told by a heartbeat: every BEAT seconds the holder renews
the time of its lock, and where that is BOUND seconds old by the file server's clock, or stands still for so long (as
after a clock was put back), the holder counts as dead.

How far this works: on any file system that shows a renamed file to the next one who opens it, as NFS and the parallel
file systems do. A holder on another machine that is halted for longer than BOUND (a suspended job, a laptop that
sleeps) and then goes on loses its lock; it notices at its next beat and ends itself, but may write until then.
"""

import atexit
import errno
import json
import logging
import os
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from stratamil.core import files, processes
from stratamil.core.errors import UserError, visible

BEAT, BOUND = 10, 90  # seconds
SUFFIX = ".lock"
TOKEN = re.compile("[0-9a-f]{1,16}")  # it becomes a part of a file name


@dataclass(frozen=True)
class Holder:
    """Who holds a lock; without arguments this process. `token` is of this one lock alone."""

    program: str = field(default_factory=lambda: Path(sys.argv[0]).name)
    pid: int = field(default_factory=os.getpid)
    start: str = field(default_factory=lambda: processes.started(os.getpid()) or "")
    host: str = field(default_factory=socket.gethostname)
    machine: str = field(default_factory=processes.machine)
    job: str = field(default_factory=lambda: os.environ.get("SLURM_JOB_ID", ""))
    since: float = field(default_factory=time.time)
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    def __str__(self) -> str:
        then, job = time.localtime(self.since), f", SLURM job {self.job}" if self.job else ""
        today = time.strftime("%F", then) == time.strftime("%F")
        since = time.strftime("%H:%M" if today else "%F %H:%M", then)
        return f"{self.program} (pid {self.pid} on host {self.host}{job}) since {since}"

    @property
    def ending(self) -> str:
        """Return the command that ends it."""
        if self.job:
            return f"`scancel {self.job}`"
        return f"`kill {self.pid}`" + ("" if self.machine == processes.machine() else f" on {self.host}")


class Lock:
    """A lock that this process holds, until `release` or the end of the process."""

    def __init__(self, path: Path, holder: Holder) -> None:
        self.path, self.holder, self.ended = path, holder, threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()
        atexit.register(self.release)

    def release(self) -> None:
        """Give the lock back; nothing in a forked process, or if another has taken it over."""
        if os.getpid() == self.holder.pid and not self.ended.is_set():
            self.ended.set()
            atexit.unregister(self.release)
            _drop(self.path, self.holder)

    def _beat(self) -> None:
        while not self.ended.wait(BEAT):
            with suppress(OSError, UserError):
                now = read(self.path)
                if now and now.token != self.holder.token and not self.ended.is_set():
                    logging.error("%s: halted for so long that %s took over: this one ends here", self.path, now)
                    os._exit(1)
                os.utime(self.path)


@contextmanager
def held(target: str | Path) -> Iterator[None]:
    """Hold the lock of the file `target`, which lies beside it. Raises UserError, one line, where another holds it."""
    lock = acquire(Path(f"{target}{SUFFIX}"), str(target))
    try:
        yield
    finally:
        lock.release()


def acquire(path: Path, what: str) -> Lock:
    """Take the lock at `path`, from its holder if that is dead; `what` is locked is said to the user.

    Raises UserError if the holder lives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    me = Holder()
    if other := _take(path, me):
        raise busy(what, other)
    for spent in path.parent.glob(f"{path.name}.*"):  # of takeovers that were killed; see _take
        spent.unlink(missing_ok=True)
    return Lock(path, me)


def busy(what: str, holder: Holder) -> UserError:
    """Return the error for who wants what another one holds."""
    return UserError(f"{what}: in use by {holder}: wait for it, or end it with {holder.ending}, and run again")


def living(paths: Iterable[Path]) -> dict[Path, Holder]:
    """Return the holders that live of the locks at `paths`."""
    locked = [(path, holder) for path in paths if (holder := read(path))]
    with ThreadPoolExecutor(max(1, min(32, len(locked)))) as pool:  # a beat from another machine takes seconds
        alive = list(pool.map(lambda lock: _lives(*lock), locked))
    return {path: holder for (path, holder), lives in zip(locked, alive) if lives}


def read(path: Path) -> Holder | None:
    """Return who holds a lock, dead or alive; None if there is none. Raises UserError if it cannot be read."""
    try:
        with open(path, "rb", opener=_opened) as file:
            state, content = os.fstat(file.fileno()), file.read()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return None
        raise UserError(
            f"{path}: this lock cannot be read ({error.strerror}): if nobody works there, delete it and run again"
        ) from None
    try:
        return _holder(content)
    except (ValueError, TypeError, RecursionError):  # its holder was stopped while it wrote: only its age tells
        return Holder(
            program="unknown program",
            pid=0,
            start="",
            host="unknown",
            machine="",
            job="",
            since=state.st_mtime,
            token=f"{state.st_ino:x}",
        )


def _opened(path: str, flags: int) -> int:
    # A link or a pipe in the place of a lock would lead elsewhere or wait for ever.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _holder(content: bytes) -> Holder:
    """Read the content of a lock. Raises ValueError, TypeError or RecursionError if no lock was written like that."""
    holder = Holder(**json.loads(content))
    right = all(type(getattr(holder, each.name)) is each.type for each in fields(Holder))
    if not (right and 0 < holder.pid < 2**31 and 0 <= holder.since < 2**33 and TOKEN.fullmatch(holder.token)):
        raise ValueError("no holder")
    return holder


def _take(path: Path, me: Holder) -> Holder | None:
    """Make `me` the holder of the lock at `path`; returns who prevents it, if somebody does.

    The lock of a dead holder may be replaced only by who holds a lock of its own for that, named by the dead one's
    token, and only if the first is still the dead one's then: of two contenders one comes too late. It is a lock like
    any other, so that a contender that dies there holds nobody up.
    """
    tries = 0
    while not _create(path, me):
        holder = read(path)
        if holder is None:  # given back in this moment
            tries += 1
            if tries > 100:
                raise UserError(f"{path}: is no lock and cannot be replaced: remove it if no run is at work")
            time.sleep(0.02)
            continue
        if _lives(path, holder):
            return holder
        guard = path.with_name(f"{path.name}.{holder.token}")
        if other := _take(guard, me):
            return other
        try:
            still = read(path)
            if still and still.token == holder.token:
                os.replace(_written(path, me), path)
                return None
        finally:
            _drop(guard, me)
    return None


def _create(path: Path, me: Holder) -> bool:
    """Make the lock file with its content, unless there is one."""
    new = _written(path, me)
    try:
        os.link(new, path)
        return True
    except FileExistsError:
        return os.stat(new).st_nlink == 2  # NFS: it was made, and the answer got lost
    except OSError:  # no hard links
        try:
            with open(path, "xb") as file:
                file.write(new.read_bytes())
            return True
        except FileExistsError:
            return False
    finally:
        new.unlink(missing_ok=True)


def _written(path: Path, me: Holder) -> Path:
    """Write the content of a lock beside it."""
    new = files.temporary(path)
    new.write_text(json.dumps(asdict(me)), encoding="utf-8")
    return new


def _drop(path: Path, me: Holder) -> None:
    with suppress(OSError, UserError):
        if (holder := read(path)) and holder.token == me.token:
            path.unlink()


def _lives(path: Path, holder: Holder) -> bool:
    """Tell whether the holder of the lock at `path` lives; waits for a heartbeat from another machine."""
    if holder.machine == processes.machine():
        return processes.lives(holder.pid, holder.start)
    first, begun = None, time.monotonic()
    while True:
        try:
            with open(path, "rb", opener=_opened) as file:  # opened, so that NFS asks the server
                beat = os.fstat(file.fileno()).st_mtime
        except OSError:
            return False
        if first not in (None, beat):
            return True
        if max(_now(path) - beat, time.monotonic() - begun) > BOUND:
            return False
        if first is None:
            logging.warning("%s: waiting for a sign of life of %s, at most %d s", path, visible(str(holder)), BOUND)
        first = beat
        time.sleep(min(1, BEAT))


def _now(path: Path) -> float:
    """Return the time by the clock of the file server."""
    clock = files.temporary(path)
    clock.touch()
    try:
        return clock.stat().st_mtime
    finally:
        clock.unlink(missing_ok=True)

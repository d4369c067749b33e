"""Which process this is, and whether another one still runs: what temporary names and locks are told by."""

import hashlib
import os
import secrets
import socket
import subprocess
from functools import cache
from pathlib import Path


@cache
def machine() -> str:
    """Return a short code of where process numbers mean the same: this host, since it started, in this container."""
    parts = [socket.gethostname()]
    for read in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8"),
        lambda: os.readlink("/proc/self/ns/pid"),
    ):
        try:
            parts.append(read())
        except OSError:  # not Linux
            continue
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:6]


def started(pid: int) -> str | None:
    """Return when a process of this machine began, as text to compare; "" if that cannot be told, None if it has ended.

    A killed process that its parent has not yet asked about (a zombie) has ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        pass  # no /proc, or the process has ended, or it is another user's and hidden
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return ""
    try:
        asked = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
        state, _, began = subprocess.run(asked, capture_output=True, encoding="utf-8").stdout.strip().partition(" ")
    except OSError:
        return ""
    return None if state.startswith("Z") else began.strip()


def lives(pid: int, start: str = "") -> bool:
    """Tell whether a process of this machine still runs: the one that began at `start`, if that is given."""
    began = started(pid)
    return began is not None and (not start or not began or began == start)


def tag() -> str:
    """Return a text for a file name that no other process gives, here or on another machine."""
    return f"{machine()}-{os.getpid()}-{secrets.token_hex(4)}"

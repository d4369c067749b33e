"""A lock has one holder: a dead one is followed at once and by one only, a living one is named in a line."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict

import pytest
from repository import REPOSITORY

from stratamil.core import locks
from stratamil.core.errors import UserError

FORK = multiprocessing.get_context("fork")
HOLD = """
import sys, time
from stratamil.core import locks
with locks.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path/x."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "scripts")}
    command = [sys.executable, "-c", HOLD, tmp_path / "x"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def of_another_machine(path, age):
    """Write a lock of a holder on another machine whose last heartbeat was `age` seconds ago."""
    path.write_text(json.dumps(asdict(locks.Holder(machine="abcdef", host="c7", pid=1))))
    then = time.time() - age
    os.utime(path, (then, then))


def test_a_living_holder_is_named_in_one_line(tmp_path, holder):
    with pytest.raises(UserError) as error, locks.held(tmp_path / "x"):
        pass
    (line,) = error.value.problems
    assert line.startswith(f"{tmp_path / 'x'}: in use by -c (pid {holder.pid} on host ")
    assert f"end it with `kill {holder.pid}`, and run again" in line
    assert (tmp_path / "x.lock").exists()


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_holder_is_followed_at_once(tmp_path, holder, stop):
    holder.send_signal(stop)
    while locks.processes.lives(holder.pid):  # a zombie, for nobody has waited for it
        time.sleep(0.01)
    with locks.held(tmp_path / "x"):
        assert locks.read(tmp_path / "x.lock").pid == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_process_of_the_same_number_is_not_the_holder(tmp_path):
    (tmp_path / "x.lock").write_text(json.dumps(asdict(locks.Holder(start="1"))))
    with locks.held(tmp_path / "x"):
        pass


def test_it_is_given_back_after_an_error(tmp_path):
    for error in (UserError("no"), KeyboardInterrupt(), SystemExit(1)):
        with pytest.raises(type(error)), locks.held(tmp_path / "x"):
            raise error
        assert list(tmp_path.iterdir()) == []


def contend(path, barrier, found):
    barrier.wait()
    try:
        lock = locks.acquire(path, "x")
    except UserError:
        found.put(None)
        barrier.wait()
    else:
        found.put(lock.holder.token)
        barrier.wait()
        lock.release()


@pytest.mark.slow
@pytest.mark.parametrize("before", ["nothing", "dead", "dead in a takeover", "half-written"])
def test_of_several_contenders_one_wins(tmp_path, before):
    for number in range(10):
        path, dead = tmp_path / f"{number}.lock", locks.Holder(start="1")
        if before.startswith("dead"):
            path.write_text(json.dumps(asdict(dead)))
        if before == "dead in a takeover":
            other = locks.Holder(start="1")
            path.with_name(f"{path.name}.{dead.token}").write_text(json.dumps(asdict(other)))
        if before == "half-written":
            path.write_text("{")
            os.utime(path, (0, 0))
        barrier, found = FORK.Barrier(4), FORK.Queue()
        contenders = [FORK.Process(target=contend, args=(path, barrier, found)) for _ in range(4)]
        for process in contenders:
            process.start()
        tokens = [token for _ in contenders if (token := found.get(timeout=30))]
        for process in contenders:
            process.join()
        assert len(tokens) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    with locks.held(tmp_path / "x"), pytest.raises(UserError), locks.held(tmp_path / "x"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_holder_elsewhere_is_told_by_its_heartbeat(tmp_path):
    path = tmp_path / "x.lock"
    of_another_machine(path, locks.BOUND + 1)
    with locks.held(tmp_path / "x"):
        pass
    of_another_machine(path, 5)
    threading.Timer(1.2, os.utime, [path]).start()
    with pytest.raises(UserError, match=r"on host c7.* end it with `kill 1` on c7"), locks.held(tmp_path / "x"):
        pass


@pytest.mark.parametrize("age", [0, -1e6])
@pytest.mark.parametrize("empty", [True, False])
def test_a_lock_whose_time_stands_still_is_taken_over_whatever_the_clock(tmp_path, monkeypatch, caplog, age, empty):
    monkeypatch.setattr(locks, "BOUND", 0.2)
    monkeypatch.setattr(locks, "BEAT", 0.05)
    of_another_machine(tmp_path / "x.lock", age)
    if empty:
        os.truncate(tmp_path / "x.lock", 0)
        os.utime(tmp_path / "x.lock", (time.time() - age,) * 2)
    with locks.held(tmp_path / "x"):
        pass
    assert len(caplog.messages) == 1 and "waiting for a sign of life" in caplog.text


CHANGED = [
    *[{"pid": value} for value in ("7", 0, -1, 1.5, None, [1], 2**40, 2**70)],
    *[{"since": value} for value in ("now", 1e300, -1.0, float("nan"), None)],
    *[{"token": value} for value in ("a/b", "../../y", "a\0", "a" * 300, 5)],
    *[{"start": 5}, {"machine": None}, {"new": 1}],
]


@pytest.mark.parametrize("content", [json.dumps(asdict(locks.Holder()) | each) for each in CHANGED] + ["[" * 100_000])
def test_a_lock_with_a_content_that_no_program_wrote_is_told_by_its_age(tmp_path, content):
    path = tmp_path / "x.lock"
    path.write_text(content)
    os.utime(path, (0, 0))
    with locks.held(tmp_path / "x"):
        assert locks.read(path) == locks.Holder(**json.loads(path.read_text()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [
    lambda path: path.mkdir(),
    lambda path: path.symlink_to("gone"),
    lambda path: path.symlink_to(path.name),
    lambda path: path.symlink_to(os.devnull),
])  # fmt: skip
def test_what_cannot_be_read_in_the_place_of_a_lock_is_one_line(tmp_path, make):
    make(tmp_path / "x.lock")
    with pytest.raises(UserError, match=r"x\.lock: this lock cannot be read") as error, locks.held(tmp_path / "x"):
        pass
    assert len(error.value.problems) == 1 and [each.name for each in tmp_path.iterdir()] == ["x.lock"]


def test_a_lock_of_another_user_that_may_not_be_read_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "x.lock").touch()

    def refused(path, flags):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(locks, "_opened", refused)
    with pytest.raises(UserError, match="Permission denied"), locks.held(tmp_path / "x"):
        pass


def test_a_pipe_in_the_place_of_a_lock_does_not_wait_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "x.lock")
    os.utime(tmp_path / "x.lock", (0, 0))
    with locks.held(tmp_path / "x"):
        pass


def test_it_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.05)
    with locks.held(tmp_path / "x"):
        os.utime(tmp_path / "x.lock", (0, 0))
        time.sleep(0.5)
        assert time.time() - (tmp_path / "x.lock").stat().st_mtime < 10


def test_what_is_no_lock_is_said_and_not_waited_for_for_ever(tmp_path):
    (tmp_path / "a.lock").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"a\.lock.*cannot be read"):
        locks.acquire(tmp_path / "a.lock", "a")
    (tmp_path / "b.lock").mkdir()
    with pytest.raises(UserError, match="cannot be read"):  # as of a colleague whose files are closed to others
        locks.acquire(tmp_path / "b.lock", "b")

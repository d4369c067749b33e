"""Work in a process that may die: a library that crashes on a damaged file takes nothing else with it."""

import faulthandler
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any, Self

from stratamil.core.errors import Stopped

FORK = multiprocessing.get_context("fork")  # starts in milliseconds, and shares the memory that its function refers to
PATIENCE = 180  # seconds without a sign of life: a damaged file can send a library round in circles
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Died(Exception):
    """The process ended before its work: by a signal, with a status below 0 (as -11), or as it hung (None)."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class Worker:
    """A process that runs one generator function, with other arguments each time; started when it is needed."""

    def __init__(self, function: Callable[..., Iterable]) -> None:
        self.function, self.process, self.pipe, self.busy = function, None, None, False

    def run(self, *args: Any) -> Iterator:
        """Yield what `function(*args)` yields there. Raises what it raises, Died, or Stopped."""
        if self.busy:  # by someone who has not read all that was asked for
            with Worker(self.function) as other:
                yield from other.run(*args)
            return
        if self.process is None:
            self._start()
        self.busy = True
        try:
            self.pipe.send(args)
            while True:
                kind, value = self._receive()
                if kind != "value":
                    self.busy = False
                    break
                yield value
        finally:
            if self.busy:
                self.stop()
        if kind == "error":
            raise value

    def _start(self) -> None:
        self.pipe, theirs = FORK.Pipe()
        self.process = FORK.Process(target=_serve, args=(self.function, self.pipe, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def _receive(self) -> tuple[str, Any]:
        try:
            if not self.pipe.poll(PATIENCE):
                raise Died(None)
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            if -self.process.exitcode in STOPS:
                raise Stopped("stopped while reading files: run again") from None
            raise Died(self.process.exitcode) from None

    def stop(self) -> None:
        """End the process; the next run starts another."""
        if self.process:
            self.pipe.close()
            self.process.kill()
            self.process.join(10)  # one that waits for a dead disk cannot be ended
        self.process, self.busy = None, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def _serve(function: Callable[..., Iterable], ours: Connection, theirs: Connection) -> None:
    ours.close()  # with it open here, the pipe would never break when the other side is gone
    faulthandler.disable()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other side ends this process
    try:
        while True:
            args = theirs.recv()
            try:
                for value in function(*args):
                    theirs.send(("value", value))
                theirs.send(("end", None))
            except BrokenPipeError:
                raise
            except Exception as error:
                theirs.send(("error", error))
    except (EOFError, OSError):
        pass  # the other side is gone

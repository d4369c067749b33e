"""Work in a process that may die: a library that crashes on a damaged file takes nothing else with it."""

import faulthandler
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from stratamil.errors import Stopped, UserError

FORK = multiprocessing.get_context("fork")  # starts in milliseconds, and shares the memory that its function refers to
PATIENCE = 600  # seconds without a sign of life: a damaged file can send a library round in circles
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Died(Exception):
    """The process ended before its work: by a signal, with a status below 0 (as -11), or as it hung (None)."""

    def __init__(self, status: int | None):
        super().__init__(status)
        self.status = status


def stream(function: Callable[..., Iterable], *args: Any) -> Iterator:
    """Yield what the generator `function(*args)` yields, run in another process. Raises what it raises, or Died."""
    ours, theirs = FORK.Pipe(duplex=False)
    worker = FORK.Process(target=_serve, args=(function, args, ours, theirs), daemon=True)
    worker.start()
    theirs.close()
    try:
        while ours.poll(PATIENCE):
            try:
                kind, value = ours.recv()
            except (EOFError, OSError):
                worker.join()
                if -worker.exitcode in STOPS:
                    raise Stopped("stopped while reading files: run again") from None
                raise Died(worker.exitcode) from None
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
        raise Died(None)
    finally:
        ours.close()
        worker.kill()
        worker.join(10)


def _serve(function, args, ours, theirs):
    ours.close()  # with it open here, the pipe would never break when the reader is gone
    faulthandler.disable()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the reader ends this process
    try:
        for value in function(*args):
            theirs.send(("value", value))
        theirs.send(("end", None))
    except BrokenPipeError:
        pass
    except Exception as error:
        theirs.send(("error", error))


def each(function: Callable[[Any], Iterable], items: Iterable) -> Iterator[tuple[Any, Any]]:
    """Yield (item, outcome) of all items in order, worked on in one process, and in another after it dies.

    function: a generator: it yields None as a sign of life, and at last its result. The outcome of an item is this
    result, the UserError that it raised, or the Died of the process.
    """
    todo = deque(items)
    while todo:
        try:
            for outcome in stream(_outcomes, function, list(todo)):
                if outcome is not None:
                    yield todo.popleft(), outcome
        except Died as died:
            yield todo.popleft(), died


def _outcomes(function, items):
    for item in items:
        try:
            yield from function(item)
        except UserError as error:
            yield error

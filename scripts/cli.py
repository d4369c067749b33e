"""What every script shares: its parser, its log, and one line for a user's mistake."""

import argparse
import csv
import errno
import logging
import os
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from stratamil.errors import Stopped, UserError, visible

# Sent by SLURM before a job's time runs out, and by Ctrl-C.
STOPS = (signal.SIGTERM, signal.SIGINT)

# What a machine refuses, which is no error of the program, with the remedy.
REFUSALS = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room within your quota",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "ask for the right to read or write it",
    errno.EEXIST: "move away the file that is where a folder should be",
    errno.ENOTDIR: "move away the file that is where a folder should be",
    errno.EISDIR: "move away the folder that is where a file should be",
    errno.EPERM: "ask for the right to read or write it",
    errno.EIO: "look at the disk, or the connection to it",
}


def parser(doc):
    """An argument parser with the script's docstring as its help, and --log."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    result.add_argument("--log", type=Path, help="file for plain log lines")
    return result


def named_list(text):
    """`name=a,b` as ("name", ["a", "b"]); an item that holds a comma is quoted as in CSV."""
    name, _, items = text.partition("=")
    return name, next(csv.reader([items]), [])


def add_switch(parser, name, default):
    """A flag that is on or off: `--gated`, `--no-gated`."""
    parser.add_argument(name, action=argparse.BooleanOptionalAction, default=default)


@contextmanager
def stoppable():
    """Yield a function that tells whether SIGTERM or SIGINT has come; a second SIGINT ends the program at once.

    SIGTERM only tells, however often it comes: SLURM sends it for the step and for the job.
    """
    came, before = [], {}

    def note(number, frame):
        came.append(number)
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    before |= {number: signal.signal(number, note) for number in STOPS}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log_file(path: Path) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    log = LogFile(path, mode="w", encoding="utf-8")
    log.setFormatter(Plain("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    return log


class Plain(logging.Formatter):
    """Log lines in which no name of a file or case can command a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), keep="\n\t")


class LogFile(logging.FileHandler):
    """A log that says once where it cannot be written, as on a full disk; the work goes on."""

    told = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.told:
            self.told = True
            print(f"{visible(self.baseFilename)}: the log is not complete: {sys.exc_info()[1]}", file=sys.stderr)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def run(main, args):
    """Call `main(args)` with logging set up; exit with status 1 and plain lines on a UserError, 143 when Stopped.

    Log lines go to the file given by --log; the terminal gets progress bars and errors.
    An error of the program itself leaves its traceback in both places.
    """
    logging.raiseExceptions = False  # a terminal that is gone is no reason to stop
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.ERROR if args.log else logging.INFO)
    terminal.setFormatter(Plain("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[terminal], force=True)
    try:
        if args.log:
            logging.getLogger().addHandler(_log_file(args.log))
        main(args)
    except UserError as error:
        for problem in error.problems:
            logging.error("error: %s", visible(problem))
        sys.exit(1)
    except Stopped as stopped:
        logging.error("%s", stopped)
        sys.exit(128 + signal.SIGTERM)
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REFUSALS:
            where = f"{visible(str(error.filename))}: " if error.filename else ""
            logging.error("error: %s%s: %s and run again", where, os.strerror(error.errno), REFUSALS[error.errno])
            sys.exit(1)
        logging.exception("unexpected error: please report it with this log")
        sys.exit(2)

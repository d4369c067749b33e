"""What every script shares: its parser, its log, and one line for a user's mistake."""

import argparse
import csv
import logging
import operator
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from stratamil.core import locks, progress, schema
from stratamil.core.errors import REFUSALS, Stopped, UserError, visible

# Sent by SLURM before a job's time runs out, and by Ctrl-C.
STOPS = (signal.SIGTERM, signal.SIGINT)

# How the schema limits numbers.
LIMITS = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}


def parser(doc: str) -> argparse.ArgumentParser:
    """Return an argument parser with the script's docstring as its help, and --log."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    result.add_argument("--log", type=Path, help="file for plain log lines")
    return result


def add_settings(parser: argparse._ActionsContainer, section: str, *only: str) -> None:
    """Add the settings of a section of the schema as flags, or those named: `--lr`, `--no-gated`, `--clip-norm none`.

    Type, range, choices, default and help are the schema's; a setting without a default is required. `none` is null
    where the schema allows null and no text. A named list is `name=a,b`, and arrives as in the config: {name: [a, b]}.
    """
    settings = schema.section(section)
    for key in only or settings:
        setting = settings[key]
        flag = {"help": setting["description"].replace("%", "%%")}
        if "default" in setting:
            flag |= {"default": setting["default"], "help": f"{flag['help']} (%(default)s)"}
        else:
            flag |= {"required": True}
        if "boolean" in (kinds := _kinds(setting)):
            flag["action"] = argparse.BooleanOptionalAction
        else:
            flag |= {
                "type": partial(_value, setting),
                "metavar": "|".join(filter(None, _words(setting))) or key.upper(),
            }
            if "array" in kinds:
                flag |= {"nargs": "+" if setting.get("minItems") else "*", "action": _Listed}
        parser.add_argument(f"--{key.replace('_', '-')}", **flag)


def training(parser: argparse.ArgumentParser, *, with_seeds: bool = True) -> argparse.ArgumentParser:
    """Add what each training in a split needs: inputs, seeds, settings of model and training, and a state."""
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature shards")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--split", type=Path, required=True, help="npz with the cases of the three sets")
    parser.add_argument("--name", required=True, help="name of the split, e.g. 01")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--stains", nargs="+", required=True)
    if with_seeds:
        parser.add_argument("--seeds", nargs="+", type=int, required=True)
    add_settings(parser.add_argument_group("model"), "model")
    add_settings(parser.add_argument_group("training"), "train")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--state", type=Path, help="resumable state")
    return parser


def add_shard(parser: argparse.ArgumentParser) -> None:
    """Add what a job needs that works on the cases of one shard: tables of the inventory, and which shard it is."""
    parser.add_argument("--patches-table", type=Path, required=True, help="patches.parquet of the inventory")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--shard", type=int, required=True, help="which shard, from 0")
    add_settings(parser, "embed", "shards")


def members(seeds: Sequence[int], checkpoints: Sequence[Path]) -> list[tuple[int, int]]:
    """Return each seed with the place of its checkpoint; a lone checkpoint serves all seeds."""
    if len(checkpoints) not in (1, len(seeds)):
        raise UserError(f"{len(checkpoints)} checkpoints for {len(seeds)} seeds: give one a seed, or one for all")
    return [(seed, place if len(checkpoints) > 1 else 0) for place, seed in enumerate(seeds)]


def run(main: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """Call `main(args)` with logging set up; exit with status 1 and plain lines on a UserError, 143 when Stopped.

    Log lines go to the file given by --log; the terminal gets progress bars and errors, unless the workflow shows them.
    An error of the program itself leaves its traceback in both places. Two programs never share a log: in the workflow
    each job has one of its own, so an orphan of a killed run and its successor do not work side by side.
    """
    logging.raiseExceptions = False  # a terminal that is gone is no reason to stop
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.ERROR if args.log else logging.INFO)
    terminal.setFormatter(Plain("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[terminal], force=True)
    try:
        with locks.held(args.log) if args.log else nullcontext():
            if args.log:
                logging.getLogger().addHandler(log := _log_file(args.log))
                if progress.quiet():
                    _only_where_the_log_fails(terminal, log)
            main(args)
    except UserError as error:
        for problem in error.problems:
            logging.error("error: %s", visible(problem))
        sys.exit(1)
    except Stopped as stopped:
        logging.error("%s", stopped)
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        logging.error("stopped by Ctrl-C")
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REFUSALS:
            where = f"{visible(str(error.filename))}: " if error.filename else ""
            logging.error("error: %s%s: %s and run again", where, os.strerror(error.errno), REFUSALS[error.errno])
            sys.exit(1)
        logging.exception("unexpected error: please report it with this log")
        sys.exit(2)


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM or SIGINT has come; a second SIGINT ends the program at once.

    SIGTERM only tells, however often it comes: SLURM sends it for the step and for the job.
    """
    came, before = [], {}

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    before |= {number: signal.signal(number, note) for number in STOPS}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Listed(argparse.Action):
    """A list, or the one word or null that may stand in its place: `balanced`, `none`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[Any],
        option_string: str | None = None,
    ) -> None:
        setting = self.type.args[0]
        lone = len(values) == 1 and (values[0] is None or values[0] in _words(setting) or "string" in _kinds(setting))
        setattr(namespace, self.dest, values[0] if lone else values)


def _alternatives(setting: dict[str, Any]) -> list[dict[str, Any]]:
    return setting.get("oneOf", [setting])


def _kinds(setting: dict[str, Any]) -> set[str]:
    """Return the JSON types that a setting may have, besides the words of an enum."""
    kinds = [each.get("type", []) for each in _alternatives(setting)]
    return {kind for each in kinds for kind in ([each] if isinstance(each, str) else each)}


def _words(setting: dict[str, Any]) -> list[str | None]:
    return [word for each in _alternatives(setting) for word in each.get("enum", [])]


def _value(setting: dict[str, Any], text: str) -> str | int | float | dict[str, list[str]] | None:
    """Return the text of a flag, or of an item of a list, as the schema has it."""
    items = [each.get("items", each) for each in _alternatives(setting)]
    words, problem = [*_words(setting), *(word for each in items for word in each.get("enum", []))], ""
    if text in words:
        return text
    # A setting of text is null only where its flag is left out: a column may be called `none`.
    takes_text = any("string" in _kinds(each) for each in items)
    if text == "none" and not takes_text and (None in words or "null" in _kinds(setting)):
        return None
    for each in items:
        if "object" in _kinds(each):
            name, _, listed = text.partition("=")
            return {name: next(csv.reader([listed]), [])}
        for kind, read in (("integer", int), ("number", float), ("string", str)):
            if kind in _kinds(each):
                try:
                    value = read(text)
                except ValueError:
                    continue
                wrong = [
                    f"{name} {each[name]}"
                    for name, fits in LIMITS.items()
                    if name in each and not fits(value, each[name])
                ]
                if not wrong:
                    return value
                problem = f" ({', '.join(wrong)})"
    choices = f": choose from {', '.join(filter(None, words))}" if any(words) else ""
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed{problem}{choices}")


def _log_file(path: Path) -> "LogFile":
    path.parent.mkdir(parents=True, exist_ok=True)
    log = LogFile(path, mode="w", encoding="utf-8")
    log.setFormatter(Plain("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    return log


def _only_where_the_log_fails(terminal: logging.Handler, log: "LogFile") -> None:
    """Let the terminal say only what the log cannot take; warnings of libraries go to the log, too."""
    logging.getLogger().removeHandler(terminal)
    logging.getLogger().addHandler(terminal)  # behind the log
    terminal.addFilter(lambda record: log.told)
    logging.captureWarnings(True)


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

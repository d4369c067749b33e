"""Snakemake's logger of this workflow: one bar for the study and a line for each running job, or plain lines.

The profiles name it (`logger: stratamil`). It shows what a person needs to know and leaves the rest to
.snakemake/log; with --verbose, --printshellcmds or --debug-dag Snakemake's own lines come back.
"""

import logging
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from stratamil.core import progress
from stratamil.core.errors import visible
from stratamil.workflow import run_lines

LOOKS = 10  # at logs a second, which may lie on a file system far away
STYLES = {"failed": "bold red", "config": "red", "  err": "red", "  log": "dim", "warnin": "yellow", "done": "dim"}


def changed(path: Path | None) -> int | None:
    """Return when a file was changed; the clock is that of its file system."""
    try:
        return path.stat().st_mtime_ns if path else None
    except OSError:
        return None


@dataclass
class Job:
    """A job that runs, or waits in the queue of a cluster."""

    name: str
    log: Path | None
    waits: bool = False
    began: float = field(default_factory=time.monotonic)
    looked: float = 0.0
    fraction: run_lines.Fraction | None = None
    before: int | None = None  # the log of an earlier attempt

    def __post_init__(self) -> None:
        self.before = changed(self.log)

    def text(self, size: int) -> str:
        """Return the end of the log, if it is of this attempt."""
        return "" if self.log is None or changed(self.log) == self.before else run_lines.tail(self.log, size)

    @property
    def spent(self) -> str:
        return clock(time.monotonic() - self.began)

    def look(self, seconds: float) -> None:
        """Read in the log how far the job is, if the last look is so many seconds ago."""
        if time.monotonic() - self.looked < seconds:
            return
        self.looked = time.monotonic()
        text = self.text(run_lines.TAIL)
        if self.waits and text:
            self.waits, self.began = False, time.monotonic()
        self.fraction = run_lines.fraction(text) or self.fraction


def clock(seconds: float) -> str:
    """Return seconds as 1:02:03."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _jobs(number: int) -> str:
    return f"{number} job{'' if number == 1 else 's'}"


class LogHandler(LogHandlerBase):
    """Draws the run on a terminal, or prints a line for each start and end of a job where there is none."""

    def __post_init__(self) -> None:
        settings = self.common_settings
        self.began, self.total, self.done, self.failed = time.monotonic(), 0, 0, 0
        self.jobs: dict[int, Job] = {}
        self.targets: set[int] = set()  # jobs of rules that only name files of others
        self.planned: list[tuple[str, str]] = []
        self.counts: dict[str, int] = {}
        self.told: dict[str, list[str]] = {}
        self.remote = self.interrupted = False
        self.live: Live | None = None
        self.own: logging.Handler | None = None
        if settings.verbose or settings.printshellcmds or settings.debug_dag or Quietness.ALL in (settings.quiet or ()):
            self.own = self.snakemakes()
            return
        os.environ[progress.QUIET] = "1"  # jobs inherit it
        no_color = True if settings.nocolor else None
        self.console = Console(
            file=sys.stdout if settings.stdout else sys.stderr, no_color=no_color, highlight=False, markup=False
        )

    def snakemakes(self) -> logging.Handler:
        """Return Snakemake's own handler."""
        settings = self.common_settings
        own = ColorizingTextHandler(nocolor=settings.nocolor, stream=sys.stdout if settings.stdout else sys.stderr)
        own.setFormatter(DefaultFormatter(settings.quiet, settings.show_failed_logs))
        own.addFilter(
            DefaultFilter(
                settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds
            )
        )
        return own

    writes_to_stream = property(lambda self: True)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: True)
    has_formatter = property(lambda self: True)
    needs_rulegraph = property(lambda self: False)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.own:
                self.own.handle(record)
            else:
                show = self.SHOWN.get(getattr(record, "event", None), LogHandler.message)
                show(self, record)
        except Exception:
            self.handleError(record)

    def say(self, *lines: str) -> None:
        """Print lines, above the bars if they are drawn; broken between words where there is a terminal."""
        for line in lines:
            style = next((style for start, style in STYLES.items() if line.lower().startswith(start)), "")
            text = line.lstrip() if self.console.is_terminal else line
            indent = len(line) - len(text)
            content = Text(text, style=style)
            if self.console.is_terminal:
                self.console.print(Padding(content, (0, 0, 0, indent), expand=False))
            else:
                self.console.print(content, soft_wrap=True)

    def stamped(self, line: str) -> None:
        """Print a line of what happens, where no bars tell of it."""
        if self.live is None:
            self.say(f"{time.strftime('%H:%M:%S')} {line}")

    # What each event of Snakemake shows.

    def resources(self, record: Any) -> None:
        self.remote = self.remote or hasattr(record, "nodes")

    def planned_all(self, record: Any) -> None:
        jobs = {rule: count for rule, count in record.stats.items() if rule not in {"total", *run_lines.TARGETS}}
        self.total = sum(jobs.values())
        if self.common_settings.dryrun:
            self.counts = jobs
            return
        if not self.total:
            return
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            # what is printed elsewhere, to a file, is not drawn on the terminal
            self.live = self.live or Live(
                get_renderable=self.drawn,
                console=self.console,
                refresh_per_second=4,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
            self.live.start()
        else:
            self.say(f"{_jobs(self.total)} to run")

    def started(self, record: Any) -> None:
        if record.rule_name in run_lines.TARGETS:
            self.targets.add(record.jobid)
            return
        if self.common_settings.dryrun:
            why = run_lines.reason(record.reason, record.input, record.rule_name)
            self.planned.append((record.rule_name, run_lines.of_seeds(record.output) + why))
            return
        name = run_lines.job(record.rule_name, record.wildcards)
        log = Path(record.log[0]) if record.log else None
        self.jobs[record.jobid] = Job(name, log, waits=self.remote and not record.local and log is not None)
        self.stamped(f"started: {name}")

    def finished(self, record: Any) -> None:
        self.done += record.job_id not in self.targets
        if job := self.jobs.pop(record.job_id, None):
            self.stamped(f"done: {job.name} in {job.spent} ({self.done} of {self.total})")

    def job_failed(self, record: Any) -> None:
        job = self.jobs.pop(record.jobid, None)
        if job is None or self.interrupted:
            return
        self.failed += 1
        logs = [log for log in record.log if Path(log).exists()]
        why = run_lines.errors(job.text(1 << 20))
        if why and self.told.get(job.name) == why:  # at a later attempt
            self.say(f"failed again, as before: {job.name}")
        else:
            self.say(*run_lines.failure(job.name, why, logs, record.rule_msg or ""))
        self.told[job.name] = why

    def error(self, record: Any) -> None:
        message = record.getMessage()
        if run_lines.UNFINISHED in message:
            self.stop()
            self.say(self.ended())
        elif not run_lines.FOLLOWS.search(message):
            self.say(*visible(run_lines.without_traceback(message), keep="\n").splitlines())

    def message(self, record: logging.LogRecord) -> None:
        """Show what has no event: warnings, and lines that are not about Snakemake's own doings."""
        text = record.getMessage()
        if text.startswith("Terminating processes on user request"):
            self.interrupted = True
            self.say("Stopping: running jobs save what they have.")
        elif text.startswith("Trying to restart job"):
            self.failed -= 1
            self.say("  It is tried again.")
        elif text.startswith("Nothing to be done"):
            self.say("Nothing to do: all that was asked for is there and up to date.")
        elif text.startswith("This was a dry-run"):
            self.tell_plan()
        elif getattr(record, "summary", False):
            self.stop()
            self.say(*text.splitlines())
        elif not (run_lines.NOISE.match(text) or run_lines.FOLLOWS.match(text)):
            prefix = "warning: " if record.levelno == logging.WARNING else ""
            self.say(*(visible(prefix + text, keep="\n").splitlines()))

    def tell_plan(self) -> None:
        """Say what a dry run found; with --quiet Snakemake does not list the jobs, and tells their numbers alone."""
        planned = self.planned or [(rule, "") for rule, count in self.counts.items() for _ in range(count)]
        width = self.console.width if self.console.is_terminal else run_lines.WIDTH
        self.say(f"{_jobs(len(planned))} would run:", *run_lines.plan(planned, width))
        self.say("Nothing was run (-n). Each job with its files: -n -p.")
        self.counts = {}

    def nothing(self, record: logging.LogRecord) -> None:
        pass

    SHOWN = {
        LogEvent.RESOURCES_INFO: resources,
        LogEvent.RUN_INFO: planned_all,
        LogEvent.JOB_INFO: started,
        LogEvent.JOB_FINISHED: finished,
        LogEvent.JOB_ERROR: job_failed,
        LogEvent.ERROR: error,
        None: message,
    } | dict.fromkeys(
        (
            LogEvent.WORKFLOW_STARTED,
            LogEvent.JOB_STARTED,
            LogEvent.SHELLCMD,
            LogEvent.PROGRESS,
            LogEvent.RULEGRAPH,
            LogEvent.DEBUG_DAG,
            LogEvent.GROUP_INFO,
        ),
        nothing,
    )

    def ended(self) -> str:
        """Return how a run that did not succeed ended, and what to do."""
        how = "Stopped" if self.interrupted else f"{_jobs(self.failed)} failed"
        remedy = "" if self.interrupted else "Mend what is said above; "
        again = "the same command goes on from there." if remedy else "The same command goes on from there."
        spent = clock(time.monotonic() - self.began)
        return f"{how}: {self.done} of {self.total} jobs are done, after {spent}. {remedy}{again}"

    # The bars.

    def drawn(self) -> RenderableType:
        """Return the bar of the study and the lines of the running jobs, as many as the terminal has room for."""
        room = max(self.console.size.height - 4, 1)
        study = Table.grid(padding=(0, 1), expand=True)
        for ratio in (None, 1, None, None):
            study.add_column(ratio=ratio, no_wrap=True)
        spent = clock(time.monotonic() - self.began)
        study.add_row(
            Text("study", style="bold"),
            ProgressBar(total=max(self.total, 1), completed=self.done),
            f"{self.done} of {self.total} jobs",
            spent,
        )
        jobs = list(self.jobs.values())
        for job in jobs:
            job.look(max(1, len(jobs) / LOOKS))
        running = sorted((job for job in jobs if not job.waits), key=lambda job: job.began)
        rows = Table.grid(padding=(0, 1), expand=True)
        rows.add_column(ratio=5, no_wrap=True, overflow="ellipsis")
        rows.add_column(ratio=2)
        rows.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
        rows.add_column(no_wrap=True, justify="right")
        for job in running[:room]:
            part = job.fraction
            bar = ProgressBar(total=part.total, completed=part.done) if part and part.total else ""
            rows.add_row(Text(f"  {job.name}"), bar, Text(str(part or ""), style="dim"), job.spent)
        left = [f"{len(running) - room} more run"] if len(running) > room else []
        left += [f"{len(jobs) - len(running)} wait in the queue"] if len(jobs) > len(running) else []
        return Group(study, rows, *([Text("  " + ", ".join(left), style="dim")] if left else []))

    def stop(self) -> None:
        """Take the bars away."""
        if self.live:
            self.live.stop()

    def close(self) -> None:
        self.stop()
        if self.counts:
            self.tell_plan()
        super().close()

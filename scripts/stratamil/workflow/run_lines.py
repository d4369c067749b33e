"""What a person reads of a run in its terminal: of jobs, how far they are by their logs, and why they failed."""

import re
import textwrap
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from stratamil.core.errors import few, visible
from stratamil.workflow import changed_settings

TAIL = 8192  # bytes of a log that tell how far a job is
# Snakemake's reasons for a job.
MISSING, ABOVE = "Missing output files", "Input files updated by another job"
UPDATED, OTHERS = "Updated input files", "Set of input files has changed since last execution"
PARAMS = "Params have changed since last execution"
FROM_ABOVE = "follows from the rules above"
# Rules that keep what they have made of each image, by its path, size and time.
NEW_ONLY = {"embed": "encodes only patches that its cache lacks", "thumbnails": "makes only those that are missing"}
TARGETS = {"all", "predictions", "tune"}  # rules that only name files of others, so they are no jobs to a reader
SETTINGS = 6  # that a reason names
WIDTH = 110  # of a line of a dry run where no terminal says
SHOWN = 5  # lines of an error, and reasons of a rule
STAMP = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
FRACTION = re.compile(STAMP + r"INFO (?:(epoch) )?(\d+) of (\d+)(?::| (\w+)$)", re.MULTILINE)
ERROR = re.compile(STAMP + r"ERROR (.*(?:\n(?!\d{4}-\d\d-\d\d ).*)*)", re.MULTILINE)
# Snakemake's error for each failed command, and for the whole run; the job and its own error were told before.
UNFINISHED = "At least one job did not complete successfully"
FOLLOWS = re.compile(rf"CalledProcessError in file|{UNFINISHED}|Exiting because a job|BUG: Out of jobs|Remaining jobs:")
# What Snakemake says of its own doings; all of it is in .snakemake/log.
NOISE = re.compile(
    r"\s*$|None$|Building DAG|Using shell|Select jobs|Execute \d+ jobs|Config file .* is (extended|replaced)|host:"
    r"|Assuming unrestricted|Provided |Rules claiming|Group jobs|Conda environments|Singularity|Job rate limit"
    r"|Removing output files of failed|Job \d+ has been submitted|Complete log|Elapsed time|Will exit after"
    r"|Shutting down|Touching output|Some jobs were triggered|Rules with provenance|Reasons:"
    r"|\d+ jobs have (missing|outdated)"
)


class Fraction(NamedTuple):
    """How much of a job is done, by its log: 12 of 340 patches."""

    done: int
    total: int
    unit: str

    def __str__(self) -> str:
        return f"{self.done:,} of {self.total:,} {self.unit}"


def job(rule: str, wildcards: Mapping[str, object]) -> str:
    """Return `train, split 01, seed 42`."""
    return visible(", ".join([rule, *(f"{name} {value}" for name, value in wildcards.items())]))


def fraction(log: str) -> Fraction | None:
    """Return the last `3 of 30 patches` or `epoch 3 of 30: ...` in the text of a log, if there is one."""
    lines = FRACTION.findall(log)
    if not lines:
        return None
    epoch, done, total, unit = lines[-1]
    return Fraction(int(done), int(total), "epochs" if epoch else unit or "")


def errors(log: str) -> list[str]:
    """Return the lines that say why a job failed, from the text of its log: `error: ...`, each problem a line.

    Of an error of the program, the line for the user and the last one of the traceback.
    """
    lines = []
    for entry in ERROR.findall(log):
        first, *rest = entry.rstrip().splitlines()
        lines += [first, *rest[-1:]]
    return list(dict.fromkeys(map(visible, lines)))


def tail(path: Path, size: int = TAIL) -> str:
    """Return the end of a text file; nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def failure(name: str, why: Iterable[str], logs: Iterable[str], said: str = "") -> list[str]:
    """Return the lines of a failed job: its name, why, and where its logs are.

    why: of `errors`. said: what SLURM says, told if it is more than that the job failed.
    """
    why, said = list(why), re.split(" For further| Detailed failure", visible(said))[0]
    if said and not (why and "'FAILED'" in said):
        why.append(said)
    why = why or ["no error is in the log: the job was killed, or ended before it could write"]
    more = [f"and {len(why) - SHOWN} more in the log"] if len(why) > SHOWN else []
    return [f"failed: {name}", *(f"  {line}" for line in [*why[:SHOWN], *more]), *(f"  log: {log}" for log in logs)]


def reason(text: str, inputs: Collection[str] = (), rule: str = "") -> str:
    """Return why Snakemake plans a job, by the settings that changed, without the files that differ from job to job.

    inputs, rule: of the job.
    """
    if not text:
        return ""
    kinds = []
    for part in re.split(r"; (?=[A-Z])", text):
        kind, _, rest = part.partition(": ")
        if kind == PARAMS:
            kinds.append(few(changed_settings.of_params(rest), SETTINGS))
        elif kind in (UPDATED, OTHERS):
            named = inputs if kind == OTHERS else rest.split(", ")
            told = [changed_settings.FILES[path] for path in named if path in changed_settings.FILES]
            told = [each for each in told if kind == UPDATED or " -> " in each]
            kinds.append(few(told, SETTINGS) or kind)
        else:
            kinds.append({MISSING: "not there yet", ABOVE: ""}.get(kind, kind))
    if any(" -> " in kind for kind in kinds):  # which says what the others are
        kinds = [kind for kind in kinds if kind != OTHERS]
    above = f"{FROM_ABOVE}; {NEW_ONLY[rule]}" if rule in NEW_ONLY else FROM_ABOVE
    return "; ".join(dict.fromkeys(filter(None, kinds))) or above


def of_seeds(outputs: Iterable[str]) -> str:
    """Return `3 seeds each: ` for a job that makes the files of several seeds, and nothing for others."""
    seeds = {seed for path in outputs for seed in re.findall(r"/seed_(\d+)/", path)}
    return f"{len(seeds)} seeds each: " if len(seeds) > 1 else ""


def plan(jobs: Iterable[tuple[str, str]], width: int = WIDTH) -> list[str]:
    """Return the lines of a dry run, from pairs (rule, `reason`): rule, number of jobs, reasons; broken at `width`."""
    rules: dict[str, list[str]] = {}
    for rule, why in jobs:
        rules.setdefault(rule, []).append(why)
    wide = max(map(len, rules), default=0)
    lines = []
    for rule, reasons in rules.items():
        different = list(dict.fromkeys(visible(" ".join(why.split())) for why in reasons if why))
        head = f"  {rule:<{wide}}  {len(reasons):>5,}  "
        rest = textwrap.wrap(few(different, 1), max(width - len(head), 20), break_long_words=False) or [""]
        lines += [(before + line).rstrip() for before, line in zip([head] + [" " * len(head)] * len(rest), rest)]
    return lines


def without_traceback(text: str) -> str:
    """Return the message of an error that stops the workflow, without the lines of the Snakefile that raised it."""
    lines = text.splitlines()
    own = [line for line in lines if not re.match(r'\w+ in file .*line \d+:$|  File ".*", line \d+', line)]
    return "\n".join(own if lines and lines[0].startswith("WorkflowError") else lines).strip()

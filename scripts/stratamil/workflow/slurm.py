"""The site file of a SLURM cluster, and which jobs of the workflow are still in its queue."""

import base64
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from stratamil.core.errors import UserError
from stratamil.workflow import config_files

# Rules that ask for a GPU themselves.
GPU_RULES = ("embed", "tune_split", "train", "retrain", "refit", "predict")


@dataclass(frozen=True)
class Place:
    """Where jobs go: cpu and gpu of the site file. partition: one, or several with commas: any may start a job."""

    partition: str | None = None
    constraint: str | None = None
    qos: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Site:
    """The site file. account: None where the cluster wants none. on_gpu: names of rules. mail: an address or None."""

    account: str | None = None
    cpu: Place = field(default_factory=Place)
    gpu: Place = field(default_factory=Place)
    on_gpu: tuple[str, ...] = GPU_RULES
    mail: str | None = None

    @property
    def off_gpu(self) -> list[str]:
        """Return rules that ask for a GPU and get none."""
        return [rule for rule in GPU_RULES if rule not in self.on_gpu]


TEXT = {"type": ["string", "null"]}
PLACE = {"additionalProperties": TEXT}
SITE = {"properties": {"account": TEXT, "mail": TEXT, "cpu": PLACE, "gpu": PLACE, "on_gpu": {"items": TEXT}}}


@dataclass(frozen=True)
class Queued:
    """A job in the queue. run: name of all jobs of one run of Snakemake. what: its rule and wildcards."""

    id: str
    run: str
    state: str
    what: str


# squeue's words where no file, no variable and no name server tells of a cluster: its commands alone are installed.
NO_CLUSTER = "DNS SRV lookup failed"
RUN = re.compile(r"(?:[\w-]+_)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def read_site(path: str | Path) -> Site:
    """Read a site file. Raises UserError with all of its problems, or if no job can start here."""
    here = os.getcwd()
    if not here.isprintable() or set("'\"\\$`") & set(here):
        # Snakemake hands the job's command to sbatch in double quotes, so a shell would run what stands in the name
        raise UserError(f"{here}: no job can start in a folder with ' \" $ ` or \\ in its name: move the checkout")
    if not Path(path).exists():
        raise UserError(f"{path}: not found: run snakemake in the folder of the workflow")
    content = config_files.read(path, SITE, "account: my_account")
    problems = list(_site_problems(content))
    if problems:
        raise UserError(*(f"{path}: {problem}" for problem in problems))
    places = {name: Place(**{key: _text(value) for key, value in content[name].items()}) for name in ("cpu", "gpu")}
    return Site(
        account=_text(content.get("account")),
        on_gpu=tuple(content.get("on_gpu") or ()),
        mail=_text(content.get("mail")),
        **places,
    )


def orphans(folder: str | Path, results: str) -> list[Queued]:
    """Return the jobs in the queue that an earlier run of Snakemake in `folder` submitted, and that write to `results`.

    folder: where Snakemake runs. results: as in the config. The list is empty if there is no SLURM, or no cluster.
    Raises OSError or subprocess.SubprocessError if the queue cannot be read.
    """
    if not shutil.which("squeue"):
        return []
    try:
        rows = lines("squeue", "--noheader", f"--user={os.getuid()}", "--format=%i|%j|%T|%k|%Z")
    except subprocess.CalledProcessError as error:
        if NO_CLUSTER in error.stderr:
            return []
        raise
    here = []
    for row in rows:
        number, run, state, what, *_, place = row.split("|")
        if RUN.fullmatch(run) and os.path.realpath(place) == os.path.realpath(folder):
            here.append(Queued(id=number, run=run, state=state, what=what))
    return [job for job in here if _results(job, folder) in (None, os.path.realpath(Path(folder, results)))]


def ending(jobs: Sequence[Queued]) -> str:
    """Return one line on how to end the jobs that `orphans` found, and what then."""
    names = ", ".join(f"{job.id} ({job.what}, {job.state})" for job in jobs)
    runs = ",".join(sorted({job.run for job in jobs}))
    return (
        f"jobs of an earlier run, killed or not, are in the queue and write to the same results: {names}: end them "
        f"with `scancel --name={runs}`, or let them finish; when `squeue --name={runs}` shows none, run again"
    )


def lines(*command: str) -> list[str]:
    """Return what a command of SLURM prints, line by line.

    Raises OSError or SubprocessError if it fails or does not answer.
    """
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=60, check=True)
    return done.stdout.splitlines()


def _site_problems(content: dict[str, Any]) -> Iterator[str]:
    known = [each.name for each in fields(Site)]
    yield from (f"{key}: no such key: {', '.join(known)} are" for key in content if key not in known)
    for name in ("cpu", "gpu"):
        place, keys = content.get(name), [each.name for each in fields(Place) if (name, each.name) != ("cpu", "model")]
        if not isinstance(place, dict) or not place.get("partition"):
            yield f"{name}: name its partition, as in `{name}: {{partition: short}}`"
        else:
            yield from (f"{name}.{key}: no such key: {', '.join(keys)} are" for key in place if key not in keys)
    model = (content.get("gpu") or {}).get("model") if isinstance(content.get("gpu"), dict) else None
    if "-" in str(model or ""):
        yield f"gpu.model: {model}: the executor takes no hyphens: use gpu.constraint, or null"
    on_gpu = content.get("on_gpu")
    if on_gpu is not None and not (isinstance(on_gpu, list) and all(isinstance(rule, str) for rule in on_gpu)):
        yield "on_gpu: a list of rules is wanted, such as [embed, train, retrain]"
    if re.search(r"[\s,]", str(content.get("mail") or "")):
        yield f"mail: {content['mail']}: one address is wanted"


def _text(value: object) -> str | None:
    """Return a value as sbatch takes it; a list, also one with spaces, with commas alone."""
    if value is None:
        return None
    return ",".join(part.strip() for part in (map(str, value) if isinstance(value, list) else str(value).split(",")))


def _results(job: Queued, folder: str | Path) -> str | None:
    """Return the results folder that a job's batch script leads to, or None if that cannot be told."""
    try:
        words = shlex.split("\n".join(lines("scontrol", "write", "batch_script", job.id, "-")), comments=True)
        configs = [Path(folder, "config/config.yaml"), *_values(words, "--configfiles")]
        given = [yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {} for path in configs]
    except (OSError, subprocess.SubprocessError, ValueError, yaml.YAMLError):
        return None
    given.append(dict(_plain(word).split("=", 1) for word in _values(words, "--config")))
    results = [config["results"] for config in given if "results" in config]
    return os.path.realpath(Path(folder, results[-1])) if results else None


def _values(words: list[str], option: str) -> Iterator[str]:
    """Yield the values of an option that takes several: up to the next option."""
    for word in words[words.index(option) + 1 :] if option in words else []:
        if word.startswith("--"):
            return
        yield word


def _plain(word: str) -> str:
    """Return a word of Snakemake's command line, which may be in base64."""
    prefix = "base64//"
    return base64.b64decode(word.removeprefix(prefix)).decode() if word.startswith(prefix) else word

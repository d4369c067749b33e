"""A copy of the workflow to run in, as a user's checkout."""

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from repository import REPOSITORY

PARTS = ("Snakefile", "config", "schemas", "rules", "scripts", "report", "envs", "profiles", "data_splits")
TINY = REPOSITORY / "tests/workflow/tiny.yaml"
# Dry runs are forked from a process that has imported Snakemake: the import takes as long as the run.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["snakemake.cli", "snakemake.report", "pandas", "jsonschema", "smart_open", "yte"])


class Checkout:
    """Runs snakemake in a copy of the workflow's files, made in `folder` unless it holds one."""

    def __init__(self, folder):
        self.folder = Path(folder)
        for part in [] if (self.folder / "Snakefile").exists() else PARTS:
            copy = shutil.copytree if (REPOSITORY / part).is_dir() else shutil.copy2
            copy(REPOSITORY / part, self.folder / part)

    def command(self, *args, configfiles=(TINY,), changes=None):
        """The command that runs snakemake; `changes` is a config laid over the configfiles."""
        files = list(configfiles)
        if changes:
            files.append(self.folder / "changes.yaml")
            files[-1].write_text(yaml.safe_dump(changes, sort_keys=False), encoding="utf-8")
        return [Path(sys.executable).with_name("snakemake"), "--cores", "2", "--configfile", *files, *args]

    def snakemake(self, *args, **options):
        """Run the `command` of these arguments. Returns the finished process; of a dry run, stdout has stderr, too."""
        command = [str(word) for word in self.command(*args, **options)]
        if "-n" in args:
            return self.forked(command)
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, encoding="utf-8", timeout=540
        )

    @property
    def environment(self):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(self.folder / "cache")}
        environment.pop("SNAKEMAKE_PROFILE", None)
        return environment

    def forked(self, command):
        """Run a command line of snakemake, the program's name first, in a process that has imported it."""
        return _forked(command, self.folder, self.environment)

    def pending(self, *args, **options):
        """What a dry run would do: rule -> number of jobs."""
        done = self.snakemake("-n", *args, **options)
        assert done.returncode == 0, done.stdout
        stats = re.search(r"^job +count\n-+ +-+\n(.*?)^total", done.stdout, re.MULTILINE | re.DOTALL)
        rows = [line.split() for line in stats[1].splitlines()] if stats else []
        return {rule: int(count) for rule, count in rows if rule != "all"}


def _forked(command, folder, environment):
    """Run Snakemake in a process that has imported it."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as said:
        process = FORKS.Process(target=_main, args=(command, folder, environment, said.name))
        process.start()
        process.join(540)
        return subprocess.CompletedProcess(command, process.exitcode, said.read(), "")


def _main(command, folder, environment, said):
    """Be the program of this command; what it says goes into the file `said`."""
    from snakemake import cli

    with open(said, "w", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    ours = (REPOSITORY / "scripts", REPOSITORY / "tests")
    sys.path = [path for path in sys.path if not any(Path(path).is_relative_to(each) for each in ours)]
    sys.argv = command
    cli.main(command[1:])

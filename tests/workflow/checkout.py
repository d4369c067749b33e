"""A copy of the workflow to run in, as a user's checkout."""

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import REPOSITORY

PARTS = ("Snakefile", "config", "schemas", "rules", "scripts", "report", "envs", "profiles", "data_splits")
TINY = REPOSITORY / "tests/workflow/tiny.yaml"
# Dry runs are forked from a process that has imported Snakemake: the import takes as long as the run.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["snakemake.cli", "pandas"])


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
        """Run the `command` of these arguments. Returns the finished process."""
        command = self.command(*args, **options)
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, encoding="utf-8", timeout=540
        )

    def environment(self):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(self.folder / "cache")}
        environment.pop("SNAKEMAKE_PROFILE", None)
        return environment

    def pending(self, *args, **options):
        """What a dry run would do: rule -> number of jobs."""
        said, words = self.folder / "dry_run.log", list(map(str, self.command("-n", *args, **options)))
        process = FORKS.Process(target=_main, args=(words, self.folder, self.environment(), said))
        process.start()
        process.join(540)
        shown = said.read_text(encoding="utf-8")
        assert process.exitcode == 0, shown
        stats = re.search(r"^job +count\n-+ +-+\n(.*?)^total", shown, re.MULTILINE | re.DOTALL)
        rows = [line.split() for line in stats[1].splitlines()] if stats else []
        return {rule: int(count) for rule, count in rows if rule != "all"}


def _main(words, folder, environment, said):
    """Be the program `snakemake` of these words, in this process; what it says goes into a file."""
    from snakemake import cli

    with open(said, "w", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, sys.path = words, [path for path in sys.path if not Path(path).is_relative_to(REPOSITORY / "tests")]
    sys.path.remove(str(REPOSITORY / "scripts"))
    cli.main(words[1:])

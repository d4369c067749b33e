"""A copy of the workflow to run in, as a user's checkout."""

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
        environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(self.folder / "cache")}
        environment.pop("SNAKEMAKE_PROFILE", None)
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, encoding="utf-8", timeout=540
        )

    def pending(self, *args, **options):
        """What a dry run would do: rule -> number of jobs."""
        done = self.snakemake("-n", *args, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        stats = re.search(r"^job +count\n-+ +-+\n(.*?)^total", done.stdout + done.stderr, re.MULTILINE | re.DOTALL)
        rows = [line.split() for line in stats[1].splitlines()] if stats else []
        return {rule: int(count) for rule, count in rows if rule != "all"}

"""The command by which the Snakemake workflow catalogue draws a workflow finds the rules and the files of the demo."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from checkout import Checkout
from repository import REPOSITORY


def test_the_catalogue_draws_the_rules(tmp_path):
    folder = Checkout(tmp_path).folder
    for part in ("workflow", ".test"):
        shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns(".snakemake"))
    snakemake = Path(sys.executable).with_name("snakemake")
    command = [snakemake, "-s", "workflow/Snakefile", "-c", "1", "-d", ".test", "--forceall", "--rulegraph"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("SNAKEMAKE_PROFILE", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    rules = {path.stem for path in (REPOSITORY / "rules").glob("*.smk")} - {"common", "helpers", "hooks", "precomputed"}
    rules -= {"targets", "targets_new_cases"}
    rules -= {"bundle", "refit", "predict", "validate", "tune", "compare"}  # made where they are asked for
    assert rules <= set(re.findall(r'label = "([a-z]+)', done.stdout))

"""The workflow on the login node of the test cluster."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from checkout import TINY, Checkout
from cluster import ACCOUNT

# Checks after 8 seconds and not 20, for a small job takes about so long here; files show at once on this file system.
QUICK = ("--slurm-init-seconds-before-status-checks", "8", "--latency-wait", "5")


class Study:
    """A checkout whose site file fits the cluster, and Snakemake in it, on the login node with the profile."""

    def __init__(self, folder, cluster, changes=None):
        self.checkout, self.cluster, self.folder = Checkout(folder), cluster, Path(folder)
        self.site(account=ACCOUNT)
        # jobs have more threads here than there are cores: those that wait should not spin
        self.environment = {
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        (self.folder / "changes.yaml").write_text(yaml.safe_dump(changes or {}), encoding="utf-8")

    def site(self, **changes):
        """Change the site file."""
        path = self.folder / "profiles/slurm/site.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")) | changes, sort_keys=False))

    def start(self, *args, profile="profiles/slurm"):
        """Start Snakemake on the login node; its output goes to run.log."""
        command = [
            Path(sys.executable).with_name("snakemake"),
            "--profile",
            profile,
            "--configfile",
            TINY,
            "changes.yaml",
        ]
        executor = QUICK if profile == "profiles/slurm" else ()
        with (self.folder / "run.log").open("w", encoding="utf-8") as log:
            return self.cluster.popen(
                [*command, *executor, *args],
                cwd=self.folder,
                env=os.environ | self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self):
        """What the last Snakemake said."""
        return (self.folder / "run.log").read_text(encoding="utf-8")

    @property
    def run_id(self):
        """The name that all jobs of the last Snakemake have in the queue and in SLURM's records."""
        return re.search(r"SLURM run ID: (\S+)", self.log)[1]

    def run(self, *args, **options):
        """Run Snakemake to its end; it has to succeed."""
        status = self.start(*args, **options).wait(timeout=540)
        assert status == 0, self.log

    def job_log(self, rule, job):
        """What SLURM and Snakemake said of a job."""
        (path,) = (self.folder / f"logs/slurm/rule_{rule}").rglob(f"{job}.log")
        return path.read_text(encoding="utf-8")

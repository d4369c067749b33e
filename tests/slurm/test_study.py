"""A whole study on a real SLURM, through the profile as it is: every job where it belongs, with what it asked for."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from checkout import TINY
from cluster import ACCOUNT
from login import Study
from repository import REPOSITORY

pytestmark = pytest.mark.long

RESULTS = "results/tiny"
RUNS = ["split_01/seed_1", "split_02/seed_1"]
CHANGES = {
    "embed": {"encoder": "efficientnet_lite0", "weights": "default", "input_size": 64, "shards": 1},
}
# Rules with one job for each of the runs, and the others; those that run on the login node are in neither.
OF_A_RUN = ["train", "retrain", "evaluate", "attention", "perturb"]
OTHERS = ["demo", "cohort", "embed", "thumbnails", "duplicates", "baselines", "faithfulness", "browser", "report"]
# What rules and profile ask for at the first attempt: CPUs, MB, minutes.
ASKED = {
    "demo": (2, 2000, 10),
    "cohort": (1, 4000, 30),
    "embed": (8, 8000, 120),
    "train": (4, 8000, 120),
    "retrain": (4, 8000, 120),
    "evaluate": (2, 8000, 30),
    "attention": (4, 4000, 60),
    "perturb": (2, 8000, 60),
    "baselines": (1, 8000, 30),
    "faithfulness": (1, 8000, 60),
    "report": (1, 4000, 30),
    "thumbnails": (4, 4000, 60),
    "duplicates": (4, 8000, 60),
    "browser": (1, 2000, 30),
}


@pytest.fixture(scope="module")
def study(cluster, tmp_path_factory):
    """A finished study of two splits."""
    study = Study(tmp_path_factory.mktemp("study"), cluster, CHANGES)
    study.run("--", "all")
    study.first_log, study.first_run = study.log, study.run_id
    return study


@pytest.fixture(scope="module")
def jobs(study):
    """What SLURM has recorded of the study's jobs: one row a job."""
    columns = "jobid,jobname,comment,account,partition,state,alloctres,timelimitraw,submit,start,end"
    rows = study.cluster.rows(
        "sacct", "-X", "--parsable2", "--noheader", f"--name={study.first_run}", f"--format={columns}"
    )
    table = pd.DataFrame(rows, columns=columns.split(","))
    table["rule"] = table["comment"].str.extract(r"rule_([a-z]+)")
    return table


def test_every_job_goes_through_sbatch_with_what_its_rule_asks(study, jobs):
    assert sorted(jobs["rule"]) == sorted(OTHERS + OF_A_RUN * len(RUNS))
    for job in jobs.itertuples():
        on_gpu = job.rule in ("embed", "train", "retrain")
        given = dict(item.split("=") for item in job.alloctres.split(","))
        cpus, megabytes, minutes = ASKED[job.rule]
        assert (job.state, job.account) == ("COMPLETED", ACCOUNT)
        assert job.partition == ("gengpu" if on_gpu else "short"), job.rule
        assert given.get("gres/gpu") == ("1" if on_gpu else None), job.rule
        assert (given["node"], int(given["cpu"])) == ("1", cpus), job.rule
        assert given["mem"] in (f"{megabytes}M", f"{megabytes / 1000:g}G") and int(job.timelimitraw) == minutes, (
            job.rule
        )
        assert job.jobname.startswith("stratamil_")


def test_results_and_logs_are_where_they_are_promised(study, jobs):
    assert (study.folder / RESULTS / "report/index.html").stat().st_size > 100_000
    for run in RUNS:
        assert (study.folder / RESULTS / run / "attention_analysis/attention_summary.txt").is_file()
    for job in jobs.itertuples():
        found = list((study.folder / f"logs/slurm/rule_{job.rule}").rglob(f"{job.jobid}.log"))
        assert len(found) == 1 and "Finished jobid" in found[0].read_text(), job.rule
    for rule in {*jobs["rule"], "inventory", "splits", "weights"}:
        assert list((study.folder / RESULTS / "logs" / rule).glob("*.log")), rule


def test_a_second_run_has_nothing_to_do(study):
    study.run("--", "all")
    assert "Nothing to do" in study.log


def test_nothing_needs_the_internet_and_weights_are_fetched_on_the_login_node(study, jobs):
    """The whole network of the cluster is a loopback."""
    connect = "import socket; socket.create_connection(('198.51.100.1', 443), timeout=5)"
    options = [f"--account={ACCOUNT}", "--partition=gengpu", "--output=connect.log"]
    command = ["sbatch", "--wait", *options, f"--wrap={shlex.join([sys.executable, '-c', connect])}"]
    assert study.cluster.popen(command, cwd=study.folder, stdout=subprocess.DEVNULL).wait(timeout=60) != 0
    assert "Network is unreachable" in (study.folder / "connect.log").read_text()
    assert (study.folder / "resources/weights/efficientnet_lite0_default.pth").is_file()
    assert "done: weights" in study.first_log and "weights" not in set(jobs["rule"])


def test_inside_one_allocation(study):
    """The same workflow in a job of its own, with the local profile."""
    snakemake = Path(sys.executable).with_name("snakemake")
    flags = [
        "--profile",
        "profiles/local",
        "--cores",
        "2",
        "--resources",
        "gpu=1",
        "--configfile",
        TINY,
        "changes.yaml",
    ]
    target = f"{RESULTS}/split_01/seed_1/results.json"
    inside = shlex.join(map(str, [snakemake, *flags, "--force", "--", target]))
    options = [f"--account={ACCOUNT}", "--partition=gengpu", "--gpus=1", "--cpus-per-task=2", "--output=inside.log"]
    study.cluster.run("sbatch", "--wait", *options, f"--wrap={inside}", cwd=study.folder, seconds=180)
    said = (study.folder / "inside.log").read_text()
    assert "done: evaluate, split 01" in said and "(1 of 1)" in said


def test_what_scheduling_costs(study, jobs):
    """A job a rule and run, and no more; the log of the tests has the figures."""
    said = study.cluster.run(
        sys.executable, REPOSITORY / "bench/slurm.py", RESULTS, jobs["jobname"][0], cwd=study.folder
    )
    print(said)
    total = re.search(r"^(\d+) jobs: wall (\d+) s, in jobs (\d+) s, work (\d+) s$", said, re.MULTILINE)
    n, wall, in_jobs, work = map(int, total.groups())
    assert n == len(jobs) and 0 < work < in_jobs and wall > 0

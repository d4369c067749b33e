"""A whole study on a real SLURM, through the profile as it is: every job where it belongs, with what it asked for."""

import re
from datetime import datetime

import pandas as pd
import pytest
from cluster import ACCOUNT
from login import Study

RESULTS = "results/tiny"
RUNS = ["split_01/seed_1", "split_02/seed_1"]
# Rules with one job for each of the runs, and the others; those that run on the login node are in neither.
OF_A_RUN, OTHERS = ["train", "evaluate", "attention"], ["demo", "cohort", "embed", "baselines", "report"]
# What rules and profile ask for at the first attempt: CPUs, MB, minutes.
ASKED = {
    "demo": (2, 2000, 10),
    "cohort": (1, 4000, 30),
    "embed": (8, 8000, 120),
    "train": (4, 8000, 120),
    "evaluate": (2, 8000, 30),
    "attention": (4, 4000, 60),
    "baselines": (1, 8000, 30),
    "report": (1, 4000, 30),
}


@pytest.fixture(scope="module")
def study(cluster, tmp_path_factory):
    """A finished study of two splits."""
    study = Study(
        tmp_path_factory.mktemp("study"), cluster, {"splits": {"n": 2, "validation": 0.2}, "embed": {"shards": 1}}
    )
    study.run("--", "all")
    return study


@pytest.fixture(scope="module")
def jobs(study):
    """What SLURM has recorded of the study's jobs: one row a job."""
    run = re.search(r"SLURM run ID: (\S+)", study.log)[1]
    columns = "jobid,jobname,comment,account,partition,state,alloctres,timelimitraw,submit,start,end"
    rows = study.cluster.rows("sacct", "-X", "--parsable2", "--noheader", f"--name={run}", f"--format={columns}")
    table = pd.DataFrame(rows, columns=columns.split(","))
    table["rule"] = table["comment"].str.extract(r"rule_([a-z]+)")
    return table


def test_every_job_goes_through_sbatch_with_what_its_rule_asks(study, jobs):
    assert sorted(jobs["rule"]) == sorted(OTHERS + OF_A_RUN * len(RUNS))
    for job in jobs.itertuples():
        on_gpu = job.rule in ("embed", "train")
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
    for rule in {*jobs["rule"], "inventory", "splits"}:
        assert list((study.folder / RESULTS / "logs" / rule).glob("*.log")), rule


def test_a_second_run_has_nothing_to_do(study):
    study.run("--", "all")
    assert "Nothing to be done" in study.log


def test_what_scheduling_costs(study, jobs, record_property):
    """Wall time against the sum of the work, for the log of the tests; a job a rule and run, and no more."""
    times = {column: jobs[column].map(datetime.fromisoformat) for column in ("submit", "start", "end")}
    wall = (times["end"].max() - times["submit"].min()).total_seconds()
    in_jobs = (times["end"] - times["start"]).sum().total_seconds()
    tables = (study.folder / RESULTS / "benchmarks").rglob("*.tsv")
    work = sum(pd.read_csv(path, sep="\t").loc[0, "s"] for path in tables)
    print(f"{len(jobs)} jobs: wall {wall:.0f} s, in jobs {in_jobs:.0f} s, work {work:.0f} s")
    assert work < in_jobs

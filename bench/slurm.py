"""What scheduling cost a study on a SLURM cluster: its wall time against the sum of the work, and training's start-up.

Work is what Snakemake measured of each rule's command (results/.../benchmarks). In a job it also takes two starts of
Snakemake, and before it the queue. Start-up of a training is its work less its epochs: imports, reading of features,
the plot at the end. That is what trainings that share a job would save.
"""

import argparse
import subprocess
from pathlib import Path

import pandas as pd

COLUMNS = ["comment", "state", "submit", "start", "end"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results of the finished study")
    parser.add_argument("run", help="SLURM run ID: the first lines of Snakemake's output name it")
    args = parser.parse_args()
    jobs = finished_jobs(args.run)
    rules = pd.DataFrame(
        {
            "jobs": jobs.groupby("rule").size(),
            "waited_s": seconds(jobs["start"] - jobs["submit"]).groupby(jobs["rule"]).mean(),
            "in_job_s": seconds(jobs["end"] - jobs["start"]).groupby(jobs["rule"]).mean(),
            "work_s": work(args.results),
        }
    )
    print(rules.dropna().round(1).to_string())
    wall = seconds(jobs["end"].max() - jobs["submit"].min())
    in_jobs = seconds(jobs["end"] - jobs["start"]).sum()
    worked = (rules["jobs"] * rules["work_s"]).sum()
    print(f"{len(jobs)} jobs: wall {wall:.0f} s, in jobs {in_jobs:.0f} s, work {worked:.0f} s")
    if "train" in rules.index:
        start_up, trained = training(args.results)
        print(f"a training: {trained:.1f} s of epochs, {start_up:.1f} s of start-up besides")


def finished_jobs(run):
    """The jobs of a run that came to their end: a row each, with its rule."""
    command = ["sacct", "-X", "--parsable2", "--noheader", f"--name={run}", f"--format={','.join(COLUMNS)}"]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    jobs = pd.DataFrame([line.split("|") for line in done.stdout.splitlines()], columns=COLUMNS)
    jobs = jobs[jobs["state"] == "COMPLETED"]
    if jobs.empty:
        raise SystemExit(f"{run}: SLURM knows no finished job of that run")
    times = {name: pd.to_datetime(jobs[name]) for name in ("submit", "start", "end")}
    return jobs.assign(rule=jobs["comment"].str.extract(r"^rule_([a-z]+)", expand=False), **times)


def seconds(time):
    return time.dt.total_seconds() if isinstance(time, pd.Series) else time.total_seconds()


def work(results):
    """Mean seconds of a rule's command: rule -> seconds."""
    tables = {rule: list(rule.glob("*.tsv")) for rule in (results / "benchmarks").iterdir()}
    return pd.Series({rule.name: pd.concat(map(measured, paths)).mean() for rule, paths in tables.items() if paths})


def measured(path):
    return pd.read_csv(path, sep="\t")["s"]


def training(results):
    """Mean seconds of a training outside of its epochs, and in them."""
    histories = [pd.read_csv(path)["seconds"].sum() for path in results.glob("split_*/seed_*/history.csv")]
    epochs = sum(histories) / len(histories)
    return work(results)["train"] - epochs, epochs


if __name__ == "__main__":
    main()

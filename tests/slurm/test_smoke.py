"""The first jobs of a study on a real SLURM, and what would pend forever; `make test-slurm` has the rest."""

import subprocess
import sys
import time

import numpy as np
import pytest
from cluster import ACCOUNT
from login import Study
from PIL import Image

from stratamil.workflow import slurm_offer

RESULTS = "results/tiny"
EMBED, COHORT = f"{RESULTS}/features/efficientnet_lite0/shard_00.h5", f"{RESULTS}/cohort/index.html"
# Of images that are there, so that the first jobs come at once: an embedding and the page of the cohort.
# Of a checkout below a folder that a shell takes for more than a name.
FOLDER = "my lab/a;touch PWNED & (d)"
CHANGES = {"demo": None, "attention": {"truth": None}, "embed": {"shards": 1, "encoder": "efficientnet_lite0"}}


@pytest.fixture(scope="module")
def study(cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke") / FOLDER
    folder.mkdir(parents=True)
    study = Study(folder, cluster, CHANGES)
    patches, rng = study.folder / "resources/tiny/patches", np.random.default_rng(0)
    patches.mkdir(parents=True)
    for case in range(18):
        for stain in ("h&e", "melan", "sox10"):
            noise = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(noise).save(patches / f"case_{case}_match_1_{stain}_patch1.png")
    rows = [f"{case},{1 + case % 2 * 2},p{case}" for case in range(18)]
    (study.folder / "resources/tiny/labels.csv").write_text("\n".join(["Case,Class,Patient", *rows]))
    return study


def test_a_cpu_job_and_a_gpu_job_through_sbatch(study):
    study.run("--", EMBED, COHORT)
    assert (study.folder / EMBED).is_file() and (study.folder / COHORT).is_file()
    columns = "comment,partition,state,reqtres,timelimitraw,account"
    command = ["sacct", "-X", "--parsable2", "--noheader", f"--name={study.run_id}", f"--format={columns}"]
    rows = study.cluster.rows(*command)
    name = "rule_embed_wildcards_efficientnet_lite0_00"
    assert sorted(rows) == [
        ["rule_cohort", "short", "COMPLETED", "billing=1,cpu=1,mem=4000M,node=1", "30", ACCOUNT],
        ["rule_duplicates", "short", "COMPLETED", "billing=4,cpu=4,mem=8000M,node=1", "60", ACCOUNT],
        [name, "gengpu", "COMPLETED", "billing=8,cpu=8,gres/gpu=1,mem=8000M,node=1", "120", ACCOUNT],
    ]
    logs = list((study.folder / "logs/slurm/rule_embed/efficientnet_lite0_00").glob("*.log"))
    assert len(logs) == 1 and "Finished jobid" in logs[0].read_text()
    assert (study.folder / RESULTS / "logs/embed/efficientnet_lite0_shard_00.log").is_file()
    for rule in ("inventory", "splits"):  # on the login node
        assert f"done: {rule}" in study.log and not (study.folder / f"logs/slurm/rule_{rule}").exists()
    assert not list(study.folder.parents[1].rglob("PWNED"))


def ask(**changes):
    fine = {"rule": "train", "attempt": 1, "partition": "gengpu", "minutes": 120, "memory": 8000, "account": ACCOUNT}
    return slurm_offer.Ask(**fine | changes)


FINE = [
    ask(),
    ask(gpus=2, model="fake", constraint="pcie", cpus=8, memory=64000, minutes=2880),
    ask(partition="short", minutes=240),
    ask(constraint="nvlink|pcie"),
    ask(account=None),
    ask(partition="short,normal", minutes=241),
    ask(partition="closed,inactive,short"),
    ask(partition="unlisted"),
]
FOR_EVER = [
    ask(partition="nope"),
    ask(partition="short,nope"),
    ask(partition="short,gengpu", minutes=2881),
    ask(minutes=2881),
    ask(partition="short", minutes=241),
    ask(memory=64001),
    ask(cpus=9),
    ask(gpus=3),
    ask(partition="short", gpus=1),
    ask(gpus=1, model="a100"),
    ask(constraint="sxm"),
    ask(constraint="sxm|pcie"),
    ask(constraint="nvlink", partition="short"),
    ask(account="nope"),
    ask(partition="closed"),
    ask(partition="inactive"),
    ask(partition="closed,inactive"),
    ask(partition="members"),
]


def test_the_check_says_what_slurm_does(cluster, monkeypatch):
    """Each request is submitted indeed: refused, pending for a reason that time does not mend, or fine."""
    for_ever = ("PartitionTimeLimit", "PartitionDown", "account not permitted")
    monkeypatch.setattr(slurm_offer, "lines", lambda *command: cluster.run(*command).splitlines())
    offer = slurm_offer.offer()
    ids = []
    for each in FINE + FOR_EVER:
        gpus = f"--gpus={each.model + ':' if each.model else ''}{each.gpus}"
        options = [f"--constraint={each.constraint or ''}", *([gpus] if each.gpus else [])]
        options += [f"--account={each.account}"] if each.account else []
        command = [
            "sbatch", "--parsable", "--output=/dev/null", f"--partition={each.partition}", f"--time={each.minutes}",
            f"--mem={each.memory}", f"--cpus-per-task={each.cpus}", "--nodes=1", *options, "--wrap=true",
        ]  # fmt: skip
        process = cluster.popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        ids.append(process.communicate()[0].strip())
    time.sleep(4)  # two rounds of the scheduler
    reasons = dict(cluster.rows("squeue", "--noheader", "--format=%i|%R"))
    starts = [bool(job) and not any(reason in reasons.get(job, "") for reason in for_ever) for job in ids]
    cluster.run("scancel", "--user=root")
    assert starts == [True] * len(FINE) + [False] * len(FOR_EVER)
    assert [not slurm_offer.problems(each, offer) for each in FINE + FOR_EVER] == starts


@pytest.mark.parametrize("flags", ["maint,ignore_jobs", "ignore_jobs"])
def test_nodes_in_maintenance_or_reserved_take_jobs_later(cluster, study, monkeypatch, flags):
    monkeypatch.setattr(slurm_offer, "lines", lambda *command: cluster.run(*command).splitlines())
    set_aside = ["ReservationName=aside", "starttime=now", "duration=60", "user=root", "nodes=g1,g2", f"flags={flags}"]
    cluster.run("scontrol", "create", "reservation", *set_aside)
    try:
        end = time.monotonic() + 30
        while slurm_offer.waits(ask(), slurm_offer.offer()) is None and time.monotonic() < end:
            time.sleep(1)
        assert slurm_offer.problems(ask(), slurm_offer.offer()) == []
        assert slurm_offer.waits(ask(), slurm_offer.offer()).endswith(
            "in maintenance, reserved or to be rebooted: g1, g2"
        )
        output, status = check(study)
    finally:
        cluster.run("scontrol", "delete", "ReservationName=aside")
    assert status == 0 and "train: would wait: the nodes of partition gengpu" in output, output


def check(study, profile="profiles/slurm"):
    command = [sys.executable, "scripts/check_slurm.py", "--profile", profile, "--configfile", "config/demo.yaml"]
    process = study.cluster.popen(command, cwd=study.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return process.communicate(timeout=120)[0], process.returncode


def test_check_slurm_of_a_site_that_fits(study):
    output, status = check(study)
    assert status == 0, output
    assert "train           5  gengpu         1     4  8000 to 24000   120 to 360" in output.splitlines()
    assert output.endswith("None would be refused or pend forever: 39 jobs, 3 attempts each.\n")


def test_check_slurm_of_a_site_that_does_not_fit(study):
    study.site(on_gpu=["train", "retrain"], gpu={"partition": "gengpu", "qos": "high"})
    output, status = check(study)
    study.site(on_gpu=["embed", "train", "retrain"], gpu={"partition": "gengpu"})
    assert status == 1
    errors = [line.split(": change ")[0] for line in output.splitlines() if line.startswith("error")]
    assert sorted(errors, reverse=True) == [
        "error: retrain, train: would never start: allocation failure: Invalid qos specification",
        "error: embed: attempt 3 would never start: it asks for 360 minutes, partition short gives 240",
    ]

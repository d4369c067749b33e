"""What goes wrong on a cluster, on a real one: each time the training ends as one that nobody disturbed.

A training is caught after its third epoch and halted, so that the fault hits it in the middle on any machine.
"""

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from cluster import ACCOUNT
from login import Study

pytestmark = pytest.mark.long

RUN = "results/tiny/split_01/seed_1"
BEST, LOG = f"{RUN}/checkpoints/best.pth", "results/tiny/logs/train/split_01.log"
EPOCHS = 60
CHANGES = {
    "splits": {"n_splits": 2, "validation": 0.2},
    "embed": {"shards": 1},
    "train": {"epochs": EPOCHS, "patience": EPOCHS, "lr": 0.001},
}
ONE_THREAD = ("--set-threads", "train=1", "--")


@pytest.fixture(scope="module")
def prepared(cluster, tmp_path_factory):
    """A study ready to train, and the checkpoint and history of an undisturbed training."""
    study = Study(tmp_path_factory.mktemp("prepared"), cluster, CHANGES)
    study.run("--cores", "2", *ONE_THREAD, BEST, profile="profiles/local")
    return study


@pytest.fixture
def study(prepared, tmp_path):
    """A copy of it without the training."""
    folder = tmp_path / "study"
    shutil.copytree(prepared.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("cache", "split_01"))
    (folder / LOG).unlink()
    study = Study(folder, prepared.cluster, CHANGES)
    yield study
    prepared.cluster.run("scancel", "--user=root")


def start(study, *args):
    return study.start(*args, *ONE_THREAD, BEST)


def asking(*more):
    """Resources of train on the command line, which take the place of all that the profile sets for rules."""
    return ("--set-resources", "train:slurm_partition=gengpu", "train:gpu=1", *(f"train:{each}" for each in more))


def training(study):
    """The process ids of trainings in the study's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            here = os.readlink(process / "cwd") == str(study.folder)
        except OSError:
            continue
        if here and words[1:2] == [b"scripts/train.py"]:
            found.append(int(process.name))
    return found


def until(condition, seconds=180):
    """Wait until `condition()` is true; returns what it gives."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return result


def caught(study):
    """Halt the training after its third epoch; returns its process id."""
    until(lambda: (study.folder / LOG).exists() and " epoch 3 of " in (study.folder / LOG).read_text())
    (process,) = training(study)
    os.kill(process, signal.SIGSTOP)
    assert f" epoch {EPOCHS} of " not in (study.folder / LOG).read_text()
    return process


def jobs(study, columns="jobid,state,timelimitraw"):
    """What SLURM has recorded of the jobs of the last run, in order."""
    run = f"--name={study.run_id}"
    return study.cluster.rows("sacct", "-X", "--parsable2", "--noheader", "--duplicates", run, f"--format={columns}")


def job(study):
    """The id of the study's job that runs."""
    command = ["squeue", "--noheader", "--states=R", f"--name={study.run_id}", "--format=%i"]
    return until(lambda: study.cluster.run(*command).split())[0]


def finished(process, study):
    assert process.wait(timeout=300) == 0, study.log


def goes_on_and_ends_as_undisturbed(study, prepared, folder=None):
    """The last training took up the state of the first, and ended with the same bytes; nothing else runs."""
    folder = folder or study.folder
    log = (folder / LOG).read_text()
    assert int(re.search(r"resumed after epoch (\d+)", log)[1]) >= 1  # states are written in a twentieth of the time
    assert [int(n) for n in re.findall(r" epoch (\d+) of \d+: train loss", log)] == list(range(1, EPOCHS + 1))
    assert (folder / BEST).read_bytes() == (prepared.folder / BEST).read_bytes()
    assert training(study) == []


def test_over_its_time_and_mail_is_sent(study, prepared):
    study.site(mail="someone@example.org")
    process = start(study, *asking("runtime=attempt"))
    caught(study)
    finished(process, study)
    assert [row[1:3] for row in jobs(study)] == [["TIMEOUT", "1"], ["COMPLETED", "2"]]
    assert "SLURM status is: 'TIMEOUT'" in study.log
    assert "someone@example.org" in (study.cluster.folder / "mail").read_text()
    goes_on_and_ends_as_undisturbed(study, prepared)


def test_over_its_memory(study, prepared):
    hog = study.folder / "hog"
    study.environment["PYTHONPATH"] = str(Path(__file__).parent / "hog")
    process = start(study, *asking("mem_mb=2000*attempt"))
    halted = caught(study)
    first = job(study)
    hog.touch()
    os.kill(halted, signal.SIGCONT)
    until(lambda: "exceeded memory limit" in study.job_log("train", first))
    hog.unlink()
    finished(process, study)
    rows = jobs(study, "state,reqmem")
    assert [row[1] for row in rows] == ["2000M", "4000M"] and rows[0][0] != "COMPLETED" == rows[1][0]
    goes_on_and_ends_as_undisturbed(study, prepared)


def test_cancelled_by_hand(study, prepared):
    process = start(study)
    caught(study)
    study.cluster.run("scancel", job(study))
    finished(process, study)
    assert [row[1].split()[0] for row in jobs(study)] == ["CANCELLED", "COMPLETED"]
    assert "stopped after epoch" in study.job_log("train", jobs(study)[0][0])
    assert "'CANCELLED'" in study.log
    goes_on_and_ends_as_undisturbed(study, prepared)


def test_gives_way_to_another_job_and_comes_back(study, prepared):
    study.site(gpu={"partition": "spare"})
    process = start(study)
    caught(study)
    first = job(study)
    everything = ["--partition=gengpu", "--nodes=2", "--exclusive", "--time=1", "--output=/dev/null"]
    study.cluster.run("sbatch", f"--account={ACCOUNT}", *everything, "--wrap=sleep 2")
    finished(process, study)
    rows = jobs(study)
    assert {row[0] for row in rows} == {first} and [row[1] for row in rows] == ["PREEMPTED", "COMPLETED"]
    goes_on_and_ends_as_undisturbed(study, prepared)


def test_its_node_dies(study, prepared):
    process = start(study)
    caught(study)
    first = job(study)
    node = study.cluster.run("squeue", "--noheader", "--format=%N", f"--job={first}").strip()
    study.cluster.kill_node(node)
    try:
        finished(process, study)
        rows = jobs(study, "jobid,state,nodelist")
    finally:
        study.cluster.start_node(node)
        until(lambda: study.cluster.run("sinfo", "--noheader", f"--nodes={node}", "--format=%T").split()[0] == "idle")
    assert rows[0] == [first, "NODE_FAIL", node] and rows[-1][:2] == [first, "COMPLETED"] and rows[-1][2] != node
    goes_on_and_ends_as_undisturbed(study, prepared)


def test_ctrl_c_and_the_same_command(study, prepared):
    process = start(study)
    caught(study)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) != 0
    assert jobs(study)[0][1].startswith("CANCELLED")
    assert not (study.folder / BEST).exists()
    until(lambda: not training(study))
    finished(start(study), study)
    goes_on_and_ends_as_undisturbed(study, prepared)


def test_snakemake_killed_and_no_second_copy_beside_the_orphan(study, prepared):
    process = start(study)
    halted = caught(study)
    process.kill()
    process.wait()
    assert start(study).wait(timeout=60) != 0
    assert "--unlock" in study.log
    assert study.start("--unlock").wait(timeout=60) == 0
    assert start(study).wait(timeout=60) != 0
    command = re.search(r"`(scancel --name=\S+)`", study.log)[1]
    assert training(study) == [halted]
    # another study in the same folder is not held up
    study.run("--config", "results=results/other", "--until", "inventory")
    study.cluster.run(*command.split())
    name = command.removeprefix("scancel ")
    until(lambda: not study.cluster.run("squeue", "--noheader", name))
    finished(start(study), study)
    goes_on_and_ends_as_undisturbed(study, prepared)


def test_a_full_disk_for_results(study, prepared):
    inside, outside = study.cluster.disk, Path(f"/proc/{study.cluster.first}/root{study.cluster.disk}")
    shutil.copytree(study.folder / "results", outside / "results")
    shutil.rmtree(study.folder / "results")
    (study.folder / "results").symlink_to(inside / "results")
    process = start(study, "--retries", "0")
    until(lambda: (outside / LOG).exists() and " epoch 3 of " in (outside / LOG).read_text())
    (halted,) = training(study)
    os.kill(halted, signal.SIGSTOP)
    with pytest.raises(OSError, match="No space left"), (outside / "ballast").open("wb") as ballast:
        while True:
            ballast.write(bytes(10**5))
    os.kill(halted, signal.SIGCONT)
    assert process.wait(timeout=300) != 0
    assert "No space left on device" in study.job_log("train", jobs(study)[0][0])
    assert not (outside / BEST).exists()
    (outside / "ballast").unlink()
    finished(start(study), study)
    goes_on_and_ends_as_undisturbed(study, prepared, outside)

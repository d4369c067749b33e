"""What the terminal shows of a run: the view of the profiles, on a workflow of small jobs with logs as ours."""

import logging
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import REPOSITORY

pytest.importorskip("rich")

SNAKEFILE = """
rule all:
    input: expand("out/train_{split}", split=["01", "02"])

rule embed:
    output: "out/embed"
    log: "logs/embed.log"
    shell: "python job.py {log} 3 && touch {output}"

rule train:
    input: "out/embed"
    output: "out/train_{split}"
    log: "logs/train_{split}.log"
    shell: "python job.py {log} 3 $FAIL_{wildcards.split} && touch {output}"

onsuccess:
    from snakemake.logging import logger
    logger.info("AUROC 0.92\\nNext: read", extra={"summary": True})
"""
JOB = """
import sys, time
sys.path.insert(0, "scripts")
import argparse, logging, pathlib
import cli
from stratamil.core.errors import UserError

def main(args):
    for i in range(int(sys.argv[2])):
        time.sleep(0.6)
        logging.info("%d of 3 patches", i + 1)
    if sys.argv[3:]:
        raise UserError("labels.csv, row 14: class 9 is not in cohort.classes")

cli.run(main, argparse.Namespace(log=pathlib.Path(sys.argv[1])))
"""
ERROR = "error: labels.csv, row 14: class 9 is not in cohort.classes"
NOISE = ("Select jobs", "Building DAG", "Traceback", "CalledProcessError", "rule train", "Provided cores", "host:")


@pytest.fixture
def study(tmp_path):
    shutil.copytree(REPOSITORY / "profiles", tmp_path / "profiles")
    (tmp_path / "scripts").symlink_to(REPOSITORY / "scripts")
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "job.py").write_text(JOB)
    return tmp_path


def environment(folder: Path, **changes: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {
        "SNAKEMAKE_PROFILE": "profiles/local",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PATH": path,
        "TERM": "xterm",
    }
    return os.environ | own | {"FAIL_01": "", "FAIL_02": ""} | changes


def snakemake(folder: Path, *args: str, **changes: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *args]
    return subprocess.run(
        command, cwd=folder, env=environment(folder, **changes), capture_output=True, encoding="utf-8", timeout=120
    )


def on_a_terminal(folder: Path, *args: str, **changes: str) -> str:
    """Return all that Snakemake writes to a terminal of 80 columns."""
    main, end = pty.openpty()
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *args]
    changes |= {"COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(command, cwd=folder, env=environment(folder, **changes), stdout=end, stderr=end) as process:
        os.close(end)
        written = b""
        try:
            while part := os.read(main, 4096):
                written += part
        except OSError:  # the other end was closed
            pass
        process.wait(timeout=60)
    os.close(main)
    return written.decode()


class Settings:
    """The settings of Snakemake's output that a logger gets, at their defaults."""

    printshellcmds = nocolor = debug_dag = verbose = show_failed_logs = stdout = dryrun = False
    quiet = None


@pytest.mark.parametrize("width", [60, 160])
def test_jobs_in_the_queue_and_those_without_room_are_counted(tmp_path, monkeypatch, width):
    from rich.console import Console
    from snakemake_interface_logger_plugins.common import LogEvent

    import snakemake_logger_plugin_stratamil as plugin

    monkeypatch.setenv("STRATAMIL_QUIET", "")  # set by the handler, and so taken back
    view = plugin.LogHandler(Settings(), None)
    view.console = Console(width=width, height=14, file=(tmp_path / "shown").open("w+"), force_terminal=True)

    def send(event, **values):
        view.emit(logging.makeLogRecord({"event": event} | values))

    send(LogEvent.RESOURCES_INFO, nodes=100)
    for number in range(20):
        own = {"rule_name": "train", "wildcards": {"split": f"{number:02d}"}, "local": False, "output": ["x"]}
        send(LogEvent.JOB_INFO, jobid=number, log=[str(tmp_path / f"{number}.log")], **own)
    for number in range(12):
        (tmp_path / f"{number}.log").write_text("2026-11-26 02:30:11 INFO epoch 3 of 30: train loss 0.3\n")
    with view.console.capture() as drawn:
        view.console.print(view.drawn())
    lines = drawn.get().splitlines()
    assert len(lines) == 12 and "2 more run, 8 wait in the queue" in lines[-1]
    assert all("train, split" in line and "3 of 30" in line for line in lines[1:-1])


def test_where_there_is_no_terminal_each_start_and_end_is_a_line(study):
    done = snakemake(study)
    assert done.returncode == 0, done.stderr
    lines = [line.partition(" ")[2] if line[:2].isdigit() else line for line in done.stderr.splitlines()[1:]]
    assert done.stderr.splitlines()[1] == "3 jobs to run"  # as a dry run says
    assert sum("of 3)" in line for line in lines) == 3
    assert "started: embed" in lines and any(line.startswith("done: train, split 02 in 0:00:") for line in lines)
    assert lines[-2:] == ["AUROC 0.92", "Next: read"]
    assert not [word for word in NOISE if word in done.stderr + done.stdout]
    again = snakemake(study)
    assert again.stderr.splitlines()[1:] == ["Nothing to do: all that was asked for is there and up to date."]


def test_a_failure_is_told_once(study):
    done = snakemake(study, FAIL_02="fail")
    assert done.returncode == 1
    shown = done.stderr + done.stdout
    assert shown.count(ERROR) == 1
    told = ["failed: train, split 02", f"  {ERROR}", "  log: logs/train_02.log", ""]
    assert "\n".join(told) in shown
    assert not [word for word in NOISE if word in shown]
    last = done.stderr.splitlines()[-1]
    assert last.startswith("1 job failed: 2 of 3 jobs are done") and "the same command goes on" in last


def test_a_failure_of_each_attempt_is_told_once(study):
    shown = snakemake(study, "--retries", "1", FAIL_02="fail").stderr
    assert shown.count(ERROR) == 1 and shown.count("  It is tried again.") == 1
    assert shown.count("failed again, as before: train, split 02") == 1
    assert "1 job failed: 2 of 3 jobs are done" in shown


def test_a_terminal_has_a_bar_for_the_study_and_a_line_for_each_job(study):
    written = on_a_terminal(study)
    assert "study" in written and "of 3 jobs" in written and re.search("[123] of 3 patches", written)
    assert "train, split 01" in written
    assert written.replace("\x1b[0m", "").rstrip().endswith("Next: read")
    assert "%|" not in written  # no bar of a job itself
    assert not [word for word in NOISE if word in written]


def test_a_dry_run_is_a_table_and_with_p_snakemakes_own(study):
    planned = snakemake(study, "-n").stdout.splitlines()
    assert planned[0] == "3 jobs would run:" and planned[1].split() == ["embed", "1", "not", "there", "yet"]
    assert snakemake(study, "-n", "--quiet").stdout.splitlines()[0] == "3 jobs would run:"
    assert "rule embed:" in snakemake(study, "-n", "-p").stdout


def test_a_fault_of_the_snakefile_is_shown(study):
    (study / "Snakefile").write_text(
        "from snakemake.exceptions import WorkflowError\nraise WorkflowError('config: no')\n"
    )
    done = snakemake(study)
    assert done.returncode == 1 and done.stderr.splitlines()[1:] == ["config: no"]


def test_from_another_folder_the_profile_does_without_the_view(study, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "job.py").symlink_to(study / "job.py")
    done = snakemake(
        other, "-n", "--snakefile", str(study / "Snakefile"), SNAKEMAKE_PROFILE=str(study / "profiles/local")
    )
    assert done.returncode == 0 and "rule embed:" in done.stdout

"""What a person reads of a run in its terminal."""

import pytest

from stratamil.workflow import run_lines

AT = "2026-11-26 02:30:11 "


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", "None"),
        (f"{AT}INFO 12 of 340 patches\n", "12 of 340 patches"),
        (f"{AT}INFO 12 of 340 patches\n{AT}INFO 3400 of 12000 patches\n", "3,400 of 12,000 patches"),
        (f"{AT}INFO epoch 3 of 30: train loss 0.31, val loss 0.40\n", "3 of 30 epochs"),
        (f"{AT}WARNING 3 of 30 patches could not be read\n", "None"),
        (f"{AT}INFO 3 of 30 patches could not be read\n", "None"),
        ("of 30 patches\n", "None"),  # the tail of a log begins anywhere
    ],
)
def test_how_far_a_job_is_stands_in_its_log(log, said):
    assert str(run_lines.fraction(log)) == said


def test_each_problem_is_a_line_and_a_traceback_its_last():
    log = f"{AT}INFO read\n{AT}ERROR error: a.csv, row 3: no class\n{AT}ERROR error: a.csv, row 4: no class\n"
    assert run_lines.errors(log) == ["error: a.csv, row 3: no class", "error: a.csv, row 4: no class"]
    log = f"{AT}ERROR unexpected error: please report it\nTraceback (most recent call last):\n  x\nKeyError: 1\n"
    assert run_lines.errors(log) == ["unexpected error: please report it", "KeyError: 1"]


def test_a_failure_names_the_job_the_error_and_the_log():
    name = run_lines.job("train", {"split": "01", "seed": "42"})
    assert run_lines.failure(name, ["error: no"], ["logs/train.log"]) == [
        "failed: train, split 01, seed 42",
        "  error: no",
        "  log: logs/train.log",
    ]
    many = run_lines.failure(name, [f"error: {i}" for i in range(9)], [])
    assert len(many) == 7 and many[-1] == "  and 4 more in the log"


def test_a_silent_death_is_told_by_slurm_or_as_such():
    said = "SLURM status is: 'TIMEOUT'. For further error details see the cluster/cloud log."
    assert run_lines.failure("train", [], [], said)[1] == "  SLURM status is: 'TIMEOUT'."
    stopped = "stopped after epoch 3, step 1: run again to go on"
    assert run_lines.failure("train", [stopped], [], said)[1:] == [f"  {stopped}", "  SLURM status is: 'TIMEOUT'."]
    assert run_lines.failure("train", ["error: no"], [], "SLURM status is: 'FAILED'. ")[1:] == ["  error: no"]
    assert "killed" in run_lines.failure("train", [], [])[1]


def test_a_name_cannot_command_the_terminal():
    assert run_lines.errors(f"{AT}ERROR error: \x1b[2J: no\n") == ["error: \\x1b[2J: no"]
    assert run_lines.job("r", {"a": "\x1b"}) == "r, a \\x1b"


def test_a_dry_run_is_a_line_a_rule():
    changed = "Params have changed since last execution: before: --lr 0.1 now: --lr 0.2"
    above = "Input files updated by another job: a.h5"
    jobs = [
        ("embed", "Missing output files: a.h5"),
        ("embed", f"Missing output files: b.h5; {above}"),
        ("train", changed),
        ("report", above),
    ]
    assert run_lines.plan(jobs) == [
        "  embed       2  not there yet",
        f"  train       1  {changed}",
        "  report      1  follows from the rules above",
    ]
    assert run_lines.plan([]) == []


def test_an_error_of_the_config_is_told_without_the_lines_of_the_snakefile():
    place = '  File "/x/Snakefile", line 15, in <module>'
    text = f'WorkflowError in file "/x/rules/common.smk", line 71:\nconfig: labels: no such file\n{place}'
    assert run_lines.without_traceback(text) == "config: labels: no such file"
    text = f'KeyError in file "/x/Snakefile", line 15:\nclasses\n{place}'
    assert run_lines.without_traceback(text) == text


@pytest.mark.parametrize(
    "line",
    [
        'RuleException:\nCalledProcessError in file "/x/Snakefile", line 13:\nCommand ...',
        "WorkflowError:\nAt least one job did not complete successfully.",
        "Exiting because a job execution failed. Look above for error messages",
    ],
)
def test_what_follows_from_a_failed_job_is_known(line):
    assert run_lines.FOLLOWS.search(line)


@pytest.mark.parametrize(
    "line",
    [
        "Select jobs to execute...",
        "Building DAG of jobs...",
        "host: node7",
        "Config file config/config.yaml is extended by additional config specified via the command line.",
        "Provided cores: 2",
    ],
)
def test_what_snakemake_says_of_itself_is_noise(line):
    assert run_lines.NOISE.match(line)
    assert not run_lines.FOLLOWS.search(line)
    assert not run_lines.NOISE.match("SLURM run ID: stratamil_189c089e")
    assert not run_lines.NOISE.match("Unlocked working directory.")

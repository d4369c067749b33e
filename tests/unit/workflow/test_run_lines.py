"""What a person reads of a run in its terminal."""

import pytest

from stratamil.workflow import changed_settings, run_lines

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
    above = "Input files updated by another job: a.h5"
    jobs = [
        ("embed", "Missing output files: a.h5"),
        ("embed", f"Missing output files: b.h5; {above}"),
        ("report", above),
        ("split", ""),
    ]
    assert run_lines.plan([(rule, run_lines.reason(why)) for rule, why in jobs]) == [
        "  embed       2  not there yet",
        "  report      1  follows from the rules above",
        "  split       1",
    ]
    assert run_lines.plan([]) == []
    assert run_lines.reason(above, rule="embed") == f"{run_lines.FROM_ABOVE}; encodes only patches that its cache lacks"


def test_a_job_of_several_seeds_says_how_many():
    assert run_lines.of_seeds([f"r/split_01/seed_{i}/{name}" for i in (1, 22) for name in "ab"]) == "2 seeds each: "
    assert run_lines.of_seeds(["r/split_01/seed_1/a", "r/split_01/ensemble/a"]) == run_lines.of_seeds([]) == ""


BEFORE = (
    "--classes benign high-grade --embed-dim=16 --no-gated --epochs=3 --lr=0.003 --class-weights=balanced "
    "--monitor=loss --tensorboard"
)


def params(before, now):
    """What Snakemake says where these params differ."""
    sides = [",".join(map(repr, side)) or "<nothing exclusive>" for side in (before, now)]
    said = f"Union of exclusive params before and now across all output: before: {sides[0]} now: {sides[1]} "
    return f"Params have changed since last execution: {said}"


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"lr=0.003": "lr=0.001"}, "train.lr: 0.003 -> 0.001"),
        ({"--no-gated": "--gated"}, "model.gated: no -> yes"),
        ({"--tensorboard": "--no-tensorboard"}, "train.tensorboard: yes -> no"),
        ({"epochs=3": "epochs=5", "benign": "'low grade'"},
         "cohort.classes: benign high-grade -> low grade high-grade, train.epochs: 3 -> 5"),
        ({" --monitor=loss": ""}, "train.monitor: loss -> none"),
    ],
)  # fmt: skip
def test_of_changed_params_only_the_changed_settings_are_told(changes, said):
    now = BEFORE
    for old, new in changes.items():
        now = now.replace(old, new)
    assert run_lines.reason(params([BEFORE], [now])) == said


def test_many_changed_settings_are_a_short_wrapped_list():
    before = " ".join(f"--setting-{i}=old-value" for i in range(25))
    told = run_lines.reason(params([before], [before.replace("old", "new")]))
    lines = run_lines.plan([("train", told)], width=80)
    assert max(map(len, lines)) <= 80 and len(lines) > 3
    assert told.count(" -> ") == 6 and lines[-1].endswith("and 19 more")
    assert all(line.startswith(" " * 16) for line in lines[1:])


def test_files_of_the_user_are_told_by_their_setting(monkeypatch):
    before = {"labels": "a.csv", "attention": {"truth": None}, "embed": {}}
    config = {name: dict.fromkeys(keys) for name, keys in changed_settings.PATHS.items() if name}
    config |= {"labels": "a.csv", "patches": "images", "attention": {"truth": "truth.csv"}}
    monkeypatch.setattr(changed_settings, "FILES", changed_settings.of_files(config, before))
    updated = "Updated input files: {}"
    assert run_lines.reason(updated.format("b.h5, truth.csv")) == "attention.truth: none -> truth.csv"
    assert run_lines.reason(updated.format("a.csv")) == "labels: content of a.csv"
    assert run_lines.reason(updated.format("b.h5")) == "Updated input files"
    others = "Set of input files has changed since last execution"
    assert run_lines.reason(others, ["a.csv", "truth.csv"]) == "attention.truth: none -> truth.csv"
    assert run_lines.reason(others, ["a.csv"]) == others
    assert changed_settings.of_files(config, None)["a.csv"] == "labels: content of a.csv"


def test_files_in_params_are_told_by_their_setting():
    old, same, none = (changed_settings.content("labels", paths, ["0" * 16]) for paths in (["a b.csv"], ["c.csv"], []))
    assert run_lines.reason(params([old], [same])) == "labels: a b.csv -> c.csv"
    assert run_lines.reason(params([old], [old.replace("000", "111")])) == "labels: content of a b.csv"
    assert run_lines.reason(f"{run_lines.OTHERS}; {params([old], [same])}") == "labels: a b.csv -> c.csv"
    assert run_lines.reason(params([old], [])) == "labels: a b.csv -> none" and none == ""
    assert run_lines.reason(params(["47a6"], ["1f3c"])) == "files of the study"
    assert run_lines.reason("Params have changed since last execution: otherwise") == "settings"


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


def test_what_a_run_with_other_settings_replaces_is_said_in_the_names_of_settings():
    before = {"seeds": [1], "train": {"epochs": 20, "lr": 0.1}, "report": {"bootstrap_samples": 9}, "results": "a"}
    now = {"seeds": [1, 2], "train": {"epochs": 12, "lr": 0.1, "new": 1}, "report": {"bootstrap_samples": 7}}
    assert changed_settings.of_configs(before, now) == ["seeds: [1] -> [1, 2]", "train.epochs: 20 -> 12"]
    assert changed_settings.of_configs(None, now) == changed_settings.of_configs("", now) == []


def test_a_dry_run_says_that_a_first_look_is_replaced():
    look, whole = ({"report": {"first_look": is_one}} for is_one in (True, False))
    assert changed_settings.after_first_look(look, whole) == [
        "The last run was a first look: its models, predictions and pages are replaced."
    ]
    for before, now in ((whole, whole), (whole, look), (look, look), (None, whole), ({"report": None}, whole)):
        assert changed_settings.after_first_look(before, now) == []

"""What the doctor says of a study, its weights, the network and SLURM; and that its lines can be shared."""

import ast
import os
import subprocess
import sys
import urllib.error

import pytest
from repository import REPOSITORY

from stratamil.core.errors import UserError
from stratamil.workflow import doctor, machine
from stratamil.workflow.doctor import Study
from stratamil.workflow.machine import Line


def said(lines) -> list[str]:
    return list(map(str, lines))


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(doctor, "reached", lambda address: False)


def test_a_check_that_fails_is_a_line():
    def check():
        yield Line("ok", "torch", "2.14.1")
        raise RuntimeError("what it is about\nsome other error")

    assert said(doctor.examine("torch", check)) == [
        "ok  torch: 2.14.1",
        "!!  torch: could not be checked (some other error): report it with these lines",
    ]


def test_the_study_is_that_of_the_config_files(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("results: out\nembed: {encoder: resnet18, by_stain: {sox10: {encoder: uni}}}\n")
    study = doctor.read_study(REPOSITORY, [path])
    assert (str(study.results), study.encoders) == ("out", (("resnet18", "default"), ("uni", "default")))
    path.write_text("features: {source: precomputed, manifest: a.csv, encoder: uni2}\n")
    assert doctor.read_study(REPOSITORY, [path]).encoders == ()
    assert doctor.read_study(REPOSITORY, []) == Study()
    path.write_text("embed: 3\n")
    with pytest.raises(UserError, match="embed: 3 must be"):
        doctor.read_study(REPOSITORY, [path])


def test_weights(monkeypatch, tmp_path, offline):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "own.pth").write_text("")
    encoders = (
        ("efficientnet_lite0", "default"), ("stain_stats", "default"), ("resnet18", "own.pth"), ("resnet18", "no.pth"),
        ("uni", "default"), ("kimianet", "default"), ("resnet18", "default"),
    )  # fmt: skip
    lines = said(doctor.weights(Study(encoders=encoders)))
    assert [line[:2] for line in lines] == ["ok", "ok", "ok", "!!", "!!", "!!", "!!"]
    assert lines[4].startswith("!!  weights: uni: no weights here, and https://huggingface.co cannot be reached: ")
    assert "consent" in lines[5] and "https://download.pytorch.org cannot be reached" in lines[6]
    monkeypatch.setattr(doctor, "reached", lambda address: True)
    assert said(doctor.weights(Study(encoders=encoders[-1:])))[0].startswith(
        "--  weights: resnet18: no weights here yet"
    )
    (tmp_path / "resources/weights").mkdir(parents=True)
    (tmp_path / "resources/weights/uni_default.weights").write_text("")
    assert said(doctor.weights(Study(encoders=encoders[4:5])))[0].startswith("ok  weights: uni: resources/weights/uni")
    assert said(doctor.weights(Study()))[0].startswith("--  weights: not checked, no study was read: make doctor")


def test_network(offline):
    hosts = ["https://download.pytorch.org", "https://huggingface.co"]
    assert [line.split()[2] for line in said(doctor.network(Study()))] == hosts
    assert said(doctor.network(Study(encoders=(("efficientnet_lite0", "default"),))))[0].startswith("ok  network: not ")
    assert said(doctor.network(Study(encoders=(("uni", "default"),))))[0].startswith(
        f"--  network: {hosts[1]} cannot be"
    )


def test_a_host_that_refuses_is_reached(monkeypatch):
    for error, answer in [(urllib.error.HTTPError("", 403, "", None, None), True), (OSError("no route"), False)]:

        def refuse(request, timeout, error=error):
            raise error

        monkeypatch.setattr(doctor.urllib.request, "urlopen", refuse)
        assert doctor.reached("https://localhost") == answer


def test_the_token_is_never_shown(monkeypatch, tmp_path):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert said(doctor.hub_token())[0].startswith("--  hub token: none")
    (tmp_path / "token").write_text("hf_secret")
    assert said(doctor.hub_token()) == ["ok  hub token: there (not shown)"]
    monkeypatch.setenv("HF_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert said(doctor.hub_token()) == ["ok  hub token: there (not shown)"]


def test_slurm(monkeypatch):
    answers = {"sinfo": "slurm 24.11.1\n", sys.executable: "a table\nNone would be refused or pend for ever: 9 jobs."}

    def asked(*command, timeout=60, cwd=None):
        answer = answers[command[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(doctor.shutil, "which", lambda program: program)
    monkeypatch.setattr(machine, "asked", asked)
    assert said(doctor.slurm(REPOSITORY, Study())) == [
        "ok  SLURM: slurm 24.11.1",
        "ok  check-slurm: None would be refused or pend for ever: 9 jobs.",
    ]
    answers[sys.executable] = subprocess.CalledProcessError(1, "x", "", "note\nerror: train: too long\nerror: other")
    assert said(doctor.slurm(REPOSITORY, Study()))[1].startswith("--  check-slurm: train: too long; make check-slurm")
    answers["sinfo"] = subprocess.CalledProcessError(1, "sinfo", "", "sinfo: fatal: no source")
    assert said(doctor.slurm(REPOSITORY, Study()))[0].startswith("--  SLURM: its commands are here, but no cluster")
    monkeypatch.setattr(doctor.shutil, "which", lambda program: None)
    assert said(doctor.slurm(REPOSITORY, Study()))[0].startswith("--  SLURM: not here")
    assert said(doctor.chromium())[0].startswith("--  Chromium: not here")


def test_lines_can_be_shared(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/jane.doe")
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "jane.doe")
    text = "/home/jane.doe/x: /data/jane.doe/y '/home/jane.doe' /home/jane.doey http://jane.doe:word@proxy:80 /w/tree/a"
    assert (
        doctor.shareable(text, tmp_path.parent / "w")
        == "~/x: /data/<user>/y '~' /home/jane.doey http://proxy:80 /w/tree/a"
    )
    assert doctor.shareable(f"{tmp_path}/rules", tmp_path) == "<checkout>/rules"
    assert doctor.shareable("no user jane.doe.", tmp_path) == "no user <user>."


@pytest.mark.slow
def test_the_script_as_a_person_runs_it(tmp_path):
    """In a home of its own, without network; the study's results folder is not made."""
    study = tmp_path / "study.yaml"
    study.write_text(f"results: {tmp_path}/home/results\nembed: {{encoder: efficientnet_lite0}}\n")
    (tmp_path / "home").mkdir()
    surroundings = {"HOME": str(tmp_path / "home"), "PATH": os.defpath, "HF_TOKEN": "hf_secret", "USER": "jane.doe"}
    command = [sys.executable, "scripts/doctor.py", "--configfile", study]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=surroundings)
    assert (done.returncode, done.stderr) == (0, ""), done
    first, *lines, last = done.stdout.splitlines()
    assert first.startswith("StrataMIL 0.") and last == "Nothing that is needed is missing."
    assert {line[:4] for line in lines} <= {"ok  ", "--  "}
    names = [line[4:].partition(":")[0].partition(" (")[0] for line in lines]
    assert set(doctor.checks(REPOSITORY, Study())) <= set(names)
    assert "hf_secret" not in done.stdout and str(tmp_path) not in done.stdout and str(REPOSITORY) not in done.stdout


@pytest.mark.slow
def test_a_broken_environment_is_lines():
    """Without any package, as in the machine's own Python."""
    command = [sys.executable, "-S", "-E", "scripts/doctor.py", "--configfile", "config/demo.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 1 and done.stderr == ""
    assert "--  config: not read (No module named" in done.stdout and "!!  packages: " in done.stdout
    assert "ok  results folder" in done.stdout


def test_old_pythons_read_the_script():
    ast.parse((REPOSITORY / "scripts/doctor.py").read_text(encoding="utf-8"), feature_version=(3, 7))

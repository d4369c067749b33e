"""What each check says of a machine that lacks what it looks for."""

import errno
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from repository import REPOSITORY

from stratamil.workflow import machine

SMI = "| NVIDIA-SMI 550.54   Driver Version: 550.54   CUDA Version: {} |"
H100, GTX = "NVIDIA H100, 550.54, 9.0, 81559 MiB", "NVIDIA GTX 1080, 550.54, 6.1, 8192 MiB"
TORCH = {"version": "2.14.1+cu130", "cuda": "13.0", "sees": True, "gpus": [[9, 0]], "built": ["sm_80", "sm_90"]}


def said(lines) -> list[str]:
    return list(map(str, lines))


@pytest.mark.parametrize("version, mark", [((3, 11), "ok"), ((3, 13), "ok"), ((3, 10), "!!"), ((3, 14), "!!")])
def test_python(monkeypatch, version, mark):
    monkeypatch.setattr(sys, "version_info", (*version, 1))
    (line,) = said(machine.python(REPOSITORY))
    assert line.startswith(f"{mark}  Python: ") and ("3.11 to 3.13 are supported: " in line) == (mark == "!!")


def test_packages(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("# pins\ntorch==2.14.1\nnumpy==2.4.6\n")
    (tmp_path / "constraints.txt").write_text("torch==2.14.1\nnumpy==2.4.6\nattrs==26.1.0\npytest==9.2.0\n")
    there = {"torch": "2.14.1+cpu", "numpy": "2.4.6", "attrs": "26.1.0"}

    def version(name: str) -> str:
        if name not in there:
            raise machine.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(machine, "version", version)
    assert said(machine.packages(tmp_path)) == [
        "ok  packages: all 2 of requirements.txt as pinned, and what these need"
    ]
    there["attrs"] = "25"
    assert said(machine.packages(tmp_path))[0].startswith("--  packages: attrs 25 (pinned: 26.1.0): numbers may differ")
    there["torch"] = "2.13.0"
    del there["numpy"]
    (line,) = said(machine.packages(tmp_path))
    what = "torch 2.13.0 (pinned: 2.14.1), numpy missing (pinned: 2.4.6)"
    assert line == f"!!  packages: {what}: {machine.INSTALL}"
    (tmp_path / ".venv/bin").mkdir(parents=True)
    assert said(machine.packages(tmp_path)) == [
        f"!!  packages: {what}: this Python is not that of .venv: source .venv/bin/activate"
    ]


def test_programs_that_do_not_start_are_lines(monkeypatch):
    def asked(*command, timeout=60, cwd=None):
        if "snakemake" in command:
            raise subprocess.CalledProcessError(
                1, command, "", "Traceback\nModuleNotFoundError: No module named 'yte'\n"
            )
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(machine, "asked", asked)
    facts = {}
    assert said(machine.snakemake())[0].startswith(
        "!!  Snakemake: does not start (ModuleNotFoundError: No module named"
    )
    assert said(machine.torch_build(facts))[0].startswith("!!  torch: cannot be imported (no answer in 180 s): ")
    assert facts == {}


def gpu(monkeypatch, torch, rows=(H100,), cuda="13.0") -> list[str]:
    monkeypatch.setattr(machine.shutil, "which", lambda program: program)
    monkeypatch.setattr(machine, "asked", lambda *command: "\n".join(rows) if len(command) > 1 else SMI.format(cuda))
    return said(machine.gpu(torch))


def test_gpu_and_driver(monkeypatch):
    first, second = gpu(monkeypatch, TORCH | {"gpus": [[9, 0]] * 2}, rows=(H100, H100))
    assert first == "ok  GPU: 2 x NVIDIA H100, 81559 MiB, driver 550.54, compute capability 9.0"
    assert second == "ok  GPU and torch: torch runs on 2 GPUs"
    assert "the driver supports CUDA 12.4, torch is built for 13.0: update" in gpu(monkeypatch, TORCH, cuda="12.4")[1]
    assert gpu(monkeypatch, TORCH | {"cuda": None})[1].startswith("--  GPU and torch: this torch is built for the CPU")
    assert gpu(monkeypatch, TORCH | {"sees": False})[1].startswith("!!  GPU and torch: torch sees no GPU")
    old = gpu(monkeypatch, TORCH | {"gpus": [[6, 1]]}, rows=(GTX,))[1]
    assert old.startswith("!!  GPU and torch: torch is built for sm_80, sm_90, not for compute capability 6.1")
    assert len(gpu(monkeypatch, {})) == 1  # torch is broken, which is a line of its own


def test_no_gpu_is_no_fault(monkeypatch):
    def fails(*command):
        raise subprocess.CalledProcessError(9, command, "NVIDIA-SMI has failed to communicate with the driver", "")

    monkeypatch.setattr(machine.shutil, "which", lambda program: program)
    monkeypatch.setattr(machine, "asked", fails)
    assert said(machine.gpu(TORCH))[0].startswith("--  GPU: nvidia-smi fails (NVIDIA-SMI has failed")
    monkeypatch.setattr(machine.shutil, "which", lambda program: None)
    assert said(machine.gpu(TORCH))[0].startswith("--  GPU: no nvidia-smi here")


@pytest.mark.parametrize(
    "built, capability, runs",
    [
        (["sm_80"], (8, 6), True),
        (["sm_86"], (8, 0), False),
        (["sm_80"], (9, 0), False),
        (["compute_80"], (12, 0), True),
        (["sm_90a"], (9, 0), True),
        (["sm_120a"], (12, 1), False),
        ([], (9, 0), False),
    ],
)
def test_which_gpus_code_runs_on(built, capability, runs):
    assert machine.runs_on(built, *capability) == runs


def test_memory_and_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 10**6}.get)
    assert said(machine.memory())[0].startswith("--  memory: 4 GB, ")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage(0.5e9))
    assert said(machine.disk(tmp_path / "not/yet/there"))[-1].startswith("!!  disk: 0.5 GB free (")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage(5e9))
    assert said(machine.disk(tmp_path))[-1].startswith("--  disk: 5.0 GB free (")


def test_results_folder_is_left_as_it_was(tmp_path):
    latency, locks, times = said(machine.results_folder(tmp_path / "new/study"))
    assert latency.startswith("ok  results folder (") and " ms" in latency
    assert "hard links and file locks" in locks and "keeps times to 1" in times
    assert list(tmp_path.iterdir()) == []


def test_poor_file_systems(monkeypatch, tmp_path):
    def refused(*args, **kwargs):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    path, utime = tmp_path / "file", os.utime
    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr("fcntl.flock", refused)
    line = str(machine._file_locks("results folder", path))
    assert line.startswith("--  results folder: no hard links and no file locks (flock): the workflow does without")
    monkeypatch.setattr(os, "utime", lambda path, ns: utime(path, ns=tuple(when // 10**9 * 10**9 for when in ns)))
    assert "keeps times to 1 s: wait as long" in str(machine._times("results folder", path))
    monkeypatch.setattr(machine.time, "time", lambda: 0)
    assert " s apart: set both by a time server" in str(machine._times("results folder", path))
    monkeypatch.setattr(machine.tempfile, "TemporaryDirectory", refused)
    (line,) = said(machine.results_folder(Path("results")))
    assert line == "!!  results folder: cannot be written (No locks available): set results to a folder of your own"

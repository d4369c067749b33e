"""Where the workflow may stand and run: odd folders, no home, other systems, other locales."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from checkout import TINY, Checkout
from PIL import Image

# A name that a shell takes for more than one.
FOLDER = "my lab/a$(touch PWNED)b'c;d"
COHORT = "results/tiny/cohort/index.html"
INVENTORY = "results/tiny/inventory/patches.parquet"
RUN = "results/tiny/split_01/seed_1"

# What another system lacks, or does otherwise, for every Python that finds this on its path.
NO_LINUX = """
import multiprocessing, os, signal
for module, names in (
    (os, ["posix_fallocate", "posix_fadvise", "sched_getaffinity", "sched_setaffinity", "sendfile", "copy_file_range"]),
    (signal, ["SIGRTMIN", "SIGRTMAX", "SIGPOLL", "SIGPWR", "pidfd_send_signal"]),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
multiprocessing.set_start_method("spawn")
"""


def snakemake(folder, *args, **environment):
    """Run Snakemake in a folder, with changes of the environment; None takes a variable away."""
    command = [Path(sys.executable).with_name("snakemake"), "--cores", "2", *args]
    changed = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    changed = {name: value for name, value in changed.items() if value is not None}
    return subprocess.run(command, cwd=folder, env=changed, capture_output=True, encoding="utf-8", timeout=540)


@pytest.fixture(scope="module")
def configfiles(tmp_path_factory):
    """The config files of the tiny study with one shard: a process less in each test."""
    (overlay := tmp_path_factory.mktemp("config") / "one_shard.yaml").write_text("embed: {shards: 1}\n")
    return TINY, overlay


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A checkout in a folder that a shell takes for more than a name."""
    folder = tmp_path_factory.mktemp("odd") / FOLDER
    folder.mkdir(parents=True)
    return Checkout(folder)


def test_in_an_odd_folder_without_a_home_and_without_linux(odd, configfiles, tmp_path):
    """The stages with processes of their own, in the folder itself."""
    (tmp_path / "home").touch()
    (tmp_path / "sitecustomize.py").write_text(NO_LINUX, encoding="utf-8")
    elsewhere = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": None, "PYTHONPATH": str(tmp_path)}
    # with a profile, which says that nothing is kept in the home folder
    flags = ["--profile", "profiles/local", "--configfile", *configfiles]
    done = snakemake(odd.folder, *flags, "--", f"{RUN}/attention_analysis", **elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (odd.folder / RUN / "attention_analysis/attention_summary.txt").is_file()
    assert not list(odd.folder.parents[1].rglob("PWNED*"))


@pytest.mark.parametrize(
    "directory, target", [(False, INVENTORY), (True, COHORT)], ids=["from there", "with --directory"]
)
def test_an_odd_checkout_from_elsewhere(odd, configfiles, tmp_path, directory, target):
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    there = ["--directory", folder] if directory else []
    flags = ["--snakefile", odd.folder / "Snakefile", *there, "--show-failed-logs", "--configfile", *configfiles]
    done = snakemake(tmp_path if directory else folder, *flags, "--", target, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / target).is_file() and not list(tmp_path.rglob("PWNED*"))


def test_names_of_other_scripts_in_the_locale_c(odd, configfiles, tmp_path):
    """A study whose files, columns and title are not ASCII; one line where Python takes text for ASCII."""
    patches, rng = tmp_path / "Präparate/α", np.random.default_rng(0)
    patches.mkdir(parents=True)
    for case in range(18):
        noise = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(patches / f"case_{case}_match_1_h&e_patch1.png")
    rows = [f"{case},{1 + case % 2 * 2},Müller {case}" for case in range(18)]
    (tmp_path / "Fälle.csv").write_text("\n".join(["Nummer,Größe,Patientin", *rows]), encoding="utf-8")
    config = {
        "patches": str(patches.parent),
        "labels": str(tmp_path / "Fälle.csv"),
        "results": "results/locale",
        "cohort": {"case_column": "Nummer", "class_column": "Größe", "patient_column": "Patientin"},
        "demo": None,
        "attention": {"truth": None},
        "report": {"title": "Melanozytäre Läsionen"},
    }
    (tmp_path / "Studie_ä.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    flags = ["--show-failed-logs", "--configfile", *configfiles, tmp_path / "Studie_ä.yaml"]
    target = "results/locale/cohort/index.html"
    environment = {"LC_ALL": "C", "LANG": "C", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = snakemake(odd.folder, *flags, "--", target, PYTHONUTF8=None, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Patientin" in (odd.folder / target).read_text(encoding="utf-8")
    done = snakemake(odd.folder, *flags, "-n", PYTHONUTF8="0", **environment)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "export PYTHONUTF8=1" in said and "Traceback" not in said
    done = snakemake(odd.folder, "-n", "--configfile", TINY, PYTHONUTF8="0", **environment)
    assert done.returncode == 0, done.stderr

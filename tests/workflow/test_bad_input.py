"""A user's mistake gives plain lines that name the remedy, a status that is not 0, no traceback, and no files."""

import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from checkout import TINY, Checkout
from PIL import Image
from repository import REPOSITORY

from stratamil.workflow import results_folder

CONFIG = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())


def script(name, folder, *args):
    """Run a script in `folder`; returns (exit status, lines on the terminal)."""
    command = [sys.executable, REPOSITORY / f"scripts/{name}.py", *map(str, args), "--log", "the.log"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    assert all(line in (folder / "the.log").read_text() for line in done.stderr.splitlines())
    return done.returncode, done.stderr.splitlines()


def inventory(folder):
    """The inventory of a folder with patches/ and labels.csv."""
    return script(
        "inventory", folder, "--patches", "patches", "--labels", "labels.csv", "--case-column", "Case",
        "--class-column", "Class", "--classes", "benign=1", "high-grade=3,4", "--excluded-codes", "0", "2",
        "--pattern", CONFIG["names"]["pattern"], "--stains", "h&e=he", "melan=", "sox10=",
        "--output", "out/patches.parquet", "--cases", "out/cases.csv", "--excluded", "out/excluded.csv",
        "--watched", "out/watched.json",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A folder with one patch and labels that are right."""
    (tmp_path / "patches").mkdir()
    Image.new("RGB", (20, 20), "pink").save(tmp_path / "patches/case_1_match_1_h&e_patch1.png")
    (tmp_path / "labels.csv").write_text("Case,Class\n1,1\n2,3\n")
    return tmp_path


@pytest.mark.parametrize(
    "labels, words",
    [
        ("Case,Grade\n1,1\n", "labels.csv: no column 'Class'"),
        ("Case,Class\n7,1\n", "none of the 1 cases in the labels has a patch"),
        ("Case,Class\n1,1\n1,3\n", "case 1 has different classes: '1' in row 2, '3' in row 3"),
        ("Case,Class\n1,5\n", "row 2: case 1: class code '5'"),
        ("Case,Class\n1,3,4\n", "row 2: 3 values, but 2 columns"),
    ],
)
def test_labels(folder, labels, words):
    (folder / "labels.csv").write_text(labels)
    status, lines = inventory(folder)
    assert (status, len(lines)) == (1, 1)
    assert words in lines[0]
    assert not (folder / "out").exists()


@pytest.mark.parametrize("empty", [True, False])
def test_patches_folder(folder, empty):
    (folder / "patches/case_1_match_1_h&e_patch1.png").unlink()
    if not empty:
        (folder / "patches").rmdir()
    status, lines = inventory(folder)
    assert (status, len(lines)) == (1, 1)
    assert ("none of 0 files is a patch" if empty else "patches: no such folder") in lines[0]
    assert not (folder / "out").exists()


def test_preset_splits(tmp_path):
    cases = {"case_id": range(1, 7), "label": 1, "class": ["benign", "high-grade"] * 3, "patient_id": range(1, 7)}
    pd.DataFrame(cases | {"status": "used"}).to_csv(tmp_path / "cases.csv", index=False)
    np.savez(tmp_path / "bad.npz", train_cases=[1, 2], val_cases=[3, 4], test_cases=[4, 5, 99])
    status, lines = script(
        "splits", tmp_path, "--cases", "cases.csv", "--classes", "benign", "high-grade",
        "--preset", "bad.npz", "--output", "out/s.npz",
    )  # fmt: skip
    assert status == 1
    assert any("bad.npz: test_cases names 99, not in the labels table" in line for line in lines)
    assert any("val_cases and test_cases both hold 4" in line for line in lines)
    assert not (tmp_path / "out").exists()


def embed(folder, max_unreadable):
    """Embed the folder's patches with the colour descriptor."""
    assert inventory(folder)[0] == 0
    return script(
        "embed", folder, "--patches-table", "out/patches.parquet", "--cases", "out/cases.csv", "--patches", "patches",
        "--shard", "0", "--shards", "1", "--encoder", "stain_stats", "--input-size", "96", "--pooling", "global",
        "--max-unreadable", max_unreadable, "--output", "out/shard.h5", "--cache", "cache/shard.h5",
    )  # fmt: skip


def test_patches_of_every_kind_are_read_and_unreadable_ones_listed(folder):
    patches, image = folder / "patches", Image.new("RGB", (20, 20), "pink")
    for i, mode in enumerate(["RGBA", "P", "L", "I;16"], 2):
        (image.convert("L").convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)).save(
            patches / f"case_1_match_1_h&e_patch{i}.png"
        )
    (patches / "case_1_match_1_h&e_patch90.png").write_bytes(b"")
    whole = (patches / "case_1_match_1_h&e_patch1.png").read_bytes()
    (patches / "case_1_match_1_h&e_patch91.png").write_bytes(whole[: len(whole) // 2])
    status, lines = embed(folder, 0.1)
    assert status == 1
    assert "case_1_match_1_h&e_patch91.png" in lines[0]
    assert not (folder / "out/shard.h5").exists()
    assert embed(folder, 0.5) == (0, [])
    with h5py.File(folder / "out/shard.h5") as shard:
        assert len(shard["path"]) == 5
        assert [path.decode() for path in shard["unreadable_path"]] == ["case_1_match_1_h&e_patch91.png"]
    excluded = pd.read_csv(folder / "out/excluded.csv")
    assert "empty file" in set(excluded["reason"])


def test_checkpoint_of_other_features(folder):
    import torch
    from factories import model_settings

    from stratamil.cohort import splits
    from stratamil.mil import checkpoint
    from stratamil.mil.model import HierarchicalAttention

    assert embed(folder, 0.5)[0] == 0
    settings = model_settings(8, 2, embed_dim=4, attention_dim=2)
    checkpoint.save(
        {
            "weights": HierarchicalAttention(settings).weights(0), "model": settings.asdict(), "epoch": 1,
            "classes": ["benign", "high-grade"], "stains": ["h&e"], "features": {"encoder": "densenet121"},
            "minhash": [],
        },
        folder / "old.pth",
    )  # fmt: skip
    torch.save([1], folder / "list.pth")
    splits.write(splits.Split([], ["1"], ["1"]), folder / "s.npz")
    for name, words in (("old", "trained on features with encoder 'densenet121'"), ("list", "not a checkpoint")):
        status, lines = script(
            "evaluate", folder, "--checkpoints", f"{name}.pth", "--features", "out/shard.h5",
            "--cases", "out/cases.csv",
            "--split", "s.npz", "--name", "01", "--seeds", "1", "--classes", "benign", "high-grade", "--stains", "h&e",
            "--output", "run",
        )  # fmt: skip
        assert (status, len(lines)) == (1, 1)
        assert words in lines[0]
        assert not (folder / "run").exists()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout to try configs in."""
    return Checkout(tmp_path_factory.mktemp("config"))


OWN = {"demo": None, "patches": "scripts", "labels": "Snakefile", "attention": {"truth": None}}


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"train": {"epoch": 3}}, "train.epoch: no such setting: did you mean epochs?"),
        ({"embed": {"weights": "absent.safetensors"}}, "embed.weights: absent.safetensors: no such file"),
        (OWN | {"results": "scripts/out"}, "results: scripts/out lies in the patches folder scripts: set another"),
        ({"demo": None, "patches": "resources", "labels": "a{b}.csv"}, "labels: a{b}.csv"),
        ({"demo": None, "patches": "absent"}, "patches: absent: no such folder: set it in your --configfile"),
        (
            {"demo": None, "features": {"source": "precomputed", "manifest": "m.csv"}},
            "features.manifest: m.csv: no such file",
        ),
        (OWN | {"results": "a" * 300}, "cannot be read (File name too long): set results to"),
        (OWN | {"labels": "a" * 300}, "a: no such file: set it in your --configfile"),
        ({"patches": "data/mine"}, "patches: data/mine: the demo paints below resources/ only"),
        (
            {"attention": {"truth": None}},
            "attention.truth: not set, but the demo writes it: set a path below resources/",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_config(checkout, changes, words):
    done = checkout.snakemake("-n", changes=changes)
    assert done.returncode != 0
    shown = done.stdout + done.stderr
    assert words in shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) < 8


def test_an_error_in_a_job_is_shown_on_the_terminal_once(checkout):
    pytest.importorskip("rich")  # without it the profile shows Snakemake's own lines
    patches = checkout.folder / "own/patches"
    patches.mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(patches / "case_1_match_1_h&e_patch1.png")
    table = checkout.folder / "own/labels.csv"
    table.write_text("Case,Klass,Patient\n7,1,A\n")
    own = {"demo": None, "patches": "own/patches", "labels": "own/labels.csv", "results": "results/own"}
    own["attention"] = {"truth": None}
    dry = checkout.snakemake("-n", changes=own)
    lacking = "own/labels.csv: no column 'Class': it has 'Case', 'Klass', 'Patient'; did you mean 'Klass'?"
    assert dry.returncode == 1 and lacking in dry.stdout + dry.stderr
    table.write_text("Case,Class,Patient\n7,1,A\n")
    done = checkout.snakemake("--profile", "profiles/local", changes=own)
    assert done.returncode == 1
    shown = done.stdout + done.stderr
    assert shown.count("error: own/patches: none of the 1 cases in the labels has a patch") == 1
    assert "failed: inventory\n  error: own/patches" in shown
    assert "  log: results/own/logs/inventory/inventory.log" in shown
    assert not [word for word in ("Traceback", "Select jobs", "CalledProcessError", "host:") if word in shown]
    assert not list((checkout.folder / "results/own/inventory").glob("*.*"))


def test_a_second_run_names_the_first_and_a_dry_run_counts_the_marks(checkout):
    study = checkout.folder / "marked.yaml"
    study.write_text("results: results/shared  # check this: a\nseeds: [1]  # check this: b\n", encoding="utf-8")
    files = (TINY, study)
    lock = results_folder.claim(checkout.folder / "results/shared")
    try:
        for also in ((), ("--unlock",)):
            done = checkout.snakemake(*also, configfiles=files)
            assert done.returncode == 1 and f"results/shared: in use by {lock.holder}" in done.stdout + done.stderr
            assert "LockException" not in done.stderr and not list(checkout.folder.glob("results/shared/inventory"))
        dry = checkout.snakemake("-n", configfiles=files)
        assert dry.returncode == 0 and "marked.yaml: 2 lines say `check this`" in dry.stdout
    finally:
        lock.release()

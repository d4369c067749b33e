"""Commands of the documentation: each line is checked, and `make test-docs` runs those that need no cluster."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys

import bundles
import doc_pages
import feature_files
import pandas as pd
import pytest
import studies
import yaml
from checkout import Checkout
from repository import REPOSITORY

BLOCKS = [block for path in doc_pages.pages() for block in doc_pages.blocks(path)]
LINES = {tuple(words) for block in BLOCKS for words in block.commands if words[0] == "snakemake"}
SNAKEMAKE = sorted({tuple(word for word in words if word != "-n") for words in LINES})
# Only of a finished study; its flags are read, and `make test-docs` runs it.
FINISHED = {"--report", "--unlock", "--allowed-rules"}
# What `make test-docs` lays over a study file of the documentation, so that it takes minutes.
QUICK = {
    "splits": {"n_splits": 3},
    "seeds": [1],
    "embed": {"encoder": "stain_stats", "input_size": 96, "shards": 2},
    "model": {"embed_dim": 16, "attention_dim": 8},
    "train": {"epochs": 2},
    "attention": {"max_cases": 1},
    "report": {"bootstrap_samples": 100},
}
PATCHES, LABELS = "data/patches", "data/labels.csv"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, made):
    """A checkout with a cohort, a study file, a bundle and new cases, where the pages have them; nothing is opened."""
    checkout = Checkout(tmp_path_factory.mktemp("docs"))
    (checkout.folder / PATCHES).mkdir(parents=True)
    (checkout.folder / PATCHES / "case_1_match_1_h&e_patch1.png").touch()
    (checkout.folder / LABELS).write_text("Case,Class\n" + "".join(f"{case},1\n" for case in range(1, 9)))
    study = {"patches": PATCHES, "labels": LABELS, "results": "results/my_study", **QUICK}
    for name in ("my_study", "one_stain", "more_stains"):
        (checkout.folder / f"{name}.yaml").write_text(yaml.safe_dump(study))
    new = bundles.write_manifest(checkout.folder / "new", made.data, ["1", "2"])
    predict = {"bundle": str(made.zip), "patches": str(new), "labels": LABELS, "name": "new"}
    compared = [str(studies.write(checkout.folder / "results" / name)) for name in ("one", "two")]
    (checkout.folder / "compare.yaml").write_text(yaml.safe_dump({"compare": compared}))
    for name in ("new_cases.yaml", "other_hospital.yaml"):
        (checkout.folder / name).write_text(yaml.safe_dump({"results": "results/new", "predict": predict}))
    return checkout


@pytest.mark.parametrize("words", SNAKEMAKE, ids=" ".join)
def test_a_line_of_snakemake_is_a_dry_run_of_the_study(checkout, words):
    if FINISHED & set(words):
        from snakemake import cli

        assert cli.get_argument_parser().parse_args(words[1:])
        return
    done = checkout.forked(["snakemake", "-n", "--cores", "2", *words[1:]])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["predict", "validate"])
def test_the_scripts_of_new_cases_know_each_flag_that_their_rules_give(checkout, monkeypatch, name):
    done = checkout.forked(
        ["snakemake", "-n", "-p", "--cores", "2", "--configfile", "other_hospital.yaml", "--", "validate"]
    )
    (line,) = re.findall(rf"python (scripts/{name}\.py .*)", done.stdout)
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    assert importlib.import_module(name).arguments()


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}: {' '.join(block.commands[0])}")
def test_the_programs_and_flags_of_a_block_are_there(block):
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for program, *words in block.commands:
        if program == "python":
            source = (REPOSITORY / words[0]).read_text() + (REPOSITORY / "scripts/cli.py").read_text() + '"--help"'
            assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []
        elif program == "make":
            assert words[0] in targets
        elif program == "export":
            name, _, value = words[0].partition("=")
            assert name != "SNAKEMAKE_PROFILE" or (REPOSITORY / value / "config.yaml").is_file()
        elif program == "pip":
            assert [word for word in words if word.endswith(".txt") and not (REPOSITORY / word).is_file()] == []
        else:
            assert program in ("snakemake", "source") or block.reason, f"{program}: run it here, or say why not"


@pytest.mark.long
def test_the_commands_run(tmp_path):
    """Page by page on a painted cohort, in the order of the pages; a study file that init.py wrote is made quick."""
    checkout = Checkout(tmp_path)
    for name in ("bench", "Makefile", "pyproject.toml", *(path.name for path in REPOSITORY.glob("*.txt"))):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
        copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    paint = f"--seed 3 --cases 30 --patch-px 48 --patches {PATCHES} --labels {LABELS} --truth patch_truth.csv"
    assert run(checkout, f"scripts/demo.py {paint}".split(), program=sys.executable) == []
    (tmp_path / "my_study").symlink_to("data")
    (tmp_path / "data/features").mkdir()
    for case in pd.read_csv(tmp_path / LABELS, dtype=str)["Case"]:
        feature_files.clam(tmp_path / f"data/features/{case}_HE.h5", *feature_files.made())
    failed = []
    for block in BLOCKS:
        for words in [] if block.reason else block.commands:
            if words[0] in ("source", "export"):
                continue
            proposes = words[1:2] == ["scripts/init.py"] and "--help" not in words
            study_file = tmp_path / (words[words.index("--output") + 1] if proposes else "")
            if proposes:
                study_file.unlink(missing_ok=True)
            failed += run(checkout, words[1:], program=words[0])
            if proposes:
                study_file.write_text(yaml.safe_dump(yaml.safe_load(study_file.read_text()) | QUICK))
    assert failed == [], "\n".join(failed)


def run(checkout, words, program):
    """Run a command in an activated environment with the local profile, as the first page says. Returns what failed."""
    path = f"{checkout.folder / '.venv/bin'}:{checkout.environment['PATH']}"
    environment = checkout.environment | {"PATH": path, "SNAKEMAKE_PROFILE": "profiles/local"}
    command = [shutil.which(program, path=path), *words]
    options = {"cwd": checkout.folder, "env": environment, "stdin": subprocess.DEVNULL}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=1200, **options)
    return [f"{' '.join(words)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"] if done.returncode else []

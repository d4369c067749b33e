"""A study that chooses its settings: the target, what reruns, the models it trains, and a search that is killed."""

import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml
from checkout import TINY, Checkout

pytestmark = pytest.mark.long
RESULTS = "results/tiny"
TUNE = {"enabled": True, "candidates": 4, "inner": 3, "seeds": 1, "space": {"train.lr": [0.001, 0.1, "log"]}}
SPACE = TUNE["space"] | {"model.aggregation": ["hierarchical", "mean"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The tiny study with settings chosen, the report included."""
    checkout = Checkout(tmp_path_factory.mktemp("tune"))
    pending = checkout.pending("--", "all", changes={"tune": TUNE | {"space": SPACE}})
    assert pending["tune_split"] == 2 and pending["train"] == 2 and pending["retrain"] == 4
    done = checkout.snakemake("--", "all", changes={"tune": TUNE | {"space": SPACE}})
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout


def test_the_models_of_a_split_have_the_settings_that_it_chose(study):
    for split in ("01", "02"):
        folder = study.folder / RESULTS / f"tuning/split_{split}"
        chosen = yaml.safe_load((folder / "chosen.yaml").read_text())
        table = pd.read_csv(folder / "candidates.csv")
        assert len(table) == 4 and table.loc[table["chosen"], "candidate"].item() == chosen["chosen"]["candidate"]
        kept = yaml.safe_load((study.folder / RESULTS / f"split_{split}/seed_1/settings.yaml").read_text())
        assert kept["train"]["lr"] == chosen["chosen"]["settings"]["train.lr"]
        assert kept["model"]["aggregation"] == chosen["chosen"]["settings"]["model.aggregation"]
        assert chosen["default"]["settings"] == {"train.lr": 0.003, "model.aggregation": "hierarchical"}
        default = pd.read_csv(study.folder / RESULTS / f"split_{split}/seed_1/retrained/default.csv")
        same = kept["train"]["lr"] == 0.003 and kept["model"]["aggregation"] == "hierarchical"
        mine = pd.read_csv(study.folder / RESULTS / f"split_{split}/seed_1/predictions.csv")
        theirs = default[default["set"] == "test"].set_index("case_id").loc[mine["case_id"], "prob_benign"]
        assert ((mine["prob_benign"] - theirs.to_numpy()).abs().max() < 1e-6) == same


def test_the_report_says_whether_it_helped(study):
    page = (study.folder / RESULTS / "report/index.html").read_text()
    section = re.search(r'<section id="tuning">.*?</section>', page, re.DOTALL)[0]
    assert "4 candidates were trained once in each of 3 inner folds" in section and section.count("<tr>") == 3
    assert re.search(r"choosing settings|Choosing settings|own settings were kept|kept the study", section)
    metrics = pd.read_csv(study.folder / RESULTS / "report/metrics.csv")
    assert set(metrics.query("level == 'tuning'")["model"]) == {"split 01", "split 02", "chosen"}


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"tune": TUNE | {"space": SPACE}}, None),
        ({"tune": TUNE | {"space": SPACE, "candidates": 5}}, True),
        ({"tune": TUNE | {"space": TUNE["space"]}}, True),
        ({"tune": TUNE | {"space": SPACE}, "report": {"colors": ["#112233", "#445566"]}}, False),
        ({"tune": TUNE | {"space": SPACE}, "model": {"embed_dim": 12}}, True),
    ],
)
def test_what_reruns(study, changes, again):
    """A space of fewer settings replaces the other one; what pages alone depend on chooses nothing again."""
    pending = study.pending("--", "all", changes=changes)
    assert (pending == {}) == (again is None) and ("tune_split" in pending) == bool(again)
    if again:
        assert pending["tune_split"] == 2 and pending["train"] == 2


def test_the_target_chooses_and_trains_no_model_of_the_study(study):
    pending = study.pending("--", "tune", changes={"tune": TUNE | {"space": SPACE, "candidates": 3, "enabled": False}})
    assert pending == {"tune_split": 2, "tune": 1}


def test_a_search_killed_in_the_middle_ends_with_the_same_bytes(study):
    log = (study.folder / RESULTS / "config.yaml").read_text()
    assert yaml.safe_load(log)["tune"]["space"] == SPACE
    made = study.folder / RESULTS / "tuning/split_01"
    whole, scores = (made / "chosen.yaml").read_bytes(), pd.read_csv(made / "candidates.csv")
    done = study.snakemake("-p", "-n", "-F", "--", "tune", changes={"tune": TUNE | {"space": SPACE}})
    command = re.search(r"exec (python \S*tune\.py .*--name 01 .*)", done.stdout)[1]
    command = command.replace("python", sys.executable, 1).replace(f"{RESULTS}/tuning/split_01", "killed")
    (study.folder / "killed").mkdir()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(f"exec {command}", shell=True, cwd=study.folder, env=environment)
    state, limit = study.folder / "killed/state.json", time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL and not (study.folder / "killed/chosen.yaml").exists()
    assert subprocess.run(f"exec {command}", shell=True, cwd=study.folder, env=environment).returncode == 0
    assert (study.folder / "killed/chosen.yaml").read_bytes() == whole
    again = pd.read_csv(study.folder / "killed/candidates.csv")
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), scores.drop(columns="seconds"))


def test_bad_spaces_are_one_line_at_a_dry_run(study):
    done = study.snakemake("-n", "--", "all", changes={"tune": {"space": {"train.lrr": [1]}}})
    assert (
        done.returncode and "config: tune.space: train.lrr: no setting to choose: did you mean train.lr?" in done.stdout
    )


@pytest.mark.parametrize(("target", "enabled"), [("all", True), ("tune", False), ("all", False)])
def test_a_class_too_small_for_inner_folds_is_one_line_at_a_dry_run(study, tmp_path, target, enabled):
    """Whoever chooses no settings is told nothing of it."""
    labels = tmp_path / "labels.csv"
    labels.write_text("Case,Class\n" + "".join(f"{i},{1 if i < 20 else 3}\n" for i in range(24)))
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches/case_1_match_1_h&e_patch1.png").touch()
    own = {"patches": str(tmp_path / "patches"), "labels": str(labels), "tune": {"enabled": enabled, "inner": 4}}
    changes = own | {"demo": None, "cohort": {"patient_column": "Case"}, "attention": {"truth": None}}
    done = study.snakemake("-n", "--", target, configfiles=(TINY,), changes=changes | {"results": "results/small"})
    line = "config: tune.inner: 4 inner folds, but class high-grade has 4 patients"
    assert (line in done.stdout) == bool(done.returncode) == (enabled or target == "tune")

"""read_study: the tables of a study from its files."""

import doctest
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import studies
from repository import REPOSITORY

import stratamil
from stratamil import read_study
from stratamil.core.errors import UserError
from stratamil.evaluation import saved_study

# Columns that tell the rows of a table apart.
KEYS = {
    "cases": ["case_id"],
    "excluded": ["kind", "name"],
    "splits": ["split", "case_id"],
    "predictions": ["split", "seed", "case_id"],
    "validation_predictions": ["split", "seed", "case_id"],
    "history": ["split", "seed", "epoch"],
    "retrained": ["split", "seed", "variant", "set", "case_id"],
    "baselines": ["baseline", "split", "case_id"],
    "metrics": ["level", "model", "split", "repeat", "seed", "metric"],
    "attention_summary": ["split", "seed", "case_id"],
    "perturbation": ["split", "seed", "case_id"],
    "perturbation_curves": ["split", "seed", "case_id", "order", "fraction"],
    "perturbation_parts": ["split", "seed", "case_id", "level", "stain", "slice_id"],
    "faithfulness": ["scope", "measure", "of"],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return studies.write(tmp_path_factory.mktemp("study") / "results/demo")


@pytest.fixture
def copied(results, tmp_path):
    return shutil.copytree(results, tmp_path / "results")


def test_the_examples_of_the_docstring(results, monkeypatch):
    monkeypatch.chdir(results.parents[1])
    found = doctest.testmod(saved_study, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert found.attempted >= 7 and found.failed == 0


@pytest.mark.parametrize("name", KEYS)
def test_every_table_has_all_runs_and_no_row_twice(results, name):
    table = getattr(read_study(results), name)
    assert len(table) and not table.duplicated(KEYS[name]).any() and list(table.index) == list(range(len(table)))
    if "seed" in KEYS[name] and name != "metrics":
        assert list(table)[:2] == ["split", "seed"]
        assert list(table[["split", "seed"]].drop_duplicates().itertuples(index=False, name=None)) == [
            ("01", 42),
            ("02", 42),
        ]


def test_tables_are_what_the_files_say(results):
    study = read_study(results)
    own = pd.read_csv(results / "split_02/seed_42/predictions.csv", dtype={"case_id": str})
    mine = study.predictions.query("split == '02'").drop(columns=["split", "seed"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, own, check_dtype=False)
    sets = study.splits.query("set == 'test'").groupby("split")["case_id"].agg(list)
    assert sets.to_dict() == studies.TEST
    assert study.settings["seeds"] == [42] and study.classes == ["benign", "high-grade"]


def test_attention_of_a_case_is_that_of_the_runs_that_tested_it(results):
    table = read_study(results).attention("8")
    whole = pd.read_parquet(results / "split_02/seed_42/patch_attention.parquet").query("case_id == '8'")
    assert list(table)[:3] == ["split", "seed", "case_id"] and set(table["split"]) == {"02"}
    pd.testing.assert_frame_equal(
        table.drop(columns=["split", "seed"]), whole.reset_index(drop=True), check_dtype=False
    )
    with pytest.raises(UserError, match="case '77' is in no test set"):
        read_study(results).attention("77")


@pytest.mark.parametrize(
    "name, file, rule",
    [
        ("cases", "inventory/cases.csv", "inventory"),
        ("splits", "splits/data_splits_02.npz", "splits"),
        ("predictions", "split_02/seed_42/results.json", "evaluate"),
        ("perturbation", "split_01/seed_42/perturbation.csv", "perturb"),
        ("history", "split_01/seed_42/history.csv", "train"),
        ("attention_summary", "split_01/seed_42/attention_analysis/summary.csv", "attention"),
        ("retrained", "split_02/seed_42/retrained/mean.csv", "retrain"),
        ("metrics", "report/metrics.csv", "report"),
        ("faithfulness", "faithfulness/faithfulness.csv", "faithfulness"),
    ],
)
def test_a_missing_file_is_named_with_its_rule(copied, name, file, rule):
    (copied / file).unlink()
    with pytest.raises(UserError) as error:
        getattr(read_study(copied), name)
    assert str(error.value) == f"{copied / file}: no such file: run {rule}"


def test_runs_of_other_settings_are_not_read(copied):
    shutil.copytree(copied / "split_01/seed_42", copied / "split_01/seed_43")
    shutil.copytree(copied / "split_01", copied / "split_03")
    assert len(read_study(copied).runs) == 2


@pytest.mark.parametrize("begin, own", [("results/demo", True), ("results/other", False)])
def test_checkpoints_named_relative_to_the_checkout_are_known_from_elsewhere(results, begin, own):
    """evaluate writes `results/demo/split_01/...`; a notebook or `compare` may name the folder in full."""
    found = read_study(results.resolve()).runs[0]
    given = Path(begin) / found.folder.relative_to(results.resolve()) / "checkpoints/best.pth"
    found.results["checkpoint"] = str(given)
    assert found.trained_here is own


def test_a_study_of_given_checkpoints_has_no_history(copied):
    for path in copied.glob("split_*/seed_42/results.json"):
        path.write_text(path.read_text().replace("{", '{"checkpoint": "elsewhere/best.pth",', 1))
    with pytest.raises(UserError, match="nothing was trained here"):
        _ = read_study(copied).history


@pytest.mark.parametrize("text", ["[", "a: 1", "seeds: [1]", ""])
def test_a_folder_that_is_no_study(tmp_path, text):
    with pytest.raises(UserError, match=r"config\.yaml: no such file: give the folder that the setting results names"):
        read_study(tmp_path / "none")
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match="not the settings of a study of this version"):
        read_study(tmp_path)


def test_the_package_imports_nothing_of_it_before_it_is_asked_for():
    """scripts/doctor.py imports the package where no library is installed."""
    code = "import sys, stratamil; print(sorted({'numpy', 'pandas', 'yaml', 'torch'} & set(sys.modules)))"
    asked = [sys.executable, "-c", code]
    assert subprocess.run(asked, capture_output=True, text=True, cwd=REPOSITORY / "scripts").stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'read_studies'"):
        _ = stratamil.read_studies


def test_the_documentation_names_every_table():
    page = (REPOSITORY / "docs/reference/api.md").read_text(encoding="utf-8")
    for name in [*KEYS, "attention(case_id)", "settings", "classes", "folder", "runs"]:
        assert f"`study.{name}`" in page
    public = {name for name in vars(saved_study.SavedStudy) if not name.startswith("_")}
    assert public == {*KEYS, "attention", "classes", "runs"}


@pytest.mark.slow
def test_the_notebook_runs(results, tmp_path):
    shutil.copytree(results, tmp_path / "results/demo")
    (tmp_path / "docs/reference").mkdir(parents=True)
    output = tmp_path / "run.ipynb"
    command = [sys.executable, REPOSITORY / "docs/run_notebook.py", "--folder", tmp_path / "docs/reference"]
    subprocess.run([*command, "--output", output], check=True)
    assert "AUROC " in output.read_text(encoding="utf-8")


def test_the_notebook_has_the_outputs_of_the_demo_and_no_path_of_a_machine():
    text = (REPOSITORY / "docs/reference/read_a_study.ipynb").read_text(encoding="utf-8")
    assert "image/png" in text and "ename" not in text and len(text) < 300_000
    assert not re.search(r'"[^"]*/(home|root|tmp|work|Users)/', text)

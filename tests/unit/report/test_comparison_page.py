"""The page of a comparison, made by the script from studies on disk."""

import json
import shutil
from argparse import Namespace

import numpy as np
import pages
import pandas as pd
import pytest
import studies
from repository import REPOSITORY

import compare as script

pytestmark = pytest.mark.slow
NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three studies on disk, and the folder of their comparison; the second lacks a case and has other settings."""
    root = tmp_path_factory.mktemp("compared")
    names = ("plain", NASTY, "third")
    folders = [studies.write(root / "one")]
    for name in ("two", "three"):
        folders.append(root / name)
        shutil.copytree(folders[0], folders[-1])
    for file in (folders[1] / "split_01/seed_42/predictions.csv", folders[2] / "split_02/seed_42/predictions.csv"):
        table = pd.read_csv(file, dtype={"case_id": str})
        p = table["prob_benign"].to_numpy()[::-1]
        table = table.assign(
            prob_benign=p, prob_high_grade=1 - p, logit_benign=np.log(p), logit_high_grade=np.log(1 - p)
        )
        lost = int(file.parts[-4] != "three")
        table.iloc[lost:].to_csv(file, index=False)
        results = json.loads((file.parent / "results.json").read_text())
        (file.parent / "results.json").write_text(json.dumps(results | {"n": len(table) - lost}))
    config = folders[1] / "config.yaml"
    config.write_text(config.read_text() + "train: {lr: 0.5}\n")
    args = Namespace(
        folders=folders, names=list(names), bootstrap_samples=100, seed=1, colors=["#0072B2", "#D55E00"],
        title="Comparison", top_percent=5.0, template=REPOSITORY / "report/comparison.html.j2",
        output=root / "out/page",
    )  # fmt: skip
    script.main(args)
    return args


def test_everything_is_there_and_the_same_twice(made, tmp_path):
    again = Namespace(**vars(made) | {"output": made.output.with_name("again")})
    script.main(again)
    files = sorted(path.relative_to(made.output) for path in made.output.rglob("*") if path.is_file())
    assert {
        "index.html",
        "comparison.json",
        "metrics.csv",
        "cases.csv",
        "left_out.csv",
        "settings.csv",
        "summary.txt",
    } < set(map(str, files))
    assert [
        str(path) for path in files if (made.output / path).read_bytes() != (again.output / path).read_bytes()
    ] == []


def test_the_page_says_what_the_numbers_do(made):
    page, found = (made.output / "index.html").read_text(), json.loads((made.output / "comparison.json").read_text())
    assert NASTY not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert found["cases"] == 11 and sum(found["left_out"].values()) == 1 and len(found["pairs"]) == 3
    assert "adjusted" in page and "train.lr" in page and "3 comparisons" in page
    assert (made.output / "summary.txt").read_text().count("the pooled AUROC of") == 2  # of each but the first
    assert [side["training_cases"] for side in found["sides"]] == [[2, 2]] * 3  # as studies.write has them
    assert "<th>Cases that a model was trained on</th>" in page and "trained on: " not in page
    rows = pd.read_csv(made.output / "metrics.csv")
    assert set(rows.loc[rows["against"].notna(), "metric"]) >= {"fold_mean", "roc_auc", "sensitivity", "delong"}
    listed = pd.read_csv(made.output / "cases.csv")
    assert len(listed) == 11 and {f"right_{name}" for name in made.names} < set(listed)
    elements = pages.Elements(page)
    assert elements.unclosed == [] and pages.outside(elements.found) == []
    assert "report/index.html" not in page  # no study has its report


def test_a_study_with_a_report_has_a_link(made):
    (made.folders[0] / "report").mkdir(exist_ok=True)
    (made.folders[0] / "report/index.html").touch()
    script.main(Namespace(**vars(made) | {"output": made.output.with_name("linked")}))
    page = (made.output.with_name("linked") / "index.html").read_text()
    assert page.count('href="../../one/report/index.html"') == 1 and page.count("report/index.html") == 1
    (made.folders[0] / "report/index.html").unlink()


@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_shows_it_without_fault(made, tmp_path, width):
    found = pages.browse((made.output / "index.html").read_text(), width, "Spread", tmp_path)
    assert found["errors"] == [] and found["width"] <= found["screen"]
    shown = [float(text) for text in found["sorted"]]
    assert shown == sorted(shown) or shown == sorted(shown, reverse=True)

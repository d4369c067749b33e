"""A small study on precomputed features, through the whole DAG: no image is needed, and none is promised."""

import json
import os
import re

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from checkout import Checkout
from made_browser import called

pytestmark = pytest.mark.long
RESULTS = "results/elsewhere"
RUNS = [f"{RESULTS}/split_{split}/seed_1" for split in ("01", "02")]
AFTER = {
    "splits": 1,
    "duplicates": 1,
    "leaks": 1,
    "cohort": 1,
    "precomputed": 2,
    "train": 2,
    "retrain": 2,
    "baselines": 1,
}
AFTER |= {"evaluate": 2, "attention": 2, "perturb": 2, "faithfulness": 1, "report": 1, "browser": 1, "index": 1}
CONFIG = {
    "labels": "data/labels.csv",
    "results": RESULTS,
    "features": {"source": "precomputed", "manifest": "data/features/manifest.csv"},
    "splits": {"n_splits": 2, "validation": 0.2},
    "seeds": [1, 2],
    "embed": {"shards": 2},
    "model": {"embed_dim": 16, "attention_dim": 8},
    "train": {"epochs": 6, "lr": 0.01},
    "attention": {"max_cases": 2},
    "report": {"bootstrap_samples": 100, "retrained": ["mean"], "columns": ["Site"], "clinical": ["Site"]},
}


def write_features(folder):
    """36 cases of two stains, a file a slide, as TRIDENT writes it; a fifth of a positive case's patches differ."""
    rng, rows, labels = np.random.default_rng(3), [], []
    folder.mkdir(parents=True)
    for case in range(36):
        positive = case % 3 == 0
        labels.append((f"{case:03d}", 3 if positive else 1, "A <b>" if case % 2 else "B"))
        for stain in ("HE", "sox10"):
            n = int(rng.integers(10, 20))
            features = rng.normal(size=(1, n, 12)).astype("float32")
            features[0, : n // 5, 0] += 6 * positive
            with h5py.File(folder / f"{case}_{stain}.h5", "w") as file:
                file["features"] = features
                file["coords"] = rng.integers(0, 50_000, (n, 2))
                file["coords"].attrs["target_magnification"] = 20 if stain == "HE" else 10
            rows.append((f"{case}_{stain}.h5", case, stain, "match1"))
    rows.append(("other.h5", 1, "cd31", "match1"))
    with h5py.File(folder / "other.h5", "w") as file:
        file["features"], file["coords"] = np.ones((4, 12)), np.ones((4, 2))
    pd.DataFrame(rows, columns=["File", "Case", "Stain", "Slice"]).to_csv(folder / "manifest.csv", sep=";", index=False)
    pd.DataFrame(labels, columns=["Case", "Class", "Site"]).to_csv(folder.parent / "labels.csv", index=False)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished run; there is no PNG that it did not draw itself."""
    checkout = Checkout(tmp_path_factory.mktemp("elsewhere"))
    write_features(checkout.folder / "data/features")
    config = checkout.folder / "own.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    assert checkout.pending(configfiles=(config,)) == {"inventory": 1, **AFTER}
    done = checkout.snakemake("--", "all", configfiles=(config,))
    assert done.returncode == 0, done.stdout + done.stderr
    checkout.config = config
    return checkout


def test_the_planted_signal_is_found_and_attention_knows_where(study):
    for run in RUNS:
        assert json.loads((study.folder / run / "results.json").read_text())["roc_auc"] > 0.8
        attention = pd.read_parquet(study.folder / run / "patch_attention.parquet")
        for path, x, y in zip(attention["path"], attention["x"], attention["y"]):
            name, _, row = path.rpartition("#")
            with h5py.File(study.folder / "data/features" / name) as file:
                assert (x, y) == tuple(file["coords"][int(row)])
        top = pd.read_csv(study.folder / run / "attention_analysis/top_effective_patches_per_case_5.0pct.csv")
        where = attention.set_index("path").loc[top["path"]]
        assert np.array_equal(top[["x", "y"]], where[["x", "y"]])


def test_several_seeds_have_an_ensemble_that_is_drawn(study):
    for split in ("01", "02"):
        folder = study.folder / RESULTS / f"split_{split}"
        seeds, mean = [folder / f"seed_{seed}" for seed in (1, 2)], folder / "ensemble"
        tables = [pd.read_csv(run / "predictions.csv") for run in (*seeds, mean)]
        np.testing.assert_allclose(tables[2]["prob_benign"], (tables[0]["prob_benign"] + tables[1]["prob_benign"]) / 2)
        assert json.loads((mean / "results.json").read_text())["threshold"] is not None
        assert "ensemble of seeds 1, 2" in (mean / "results.txt").read_text()
        for run in (*seeds, mean):
            assert (run / "attention_analysis/summary.csv").is_file() and (run / "roc_curve.png").exists() == (
                run == mean
            )
            assert (run / "attention_analysis/attention_maps").exists() == (run == mean)


def test_pages_say_that_there_are_no_pictures_and_link_to_what_there_is(study):
    analysis = study.folder / RESULTS / "split_01/ensemble/attention_analysis"
    assert "no images" in (analysis / "attention_summary.txt").read_text()
    assert not (analysis / "patch_attention").exists()
    assert len(list((analysis / "attention_maps").glob("*.png"))) == 2
    page = study.folder / RESULTS / "report/index.html"
    text = page.read_text()
    assert "There are no images to show" in (study.folder / RESULTS / "cohort/index.html").read_text()
    assert "There is no colour baseline" in page.with_name("appendix.html").read_text()
    targets = [target for target in re.findall(r'href="([^"#]+)"', text) if "attention_analysis" in target]
    assert any("attention_maps" in target for target in targets)
    assert all((page.parent / target).is_file() for target in targets)
    assert not (study.folder / RESULTS / "cohort/samples.jpg").exists()
    browser = study.folder / RESULTS / "browser"
    case = called(browser / "data/cases.js", "cases")[0]["cases"][0]
    content = called(browser / f"data/{case['file']}.js", "patches")[1]
    assert content["images"] is None and not content["sheets"] and not (browser / "sprites").exists()
    assert len(content["patches"]["x"]) == case["n_patches"] and f"browser/index.html#case={case['key']}" in text


def test_stains_that_were_tiled_in_different_ways_are_a_warning(study):
    said = "The features of the stains were made in different ways: target_magnification is 20 in h&e, 10 in sox10."
    assert said in json.loads((study.folder / RESULTS / "cohort/cohort.json").read_text())["warnings"]
    assert said.replace("&", "&amp;") in (study.folder / RESULTS / "cohort/index.html").read_text()


def test_every_row_is_accounted_for(study):
    excluded = pd.read_csv(study.folder / RESULTS / "inventory/excluded.csv")
    assert excluded.loc[excluded["kind"] == "file", ["name", "patches"]].to_numpy().tolist() == [["other.h5", 4]]
    rows, patches = json.loads((study.folder / RESULTS / "report/metrics.json").read_text())["flow"]["sources"]
    found = len(pd.read_parquet(study.folder / RESULTS / "inventory/patches.parquet"))
    assert (rows["n"], patches["n"], patches["kept"]) == (36, found + 4, found)


def test_nothing_to_do_after_and_a_changed_file_reruns(study):
    assert study.pending(configfiles=(study.config,)) == {}
    file = study.folder / "data/features/3_HE.h5"
    content, times = file.read_bytes(), file.stat()
    file.write_bytes(content)
    assert study.pending(configfiles=(study.config,)) == {"inventory": 1, **AFTER}
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert study.pending(configfiles=(study.config,)) == {}


def test_faithfulness_knows_places_but_no_pictures(study):
    text = (study.folder / RESULTS / "faithfulness/faithfulness.json").read_text()
    found = {row["measure"]: row for row in json.loads(text)["findings"] if row["scope"] == "study"}
    assert found["distance_slice"]["estimate"]["value"] is not None and "number_slice" not in found
    for name in ("pixels", "bytes", "brightness"):
        of_case = found[f"{name}_case"]
        assert of_case["estimate"]["value"] is None and "it is not known" in of_case["sentence"]
    assert found["deletion_attention_predicted_high_grade"]["verdict"] == "above"
    assert found["deletion_contribution"]["estimate"]["low"] > 0


def test_a_seed_less_trains_nothing_and_one_more_only_itself(study):
    assert "train" not in study.pending(configfiles=(study.config,), changes={"seeds": [1]})
    first, third = (study.folder / RESULTS / f"split_01/seed_{seed}/checkpoints/best.pth" for seed in (1, 3))
    before = first.read_bytes()
    target = f"{RESULTS}/split_01/seed_3/checkpoints/best.pth"
    three = study.snakemake("--", target, configfiles=(study.config,), changes={"seeds": [1, 2, 3]})
    assert three.returncode == 0, three.stderr
    log = (study.folder / RESULTS / "logs/train/split_01.log").read_text()
    assert "seed 1 finished after" in log and "seed 2 finished after" in log
    assert before == first.read_bytes() and third.is_file()


def test_columns_of_the_labels_table_reach_both_pages_and_no_other_rule(study):
    table = pd.read_csv(study.folder / RESULTS / "report/characteristics.csv")
    of_all = table[table["group"] == "all"].set_index("level")["count"]
    assert of_all.to_dict() == {"A <b>": 18, "B": 18}
    page = (study.folder / RESULTS / "report/index.html").read_text()
    assert "A &lt;b&gt;" in page and "A <b>" not in page and '<section id="clinical">' in page
    without = {"report": {"columns": [], "clinical": []}}
    assert study.pending(configfiles=(study.config,), changes=without) == {"cohort": 1, "report": 1, "index": 1}
    unknown = study.snakemake("-n", configfiles=(study.config,), changes={"report": {"clinical": ["Sex"]}})
    line = "config: report.clinical: no column 'Sex' in data/labels.csv: it has 'Case', 'Class', 'Site'"
    assert unknown.returncode != 0 and line in unknown.stdout + unknown.stderr

"""A small study whose names are not plain: every output has the user's own spelling, and every file is there."""

import csv
import json
import re
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import yaml
from checkout import Checkout
from PIL import Image

from stratamil.core.names import column, file_name

pytestmark = pytest.mark.long

CLASSES = ["gutartig", "b\u00f6sartig (hg)"]
STAINS = ["\u03b1-SMA", "PD-L1 (22C3)"]
CASES = [*(f"TCGA-AA-{number:04d}" for number in range(1, 12)), "038"]
SLICES = ["DX1", "DX2", "101", "11"]
RESULTS = "results/names"
RUNS = [f"{RESULTS}/split_{split}/seed_1" for split in ("01", "02")]
CONFIG = {
    "patches": "data/patches",
    "labels": "data/labels.csv",
    "results": RESULTS,
    "cohort": {
        "patient_column": "Patient",
        "classes": [{CLASSES[0]: ["1"]}, {CLASSES[1]: ["3"]}],
    },
    "names": {
        "pattern": r"(?P<case>[^_]+)_(?P<slice>[^_]+)_(?P<stain>[^_]+)_(?P<patch>\d+)\.png$",
        "stains": [{stain: []} for stain in STAINS],
    },
    "splits": {"preset": "data/given_{split}.npz", "n_splits": 2},
    "seeds": [1],
    "embed": {
        "encoder": "stain_stats",
        "weights": "none",
        "input_size": 32,
        "pooling": "global",
        "shards": 1,
        "by_stain": {STAINS[0]: {"encoder": "stain_stats", "weights": "none", "input_size": 48, "pooling": "global"}},
    },
    "model": {"embed_dim": 8, "attention_dim": 4},
    "train": {"epochs": 2, "min_epochs": 1, "patience": 1},
    "attention": {"cases": ["tcga-aa-0001", "38"]},
    "report": {"bootstrap_samples": 100},
    "faithfulness": {"random_orders": 2},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The finished study. File names have cases in lower case and without zeros, as split files have."""
    checkout = Checkout(tmp_path_factory.mktemp("names"))
    rng, data = np.random.default_rng(0), checkout.folder / "data"
    (data / "patches").mkdir(parents=True)
    matched = [case.lower().lstrip("0") for case in CASES]
    for place, case in enumerate(matched):
        for stain in STAINS:
            for part in SLICES:
                for number in (1, 2):
                    pixels = rng.integers(100 + 60 * (place % 2), 220, (48, 48, 3), dtype="uint8")
                    Image.fromarray(pixels).save(data / "patches" / f"{case}_{part}_{stain}_{number}.png")
    with open(data / "labels.csv", "w", newline="", encoding="utf-8") as file:
        rows = [(case, "13"[place % 2], f"P-{place:02d}") for place, case in enumerate(CASES)]
        csv.writer(file).writerows([("Case", "Class", "Patient"), *rows])
    for name, order in (("01", matched), ("02", matched[6:] + matched[:6])):
        np.savez(data / f"given_{name}.npz", test_cases=order[:6], val_cases=order[6:9], train_cases=order[9:])
    config = checkout.folder / "own.yaml"
    config.write_text(yaml.safe_dump(CONFIG, allow_unicode=True), encoding="utf-8")
    done = checkout.snakemake("--", "all", configfiles=(config,))
    assert done.returncode == 0, done.stdout + done.stderr
    assert checkout.pending(configfiles=(config,)) == {}
    return checkout.folder


def test_every_row_joins_with_the_labels_and_the_files(study):
    labels = pd.read_csv(study / "data/labels.csv", dtype=str)
    files = [path.stem.split("_") for path in (study / "data/patches").iterdir()]
    slices = {(part, stain) for _, part, stain, _ in files}
    for run in RUNS:
        predictions = pd.read_csv(study / run / "predictions.csv", dtype={"case_id": str})
        assert len(predictions.merge(labels, left_on="case_id", right_on="Case")) == len(predictions) == 6
        attention = pd.read_parquet(study / run / "patch_attention.parquet")
        assert set(attention["case_id"]) == set(predictions["case_id"])
        assert set(zip(attention["slice_id"], attention["stain"])) == slices
        top = pd.read_csv(study / run / "attention_analysis/top_effective_patches_per_case_5.0pct.csv", dtype=str)
        assert set(top["case_id"]) == set(predictions["case_id"]) and set(top["slice"]) <= set(SLICES)
        with np.load(study / run / "data_splits.npz") as split:
            assert sorted(np.concatenate([split[name] for name in split])) == sorted(CASES)
    for name in ("inventory/cases.csv", "faithfulness/cases.csv", "baselines/predictions.csv"):
        assert set(pd.read_csv(study / RESULTS / name, dtype=str)["case_id"]) == set(CASES), name
    cases = pd.read_csv(study / RESULTS / "inventory/cases.csv", dtype=str)
    assert set(cases["patient_id"]) == set(labels["Patient"])


def test_names_stand_everywhere_as_in_the_config(study):
    for run in RUNS:
        results = json.loads((study / run / "results.json").read_text(encoding="utf-8"))
        assert (results["classes"], results["stains"]) == (CLASSES, STAINS)
        assert CLASSES[1] in (study / run / "results.txt").read_text(encoding="utf-8")
        predictions = pd.read_csv(study / run / "predictions.csv")
        assert {f"prob_{column(name)}" for name in CLASSES} < set(predictions)
        assert set(predictions["true_class"]) == set(CLASSES)
    page = (study / RESULTS / "report/index.html").read_text(encoding="utf-8")
    assert all(text in page for text in (*CLASSES, *STAINS, *CASES))


def test_files_have_portable_names_and_are_linked(study):
    written = list((study / RESULTS).rglob("*"))
    assert all(re.fullmatch("[A-Za-z0-9_&+.~-]+", path.name) for path in written)
    shown = [name for run in RUNS for name in (study / run / "attention_analysis/patch_attention").glob("*_top_*.png")]
    parts = [f"case_{case}_{file_name(stain)}_" for case in ("TCGA-AA-0001", "038") for stain in STAINS]
    assert all(any(path.name.startswith(part) for path in shown) for part in parts)
    assert {path.name[5:].split("_")[0] for path in shown} == {"TCGA-AA-0001", "038"}
    report = study / RESULTS / "report/index.html"
    links = re.findall(r'href="([^"#]+attention_analysis[^"]+)"', report.read_text(encoding="utf-8"))
    assert links and all((report.parent / unquote(link)).is_file() for link in links)

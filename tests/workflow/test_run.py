"""One small study through the whole DAG, then: what reruns when one thing changes."""

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile

import doc_pages
import numpy as np
import pandas as pd
import pytest
import yaml
from checkout import Checkout
from repository import REPOSITORY
from sklearn.metrics import roc_auc_score

from stratamil import load_bundle
from stratamil.features import store

RESULTS = "results/tiny"
RUNS = [f"{RESULTS}/split_{split}/seed_1" for split in ("01", "02")]
AFTER_EVALUATE = {"evaluate": 2, "attention": 2, "faithfulness": 1, "report": 1, "browser": 1, "index": 1}
AFTER_TRAIN = {"perturb": 2, **AFTER_EVALUATE}
AFTER_FEATURES = {"train": 2, "retrain": 2, "baselines": 1, **AFTER_TRAIN}
AFTER_SPLITS = {"leaks": 1, "cohort": 1, **AFTER_FEATURES}
AFTER_EMBED = {"duplicates": 1, **AFTER_SPLITS}
AFTER_INVENTORY = {"splits": 1, "embed": 2, "thumbnails": 2, **AFTER_EMBED}
OF_COHORT = {"cohort": 1, "report": 1, "index": 1}
EVERYTHING = {"demo": 1, "inventory": 1, **AFTER_INVENTORY}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished run of the tiny study."""
    checkout = Checkout(tmp_path_factory.mktemp("study"))
    assert checkout.pending() == EVERYTHING
    done = checkout.snakemake("--", "all", "bundle")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert f"Bundle: {RESULTS}/model/stratamil_report.zip" in said and "new_cases.yaml -- predict" in said
    return checkout


def test_a_cohort_that_preset_splits_refuse_is_not_encoded(study):
    """Also where a failed job leaves the others running."""
    for split in ("01", "02"):
        sets = {f"{name}_cases": ["nobody"] for name in ("train", "val", "test")}
        np.savez(study.folder / f"given_{split}.npz", **sets)
    changes = {"results": "results/refused", "splits": {"preset": "given_{split}.npz", "validation": None}}
    done = study.snakemake("--keep-going", "--", "all", changes=changes)
    said = done.stdout + done.stderr
    assert done.returncode and "train_cases, val_cases and test_cases name nobody, not in the labels table" in said
    assert (study.folder / "results/refused/inventory/cases.csv").is_file()
    assert not (study.folder / "results/refused/features").exists()


def test_every_promised_file_is_there(study):
    promised = [
        "inventory/patches.parquet", "inventory/cases.csv", "inventory/excluded.csv", "config.yaml",
        "splits/data_splits_01.npz", "features/stain_stats/shard_00.h5", "baselines/predictions.csv",
        "report/index.html", "report/metrics.csv", "report/metrics.json", "cohort/index.html",
        "cohort/cohort.json", "cohort/samples.jpg", "faithfulness/index.html", "faithfulness/faithfulness.csv",
        "browser/index.html", "browser/data/cases.js",
        "index.html", "report/figures/roc.svg", "report/figures/roc.png", "faithfulness/figures/curves.png",
        "faithfulness/faithfulness.json", "faithfulness/cases.csv", "faithfulness/figures/curves.svg",
        "model/stratamil_report.zip",
    ]  # fmt: skip
    of_run = [
        "checkpoints/best.pth", "history.csv", "model_loss.png", "settings.yaml", "predictions.csv",
        "validation_predictions.csv", "results.txt", "results.json", "confusion_matrix.png", "deviation_plot.png",
        "roc_curve.png", "pr_curve.png", "calibration_curve.png", "data_splits.npz", "patch_attention.parquet",
        "attention_analysis/attention_summary.txt", "attention_analysis/stain_attention_distribution.png",
        "attention_analysis/top_effective_patches_per_case_5.0pct.csv",
        "attention_analysis/top_effective_patches_per_case_summary_5.0pct.txt",
        "perturbation.csv", "perturbation_curves.csv", "perturbation_parts.csv", "retrained/mean.csv",
    ]  # fmt: skip
    promised = [f"{RESULTS}/{name}" for name in promised] + [f"{run}/{name}" for run in RUNS for name in of_run]
    assert [name for name in promised if not (study.folder / name).is_file()] == []
    for rule in EVERYTHING:
        assert list((study.folder / RESULTS / "benchmarks" / rule).glob("*.tsv")), rule
        assert list((study.folder / RESULTS / "logs" / rule).glob("*.log")), rule


OLD_TREE = (
    "results.txt", "results.json", "predictions.csv", "confusion_matrix.png", "deviation_plot.png", "model_loss.png",
    "data_splits.npz", "checkpoints/*.pth", "attention_analysis/attention_summary.txt",
    "attention_analysis/stain_attention_distribution.png",
    "attention_analysis/patch_attention/case_*_*_slice*_top_patches.png",
    "attention_analysis/patch_attention/case_*_*_slice*_bottom_patches.png",
    "attention_analysis/case_effective_patches/case_*_top_effective_patches.png",
    "attention_analysis/case_effective_patches/case_*_bottom_effective_patches.png",
    "attention_analysis/plots/effective_patch_attn_distro_case_*.png",
    "attention_analysis/slice_attention/slice_attn_rankplot_case_*.png",
    "attention_analysis/top_effective_patches_per_case_5.0pct.csv",
    "attention_analysis/top_effective_patches_per_case_summary_5.0pct.txt",
)  # fmt: skip


@pytest.mark.parametrize("run", RUNS)
def test_scripts_for_the_old_tool_find_its_files_columns_and_words(study, run):
    folder = study.folder / run
    assert [pattern for pattern in OLD_TREE if not list(folder.glob(pattern))] == []
    predictions = pd.read_csv(folder / "predictions.csv", dtype={"case_id": str})
    columns = ["case_id", "true_label", "predicted_label", "prob_benign", "prob_high_grade", "correct"]
    assert list(predictions)[:6] == columns
    classes = np.array(["benign", "high-grade"])
    for kind in ("true", "predicted"):
        assert (classes[predictions[f"{kind}_label"]] == predictions[f"{kind}_class"]).all()
    assert (predictions["predicted_label"] == (predictions["prob_high_grade"] > 0.5)).all()
    assert (predictions["correct"] == (predictions["true_label"] == predictions["predicted_label"])).all()
    text = (folder / "results.txt").read_text().lower()
    assert all(f"{word}: " in text for word in ("test loss", "accuracy", "number of samples", "checkpoint"))
    assert all(f"recall {name}: " in text for name in classes) and "(epoch " in text
    top = pd.read_csv(folder / "attention_analysis/top_effective_patches_per_case_5.0pct.csv")
    weights = [f"{name}_weight" for name in ("patch", "slice", "stain", "effective")]
    wanted = ["case_id", "stain", "slice", "patch", "path", *weights, "true_label", "pred_label"]
    assert [name for name in top if name in wanted] == wanted
    with np.load(folder / "data_splits.npz") as arrays:
        assert {"train_cases", "val_cases", "test_cases"} <= set(arrays)


def test_every_case_is_predicted_once_and_agrees_with_the_report(study):
    cases = pd.read_csv(study.folder / RESULTS / "inventory/cases.csv", dtype=str)
    predictions = pd.concat([pd.read_csv(study.folder / run / "predictions.csv", dtype=str) for run in RUNS])
    assert sorted(predictions["case_id"]) == sorted(cases.loc[cases["status"] == "used", "case_id"])
    with (study.folder / RESULTS / "report/metrics.csv").open() as file:
        auc = {(row["split"], row["metric"]): row["value"] for row in csv.DictReader(file) if row["level"] == "split"}
    for split, run in zip(("01", "02"), RUNS):
        result = json.loads((study.folder / run / "results.json").read_text())
        assert float(auc[split, "roc_auc"]) == pytest.approx(result["roc_auc"])


def test_attention_names_files_that_exist(study):
    attention = pd.read_parquet(study.folder / RUNS[0] / "patch_attention.parquet")
    patches = pd.read_parquet(study.folder / RESULTS / "inventory/patches.parquet").set_index("path")
    assert (patches.loc[attention["path"], "case_id"].to_numpy() == attention["case_id"]).all()
    assert all((study.folder / "resources/tiny/patches" / path).is_file() for path in attention["path"])


def test_perturbed_cases_are_those_that_were_predicted(study):
    """The whole bag gives the same probabilities, its parts have the weights of their patches."""
    for run in RUNS:
        read = {name: pd.read_csv(study.folder / run / f"{name}.csv") for name in ("predictions", "perturbation")}
        same = ["case_id", "true_class", "predicted_class", "prob_benign", "prob_high_grade", "patches"]
        pd.testing.assert_frame_equal(read["predictions"][same], read["perturbation"][same], rtol=1e-4)
        parts = pd.read_csv(study.folder / run / "perturbation_parts.csv", dtype={"case_id": str})
        attention = pd.read_parquet(study.folder / run / "patch_attention.parquet")
        for level, keys in (("stain", ["case_id", "stain"]), ("slice", ["case_id", "stain", "slice_id"])):
            weights = attention.groupby(keys)["effective_weight"].sum()
            found = parts[parts["level"] == level].set_index(keys)["weight"]
            pd.testing.assert_series_equal(
                found.sort_index(), weights.sort_index(), check_names=False, check_dtype=False, rtol=1e-4
            )
    rows = pd.read_csv(study.folder / RESULTS / "faithfulness/faithfulness.csv")
    assert set(rows["scope"]) == {"study", *(f"split {split}, seed 1" for split in ("01", "02"))}


def test_attention_finds_the_planted_patches(study):
    truth = pd.read_csv(study.folder / "resources/tiny/truth.csv").set_index("file")["signal"]
    for run in RUNS:
        patches = pd.read_parquet(study.folder / run / "patch_attention.parquet")
        predictions = pd.read_csv(study.folder / run / "predictions.csv", dtype={"case_id": str}).set_index("case_id")
        signal = truth[patches["path"]].to_numpy()
        cases = patches.assign(signal=signal).groupby("case_id")
        aucs = [
            roc_auc_score(case["signal"], case["effective_weight"])
            for name, case in cases
            if predictions.loc[name, "true_class"] == "high-grade" and 0 < case["signal"].mean() < 1
        ]
        told = json.loads((study.folder / run / "attention_analysis/truth_auc.json").read_text())
        assert told["cases"] == len(aucs) >= 3 and told["mean_auc"] == pytest.approx(np.mean(aucs), abs=1e-6)
        assert told["margin_auc"] > 0.75  # of colour features, which hardly see what tells the classes


def test_contributions_and_bias_add_up_to_the_logits_of_the_files(study):
    for run in RUNS:
        bias = json.loads((study.folder / run / "results.json").read_text())["bias"]
        predictions = pd.read_csv(study.folder / run / "predictions.csv", dtype={"case_id": str}).set_index("case_id")
        cases = pd.read_parquet(study.folder / run / "patch_attention.parquet").astype({"case_id": str})
        for name, column in (("benign", "benign"), ("high-grade", "high_grade")):
            total = cases.groupby("case_id")[f"contribution_{column}"].apply(lambda values: values.astype(float).sum())
            logits = predictions[f"logit_{column}"]
            assert ((total[logits.index] + bias[name] - logits).abs() < 1e-5).all()


def test_the_page_of_outputs_has_every_file_and_column(study):
    """docs/reference/outputs.md: nothing of a finished study is missing there, and nothing there is made up."""
    root, said = study.folder / RESULTS, doc_pages.outputs()
    made = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    assert [name for name in made if not any(doc_pages.fits(name, each) for each in said)] == []
    assert [each.pattern for each in said if each.always and not any(doc_pages.fits(name, each) for name in made)] == []
    tables = [path for path in made.values() if path.suffix in (".csv", ".parquet", ".tsv")]
    for path in tables:
        name = path.relative_to(root).as_posix()
        told = next(each.columns for each in said if doc_pages.fits(name, each))
        kinds = {doc_pages.pattern(column): always for column, always in told.items()}
        separator = "\t" if path.suffix == ".tsv" else ","
        columns = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, sep=separator, nrows=1)
        assert [column for column in columns if not any(kind.match(column) for kind in kinds)] == [], name
        unseen = [kind.pattern for kind, always in kinds.items() if always and not any(map(kind.match, columns))]
        assert unseen == [], name


def test_nothing_to_do_after_a_finished_run(study):
    assert study.pending() == {}


@pytest.mark.parametrize(
    "changes, expected",
    [
        (
            {"report": {"colors": ["#112233", "#445566"]}},
            {"cohort": 1, "faithfulness": 1, "report": 1, "browser": 1, "index": 1},
        ),
        ({"faithfulness": {"random_orders": 3}}, {"perturb": 2, "faithfulness": 1, "report": 1, "index": 1}),
        (
            {"attention": {"top_percent": 10.0}},
            {"attention": 2, "perturb": 2, "faithfulness": 1, "report": 1, "index": 1},
        ),
        ({"attention": {"top_n": 3}}, {"attention": 2, "report": 1, "index": 1}),
        ({"attention": {"cases": [1, "2"]}}, {"attention": 2, "report": 1, "index": 1}),
        ({"evaluate": {"threshold": 0.9}}, AFTER_EVALUATE),
        ({"train": {"epochs": 4}}, {"train": 2, "retrain": 2, **AFTER_TRAIN}),
        ({"model": {"gated": True}}, {"train": 2, **AFTER_TRAIN}),  # of which a mean has no use
        ({"model": {"aggregation": "mean"}}, {"train": 2, **AFTER_TRAIN}),
        ({"report": {"retrained": ["mean", "flat"]}}, {"retrain": 2, "report": 1, "index": 1}),
        ({"report": {"retrained": []}}, {"faithfulness": 1, "report": 1, "index": 1}),
        ({"report": {"learning_curve": True}}, {"retrain": 6, "report": 1, "index": 1}),
        ({"seeds": [1, 2]}, {"train": 2, "retrain": 2, **AFTER_TRAIN}),
        ({"attention": {"runs": "all"}}, {"attention": 2, "report": 1, "index": 1}),
        ({"browser": {"px": 48}}, {"thumbnails": 2, "browser": 1, "index": 1}),
        ({"browser": {"patches": "top"}}, {"thumbnails": 2, "browser": 1, "index": 1}),
        ({"browser": {"enabled": False}}, {"report": 1, "index": 1}),
        ({"splits": {"seed": 7}}, {"splits": 1, **AFTER_SPLITS}),
        ({"cohort": {"duplicates": "merge"}}, {"splits": 1, **AFTER_SPLITS}),
        ({"cohort": {"quality": {"pen": "keep"}}}, {"cohort": 1, "report": 1, "index": 1}),
        ({"cohort": {"quality": {"pen": "exclude"}}}, {"embed": 2, **AFTER_EMBED}),
        (
            {"embed": {"encoder": "efficientnet_lite0", "weights": "default"}},
            {"weights": 1, "embed": 2, **AFTER_EMBED},
        ),
        (
            {"cohort": {"classes": [{"benign": ["1"]}, {"high-grade": ["2", "3", "4"]}], "excluded_codes": ["0"]}},
            {"inventory": 1, **AFTER_INVENTORY},
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_setting_reruns_what_depends_on_it(study, changes, expected):
    shutil.copy(study.folder / RUNS[0] / "checkpoints/best.pth", study.folder / "given.pth")
    assert study.pending(changes=changes) == expected


@pytest.mark.parametrize(
    "path, expected",
    [
        ("report/door.html.j2", {"index": 1}),
        ("scripts/report.py", {"report": 1, "index": 1}),
        ("report/index.html.j2", {"report": 1, "index": 1}),
        ("report/cohort.html.j2", {"cohort": 1, "report": 1, "index": 1}),
        ("report/faithfulness.html.j2", {"faithfulness": 1, "report": 1, "index": 1}),
        ("report/base.html.j2", {"cohort": 1, "faithfulness": 1, "report": 1, "index": 1}),
        ("scripts/stratamil/explain/findings.py", {"faithfulness": 1, "report": 1, "index": 1}),
        ("scripts/stratamil/explain/perturb.py", {"perturb": 2, "faithfulness": 1, "report": 1, "index": 1}),
        ("scripts/stratamil/report/samples.py", {"cohort": 1, "report": 1, "index": 1}),
        ("scripts/stratamil/report/galleries.py", {"attention": 2, "report": 1, "index": 1}),
        ("scripts/stratamil/report/plots.py", AFTER_EVALUATE),
        ("scripts/stratamil/report/case_plots.py", {"attention": 2, "report": 1, "index": 1}),
        ("scripts/stratamil/evaluation/metrics_table.py", {"report": 1, "index": 1}),
        ("scripts/stratamil/features/near_duplicates.py", {"duplicates": 1, "leaks": 1, **OF_COHORT}),
        ("scripts/leaks.py", {"leaks": 1}),  # no training depends on what it says
        ("scripts/train.py", {"train": 2, **AFTER_TRAIN}),
        ("scripts/stratamil/mil/model.py", {"train": 2, "retrain": 2, **AFTER_TRAIN}),
        ("scripts/retrain.py", {"retrain": 2, "faithfulness": 1, "report": 1, "index": 1}),
        ("scripts/stratamil/evaluation/retrained.py", {"faithfulness": 1, "report": 1, "index": 1}),
        ("scripts/stratamil/features/networks.py", {"embed": 2, **AFTER_EMBED}),
        ("scripts/stratamil/features/cache.py", {"embed": 2, "thumbnails": 2, **AFTER_EMBED}),
        ("scripts/thumbnails.py", {"thumbnails": 2, "browser": 1, "index": 1}),
        ("report/browser/index.html", {"browser": 1, "index": 1}),
        ("scripts/stratamil/features/quality.py", {"cohort": 1, "report": 1, "index": 1}),
        ("scripts/stratamil/cohort/labels.py", {"inventory": 1, **AFTER_INVENTORY}),
    ],
)
def test_an_edit_reruns_what_it_affects(study, path, expected):
    file = study.folder / path
    text = file.read_text()
    file.write_text(text + "\n# edited\n" if path.endswith(".py") else text + "\n")
    try:
        assert study.pending() == expected
    finally:
        file.write_text(text)


def test_a_touch_or_a_fresh_checkout_reruns_nothing(study, tmp_path):
    """Nor does an edit that was taken back, as those above."""
    assert study.pending() == {}
    for path in study.folder.rglob("*"):
        if path.is_file() and path.relative_to(study.folder).parts[0] not in ("results", "resources", ".snakemake"):
            os.utime(path)
    assert study.pending() == {}
    moved = tmp_path / "elsewhere"
    shutil.copytree(study.folder, moved, symlinks=True, ignore=shutil.ignore_patterns("cache"))
    assert Checkout(moved).pending() == {}


def test_new_changed_and_removed_patches_and_labels_put_back_are_noticed(study):
    """On a cohort that is not painted: the demo's folder belongs to its rule."""
    own = {"demo": None, "patches": "own", "labels": "own.csv", "results": "results/own", "attention": {"truth": None}}
    folder, labels = study.folder / "own", study.folder / "own.csv"
    shutil.copy(study.folder / "resources/tiny/labels.csv", labels)
    # without the file by which Snakemake tells the time of a folder that it made itself
    painted = study.folder / "resources/tiny/patches"
    shutil.copytree(painted, folder / "a/b", ignore=shutil.ignore_patterns(".snakemake_timestamp"))
    assert study.snakemake("--until", "inventory", changes=own).returncode == 0
    assert "inventory" not in study.pending(changes=own)
    shutil.copy(next(folder.glob("a/b/case_*melan*.png")), folder / "a/b/case_1_match_9_melan_patch1.png")
    assert study.pending(changes=own)["inventory"] == 1
    assert study.snakemake("--until", "inventory", changes=own).returncode == 0
    assert "inventory" not in study.pending(changes=own)
    changed = folder / "a/b/case_1_match_9_melan_patch1.png"
    changed.write_bytes(next(folder.glob("a/b/case_*sox10*.png")).read_bytes())  # in place: its folder keeps its time
    assert study.pending(changes=own)["inventory"] == 1
    assert study.snakemake("--until", "inventory", changes=own).returncode == 0
    assert "inventory" not in study.pending(changes=own)
    changed.unlink()
    assert study.pending(changes=own)["inventory"] == 1
    assert study.snakemake("--until", "inventory", changes=own).returncode == 0
    labels.write_text(labels.read_text() + "\n999,1,p999\n")
    os.utime(labels, (0, 0))
    assert study.pending(changes=own)["inventory"] == 1


def test_a_job_does_not_look_at_the_patches_again(study):
    """Snakemake in a job reads the rules anew; the run that started it has looked."""
    own = {"demo": None, "patches": "resources/tiny/patches", "results": "results/job", "attention": {"truth": None}}
    file, note = study.folder / "scripts/stratamil/cohort/folders.py", study.folder / "looked"
    text = file.read_text()
    file.write_text(
        f"{text}\n\n_look = look\n\n\ndef look(*args):\n"
        f"    with open({str(note)!r}, 'a') as file:\n        file.write('x')\n    return _look(*args)\n"
    )
    try:
        assert study.snakemake("--until", "inventory", changes=own).returncode == 0
        assert note.read_text() == "x"
        job = ("--mode", "subprocess", "--target-jobs", "splits:", "--allowed-rules", "splits", "--nolock", "--force")
        done = study.snakemake(*job, changes=own)
        assert done.returncode == 0 and (study.folder / "results/job/splits/data_splits_01.npz").is_file(), done.stderr
        assert note.read_text() == "x"
        assert {"inventory", "splits"}.isdisjoint(study.pending(changes=own))
        assert note.read_text() == "xx"
    finally:
        file.write_text(text)


@pytest.mark.long
def test_a_stain_with_an_encoder_of_its_own(study):
    """Its features have columns of their own, and a change of its encoder encodes its patches only."""
    sox10 = {"encoder": "stain_stats", "input_size": 64}
    lite0 = {"encoder": "efficientnet_lite0", "weights": "default", "input_size": 64}
    own = {"results": "results/blocks", "embed": lite0 | {"shards": 1, "by_stain": {"sox10": sox10}}}
    targets = ["results/blocks/split_01/seed_1/results.json", "results/blocks/baselines/predictions.csv"]
    done = study.snakemake("--", targets[1], changes=own)
    assert done.returncode == 0, done.stdout + done.stderr
    folders = [study.folder / "results/blocks/features" / name for name in ("efficientnet_lite0", "stain_stats_sox10")]
    found = store.read([shard for folder in folders for shard in sorted(folder.glob("*.h5"))])
    values = found.values[:]
    is_sox10 = (found.table["stain"] == "sox10").to_numpy()
    assert is_sox10.any() and not is_sox10.all() and found.values.shape[1] == 1280 + 60
    assert not values[is_sox10, :1280].any() and not values[~is_sox10, 1280:].any()
    assert values[is_sox10, 1280:].any(axis=1).all() and values[~is_sox10, :1280].any(axis=1).all()
    whole = store.read(sorted((study.folder / RESULTS / "features/stain_stats").glob("*.h5")))
    assert whole.table["path"].tolist() == found.table["path"].tolist()
    np.testing.assert_array_equal(found.colour[:], whole.colour[:])  # of each encoder the same, at any input size
    assert np.array_equal(whole.colour[:], whole.values[:])
    assert study.pending("--", targets[1], changes=own) == {}
    # weights are shared by all studies of a checkout, of which one may name their hash, or fetch them again
    other = {"embed": own["embed"] | {"weights_sha256": "0" * 64}, "results": "results/other"}
    assert "weights" not in study.pending("--", "results/other/features/efficientnet_lite0/shard_00.h5", changes=other)
    assert study.pending("-R", "weights", "--", targets[1], changes=own) == {"weights": 1}
    own["embed"]["by_stain"]["sox10"] = sox10 | {"input_size": 96}
    after = {"embed": 1, "duplicates": 1, "leaks": 1, "train": 1, "evaluate": 1, "baselines": 1}
    assert study.pending("--", *targets, changes=own) == after
    own["embed"]["by_stain"]["sox10"] = {"encoder": "squeezenet1_1", "weights": "none"}
    assert study.pending("--", *targets, changes=own) == after


def test_a_column_that_the_labels_table_lacks_is_one_line(study):
    done = study.snakemake("-n", changes={"report": {"columns": ["Scanner"]}})
    line = "config: report.columns: no column 'Scanner' in resources/tiny/labels.csv: it has 'Case', 'Class', 'Patient'"
    assert done.returncode != 0 and line in done.stdout + done.stderr and "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("target", ["predict", "validate"])
def test_a_target_of_new_cases_without_a_bundle_is_one_line(study, target):
    done = study.snakemake("-n", "--", target)
    assert done.returncode == 1 and "config: predict.bundle: predict and validate need a bundle" in done.stdout
    assert "MissingRule" not in done.stdout


def test_one_split_alone(study):
    target = f"{RUNS[1]}/attention_analysis"
    assert study.pending("-R", "attention", "--", target) == {"attention": 1}
    before = {path: path.stat().st_mtime_ns for path in (study.folder / RESULTS).rglob("*.csv")}
    done = study.snakemake("-R", "attention", "--", target)
    assert done.returncode == 0, done.stderr
    changed = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed
    assert all(path.is_relative_to(study.folder / target) for path in changed)
    # the report follows, and nothing else
    assert study.pending() in ({}, {"report": 1, "index": 1})


@pytest.mark.long
def test_a_moved_picture_is_a_gap_and_an_unknown_case_one_line(study):
    """Without a wish to take the inventory anew: the rules that may run are named."""
    target = study.folder / RUNS[1] / "attention_analysis"
    alone = ("-R", "attention", "--allowed-rules", "attention", "--", f"{RUNS[1]}/attention_analysis")
    tables = {file.name: file.read_bytes() for file in target.glob("*.*") if file.suffix in (".csv", ".txt")}
    (target / "note.md").write_text("mine")
    gallery = next(target.glob("case_effective_patches/*_top_*.png"))
    case = gallery.name.split("_")[1]
    before, content = stamps(study), gallery.read_bytes()
    patches = pd.read_parquet(study.folder / RUNS[1] / "patch_attention.parquet")
    path = patches.query("case_id == @case and rank == 1")["path"].item()
    picture = study.folder / "resources/tiny/patches" / path
    folder = picture.parent.stat()
    picture.rename(study.folder / "moved.png")
    try:
        done = study.snakemake(*alone)
        assert done.returncode == 0, done.stdout + done.stderr
        log = (study.folder / RESULTS / "logs/attention/split_02.log").read_text()
        assert f"not drawn: {path}: file not found" in log
        assert {name: (target / name).read_bytes() for name in tables} == tables
        assert gallery.read_bytes() != content
        done = study.snakemake(*alone, changes={"attention": {"cases": [case, "no-such"]}})
        assert done.returncode == 1
        assert "error: attention.cases: no-such: in no test set of the study" in done.stdout + done.stderr
        assert not (target / "summary.csv").exists() and (target / "note.md").read_text() == "mine"
    finally:
        (study.folder / "moved.png").rename(picture)
        os.utime(picture.parent, ns=(folder.st_atime_ns, folder.st_mtime_ns))
    done = study.snakemake(*alone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert gallery.read_bytes() == content
    assert {path for path, time in stamps(study).items() if before.get(path) != time} <= set(target.rglob("*"))


@pytest.mark.long
def test_what_others_laid_into_the_results_stays(study):
    """Every rule but those whose outputs are the same files always, and every folder that there is."""
    places = [path for path in (study.folder / RESULTS).rglob("*") if path.is_dir()]
    notes = {place / name: name.encode() for place in places for name in ("mine.md", "mine.png", "events.out.mine")}
    for note, content in notes.items():
        note.write_bytes(content)
    assert study.pending() == {}
    done = study.snakemake("-R", "cohort", "evaluate", "--", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [str(note) for note, content in notes.items() if not note.exists() or note.read_bytes() != content] == []
    for note in notes:
        note.unlink()


def test_studies_are_compared_in_a_file_of_their_own(study):
    shutil.copytree(study.folder / RESULTS, study.folder / "results/twin", dirs_exist_ok=True)
    file = study.folder / "compare.yaml"
    file.write_text("compare: [results/tiny, results/twin]\n")
    assert study.pending(configfiles=(file,)) == {"compare": 1}
    assert study.pending("--", "compare", configfiles=(file,)) == {"compare": 1}
    done = study.snakemake("-n", "--", "compare")
    assert "config: compare: name the folders of two studies or more, in a file of their own" in done.stdout
    file.write_text("compare: [results/tiny, results/tiny/../tiny, results/gone]\nseeds: [1]\n")
    done = study.snakemake("-n", configfiles=(file,))
    assert done.returncode and "Traceback" not in done.stdout
    for line in ("the same settings name a study (seeds)", "given 2 times", "results/gone: no finished study"):
        assert line in done.stdout


@pytest.mark.long
def test_a_comparison_of_a_study_with_itself(study):
    shutil.copytree(study.folder / RESULTS, study.folder / "results/twin", dirs_exist_ok=True)
    file = study.folder / "compare.yaml"
    file.write_text("compare: [results/tiny, results/twin]\n")
    done = study.snakemake("--", "compare", configfiles=(file,))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "have the same AUROC: no difference can be seen." in done.stdout + done.stderr
    assert study.pending(configfiles=(file,)) == {}
    found = json.loads((study.folder / "results/comparison/comparison.json").read_text())
    assert found["attention"][0]["correlation"]["value"] == pytest.approx(1)


@pytest.mark.long
def test_a_run_says_whether_the_report_of_earlier_settings_is_replaced(study, tmp_path):
    shutil.copytree(study.folder, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns("cache"))
    copy, changes = Checkout(tmp_path / "copy"), {"report": {"colors": ["#112233", "#445566"]}}
    done = copy.snakemake("--", "cohort", changes=changes | {"evaluate": {"threshold": 0.9}})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "evaluate.threshold: youden -> 0.9" in done.stderr
    assert "The report is still that of the earlier settings: run without `-- cohort` to renew it." in done.stderr
    report = copy.folder / RESULTS / "report/index.html"
    before = report.read_bytes()
    done = copy.snakemake("--", "all", changes=changes | {"evaluate": {"threshold": 0.8}})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The report of the earlier settings is replaced; to keep both, set another `results`." in done.stderr
    assert report.read_bytes() != before


@pytest.mark.parametrize(
    "results, flags",
    [(".", "-n"), ("..", "-n"), ("labels.csv", "-n"), ("results/others", "-n"), ("results/others", "-q")],
)
def test_a_folder_that_is_not_the_workflow_s_is_refused_and_nothing_written(study, results, flags):
    (study.folder / "results/others/report").mkdir(parents=True, exist_ok=True)
    (study.folder / "results/others/report/thesis.tex").write_text("mine")
    (study.folder / "labels.csv").touch()
    done = study.snakemake(flags, changes={"results": results})
    said = [line for line in (done.stdout + done.stderr).splitlines() if "config: results: " in line]
    assert done.returncode == 1 and len(said) == 1
    assert [path.name for path in (study.folder / "results/others").rglob("*")] == ["report", "thesis.tex"]


def stamps(study):
    """When each result was written, but for logs and times."""
    files = (path for path in (study.folder / RESULTS).rglob("*") if path.is_file())
    own = study.folder / RESULTS / "config.yaml", study.folder / RESULTS / "logs", study.folder / RESULTS / "benchmarks"
    return {path: path.stat().st_mtime_ns for path in files if not any(path.is_relative_to(folder) for folder in own)}


def test_snakemake_report(study):
    done = study.snakemake("--report", "report.zip")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(study.folder / "report.zip") as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
        page = archive.read("report/report.html").decode()
    assert {"index.html", "roc.svg", "calibration_1.svg", "flow.svg", "confusion_matrix.png"} <= names
    assert "True against most probable class of all cases out of fold" in page  # a figure's own caption


def test_lint_and_format(study):
    done = study.snakemake("--lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_config_file_says_the_schema_s_defaults():
    schema = yaml.safe_load((REPOSITORY / "schemas/config.schema.yaml").read_text())["properties"]
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    for section, entry in schema.items():
        if "properties" in entry and section != "demo":
            assert config[section] == {key: default(value) for key, value in entry["properties"].items()}, section
        else:
            assert config[section] == entry["default"], section


def default(setting):
    """Of a mapping of settings, those of each."""
    within = setting.get("properties")
    return {key: default(value) for key, value in within.items()} if within else setting["default"]


def test_reference_names_every_setting():
    schema = yaml.safe_load((REPOSITORY / "schemas/config.schema.yaml").read_text())["properties"]
    reference = (REPOSITORY / "config/README.md").read_text()
    for section, entry in schema.items():
        for key, setting in entry.get("properties", {}).items():
            within = {f"{key}.{inner}": each for inner, each in setting.get("properties", {}).items()} or {key: setting}
            for name, each in within.items():
                assert f"| `{section}.{name}` |" in reference and each["description"] in reference


def test_the_bundle_predicts_test_cases_as_evaluate_did(study):
    """From images to the last digit, attention included, by the models of the split that tested them."""
    shards = sorted((study.folder / RESULTS / "features/stain_stats").glob("*.h5"))
    for split, run in zip(("01", "02"), RUNS):
        model = load_bundle(study.folder / RESULTS / "model/stratamil_report.zip", split)
        was = pd.read_csv(study.folder / run / "predictions.csv", dtype={"case_id": str})
        attention = pd.read_parquet(study.folder / run / "patch_attention.parquet")
        features = store.read(shards, was["case_id"])
        for row in was.to_dict("records"):
            found = model.of_case(features, row["case_id"])
            wanted = [row["prob_benign"], row["prob_high_grade"]]
            np.testing.assert_allclose(found.probabilities, wanted, rtol=0, atol=1e-6)
            own = attention[attention["case_id"] == row["case_id"]].reset_index(drop=True)
            told = found.attention.reset_index(drop=True)[list(own)].astype(own.dtypes)
            pd.testing.assert_frame_equal(told, own, atol=1e-6, rtol=0)


@pytest.mark.long
def test_new_cases_are_predicted_from_the_bundle_alone(study):
    """By the rule, and by the script; a case that comes later is encoded alone."""
    new, painted = study.folder / "new", study.folder / "resources/tiny/patches"
    new.mkdir()
    shutil.copy(study.folder / RESULTS / "model/stratamil_report.zip", study.folder / "model.zip")
    tested = pd.read_csv(study.folder / RUNS[0] / "predictions.csv", dtype=str)["case_id"]
    cases = [case for case in tested if any(painted.glob(f"case_{case}_*"))][:3]
    for case in cases[:2]:
        for path in painted.glob(f"case_{case}_*"):
            shutil.copy(path, new / path.name.replace(f"case_{case}_", f"case_9{case}_"))
    (study.folder / "new.yaml").write_text(
        "results: results/hospital\npredict: {bundle: model.zip, patches: new, name: spring}\n"
        "attention: {max_cases: 1}\n"
    )
    alone = {"configfiles": [study.folder / "new.yaml"]}
    assert study.pending("--", "predict", **alone) == {"predict": 1}
    done = study.snakemake("--", "predict", **alone)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "2 cases: " in said and "-- validate" not in said, said  # there are no labels
    out = study.folder / "results/hospital/predict/spring"
    assert (
        study.pending("--", "predict", **alone) == {} and not (study.folder / "results/hospital/config.yaml").exists()
    )
    first = pd.read_csv(out / "predictions.csv", dtype={"case_id": str})
    assert sorted(first["case_id"]) == sorted(f"9{case}" for case in cases[:2]) and "true_class" not in first
    assert first["flags"].str.contains("known_case").all()
    assert list(out.glob("attention_analysis/case_effective_patches/*.png")) and (out / "index.html").is_file()
    for path in painted.glob(f"case_{cases[2]}_*"):
        shutil.copy(path, new)
    assert study.pending("--", "predict", **alone) == {"predict": 1}
    encoded = {path: path.stat().st_mtime_ns for path in out.glob("features/*/*.h5")}
    command = [sys.executable, "scripts/predict.py", "--bundle", "model.zip", "--patches", "new", "--no-galleries"]
    done = subprocess.run([*command, "--output", out], cwd=study.folder, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    after = {path: path.stat().st_mtime_ns for path in out.glob("features/*/*.h5")}
    assert {path: after[path] for path in encoded} == encoded and len(after) == 3
    again = pd.read_csv(out / "predictions.csv", dtype={"case_id": str}).set_index("case_id")
    pd.testing.assert_frame_equal(again.loc[first["case_id"]], first.set_index("case_id"))


def test_a_prediction_that_cannot_be_is_one_line_before_anything_runs(study):
    bundle = f"{RESULTS}/model/stratamil_report.zip"
    (study.folder / "half.zip").write_bytes((study.folder / bundle).read_bytes()[:5000])
    wanted = {"results": "results/none", "predict": {"bundle": bundle, "patches": "resources/tiny/patches"}}
    for changes, line in (
        ({"predict": {"bundle": "half.zip"}}, "half.zip: not a bundle, or a damaged or truncated one"),
        ({"predict": {"bundle": "none.zip"}}, "none.zip: no such file"),
        ({"predict": {"patches": "Snakefile"}}, "predict.patches: Snakefile: a file, but the model takes patch images"),
        ({"train": {"epochs": 3}}, "predict.bundle: the same settings name a study (train)"),
        (
            {"cohort": {"classes": [{"a": ["1"]}, {"b": ["3"]}]}},
            "cohort.classes: a, b, but the model has benign, high-",
        ),
    ):
        config = {**wanted, **changes, "predict": wanted["predict"] | changes.get("predict", {})}
        done = study.snakemake("-n", "--", "predict", configfiles=(), changes=config)
        said = [text for text in (done.stdout + done.stderr).splitlines() if line in text]
        assert done.returncode == 1 and len(said) == 1, done.stdout + done.stderr
    assert not (study.folder / "results/none").exists()

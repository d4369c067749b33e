"""The cross-split report on tiny made-up runs: its numbers, its page, and what it refuses."""

import itertools
import json
import re
import subprocess
import sys
from html import unescape

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from pages import Elements, browse, dom, outside
from scipy.special import expit, logit, softmax
from sklearn.metrics import roc_auc_score

import report as script
from stratamil.cohort import splits
from stratamil.core import files, tables
from stratamil.core.errors import UserError
from stratamil.core.names import column
from stratamil.evaluation import cross_split, study
from stratamil.features import seal
from stratamil.report import cohort_summary, report_text, sentences_performance, study_figures, study_page
from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate

TEMPLATE = REPOSITORY / "report/index.html.j2"
NASTY = "<script>alert(1)</script>"
PLAN = {"preset": "splits/{split}.npz"}


class Made:
    """Runs of 2 splits a repeat, of `n` cases each, on disk as the workflow writes them."""

    patient_column = "Patient"

    def __init__(
        self,
        root,
        classes=("benign", "high-grade"),
        seeds=(1,),
        n=12,
        one_class=None,
        odd=None,
        history=True,
        repeats=1,
        signal=2,
    ):
        self.signal = signal
        self.root, self.classes, self.seeds = root, list(classes), list(seeds)
        random = np.random.default_rng(0)
        self.ids = [str(i) for i in range(1, 2 * n + 1)]
        if odd:
            self.ids[3] = odd
        self.y = np.arange(2 * n) % len(classes)
        if one_class is not None:
            self.y[:n] = one_class
        sets = {}
        for repeat in range(repeats):
            order = np.random.default_rng(repeat).permutation(2 * n) if repeat else np.arange(2 * n)
            sets |= {f"{2 * repeat + 1:02d}": np.sort(order[:n]), f"{2 * repeat + 2:02d}": np.sort(order[n:])}
        self.write_tables(sets)
        baseline = []
        for split, test in sets.items():
            others = np.setdiff1d(np.arange(2 * n), test)
            for seed in seeds:
                self.write_run(random, split, seed, test, others[-4:], history)
            rows = self.predict(random, test)[0]
            baseline += [rows.assign(split=split, baseline=name) for name in ("mean_pool", "prevalence")]
        baseline = pd.concat(baseline)
        baseline.to_csv(root / "baselines.csv", index=False)

    def write_tables(self, sets):
        cases = pd.DataFrame({"case_id": self.ids, "label": self.y + 1, "class": [self.classes[k] for k in self.y]})
        last = self.ids[-3] if self.patient_column else self.ids[-1]
        cases["patient_id"] = [*self.ids[:-1], last]
        cases = cases.assign(n_slices=2, n_patches=range(10, 10 + len(cases)), missing_stains="", status="used")
        left_out = cases.iloc[:3].assign(
            case_id=["901", "902", "903"], patient_id=["901", "902", "903"], label=[0, 0, 1], n_patches=[5, 5, 0]
        )
        left_out["class"] = ["", "", self.classes[0]]
        left_out["status"] = ["class code 0 excluded", "class code 0 excluded", "no patches"]
        cases.loc[1, "missing_stains"] = "sox10"
        cases = pd.concat([cases, left_out], ignore_index=True)
        cases.to_csv(self.root / "cases.csv", index=False)
        excluded = [
            ("file", "a(1).png", "copy", "", 0),
            ("file", "b(1).png", "copy", "", 0),
            ("file", "x.db", "not an image", "", 0),
            ("row", "row 9", "repeats a case", "case 3 is in row 4", 0),
            ("case", "901", "class code 0 excluded", "", 5),
            ("case", "902", "class code 0 excluded", "", 5),
            ("case", "903", "no patches", "", 0),
            ("case", "77", "no row in the labels", "", 3),
        ]
        excluded = pd.DataFrame(excluded, columns=["kind", "name", "reason", "detail", "patches"])
        excluded.to_csv(self.root / "excluded.csv", index=False)
        self.write_cohort(cases, excluded)
        for split, test in sets.items():
            others = np.setdiff1d(np.arange(len(self.ids)), test)
            ids = np.array(self.ids)
            splits.write(
                splits.Split(ids[others[:-4]], ids[others[-4:]], ids[test]), self.root / f"data_splits_{split}.npz"
            )
        with h5py.File(self.root / "shard_00.h5", "w", userblock_size=seal.SIZE) as file:
            for name, text in (("case_id", self.ids[0]), ("path", "case_1/broken.png"), ("reason", "truncated")):
                file.create_dataset(f"unreadable_{name}", data=[text], dtype=h5py.string_dtype())
        seal.put(self.root / "shard_00.h5", [])
        for name in ("train/split_02", "train/split_77", "embed/lite_shard_09", "splits/splits"):
            benchmark = self.root / f"benchmarks/{name}.tsv"
            benchmark.parent.mkdir(parents=True, exist_ok=True)
            seconds = 1 if name.startswith("splits") else 61.5
            benchmark.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:01:01\t812.5\t60\n")

    def write_cohort(self, cases, excluded):
        """What rule cohort makes of these cases, had each one slice of all its patches in h&e."""
        cases = cases.assign(label=cases["label"].astype(str), slices_h_e=1, patches_h_e=cases["n_patches"])
        rows = [(case, "h&e", "match_1", i) for case, n in zip(cases["case_id"], cases["n_patches"]) for i in range(n)]
        patches = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch"])
        sides = {"longer": [], "oblong": 0, "drawn": 0, "of": len(patches), "unreadable": []}
        numbers = cohort_summary.numbers(
            cohort_summary.classed(patches, cases),
            cases,
            excluded,
            {},
            sides=sides,
            classes=self.classes,
            stains=["h&e"],
            patient_column=self.patient_column,
            bootstrap_samples=100,
            seed=1,
            plan=PLAN,
        )
        files.write_json(numbers | {"samples": [{"case_id": "1"}]}, self.root / "cohort.json")

    def predict(self, random, index):
        logits = np.eye(len(self.classes))[self.y[index]] * self.signal + random.normal(
            size=(len(index), len(self.classes))
        )
        p = softmax(logits, axis=1)
        names = [column(name) for name in self.classes]
        table = pd.DataFrame({"case_id": [self.ids[i] for i in index]})
        table["true_label"], table["predicted_label"] = self.y[index], p.argmax(axis=1)
        for kind in ("true", "predicted"):
            table[f"{kind}_class"] = [self.classes[k] for k in table[f"{kind}_label"]]
        for kind, values in (("prob", p), ("logit", logits)):
            table[[f"{kind}_{name}" for name in names]] = values
        table["patches"] = [i + 9 if i == 0 else i + 10 for i in index]  # one of the first case is unreadable
        return table, p, logits

    def write_run(self, random, split, seed, test, validation, history):
        folder = self.root / f"split_{split}/seed_{seed}"
        (folder / "attention_analysis/case_effective_patches").mkdir(parents=True)
        table, p, _ = self.predict(random, test)
        other, q, logits = self.predict(random, validation)
        table.to_csv(folder / "predictions.csv", index=False)
        other.to_csv(folder / "validation_predictions.csv", index=False)
        results = {"split": split, "seed": seed, "classes": self.classes, "epoch": 2, "features": {"encoder": "x"}}
        results |= metrics.summary(self.y[test], p, self.classes)
        results["temperature"], results["temperature_off"] = metrics.temperature(self.y[validation], logits)
        if len(self.classes) == 2:
            results["threshold"] = metrics.youden_threshold(self.y[validation], q[:, 1])
        (folder / "results.json").write_text(json.dumps(results))
        if history:
            epochs = {"epoch": [1, 2, 3], "train_loss": [1.0, 0.5, 0.3], "val_loss": [0.9, 0.5, 0.6]}
            pd.DataFrame(epochs | {"val_auc": 0.8, "best": [False, True, False]}).to_csv(
                folder / "history.csv", index=False
            )
        summary = table[["case_id"]].assign(
            most_attended_stain="h&e", **{"stain_weight_h_e": 0.75, "stain_weight_sox10": 0.25}
        )
        summary.loc[summary["case_id"] == self.ids[1], ["stain_weight_h_e", "stain_weight_sox10"]] = [1, np.nan]
        summary.to_csv(folder / "attention_analysis/summary.csv", index=False)
        (folder / "attention_analysis/truth_auc.json").write_text(json.dumps({"cases": 4, "mean_auc": 0.7}))
        (folder / "attention_analysis/case_effective_patches/case_1_top_effective_patches.png").touch()

    @property
    def runs(self):
        return sorted(self.root.glob("split_*/seed_*"))

    def study(self, **settings):
        return study.Study(study.read_runs(self.runs), tables.read_cases(self.root / "cases.csv"), 100, 42, **settings)

    def report(self, monkeypatch, *more):
        """Run the script; returns the page, metrics.json and metrics.csv."""
        root, output = self.root, self.root / "report"
        words = ["report.py", "--runs", *self.runs, "--cases", root / "cases.csv", "--excluded", root / "excluded.csv"]
        words += ["--unreadable", root / "shard_00.h5", "--splits", *sorted(root.glob("data_splits_*.npz"))]
        words += ["--baselines", root / "baselines.csv", "--benchmarks", root / "benchmarks", "--template", TEMPLATE]
        words += ["--cohort", root / "cohort.json"]
        words += ["--bootstrap-samples", 100, "--output", output, *more]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        script.main(script.arguments())
        page = (output / "index.html").read_text(encoding="utf-8")
        return page, json.loads((output / "metrics.json").read_text()), pd.read_csv(output / "metrics.csv", dtype=str)

    def written(self, name):
        """Text of another file of the report."""
        return (self.root / "report" / name).read_text(encoding="utf-8")


def words(page):
    """Text of a page without its tables, figures and scripts: what a reader reads."""
    for element in ("head", "style", "script", "svg", "table"):
        page = re.sub(f"<{element}.*?</{element}>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub("<[^>]*>", " ", page)))


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Made(tmp_path_factory.mktemp("runs"), seeds=(1, 2), odd=NASTY)
        return made, *made.report(monkeypatch, "--title", "A & B <i>")


@pytest.mark.slow
def test_page_shows_the_numbers_of_metrics_json(two_seeds):
    made, page, numbers, _ = two_seeds
    appendix = made.written("appendix.html")
    headline = numbers["out_of_fold"][numbers["headline"]]
    assert f"<strong>AUROC {headline['value']:.2f} (95% CI {headline['low']:.2f} to" in page
    assert f"{headline['value']:.3f}<" in page and "Each model was trained on about 33% of the cases" in page
    for run in numbers["runs"]:
        assert f">{run['roc_auc']['value']:.3f}<" in page and f">{run['brier']['value']:.3f}<" in page
    assert f"2 seeds: pooled AUROC {numbers['ensemble']['roc_auc']['value']:.2f} (95% CI" in page
    assert "2 jobs took 62.5 s in all; train took the most (61.5 s)" in appendix  # not those of other settings
    assert "class code 0: 2" in page and "class code 0 excluded" in appendix and "case_1/broken.png" in appendix
    assert "1 case has patches but no row in the labels" in page and 'href="../index.html"' in page


def test_numbers_are_those_of_the_predictions(two_seeds):
    made, _, numbers, table = two_seeds
    seeds = []
    for seed in made.seeds:
        parts = [pd.read_csv(made.root / f"split_{split}/seed_{seed}/predictions.csv") for split in ("01", "02")]
        seeds.append(pd.concat(parts, ignore_index=True))
    pooled = [roc_auc_score(rows["true_label"], rows["prob_high_grade"]) for rows in seeds]
    mean = (seeds[0]["prob_high_grade"] + seeds[1]["prob_high_grade"]) / 2
    assert numbers["out_of_fold"]["roc_auc"]["value"] == pytest.approx(np.mean(pooled))
    assert numbers["out_of_fold"]["seed_sd"] == pytest.approx(np.std(pooled, ddof=1))
    auc = numbers["ensemble"]["roc_auc"]
    assert auc["value"] == pytest.approx(roc_auc_score(seeds[0]["true_label"], mean))
    assert auc["low"] <= auc["value"] <= auc["high"] and auc["n"] == 23
    row = table.query("level == 'ensemble' and metric == 'roc_auc'").iloc[0]
    assert float(row["value"]) == pytest.approx(auc["value"]) and row["n"] == "24"
    levels = {"split", "seed", "out_of_fold", "ensemble", "baseline", "detectable", "decision_curve"}
    assert set(table["level"]) == levels
    assert numbers["cases"] == 24 and numbers["patients"] == 23


@pytest.mark.slow
def test_repeats_are_replicates_like_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(intervals, "FEW", 0)  # the bootstrap, also of 24 cases
    """Against figures put together by hand: two repeats (splits 01 and 02, 03 and 04) of two seeds."""
    made = Made(tmp_path, seeds=(1, 2), repeats=2)
    page, numbers, table = made.report(monkeypatch)
    read = {
        (split, seed): pd.read_csv(made.root / f"split_{split}/seed_{seed}/predictions.csv", dtype={"case_id": str})
        for split in ("01", "02", "03", "04")
        for seed in (1, 2)
    }

    def auc(rows, weights=None):
        return roc_auc_score(rows["true_class"] == "high-grade", rows["prob_high_grade"], sample_weight=weights)

    pairs = {1: ("01", "02"), 2: ("03", "04")}
    replicates = {(r, seed): pd.concat([read[split, seed] for split in pairs[r]]) for r in (1, 2) for seed in (1, 2)}
    aucs = {key: auc(rows) for key, rows in replicates.items()}
    assert {(row["repeat"], row["seed"]): row["roc_auc"]["value"] for row in numbers["by_seed"]} == pytest.approx(aucs)
    found = numbers["out_of_fold"]
    assert found["roc_auc"]["value"] == pytest.approx(np.mean(list(aucs.values())))
    assert found["roc_auc_sd"] == pytest.approx(np.std(list(aucs.values()), ddof=1))
    assert found["seed_sd"] == pytest.approx(abs(aucs[1, 1] + aucs[2, 1] - aucs[1, 2] - aucs[2, 2]) / 2 / 2**0.5)
    assert found["repeat_sd"] == pytest.approx(abs(aucs[1, 1] + aucs[1, 2] - aucs[2, 1] - aucs[2, 2]) / 2 / 2**0.5)
    assert found["fold_mean"]["value"] == pytest.approx(np.mean([auc(rows) for rows in read.values()]))
    by_split = [np.mean([auc(read[split, seed]) for seed in (1, 2)]) for split in ("01", "02", "03", "04")]
    assert found["fold_sd"] == pytest.approx(np.std(by_split, ddof=1))

    # the same patients are sampled for every replicate, without strata; an interval on the logit scale
    cases = tables.read_cases(made.root / "cases.csv").query("status == 'used'").set_index("case_id")
    weights = pd.DataFrame(intervals.bootstrap_weights(cases["patient_id"], 100, 42).T, index=cases.index)
    drawn = [np.mean([auc(rows, weights.loc[rows["case_id"], i]) for rows in replicates.values()]) for i in range(100)]
    pooled, low, high, n = found["roc_auc"].values()
    half = 1.959964 * np.std(drawn, ddof=1) / pooled / (1 - pooled)
    assert [low, high] == pytest.approx(expit(logit(pooled) + np.array([-half, half]))) and n == 23

    mean = pd.concat(read.values()).groupby(["case_id", "true_class"])["prob_high_grade"].mean().reset_index()
    ensemble = numbers["ensemble"]
    assert ensemble["roc_auc"]["value"] == pytest.approx(auc(mean))
    assert (ensemble["fold_mean"]["value"], ensemble["folds"]) == (None, 0)
    baseline = pd.read_csv(made.root / "baselines.csv", dtype={"case_id": str}).query("baseline == 'mean_pool'")
    baseline = baseline.groupby(["case_id", "true_class"])["prob_high_grade"].mean().reset_index()
    assert numbers["baselines"][0]["n"] == 24
    assert numbers["baselines"][0]["roc_auc"]["value"] == pytest.approx(auc(baseline))
    differences = {name: part["value"] for name, part in numbers["baselines"][0]["auc_difference"].items()}
    assert differences["ensemble"] == pytest.approx(auc(mean) - auc(baseline))
    assert differences["model"] == pytest.approx(pooled - auc(baseline))

    assert numbers["coverage"] == {"missing": {}, "repeated": {}}
    assert {case["times"] for case in numbers["per_case"]} == {4}
    assert {len(case["split"].split(", ")) for case in numbers["per_case"]} == {2}
    assert len(table.query("level == 'seed' and metric == 'roc_auc'")[["repeat", "seed"]].drop_duplicates()) == 4
    for words in (
        "4 trainings each",
        "exactly 2 times per seed, once in each repeat",
        "repeat 2, seed 1",
        "SD over replicates",
    ):
        assert words in page


def test_the_curve_of_a_baseline_of_one_stain_has_its_label(tmp_path):
    made = Made(tmp_path)
    names = [made.classes[k] for k in made.study().predictions["y"]]
    own = made.study().predictions.assign(baseline="mean_pool_sox10", true_class=names)
    ((label, band),) = study_figures._baseline_curves(made.study(baselines=own), "mean_pool_sox10")
    assert label.startswith("Mean of patch features, sox10 alone: 0.") and band.low is None
    assert list(study_figures._baseline_curves(made.study(baselines=own), None)) == []


@pytest.mark.slow
def test_model_and_itself_as_baseline_do_not_differ(tmp_path):
    made = Made(tmp_path)
    own = made.study().predictions.assign(baseline="itself", true_class=lambda t: [made.classes[k] for k in t["y"]])
    same = cross_split.numbers(made.study(baselines=own))["baselines"][0]
    assert list(same["auc_difference"]) == ["ensemble", "model", "fold_mean"]
    assert set(same["auc_difference"].values()) == {Estimate(0, n=23)}  # in every sample


def test_page_needs_nothing_else_and_is_well_formed(two_seeds):
    _, page, _, _ = two_seeds
    assert not re.findall(r"""(?:src|href|url\(|@import|xmlns)[^>\s]*https?:""", page)
    elements = Elements(page).found
    assert not outside(elements) and not Elements(page).unclosed
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inner = {attributes["href"][1:] for _, attributes in elements if attributes.get("href", "").startswith("#")}
    assert inner <= set(ids)
    assert all(attributes.get("aria-label") for tag, attributes in elements if tag == "svg")


def test_figures_take_the_colours_of_the_page(two_seeds):
    _, page, _, _ = two_seeds
    drawn = "".join(re.findall("<svg.*?</svg>", page, flags=re.DOTALL))
    assert {"var(--c0)", "var(--wrong)", "currentColor"} <= set(re.findall(r"var\(--\w+\)|currentColor", drawn))
    assert not re.search("#(?:000000|0072b2|d55e00|b00020|e4e4e4)", drawn)


def test_names_from_data_are_escaped(two_seeds):
    _, page, numbers, _ = two_seeds
    assert NASTY not in page and "&lt;script&gt;alert(1)" in page
    assert "A &amp; B &lt;i&gt;" in page
    assert NASTY in [case["case_id"] for case in numbers["per_case"]]


def test_galleries_are_linked_where_they_are(two_seeds):
    made, page, _, _ = two_seeds
    links = [
        attributes["href"]
        for tag, attributes in Elements(page).found
        if tag == "a" and "effective" in attributes["href"]
    ]
    assert len(links) == 2
    assert all((made.root / "report" / link).is_file() for link in links)


def test_every_case_and_patch_is_counted(two_seeds):
    made, _, numbers, _ = two_seeds
    labels, folder = numbers["flow"]["sources"]
    assert (labels["n"], labels["kept"]) == (28, 27)
    assert [(part["reason"], part["n"]) for part in folder["left_out"]] == [
        ("copy", 2), ("not an image", 1), ("no row in the labels (1 case)", 3),
    ]  # fmt: skip
    steps = numbers["flow"]["steps"]
    assert [step["cases"] for step in steps] == [27, 25, 24, 24, 24]
    used = sum(range(10, 34))
    assert [step["patches"] for step in steps] == [used + 10, used, used, used, used - 1]
    assert [step["left_out"] for step in steps] == [
        [],
        [{"reason": "class code 0 excluded", "cases": 2, "patches": 10}],
        [{"reason": "no patches", "cases": 1, "patches": 0}],
        [],
        [{"reason": "unreadable as an image", "cases": 0, "patches": 1}],
    ]
    listed = pd.read_csv(made.root / "report/excluded.csv", dtype=str)
    assert listed["kind"].value_counts().to_dict() == {"file": 3, "row": 1, "case": 4, "patch": 1}
    assert (made.root / "report/figures/flow.svg").is_file()
    assert 'id="figure-flow"' in made.written("appendix.html")


@pytest.mark.slow
@pytest.mark.parametrize(
    "table, column, row, value", [("cases.csv", "n_patches", 0, "99"), ("excluded.csv", "reason", 4, "no patches")]
)
def test_a_table_that_does_not_add_up_stops_the_report(tmp_path, monkeypatch, table, column, row, value):
    made = Made(tmp_path)
    changed = pd.read_csv(made.root / table, dtype=str, keep_default_na=False)
    changed.loc[row, column] = value
    changed.to_csv(made.root / table, index=False)
    with pytest.raises(RuntimeError, match="flow: "):
        made.report(monkeypatch)


def test_stain_attention_leaves_missing_stains_out(two_seeds):
    _, _, numbers, _ = two_seeds
    found = {row["stain"]: row for row in numbers["attention"]["stains"]}
    assert found["sox10"]["n"] == 23 and found["sox10"]["mean"] == pytest.approx(0.25)
    assert found["h&e"]["ratio"] == pytest.approx((23 * 1.5 + 1) / 24)
    assert numbers["attention"]["truth"]["mean_auc"]["value"] == pytest.approx(0.7)


@pytest.mark.slow
def test_cases_without_a_most_attended_stain_are_none_s(tmp_path, monkeypatch):
    made = Made(tmp_path)
    for run in made.runs:
        path = run / "attention_analysis/summary.csv"
        pd.read_csv(path).assign(most_attended_stain="equal").to_csv(path, index=False)
        results = json.loads((run / "results.json").read_text())
        (run / "results.json").write_text(json.dumps(results | {"stains": ["h&e", "sox10"]}))
    page, numbers, _ = made.report(monkeypatch)
    assert [(row["stain"], row["most"]) for row in numbers["attention"]["stains"]] == [("h&e", 0), ("sox10", 0)]
    assert numbers["attention"]["cases"] == 24
    assert (numbers["attention"]["equal"], numbers["attention"]["single"]) == (
        23,
        1,
    )  # with one stain there is no choice
    assert "No stain has the largest weight in any case; in 23 of 24 cases the largest weights are equal" in page
    assert "1 case has one stain only" in page


@pytest.mark.slow
def test_a_stain_that_no_case_has_is_not_in_the_report(tmp_path, monkeypatch):
    made = Made(tmp_path)
    cases = pd.read_csv(tmp_path / "cases.csv", dtype=str, keep_default_na=False)
    cases["missing_stains"] = ["ki67;sox10" if text else "ki67" for text in cases["missing_stains"]]
    cases.to_csv(tmp_path / "cases.csv", index=False)
    for run in made.runs:
        path = run / "attention_analysis/summary.csv"
        pd.read_csv(path).assign(stain_weight_ki67=np.nan).to_csv(path, index=False)
    page, numbers, _ = made.report(monkeypatch)
    assert "ki67" not in page and [row["stain"] for row in numbers["attention"]["stains"]] == ["h&e", "sox10"]
    assert [row["name"] for row in numbers["subgroups"] if row["kind"] == "stains"] == ["all stains", "without sox10"]


@pytest.mark.slow
def test_same_input_same_bytes(two_seeds, monkeypatch):
    made, page, _, _ = two_seeds
    assert made.report(monkeypatch, "--title", "A & B <i>")[0] == page


@pytest.mark.slow
def test_one_class_split_is_not_defined(tmp_path, monkeypatch):
    page, numbers, table = Made(tmp_path, one_class=1).report(monkeypatch)
    assert numbers["runs"][0]["roc_auc"] == {"value": None, "low": None, "high": None, "n": 12}
    assert numbers["out_of_fold"]["fold_mean"]["value"] is None
    assert "not defined" in page
    assert table.query("level == 'split' and split == '01' and metric == 'roc_auc'")["value"].isna().all()


@pytest.mark.slow
def test_three_classes_without_history(tmp_path, monkeypatch):
    made = Made(tmp_path, classes=("benign", "low-grade", "high-grade"), history=False)
    page, numbers, _ = made.report(monkeypatch)
    rows = pd.concat([pd.read_csv(run / "predictions.csv") for run in made.runs])
    p = rows[["prob_benign", "prob_low_grade", "prob_high_grade"]].to_numpy()
    expected = roc_auc_score(made.y, p, multi_class="ovr", labels=[0, 1, 2])
    assert numbers["out_of_fold"]["roc_auc"]["value"] == pytest.approx(expected)
    assert "nothing was trained here" in made.written("appendix.html") and "losses" not in page
    assert "the most probable class is right in" in page and "Accuracy</span>" in page


@pytest.mark.slow
def test_cases_predicted_twice_or_never_are_named(tmp_path, monkeypatch):
    made = Made(tmp_path)
    first, second = (pd.read_csv(run / "predictions.csv", dtype={"case_id": str}) for run in made.runs)
    pd.concat([second.iloc[1:], first.iloc[:1]]).to_csv(made.runs[1] / "predictions.csv", index=False)
    page, numbers, _ = made.report(monkeypatch)
    assert numbers["coverage"] == {"missing": {"1": ["13"]}, "repeated": {"1": ["1"]}}
    assert "Seed 1: 1 case is predicted by more than one split: 1." in page
    assert numbers["disagreements"] and "do not agree" in page


def test_bad_input_is_told_at_once(tmp_path):
    made = Made(tmp_path)
    (made.runs[0] / "predictions.csv").unlink()
    (made.runs[1] / "results.json").unlink()
    with pytest.raises(UserError) as error:
        study.read_runs(made.runs)
    assert len(error.value.problems) == 2


def test_failed_report_leaves_the_old_one(tmp_path, monkeypatch):
    made = Made(tmp_path)
    old = tmp_path / "report/index.html"
    old.parent.mkdir()
    old.write_text("old")
    with pytest.raises(UserError, match=r"report\.colors"):
        made.report(monkeypatch, "--colors", "red", "#123456")
    with pytest.raises(UserError, match="nothing_here"):
        made.report(monkeypatch, "--unreadable", tmp_path / "nothing_here.h5")
    assert old.read_text() == "old"
    assert not list(tmp_path.glob(".report*"))


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 500, 390])
def test_page_in_a_browser(two_seeds, tmp_path, width):
    """Its scripts run, its tables sort, and it is no wider than the window."""
    found = browse(two_seeds[1], width, "model − baseline", tmp_path)
    assert found["errors"] == []
    assert found["width"] <= found["screen"]
    assert found["buttons"] > 10
    head, first, *_ = found["csv"].split("\r\n")
    if width == 1280:
        assert head.startswith("Predictor,n,AUROC of folds,AUROC of folds 95% CI,model − baseline,")
    assert len(first.split(",")) == len(head.split(","))
    values = [float(text.split()[0][:5].replace("−", "-").strip() or 9) for text in found["sorted"] if text]
    assert values == sorted(values)
    appendix = browse(two_seeds[0].written("appendix.html"), width, "State", tmp_path)
    assert appendix["errors"] == [] and appendix["width"] <= appendix["screen"] and appendix["buttons"] >= 15


def test_a_given_checkpoint_takes_nothing_of_an_earlier_training(tmp_path):
    made = Made(tmp_path)
    run = made.runs[0]
    results = json.loads((run / "results.json").read_text())
    for checkpoint, own in ((run / "checkpoints/best.pth", True), (tmp_path / "given.pth", False)):
        (run / "results.json").write_text(json.dumps(results | {"checkpoint": str(checkpoint)}))
        assert (study.read_runs([run])[0].history is not None) == own


def test_each_section_says_what_it_shows_in_this_study_and_its_limits(two_seeds):
    made, page, _, _ = two_seeds
    for part in re.findall(r'<section id="(.*?)</section>', page + made.written("appendix.html"), flags=re.DOTALL):
        name, said = part.split('"', 1)[0], re.findall("<(p|li)[ >](.*?)</\\1>", part, flags=re.DOTALL)
        assert re.search(r"\d", re.sub("<.*?>", "", "".join(text for _, text in said))) or name in UNCOUNTED, name
        assert 'class="limits"' in part or name in UNLIMITED, name


UNCOUNTED = ("faithfulness",)
UNLIMITED = ("result", "cohort", "faithfulness", *report_text.APPENDIX)


def test_a_reader_has_fewer_than_3500_words_before_him_and_no_sentence_twice(two_seeds):
    made, page, _, _ = two_seeds
    both = [words(page), words(made.written("appendix.html"))]
    assert sum(len(text.split()) for text in both) < 3500
    sentences_of = re.findall(r"[A-Z][^.]{40,}\. ", both[0])
    assert len(sentences_of) > 15 and len(set(sentences_of)) == len(sentences_of)


@pytest.mark.slow
def test_the_first_screen_has_the_answer(two_seeds, tmp_path):
    """At 1280 x 900, without scrolling: the result, its figures and flags, the curve and the forest of runs."""
    page = two_seeds[1]
    probe = """<script>
    document.title = JSON.stringify([".lead", ".glance .card", ".glance .notes li", "#figure-roc", "#figure-runs"].map(
      (name) => [...document.querySelectorAll(name)].map((one) => one.getBoundingClientRect().bottom)));
    </script></body>"""
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", probe), encoding="utf-8")
    shown = dom(file.as_uri(), tmp_path, 1280)
    lead, cards, flags, *drawn = json.loads(unescape(re.search(r"<title>(.*?)</title>", shown, re.DOTALL)[1]))
    assert len(lead) == 1 and len(cards) == 4 and len(flags) >= 3 and [len(each) for each in drawn] == [1, 1]
    assert max(*lead, *cards, *flags, *drawn[0], *drawn[1]) <= 900


def test_a_paper_has_its_two_paragraphs(two_seeds):
    made, _, numbers, _ = two_seeds
    text = re.sub(r"\s+", " ", made.written("summary.txt"))
    headline = numbers["out_of_fold"][numbers["headline"]]
    row = next(row for row in numbers["decisions"][0]["rows"] if row["name"] == "sensitivity")
    for part in (
        "Methods Cases were classified as benign or high-grade from image patches of 1 stain (h&e)",
        "24 cases of 23 patients (12 benign and 12 high-grade)",
        "a model was trained on 8 cases, 4 cases were used for validation and 12 for the test",
        "Of 27 labelled cases, 24 were predicted out of fold; 3 were excluded (class code 0: 2, no patches: 1).",
        f"AUROC {headline['value']:.2f} (95% CI {headline['low']:.2f} to {headline['high']:.2f})",
        f"sensitivity {row['estimate']['value']:.2f} ({row['k']} of {row['estimate']['n']}; 95% CI",
    ):
        assert part in text, part
    assert "None" not in text and "{" not in text


def test_what_a_reviewer_asks_is_said(two_seeds):
    made, page, numbers, _ = two_seeds
    text = re.sub(r"\s+", " ", re.sub("<.*?>", "", page + made.written("appendix.html")))
    for words in (
        "2 trainings each",
        "Decisions, calibration, cases and subgroups are those of the ensemble, the mean probability of 2 seeds",
        "The SD over splits is not a standard error",
        "not of splits or training runs",
        "If settings were changed after a look",
        "the L2 penalty of least validation log loss",
    ):
        assert words in text, words
    strongest = numbers["baselines"][0]  # the other is the prevalence
    difference = strongest["auc_difference"]["fold_mean"]
    assert ("the CI includes 0" in text) == (difference["low"] <= 0 <= difference["high"])
    assert f"reached an AUROC of {strongest['fold_mean']['value']:.2f}" in text


@pytest.mark.slow
def test_every_figure_of_the_ensemble_has_its_interval(tmp_path, monkeypatch):
    _, numbers, table = Made(tmp_path, seeds=(1, 2), signal=0.5).report(monkeypatch)
    rows = table.query("level in ('out_of_fold', 'ensemble') and model == 'model'").set_index(["level", "metric"])
    for level, names in {
        "out_of_fold": ("roc_auc", "roc_auc_fold_mean", "accuracy", "balanced_accuracy", "pr_auc", "log_loss", "brier"),
        "ensemble": ("roc_auc", "pr_auc", "at_threshold_mcc", "calibration_slope", "calibration_intercept"),
    }.items():
        for name in names:
            low, value, high = rows.loc[(level, name), ["low", "value", "high"]].astype(float)
            assert low <= value <= high, (level, name)
    for point in numbers["decisions"]:
        for row in point["rows"]:
            assert row["estimate"]["low"] <= row["estimate"]["value"] <= row["estimate"]["high"], row


@pytest.mark.slow
def test_what_is_constant_by_construction_has_no_interval(tmp_path):
    made = Made(tmp_path)
    rows = made.study().predictions.assign(
        baseline="prevalence", true_class=lambda t: [made.classes[k] for k in t["y"]]
    )
    share = rows.groupby("split")["y"].transform("mean")
    rows = rows.assign(prob_high_grade=share, prob_benign=1 - share)
    (found,) = cross_split.numbers(made.study(baselines=rows))["baselines"]
    assert found["fold_mean"].value == 0.5
    for estimate in (found["roc_auc"], found["delong"], found["fold_mean"], *found["auc_difference"].values()):
        assert estimate.low is estimate.high is None


@pytest.mark.slow
def test_the_ensemble_chooses_its_threshold_and_its_interval_chooses_anew(tmp_path, monkeypatch):
    """By hand: the mean of the seeds on the validation cases of each split, again in each bootstrap sample."""
    made, random = Made(tmp_path, seeds=(1, 2), signal=0.7), np.random.default_rng(1)
    for run in made.runs:  # 12 validation cases: of the 4, most samples have one class only
        others = np.arange(12, 24) if "split_01" in str(run) else np.arange(12)
        made.predict(random, others)[0].to_csv(run / "validation_predictions.csv", index=False)
    page, numbers, table = made.report(monkeypatch)
    read = {}
    for split, name in itertools.product(("01", "02"), ("predictions", "validation_predictions")):
        paths = [made.root / f"split_{split}/seed_{seed}/{name}.csv" for seed in (1, 2)]
        rows = pd.concat([pd.read_csv(path, dtype={"case_id": str}) for path in paths]).groupby("case_id")
        read[split, name] = rows[["true_label", "prob_high_grade"]].mean()
    found = made.study()
    weights = pd.DataFrame(found.weights.T, index=found.ensemble["case_id"])

    def accuracy(weight):
        hits = 0
        for split in ("01", "02"):
            test, val = read[split, "predictions"], read[split, "validation_predictions"]
            of_val = weight[val.index].to_numpy()[None]
            (threshold,) = metrics.chosen_thresholds(val["true_label"], val["prob_high_grade"], "youden", of_val)
            right = (test["prob_high_grade"] >= threshold) == test["true_label"]
            hits += np.nan if np.isnan(threshold) else weight[test.index][right].sum()
        return hits / weight.sum()

    (row,) = [row for row in numbers["decisions"][1]["rows"] if row["name"] == "accuracy"]
    value = accuracy(pd.Series(1.0, index=weights.index))
    assert row["estimate"]["value"] == pytest.approx(value)
    drawn = np.array([accuracy(weights[i]) for i in range(100)])
    half = 1.959964 * np.nanstd(drawn, ddof=1) / value / (1 - value)
    ends = expit(logit(value) + np.array([-half, half]))
    assert [row["with_choice"]["low"], row["with_choice"]["high"]] == pytest.approx(ends)
    assert "95% CI with the choice" in page and "at_threshold_accuracy_with_choice" in set(table["metric"])


@pytest.mark.slow
def test_scaled_probabilities_are_shown_only_where_a_temperature_was_fitted(tmp_path, monkeypatch):
    made = Made(tmp_path)
    page, numbers, table = made.report(monkeypatch)
    assert numbers["scaled"] is None and "temperature-scaled" not in set(table["model"])
    assert "each run has fewer than 50 validation cases" in page and "<th>after temperature scaling" not in page
    results = json.loads((made.runs[0] / "results.json").read_text())
    fitted = results | {"temperature": 0.2, "temperature_off": None}
    (made.runs[0] / "results.json").write_text(json.dumps(fitted))
    page, numbers, table = made.report(monkeypatch)
    assert "<th>after temperature scaling</th>" in page and "temperature-scaled" in set(table["model"])
    assert (
        sentences_performance.temperature(numbers["temperatures"], Estimate(**numbers["scaled"]["log_loss_reduction"]))
        in page
    )
    assert "1 of 2 runs has fewer than 50 validation cases" in page


@pytest.mark.slow
def test_difference_of_fold_means_is_by_hand_and_does_not_see_a_shift_of_a_fold(tmp_path):
    made = Made(tmp_path, seeds=(1, 2), signal=1)

    def differences():
        baselines = pd.read_csv(tmp_path / "baselines.csv", dtype={"case_id": str, "split": str})
        found = made.study(baselines=baselines)
        difference = cross_split.numbers(found)["baselines"][0]["auc_difference"]
        theirs = [
            roc_auc_score(rows["true_class"] == "high-grade", rows["prob_high_grade"])
            for _, rows in baselines[baselines["baseline"] == "mean_pool"].groupby("split")
        ]
        ours = [
            roc_auc_score(rows["y"], rows["prob_high_grade"])
            for _, rows in found.predictions.groupby(["split", "seed"])
        ]
        of_folds = difference["fold_mean"]
        assert of_folds.value == pytest.approx(np.mean(ours) - np.mean(theirs))
        assert of_folds.low < of_folds.value < of_folds.high
        return [of_folds.value, of_folds.low, of_folds.high], difference["model"].value

    before, pooled = differences()
    for seed in made.seeds:
        path = tmp_path / f"split_02/seed_{seed}/predictions.csv"
        rows = pd.read_csv(path)
        rows["prob_high_grade"] = rows["prob_high_grade"] / 20
        rows["prob_benign"] = 1 - rows["prob_high_grade"]
        rows.to_csv(path, index=False)
    after, shifted = differences()
    assert after == pytest.approx(before) and abs(shifted - pooled) > 0.01


@pytest.mark.parametrize("splits, words", [("all", ">not fitted<"), ("one", "; not fitted in 1 of 2 splits<")])
@pytest.mark.slow
def test_a_baseline_that_tells_no_cases_apart_is_not_fitted(splits, words, tmp_path, monkeypatch):
    made = Made(tmp_path, seeds=(1,))
    rows = pd.read_csv(tmp_path / "baselines.csv", dtype={"split": str, "case_id": str})
    alike = (rows["baseline"] == "mean_pool") & (rows["split"].isin([rows["split"].min()]) | (splits == "all"))
    rows.loc[alike, ["prob_benign", "prob_high_grade"]] = [0.75, 0.25]
    rows.loc[alike[alike].index[0], "prob_benign"] += 1e-16
    rows.to_csv(tmp_path / "baselines.csv", index=False)
    page, numbers, _ = made.report(monkeypatch)
    assert words in page and "no training case has its stain" in page
    assert numbers["baselines"][0]["fitted"] == (0 if splits == "all" else 1)
    assert ("has a defined AUROC" in page) == (splits == "all")


@pytest.mark.slow
def test_few_cases_are_not_to_be_quoted(tmp_path, monkeypatch):
    page, numbers, _ = Made(tmp_path, n=3).report(monkeypatch)
    assert numbers["patients_of"] == {"benign": 3, "high-grade": 2}
    assert "<li>Too few to quote: there are 3 patients of benign and 2 patients of high-grade" in page
    assert "With 3 test cases a split" in page
    shown = numbers["out_of_fold"]["fold_mean"]["low"] is not None
    assert ("mean of 2 test sets" in page) == shown
    assert ("There is no mean of the test sets" in page) != shown


@pytest.mark.slow
def test_without_a_patient_column_the_page_says_cases(tmp_path, monkeypatch):
    monkeypatch.setattr(Made, "patient_column", None)
    made = Made(tmp_path, n=6)
    page, _, _ = made.report(monkeypatch)
    pages = page.split("<main>")[1] + made.written("appendix.html").split("<main>")[1] + made.written("summary.txt")
    text = re.sub(r"\s+", " ", re.sub("<script.*?</script>|<.*?>", "", pages, flags=re.DOTALL))
    text = text.replace("splits by case; patients are unknown", "").replace("cases; patients are unknown", "")
    text = text.replace("Patient and public involvement", "")
    assert "No patient column is given, so cases count as independent." in text
    text = text.lower().replace("no patient column", "").replace("cohort.patient_column", "")
    assert [text[place.start() - 40 : place.end() + 40] for place in re.finditer("patient", text)] == []


@pytest.mark.slow
def test_attention_is_told_by_true_class(tmp_path, monkeypatch):
    made = Made(tmp_path)
    for run in made.runs:
        path = run / "attention_analysis/summary.csv"
        odd = pd.read_csv(path, dtype={"case_id": str})
        benign = odd["case_id"].astype(int) % 2 == 1
        odd.loc[benign, ["stain_weight_h_e", "stain_weight_sox10"]] = [0.1, 0.9]
        odd.to_csv(path, index=False)
    page, numbers, _ = made.report(monkeypatch)
    assert (
        "In benign cases sox10 most often had the largest weight (12 of 12 cases; median weight 0.90); in high-grade "
        "cases h&amp;e most often had the largest weight (11 of 11 cases; median weight 0.75)"
    ) in page
    assert [group["told"] for group in numbers["attention"]["by_class"]] == [12, 11]


@pytest.mark.slow
def test_attention_against_known_signal_has_an_interval_by_patient(tmp_path, monkeypatch):
    made, random, scores = Made(tmp_path), np.random.default_rng(0), {}
    for run in made.runs:
        path = run / "attention_analysis/summary.csv"
        labels = pd.read_csv(run / "predictions.csv")["true_class"]
        auc = np.round(random.uniform(0.6, 0.95, len(labels)), 6)
        pd.read_csv(path).assign(true_class=labels, attention_auc=auc).to_csv(path, index=False)
        auc = auc[labels == "high-grade"]
        scores[run] = auc
        told = {"positive_class": "high_grade", "cases": len(auc), "mean_auc": auc.mean()}
        told |= {"contribution_auc": 0.9, "margin_auc": 0.875}
        (run / "attention_analysis/truth_auc.json").write_text(json.dumps(told))
    page, numbers, _ = made.report(monkeypatch)
    found, each = numbers["attention"]["truth"], np.concatenate(list(scores.values()))
    assert found["class"] == "high-grade" and found["mean_auc"]["value"] == pytest.approx(each.mean())
    error = each.std() / len(each) ** 0.5
    low, high = found["mean_auc"]["low"], found["mean_auc"]["high"]
    assert low < each.mean() < high and found["mean_auc"]["n"] == 11
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.35)
    text = re.sub(r"\s+", " ", re.sub("<.*?>", "", page))
    assert "In 12 predictions of high-grade cases with known signal patches" in text and "to the margin 0.88" in text
    told |= {"mean_auc": 0.5}
    (run / "attention_analysis/truth_auc.json").write_text(json.dumps(told))
    assert made.report(monkeypatch)[1]["attention"]["truth"]["mean_auc"]["low"] is None  # summaries of another analysis


@pytest.mark.slow
def test_faithfulness_is_shown_where_it_was_checked(tmp_path, monkeypatch):
    made, path = Made(tmp_path), tmp_path / "checks/faithfulness.json"
    assert "Faithfulness was not checked" in made.report(monkeypatch)[0]
    row = {
        "question": "Does it fall <b>?",
        "predicted": "benign",
        "answer": "yes",
        "measured_by": "area",
        "reference": 0.0,
    }
    row |= {"estimate": {"value": 0.3125, "low": 0.2, "high": 0.4, "n": 24}}
    path.parent.mkdir()
    told = {"overall": "Attention is better than random.", "by_class": "In both classes.", "answers": [row]}
    told["explained"] = {"benign": False, "high-grade": True}
    path.write_text(json.dumps(told))
    (path.parent / "index.html").touch()
    page = made.report(monkeypatch, "--faithfulness", path)[0]
    assert "<li>Predictions of high-grade rest on the attended patches; those of benign are not shown to.</li>" in page
    assert "Attention is better than random. In both classes." in page and "Does it fall &lt;b&gt;?" in page
    assert "0.312" in page and 'href="../checks/index.html"' in page
    assert page.count('href="../checks/index.html"') == 2  # of the section, and in the contents
    untold = row | {"estimate": {"value": None, "low": None, "high": None, "n": 0}}
    path.write_text(json.dumps(told | {"answers": [untold]}))
    cells = re.search(
        r"Does it fall &lt;b&gt;\?.*?</tr>", made.report(monkeypatch, "--faithfulness", path)[0], re.DOTALL
    )
    assert cells[0].count('<td class="n"></td>') == 2 and "0.000" not in cells[0]
    path.write_text(json.dumps(told | {"answers": [{"question": "deletion"}]}))
    with pytest.raises(UserError, match="run faithfulness again"):
        made.report(monkeypatch, "--faithfulness", path)


def test_subgroups_by_patches_never_overlap(tmp_path):
    made = Made(tmp_path)
    cases = tables.read_cases(tmp_path / "cases.csv")
    cases["n_patches"] = [10, 20, 20] * 9
    found = study.Study(study.read_runs(made.runs), cases, 100, 42)
    groups = [row for row in cross_split.numbers(found)["subgroups"] if row["kind"] == "patches of a case"]
    ranges = [tuple(map(int, re.findall(r"\d+", row["name"]))) for row in groups]
    assert sum(row["n"] for row in groups) == 24
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ranges))


def test_checklists_point_to_what_is_there(two_seeds):
    made, page, _, _ = two_seeds
    appendix = made.written("appendix.html")
    found = appendix.split('<section id="checklists">')[1].split("</section>")[0]
    for part, n in zip(found.split("</details>"), (52, 44, 48)):
        assert len(re.findall(r"<tr><th>\d+\w?</th>", part)) == n
    ids = {"index.html": set(re.findall(r'id="(\w+)"', page)), "": set(re.findall(r'id="(\w+)"', appendix))}
    places = re.findall(r'href="([\w.]*)#(\w+)"', found)
    assert len(places) > 100 and all(place in ids[file] for file, place in places)


@pytest.mark.slow
def test_report_needs_no_torch():
    probe = "import sys, report; sys.exit('torch' in sys.modules)"
    folder = REPOSITORY / "scripts"
    subprocess.run([sys.executable, "-c", probe], cwd=folder, check=True)


@pytest.mark.parametrize("source, shown", [
    ("precomputed", {"features.manifest", "embed.shards", "names.stains", "labels"}),
    ("patches", {"patches", "names.pattern", "names.stains", "embed.encoder", "embed.shards", "labels"}),
])  # fmt: skip
def test_settings_of_another_source_of_features_are_not_shown(source, shown, tmp_path):
    config = {"patches": "p", "labels": "l", "names": {"pattern": "x", "stains": "h&e"}, "demo": None}
    config |= {"features": {"source": source, "manifest": "m"}, "embed": {"encoder": "uni", "shards": 8}}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    keys = {key for key, _ in study_page.settings(None, tmp_path / "config.yaml")}
    assert keys - {"demo"} == shown | {"features.source"}


@pytest.mark.slow
def test_columns_of_the_labels_table_are_a_table_subgroups_and_a_regression(tmp_path, monkeypatch):
    made, random = Made(tmp_path, n=20), np.random.default_rng(0)
    labels = pd.DataFrame({"Case": made.ids, "Class": 1, "Site": random.choice([NASTY, "B"], 40)})
    labels.assign(Age=random.normal(60, 9, 40).round(1)).to_csv(tmp_path / "labels.csv", index=False)
    flags = ["--labels", tmp_path / "labels.csv", "--columns", "Site", "Age", "--clinical", "Age"]
    page, numbers, table = made.report(monkeypatch, *flags)
    assert NASTY not in page and all(f'<section id="{name}">' in page for name in ("characteristics", "clinical"))
    found = pd.read_csv(tmp_path / "report/characteristics.csv")
    of_all = found[(found["group"] == "all") & (found["column"] == "Site")].set_index("level")["count"]
    assert of_all.sum() == numbers["patients"] and set(of_all.index) == {NASTY, "B"}
    assert {"column_group", "column_error", "clinical"} <= set(table["level"])
    page, numbers, _ = made.report(monkeypatch)
    assert numbers["columns"] is None and 'id="characteristics"' not in page
    assert not (tmp_path / "report/characteristics.csv").exists()

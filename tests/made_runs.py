"""Made-up runs on disk, as the workflow writes them, and the report of them."""

import json
import re
import sys
from html import unescape

import h5py
import numpy as np
import pandas as pd
from pages import undrawn
from repository import REPOSITORY
from scipy.special import softmax

import report as script
from stratamil.cohort import splits
from stratamil.core import files, tables
from stratamil.core.names import column
from stratamil.evaluation import study
from stratamil.features import seal
from stratamil.report import cohort_summary
from stratamil.stats import metrics

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
            benchmark.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:01:01\t812.5\t60\n", encoding="utf-8")

    def write_cohort(self, cases, excluded):
        """What rule cohort makes of these cases, had each one slice of all its patches in h&e."""
        cases = cases.assign(label=cases["label"].astype(str), slices_h_e=1, patches_h_e=cases["n_patches"])
        rows = [(case, "h&e", "match_1", i) for case, n in zip(cases["case_id"], cases["n_patches"]) for i in range(n)]
        patches = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch"])
        patches["path"] = patches.astype(str).agg("/".join, axis=1)
        sides = {"longer": [], "oblong": 0, "of": len(patches)}
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
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
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
        truth = json.dumps({"cases": 4, "mean_auc": 0.7})
        (folder / "attention_analysis/truth_auc.json").write_text(truth, encoding="utf-8")
        (folder / "attention_analysis/case_effective_patches/case_1_top_effective_patches.png").touch()

    @property
    def runs(self):
        return sorted(self.root.glob("split_*/seed_*"))

    def study(self, **settings):
        return study.Study(study.read_runs(self.runs), tables.read_cases(self.root / "cases.csv"), 100, 42, **settings)

    def report(self, monkeypatch, *more, drawn=False):
        """Run the script; returns the page, metrics.json and metrics.csv. Figures take most of its time: on request."""
        if not drawn:
            undrawn(monkeypatch)
        root, output = self.root, self.root / "report"
        words = ["report.py", "--runs", *self.runs, "--cases", root / "cases.csv", "--excluded", root / "excluded.csv"]
        words += ["--unreadable", root / "shard_00.h5", "--splits", *sorted(root.glob("data_splits_*.npz"))]
        words += ["--baselines", root / "baselines.csv", "--benchmarks", root / "benchmarks", "--template", TEMPLATE]
        words += ["--cohort", root / "cohort.json"]
        words += ["--bootstrap-samples", 100, "--output", output, *more]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        script.main(script.arguments())
        page = (output / "index.html").read_text(encoding="utf-8")
        return (
            page,
            json.loads((output / "metrics.json").read_text(encoding="utf-8")),
            pd.read_csv(output / "metrics.csv", dtype=str),
        )

    def written(self, name):
        """Text of another file of the report."""
        return (self.root / "report" / name).read_text(encoding="utf-8")


def words(page):
    """Text of a page without its tables, figures and scripts: what a reader reads."""
    for element in ("head", "style", "script", "svg", "table"):
        page = re.sub(f"<{element}.*?</{element}>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub("<[^>]*>", " ", page)))

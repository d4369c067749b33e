"""A small study for the case browser, on disk as the workflow leaves it: each patch is an image of one colour."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.special import softmax

from stratamil.core import files
from stratamil.core.names import column
from stratamil.evaluation import ensemble
from stratamil.stats.ranking import compared

CLASSES, STAINS, SEEDS = ["benign", "high-grade"], ["h&e", "melan", "sox10"], [1, 2, 3]
NASTY = "<img src=x onerror=alert(1)>\u2028&'\""


class Study:
    """Splits of cases in `root`: split -> {case: patches}. placed: whether patches have places on the slide.
    px: side of the images; None paints none.

    A case named NASTY has nasty slices and paths, too. colours: path -> the colour of its image.
    """

    def __init__(self, root: Path, splits: dict[str, dict[str, int]], seeds=tuple(SEEDS), placed=False, px=24) -> None:
        self.root, self.splits, self.seeds = root, splits, seeds
        self.random, self.colours = np.random.default_rng(3), {}
        self.cases = {case: n for of_split in splits.values() for case, n in of_split.items()}
        self.tables = {case: self._table(case, n, placed) for case, n in self.cases.items()}
        self.folders = {}
        for split, cases in splits.items():
            self.folders[split] = self._write_split(root / f"split_{split}", list(cases))
        self.patches = pd.concat(self.tables.values(), ignore_index=True)
        files.write_parquet(self.patches, root / "inventory/patches.parquet")
        self._write_cases()
        for path in self.patches["path"] if px else ():
            self.paint(path, px)

    def paint(self, path, px=24, colour=None, size=None):
        """Write the image of a patch: one colour, with a corner of its own so that no file equals another."""
        colour = colour or tuple(self.random.integers(30, 220, 3).tolist())
        self.colours[path] = colour
        file = self.root / "patches" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size or (px, px), colour).save(file, format="PNG")

    def _table(self, case, n, placed):
        slices = np.sort(self.random.integers(0, 2 * len(STAINS), n))
        name = f"{NASTY}_" if case == NASTY else ""
        table = pd.DataFrame({"case_id": case, "stain": np.array(STAINS)[slices // 2]})
        table["slice_id"] = [f"{name}match_{k % 2}" for k in slices]
        table["patch"] = np.arange(n, dtype="int32")
        table["path"] = [f"{case}/{k}_{name}patch{i} 100%.png".replace("//", "/") for i, k in enumerate(slices)]
        if placed:
            table[["x", "y"]] = np.argwhere(np.ones((n, 1))) * 256.0 + 7
        return table.assign(bytes=1)

    def _attention(self, case):
        table = self.tables[case].drop(columns=[name for name in ("bytes", "x", "y") if name in self.tables[case]])
        weight = softmax(self.random.normal(0, 1.5, len(table)))
        slices = table.groupby(["stain", "slice_id"], sort=False).ngroup().to_numpy()
        stains = table.groupby("stain", sort=False).ngroup().to_numpy()
        told = {f"contribution_{column(name)}": self.random.normal(size=len(table)) * weight for name in CLASSES}
        of_slice, of_stain = np.bincount(slices, weight)[slices], np.bincount(stains, weight)[stains]
        table = table.assign(patch_weight=weight / of_slice, slice_weight=of_slice / of_stain, stain_weight=of_stain)
        table = table.assign(effective_weight=weight, **told)
        return compared(table.astype(dict.fromkeys(table.select_dtypes("float64"), "float32")))

    def _write_split(self, folder, cases):
        predictions, attention = [], []
        bias = self.random.normal(size=2)
        for seed in self.seeds:
            tables = [self._attention(case) for case in cases]
            logits = (
                np.array([table[["contribution_benign", "contribution_high_grade"]].sum() for table in tables]) + bias
            )
            predictions.append(self._predictions(cases, logits))
            attention.append(pd.concat(tables, ignore_index=True))
            self._write_run(folder / f"seed_{seed}", predictions[-1], attention[-1])
        if len(self.seeds) == 1:
            return folder / f"seed_{self.seeds[0]}"
        self._write_run(folder / "ensemble", ensemble.predictions(predictions, CLASSES), ensemble.attention(attention))
        return folder / "ensemble"

    def _predictions(self, cases, logits):
        p, y = softmax(logits, axis=1), np.array([list(self.cases).index(case) % 2 for case in cases])
        table = pd.DataFrame({"case_id": cases, "true_label": y, "predicted_label": p.argmax(1)})
        table["correct"] = table["true_label"] == table["predicted_label"]
        for kind in ("true", "predicted"):
            table[f"{kind}_class"] = [CLASSES[k] for k in table[f"{kind}_label"]]
        for kind, values in (("prob", p), ("logit", logits)):
            table[[f"{kind}_benign", f"{kind}_high_grade"]] = values
        return table.assign(patches=[self.cases[case] for case in cases])

    def _write_run(self, folder, predictions, attention):
        files.write_csv(predictions, folder / "predictions.csv")
        files.write_parquet(attention, folder / "patch_attention.parquet")
        files.write_json({"classes": CLASSES}, folder / "results.json")

    def _write_cases(self):
        rows = []
        for case, n in self.cases.items():
            there = set(self.tables[case]["stain"])
            missing = ";".join(stain for stain in STAINS if stain not in there)
            known = {"case_id": case, "label": "1", "class": CLASSES[len(rows) % 2], "patient_id": f"P-{case}"}
            rows.append(known | {"n_slices": 2, "n_patches": n, "missing_stains": missing, "status": "used"})
        files.write_csv(pd.DataFrame(rows), self.root / "inventory/cases.csv")

    def thumbnails(self, script, monkeypatch, *more):
        """Run scripts/thumbnails.py as the rule does, for all cases in one shard."""
        words = ["thumbnails.py", "--patches-table", self.root / "inventory/patches.parquet", "--patches"]
        words += [self.root / "patches", "--cases", self.root / "inventory/cases.csv", "--shard", 0, "--shards", 1]
        words += ["--output", self.listing, *more]
        monkeypatch.setattr("sys.argv", list(map(str, words)))
        script.main(script.arguments())

    @property
    def listing(self):
        return self.root / "browser/sprites/shard_00.json"

    def browser(self, script, monkeypatch, *more, images=True):
        """Run scripts/browser.py as the rule does; returns what it lists, and a function: its entry -> patches."""
        words = ["browser.py", "--folders", *self.folders.values(), "--splits", *self.folders, "--seeds", *self.seeds]
        words += ["--cases", self.root / "inventory/cases.csv", "--patches-table"]
        words += [self.root / "inventory/patches.parquet", "--classes", *CLASSES, "--stains", *STAINS]
        words += ["--images", self.root / "patches", "--thumbnails", self.listing] if images else []
        words += ["--page", self.page, "--output", self.root / "browser", *more]
        monkeypatch.setattr("sys.argv", list(map(str, words)))
        script.main(script.arguments())
        return self.listed, lambda entry: called(self.root / f"browser/data/{entry['file']}.js", "patches")[1]

    @property
    def listed(self):
        return called(self.root / "browser/data/cases.js", "cases")[0]

    @property
    def page(self):
        page = self.root / "page"
        files.write_text("<!DOCTYPE html>", page / "index.html")
        return page


def called(path, name):
    """The arguments of the call that a script of data is; the way a browser reads it is tested with the page."""
    text = path.read_text(encoding="ascii")
    assert text.startswith(f"stratamil.{name}(") and text.endswith(");\n")
    return json.loads(f"[{text[len(f'stratamil.{name}(') : -3]}]")

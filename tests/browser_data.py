"""A made study for the case browser's page, written as the rule `browser` writes it, with names that mean harm."""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

PAGE = Path(__file__).parents[1] / "report/browser"
HOSTILE = "</script><img src=x onerror=alert(1)>\u2028&'\""
CLASSES, STAINS = ["benign", "high <b>grade</b>"], ["h&e", "melan", 'sox"10']
COLOURS = ["#0072B2", "#D55E00"], ["#AA4499", "#44AA99", "#DDCC77"]
SEEDS = ["seed 1", "seed 2", "seed 3"]
# id, split, truth, probability of each class, patches of each slice, what else it has
CASES = (
    ("5", "01", 0, (0.9, 0.1), {(0, "A1"): 20, (0, "A2"): 16, (1, "B1"): 9}, {"placed": True}),
    ("26", "01", 1, (0.7, 0.3), {(0, "A1"): 30, (1, "B1"): 10, (2, "C1"): 20}, {"gone": [2], "unread": [3]}),
    ("26", "02", 1, (0.2, 0.8), {(0, "A1"): 30, (1, "B1"): 10, (2, "C1"): 20}, {}),
    ("7", "02", 1, (0.95, 0.05), {(0, "A1"): 3}, {"flags": ["Few patches: 3."], "missing": [1, 2]}),
    (HOSTILE, "02", 0, (0.4, 0.6), {(0, HOSTILE): 12, (1, "B1"): 5}, {"flags": [HOSTILE], "note": HOSTILE}),
    ("101", "02", None, (0.45, 0.55), {(1, "B1"): 8}, {"left_out": True, "bare": True}),
)


def call(name, *told):
    """A script that hands JSON to the page; as the rule writes it, nothing in it can end the script."""
    text = ", ".join(json.dumps(value) for value in told)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return f"stratamil.{name}({text});\n"


class Study:
    """The study in `folder`/browser: `cases` and `patches` (by key) are what the page was told."""

    def __init__(self, folder, cases=CASES, px=24, tissue=False, images=True):
        self.root, self.px, self.random = folder / "browser", px, np.random.default_rng(5)
        self.tissue, self.cases, self.patches = tissue, [], {}
        shutil.copytree(PAGE, self.root)
        (self.root / "data").mkdir()
        several = {case[0] for case in cases if sum(other[0] == case[0] for other in cases) > 1}
        for k, case in enumerate(cases):
            self._write(k, case, case[0] in several)
        self.study = {
            "version": 1,
            "title": f"A study {HOSTILE}",
            "study": "0123456789abcdef",
            "kind": "study",
            "classes": CLASSES,
            "class_colours": COLOURS[0],
            "stains": STAINS,
            "stain_colours": COLOURS[1],
            "seeds": SEEDS,
            "px": px,
            "images": images,
            "columns": 10,
            "patches": "all",
            "cases": self.cases,
        }
        (self.root / "data/cases.js").write_text(call("cases", self.study), encoding="utf-8")

    def address(self, hash_=""):
        return (self.root / "index.html").as_uri() + hash_

    def _write(self, k, case, several):
        name, split, truth, probability, slices, more = case
        n, file = sum(slices.values()), f"case_{k}~x&"
        members = np.clip(np.array(probability) + self.random.normal(0, 0.03, (3, 1)) * [1, -1], 0.01, 0.99)
        self.cases.append(
            {
                "id": name,
                "key": f"{name}@{split}" if several else name,
                "split": split,
                "patient": f"P-{name}",
                "truth": truth,
                "predicted": int(np.argmax(probability)),
                "probability": list(probability),
                "sd": members.std(0, ddof=1).tolist(),
                "members": members.tolist(),
                "stains": sorted({stain for stain, _ in slices}),
                "missing": more.get("missing", []),
                "flags": more.get("flags", []),
                "n_patches": n + (100 if "left_out" in more else 0),
                "file": file,
                "note": more.get("note"),
            }
        )
        told = self._patches(self.cases[-1], slices, more, self._sheets(k, n, more))
        self.patches[self.cases[-1]["key"]] = told
        (self.root / f"data/{file}.js").write_text(call("patches", file, told), encoding="utf-8")

    def _sheets(self, k, n, more):
        if "bare" in more:
            return []
        folder = self.root / f"sprites/{k} &#"
        folder.mkdir(parents=True)
        for s in range(0, n, 100):
            rows = -(-min(100, n - s) // 10)
            shape = (rows * self.px, 10 * self.px, 3)
            if self.tissue:
                small = self.random.integers(90, 255, (shape[0] // 4, shape[1] // 4, 3), dtype="uint8")
                sheet = Image.fromarray(small).resize(shape[1::-1], Image.Resampling.BICUBIC)
            else:
                cells = self.random.integers(60, 255, (rows, 10, 3), dtype="uint8")
                sheet = Image.fromarray(cells.repeat(self.px, 0).repeat(self.px, 1))
            sheet.save(folder / f"{s // 100 + 1:04}.webp", quality=75)
        return [f"sprites/{k} &#/{path.name}" for path in sorted(folder.iterdir())]

    def _patches(self, case, slices, more, sheets):
        n = sum(slices.values())
        of = np.repeat(np.arange(len(slices)), list(slices.values()))
        weight = self.random.dirichlet(np.full(n, 0.4)) * (0.8 if "left_out" in more else 1)
        contribution = np.outer([1, -1], self.random.normal(0, 2, (2, n))[0] * weight)  # to the log odds
        left_out = {"n": 100, "weight": 0.2, "contribution": [0.1, -0.1]} if "left_out" in more else None
        rest = np.array(left_out["contribution"]) if left_out else 0
        stain = np.array([stain for stain, _ in slices])
        of_slice = np.bincount(of, weight)
        of_stain = np.bincount(stain, of_slice)
        number = np.concatenate([np.arange(count) for count in slices.values()])
        sheet = np.full(n, -1) if not sheets else np.arange(n) // 100
        sheet[more.get("unread", [])] = -1
        side, placed = 7, "placed" in more
        folder = case["id"].replace("/", "_")
        return {
            "key": case["key"],
            "bias": [0.25, -0.25],
            "margin": (contribution.sum(1) + rest + [0.25, -0.25]).tolist(),
            "stains": [{"stain": s, "weight": of_stain[s] / weight.sum()} for s in case["stains"]],
            "slices": [
                {"stain": s, "id": name, "weight": of_slice[k] / of_stain[s], "n": count}
                for k, ((s, name), count) in enumerate(slices.items())
            ],
            "images": None if "bare" in more else "../patches%20of/",
            "patches": {
                "path": [f"{folder}/{k}_{i} 100%#.png" for k, i in zip(of, number)],
                "slice": of.tolist(),
                "number": number.tolist(),
                "weight": weight.tolist(),
                "sd": (weight * self.random.uniform(0, 0.5, n)).tolist(),
                "contribution": contribution.tolist(),
                "x": (number % side * 256.0 + 512).tolist() if placed else None,
                "y": (number // side * 256.0 + 1024).tolist() if placed else None,
                "sheet": sheet.tolist(),
                "cell": (np.arange(n) % 100).tolist(),
                "missing": more.get("gone", []),
            },
            "sheets": sheets,
            "left_out": left_out,
        }


def image(study, path, size=40):
    """Write the image of a patch where the page looks for it."""
    file = study.root.parent / "patches of" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (200, 60, 120)).save(file)
    return file

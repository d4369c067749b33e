"""Cohorts as the inventory writes them, for the page about them."""

import pandas as pd
from repository import REPOSITORY

from stratamil.cohort import inventory, splits
from stratamil.core.names import column
from stratamil.report import cohort_summary

TEMPLATE = REPOSITORY / "report/cohort.html.j2"
STAINS = ["h&e", "sox10"]
CLASSES = ["benign", "high-grade"]
COLORS = ["#0072B2", "#D55E00", "#009E73"]
NASTY = "<b>7</b>"


class Made:
    """A cohort without anything to warn of: two classes of `n` cases with the same slices and patches each."""

    def __init__(self, n=12, classes=CLASSES, stains=STAINS):
        self.classes, self.stains = list(classes), list(stains)
        self.cases = [self.case(f"{name[0]}{i}", name, i) for name in classes for i in range(n)]
        self.excluded = []
        self.sides = {"longer": [], "oblong": 0, "of": 5000}
        self.patient_column = "Patient"
        self.plan = {"preset": "splits/{split}.npz"}
        self.untested = []

    def case(self, case_id, name, i=0):
        slices = {stain: [8 + i, 5] for stain in self.stains}
        return {"case_id": case_id, "label": "1", "class": name, "patient_id": f"p{case_id}", "slices": slices}

    def of(self, name):
        return [case for case in self.cases if case["class"] == name]

    def tables(self):
        """patches, cases and excluded as the inventory makes them, and four splits."""
        cases, patches = [], []
        for case in self.cases:
            row = {key: value for key, value in case.items() if key != "slices"}
            counts = {stain: case["slices"].get(stain, []) for stain in self.stains}
            for stain in self.stains:
                row |= {f"slices_{column(stain)}": len(counts[stain]), f"patches_{column(stain)}": sum(counts[stain])}
            row["n_slices"] = sum(map(len, counts.values()))
            row["n_patches"] = sum(map(sum, counts.values()))
            row["missing_stains"] = ";".join(stain for stain in self.stains if not counts[stain])
            cases.append({"status": inventory.USED if row["n_patches"] else "no patches"} | row)
            patches += [
                (case["case_id"], stain, f"match_{i}", k)
                for stain in self.stains
                for i, n in enumerate(counts[stain])
                for k in range(n)
            ]
        columns = ["kind", "name", "reason", "detail", "patches"]
        return (
            pd.DataFrame(patches, columns=["case_id", "stain", "slice_id", "patch"]).assign(
                path=lambda rows: rows.astype(str).agg("/".join, axis=1)
            ),
            pd.DataFrame(cases),
            pd.DataFrame(self.excluded, columns=columns).astype({"patches": int, "reason": str, "kind": str}),
        )

    def splits(self):
        fold = {}
        for name in self.classes:
            fold |= {case["case_id"]: i % 4 for i, case in enumerate(self.of(name)) if any(case["slices"].values())}
        found = {}
        for k in range(4):
            sets = [[], [], []]
            for case, own in fold.items():
                sets[2 if own == k else 1 if own == (k + 1) % 4 else 0].append(case)
            sets[2] = [case for case in sets[2] if case not in self.untested]
            found[f"{k + 1:02d}"] = splits.Split(*sets)
        return found

    def numbers(self):
        patches, cases, excluded = self.tables()
        known = cohort_summary.classed(patches, cases)
        return cohort_summary.numbers(known, cases, excluded, self.splits(), **self.settings())

    def settings(self):
        own = {name: getattr(self, name) for name in ("sides", "classes", "stains", "patient_column", "plan")}
        return own | {"bootstrap_samples": 200, "seed": 1}

    def warnings(self):
        return self.numbers()["warnings"]

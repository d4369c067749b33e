"""The demo cohort through the whole workflow, against what is promised of it, and again with shuffled labels.

The demo must be classified out of fold, and attention must find its planted patches: both numbers are the report's.
With its labels shuffled among the patients, each of whom gives all of theirs to another with as many cases, the same
workflow must find nothing: an AUROC off .5 would be that of a leak. Each shuffle has new splits, for the
preset ones may lack a class; patches are not encoded again. Exit status 1 if a goal is missed.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pandas as pd
import yaml
from sklearn.metrics import roc_auc_score

REPOSITORY = Path(__file__).parents[1]
PARTS = ("Snakefile", "config", "schemas", "rules", "scripts", "report", "profiles", "data_splits", "envs")
CASES, ATTENTION = 0.9, 0.85
MARK = ".stratamil.json"  # of a results folder
CHANCE, ERRORS = 0.5, 2  # standard errors that shuffled labels may be off by


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shuffles", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="of the shuffles")
    parser.add_argument("--cores", type=int, default=measure.cores())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), args.cores)
        kept = [study.demo(), study.shuffles(args.shuffles, np.random.default_rng(args.seed))]
    sys.exit(not all(kept))


class Study:
    """A copy of the workflow in `folder`: the demo paints below its own checkout only."""

    def __init__(self, folder: Path, cores: int) -> None:
        self.folder, self.cores = folder, cores
        for part in PARTS:
            copy = shutil.copytree if (REPOSITORY / part).is_dir() else shutil.copy2
            copy(REPOSITORY / part, folder / part)
        self.config = yaml.safe_load((folder / "config/demo.yaml").read_text(encoding="utf-8"))
        self.results = folder / self.config["results"]

    def run(self, target: str, changes: dict[str, Any]) -> float:
        """Run the workflow to `target` with the demo's config and `changes` laid over it; return the seconds taken."""
        own = self.folder / "changes.yaml"
        own.write_text(yaml.safe_dump(changes), encoding="utf-8")
        snakemake = [Path(sys.executable).with_name("snakemake"), "--profile", "profiles/local", "--cores", self.cores]
        return measure.run([*snakemake, "--configfile", "config/demo.yaml", own, "--", target], self.folder)[0]

    def demo(self) -> bool:
        """Print the results of the demo's report and return whether they reach their goals."""
        seconds = self.run("all", {})
        numbers = json.loads((self.results / "report/metrics.json").read_text(encoding="utf-8"))
        auc, fold_mean = (numbers["out_of_fold"][name] for name in ("roc_auc", "fold_mean"))
        truth = numbers["attention"]["truth"]
        attention = truth["mean_auc"]["value"]
        print(
            f"demo cohort: {numbers['cases']} cases of {numbers['patients']} patients, {len(numbers['runs'])} runs, "
            f"{seconds:.0f} s\n"
            f"  out of fold   AUROC {auc['value']:.3f} (95% {auc['low']:.3f} to {auc['high']:.3f}; mean of the "
            f"folds {fold_mean['value']:.3f}): {measure.goal(auc['value'], CASES)}\n"
            f"  attention     AUROC {attention:.3f} for planted patches of {truth['cases']} positive cases: "
            f"{measure.goal(attention, ATTENTION)}",
            flush=True,
        )
        return auc["value"] >= CASES and attention >= ATTENTION

    def shuffles(self, n: int, rng: np.random.Generator) -> bool:
        """Print the AUROC of n cohorts with shuffled labels and return whether their mean is near chance."""
        print(f"shuffled labels, {n} times, patients kept together")
        aucs = [self.shuffled(number, rng) for number in range(1, n + 1)]
        positives, negatives = self.counts
        # Of an AUROC where every order of the cases is as likely; those of cross-validation may be spread wider.
        spread = max(np.sqrt((positives + negatives + 1) / (12 * positives * negatives)), np.std(aucs, ddof=n > 1))
        error, off = spread / np.sqrt(n), abs(np.mean(aucs) - CHANCE)
        print(
            f"  out of fold   mean AUROC {np.mean(aucs):.3f}, standard error {error:.3f}: off {CHANCE:g} by {off:.3f}, "
            f"{off / error:.1f} standard errors: {measure.verdict(off / error, ERRORS)}"
        )
        return off / error <= ERRORS

    def shuffled(self, number: int, rng: np.random.Generator) -> float:
        """Return the out-of-fold AUROC, pooled over the splits, of the cohort with labels drawn with `rng`."""
        labels, results = f"resources/demo/shuffled_{number}.csv", f"results/shuffled_{number}"
        used = pd.read_csv(self.results / "inventory/cases.csv", dtype=str).query("status == 'used'")
        table = shuffle(pd.read_csv(self.folder / self.config["labels"], dtype=str), used, rng)
        table.to_csv(self.folder / labels, index=False)
        for cache in self.results.glob("features/*/cache"):
            shutil.copytree(cache, self.folder / results / cache.relative_to(self.results))
        shutil.copy2(self.results / MARK, self.folder / results / MARK)
        changes = {"demo": None, "labels": labels, "results": results, "splits": {"preset": None}}
        seconds = self.run("predictions", changes)
        tables = [pd.read_csv(file) for file in (self.folder / results).glob("split_*/seed_*/predictions.csv")]
        positive = np.concatenate([table["true_class"] == "high-grade" for table in tables])
        self.counts = positive.sum(), (~positive).sum()
        auc = roc_auc_score(positive, np.concatenate([table["prob_high_grade"] for table in tables]))
        print(f"  shuffle {number}     AUROC {auc:.3f}, {len(positive)} cases, {seconds:.0f} s", flush=True)
        return auc


def shuffle(labels: pd.DataFrame, used: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return `labels` with the codes of the used cases moved from patient to patient, among those with as many cases.

    labels: columns Case, Class. used: the inventory's rows of the used cases. Other cases keep their codes, so that
    the same cases are used.
    """
    code, moved = used.set_index("case_id")["label"], {}
    patients = [rows.to_list() for _, rows in used.groupby("patient_id")["case_id"]]
    for size in sorted({len(cases) for cases in patients}):
        alike = [cases for cases in patients if len(cases) == size]
        for takes, gives in zip(alike, rng.permutation(alike)):
            moved |= dict(zip(takes, code[gives]))
    return labels.assign(Class=labels["Case"].map(moved).fillna(labels["Class"]))


if __name__ == "__main__":
    main()

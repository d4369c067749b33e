"""The cross-split report of a large study: seconds and memory.

A made study of 5 splits x 10 seeds x 100 cases of 90 patients, all seven kinds of baselines, histories and attention
summaries, and 2,000 bootstrap samples. It is written as the workflow writes it; the script runs as the rule runs it.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from patches import SCRIPTS
from scipy.special import softmax

from stratamil.cohort import splits
from stratamil.core import files
from stratamil.report import cohort_summary
from stratamil.stats import metrics

CLASSES, STAINS = ["benign", "high-grade"], ["h&e", "melan", "sox10"]
BASELINES = ("summary", "mean_pool", *(f"mean_pool_{stain}" for stain in STAINS), "colour", "patch_count", "prevalence")
LIMIT = 60  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--bootstrap-samples", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = write(Path(folder), args)
        (results,) = measure.paired(args.repeats, command)
    seconds, memory = measure.seconds(results), max(peak for _, peak in results)
    print(
        f"report of {args.splits} splits x {args.seeds} seeds x {args.cases} cases, {args.bootstrap_samples} bootstrap "
        f"samples, "
        f"{measure.cores()} cores: {seconds:.1f} s ({measure.verdict(seconds, LIMIT)} s), {memory:.0f} MB"
    )


def write(root: Path, args: argparse.Namespace) -> list[Any]:
    """Write a study's files and return the command that reports on it."""
    random = np.random.default_rng(0)
    cases = made_cases(random, args.cases)
    y = (cases["class"] == CLASSES[1]).to_numpy().astype(int)
    parts = np.array_split(random.permutation(args.cases), args.splits)
    ids, runs, baselines, sets = cases["case_id"].to_numpy(), [], [], {}
    patches = cases["n_patches"].to_numpy()

    def predictions(index: NDArray) -> pd.DataFrame:
        return predicted(random, ids, y, index).assign(patches=patches[index])

    for i, test in enumerate(parts):
        name, val = f"{i + 1:02d}", parts[(i + 1) % args.splits]
        train = np.setdiff1d(np.arange(args.cases), [*test, *val])
        sets[name] = splits.Split(*(list(ids[part]) for part in (train, val, test)))
        splits.write(sets[name], root / f"data_splits_{name}.npz")
        for seed in range(1, args.seeds + 1):
            runs.append(root / f"split_{name}/seed_{seed}")
            write_run(random, runs[-1], name, seed, [predictions(part) for part in (test, val)])
        baselines += [predicted(random, ids, y, test, 1).assign(split=name, baseline=each) for each in BASELINES]
    pd.concat(baselines).to_csv(root / "baselines.csv", index=False)
    cases.to_csv(root / "cases.csv", index=False)
    excluded = pd.DataFrame(columns=["kind", "name", "reason", "detail", "patches"])
    excluded.to_csv(root / "excluded.csv", index=False)
    files.write_json(made_cohort(cases, excluded, sets), root / "cohort.json")
    command = [sys.executable, SCRIPTS / "report.py", "--runs", *runs, "--cases", root / "cases.csv"]
    command += ["--excluded", root / "excluded.csv", "--splits", *sorted(root.glob("*.npz"))]
    command += [
        "--cohort",
        root / "cohort.json",
        "--baselines",
        root / "baselines.csv",
        "--bootstrap-samples",
        args.bootstrap_samples,
    ]
    return [*command, "--template", SCRIPTS.parent / "report/index.html.j2", "--output", root / "report"]


def made_cases(random: np.random.Generator, n: int) -> pd.DataFrame:
    """Return cases.csv of n cases, a tenth of them second cases of a patient."""
    ids = np.arange(1, n + 1)
    y = (random.random(n) < 0.6).astype(int)
    stains = {f"slices_{slug}": 1 for slug in ("h_e", "melan", "sox10")}
    stains |= {f"patches_{slug}": random.integers(50, 500, n) for slug in ("h_e", "melan", "sox10")}
    table = pd.DataFrame({"case_id": ids.astype(str), "label": (y * 2 + 1).astype(str), "status": "used", **stains})
    patches = sum(stains[f"patches_{slug}"] for slug in ("h_e", "melan", "sox10"))
    patients = np.where(ids % 10 == 0, ids - 1, ids).astype(str)
    table["class"] = [CLASSES[label] for label in y]
    return table.assign(patient_id=patients, n_slices=3, n_patches=patches, missing_stains="")


def made_cohort(cases: pd.DataFrame, excluded: pd.DataFrame, sets: dict[str, splits.Split]) -> dict[str, Any]:
    """Return the numbers of the cohort page; of its patches only how many there are matters here."""
    rows = cases[["case_id"]].assign(stain=STAINS[0], slice_id="match_1", patch=1)
    sides = {"longer": [], "oblong": 0, "drawn": 0, "of": 0, "unreadable": []}
    return cohort_summary.numbers(
        cohort_summary.classed(rows, cases),
        cases,
        excluded,
        sets,
        sides=sides,
        classes=CLASSES,
        stains=STAINS,
        patient_column="Patient",
        bootstrap_samples=100,
        seed=1,
        plan={"preset": "made"},
    )


def predicted(random: np.random.Generator, ids: NDArray, y: NDArray, index: NDArray, noise: float = 2) -> pd.DataFrame:
    """Return a predictions table of these cases."""
    logits = np.eye(2)[y[index]] * 2 + noise * random.normal(size=(len(index), 2))
    table = pd.DataFrame({"case_id": ids[index], "true_class": [CLASSES[label] for label in y[index]]})
    table[["prob_benign", "prob_high_grade"]] = softmax(logits, axis=1)
    table[["logit_benign", "logit_high_grade"]] = logits
    return table


def write_run(random: np.random.Generator, folder: Path, split: str, seed: int, tables: list[pd.DataFrame]) -> None:
    """Write what evaluate, train and attention leave of a run."""
    (folder / "attention_analysis").mkdir(parents=True)
    for name, table in zip(("predictions", "validation_predictions"), tables):
        table.to_csv(folder / f"{name}.csv", index=False)
    results = {"split": split, "seed": seed, "classes": CLASSES, "epoch": 9, "temperature": 1.2, "threshold": 0.4}
    y = (tables[0]["true_class"] == CLASSES[1]).to_numpy().astype(int)
    results |= metrics.summary(y, tables[0][["prob_benign", "prob_high_grade"]].to_numpy(), CLASSES)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    epochs = {"epoch": range(1, 31), "train_loss": 0.5, "val_loss": 0.6, "val_auc": 0.8}
    pd.DataFrame(epochs).assign(best=lambda t: t["epoch"] == 9).to_csv(folder / "history.csv", index=False)
    weights = random.dirichlet([1, 1, 1], len(tables[0]))
    columns = [f"stain_weight_{slug}" for slug in ("h_e", "melan", "sox10")]
    summary = tables[0][["case_id"]].assign(most_attended_stain="h&e", **dict(zip(columns, weights.T)))
    summary.to_csv(folder / "attention_analysis/summary.csv", index=False)


if __name__ == "__main__":
    main()

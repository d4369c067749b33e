"""Attention analysis with all its figures: seconds a case at 700 and at 3,000 patches, and memory.

Each case has three stains of four slices, so that as many galleries are drawn as a case can have, of patches with the
sizes of a real study. A case's seconds are the difference between many cases and few, shared out: what starting the
program takes is not counted. One more run has the largest patch of that study as the most attended of each case.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import measure
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from patches import SCRIPTS, paint, spread
from scipy.special import softmax

from stratamil.core import files
from stratamil.stats import ranking

STAINS = ("h&e", "melan", "sox10")
SLICES = 4  # of a stain; two of them have galleries
PAINTED = 200  # images; patches are links to them
LARGEST = 7576  # pixels
MEDIAN, MANY = 700, 3000  # patches of a case
FEW, ALL = 2, 12  # cases
SECONDS, MEGABYTES = 1.5, 1000

Runs = list[tuple[float, float]]  # seconds and megabytes of each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=measure.cores())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), args.repeats, args.threads)


def compare(folder: Path, repeats: int, threads: int) -> None:
    # In a separate process: a program counts the memory of the one that starts it as its own.
    painter = multiprocessing.Process(target=paint, args=(folder / "painted", [*spread(PAINTED), LARGEST]))
    painter.start()
    painter.join()
    *painted, largest = sorted((folder / "painted").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    studies = [study(folder / f"{n}_{cases}", n, cases, painted) for n in (MEDIAN, MANY) for cases in (FEW, ALL)]
    studies.append(study(folder / "largest", MEDIAN, FEW, painted, largest))
    print(f"attention analysis of {ALL} cases on {threads} threads, {repeats} times")
    results = measure.paired(repeats, *(command(place, threads) for place in studies))
    (few, all_), (few_many, all_many), large = results[:2], results[2:4], results[4]
    median, many = per_case(few, all_), per_case(few_many, all_many)
    for n, (taken, least, most), runs in ((MEDIAN, median, all_), (MANY, many, all_many)):
        limit = measure.verdict(taken, SECONDS * n / MEDIAN)
        print(f"  a case of {n:5,} patches        {taken:6.2f} s   ({least:.2f} to {most:.2f}): {limit}")
        print(f"    peak memory                {peak(runs)}")
    ratio = many[0] / median[0]
    print(f"  ratio of the two             {ratio:6.2f}     {measure.verdict(ratio, MANY / MEDIAN)}")
    print(f"  start, and {FEW} cases of {MEDIAN}     {measure.seconds(few):6.2f} s")
    print(f"  a patch of {LARGEST:,} px in each: peak memory {peak(large)}")


def per_case(few: Runs, all_: Runs) -> tuple[float, float, float]:
    """Return the seconds of one case more: median, least and most over the pairs."""
    return measure.spread((b - a) / (ALL - FEW) for (a, _), (b, _) in zip(few, all_))


def peak(runs: Runs) -> str:
    most = max(megabytes for _, megabytes in runs)
    return f"{most:.0f} MB a process: {measure.verdict(most, MEGABYTES)}"


def study(place: Path, n: int, cases: int, painted: list[Path], largest: Path | None = None) -> Path:
    """Write what evaluate writes for `cases` cases of n patches, and their images; return the place."""
    rng, tables, logits = np.random.default_rng(0), [], []
    (place / "patches").mkdir(parents=True)
    for case in range(1, cases + 1):
        table = weighed(rng, case, n)
        for row in table.itertuples():
            image = largest if largest and row.rank == 1 else painted[rng.integers(len(painted))]
            os.link(image, place / "patches" / row.path)
        tables.append(table)
        logits.append(table[["contribution_benign", "contribution_high_grade"]].sum().to_numpy(float))
    files.write_parquet(pd.concat(tables, ignore_index=True), place / "patch_attention.parquet")
    predictions(np.array(logits)).to_csv(place / "predictions.csv", index=False)
    return place


def weighed(rng: np.random.Generator, case: int, n: int) -> pd.DataFrame:
    """Return the patches of a case with random weights that add up, and random contributions."""
    place = np.sort(rng.integers(0, len(STAINS) * SLICES, n))
    stain, slice_ = np.divmod(place, SLICES)
    table = pd.DataFrame({"case_id": str(case), "stain": np.array(STAINS)[stain], "slice_id": slice_ + 1})
    table["slice_id"] = "match_" + table["slice_id"].astype(str)
    table["patch"] = np.arange(n, dtype="int32")
    names = zip(table["slice_id"], table["stain"], table["patch"])
    table["path"] = [f"case_{case}_{name}_{stain}_patch{patch}.png" for name, stain, patch in names]
    scores = rng.normal(0, 1.5, n)
    table["effective_weight"] = softmax(scores)
    by_stain, by_slice = (
        table.groupby(keys)["effective_weight"].transform("sum") for keys in ("stain", ["stain", "slice_id"])
    )
    table["patch_weight"] = table["effective_weight"] / by_slice
    table["slice_weight"] = by_slice / by_stain
    table["stain_weight"] = by_stain
    for name in ("benign", "high_grade"):
        table[f"contribution_{name}"] = rng.normal(0, 1, n) * table["effective_weight"]
    floats = table.select_dtypes("float64").columns
    return ranking.compared(table.astype(dict.fromkeys(floats, "float32")))


def predictions(logits: NDArray[np.float64]) -> pd.DataFrame:
    """Return logits (cases, 2) as evaluate writes them."""
    p = softmax(logits, axis=1)
    label = np.array(["benign", "high-grade"])[p.argmax(axis=1)]
    table = pd.DataFrame({"case_id": np.arange(1, len(p) + 1), "true_class": label, "predicted_class": label})
    for kind, values in (("prob", p), ("logit", logits)):
        table[[f"{kind}_benign", f"{kind}_high_grade"]] = values
    return table


def command(place: Path, threads: int) -> list[object]:
    """Return the program of the rule, as Snakemake calls it."""
    return [
        sys.executable, SCRIPTS / "attention.py", "--folders", place, "--names", "seed 42",
        "--patches", place / "patches", "--split", "01", "--stains", *STAINS, "--threads", threads,
        "--log", place / "log",
    ]  # fmt: skip


if __name__ == "__main__":
    main()

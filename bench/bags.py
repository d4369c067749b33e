"""Bags of instances that are no tissue, as a study of precomputed features: data and study.yaml in one folder.

digits: 90 bags of 10 to 30 of scikit-learn's handwritten digits, half of them with one or two 9s, the rest with none.
musk: synthetic, in the shape of the MUSK1 table: 47 positive and 45 negative bags of 2 to about 20 instances, of 166
features that follow a few factors. Instances of a bag are alike. A positive bag has one instance in a small region in
which no instance of a negative bag is. Labels say nothing else of a bag.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

DIGIT_BAGS, TARGET = 90, 9
POSITIVE, NEGATIVE, FEATURES = 47, 45, 166
FACTORS, DECISIVE = 12, 4  # of an instance; those of them in which the region lies
ALIKE = 0.6  # share of the variance of the factors that instances of a bag share
INSIDE, OUTSIDE = 0.3, 1.2  # SD within the region, and how near its centre an instance of another bag may come
NOISE = 0.3  # SD of a feature, of which the factors explain about 1

Bag = tuple[NDArray[np.float64], bool]  # instances (n, D), whether it is positive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write; its results are in FOLDER/results")
    parser.add_argument("--kind", choices=MAKERS, required=True)
    parser.add_argument("--seed", type=int, default=1, help="of the cohort")
    args = parser.parse_args()
    bags = list(MAKERS[args.kind](np.random.default_rng(args.seed)))
    write(args.folder.resolve(), [bags[i] for i in np.random.default_rng(0).permutation(len(bags))])


def digits(rng: np.random.Generator) -> Iterator[Bag]:
    """Yield bags of digits, of which positive ones hold one or two of the target."""
    from sklearn.datasets import load_digits

    pixels, values = load_digits(return_X_y=True)
    wanted, others = np.flatnonzero(values == TARGET), np.flatnonzero(values != TARGET)
    for number in range(DIGIT_BAGS):
        positive, n = number % 2 == 1, rng.integers(10, 31)
        held = rng.integers(1, 3) if positive else 0
        rows = [rng.choice(pool, k, replace=False) for pool, k in ((wanted, held), (others, n - held))]
        yield pixels[np.concatenate(rows)], positive


def musk(rng: np.random.Generator) -> Iterator[Bag]:
    """Yield bags of instances of which one decides."""
    centre = rng.normal(0, 1, DECISIVE)
    mixed, bent = rng.normal(0, 1, (FACTORS, FACTORS)), rng.normal(0, 1, (FACTORS, FEATURES))
    for number in range(POSITIVE + NEGATIVE):
        n = min(2 + int(rng.geometric(0.25)), 20)
        shared = np.sqrt(ALIKE) * rng.normal(0, 1, FACTORS)
        inside = centre + rng.normal(0, INSIDE, DECISIVE)
        if positive := number < POSITIVE:  # the others are near the one that decides
            shared[:DECISIVE] = ALIKE * inside + np.sqrt(ALIKE * (1 - ALIKE)) * rng.normal(0, 1, DECISIVE)
        factors = shared + np.sqrt(1 - ALIKE) * rng.normal(0, 1, (n, FACTORS))
        if positive:
            factors[0, :DECISIVE] = inside
        else:
            away = factors[:, :DECISIVE] - centre
            length = np.linalg.norm(away, axis=1, keepdims=True)
            factors[:, :DECISIVE] = centre + away * np.maximum(1, OUTSIDE / length)
        values = np.tanh(factors @ mixed / np.sqrt(FACTORS)) @ bent / np.sqrt(FACTORS)
        yield 100 * (values + rng.normal(0, NOISE, values.shape)), positive


MAKERS = {"digits": digits, "musk": musk}


def write(folder: Path, bags: list[Bag]) -> None:
    """Write features, labels, manifest and study file."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes, cases = [len(values) for values, _ in bags], np.arange(1, len(bags) + 1)
    np.savez(
        folder / "bags.npz",
        features=np.concatenate([values for values, _ in bags]).astype(np.float32),
        case=np.repeat(cases, sizes),
        stain=np.full(sum(sizes), "h&e"),
        slice=np.full(sum(sizes), "match_1"),
        instance=np.concatenate([np.arange(size) for size in sizes]),
    )
    (folder / "manifest.csv").write_text("file\nbags.npz\n", encoding="utf-8")
    labels = pd.DataFrame({"Case": cases, "Class": ["yes" if positive else "no" for _, positive in bags]})
    labels.to_csv(folder / "labels.csv", index=False)
    study = {
        "labels": str(folder / "labels.csv"),
        "results": str(folder / "results"),
        "cohort": {"patient_column": "Case", "classes": [{"none": ["no"]}, {"some": ["yes"]}]},
        "features": {"source": "precomputed", "manifest": str(folder / "manifest.csv")},
        "embed": {"shards": 1},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()

"""What images add to a clinical column, estimated in three ways on simulated cohorts: python bench/clinical.py

Each cohort has 90 cases, a third of them positive, in 5 splits; a clinical column of AUROC .76; 20 image features, on
which logistic regression stands for the model. The score and the column are stacked on the validation cases of a split,
on the other splits' test cases (the report), or on these with models trained again without the split's test cases.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from stratamil.evaluation.clinical import stacked
from stratamil.stats.metrics import roc_auc

CASES, SPLITS, FEATURES, INFORMATIVE = 90, 5, 20, 5
WAYS = ("clinical", "images", "validation", "other splits (report)", "other splits, retrained")


def odds(x: NDArray, y: NDArray, others: NDArray) -> NDArray:
    """Return the log odds of others by logistic regression on x."""
    return LogisticRegression(max_iter=2000).fit(x, y).decision_function(others)


def cohort(number: int, shift: float) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return labels, clinical column, image features and split of each case."""
    random, fold = np.random.default_rng(number), np.arange(CASES) % SPLITS
    y = (np.arange(CASES) % 3 == 0).astype(int)
    random.shuffle(y)
    column, x = y[:, None] + random.normal(size=(CASES, 1)), random.normal(size=(CASES, FEATURES))
    x[:, :INFORMATIVE] += shift * y[:, None]
    return y, column, x, fold


def fold_means(number: int, shift: float) -> NDArray[np.float64]:
    """Return the mean of the splits' AUROCs in each of `WAYS`."""
    y, column, x, fold = cohort(number, shift)
    sets = [(fold == s, fold == (s + 1) % SPLITS) for s in range(SPLITS)]
    score = np.zeros(CASES)
    for test, val in sets:
        train = ~test & ~val
        score[test] = odds(x[train], y[train], x[test])
    found = []
    for s, (test, val) in enumerate(sets):
        train, rest, strict = ~test & ~val, ~test, np.zeros(CASES)
        for q in set(range(SPLITS)) - {s}:
            other = fold == q
            kept = ~test & ~other
            strict[other] = odds(x[kept], y[kept], x[other])
        clinical, inner, whole = (odds(column[of], y[of], column) for of in (rest, train, rest))
        of_val = odds(x[train], y[train], x)
        ways = [clinical[test], score[test]]
        ways.append(stacked(np.c_[inner, of_val][val], y[val])(np.c_[inner, of_val][test]))
        for own in (score, strict):
            ways.append(stacked(np.c_[whole, own][rest], y[rest])(np.c_[whole, score][test]))
        found.append([roc_auc(y[test], each) for each in ways])
    return np.mean(np.array(found, dtype=float), axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=200)
    args = parser.parse_args()
    for shift in (0.0, 0.5):
        found = np.array([fold_means(number, shift) for number in range(args.cohorts)])
        found = found[~np.isnan(found).any(axis=1)]
        gain = found - found[:, :1]
        print(f"image features shifted by {shift:g}, {len(found)} cohorts")
        for name, value, mean, sd in zip(WAYS, found.mean(axis=0), gain.mean(axis=0), gain.std(axis=0, ddof=1)):
            print(f"  {name:24} AUROC {value:.3f}, gain {mean:+.3f}, SD {sd:.3f}, SE {sd / len(found) ** 0.5:.3f}")


if __name__ == "__main__":
    main()

"""How often a nominal 95% CI of the AUROC covers the true value, in simulated cohorts: the report's and others.

Scores are normal in each class; a third of the patients is positive. In some cohorts 15 % of the patients have three
cases, alike in score, or the splits are shifted against each other, as folds of different models are.
  report      patients sampled without strata, SD of the samples on the logit scale (stats/intervals.py)
  percentile  percentiles of the same samples
  strata      percentiles of samples of patients within class and split
  DeLong      on the logit scale; cases taken as independent
"""

import argparse
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from patches import SCRIPTS  # noqa: F401 (finds stratamil)
from scipy.stats import norm

from stratamil.stats import intervals, metrics

SHIFTS = np.array([-0.35, -0.175, 0, 0.175, 0.35])  # of the splits, in SD of a score
COHORTS = [(auc, several, shifted) for auc in (0.75, 0.85, 0.95) for several, shifted in ((0, 0), (0.15, 0), (0, 1))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=90)
    parser.add_argument("--cohorts", type=int, default=1000, help="of each kind; the error is .007 for 1,000")
    parser.add_argument("--bootstrap-samples", type=int, default=400)
    args = parser.parse_args()
    rows = []
    for auc, several, shifted in COHORTS:
        kind = {"auc": auc, "several": several, "shifted": shifted}
        random, y, score = np.random.default_rng(1), *cohort(np.random.default_rng(0), 400_000, **kind)[:2]
        truth, held = metrics.roc_auc(y, score), []
        for _ in range(args.cohorts):
            made = cohort(random, args.patients, **kind)
            if metrics.has_both(made[0]):
                ends = find(*made, bootstrap_samples=args.bootstrap_samples)
                held.append({name: low <= truth <= high for name, (low, high) in ends.items()})
        rows.append({"AUROC": round(truth, 3), "several cases": several, "shifted": shifted} | dict(means(held)))
    print(f"coverage of nominal 95% CIs, {args.patients} patients, {args.cohorts} cohorts a row")
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.3f}"))


def means(held: list[dict[str, bool]]) -> Iterable[tuple[str, float]]:
    """Return (name, share) of dicts of booleans."""
    return pd.DataFrame(held).mean().items()


def cohort(random: np.random.Generator, patients: int, auc: float, several: float, shifted: int) -> tuple[NDArray, ...]:
    """Return labels, scores, patients and splits of a made cohort."""
    patient = np.repeat(np.arange(patients), np.where(random.random(patients) < several, 3, 1))
    y, split = (random.random(patients) < 1 / 3)[patient].astype(int), random.integers(0, 5, patients)[patient]
    noise = 0.6**0.5 * random.normal(size=patients)[patient] + 0.4**0.5 * random.normal(size=len(patient))
    return y, noise + norm.ppf(auc) * 2**0.5 * y + shifted * SHIFTS[split], patient, split


def find(
    y: NDArray, score: NDArray, patients: NDArray, split: NDArray, *, bootstrap_samples: int
) -> dict[str, Sequence[float]]:
    """Return the ends of the interval of a cohort by each method."""
    p = np.column_stack([-score, score])
    free = intervals.weighted_auc(y, p, intervals.bootstrap_weights(patients, bootstrap_samples, 0))
    bound = intervals.weighted_auc(y, p, within_strata(y, patients, split, bootstrap_samples))
    report = intervals.auc_interval(metrics.auc(y, p), free, [intervals.sides(y, patients, 2)])
    delong = intervals.delong(y, score)
    return {
        "report": (report.low, report.high),
        "percentile": np.nanquantile(free, [0.025, 0.975]),
        "strata": np.quantile(bound, [0.025, 0.975]),
        "DeLong": (delong.low, delong.high),
    }


def within_strata(y: NDArray, patients: NDArray, split: NDArray, bootstrap_samples: int) -> NDArray:
    """Return weights (B, n) of samples of patients within class and split, as many of each as the cohort has."""
    random = np.random.default_rng(0)
    names, first, member = np.unique(patients, return_index=True, return_inverse=True)
    strata, counts = y[first] * 10 + split[first], np.zeros((bootstrap_samples, len(names)))
    for stratum in np.unique(strata):
        here = np.flatnonzero(strata == stratum)
        even = np.full(len(here), 1 / len(here))
        counts[:, here] = random.multinomial(len(here), even, size=bootstrap_samples)
    return counts[:, member]


if __name__ == "__main__":
    main()

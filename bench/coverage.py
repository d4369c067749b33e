"""How often a nominal 95 % interval of the AUROC holds the truth, in simulated cohorts: the report's and others.

Scores are normal in each class; a third of the patients is positive. In some cohorts 15 % of the patients have three
cases, alike in score, or the splits are shifted against each other, as folds of different models are.
  report      patients drawn without strata, SD of the draws on the logit scale (stratamil.intervals)
  percentile  percentiles of the same draws
  strata      percentiles of draws of patients within class and split
  DeLong      on the logit scale; cases taken as independent
"""

import argparse

import numpy as np
import pandas as pd
from patches import SCRIPTS  # noqa: F401 (finds stratamil)
from scipy.stats import norm

from stratamil.stats import intervals, metrics

SHIFTS = np.array([-0.35, -0.175, 0, 0.175, 0.35])  # of the splits, in SD of a score
COHORTS = [(auc, several, shifted) for auc in (0.75, 0.85, 0.95) for several, shifted in ((0, 0), (0.15, 0), (0, 1))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=90)
    parser.add_argument("--cohorts", type=int, default=1000, help="of each kind; the error is .007 for 1,000")
    parser.add_argument("--draws", type=int, default=400)
    args = parser.parse_args()
    rows = []
    for auc, several, shifted in COHORTS:
        kind = {"auc": auc, "several": several, "shifted": shifted}
        random, y, score = np.random.default_rng(1), *cohort(np.random.default_rng(0), 400_000, **kind)[:2]
        truth, held = metrics.roc_auc(y, score), []
        for _ in range(args.cohorts):
            made = cohort(random, args.patients, **kind)
            if metrics.has_both(made[0]):
                held.append({name: low <= truth <= high for name, (low, high) in find(*made, args.draws).items()})
        rows.append({"AUROC": round(truth, 3), "several cases": several, "shifted": shifted} | dict(means(held)))
    print(f"coverage of nominal 95 % intervals, {args.patients} patients, {args.cohorts} cohorts a row")
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.3f}"))


def means(held):
    """(name, share) of dicts of booleans."""
    return pd.DataFrame(held).mean().items()


def cohort(random, patients, auc, several, shifted):
    """Labels, scores, patients and splits of a made cohort."""
    group = np.repeat(np.arange(patients), np.where(random.random(patients) < several, 3, 1))
    y, split = (random.random(patients) < 1 / 3)[group].astype(int), random.integers(0, 5, patients)[group]
    noise = 0.6**0.5 * random.normal(size=patients)[group] + 0.4**0.5 * random.normal(size=len(group))
    return y, noise + norm.ppf(auc) * 2**0.5 * y + shifted * SHIFTS[split], group, split


def find(y, score, group, split, draws):
    """The intervals of a cohort by each method."""
    p = np.column_stack([-score, score])
    free = intervals.weighted_auc(y, p, intervals.bootstrap_weights(group, draws, 0))
    bound = intervals.weighted_auc(y, p, within_strata(y, group, split, draws))
    return {
        "report": intervals.auc_interval(metrics.auc(y, p), free, intervals.sizes(y, group, 2)),
        "percentile": np.nanquantile(free, [0.025, 0.975]),
        "strata": np.quantile(bound, [0.025, 0.975]),
        "DeLong": intervals.delong(y, score)[1:],
    }


def within_strata(y, group, split, draws):
    """Weights (draws, n) of draws of patients within class and split, as many of each as the cohort has."""
    random = np.random.default_rng(0)
    groups, first, member = np.unique(group, return_index=True, return_inverse=True)
    strata, counts = y[first] * 10 + split[first], np.zeros((draws, len(groups)))
    for stratum in np.unique(strata):
        here = np.flatnonzero(strata == stratum)
        counts[:, here] = random.multinomial(len(here), np.full(len(here), 1 / len(here)), size=draws)
    return counts[:, member]


if __name__ == "__main__":
    main()

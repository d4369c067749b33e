"""How often a nominal 95% CI of the AUROC covers the true value, in simulated cohorts.

fixed  The scores are those of one model that is given: only the choice of patients is random. Scores are normal in each
       class; a third of the patients is positive. In some cohorts 15 % of the patients have three cases, alike in
       score, or the splits are shifted against each other, as folds of different models are.
few    The same with one case each and fewer than 20 patients of a class, where the report takes Newcombe's interval.
refit  Each cohort trains its own models, as a study does: five splits, test, validation (the next test set) and train,
       logistic regression on a few features. The interval is compared with two truths: the mean AUROC of the cohort's
       own five models on endless new patients, and that of the procedure, the mean over all cohorts.

Methods:
  report      what stats/intervals.py gives
  bootstrap   patients sampled without strata, SD of the samples on the logit scale
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
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from stratamil.stats import intervals, metrics

SHIFTS = np.array([-0.35, -0.175, 0, 0.175, 0.35])  # of the splits, in SD of a score
FIXED = [(auc, several, shifted) for auc in (0.75, 0.85, 0.95) for several, shifted in ((0, 0), (0.15, 0), (0, 1))]
FEW = [(auc, patients) for patients in (12, 24, 45) for auc in (0.75, 0.85, 0.95)]
REFIT = [(features, best) for features in (5, 20) for best in (0.85, 0.95)]  # best: AUROC if the truth were known
SPLITS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["fixed", "few", "refit"])
    parser.add_argument("--patients", type=int, default=90, help="of fixed and refit")
    parser.add_argument("--cohorts", type=int, default=1000, help="of each kind; the error is .007 for 1,000")
    parser.add_argument("--bootstrap-samples", type=int, default=400)
    args = parser.parse_args()
    rows = {"fixed": fixed, "few": few, "refit": refit}[args.part](args)
    print(f"{args.part}: coverage of nominal 95% CIs, {args.cohorts} cohorts a row")
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.3f}"))


def fixed(args: argparse.Namespace) -> Iterable[dict[str, float]]:
    """Yield the coverage of each method for cohorts whose scores are given."""
    for auc, several, shifted in FIXED:
        kind = {"auc": auc, "several": several, "shifted": shifted}
        truth, held = true_auc(**kind), []
        for made in cohorts(args.cohorts, args.patients, **kind):
            ends = find(*made, bootstrap_samples=args.bootstrap_samples)
            held.append({name: low <= truth <= high for name, (low, high) in ends.items()})
        yield {"AUROC": round(truth, 3), "several cases": several, "shifted": shifted} | dict(means(held))


def few(args: argparse.Namespace) -> Iterable[dict[str, float]]:
    """Yield coverage and median width of the report's interval and of the bootstrap's, in small cohorts."""
    for auc, patients in FEW:
        truth, held, widths = true_auc(auc=auc, several=0, shifted=0), [], []
        for y, score, patient, split in cohorts(args.cohorts, patients, auc=auc, several=0, shifted=0):
            ends = find(y, score, patient, split, bootstrap_samples=args.bootstrap_samples)
            ends = {name: ends[name] for name in ("report", "bootstrap", "DeLong")}
            held.append({name: low <= truth <= high for name, (low, high) in ends.items()})
            widths.append({f"{name} width": high - low for name, (low, high) in ends.items()})
        yield {"AUROC": round(truth, 3), "patients": patients} | dict(means(held)) | dict(pd.DataFrame(widths).median())


def refit(args: argparse.Namespace) -> Iterable[dict[str, float]]:
    """Yield coverage of the pooled and the fold-mean interval for cohorts that train their own models."""
    for features, best in REFIT:
        random, found = np.random.default_rng(1), []
        for _ in range(args.cohorts):
            found.append(study(random, args.patients, features, best, args.bootstrap_samples))
        table = pd.DataFrame(found)
        procedure, row = table["own"].mean(), {"features": features, "best": best}
        row |= {"true AUROC": procedure} | {name: table[f"{name} value"].mean() for name in ("pooled", "fold mean")}
        for name in ("pooled", "fold mean"):
            low, high = table[f"{name} low"], table[f"{name} high"]
            row[f"{name}: own models"] = ((low <= table["own"]) & (table["own"] <= high)).mean()
            row[f"{name}: procedure"] = ((low <= procedure) & (procedure <= high)).mean()
        yield row


def study(
    random: np.random.Generator, patients: int, features: int, best: float, bootstrap_samples: int
) -> dict[str, float]:
    """Return the intervals of one cohort that trains its models, and the mean of their true AUROCs (`own`)."""
    gap = np.full(features, norm.ppf(best) * 2**0.5 / features**0.5)  # between the classes, in SD of a feature
    y = np.arange(patients) % 3 == 0
    x = random.normal(size=(patients, features)) + y[:, None] * gap
    tests = [test for _, test in StratifiedKFold(SPLITS, shuffle=True, random_state=0).split(x, y)]
    p, own, split = np.empty(patients), [], np.empty(patients, int)
    for i, test in enumerate(tests):
        train = np.concatenate([part for j, part in enumerate(tests) if j not in (i, (i + 1) % SPLITS)])
        model = LogisticRegression(class_weight="balanced").fit(x[train], y[train])
        p[test], split[test] = model.predict_proba(x[test])[:, 1], i
        own.append(norm.cdf(model.coef_[0] @ gap / np.linalg.norm(model.coef_[0]) / 2**0.5))
    weights, both = intervals.bootstrap_weights(np.arange(patients), bootstrap_samples, 0), np.column_stack([1 - p, p])
    pooled = intervals.auc_interval(
        metrics.auc(y, both), intervals.weighted_auc(y, both, weights), [intervals.sides(y, np.arange(patients), 2)]
    )
    of_folds = intervals.auc_interval(
        np.mean([metrics.auc(y[test], both[test]) for test in tests]),
        np.mean([intervals.weighted_auc(y[test], both[test], weights[:, test]) for test in tests], axis=0),
        [intervals.sides(y[test], test, 2) for test in tests],
    )
    named = {"pooled": pooled, "fold mean": of_folds}
    parts = ("value", "low", "high")
    return {"own": np.mean(own)} | {
        f"{name} {part}": getattr(each, part) for name, each in named.items() for part in parts
    }


def true_auc(**kind: float) -> float:
    """Return the AUROC of endless patients."""
    return metrics.roc_auc(*cohort(np.random.default_rng(0), 400_000, **kind)[:2])


def cohorts(n: int, patients: int, **kind: float) -> Iterable[tuple[NDArray, ...]]:
    """Yield made cohorts with two patients or more of each class."""
    random = np.random.default_rng(1)
    for _ in range(n):
        made = cohort(random, patients, **kind)
        if 2 <= made[0].sum() <= len(made[0]) - 2:
            yield made


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
    value, sides = metrics.auc(y, p), [intervals.sides(y, patients, 2)]
    estimates = {
        "report": intervals.auc_interval(value, free, sides),
        "bootstrap": intervals.interval(value, free, "logit"),
        "DeLong": intervals.delong(y, score),
    }
    if estimates["bootstrap"].low is None:  # at 1
        estimates["bootstrap"] = intervals.score_interval(value, sides)
    return {
        **{name: (each.low, each.high) for name, each in estimates.items()},
        "percentile": np.nanquantile(free, [0.025, 0.975]),
        "strata": np.quantile(bound, [0.025, 0.975]),
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

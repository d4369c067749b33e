"""How sure a figure is: 95 % intervals by patient, and those of proportions.

`y` are integer labels, shape (n,), `p` class probabilities, shape (n, C), `group` patients, shape (n,), `weights` how
often each case occurs in each bootstrap draw, shape (draws, n). An interval is (low, high), (None, None) where there is
none.

Why not the percentile interval of draws within class and split: in simulations of 90 patients it covers an AUROC of
.75 to .95 in 87 to 92 % of cohorts, not in 95 %. Draws within strata hold fixed what differs from cohort to cohort, and
percentiles take a skewed distribution for a symmetric one. Patients drawn without strata, and the SD of the draws on
the logit scale, cover 93 to 95 %: bench/coverage.py, and in short tests/unit/test_intervals.py.
"""

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest, norm, rankdata

from stratamil.stats import metrics

Z = float(norm.ppf(0.975))
SCALES = {"roc_auc": "logit", "pr_auc": "logit", "accuracy": "logit", "balanced_accuracy": "logit"}
SCALES |= {"log_loss": "log", "brier": "log"}


def bootstrap_weights(group, draws, seed):
    """Weights (draws, n) of bootstrap draws: as many patients as there are, each with all their cases, no strata."""
    groups, member = np.unique(np.asarray(group, dtype=str), return_inverse=True)
    even = np.full(len(groups), 1 / max(len(groups), 1))
    counts = np.random.default_rng(seed).multinomial(len(groups), even, size=draws)
    return counts[:, member].astype(float)


def weighted_auc(y, p, weights):
    """`metrics.auc` of each row of case weights: shape (draws,), NaN where a row lacks a class."""
    truth, total = metrics.one_hot(y, p.shape[1]), 0
    for c in metrics.positive_columns(p.shape[1]):
        yes, no = truth[:, c], ~truth[:, c]
        difference = p[yes, c][:, None] - p[no, c]
        wins = (difference > 0) + 0.5 * (difference == 0)
        with np.errstate(invalid="ignore"):
            pairs = weights[:, yes].sum(axis=1) * weights[:, no].sum(axis=1)
            total = total + ((weights[:, yes] @ wins) * weights[:, no]).sum(axis=1) / pairs
    return total / len(metrics.positive_columns(p.shape[1]))


def weighted_pr_auc(y, p, weights):
    """`pr_auc` of `metrics.summary` for each row of case weights: shape (draws,), NaN where a row lacks a class."""
    truth = metrics.one_hot(y, p.shape[1])
    each = [_average_precision(truth[:, c], p[:, c], weights) for c in metrics.positive_columns(p.shape[1])]
    return np.mean(each, axis=0)


def _average_precision(y, score, weights):
    order = np.argsort(-score, kind="stable")
    y, score, weights = y[order], score[order], weights[:, order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # of equal scores: they are called together
    hits, called = (np.cumsum(part, axis=1)[:, last] for part in (weights * y, weights))
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    positives = hits[:, -1]
    total = (np.diff(hits, prepend=0, axis=1) * precision).sum(axis=1)
    some = (positives > 0) & (positives < called[:, -1])
    return np.divide(total, positives, out=np.full_like(total, np.nan), where=some)


def weighted_figures(y, p, weights):
    """Figures of each row of case weights: name -> (draws,), of the names in `SCALES`, NaN where not defined."""
    y, truth = np.asarray(y, dtype=int), metrics.one_hot(y, p.shape[1])
    right = (p.argmax(axis=1) == y).astype(float)
    squares = (p - truth) ** 2
    true_p = np.clip(p[np.arange(len(y)), y], metrics.SMALLEST, 1)
    each = {
        "accuracy": right,
        "log_loss": -np.log(true_p),
        "brier": squares[:, 1] if p.shape[1] == 2 else squares.sum(axis=1),
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        means = {name: weights @ values / weights.sum(axis=1) for name, values in each.items()}
        recalls = [(weights[:, of] @ right[of]) / weights[:, of].sum(axis=1) for of in truth.T]
    means["balanced_accuracy"] = np.mean(recalls, axis=0)
    return means | {"roc_auc": weighted_auc(y, p, weights), "pr_auc": weighted_pr_auc(y, p, weights)}


def weighted_decisions(y, called, weights):
    """balanced_accuracy, f1 and mcc of binary decisions for each row of case weights: (draws,), NaN where 0/0."""
    y, called = np.asarray(y, dtype=bool), np.asarray(called, dtype=bool)
    tp, fp = weights[:, y & called].sum(axis=1), weights[:, ~y & called].sum(axis=1)
    tn, fn = weights[:, ~y & ~called].sum(axis=1), weights[:, y & ~called].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "mcc": (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
        }


def interval(value, drawn, scale):
    """Interval of a figure from its bootstrap draws: the figure -+ 1.96 SD of the draws.

    scale: "plain"; "log", for losses, or "logit", for areas and shares, where the SD is brought to that
    scale (delta method) and the ends back, so that they stay above 0 and below 1. No interval where the figure is at
    a bound of its scale, or fewer than half of the draws define it.
    """
    finite = drawn[np.isfinite(drawn)]
    if value is None or len(finite) < max(2, len(drawn) / 2):
        return None, None
    return _of_error(value, finite.std(ddof=1), scale)


def _of_error(value, error, scale):
    """Interval of a figure from its standard error, see `interval`."""
    half = Z * error
    if scale == "plain":
        return float(value - half), float(value + half)
    if value <= 0 or (scale == "logit" and value >= 1):
        return None, None
    if scale == "log":
        return float(value * np.exp(-half / value)), float(value * np.exp(half / value))
    half /= value * (1 - value)
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))


def auc_interval(value, drawn, sizes):
    """Interval of an AUROC from its bootstrap draws, see `interval`; at 0 or 1 that of `score_interval`."""
    if value is None or 0 < value < 1:
        return interval(value, drawn, "logit")
    return score_interval(value, sizes)


def score_interval(value, sizes):
    """Score interval of an AUROC, or mean of independent ones, by Newcombe (2006), method 5.

    It needs the numbers of positive and negative patients alone, sizes: [(m, n)] of each AUROC, so that it holds where
    the classes do not overlap and neither draws nor DeLong's variance tell anything.
    """
    if value is None or not sizes or not all(m and n for m, n in sizes):
        return None, None

    def excess(area):
        spread = (1 - area) / (2 - area) + area / (1 + area)
        variance = sum(area * (1 - area) / (m * n) * (1 + ((m + n) / 2 - 1) * spread) for m, n in sizes)
        return (value - area) ** 2 - Z**2 * variance / len(sizes) ** 2

    edge = 1e-9
    low = 0.0 if value <= edge else brentq(excess, edge, min(value, 1 - edge))
    high = 1.0 if value >= 1 - edge else brentq(excess, max(value, edge), 1 - edge)
    return float(low), float(high)


def sizes(y, group, n_classes):
    """[(m, n)] patients with and without a case of the class, for `score_interval`; of more classes the rarest's."""
    y, group = np.asarray(y, dtype=int), np.asarray(group, dtype=str)
    counts = [(len(set(group[y == c])), len(set(group[y != c]))) for c in metrics.positive_columns(n_classes)]
    return [min(counts, key=min)]


def bootstrap_auc(y, p, group, draws, seed):
    """Interval of `metrics.auc` by patient: see `interval`, and `score_interval` where the classes do not overlap."""
    y, p = np.asarray(y, dtype=int), np.asarray(p, dtype=float)
    value = metrics.auc(y, p)
    if value is None:
        return None, None
    drawn = weighted_auc(y, p, bootstrap_weights(group, draws, seed))
    return auc_interval(value, drawn, sizes(y, group, p.shape[1]))


def delong_error(y, score):
    """Standard error of the ROC AUC by DeLong et al. (1988), with midranks (Sun and Xu 2014).

    Cases are taken as independent. None with fewer than two cases of a class.
    """
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=float)
    m, n = int(y.sum()), int((~y).sum())
    if min(m, n) < 2:
        return None
    ranks = rankdata(score)
    positive = (ranks[y] - rankdata(score[y])) / n
    negative = 1 - (ranks[~y] - rankdata(score[~y])) / m
    return float(np.sqrt(positive.var(ddof=1) / m + negative.var(ddof=1) / n))


def delong(y, score):
    """ROC AUC with DeLong's interval on the logit scale: (auc, low, high); cases are taken as independent.

    Where there is none, at 0 and 1 and for a single case of a class, it is that of `score_interval`.
    """
    y = np.asarray(y, dtype=bool)
    value, error = metrics.roc_auc(y, score), delong_error(y, score)
    if error is None or value in (0, 1):
        return value, *score_interval(value, [(int(y.sum()), int((~y).sum()))])
    return value, *_of_error(value, error, "logit")


def recalibration(y, score, group):
    """Intervals of the slope and intercept of `metrics.calibration`, by patient: (low, high) of each.

    The sandwich variance of the logistic regression, with the scores of a patient's cases added up (Liang and Zeger
    1986).
    """
    y = np.asarray(y, dtype=bool)
    slope, intercept = metrics.recalibration(y, score)
    if slope is None:
        return (None, None), (None, None)
    x = logit(np.clip(score, metrics.SMALLEST, 1 - metrics.SMALLEST))
    design = np.column_stack([np.ones_like(x), x])
    fitted = expit(intercept + slope * x)
    groups, member = np.unique(np.asarray(group, dtype=str), return_inverse=True)
    scores = np.zeros((len(groups), 2))
    np.add.at(scores, member, design * (y - fitted)[:, None])
    bread = np.linalg.inv(design.T @ (design * (fitted * (1 - fitted))[:, None]))
    variance = bread @ (scores.T @ scores) @ bread * len(groups) / (len(groups) - 1)
    errors = np.sqrt(np.diag(variance))
    return tuple(_of_error(value, error, "plain") for value, error in zip((slope, intercept), errors[::-1]))


def wilson(k, n):
    """Interval of a proportion k of n by Wilson (1927); cases are taken as independent. (None, None) for n = 0."""
    if n == 0:
        return None, None
    found = binomtest(int(k), int(n)).proportion_ci(method="wilson")
    return float(found.low), float(found.high)

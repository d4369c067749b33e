"""What predictions are worth: discrimination, thresholds, calibration; their uncertainty is in `intervals`.

Throughout, `y` are integer labels, shape (n,), and `p` class probabilities, shape (n, C). With two classes the last is
the positive one and `score` is its probability. A metric that a set cannot give (one class only, 0/0) is None.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

TEMPERATURES = (0.1, 10.0)  # bounds of `temperature`: a separable validation set would push it to 0
TEMPERATURE_CASES = 50  # fitted to 10 cases, it raised the log loss of a cohort from .245 to .669
SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1 before a logarithm: float32 resolves no more near 1


def _ratio(a: float, b: float) -> float | None:
    return float(a / b) if b else None


def one_hot(y: ArrayLike, n_classes: int) -> NDArray[np.bool_]:
    """Return whether each case is of each class, (n, C)."""
    return np.asarray(y)[:, None] == np.arange(n_classes)


def _macro(per_class: Sequence[float | None]) -> float | None:
    return None if any(value is None for value in per_class) else float(np.mean(per_class))


def has_both(y: ArrayLike) -> bool:
    """Return whether the binary labels `y` hold both classes."""
    return bool(0 < np.count_nonzero(y) < len(y))


def midranks(values: ArrayLike) -> NDArray[np.float64]:
    """Return the ranks of values (n,) from 1, of equal values their mean."""
    return pd.Series(np.asarray(values)).rank().to_numpy()


def roc_auc(y: ArrayLike, score: ArrayLike) -> float | None:
    """Return the area under the ROC curve of binary labels (Mann-Whitney, ties count half), or None."""
    y = np.asarray(y, dtype=bool)
    if not has_both(y):
        return None
    positives, negatives = y.sum(), (~y).sum()
    ranks = midranks(score)[y].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def pr_auc(y: ArrayLike, score: ArrayLike) -> float | None:
    """Return the average precision of binary labels, or None if one class is missing; a coin gives the prevalence."""
    from sklearn.metrics import average_precision_score  # a second, which training need not wait for

    return float(average_precision_score(y, score)) if has_both(y) else None


def auc(y: ArrayLike, p: NDArray) -> float | None:
    """Return the ROC AUC of probabilities (n, C): of the positive class, or the mean one-vs-rest of three or more."""
    truth = one_hot(y, p.shape[1])
    return _macro([roc_auc(truth[:, c], p[:, c]) for c in positive_columns(p.shape[1])])


def positive_columns(n_classes: int) -> Sequence[int]:
    """Return the classes that count as positive in turn: the last of two, or each of more."""
    return [1] if n_classes == 2 else range(n_classes)


def log_loss(y: NDArray, p: NDArray) -> float | None:
    """Return the mean negative log probability of the true class, clipped at `SMALLEST`; None for no cases."""
    if len(y) == 0:
        return None
    return float(-np.log(np.clip(p[np.arange(len(y)), y], SMALLEST, 1)).mean())


def brier(y: ArrayLike, p: NDArray) -> float | None:
    """Return the Brier score (1950): two classes, mean squared error of the positive one; more, summed over classes."""
    if len(y) == 0:
        return None
    squares = (p - one_hot(y, p.shape[1])) ** 2
    return float(squares[:, 1].mean() if p.shape[1] == 2 else squares.sum(axis=1).mean())


def summary(y: ArrayLike, p: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of a set of predictions that need no threshold but the most probable class.

    y: (n,) integer labels, p: (n, C) probabilities, classes: C names. `loss` is the unweighted log loss.
    Two classes add `positives` and `prevalence` (None for more). With three or more, `roc_auc` and `pr_auc` are means
    of one class against the rest. Balanced accuracy is the mean recall, None if a class has no case.
    """
    y, p = np.asarray(y, dtype=int), np.asarray(p, dtype=float).reshape(-1, len(classes))
    truth, hit = one_hot(y, len(classes)), p.argmax(axis=1) == y
    recall = {name: _ratio(hit[truth[:, c]].sum(), truth[:, c].sum()) for c, name in enumerate(classes)}
    binary = len(classes) == 2
    loss = log_loss(y, p)
    return {
        "n": len(y),
        "positives": int(y.sum()) if binary else None,
        "prevalence": _ratio(y.sum(), len(y)) if binary else None,
        "loss": loss,
        "accuracy": _ratio(hit.sum(), len(y)),
        "balanced_accuracy": _macro(list(recall.values())),
        "recall": recall,
        "roc_auc": auc(y, p),
        "pr_auc": _macro([pr_auc(truth[:, c], p[:, c]) for c in positive_columns(len(classes))]),
        "log_loss": loss,
        "brier": brier(y, p),
    }


def at_threshold(y: ArrayLike, score: ArrayLike, threshold: ArrayLike) -> dict[str, float | None]:
    """Return binary metrics when cases with score >= threshold are called positive; None where one would be 0/0."""
    y, called = np.asarray(y, dtype=bool), np.asarray(score) >= threshold
    tp, fp = int((y & called).sum()), int((~y & called).sum())
    tn, fn = int((~y & ~called).sum()), int((y & ~called).sum())
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return {
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
        "accuracy": _ratio(tp + tn, len(y)),
        "balanced_accuracy": _macro([sensitivity, specificity]),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "mcc": _ratio(tp * tn - fp * fn, np.sqrt(margins)),
    }


def _thresholds(score: ArrayLike) -> NDArray[np.float64]:
    """Return each way to cut the scores in two: the lowest score (all positive), then midpoints, ascending."""
    values = np.unique(np.asarray(score, dtype=float))
    middle = values[:-1] + (values[1:] - values[:-1]) / 2
    # Between neighbouring floats the midpoint may round down to the lower score, which it must not include.
    return np.concatenate([values[:1], np.where(middle > values[:-1], middle, values[1:])])


def youden_threshold(y: ArrayLike, score: ArrayLike) -> float | None:
    """Return the threshold of the largest sensitivity + specificity - 1; None if one class.

    Of equals it is the lowest, the most sensitive. Choose it on validation cases, never on those it is then applied to.
    """
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=float)
    if not has_both(y):
        return None
    thresholds = _thresholds(score)
    called = score >= thresholds[:, None]
    # In whole numbers, so that equal values of Youden's index tie exactly.
    index = called[:, y].sum(axis=1) * (~y).sum() - called[:, ~y].sum(axis=1) * y.sum()
    return float(thresholds[index.argmax()])


def sensitivity_threshold(y: ArrayLike, score: ArrayLike, target: float) -> float | None:
    """Return the highest threshold with at least the target sensitivity (0 to 1); None if one class."""
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=float)
    if not has_both(y):
        return None
    thresholds = _thresholds(score)
    sensitivity = (score[y] >= thresholds[:, None]).mean(axis=1)
    return float(thresholds[sensitivity >= target - 1e-12].max())


def chosen_threshold(y: ArrayLike, score: ArrayLike, rule: str | float) -> float | None:
    """Return the threshold by a rule: "youden" or a target sensitivity; None if one class."""
    return youden_threshold(y, score) if rule == "youden" else sensitivity_threshold(y, score, float(rule))


def chosen_thresholds(y: ArrayLike, score: ArrayLike, rule: str | float, weights: NDArray) -> NDArray[np.float64]:
    """Return `chosen_threshold` for each row of case weights: (B,), NaN where a row lacks a class."""
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=float)
    thresholds = _thresholds(score)  # those that cut a sample's scores in two are among them
    called = (score >= thresholds[:, None]).astype(float)
    positives, negatives = weights[:, y].sum(axis=1), weights[:, ~y].sum(axis=1)
    hits, alarms = weights[:, y] @ called[:, y].T, weights[:, ~y] @ called[:, ~y].T
    if rule == "youden":
        best = (hits * negatives[:, None] - alarms * positives[:, None]).argmax(axis=1)
    else:
        enough = hits >= (float(rule) - 1e-12) * positives[:, None]
        best = enough.shape[1] - 1 - enough[:, ::-1].argmax(axis=1)
    return np.where((positives > 0) & (negatives > 0), thresholds[best], np.nan)


class Temperature(NamedTuple):
    """What logits are divided by; off: why it is 1 and not fitted, None where it is fitted."""

    value: float
    off: Literal["few", "one class", "bound"] | None = None


def temperature(y: ArrayLike, logits: ArrayLike, least: int = TEMPERATURE_CASES) -> Temperature:
    """Return the temperature T of the least log loss of softmax(logits / T) (Guo et al. 2017).

    y: (n,), logits: (n, C), of validation cases. T is 1 with fewer than `least` cases, with one class, and where the
    search ends at a bound of `TEMPERATURES`: if all cases are right the loss falls all the way to T = 0.
    """
    y, logits = np.asarray(y, dtype=int), np.asarray(logits, dtype=float)
    if len(np.unique(y)) < 2:
        return Temperature(1.0, "one class")
    if len(y) < least:
        return Temperature(1.0, "few")
    if (logits.argmax(axis=1) == y).all():
        return Temperature(1.0, "bound")

    from scipy.optimize import minimize_scalar  # as above
    from scipy.special import log_softmax

    def loss(log_t: float) -> float:
        return -log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(y)), y].mean()

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    value = float(np.exp(found.x))
    inside = 1.02 * TEMPERATURES[0] < value < 0.98 * TEMPERATURES[1]
    return Temperature(value) if inside else Temperature(1.0, "bound")


def recalibration(y: NDArray[np.bool_], score: ArrayLike) -> tuple[float, float] | tuple[None, None]:
    """Return slope and intercept of the logistic regression of y (bool) on logit(score) (Cox 1958); (1, 0) is perfect.

    None, None where the maximum likelihood does not exist: one class, one score, or classes that do not overlap.
    """
    from scipy.special import logit  # a quarter of a second, which most programs need not wait for

    x = logit(np.clip(score, SMALLEST, 1 - SMALLEST))
    if not has_both(y) or x[y].min() >= x[~y].max() or x[y].max() <= x[~y].min():
        return None, None
    from sklearn.linear_model import LogisticRegression  # as above

    fit = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8, max_iter=200).fit(x[:, None], y)
    return float(fit.coef_[0, 0]), float(fit.intercept_[0])


def calibration(y: ArrayLike, score: ArrayLike, bins: int = 10) -> dict[str, Any]:
    """Return the reliability of binary probabilities: bins, ece, slope, intercept.

    bins: `bins` bins of equal width over 0 to 1, each {low, high, n, mean, observed} (mean, observed None if empty).
    ece: mean over cases of |mean - observed| of their bin; grows with the number of bins in small sets.
    slope, intercept: see Cox 1958; a slope below 1 means over-confident.
    """
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=float)
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip((score * bins).astype(int), 0, bins - 1)
    n = np.bincount(index, minlength=bins)
    means, observed = (np.bincount(index, values, minlength=bins) / np.maximum(n, 1) for values in (score, y))
    slope, intercept = recalibration(y, score)
    return {
        "bins": [
            {
                "low": float(edges[b]),
                "high": float(edges[b + 1]),
                "n": int(n[b]),
                "mean": float(means[b]) if n[b] else None,
                "observed": float(observed[b]) if n[b] else None,
            }
            for b in range(bins)
        ],
        "ece": _ratio((n * np.abs(means - observed)).sum(), len(y)),
        "slope": slope,
        "intercept": intercept,
    }

"""What a training adds up to its loss: weights of classes, the instance loss's logits, the entropy of attention."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stratamil.core.errors import UserError
from stratamil.mil.segments import Segments
from stratamil.stats.ranking import top_count

ClassWeights = Literal["balanced", "none"] | list[float]


def class_weights(choice: ClassWeights, labels: NDArray[np.integer], classes: int) -> Tensor:
    """Return the loss weights (K,) of the classes, with mean 1 over the training cases.

    choice: "balanced" (inverse class frequency), "none", or one number a class. labels: (n,) class indices.
    Raises UserError where there is not one number a class.
    """
    counts = np.bincount(labels, minlength=classes)
    if choice == "none":
        weights = np.ones(classes)
    elif choice == "balanced":
        weights = len(labels) / (classes * np.maximum(counts, 1))
    elif len(choice) == classes:
        weights = np.array(choice, dtype=float)
    else:
        raise UserError(f"train.class_weights: {len(choice)} numbers for {classes} classes: give one a class")
    return torch.tensor(weights * len(labels) / (weights * counts).sum(), dtype=torch.float32)


def batch_entropy(weights: Tensor, case_of_patch: Tensor, cases: int) -> Tensor:
    """Return attention_tables.normalised_entropy (C, M) of each case's effective weights, with its gradient.

    weights: (P, M). case_of_patch: (P,). A case of one patch has 0 here, for NaN would end the training; tables, which
    say NaN of it, are made without torch.
    """
    terms = -weights * torch.log(weights.clamp_min(1e-12))
    bags = Segments(case_of_patch, cases)
    return bags.sum(terms) / torch.log(bags.sizes.clamp_min(2).to(weights.dtype))[:, None]


def smoothed(loss: Tensor, logits: Tensor, shares: Tensor) -> Tensor:
    """Return cross-entropies (C, M) with the label smoothing of each member, as torch's own does.

    loss: (C, M) without smoothing. logits: (C, M, K). shares: (M,).
    """
    return torch.lerp(loss, -logits.log_softmax(2).mean(2), shares)


def top_logits(patch_logits: Tensor, sizes: Sequence[int], shares: Sequence[float]) -> Tensor:
    """Return the logits (C, M, K) of each case from its most suspect patches, which the instance loss is taken of.

    patch_logits: (P, M, K), a case's patches after one another. sizes: C numbers of patches. shares: of a
    case's patches, above 0, of each member.
    The first class is that of cases without suspect patches. For every other class, the mean of the highest share of
    a case's patches in logit over that of the first class, whose own logit is 0: a case is of a class if some of its
    patches are, and of the first if none is of another (the assumption of multiple-instance learning; Dietterich,
    Lathrop, Lozano-Perez 1997).
    """
    over_first = patch_logits[..., 1:] - patch_logits[..., :1]
    means = [_top_mean(of_case, shares) for of_case in over_first.split(list(sizes))]
    return nn.functional.pad(torch.stack(means), (1, 0))


def _top_mean(values: Tensor, shares: Sequence[float]) -> Tensor:
    """Return the means (M, K - 1) of the highest shares of values (P, M, K - 1)."""
    if len(set(shares)) == 1:
        return values.topk(top_count(len(values), 100 * shares[0]), dim=0, sorted=False).values.mean(0)
    counts = [top_count(len(values), 100 * share) for share in shares]
    highest = values.topk(max(counts), dim=0).values
    counts = torch.tensor(counts, device=values.device)[:, None]
    within = torch.arange(len(highest), device=values.device)[:, None, None] < counts
    return (highest * within).sum(0) / counts

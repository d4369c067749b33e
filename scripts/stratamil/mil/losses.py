"""What a training adds up to its loss: weights of classes, the instance loss's logits, the entropy of attention."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stratamil.core.errors import UserError
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
    """Return attention_tables.normalised_entropy (C,) of each case's effective weights, with its gradient.

    weights, case_of_patch: (P,). A case of one patch has 0 here, for NaN would end the training; tables, which say NaN
    of it, are made without torch.
    """
    terms = -weights * torch.log(weights.clamp_min(1e-12))
    entropy = weights.new_zeros(cases).index_add(0, case_of_patch, terms)
    n = torch.bincount(case_of_patch, minlength=cases).clamp_min(2)
    return entropy / torch.log(n.to(weights.dtype))


def top_logits(patch_logits: Tensor, case_of_patch: Tensor, cases: int, share: float) -> Tensor:
    """Return the logits (C, K) of each case from its most suspect patches, which the instance loss is taken of.

    patch_logits: (P, K). case_of_patch: (P,). share: of a case's patches, above 0.
    The first class is that of cases without suspect patches. For every other class, the mean of the highest `share` of
    a case's patches in logit over that of the first class, whose own logit is 0: a case is of a class if some of its
    patches are, and of the first if none is of another (the assumption of multiple-instance learning; Dietterich,
    Lathrop, Lozano-Perez 1997).
    """
    over_first, rank = (patch_logits[:, 1:] - patch_logits[:, :1]).sort(dim=0, descending=True)
    case, order = case_of_patch[rank].sort(dim=0, stable=True)  # now by case, the highest first
    counts = torch.bincount(case_of_patch, minlength=cases)
    kept = counts.new_tensor([top_count(n, 100 * share) for n in counts.tolist()])
    place = torch.arange(len(rank), device=rank.device)[:, None] - (counts.cumsum(0) - counts)[case]
    values = over_first.gather(0, order) * (place < kept[case])
    columns = torch.arange(values.shape[1], device=values.device).expand_as(case)
    total = values.new_zeros(cases, values.shape[1]).index_put((case, columns), values, accumulate=True)
    return nn.functional.pad(total / kept[:, None], (1, 0))

"""What a patch adds to the margin of a class: one number a patch, above 0 where it supports that class."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PREFIX = "contribution_"  # of the columns that evaluate writes, one a class


def margin_contribution(contributions: NDArray, k: int) -> NDArray:
    """Return (P,) each patch's contribution to the logit of class k less the mean of those to the other logits.

    contributions: (P, K), of HierarchicalAttention.contributions. With two classes these numbers and the biases sum to
    the log odds of class k, which is the margin of `perturb.values`. With more they sum to its logit less the mean of
    the others: the log odds are not linear in the patches there.
    """
    return contributions[:, k] - np.delete(contributions, k, axis=1).mean(axis=1)


def of_table(patches: pd.DataFrame, name: str) -> NDArray:
    """Return `margin_contribution` (P,) of a table with columns contribution_<class>, for the class of that `name`."""
    columns = [column for column in patches if column.startswith(PREFIX)]
    return margin_contribution(patches[columns].to_numpy(float), columns.index(PREFIX + name))

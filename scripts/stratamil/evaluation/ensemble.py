"""The ensemble of a split: what its members say together, in the tables of one of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.core.names import column
from stratamil.stats.ranking import compared


def predictions(tables: Sequence[pd.DataFrame], classes: Sequence[str]) -> pd.DataFrame:
    """Return the mean predictions of the same cases by several members, as one predictions table.

    prob_<class> are means of probabilities, which decide; logit_<class> those of logits, which the mean contributions
    explain. sd_<class>: SD of the probability over members.
    """
    first, names = tables[0], [column(name) for name in classes]
    p = np.stack([table[[f"prob_{name}" for name in names]].to_numpy() for table in tables])
    logits = np.stack([table[[f"logit_{name}" for name in names]].to_numpy() for table in tables])
    predicted = p.mean(0).argmax(1)
    return first.assign(
        predicted_label=predicted,
        correct=predicted == first["true_label"],
        predicted_class=[classes[k] for k in predicted],
        **{f"prob_{name}": p[..., k].mean(0) for k, name in enumerate(names)},
        **{f"logit_{name}": logits[..., k].mean(0) for k, name in enumerate(names)},
        **{f"sd_{name}": p[..., k].std(0, ddof=1) for k, name in enumerate(names)},
    )


def attention(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the mean attention of several members to the same patches, as one attention table.

    Effective weights and contributions are means over members; effective_sd is the SD of the weight. The weights of
    patches, slices and stains are the parts of the mean effective weight, so that their product is that again.
    """
    first = tables[0]
    weights = np.stack([table["effective_weight"].to_numpy(float) for table in tables])
    told = [name for name in first if name.startswith("contribution_")]
    contributions = np.stack([table[told].to_numpy(float) for table in tables])
    slices, stains = (
        first.groupby(keys, sort=False).ngroup().to_numpy()
        for keys in (["case_id", "stain", "slice_id"], ["case_id", "stain"])
    )
    result = mean_attention(first, slices, stains, weights, dict(zip(told, np.moveaxis(contributions, 2, 0))))
    return pd.concat([compared(case) for _, case in result.groupby("case_id", sort=False)], ignore_index=True)


def mean_attention(
    patches: pd.DataFrame,
    slices: NDArray[np.integer],
    stains: NDArray[np.integer],
    weights: NDArray[np.float64],
    contributions: Mapping[str, NDArray[np.float64]],
) -> pd.DataFrame:
    """Return the patches with the columns of `attention` but for those that compare them.

    slices, stains: (P,) number of the slice and stain of a case that each patch is of. weights: effective ones (M, P).
    contributions: each (M, P).
    """
    mean = weights.mean(0)
    of_slice, of_stain = (np.bincount(groups, mean)[groups] for groups in (slices, stains))
    columns = {"patch_weight": mean / of_slice, "slice_weight": of_slice / of_stain, "stain_weight": of_stain}
    columns |= {"effective_weight": mean}
    columns |= {name: values.mean(0) for name, values in contributions.items()}
    columns |= {"effective_sd": weights.std(0, ddof=1)}
    return patches.assign(**{name: values.astype(np.float32) for name, values in columns.items()})

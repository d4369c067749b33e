"""Perturbation: predict a bag without parts of it, to see whether predictions rest on what the model attends to.

A bag is predicted whole and changed. Its values are those of the class c predicted on the whole bag: the probability p,
and its log odds log p - log(1 - p), the margin, which does not saturate. The margin is of a bag; a patch has a
`margin_contribution` to it. After DeYoung et al. (ERASER, ACL 2020): what is lost without the top patches is their
comprehensiveness (necessity), what remains with nothing but them their sufficiency. Curves and contributions follow
Hense et al. (xMIL, NeurIPS 2024), parts of a bag left out Kaczmarzyk et al. (HIPPO, arXiv 2409.03080).

Patches are removed in an order: "attention" (highest effective weight first), "least" (lowest first), "contribution"
(highest margin contribution first), "against" (lowest first), "random" (mean over random orders). Keeping only what an
order puts first is removing the rest, in the reverse order: insertion is deletion read backwards. Equal weights are in
random order, not in that of their paths, because a path tells the stain and slice.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softmax

from stratamil.core import progress
from stratamil.core.names import column, natural
from stratamil.explain.contributions import margin_contribution
from stratamil.mil.bags import Bags, Batch
from stratamil.mil.model import HierarchicalAttention
from stratamil.mil.segments import Segments
from stratamil.stats.ranking import top_count

# Symmetric (but for 1, where nothing is left), because curves are read in both directions.
FRACTIONS = (0, 0.01, 0.02, 0.05, *(tenth / 10 for tenth in range(1, 10)), 0.95, 0.98, 0.99)
Order = Literal["attention", "least", "contribution", "against", "random"]
REVERSED: dict[Order, Order] = {
    "attention": "least",
    "least": "attention",
    "contribution": "against",
    "random": "random",
}
TOP = (1, 5, 20)  # patches; beside them a share of the case's patches, called "percent"
VALUES = ("probability", "margin")
ROWS = 32_768  # patches aggregated at once: 16 MB of embeddings of width 128
EQUAL = 1e-5  # relative: weights that differ by less do so by rounding in float32

Orders = dict[Order, NDArray[np.integer]]  # (m, P) patches each


@dataclass(frozen=True)
class Settings:
    """random_orders: how many of each case. top_percent: share of its patches that is its top. seed: of the orders."""

    random_orders: int
    top_percent: float
    seed: int


@dataclass(frozen=True)
class Bag:
    """A case embedded once, its parts ready to be predicted.

    model: of one member. batch: of one case, with embeddings (P, 1, E) for x. whole: logits (K,) of the whole bag.
    effective: (P,) weights. margin_contribution: (P,) to the margin of the predicted class, see
    explain/contributions.py.
    """

    model: HierarchicalAttention
    batch: Batch
    whole: NDArray[np.float64]
    effective: NDArray[np.float64]
    margin_contribution: NDArray[np.float64]

    def logits(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the logits (M, K) of the parts that the masks (M, P) keep, a bounded number of patches at a time."""
        ends = np.cumsum(masks.sum(1)) // ROWS
        chunks = np.split(masks, np.flatnonzero(np.diff(ends)) + 1)
        return np.concatenate([self._logits(chunk) for chunk in chunks])

    def _logits(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        parts = self.batch.parts(torch.from_numpy(masks).to(self.batch.x.device))
        return self.model.aggregate(parts.x, parts).logits[:, 0].double().cpu().numpy()

    @property
    def predicted(self) -> int:
        """The class predicted on the whole bag."""
        return int(self.whole.argmax())

    def values(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the values (M, 2) of the parts: probability and margin of the class predicted on the whole bag."""
        return values(self.logits(masks), self.predicted)

    def uniform(self) -> NDArray[np.float64]:
        """Return the class probabilities (2, K) without attention.

        In the first row all patches weigh alike; in the second the patches of a slice, the slices of a stain and the
        stains do.
        """
        h, batch = self.batch.x, self.batch
        slices = Segments(batch.slice_of_patch, len(batch.stain_of_slice)).mean(h)
        stains = Segments(batch.stain_of_slice, len(batch.case_of_stain)).mean(slices)
        pooled = torch.stack([h.mean(0), stains.mean(0)])
        return softmax(self.model.classify(pooled)[:, 0].double(), 1).cpu().numpy()


def values(logits: NDArray[np.float64], predicted: int) -> NDArray[np.float64]:
    """Return logits (M, K) as values (M, 2) of one class: its probability p, and its margin log p - log(1 - p)."""
    margin = logits[:, predicted] - np.logaddexp.reduce(np.delete(logits, predicted, axis=1), axis=1)
    return np.column_stack([np.exp(-np.logaddexp(0, -margin)), margin])


def embedded(model: HierarchicalAttention, batch: Batch, h: Tensor | None = None) -> Bag:
    """Return the Bag of a Batch of one case, by a model of one member. h: (P, 1, E), its embeddings if known."""
    h = model.embed(batch.x) if h is None else h
    output = model.aggregate(h, batch)
    whole = output.logits[0, 0].double().cpu().numpy()
    contributions = model.contributions(output)[:, 0].double().cpu().numpy()
    return Bag(
        model=model,
        batch=replace(batch, x=h),
        whole=whole,
        effective=output.effective[:, 0].double().cpu().numpy(),
        margin_contribution=margin_contribution(contributions, whole.argmax()),
    )


def orders(bag: Bag, settings: Settings, case: str) -> Orders:
    """Return the orders in which patches are removed: name -> (m, P) patches, the first goes first.

    One order a name, of "random" `settings.random_orders`. The same case and seed give the same orders, whatever else
    there is. Where all weights are equal there is no order by attention.
    """
    generator = np.random.default_rng([settings.seed, int(hashlib.sha256(case.encode()).hexdigest()[:16], 16)])
    n = len(bag.effective)
    drawn = np.stack([generator.permutation(n) for _ in range(settings.random_orders)])
    ties = generator.permutation(n)
    by_contribution = np.lexsort((ties, -bag.margin_contribution))[None]
    signed = {"contribution": by_contribution, "against": by_contribution[:, ::-1], "random": drawn}
    if np.ptp(bag.effective) <= EQUAL * bag.effective.max():
        return signed
    by_attention = np.lexsort((ties, -bag.effective))[None]
    return {"attention": by_attention, "least": by_attention[:, ::-1], **signed}


def removed(n: int, fraction: float) -> int:
    """Return how many of n patches are removed: the fraction, rounded, but one always stays."""
    return min(int(fraction * n + 0.5), n - 1)


def kept(order: NDArray[np.integer], count: int) -> NDArray[np.bool_]:
    """Return the mask (P,) of what is left when the first `count` of an order are removed."""
    mask = np.ones(len(order), dtype=bool)
    mask[order[:count]] = False
    return mask


def curves(bag: Bag, ranked: Orders) -> pd.DataFrame:
    """Return the mean values along each order: columns order, fraction, removed, probability, margin.

    ranked: as of `orders`.
    """
    counts = [removed(len(bag.effective), fraction) for fraction in FRACTIONS]
    distinct, place = np.unique(counts, return_inverse=True)
    masks = np.stack([kept(order, count) for each in ranked.values() for order in each for count in distinct])
    of_order = bag.values(masks).reshape(-1, len(distinct), len(VALUES))
    names = [name for name, each in ranked.items() for _ in each]
    rows = []
    for name in ranked:
        mean = of_order[[other == name for other in names]].mean(0)[place]
        table = {"order": name, "fraction": FRACTIONS, "removed": counts, **dict(zip(VALUES, mean.T))}
        rows.append(pd.DataFrame(table))
    return pd.concat(rows, ignore_index=True)


def gaps(curve: pd.DataFrame) -> dict[str, float]:
    """Return the areas between the curves of an order and of random removal: mean differences over the fractions.

    curve: of `curves`. deletion_<order>_<value>: random less order; insertion_...: order less random. Above 0 is better
    than random. NaN where there is no such order.
    """
    result = {}
    for value in VALUES:
        lines = {name: part[value].to_numpy() for name, part in curve.groupby("order")}
        for order in ("attention", "contribution"):
            nothing = np.full(len(FRACTIONS), np.nan)
            own, reverse = lines.get(order, nothing), lines.get(REVERSED[order], nothing)
            # What is left when the reverse order is removed is what the order put first.
            result[f"deletion_{order}_{value}"] = _area(lines["random"] - own)
            result[f"insertion_{order}_{value}"] = _area(reverse - lines["random"])
    return result


def _area(difference: NDArray[np.float64]) -> float:
    """Return the mean over the fractions by the trapezoid rule."""
    return float(np.trapezoid(difference, FRACTIONS) / (FRACTIONS[-1] - FRACTIONS[0]))


def top_counts(n: int, percent: float) -> dict[str, int]:
    """Return how many patches count as the top of n: name -> k, of those that leave a patch."""
    counts = {"percent": top_count(n, percent), **{str(k): k for k in TOP}}
    return {name: k for name, k in counts.items() if k < n}


def tops(bag: Bag, ranked: Orders, percent: float) -> dict[str, float]:
    """Return the values with only, and without, the k most attended patches, and k random ones (mean of the orders).

    Keys are only_top_<k>_<value>, without_top_..., only_random_..., without_random_..., of the k of `top_counts`.
    """
    groups = {"top": ranked.get("attention", ()), "random": ranked["random"]}
    names, masks = [], []
    for name, k in top_counts(len(bag.effective), percent).items():
        for group, each in groups.items():
            for order in each:
                without = kept(order, k)
                names += [f"only_{group}_{name}", f"without_{group}_{name}"]
                masks += [~without, without]
    if not masks:
        return {}
    means = pd.DataFrame(bag.values(np.stack(masks)), columns=VALUES).groupby(names).mean()
    return {f"{name}_{value}": means.loc[name, value] for name in dict.fromkeys(names) for value in VALUES}


def left_out(bag: Bag, table: pd.DataFrame) -> pd.DataFrame:
    """Return what each stain and slice weighs, and what the values lose without it.

    table: rows of the bag's patches (stain, slice_id). Columns: level, stain, slice_id (empty for a stain), patches,
    weight (its share of the case), and probability_change, margin_change: whole less without, so above 0 where it
    supports the predicted class; NaN for a case's only part.
    """
    batch = bag.batch
    stain_of_patch = batch.stain_of_slice[batch.slice_of_patch].cpu().numpy()
    rows, masks = [], []
    for level, segment in (("stain", stain_of_patch), ("slice", batch.slice_of_patch.cpu().numpy())):
        for number in range(segment[-1] + 1):
            here = segment == number
            first = table.iloc[here.argmax()]
            slice_id = first["slice_id"] if level == "slice" else ""
            row = {"level": level, "stain": first["stain"], "slice_id": slice_id, "patches": int(here.sum())}
            rows.append(row | {"weight": bag.effective[here].sum()})
            masks.append(~here)
    masks = np.stack(masks)
    some = masks.any(1)
    changes = np.full((len(masks), len(VALUES)), np.nan)
    if some.any():
        changes[some] = values(bag.whole[None], bag.predicted) - bag.values(masks[some])
    return pd.DataFrame(rows).assign(**{f"{value}_change": changes[:, i] for i, value in enumerate(VALUES)})


Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


@torch.inference_mode()
def perturb(
    model: HierarchicalAttention,
    bags: Bags,
    table: pd.DataFrame,
    *,
    case_ids: Sequence[str],
    y: dict[str, int],
    classes: Sequence[str],
    settings: Sequence[tuple[int, Settings]],
) -> list[Tables]:
    """Predict cases whole and changed, one after the other; see the module.

    model: on the device of the bags; all its members embed a case at once. table: the features' table. y: case id ->
    class index. classes: K names. settings: of each run, and the number of its member.
    Returns three DataFrames a run. Cases, one row each: labels, number of stains, slices, patches, prob_<class>, the
    whole probability and margin, `gaps`, `tops`, and without attention uniform_prob_<class> (all patches weigh alike)
    and levels_prob_<class> (patches of a slice, slices of a stain, stains weigh alike). Curves: case_id and `curves`.
    Parts: case_id and `left_out`. A case of one patch has no curves.
    """
    members = [model.member(number) for number in range(model.members)]
    tables, cases = [([], [], []) for _ in settings], sorted(case_ids, key=natural)
    for case in progress.track(cases, len(cases), "cases"):
        batch = bags.batch([case])
        h, rows = model.embed(batch.x), table.iloc[batch.rows]
        for run, (number, chosen) in zip(tables, settings):
            bag = embedded(members[number], batch, h[:, number : number + 1])
            for frames, frame in zip(run, _of_case(bag, rows, case, y[case], classes, chosen)):
                frames.append(frame)
    return [tuple(pd.concat(frames, ignore_index=True) for frames in each) for each in tables]


def _of_case(bag: Bag, rows: pd.DataFrame, case: str, truth: int, classes: Sequence[str], settings: Settings) -> Tables:
    """Return what one member says of a case, as in `perturb`. rows: of the features' table, its patches."""
    row = {"case_id": case, "true_class": classes[truth], **_whole(bag, classes)}
    curve = pd.DataFrame(columns=["order", "fraction", "removed", *VALUES])
    if len(bag.effective) > 1:
        ranked = orders(bag, settings, case)
        curve = curves(bag, ranked)
        row |= gaps(curve) | tops(bag, ranked, settings.top_percent)
    part = left_out(bag, rows)
    for frame in (curve, part):
        frame.insert(0, "case_id", case)
    return pd.DataFrame([row]), curve, part


def _whole(bag: Bag, classes: Sequence[str]) -> dict[str, Any]:
    """Return what the model says of a whole bag, and what it says without attention."""
    probability, margin = values(bag.whole[None], bag.predicted)[0]
    uniform, levels = bag.uniform()
    whole = softmax(torch.from_numpy(bag.whole), 0).numpy()
    return {
        "predicted_class": classes[bag.predicted],
        "stains": len(bag.batch.case_of_stain),
        "slices": len(bag.batch.stain_of_slice),
        "patches": len(bag.batch.rows),
        "probability": probability,
        "margin": margin,
        **_named("prob", whole, classes),
        **_named("uniform_prob", uniform, classes),
        **_named("levels_prob", levels, classes),
    }


def _named(prefix: str, probabilities: NDArray[np.float64], classes: Sequence[str]) -> dict[str, float]:
    return {f"{prefix}_{column(name)}": p for name, p in zip(classes, probabilities)}

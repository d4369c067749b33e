"""The hierarchical attention model: patch -> slice -> stain -> case, on ragged bags without padding.

P patches of S slices of T stains of C cases; D features of a patch, E its embedding, K classes.
"""

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stratamil.mil import cpu
from stratamil.mil.bags import Batch

Aggregation = Literal["hierarchical", "flat", "mean"]
LEVELS = {"hierarchical": ("patch", "slice", "stain"), "flat": ("patch",), "mean": ()}  # that have attention
AGGREGATIONS = tuple(LEVELS)


@dataclass(frozen=True)
class ModelSettings:
    """The shape of a model; everything needed to build it again.

    aggregation: "hierarchical" (attention within slices, over slices, over stains), "flat" (one attention over all
    patches of a case: ABMIL of Ilse et al. 2018) or "mean" (of all patches of a case).
    coupled: the score of a slice, and of a stain, adds the logarithm of what its patches' exponentials sum to. So
    what a patch shows counts at every level, and the model contains the flat one.
    """

    in_dim: int
    classes: int
    aggregation: Aggregation
    embed_dim: int
    attention_dim: int
    gated: bool
    zero_start: bool
    coupled: bool
    standardise: bool
    dropout: float
    classifier_dropout: float

    asdict = asdict


@dataclass(frozen=True)
class Output:
    """logits (C, K), the attention weights patch (P,), slice (S,) and stain (T,), and the embedded patches h (P, E).

    effective (P,): patch x slice x stain weight, what each patch contributes to its case; sums to 1 over a case.
    """

    logits: Tensor
    patch: Tensor
    slice: Tensor
    stain: Tensor
    effective: Tensor
    h: Tensor


class AttentionScore(nn.Module):
    """The score of each row before the softmax (Ilse, Tomczak, Welling 2018, eq. 8 and 9).

    tanh: w . tanh(V x); gated: w . (tanh(V x) * sigmoid(U x)).
    zero_start: w starts at zero, so that the pool starts as a plain mean.
    """

    def __init__(self, dim: int, hidden: int, gated: bool, zero_start: bool) -> None:
        super().__init__()
        self.value = cpu.Linear(dim, hidden)
        self.gate = cpu.Linear(dim, hidden) if gated else None
        # A bias would cancel in the softmax.
        self.score = cpu.Linear(hidden, 1, bias=False)
        if zero_start:
            nn.init.zeros_(self.score.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (N,) of x (N, E), in float32 at least."""
        hidden = torch.tanh(self.value(x))
        if self.gate is not None:
            hidden = hidden * torch.sigmoid(self.gate(x))
        scores = self.score(hidden).squeeze(1)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))


def segment_softmax(scores: Tensor, segment: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the softmax (N,) of scores (N,) within each of n segments, and their log sums of exponentials (n,).

    segment: (N,) the segment of each score.
    """
    highest = scores.new_full((n,), -torch.inf).scatter_reduce(0, segment, scores.detach(), "amax")
    exponential = torch.exp(scores - highest[segment])
    total = scores.new_zeros(n).index_add(0, segment, exponential)
    return exponential / total[segment], highest + torch.log(total)


def segment_sum(x: Tensor, weights: Tensor, segment: Tensor, n: int) -> Tensor:
    """Return the weighted sums (n, E) of the rows of x (N, E) within each of n segments."""
    return x.new_zeros(n, x.shape[1], dtype=weights.dtype).index_add(0, segment, weights[:, None] * x)


class HierarchicalAttention(nn.Module):
    """projector -> pool patches of a slice -> slices of a stain -> stains of a case -> linear classifier.

    A missing stain is simply absent from the batch. Every pool is a weighted mean and the classifier is linear, so a
    patch's effective weight x (class vector . patch embedding) is its exact share of the logit.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        width, score = settings.embed_dim, (settings.attention_dim, settings.gated, settings.zero_start)
        self.register_buffer("mean", torch.zeros(settings.in_dim))
        self.register_buffer("scale", torch.ones(settings.in_dim))
        self.projector = nn.Sequential(nn.Linear(settings.in_dim, width), nn.ReLU(), cpu.Dropout(settings.dropout))
        self.attention = nn.ModuleDict({level: AttentionScore(width, *score) for level in LEVELS[settings.aggregation]})
        self.classifier = nn.Sequential(nn.Dropout(settings.classifier_dropout), nn.Linear(width, settings.classes))

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Take the mean and standard deviation (D,) of the training patches.

        A tenth of the median deviation is added to each (as variances are), so that what hardly varies is not blown
        up. What does not vary at all is left out, because nothing was learned about it.
        """
        varies = deviation > 0
        floor = 0.1 * deviation[varies].median() if varies.any() else 0.0
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(varies, 1 / torch.hypot(deviation, torch.as_tensor(floor).to(deviation)), 0.0))

    def forward(self, batch: Batch) -> Output:
        """Return the Output of a Batch."""
        return self.aggregate(self.embed(batch.x), batch)

    def embed(self, x: Tensor) -> Tensor:
        """Return the embeddings (P, E) of features (P, D)."""
        return self.projector(cpu.standardised(x, self.mean, self.scale))[: len(x)]

    def aggregate(self, h: Tensor, batch: Batch) -> Output:
        """Return the Output of the embeddings h (P, E) of a Batch's patches; those of a bag serve for all its parts."""
        slice_of, stain_of, case_of = batch.slice_of_patch, batch.stain_of_slice, batch.case_of_stain
        slices, patch, summed = self._pool("patch", h, self.mean.new_zeros(len(h)), slice_of, len(stain_of))
        stains, slice_, summed = self._pool("slice", slices, summed, stain_of, len(case_of))
        cases, stain, _ = self._pool("stain", stains, summed, case_of, batch.cases)
        effective = patch * slice_[slice_of] * stain[stain_of[slice_of]]
        if not self.attention:  # equal to the last digit, or ranks would be made of rounding
            effective = (1 / torch.bincount(batch.case_of_patch).to(patch))[batch.case_of_patch]
        return Output(self.classifier(cases), patch, slice_, stain, effective, h)

    def _pool(self, level: str, x: Tensor, summed: Tensor, segment: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pooled rows (n, E) of x (N, E) by segment (N,), their weights (N,), log sums of exponentials (n,).

        summed (N,): those of the level below, the logarithm of the attention that a row's own patches draw. Coupled,
        they count in its score; where no level has attention of its own, the three softmaxes are then one over all
        patches of the case.
        """
        scores = self.attention[level](x) if level in self.attention else 0
        if self.settings.coupled or level not in self.attention:
            scores = scores + summed
        weights, summed = segment_softmax(scores, segment, n)
        return segment_sum(x, weights, segment, n), weights, summed

    def contributions(self, output: Output) -> Tensor:
        """Return the exact share (P, K) of each patch in each logit; over a case they sum to logit - bias."""
        return output.effective[:, None] * (output.h @ self.classifier[-1].weight.T)

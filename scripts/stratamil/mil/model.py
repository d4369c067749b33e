"""The hierarchical attention model: patch -> slice -> stain -> case, on ragged bags without padding."""

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import nn

AGGREGATIONS = ("hierarchical", "flat", "mean")
ROUND = 128  # a CPU compiles and keeps its bf16 products for each number of rows: rounded up, there are few
BLOCK = 64  # rows that a CPU prepares at once: few enough to stay in its cache


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
    aggregation: Literal["hierarchical", "flat", "mean"]
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

    logits: torch.Tensor
    patch: torch.Tensor
    slice: torch.Tensor
    stain: torch.Tensor
    effective: torch.Tensor
    h: torch.Tensor


def segment_softmax(scores, segment, n):
    """Softmax of scores (N,) within each of n segments; segment (N,) names each score's.

    Returns the weights (N,) and the logarithm of each segment's sum of exponentials (n,).
    """
    highest = scores.new_full((n,), -torch.inf).scatter_reduce(0, segment, scores.detach(), "amax")
    exponential = torch.exp(scores - highest[segment])
    total = scores.new_zeros(n).index_add(0, segment, exponential)
    return exponential / total[segment], highest + torch.log(total)


def segment_sum(x, weights, segment, n):
    """(n, E) weighted sums of the rows of x (N, E) within each of n segments."""
    return x.new_zeros(n, x.shape[1], dtype=weights.dtype).index_add(0, segment, weights[:, None] * x)


class AttentionScore(nn.Module):
    """The score of each row before the softmax (Ilse, Tomczak, Welling 2018, eq. 8 and 9).

    tanh: w . tanh(V x); gated: w . (tanh(V x) * sigmoid(U x)).
    zero_start: w starts at zero, so that the pool starts as a plain mean.
    """

    def __init__(self, dim, hidden, gated=False, zero_start=False):
        super().__init__()
        self.value = nn.Linear(dim, hidden)
        self.gate = nn.Linear(dim, hidden) if gated else None
        # A bias would cancel in the softmax.
        self.score = nn.Linear(hidden, 1, bias=False)
        if zero_start:
            nn.init.zeros_(self.score.weight)

    def forward(self, x):
        """x (N, E) -> scores (N,), in float32 at least."""
        hidden = torch.tanh(self.value(x))
        if self.gate is not None:
            hidden = hidden * torch.sigmoid(self.gate(x))
        scores = self.score(hidden).squeeze(1)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))


class Dropout(nn.Dropout):
    """nn.Dropout, three times as fast on a CPU: four draws of 16 bits from one random number."""

    def forward(self, x):
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        numbers = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)  # of all 64 bits
        draws = numbers.view(torch.int16)[: x.numel()].view_as(x)
        kept = draws >= min(round(self.p * 2**16), 2**16 - 1) - 2**15
        return x * kept.to(x.dtype).mul_(1 / (1 - self.p))


class HierarchicalAttention(nn.Module):
    """projector -> pool patches of a slice -> slices of a stain -> stains of a case -> linear classifier.

    A missing stain is simply absent from the batch. Because every pool is a weighted mean and the
    classifier is linear, effective weight x (class vector . patch embedding) is each patch's exact
    share of the logit.
    """

    def __init__(self, settings: ModelSettings):
        super().__init__()
        self.settings = settings
        width, score = settings.embed_dim, (settings.attention_dim, settings.gated, settings.zero_start)
        self.register_buffer("mean", torch.zeros(settings.in_dim))
        self.register_buffer("scale", torch.ones(settings.in_dim))
        self.projector = nn.Sequential(nn.Linear(settings.in_dim, width), nn.ReLU(), Dropout(settings.dropout))
        levels = {"hierarchical": ("patch", "slice", "stain"), "flat": ("patch",), "mean": ()}[settings.aggregation]
        self.attention = nn.ModuleDict({level: AttentionScore(width, *score) for level in levels})
        self.classifier = nn.Sequential(nn.Dropout(settings.classifier_dropout), nn.Linear(width, settings.classes))

    def standardise(self, mean, deviation):
        """Take the mean and standard deviation (D,) of the training patches.

        What hardly varies is not blown up, by a tenth of the median deviation that is added to each (as variances
        are); what does not vary at all is left out, for nothing was learned about it.
        """
        varies = deviation > 0
        floor = 0.1 * deviation[varies].median() if varies.any() else 0.0
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(varies, 1 / torch.hypot(deviation, torch.as_tensor(floor).to(deviation)), 0.0))

    def forward(self, batch):
        """A Batch of C cases -> Output."""
        return self.aggregate(self.embed(batch.x), batch)

    def embed(self, x):
        """Features of patches (P, D) -> their embeddings (P, E); in bf16 on a CPU more rows, which are no patches."""
        return self.projector(self._prepared(x))

    def aggregate(self, h, batch):
        """Embeddings of a Batch's patches -> Output. One embedding of a bag serves for all its parts."""
        nothing = self.mean.new_zeros(len(batch.slice_of_patch))
        slices, patch, summed = self._pool("patch", h, nothing, batch.slice_of_patch, len(batch.stain_of_slice))
        stains, slice_, summed = self._pool("slice", slices, summed, batch.stain_of_slice, len(batch.case_of_stain))
        cases, stain, _ = self._pool("stain", stains, summed, batch.case_of_stain, batch.cases)
        effective = patch * slice_[batch.slice_of_patch] * stain[batch.stain_of_slice[batch.slice_of_patch]]
        if not self.attention:  # equal to the last digit, or ranks would be made of rounding
            effective = (1 / torch.bincount(batch.case_of_patch).to(patch))[batch.case_of_patch]
        return Output(self.classifier(cases), patch, slice_, stain, effective, h[: len(nothing)])

    def _prepared(self, x):
        """The features as the projector takes them: standardised, and in the precision that it computes in.

        In bf16 on a CPU there are rows of zeros after them.
        """
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.mean.dtype
        rows = -(-len(x) // ROUND) * ROUND if (kind, dtype) == ("cpu", torch.bfloat16) else len(x)
        prepared = torch.empty(rows, x.shape[1], dtype=dtype, device=x.device)
        prepared[len(x) :] = 0
        size = BLOCK if kind == "cpu" else len(x)
        for begin in range(0, len(x), size):
            stored, place = x[begin : begin + size], prepared[begin : min(begin + size, len(x))]
            # Made in place where the precision allows.
            part = place.copy_(stored) if dtype == self.mean.dtype else stored.to(self.mean.dtype, copy=True)
            if self.settings.standardise:
                part.sub_(self.mean).mul_(self.scale)
            if part is not place:
                place.copy_(part)
        return prepared

    def _pool(self, level, x, summed, segment, n):
        """Pool the rows of one level: x (N, E) -> pooled (n, E), weights (N,), log sums of exponentials (n,).

        segment (N,): rows of x after them are no patches.
        summed (N,): those of the level below, the logarithm of the attention that a row's own patches draw. Coupled,
        they count in its score; where no level has attention of its own, the three softmaxes are then one over all
        patches of the case.
        """
        scores = self.attention[level](x)[: len(segment)] if level in self.attention else 0
        if self.settings.coupled or level not in self.attention:
            scores = scores + summed
        weights, summed = segment_softmax(scores, segment, n)
        return segment_sum(x[: len(segment)], weights, segment, n), weights, summed

    def contributions(self, output):
        """(P, K) exact share of each patch in each logit; over a case they sum to logit - bias."""
        return output.effective[:, None] * (output.h @ self.classifier[-1].weight.T)

"""The hierarchical attention model: patch -> slice -> stain -> case, on ragged bags without padding."""

from dataclasses import asdict, dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class ModelSettings:
    """The shape of a model; everything needed to build it again."""

    in_dim: int
    classes: int
    embed_dim: int = 512
    attention_dim: int = 128
    gated: bool = False
    zero_start: bool = True
    dropout: float = 0.3

    asdict = asdict


@dataclass(frozen=True)
class Output:
    """logits (C, K) and the attention weights: patch (P,), slice (S,), stain (T,); patches are h (P, E)."""

    logits: torch.Tensor
    patch: torch.Tensor
    slice: torch.Tensor
    stain: torch.Tensor
    h: torch.Tensor

    def effective(self, batch):
        """(P,) patch x slice x stain weight: what each patch contributes to its case; sums to 1 over a case."""
        stain_of_patch = batch.stain_of_slice[batch.slice_of_patch]
        return self.patch * self.slice[batch.slice_of_patch] * self.stain[stain_of_patch]


def segment_softmax(scores, segment, n):
    """Softmax of scores (N,) within each of n segments; segment (N,) names each score's."""
    highest = scores.new_full((n,), -torch.inf).scatter_reduce(0, segment, scores.detach(), "amax")
    exponential = torch.exp(scores - highest[segment])
    total = scores.new_zeros(n).index_add(0, segment, exponential)
    return exponential / total[segment]


class AttentionPool(nn.Module):
    """Attention-weighted mean of the rows of each segment (Ilse, Tomczak, Welling 2018, eq. 7 to 9).

    tanh: score = w . tanh(V x); gated: score = w . (tanh(V x) * sigmoid(U x)).
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

    def forward(self, x, segment, n):
        """x (N, E), segment (N,) in 0..n-1 -> pooled (n, E), weights (N,) that sum to 1 in each segment."""
        hidden = torch.tanh(self.value(x))
        if self.gate is not None:
            hidden = hidden * torch.sigmoid(self.gate(x))
        weights = segment_softmax(self.score(hidden).squeeze(1), segment, n)
        return x.new_zeros(n, x.shape[1]).index_add(0, segment, weights[:, None] * x), weights


class HierarchicalAttention(nn.Module):
    """projector -> pool patches of a slice -> slices of a stain -> stains of a case -> linear classifier.

    A missing stain is simply absent from the batch. Because every pool is a weighted mean and the
    classifier is linear, effective weight x (class vector . patch embedding) is each patch's exact
    share of the logit.
    """

    def __init__(self, settings: ModelSettings):
        super().__init__()
        self.settings = settings
        width, pool = settings.embed_dim, (settings.attention_dim, settings.gated, settings.zero_start)
        self.projector = nn.Sequential(nn.Linear(settings.in_dim, width), nn.ReLU(), nn.Dropout(settings.dropout))
        self.patch_pool = AttentionPool(width, *pool)
        self.slice_pool = AttentionPool(width, *pool)
        self.stain_pool = AttentionPool(width, *pool)
        self.classifier = nn.Linear(width, settings.classes)

    def forward(self, batch):
        """A Batch of C cases -> Output."""
        h = self.projector(batch.x)
        slices, patch = self.patch_pool(h, batch.slice_of_patch, len(batch.stain_of_slice))
        stains, slice_ = self.slice_pool(slices, batch.stain_of_slice, len(batch.case_of_stain))
        cases, stain = self.stain_pool(stains, batch.case_of_stain, batch.cases)
        return Output(self.classifier(cases), patch, slice_, stain, h)

    def contributions(self, output, batch):
        """(P, K) exact share of each patch in each logit; over a case they sum to logit - bias."""
        return output.effective(batch)[:, None] * (output.h @ self.classifier.weight.T)

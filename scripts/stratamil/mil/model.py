"""The hierarchical attention model: patch -> slice -> stain -> case, on ragged bags without padding.

P patches of S slices of T stains of C cases; D features of a patch, E its embedding, K classes.
M members, models of one shape and different weights such as the seeds of a split, are computed side by side; a single
model is M = 1.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stratamil.mil import cpu
from stratamil.mil.bags import Batch
from stratamil.mil.layers import Linear, dropout
from stratamil.mil.segments import Segments

Aggregation = Literal["hierarchical", "flat", "mean", "mean_mlp", "lse"]
# The levels that have attention.
LEVELS = {"hierarchical": ("patch", "slice", "stain"), "flat": ("patch",), "mean": (), "mean_mlp": (), "lse": ()}
AGGREGATIONS = tuple(LEVELS)
# What members side by side may each have of their own.
OWN = ("zero_start", "dropout", "classifier_dropout", "sharpness")
DROPOUTS = 2  # of the embeddings and before the classifier: keys that a member needs a step


@dataclass(frozen=True)
class ModelSettings:
    """The shape of a model; everything needed to build it again.

    aggregation: "hierarchical" (attention within slices, over slices, over stains), "flat" (one attention over all
    patches of a case: ABMIL of Ilse et al. 2018), "mean" (of all patches of a case), "mean_mlp" (the same before the
    ReLU, so that a perceptron classifies the mean of the features: SiMLP of Li et al. 2025) or "lse" (the log-sum-exp
    of the patches' margins over the first class, divided by `sharpness`: Pinheiro, Collobert 2015).
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
    sharpness: float = 1.0  # a checkpoint of before has none

    asdict = asdict

    @property
    def shape(self) -> dict[str, Any]:
        """What members that stand side by side share."""
        return {name: value for name, value in asdict(self).items() if name not in OWN}

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in (self.dropout, self.classifier_dropout)):
            raise ValueError("dropout is a share")


@dataclass(frozen=True)
class Output:
    """logits (C, M, K), attention weights patch (P, M), slice (S, M), stain (T, M), and embedded patches h (P, M, E).

    effective (P, M): patch x slice x stain weight, what each patch contributes to its case; sums to 1 over a case.
    contributions: (P, M, K) where they are not effective x (class vector . h).
    """

    logits: Tensor
    patch: Tensor
    slice: Tensor
    stain: Tensor
    effective: Tensor
    h: Tensor
    contributions: Tensor | None = None


class AttentionScore(nn.Module):
    """The score of each row before the softmax (Ilse, Tomczak, Welling 2018, eq. 8 and 9).

    tanh: w . tanh(V x); gated: w . (tanh(V x) * sigmoid(U x)).
    zero_start: w starts at zero, so that the pool starts as a plain mean.
    """

    def __init__(self, dim: int, hidden: int, gated: bool, zero_start: bool) -> None:
        super().__init__()
        self.value = Linear(dim, hidden)
        self.gate = Linear(dim, hidden) if gated else None
        # A bias would cancel in the softmax.
        self.score = Linear(hidden, 1, bias=False)
        if zero_start:
            nn.init.zeros_(self.score.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (N, M) of x (N, M, E), in float32 at least."""
        hidden = torch.tanh(self.value(x))
        if self.gate is not None:
            hidden = hidden * torch.sigmoid(self.gate(x))
        scores = self.score(hidden).squeeze(2)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))


class HierarchicalAttention(nn.Module):
    """projector -> pool patches of a slice -> slices of a stain -> stains of a case -> linear classifier.

    A missing stain is simply absent from the batch. Every pool is a weighted mean and the classifier is linear, so a
    patch's effective weight x (class vector . patch embedding) is its exact share of the logit; but see `_log_sum_exp`.
    One member when made; `stack` puts several side by side. Parameters have the members first, mean and scale (D,) of
    the features are the same for all.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.own = [settings]  # of each member: they may differ in `OWN`
        width, score = settings.embed_dim, (settings.attention_dim, settings.gated, settings.zero_start)
        self.register_buffer("mean", torch.zeros(settings.in_dim))
        self.register_buffer("scale", torch.ones(settings.in_dim))
        self.projector = Linear(settings.in_dim, width)
        self.attention = nn.ModuleDict({level: AttentionScore(width, *score) for level in LEVELS[settings.aggregation]})
        self.classifier = Linear(width, settings.classes)

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Take the mean and standard deviation (D,) of the training patches.

        A tenth of the median deviation is added to each (as variances are), so that what hardly varies is not blown
        up. What does not vary at all is left out, because nothing was learned about it.
        """
        varies = deviation > 0
        floor = 0.1 * deviation[varies].median() if varies.any() else 0.0
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(varies, 1 / torch.hypot(deviation, torch.as_tensor(floor).to(deviation)), 0.0))

    def forward(self, batch: Batch, keys: Tensor | None = None) -> Output:
        """Return the Output of a Batch. keys: (M, DROPOUTS) int64, of the dropout of a training step."""
        of_patches, of_cases = (None, None) if keys is None else keys.unbind(1)
        return self.aggregate(self.embed(batch.x, of_patches), batch, of_cases)

    def embed(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        """Return the embeddings (P, M, E) of features (P, D)."""
        h = cpu.first(self.projector(cpu.standardised(x, self.mean, self.scale)), len(x))
        if self.settings.aggregation == "mean_mlp":
            return h
        return dropout(torch.relu(h), [each.dropout for each in self.own], keys)

    def aggregate(self, h: Tensor, batch: Batch, keys: Tensor | None = None) -> Output:
        """Return the Output of the embeddings h (P, M, E) of a Batch's patches; those of a bag serve for its parts."""
        if self.settings.aggregation == "lse":
            return self._log_sum_exp(h, batch)
        if self.settings.aggregation == "mean_mlp":
            return self._perceptron(h, batch, keys)
        slice_of, stain_of, case_of = batch.slice_of_patch, batch.stain_of_slice, batch.case_of_stain
        nothing = self.mean.new_zeros(h.shape[:2])
        slices, patch, summed = self._pool("patch", h, nothing, slice_of, len(stain_of))
        stains, slice_, summed = self._pool("slice", slices, summed, stain_of, len(case_of))
        cases, stain, _ = self._pool("stain", stains, summed, case_of, batch.cases)
        effective = patch * slice_[slice_of] * stain[stain_of[slice_of]]
        if not self.attention:  # equal to the last digit, or ranks would be made of rounding
            bags = Segments(batch.case_of_patch, batch.cases)
            effective = bags.spread(1 / bags.sizes.to(patch))[:, None].expand_as(patch)
        logits = self.classifier(dropout(cases, [each.classifier_dropout for each in self.own], keys))
        return Output(logits, patch, slice_, stain, effective, h)

    def _pool(self, level: str, x: Tensor, summed: Tensor, segment: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pooled rows (n, M, E) of x (N, M, E), their weights (N, M), log sums of exponentials (n, M).

        segment: (N,). summed: (N, M), those of the level below, the logarithm of the attention that a row's own
        patches draw. Coupled, they count in its score; where no level has attention of its own, the three softmaxes
        are then one over all patches of the case.
        """
        scores = self.attention[level](x) if level in self.attention else 0
        if self.settings.coupled or level not in self.attention:
            scores = scores + summed
        rows = Segments(segment, n)
        weights, summed = rows.softmax(scores)
        return rows.sum(weights[..., None] * x), weights, summed

    def _log_sum_exp(self, h: Tensor, batch: Batch) -> Output:
        """Return the Output where the margins of the patches over the first class are pooled by their log-sum-exp.

        The logit of class k is that of the first class, its bias, plus log(mean of exp(r margin_k)) / r: near the mean
        for a small sharpness r, near the maximum for a large one. A patch's weight is the softmax of its r margins,
        mean over k. A log-sum-exp is no sum over patches: each patch is given its weight's share of it, so that within
        a case all contributions to a class have one sign.
        """
        bags = Segments(batch.case_of_patch, batch.cases)
        logits = self.classifier(h)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        margins = logits[..., 1:] - logits[..., :1]
        sharp = torch.tensor([each.sharpness for each in self.own], dtype=margins.dtype, device=h.device)[:, None]
        weights, summed = (part.unflatten(1, margins.shape[1:]) for part in bags.softmax((sharp * margins).flatten(1)))
        pooled = (summed - bags.sizes.to(margins).log()[:, None, None]) / sharp
        of_case = nn.functional.pad(pooled, (1, 0)) + self.classifier.bias[:, :1]
        shares = weights * (of_case - self.classifier.bias)[..., 1:][batch.case_of_patch]
        effective = weights.mean(2)
        return Output(of_case, *_levels(effective, batch), effective, h, nn.functional.pad(shares, (1, 0)))

    def _perceptron(self, h: Tensor, batch: Batch, keys: Tensor | None) -> Output:
        """Return the Output where the mean of the hidden units h, before their ReLU, is what the classifier sees.

        In its Output h is that of the units that are above 0 for the case, else 0: a patch's contribution is exact.
        """
        bags = Segments(batch.case_of_patch, batch.cases)
        cases = bags.mean(h)
        logits = self.classifier(dropout(torch.relu(cases), [each.dropout for each in self.own], keys))
        effective = bags.spread(1 / bags.sizes.to(self.mean))[:, None].expand(h.shape[:2])
        return Output(logits, *_levels(effective, batch), effective, h * (cases > 0)[batch.case_of_patch])

    def classify(self, pooled: Tensor) -> Tensor:
        """Return the logits (N, M, K) of means (N, M, E) of embeddings, as of cases whose patches weigh so."""
        return self.classifier(torch.relu(pooled) if self.settings.aggregation == "mean_mlp" else pooled)

    def contributions(self, output: Output) -> Tensor:
        """Return the exact share (P, M, K) of each patch in each logit; over a case they sum to logit - bias."""
        if output.contributions is not None:
            return output.contributions
        return output.effective[..., None] * torch.einsum("pme,mke->pmk", output.h, self.classifier.weight)

    @property
    def settings(self) -> ModelSettings:
        """Settings of the only member; of several, what the first has and all share."""
        return self.own[0]

    @property
    def members(self) -> int:
        """How many models stand side by side."""
        return len(self.classifier.weight)

    def keep(self, members: Sequence[int]) -> None:
        """Go on with some members alone."""
        self.own = [self.own[member] for member in members]
        for parameter in self.parameters():
            parameter.data, parameter.grad = parameter.data[list(members)], None

    def member(self, number: int) -> "HierarchicalAttention":
        """Return one member as a model of its own."""
        result = copy.deepcopy(self)
        result.keep([number])
        return result

    def weights(self, number: int) -> dict[str, Tensor]:
        """Return copies of the parameters and buffers of one member on the CPU, as a checkpoint holds them."""
        own = {name: parameter[number] for name, parameter in self.named_parameters()} | dict(self.named_buffers())
        return {name: own[name].detach().cpu().clone() for name in self.state_dict()}

    def shapes(self) -> dict[str, torch.Size]:
        """Return the shapes of what `weights` returns."""
        shared = dict(self.named_buffers())
        return {name: x.shape if name in shared else x.shape[1:] for name, x in self.state_dict().items()}

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of the only member, as `weights` returns them."""
        shared = dict(self.named_buffers())
        self.load_state_dict({name: tensor if name in shared else tensor[None] for name, tensor in weights.items()})


def _levels(effective: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights of patches, slices and stains whose products are the effective ones (P, M)."""
    slices = Segments(batch.slice_of_patch, len(batch.stain_of_slice)).sum(effective)
    stains = Segments(batch.stain_of_slice, len(batch.case_of_stain)).sum(slices)
    least = torch.finfo(effective.dtype).tiny  # where all weights of a slice are 0 to the last digit
    patch = effective / slices.clamp_min(least)[batch.slice_of_patch]
    return patch, slices / stains.clamp_min(least)[batch.stain_of_slice], stains


def stack(models: Sequence[HierarchicalAttention]) -> HierarchicalAttention:
    """Return models of the same shape, mean and scale as the members of one.

    Raises ValueError where they differ.
    """
    result = copy.deepcopy(models[0])
    for model in models[1:]:
        buffers = zip(model.buffers(), result.buffers(), strict=True)
        if model.settings.shape != result.settings.shape or not all(torch.equal(*pair) for pair in buffers):
            raise ValueError("members of other shape, mean or scale")
    result.own = [own for model in models for own in model.own]
    of_members = zip(*(model.parameters() for model in models), strict=True)
    for parameter, parts in zip(result.parameters(), of_members, strict=True):
        parameter.data = torch.cat([part.data for part in parts])
    return result

"""What the weights of patches are called on pages: not every model has attention.

Every sentence is written for attention. Here is the one place where it becomes one on a model that pools its patches in
another way: `Weighting.said`.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

# attention: learned weights; lse: those of a log-sum-exp; equal: all patches of a case weigh the same; varied: splits
# pool in different ways.
Kind = Literal["attention", "lse", "equal", "varied"]
KINDS: dict[str | None, Kind] = {"hierarchical": "attention", "flat": "attention", None: "attention"}
KINDS |= {"lse": "lse", "mean": "equal", "mean_mlp": "equal"}

# Words on attention -> those on weights of another origin. The longest that fits counts.
WEIGHTS = {
    "Attention": "The pooling weight",
    "attention": "the pooling weight",
    "the attention": "the weight",
    "Attention of": "Weight of",
    "attention of": "weight of",
    "of attention": "of the weight",
    "stain attention": "stain weight",
    "Stain attention": "Stain weight",
    "more attention": "more weight",
    "most attention": "most weight",
    "different attention": "different weight",
    "with attention": "with its own weights",
    "deletion attention": "deletion by weight",
    "insertion attention": "insertion by weight",
    "contribution over attention": "contribution over weight",
    "attended": "weighted",
    "attends to": "weighs most",
    "attended to": "weighed most",
    "attend": "weigh",
    "attend to the same patches": "weigh the same patches most",
    "attend is not defined": "weigh patches is not defined",
    "Is attention an explanation?": "Are the pooling weights an explanation?",
    "Without attention": "Equal weights",
    "What attention depends on": "What the weights depend on",
    "that was trained with attention do not make it one trained without": "do not make it one trained with them",
    "Does attention improve the AUROC?": "Does the model’s way of pooling improve the AUROC?",
    "trained without attention": "trained on the mean of all patches",
    "with it,": "with its own pooling,",
    "attention AUROC": "weight AUROC",
    "Stain attention weights": "Stain weights",
    "in the same model trained without it": "in the same model trained on the mean of all patches",
    "Which stain has the attention?": "Which stain weighs most?",
    "Stable attention": "A stable weight",
    "rank correlation with attention": "rank correlation with the weight",
    "area, attention": "area, weight",
    "follow what is attended": "follow the weights",
    "Attention shows what was weighted, not why.": "The weights show what counted in the pooling, not why.",
    "no model was trained without it": "no model was trained on the mean of all patches",
    "no: better without": "no: better with the mean",
    "What attention adds": "What the model’s way of pooling adds",
    "Attention improves the AUROC": "The model’s way of pooling improves the AUROC",
    "whether attention improves the AUROC": "whether the model’s way of pooling improves the AUROC",
    "Attention is not shown to improve the AUROC": "The model’s way of pooling is not shown to improve the AUROC",
    "The AUROC is higher without attention": "The AUROC is higher with the mean of all patches",
    "attention was needed": "the model’s way of pooling was needed",
}
LSE = WEIGHTS | {
    "Attention probably marks evidence for one class, as the instance loss of training favours": (
        "The weights of a log-sum-exp grow with the margin over the first class"
    ),
    "The curve of contributions is an upper reference nearly by construction: its order is read off the model.": (
        "A log-sum-exp is no sum over patches: a contribution is the share of it that goes by a patch’s weight, so the "
        "order of contributions is no upper reference."
    ),
    "Contribution: the exact share of a patch in": "Contribution: the share, by its pooling weight, of a patch in",
}
EQUAL = WEIGHTS | {
    "Attention": "The weight",
    "attention": "the weight",
    "Is attention an explanation?": "What do predictions rest on?",
    "Does attention improve the AUROC?": "Does attention improve the AUROC?",
    "no model was trained without it": "this model has none",
    "What attention adds to the AUROC is not defined": "Attention adds nothing to the AUROC",
    "Attention cannot explain anything here: all patches of a case have equal weight, or there is only one.": (
        "The model has no attention: all patches of a case have equal weight, so its weights single out none. "
        "Contributions tell patches apart."
    ),
    "Predictions are not shown to rest on the attended patches, in any class.": (
        "The model weighs all patches of a case alike, so its weights explain no prediction."
    ),
    "Whether predictions rest on the patches with the most attention.": "Which patches predictions rest on.",
    "Attention shows what was weighted, not why. A patch with a large weight may be evidence for either class.": (
        "All patches of a case weigh the same: the weight of a stain is its share of the patches, not what it tells."
    ),
}
PHRASES: dict[Kind, Mapping[str, str]] = {"attention": {}, "lse": LSE, "varied": WEIGHTS, "equal": EQUAL}
HEADINGS = {"Attention": "Weights of patches"}  # a phrase that is a text of its own


class Weighting(NamedTuple):
    """How models weigh patches. names: of classes, stains and the like, which stay as they are in every sentence."""

    kind: Kind
    names: Collection[str] = ()

    def said(self, content: Any) -> Any:
        """Return a text on attention, or each text of a list or mapping, as one on the weights that there are."""
        if isinstance(content, Mapping):
            return {key: self.said(value) for key, value in content.items()}
        if isinstance(content, list):
            return [self.said(value) for value in content]
        if not isinstance(content, str) or self.kind == "attention":
            return content
        phrases = PHRASES[self.kind]
        if content in HEADINGS:
            return HEADINGS[content]
        kept = {name: name for name in self.names}
        words = "|".join(re.escape(each) for part in (kept, phrases) for each in sorted(part, key=len, reverse=True))
        return re.sub(rf"(?<!\w)(?:{words})(?!\w)", lambda found: (phrases | kept)[found[0]], content)


def kind_of(aggregations: Iterable[str | None]) -> Kind:
    """Return how models weigh patches, of their `model.aggregation`; None where it is not known, as of old results."""
    kinds = {KINDS[name] for name in aggregations}
    return kinds.pop() if len(kinds) == 1 else "varied"

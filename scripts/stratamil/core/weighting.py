"""How models weigh patches: not every one has attention. Pages say once what their word attention means then."""

from collections.abc import Iterable
from typing import Literal

# attention: learned weights; lse: those of a log-sum-exp; equal: all patches of a case weigh the same; varied: splits
# pool in different ways.
Kind = Literal["attention", "lse", "equal", "varied"]
KINDS: dict[str | None, Kind] = {"hierarchical": "attention", "flat": "attention", None: "attention"}
KINDS |= {"lse": "lse", "mean": "equal", "mean_mlp": "equal"}
NOTES: dict[Kind, str] = {
    "attention": "",
    "lse": "These models pool by log-sum-exp and learn no attention. What is called attention here is the weight of a "
    "patch in that pooling, which grows with its margin over the first class. A contribution is the share of the "
    "log-sum-exp that goes by this weight, so the order of contributions is no upper reference.",
    "equal": "These models have no attention: all patches of a case weigh the same. Whether attention finds the "
    "patches that count is not defined; contributions say which these are.",
    "varied": "The splits chose different ways of pooling. Where it is not attention, what is called attention here is "
    "the weight of a patch in that pooling.",
}


def kind_of(aggregations: Iterable[str | None]) -> Kind:
    """Return how models weigh patches, of their `model.aggregation`; None where it is not known, as of old results."""
    kinds = {KINDS[name] for name in aggregations}
    return kinds.pop() if len(kinds) == 1 else "varied"

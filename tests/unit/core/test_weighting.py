"""What attention means where a model learns none."""

from typing import get_args

from stratamil.core.weighting import KINDS, NOTES, Kind, kind_of
from stratamil.mil.model import AGGREGATIONS


def test_every_aggregation_has_its_weights_and_every_kind_its_note():
    assert set(AGGREGATIONS) | {None} == set(KINDS) and set(NOTES) == set(get_args(Kind))
    assert [kind for kind, note in NOTES.items() if not note] == ["attention"]


def test_splits_of_different_kinds_are_varied():
    assert kind_of(["flat", "hierarchical", None]) == "attention" and kind_of(["mean", "mean_mlp"]) == "equal"
    assert kind_of(["lse"]) == "lse" and kind_of(["lse", "flat"]) == kind_of(["mean", "flat"]) == "varied"

"""Sentences on attention become sentences on the weights that a model has, and names in them stay as they are."""

import re
from typing import get_args

import pytest
from repository import REPOSITORY

from stratamil.core.weighting import KINDS, PHRASES, Kind, Weighting, kind_of
from stratamil.mil.model import AGGREGATIONS

IMPROVES = "Attention improves the AUROC: AUROC within a split 0.91 with it, 0.85 in the same model trained without it"


def test_every_aggregation_has_its_weights():
    assert set(AGGREGATIONS) | {None} == set(KINDS) and set(PHRASES) == set(get_args(Kind))
    assert kind_of(["flat", "hierarchical", None]) == "attention" and kind_of(["mean", "mean_mlp"]) == "equal"
    assert kind_of(["lse"]) == "lse" and kind_of(["lse", "flat"]) == kind_of(["mean", "flat"]) == "varied"


def test_of_attention_nothing_changes():
    assert Weighting("attention").said(IMPROVES) == IMPROVES


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("lse", IMPROVES, "The model’s way of pooling improves the AUROC: AUROC within a split 0.91 with its own "
         "pooling, 0.85 in the same model trained on the mean of all patches"),
        ("lse", "Is attention an explanation?", "Are the pooling weights an explanation?"),
        ("lse", "Removing the 5% most attended patches", "Removing the 5% most weighted patches"),
        ("lse", "no order by attention.", "no order by the pooling weight."),
        ("varied", "Attention probably marks", "The pooling weight probably marks"),
        ("equal", "Attention", "Weights of patches"),
        ("equal", "What attention adds to the AUROC is not defined: no model was trained without it.",
         "Attention adds nothing to the AUROC: this model has none."),
    ],
)  # fmt: skip
def test_what_is_said_of_other_weights(kind, text, said):
    assert Weighting(kind).said(text) == said
    assert Weighting(kind).said({"a": [text, 1], "attention": None}) == {"a": [said, 1], "attention": None}


def test_names_stay_as_they_are():
    said = Weighting("lse", ["no attention", "attention (A+)", "<attended>"]).said
    assert said("In cases predicted no attention, attention is worse") == (
        "In cases predicted no attention, the pooling weight is worse"
    )
    assert said("attention (A+) and <attended> have more attention") == "attention (A+) and <attended> have more weight"
    assert said("inattention, attentional") == "inattention, attentional"


@pytest.mark.parametrize("kind", ["lse", "varied", "equal"])
def test_each_phrase_on_attention_stands_in_the_code(kind):
    """A sentence that is changed there must be changed here."""
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("scripts/stratamil/explain", "scripts/stratamil/report", "report")
        for path in sorted((REPOSITORY / folder).rglob("*"))
        if path.suffix in (".py", ".j2", ".js")
    )
    code = re.sub(r'"\s*\n\s*f?"', "", code + (REPOSITORY / "scripts/faithfulness.py").read_text(encoding="utf-8"))
    built = ("deletion attention", "insertion attention", "contribution over attention")  # of names with underscores
    lost = [phrase for phrase in PHRASES[kind] if phrase not in code and phrase not in built]
    assert lost == []

"""What the rules take from a configuration."""

import pytest

from stratamil.core import schema
from stratamil.workflow import config_values

CONFIG = {name: schema.defaults(name) for name in ("model", "report", "splits", "evaluate", "tune")}


def variants(**changes):
    return config_values.variants({name: CONFIG[name] | changes.get(name, {}) for name in CONFIG})


def test_the_model_is_trained_again_with_the_other_aggregations_and_not_with_its_own():
    assert list(variants()) == ["mean", "flat"]
    assert list(variants(model={"aggregation": "flat"})) == ["mean"]
    assert list(variants(report={"retrained": []})) == []
    assert list(variants(report={"retrained": ["hierarchical"]}, model={"aggregation": "mean"})) == ["hierarchical"]


def test_several_encoders_are_several_folders_with_their_own_defaults():
    config = {"embed": schema.defaults("embed"), "names": {"stains": [{"he": []}, {"er": []}]}}
    config["embed"] |= {"encoder": ["uni", "clam_resnet50"], "by_stain": {"er": {"encoder": "stain_stats"}}}
    found = config_values.encoders(config)
    assert {name: (each["encoder"], each["pooling"], each["only_stains"]) for name, each in found.items()} == {
        "uni": ("uni", "cls", ["he"]),
        "clam_resnet50": ("clam_resnet50", "global", ["he"]),
        "stain_stats_er": ("stain_stats", "global", ["er"]),
    }
    assert found["clam_resnet50"]["layer"] == "layer3"


def test_a_variant_has_the_settings_that_it_uses():
    found = variants(report={"learning_curve": True}, splits={"seed": 7})
    assert list(found) == ["mean", "flat", "train_25", "train_50", "train_75"]
    assert found["train_25"] == {"model": {}, "share": {"share": 25, "share_seed": 7}}
    unused = {key for key, value in found["mean"]["model"].items() if value is None}
    assert unused == {"attention_dim", "gated", "zero_start", "coupled", "sharpness"} and found["mean"]["share"] == {}
    flags = schema.flags("model", CONFIG["model"], **found["mean"]["model"])
    assert "--aggregation=mean" in flags and "gated" not in flags and "--embed-dim=" in flags


def test_chosen_settings_are_compared_with_the_study_s_own():
    found = variants(report={"retrained": []}, tune={"enabled": True})
    assert found == {"default": {"model": {}, "share": {}}}


@pytest.mark.parametrize(
    "site, columns, clinical, expected",
    [
        (None, ["Age"], [], ["Age"]),
        ("Site", ["Age"], [], ["Site", "Age"]),
        ("Site", ["Age", "Site"], [], ["Age", "Site"]),
        ("Site", ["Age"], ["Site"], ["Age"]),
    ],
)
def test_the_report_shows_the_model_by_site(site, columns, clinical, expected):
    config = {"cohort": {"site_column": site}, "report": {"columns": columns, "clinical": clinical}}
    config_values.show_sites(config)
    assert config["report"]["columns"] == expected


def test_an_encoder_knows_the_colours_of_its_own_stains_alone():
    """So that a change for one stain encodes no patch of another encoder again."""
    config = {"embed": schema.defaults("embed"), "names": {"stains": [{"he": []}, {"er": []}, {"pr": []}]}}
    config["embed"] |= {"by_stain": {"er": {"encoder": "stain_stats"}}, "views": 3}

    def found(normalise):
        config["embed"]["normalise"] = normalise
        return [each["normalise"] for each in config_values.encoders(config).values()]

    assert found("macenko") == ["macenko", "macenko"]
    assert found({"he": "macenko", "er": "reinhard"}) == [{"he": "macenko"}, {"er": "reinhard"}]
    assert found({"pr": "none", "er": "reinhard"}) == ["none", {"er": "reinhard"}]
    assert [each["views"] for each in config_values.encoders(config).values()] == [3, 3]

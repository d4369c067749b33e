"""A configuration that predicts: what it may set, and what it takes from the bundle."""

import copy

import pytest

from stratamil.core import schema
from stratamil.core.errors import UserError
from stratamil.workflow import predicting

pytestmark = pytest.mark.slow

NAMES = schema.read()["properties"]
DEFAULTS = {name: part.get("default") if "properties" not in part else None for name, part in NAMES.items()}
DEFAULTS |= {name: schema.defaults(name) for name, part in NAMES.items() if "properties" in part and name != "demo"}


def own(made, **more):
    """What a user's file sets."""
    return {"predict": {"bundle": str(made.zip), "patches": str(made.zip), "labels": None, "name": "new"}} | more


def taken(made, **more):
    """The configuration after it took over what the bundle says, and the facts."""
    said, config = own(made, **more), copy.deepcopy(DEFAULTS)
    for section, settings in said.items():
        config[section] = {**config[section], **settings} if isinstance(settings, dict) else settings
    return config, predicting.take_over(config, said)


def test_names_classes_and_title_are_those_of_the_bundle(made):
    config, facts = taken(made)
    assert config["names"] == facts["names"] and config["report"]["title"] == "Made study"
    assert config["features"]["source"] == "precomputed" and config["features"]["manifest"] == str(made.zip)
    assert config["labels"] == "" and predicting.encoders(facts, config) == {}


def test_names_and_labels_of_the_new_cases_go_before_those_of_the_study(made):
    pattern = "(?P<case>[0-9]+)-(?P<stain>[a-z&0-9]+)-(?P<patch>[0-9]+)"
    config, _ = taken(made, names={"pattern": pattern}, cohort={"class_column": "Diagnosis"})
    assert config["names"]["pattern"] == pattern and config["names"]["stains"] == schema.defaults("names")["stains"]
    assert config["cohort"]["class_column"] == "Diagnosis"


@pytest.mark.parametrize(
    "more, line",
    [
        ({"train": {"epochs": 3}, "patches": "a"}, "the same settings name a study (train, patches)"),
        ({"embed": {"encoder": "uni"}}, "the same settings name a study (embed.encoder)"),
        ({"report": {"retrained": []}}, "the same settings name a study (report.retrained)"),
        ({"predict": {"bundle": "a.zip"}}, "predict.patches: none with predict.bundle"),
    ],
)
def test_a_study_and_its_prediction_are_two_files(made, more, line):
    (problem,) = predicting.problems(own(made, **more))
    assert line in problem


def test_what_a_prediction_may_set_is_no_problem(made):
    more = {"results": "r", "names": {}, "cohort": {}, "embed": {"weights": "w.pth"}, "report": {"colors": []}}
    assert predicting.problems(own(made, **more)) == []


@pytest.mark.parametrize(
    "more, line",
    [
        ({"names": {"stains": [{"he": []}]}}, "names.stains: he, but the model has h&e, melan, sox10"),
        ({"cohort": {"classes": [{"a": ["1"]}, {"b": ["2"]}]}}, "cohort.classes: a, b, but the model has benign"),
    ],
)
def test_other_stains_and_classes_are_one_line(made, more, line):
    with pytest.raises(UserError, match="but the model has") as error:
        taken(made, **more)
    assert [text for text in error.value.problems if line in text] == list(error.value.problems)


def test_a_folder_for_a_model_of_feature_files_is_one_line(made, tmp_path):
    with pytest.raises(UserError, match="a folder, but the model takes precomputed features"):
        taken(made, predict={"bundle": str(made.zip), "patches": str(tmp_path), "labels": None, "name": "new"})


def test_weights_of_the_study_s_own_are_asked_for(made):
    settings = {"encoder": "kimianet", "weights": "Kimia.pth", "weights_sha256": "ab"}
    facts = {"encoders": {"kimianet": settings}}
    (line,) = predicting._weights(facts, "default")
    assert "copy Kimia.pth (SHA-256 ab)" in line and predicting._weights(facts, "here/Kimia.pth") == []
    config = DEFAULTS | {"embed": DEFAULTS["embed"] | {"weights": "here/Kimia.pth"}}
    assert predicting.encoders(facts, config)["kimianet"]["weights"] == "here/Kimia.pth"

"""Candidates: drawn from what the space says, seeded, each once, the study's own first."""

import math

import pytest

from stratamil.core import schema
from stratamil.core.errors import UserError
from stratamil.evaluation import tuning, tuning_space

SPACE = schema.defaults("tune")["space"]
SECTIONS = {name: schema.defaults(name) for name in tuning_space.SECTIONS}
OWN = tuning_space.default(SPACE, SECTIONS)


def drawn(space, n=24, seed=1, **changes):
    own = tuning_space.default(space, SECTIONS) | changes
    aggregation = own.get("model.aggregation", "hierarchical")
    return tuning_space.candidates(space, own, n, seed, aggregation, tuning.SIDE_BY_SIDE)


def test_the_study_s_own_settings_are_the_first_candidate_and_the_draw_is_seeded():
    made = drawn(SPACE)
    assert made[0] == OWN and len(made) == 24 and made == drawn(SPACE) != drawn(SPACE, seed=2)
    assert all(set(each) == set(SPACE) for each in made)
    assert all(made.count(each) == 1 for each in made)


def test_a_range_is_covered_evenly_on_its_scale_and_each_value_about_equally_often():
    made = drawn(SPACE)[1:]
    low, high, _ = SPACE["train.lr"]
    shares = sorted(math.log(each["train.lr"] / low) / math.log(high / low) for each in made)
    assert all(place / 23 - 0.02 <= share <= (place + 1) / 23 + 0.02 for place, share in enumerate(shares))
    assert all(low <= each["train.lr"] <= high for each in made)
    for name in ("train.instance_weight", "model.aggregation"):
        counts = [sum(each[name] == value for each in made) for value in SPACE[name]]
        assert sum(counts) == 23 and max(counts) - min(counts) <= 1


def test_candidates_share_what_must_be_alike_to_train_side_by_side():
    space = SPACE | {"model.embed_dim": [64, 128, 256], "model.gated": [False, True]}
    made = drawn(space)[1:]
    alike = [(each["model.embed_dim"], each["model.gated"], each["model.aggregation"]) for each in made]
    assert 3 <= len(set(alike)) <= 6 and len({each["train.lr"] for each in made}) > 15
    for place, values in enumerate(([64, 128, 256], [False, True], SPACE["model.aggregation"])):
        assert {each[place] for each in alike} == set(values)
    assert len({str(each) for each in drawn({"model.embed_dim": list(range(8, 40)), "train.batch_size": [1, 2]})}) == 24


def test_numbers_are_whole_where_the_setting_is():
    made = drawn({"train.epochs": [10, 50, "linear"], "train.min_delta": [0, 0.1, "linear"]})
    caps = drawn({"train.per_slice_cap": [1, 9, "log"], "train.max_slices_per_stain": [1, 5, "linear"]})[1:]
    assert all(type(value) is int for each in caps for value in each.values())  # the study's own is none of a number
    shares = drawn({"train.instance_weight": [0, 1, "linear"]}, **{"train.instance_weight": 1})[1:]
    assert len({each["train.instance_weight"] for each in shares}) > 9
    assert all(type(each["train.epochs"]) is int and 10 <= each["train.epochs"] <= 50 for each in made)
    assert all(type(each["train.min_delta"]) is float for each in made[1:])


def test_a_small_space_is_taken_whole():
    space = {"model.gated": [True, False], "train.batch_size": [1, 2, 4]}
    made = drawn(space)
    assert len(made) == 6 and made[0] == {"model.gated": False, "train.batch_size": 1}
    assert len(drawn(space, n=6)) == 6
    assert 2 <= len(drawn(space, n=5)) <= 5  # drawn, for six do not fit
    assert len(drawn({"train.batch_size": [2, 4]}, n=3)) == 3  # with the study's own


def test_what_an_aggregation_does_not_use_stays_as_it_is():
    space = {"model.aggregation": ["mean", "flat"], "model.gated": [True, False], "model.coupled": [True, False]}
    made = drawn(space, n=50)
    assert [each for each in made if each["model.aggregation"] == "mean"] == [
        {"model.aggregation": "mean", "model.gated": False, "model.coupled": True}
    ]
    assert sum(each["model.aggregation"] == "flat" for each in made) == 2
    alone = {"model.gated": [True, False], "train.lr": [0.1, 0.2]}
    own = tuning_space.default(alone, SECTIONS)
    made = tuning_space.candidates(alone, own, 9, 1, "mean", tuning.SIDE_BY_SIDE)
    assert len(made) == 3  # gated is nothing to a mean


@pytest.mark.parametrize("text", ["", "chosen: 5", "{", "chosen: {settings: {}}"])
def test_a_choice_that_is_none_is_one_line(tmp_path, text):
    path = tmp_path / "chosen.yaml"
    with pytest.raises(UserError, match="no such file"):
        tuning_space.read(path)
    path.write_text(text)
    with pytest.raises(UserError, match="not a choice of settings"):
        tuning_space.read(path)

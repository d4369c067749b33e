"""Flags of new cases: each is raised where it should be, and by few held-out cases of the training cohort."""

import json
from dataclasses import replace

import made_new_cases
import made_study
import numpy as np
import pandas as pd
import pytest
from factories import GRAMMAR, OF_LABELS, STAINS
from made_new_cases import LIKE, PROBS, N, moved, new

from stratamil.cohort import inventory, labels
from stratamil.core import wording
from stratamil.deploy import flags, reference, shift
from stratamil.deploy.reference import Reference
from stratamil.features import extract, networks, store
from stratamil.mil.bags import Bags
from stratamil.report import new_case_words
from stratamil.stats import metrics


@pytest.fixture(scope="module")
def cohort():
    """A study of cases 1 to N with two seeds, its features and their Reference."""
    made, data = made_new_cases.study(), moved(LIKE)
    return made, data, reference.of_study(made, data, STAINS)


def found(known, data, p=0.9, sd=0.0, threshold=0.5, unknown=None, apart=0.0):
    """Flags of cases that all members predict alike, but for `sd` between seeds and `apart` between splits."""
    cases = list(dict.fromkeys(data.table["case_id"]))
    each = pd.DataFrame({"case_id": cases, "prob_benign": 1 - p, "prob_high_grade": p})
    members = pd.concat(
        [
            each.assign(split=split, seed=seed, prob_high_grade=high, prob_benign=1 - high)
            for split, less in (("01", 0.0), ("02", apart))
            for seed, high in ((1, p + sd - less), (2, p - sd - less))
        ]
    )
    seen = flags.seen(known, data, Bags(data, STAINS), unknown or {})
    return flags.found(known.facts, seen, each.assign(sd=sd), members, probabilities=PROBS, threshold=threshold)


def raised(result):
    return {case: set(rows["flag"]) for case, rows in result.flags.groupby("case_id")}


def test_cases_like_those_of_training_raise_nothing(cohort):
    result = found(cohort[2], new(LIKE))
    assert set(result.flags["flag"]) <= {"feature_shift"} and list(result.flags.columns) == list(flags.COLUMNS)


def test_few_cases_like_those_of_training_are_called_far(cohort):
    """At most 1 in 20 on average over cohorts; in any one cohort, of which the limit is, it may be more."""
    rates = []
    for seed in range(4):
        known = reference.of_study(cohort[0], moved(LIKE, seed=100 + 2 * seed), STAINS)
        rows = shift.of_cases(
            moved(LIKE, seed=300 + 2 * seed), known.distributions, known.facts["shift"]["usual"], STAINS
        )
        rates.append((rows.groupby("case_id")["shift"].max() > known.facts["shift"]["limit"]).mean())
    assert np.mean(rates) < 0.07


@pytest.mark.slow
def test_cases_of_training_are_known_under_another_name_and_with_patches_less(cohort):
    _, data, known = cohort
    table = data.table.assign(case_id="new " + data.table["case_id"])
    part = np.random.default_rng(1).random(len(table)) < 0.8
    again = replace(data, values=np.asarray(data.values)[part], table=table[part].reset_index(drop=True))
    assert all("known_case" in raised(found(known, again))[f"new {case}"] for case in LIKE)


@pytest.mark.slow
def test_a_part_of_a_training_case_is_known(cohort):
    _, data, known = cohort
    few = data.table.groupby("case_id", sort=False, observed=True).head(4).index.to_numpy()
    table = data.table.iloc[few].assign(case_id="new " + data.table["case_id"].astype(str).iloc[few])
    part = replace(data, values=np.asarray(data.values)[few], table=table.reset_index(drop=True))
    assert all("known_case" in raised(found(known, part))[f"new {case}"] for case in LIKE)


def test_a_case_is_recognised_by_its_images_whatever_the_encoder(cohort):
    made, data, _ = cohort
    colour = np.random.default_rng(2).normal(size=(len(data.table), 60)).astype(np.float16)
    known = reference.of_study(made, replace(data, colour=colour), STAINS)
    other = replace(moved(LIKE, seed=9), colour=colour)
    assert sum("known_case" in of for of in raised(found(known, other)).values()) == N


@pytest.mark.parametrize(
    ("shape", "flag"),
    [
        ({"a": [[9], [], []]}, "stains_missing"),
        ({"a": [[2], [2], [2]]}, "few_patches"),
    ],
)
def test_what_training_never_had(cohort, shape, flag):
    result = found(cohort[2], new(shape))
    row = result.flags.set_index("flag").loc[flag]
    assert row["case_id"] == "new a" and "training case" in row["reason"]


def test_a_stain_that_told_the_class_in_training_is_flagged_where_it_is_missing(cohort):
    """Also where a training case had just these stains, by which `stains_missing` is silent."""
    lacking = {str(i + 1) for i in range(0, N, 2)[:6]}  # six of twenty benign cases, and no other
    shape = {case: [each[0], [], each[2]] if case in lacking else each for case, each in LIKE.items()}
    known = reference.of_study(cohort[0], moved(shape), STAINS)
    (row,) = known.facts["telling_stains"]
    counts = {"benign": {"with": 14, "cases": 20}, "high-grade": {"with": 20, "cases": 20}}
    assert (row["stain"], row["by_class"]) == ("melan", counts)
    assert "presence of the stain melan alone separates high-grade from benign" in row["warning"]
    data = new({"a": LIKE["2"], "b": shape["3"]})
    made = found(known, data)
    rows = made.flags.query("flag == 'telling_stain_missing'")
    assert rows["case_id"].tolist() == ["new b"] and "stains_missing" not in set(made.flags["flag"])
    assert "14 of 20 benign and 20 of 20 high-grade cases had it" in rows["reason"].item()
    (line,) = new_case_words.told_by_stains(made.shift, known.facts)
    assert row["warning"] in line and line.endswith("1 of 2 new cases lacks it: new b.")
    assert cohort[2].facts["telling_stains"] == []
    old = Reference(known.arrays, {name: fact for name, fact in known.facts.items() if name != "telling_stains"})
    assert "telling_stain_missing" not in set(found(old, data).flags["flag"])
    assert new_case_words.told_by_stains(made.shift, old.facts) == []


def test_a_case_of_nothing_but_excluded_patches_is_flagged(cohort):
    data = replace(new({"a": LIKE["1"], "b": LIKE["2"]}), emptied=frozenset(["new a"]))
    made = found(cohort[2], data).flags
    rows = made.query("flag == 'no_good_patch'")
    assert rows["case_id"].tolist() == ["new a"] and "excluded for its quality" in rows["reason"].item()
    said = new_case_words.grave(made, 2, cohort[2].facts)
    assert "1 case of 2 has nothing but patches of bad quality: new a." in said


def test_unknown_stains_of_names_and_of_features(cohort):
    data = new({"a": LIKE["1"], "b": LIKE["2"]})
    data.table.loc[(data.table["case_id"] == "new a") & (data.table["stain"] == "melan"), "stain"] = "cd31"
    rows = found(cohort[2], data, unknown={"new b": ["ki67", "cd31"]}).flags.query("flag == 'stain_unknown'")
    assert rows["reason"].tolist() == [
        "the model does not know cd31: not used",
        "the model does not know cd31 and ki67: not used",
    ]


def test_features_that_moved_are_flagged_with_the_stain(cohort):
    data = new(LIKE)
    only = (data.table["stain"] == "melan").to_numpy()
    data.values[only] += np.float16(4)
    result = found(cohort[2], data)
    rows = result.flags.query("flag == 'feature_shift'")
    assert (
        len(rows) == N and rows["reason"].str.contains("melan").all() and not rows["reason"].str.contains("h&e").all()
    )
    assert (rows["value"] > rows["limit"]).all()
    far = result.shift.assign(melan=result.shift["stain"] == "melan")
    assert metrics.roc_auc(far["melan"], far["shift"]) > 0.95


def test_the_limit_is_of_cases_that_the_statistics_did_not_see(cohort):
    _, data, known = cohort
    facts = known.facts["shift"]
    assert facts["cases"] == N and facts["limit"] > 1
    inside = shift.of_cases(data, known.distributions, facts["usual"], STAINS)
    assert inside["shift"].median() < 1  # of the cases that the statistics are of


def test_members_that_disagree(cohort):
    limit = cohort[2].facts["disagreement"]["limit"]
    assert all("members_disagree" in of for of in raised(found(cohort[2], new(LIKE), p=0.5, sd=limit)).values())
    rows = found(cohort[2], new(LIKE), p=0.5, sd=limit).flags.query("flag == 'members_disagree'")
    assert rows["reason"].str.contains("between seeds of a split; 95% of training cases had").all()
    assert not any("members_disagree" in of for of in raised(found(cohort[2], new(LIKE), apart=0.8)).values())
    told = disagreement(cohort[2].facts)
    assert told["name"] == "Seeds disagree" and "different splits are not compared" in told["meaning"]
    alone = Reference(cohort[2].arrays, cohort[2].facts | {"disagreement": {"limit": None, "share": 0.95}})
    one = new({"a": LIKE["1"]})
    rows = found(alone, one, p=0.6, sd=0.2).flags.query("flag == 'members_disagree'")
    assert rows["reason"].tolist() == ["50% of the models decide otherwise"]
    assert (
        disagreement(alone.facts)["name"] == "Models disagree" and "split" not in disagreement(alone.facts)["meaning"]
    )


def disagreement(facts):
    """What the page says of this flag."""
    rows = new_case_words.summary(pd.DataFrame({"flag": []}), 1, facts)
    return next(row for row in rows if row["flag"] == "members_disagree")


def test_a_flag_has_as_many_digits_as_tell_value_and_limit_apart(cohort):
    facts = cohort[2].facts | {"shift": cohort[2].facts["shift"] | {"limit": 1.6585}}
    shifts = pd.DataFrame({"case_id": "N43", "stain": ["h&e", "sox10"], "shift": [3.0, 1.6779]})
    ((*_, reason),) = flags._shifted(facts, shifts)
    assert "h&e 3.00 and sox10 1.68 times the usual distance, limit 1.66" in reason
    table = pd.DataFrame({"case_id": ["7"], "a": 0.4979, "b": 0.5021, "sd": 0.1})
    ((*_, reason),) = flags._near(table, ["a", "b"], 0.5018, 10)
    assert reason.startswith("probability 0.5021, the threshold 0.5018:")
    assert wording.apart(0.5, 0.5, 2) == ("0.50", "0.50")


@pytest.mark.parametrize(
    ("p", "sd", "threshold", "near"),
    [
        (0.51, 0, 0.5, 1),
        (0.7, 0.02, 0.5, 0),
        (0.6, 0.15, 0.5, 1),
        (0.3, 0.0, 0.31, 1),
        (0.505, 0, None, 1),
        (0.9, 0, None, 0),
    ],
)
def test_a_probability_next_to_the_threshold(cohort, p, sd, threshold, near):
    result = found(cohort[2], new({"a": LIKE["1"]}), p=p, sd=sd, threshold=threshold)
    assert (result.flags["flag"] == "near_threshold").sum() == near


def test_more_members_are_surer_of_their_mean(cohort):
    """Twice the SE of the mean counts, not what one model more or less would say."""
    data = new({"a": LIKE["1"]})
    each = pd.DataFrame({"case_id": ["new a"], "prob_benign": 0.4, "prob_high_grade": 0.6, "sd": 0.15})
    near = []
    for members in (4, 16):
        table = pd.concat([each.assign(split=f"{i:02d}", seed=1) for i in range(members)])
        seen = flags.seen(cohort[2], data, Bags(data, STAINS), {})
        raised = flags.found(cohort[2].facts, seen, each, table, probabilities=PROBS, threshold=0.5).flags
        near.append("near_threshold" in set(raised["flag"]))
    assert near == [True, False]


def test_a_reference_holds_no_id_and_reads_from_json(cohort):
    made, _, known = cohort
    text = json.dumps(known.facts)
    assert "patient_id" not in text and "case_id" not in text and "path" not in text
    assert known.arrays["hashes"].dtype == np.uint64
    assert known.facts["development"]["ensemble"]["roc_auc"]["low"] is not None
    again = reference.of_study(made, moved(LIKE), STAINS)
    assert json.dumps(again.facts) == text
    assert all(np.array_equal(again.arrays[name], part) for name, part in known.arrays.items())


def test_limits():
    assert reference.limit(pd.Series(range(1, 100))) == 95
    assert reference.limit(pd.Series([1.0, 2.0])) == 2
    assert reference.limit(pd.Series([], dtype=float)) is None


def encoded(folder, tmp_path, weights):
    """Features of four real patches of each stain of a case, by EfficientNet-Lite0 at 64 pixels."""
    table = labels.read(folder / "labels.csv", **OF_LABELS | {"classes": {"all": ["1", "3", "4"]}})
    listed = inventory.take(folder / "patches", table, GRAMMAR, STAINS, "exclude").patches
    some = listed.groupby(["case_id", "stain"], sort=False).head(4)
    encoder = networks.load("efficientnet_lite0", weights, input_size=64, pooling="global", precision="fp32")
    output = tmp_path / f"{folder.name}.h5"
    told = {"cache": tmp_path / folder.name, "max_unreadable": 0.01, "threads": 2}
    extract.embed(some, set(some["case_id"]), folder / "patches", encoder, output=output, **told)
    return store.read([output])


def test_real_patches_of_another_tissue_are_flagged_and_held_out_ones_are_not(shared, tmp_path):
    """50 cases of colon_mil train, 18 are held out; lesion_multistain is of another organ and real stains."""
    weights = shared / "weights/efficientnet-lite0-57934424.pth"
    colon, lesion = (encoded(shared / name, tmp_path, weights) for name in ("colon_mil", "lesion_multistain"))
    cases = np.random.default_rng(18).permutation(colon.table["case_id"].unique())[:68]
    names = dict(zip(cases[:50], map(str, range(1, 51)))) | {case: f"other {case}" for case in cases[50:]}
    colon.table["case_id"] = colon.table["case_id"].map(names).fillna("unused")
    made = made_study.study(np.random.default_rng(1).normal(size=50), np.arange(50) % 2)
    known = reference.of_study(made, colon, STAINS)
    usual, limit = known.facts["shift"]["usual"], known.facts["shift"]["limit"]

    def far(data, prefix=""):
        rows = shift.of_cases(data, known.distributions, usual, STAINS)
        return rows[rows["case_id"].str.startswith(prefix)].groupby("case_id")["shift"].max().to_numpy()

    held_out, other = far(colon, "other"), far(lesion)
    assert len(held_out) == 18 and (held_out > limit).mean() < 0.1
    assert metrics.roc_auc(np.repeat([0, 1], [18, len(other)]), np.concatenate([held_out, other])) > 0.95
    assert (other > limit).mean() > 0.9

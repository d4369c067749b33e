"""Predictions from a bundle: what evaluate gave, to the last digits, and nothing of the new cases moves the model."""

import doctest
import html
import json
import shutil

import bundles
import numpy as np
import pandas as pd
import pytest
from factories import DIM, STAINS, features
from scripts_here import predict

import bundle as script
from stratamil import load_bundle
from stratamil.core.errors import UserError
from stratamil.deploy import apply, bundle, decisions
from stratamil.evaluation.predict import probabilities
from stratamil.mil import checkpoint
from stratamil.mil.bags import Bags
from stratamil.mil.model import HierarchicalAttention, ModelSettings

pytestmark = pytest.mark.slow

WEIGHTS = ["patch_weight", "slice_weight", "stain_weight", "effective_weight", "effective_ratio"]
PROBS = ["prob_benign", "prob_high_grade"]


@pytest.fixture(scope="module")
def again(made, tmp_path_factory):
    """The study's own cases, predicted by the script from files of features."""
    folder = tmp_path_factory.mktemp("again")
    manifest = bundles.write_manifest(folder / "features", made.data, list(made.data.table["case_id"].unique()))
    return predict(made.zip, manifest, folder / "out"), folder / "out"


def compared_attention(found, was):
    """Compare attention tables, row by row."""
    columns = [*WEIGHTS, "rank", "contribution_benign", "contribution_high_grade"]
    assert found["path"].tolist() == was["path"].tolist()
    np.testing.assert_allclose(found[columns].astype(float), was[columns].astype(float), rtol=0, atol=1e-6)


@pytest.mark.parametrize("split", bundles.TEST)
def test_a_test_case_by_its_own_split_equals_its_row_attention_included(made, split):
    model, bags = load_bundle(made.zip, split), Bags(made.data, STAINS)
    folder = made.folder / f"split_{split}"
    rows = pd.read_csv(folder / "ensemble/predictions.csv", dtype={"case_id": str}).set_index("case_id")
    seeds = [pd.read_csv(folder / f"seed_{seed}/predictions.csv", dtype={"case_id": str}) for seed in bundles.SEEDS]
    seeds = [table.set_index("case_id") for table in seeds]
    attention = pd.read_parquet(folder / "ensemble/patch_attention.parquet")
    result = json.loads((folder / "ensemble/results.json").read_text())
    for case, row in rows.iterrows():
        found = model.of_case(made.data, case, bags)
        np.testing.assert_allclose(found.probabilities, row[PROBS].astype(float), rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.logits, [row["logit_benign"], row["logit_high_grade"]], rtol=0, atol=1e-6)
        for member, table in zip(found.members, seeds, strict=True):
            np.testing.assert_allclose(member, table.loc[case, PROBS].astype(float), rtol=0, atol=1e-6)
        compared_attention(found.attention, attention[attention["case_id"] == case])
        assert found.predicted_class == bundles.NAMES[int(row["prob_high_grade"] >= result["threshold"])]


def test_one_member_has_the_attention_that_it_had(made, tmp_path):
    """Also its weights of patch, slice and stain are its own, not parts of a mean."""
    found = bundle.read(made.zip)
    first = found.members()[0]
    facts = {**found.facts, "members": [first]}
    bundle.write(tmp_path / "one.zip", facts, {first["file"]: found.weights[first["file"]]}, found.reference, "card")
    model = load_bundle(tmp_path / "one.zip", "01")
    was = pd.read_parquet(made.folder / "split_01/seed_1/patch_attention.parquet")
    compared_attention(model.of_case(made.data, "3").attention, was[was["case_id"] == "3"])
    assert model.of_case(made.data, "3").row()["sd"] == 0


def test_the_script_gives_the_mean_of_all_members(made, again):
    tables, out = again
    predictions, members = tables["predictions"], tables["members"]
    assert "true_class" not in predictions and len(predictions) == 24 and len(members) == 4 * 24
    means = members.groupby("case_id", sort=False)[PROBS].agg(["mean", "std", "min", "max"])
    for name in PROBS:
        np.testing.assert_allclose(predictions[name], means[name]["mean"], atol=1e-12)
    for name, what in (("sd", "std"), ("low", "min"), ("high", "max")):
        np.testing.assert_allclose(predictions[name], means["prob_high_grade"][what], atol=1e-12)
    decision = bundle.read(made.zip).decision()
    called = predictions["prob_high_grade"] >= decision["threshold"]
    assert (predictions["predicted_class"] == np.array(bundles.NAMES)[called.astype(int)]).all()
    powers = predictions[PROBS].to_numpy() ** (1 / decision["temperature"])
    calibrated = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predictions[["calibrated_benign", "calibrated_high_grade"]], calibrated, atol=1e-9)
    assert predictions["stains"].value_counts().to_dict() == {"h&e+melan+sox10": 16, "h&e+melan": 8}
    assert (predictions["n_patches"] == np.where(predictions["stains"] == "h&e+melan", 9, 11)).all()
    attention = pd.read_parquet(out / "patch_attention.parquet")
    assert len(attention) == len(made.data.table)
    assert attention.groupby("case_id")["effective_weight"].sum().to_numpy() == pytest.approx(1)
    assert (out / "attention_analysis/summary.csv").is_file()
    assert decisions.told(decision, bundles.NAMES) in html.unescape((out / "index.html").read_text(encoding="utf-8"))
    assert "true" not in (out / "attention_analysis/attention_summary.txt").read_text().split("\n")[10]


def test_cases_of_the_training_cohort_are_recognised_under_other_names(made, again, tmp_path):
    tables, _ = again
    assert tables["predictions"]["flags"].str.contains("known_case").all()
    renamed = bundles.shape(range(31, 35))
    new = features(renamed, seed=99)
    manifest = bundles.write_manifest(tmp_path / "new", new, list(renamed))
    flags = predict(made.zip, manifest, tmp_path / "out")["flags"]
    assert "known_case" not in set(flags["flag"])


def test_new_cases_move_nothing(made, tmp_path):
    """A case is predicted alike whatever cases, and labels, are beside it."""
    new = features(bundles.shape(range(31, 37)), seed=8)
    few = bundles.write_manifest(tmp_path / "few", new, ["31", "32"])
    all_ = bundles.write_manifest(tmp_path / "all", new, [str(i) for i in range(31, 37)])
    (tmp_path / "labels.csv").write_text("Case,Class\n" + "".join(f"{i},{1 + 2 * (i < 35)}\n" for i in range(31, 37)))
    tables = [
        predict(made.zip, few, tmp_path / "out")["predictions"],
        predict(made.zip, all_, tmp_path / "out")["predictions"],
    ]
    labelled = predict(made.zip, all_, tmp_path / "labelled", "--labels", tmp_path / "labels.csv")["predictions"]
    assert list(labelled["true_class"]) == ["high-grade"] * 4 + ["benign"] * 2
    pd.testing.assert_frame_equal(tables[0], tables[1].head(2))
    pd.testing.assert_frame_equal(tables[1], labelled.drop(columns="true_class"))


def test_what_is_gone_leaves_no_features(made, tmp_path):
    new = features(bundles.shape(range(31, 34)), seed=8)
    predict(made.zip, bundles.write_manifest(tmp_path / "all", new, ["31", "32", "33"]), tmp_path / "out")
    predict(made.zip, bundles.write_manifest(tmp_path / "few", new, ["32"]), tmp_path / "out")
    assert [path.stem for path in (tmp_path / "out/features").rglob("*.h5")] == ["32"]


def stopped(made, *args, match):
    """The script ends with one line, and nothing is half-written."""
    with pytest.raises(UserError, match=match) as error:
        predict(made.zip, *args)
    assert len(error.value.problems) == 1
    assert not args[1].exists()


def test_what_does_not_fit_is_one_line(made, tmp_path):
    new = features(bundles.shape([31]), seed=8)
    manifest, out = bundles.write_manifest(tmp_path / "new", new, ["31"]), tmp_path / "out"
    (tmp_path / "labels.csv").write_text("Case,Class\n31,7\n")
    labels = ("--labels", tmp_path / "labels.csv")
    stopped(made, tmp_path / "new", out, match="a folder of images, but .*made.zip has a model of precomputed features")
    stopped(made, tmp_path / "none.csv", out, match="no such file or folder")
    stopped(made, manifest, out, *labels, match="class code '7' is in neither")
    stopped(made, manifest, out, "--classes", "low=1", "high=3,4", match="classes benign, high-grade, but .* low, high")
    stopped(made, manifest, out, "--stains", "melan=", "h&e=", match="stains h&e, melan, sox10, but .* melan, h&e")
    stopped(made, manifest, out, "--features-encoder", "uni", match="encoder: uni, in training made")
    wide = bundles.write_manifest(tmp_path / "wide", features(bundles.shape([31]), dim=DIM + 1), ["31"])
    stopped(made, wide, out, match=f"dim: {DIM + 1}, in training {DIM}")


def test_arrays_of_features(made):
    model, rng = load_bundle(made.zip), np.random.default_rng(1)
    values = rng.normal(size=(7, DIM))
    stain = ["sox10", "h&e", "h&e", "cd31", "h&e", "sox10", "melan"]
    found = model.predict(values, stain, ["1", "1", "2", "1", "1", "1", "1"])
    assert found.members.shape == (4, 2) and found.probabilities.sum() == pytest.approx(1)
    assert found.attention["patch"].tolist() == [0, 1, 2, 4, 5, 6]  # that of cd31 is not used
    order = [6, 4, 1, 0, 2, 5]
    mixed = model.predict(values[order], [stain[i] for i in order], [["1", "2"][i == 2] for i in order])
    np.testing.assert_allclose(mixed.probabilities, found.probabilities, atol=1e-6)
    with pytest.raises(UserError, match=r"the model needs \(patches, 6\)"):
        model.predict(values[:, 1:], stain)
    with pytest.raises(UserError, match="no patch of a stain that the model knows"):
        model.predict(values, "cd31")


def test_what_the_docstring_shows_is_what_comes_out(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/demo/model").mkdir(parents=True)
    shutil.copy(made.zip, tmp_path / "results/demo/model/stratamil_demo_cohort.zip")
    found = doctest.testmod(apply)
    assert found.attempted > 5 and found.failed == 0


def test_members_of_other_splits_standardise_in_their_own_way(made):
    model = load_bundle(made.zip)
    assert [stack.members for stack in model.stacks] == [2, 2]
    assert not np.allclose(model.stacks[0].mean, model.stacks[1].mean)
    assert apply.differences(model.bundle.facts, bundles.IDENTITY) == []


def test_the_name_of_given_features_is_that_of_the_settings_or_of_the_files():
    given = {"encoder": "precomputed", "dim": 8}
    told = apply.differences({"features": given | {"named": "UNI 2"}}, given)
    assert len(told) == 1 and "name no encoder" in told[0] and told[0].endswith("set features.encoder: UNI 2")
    for was, now in (({"named": "UNI 2"}, {"extractor": "uni_2"}), ({}, {"named": "uni"}), ({"extractor": "a"},) * 2):
        assert apply.differences({"features": given | was}, given | now) == []
    assert apply.differences({"features": given | {"extractor": "uni"}}, given | {"named": "conch"}) == [
        "encoder: conch, in training uni"
    ]
    assert apply.differences({"features": given}, given | {"dim": 9}) == ["dim: 9, in training 8"]


def test_a_folder_of_the_output_s_name_is_kept(made, tmp_path):
    """What others laid into the folder stays."""
    new = features(bundles.shape([31]), seed=8)
    manifest, out = bundles.write_manifest(tmp_path / "new", new, ["31"]), tmp_path / "out"
    out.mkdir()
    (out / "notes.md").write_text("mine")
    predict(made.zip, manifest, out)
    predict(made.zip, manifest, out)
    assert (out / "notes.md").read_text() == "mine"


def test_members_of_settings_that_each_split_chose(tmp_path):
    """Each is built as its own checkpoint says; a case gets the mean of all."""
    made = bundles.write(tmp_path)
    chosen = {"02": {"aggregation": "lse", "embed_dim": 5, "sharpness": 2.0}, "01": {"dropout": 0.1}}
    for path in made.args.checkpoints:
        content, split = checkpoint.read(path), path.parts[-4].removeprefix("split_")
        settings = ModelSettings(**content["model"] | chosen[split])
        own = HierarchicalAttention(settings)
        own.load(own.weights(0) | {name: content["weights"][name] for name in ("mean", "scale")})
        checkpoint.save(content | {"weights": own.weights(0), "model": settings.asdict()}, path)
    script.main(made.args)
    model = load_bundle(made.zip)
    assert [stack.members for stack in model.stacks] == [2, 2]
    entries = {(each["split"], each["seed"]): each.get("model") for each in model.bundle.facts["members"]}
    assert entries == {
        ("01", 1): None, ("01", 2): None,
        **dict.fromkeys([("02", 1), ("02", 2)], chosen["02"] | {"dropout": 0.5}),
    }  # fmt: skip
    data, bags = made.data, Bags(made.data, STAINS)
    p = [
        probabilities(checkpoint.model(checkpoint.read(path), path, data, bundles.NAMES, STAINS), bags, ["1"])
        for path in made.args.checkpoints
    ]
    np.testing.assert_allclose(model.of_case(data, "1").probabilities, np.mean(p, axis=0)[0, 0], atol=1e-6)

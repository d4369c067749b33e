"""Predictions from bundles of every kind: several classes, a temperature, refitted models, encoders by stain."""

import argparse
import json
import shutil

import bundles
import numpy as np
import pages
import pandas as pd
import pytest
import torch
import torchvision
from factories import STAINS, features, model_settings
from PIL import Image
from repository import REPOSITORY
from scripts_here import call, predict

import bundle as script
from stratamil import load_bundle
from stratamil.core import schema
from stratamil.core.errors import UserError
from stratamil.deploy import bundle, model_card, new_cases
from stratamil.features import images, networks, stain_normalisation, store
from stratamil.features.recolour import Recolour
from stratamil.mil.model import HierarchicalAttention

pytestmark = pytest.mark.slow

NEW = [str(i) for i in range(31, 43)]


def changed(made, path, **facts):
    """The bundle of a study that says something else."""
    found = bundle.read(made.zip)
    bundle.write(path, found.facts | facts, found.weights, found.reference, found.card)
    return path


def manifest(folder, cases):
    return bundles.write_manifest(folder, features(bundles.shape(range(31, 43)), seed=8), cases)


def test_three_classes_from_bundle_to_validation(tmp_path, monkeypatch):
    """The most probable class is called; the pages of predict and validate know no threshold."""
    pages.undrawn(monkeypatch)
    made = bundles.write(tmp_path / "study", classes=[{"naevus": ["1"]}, {"low": ["3"]}, {"high": ["4"]}])
    labels = tmp_path / "labels.csv"
    labels.write_text("Case,Class\n" + "".join(f"{case},{[1, 3, 4][i % 3]}\n" for i, case in enumerate(NEW)))
    tables = predict(made.zip, manifest(tmp_path / "new", NEW), tmp_path / "out", "--labels", labels)
    p = tables["predictions"][["prob_naevus", "prob_low", "prob_high"]].to_numpy()
    names = np.array(["naevus", "low", "high"])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert tables["predictions"]["predicted_class"].tolist() == names[p.argmax(axis=1)].tolist()
    members = tables["members"].groupby("case_id", sort=False)
    for row, (_, own) in zip(tables["predictions"].itertuples(), members):
        assert row.sd == pytest.approx(own[f"prob_{row.predicted_class}"].std(ddof=1))
    given = ["--bundle", made.zip, "--labels", labels, "--bootstrap-samples", 100, "--name", "three"]
    template = ["--template", REPOSITORY / "report/validation.html.j2"]
    output = tmp_path / "out/validation"
    call("validate", *given, *template, "--predictions", tmp_path / "out", "--output", output)
    rows = pd.read_csv(output / "metrics.csv").query("section == 'decisions'")
    assert set(rows["of"]) == {"most probable class"}
    assert json.loads((output / "validation.json").read_text())["threshold"] is None


def test_a_temperature_moves_the_calibrated_probability_and_no_decision(made, tmp_path):
    found, new = bundle.read(made.zip).decision(), manifest(tmp_path / "new", NEW[:3])
    tables = []
    for temperature in (1.0, 2.5):
        path = tmp_path / f"{temperature}.zip"
        other = changed(made, path, decision=found | {"temperature": temperature})
        tables.append(predict(other, new, tmp_path / f"out {temperature}")["predictions"])
    calibrated = ["calibrated_benign", "calibrated_high_grade"]
    pd.testing.assert_frame_equal(*(table.drop(columns=calibrated) for table in tables))
    p = tables[0][["prob_benign", "prob_high_grade"]].to_numpy()
    np.testing.assert_allclose(tables[0][calibrated], p, atol=1e-12)
    np.testing.assert_allclose(tables[1][calibrated], p**0.4 / (p**0.4).sum(axis=1, keepdims=True), atol=1e-12)


def test_models_of_all_cases_predict_at_the_threshold_of_the_cross_validation(made, tmp_path):
    checkpoints, args = made.args.checkpoints[:2], vars(made.args)
    refitted = argparse.Namespace(**args | {"checkpoints": checkpoints, "refitted": bundles.SEEDS})
    refitted.output = tmp_path / "refit.zip"
    script.main(refitted)
    found = bundle.read(refitted.output)
    assert [each["split"] for each in found.members()] == [None, None] and found.facts["splits"] == {}
    assert found.decision() == bundle.read(made.zip).decision() and "None of them was tested" in found.card
    tables = predict(refitted.output, manifest(tmp_path / "new", NEW[:3]), tmp_path / "out")
    assert tables["members"]["split"].isna().all() and len(tables["members"]) == 2 * 3
    with pytest.raises(UserError, match="no members of split 01"):
        load_bundle(refitted.output, "01")


NONE = {"blank": "keep", "min_tissue": None, "min_sharpness": None, "pen": "keep"}


@pytest.fixture(scope="module")
def by_stain(made, tmp_path_factory):
    """Bundles of two encoders, one with weights of its own; a folder of patches; the weights."""
    folder = tmp_path_factory.mktemp("by_stain")
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), folder / "ours.pth")
    own = networks.load("squeezenet1_1", folder / "ours.pth", 64, "global", precision="fp32", device="cpu")
    stains = networks.load("stain_stats", device="cpu")
    write_bundle(made, folder / "by_stain.zip", (own, ["h&e"]), (stains, ["melan", "sox10"]))
    write_bundle(made, folder / "joined.zip", (own, None), (stains, None))
    random, patches = np.random.default_rng(3), folder / "patches"
    patches.mkdir()
    for case in ("51", "52"):
        for stain in STAINS:
            for i in range(2):
                pixels = random.integers(0, 255, (70, 70, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(patches / f"case_{case}_match_1_{stain}_patch{i}.png")
    return folder


def write_bundle(made, path, ours, stats):
    """A bundle of untrained models of two encoders, each given with its stains; None is all."""
    told = ("weights", "weights_sha256", "input_size", "resize", "pooling", "precision")
    encoders = {
        name: {key: encoder.identity[key] for key in told}
        | {"encoder": encoder.identity["encoder"], "final_relu": None, "only_stains": only}
        for name, (encoder, only) in (("ours", ours), ("stats", stats))
    }
    own, stains = ours[0], stats[0]
    identity = {"encoders": {"ours": own.identity, "stats": stains.identity}}
    settings = model_settings(
        own.identity["dim"] + stains.identity["dim"], 2, embed_dim=8, attention_dim=4, zero_start=False
    )
    weights = {}
    for each in bundle.read(made.zip).members():
        model = HierarchicalAttention(settings)
        weights[each["file"]] = {name: tensor.numpy() for name, tensor in model.weights(0).items()}
    facts = bundle.read(made.zip).facts | {"source": "patches", "encoders": encoders, "features": identity}
    facts |= {"model": settings.asdict(), "names": schema.defaults("names")}
    facts["reference"] |= {"shift": facts["reference"]["shift"] | {"limit": None, "usual": {}}}
    bundle.write(path, facts, weights, {"hashes": np.arange(9, dtype=np.uint64)}, "card")


def arguments(folder, output, *more, name="by_stain"):
    words = ["--bundle", folder / f"{name}.zip", "--patches", folder / "patches", "--output", output]
    return [*words, "--no-galleries", *more]


@pytest.fixture(scope="module")
def one_thread(by_stain, tmp_path_factory):
    output = tmp_path_factory.mktemp("out")
    call("predict", *arguments(by_stain, output, "--weights", by_stain / "ours.pth"))
    return output


def test_encoders_by_stain_one_with_weights_of_its_own(by_stain, one_thread):
    """Each stain has the features of its encoder; the prediction is that of load_bundle on the same features."""
    table = pd.read_csv(one_thread / "predictions.csv", dtype={"case_id": str})
    model = load_bundle(by_stain / "by_stain.zip")
    for row in table.to_dict("records"):
        paths = [one_thread / f"features/{name}/{row['case_id']}.h5" for name in ("ours", "stats")]
        data = store.read(paths, [row["case_id"]])
        values, of_ours = np.asarray(data.values), (data.table["stain"] == "h&e").to_numpy()
        assert values[of_ours, :-60].any() and not values[of_ours, -60:].any() and not values[~of_ours, :-60].any()
        found = model.of_case(data, row["case_id"])
        assert row["prob_high_grade"] == pytest.approx(found.probabilities[1], abs=1e-12)


def test_new_cases_are_excluded_by_the_rule_of_the_study_and_listed(by_stain, one_thread, tmp_path):
    """A blank patch among others goes; an earlier bundle, which has no rule, keeps it; a change of rule counts."""
    made = bundle.read(by_stain / "by_stain.zip")
    folder, arrays = tmp_path / "quality", {"hashes": np.arange(9, dtype=np.uint64)}
    shutil.copytree(by_stain / "patches", folder / "patches")
    blank = "case_51_match_1_h&e_patch0.png"
    Image.new("RGB", (70, 70), "white").save(folder / "patches" / blank)
    for rule, n in ((None, 6), (schema.defaults("cohort.quality"), 5), (NONE, 6)):
        facts = dict(made.facts) | ({"quality": rule} if rule else {})
        bundle.write(folder / "by_stain.zip", facts, made.weights, arrays, model_card.text(facts))
        call("predict", *arguments(folder, tmp_path / "out", "--weights", by_stain / "ours.pth"))
        excluded = pd.read_csv(tmp_path / "out/inventory/excluded.csv", keep_default_na=False)
        gone = excluded.loc[excluded["kind"] == "patch", ["name", "reason"]].to_numpy().tolist()
        assert gone == ([[blank, "blank: all pixels equal"]] if n == 5 else [])
        attention = pd.read_parquet(tmp_path / "out/patch_attention.parquet")
        assert (attention["case_id"] == "51").sum() == n
    assert "min_tissue" in model_card.text(dict(made.facts) | {"quality": schema.defaults("cohort.quality")})


def test_joined_encoders_give_each_patch_the_features_of_both(by_stain, one_thread, tmp_path):
    """Each block is that of its encoder alone; the prediction is that of load_bundle on the same features."""
    call("predict", *arguments(by_stain, tmp_path, "--weights", by_stain / "ours.pth", name="joined"))
    model = load_bundle(by_stain / "joined.zip")
    table = pd.read_csv(tmp_path / "predictions.csv", dtype={"case_id": str})
    assert table["case_id"].tolist() == ["51", "52"]
    for row in table.to_dict("records"):
        case, paths = (
            row["case_id"],
            [[out / f"features/{name}" for name in ("ours", "stats")] for out in (tmp_path, one_thread)],
        )
        data, alone = (store.read([folder / f"{case}.h5" for folder in each], [case]) for each in paths)
        values, single = np.asarray(data.values), np.asarray(alone.values)
        of_ours = (data.table["stain"] == "h&e").to_numpy()
        assert data.table["path"].tolist() == alone.table["path"].tolist() and len(values) == 6
        np.testing.assert_array_equal(values[of_ours, :-60], single[of_ours, :-60])
        np.testing.assert_array_equal(values[~of_ours, -60:], single[~of_ours, -60:])
        assert values[:, :-60].any(axis=1).all() and values[:, -60:].any(axis=1).all()
        found = model.of_case(data, case)
        assert row["prob_high_grade"] == pytest.approx(found.probabilities[1], abs=1e-12)


def test_new_cases_get_the_colours_that_training_had(by_stain, one_thread, tmp_path):
    """Of the stain whose patches were normalised, without the further views that only training sees."""
    made, colours = bundle.read(by_stain / "by_stain.zip"), Recolour({"h&e": "reinhard"}, views=2)
    facts = dict(made.facts)
    facts["encoders"] = facts["encoders"] | {"ours": facts["encoders"]["ours"] | {"normalise": {"h&e": "reinhard"}}}
    of_ours = facts["features"]["encoders"]["ours"] | colours.identity
    facts["features"] = {"encoders": facts["features"]["encoders"] | {"ours": of_ours}}
    arrays = {"hashes": np.arange(9, dtype=np.uint64)}
    bundle.write(tmp_path / "colours/by_stain.zip", facts, made.weights, arrays, model_card.text(facts))
    assert "colours normalised (h&e reinhard)" in bundle.read(tmp_path / "colours/by_stain.zip").card
    for name in ("patches", "ours.pth"):
        (tmp_path / "colours" / name).symlink_to(by_stain / name)
    words = arguments(tmp_path / "colours", tmp_path / "out", "--weights", by_stain / "ours.pth")
    call("predict", *words)
    paths = [f"features/ours/{case}.h5" for case in ("51", "52")]
    found, plain = (store.read([folder / path for path in paths]) for folder in (tmp_path / "out", one_thread))
    own = networks.load("squeezenet1_1", by_stain / "ours.pth", 64, "global", precision="fp32", device="cpu")
    files = [by_stain / "patches" / path for path in found.table["path"]]
    expected = own(np.stack([stain_normalisation.reinhard(images.read(path, 64, "squash")) for path in files]))
    np.testing.assert_allclose(found.values[:], expected.numpy(), rtol=2e-3, atol=1e-3)
    assert not np.allclose(found.values[:], plain.values[:], rtol=2e-2) and found.identity.get("views") is None
    facts["encoders"]["ours"]["normalise"] = "none"
    bundle.write(tmp_path / "colours/by_stain.zip", facts, made.weights, arrays, "card")
    with pytest.raises(UserError, match=r"ours stain_normalisation: None, in training \{'h&e': 'reinhard'\}"):
        call("predict", *words)


def test_threads_change_no_digit(by_stain, one_thread, tmp_path):
    threads = torch.get_num_threads()
    call("predict", *arguments(by_stain, tmp_path, "--weights", by_stain / "ours.pth", "--threads", 3))
    torch.set_num_threads(threads)
    for name in ("predictions.csv", "members.csv", "patch_attention.parquet", "flags.csv", "shift.csv"):
        assert (tmp_path / name).read_bytes() == (one_thread / name).read_bytes(), name


def test_without_the_weights_one_line_says_what_to_copy(by_stain, tmp_path):
    with pytest.raises(
        UserError, match=r"copy the file 'ours\.pth' with SHA-256 \w{64} from .*: embed\.weights"
    ) as error:
        call("predict", *arguments(by_stain, tmp_path / "out"))
    assert len(error.value.problems) == 1 and not (tmp_path / "out").exists()


def test_a_shift_that_cannot_be_judged_is_said(one_thread):
    page = (one_thread / "index.html").read_text(encoding="utf-8")
    assert page.count("unlike those of training was not judged: too few training cases") == 3
    assert '<td class="n" data-v="None">not judged</td>' in page


def test_a_case_of_unknown_stains_alone_is_left_out_by_name(by_stain, tmp_path):
    patches = tmp_path / "patches"
    patches.mkdir()
    for path in (by_stain / "patches").iterdir():
        for name in (path.name, path.name.replace("case_51", "case_61").replace("_h&e_", "_ki67_")):
            (patches / name).write_bytes(path.read_bytes())
    names = schema.defaults("names")
    source = new_cases.Source(patches, None)

    def take():
        return new_cases.take(source, names, None, schema.defaults("cohort"), None)

    assert "case" not in set(take()[0].excluded["kind"])
    for path in patches.glob("case_61*"):
        if "ki67" not in path.name:
            path.unlink()
    taken, unknown, _ = take()
    rows = taken.excluded[taken.excluded["kind"] == "case"]
    assert rows[["name", "reason", "detail"]].to_numpy().tolist() == [["61", new_cases.STRANGE, "ki67"]]
    assert unknown.to_numpy().tolist() == [["52", "ki67", 2], ["61", "ki67", 2]]
    for path in patches.iterdir():
        if "ki67" not in path.name:
            path.unlink()
    with pytest.raises(UserError, match=r"the model knows h&e, melan and sox10, the files have ki67: .*--stains"):
        take()


def test_ids_of_two_spellings_are_said_to_be_one(made, tmp_path, caplog):
    new = bundles.write_manifest(tmp_path / "new", features(bundles.shape([31, 32]), seed=8), ["31", "32"])
    (tmp_path / "labels.csv").write_text("Case,Class\n31,1\n032,3\n32,3\n")
    caplog.set_level("WARNING")
    tables = predict(made.zip, new, tmp_path / "out", "--labels", tmp_path / "labels.csv")
    said = "row 4 (case 032 is in row 3) repeats a case; ids that differ only in spelling, such as 7 and 007, are one"
    assert len(tables["predictions"]) == 2 and said in caplog.text
    assert said in (tmp_path / "out/index.html").read_text(encoding="utf-8")

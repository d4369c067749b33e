"""The bundle: what it holds, that it gives the same bytes, and one line for everything that is wrong with it."""

import json
import pickletools
import shlex
import shutil
import struct
import zipfile
from dataclasses import asdict
from pathlib import Path

import bundles
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import yaml

import bundle as script
from stratamil import load_bundle
from stratamil.core import tables
from stratamil.core.errors import UserError
from stratamil.deploy import bundle, collect, decisions, model_card
from stratamil.evaluation import cross_split
from stratamil.evaluation.study import Study, read_runs
from stratamil.mil import checkpoint
from stratamil.report import new_case_summary
from stratamil.stats import intervals
from stratamil.workflow import predicting

pytestmark = pytest.mark.slow


def rewritten(path, output, change=lambda name, content: content, more=(), compression=zipfile.ZIP_STORED):
    """Write the files of a bundle again, each changed, and `more` of them; None leaves a file out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(output, "w", compression) as new:
        for name in old.namelist():
            if (content := change(name, old.read(name))) is not None:
                new.writestr(name, content)
        for name, content in more:
            new.writestr(name, content)
    return output


def refused(path):
    """The one line that reading it ends with."""
    with pytest.raises(UserError) as error:
        bundle.read(path)
    assert len(error.value.problems) == 1 and str(path) in error.value.problems[0]
    assert "\n" not in error.value.problems[0]
    return error.value.problems[0]


def test_it_holds_the_weights_of_all_members_and_what_the_study_says(made):
    found = bundle.read(made.zip)
    assert [each["file"] for each in found.members()] == list(found.weights)
    for run, each in zip(made.args.runs, found.members(), strict=True):
        saved = checkpoint.read(run / "checkpoints/best.pth")["weights"]
        assert saved.keys() == found.weights[each["file"]].keys()
        assert all(np.array_equal(saved[name], found.weights[each["file"]][name]) for name in saved)
    assert (found.classes, found.stains, found.title) == (bundles.NAMES, bundles.STAINS, "Made study")
    for split in bundles.TEST:
        result = json.loads((made.folder / f"split_{split}/ensemble/results.json").read_text())
        decision = found.decision(split)
        assert (decision["threshold"], decision["temperature"]) == (result["threshold"], result["temperature"])
        assert decision["chosen_on"]["cases"] == 6
    assert found.decision()["chosen_on"]["cases"] == 24 and 0 < found.decision()["threshold"] < 1
    assert found.facts["results"]["roc_auc"]["n"] == 24
    assert found.facts["summary"]["by_class"] == {"benign": 12, "high-grade": 12}
    assert (
        "## Intended use" in found.card
        and "## How to cite" in found.card
        and "4 models: 2 of each of 2 splits" in found.card
        and "It needs features made as those of the study" in found.card
        and "file names" not in found.card
    )


def counted(tables, threshold):
    """Sensitivity and specificity of a threshold, counted case by case, and of how many cases."""
    cases = pd.concat([pd.read_csv(path, dtype={"case_id": str}) for path in tables])
    called, ill = cases["prob_high_grade"] >= threshold, cases["true_class"] == "high-grade"
    return (called & ill).sum() / ill.sum(), (~called & ~ill).sum() / (~ill).sum(), ill.sum(), (~ill).sum()


def test_the_frozen_threshold_has_its_own_sensitivity_and_specificity(made):
    """Those of all members by all test cases, that of a split by its own, as the card says."""
    found = bundle.read(made.zip)
    tables = {split: made.folder / f"split_{split}/ensemble/predictions.csv" for split in bundles.TEST}
    for split, paths in ((None, list(tables.values())), *((split, [path]) for split, path in tables.items())):
        decision = found.decision(split)
        said = decision["out_of_fold"]
        rows = [said[name][part] for part in ("value", "n") for name in ("sensitivity", "specificity")]
        assert rows == pytest.approx(counted(paths, decision["threshold"]))
        assert said["chosen_on_them"] == (split is None)
    told = decisions.told(found.decision(), found.classes)
    value = found.decision()["out_of_fold"]["sensitivity"]["value"]
    assert f"a sensitivity of {value:.2f} (95% CI" in told and "12 high-grade cases" in told and "too good" in told
    assert told in found.card and "of high-grade or more is called high-grade" in " ".join(found.card.split())
    assert "too good" not in decisions.told(found.decision("01"), found.classes)


def test_the_card_tells_the_ensemble_from_single_trainings(made):
    """Single trainings have the report's AUROC, the ensemble another, and the CI is of the method that is named."""
    runs = read_runs(made.args.runs)
    study = Study(runs, tables.read_cases(made.args.cases), 100, 42)
    numbers, facts = cross_split.numbers(study), bundle.read(made.zip).facts
    card, results = " ".join(bundle.read(made.zip).card.split()), facts["results"]
    for name, of in (("fold_mean", "mean of the test sets"), ("roc_auc", "pooled")):
        quoted, mean = numbers["out_of_fold"][name], numbers["ensemble"][name].value
        assert results["single"][name] == pytest.approx(asdict(quoted)) and results[name]["value"] == pytest.approx(
            mean
        )
        ci = f"{quoted.value:.3f} ({quoted.low:.3f} to {quoted.high:.3f})"
        assert f"AUROC of single trainings, {of} | {ci} |" in card
        assert f"AUROC of the ensemble, {of} | {mean:.3f} (" in card
    assert "those of the AUROC from Newcombe's method, because a class has fewer than 20 cases;" in card
    by_score = intervals.score_interval(results["roc_auc"]["value"], study.sides(study.ensemble))
    assert results["roc_auc"]["low"] == pytest.approx(by_score.low)


def test_one_training_is_no_ensemble_and_enough_patients_have_a_bootstrap(made):
    facts = json.loads(json.dumps(bundle.read(made.zip).facts))
    facts["results"] |= {"single": None, "seeds": [1], "fewest_patients": 20}
    card = model_card.text(facts)
    assert "ensemble" not in card and "single trainings" not in card and "Newcombe" not in card
    facts["results"]["fold_mean"]["value"] = 1.0
    assert "that of an AUROC of 0 or 1 from Newcombe's method" in model_card.text(facts)


def test_the_card_repeats_that_a_stain_told_the_class_and_needs_no_such_fact(made):
    """Bundles of earlier versions do not have it."""
    facts = json.loads(json.dumps(bundle.read(made.zip).facts))
    facts["reference"]["telling_stains"] = [{"stain": "melan", "by_class": {}, "warning": "Melan tells the class."}]
    assert "Melan tells the class.\nA new case without melan is flagged." in model_card.text(facts)
    del facts["reference"]["telling_stains"]
    assert "Read with care" not in model_card.text(facts)


def test_the_card_says_why_it_has_a_temperature_where_splits_have_none(made):
    facts = json.loads(json.dumps(bundle.read(made.zip).facts))
    assert facts["decision"]["temperature_off"] == "few" and "too few to fit" not in model_card.text(facts)
    of_one = facts | {"decision": next(iter(facts["splits"].values()))}
    facts["decision"] |= {"temperature": 1.7, "temperature_off": None}
    n = len(facts["splits"])
    assert f"In {n} of {n} splits the validation cases are too few to fit a temperature" in model_card.text(facts)
    assert "too few to fit" not in model_card.text(of_one)


def test_the_card_counts_patches_that_models_saw(made):
    """Not those that were excluded for what their pixels are, and no case that no split uses."""
    table = made.data.table
    kept = table[~((table["case_id"] == "1") & (table["stain"] == "h&e"))]
    cases = tables.read_cases(made.args.cases)
    cases = cases[cases["case_id"] != "2"]
    found = collect.summary(cases, kept, bundles.STAINS)
    assert found["cases"] == 23 and found["cases_with_stain"] == {"h&e": 22, "melan": 23, "sox10": 15}
    assert (found["patches"]["least"], found["patches"]["most"]) == (5, 11)


@pytest.mark.parametrize("weights, own", [("ImageNet", False), ("mine.pth", True)])
def test_a_run_ends_with_a_file_that_predicts_new_cases(made, weights, own):
    """What it says to write is a prediction that the workflow takes, with weights where the study had its own."""
    facts = {**bundle.facts(made.zip), "source": "patches", "encoders": {"a": {"weights": weights}}}
    command = "snakemake --configfile new_cases.yaml -- predict"
    lines = new_case_summary.of_bundle(Path("results/my: study/model/made.zip"), facts, command)
    assert lines[0].startswith("Bundle: results/my: study/model/made.zip (4 models;") and lines[-1].endswith(command)
    written = yaml.safe_load("\n".join(line for line in lines if line.startswith("  ")))
    assert written["predict"] == {"bundle": "results/my: study/model/made.zip", "patches": "PATH"}
    assert predicting.problems(written) == [] and ("embed" in written) == own
    assert ("mine.pth" in " ".join(lines)) == own


def test_a_model_of_features_ends_with_the_command_that_writes_that_file(made):
    facts = {**bundle.facts(made.zip), "source": "precomputed"}
    lines = new_case_summary.of_bundle(Path("results/my: study/model/made.zip"), facts, "snakemake")
    words = shlex.split(next(line for line in lines if "init.py" in line))
    assert words[1:4] == ["scripts/init.py", "--bundle", "results/my: study/model/made.zip"]
    assert {"--patches", "--labels", "--output"} <= set(words)


def test_no_threshold_and_an_earlier_bundle_say_nothing_of_it():
    assert decisions.told({"threshold": None, "out_of_fold": None}, ["a", "b", "c"]) == ""
    assert decisions.told({"threshold": 0.4}, ["a", "b"]) == ""


def test_no_id_of_a_case_and_no_path_travels(tmp_path):
    made = bundles.write(tmp_path, prefix="SECRET")
    content = made.zip.read_bytes()
    assert b"SECRET" not in content and str(tmp_path).encode() not in content


def test_the_same_study_gives_the_same_bytes(made):
    first = made.zip.read_bytes()
    script.main(made.args)
    assert made.zip.read_bytes() == first


def test_nothing_is_pickled(made):
    with zipfile.ZipFile(made.zip) as archive:
        for name in archive.namelist():
            assert name.endswith((".json", ".md", ".safetensors"))
            with pytest.raises((ValueError, IndexError)):
                list(pickletools.genops(archive.read(name)))


def test_one_split_alone_has_its_own_threshold(made, tmp_path):
    args = type(made.args)(**{**vars(made.args), "members": "02", "output": tmp_path / "one.zip"})
    script.main(args)
    one, all_ = bundle.read(args.output), bundle.read(made.zip)
    assert {each["split"] for each in one.members()} == {"02"} and one.decision() == all_.decision("02")
    with pytest.raises(UserError, match="no members of split 01: it has 02"):
        one.members("01")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_one_is_one_line(made, tmp_path, share):
    content = made.zip.read_bytes()
    (tmp_path / "half.zip").write_bytes(content[: int(share * len(content))])
    assert "damaged or truncated" in refused(tmp_path / "half.zip")


def test_every_altered_byte_is_noticed(made, tmp_path):
    content = bytearray(made.zip.read_bytes())
    with zipfile.ZipFile(made.zip) as archive:
        begins = [info.header_offset + 30 + len(info.filename) + 20 for info in archive.infolist()]
    for place in begins:
        altered = content.copy()
        altered[place] ^= 1
        (tmp_path / "altered.zip").write_bytes(altered)
        refused(tmp_path / "altered.zip")


@pytest.mark.parametrize("name", [bundle.FACTS, bundle.CARD, bundle.REFERENCE, "members/split_01_seed_1.safetensors"])
def test_a_file_that_was_replaced_or_left_out_is_noticed(made, tmp_path, name):
    def other(file, content):
        return content.replace(b"e", b"f", 1) if file == name else content

    path = rewritten(made.zip, tmp_path / "other.zip", other)
    assert f"altered since it was made: {name} has another digest" in refused(path) or name == bundle.FACTS
    refused(rewritten(made.zip, tmp_path / "less.zip", lambda file, content: None if file == name else content))


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/etc/passwd", "members/../x.safetensors", "a.pth", "members/é.safetensors"]
)
def test_a_zip_with_other_names_is_refused_and_nothing_written(made, tmp_path, name):
    path = rewritten(made.zip, tmp_path / "strange.zip", more=[(name, b"x")])
    assert f"it holds {name!r}" in refused(path)
    assert [each.name for each in tmp_path.iterdir()] == ["strange.zip"]


def test_a_bomb_is_refused_before_it_is_read(made, tmp_path):
    bomb = [("members/bomb.safetensors", bytes(10_000_000))]
    path = rewritten(made.zip, tmp_path / "bomb.zip", more=bomb, compression=zipfile.ZIP_DEFLATED)
    assert "its files are compressed" in refused(path)


def test_a_bomb_that_lies_about_its_size_is_refused(made, tmp_path):
    """The directory says that a file is larger than the zip."""
    content = bytearray(made.zip.read_bytes())
    entry = content.index(b"PK\x01\x02")
    struct.pack_into("<II", content, entry + 20, 2**31, 2**31)
    (tmp_path / "liar.zip").write_bytes(content)
    assert "compressed" in refused(tmp_path / "liar.zip")


def changed(path, output, **fields):
    """A bundle whose bundle.json says something else, with a digest that fits."""

    def change(name, content):
        if name != bundle.FACTS:
            return content
        facts = {key: value for key, value in {**json.loads(content), **fields}.items() if value is not ...}
        return json.dumps(facts | {bundle.DIGEST: bundle._digest(facts)})

    return rewritten(path, output, change)


def test_a_newer_format_says_what_to_do(made, tmp_path):
    path = changed(made.zip, tmp_path / "newer.zip", format=2, versions={"stratamil": "3.1"})
    assert "made by StrataMIL 3.1" in refused(path) and "update StrataMIL" in refused(path)


def test_a_number_that_is_none_is_refused(made, tmp_path):
    path = changed(made.zip, tmp_path / "nan.zip", decision={"threshold": float("nan"), "temperature": 1.0})
    assert "NaN" in refused(path)


@pytest.mark.parametrize("field", bundle.FIELDS)
@pytest.mark.parametrize("value", [..., 7, [], {"a": 1}, "x"])
def test_a_field_of_another_kind_is_one_line(made, tmp_path, field, value):
    path = changed(made.zip, tmp_path / "odd.zip", **{field: value})
    try:
        assert load_bundle(path).stacks
    except UserError as error:
        assert len(error.problems) == 1


def test_weights_that_are_not_finite_are_refused(made, tmp_path):
    name = "members/split_01_seed_1.safetensors"
    with zipfile.ZipFile(made.zip) as archive:
        weights = safetensors.numpy.load(archive.read(name))
    weights["projector.bias"] = weights["projector.bias"] * np.nan
    found = bundle.read(made.zip)
    bundle.write(tmp_path / "nan.zip", found.facts, {**found.weights, name: weights}, found.reference, found.card)
    assert "cannot be read" in refused(tmp_path / "nan.zip")


def test_what_is_no_bundle_is_one_line(tmp_path):
    (tmp_path / "text.zip").write_text("hello")
    assert "not a bundle" in refused(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr(bundle.FACTS, "[]")
    assert "no bundle.json with a format" in refused(tmp_path / "other.zip")
    assert "no such file" in refused(tmp_path / "none.zip")
    shutil.copyfile(__file__, tmp_path / "code.zip")
    assert "not a bundle" in refused(tmp_path / "code.zip")

"""What a dry run can know of a configuration, it says."""

from functools import reduce

import pytest
import yaml
from repository import REPOSITORY

from stratamil.core.schema import defaults
from stratamil.workflow import config_checks

SCHEMA = yaml.safe_load((REPOSITORY / "schemas/config.schema.yaml").read_text())
THREE = {"classes": [{"a": ["1"]}, {"b": ["2"]}, {"c": ["3"]}], "excluded_codes": []}
SITES = {"cohort": {"site_column": "Site"}}
GIVEN = {"features": {"source": "precomputed", "manifest": "m.csv"}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "config, said",
    [
        ({"train": {"class_weights": [1, 2, 3]}}, "train.class_weights: 3 numbers for 2 classes: give one a class, in"),
        ({"cohort": THREE, "train": {"class_weights": [1, 2]}}, "in the order a, b, c"),
        (
            {"cohort": THREE, "evaluate": {"threshold": 0.9}},
            "evaluate.threshold: 0.9 is for two classes, and there are 3",
        ),
        ({"cohort": THREE, "report": {"colors": ["#000000", "#111111"]}}, "report.colors: 2 for 3 classes"),
        (
            {"report": {"colors": ["#00AAbb", "#00aaBB", "#111111"]}},
            "report.colors: two of the 2 classes have the same",
        ),
        ({"cohort": {"classes": [{"a": []}, {"b": ["1"]}]}}, "cohort.classes: 'a' has no code"),
        (
            {"names": {"stains": [{"x": ["\u00e9"]}, {"y": ["e\u0301"]}]}},
            "names.stains: 'x' and 'y' share the spelling",
        ),
        ({"names": {"stains": [{"a.": []}, {"b": ["A "]}]}}, "names.stains: 'a.' and 'b' share the spelling 'a'"),
        ({"names": {"stains": [{"a": [" ."]}]}}, "names.stains: 'a' has an empty spelling"),
        ({"demo": {}}, "demo: {} lacks seed, cases, patch_px"),
        ({"train": {"lr": "1e-5"}}, "train.lr: '1e-5' is text to YAML: write 1e-05"),
        (
            {"cohort": {"class_column": "X", "patient_column": "X"}},
            "cohort.class_column: 'X' is cohort.patient_column, too",
        ),
        ({"cohort": {"class_column": "X", "site_column": "X"}}, "cohort.class_column: 'X' is cohort.site_column, too"),
        ({"cohort": {"site_column": "Case"}}, "cohort.site_column: 'Case' names the case or patient, too"),
        ({"splits": {"by": "site"}}, "splits.by: site without cohort.site_column: name the column"),
        ({"splits": {"balance": ["class", "site"]}}, "splits.balance: site without cohort.site_column: name the"),
        (SITES | {"splits": {"by": "site", "balance": ["class", "site"]}}, "set it to [class]"),
        (SITES | {"splits": {"by": "site", "n_repeats": 2}}, "splits.n_repeats: 2 with splits.by: site: whole sites"),
        (SITES | {"splits": {"balance": ["site"]}}, "splits.balance: without class: set it to [class, site]"),
        (SITES | {"splits": {"balance": ["class", "scanner"]}}, "splits.balance"),
        (SITES | {"splits": {"balance": ["class", "site"], "preset": "{split}.npz"}}, "splits.balance: has no meaning"),
        ({"report": {"columns": ["Class"]}}, "report.columns: 'Class' is cohort.class_column: take it out"),
        ({"report": {"clinical": ["Case"]}}, "report.clinical: 'Case' is cohort.case_column: take it out"),
        ({"cohort": THREE, "report": {"clinical": ["Age"]}}, "report.clinical: is for two classes: set it to []"),
        ({"report": {"columns": ["-x"]}}, "must be a column that does not begin with a dash"),
        ({"report": {"retrained": ["max"]}}, "report.retrained"),
        ({"embed": {"encoder": "resnet999"}}, "embed.encoder: no encoder 'resnet999': set resnet50"),
        ({"embed": {"encoder": "resnet34", "weights": "V9"}}, "embed.weights: resnet34 has no weights 'V9'"),
        ({"embed": {"encoder": "vit_b_16"}}, "embed.encoder: vit_b_16 has no last feature map"),
        ({"embed": {"pooling": "cls"}}, "embed.pooling: cls is for tokens, and densenet121 has a map"),
        (
            {"embed": {"by_stain": {"melan": {"encoder": "uni", "pooling": "2x2"}}}},
            "by_stain.melan.pooling: 2x2 is for a",
        ),
        ({"embed": {"encoder": "hf-hub:a/b", "weights": "none"}}, "embed.weights: hf-hub:a/b needs its weights"),
        ({"embed": {"normalise": {"he": "macenko"}}}, "embed.normalise: no stain 'he': set one of h&e"),
        ({"embed": {"normalise": "vahadane"}}, "embed.normalise: 'vahadane' must be one of none"),
        ({"embed": {"normalise": {"h&e": "vahadane"}}}, "embed.normalise"),
        ({"embed": {"views": -1}}, "embed.views: -1 must be at least 0"),
        (GIVEN | {"embed": {"views": 2}}, "embed.views: 2 with features.source: precomputed, which has no images"),
        (GIVEN | {"embed": {"normalise": "reinhard"}}, "embed.normalise: reinhard with features.source: precomputed"),
        ({"train": {"lr": float("inf")}}, "train.lr: inf must be a number"),
        ({"report": {"bootstrap_samples": "many" * 1000}}, "... must be a whole number"),
        ({"train": {"epochs": "many"}}, "train.epochs: 'many' must be a whole number"),
        ({"train": {"lr": -1}}, "train.lr: -1 must be above 0"),
        ({"seeds": 3}, "seeds: 3 must be a list: write [3]"),
        ({"trian": {"lr": 1}}, "trian: no such setting: did you mean train?"),
        ({"embed": {"pooling": "max"}}, "embed.pooling: 'max' must be one of 2x2, global"),
        ({"embed": {"encoder": "kimianet", "weights": "default"}}, "embed.weights: kimianet needs your consent"),
        ({"embed": {"encoder": ["virchow", "uni"], "pooling": "cls"}}, "pooling: cls with several encoders, of which"),
        (
            {"embed": {"encoder": ["uni", "hf-hub:a/b", "hf-hub:A/b"]}},
            "would have one folder, hf_hub_a_b: take one",
        ),
        ({"embed": {"encoder": ["uni", "hf-hub:MahmoodLab/TITAN"]}}, "embed.encoder: hf-hub:MahmoodLab/TITAN encodes"),
        ({"embed": {"encoder": "resnet50", "final_relu": False}}, "embed.final_relu: resnet50 is no DenseNet"),
        ({"embed": {"encoder": "hf-hub:MahmoodLab/conch"}}, "embed.encoder: timm has no hf-hub:MahmoodLab/conch"),
        (
            {"embed": {"by_stain": {"he": {"encoder": "resnet50"}}}},
            "embed.by_stain: no stain 'he': set one of h&e",
        ),
        (
            {"embed": {"by_stain": {"melan": {"weights": "none"}}}},
            "by_stain.melan: {'weights': 'none'} lacks encoder",
        ),
        (
            {"embed": {"by_stain": {"melan": {"encoder": "resnet50", "encodr": "x"}}}},
            "by_stain.melan.encodr: no such setting: did you",
        ),
        ({"train": {"class_weights": "equal"}}, "train.class_weights: 'equal' does not fit: class weights in the loss"),
        ({"cohort": {"classes": [{"only": ["1"]}]}}, "cohort.classes: [{'only': ['1']}] needs at least 2 entries"),
        ({"splits": {"preset": "splits.npz"}}, "splits.preset: 'splits.npz' must be a path that holds {split} or"),
        ({"splits": {"n_splits": 3.0}}, "splits.n_splits: 3.0 must be a whole number"),
        ({"splits": {"n_splits": 2}}, "splits.n_splits: 2 leaves no training cases"),
        (
            {"splits": {"n_splits": 2, "validation": 0.5}},
            "splits.validation: 0.5 with n_splits: 2 leaves no training cases",
        ),
        ({"splits": {"n_splits": 10, "n_repeats": 10}}, "splits.n_repeats: 10 times 10 splits: at most 99"),
        ({"splits": {"preset": "a_{split}.npz", "n_repeats": 2}}, "splits.n_repeats: 2 with splits.preset"),
        (
            {"splits": {"preset": "a_{split}.npz"}, "cohort": {"duplicates": "merge"}},
            "cohort.duplicates: merge with splits.preset, whose files name the sets",
        ),
        ({"cohort": {"classes": [{"ER+": ["1"]}, {"ER-": ["2"]}]}}, "'ER+' and 'ER-' share the column 'er'"),
        ({"names": {"stains": [{"a": ["x"]}, {"b": ["X"]}]}}, "'a' and 'b' share the spelling 'x'"),
        ({"names": {"stains": [{"a": []}, {"b": ["A"]}]}}, "'a' and 'b' share the spelling 'a'"),
        ({"names": {"pattern": "case_(?P<case>.*)"}}, "named groups patch (or x and y, or tile), stain"),
        ({"cohort": {"classes": [{"benign": ["1,0"]}, {"hg": ["3"]}], "excluded_codes": ["1"]}}, "share the code '1'"),
        ({"cohort": {"classes": [{"benign": ["1", ""]}, {"hg": ["3"]}]}}, "'benign' has an empty code"),
        ({"cohort": {"excluded_codes": ["-x"]}}, "which begins with a dash"),
        ({"names": {"pattern": "("}}, "names.pattern: not a regular expression"),
        (
            {"cohort": {"classes": [{"benign": ["1"]}, {"high-grade": ["3"]}], "excluded_codes": ["3.0"]}},
            "'high-grade' and 'excluded_codes' share the code '3'",
        ),
        (
            {"demo": None, "features": {"source": "precomputed"}},
            "features.manifest: none with features.source: precomp",
        ),
        ({"features": {"manifest": "m.csv"}}, "features.manifest: m.csv without features.source: precomputed"),
        (
            {
                "demo": {"seed": 3, "cases": 30, "patch_px": 48},
                "features": {"source": "precomputed", "manifest": "m.csv"},
            },
            "the demo paints patches: set demo: null",
        ),
    ],
)
def test_what_cannot_go_together(config, said):
    (line,) = config_checks.problems(config, SCHEMA)
    assert said in line
    assert len(line) < 400


def test_a_prediction_may_name_the_encoder_of_its_features():
    config = {"predict": {"bundle": "model.zip", "patches": "new.csv"}, "features": {"encoder": "uni"}}
    assert config_checks.problems(config, SCHEMA) == []


def former(part, *where):
    """(names of the sections, old name, new name) of every setting that had another name once."""
    for key, setting in part.get("properties", {}).items():
        if "x-was" in setting:
            yield where, setting["x-was"], key
        yield from former(setting, *where, key)


@pytest.mark.parametrize("where, old, new", list(former(SCHEMA)), ids=str)
def test_a_setting_of_an_earlier_version_is_told_its_new_name(where, old, new):
    (line,) = config_checks.problems(reduce(lambda inner, name: {name: inner}, reversed(where), {old: 3}), SCHEMA)
    assert line == f"{'.'.join((*where, old))}: is called {new} now: rename it"


@pytest.mark.parametrize(
    "config, said",
    [
        (
            {"results": "my results/é"},
            "results: 'my results/é' must be a path of the letters A to Z, digits and . _ / + - ",
        ),
        ({"results": "my results/é"}, "; not ' ' 'é'"),
        ({"results": "out\n"}, "; not '\\n'"),
        ({"results": "-out"}, "that does not begin with a dash"),
        ({"splits": {"preset": "a.npz"}}, "splits.preset: 'a.npz' must be a path that holds {split} or {fold} and"),
        ({"report": {"colors": ["#000000", "red"]}}, "report.colors.1: 'red' must be a colour in quotes, such as"),
        (
            {"attention": {"cases": ["7", "-8"]}},
            "attention.cases.1: '-8' must be an id that does not begin with a dash",
        ),
    ],
)
def test_a_pattern_is_told_in_words(config, said):
    (line,) = config_checks.problems(config, SCHEMA)
    assert said in line
    assert "^" not in line


@pytest.mark.parametrize("epochs, said", [(5, 1), (10, 0), (11, 0)])
def test_fewer_epochs_than_early_stopping_waits_for_are_taken_and_said(epochs, said):
    lines = config_checks.notes({"train": {"epochs": epochs, "min_epochs": 10}})
    assert len(lines) == said
    assert lines == [] or lines[0].startswith("train.epochs: 5 is less than train.min_epochs (10), so")


def test_several_stains_with_the_colours_of_one_reference_are_taken_and_said():
    def lines(**embed):
        config = {name: defaults(name) for name in ("train", "names", "features")}
        return config_checks.notes(config | {"embed": defaults("embed") | embed})

    (line,) = lines(normalise="macenko")
    assert line.startswith("embed.normalise: h&e, melan, sox10 take the colours of an H&E reference")
    assert lines(normalise={"h&e": "macenko", "melan": "none"}) == lines() == []


def test_quality_of_precomputed_features_is_a_rule_without_images():
    config = {name: defaults(name) for name in ("train", "names", "embed")}
    for source, changes, said in (
        ("precomputed", {}, []),
        ("precomputed", {"min_tissue": 0.05}, ["cohort.quality: min_tissue with features.source: precomputed, which"]),
        ("patches", {"min_tissue": 0.05}, []),
    ):
        quality = {"cohort": {"quality": defaults("cohort.quality") | changes}}
        found = config_checks.notes(config | quality | {"features": {"source": source}})
        assert [line[: len(begin)] for line, begin in zip(found, said, strict=True)] == said


def test_a_method_that_does_not_exist_is_told_which_do():
    for wrong in ("vahadane", {"h&e": "vahadane"}, {}, None):
        (line,) = config_checks.problems({"embed": {"normalise": wrong}}, SCHEMA)
        assert line.endswith(
            " must be one of none, reinhard, macenko, or stains with one of these, such as {h&e: macenko}"
        )

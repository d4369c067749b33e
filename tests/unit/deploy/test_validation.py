"""The validation on new cases: right numbers, frozen decisions, and a page that says which is which."""

import json
import os
import re
from pathlib import Path

import bundles
import made_new_cases
import numpy as np
import pages
import pandas as pd
import pytest
from factories import STAINS, features
from made_browser import called
from made_new_cases import LIKE, moved, new
from repository import REPOSITORY
from scipy.special import expit, logit
from scripts_here import call

from stratamil.cohort.columns import typed
from stratamil.core.errors import UserError
from stratamil.core.names import file_name
from stratamil.core.wording import pct
from stratamil.deploy import bundle, reference, validation
from stratamil.evaluation import external
from stratamil.report import new_case_summary, new_case_words, predict_page, validation_page, validation_words
from stratamil.report.sentences import quoted
from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate

pytestmark = pytest.mark.slow

COLORS = ["#0072B2", "#D55E00"]
CLASSES = ["benign", "high-grade"]


@pytest.fixture(scope="module")
def known():
    site = typed("Site", pd.Series(["left", "right"] * 20, index=list(LIKE)))
    return reference.of_study(made_new_cases.study(columns={"Site": site}), moved(LIKE, colour=True), STAINS)


def labelled(table, y):
    """What predict's inventory says of the cases."""
    facts = {"label": np.where(y, "3", "1"), "class": np.where(y, CLASSES[1], CLASSES[0]), "status": "used"}
    cases = pd.DataFrame({"case_id": table["case_id"], "patient_id": table["case_id"], **facts})
    return cases.assign(n_patches=table["n_patches"], n_slices=table["n_slices"], missing_stains="")


NOTHING = pd.DataFrame(columns=["kind", "name", "reason", "detail", "patches"])


@pytest.fixture(scope="module")
def validated(known):
    """(predictions, cases, flags, study, numbers, flow) of 40 new cases and two of the training cohort."""
    random, y = np.random.default_rng(5), np.arange(42) % 2
    data = new(LIKE, colour=True)
    again = moved(LIKE, colour=True)
    seen = again.table["case_id"].isin(["3", "4"]).to_numpy()
    data.values = np.concatenate([data.values, again.values[seen]])
    data.colour = np.concatenate([data.colour, again.colour[seen]])
    data.table = pd.concat([data.table, again.table[seen]], ignore_index=True)
    score = expit(random.normal(size=42) + 2 * y - 1)
    table, _, found = made_new_cases.predicted(known, data, score)
    cases = labelled(table, y)
    flow, counted = validation.followed(cases, NOTHING, found.flags, CLASSES, patients=False, images=True)
    site = typed("Site", pd.Series(["left", "left", "right"] * 14, index=table["case_id"]))
    study = cohort(known, counted, table, {"Site": site})
    return table, cases, found, study, validation.numbers(study, found.flags, found.shift, known.facts), flow


def cohort(known, counted, table, columns):
    decision = made_new_cases.facts(known)["decision"]
    return external.cohort(
        counted,
        table,
        classes=CLASSES,
        decision=decision,
        columns=columns,
        bootstrap_samples=200,
        seed=1,
        folder=Path(external.NAME),
    )


def test_cases_of_the_training_cohort_do_not_count_and_the_flow_says_so(validated):
    *_, numbers, flow = validated
    assert numbers["cases"] == 40 and not {"3", "4"} & {row["case_id"] for row in numbers["per_case"]}
    assert flow["steps"][-1]["left_out"] == [{"reason": validation.KNOWN, "cases": 2, "patches": 51}]


def test_numbers_are_those_of_the_predictions(validated):
    table, cases, _, _, numbers, _ = validated
    new = table.merge(cases[["case_id", "class"]]).query("case_id.str.startswith('new')")
    y, p = (new["class"] == CLASSES[1]).to_numpy(), new["prob_high_grade"].to_numpy()
    assert numbers["ensemble"]["roc_auc"].value == pytest.approx(metrics.roc_auc(y, p))
    at = {row["name"]: row["estimate"] for row in numbers["decisions"][-1]["rows"]}
    expected = metrics.at_threshold(y, p, 0.45)
    assert at["sensitivity"] == intervals.wilson(expected["tp"], int(y.sum()))
    assert at["specificity"] == intervals.wilson(expected["tn"], int((~y).sum()))
    rows = {row["name"]: row for row in numbers["calibration"]}
    frozen = rows["after the frozen temperature"]
    scaled = expit(logit(p) / 1.3)
    assert frozen["predicted"] == pytest.approx(scaled.mean()) and not frozen["updated"]
    updated = rows["updated: intercept and slope"]
    assert updated["updated"] and updated["slope"].value == pytest.approx(1, abs=1e-4)
    assert updated["in_the_large"].value == pytest.approx(0, abs=1e-4)
    assert rows["updated: intercept"]["predicted"] == pytest.approx(y.mean())


def test_the_text_on_calibration_says_of_which_row_of_the_table_it_speaks(validated):
    numbers = validated[4]
    raw, frozen = (row for row in numbers["calibration"] if not row["updated"])
    before, after = validation_words.calibration(numbers).split(" After the frozen temperature, ")
    assert before.startswith("As the model gives them, the probabilities expect ")
    for row, text in ((raw, before), (frozen, after)):
        assert f"expect {pct(row['predicted'])} high-grade; {pct(row['observed'])} are." in text
        assert f"slope is {quoted(row['slope'])}" in text and quoted(row["in_the_large"]) in text
    assert quoted(raw["slope"]) != quoted(frozen["slope"])
    one = numbers | {"calibration": [raw]}
    assert "temperature" not in validation_words.calibration(one)


def test_table_1_stands_beside_that_of_the_development_cohort(validated, known):
    rows = {row["name"]: row for row in validated[4]["characteristics"]["rows"]}
    site = rows["Site"]["cells"]
    assert site["development all"]["counts"] == {"left": 20, "right": 20}
    assert sum(site["new all"]["counts"].values()) == 40
    assert rows["Site"]["difference"] > 0 and rows["Patches of a case"]["difference"] == pytest.approx(0)


def test_other_cases_of_a_patient_who_was_in_training_do_not_count(validated):
    _, cases, found, *_ = validated
    known = found.flags.loc[found.flags["flag"] == "known_case", "case_id"]
    new = cases.loc[~cases["case_id"].isin(known), "case_id"]
    one = cases.assign(patient_id=cases["case_id"].replace({known.iloc[0]: "p", new.iloc[0]: "p"}))
    _, counted = validation.followed(one, NOTHING, found.flags, CLASSES, patients=True, images=True)
    assert set(new) - set(counted["case_id"]) == {new.iloc[0]}


def test_other_labels_change_no_decision(validated, known):
    table, cases, found, study, numbers, _ = validated
    other = cases.assign(**{"class": cases["class"].map(dict(zip(CLASSES, CLASSES[::-1])))})
    _, counted = validation.followed(other, NOTHING, found.flags, CLASSES, patients=False, images=True)
    turned = cohort(known, counted, table, {})
    assert turned.runs[0].results["threshold"] == study.runs[0].results["threshold"] == 0.45
    after = validation.numbers(turned, found.flags, found.shift, known.facts)
    for name in ("predicted", "probability", "flags"):
        assert {row["case_id"]: row[name] for row in after["per_case"]} == {
            row["case_id"]: row[name] for row in numbers["per_case"]
        }
    assert after["ensemble"]["roc_auc"].value == pytest.approx(1 - numbers["ensemble"]["roc_auc"].value)


def test_calibration_in_the_large_is_the_intercept_with_slope_1():
    random = np.random.default_rng(1)
    p = random.uniform(0.05, 0.95, 4000)
    y = random.random(4000) < expit(logit(p) + 0.7)
    found = intervals.in_the_large(y, p, range(4000))
    assert found.low < 0.7 < found.high and found.high - found.low < 0.3
    assert intervals.in_the_large(np.ones(5), p[:5], range(5)).value is None


def test_the_difference_of_unpaired_estimates():
    found = intervals.unpaired(Estimate(0.8, 0.7, 0.88, 50), Estimate(0.9, 0.85, 0.94, 90))
    assert found.value == pytest.approx(-0.1) and found.n == 50
    assert found.low == pytest.approx(-0.1 - np.hypot(0.1, 0.04)) and found.high == pytest.approx(
        -0.1 + np.hypot(0.08, 0.05)
    )
    assert intervals.unpaired(Estimate(None), Estimate(0.9, 0.8, 1)).value is None


@pytest.fixture(scope="module")
def page(validated, known, tmp_path_factory):
    """The page of the validation, and its folder."""
    table, _, found, study, numbers, flow = validated
    folder = tmp_path_factory.mktemp("validation")
    sources = validation_page.Sources(
        facts=made_new_cases.facts(known),
        bundle=Path("made.zip"),
        flags=found.flags,
        flow=flow,
        predicted=len(table),
        predictions=folder.parent,
        patients=False,
        inputs={"bundle.zip": "0" * 64},
        provenance={"commit": "abc"},
    )
    template = REPOSITORY / "report/validation.html.j2"
    how = {"template": template, "name": "other hospital", "colors": COLORS, "folder": folder, "final": folder}
    validation_page.build(study, numbers, sources, **how)
    return (folder / "index.html").read_text(encoding="utf-8"), folder


def test_the_page_says_what_is_frozen_and_what_is_updated(page):
    text, folder = page
    elements = pages.Elements(text)
    assert elements.unclosed == [] and pages.outside(elements.found) == []
    for said in ("frozen threshold 0.45", "fitted to these cases", "2 cases of 42 had a part in the training"):
        assert said in text
    assert "out-of-fold AUROC" in text and "not defined" not in text.split('id="calibration"')[1].split("</section>")[0]
    assert "on 40 new cases: " in text and "<h1>Validation on new cases: other hospital</h1>" in text
    words = re.sub("<.*?>", " ", text).lower()  # where they come from, the page does not know
    assert "it was not developed on. bundle made.zip." in words and "all pages" not in words
    assert "another cohort" not in words and words.count("external validation") == 1
    numbers = json.loads((folder / "validation.json").read_text(encoding="utf-8"))
    assert numbers["cases"] == 40 and numbers["threshold"] == 0.45
    rows = pd.read_csv(folder / "metrics.csv")
    value = rows.query("section == 'cohort' and metric == 'roc_auc'")["value"].item()
    assert value == numbers["ensemble"]["roc_auc"]["value"]
    decided = rows.loc[rows["section"] == "decisions", "of"]
    assert set(decided) == {"at 0.5", "at the frozen threshold"} and "from validation" not in text


@pytest.mark.parametrize(
    "known, unit, whom",
    [
        (True, "patient", "Counted: patients, each by the first of their cases."),
        (False, "case", "Counted: cases."),
        (True, "case", "Counted: in the development patients, each by the first of their cases; here cases."),
    ],
)
def test_who_is_counted_in_each_cohort(known, unit, whom):
    assert whom in validation_words.counted(known, unit)


def test_an_ensemble_of_seeds_is_called_one():
    of = {"value": 0.8, "low": 0.7, "high": 0.9}
    facts = {"cases": 29, "seeds": 3, "ensemble": {"fold_mean": of, "roc_auc": of}}
    end = "was 0.80 (95% CI 0.70 to 0.90), mean of the test sets."
    assert (
        new_case_words.tested(facts) == f"Out of fold, on its own 29 cases, the AUROC of the ensemble of 3 seeds {end}"
    )
    assert f"the AUROC {end}" in new_case_words.tested(facts | {"seeds": 1})
    assert (
        validation_words.which({"out_of_fold": {"averaged": "3 seeds"}}) == "ensemble of 3 seeds, all test cases pooled"
    )
    assert validation_words.which({"out_of_fold": {"averaged": ""}}) == "all test cases pooled"


def test_the_auroc_of_new_cases_is_compared_with_the_pooled_one_and_not_with_the_mean_of_test_sets(known, validated):
    """The mean of small test sets can lie far above the pooled AUROC; the new one is of all cases ranked together."""
    *_, found, study, _, _ = validated
    of = {"roc_auc": (0.72, 0.52, 0.86), "fold_mean": (0.89, 0.69, 0.96)}
    of = {name: dict(zip(("value", "low", "high"), each)) for name, each in of.items()}
    facts = {**known.facts, "development": {**known.facts["development"], "ensemble": of, "seeds": 3}}
    numbers = validation.numbers(study, found.flags, found.shift, facts)
    new = numbers["ensemble"]["roc_auc"].value
    assert numbers["difference"].value == pytest.approx(new - 0.72)
    told = validation_words.compared(numbers | {"difference": Estimate(0.01, -0.22, 0.2)})
    assert told == (
        "The difference from the out-of-fold AUROC of the ensemble, all test cases pooled, 0.72, is +0.01 (95% CI "
        "−0.22 to 0.20): the CI includes 0, so no difference is shown. The mean of the test sets, 0.89, ranks cases "
        "within a test set alone: it is not compared."
    )
    assert validation_words.cards(numbers)[1][:2] == ("AUROC out of fold", "0.72")


def test_flags_of_wrong_cases_stand_beside_those_of_right_ones():
    rows = [{"predicted": p, "true": "a", "flags": ["near_threshold"] * n} for p, n in (("b", 1), ("b", 0), ("a", 1))]
    found = {"per_case": rows, "cases": 3, "threshold": 0.45}
    told = "2 of 3 cases are wrong (frozen threshold 0.45). With a flag: 1 of 2 wrong and 1 of 1 right ones."
    assert validation_words.errors(found) == told


def test_subgroups_without_a_figure_are_a_sentence():
    none = Estimate(None)
    row = {"kind": "Site", "name": "left", "split": "", "roc_auc": none, "sensitivity": none, "specificity": none}
    some = {**row, "specificity": Estimate(0.8, 0.5, 0.9, 9)}
    assert (
        validation_words.groups({"groups": [row]}, "case") == "No figure is given: no subgroup has 5 cases of a class."
    )
    assert not validation_words.defined({"groups": [row]}) and validation_words.defined({"groups": [row, some]})
    assert "where fewer than 5 cases" in validation_words.groups({"groups": [row, some]}, "case")


@pytest.mark.parametrize("limit, usual", [(None, {}), (1.5, {"h&e": 2.0})])
def test_what_was_not_judged_is_not_called_near(known, limit, usual):
    """Too few training cases for a limit, or for a stain, are no sign that cases are like those of training."""
    facts = known.facts | {"shift": {"limit": limit, "usual": usual, "share": 0.95}}
    flags = pd.DataFrame(columns=["case_id", "flag", "value", "limit", "reason"])
    notes = new_case_words.grave(flags, 4, facts)
    row = next(row for row in new_case_words.summary(flags, 4, facts) if row["flag"] == "feature_shift")
    assert len(notes) == 1 and "sox10 are unlike those of training was not judged" in notes[0]
    assert notes[0] in row["meaning"] and row["n"] == (None if limit is None else 0)
    assert ("h&e" in notes[0]) == (limit is None)
    assert "not judged" in new_case_words.shifted(facts) or limit is not None


@pytest.mark.parametrize("width", [1280, 1200, 800, 500])
def test_a_browser_shows_the_page_without_fault(page, width, tmp_path):
    found = pages.browse(page[0], width, "Case", tmp_path)
    assert found["errors"] == [] and found["width"] <= found["screen"]
    assert "cohorts" not in found["cut"] or width < 800  # its last column is what the text speaks of


@pytest.fixture(scope="module")
def predict_by(validated, known, tmp_path_factory):
    """A function that writes the page of predictions by the model in a file, and returns it."""
    table, _, found, *_ = validated
    folder = tmp_path_factory.mktemp("predict")
    for name, each in (("predictions", table), ("flags", found.flags), ("shift", found.shift)):
        each.to_csv(folder / f"{name}.csv", index=False)
    rows = [
        ("file", "a.db", "not an image", "", 0),
        ("file", "b.png", "stain 'x'", "", 0),
        ("case", "9", "none", "", 3),
    ]
    excluded = pd.DataFrame(rows, columns=["kind", "name", "reason", "detail", "patches"])
    (folder / "inventory").mkdir()
    excluded.to_csv(folder / "inventory/excluded.csv", index=False)
    gallery = folder / "attention_analysis/case_effective_patches"
    gallery.mkdir(parents=True)
    (gallery / f"case_{file_name('new 1')}_top_effective_patches.png").touch()
    template = REPOSITORY / "report/predict.html.j2"
    how = {"template": template, "colors": COLORS, "name": "spring"}
    facts = made_new_cases.facts(known, versions={"stratamil": "0.1.0"}, commit="0123456789abcdef+")

    def written(bundle):
        predict_page.write(folder, facts, bundle=bundle, **how)
        return (folder / "index.html").read_text(encoding="utf-8")

    return written


@pytest.fixture(scope="module")
def predict(predict_by):
    return predict_by(Path("made.zip"))


def test_predictions_name_their_model_and_lead_to_its_study_where_that_is(predict_by, tmp_path):
    study = tmp_path / "a study"
    for path in ("model/made.zip", "index.html", "report/index.html", "copied/made.zip"):
        (study / path).parent.mkdir(parents=True, exist_ok=True)
        (study / path).touch()
    text, copied = predict_by(study / "model/made.zip"), predict_by(study / "copied/made.zip")
    model = "By 2 models of the study “Made study”: bundle made.zip, made by StrataMIL 0.1.0, commit 0123456789ab."
    assert model in text and model in copied
    first, report = (re.search(f'<a href="([^"]*)">{words}</a>', text)[1] for words in ("All pages", "Report of .*?"))
    assert first.endswith("/a%20study/index.html") and report.endswith("/a%20study/report/index.html")
    assert "All pages" not in copied and "Report of the study" not in copied
    (study / "report/index.html").unlink()
    assert "Report of the study" not in predict_by(study / "model/made.zip")


def test_the_page_of_predictions_needs_no_label_and_leads_to_galleries(predict):
    elements = pages.Elements(predict)
    assert elements.unclosed == [] and pages.outside(elements.found) == []
    assert "had a part in the training: 3 and 4" in predict and "Known case" in predict
    assert "Not predicted: 1 case and 2 files" in predict
    assert ("range over models of different splits is no flag" in predict) == ("<th>Seeds disagree</th>" in predict)
    assert ("Seeds disagree" in predict) != ("Models disagree" in predict)
    links = [attrs.get("href") for tag, attrs in elements.found if tag == "a"]
    assert [link for link in links if link.startswith("attention_analysis/case_effective_patches/case_new")]


@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_shows_the_predictions_without_fault(predict, width, tmp_path):
    found = pages.browse(predict, width, "Case", tmp_path)
    assert found["errors"] == [] and found["width"] <= found["screen"]


def test_labels_move_neither_predictions_nor_threshold(made, tmp_path):
    """The programs, from a real bundle: with the labels turned round, every prediction is the same to the last byte."""
    ids = [str(i) for i in range(31, 43)]
    manifest = bundles.write_manifest(tmp_path / "new", features(bundles.shape(range(31, 43)), seed=8), ids)
    tables = []
    for name, codes in (("a", "13"), ("b", "31")):
        labels = tmp_path / f"{name}.csv"
        rows = [f"{case},{codes[i % 2]},{'left' if i % 3 else 'right'}\n" for i, case in enumerate(ids)]
        labels.write_text("Case,Class,Site\n" + "".join(rows))
        given = ["--bundle", made.zip, "--labels", labels]
        more = ["--patches", manifest, "--features-encoder", "made", "--no-galleries"]
        call("predict", *given, *more, "--browser", "all", "--output", tmp_path / name)
        tables.append(pd.read_csv(tmp_path / name / "predictions.csv", dtype=str))
    pd.testing.assert_frame_equal(*(table.drop(columns="true_class") for table in tables))
    output = tmp_path / "b/validation"
    template = ["--template", REPOSITORY / "report/validation.html.j2", "--columns", "Site", "--bootstrap-samples", 100]
    template += ["--browser"]
    call("validate", *given, *template, "--predictions", tmp_path / "b", "--name", "b", "--output", output)
    check_browser(tmp_path / "b", tables[1])
    check_endings(made, tmp_path, tables[1])
    assert {path.name for path in output.iterdir()} >= {"index.html", "metrics.csv", "characteristics.csv", "figures"}
    found, decision = (
        json.loads((output / "validation.json").read_text(encoding="utf-8")),
        bundle.read(made.zip).decision(),
    )
    assert (found["threshold"], found["temperature"]) == (decision["threshold"], decision["temperature"])
    y = tables[1]["true_class"] == "high-grade"
    value = metrics.roc_auc(y, tables[1]["prob_high_grade"].astype(float))
    assert found["ensemble"]["roc_auc"]["value"] == pytest.approx(value)


def check_endings(made, folder, predictions):
    """A run ends with what was predicted, and with the command that validates it until that was done."""
    facts, command = bundle.facts(made.zip), "snakemake --configfile b.yaml -- validate"
    called = [f"{(predictions['predicted_class'] == name).sum()} {name}" for name in facts["classes"]]
    before, after = (new_case_summary.of_predictions(folder / name, facts, command) for name in "ab")
    for lines in (before, after):
        assert lines[0].startswith(f"12 cases: {' and '.join(called)} at the model's threshold, ")
        assert lines[1].startswith("Flags: ") and f"{predictions['flags'].notna().sum()} with a flag." in lines[0]
    assert before[-1].endswith(f": {command}") and f"  {folder}/a/index.html" in before
    assert f"  {folder}/b/validation/index.html" == after[-1] and after[2].startswith("AUROC 0.")
    assert command not in "".join(new_case_summary.of_predictions(folder / "a", facts, ""))
    late = folder / "b/predictions.csv"
    os.utime(late, (late.stat().st_atime, late.stat().st_mtime + 1000))  # predicted again since
    assert new_case_summary.of_predictions(folder / "b", facts, command)[-1].endswith(command)


def check_browser(folder, predictions):
    """The browser of new cases has what the tables have, and each row of the two pages leads to it."""
    listed = called(folder / "browser/data/cases.js", "cases")[0]
    members, flags = pd.read_csv(folder / "members.csv", dtype=str), pd.read_csv(folder / "flags.csv", dtype=str)
    assert listed["kind"] == "validate" and listed["title"] == "Predictions: b" and len(listed["seeds"]) == 4
    rows = predictions.set_index("case_id")
    assert [case["id"] for case in listed["cases"]] == list(rows.index)
    for case in listed["cases"]:
        row, own = rows.loc[case["id"]], members[members["case_id"] == case["id"]]
        assert (CLASSES[case["truth"]], CLASSES[case["predicted"]]) == (row["true_class"], row["predicted_class"])
        shown = [float(p) for p in own["prob_high_grade"]]
        assert [member[1] for member in case["members"]] == pytest.approx(shown, rel=1e-4)
        raised = flags.loc[flags["case_id"] == case["id"], "reason"]
        assert [flag.lower() for flag in case["flags"]] == [f"{reason.lower()}." for reason in raised]
        content = called(folder / f"browser/data/{case['file']}.js", "patches")[1]
        assert sum(content["patches"]["weight"]) == pytest.approx(1, abs=1e-4)
    for page, near in (("index.html", ""), ("validation/index.html", "../")):
        links = [
            attrs.get("href", "") for _, attrs in pages.Elements((folder / page).read_text(encoding="utf-8")).found
        ]
        assert {f"{near}browser/index.html#case={case}" for case in rows.index} <= set(links)


def test_what_cannot_be_validated_is_one_line(made, tmp_path):
    own = list(made.data.table["case_id"].unique())[:4]
    manifest = bundles.write_manifest(tmp_path / "own", made.data, own)
    labels = tmp_path / "labels.csv"
    labels.write_text("Case,Class\n" + "".join(f"{case},{1 + 2 * (i % 2)}\n" for i, case in enumerate(own)))
    given = ["--bundle", made.zip, "--patches", manifest, "--features-encoder", "made", "--no-galleries"]
    template = ["--template", REPOSITORY / "report/validation.html.j2", "--name", "own", "--output", tmp_path / "page"]
    out = tmp_path / "out"
    call("predict", *given, "--labels", labels, "--output", out)
    told = ["--bundle", made.zip, "--predictions", out, "--labels", labels, *template]
    for said in ("no labelled case is new to the model", "predicted without labels"):
        with pytest.raises(UserError, match=said) as error:
            call("validate", *told)
        assert len(error.value.problems) == 1 and not (tmp_path / "page").exists()
        cases = pd.read_csv(out / "inventory/cases.csv", dtype=str)
        cases.assign(**{"class": ""}).to_csv(out / "inventory/cases.csv", index=False)


def test_a_column_without_a_value_in_common_is_not_passed_over():
    def of(site):
        cell = {"counts": {site: 3}, "known": 3, "missing": 0}
        row = {"name": "Site", "numeric": False, "levels": [site], "cells": {"all": cell}}
        return {"groups": ["all"], "sizes": {"all": 3}, "rows": [row]}

    unlike = validation.beside(of("York"), {"characteristics": of("Leeds")})
    assert unlike["rows"][0]["difference"] is None and unlike["rows"][0]["apart"]
    assert "differ from the development in Site (no value in common): " in validation_words.cohorts(
        {"characteristics": unlike}
    )
    assert not validation.beside(of("York"), {"characteristics": of("York")})["rows"][0]["apart"]

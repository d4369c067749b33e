"""The cross-split report of odd studies, and what it refuses."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from made_runs import Made
from sklearn.metrics import roc_auc_score

from stratamil.core.errors import UserError
from stratamil.evaluation import study
from stratamil.report import sentences, sentences_performance
from stratamil.stats.intervals import Estimate


@pytest.mark.slow
@pytest.mark.parametrize(
    "table, column, row, value", [("cases.csv", "n_patches", 0, "99"), ("excluded.csv", "reason", 4, "no patches")]
)
def test_a_table_that_does_not_add_up_stops_the_report(tmp_path, monkeypatch, table, column, row, value):
    made = Made(tmp_path)
    changed = pd.read_csv(made.root / table, dtype=str, keep_default_na=False)
    changed.loc[row, column] = value
    changed.to_csv(made.root / table, index=False)
    with pytest.raises(RuntimeError, match="flow: "):
        made.report(monkeypatch)


@pytest.mark.slow
def test_cases_without_a_most_attended_stain_are_none_s(tmp_path, monkeypatch):
    made = Made(tmp_path)
    for run in made.runs:
        path = run / "attention_analysis/summary.csv"
        pd.read_csv(path).assign(most_attended_stain="equal").to_csv(path, index=False)
        results = json.loads((run / "results.json").read_text())
        (run / "results.json").write_text(json.dumps(results | {"stains": ["h&e", "sox10"]}))
    page, numbers, _ = made.report(monkeypatch)
    assert [(row["stain"], row["most"]) for row in numbers["attention"]["stains"]] == [("h&e", 0), ("sox10", 0)]
    assert numbers["attention"]["cases"] == 24
    assert (numbers["attention"]["equal"], numbers["attention"]["single"]) == (
        23,
        1,
    )  # with one stain there is no choice
    assert "No stain has the largest weight in any case; in 23 of 24 cases the largest weights are equal" in page
    assert "1 case has one stain only" in page


@pytest.mark.slow
def test_a_stain_that_no_case_has_is_not_in_the_report(tmp_path, monkeypatch):
    made = Made(tmp_path)
    cases = pd.read_csv(tmp_path / "cases.csv", dtype=str, keep_default_na=False)
    cases["missing_stains"] = ["ki67;sox10" if text else "ki67" for text in cases["missing_stains"]]
    cases.to_csv(tmp_path / "cases.csv", index=False)
    for run in made.runs:
        path = run / "attention_analysis/summary.csv"
        pd.read_csv(path).assign(stain_weight_ki67=np.nan).to_csv(path, index=False)
    page, numbers, _ = made.report(monkeypatch)
    assert "ki67" not in page and [row["stain"] for row in numbers["attention"]["stains"]] == ["h&e", "sox10"]
    assert [row["name"] for row in numbers["subgroups"] if row["kind"] == "stains"] == ["all stains", "sox10 missing"]


@pytest.mark.slow
def test_one_class_split_is_not_defined(tmp_path, monkeypatch):
    page, numbers, table = Made(tmp_path, one_class=1).report(monkeypatch)
    assert numbers["runs"][0]["roc_auc"] == {"value": None, "low": None, "high": None, "n": 12}
    assert numbers["out_of_fold"]["fold_mean"]["value"] is None
    assert "not defined" in page
    assert table.query("level == 'split' and split == '01' and metric == 'roc_auc'")["value"].isna().all()


@pytest.mark.slow
def test_three_classes_without_history(tmp_path, monkeypatch):
    made = Made(tmp_path, classes=("benign", "low-grade", "high-grade"), history=False)
    page, numbers, _ = made.report(monkeypatch)
    rows = pd.concat([pd.read_csv(run / "predictions.csv") for run in made.runs])
    p = rows[["prob_benign", "prob_low_grade", "prob_high_grade"]].to_numpy()
    expected = roc_auc_score(made.y, p, multi_class="ovr", labels=[0, 1, 2])
    assert numbers["out_of_fold"]["roc_auc"]["value"] == pytest.approx(expected)
    assert "nothing was trained here" in made.written("appendix.html") and "losses" not in page
    assert "the most probable class is right in" in page and "Accuracy</span>" in page


@pytest.mark.slow
def test_cases_predicted_twice_or_never_are_named(tmp_path, monkeypatch):
    made = Made(tmp_path)
    first, second = (pd.read_csv(run / "predictions.csv", dtype={"case_id": str}) for run in made.runs)
    pd.concat([second.iloc[1:], first.iloc[:1]]).to_csv(made.runs[1] / "predictions.csv", index=False)
    page, numbers, _ = made.report(monkeypatch)
    assert numbers["coverage"] == {"missing": {"1": ["13"]}, "repeated": {"1": ["1"]}}
    assert "Seed 1: 1 case is predicted by more than one split: 1." in page
    assert numbers["disagreements"] and "do not agree" in page


def test_bad_input_is_told_at_once(tmp_path):
    made = Made(tmp_path)
    (made.runs[0] / "predictions.csv").unlink()
    (made.runs[1] / "results.json").unlink()
    with pytest.raises(UserError) as error:
        study.read_runs(made.runs)
    assert len(error.value.problems) == 2


def test_failed_report_leaves_the_old_one(tmp_path, monkeypatch):
    made = Made(tmp_path)
    old = tmp_path / "report/index.html"
    old.parent.mkdir()
    old.write_text("old")
    with pytest.raises(UserError, match=r"report\.colors"):
        made.report(monkeypatch, "--colors", "red", "#123456")
    with pytest.raises(UserError, match="nothing_here"):
        made.report(monkeypatch, "--unreadable", tmp_path / "nothing_here.h5")
    assert old.read_text() == "old"
    assert not list(tmp_path.glob(".report*"))


def test_a_given_checkpoint_takes_nothing_of_an_earlier_training(tmp_path):
    made = Made(tmp_path)
    run = made.runs[0]
    results = json.loads((run / "results.json").read_text())
    for checkpoint, own in ((run / "checkpoints/best.pth", True), (tmp_path / "given.pth", False)):
        (run / "results.json").write_text(json.dumps(results | {"checkpoint": str(checkpoint)}))
        assert (study.read_runs([run])[0].history is not None) == own


@pytest.mark.slow
def test_scaled_probabilities_are_shown_only_where_a_temperature_was_fitted(tmp_path, monkeypatch):
    made = Made(tmp_path)
    page, numbers, table = made.report(monkeypatch)
    assert numbers["scaled"] is None and "temperature-scaled" not in set(table["model"])
    assert "each run has fewer than 50 validation cases" in page and "<th>after temperature scaling" not in page
    results = json.loads((made.runs[0] / "results.json").read_text())
    fitted = results | {"temperature": 0.2, "temperature_off": None}
    (made.runs[0] / "results.json").write_text(json.dumps(fitted))
    page, numbers, table = made.report(monkeypatch)
    assert "<th>after temperature scaling</th>" in page and "temperature-scaled" in set(table["model"])
    assert (
        sentences_performance.temperature(numbers["temperatures"], Estimate(**numbers["scaled"]["log_loss_reduction"]))
        in page
    )
    assert "1 of 2 runs has fewer than 50 validation cases" in page


@pytest.mark.parametrize("splits, words", [("all", ">not fitted<"), ("one", "; not fitted in 1 of 2 splits<")])
@pytest.mark.slow
def test_a_baseline_that_tells_no_cases_apart_is_not_fitted(splits, words, tmp_path, monkeypatch):
    made = Made(tmp_path, seeds=(1,))
    rows = pd.read_csv(tmp_path / "baselines.csv", dtype={"split": str, "case_id": str})
    alike = (rows["baseline"] == "mean_pool") & (rows["split"].isin([rows["split"].min()]) | (splits == "all"))
    rows.loc[alike, ["prob_benign", "prob_high_grade"]] = [0.75, 0.25]
    rows.loc[alike[alike].index[0], "prob_benign"] += 1e-16
    rows.to_csv(tmp_path / "baselines.csv", index=False)
    page, numbers, _ = made.report(monkeypatch)
    assert words in page and "no training case has its stain" in page
    assert numbers["baselines"][0]["fitted"] == (0 if splits == "all" else 1)
    assert ("has a defined AUROC" in page) == (splits == "all")


@pytest.mark.slow
def test_few_cases_are_not_to_be_quoted(tmp_path, monkeypatch):
    page, numbers, _ = Made(tmp_path, n=3).report(monkeypatch)
    assert numbers["patients_of"] == {"benign": 3, "high-grade": 2}
    assert "<li>Too few to quote: there are 3 patients of benign and 2 patients of high-grade" in page
    assert "With 3 test cases a split" in page
    shown = numbers["out_of_fold"]["fold_mean"]["low"] is not None
    assert ("mean of 2 test sets" in page) == shown
    assert ("There is no mean of the test sets" in page) != shown


@pytest.mark.slow
def test_without_a_patient_column_the_page_says_cases(tmp_path, monkeypatch):
    monkeypatch.setattr(Made, "patient_column", None)
    made = Made(tmp_path, n=6)
    page, _, _ = made.report(monkeypatch)
    pages = page.split("<main>")[1] + made.written("appendix.html").split("<main>")[1] + made.written("summary.txt")
    text = re.sub(r"\s+", " ", re.sub("<script.*?</script>|<.*?>", "", pages, flags=re.DOTALL))
    text = text.replace("splits by case; patients are unknown", "").replace("cases; patients are unknown", "")
    text = text.replace("Patient and public involvement", "")
    assert "No patient column is given, so cases count as independent: name it in cohort.patient_column, or" in text
    for remedy in ("no patient column", "cohort.patient_column", "if each case is one patient"):
        text = text.lower().replace(remedy, "")
    assert [text[place.start() - 40 : place.end() + 40] for place in re.finditer("patient", text)] == []


@pytest.mark.slow
def test_attention_is_told_by_true_class(tmp_path, monkeypatch):
    made = Made(tmp_path)
    for run in made.runs:
        path = run / "attention_analysis/summary.csv"
        odd = pd.read_csv(path, dtype={"case_id": str})
        benign = odd["case_id"].astype(int) % 2 == 1
        odd.loc[benign, ["stain_weight_h_e", "stain_weight_sox10"]] = [0.1, 0.9]
        odd.to_csv(path, index=False)
    page, numbers, _ = made.report(monkeypatch)
    assert (
        "In benign cases sox10 most often had the largest weight (12 of 12 cases; median weight 0.90); in high-grade "
        "cases h&amp;e most often had the largest weight (11 of 11 cases; median weight 0.75)"
    ) in page
    assert [group["told"] for group in numbers["attention"]["by_class"]] == [12, 11]


@pytest.mark.slow
def test_faithfulness_is_shown_where_it_was_checked(tmp_path, monkeypatch):
    made, path = Made(tmp_path), tmp_path / "checks/faithfulness.json"
    assert "Faithfulness was not checked" in made.report(monkeypatch)[0]
    row = {
        "question": "Does it fall <b>?",
        "predicted": "benign",
        "answer": "yes",
        "measured_by": "area",
        "reference": 0.0,
    }
    row |= {"estimate": {"value": 0.3125, "low": 0.2, "high": 0.4, "n": 24}}
    path.parent.mkdir()
    told = {"overall": "Attention is better than random.", "by_class": "In both classes.", "answers": [row]}
    told["explained"] = {"benign": None, "high-grade": True}
    path.write_text(json.dumps(told))
    (path.parent / "index.html").touch()
    page = made.report(monkeypatch, "--faithfulness", path)[0]
    assert "<li>Predictions of high-grade rest on the attended patches; those of benign are not shown to.</li>" in page
    assert "Attention is better than random. In both classes." in page and "Does it fall &lt;b&gt;?" in page
    assert "0.312" in page and 'href="../checks/index.html"' in page
    assert page.count('href="../checks/index.html"') == 2  # of the section, and in the contents
    untold = row | {"estimate": {"value": None, "low": None, "high": None, "n": 0}}
    path.write_text(json.dumps(told | {"answers": [untold]}))
    cells = re.search(
        r"Does it fall &lt;b&gt;\?.*?</tr>", made.report(monkeypatch, "--faithfulness", path)[0], re.DOTALL
    )
    assert cells[0].count('<td class="n"></td>') == 2 and "0.000" not in cells[0]
    path.write_text(json.dumps(told | {"answers": [{"question": "deletion"}]}))
    with pytest.raises(UserError, match="run faithfulness again"):
        made.report(monkeypatch, "--faithfulness", path)


@pytest.mark.slow
def test_pages_of_a_first_look_say_that_they_are_not_to_be_quoted(tmp_path, monkeypatch):
    made, said = Made(tmp_path), sentences.first_look(True)
    page, numbers, _ = made.report(monkeypatch, "--first-look")
    assert made.written("summary.txt").startswith(said) and numbers["first_look"] == said
    for text in (page, made.written("appendix.html")):
        assert text.count(f"<strong>{said}</strong>") == 1 and "Quote" not in text
        assert text.index(said) < text.index("</header>")  # the page is a grid, of which this is a part
    page, *_ = made.report(monkeypatch)
    assert said not in page and made.written("summary.txt").startswith("Methods")

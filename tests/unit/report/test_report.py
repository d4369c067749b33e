"""The cross-split report on tiny made-up runs: its page and the numbers on it."""

import json
import re
import subprocess
import sys
from html import unescape
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from made_runs import NASTY, Made, words
from pages import Elements, browse, dom, outside
from repository import REPOSITORY
from sklearn.metrics import roc_auc_score

from stratamil.report import report_text, study_page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Made(tmp_path_factory.mktemp("runs"), seeds=(1, 2), odd=NASTY)
        more = ("--title", "A & B <i>", "--first-page", made.root / "first #.html")
        more += ("--browser", made.root / "browser/index.html")
        return made, *made.report(monkeypatch, *more, drawn=True)


def test_page_shows_the_numbers_of_metrics_json(two_seeds):
    made, page, numbers, _ = two_seeds
    appendix = made.written("appendix.html")
    headline = numbers["out_of_fold"][numbers["headline"]]
    assert f"<strong>AUROC {headline['value']:.2f} (95% CI {headline['low']:.2f} to" in page
    assert f"{headline['value']:.3f}<" in page and "Each model was trained on about 33% of the cases" in page
    for run in numbers["runs"]:
        assert f">{run['roc_auc']['value']:.3f}<" in page and f">{run['brier']['value']:.3f}<" in page
    assert f"The pooled AUROC of the ensemble is {numbers['ensemble']['roc_auc']['value']:.2f} (95% CI" in page
    assert "2 jobs took 62.5 s, added up; train took the most (61.5 s)" in appendix  # not those of other settings
    assert "class code 0: 2" in page and "class code 0 excluded" in appendix and "case_1/broken.png" in appendix
    assert "1 case has patches but no row in the labels" in page and 'href="../index.html"' in page
    assert all('<a href="../first%20%23.html">All pages</a>' in text for text in (page, appendix))


def test_each_pooled_auroc_says_of_what_it_is(two_seeds):
    made, page, *_ = two_seeds
    for text in (page, made.written("appendix.html"), made.written("summary.txt")):
        after = re.findall(r"[Tt]he pooled AUROC( of the \w+| of \w+ \w+)?", " ".join(words(text).split()))
        assert set(after) <= {" of the ensemble", " of single trainings", " of the training"}  # that of its prevalence
        assert " of single trainings" in after or text is not page


def test_numbers_are_those_of_the_predictions(two_seeds):
    made, _, numbers, table = two_seeds
    seeds = []
    for seed in made.seeds:
        parts = [pd.read_csv(made.root / f"split_{split}/seed_{seed}/predictions.csv") for split in ("01", "02")]
        seeds.append(pd.concat(parts, ignore_index=True))
    pooled = [roc_auc_score(rows["true_label"], rows["prob_high_grade"]) for rows in seeds]
    mean = (seeds[0]["prob_high_grade"] + seeds[1]["prob_high_grade"]) / 2
    assert numbers["out_of_fold"]["roc_auc"]["value"] == pytest.approx(np.mean(pooled))
    assert numbers["out_of_fold"]["seed_sd"] == pytest.approx(np.std(pooled, ddof=1))
    auc = numbers["ensemble"]["roc_auc"]
    assert auc["value"] == pytest.approx(roc_auc_score(seeds[0]["true_label"], mean))
    assert auc["low"] <= auc["value"] <= auc["high"] and auc["n"] == 23
    row = table.query("level == 'ensemble' and metric == 'roc_auc'").iloc[0]
    assert float(row["value"]) == pytest.approx(auc["value"]) and row["n"] == "24"
    levels = {"split", "seed", "out_of_fold", "ensemble", "baseline", "detectable", "decision_curve"}
    assert set(table["level"]) == levels
    assert numbers["cases"] == 24 and numbers["patients"] == 23


def test_page_needs_nothing_else_and_is_well_formed(two_seeds):
    _, page, _, _ = two_seeds
    assert not re.findall(r"""(?:src|href|url\(|@import|xmlns)[^>\s]*https?:""", page)
    elements = Elements(page).found
    assert not outside(elements) and not Elements(page).unclosed
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inner = {attributes["href"][1:] for _, attributes in elements if attributes.get("href", "").startswith("#")}
    assert inner <= set(ids)
    assert all(attributes.get("aria-label") for tag, attributes in elements if tag == "svg")


def test_figures_take_the_colours_of_the_page(two_seeds):
    _, page, _, _ = two_seeds
    drawn = "".join(re.findall("<svg.*?</svg>", page, flags=re.DOTALL))
    assert {"var(--c0)", "var(--wrong)", "currentColor"} <= set(re.findall(r"var\(--\w+\)|currentColor", drawn))
    assert not re.search("#(?:000000|0072b2|d55e00|b00020|e4e4e4)", drawn)


def test_names_from_data_are_escaped(two_seeds):
    _, page, numbers, _ = two_seeds
    assert NASTY not in page and "&lt;script&gt;alert(1)" in page
    assert "A &amp; B &lt;i&gt;" in page
    assert NASTY in [case["case_id"] for case in numbers["per_case"]]


def test_galleries_are_linked_where_they_are(two_seeds):
    made, page, _, _ = two_seeds
    links = [
        attributes["href"]
        for tag, attributes in Elements(page).found
        if tag == "a" and "effective" in attributes["href"]
    ]
    assert len(links) == 2
    assert all((made.root / "report" / link).is_file() for link in links)


def test_each_case_leads_to_its_patches_in_the_browser(two_seeds):
    made, page, _, _ = two_seeds
    links = [attributes.get("href", "") for tag, attributes in Elements(page).found if tag == "a"]
    links = [link.partition("#case=") for link in links if link.startswith("../browser/index.html")]
    assert sorted(unquote(key) for *_, key in links) == sorted(made.ids)
    assert not any(set("<>&#/") & set(key) for *_, key in links)


def test_every_case_and_patch_is_counted(two_seeds):
    made, _, numbers, _ = two_seeds
    labels, folder = numbers["flow"]["sources"]
    assert (labels["n"], labels["kept"]) == (28, 27)
    assert [(part["reason"], part["n"]) for part in folder["left_out"]] == [
        ("copy", 2), ("not an image", 1), ("no row in the labels (1 case)", 3),
    ]  # fmt: skip
    steps = numbers["flow"]["steps"]
    assert [step["cases"] for step in steps] == [27, 25, 24, 24, 24]
    used = sum(range(10, 34))
    assert [step["patches"] for step in steps] == [used + 10, used, used, used - 1, used - 1]
    assert [step["left_out"] for step in steps] == [
        [],
        [{"reason": "class code 0 excluded", "cases": 2, "patches": 10}],
        [{"reason": "no patches", "cases": 1, "patches": 0}],
        [{"reason": "unreadable as an image", "cases": 0, "patches": 1}],
        [],
    ]
    listed = pd.read_csv(made.root / "report/excluded.csv", dtype=str)
    assert listed["kind"].value_counts().to_dict() == {"file": 3, "row": 1, "case": 4, "patch": 1}
    assert (made.root / "report/figures/flow.svg").is_file()
    assert 'id="figure-flow"' in made.written("appendix.html")


def test_stain_attention_leaves_missing_stains_out(two_seeds):
    _, _, numbers, _ = two_seeds
    found = {row["stain"]: row for row in numbers["attention"]["stains"]}
    assert found["sox10"]["n"] == 23 and found["sox10"]["mean"] == pytest.approx(0.25)
    assert found["h&e"]["ratio"] == pytest.approx((23 * 1.5 + 1) / 24)
    assert numbers["attention"]["truth"]["mean_auc"]["value"] == pytest.approx(0.7)


def test_same_input_same_bytes(two_seeds, monkeypatch):
    made, page, _, _ = two_seeds
    more = ("--title", "A & B <i>", "--first-page", made.root / "first #.html")
    more += ("--browser", made.root / "browser/index.html")
    assert made.report(monkeypatch, *more, drawn=True)[0] == page


@pytest.mark.parametrize("width", [1280, 500, 390])
def test_page_in_a_browser(two_seeds, tmp_path, width):
    """Its scripts run, its tables sort, and it is no wider than the window."""
    found = browse(two_seeds[1], width, "model − baseline", tmp_path)
    assert found["errors"] == []
    assert found["width"] <= found["screen"]
    assert found["buttons"] > 10
    head, first, *_ = found["csv"].split("\r\n")
    if width == 1280:
        assert head.startswith("Predictor,n,AUROC of folds,AUROC of folds 95% CI,model − baseline,")
    assert len(first.split(",")) == len(head.split(","))
    values = [float(text.split()[0][:5].replace("−", "-").strip() or 9) for text in found["sorted"] if text]
    assert values == sorted(values)
    appendix = browse(two_seeds[0].written("appendix.html"), width, "State", tmp_path)
    assert appendix["errors"] == [] and appendix["width"] <= appendix["screen"] and appendix["buttons"] >= 15


@pytest.mark.parametrize("width", [1200, 800])
def test_tables_fit_the_page(two_seeds, tmp_path, width):
    """Nothing of a table, as the links to its pictures, lies beyond its right edge on a laptop or half a screen."""
    probe = """<script>
    document.querySelectorAll("details").forEach((part) => (part.open = true));
    document.querySelectorAll(".links").forEach((cell) => (cell.innerHTML =
      '<span class="none">ensemble:</span> ' + ["patches", "most", "least", "map", "weights", "slices"].map(
      (name) => `<a href="x">${name}</a>`).join("")));
    const wide = [...document.querySelectorAll(".table")].filter((table) => table.scrollWidth > table.clientWidth);
    document.title = JSON.stringify(wide.map((table) => `${table.closest("section").id}: ${table.scrollWidth}`));
    </script></body>"""
    file, named = tmp_path / "page.html", two_seeds[1].replace("&lt;script&gt;alert(1)&lt;/script&gt;", "24C0123")
    file.write_text(named.replace("high-grade", "hyperplastic").replace("</body>", probe), encoding="utf-8")
    shown = dom(file.as_uri(), tmp_path, width)
    assert json.loads(unescape(re.search(r"<title>(.*?)</title>", shown, re.DOTALL)[1])) == []


def test_each_section_says_what_it_shows_in_this_study_and_its_limits(two_seeds):
    made, page, _, _ = two_seeds
    for part in re.findall(r'<section id="(.*?)</section>', page + made.written("appendix.html"), flags=re.DOTALL):
        name, said = part.split('"', 1)[0], re.findall("<(p|li)[ >](.*?)</\\1>", part, flags=re.DOTALL)
        assert re.search(r"\d", re.sub("<.*?>", "", "".join(text for _, text in said))) or name in UNCOUNTED, name
        assert 'class="limits"' in part or name in UNLIMITED, name


UNCOUNTED = ("faithfulness",)
UNLIMITED = ("result", "cohort", "faithfulness", *report_text.APPENDIX)


def test_a_reader_has_fewer_than_3500_words_before_him_and_no_sentence_twice(two_seeds):
    made, page, _, _ = two_seeds
    both = [words(page), words(made.written("appendix.html"))]
    assert sum(len(text.split()) for text in both) < 3500
    sentences_of = re.findall(r"[A-Z][^.]{40,}\. ", both[0])
    assert len(sentences_of) > 15 and len(set(sentences_of)) == len(sentences_of)


def test_the_first_screen_has_the_answer(two_seeds, tmp_path):
    """At 1280 x 900, without scrolling: the result, its figures and flags, the curve and the forest of runs."""
    page = two_seeds[1]
    probe = """<script>
    document.title = JSON.stringify([".lead", ".glance .card", ".glance .notes li", "#figure-roc", "#figure-runs"].map(
      (name) => [...document.querySelectorAll(name)].map((one) => one.getBoundingClientRect().bottom)));
    </script></body>"""
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", probe), encoding="utf-8")
    shown = dom(file.as_uri(), tmp_path, 1280)
    lead, cards, flags, *drawn = json.loads(unescape(re.search(r"<title>(.*?)</title>", shown, re.DOTALL)[1]))
    assert len(lead) == 1 and len(cards) == 4 and len(flags) >= 3 and [len(each) for each in drawn] == [1, 1]
    assert max(*lead, *cards, *flags, *drawn[0], *drawn[1]) <= 900


def test_a_paper_has_its_two_paragraphs(two_seeds):
    made, _, numbers, _ = two_seeds
    text = re.sub(r"\s+", " ", made.written("summary.txt"))
    headline = numbers["out_of_fold"][numbers["headline"]]
    row = next(row for row in numbers["decisions"][0]["rows"] if row["name"] == "sensitivity")
    for part in (
        "Methods Cases were classified as benign or high-grade from image patches of 1 stain (h&e)",
        "24 cases of 23 patients (12 benign and 12 high-grade)",
        "a model was trained on 8 cases, 4 cases were used for validation and 12 for the test",
        "Of 27 labelled cases, 24 were predicted out of fold; 3 were excluded (class code 0: 2, no patches: 1).",
        f"AUROC {headline['value']:.2f} (95% CI {headline['low']:.2f} to {headline['high']:.2f})",
        f"sensitivity {row['estimate']['value']:.2f} ({row['k']} of {row['estimate']['n']}; 95% CI",
    ):
        assert part in text, part
    assert "None" not in text and "{" not in text


def test_what_a_reviewer_asks_is_said(two_seeds):
    made, page, numbers, _ = two_seeds
    text = re.sub(r"\s+", " ", re.sub("<.*?>", "", page + made.written("appendix.html")))
    for said in (
        "2 trainings each",
        "Decisions, calibration, cases and subgroups are those of the ensemble, the mean probability of 2 seeds",
        "The SD over splits is not a standard error",
        "not of splits or training runs",
        "If settings were changed after a look",
        "the L2 penalty of least validation log loss",
    ):
        assert said in text, said
    strongest = numbers["baselines"][0]  # the other is the prevalence
    difference = strongest["auc_difference"]["fold_mean"]
    assert ("the CI includes 0" in text) == (difference["low"] <= 0 <= difference["high"])
    assert f"reached an AUROC of {strongest['fold_mean']['value']:.2f}" in text


def test_the_report_says_that_new_cases_are_decided_at_another_threshold(two_seeds):
    html = two_seeds[1]
    section = html[html.index('<section id="curves">') : html.index('<section id="calibration">')]
    assert "new cases (target bundle) decides at a threshold of its own, neither 0.5 nor these" in section


def test_checklists_point_to_what_is_there(two_seeds):
    made, page, _, _ = two_seeds
    appendix = made.written("appendix.html")
    found = appendix.split('<section id="checklists">')[1].split("</section>")[0]
    for part, n in zip(found.split("</details>"), (52, 44, 48)):
        assert len(re.findall(r"<tr><th>\d+\w?</th>", part)) == n
    ids = {"index.html": set(re.findall(r'id="(\w+)"', page)), "": set(re.findall(r'id="(\w+)"', appendix))}
    places = re.findall(r'href="([\w.]*)#(\w+)"', found)
    assert len(places) > 100 and all(place in ids[file] for file, place in places)


def test_report_needs_no_torch():
    probe = "import sys, report; sys.exit('torch' in sys.modules)"
    folder = REPOSITORY / "scripts"
    subprocess.run([sys.executable, "-c", probe], cwd=folder, check=True)


@pytest.mark.parametrize("source, shown", [
    ("precomputed", {"features.manifest", "embed.shards", "names.stains", "labels"}),
    ("patches", {"patches", "names.pattern", "names.stains", "embed.encoder", "embed.shards", "labels"}),
])  # fmt: skip
def test_settings_of_another_source_of_features_are_not_shown(source, shown, tmp_path):
    config = {"patches": "p", "labels": "l", "names": {"pattern": "x", "stains": "h&e"}, "demo": None}
    config |= {"features": {"source": source, "manifest": "m"}, "embed": {"encoder": "uni", "shards": 8}}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    keys = {key for key, _ in study_page.settings(None, tmp_path / "config.yaml")}
    assert keys - {"demo"} == shown | {"features.source"}

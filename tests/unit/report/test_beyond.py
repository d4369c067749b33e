"""The sections beyond discrimination as a page has them: figures, sentences and tables, with names as text."""

import re
from dataclasses import replace

import made_study
import numpy as np
import pandas as pd
import pytest
from repository import REPOSITORY

from stratamil.cohort.columns import Column
from stratamil.evaluation import cross_split
from stratamil.report import beyond, page, style

pytestmark = pytest.mark.slow

COLORS = ["#0072B2", "#D55E00"]
NASTY = "<script>alert(1)</script>"
N = 60
IDS = [str(i + 1) for i in range(N)]
SECTIONS = ("characteristics", "clinical", "decision", "learning")


@pytest.fixture(scope="module")
def numbers():
    random, y = np.random.default_rng(1), np.arange(N) % 3 == 0
    score = 2 * y - 1 + random.normal(size=N)
    site = Column(NASTY, pd.Series(random.choice([NASTY, "B", None], N), index=IDS, dtype=object), False)
    age = Column("Age", pd.Series(60 + 5 * y + random.normal(0, 5, N), index=IDS), True)
    study = made_study.study(score, y.astype(int), columns={NASTY: site, "Age": age}, clinical={NASTY: site})
    shares = [made_study.retrained(study, f"train_{n}", n / 100 * score, n) for n in (25, 50, 75)]
    return cross_split.numbers(replace(study, retrained=pd.concat(shares)))


def rendered(name, numbers):
    svgs = {name: (style.svg(figure), words) for name, (figure, words) in beyond.figures(numbers).items()}
    figures = {name: page.inline(svg, name, words, COLORS) for name, (svg, words) in svgs.items()}
    template = page.template(REPOSITORY / "report/index.html.j2").environment.get_template(f"sections/{name}.html.j2")
    return template.render(figures=figures, beyond=beyond.said(numbers, "patient"), **numbers)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_has_its_sentences_and_no_hole(numbers, name):
    text = rendered(name, numbers)
    assert f'<section id="{name}">' in text and NASTY not in text and "None" not in text and "nan" not in text
    if name in ("characteristics", "clinical"):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    for figure in {"characteristics": ["groups"], "decision": ["decision"], "learning": ["learning"]}.get(name, []):
        assert f'id="figure-{figure}"' in text


def test_table_1_and_the_subgroups_are_those_of_the_numbers(numbers):
    text = rendered("characteristics", numbers)
    assert text.count("<tr>") + text.count("<tr ") >= 3 + len(numbers["columns"]["groups"])
    # quartiles stand below the median, so that many test sets have room
    end = '<span class="keep">[0-9.]+</span>'
    assert re.search(f'<td class="n">[0-9.]+<span class="range">{end} to {end}</span></td>', text)
    assert "test 05" in text and f"{NASTY} missing".replace("<", "&lt;").replace(">", "&gt;") in text


def test_sections_without_their_settings_are_empty(numbers):
    bare = numbers | {"columns": None, "clinical": None, "learning": []}
    assert set(beyond.figures(bare)) == {"decision"}
    for name in ("characteristics", "clinical", "learning"):
        assert rendered(name, bare).strip() == ""


def test_three_classes_have_no_decision_curve(numbers):
    several = numbers | {"decision_curve": None, "positive": None, "columns": None, "clinical": None}
    text = rendered("decision", several)
    assert "figure-decision" not in text and "can detect" in text


def test_figures_are_the_same_bytes(numbers):
    drawn = [{name: style.svg(figure) for name, (figure, _) in beyond.figures(numbers).items()} for _ in range(2)]
    assert drawn[0] == drawn[1] and set(drawn[0]) == {"decision", "learning", "groups"}

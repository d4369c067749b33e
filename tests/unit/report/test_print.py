"""Pages on paper: nothing is cut off, and a table that goes on has its header again."""

import pages
from repository import REPOSITORY

from stratamil.report import page

TABLE = """{% extends "base.html.j2" %}
{% block main %}<div class="table tall"><table class="sortable">
<thead><tr><th>Case</th>{% for i in range(16) %}<th class="n">AUROC of the folds</th>{% endfor %}</tr></thead>
<tbody><tr><th>{{ "x" * 90 }}</th>{% for i in range(16) %}<td class="n keep">0.812
<span class="range">0.734 to 0.891</span></td>{% endfor %}</tr></tbody></table></div>{% endblock %}"""


def test_a_wide_table_fits_the_paper_and_its_header_is_text_while_it_is_printed(tmp_path):
    environment = page.template(REPOSITORY / "report/base.html.j2").environment
    text = environment.from_string(TABLE).render(title="T", colors=["#0072B2", "#D55E00"])
    found = pages.printed(text, tmp_path)
    assert found["cut"] == 0 and found["width"] <= found["screen"]
    assert found["printed"] == ["Case", *["AUROC of the folds"] * 16]
    assert found["before"] == found["after"] == [""] * 17

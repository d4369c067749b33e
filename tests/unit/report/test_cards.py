"""Cards of figures at the top of a page, in a real browser."""

import json
import re

import pages
import pytest
from repository import REPOSITORY

from stratamil.report import page

pytestmark = pytest.mark.slow
CARDS = """{% extends "base.html.j2" %}{% block main %}<section class="glance">
{% for n in (3, 4, 5, 6) %}<div class="cards">
{% for _ in range(n) %}<div class="card"><span class="label">Sensitivity</span><b>0.78</b>
<span>14 of 18; 95% CI 0.55 to 0.91; frozen threshold 0.54</span></div>{% endfor %}
</div>{% endfor %}</section>{% endblock %}"""
COUNT = """<script>
const tops = (cards) => [...cards.children].map((card) => card.offsetTop);
const wide = [...document.querySelectorAll(".card")].every((card) => card.scrollWidth <= card.clientWidth);
document.title = JSON.stringify({ tops: [...document.querySelectorAll(".cards")].map(tops), wide });
</script></body>"""


@pytest.mark.parametrize("width", [1400, 1280, 1200, 1100, 1000, 900, 800, 700, 600])
def test_no_card_is_alone_in_a_second_row(width, tmp_path):
    environment = page.template(REPOSITORY / "report/base.html.j2").environment
    text = environment.from_string(CARDS).render(title="T", colors=["#0072B2", "#D55E00"])
    file = tmp_path / "page.html"
    file.write_text(text.replace("</body>", COUNT), encoding="utf-8")
    shown = json.loads(re.search("<title>(.*?)</title>", pages.dom(file.as_uri(), tmp_path, width))[1])
    assert [len(tops) for tops in shown["tops"]] == [3, 4, 5, 6] and shown["wide"]
    assert all(tops.count(tops[-1]) > 1 for tops in shown["tops"])

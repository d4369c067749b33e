"""How the tests look at a page: its elements, and what a real browser makes of it."""

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser

import pytest

from stratamil.report import style

WATCH = "<head><script>onerror = (error) => (window.failures ??= []).push(String(error))</script>"
# Sorts every table by every column, and tells the values and CSV of the one named COLUMN once it is sorted.
PROBE = """<script>
const found = {width: document.documentElement.scrollWidth, screen: innerWidth, buttons: 0};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, i) => {
    head.querySelector("button").click();
    found.buttons += 1;
    if (head.textContent !== COLUMN) return;
    found.sorted ??= [...table.tBodies[0].rows].map((row) => row.cells[i].textContent);
    found.csv ??= csv(table);
  });
}
found.cut = [...document.querySelectorAll(".table")].filter((box) => box.scrollWidth > box.clientWidth)
  .map((box) => box.closest("section").id);
found.errors = window.failures ?? [];
document.title = JSON.stringify(found);
</script></body>"""


# What is wider than the paper, and what of each header is not in a button, while printing and after it.
PRINTED = """<script>
const outside = () => [...document.querySelectorAll("thead tr:last-child th")].map((head) => [...head.childNodes]
  .filter((part) => part.tagName !== "BUTTON").map((part) => part.textContent).join(""));
const found = {before: outside()};
dispatchEvent(new Event("beforeprint"));
found.printed = outside();
found.cut = [...document.querySelectorAll(".table")].filter((box) => box.scrollWidth > box.clientWidth).length;
found.width = document.documentElement.scrollWidth;
found.screen = innerWidth;
dispatchEvent(new Event("afterprint"));
found.after = outside();
document.title = JSON.stringify(found);
</script></body>"""


class Elements(HTMLParser):
    """Tags with their attributes, in `found`, and how each but void ones is closed: `unclosed` is what is not."""

    VOID = ("meta", "img", "br")

    def __init__(self, page):
        super().__init__()
        self.found, self.unclosed = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if self.unclosed and self.unclosed[-1] == tag:
            self.unclosed.pop()


def outside(elements):
    """Elements that fetch something from elsewhere."""
    fetching = [entry for entry in elements if entry[0] in ("link", "img", "iframe", "object")]
    return [entry for entry in fetching if not entry[1].get("src", "").startswith("data:image/jpeg;base64,")]


def dom(address, folder, width=1280):
    """What headless Chromium shows of an address after its scripts; skips the test where it is not installed.

    folder: an empty one for its profile.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        pytest.skip("install chromium to run this")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={folder / 'profile'}"]
    command = [program, *flags, f"--window-size={width},900", "--virtual-time-budget=3000", "--dump-dom", address]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120).stdout


def browse(page, width, column, folder):
    """What headless Chromium makes of a page: errors, width, screen, buttons, sorted (texts of the column), csv.

    And cut: the sections of tables that are wider than their place.
    """
    file = folder / "page.html"
    probe = PROBE.replace("COLUMN", json.dumps(column))
    file.write_text(page.replace("<head>", WATCH, 1).replace("</body>", probe), encoding="utf-8")
    shown = dom(file.as_uri(), folder, width)
    return json.loads(unescape(re.search(r"<title>(.*?)</title>", shown, re.DOTALL)[1]))


def printed(page, folder, width=680):
    """What headless Chromium makes of a page whose screen is as wide as paper (A4 without margins) and styled so."""
    file = folder / "page.html"
    on_paper = page.replace("@media print {", "@media all {").replace("@media screen", "@media not all")
    file.write_text(on_paper.replace("</body>", PRINTED), encoding="utf-8")
    shown = dom(file.as_uri(), folder, width)
    return json.loads(unescape(re.search(r"<title>(.*?)</title>", shown, re.DOTALL)[1]))


def undrawn(monkeypatch):
    """Leave figures out of the pages that a test makes: drawing takes most of their time."""
    monkeypatch.setattr(
        style, "publish", lambda figure, path: '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>'
    )

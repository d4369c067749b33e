"""The documentation holds together: no warning, no dead link, nothing from the network, and a short README."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import doc_pages
import pages
import pytest
from repository import REPOSITORY

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


class Page(HTMLParser):
    """Ids of a page, what it links, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.add(attrs.get("id"))
        if tag == "a" and "href" in attrs:
            self.links.append(attrs["href"])
        elif tag in ("link", "script", "img", "iframe", "source"):
            self.loads += [attrs[name] for name in ("href", "src") if attrs.get(name)]


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).strip().lower()).replace(" ", "-")


def prose(path):
    """A page of Markdown without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", doc_pages.pages(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_links_between_files_lead_somewhere(path):
    for link in (first or second for first, second in LINK.findall(prose(path))):
        if re.match("https?:|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / unquote(name)).resolve() if name else path
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            if include := re.match(r"```{include} (\S+)", target.read_text(encoding="utf-8")):
                target = (target.parent / include[1]).resolve()
            assert anchor in map(slug, re.findall("^#+ (.*)$", prose(target), re.MULTILINE)), link


def test_the_readme_can_be_read_at_once():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") < 130 and text.count("export SNAKEMAKE_PROFILE=profiles/local") == 1
    assert text.count("<!-- site: ") == 2  # what the first page of the site takes from it


def test_the_page_of_commands_has_every_target_and_script():
    page = (doc_pages.DOCS / "reference/commands.md").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert [name for name in targets if f"`make {name}" not in page] == []
    scripts = {path.name for path in (REPOSITORY / "scripts").glob("*.py")} - {"cli.py"}
    assert [name for name in scripts if name not in page] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-b", "html"]
    command = [sys.executable, "-m", "sphinx", *options, doc_pages.DOCS, folder / "html"]
    done = subprocess.run([*command, "-d", folder / "trees"], capture_output=True, encoding="utf-8", cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.mark.slow
def test_the_site_has_no_dead_link_and_needs_no_network(site):
    files = (path for path in site.rglob("*.html") if "_static" not in path.parts)
    read = {path: Page(path.read_text(encoding="utf-8")) for path in files}
    assert len(read) > 20
    for path, page in read.items():
        assert [url for url in page.loads if re.match("(https?:)?//", url)] == [], path
        for link in page.links + page.loads:
            if re.match("https?:|mailto:|data:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / unquote(name.partition("?")[0])).resolve() if name else path
            assert target.exists(), f"{path.name}: {link}"
            assert not anchor or target not in read or unquote(anchor) in read[target].ids, f"{path.name}: {link}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.slow
def test_the_search_works_from_disk(site, tmp_path):
    shown = pages.dom(f"{(site / 'search.html').as_uri()}?q=attention", tmp_path)
    assert "background/attention.html" in re.findall(r'href="([^"#?]+)[^"]*" data-score', shown)

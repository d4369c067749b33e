"""The case browser as a page: safe, by keyboard alone, small, dark, on paper."""

import re

import pytest
from browser_data import HOSTILE, PAGE, Study

pytestmark = pytest.mark.slow
FORBIDDEN = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(|XMLHttp"
# Colours of each text that is seen and of what lies behind it, and what they give by the formula of WCAG.
CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const known = new Map();
  const parse = (text) => {
    if (known.has(text)) return known.get(text);
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    known.set(text, [...canvas.getImageData(0, 0, 1, 1).data]);
    return known.get(text);
  };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => [r, g, b].map((v) => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return parse(getComputedStyle(document.documentElement).colorScheme.includes('dark') ? '#000' : '#fff');
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || one.closest(':disabled') || !one.checkVisibility({ opacityProperty: true })) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push([text, one.className, (a + 0.05) / (b + 0.05)]);
  }
  return low;
}"""
NAMELESS = """() => [...document.querySelectorAll('button, input, select, textarea, a, [role=listbox], canvas')]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.getAttribute('aria-label') || one.labels?.length || one.textContent.trim()))
  .map((one) => one.outerHTML)"""
WIDE = """() => [document.documentElement.scrollWidth, ...[...document.querySelectorAll('.panes, .pane, .rows, dialog')]
  .filter((one) => one.checkVisibility()).map((one) => innerWidth - (one.clientWidth - one.scrollWidth))]"""


def test_names_are_text_and_nothing_leaves_the_page(visit, study):
    seen = visit()
    seen.page.locator(".rows a", has_text="onerror").click()
    seen.page.locator(".pane .grid .cell").first.click()
    seen.page.get_by_role("dialog").wait_for()
    assert HOSTILE.replace("\u2028", " ") in seen.page.locator(".pane h1").first.inner_text().replace("\u2028", " ")
    assert seen.page.locator("img[src=x]").count() == 0
    assert all(
        address.startswith(study.root.parent.as_uri()) for address in seen.asked if not address.startswith("blob:")
    )
    tried = """() => {
      const script = document.createElement('script');
      let markup = 'taken';
      try { document.body.innerHTML = '<b></b>'; } catch { markup = 'refused'; }
      const image = new Image();
      try { script.textContent = 'window.ran = 1'; document.body.append(script); } catch {}
      try { image.setAttribute('onerror', 'window.ran = 1'); } catch {}
      image.src = 'data:,';
      return new Promise((resolve) => setTimeout(() => resolve([markup, window.ran ?? 'nothing ran']), 200));
    }"""
    assert seen.page.evaluate(tried) == ["refused", "nothing ran"]
    seen.wrong.clear()  # the browser told of what it refused


def test_the_policy_is_strict_and_files_are_small():
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', (PAGE / "index.html").read_text())[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    for file in PAGE.iterdir():
        text = file.read_text()
        assert len(text.splitlines()) <= 400, file.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(|XMLHttp", text), (
            file.name
        )


def test_the_keyboard_alone_is_enough(visit):
    seen = visit(height=900)
    press = seen.page.keyboard.press
    press("/")
    seen.page.keyboard.type("P-5")
    press("Enter")
    seen.cell(0).wait_for()
    assert "case=5" in seen.page.url
    press("/")
    press("Escape")
    assert "find" not in seen.page.url
    seen.page.locator("#skip").focus()
    press("Enter")
    assert "case=5" in seen.page.evaluate("location.hash")
    assert seen.page.evaluate("document.activeElement.id") == "main"
    press("3")
    assert "Point at a patch, or move to one with the arrow keys, and press 3." in seen.text("#told")
    press("Tab")
    assert seen.page.evaluate("document.activeElement.id") == "tool-sort"
    press("/")
    assert seen.page.evaluate("document.activeElement.id") == "find"
    stops = []
    while not stops or stops[-1] != "tool-sort":
        press("Tab")
        stops.append(seen.page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert len(stops) < 10, stops
    assert stops.count("case") == 1  # of all rows of the list
    seen.page.locator(".rows a[aria-current]").focus()
    press("ArrowDown")
    press("Enter")
    seen.page.wait_for_url("**case=101")
    press("k")
    seen.page.wait_for_url("**case=5")
    press("PageDown")
    assert seen.page.locator(".panes").evaluate("panes => panes.scrollTop") > 0
    press("Home")
    assert seen.page.locator(".panes").evaluate("panes => panes.scrollTop") == 0
    press("ArrowRight")
    assert "rank 1 of 45" in seen.text("#tip")  # what a pointer would see
    press("ArrowRight")
    assert "rank 2 of 45" in seen.text("#tip")
    press("Home")
    press("ArrowRight")
    press("ArrowDown")
    press("Shift+ArrowRight")
    assert "2 patches selected" in seen.text(".marking")
    press("1")
    seen.name_reader()
    assert seen.page.locator(".pane .badge", has_text="✓").count() == 2
    press("Escape")
    press("Enter")
    seen.page.get_by_role("dialog").wait_for()
    press("ArrowLeft")
    press("2")
    press("Escape")
    assert seen.page.locator(".pane .badge", has_text="✕").count() == 1
    seen.page.get_by_role("dialog").wait_for(state="detached")
    press("k")
    seen.page.wait_for_url("**case=26**")
    press("?")
    help_ = seen.page.get_by_role("dialog").get_by_role("table")
    assert help_.nth(0).get_by_role("row", name="training one of the models").is_visible()
    assert help_.nth(1).get_by_role("row", name="compare with another case").is_visible()


def test_the_first_page_is_one_stop_away_where_it_lies_beside_the_folder(visit, tmp_path):
    own = Study(tmp_path)
    address = (own.root / "index.html").as_uri()
    alone = visit(address=address)
    alone.page.locator(".rows a").first.wait_for()
    assert alone.page.get_by_role("link", name="All pages").count() == 0
    (tmp_path / "index.html").write_text("<!DOCTYPE html><title>First page</title>")
    for hash_, width in (("", 1400), ("#case=5", 500)):
        seen = visit(address=address + hash_, width=width)
        link = seen.page.get_by_role("link", name="All pages")
        link.wait_for()
        assert max(seen.page.evaluate(WIDE)) <= width and seen.page.evaluate(CONTRAST) == []
    stops = []
    for _ in range(3):  # the skip link, this one, the title
        seen.page.keyboard.press("Tab")
        stops.append(seen.page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert stops == ["skip", "home", "name"]
    seen.page.get_by_role("button", name="Blinded").click()
    assert link.count() == 0  # the other pages tell what a blinded reader must not see
    seen.page.get_by_role("button", name="Blinded").click()
    link.click()
    assert seen.page.title() == "First page"


@pytest.mark.parametrize(("scheme", "width"), (("light", 1400), ("dark", 500)))
def test_all_is_read_and_named_at_any_width(visit, scheme, width):
    for hash_ in ("", "#case=26%4001&group=slice", "#case=5&map=1&beside=7", "#case=5&blind=1", "#case=5&page=1"):
        seen = visit(hash_, width, color_scheme=scheme)
        if "case" in hash_ and "page" not in hash_:
            seen.page.locator(".pane:not([hidden]) .grid .cell:visible").first.wait_for()
        assert max(seen.page.evaluate(WIDE)) <= width, hash_
        assert seen.page.evaluate(CONTRAST) == [], hash_
        assert seen.page.evaluate(NAMELESS) == []
        if hash_.startswith("#case=26"):
            seen.page.get_by_role("button", name="Only slice").first.click()  # the pointer stays on it
            assert seen.page.evaluate(CONTRAST) == []
            seen.cell(seen.cells()[0]).click()
            seen.page.get_by_role("dialog").wait_for()
            assert max(seen.page.evaluate(WIDE)) <= width
            assert seen.page.evaluate(CONTRAST) == []
            assert seen.page.evaluate(NAMELESS) == []


def test_on_500_pixels_a_case_leads_back_to_the_list(visit):
    seen = visit("", 500)
    seen.page.locator(".rows a").first.click()
    assert not seen.page.locator(".rows").is_visible()
    seen.page.get_by_role("button", name="Next case").click()
    seen.page.get_by_role("heading", name="Case 26").wait_for()
    seen.page.get_by_role("button", name="Previous case").click()
    seen.page.get_by_role("heading", name="Case 7").wait_for()
    seen.page.get_by_role("link", name="← Cases").click()
    assert seen.page.locator(".rows").is_visible()


def test_a_tap_tells_and_a_second_opens(visit):
    seen = visit("#case=5", 500, has_touch=True)
    cell = seen.cell(seen.cells()[0])
    cell.tap()
    assert "rank 1 of 45" in seen.text("#tip")
    cell.tap()
    assert seen.page.get_by_role("dialog").is_visible()
    seen.page.get_by_role("dialog").get_by_role("button", name="Close").tap()
    seen.page.get_by_role("button", name="Select").tap()
    for i in seen.cells()[1:3]:
        seen.cell(i).tap()
    assert "2 patches selected" in seen.text(".marking")


def test_a_case_prints_on_one_page(visit):
    seen = visit("#case=26%4001")
    seen.cell(0).wait_for()
    seen.page.get_by_role("button", name="I do not").click()
    seen.name_reader()
    seen.page.get_by_role("link", name="Page to print").click()
    sheet = seen.page.locator(".sheet")
    text = " ".join(sheet.inner_text().split())
    for words in (
        "The model says benign with probability 0.70 (SD",
        "the true class is high <b>grade</b>: wrong.",
        "Anna does not agree",
    ):
        assert words in text
    assert sheet.locator("figure").count() == 10
    assert sheet.locator(".slice").count() == 3
    assert "Limits: Attention says" in text
    assert len(re.findall(rb"/Type\s*/Page\b", seen.page.pdf(format="A4", prefer_css_page_size=True))) == 1
    seen.page.get_by_role("link", name="Back to the case").click()
    assert seen.page.locator(".grid").first.is_visible()


def ringed(seen):
    """The patch with the ring: its number and the name that the box has, which is hidden where there is no box."""
    active = seen.page.locator(".grid:focus-visible:not(.pointing) .cell.active")
    ring = active.evaluate("cell => getComputedStyle(cell, '::after').borderTopWidth")
    assert ring == "2px"
    box = seen.page.locator("#tip strong")
    return int(active.get_attribute("data-i")), box.inner_text() if box.is_visible() else None


def test_ring_box_and_keys_are_one_patch(visit, study):
    seen = visit("#case=5&sort=number", height=900)
    name = [path.split("/")[1] for path in study.patches["5"]["patches"]["path"]]
    press = seen.page.keyboard.press
    seen.cell(9).hover()  # the pointer stays there
    press("ArrowRight")
    press("ArrowRight")
    assert ringed(seen) == (1, name[1])
    press("Enter")
    press("ArrowRight")
    press("Escape")
    seen.page.wait_for_timeout(400)
    assert ringed(seen) == (2, name[2])
    press("n")
    seen.page.get_by_label("Note on").fill("a nest")
    seen.page.get_by_label("Your name or initials").fill("Anna")
    press("Enter")
    seen.page.locator("#tip", has_text="a nest").wait_for()
    seen.page.wait_for_timeout(400)
    assert ringed(seen) == (2, name[2])
    press("1")
    assert seen.cell(2).locator(".badge").inner_text() == "✓✎"
    assert "signal" in seen.text("#tip")


def test_the_ring_hides_no_selection_and_the_bar_no_patch(visit):
    seen = visit("#case=5&sort=number", height=900)
    press = seen.page.keyboard.press
    press("ArrowRight")
    before = seen.page.locator(".panes").bounding_box()
    for _ in range(2):
        press("Shift+ArrowRight")
    panes, bar = seen.page.locator(".panes").bounding_box(), seen.page.locator(".marking").bounding_box()
    assert panes["y"] + panes["height"] <= bar["y"]  # it covers no patch
    assert panes["y"] == before["y"]
    outline = "cell => getComputedStyle(cell.firstChild).outlineColor"
    assert seen.cell(2).evaluate(outline) == seen.cell(0).evaluate(outline)  # selected, ring or not
    assert ringed(seen)[0] == 2
    press("End")
    press("Shift+ArrowLeft")
    cell, bar = seen.cell(44).bounding_box(), seen.page.locator(".marking").bounding_box()
    assert cell["y"] + cell["height"] <= bar["y"]


def test_escape_goes_back_step_by_step(visit):
    seen = visit("#case=5&beside=7", height=900)
    seen.cell(0).wait_for()
    press = seen.page.keyboard.press
    seen.page.locator("#main").focus()
    press("ArrowRight")
    press("Shift+ArrowRight")
    assert seen.page.locator("#tip").is_visible()
    press("Escape")
    assert not seen.page.locator("#tip").is_visible()
    assert not seen.page.locator(".marking").is_visible()
    assert seen.page.evaluate("document.activeElement.role") == "listbox"
    press("Escape")
    assert "beside" not in seen.page.url
    press("ArrowRight")
    press("Escape")
    press("Escape")
    assert seen.page.evaluate("document.activeElement.id") == "tool-sort"


def test_selecting_says_what_to_do_and_ends(visit):
    seen = visit("#case=5")
    select = seen.page.get_by_role("button", name="Select")
    for end in (lambda: seen.page.keyboard.press("Escape"), lambda: seen.page.keyboard.press("j")):
        select.click()
        assert "Click patches to select them" in seen.text("#told")
        end()
        assert select.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("button", ("Blinded", "Next case (j)", "Marks"))
def test_a_button_that_was_pressed_keeps_the_focus(visit, button):
    seen = visit("#case=5")
    one = seen.page.get_by_role("button", name=button, exact=True)
    for _ in range(1 + (button == "Blinded")):
        one.focus()
        seen.page.keyboard.press("Enter")
        if button == "Marks":
            seen.page.get_by_role("button", name="Say who you are").click()
            seen.name_reader()
            seen.page.keyboard.press("Escape")
            seen.page.locator("dialog").first.wait_for(state="detached")
        assert seen.page.evaluate("document.activeElement.textContent")[:5] == {"Next case (j)": "›"}.get(
            button, button[:5]
        )


def test_keys_stand_beside_words(visit):
    seen = visit()
    seen.page.keyboard.press("?")
    words, keys = (seen.page.locator(f"table.{kind}").bounding_box() for kind in ("terms", "keys"))
    assert words["y"] == keys["y"]
    assert words["x"] + words["width"] < keys["x"]

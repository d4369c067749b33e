"""What one sees in the case browser, in a real browser: cases, a case, its patches, one patch, its place."""

import io
import re
from urllib.parse import quote

import browser_data
import numpy as np
import pytest
from browser_data import CLASSES, HOSTILE, STAINS
from PIL import Image

pytestmark = pytest.mark.slow


def case(study, key):
    return next(one for one in study.cases if one["key"] == key)


def keys(seen):
    return seen.page.locator(".rows a").evaluate_all("rows => rows.map((row) => row.dataset.key)")


def test_the_most_misleading_case_comes_first_and_the_list_narrows(visit):
    seen = visit()
    assert keys(seen) == ["7", "26@01", HOSTILE, "26@02", "5", "101"]  # by the true class's probability; unknown last
    kinds = seen.page.locator(".kinds button")
    kinds.get_by_text("Wrong").click()
    assert keys(seen) == ["7", "26@01", HOSTILE]
    kinds.get_by_text("Right").click()
    assert keys(seen) == ["26@02", "5"]
    kinds.get_by_text("All").click()
    seen.page.get_by_text("Filter", exact=True).click()
    for lacks in ("melan missing", "a stain missing"):
        seen.page.get_by_label("Stains").select_option(lacks)
        assert keys(seen) == ["7"]
    assert kinds.all_inner_texts() == ["All 1", "Wrong 1", "Right 0"]
    seen.page.get_by_label("Stains").select_option("all cases")
    seen.page.get_by_label("True class").select_option(CLASSES[0])
    seen.page.get_by_label("Split").select_option("01")
    assert keys(seen) == ["5"]
    seen.page.get_by_label("True class").select_option("all")
    seen.page.get_by_label("Split").select_option("all")
    seen.page.get_by_label("Order").select_option("By name")
    assert keys(seen)[1:] == ["5", "7", "26@01", "26@02", "101"]  # 26 after 7
    seen.page.get_by_label("Search cases").fill("p-10")
    assert keys(seen) == ["101"]
    assert "find=p-10" in seen.page.url


def test_a_search_opens_its_first_case_and_leaves_nothing_behind(visit):
    seen = visit("#lacks=melan")
    find = seen.page.get_by_label("Search cases")
    find.fill("26")
    assert "2 cases found, hidden by the filter. Remove the filter" in seen.text(".list .none")
    seen.page.keyboard.press("Escape")
    assert (find.input_value(), keys(seen)) == ("", ["7"])
    find.fill("26")
    seen.page.keyboard.press("Enter")
    assert "2 cases found, hidden by the filter." in seen.text("#told")
    seen.page.get_by_role("link", name="Remove the filter").click()
    assert keys(seen) == ["26@01", "26@02"]
    find.fill("nobody")
    seen.page.get_by_role("link", name="Show all cases").click()
    assert len(keys(seen)) == 6
    find.fill("p-10")
    seen.page.keyboard.press("Enter")
    seen.page.get_by_role("heading", name="Case 101").wait_for()
    assert (find.input_value(), len(keys(seen))) == ("", 6)
    seen.page.keyboard.press("k")  # through the whole list
    seen.page.get_by_role("heading", name="Case 5").wait_for()


def test_a_case_shows_what_the_model_said_and_where_it_looked(visit, study):
    seen = visit("#case=5")
    told = study.patches["5"]
    seen.cell(0).wait_for()
    assert re.search(r"The model says benign 0.90 \(SD 0.0\d over 3 trainings\)", seen.text(".line"))
    assert "True class benign right" in seen.text(".line")
    assert seen.page.get_by_role("button", name="I agree: benign").is_visible()
    each = ", ".join(f"{member[0]:.2f}" for member in case(study, "5")["members"])
    assert seen.page.get_by_role("img", name=f"benign: 0.90; by training {each}").is_visible()
    stain = told["stains"][0]["weight"]
    share = stain * told["slices"][1]["weight"]
    assert f"h&e {stain:.1%}" in seen.text(".attention")
    part = 16 / 45  # of the patches: what a ratio compares with, of a slice as of a patch
    assert f"A2 {share:.1%} {share / part:.1f}×" in seen.text(".attention")
    most = f"{share:.1%} of the attention on {part:.1%} of the patches, {share / part:.1f} times its share."
    assert f"h&e A2 has the most: {most}" in seen.text(".attention")
    row = seen.page.get_by_role("button", name="Only slice h&e A2")
    track, fill, line = (row.locator(name).bounding_box() for name in (".track", ".fill", ".part"))
    assert fill["width"] / track["width"] == pytest.approx(share, abs=0.01)
    assert (line["x"] + 1 - track["x"]) / track["width"] == pytest.approx(part, abs=0.01)
    patches, bias, margin = sums(seen)
    assert patches + bias == pytest.approx(margin)
    assert margin == pytest.approx(told["margin"][0], abs=0.005)
    seen.page.get_by_role("button", name="Only stain melan").click()
    assert set(seen.cells()) == {36 + i for i in range(9)}
    seen.page.get_by_role("button", name="Only stain melan").click()
    seen.page.get_by_role("button", name="Only slice h&e A2").click()
    assert set(seen.cells()) == {20 + i for i in range(16)}
    assert "16 of 45 patches" in seen.text(".carried")
    lone = visit("#case=7")  # one slice: nothing to compare
    lone.cell(0).wait_for()
    assert "×" not in lone.text(".attention")


def sums(seen):
    said = re.search(
        r"mean log odds of benign (\S+): patches (\S+), bias (\S+)", seen.text(".carried").replace("−", "-")
    )
    margin, patches, bias = map(float, said.groups())
    return patches, bias, margin


@pytest.mark.parametrize("sort", ("attention", "for", "against", "disagreement", "number"))
def test_patches_are_in_the_order_asked_for(visit, study, sort):
    patches = study.patches["5"]["patches"]
    by = {"attention": patches["weight"], "for": patches["contribution"][0], "disagreement": patches["sd"]}
    by |= {"against": -np.array(patches["contribution"][0]), "number": -np.arange(45)}
    seen = visit("#case=5")
    seen.page.get_by_label("Sort by").select_option(sort)
    order = np.argsort(-np.array(by[sort]), kind="stable").tolist()
    assert seen.cells() == order
    i = order[3]
    contribution = f"{patches['contribution'][0][i]:+#.3g}"
    told = {"attention": f"{patches['weight'][i]:.1%}", "for": contribution, "against": contribution}
    told |= {"disagreement": f"SD {patches['sd'][i]:.1%}", "number": str(patches["number"][i])}
    assert seen.cell(i).locator(".value").inner_text().replace("−", "-") == told[sort]
    said = {
        "disagreement": "SD of the attention over 3 trainings",
        "against": "contribution to the mean log odds of benign",
    }
    assert f"number: {said.get(sort, '')}" in seen.text(".legend")


def test_contributions_to_another_class_are_shown_when_asked_for(visit, study):
    seen = visit("#case=5&sort=for")
    seen.page.get_by_role("combobox", name="Class", exact=True).select_option(CLASSES[1])
    assert seen.cells() == np.argsort(-np.array(study.patches["5"]["patches"]["contribution"][1])).tolist()
    assert f"contribution for {CLASSES[1]}" in seen.text(".legend")


def test_groups_are_stains_and_slices(visit, study):
    seen = visit("#case=5")
    seen.page.get_by_role("button", name="By slice").click()
    heads = seen.page.locator(".group").all_inner_texts()
    assert [re.sub(r"\s+", " ", head).split(" patch")[0] for head in heads] == ["h&e A1 20", "h&e A2 16", "melan B1 9"]
    weight = np.array(study.patches["5"]["patches"]["weight"])
    assert seen.cells()[:20] == np.argsort(-weight[:20]).tolist()
    seen.page.get_by_label("Top").fill("4")
    top = [i for i in np.argsort(-weight)[:5] if i < 20]
    said = f"{len(top)} of 20 patches · {weight[top].sum():.1%} of the attention; the slice has {weight[:20].sum():.1%}"
    assert said in seen.text(".group")


def test_of_more_classes_a_contribution_is_to_the_logit_less_the_others(visit):
    seen = visit("#case=5")
    seen.cell(0).wait_for()
    said = "() => [stratamil.margin('benign'), stratamil.toldClasses(stratamil.panes.case.grid.data, stratamil.state)]"
    assert seen.page.evaluate(said) == ["mean log odds of benign", [0]]
    seen.page.evaluate("stratamil.study.classes.push('third')")
    assert seen.page.evaluate(said) == ["mean logit of benign less the mean of the others", [0, 1, 2]]


def test_no_patch_counts_against_is_said_of_those_shown(visit, study):
    i = int(np.argmax(study.patches["5"]["patches"]["weight"]))
    name = CLASSES[int(study.patches["5"]["patches"]["contribution"][0][i] < 0)]
    seen = visit(f"#case=5&sort=against&top=1&of={quote(name)}")
    assert f"no patch of those shown counts against {name}" in seen.text(".carried")


@pytest.mark.parametrize("sort", ("attention", "against"))
def test_the_top_patches_are_those_with_the_most_attention(visit, study, sort):
    seen = visit(f"#case=5&sort={sort}")
    seen.page.get_by_label("Top").fill("4")  # its fifth stop is 10%
    top = np.argsort(-np.array(study.patches["5"]["patches"]["weight"]))[:5]
    assert sorted(seen.cells()) == sorted(top.tolist())
    attention = np.array(study.patches["5"]["patches"]["weight"])[top].sum()
    contribution = np.array(study.patches["5"]["patches"]["contribution"][0])[top].sum()
    said = seen.text(".carried").replace("−", "-")
    assert f"5 of 45 patches: the top 10% by attention {attention:.1%} of the attention" in said
    assert f"{contribution:+#.3g} to the mean log odds of benign; all patches add" in said
    assert "top=10" in seen.page.url
    seen.page.keyboard.press("j")
    seen.page.get_by_role("heading", name="Case 101").wait_for()
    assert "1 of 108 patches: the top 10% of 8 by attention" in seen.text(".carried")
    seen.page.get_by_role("link", name="Show all").click()
    assert len(seen.cells()) == 8


def test_hover_tells_of_a_patch(visit, study):
    seen = visit("#case=5", height=900)
    patches = study.patches["5"]["patches"]
    i = int(np.argmax(patches["weight"]))
    seen.cell(i).hover()
    said = seen.text("#tip").replace("−", "-")
    weight = patches["weight"][i]
    assert patches["path"][i].split("/")[1] in said
    assert f"{weight:.1%} of the case (SD {patches['sd'][i]:.1%} over 3 trainings)" in said
    assert f"{weight * 45:.1f}× the equal share of 2.2%, rank 1 of 45" in said
    assert f"Contribution {patches['contribution'][0][i]:+#.3g} to the mean log odds of benign (predicted)" in said
    share = np.array(patches["weight"])[np.array(patches["slice"]) == patches["slice"][i]].sum()
    assert f"which has {share:.1%} of the attention" in said
    tip, cell = (seen.page.locator("#tip").bounding_box(), seen.cell(i).bounding_box())
    assert tip["y"] >= cell["y"] + cell["height"]  # the next patches of the row stay in sight
    seen.page.mouse.wheel(0, 30)
    seen.page.locator("#tip").wait_for(state="hidden")


def test_a_click_opens_a_patch_with_its_file_and_neighbours(visit, study):
    path = study.patches["5"]["patches"]["path"]
    order = np.argsort(-np.array(study.patches["5"]["patches"]["weight"])).tolist()
    file = browser_data.image(study, path[order[1]])
    seen = visit("#case=5", permissions=["clipboard-read", "clipboard-write"])
    seen.cell(order[0]).click()
    window = seen.page.get_by_role("dialog")
    window.get_by_text("1 of 45", exact=True).wait_for()
    assert window.locator("img").count() == 0  # gone: the thumbnail stays
    seen.page.keyboard.press("ArrowRight")
    window.get_by_text("2 of 45", exact=True).wait_for()
    assert window.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 40
    window.get_by_text("40 × 40 pixels, enlarged 14").wait_for()
    window.get_by_role("button", name="Copy").click()
    assert seen.page.evaluate("navigator.clipboard.readText()") == str(file)
    assert quote(path[order[1]], safe="/") in seen.page.url.replace("%2F", "/").replace("+", "%20")
    same = study.patches["5"]["patches"]["slice"]
    names = window.locator(".strip button").evaluate_all("all => all.map((one) => one.title)")
    assert len(names) == 8
    assert {name.split("_")[0] for name in names} == {str(same[order[1]])}
    seen.page.keyboard.press("Escape")
    window.wait_for(state="detached")
    seen.page.wait_for_url(lambda url: "patch=" not in url)
    assert seen.page.evaluate("document.activeElement.getAttribute('aria-activedescendant')").endswith(f"-{order[1]}")


def test_the_map_shows_places_and_opens_patches(visit):
    seen = visit("#case=5&map=1&slice=0")
    canvas = seen.page.locator("canvas:visible")
    canvas.focus()
    seen.page.wait_for_timeout(150)

    def at(column, row):
        """Where a patch lies: the slice has 7 x 3, as wide as the map."""
        frame = canvas.bounding_box()
        side = (frame["width"] - 16) / 7
        return frame["x"] + 8 + (column + 0.5) * side, frame["y"] + frame["height"] / 2 + (row - 1) * side

    seen.page.mouse.move(*at(2, 1))
    assert "0_9 100%#.png" in seen.text("#tip")
    whole = canvas.screenshot()
    seen.page.keyboard.press("+")
    seen.page.mouse.wheel(0, -300)
    seen.page.wait_for_timeout(100)
    assert canvas.screenshot() != whole
    seen.page.keyboard.press("Home")
    seen.page.mouse.move(*at(6, 0))
    assert "0_6 100%#.png" in seen.text("#tip")
    seen.page.mouse.click(*at(6, 0))
    assert seen.page.get_by_role("dialog").get_by_role("heading", name="0_6 100%#.png").is_visible()
    seen.page.keyboard.press("Escape")
    seen.page.get_by_label("Slice on the map").first.select_option("1")
    assert set(seen.cells()) == {20 + i for i in range(16)}


def test_an_address_that_asks_for_what_is_not_there_is_forgiven(visit, study):
    seen = visit("#case=5&sort=contribution&slice=99&top=many&beside=nobody&patch=none.png")
    assert "No patch is like this." in seen.text(".pane .none")
    seen.page.get_by_role("link", name="Show all").click()
    by = np.array(study.patches["5"]["patches"]["contribution"][0])
    assert seen.cells() == np.argsort(-by).tolist()


def test_two_cases_stand_side_by_side(visit):
    seen = visit("#case=5", height=900)
    seen.page.get_by_role("button", name="Compare").click()
    assert "Compare with which case?" in seen.text(".choosing")
    seen.page.locator(".rows li", has_text="split 01").click()
    heads = seen.page.locator(".pane:not([hidden]) h1")
    heads.nth(1).wait_for()
    assert [text.split()[1] for text in heads.all_inner_texts()] == ["5", "26"]
    grids = seen.page.locator(".pane:not([hidden]) .grid")
    grids.nth(1).locator(".cell").first.wait_for()
    frames = grids.locator(".cell:visible").evaluate_all(
        "cells => cells.map((one) => [one.closest('.pane').ariaLabel, +one.style.getPropertyValue('--w')])"
    )
    largest = [max(w for pane, w in frames if pane == of) for of in ("Case", "Case beside")]
    assert max(largest) == 1 > min(largest)  # one scale for both
    assert grids.nth(0).bounding_box()["y"] == pytest.approx(grids.nth(1).bounding_box()["y"], abs=0.1)
    assert seen.page.locator(".legend").evaluate_all("all => all.map((one) => getComputedStyle(one).visibility)") == [
        "visible",
        "hidden",
    ]
    seen.page.keyboard.press("End")
    close = seen.page.get_by_role("button", name="Close")
    assert close.bounding_box()["y"] < 200  # in sight, both panes having scrolled
    assert grids.nth(0).bounding_box()["y"] == pytest.approx(grids.nth(1).bounding_box()["y"], abs=0.1)
    assert grids.nth(0).bounding_box()["y"] < 200
    seen.page.keyboard.press("Escape")
    assert heads.count() == 1
    seen.page.keyboard.press("c")
    seen.page.keyboard.press("ArrowUp")
    seen.page.keyboard.press("Enter")
    heads.nth(1).wait_for()
    assert seen.page.evaluate("document.activeElement.textContent") == "Close"
    seen.page.keyboard.press("k")  # another case is read alone
    seen.page.wait_for_url(lambda url: "beside" not in url)
    assert heads.count() == 1
    seen.page.keyboard.press("c")
    seen.page.locator(".rows li", has_text="onerror").click()  # a name of several lines
    grids.nth(1).locator(".cell").first.wait_for()
    assert grids.nth(0).bounding_box()["y"] == pytest.approx(grids.nth(1).bounding_box()["y"], abs=0.1)


def test_two_cases_stand_side_by_side_on_a_tablet_and_below_each_other_on_a_phone(visit):
    seen = visit("#case=5", 800)
    seen.page.get_by_role("button", name="Compare").click()
    seen.page.locator(".rows li", has_text="split 01").click()
    panes = seen.page.locator(".pane:not([hidden])")
    panes.nth(1).wait_for()
    first, second = panes.nth(0).bounding_box(), panes.nth(1).bounding_box()
    assert second["x"] >= first["x"] + first["width"] - 1
    seen.page.set_viewport_size({"width": 500, "height": 900})
    first, second = panes.nth(0).bounding_box(), panes.nth(1).bounding_box()
    assert second["y"] >= first["y"] + first["height"] - 1


def test_an_address_brings_the_same_back_and_back_goes_back(visit):
    seen = visit("#case=26%4001&sort=against&top=50&stain=melan&group=slice")
    shown = seen.cells()
    assert len(shown) == 5
    seen.page.reload()
    assert seen.cells() == shown
    seen.page.locator(".rows a").nth(0).click()
    assert "Case 7" in seen.text("h1")
    assert "sort=against" in seen.page.url
    assert "stain" not in seen.page.url
    seen.page.go_back()
    seen.page.get_by_role("heading", name="Case 26").wait_for()
    assert seen.cells() == shown


def test_what_is_missing_is_named(visit, study):
    seen = visit("#case=26%4001")
    seen.cell(2).hover()
    assert "The image file is gone; this is its thumbnail." in seen.text("#tip")
    assert seen.cell(3).locator(".thumb").inner_text() == "no image"
    seen = visit("#case=101")  # features without images, and only the patches with the most attention
    seen.cell(0).wait_for()
    shown = [seen.cell(i).locator(".thumb").inner_text().split("\n") for i in range(8)]
    assert shown == [[STAINS[1], "B1", f"#{i}"] for i in range(8)]  # the number alone is that of a patch of each slice
    assert "8 of 108 patches" in seen.text(".carried")
    assert "100 patches are not in this browser, with 20.0% of the attention" in seen.text(".carried")
    seen = visit("#case=7")
    assert f"no melan, {STAINS[2]}" in seen.text(".rows li")
    assert "Few patches: 3." in seen.text(".pane .flags")


def test_a_file_that_is_missing_is_named(visit, tmp_path):
    made = browser_data.Study(tmp_path, browser_data.CASES[:1])
    (made.root / "data/case_0~x&.js").unlink()
    seen = visit(address=made.address("#case=5"))
    assert "data/case_0~x%26.js is missing. Copy the whole folder" in seen.text(".carried")
    (made.root / "data/cases.js").unlink()
    assert "data/cases.js is missing" in visit(address=made.address()).text("main")


LIGHT, DARK = 240, 200
MANY = {(stain, f"slice {i} of a long name"): 2 for stain in (0, 1, 2) for i in range(24)}


@pytest.fixture(scope="module")
def of_many_slices(tmp_path_factory):
    few = {key: n for key, n in MANY.items() if int(key[1].split()[1]) < 4}
    made = [("few", few), ("many", MANY)]
    cases = [(name, "01", 0, (0.9, 0.1), slices, {"bare": True}) for name, slices in made]
    return browser_data.Study(tmp_path_factory.mktemp("slices"), cases, images=False)


def test_slices_that_do_not_fit_show_that_they_go_on(visit, of_many_slices):
    """Scroll bars can be hidden: the lower edge is dark until the last slice is in sight."""

    def edge():
        """Median grey of the lowest pixels of the box."""
        with Image.open(io.BytesIO(box.screenshot())) as shot:
            return np.median(np.asarray(shot.convert("L"))[-6:-2])

    def hidden():
        return box.evaluate("box => box.scrollHeight - box.clientHeight - box.scrollTop")

    for width in (1300, 1000):
        seen = visit(address=of_many_slices.address("#case=few"), width=width)
        box = seen.page.locator(".attention .slices")
        box.wait_for()
        assert hidden() <= 1 and edge() > LIGHT
    seen = visit(address=of_many_slices.address("#case=many"), width=1000)
    box = seen.page.locator(".attention .slices")
    box.wait_for()
    assert hidden() > 100 and edge() < DARK
    box.evaluate("box => box.scrollTo(0, box.scrollHeight)")
    seen.page.wait_for_timeout(100)
    assert hidden() <= 1 and edge() > LIGHT


BARE = tuple((*case[:5], {"bare": True, **case[5]}) for case in (browser_data.CASES[0], browser_data.CASES[2]))


@pytest.fixture(scope="module")
def without_images(tmp_path_factory):
    return browser_data.Study(tmp_path_factory.mktemp("bare"), BARE, images=False)


def test_without_images_a_case_begins_with_its_map_and_by_slice(visit, without_images):
    """Numbered tiles alone would show nothing; what is turned off stays off, and blinded readers see neither."""
    seen = visit(address=without_images.address("#case=5"))
    seen.page.locator("canvas:visible").wait_for()
    tools = {name: seen.page.get_by_role("button", name=name, exact=True) for name in ("Map", "By slice")}
    assert {tool.get_attribute("aria-pressed") for tool in tools.values()} == {"true"}
    assert seen.page.locator(".grid .group:visible").count() >= 2  # those in sight
    assert seen.page.url.endswith("#case=5")
    tools["Map"].click()
    seen.page.wait_for_url(lambda url: url.endswith("#case=5&map="))
    seen.page.reload()
    seen.cell(0).wait_for()
    assert seen.page.locator("canvas:visible").count() == 0
    unplaced = visit(address=without_images.address("#case=26"))  # has no places
    unplaced.page.locator(".grid .group:visible").first.wait_for()
    assert unplaced.page.locator("canvas:visible").count() == 0
    blind = visit(address=without_images.address("#case=5").replace("index.html", "index.html?blind=1"))
    blind.cell(0).wait_for()
    assert "map" not in blind.page.url and blind.page.locator("canvas:visible, .grid .group:visible").count() == 0
    blind.page.get_by_role("button", name="Blinded").click()
    blind.page.locator("canvas:visible").wait_for()


def test_with_images_a_case_begins_with_its_patches(visit):
    seen = visit("#case=5")
    seen.cell(0).wait_for()
    assert seen.page.locator("canvas:visible, .grid .group:visible").count() == 0

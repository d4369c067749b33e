"""What one sees in the case browser, in a real browser: cases, a case, its patches, one patch, its place."""

import re
from urllib.parse import quote

import browser_data
import numpy as np
import pytest
from browser_data import CLASSES, HOSTILE, STAINS

pytestmark = pytest.mark.slow


def case(study, key):
    return next(one for one in study.cases if one["key"] == key)


def keys(seen):
    return seen.page.locator(".rows a").evaluate_all("rows => rows.map((row) => row.dataset.key)")


def test_the_most_misleading_case_comes_first_and_the_list_narrows(visit):
    seen = visit()
    assert keys(seen) == ["7", "26@01", HOSTILE, "26@02", "5", "101"]  # by the true class's probability; unknown last
    seen.page.get_by_role("button", name="Wrong").click()
    assert keys(seen) == ["7", "26@01", HOSTILE]
    seen.page.get_by_role("button", name="All").click()
    seen.page.get_by_text("Filter and sort").click()
    seen.page.get_by_label("Without stain").select_option("melan")
    assert keys(seen) == ["7"]
    seen.page.get_by_label("Without stain").select_option("any")
    seen.page.get_by_label("True class").select_option(CLASSES[0])
    seen.page.get_by_label("Split").select_option("01")
    assert keys(seen) == ["5"]
    seen.page.get_by_label("True class").select_option("any")
    seen.page.get_by_label("Split").select_option("any")
    seen.page.get_by_label("Order").select_option("By name")
    assert keys(seen)[1:] == ["5", "7", "26@01", "26@02", "101"]  # 26 after 7
    seen.page.get_by_label("Search cases").fill("p-10")
    assert keys(seen) == ["101"]
    assert "find=p-10" in seen.page.url


def test_a_case_shows_what_the_model_said_and_where_it_looked(visit, study):
    seen = visit("#case=5")
    told = study.patches["5"]
    seen.cell(0).wait_for()
    assert "The model says benign 0.90 (SD" in seen.text(".line")
    assert "True class benign right" in seen.text(".line")
    by_seed = ", ".join(f"{member[0]:.2f}" for member in case(study, "5")["members"])
    assert seen.page.get_by_role("img", name=f"benign: 0.90; by seed {by_seed}").is_visible()
    stain = told["stains"][0]["weight"]
    share = stain * told["slices"][1]["weight"]
    assert f"h&e {stain:.1%}" in seen.text(".attention")
    assert f"A2 {share:.1%} {share / (stain / 2):.1f}×" in seen.text(".attention")
    assert f"The largest share, {share:.1%}, is on h&e A2." in seen.text(".attention")
    seen.page.get_by_role("button", name="Only stain melan").click()
    assert set(seen.cells()) == {36 + i for i in range(9)}
    seen.page.get_by_role("button", name="Only stain melan").click()
    seen.page.get_by_role("button", name="Only slice h&e A2").click()
    assert set(seen.cells()) == {20 + i for i in range(16)}
    assert "16 of 45 patches" in seen.text(".carried")


@pytest.mark.parametrize("sort", ("attention", "for", "against", "disagreement", "number"))
def test_patches_are_in_the_order_asked_for(visit, study, sort):
    patches = study.patches["5"]["patches"]
    by = {"attention": patches["weight"], "for": patches["contribution"][0], "disagreement": patches["sd"]}
    by |= {"against": -np.array(patches["contribution"][0]), "number": -np.arange(45)}
    seen = visit("#case=5")
    seen.page.get_by_label("Sort by").select_option(sort)
    assert seen.cells() == np.argsort(-np.array(by[sort]), kind="stable").tolist()


def test_contributions_to_another_class_are_shown_when_asked_for(visit, study):
    seen = visit("#case=5&sort=for")
    seen.page.get_by_label("Class whose contributions are shown").select_option(CLASSES[1])
    assert seen.cells() == np.argsort(-np.array(study.patches["5"]["patches"]["contribution"][1])).tolist()
    assert f"contribution to {CLASSES[1]}" in seen.text(".legend")


def test_groups_are_stains_and_slices(visit, study):
    seen = visit("#case=5")
    seen.page.get_by_role("button", name="By slice").click()
    heads = seen.page.locator(".group").all_inner_texts()
    assert [re.sub(r"\s+", " ", head).split(" patch")[0] for head in heads] == ["h&e A1 20", "h&e A2 16", "melan B1 9"]
    weight = np.array(study.patches["5"]["patches"]["weight"])
    assert seen.cells()[:20] == np.argsort(-weight[:20]).tolist()


def test_the_slider_says_what_the_top_patches_carry(visit, study):
    seen = visit("#case=5")
    seen.page.get_by_label("Top").fill("10")
    top = np.argsort(-np.array(study.patches["5"]["patches"]["weight"]))[:5]
    assert seen.cells() == top.tolist()
    attention = np.array(study.patches["5"]["patches"]["weight"])[top].sum()
    contribution = np.array(study.patches["5"]["patches"]["contribution"][0])[top].sum()
    said = seen.text(".carried").replace("−", "-")
    assert f"5 of 45 patches {attention:.1%} of the weight {contribution:+.4f} to the logit of benign" in said
    assert "top=10" in seen.page.url


def test_hover_tells_of_a_patch(visit, study):
    seen = visit("#case=5")
    patches = study.patches["5"]["patches"]
    i = int(np.argmax(patches["weight"]))
    seen.cell(i).hover()
    said = seen.text("#tip").replace("−", "-")
    weight = patches["weight"][i]
    assert patches["path"][i].split("/")[1] in said
    assert f"{weight:.1%} of the case (SD {patches['sd'][i]:.1%} over 3 seeds)" in said
    assert f"{weight * 45:.1f}× the equal share, rank 1 of 45" in said
    for c, name in enumerate(CLASSES):
        assert f"{name} {patches['contribution'][c][i]:+.2g}"[:-1] in said


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
    seen = visit("#case=5")
    seen.page.locator(".rows li", has_text="split 01").hover()
    seen.page.get_by_role("button", name="Show 26 beside the open case").first.click()
    heads = seen.page.locator(".pane:not([hidden]) h1")
    heads.nth(1).wait_for()
    assert [text.split()[1] for text in heads.all_inner_texts()] == ["5", "26"]
    assert seen.page.locator(".pane:not([hidden]) .grid").nth(1).locator(".cell").first.is_visible()
    seen.page.get_by_role("button", name="Close").click()
    assert heads.count() == 1


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
    assert seen.cell(3).inner_text().strip() == "no image"
    seen = visit("#case=101")  # features without images, and only the patches with the most attention
    seen.cell(0).wait_for()
    assert {seen.cell(i).inner_text().strip() for i in range(8)} == {str(i) for i in range(8)}
    assert "8 of 108 patches" in seen.text(".carried")
    assert "100 patches are not in this browser, with 20.0% of the weight" in seen.text(".carried")
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

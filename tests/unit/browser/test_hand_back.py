"""What a reader hands back from the case browser: marks, notes, verdicts, as files, blinded or not."""

import csv
import io
import json
import re

import numpy as np
import pytest
from browser_data import CLASSES

pytestmark = pytest.mark.slow
VERDICTS = ["case_id", "reader", "verdict", "class", "comment", "blinded", "seed", "time"]
COLUMNS = ["case_id", "file", "mark", "signal", "note", "reader", "blinded", "seed", "time"]


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def by_number(visit, key="5", more=""):
    """A case whose patches are in the order of their numbers."""
    seen = visit(f"#case={key}&sort=number{more}")
    seen.cell(0).wait_for()
    return seen


def marks_csv(seen):
    seen.page.get_by_role("button", name="Marks").click()
    text = seen.saved(lambda: seen.page.get_by_role("button", name="Marks of patches (CSV)").click())
    assert re.search(r"Saved as marks_\w+_[\d-]+\.csv", seen.text(".answer"))
    seen.page.keyboard.press("Escape")
    return text


def shown_mark(seen, i):
    return seen.cell(i).locator(".badge").inner_text()


def test_marks_by_key_and_range_are_kept_and_exported(visit, study):
    seen = by_number(visit)
    path = study.patches["5"]["patches"]["path"]
    seen.cell(0).hover()
    seen.page.keyboard.press("1")
    seen.name_reader('Anna "A", MD')
    assert shown_mark(seen, 0) == "✓"
    seen.cell(2).click(modifiers=["Shift"])
    seen.cell(6).click(modifiers=["Shift"])
    seen.cell(9).click(modifiers=["Control"])
    assert "6 patches selected" in seen.text(".marking")
    seen.page.keyboard.press("2")
    seen.page.keyboard.press("Escape")
    assert not seen.page.locator(".marking").is_visible()
    seen.cell(9).hover()
    seen.page.keyboard.press("3")
    seen.cell(6).hover()
    seen.page.keyboard.press("4")
    seen.page.get_by_label("Label of 1 patch").fill("=mitosis")
    seen.page.keyboard.press("Enter")
    seen.cell(5).hover()
    seen.page.keyboard.press("0")
    seen.cell(0).hover()
    seen.page.keyboard.press("n")
    seen.page.get_by_label("Note on").fill('two, "nests"')
    seen.page.keyboard.press("Enter")
    assert seen.text("#told") == "Note saved."
    seen.page.reload()
    seen.cell(0).wait_for()
    assert [shown_mark(seen, i) for i in (0, 2, 5, 6, 9)] == ["✓✎", "✕", "", "★", "⊘"]
    text = marks_csv(seen)
    found = rows(text)
    assert list(found[0]) == COLUMNS
    assert text.count("\r\n") == text.count("\n") == 7
    assert {(row["file"], row["mark"], row["signal"]) for row in found} == {
        (path[0], "signal", "1"),
        *((path[i], "not signal", "0") for i in (2, 3, 4)),
        (path[6], "'=mitosis", ""),  # a spreadsheet would run it
        (path[9], "artefact", ""),
    }
    assert found[0]["note"] == 'two, "nests"'
    assert {(row["case_id"], row["reader"], row["blinded"], row["seed"]) for row in found} == {
        ("5", 'Anna "A", MD', "0", "")
    }


def test_no_mark_is_lost_while_the_name_is_asked(visit):
    seen = by_number(visit)
    seen.cell(0).hover()
    seen.page.keyboard.press("1")
    dialog = seen.page.get_by_role("dialog")
    dialog.get_by_label("Your name or initials").fill("An")
    seen.page.mouse.click(5, 5)  # beside the window
    assert dialog.is_visible()
    seen.page.keyboard.press("Escape")
    seen.page.locator("#told", has_text="The mark is not kept: it needs your name.").wait_for()
    seen.page.locator("#tool-sort").focus()  # where letters choose, unless a patch is pointed at
    seen.cell(1).hover()
    seen.page.keyboard.press("n")
    seen.page.keyboard.type("j2")  # a note, whoever writes it
    dialog.get_by_label("Your name or initials").fill("Anna")
    seen.page.keyboard.press("Enter")
    assert [shown_mark(seen, i) for i in (0, 1)] == ["", "✎"]
    seen.page.wait_for_timeout(300)
    seen.page.keyboard.press("u")  # the pointer has not moved
    assert seen.text("#told") == "Taken back."
    seen.page.keyboard.press("n")
    seen.page.keyboard.type("j2")
    seen.page.keyboard.press("Enter")
    assert "sort=number" in seen.page.url
    seen.cell(1).hover()
    assert "Note j2" in seen.text("#tip")


def test_nothing_moves_when_a_patch_is_marked_large(visit):
    seen = by_number(visit, more="&patch=5%2F0_0+100%25%23.png")
    dialog = seen.page.get_by_role("dialog")
    places = dialog.locator("button, textarea, input")
    dialog.locator(".strip button").first.wait_for()
    before = places.evaluate_all("all => all.map((one) => one.getBoundingClientRect().top)")
    dialog.get_by_role("button", name="1 ✓ signal").click()
    seen.name_reader()
    dialog.get_by_label("Note on this patch").fill("seen")
    seen.page.keyboard.press("Tab")
    seen.page.locator("#told", has_text="Note saved.").wait_for()
    assert dialog.get_by_role("button", name="1 ✓ signal").get_attribute("aria-pressed") == "true"
    assert places.evaluate_all("all => all.map((one) => one.getBoundingClientRect().top)") == before


def test_the_last_mark_can_be_taken_back(visit):
    seen = by_number(visit)
    seen.cell(0).hover()
    seen.page.keyboard.press("1")
    seen.name_reader()
    seen.cell(1).hover()
    seen.cell(0).hover()
    seen.page.keyboard.press("2")
    assert shown_mark(seen, 0) == "✕"
    seen.page.keyboard.press("u")
    assert shown_mark(seen, 0) == "✓"
    seen.page.keyboard.press("u")
    assert shown_mark(seen, 0) == ""


def test_marks_come_back_by_import_and_readers_stay_apart(visit, study, tmp_path):
    seen = by_number(visit, "26%4001")
    path = study.patches["26@01"]["patches"]["path"]
    seen.cell(0).hover()
    seen.page.keyboard.press("1")
    seen.name_reader("Anna")
    seen.page.get_by_role("button", name="Marks of Anna").click()
    seen.page.get_by_role("button", name="Another reader").click()
    seen.name_reader("Ben")
    seen.page.keyboard.press("Escape")
    assert shown_mark(seen, 0) == ""
    seen.cell(0).hover()
    seen.page.keyboard.press("2")
    file = tmp_path / "marks.csv"
    file.write_text("\ufeff" + marks_csv(seen), encoding="utf-8", newline="")
    assert {(row["reader"], row["signal"]) for row in rows(file.read_text("utf-8-sig"))} == {
        ("Anna", "1"),
        ("Ben", "0"),
    }
    other = by_number(visit, "26%4002", "&marks=")  # the same case in another split, in a browser that was never here
    strange = tmp_path / "strange.csv"
    strange.write_text("case_id,file,signal,reader\nnone,x.png,1,Carl\n")
    nothing = tmp_path / "nothing.csv"
    nothing.write_text("a,b\n1,2\n")
    other.page.get_by_role("button", name="Marks").click()
    other.page.locator("#import").set_input_files([file, strange, nothing])
    answer = other.page.locator(".answer")
    answer.get_by_text("2 marks of 2 readers taken in.").wait_for()
    assert (
        "strange.csv: 0 marks of 0 readers taken in. 1 belong to cases that this study has not." in answer.inner_text()
    )
    assert "nothing.csv: No marks or verdicts" in answer.inner_text()
    other.page.get_by_role("row", name="Anna").get_by_role("button", name="Read as").click()
    other.page.keyboard.press("Escape")
    assert shown_mark(other, path.index(path[0])) == "✓"


def test_csv_is_that_of_python(visit):
    seen = visit()
    table = [["a", "file"], ['"', ","], ["\r\n", "\n"], ["", "é 𝛼"], ["'", '""x,\n";']]
    told = [dict(zip(table[0], row)) for row in table[1:]]
    for separator in ",;\t":  # spreadsheets have their own
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=separator).writerows(table)
        assert seen.page.evaluate("text => stratamil.fromCsv(text).rows", text.getvalue()) == told
    written = seen.page.evaluate("rows => stratamil.toCsv(['a', 'file'], rows)", told)
    assert list(csv.reader(io.StringIO(written, newline=""))) == table


def test_a_verdict_and_a_comment_on_a_case(visit):
    seen = visit("#case=26%4001")
    seen.page.get_by_role("button", name="I do not").click()
    seen.name_reader()
    seen.page.get_by_label("Comment on case 26").first.fill("a nevus,\nI think")
    seen.page.locator(".rows a", has_text="no melan").click()  # what is written stays, and the click counts
    seen.page.get_by_role("heading", name="Case 7").wait_for()
    seen.page.go_back()
    button = seen.page.get_by_role("button", name="I do not")
    assert button.get_attribute("aria-pressed") == "true"
    seen.page.get_by_role("button", name="Marks of Anna").click()
    text = seen.saved(lambda: seen.page.get_by_role("button", name="Verdicts on cases (CSV)").click())
    [row] = rows(text)
    assert list(row) == VERDICTS
    assert list(row.values())[:5] == ["26", "Anna", "disagree", "", "a nevus,\nI think"]


def test_a_diagnosis_is_given_blinded_exported_and_taken_in(visit, tmp_path):
    seen = visit("#case=5&sort=against&top=50&group=slice&beside=7")
    seen.cell(0).wait_for()
    seen.page.get_by_role("button", name="Blinded").click()
    assert "case=" not in seen.page.url  # what was just seen is closed
    seen.page.locator(".rows a", has_text="26").first.click()
    seen.page.get_by_role("group", name="Diagnosis").get_by_text(CLASSES[1]).click()
    seen.name_reader()
    seen.page.get_by_role("button", name="Blinded").click()
    assert "#case=5&beside=7&sort=against&group=slice&top=50" in seen.page.url  # as it was
    seen.page.get_by_role("button", name="Close").click()
    seen.page.locator(".rows a", has_text="26").first.click()
    assert f"Your blinded diagnosis: {CLASSES[1]}" in seen.text(".reading")
    seen.page.get_by_role("button", name="Marks of Anna").click()
    text = seen.saved(lambda: seen.page.get_by_role("button", name="Verdicts on cases (CSV)").click())
    [row] = rows(text)
    assert list(row) == VERDICTS
    assert list(row.values())[:-1] == ["26", "Anna", "", CLASSES[1], "", "1", "1"]
    file, older = tmp_path / "verdicts.csv", tmp_path / "older.csv"
    file.write_text(text, newline="")
    older.write_text("case_id,reader,verdict,comment,time\n7,Ben,agree,,2026-01-01T00:00:00Z\n")
    seen.page.keyboard.press("Escape")
    seen.page.get_by_role("button", name="Blinded").click()
    seen.page.locator(".rows a", has_text="26").first.click()  # its labels were seen
    assert f"{CLASSES[1]}. It stays: the case was opened with its labels." in seen.text(".reading")
    assert not seen.page.get_by_role("group", name="Diagnosis").count()
    other = visit("#case=26%4001")
    other.page.get_by_role("button", name="Marks").click()
    other.page.locator("#import").set_input_files([file, older])
    other.page.locator(".answer").get_by_text("older.csv: 1 verdict of 1 reader taken in.").wait_for()
    other.page.get_by_role("row", name="Anna").get_by_role("button", name="Read as").click()
    other.page.keyboard.press("Escape")
    assert f"Your blinded diagnosis: {CLASSES[1]}" in other.text(".reading")


def test_a_filter_leaves_a_random_order_as_it_is(visit):
    seen = visit("#blind=1")
    every = seen.page.locator(".rows a").all_inner_texts()
    seen.page.get_by_label("Search cases").fill("2")
    some = seen.page.locator(".rows a").all_inner_texts()
    assert 1 < len(some) < len(every) and some == [text for text in every if text in some]


def test_a_note_is_of_the_patch_with_the_ring_whatever_is_selected(visit, study):
    seen = visit("#case=5")
    order = seen.cells()
    seen.page.keyboard.press("ArrowRight")
    for _ in range(2):
        seen.page.keyboard.press("Shift+ArrowRight")
    seen.page.keyboard.press("n")
    name = study.patches["5"]["patches"]["path"][order[2]].split("/")[1]
    assert f"Note on {name}" in seen.text("dialog[open]")


def test_the_box_is_of_the_patch_with_the_ring_after_the_large_view(visit, study):
    seen = visit("#case=5")
    order = seen.cells()
    for key in ("ArrowRight", "Enter", "ArrowRight", "Escape"):
        seen.page.keyboard.press(key)
        seen.page.wait_for_timeout(60)
    name = study.patches["5"]["patches"]["path"][order[1]].split("/")[1]
    assert name in seen.text("#tip")
    seen.page.keyboard.press("Escape")  # closes the box, the next one leaves the patches
    seen.page.locator("#tip").wait_for(state="hidden")


def test_all_wrong_and_right_keep_the_focus(visit):
    seen = visit("#case=5")
    seen.page.get_by_role("button", name="Wrong").press("Enter")
    assert seen.page.evaluate("document.activeElement.textContent").startswith("Wrong")


def everything(seen):
    """All that the page tells: texts, attributes, title and address; not the classes that a diagnosis chooses from."""
    return seen.page.evaluate(
        """() => {
          const body = document.body.cloneNode(true);
          body.querySelectorAll('.press').forEach((one) => one.remove());
          return [document.title, decodeURIComponent(location.href), body.textContent,
            ...[...body.querySelectorAll('*')].flatMap((one) => [...one.attributes].map((of) => of.value)),
            ...[...document.querySelectorAll('textarea, input')].map((one) => one.value)].join('\\n');
        }"""
    )


TELLING = "&sort=contribution&top=5&of=benign&truth=benign&slice=1&wrong=1&page=1&map=1"
TOLD = (*CLASSES, "0.90", "%#.png", "The model")  # nowhere, seen or not
SEEN = ("ttention", "ontribution", "share", "wrong", "log odds", "rank", "I agree")


@pytest.mark.parametrize("hash_", ("#case=5", f"#case=5{TELLING}"))
def test_blinded_nothing_tells_what_the_model_said(visit, study, hash_):
    address = study.address(hash_).replace("index.html", "index.html?blind=1")
    seen = visit(address=address)
    order = seen.cells()
    assert sorted(order) == list(range(45))
    seen.cell(order[0]).hover()
    assert "Patch 1" in seen.text("#tip")
    told = everything(seen)
    seen.cell(order[1]).click()
    seen.page.get_by_role("dialog").get_by_text("2 of 45", exact=True).wait_for()
    seen.page.keyboard.press("ArrowRight")
    told += everything(seen)
    assert "Patch 3" in told
    assert [word for word in TOLD if word in told] == []
    assert [word for word in SEEN if word in seen.page.locator("body").inner_text()] == []
    seen.page.keyboard.press("Escape")
    assert "In random order" in told
    assert "in random order 1" in seen.text(".carried")


def test_blinded_order_follows_the_seed_and_marks_say_so(visit, study):
    seen = visit("#case=5&blind=1")
    seen.cell(0).wait_for()
    first = seen.cells()
    seen.page.get_by_label("Random order").fill("7")
    seen.page.keyboard.press("Enter")
    second = seen.cells()
    assert first != second
    assert visit("#case=5&blind=1&seed=7").cells() == second
    weight = np.array(study.patches["5"]["patches"]["weight"])
    assert abs(np.corrcoef(weight[second], np.arange(45))[0, 1]) < 0.4
    seen.cell(second[0]).hover()
    seen.page.keyboard.press("1")
    seen.name_reader()
    [row] = rows(marks_csv(seen))
    path = study.patches["5"]["patches"]["path"][second[0]]
    assert (row["file"], row["signal"], row["blinded"], row["seed"]) == (path, "1", "1", "7")


def test_places_go_to_qupath(visit, study):
    seen = by_number(visit, "5", "&map=1")
    seen.cell(20).hover()
    seen.page.keyboard.press("3")
    seen.name_reader()
    told, patches = study.patches["5"], study.patches["5"]["patches"]
    text = seen.saved(lambda: seen.page.get_by_role("button", name="GeoJSON").click())
    found = json.loads(text)
    of = [
        i for i, k in enumerate(patches["slice"]) if k == int(np.argmax([one["weight"] for one in told["slices"][:2]]))
    ]
    assert found["type"] == "FeatureCollection"
    assert [one["properties"]["name"] for one in found["features"]] == [patches["path"][i] for i in of]
    for one, i in zip(found["features"], of):
        x, y = patches["x"][i], patches["y"][i]
        corners = [[x, y], [x + 256, y], [x + 256, y + 256], [x, y + 256], [x, y]]
        assert one["geometry"] == {"type": "Polygon", "coordinates": [corners]}
        assert one["properties"]["measurements"]["weight"] == patches["weight"][i]
        assert one["properties"][f"contribution {CLASSES[1]}"] == patches["contribution"][1][i]
    marked = {one["properties"]["name"]: one["properties"]["mark"] for one in found["features"]}
    assert {name for name, mark in marked.items() if mark} == {patches["path"][20]}
    assert found["features"][of.index(20)]["properties"]["classification"] == {"name": "artefact"}

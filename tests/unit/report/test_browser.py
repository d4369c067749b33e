"""The case browser's data and thumbnails: what a page gets is what the tables and images have."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from made_browser import CLASSES, NASTY, STAINS, Study, called
from PIL import Image

import browser
import thumbnails
from stratamil.core import files
from stratamil.core.errors import UserError
from stratamil.explain import contributions, patch_tables
from stratamil.features import thumbnails as sheets

SPLITS = {"01": {"5": 120, NASTY: 9, "7": 4}, "02": {"26": 30, "5": 120}}


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path, SPLITS, placed=True)


def made(study, monkeypatch, *more):
    study.thumbnails(thumbnails, monkeypatch)
    return study.browser(browser, monkeypatch, *more)


def test_every_patch_of_every_test_case_is_there_once_with_the_numbers_of_the_tables(study, monkeypatch):
    listed, patches_of = made(study, monkeypatch)
    tested = [(case, split) for split, cases in SPLITS.items() for case in cases]
    assert sorted((case["id"], case["split"]) for case in listed["cases"]) == sorted(tested)
    keys = {(case["id"], case["split"]): case["key"] for case in listed["cases"]}
    assert keys["5", "01"] == "5@01" and keys["26", "02"] == "26" and len(set(keys.values())) == len(tested)
    for case in listed["cases"]:
        folder = study.folders[case["split"]]
        table = pd.read_parquet(folder / "patch_attention.parquet").query("case_id == @case['id']").set_index("path")
        row = pd.read_csv(folder / "predictions.csv", dtype={"case_id": str}).set_index("case_id").loc[case["id"]]
        content = patches_of(case)
        found = content["patches"]
        assert case["n_patches"] == len(found["path"]) == len(set(found["path"])) == len(table)
        table = table.loc[found["path"]]
        for name, column in (("weight", "effective_weight"), ("sd", "effective_sd"), ("number", "patch")):
            np.testing.assert_allclose(found[name], table[column], rtol=1e-5)
        for k, name in enumerate(("benign", "high_grade")):
            own = contributions.of_table(table, name)  # as in galleries and tables of attention
            np.testing.assert_allclose(found["contribution"][k], own, rtol=1e-4, atol=1e-6)
            log_odds = row[f"logit_{name}"] - row[f"logit_{('high_grade', 'benign')[k]}"]
            assert content["bias"][k] + sum(found["contribution"][k]) == pytest.approx(log_odds, abs=1e-4)
            assert case["probability"][k] == pytest.approx(row[f"prob_{name}"], rel=1e-5)
            assert np.mean([member[k] for member in case["members"]]) == pytest.approx(row[f"prob_{name}"], rel=1e-4)
        for patch, number in zip(table.itertuples(), found["slice"]):
            slice_ = content["slices"][number]
            assert (STAINS[slice_["stain"]], slice_["id"]) == (patch.stain, patch.slice_id)
            assert slice_["weight"] == pytest.approx(patch.slice_weight, rel=1e-5)
        weights = {STAINS[each["stain"]]: each["weight"] for each in content["stains"]}
        assert weights == pytest.approx(table.groupby("stain")["stain_weight"].first().to_dict(), rel=1e-5)
        assert sorted(case["stains"] + case["missing"]) == [0, 1, 2]
        assert CLASSES[case["truth"]] == row["true_class"] and CLASSES[case["predicted"]] == row["predicted_class"]
        places = study.patches.drop_duplicates("path").set_index("path").loc[found["path"]]
        assert found["x"] == places["x"].tolist() and found["y"] == places["y"].tolist()


def test_a_cell_shows_the_image_of_its_patch(study, monkeypatch):
    """Also one that is not square: in the middle, in its proportions, on grey."""
    wide = study.tables["26"]["path"][3]
    study.paint(wide, colour=(200, 40, 40), size=(40, 10))
    listed, patches_of = made(study, monkeypatch, "--px", 96)
    for case in listed["cases"]:
        content = patches_of(case)
        found = content["patches"]
        opened = [Image.open(study.root / "browser" / sheet).convert("RGB") for sheet in content["sheets"]]
        for path, sheet, cell in zip(found["path"], found["sheet"], found["cell"]):
            row, column = divmod(cell, listed["columns"])
            shown = np.asarray(opened[sheet], float)[row * 96 : row * 96 + 96, column * 96 : column * 96 + 96]
            middle = shown[44:52, 20:76] if path == wide else shown
            np.testing.assert_allclose(middle.mean((0, 1)), study.colours[path], atol=6)
            if path == wide:
                np.testing.assert_allclose(shown[:30].mean((0, 1)), sheets.GREY, atol=6)


def test_names_of_the_data_are_text_and_scripts_are_ascii(study, monkeypatch):
    listed, patches_of = made(study, monkeypatch, "--title", f"{NASTY}</script>")
    case = next(case for case in listed["cases"] if case["id"] == NASTY)
    assert listed["title"] == f"{NASTY}</script>"
    assert all(NASTY in path for path in patches_of(case)["patches"]["path"])
    assert NASTY in patches_of(case)["slices"][0]["id"]
    for file in (study.root / "browser/data").iterdir():
        text = file.read_text(encoding="ascii")  # raises for U+2028, too
        assert not {"<", ">", "&"} & set(text)
    address = patches_of(case)["images"]
    assert address == "../patches/" and ".." not in case["file"] and "/" not in case["file"]


def test_the_same_study_gives_the_same_bytes_and_a_change_of_one_case_leaves_the_others(study, monkeypatch):
    made(study, monkeypatch)
    before = contents(study)
    made(study, monkeypatch)
    assert contents(study) == before
    times = {path: path.stat().st_mtime_ns for path in (study.root / "browser/sprites").rglob("*.webp")}
    study.paint(study.tables["26"]["path"][0], colour=(250, 250, 10))
    made(study, monkeypatch)
    changed = {path for path, content in contents(study).items() if before[path] != content}
    assert changed == {"sprites/26/0001.webp", "sprites/26/index.json"}
    made_again = {path.parent.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert made_again == {"26"}


def contents(study):
    folder = study.root / "browser"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_moved_image_leaves_its_thumbnail_and_one_that_is_no_image_a_gap(study, monkeypatch, caplog):
    """Also where another image of the case is new, so that its sheets are made again."""
    first, second, third, fourth = (study.root / "patches" / path for path in study.tables["26"]["path"][:4])
    third.write_bytes(b"no image")
    fourth.unlink()
    _, patches_of = made(study, monkeypatch)
    assert "no thumbnail: 2 files" in caplog.text and third.name in caplog.text
    before = (study.root / "browser/sprites/26/0001.webp").read_bytes()
    first.rename(study.root / "moved.png")
    listed, patches_of = made(study, monkeypatch)
    case = next(case for case in listed["cases"] if case["id"] == "26")
    assert (study.root / "browser/sprites/26/0001.webp").read_bytes() == before
    assert patches_of(case)["patches"]["sheet"][:5] == [0, 0, -1, -1, 0]
    assert patches_of(case)["patches"]["missing"] == [0, 3]
    study.paint(second.relative_to(study.root / "patches").as_posix(), colour=(9, 9, 99))
    listed, patches_of = made(study, monkeypatch)
    with Image.open(study.root / "browser/sprites/26/0001.webp") as sheet:
        pixels = np.asarray(sheet, float)
    was = study.colours[first.relative_to(study.root / "patches").as_posix()]
    np.testing.assert_allclose(pixels[:96, :96].mean((0, 1)), was, atol=8)
    np.testing.assert_allclose(pixels[:96, 96:192].mean((0, 1)), (9, 9, 99), atol=6)
    assert patches_of(case)["patches"]["missing"] == [0, 3]
    assert json.loads((study.root / "browser/browser.json").read_text())["flags"] == ["2 patches have no thumbnail."]


def test_the_top_patches_alone_and_what_is_left_out(study, monkeypatch):
    table = [study.folders[split] / "patch_attention.parquet" for split in SPLITS]
    study.thumbnails(thumbnails, monkeypatch, "--attention", *table, "--top-percent", 10)
    listed, patches_of = study.browser(browser, monkeypatch, "--patches", "top", "--top-percent", 10)
    assert listed["patches"] == "top"
    for case in listed["cases"]:
        rows = pd.read_parquet(study.folders[case["split"]] / "patch_attention.parquet").query("case_id == @case['id']")
        content, n = patches_of(case), max(1, int(np.ceil(len(rows) / 10)))
        found, rest = content["patches"], content["left_out"]
        sides = {name: contributions.of_table(rows, name) for name in ("benign", "high_grade")}
        for column in ("effective_weight", *sides):
            assert set(rows.assign(**sides).nlargest(n, column)["path"]) <= set(found["path"])
        assert n <= len(found["path"]) <= 3 * n and case["n_patches"] == len(rows)
        assert -1 not in found["sheet"] and len(found["path"]) + rest["n"] == len(rows)
        assert sum(found["weight"]) + rest["weight"] == pytest.approx(1, abs=1e-4)
        for k in range(2):
            explained = content["bias"][k] + sum(found["contribution"][k]) + rest["contribution"][k]
            assert explained == pytest.approx(content["margin"][k], abs=1e-4)


def test_a_case_that_is_gone_leaves_no_files(study, monkeypatch):
    made(study, monkeypatch)
    note = study.root / "browser/sprites/26/mine.md"
    note.write_text("mine")
    left = Study(study.root, {"01": {"7": 4}})
    listed, _ = made(left, monkeypatch)
    assert [case["id"] for case in listed["cases"]] == ["7"]
    assert {path.name for path in (study.root / "browser/data").iterdir()} == {"case_7.js", "cases.js"}
    assert {path.name for path in (study.root / "browser/sprites").iterdir()} == {"7", "26", "shard_00.json"}
    assert list((study.root / "browser/sprites/26").iterdir()) == [note]


def test_features_without_images_have_everything_but_thumbnails(tmp_path, monkeypatch):
    study = Study(tmp_path, {"01": {"5": 8}}, seeds=(1,), placed=True)
    listed, patches_of = study.browser(browser, monkeypatch, images=False)
    content = patches_of(listed["cases"][0])
    assert (
        content["images"] is None
        and listed["images"] is False
        and content["sheets"] == []
        and set(content["patches"]["sheet"]) == {-1}
    )
    assert content["patches"]["sd"] is None and listed["cases"][0]["sd"] is None and content["patches"]["x"]
    assert json.loads((tmp_path / "browser/browser.json").read_text())["flags"] == []


def test_a_case_s_flags_say_what_is_odd_about_it(tmp_path, monkeypatch):
    study = Study(tmp_path, {"01": {"5": 12, "6": 4}})
    cases = pd.read_csv(tmp_path / "inventory/cases.csv", dtype={"case_id": str})
    files.write_csv(cases.assign(n_patches=cases["n_patches"] + 2), tmp_path / "inventory/cases.csv")
    rows = pd.read_csv(study.folders["01"].parent / "seed_1/predictions.csv", dtype={"case_id": str})
    other = rows["prob_benign"].round()  # whatever the mean says, one member is sure of the other class
    ensemble = pd.read_csv(study.folders["01"] / "predictions.csv")["predicted_label"]
    files.write_csv(
        rows.assign(prob_benign=ensemble.astype(float), prob_high_grade=1.0 - ensemble),
        study.folders["01"].parent / "seed_1/predictions.csv",
    )
    listed, _ = study.browser(browser, monkeypatch, images=False)
    flags = [case["flags"] for case in listed["cases"]]
    assert len(other) == 2 and all("of 3 seeds of this split predict" in " ".join(each) for each in flags)
    assert "Few patches: 4." in flags[1] and "Few patches: 12." not in flags[0]
    assert "2 patches of 14 had no features and took no part." in flags[0]


def test_tables_that_do_not_fit_are_one_line(study, monkeypatch):
    folder = study.folders["02"]
    table = pd.read_parquet(folder / "patch_attention.parquet")
    for wrong, line in (
        (table[table["case_id"] != "26"], "case 26 has a prediction but no patches"),
        (table.assign(case_id="9"), "case 9 has patches but no prediction"),
        (pd.concat([table, table]), "stands there twice"),
        (table.drop(columns="path"), "missing column path"),
    ):
        files.write_parquet(wrong, folder / "patch_attention.parquet")
        with pytest.raises(UserError, match=line):
            study.browser(browser, monkeypatch, images=False)


def test_tables_are_read_case_by_case(study, monkeypatch):
    """In pieces smaller than a case, too."""
    path = study.folders["01"] / "patch_attention.parquet"
    monkeypatch.setattr(patch_tables, "ROWS", 7)
    read = list(patch_tables.by_case(path))
    assert [part["case_id"].unique().tolist() for part in read] == [[case] for case in SPLITS["01"]]
    pd.testing.assert_frame_equal(pd.concat(read, ignore_index=True), pd.read_parquet(path), check_dtype=False)
    files.write_parquet(pd.read_parquet(path).iloc[::-1].sort_values("patch"), path)
    with pytest.raises(UserError, match="do not follow one another"):
        list(patch_tables.by_case(path))


def test_a_damaged_index_or_a_lost_sheet_is_made_again(study, monkeypatch):
    made(study, monkeypatch)
    before = contents(study)
    folder = study.root / "browser/sprites"
    (folder / "26/index.json").write_text("{")
    (folder / "5/0002.webp").unlink()
    os.utime(folder / "7/0001.webp", (0, 0))
    made(study, monkeypatch)
    assert contents(study) == before
    assert (folder / "7/0001.webp").stat().st_mtime == 0


def test_the_page_is_copied_with_its_folders(study, monkeypatch):
    files.write_text("a", study.root / "page/fonts/a.woff")
    made(study, monkeypatch)
    assert (study.root / "browser/fonts/a.woff").read_text() == "a"
    assert called(study.root / "browser/data/cases.js", "cases")

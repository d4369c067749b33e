"""Inventory and labels: every file and case is accounted for, and mistakes are named."""

import os

import pandas as pd
import pytest
from test_names import CONFIG

from stratamil import folders, inventory, labels
from stratamil.errors import UserError
from stratamil.names import Grammar

STAINS = {"h&e": ["he"], "melan": [], "sox10": []}
GRAMMAR = Grammar(CONFIG["pattern"], STAINS)
CLASSES = {"benign": ["1"], "high-grade": ["3", "4"]}


def read(tmp_path, text, group=None, classes=CLASSES, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return labels.read(path, "Case", "Class", group, classes, ["0", "2"])


def study(tmp_path, names, table="Case,Class\n1,1\n2,3\n10,4\n11,2\n12,1\n"):
    folder = tmp_path / "patches"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"png")
    return inventory.take(folder, read(tmp_path, table), GRAMMAR, list(STAINS))


def test_every_file_and_case_is_accounted_for(tmp_path):
    names = [
        "case_10_match_1_melan_patch10.png",
        "case_10_match_1_melan_patch9.png",
        "deep/melanoma/case_010_unmatched2_he_patch1.PNG",
        "case_2_match_1_sox10_patch1.png",
        "case_2_match_1_sox10_patch1(1).png",
        "copies/case_2_match_1_sox10_patch1.png",
        "case_1_match_1_cd31_patch1.png",
        "case_1_match_1_h&e_patch1.png",
        "case_11_match_1_h&e_patch1.png",
        "case_99_match_1_h&e_patch1.png",
        "notes.txt",
    ]
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches/gone.png").symlink_to("nowhere")
    patches, cases, excluded = study(tmp_path, names)
    left_out = excluded[excluded["kind"] == "file"]
    assert sorted([*patches["path"], *left_out["name"]]) == sorted([*names, "gone.png"])
    # numbers sort as numbers, stains as in the config, and a folder's name says nothing of the stain
    assert list(patches["path"]) == [
        "case_1_match_1_h&e_patch1.png",
        "case_2_match_1_sox10_patch1.png",
        "deep/melanoma/case_010_unmatched2_he_patch1.PNG",
        "case_10_match_1_melan_patch9.png",
        "case_10_match_1_melan_patch10.png",
        "case_11_match_1_h&e_patch1.png",
        "case_99_match_1_h&e_patch1.png",
    ]
    assert dict(zip(cases["case_id"], cases["status"])) == {
        "1": "used", "2": "used", "10": "used", "11": "class code 2 excluded", "12": "no patches",
    }  # fmt: skip
    row = cases.set_index("case_id").loc["10"]
    assert (row["n_patches"], row["n_slices"], row["slices_melan"], row["missing_stains"]) == (3, 2, 1, "sox10")
    reasons = dict(zip(excluded["name"], excluded["reason"] + ": " + excluded["detail"]))
    assert reasons["copies/case_2_match_1_sox10_patch1.png"] == (
        "same name as another file: case_2_match_1_sox10_patch1.png"
    )
    assert reasons["99"] == "no row in the labels: 1 patches"


def test_empty_files_are_seen_from_their_size(tmp_path):
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches/case_1_match_1_h&e_patch2.png").touch()
    patches, _, excluded = study(tmp_path, ["case_1_match_1_h&e_patch1.png"])
    assert len(patches) == 1
    assert "empty file" in set(excluded["reason"])


@pytest.mark.parametrize(
    "names, table, words",
    [
        ([], "Case,Class\n1,1\n", "no such folder"),
        (["notes.txt"], "Case,Class\n1,1\n", "none of 1 files is a patch"),
        (["case_1_match_1_h&e_patch1.png"], "Case,Class\n7,1\n", "none of the 1 cases in the labels has a patch"),
    ],
)
def test_nothing_to_work_on(tmp_path, names, table, words):
    with pytest.raises(UserError, match=words):
        study(tmp_path, names, table)


def test_unknown_stains_can_be_an_error(tmp_path):
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches/case_1_match_1_cd31_patch1.png").write_bytes(b"x")
    with pytest.raises(UserError, match="1 patches of stain 'cd31'"):
        inventory.take(tmp_path / "patches", read(tmp_path, "Case,Class\n1,1\n"), GRAMMAR, list(STAINS), "error")


def test_labels_as_a_person_reads_them(tmp_path):
    table = read(tmp_path, "\ufeffCase; Class \n 038 ;1.0\n\n2;3\n2;3\n")
    assert table[["case_id", "label", "class"]].to_numpy().tolist() == [
        ["38", "1", "benign"],
        ["2", "3", "high-grade"],
    ]


@pytest.mark.parametrize(
    "text, words",
    [
        ("Case,Klass\n1,1\n", "no column 'Class'"),
        ("Case,Class\n1,1\n01,3\n", "case 1 has different classes: '1' in row 2, '3' in row 3"),
        ("Case,Class\n1,9\n", "row 2: case 1: class code '9' is in neither"),
        ("Case,Class\n1,\n", "row 2: case 1: class code ''"),
        ("Case,Class\n,1\n", "row 2: no case id"),
        ("Case,Class\n", "no rows"),
    ],
)
def test_mistakes_in_labels_are_named(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        read(tmp_path, text)


def test_all_problems_at_once(tmp_path):
    with pytest.raises(UserError) as error:
        read(tmp_path, "Case,Class\n1,9\n2,8\n3,1\n3,4\n")
    assert len(error.value.problems) == 3


def test_patients(tmp_path):
    table = read(tmp_path, "Case,Class,Patient\n26,1,P1\n109,1,p1\n3,3,P2\n", group="Patient")
    assert list(table["group"]) == ["p1", "p1", "p2"]
    with pytest.raises(UserError, match="different patients"):
        read(tmp_path, "Case,Class,Patient\n26,1,P1\n26,1,P3\n", group="Patient")


def test_folders_are_walked_only_when_one_has_changed(tmp_path, monkeypatch):
    root, known = tmp_path / "patches", tmp_path / "folders.txt"
    (root / "a/b").mkdir(parents=True)
    (root / "loop").symlink_to(root)
    found = folders.find(root)
    assert found == [str(root), str(root / "a"), str(root / "a/b")]
    known.write_text(folders.times(found))
    monkeypatch.setattr(folders, "walk", lambda root: pytest.fail("walked"))
    assert folders.find(root, known) == found
    monkeypatch.undo()
    before = folders.digest(found)
    (root / "a/b/c").mkdir()
    # also where the folder's time was set back, as archives and copies do
    os.utime(root / "a/b", ns=(10**18, 10**18))
    assert len(folders.find(root, known)) == 4
    assert folders.digest(found) != before


def test_real_cohort(shared):
    data = shared / "colon_mil"
    table = labels.read(data / "labels.csv", "Case", "Class", None, CLASSES, ["0", "2"])
    patches, _, excluded = inventory.take(data / "patches", table, GRAMMAR, list(STAINS))
    truth = pd.read_csv(data / "patch_truth.csv")
    assert set(patches["path"]) == set(truth["file"])
    stems = truth.set_index("file")
    found = patches.set_index("path")
    assert (found["stain"] == stems.loc[found.index, "stain"]).all()
    assert (found["slice_id"] == stems.loc[found.index, "slice"].str.replace(r"h(\d)", r"h_\1", regex=True)).all()
    assert (excluded["kind"] == "file").sum() == 6

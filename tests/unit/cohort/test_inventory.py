"""Inventory and labels: every file and case is accounted for, and mistakes are named."""

import json
import os
import re
import unicodedata
from itertools import islice

import pandas as pd
import pytest
from factories import CLASSES, GRAMMAR, NAMES, OF_LABELS
from factories import STAIN_NAMES as STAINS
from factories import read_labels as read

from stratamil.cohort import flow, folders, inventory, labels, patch_files
from stratamil.core.errors import UserError
from stratamil.core.names import LONGEST, Grammar, slice_id
from stratamil.report import cohort_excluded


def study(tmp_path, names, table="Case,Class\n1,1\n2,3\n10,4\n11,2\n12,1\n"):
    folder = tmp_path / "patches"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.replace("(1)", "").encode())
    taken = inventory.take(folder, read(tmp_path, table), GRAMMAR, list(STAINS), "exclude")
    return taken.patches, taken.cases, taken.excluded


def test_every_file_and_case_is_accounted_for(tmp_path):
    names = [
        "case_10_match_1_melan_patch10.png",
        "case_10_match_1_melan_patch9.png",
        "deep/melanoma/case_010_unmatched2_he_patch1.PNG",
        "case_2_match_1_sox10_patch1.png",
        "case_2_match_1_sox10_patch1(1).png",
        "copies/case_2_match_1_sox10_patch2(1).png",
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
    assert reasons["case_2_match_1_sox10_patch1(1).png"] == (
        "copy made by an operating system: case_2_match_1_sox10_patch1.png"
    )
    assert reasons["copies/case_2_match_1_sox10_patch2(1).png"] == (
        "copy made by an operating system, original missing: rename it to case_2_match_1_sox10_patch2.png to use it"
    )
    assert reasons["case_1_match_1_cd31_patch1.png"] == "stain 'cd31' not in names.stains: cd31"
    assert reasons["gone.png"] == "broken link: "
    left_out = excluded[excluded["kind"] == "case"]
    assert dict(zip(left_out["name"], left_out["patches"])) == {"11": 1, "12": 0, "99": 1}


# How often each form was met among 64,526 real names, and what becomes of it.
FORMS = {
    "case_{}_match_{}_melan_patch{}.png": (48640, "used"),
    "case_{:03}_unmatched_{}_h&e_patch{}.png": (15430, "used"),
    "case_{}_match_{}_h&e-labels_patch{}.png": (167, "used"),
    "case_{}_match_{}_sox10._patch{}.png": (103, "used"),
    "case_{}_match_{}_melan_patch{}(1).png": (61, "copy made by an operating system"),
    "case_{}_match_{}_melan_patch{} (3).png": (62, "copy made by an operating system"),
    "case_{}_match_{}_melan_patch{} 2.png": (62, "copy made by an operating system"),
    "case_{:03}_match_{}_h&e.png": (1, "no patch number"),
}


@pytest.mark.slow
def test_the_names_of_a_real_folder(tmp_path):
    folder = tmp_path / "melanoma"
    expected = {}
    for form, (count, fate) in FORMS.items():
        # 85 cases, five slices each; a copy has the number of a patch that is there
        numbers = ((case, slice_, patch) for patch in range(200) for case in range(1, 86) for slice_ in range(1, 6))
        for path in (form.format(*number) for number in islice(numbers, count)):
            case = path.split("_")[1]
            (folder / case).mkdir(parents=True, exist_ok=True)
            original = re.sub(r"( ?\(\d+\)| \d+)\.png$", ".png", path)  # of which a copy has the bytes
            (folder / case / path).write_bytes(original.encode())
        expected[fate] = expected.get(fate, 0) + count
    rows = "".join(f"{case},{1 + 2 * (case % 3 > 0)}\n" for case in range(1, 86))
    taken = inventory.take(folder, read(tmp_path, f"Case,Class\n{rows}"), GRAMMAR, list(STAINS), "exclude")
    assert sum(expected.values()) == 64526
    assert {"used": len(taken.patches)} | taken.excluded["reason"].value_counts().to_dict() == expected
    assert taken.patches["case_id"].nunique() == 85
    assert taken.patches["stain"].value_counts().to_dict() == {"melan": 48640, "h&e": 15430 + 167, "sox10": 103}
    copies = taken.excluded[taken.excluded["detail"] != ""]
    assert len(copies) == 185
    assert set(copies["detail"]) <= set(taken.patches["path"])


def test_a_patch_is_used_once_unless_its_files_differ(tmp_path):
    folder = tmp_path / "patches"
    for name, content in {
        "case_1_match_1_he_patch1.png": b"one",
        "case_001_match1_h&e_patch01.png": b"one",
        "backup/case_1_match_1_he_patch1.png": b"one",
        "again/case_1_match_1_he_patch1.png": b"two",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    taken = inventory.take(folder, read(tmp_path, "Case,Class\n1,1\n"), GRAMMAR, list(STAINS), "exclude")
    assert list(taken.patches["path"]) == ["case_1_match_1_he_patch1.png", "again/case_1_match_1_he_patch1.png"]
    assert set(taken.excluded["detail"]) == {"case_1_match_1_he_patch1.png"}
    same = patch_files.namesakes(taken.patches)
    assert patch_files.told(same).startswith("2 patches of used cases have the number of another patch of their slice")


def test_two_patches_at_one_place_are_told_as_such(tmp_path):
    (tmp_path / "patches").mkdir()
    for name in ("1 [x=512,y=0] a", "1 [x=512,y=0] b", "1 [x=0,y=0] a"):
        (tmp_path / "patches" / f"{name}.png").write_bytes(name.encode())
    grammar = Grammar(r"^(?P<case>\d+) \[x=(?P<x>\d+),y=(?P<y>\d+)\] .\.png$", {"h&e": []})
    taken = inventory.take(tmp_path / "patches", read(tmp_path, "Case,Class\n1,1\n"), grammar, ["h&e"], "exclude")
    assert patch_files.told(patch_files.namesakes(taken.patches)) == (
        "2 patches of used cases have the place of another patch of their slice, but other content: "
        "1 [x=512,y=0] a.png, 1 [x=512,y=0] b.png. All are used"
    )
    assert patch_files.told(patch_files.namesakes(taken.patches.iloc[:2])) == ""


def test_a_patch_that_was_renamed_is_used_once_in_its_stain(tmp_path):
    folder = tmp_path / "patches"
    for name, content in {
        "case_1_match_1_he_patch1.png": b"one",
        "case_1_match_2_he_patch10001.png": b"one",
        "alt/case_1_match_1_he_patch0.png": b"one",
        "case_1_match_1_melan_patch1.png": b"one",
        "case_1_match_1_he_patch2.png": b"two",
        "case_2_match_1_he_patch1.png": b"one",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    taken = inventory.take(folder, read(tmp_path, "Case,Class\n1,1\n2,3\n"), GRAMMAR, list(STAINS), "exclude")
    assert taken.excluded[["name", "reason", "detail"]].values.tolist() == [
        [name, patch_files.RENAMED, "case_1_match_1_he_patch1.png"]
        for name in ("alt/case_1_match_1_he_patch0.png", "case_1_match_2_he_patch10001.png")
    ]
    assert taken.cases["n_patches"].tolist() == [3, 1]


TRASH = [
    ".Trash", ".Trash-1000", ".ipynb_checkpoints", "@eaDir", "@Recycle", "#recycle", "#snapshot", ".snapshot", ".zfs",
    "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "lost+found", ".AppleDouble", "~snapshot", "found.000",
    "DfsrPrivate",
]  # fmt: skip


def test_hidden_and_system_folders_hold_no_patches(tmp_path):
    folder, name = tmp_path / "patches", "case_1_match_1_he_patch{}.png"
    kept = ["#1/" + name.format(1), "trash/" + name.format(2), "Slide @20x/" + name.format(3)]
    trash = [f"{deep}{each}/x/{name.format(n)}" for n, each in enumerate(TRASH, 10) for deep in ("", "a/")]
    trash += ["." + name.format(4), "._" + name.format(5), "~$" + name.format(6), name.format(7) + "~", "Thumbs.db"]
    for path in [*kept, *trash]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    taken = inventory.take(folder, read(tmp_path, "Case,Class\n1,1\n"), GRAMMAR, list(STAINS), "exclude")
    assert sorted(taken.patches["path"]) == sorted(kept)
    files = taken.excluded[taken.excluded["kind"] == "file"]
    assert sorted(files["name"]) == sorted(trash)
    reasons = files["reason"].value_counts().to_dict()
    assert reasons == {"in a hidden or system folder": 2 * len(TRASH), "hidden or system file": 5}
    # a dry run does not look into them, and looks at all others
    watched, _ = folders.look(folder)
    assert sorted(os.path.relpath(each, folder) for each in watched) == ["#1", ".", "Slide @20x", "a", "trash"]
    assert set(watched) == set(taken.folders)


def test_a_pattern_that_takes_all_takes_no_hidden_file(tmp_path):
    (tmp_path / "patches").mkdir()
    for name in ("1_2_he_3.png", "._1_2_he_3.png"):
        (tmp_path / "patches" / name).write_bytes(name.encode())
    grammar = Grammar(r"(?P<case>.+)_(?P<slice>\d+)_(?P<stain>.+)_(?P<patch>\d+)\.png", STAINS)
    scanned = patch_files.scan(tmp_path / "patches", grammar)
    assert scanned.patches["path"].tolist() == ["1_2_he_3.png"]
    assert scanned.left_out == [("._1_2_he_3.png", "hidden or system file", "", 0)]


def test_what_a_link_leads_to_is_hidden_only_if_the_link_is(tmp_path):
    name, root = "case_1_match_1_he_patch{}.png", tmp_path / "patches"
    for place in ("patches/.store/a", "patches/b", "elsewhere"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / name.format(len(place))).write_bytes(place.encode())
    (root / "a").symlink_to(".store/a")
    (root / ".link").symlink_to(tmp_path / "elsewhere")
    (root / ".store/up").symlink_to("..")
    taken = inventory.take(root, read(tmp_path, "Case,Class\n1,1\n"), GRAMMAR, list(STAINS), "exclude")
    assert sorted(taken.patches["path"]) == [f"a/{name.format(16)}", f"b/{name.format(9)}"]


def test_what_a_browser_kept_beside_its_original_is_another_patch(tmp_path):
    folder, name = tmp_path / "patches", "case_1_match_1_he_patch5{}.png"
    contents = {"": b"one", " (1)": b"two", " (2)": b"one", " (3)": b"two", " (4)": b"", "(5)": b"three"}
    folder.mkdir()
    for copy, content in contents.items():
        (folder / name.format(copy)).write_bytes(content)
    taken = inventory.take(folder, read(tmp_path, "Case,Class\n1,1\n"), GRAMMAR, list(STAINS), "exclude")
    assert {*taken.patches["path"]} == {name.format(copy) for copy in ("", " (1)", "(5)")}
    assert {*taken.patches["patch"]} == {5}
    reasons = dict(zip(taken.excluded["name"], taken.excluded["reason"]))
    assert reasons[name.format(" (2)")] == "copy made by an operating system"
    assert reasons[name.format(" (3)")] == "copy of another file"
    assert name.format(" (4)") in reasons


def test_letters_and_accents_apart_are_the_letters_together(tmp_path):
    stain = "mélan"
    grammar = Grammar(NAMES["pattern"], {unicodedata.normalize("NFC", stain): []})
    folder = tmp_path / unicodedata.normalize("NFD", "é")
    folder.mkdir()
    name = unicodedata.normalize("NFD", f"case_1_match_1_{stain}_patch1.png")
    (folder / name).write_bytes(b"x")
    taken = inventory.take(
        tmp_path,
        read(tmp_path, "Case,Class\n1,1\n"),
        grammar,
        [unicodedata.normalize("NFC", stain)],
        "exclude",
    )
    assert taken.patches.loc[0, "stain"] == unicodedata.normalize("NFC", stain)
    assert (tmp_path / taken.patches.loc[0, "path"]).is_file()


def test_odd_things_in_a_folder_are_listed(tmp_path):
    folder = tmp_path / "patches"
    (folder / os.fsdecode(b"caf\xe9")).mkdir(parents=True)
    for name in (
        os.fsdecode(b"caf\xe9/case_1_match_1_h&e_patch1.png"),
        "1\u00b23.png",
        "case_1_match_1_h&e_patch1.png",
    ):
        (folder / name).write_bytes(os.fsencode(name))
    os.mkfifo(folder / "case_1_match_1_h&e_patch2.png")
    (folder / "share").symlink_to(tmp_path / "absent")
    taken = inventory.take(folder, read(tmp_path, "Case,Class\n1,1\n"), GRAMMAR, list(STAINS), "exclude")
    assert list(taken.patches["path"]) == ["case_1_match_1_h&e_patch1.png"]
    assert taken.excluded["reason"].value_counts().to_dict() == {
        "name of its folder is not readable text": 1, "no patch number": 1, "not a regular file": 1, "broken link": 1,
    }  # fmt: skip


def test_a_copy_is_beside_its_original_in_either_form_of_unicode(tmp_path):
    grammar = Grammar(NAMES["pattern"], {"m\u00e9lan": []})
    folder = tmp_path / "patches"
    folder.mkdir()
    apart = unicodedata.normalize("NFD", "case_1_match_1_m\u00e9lan_patch2{}.png")
    for copy in ("", "(1)"):
        (folder / apart.format(copy)).write_bytes(b"x")
    taken = inventory.take(folder, read(tmp_path, "Case,Class\n1,1\n"), grammar, ["m\u00e9lan"], "exclude")
    assert list(taken.excluded["detail"]) == list(taken.patches["path"]) == [apart.format("")]


def test_ids_that_are_equal_as_numbers_keep_one_order(tmp_path):
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches/case_a1_match_1_he_patch1.png").write_bytes(b"x")
    orders = []
    for ids in (("a1", "a01", "a001"), ("a001", "a1", "a01")):
        labelled = read(tmp_path, "Case,Class\n" + "".join(f"{case},1\n" for case in ids))
        taken = inventory.take(tmp_path / "patches", labelled, GRAMMAR, list(STAINS), "exclude")
        orders.append(list(taken.cases["case_id"]))
    assert orders[0] == orders[1]


def test_folders_are_followed_once_and_must_be_readable(tmp_path, monkeypatch):
    real = tmp_path / "elsewhere/case_1"
    real.mkdir(parents=True)
    (real / "case_1_match_1_h&e_patch1.png").write_bytes(b"x")
    root = tmp_path / "patches"
    root.mkdir()
    for name in ("a", "b"):
        (root / name).symlink_to(real)
    (root / "loop").symlink_to("loop")
    taken = inventory.take(root, read(tmp_path, "Case,Class\n1,1\n"), GRAMMAR, list(STAINS), "exclude")
    assert list(taken.patches["path"]) == ["a/case_1_match_1_h&e_patch1.png"]
    (root / "closed").mkdir()
    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, *args: opened(_closed(path), *args))
    with pytest.raises(UserError, match="closed: cannot be read"):
        inventory.take(root, read(tmp_path, "Case,Class\n1,1\n"), GRAMMAR, list(STAINS), "exclude")


def _closed(path):
    if str(path).endswith("closed"):
        raise PermissionError(13, "Permission denied", str(path))
    return path


def test_a_loss_is_a_fault(tmp_path):
    taken = study(tmp_path, ["case_1_match_1_h&e_patch1.png", "case_11_match_1_h&e_patch1.png"])
    rows = len(taken[1])
    inventory._account(2, rows, *taken)
    for files, labelled, excluded in ((3, rows, taken[2]), (2, rows + 1, taken[2]), (2, rows, taken[2][:0])):
        with pytest.raises(RuntimeError):
            inventory._account(files, labelled, *taken[:2], excluded)


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


def test_a_case_with_patches_of_other_stains_alone_is_not_said_to_have_none(tmp_path):
    names = [
        "case_1_match_1_he_patch1.png",
        "case_010_match_1_cd31_patch1.png",
        "case_010_match_1_cd31_patch2.png",
        "case_10_match_1_ki67_patch1.png",
        "case_2_match_1_cd31_patch1.png",
        "case_2_match_1_he_patch1.png",
    ]
    _, cases, excluded = study(tmp_path, names)
    status = dict(zip(cases["case_id"], cases["status"]))
    assert (status["10"], status["12"], status["2"]) == (inventory.ONLY_UNKNOWN, "no patches", "used")
    row = excluded[(excluded["kind"] == "case") & (excluded["name"] == "10")].iloc[0]
    assert tuple(row[["reason", "detail", "patches"]]) == (inventory.ONLY_UNKNOWN, "patches of cd31, ki67", 0)
    _, used, left_out = flow.begin(cases, excluded)[-1]
    lost = {each["reason"]: each["cases"] for each in left_out}
    assert lost == {inventory.ONLY_UNKNOWN: 1, "no patches": 1} and len(used) == 2


def test_unknown_stains_can_be_an_error(tmp_path):
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches/case_1_match_1_cd31_patch1.png").write_bytes(b"x")
    with pytest.raises(UserError, match="1 patches of stain 'cd31'"):
        inventory.take(tmp_path / "patches", read(tmp_path, "Case,Class\n1,1\n"), GRAMMAR, list(STAINS), "error")


def test_labels_as_a_person_reads_them(tmp_path):
    text = '\ufeffCase; Class ;Note\n 038 ;1.0;\n\n;;\n2;3,0;"in two\nlines"\r\n\u00a02.0;03;\n'
    table = read(tmp_path, text)
    assert table[["case_id", "label", "class", "row"]].to_numpy().tolist() == [
        ["038", "1", "benign", 2],
        ["2", "3", "high-grade", 5],
        ["2", "3", "high-grade", 6],  # spelt as in row 5
    ]
    for head in ("\n\nCase;Class\n", "sep=;\nCase;Class\n", '"Case";"Class";"a, b, c, d"\n'):
        assert list(read(tmp_path, head + "1;1" + (";" if "a," in head else "") + "\n")["case_id"]) == ["1"]
    words = {"benign": ["Benign"], "high-grade": ["HG"]}
    assert list(read(tmp_path, "Case\tClass\n1\tbenign\n2\thg\n", classes=words)["label"]) == ["Benign", "HG"]


def test_repeated_rows_are_listed(tmp_path):
    _, cases, excluded = study(tmp_path, ["case_1_match_1_h&e_patch1.png"], "Case,Class\n1,1\n\n001,1.0\n2,3\n")
    assert list(cases["case_id"]) == ["1", "2"]
    rows = excluded[excluded["kind"] == "row"]
    assert rows[["name", "detail"]].to_numpy().tolist() == [["row 4", "case 1 is in row 2"]]


def test_rows_of_slides_are_no_exclusions(tmp_path):
    table = "Case,Class\n1,1\n1,1\n001,1\n2,3\n2,3\n3,1\n"
    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "case_1_match_1_h&e_patch1.png").write_bytes(b"x")
    taken = inventory.take(folder, read(tmp_path, table), GRAMMAR, list(STAINS), "exclude")
    assert list(taken.cases["case_id"]) == ["1", "2", "3"] and "row" not in set(taken.excluded["kind"])
    assert taken.told == ["The labels table has several rows a case, as for slides: 6 rows are 3 cases"]


def test_a_lacking_column_of_patients_may_be_null(tmp_path):
    """Who has none learns that null is allowed and what it means, and others are not told."""
    with pytest.raises(UserError) as error:
        read(tmp_path, "Case,Class\n1,1\n", patient_column="Pat")
    told = "null if patients are not known, then each case counts as one patient"
    assert "no column 'Pat'" in error.value.problems[0] and told in error.value.problems[0]
    with pytest.raises(UserError) as error:
        read(tmp_path, "Case,Klass\n1,1\n")
    assert told not in error.value.problems[0]


@pytest.mark.parametrize(
    "text, words",
    [
        ("Case,Klass\n1,1\n", "no column 'Class'"),
        ("Case|Class\n1|1\n", "no column 'Case', 'Class': it has 'Case|Class'"),
        ("Case,Class\n1,1\n01,3\n", "case 1 has different classes: '1' in row 2, '3' in row 3"),
        ("Case,Class\n1,9\n", "row 2: case 1: class code '9' is in neither"),
        ("Case,Class\n1,\n", "row 2: case 1: the class is empty: fill it in"),
        ("Case,Class\n,1\n", "row 2: no case id"),
        ("Case,Class\n", "no rows"),
        ("\n\n", "empty"),
        ('Case,Class\n1,"1\n2,3\n', "line 3: not CSV: .* check the quotes"),
        ("Case,Class\n1,1,5\n", "row 2: 3 values, but 2 columns"),
        ("Case,Class\n" + "1,9\n" * 1000, "rows 2, 3, 4 and 997 more: class code '9'"),
        ("Case,Case\n1,1\n", "column 'Case' twice"),
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
    table = read(tmp_path, "Case,Class,Patient\n26,1,P1\n109,1,p1\n3,3,P2\n", patient_column="Patient")
    assert list(table["patient_id"]) == ["P1", "P1", "P2"]
    with pytest.raises(UserError, match="different patients"):
        read(tmp_path, "Case,Class,Patient\n26,1,P1\n26,1,P3\n", patient_column="Patient")


def test_an_id_that_is_too_long_is_named_with_its_row(tmp_path):
    longest = "x" * LONGEST
    assert list(read(tmp_path, f"Case,Class\n{longest},1\n")["case_id"]) == [longest]
    with pytest.raises(UserError, match=r"row 3: a case id of more than 200 characters") as error:
        read(tmp_path, f"Case,Class\n1,1\n{longest}x,1\n")
    assert len(error.value.problems[0]) < 250


def test_ids_are_the_users_own(tmp_path):
    names = [
        "case_tcga-aa-0001_match1_h&e_patch1.png",
        "case_TCGA-AA-0001_Match_1_he_patch2.png",
        "case_TCGA-aa-0001_Match_1_he_patch3.png",
        "case_TCGA-AA-0001_match_01_sox10_patch1.png",
        "case_38_match1_h&e_patch1.png",
        "case_Other-07_match1_h&e_patch1.png",
        "case_other-07_match1_h&e_patch2.png",
    ]
    patches, cases, excluded = study(tmp_path, names, "Case,Class\nTCGA-AA-0001,1\n038,3\ntcga-aa-0001,1\n")
    assert dict(zip(cases["case_id"], cases["n_patches"])) == {"038": 1, "TCGA-AA-0001": 4}
    # of several spellings the most frequent, and of equally frequent ones the first
    assert patches.groupby(["case_id", "stain", "slice_id"]).size().to_dict() == {
        ("038", "h&e", "match1"): 1,
        ("Other-07", "h&e", "match1"): 2,
        ("TCGA-AA-0001", "h&e", "Match_1"): 3,
        ("TCGA-AA-0001", "sox10", "match_01"): 1,
    }
    assert set(excluded.loc[excluded["kind"] == "case", "name"]) == {"Other-07"}


SLICE_NUMBERS = ["1", "11", "101", "1001", "011", "2021-01", "2021-1", "12", "1-2"]


def test_slices_of_a_case_stay_apart(tmp_path):
    pattern = r"(?P<case>\d+)_(?P<slice>[\d-]+)_(?P<stain>he)_(?P<patch>\d+)\.png"
    for number in SLICE_NUMBERS:
        (tmp_path / f"1_{number}_he_1.png").write_bytes(number.encode())
    labelled = read(tmp_path, "Case,Class\n1,1\n")
    taken = inventory.take(tmp_path, labelled, Grammar(pattern, {"h&e": ["he"]}), ["h&e"], "exclude")
    assert taken.cases["n_slices"].tolist() == [len(SLICE_NUMBERS)]
    assert set(taken.patches["slice_id"]) == set(SLICE_NUMBERS)


def test_a_dry_run_notices_changes_without_a_walk(tmp_path, monkeypatch):
    root, known = tmp_path / "patches", tmp_path / "watched.json"
    (root / "a/b").mkdir(parents=True)
    patch = root / "a/b/case_1_match_1_h&e_patch1.png"
    patch.write_bytes(b"one")

    def look(root=root):
        return folders.look(root, known)

    def remember(state):
        visited = {folder: time for folder, time, _ in folders.visit(root)}
        folders.remember(root, known, visited=visited, paths=[patch.relative_to(root).as_posix()], state=state)

    found, state = look()
    assert found == [str(root), str(root / "a"), str(root / "a/b")]
    remember(state)
    with monkeypatch.context() as context:
        context.setattr(folders, "visit", lambda root: pytest.fail("walked"))
        assert look() == (found, state)
    assert look(tmp_path / "other") == ([str(tmp_path / "other")], "")  # of another folder it knows nothing
    for damaged in ("", "{}", "[1]", json.dumps({"root": str(root)})):
        text = known.read_text()
        known.write_text(damaged)
        assert look()[0] == found
        known.write_text(text)
    changes = {
        "new": lambda: (root / "a/b/new.png").touch(),
        "folder": lambda: (root / "a/b/c").mkdir(),
        "set back": lambda: os.utime(root / "a/b", ns=(10**18, 10**18)),  # as archives and copies do
        "in place": lambda: os.utime(patch, ns=(10**18, 10**18)),
        "removed": lambda: (root / "a/b/new.png").unlink(),
    }
    for name, change in changes.items():
        change()
        assert look()[1] != state, name
        assert look() == look()
        found, state = look()
        remember(state)
        assert look() == (found, state)


def test_a_dry_run_looks_at_so_many_files_at_most(tmp_path):
    root, known = tmp_path / "patches", tmp_path / "watched.json"
    root.mkdir()
    for n in (1, folders.WATCHED, folders.WATCHED + 1, 3 * folders.WATCHED + 7):
        folders.remember(root, known, visited={}, paths=[f"{i}.png" for i in range(n)], state="")
        watched = len(json.loads(known.read_text())["files"])
        assert n // 4 < watched <= min(n, folders.WATCHED)


def test_real_cohort(shared):
    data = shared / "colon_mil"
    table = labels.read(data / "labels.csv", **OF_LABELS | {"classes": CLASSES})
    taken = inventory.take(data / "patches", table, GRAMMAR, list(STAINS), "exclude")
    patches, excluded = taken.patches, taken.excluded
    truth = pd.read_csv(data / "patch_truth.csv")
    assert set(patches["path"]) == set(truth["file"])
    stems = truth.set_index("file")
    found = patches.set_index("path")
    assert (found["stain"] == stems.loc[found.index, "stain"]).all()
    assert (found["slice_id"].map(slice_id) == stems.loc[found.index, "slice"].map(slice_id)).all()
    assert (excluded["kind"] == "file").sum() == 6


def test_names_that_no_pattern_reads_are_told_by_what_they_resemble(tmp_path):
    grammar = Grammar(r"^(?P<case>[^/]+)/[^/ ]+ (?P<stain>he) tile(?P<patch>\d+)\.png$", STAINS)
    names = [f"{c}/{c} he tile{n:03d}.png" for c in (1, 2) for n in (1, 2, 3)]
    copies = {"OLD/1/1 he tile001.png": names[0], "2/notes about the case.png": "other", "1/1 he til004.png": "new"}
    marked = ["1/1 he tile002 - Kopie.png", "1/Kopie von 1 he tile002.png", "1/1 he tile002 - Copy (2).png",
              "2/2 he tile001 copy.png", "2/Copy of 2 he tile001.png", "2/2 he tile001(1).png"]  # fmt: skip
    contents = {name: name for name in names} | copies
    contents |= {name: names[1] if name[0] == "1" else names[3] for name in marked}
    for name, content in contents.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_text(content)
    labelled = read(tmp_path, "Case,Class\n1,1\n2,3\n")
    taken = inventory.take(tmp_path / "p", labelled, grammar, list(STAINS), "exclude")
    assert list(taken.patches["path"]) == names
    told = {row.name: (row.reason, row.detail) for row in taken.excluded.itertuples(index=False)}
    assert {told[name][0] for name in marked} == {"copy made by an operating system"}
    assert [told[name][1] for name in copies] == [f"same bytes as {names[0]}", "", "mistyped? like 1/1 he tile004.png"]
    rows = {row["reason"]: row for row in cohort_excluded.by_reason(taken.excluded)}
    assert rows["name does not follow the pattern, but nearly"]["example"] == "1/1 he til004.png"
    assert rows["name does not follow the pattern, same bytes as a patch"]["n"] == 1

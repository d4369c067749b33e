"""Marks of readers: what of them excludes a patch, what is signal, and what is wrong with a table."""

import io
import logging

import pandas as pd
import pytest
from scripts_here import call

from stratamil.cohort import flow, marks
from stratamil.core import tables
from stratamil.core.errors import UserError
from stratamil.report import cohort_excluded

HEAD = "case_id,file,mark,signal,note,reader,blinded,seed,time\n"
NAMES = [f"case_{case}_match_1_{stain}_patch{i}.png" for case in (1, 2) for stain in ("h&e", "melan") for i in (1, 2)]


def exported(*rows):
    """A table as the case browser exports it: (file, mark, signal, reader)."""
    return HEAD + "".join(
        f'1,{file},{mark},{signal},"a ""note"",\n two lines",{reader},1,7,t\n' for file, mark, signal, reader in rows
    )


def taken(tmp_path, text):
    """Run the inventory with this list; returns patches.parquet, cases.csv and excluded.csv."""
    folder = tmp_path / "patches"
    folder.mkdir(exist_ok=True)
    for name in NAMES:
        (folder / name).write_bytes(name.encode())
    (tmp_path / "labels.csv").write_text("Case,Class\n1,1\n2,3\n")
    (tmp_path / "marks.csv").write_text(text, encoding="utf-8")
    words = ["--patches", folder, "--labels", tmp_path / "labels.csv", "--exclude-patches", tmp_path / "marks.csv"]
    words += ["--output", tmp_path / "patches.parquet", "--cases", tmp_path / "cases.csv"]
    call("inventory", *words, "--excluded", tmp_path / "excluded.csv")
    cases, excluded = tables.read_cases(tmp_path / "cases.csv"), tables.read_excluded(tmp_path / "excluded.csv")
    return pd.read_parquet(tmp_path / "patches.parquet"), cases, excluded


def test_artefacts_are_excluded_with_the_reason_and_counted_in_the_flow(tmp_path, caplog):
    rows = [(NAMES[0], "artefact", "", "A"), (NAMES[0], "Artefact", "", "B"), (NAMES[1], "signal", 1, "A")]
    rows += [(NAMES[2], "artefact", "", "A"), (NAMES[3], "artefact", "", ""), ("gone.png", "artefact", "", "A")]
    patches, cases, excluded = taken(tmp_path, exported(*rows))
    out = [NAMES[0], NAMES[2], NAMES[3]]
    assert sorted(patches["path"]) == sorted(set(NAMES) - set(out))
    listed = excluded.set_index("name")
    assert listed.loc[out, "reason"].tolist() == [marks.MARKED] * 3
    assert listed.loc[out, "detail"].tolist() == ["by A, B", "by A", ""]
    assert cases.set_index("case_id")["n_patches"].tolist() == [1, 4]
    assert cases["missing_stains"].tolist()[0] == "melan;sox10"
    [source] = [each for each in flow.sources(cases.set_index("case_id"), excluded, True) if each["unit"] == "files"]
    assert {"reason": marks.MARKED, "n": 3} in source["left_out"] and source["n"] == len(NAMES)
    assert source["kept"] == 5
    [row] = cohort_excluded.by_reason(excluded)
    assert (row["kind"], row["n"], row["patches"]) == ("file", 3, 3)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [
        f"{tmp_path}/marks.csv: 1 of 4 files are not among the patches: gone.png: nothing is excluded for them"
    ]


def test_a_list_of_files_excludes_all_of_them_and_marks_without_artefacts_none(tmp_path):
    patches, _, excluded = taken(tmp_path, f"file\n{NAMES[5]}\n{NAMES[6]}\n")
    assert len(patches) == 6 and excluded["reason"].tolist() == [marks.LISTED] * 2
    patches, _, excluded = taken(tmp_path, exported((NAMES[0], "signal", 1, "A")))
    assert len(patches) == 8 and excluded.empty


def test_a_case_whose_patches_are_all_excluded_says_so(tmp_path):
    listed = "\n".join(["file", *NAMES[:4]])
    _, cases, excluded = taken(tmp_path, listed)
    assert cases["status"].tolist() == ["no patches", "used"]
    (case,) = excluded[excluded["kind"] == "case"].to_dict("records")
    assert (case["name"], case["reason"], case["detail"]) == ("1", "no patches", "all are in cohort.exclude_patches")


@pytest.mark.parametrize(
    "text, line",
    [
        ("path\na.png\n", "column file is missing (found: 'path')"),
        ("file\nother.png\n", "1 of 1 files are not among the patches: other.png: file must be the path below"),
        (exported(("", "artefact", "", "A")), "row 2: no file: give the path below the patches folder"),
        ("", "empty: write a header and its rows"),
    ],
)
def test_a_wrong_list_is_one_line(tmp_path, text, line):
    with pytest.raises(UserError) as error:
        taken(tmp_path, text)
    assert len(error.value.problems) == 1 and line in error.value.problems[0] and "marks.csv" in error.value.problems[0]


def test_an_american_s_artifact_is_one_and_a_list_without_any_is_said(tmp_path, caplog):
    patches, _, excluded = taken(tmp_path, exported((NAMES[0], "artifact", "", "A"), (NAMES[0], "artefact", "", "a")))
    assert len(patches) == 7 and excluded["detail"].tolist() == ["by A"] and not caplog.records
    taken(tmp_path, exported((NAMES[0], "fold", "", "A")))
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{tmp_path}/marks.csv: no mark is artefact: nothing is excluded"
    ]


def test_a_table_that_a_spreadsheet_saved_again_says_the_same(tmp_path):
    text = exported(("a;b", "signal", 1, "Anna"), ("a;b", "not signal", 0, "B"), ("c", "signal", 1, "anna"))
    cells = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    saved = cells.to_csv(sep=";", index=False, lineterminator="\r\n")
    (tmp_path / "marks.csv").write_bytes(saved.encode("utf-8-sig"))
    assert marks.read_signal(tmp_path / "marks.csv").to_numpy().tolist() == [
        ["a;b", "Anna", 1.0],
        ["a;b", "B", 0.0],
        ["c", "Anna", 1.0],
    ]


def test_signal_by_reader_without_what_nobody_decided(tmp_path):
    """Blinded marks count as others; the same mark twice is one."""
    rows = [("a", "signal", 1, "A"), ("a", "not signal", 0, "B"), ("b", "artefact", "", "A"), ("a", "signal", 1, "A")]
    (tmp_path / "marks.csv").write_text(exported(*rows))
    read = marks.read_signal(tmp_path / "marks.csv")
    assert read.to_numpy().tolist() == [["a", "A", 1.0], ["a", "B", 0.0]]
    for wrong, line in (
        (exported(("a", "x", 2, "A")), "row 2: signal is 2: write 0 or 1"),
        (exported(("a", "x", 1, "A"), ("a", "x", 0, "A")), "row 3: a is listed twice by A: remove one"),
        ("file,signal\na,1\na,1\n", "row 3: a is listed twice: remove one"),
        ("file,mark\na,1\n", "column signal is missing"),
        (exported(("a", "not signal", 1, "A")), "row 2: mark is not signal, but signal is 1: correct one of them"),
        (exported(("a", "signal", "", "A")), "row 2: mark is signal, but signal is empty"),
        (exported(("a", "artefact", 0, "A")), "row 2: mark is artefact, but signal is 0"),
    ):
        (tmp_path / "marks.csv").write_text(wrong)
        with pytest.raises(UserError) as error:
            marks.read_signal(tmp_path / "marks.csv")
        assert len(error.value.problems) == 1 and line in error.value.problems[0]

"""Tables: a user's of any width, the workflow's own, and what a spreadsheet may get."""

import random

import pandas as pd
import pytest
from factories import OF_LABELS
from hypothesis import given
from hypothesis import strategies as st
from seeds import SEED

from stratamil.cohort import labels
from stratamil.core import files, tables
from stratamil.core.errors import UserError

CLASSES = {"benign": ["1"], "high-grade": ["3", "4"]}


def read(tmp_path, text, **options):
    (tmp_path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    settings = OF_LABELS | {"patient_column": "Patient", "classes": CLASSES} | options
    return labels.read(tmp_path / "labels.csv", **settings)


def problems(tmp_path, text, **options):
    with pytest.raises(UserError) as error:
        read(tmp_path, text, **options)
    return [line.partition("labels.csv: ")[2] for line in error.value.problems]


@pytest.mark.parametrize(
    "word",
    [
        "NA",
        "N/A",
        "n.a.",
        "#N/A",
        "<NA>",
        "nan",
        "NaN",
        "None",
        "NULL",
        "Unknown",
        "(unknown)",
        "-",
        "--",
        "?",
        ".",
        "ＮＡ",
        "Not Reported",
        "#REF!",
        "#DIV/0!",
    ],
)
def test_a_patient_who_is_not_known_is_missing(tmp_path, word):
    rows = ["1,1,P1", f"2,3,{word}", "3,3,P3", "4,1,", f"5,1,{word}"]
    (line,) = problems(tmp_path, "Case,Class,Patient\n" + "\n".join(rows))
    assert line.startswith(f"nothing in column 'Patient': {word!r} in rows 3, 6, row 5: name the patient, or set")


def test_a_patient_may_have_the_name_of_nothing_where_the_config_says_so(tmp_path):
    text = "Case,Class,Patient\n1,1,NA\n2,3,unknown\n"
    assert list(read(tmp_path, text, missing_words=[])["patient_id"].str.lower()) == ["na", "unknown"]
    (line,) = problems(tmp_path, text, missing_words=["n. a."])
    assert "'NA' in row 2: " in line and "take the word out of cohort.missing_words" in line


def test_one_case_may_be_called_na_but_not_two(tmp_path):
    assert len(read(tmp_path, "Case,Class,Patient\nNA,1,a\n2,3,b\n")) == 2
    assert problems(tmp_path, "Case,Class,Patient\nNA,1,a\n2,3,b\nn/a,1,c\n-,1,d\n") == [
        "row 5: no case id: fill it in or delete the row",
        "no case id: 'NA' in row 2, 'n/a' in row 4: name the cases or delete the rows",
    ]


def test_many_mistakes_of_a_kind_are_one_line(tmp_path):
    rows = [f",1,p{i}\n{i},{i + 10},p\nx{i % 9},{1 + 2 * (i % 2)},q{i}\n={i}+1,1,r\n1,1,2,3\n" for i in range(1, 100)]
    assert len(problems(tmp_path, "Case,Class,Patient\n" + "".join(rows))) == 1  # rows of other widths, first of all
    lines = problems(tmp_path, "Case,Class,Patient\n" + "".join(rows).replace("1,1,2,3\n", ""))
    assert [line.partition(":")[0] for line in lines][:1] == ["rows 2, 6, 10 and 96 more"]
    assert len(lines) == 5
    assert all(len(line) < 400 for line in lines)


def test_ids_that_a_spreadsheet_would_run_are_refused(tmp_path):
    (line,) = problems(tmp_path, "Case,Class,Patient\n=1+1,1,a\n@b,1,b\n-5,1,+1\n-c,1,＝d\n")
    assert line.startswith(
        "a spreadsheet takes for a formula: '=1+1' in row 2, '@b' in row 3, '-c' in row 5 and 1 more"
    )


@pytest.mark.slow
def test_wide_tables_and_long_lines(tmp_path):
    """Looking for each column among all others, as before, would take minutes here."""
    n = 100_000
    wide = ",".join(["Case", "Class", "Patient", *(f"c{i}" for i in range(n))]) + "\n1,1,a" + ",x" * n + "\n"
    assert len(read(tmp_path, wide)) == 1
    assert len(read(tmp_path, f"Case,Class,Patient,Note\n1,1,a,{'x' * 300_000}\n")) == 1
    assert problems(tmp_path, wide.replace("c7,", "c8,")) == ["column 'c8' twice: keep one"]


def test_a_table_beyond_all_measure_is_not_read(tmp_path):
    with open(tmp_path / "labels.csv", "wb") as file:
        file.truncate(tables.LARGEST + 1)
    with pytest.raises(UserError, match="too large for a table"):
        tables.sheet(tmp_path / "labels.csv", "give another")


def damaged(content, rng):
    """A copy of bytes with up to eight of them changed, or cut."""
    if rng.random() < 0.2:
        return content[: rng.randrange(len(content))]
    content = bytearray(content)
    for _ in range(rng.choice([1, 2, 4, 8])):
        content[rng.randrange(len(content))] = rng.choice(b"\0\n\r,;\t\"'=\xff\xc3 1x")
    return bytes(content)


def fuzz(tmp_path, seed, n):
    """Read damaged labels and own tables; all that is raised is for a user."""
    rng = random.Random(seed)
    good = '\ufeffCase;Class;Patient\n1;1;a\n2;3;"b\nc"\n03;4;ü\n'.encode()
    frame = pd.DataFrame(
        {"kind": ["file"] * 3, "name": ["a", "=b", "é"], "reason": "x", "detail": "", "patches": [0, 1, 2]}
    )
    files.write_csv(frame, tmp_path / "good.csv")
    own = (tmp_path / "good.csv").read_bytes()
    for _ in range(n):
        (tmp_path / "own.csv").write_bytes(damaged(own, rng))
        for call in (lambda: read(tmp_path, damaged(good, rng)), lambda: tables.read_excluded(tmp_path / "own.csv")):
            try:
                call()
            except UserError as error:
                assert len(error.problems) < 5


@pytest.mark.slow
def test_damaged_tables_are_one_line(tmp_path):
    fuzz(tmp_path, seed=1, n=150)
    for name, content in {"empty": b"", "binary": b"\xff\xfe\0" * 50, "columns": b"a,b\n1,2\n"}.items():
        (tmp_path / f"{name}.csv").write_bytes(content)
        for reader in (tables.read_cases, tables.read_excluded):
            with pytest.raises(UserError, match=f"{name}.csv: .*: delete it and run again"):
                reader(tmp_path / f"{name}.csv")


@pytest.mark.slow
@pytest.mark.long
def test_many_damaged_tables_are_one_line(tmp_path):
    fuzz(tmp_path, seed=SEED, n=20_000)


@pytest.mark.slow
@given(st.lists(st.text(st.sampled_from("=+-@'\t\r\n＝＋－＠ 1.a,\""), max_size=6), min_size=1))
def test_no_cell_is_a_formula_and_each_comes_back_as_it_was(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    files.write_csv(pd.DataFrame({"name": texts, "n": 1}), path)
    for text in pd.read_csv(path, dtype=str, keep_default_na=False)["name"]:
        number = text[1:].replace(",", ".").replace(".", "", 1).isdigit() and text[0] in "+-"
        assert text[:1] not in tuple("=+-@\t\r\n＝＋－＠") or number
    assert list(tables._own(path, (), dtype={"name": str})["name"]) == texts
    numbers = pd.DataFrame({"n": [-1.5, 2]})
    files.write_csv(numbers, path)
    assert path.read_text() == "n\n-1.5\n2.0\n"


def test_a_remark_above_the_column_names_is_one_line(tmp_path):
    (line,) = problems(tmp_path, "# exported 2026-10-02\ncase,class,patient\n1,1,a\n")
    assert line == "row 1 begins with #, where the column names should stand: delete it"


def test_columns_that_lack_are_one_line(tmp_path):
    (line,) = problems(tmp_path, "case,class,patient\n1,1,a\n")
    assert line.startswith("no column 'Case', 'Class', 'Patient': it has 'case', 'class', 'patient'")

"""Columns of the labels table: what is read, what is missing, numbers and categories, subgroups."""

import numpy as np
import pandas as pd
import pytest

from stratamil.cohort import columns
from stratamil.cohort.columns import Column
from stratamil.core.errors import UserError

CASES = pd.DataFrame({"case_id": [str(i) for i in range(1, 9)]})
WORDS = ["na", "unknown"]


def read(folder, text, *names):
    (folder / "labels.csv").write_text(text)
    return columns.read(folder / "labels.csv", names, CASES, case_column="Case", missing_words=WORDS)


def test_values_are_matched_by_case_and_words_for_nothing_are_missing(tmp_path):
    text = "Case;Class;Site;Age\n008;1;<b>A</b>;70,5\n1;1;n/a;\n2;1;B;61\n3;1; ;62\n4;1;B;63\n5;1;B;64\n99;1;Z;1\n"
    read_columns = read(tmp_path, text, "Site", "Age")
    site = read_columns["Site"]
    assert list(site.values.index) == list(CASES["case_id"]) and site.levels == ["<b>A</b>", "B"]
    assert site.values["8"] == "<b>A</b>" and list(site.values[site.values.isna()].index) == ["1", "3", "6", "7"]
    assert not read_columns["Age"].numeric  # five different ages are categories


def test_numbers_with_few_different_values_are_categories(tmp_path):
    text = "Case,Grade,Age\n" + "".join(f"{i},{i % 3},{50 + i}\n" for i in range(1, 9))
    found = read(tmp_path, text, "Grade", "Age")
    assert found["Grade"].levels == ["0", "1", "2"] and found["Age"].numeric and found["Age"].values["3"] == 53


def test_sites_are_as_the_inventory_spells_them_and_their_codes_are_no_numbers(tmp_path):
    (tmp_path / "labels.csv").write_text("Case,Site\n" + "".join(f"{i},{i}\n" for i in range(1, 9)) + "1,01\n")
    cases = CASES.assign(site=["1", "1", "2", "3", "4", "5", "6", ""])
    found = columns.read(tmp_path / "labels.csv", ["Site"], cases, case_column="Case", missing_words=WORDS, site="Site")
    assert found["Site"].levels == ["1", "2", "3", "4", "5", "6"] and found["Site"].values.isna().tolist()[-1]
    assert columns.groups(found["Site"])["1"] == "1"


def test_an_unknown_column_and_rows_that_contradict_each_other_are_a_line_each(tmp_path):
    with pytest.raises(UserError, match=r"no column 'Scanner': it has 'Case', 'Site': set report\.columns"):
        read(tmp_path, "Case,Site\n1,A\n", "Site", "Scanner")
    with pytest.raises(UserError) as error:
        read(tmp_path, "Case,Site,Sex\n1,A,f\n01,B,f\n2,A,m\n", "Site", "Sex")
    assert error.value.problems == (
        f"{tmp_path / 'labels.csv'}: case 1 has different 'Site': 'A' in row 2, 'B' in row 3; keep one",
    )


def test_ages_and_sexes_that_no_person_has_are_told_with_their_patient():
    patients = dict(zip("123456", "aabbcc"))

    def column(name, *values):
        return Column(name, pd.Series(values, index=list("123456")), not isinstance(values[0], str))

    ages = column("age", 61.0, 16.0, 50.0, 70.0, 430.0, np.nan)
    assert list(columns.implausible([ages], patients)) == [("age 16 and 61", "a", True), ("age 430", "c", False)]
    assert list(columns.implausible([ages], dict(zip("123456", "123456")))) == [("age 430", "5", False)]
    assert list(columns.implausible([column("Sex", "m", "f", "f", "f", None, "m")], patients)) == [
        ("Sex f and m", "a", True)
    ]
    others = [column("age_months", *ages.values), column("Grade", *ages.values), column("Age", *[30.0] * 5, np.nan)]
    assert list(columns.implausible(others, patients)) == []


def written(values):
    return pd.Series(values, index=[str(i) for i in range(len(values))], dtype=object)


def test_a_decimal_comma_is_a_number_and_what_may_be_thousands_is_not():
    ages = columns.typed("Alter", written(["80,5", "49,5", "61", "62.5", "70,25", "730", None]))
    assert ages.numeric and ages.values.tolist()[:6] == [80.5, 49.5, 61, 62.5, 70.25, 730] and ages.values.isna()["6"]
    assert list(columns.implausible([ages], dict.fromkeys(ages.values.index, "a"))) == [
        ("Alter 49.5, 61, 62.5, 70.25, 80.5 and 730", "a", True)
    ]
    few = columns.typed("Alter", written(["33,5", "69,5", "unclear"]))  # categories, of one patient
    assert not few.numeric and list(columns.implausible([few], dict.fromkeys("012", "b"))) == [
        ("Alter 33.5 and 69.5", "b", True)
    ]
    assert not columns.typed("Weight", written([f"{i},250" for i in range(1, 9)])).numeric
    assert columns.typed("Share", written([f"0,{i}50" for i in range(1, 9)])).values["0"] == 0.15


def test_dates_are_split_into_an_early_and_a_late_half_and_few_of_them_are_categories():
    texts = [f"{1 + i % 28}.{1 + i // 28}.2024" for i in range(80)]
    dates = columns.typed("Eingang", written([*reversed(texts), None]))
    assert dates.numeric and dates.dates and columns.split_into(dates) == "halves"
    assert columns.order(dates) == ["2024-01-01 to 2024-02-12", "2024-02-13 to 2024-03-24", "missing"]
    assert columns.groups(dates).value_counts().tolist() == [40, 40, 1]
    assert dates.of(["0", "3"]).dates
    assert columns.typed("Batch", written(["6.2.2024", "5.2.2024"] * 5)).levels == ["5.2.2024", "6.2.2024"]
    assert not columns.typed("Either", written([f"0{1 + i}/0{1 + i // 2}/2020" for i in range(8)])).numeric


@pytest.mark.parametrize("n, parts, how", [(40, 2, "halves"), (90, 3, "thirds")])
def test_numbers_are_split_into_halves_or_thirds(n, parts, how):
    values = pd.Series(np.arange(n, dtype=float), index=[str(i) for i in range(n)])
    values.iloc[-1] = np.nan
    column = Column("Age", values, True)
    of, order = columns.groups(column), columns.order(column)
    assert len(order) == parts + 1 and order[-1] == "missing" and columns.split_into(column) == how
    sizes = of.value_counts()
    assert sizes["missing"] == 1 and sizes[order[:-1]].max() - sizes[order[:-1]].min() <= 1
    assert order[0].startswith("0 to ") and order[-2].endswith(f" to {n - 2}")


def test_a_patient_has_the_value_of_their_first_case_that_has_one():
    column = Column("Site", pd.Series([None, "B", "A"], index=["1", "2", "3"], dtype=object), False)
    found = columns.by_patient(column, {"1": "p", "2": "p", "3": "q"})
    assert found.to_dict() == {"p": "B", "q": "A"}

"""Splits as CLAM, STAMP and others write them: the same sets from each, and one line for what is none."""

import json

import numpy as np
import pandas as pd
import pytest

from stratamil.cohort import splits
from stratamil.cohort.splits import Split
from stratamil.core.errors import UserError

IDS = [f"{number:02d}" for number in range(12)]  # two cases a patient, classes by turns of patients
CASES = pd.DataFrame(
    {
        "case_id": IDS,
        "class": ["ab"[number // 2 % 2] for number in range(12)],
        "patient_id": [f"P{number // 2}" for number in range(12)],
        "status": "used",
    }
)
SPLIT = Split(IDS[:4], IDS[4:8], IDS[8:])
TESTS = ((0, 1), (2, 3), (4, 5))  # patients that each of three splits tests


def preset(*paths):
    return splits.preset(paths, CASES, ["a", "b"])


def clam(path):
    """A column of ids a set with an index, as CLAM writes splits_0.csv; numbers in a column with gaps get decimals."""
    pd.DataFrame({"train": pd.Series([*map(float, IDS[:4])]), "val": IDS[4:8], "test": IDS[8:]}).to_csv(path)


def clam_bool(path):
    """True and false of each id, as CLAM writes splits_0_bool.csv."""
    sets = (SPLIT.train, SPLIT.val, SPLIT.test)
    table = {name: [case in ids for case in IDS] for name, ids in zip(("train", "val", "test"), sets)}
    pd.DataFrame(table, index=IDS).to_csv(path)


def padded(path):
    """Columns of unlike length, filled as `to_csv(na_rep="NaN")` does."""
    pd.DataFrame({"train": [*IDS[:4], None], "val": [*IDS[4:8], None], "test": [*IDS[8:], None]}).to_csv(
        path, na_rep="NaN"
    )


def indexed_bool(path):
    """True and false beside an index that is no id, and a row for each of two slides of a case."""
    sets = (SPLIT.train, SPLIT.val, SPLIT.test)
    table = {name: [case in ids for case in IDS] for name, ids in zip(("train", "val", "test"), sets)}
    table = pd.DataFrame({"case_id": IDS, "slide_id": [f"{case}_a" for case in IDS]} | table)
    pd.concat([table, table.assign(slide_id="b")]).reset_index(drop=True).to_csv(path)


def rows(path, head="case;set", words=("train", "Validation", "test"), ids=IDS):
    lines = [f"{case};{words[place * 3 // len(ids)]}" for place, case in enumerate(ids)]
    path.write_text("\n".join([head, *lines]), encoding="utf-8-sig")


def of_json(**lists):
    return lambda path: path.write_text(json.dumps(lists))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv", clam),
        ("a.csv", clam_bool),
        ("a.csv", padded),
        ("a.csv", indexed_bool),
        ("a.csv", rows),
        ("a.csv", lambda path: rows(path, "patient_id;split", ids=[f"p{number}" for number in range(6)])),
        ("a.json", of_json(train=IDS[:4], val=IDS[4:8], test=IDS[8:])),
        ("a.json", of_json(train_cases=[0, 1, 2, 3], validation_cases=IDS[4:8], test_cases=IDS[8:])),
        ("a.json", of_json(train_cases=IDS[:4], val=IDS[4:8], Test_ids=IDS[8:])),
        ("a.json", of_json(train_patients=["P0", "P1"], val_patients=["P2", "P3"], test_patients=["P4", "P5"])),
        ("a.npz", lambda path: np.savez(path, train_cases=[0, 1, 2, 3], val_cases=IDS[4:8], test_cases=IDS[8:])),
    ],
)
def test_each_layout_gives_the_same_sets(tmp_path, name, write):
    write(tmp_path / name)
    assert preset(tmp_path / name) == {"01": SPLIT}


def test_stamp_s_file_of_all_splits_has_validation_cases_from_the_next_test_set(tmp_path):
    entries = [
        {"train_patients": [f"P{p}" for p in range(6) if p not in test], "test_patients": [f"P{p}" for p in test]}
        for test in TESTS
    ]
    (tmp_path / "splits.json").write_text(json.dumps({"splits": entries}))
    made = preset(tmp_path / "splits.json")
    assert list(made) == ["01", "02", "03"]
    assert (
        sorted(made["01"].test) == IDS[:4]
        and sorted(made["01"].val) == IDS[4:8]
        and sorted(made["01"].train) == IDS[8:]
    )
    assert sorted(made["03"].val) == IDS[:4]  # the first is after the last
    for split in made.values():
        assert sorted([*split.train, *split.val, *split.test]) == IDS


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "x,y\n1,2\n", "no columns train, val and test, nor case and set: it has 'x', 'y': rename them"),
        ("a.csv", "", "a.csv: empty: write a header and its rows"),
        (
            "a.csv",
            "train,val,test\nM\xfcller,04,08\n".encode("latin-1"),
            "a.csv: row 2: not in UTF-8: save it as CSV UTF-8",
        ),
        ("a.csv", "train,val,validation,test\n00,04,05,08\n", "several columns of val: keep one"),
        ("a.csv", "train,val,test\n00_HE.svs,04_HE.svs,08\n", "00_HE.svs seems to be a slide: write the ids of cases"),
        ("a.csv", "train,test\n00,08\n", "no validation cases, nor a further split"),
        ("a.json", '{"train": ["00"], "val": ["04"], "dev": ["05"], "test": ["08"]}', "several lists val"),
        ("a.json", '{"train_patients": ["P0"], "val": ["04"], "test": ["08"]}', "lists of cases and of patients"),
        ("a.csv", "case,set\n1,traning\n", "column set has 'traning': write train, val or test"),
        ("a.csv", "train,val,test\n00,04,99\n", "test_cases names 99, not in the labels table"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[" * 100_000, "not JSON"),
        ("a.json", "[]", "no splits in it"),
        ("a.json", '{"train": ["00"]}', "a split without the lists train and test (and val): it has train"),
        ("a.json", '{"train": "00", "test": "01"}', "a split without the lists train and test"),
        ("a.json", '{"train": ["%s"], "test": ["01"]}' % ("x" * 300), "train: entry 1: no case id"),
        ("a.pkl", "x", "a.pkl: not one of .npz, .csv, .json: set splits.preset"),
    ],
)
def test_what_is_no_split_is_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as error:
        preset(tmp_path / name)
    assert any(said in line and str(tmp_path / name) in line for line in error.value.problems), error.value.problems

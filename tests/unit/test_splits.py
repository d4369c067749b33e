"""Splits: a partition without leaks, the same whatever the order, and preset files checked hard."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratamil import splits
from stratamil.errors import UserError
from stratamil.splits import Split

CLASSES = ["benign", "high-grade"]


def cohort(sizes, seed=0):
    """A used-cases table: sizes[class] patients, each with one to three cases."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, patients in zip(CLASSES, sizes):
        for patient in range(patients):
            rows += [{"class": name, "group": f"{name}{patient}"}] * int(rng.integers(1, 4))
    table = pd.DataFrame(rows)
    table["case_id"] = [str(i + 1) for i in rng.permutation(len(table))]
    return table


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(5, 30), st.integers(5, 30), st.integers(3, 5), st.integers(0, 1000))
def test_generated_splits_are_a_partition_without_leaks(benign, high_grade, n, seed):
    cases = cohort((benign, high_grade), seed)
    made = splits.generate(cases, n, seed)
    assert sorted(case for split in made for case in split.test) == sorted(cases["case_id"])
    for split in made:
        assert sorted([*split.train, *split.val, *split.test]) == sorted(cases["case_id"])
        assert not [line for line in splits.check(split, cases, "s", CLASSES) if "no case of class" not in line]
    shuffled = cases.sample(frac=1, random_state=seed)
    assert splits.generate(shuffled, n, seed) == made


def test_validation_is_the_next_test_set():
    made = splits.generate(cohort((20, 20)), 5, 1)
    assert [split.val for split in made] == [split.test for split in made[1:] + made[:1]]


def test_too_few_patients_of_a_class():
    with pytest.raises(UserError, match="class high-grade has 4 patients"):
        splits.generate(cohort((20, 4)), 5, 1)


def used():
    return pd.DataFrame(
        {
            "case_id": ["1", "2", "3", "4", "5", "6", "7"],
            "class": ["benign", "high-grade"] * 3 + ["benign"],
            "group": ["1", "2", "3", "4", "5", "6", "1"],
        }
    )


@pytest.mark.parametrize(
    "split, words",
    [
        (Split(["1", "2"], ["3", "4"], ["5", "6"]), None),
        (Split(["1", "2"], ["3", "4"], ["5", "4", "6"]), "val_cases and test_cases both hold 4"),
        (Split(["1", "2"], ["3", "4"], ["7", "6"]), "patient 1 is in train_cases .case 1. and test_cases .case 7."),
        (Split(["1", "2"], ["3", "4"], ["5", "6", "99"]), "test_cases names 99, not among the used cases"),
        (Split(["1", "2"], ["3", "4"], ["5"]), "test_cases holds no case of class high-grade"),
        (Split(["1", "2", "2"], ["3", "4"], ["5", "6"]), "train_cases names 2 more than once"),
    ],
)
def test_check(split, words):
    found = list(splits.check(split, used(), "file.npz", CLASSES))
    if words is None:
        assert found == []
    else:
        with pytest.raises(AssertionError, match=words):
            raise AssertionError("\n".join(found))


def test_files_hold_integers_or_text(tmp_path):
    np.savez(tmp_path / "old.npz", train_cases=[1, 10], val_cases=np.array(["038"]), test_cases=np.array([4.0]))
    assert splits.read(tmp_path / "old.npz") == Split(["1", "10"], ["38"], ["4"])
    splits.write(Split(["1"], ["2"], ["3", "10"]), tmp_path / "new.npz")
    assert splits.read(tmp_path / "new.npz") == Split(["1"], ["2"], ["3", "10"])


def test_bad_files(tmp_path):
    np.savez(tmp_path / "short.npz", train_cases=[1])
    np.savez(tmp_path / "pickled.npz", train_cases=np.array([None]), val_cases=[1], test_cases=[2])
    (tmp_path / "text.npz").write_text("1,2")
    for name, words in {
        "absent": "no such file",
        "short": "no array val_cases",
        "pickled": "without pickled",
        "text": "not a split file",
    }.items():
        with pytest.raises(UserError, match=words):
            splits.read(tmp_path / f"{name}.npz")


def test_coverage():
    lines = list(splits.coverage([Split([], [], ["1", "2"]), Split([], [], ["2", "3"])], used()))
    assert lines == ["in no test set: 4, 5, 6, 7", "in several test sets: 2"]

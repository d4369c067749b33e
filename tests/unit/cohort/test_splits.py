"""Splits: partitions without leaks, every class in every set where possible, and preset files checked hard."""

import io
import random
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seeds import SEED
from sklearn.model_selection import StratifiedGroupKFold

import splits as script
from stratamil.cohort import generated_splits, split_files, splits
from stratamil.cohort.inventory import ONLY_UNKNOWN
from stratamil.cohort.splits import Split
from stratamil.core.errors import UserError

CLASSES = ["benign", "low-grade", "high-grade"]
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def cohort(patients):
    """The cases of patients given as lists of class numbers, one a case; ids in an order of their own."""
    rows = [{"class": CLASSES[c], "patient_id": f"p{p}"} for p, own in enumerate(patients) for c in own]
    order = np.random.default_rng(0).permutation(len(rows))
    return pd.DataFrame(rows).assign(case_id=[str(i + 1) for i in order], status="used")


def simple(sizes, seed=0):
    """A cohort of sizes[class] patients of one class each, with one to three cases."""
    random = np.random.default_rng(seed)
    return cohort([[c] * int(random.integers(1, 4)) for c, size in enumerate(sizes) for _ in range(size)])


def possible(patients, n_classes, sets):
    """Whether whole patients can be shared out so that each of `sets` sets holds every class: all ways are tried."""
    states = {(frozenset(),) * sets}
    for own in patients:
        states = {(*state[:i], state[i] | set(own), *state[i + 1 :]) for state in states for i in range(sets)}
    return any(all(len(held) == n_classes for held in state) for state in states)


def check_all(made, cases, classes):
    """Every split is one of all cases, without a leak, and with every class in every set."""
    for name, split in made.items():
        assert sorted([*split.train, *split.val, *split.test]) == sorted(cases["case_id"])
        assert list(splits.check(split, cases, name, classes)) == []


def generate(cases, classes, n_splits, seed, validation=None, n_repeats=1, left_out=""):
    return generated_splits.generate(
        cases,
        classes,
        n_splits=n_splits,
        n_repeats=n_repeats,
        validation=validation,
        seed=seed,
        left_out=left_out,
    )


@pytest.mark.slow
@QUICK
@given(st.integers(5, 25), st.integers(5, 25), st.sampled_from([(2, 0.2), (3, None), (5, None), (4, 0.1)]), st.data())
def test_each_repeat_is_a_partition_whatever_the_order_of_the_table(benign, low_grade, how, data):
    n, validation = how
    seed, repeats = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.integers(1, 2))
    cases = simple((benign, low_grade), seed)
    made = generate(cases, CLASSES[:2], n, seed, validation, repeats)
    assert list(made) == [f"{i:02d}" for i in range(1, n * repeats + 1)]
    check_all(made, cases, CLASSES[:2])
    tests = [split.test for split in made.values()]
    for first in range(0, n * repeats, n):
        assert sorted(case for test in tests[first : first + n] for case in test) == sorted(cases["case_id"])
    assert generate(cases.sample(frac=1, random_state=seed), CLASSES[:2], n, seed, validation, repeats) == made


@pytest.mark.slow
@QUICK
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=4, max_size=8),
    st.sampled_from([(2, 0.2), (3, None), (3, 0.3)]),
    st.integers(0, 100),
)
def test_every_class_in_every_set_wherever_possible(patients, how, seed):
    n, validation = how
    cases = cohort(patients)
    classes = sorted(set(cases["class"]))
    try:
        check_all(generate(cases, classes, n, seed, validation), cases, classes)
        made = True
    except UserError as error:
        assert len(error.problems) >= 1 and all("splits.n_splits" in problem for problem in error.problems)
        made = False
    # of two halves each is divided again
    assert made == possible(patients, len(classes), 4 if n == 2 else n)


def test_a_class_that_the_greedy_draw_misses_is_brought_in():
    cases = cohort([[0], [0], [1], [1], [0, 1]])
    folding = StratifiedGroupKFold(3, shuffle=True, random_state=1)
    drawn = [test for _, test in folding.split(cases, cases["class"], cases["patient_id"])]
    assert any(cases["class"].iloc[test].nunique() < 2 for test in drawn)
    check_all(generate(cases, CLASSES[:2], 3, 1), cases, CLASSES[:2])


def test_repeats_differ_and_the_first_is_that_of_the_seed():
    cases = simple((20, 20))
    once, twice = (generate(cases, CLASSES[:2], 3, 5, n_repeats=repeats) for repeats in (1, 2))
    assert {name: twice[name] for name in once} == once
    assert twice["04"] not in once.values()
    assert generate(cases, CLASSES[:2], 3, 6) != once


def test_ids_that_are_equal_in_natural_order():
    cases = simple((8, 8)).replace({"case_id": {"1": "a1", "2": "a01", "3": "a001"}})
    made = [generate(cases.sample(frac=1, random_state=i), CLASSES[:2], 3, 1) for i in range(5)]
    assert all(other == made[0] for other in made)


def test_validation_is_the_next_test_set_of_the_same_repeat():
    made = list(generate(simple((20, 20)), CLASSES[:2], 3, 1, n_repeats=2).values())
    assert [split.val for split in made] == [made[i].test for i in (1, 2, 0, 4, 5, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("n, share", [(2, 0.25), (3, 0.2), (5, 0.15), (5, 0.2), (10, 0.05)])
def test_validation_has_about_the_share_asked_for(n, share):
    cases = simple((30, 60))
    for split in generate(cases, CLASSES[:2], n, 1, share).values():
        assert len(split.test) / len(cases) == pytest.approx(1 / n, abs=0.03)
        assert len(split.val) / len(cases) == pytest.approx(share, abs=0.03)
        benign = cases["class"][cases["case_id"].isin(split.val)] == "benign"
        assert benign.mean() == pytest.approx((cases["class"] == "benign").mean(), abs=0.15)


@pytest.mark.parametrize(
    "sizes, n, validation, words",
    [
        ((20, 4), 5, None, "splits.n_splits is 5, but class low-grade has 4 patients: 5 are needed"),
        ((20, 3), 2, 0.1, "splits.n_splits is 2, but class low-grade has 3 patients: 4 are needed"),
        ((20, 0), 5, None, "class low-grade has 0 patients"),
        ((20, 20), 2, None, "leaves no training cases"),
        ((20, 20), 4, 0.75, "leaves no training cases"),
    ],
)
def test_what_cannot_be_generated(sizes, n, validation, words):
    with pytest.raises(UserError, match=re.escape(words)):
        generate(simple(sizes), CLASSES[:2], n, 1, validation)


def used(patients):
    """Cases 1, 2, ... of patients given as in `cohort`, in order, and three that are not used: 7x."""
    cases = cohort(patients).assign(case_id=lambda table: [str(i + 1) for i in range(len(table))])
    others = pd.DataFrame({"case_id": ["71", "72", "73"], "patient_id": ["71", "72", "73"]})
    others = others.assign(status=["no patches", "class code 0 excluded", "class code 2 excluded"])
    others["class"] = ["benign", "", ""]
    return pd.concat([cases, others], ignore_index=True)


TWO = ["benign", "low-grade"]
SIX = [[0, 0], [1], [0], [1], [0], [1]]  # cases 1 and 2 are of one patient


@pytest.mark.parametrize(
    "sets, words",
    [
        ((["1", "2", "3"], ["4", "5"], ["6", "7"]), []),
        ((["1", "2", "3"], ["4", "5"], ["5", "6", "7"]), ["f: val_cases and test_cases both hold 5: "]),
        ((["1", "3"], ["4", "5"], ["2", "7"]), ["share patient p0 (case 1 and case 2): keep a patient in one set"]),
        ((["1", "2", "3"], ["4", "5"], ["6", "7", "7"]), ["f: test_cases names 7 more than once: "]),
        ((["1", "3", "99"], ["4", "5"], ["6", "7"]), ["f: train_cases names 99, not in the labels table: "]),
        ((["1", "3", "71"], ["4", "5"], ["6", "7"]), ["f: train_cases names 71, labelled but without patches: "]),
        (
            (["1", "3", "73", "72"], ["4", "5"], ["6", "7"]),
            [
                "names 72, labelled but with class code 0 excluded: ",
                "names 73, labelled but with class code 2 excluded",
            ],
        ),
        ((["1", "3"], ["4", "5"], ["6"]), ["f: test_cases holds no used case of class low-grade: "]),
        ((["1", "3"], [], ["6", "7"]), ["f: val_cases is empty: "]),
        (
            (["1", "1", "3"], ["2"], ["98"]),
            [
                "test_cases names 98, not in",
                "train_cases names 1 more than once",
                "val_cases holds no used case of class low-grade",
                "test_cases holds no used case of class benign, low-grade",
                "train_cases and val_cases share patient p0 (case 1 and case 2)",
            ],
        ),
    ],
)
def test_check(sets, words):
    found = list(splits.check(Split(*sets), used(SIX), "f", TWO))
    assert len(found) == len(words), found
    for line, part in zip(found, words):
        assert line.startswith("f: ") and part in line


def test_all_problems_of_all_preset_files_are_told_at_once(tmp_path):
    for name, test in (("one", ["6", "98"]), ("two", ["6", "7", "71"])):
        splits.write(Split(["1", "2", "3"], ["4", "5"], test), tmp_path / f"{name}.npz")
    paths = [tmp_path / f"{name}.npz" for name in ("one", "absent", "two")]
    with pytest.raises(UserError) as error:
        splits.preset(paths, used(SIX), TWO)
    lines = list(zip(error.value.problems, [paths[2], paths[0], paths[0], paths[1]], strict=True))
    assert all(line.startswith(f"{path}: ") for line, path in lines)


def test_cases_that_presets_name_and_that_are_not_used_are_one_line_of_a_kind(tmp_path):
    paths = [tmp_path / f"{i}.npz" for i in range(1, 6)]
    for i, path in enumerate(paths):
        lost = [["71", "99_HE.svs", "98"], [], []]
        train, val, test = (own + lost[(k + i) % 3] for k, own in enumerate((["1", "2", "3"], ["4", "5"], ["6", "7"])))
        splits.write(Split(train, val, test), path)
    with pytest.raises(UserError) as error:
        splits.preset(paths, used(SIX), TWO)
    where = f"{paths[0]}, {paths[1]}, {paths[2]} and 2 more: train_cases, val_cases and test_cases name"
    assert error.value.problems == (
        f"{where} 71, labelled but without patches: take them out, or add their patches",
        f"{where} 98, 99_HE.svs, not in the labels table: correct the ids, or add them to the labels",
    )


@pytest.mark.parametrize(
    "values, ids",
    [
        ([1, 10], ["1", "10"]),
        (np.array([4.0, 38.0]), ["4.0", "38.0"]),
        (np.array([3], dtype=np.uint8), ["3"]),
        (["038", "B7"], ["038", "B7"]),
        (np.array([b"038"]), ["038"]),
    ],
)
def test_files_hold_whole_numbers_or_text(tmp_path, values, ids):
    np.savez(tmp_path / "s.npz", train_cases=values, val_cases=["x"], test_cases=np.array([]))
    assert splits.read(tmp_path / "s.npz") == Split(ids, ["x"], [])
    splits.write(Split(ids, ["x"], []), tmp_path / "again.npz")
    assert splits.read(tmp_path / "again.npz") == Split(ids, ["x"], [])


def test_ids_of_foreign_files_are_matched_and_spelt_as_in_the_labels(tmp_path):
    cases = used(SIX)
    own = dict(zip(cases["case_id"], ["01", "TCGA-02", "3", "4.0", "5", "006"]))
    cases["case_id"] = [own.get(case, case) for case in cases["case_id"]]
    for train in (["1", "tcga-02 ", "3"], ["1.0", "Tcga-02", "03"]):
        np.savez(tmp_path / "s.npz", train_cases=train, val_cases=["04", "5"], test_cases=np.array([6.0, 7.0]))
        split = splits.preset([tmp_path / "s.npz"], cases, TWO)["01"]
        assert split == Split(["01", "TCGA-02", "3"], ["4.0", "5"], ["006", "7"])
    np.savez(tmp_path / "s.npz", train_cases=train, val_cases=["04", "5"], test_cases=["6", "7", "Stranger"])
    with pytest.raises(UserError, match="names Stranger, not in the labels"):
        splits.preset([tmp_path / "s.npz"], cases, TWO)


def test_bad_files(tmp_path):
    np.savez(tmp_path / "short.npz", train_cases=[1])
    np.savez(tmp_path / "pickled.npz", train_cases=np.array([None]), val_cases=[1], test_cases=[2])
    np.savez(tmp_path / "square.npz", train_cases=[[1, 2]], val_cases=[1], test_cases=[2])
    (tmp_path / "text.npz").write_text("1,2")
    for name, words in {
        "absent": "no such file",
        "short": "no array val_cases",
        "pickled": "without pickled",
        "square": "three lists",
        "text": "not a split file",
    }.items():
        with pytest.raises(UserError, match=f"{name}.npz: .*{words}"):
            splits.read(tmp_path / f"{name}.npz")


def with_tests(*tests):
    """Splits of which only the test sets count."""
    return {f"{i:02d}": Split([], [], list(test)) for i, test in enumerate(tests, 1)}


@pytest.mark.parametrize(
    "tests, words",
    [
        (("12", "34"), []),
        (("12", "34", "13", "24"), []),
        (("12", "23"), ["1 of 4 used cases are in no test set, so never predicted: 4", "splits 01 and 02 both test 1"]),
        (("12", "34", "1"), ["splits 01 and 03 both test 1 of the cases: 1"]),
        (("123", "234"), ["splits 01 and 02 both test 2 of the cases: 2, 3"]),
    ],
)
def test_warnings_of_coverage_know_repeats(tests, words):
    cases = used([[0], [1], [0], [1]])
    found = splits.warnings(with_tests(*tests), cases[cases["status"] == "used"], TWO)
    found = [line for line in found if not re.match(r"split \d|in \d", line)]
    assert len(found) == len(words), found
    assert all(line.startswith(part) for line, part in zip(found, words))


def off_balance(*given):
    return [f"{part} {off.words}" for _, part, off in splits.off_balance(*given)]


def test_what_is_off_balance_names_the_patient_who_is_the_reason():
    patients = [[1] * 7] + [[1]] * 23 + [[0]] * 20
    cases = used(patients)[:50]
    high, low = cases["case_id"][cases["class"] == "low-grade"], cases["case_id"][cases["class"] == "benign"]
    # the large patient and two more: 9 of 30 cases, where a fifth is 6; 4 of 20, as is due
    split = Split([*high[15:], *low[8:]], [*high[9:15], *low[4:8]], [*high[:9], *low[:4]])
    assert off_balance({"03": split}, cases, TWO, generated_splits.shares(5, None)) == [
        "train holds 15 of 30 low-grade cases, 18 were due",
        "test holds 9 of 30 low-grade cases, 6 were due: patient p0 alone has 7 cases",
    ]
    # too few cases are no patient's doing
    turned = {"03": Split(split.test, split.val, split.train)}
    assert off_balance(turned, cases, TWO, generated_splits.shares(5, None)) == [
        "train holds 9 of 30 low-grade cases, 18 were due",
        "test holds 15 of 30 low-grade cases, 6 were due",
    ]
    # a preset set is measured by its own size, here 27, 10 and 13 of 50 cases
    assert off_balance({"03": split}, cases, TWO, None) == [
        "train holds 12 of 20 benign cases, 10 or 11 were due",
        "test holds 9 of 30 low-grade cases, 7 or 8 were due: patient p0 alone has 7 cases",
    ]


def test_several_sets_that_are_off_balance_are_one_line_of_the_worst():
    cases = used([[1]] * 30 + [[0]] * 20)
    high, low = cases["case_id"][cases["class"] == "low-grade"], cases["case_id"][cases["class"] == "benign"]
    even = Split([*high[12:], *low[8:]], [*high[6:12], *low[4:8]], [*high[:6], *low[:4]])
    bad = Split([*high[15:], *low[8:]], [*high[9:15], *low[4:8]], [*high[:9], *low[:4]])
    given = (cases, TWO, generated_splits.shares(5, None))
    (line,) = [line for line in splits.warnings({"01": even, "02": bad, "03": even}, *given) if "sets" in line]
    assert line == (
        "in 1 of 3 splits, 2 sets hold too few or too many cases of a class, most of all in split 02: test holds 9 of "
        "30 low-grade cases, 6 were due"
    )
    almost = Split([*high[13:], *low[8:]], [*high[7:13], *low[4:8]], [*high[:7], *low[:4]])
    for alone, words in (
        ({"01": even}, []),
        ({"01": almost}, ["split 01: test holds 7 of 30 low-grade cases, 6 were due"]),
    ):
        assert splits.warnings(alone, *given)[1:] == words


@pytest.mark.parametrize("extra, off", [(0, False), (2, False), (3, True)])
def test_a_set_is_off_balance_by_a_case_and_more_than_a_tenth(extra, off):
    cases = used([[0]] * 100 + [[1]] * 100)[:200]
    benign, other = cases["case_id"][:100], cases["case_id"][100:]
    test = [*benign[: 20 + extra], *other[:20]]
    split = Split([*benign[40 + extra :], *other[40:]], [*benign[20 + extra : 40 + extra], *other[20:40]], test)
    lines = [
        line
        for line in splits.warnings({"01": split}, cases, TWO, generated_splits.shares(5, None))
        if ": test" in line
    ]
    assert lines == ([f"split 01: test holds {20 + extra} of 100 benign cases, 20 were due"] if off else [])


def test_a_share_for_validation_is_due():
    assert generated_splits.shares(4, 0.1) == pytest.approx({"train": 0.65, "val": 0.1, "test": 0.25})


def test_script_logs_warnings_and_the_table(tmp_path, monkeypatch, caplog):
    cases = cohort([[1] * 9] + [[1]] * 12 + [[0]] * 12)
    cases.assign(label="1").to_csv(tmp_path / "cases.csv", index=False)
    outputs = [str(tmp_path / f"s_{i}.npz") for i in range(6)]
    words = [
        "splits.py",
        "--cases",
        str(tmp_path / "cases.csv"),
        "--classes",
        *TWO,
        "--n-splits",
        "3",
        "--n-repeats",
        "2",
    ]
    monkeypatch.setattr("sys.argv", [*words, "--validation", "0.2", "--output", *outputs])
    caplog.set_level("INFO")
    script.main(script.arguments())
    assert [splits.read(path) for path in outputs] == list(generate(cases, TWO, 3, 42, 0.2, 2).values())
    told = [line for line in caplog.messages if "were due" in line]
    assert len(told) == 1 and told[0].startswith("in 6 of 6 splits, 16 sets hold too few or too many cases")
    assert "split   set" in caplog.text


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **{f"{part}_cases": np.arange(1000) for part in ("train", "val", "test")})
    content = bytearray(path.read_bytes())
    content[200:260] = b"\xff" * 60
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz: not a split file"):
        splits.read(path)


def claims(path, n, kind="<i8"):
    """A split file whose training cases claim a shape that is not there."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in ("train", "val", "test"):
            content = io.BytesIO()
            header = {"descr": kind, "fortran_order": False, "shape": (n if part == "train" else 0,)}
            np.lib.format.write_array_header_1_0(content, header)
            archive.writestr(f"{part}_cases.npy", content.getvalue())


@pytest.mark.parametrize("n, kind", [(10**10, "<i8"), (3, "<U999999999"), (-5, "<i8"), (10**30, "<U4")])
def test_a_split_file_that_claims_more_than_it_holds_is_not_read(tmp_path, n, kind):
    claims(tmp_path / "a.npz", n, kind)
    with pytest.raises(UserError, match=r"a\.npz: not a split file") as error:
        splits.read(tmp_path / "a.npz")
    assert len(error.value.problems) == 1


def test_a_split_file_that_unpacks_to_more_than_all_cases_is_not_read(tmp_path):
    sets = {f"{part}_cases": np.zeros(split_files.MOST + 1, "int64") for part in ("train", "val", "test")}
    np.savez_compressed(tmp_path / "a.npz", **sets)
    with pytest.raises(UserError, match=r"a\.npz: not a split file: train_cases claims 1,000,001 cases"):
        splits.read(tmp_path / "a.npz")


def fuzz(tmp_path, save, seed, n):
    """Read split files with some bytes changed, or cut; all that is raised is one line for a user."""
    save(tmp_path / "good.npz", **{f"{part}_cases": np.arange(40) for part in ("train", "val", "test")})
    good, rng = (tmp_path / "good.npz").read_bytes(), random.Random(seed)
    for _ in range(n):
        content = bytearray(good[: rng.randrange(len(good))] if rng.random() < 0.15 else good)
        for _ in range(rng.choice([1, 2, 8])):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
        (tmp_path / "a.npz").write_bytes(content)
        try:
            splits.read(tmp_path / "a.npz")
        except UserError as error:
            assert len(error.problems) == 1


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_split_files_are_one_line(tmp_path, save):
    fuzz(tmp_path, save, seed=1, n=400)


@pytest.mark.long
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_many_damaged_split_files_are_one_line(tmp_path, save):
    fuzz(tmp_path, save, seed=SEED, n=20_000)


@pytest.mark.parametrize(
    "ids, words",
    [
        (np.array(["1", "\ud800"]), "entry 2: no case id"),
        (np.array(["x" * 201, "2"]), "entry 1: no case id"),
        (np.array([16_777_217, 2], "float32"), "float32 rounds such large numbers"),  # to 16,777,216, another case
        (np.array([2**53 + 1, 2], float), "float64 rounds such large numbers"),
    ],
)
def test_what_is_no_id_in_a_split_file_is_one_line(tmp_path, ids, words):
    np.savez(tmp_path / "a.npz", train_cases=ids, val_cases=[3], test_cases=[4])
    with pytest.raises(UserError, match=f"a.npz: train_cases: {words}") as error:
        splits.read(tmp_path / "a.npz")
    assert len(str(error.value)) < 1000


def test_an_array_in_a_format_of_later_years_is_no_split_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("train_cases.npy", "w") as file:
        np.lib.format.write_array(file, np.arange(3), version=(3, 0))
    with pytest.raises(UserError, match="not a split file"):
        splits.read(tmp_path / "a.npz")


def test_too_few_cases_are_explained_by_what_was_left_out():
    rows = [(str(i), "2", "", "class code 2 excluded") for i in range(7)] + [("8", "0", "", "class code 0 excluded")]
    rows += [
        ("9", "3", "b", "no patches"),
        ("20", "3", "b", ONLY_UNKNOWN),
        *((str(i), "1", "a", "used") for i in range(10, 20)),
    ]
    cases = pd.DataFrame(rows, columns=["case_id", "label", "class", "status"]).assign(
        patient_id=lambda t: t["case_id"]
    )
    told = generated_splits.left_out(cases, "data/labels.csv")
    with pytest.raises(UserError) as error:
        generate(cases[cases["status"] == "used"], ["a", "b"], 5, 1, left_out=told)
    assert error.value.problems == (
        "splits.n_splits is 5, but class b has 0 patients: 5 are needed, one for every set; add cases, or correct its "
        "codes in cohort.classes; "
        "10 of 20 cases in data/labels.csv are excluded: 7 with code '2' and 1 with code '0' (cohort.excluded_codes), "
        "1 without patches, 1 without patches of a stain in names.stains",
    )
    assert generated_splits.left_out(cases[cases["status"] == "used"], "x") == ""

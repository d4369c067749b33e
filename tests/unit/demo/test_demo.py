"""The demo cohort: what it promises to hold, that it is the same each time, and that its truth is true."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from repository import REPOSITORY

from stratamil.core.errors import UserError
from stratamil.demo import anatomy, painter, tissue

ROOT = REPOSITORY
SEED, CASES, SIDE = 3, 30, 48


@pytest.fixture(scope="module")
def cohort():
    return painter.plan(SEED, CASES)


@pytest.fixture(scope="module")
def part(cohort):
    """A part of the cohort, quick to paint: some patches and those that have copies."""
    wanted = {patch.file for patch in cohort.patches[::8]} | set(cohort.copies.values())
    return cohort._replace(patches=[patch for patch in cohort.patches if patch.file in wanted])


@pytest.fixture(scope="module")
def folder(part, tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches")
    painter.write_patches(part, SEED, SIDE, folder, processes=2)
    return folder


@pytest.fixture(scope="module")
def default():
    return painter.plan(7, 60)


@pytest.mark.slow
def test_every_planned_file_is_painted_and_no_other(part, folder):
    assert {path.name for path in folder.iterdir()} == part.files()
    for patch in part.patches:
        with Image.open(folder / patch.file) as picture:
            assert picture.format == "PNG" and picture.mode == "RGB" and picture.size == (SIDE, SIDE)


def test_truth_has_a_row_for_every_recognised_file(cohort):
    others = set(cohort.copies) | set(painter.STRAYS) | {patch.file for patch in cohort.unnumbered}
    files = painter.truth(cohort)["file"]
    assert files.is_unique and set(files) == cohort.files() - others


def test_copies_are_identical(part, folder):
    assert len(part.copies) == 3
    for copy, original in part.copies.items():
        assert (folder / copy).read_bytes() == (folder / original).read_bytes()


def test_same_seed_same_bytes_by_any_number_of_processes(part, folder, tmp_path):
    some = part._replace(patches=part.patches[::-5], copies={})
    painter.write_patches(some, SEED, SIDE, tmp_path, processes=1)
    for patch in some.patches:
        assert (tmp_path / patch.file).read_bytes() == (folder / patch.file).read_bytes()
    assert painter.plan(SEED, CASES) == painter.plan(SEED, CASES) != painter.plan(SEED + 1, CASES)


@pytest.mark.parametrize("seed, cases", [(SEED, CASES), (7, 60)])
def test_all_oddities_of_names_occur(seed, cases):
    cohort = painter.plan(seed, cases)
    names = cohort.files()
    for odd in [
        r"case_0\d+_",
        r"_h&e-labels_patch\d+\.",
        r"_sox10\._patch",
        r"_patch\d+\(1\)\.png",
        r"_patch\d+ \(3\)\.",
        r"_patch\d+ 2\.",
        r"_h&e\.png",
        r"_unmatched\d",
        r"_he_",
        r"_H&E_",
        r"_MELAN_",
        r"\.PNG",
        r"_patch0\.",
        r"\.DS_Store",
        r"Thumbs\.db",
    ]:
        assert any(re.search(odd, name) for name in names), odd
    patches = pd.DataFrame(cohort.patches)
    written = patches.groupby("case_id")["file"].agg(lambda files: files.str.extract(r"^case_(\d+)_")[0].nunique())
    assert sorted(written)[-2:] == [1, 2], "one case is written both ways"
    assert set(patches.groupby(["case_id", "stain", "slice_id"])["number"].min()) == {0, 1}


def test_truth_names_where_each_file_belongs(cohort):
    for row in painter.truth(cohort).itertuples():
        name = row.file.lower().replace("_he_", "_h&e_")
        case, slice_id, stain = re.match(r"case_0*(\d+)_((?:un)?matche?d?_?\d+)_(h&e|melan|sox10)", name).groups()
        assert (int(case), stain) == (row.case_id, row.stain)
        assert slice_id.replace("_", "") == row.slice_id.replace("_", "")


def test_signal_only_in_classes_2_to_4_and_only_in_some_slices(default):
    table = painter.truth(default).merge(painter.labels(default), left_on="case_id", right_on="Case", how="left")
    share = table.groupby("Class")["signal"].mean()
    assert (share[[0, 1]] == 0).all() and table.loc[table["Class"].isna(), "signal"].sum() == 0
    assert 0 < share[2] < 0.1 and 0.11 < share[3] < 0.19 and 0.24 < share[4] < 0.36
    high = table[table["Class"] >= 3]
    assert (high.groupby("case_id")["signal"].sum() > 0).all()
    slices = high.groupby(["case_id", "stain", "slice_id"])["signal"].max()
    assert (slices.groupby("case_id").mean() < 1).mean() > 0.8
    assert len(table) == pytest.approx(2000, rel=0.1)


def test_benign_cases_have_more_slices(default):
    table = painter.truth(default).merge(painter.labels(default), left_on="case_id", right_on="Case")
    slices = table.drop_duplicates(["case_id", "stain", "slice_id"]).groupby(["Class", "case_id"]).size()
    benign, high = slices[1], slices[slices.index.get_level_values("Class") >= 3]
    assert benign.mean() > high.mean() + 1
    assert high.max() > benign.min(), "the count alone must not tell the class"


@pytest.mark.parametrize("seed, cases", [(SEED, CASES), (7, 60)])
def test_cases_patients_and_gaps(seed, cases):
    cohort = painter.plan(seed, cases)
    labels, patches = painter.labels(cohort), pd.DataFrame(cohort.patches)
    assert len(labels) == cases and labels["Case"].is_unique and labels["Case"].is_monotonic_increasing
    assert labels["Class"].value_counts().idxmax() == 1 and set(labels["Class"]) == {0, 1, 2, 3, 4}
    per_patient = labels["Patient"].value_counts()
    assert {2, 3} <= set(per_patient) and (per_patient > 1).sum() >= 5
    assert len(set(labels["Case"]) - set(patches["case_id"])) == 1
    assert len(set(patches["case_id"]) - set(labels["Case"])) == 1
    stains = patches.groupby("case_id")["stain"].nunique()
    assert (stains == 3).mean() > 0.6 and (stains < 3).any()


def test_splits_partition_cases_by_patient_and_class(default):
    labels = painter.labels(default).set_index("Case")
    used = set(labels[labels["Class"].isin([1, 3, 4])].index) & {patch.case_id for patch in default.patches}
    splits = painter.splits(default, 7)
    tests = np.concatenate([split["test_cases"] for split in splits])
    assert len(tests) == len(used) and set(tests) == used
    for split, following in zip(splits, splits[1:] + splits[:1], strict=True):
        assert all(cases.dtype == np.int64 for cases in split.values())
        assert set(np.concatenate(list(split.values()))) == used
        assert set(split["val_cases"]) == set(following["test_cases"])
        patients = [set(labels.loc[cases, "Patient"]) for cases in split.values()]
        assert sum(map(len, patients)) == len(set.union(*patients)), "a patient is in two sets"
        assert len(split["train_cases"]) == pytest.approx(0.6 * len(used), abs=2)
        for cases in split.values():
            assert (labels.loc[cases, "Class"] >= 3).mean() == pytest.approx(20 / 51, abs=0.1)


def test_committed_splits_are_those_of_the_default_demo(default):
    for number, split in enumerate(painter.splits(default, 7), 1):
        with np.load(ROOT / f"data_splits/demo/data_splits_{number:02d}.npz", allow_pickle=False) as stored:
            assert set(stored.files) == set(split)
            for name, cases in split.items():
                assert stored[name].dtype == np.int64
                np.testing.assert_array_equal(stored[name], cases)


@pytest.mark.slow
def test_stains_have_their_colours():
    """H&E is pink, the immunostains are pale; the signal is brown in immunostains, most of all in Melan-A."""

    def mean_colour(stain, signal):
        rngs = (np.random.default_rng([seed, 1]) for seed in range(12))
        return np.mean([tissue.paint(rng, stain, SIDE, tissue.staining(rng), signal).mean((0, 1)) for rng in rngs], 0)

    def brown(stain, signal):
        red, _, blue = mean_colour(stain, signal)
        return red - blue

    red, green, blue = mean_colour("h&e", False)
    assert min(red, blue) > green + 20
    for stain in ("melan", "sox10"):
        assert mean_colour(stain, False).min() > 200
        assert brown(stain, True) > brown(stain, False) + 10
    assert brown("melan", True) > brown("sox10", True)


@pytest.mark.slow
@pytest.mark.parametrize("stain", tissue.STAINS)
def test_benign_and_malignant_nests_differ_in_the_shape_of_their_nuclei_not_in_colour(stain):
    def painted(**what):
        rngs = (np.random.default_rng([seed, 1]) for seed in range(24))
        return np.mean([tissue.paint(rng, stain, SIDE, tissue.staining(rng), **what).mean((0, 1)) for rng in rngs], 0)

    assert np.abs(painted(signal=True) - painted(distractor="nevus")).max() < 2

    def nests(signal, distractor):
        scenes = [anatomy.lay_out(np.random.default_rng(seed), 2 * SIDE, signal, distractor) for seed in range(24)]
        cells = np.concatenate([scene.cells[scene.kind >= anatomy.NEVUS] for scene in scenes])
        return len(cells), np.sqrt(cells[:, 2] * cells[:, 3]).mean(), cells[:, 2] / cells[:, 3]

    (n, size, long), (others, usual, round_) = nests(True, ""), nests(False, "nevus")
    assert n == pytest.approx(others, rel=0.05) and size == pytest.approx(usual, rel=0.05)
    assert long.min() > 2 > 1.2 > round_.max()


def test_benign_cases_have_as_many_nests_as_malignant_ones(default):
    table = pd.DataFrame(default.patches).merge(painter.labels(default), left_on="case_id", right_on="Case")
    benign, high = table[table["Class"] == 1], table[table["Class"] >= 3]
    assert (benign["distractor"] == "nevus").mean() == pytest.approx(high["signal"].mean(), abs=0.05)
    assert not benign["signal"].any() and not (high["distractor"] == "nevus").any()


def test_refuses_a_folder_of_another_cohort_and_too_few_cases(cohort, tmp_path):
    (tmp_path / "case_999_match_1_h&e_patch1.png").touch()
    with pytest.raises(UserError, match=r"case_999.*move it away"):
        painter.write_patches(cohort, SEED, SIDE, tmp_path)
    with pytest.raises(UserError, match="30 cases or more"):
        painter.plan(SEED, 10)


@pytest.mark.slow
def test_script_writes_tables_and_splits(cohort, tmp_path):
    flags = ["--labels", tmp_path / "labels.csv", "--truth", tmp_path / "truth.csv", "--splits", tmp_path / "splits"]
    command = [sys.executable, ROOT / "scripts/demo.py", "--seed", SEED, "--cases", CASES, "--patch-px", 48, *flags]
    subprocess.run([str(part) for part in command], check=True)
    assert list(pd.read_csv(tmp_path / "labels.csv").columns) == ["Case", "Class", "Patient"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "truth.csv"), painter.truth(cohort))
    assert len(list((tmp_path / "splits").glob("data_splits_0[1-5].npz"))) == 5

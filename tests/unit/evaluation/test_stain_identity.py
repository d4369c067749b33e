"""Names of stains against their look: swaps are found, what looks alike is told, and no case teaches of itself."""

import numpy as np
import pandas as pd
import pytest
import torch
from factories import GRAMMAR

from stratamil.cohort import patch_files
from stratamil.evaluation import stain_identity
from stratamil.features import images
from stratamil.features.stain_stats import StainStats
from stratamil.features.store import Features

STAINS = ["h&e", "melan", "sox10"]
DIM = 8


def made(cases=20, apart=3.0, swaps=(), slices=2, seed=0):
    """Colours of cases with a tint of their own; stains are `apart`. swaps: (case, slice, stain, named)."""
    random = np.random.default_rng(seed)
    centres = apart * random.standard_normal((len(STAINS), DIM))
    renamed = {(case, piece, stain): name for case, piece, stain, name in swaps}
    rows, colours = [], []
    for case in range(cases):
        tint = 0.3 * random.standard_normal(DIM)
        for s, stain in enumerate(STAINS):
            for piece in range(slices):
                name = renamed.get((case, piece, stain), stain)
                place = f"{stain}{piece}" if name != stain else str(piece)
                for i in range(4):
                    rows.append((str(case), name, place, i, f"{case}/{stain}/{piece}/{i}.png"))
                    colours.append(centres[s] + tint + 0.5 * random.standard_normal(DIM))
    table = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"])
    colours = np.array(colours, dtype=np.float16)
    return Features(colours, table, {}, np.zeros(len(table), dtype=bool), colours)


def test_right_names_raise_nothing():
    found = stain_identity.look(made(), STAINS, 1)
    assert found["suspects"] == [] and found["told"] == found["slices"] == 120
    assert all(row["auc"] > 0.99 for row in found["pairs"]) and len(found["pairs"]) == 3


@pytest.mark.parametrize("seed", range(5))
def test_swapped_names_are_found_with_what_they_look_like(seed):
    swaps = [(3, 0, "h&e", "sox10"), (3, 1, "sox10", "h&e"), (7, 0, "melan", "h&e")]
    found = stain_identity.look(made(swaps=swaps, seed=seed), STAINS, seed)
    told = {(row["case"], row["slice"], row["stain"], row["looks"]) for row in found["suspects"]}
    assert told == {("3", "h&e0", "sox10", "h&e"), ("3", "sox101", "h&e", "sox10"), ("7", "melan0", "h&e", "melan")}
    (one,) = [row for row in found["suspects"] if row["case"] == "7"]
    assert one["odds"] > stain_identity.ODDS and one["n"] == 4
    assert one["patches"] == [f"7/melan/0/{i}.png" for i in range(3)]
    assert one["named"][0].startswith("7/h&e/") and one["like"][0] == "7/melan/1/0.png"  # of the same case


def test_stains_that_look_alike_are_told():
    found = stain_identity.look(made(apart=0.1), STAINS, 1)
    assert all(row["auc"] < stain_identity.ALIKE for row in found["pairs"])
    # each slice that is not told is named, surely or not
    assert found["unlike"] and len(found["unlike"]) + len(found["suspects"]) == found["slices"] - found["told"]


def test_a_case_is_judged_by_others_alone():
    """Whatever a case's slices are called, and however its other slices look, its probabilities are the same."""
    slices, x = stain_identity.describe(made())
    y = slices["stain"].map(STAINS.index).to_numpy()
    one = (slices["case_id"] == "5").to_numpy()
    before = stain_identity.probabilities(x, y, slices["case_id"], 1)
    changed, other = y.copy(), x.copy()
    changed[one] = (changed[one] + 1) % 3
    other[np.flatnonzero(one)[1:]] += 5
    after = stain_identity.probabilities(other, changed, slices["case_id"], 1)
    assert after[np.flatnonzero(one)[0]] == pytest.approx(before[np.flatnonzero(one)[0]], abs=1e-9)


def test_rare_stains_one_stain_and_no_images_are_left_out():
    features = made()
    rare = features.table["stain"].ne("sox10") | features.table["case_id"].isin(["1", "2"])
    kept = Features(features.values[rare], features.table[rare].reset_index(drop=True), {}, None, features.colour[rare])
    found = stain_identity.look(kept, STAINS, 1)
    assert found["stains"] == ["h&e", "melan"] and found["few"] == ["sox10"]
    assert stain_identity.look(kept, ["h&e"], 1) is None
    features.colour = None
    assert stain_identity.look(features, STAINS, 1) is None


def test_blank_patches_do_not_count():
    features = made(cases=6)
    features.blank[:] = False
    features.blank[:4] = True  # all of a slice
    slices, x = stain_identity.describe(features)
    assert len(slices) == len(x) == 35 and np.isfinite(x).all()
    features.blank[1:4] = False
    slices, x = stain_identity.describe(features)
    assert len(slices) == 36 and list(slices["rows"].iloc[0]) == [1, 2, 3]
    assert x[0] == pytest.approx(
        np.r_[features.colour[1:4].astype(float).mean(0), features.colour[1:4].astype(float).std(0)]
    )


@pytest.mark.slow
def test_swapped_names_of_real_stains(shared):
    """Three real stains of one lesion: a pair of slices, 2 % of all, swap names, case by case."""
    root = shared / "lesion_multistain/patches"
    table = patch_files.scan(root, GRAMMAR).patches
    describe, colours = StainStats(), []
    for path in table["path"]:
        pixels = torch.from_numpy(np.array(images.load(root / path).resize((96, 96)))).permute(2, 0, 1)[None].float()
        colours.append(describe(pixels)[0].numpy())
    colours = np.array(colours, dtype=np.float16)
    slices, x = stain_identity.describe(Features(colours, table.reset_index(drop=True), {}, None, colours))
    y = slices["stain"].map(STAINS.index).to_numpy()
    found = alarms = asked = 0
    for case in slices["case_id"].unique()[:12]:
        pair = np.flatnonzero(slices["case_id"] == case)[:2]
        named = y.copy()
        named[pair] = y[pair[::-1]]
        listed, _ = stain_identity.disagree(stain_identity.probabilities(x, named, slices["case_id"], 1), named)
        found, asked = found + listed[pair].sum(), asked + 2 * (y[pair[0]] != y[pair[1]])
        alarms += listed.sum() - listed[pair].sum()
    assert found >= 0.9 * asked > 0 and alarms == 0

"""Quality by stain and class: the residual against mixtures of dyes, made faults among sound patches, and the probe."""

import numpy as np
import pandas as pd
import pytest
import torch

from stratamil.evaluation import patch_quality
from stratamil.features import stain_stats, store
from stratamil.features.store import Features

STAINS, CLASSES = ["h&e", "melan"], ["benign", "high-grade"]
VECTORS = np.array(stain_stats.STAINS) / np.linalg.norm(stain_stats.STAINS, axis=1, keepdims=True)


def described(densities):
    """stain_stats of an image (H, W, 3) of densities of H, E and DAB."""
    pixels = 255 * 10 ** -(densities @ VECTORS)
    image = torch.from_numpy(pixels.clip(1, 255)).permute(2, 0, 1)[None].float()
    return stain_stats.StainStats()(image)[0].numpy().astype(np.float16)


def mixture(random, *shares):
    return random.gamma(2, 0.15, (32, 32, 3)) * np.array(shares)


def test_the_residual_is_what_a_third_dye_adds():
    random = np.random.default_rng(0)
    pure = [described(mixture(random, 1, share, 0)) for share in np.linspace(0.2, 1.5, 20)]
    foreign = [described(mixture(random, 1, 1, dab)) for dab in (0.5, 2.0)]
    found = patch_quality.residuals(np.array(pure + foreign), np.array(["h&e"] * 22))
    assert found[:20].max() < 0.01 < found[20] < found[21]
    # exactly: the density outside the plane, by the pixels themselves
    image = mixture(random, 1, 0.5, 1.5)
    moments = patch_quality._moments(np.array([described(image)]))[0]
    density = (image @ VECTORS).reshape(-1, 3)
    expected = density.T @ density / len(density)
    np.testing.assert_allclose(moments, expected / np.trace(expected), atol=0.01)
    assert patch_quality.residuals(np.array([described(np.zeros((32, 32, 3)))]), np.array(["x"])) == [0]


def sound(n=40, seed=0, cases=20):
    """Facts of patches of two stains; one is faint and has a tenth of the other's sharpness."""
    random = np.random.default_rng(seed)
    rows = []
    for s, stain in enumerate(STAINS):
        for case in range(cases):
            for i in range(n // 10):
                strength = random.lognormal(0, 0.3)
                rows.append({
                    "case_id": str(case), "stain": stain, "path": f"{case}/{stain}/{i}.png", "excluded": 0, "bits": 8,
                    "sharpness": 1000 * strength / 10**s, "contrast": 30 * strength**0.5 / 3**s, "width": 96,
                    "height": 96, "odd": 0, "tissue": random.uniform(0.3, 1), "saturation": random.uniform(0.1, 0.4),
                    "darkness": random.uniform(0.1, 0.4), "clipped": 0.0, "pen": 0.0, "black": 0.0, "residual": 0.01,
                    "emptied": False,
                })  # fmt: skip
    return pd.DataFrame(rows)


FAULTS = {
    "little tissue": {"tissue": 0.02}, "blurred": {"sharpness": 2.0, "contrast": 15.0}, "ink": {"pen": 0.1},
    "overexposed": {"clipped": 0.3}, "dark": {"darkness": 0.8}, "black spots": {"black": 0.2},
    "other colours": {"residual": 0.3}, "fewer bits": {"bits": 12},
}  # fmt: skip


def test_every_kind_has_a_fault_here():
    assert list(FAULTS) == list(patch_quality.KINDS) == list(patch_quality.WORST)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_suspect_and_sound_patches_of_a_faint_stain_are_not(kind):
    table = sound()
    assert not patch_quality.suspect(table, ink=True).to_numpy().any()
    rows = table.index[:: len(table) // 4]
    for name, value in FAULTS[kind].items():
        table.loc[rows, name] = value
    found = patch_quality.suspect(table, ink=True)
    assert found.index[found[kind]].tolist() == list(rows)
    assert not found.drop(columns=kind).to_numpy().any()
    if kind == "ink":
        assert not patch_quality.suspect(table, ink=False).to_numpy().any()
    table["excluded"] = 1  # an excluded patch is not suspect as well
    assert not patch_quality.suspect(table, ink=True).to_numpy().any()


def looked(table, **more):
    cases = pd.DataFrame({"case_id": [str(i) for i in range(20)], "patient_id": [f"p{i // 2}" for i in range(20)]})
    cases["class"] = [CLASSES[i // 2 % 2] for i in range(20)]
    used = table[table["excluded"] == 0].reset_index(drop=True)
    colour = np.zeros((len(used), store.COLOUR), np.float16)
    features = Features(colour, used[["case_id", "stain", "path"]], {}, None, colour)
    options = {"ink": True, "bootstrap_samples": 200, "seed": 1} | more
    return patch_quality.look(features, table.drop(columns="residual"), cases, CLASSES, STAINS, **options)


def test_a_stain_that_a_case_loses_is_named_and_one_of_some_patches_is_not():
    table = sound()
    of = table["case_id"].isin(["10", "2"]) & (table["stain"] == STAINS[1])
    table.loc[of | (table["path"] == f"3/{STAINS[1]}/0.png"), "excluded"] = 2
    assert looked(table)["lost"] == [{"stain": STAINS[1], "cases": ["2", "10"]}]
    assert looked(sound())["lost"] == []


def test_quality_that_tells_nothing_and_quality_that_tells_the_class():
    """The second from sharpness alone, by patient; the first is near chance, whatever the seed."""
    values = []
    for seed in range(6):
        found = looked(sound(seed=seed))
        values.append(found["probe"]["auc"].value)
        assert found["probe"]["patients"] == 10 and found["probe"]["auc"].n == 10
    assert 0.3 < np.mean(values) < 0.7
    table = sound()
    sharp = table["case_id"].astype(int) // 2 % 2 == 1
    table.loc[sharp, "sharpness"] *= 4
    found = looked(table)
    assert found["probe"]["auc"].value > 0.9 and patch_quality.telling(found)
    assert (found["probe"]["best"]["measure"], found["probe"]["best"]["more"]) == ("sharpness", "high-grade")


def test_rows_count_what_is_used_and_excluded_and_pictures_begin_with_the_worst():
    table = sound()
    table.loc[[0, 4], "excluded"] = 2
    table.loc[[8, 9], "tissue"] = [0.04, 0.01]
    found = looked(table)
    rows = pd.DataFrame(found["rows"])
    assert rows["patches"].sum() == found["patches"] == len(table) - 2 and rows["excluded"].sum() == 2
    assert rows["little tissue"].sum() == found["suspects"]["little tissue"] == found["suspect"] == 2
    here = table[(table["stain"] == "melan") & (table["case_id"].astype(int) // 2 % 2 == 0)]
    (row,) = [row for row in found["rows"] if (row["stain"], row["class"]) == ("melan", "benign")]
    assert row["sharpness"] == pytest.approx(here["sharpness"].median())
    first = found["pictures"][0]
    assert first["cases"] == table["case_id"][[9, 8]].tolist()
    assert first["paths"] == table["path"][[9, 8]].tolist() and (first["n"], first["low"]) == (2, 0.01)
    assert [(row["why"], row["n"]) for row in found["excluded"]] == [("too little tissue", 2)]
    nearest = [row for row in found["pictures"] if row["stain"] == "melan"]
    assert [(row["kind"], row["n"], len(row["paths"])) for row in nearest] == [
        ("little tissue", 0, 6),
        ("blurred", 0, 6),
    ]


def test_where_nothing_was_measured_nothing_is_said():
    table = sound()
    assert looked(table.assign(tissue=np.nan)) is None
    assert looked(table.iloc[:0]) is None

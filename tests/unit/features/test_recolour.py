"""Colours of patches before they are encoded: normalised to a reference, and jittered in further views."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scripts_here import call
from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer

from stratamil.core.errors import UserError
from stratamil.features import cache, extract, images, store
from stratamil.features import stain_normalisation as methods
from stratamil.features.recolour import AS_THEY_ARE, FACTOR, SHIFT, Recolour, jittered

SIZE = 32
SLICE = ("1", "h&e", "match_1")


def tissue(seed=0, strength=(1.2, 0.8), side=64, glass=0.2):
    """A patch of two stains in random amounts, some of it glass."""
    random = np.random.default_rng(seed)
    amounts = random.gamma(2, 0.5, (side * side, 2)) * strength
    amounts[random.random(len(amounts)) < glass] = 0
    density = amounts @ np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]]) + random.normal(0, 0.01, (side * side, 3))
    return np.clip(np.rint(240 * np.exp(-density)), 0, 255).astype(np.uint8).reshape(side, side, 3)


def lab(pixels):
    """l, alpha and beta of pixels (n, 3) by Ruderman's formula, cone by cone."""
    r, g, b = pixels.astype(float).T
    cones = [0.3811 * r + 0.5783 * g + 0.0402 * b, 0.1967 * r + 0.7244 * g + 0.0782 * b]
    long, middle, short = np.log([*cones, 0.0241 * r + 0.1288 * g + 0.8444 * b])
    parts = (long + middle + short) / 3**0.5, (long + middle - 2 * short) / 6**0.5, (long - middle) / 2**0.5
    return np.stack(parts, axis=1)


@given(st.integers(0, 1000), st.floats(0.6, 2), st.floats(0.6, 2))
@settings(max_examples=25, deadline=None)
def test_macenko_is_that_of_torchstain(seed, haematoxylin, eosin):
    pixels = tissue(seed, (haematoxylin, eosin))
    expected, _, _ = NumpyMacenkoNormalizer().normalize(pixels, stains=False)
    assert np.abs(methods.macenko(pixels).astype(int) - expected).max() <= 1  # which cuts off where this one rounds


def test_macenko_gives_stronger_and_weaker_stains_of_one_tissue_the_same_colours():
    weak, strong = tissue(3, (0.8, 0.7)), tissue(3, (1.4, 0.9))
    before, after = (
        np.abs(a.astype(int) - b).mean() for a, b in ((weak, strong), map(methods.macenko, (weak, strong)))
    )
    assert before > 20 > 5 > after


def test_reinhard_gives_tissue_the_statistics_of_the_reference_and_glass_becomes_white(monkeypatch):
    """With a reference that is darker than the published one: no tissue is beyond white, so that nothing is cut off."""
    monkeypatch.setattr(methods, "MEAN", (8.0, -0.12, 0.04))
    monkeypatch.setattr(methods, "SD", (0.3, 0.05, 0.02))
    pixels = tissue(1, (0.5, 0.4))
    found, glass = methods.reinhard(pixels), pixels.sum(axis=2) >= 3 * methods.GLASS
    assert 0.1 < glass.mean() < 0.5
    np.testing.assert_allclose(lab(found[~glass]).mean(axis=0), methods.MEAN, atol=0.01)
    np.testing.assert_allclose(lab(found[~glass]).std(axis=0), methods.SD, atol=0.01)
    assert np.abs(lab(pixels[~glass]).mean(axis=0) - methods.MEAN).max() > 0.3
    monkeypatch.undo()
    assert (methods.reinhard(pixels)[pixels.min(axis=2) > 235] == 255).all()


def test_reinhard_is_that_of_histomicstk():
    """Four pixels of a made patch with some glass, by histomicstk 1.4.0, reinhard(..., mask_out=glass)."""
    y, x = np.mgrid[:16, :16]
    pixels = np.dstack([150 + 5 * x, 60 + 4 * y + 3 * x, 120 + 2 * x + 5 * y]).astype(np.uint8)
    pixels[:4, :4] = 250
    expected = [(231, 118, 129), (193, 133, 185), (138, 127, 226), (255, 255, 255)]
    found = methods.reinhard(pixels)[[0, 8, 15, 15], [15, 8, 0, 15]]
    assert np.abs(found.astype(int) - expected).max() <= 1


def faint():
    """Glass with a little dirt."""
    pixels = np.full((SIZE, SIZE, 3), 245, np.uint8)
    pixels[0, :3] = (90, 60, 120)
    return pixels


def one_stain():
    """A ramp of one stain alone."""
    density = np.linspace(0.2, 2, SIZE * SIZE)[:, None] * (0.65, 0.70, 0.29)
    return np.rint(240 * np.exp(-density)).astype(np.uint8).reshape(SIZE, SIZE, 3)


@pytest.mark.parametrize("method", methods.METHODS)
@pytest.mark.parametrize(
    "pixels", [np.full((SIZE, SIZE, 3), colour, np.uint8) for colour in (0, 90, 255, (200, 90, 160))] + [faint()]
)
def test_what_cannot_be_normalised_stays_as_it_is(method, pixels):
    found = Recolour(method, 0).plan(SLICE)(pixels)
    assert found.failed and np.array_equal(found.pixels, pixels)


def test_macenko_leaves_a_patch_of_one_stain():
    assert methods.macenko(one_stain()) is None and methods.macenko(tissue()) is not None


def test_a_view_changes_all_patches_of_a_slice_alike_and_is_drawn_from_names():
    plan, other = (Recolour("none", 3).plan((case, "h&e", "match_1")) for case in ("1", "2"))
    changes = [plan.change(view) for view in plan.numbers] + [other.change(1)]
    assert len({tuple(np.concatenate(change)) for change in changes}) == 4
    assert all((abs(factors - 1) <= FACTOR).all() and (abs(shifts) <= SHIFT).all() for factors, shifts in changes)
    pixels = tissue()
    again = Recolour("none", 3).plan(SLICE)
    assert all(np.array_equal(a, b) for a, b in zip(plan(pixels).views, again(pixels).views))
    assert np.array_equal(plan(pixels).pixels, pixels) and not plan(pixels).failed


def test_no_change_of_densities_changes_no_pixel():
    pixels = np.random.default_rng(0).integers(1, 256, (20, 20, 3), dtype=np.uint8)  # the log of 0 is that of 1
    assert np.array_equal(jittered(pixels, np.ones(3), np.zeros(3)), pixels)
    darker = jittered(pixels, np.ones(3), np.full(3, 0.05))
    assert (darker <= pixels).all() and (darker < pixels).mean() > 0.9


def test_identity_tells_what_changes_features_and_is_empty_where_nothing_does():
    assert AS_THEY_ARE.identity == Recolour({"h&e": "none"}, 0).identity == {}
    kinds = [
        Recolour("macenko", 0),
        Recolour("reinhard", 0),
        Recolour({"h&e": "macenko"}, 0),
        Recolour("none", 2),
        Recolour("none", 3),
    ]
    assert len({str(kind.identity) for kind in kinds}) == 5 and all("colour_code" in kind.identity for kind in kinds)
    assert (
        Recolour({"a": "macenko", "b": "reinhard"}, 0).identity
        == Recolour({"b": "reinhard", "a": "macenko"}, 0).identity
    )


def test_flags():
    assert Recolour.of_words([], 0) == AS_THEY_ARE and Recolour.of_words(["macenko"], 2) == Recolour("macenko", 2)
    assert Recolour.of_words(["h&e=macenko", "a=b=reinhard"], 0) == Recolour({"h&e": "macenko", "a=b": "reinhard"}, 0)
    with pytest.raises(UserError, match=r"embed\.normalise: no method vahadane: set one of none, reinhard, macenko"):
        Recolour.of_words(["h&e=vahadane"], 0)


class Mean:
    """Gives the mean colour of a patch."""

    def __init__(self, resize="squash"):
        self.identity = {"encoder": "mean", "input_size": SIZE, "resize": resize, "dim": 3}
        self.device = torch.device("cpu")

    def __call__(self, batch):
        return batch.float().mean((1, 2))


class Study:
    """Patches of tissue in two stains and two slices of each, and one that is blank."""

    def __init__(self, root):
        self.root, self.folder = root, root / "patches"
        self.folder.mkdir()
        rows = []
        for n, (stain, slice_id) in enumerate([(stain, k) for stain in ("h&e", "sox10") for k in "12" for _ in "ab"]):
            path = f"case_1_match_{slice_id}_{stain}_patch{n}.png"
            Image.fromarray(tissue(n, side=SIZE) if n else np.full((SIZE, SIZE, 3), 90, np.uint8)).save(
                self.folder / path
            )
            rows.append(("1", stain, f"match_{slice_id}", n, path))
        table = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"])
        self.table = table.astype({"patch": "int32"})

    def embed(self, recolour=AS_THEY_ARE, name="out", encoder=None, **settings):
        output = self.root / f"{name}.h5"
        told = {"output": output, "cache": self.root / "cache" / f"{name}.h5", "max_unreadable": 0, "batch_size": 3}
        self.counts = extract.embed(
            self.table, ["1"], self.folder, encoder or Mean(), recolour=recolour, **told | settings
        )
        return output

    def expected(self, recolour, view=0):
        """Mean colour of each patch, or of a view of it."""
        rows = []
        for path, *slice_ in self.table[["path", "case_id", "stain", "slice_id"]].itertuples(index=False):
            found = recolour.plan(tuple(slice_))(images.read(self.folder / path, SIZE, "squash"))
            rows.append((found.views[view - 1] if view else found.pixels).mean((0, 1)))
        return np.array(rows, np.float32).astype(np.float16)


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def test_without_a_change_the_file_is_what_it_was(study):
    plain, same = study.embed(name="a"), study.embed(Recolour("none", 0), name="b")
    assert plain.read_bytes() == same.read_bytes() and "views" not in store.read([plain]).identity
    assert study.embed(Recolour({"sox10": "none"}, 0), name="c").read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_a_stain_is_normalised_the_others_are_not_and_failures_are_counted(study, resize):
    plain = store.read([study.embed(name="plain", encoder=Mean(resize))])
    recolour = Recolour({"h&e": "macenko"}, 0)
    found = store.read([path := study.embed(recolour, encoder=Mean(resize))])
    assert np.array_equal(found.values[:], study.expected(recolour))
    of_stain = (found.table["stain"] == "h&e").to_numpy()
    same = (found.values[:] == plain.values[:]).all(axis=1)
    assert same[~of_stain].all() and same.tolist().index(True) == 0 and not same[of_stain][1:].any()
    own = store.facts([path])["odd"].to_numpy() & images.Odd.OWN_COLOUR > 0
    assert study.counts.own_colour == 1 and own.tolist() == [True] + [False] * 7
    assert np.array_equal(found.colour[:], plain.colour[:])  # which tells what the image looks like


def test_padding_keeps_its_white(study):
    Image.fromarray(tissue(9)[:20]).save(study.folder / study.table["path"][3])
    facts = images.examine(study.folder / study.table["path"][3], SIZE, "pad", Recolour("reinhard", 1).plan(SLICE))
    assert (facts.pixels[:8] == 255).all() and (facts.further[0][:8] == 255).all() and facts.pixels[16].min() < 200


def test_views_stand_beside_the_features_and_survive_a_stop(study):
    """Whole, and in two parts of which the first was stopped; each is encoded once."""
    recolour = Recolour({"h&e": "reinhard"}, views=2)
    whole = study.embed(recolour)
    found = store.read([whole], viewed=True)
    n = len(study.table)
    for view in range(3):
        assert np.array_equal(found.viewed[view * n : (view + 1) * n], study.expected(recolour, view))
    assert np.array_equal(found.values[:], found.viewed[:n]) and store.read([whole]).viewed is None
    assert study.counts.encoded == n and study.embed(recolour) and study.counts.reused == n

    class Stopping(Mean):
        calls = 0

        def __call__(self, batch):
            self.calls += 1
            if self.calls > 7:  # three matrices a batch
                raise KeyboardInterrupt
            return super().__call__(batch)

    with pytest.raises(KeyboardInterrupt):
        study.embed(recolour, "parts", Stopping())
    assert study.embed(recolour, "parts").read_bytes() == whole.read_bytes() and study.counts.reused == 3


def test_a_cached_patch_is_used_again_only_if_its_colours_are_changed_alike(study):
    by_stain = Recolour({"h&e": "macenko", "sox10": "reinhard"}, 0)
    study.embed(by_stain)
    study.table["slice_id"] = "match_9"  # which normalisation does not ask about
    study.embed(by_stain)
    assert study.counts.reused == 8
    study.table["stain"] = study.table["stain"].replace({"sox10": "h&e"})  # it was spelt as another one
    found = store.read([study.embed(by_stain)])
    assert (study.counts.encoded, study.counts.reused) == (4, 4)
    assert np.array_equal(np.sort(found.values[:], axis=0), np.sort(study.expected(by_stain), axis=0))
    views = Recolour("none", 1)
    study.embed(views)
    study.table["slice_id"] = "match_8"  # which views are drawn from
    study.embed(views)
    assert study.counts.encoded == 8


def test_views_of_several_encoders_are_joined(study):
    """Side by side for the same patches, and of another stain beside zeros."""
    recolour, table = Recolour("none", 2), study.table
    both = [study.root / name / "shard_00.h5" for name in ("a", "b", "c")]
    study.table = table[table["stain"] == "h&e"].reset_index(drop=True)
    for path in both[:2]:
        study.embed(recolour, output=path)
    study.table = table[table["stain"] == "sox10"].reset_index(drop=True)
    study.embed(recolour, output=both[2])
    found, n = store.read(both, viewed=True), len(table)
    study.table = found.table
    of_stain = (found.table["stain"] == "h&e").to_numpy()
    for view in range(3):
        rows, expected = found.viewed[view * n : (view + 1) * n], study.expected(recolour, view)
        assert np.array_equal(rows[of_stain, :6], np.tile(expected[of_stain], 2)) and not rows[of_stain, 6:].any()
        assert np.array_equal(rows[~of_stain, 6:], expected[~of_stain]) and not rows[~of_stain, :6].any()
    study.table = table[table["stain"] == "h&e"].reset_index(drop=True)
    study.embed(output=both[1], name="b")
    with pytest.raises(UserError, match="encoders with different numbers of views"):
        store.read(both[:2], viewed=True)


def test_the_script_takes_both_settings_and_tells_what_keeps_its_colours(study, caplog):
    study.table.to_parquet(study.root / "patches.parquet")
    pd.DataFrame({"case_id": ["1"], "status": "used"}).to_csv(study.root / "cases.csv", index=False)
    words = ["--patches-table", study.root / "patches.parquet", "--cases", study.root / "cases.csv"]
    words += ["--patches", study.folder, "--shard", 0, "--shards", 1, "--encoder", "stain_stats"]
    output = study.root / "f" / "shard_00.h5"
    words += ["--output", output, "--cache", study.root / "f/cache/shard_00.h5"]
    call("embed", *words, "--normalise", "h&e=macenko", "sox10=reinhard", "--views", 1)
    found = store.read([output], viewed=True)
    assert found.identity["stain_normalisation"] == {"h&e": "macenko", "sox10": "reinhard"}
    assert found.identity["views"] == 1 and found.viewed.shape == (14, 60)  # the blank patch is excluded
    # the features are those of normalised patches, and the colours those of the images
    assert (found.colour[:] != found.values[:]).any(axis=1).all()
    assert "in their own colours: 1 patch with too little tissue" in caplog.text


def test_a_file_that_is_gone_has_no_key(tmp_path):
    assert cache.key(tmp_path, "gone.png", 5) is None

"""The same tissue is known again in every pose, saved again and trimmed; what is blank or only similar is not."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from stratamil.features import duplicate_tables, images, near_duplicates, neighbours, same_tissue, sketch, store
from stratamil.features.sketch_encoder import SketchEncoder

SIDE = 150
ENCODE = SketchEncoder(torch.device("cpu"))


def tissue(seed, side=SIDE):
    """A picture with structure of all sizes, as tissue has."""
    noise = np.random.default_rng(seed).standard_normal((side, side, 3))
    scales = [gaussian_filter(noise, (s, s, 0)) * s for s in (1, 3, 9)]
    values = 170 + 120 * sum(scales)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def sketched(*pictures):
    small = [np.asarray(images.fit(picture, images.THUMBNAIL, "squash")) for picture in pictures]
    return ENCODE(torch.from_numpy(np.stack(small))).numpy().astype(np.float16)


def turned(picture, turns, flipped):
    pixels = np.asarray(picture)
    return Image.fromarray(np.ascontiguousarray(np.rot90(pixels[:, ::-1] if flipped else pixels, turns)))


def jpeg(picture, quality=75):
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


def features(sketches, cases, **changes):
    n = len(cases)
    table = pd.DataFrame({
        "case_id": cases, "stain": "h&e", "slice_id": "1", "patch": range(n), "path": [f"{i}.png" for i in range(n)],
    }).astype(dict.fromkeys(store.IDS, "category"))  # fmt: skip
    given = {"values": np.ones((n, 4), np.float16), "blank": np.zeros(n, bool), "sketch": sketches} | changes
    return store.Features(table=table, identity={}, **given)


def found(data):
    pairs = near_duplicates.find(data)
    return {frozenset(pair) for pair in zip(pairs.first.tolist(), pairs.second.tolist())}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_poses_of_a_picture_have_one_vector_and_are_told(seed):
    picture = tissue(seed)
    sketches = sketched(*(turned(picture, *pose) for pose in sketch.POSES))
    by_rule = np.concatenate([
        sketch.posed(sketches[:1].reshape(1, 16, 16).astype(float), *pose) for pose in sketch.POSES
    ])  # fmt: skip
    np.testing.assert_allclose(by_rule.reshape(8, -1), sketches, atol=2e-3)
    vectors = sketch.canonical(sketches)
    assert (vectors @ vectors.T).min() > 0.999
    laid = same_tissue.overlay(sketches, np.repeat(sketches[:1], 8, axis=0), 1)
    assert (laid.agreement > 0.999).all() and (laid.kept == 1).all()
    assert [sketch.POSES[pose] for pose in laid.pose] == list(sketch.POSES)  # which lays the first over each


def test_a_part_is_a_product_with_the_whole():
    picture = tissue(1, 200)
    part = picture.crop((6, 0, 186, 180))
    own, made = sketched(part), sketch.trimmed(sketched(picture), 0.9, 0, 6 / 200)
    other = sketch.trimmed(sketched(picture), 0.9, 0.1, 0)
    same, apart = ((sketch.weighted(own) * sketch.weighted(each)).sum() for each in (made, other))
    assert same > 0.95 > apart


@pytest.mark.parametrize("change", [
    lambda p: turned(p, 1, True), lambda p: jpeg(p, 50), lambda p: p.resize((90, 90)),
    lambda p: p.crop((3, 5, 3 + 142, 5 + 142)), lambda p: p.crop((15, 15, 150, 150)),
    lambda p: jpeg(turned(p, 3, False).crop((9, 2, 146, 139))),
    lambda p: Image.eval(p, lambda value: 40 + 0.8 * value),  # paler
])  # fmt: skip
def test_changed_copies_are_found_and_nothing_else(change):
    pictures = [tissue(seed) for seed in range(40)]
    copies = [change(picture) for picture in pictures[:20]]
    cases = [str(i % 7) for i in range(40)] + ["other"] * 20
    assert found(features(sketched(*pictures, *copies), cases)) == {frozenset((i, 40 + i)) for i in range(20)}


def test_what_shows_nothing_is_like_nothing():
    white, grey = Image.new("RGB", (90, 90), "white"), Image.new("RGB", (90, 90), (230, 228, 231))
    dusty = [
        Image.fromarray(np.random.default_rng(i).integers(236, 246, (90, 90, 3)).astype(np.uint8)) for i in range(8)
    ]
    pictures = [white, white, grey, grey, *dusty, *map(jpeg, dusty)]
    pairs = near_duplicates.find(features(sketched(*pictures), [str(i) for i in range(len(pictures))]))
    assert pairs.compared == 0 and len(pairs.first) == 0
    blank = features(sketched(tissue(1), tissue(1)), ["1", "2"], blank=np.ones(2, bool))
    assert not found(blank)


def shaded(seed, round_=False):
    """Glass under uneven light: a slope in some direction, or brightest in the middle."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    angle, depth = random.uniform(0, 7), random.uniform(0.1, 0.3)
    light = 1 - depth * (2 * (x**2 + y**2) if round_ else np.cos(angle) * x + np.sin(angle) * y + 0.5)
    return Image.fromarray((235 * light[..., None] + random.normal(0, 2, (SIDE, SIDE, 3))).clip(0, 255).astype("uint8"))


def beyond(picture, colour, sides):
    """A tile at the edge of a scan: what lies beyond is of one colour."""
    pixels = np.array(picture)
    pixels[:, : round(0.4 * SIDE)] = colour
    if sides == 2:
        pixels[: round(0.4 * SIDE)] = colour
    return Image.fromarray(pixels)


def cornered(seed):
    """Glass but for a little tissue in a corner, behind a straight edge."""
    random = np.random.default_rng(seed)
    pixels, (y, x) = np.asarray(tissue(seed)).copy(), np.mgrid[:SIDE, :SIDE]
    glass = x + y < np.quantile(x + y, 1 - random.uniform(0.02, 0.08))
    pixels[glass] = random.normal(240, 2, (glass.sum(), 3))
    return Image.fromarray(pixels)


@pytest.mark.parametrize("made", [
    shaded, lambda seed: shaded(seed, round_=True), cornered, lambda seed: beyond(tissue(seed), 0, 1),
    lambda seed: beyond(tissue(seed), 0, 2), lambda seed: jpeg(beyond(tissue(seed), 0, 1), 80),
    lambda seed: beyond(tissue(seed), 255, 2),
])  # fmt: skip
def test_uneven_light_tiles_beyond_the_scan_and_little_tissue_are_not_the_same_tissue(made):
    assert not found(features(sketched(*map(made, range(40))), [str(i) for i in range(40)]))


def test_copies_of_a_tile_beyond_the_scan_are_found():
    pictures = [beyond(tissue(seed), 0, 1) for seed in range(10)]
    copies = [jpeg(turned(picture, 1, True), 80) for picture in pictures]
    assert found(features(sketched(*pictures, *copies), [str(i) for i in range(20)])) == {
        frozenset((i, 10 + i)) for i in range(10)
    }


def test_one_nucleus_or_one_edge_at_the_same_place_is_not_the_same_tissue():
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    pictures = []
    for seed in range(30):
        pixels = np.asarray(tissue(seed)).astype(float)
        faint = 215 + (pixels - pixels.mean()) * 0.1
        spot = ((x - 0.5) ** 2 + (y - 0.6) ** 2 < 0.01)[..., None]
        pictures.append(Image.fromarray(np.where(spot, 60, faint).clip(0, 255).astype(np.uint8)))
        half = np.where((x < 0.5)[..., None], 240 + 0 * pixels, pixels)
        pictures.append(Image.fromarray(half.clip(0, 255).astype(np.uint8)))
    assert not found(features(sketched(*pictures), [str(i) for i in range(60)]))


def test_a_patch_that_its_own_case_has_often_is_found_in_another_too():
    often = [jpeg(tissue(1), 95)] * 12 + [jpeg(turned(tissue(1), 1, False), 60)] * 12
    data = features(sketched(*often, *map(tissue, range(2, 20))), ["a"] * 12 + ["b"] * 12 + ["c"] * 18)
    listed = duplicate_tables.across(data.table, near_duplicates.find(data))
    assert listed["path"].nunique() == 24 and set(listed["group"]) == {1}


def test_many_are_looked_up_by_cells_and_give_the_same(monkeypatch):
    random = np.random.default_rng(0)
    falling = 0.2 / np.maximum(np.hypot(*np.meshgrid(np.arange(16), np.arange(16))), 1).ravel()
    sketches = (random.standard_normal((3000, 256)) * falling).astype(np.float16)
    twice = np.concatenate([sketches, sketches[:50]])
    data = features(twice, [str(i % 11) for i in range(3000)] + ["other"] * 50)
    exact = found(data)
    monkeypatch.setattr(neighbours, "FEW", 100)
    monkeypatch.setattr(neighbours, "BLOCK", 512)
    assert found(data) == exact == {frozenset((i, 3000 + i)) for i in range(50)}


def test_features_alone_tell_what_was_encoded_twice(monkeypatch):
    random = np.random.default_rng(0)
    values = random.standard_normal((400, 128)).astype(np.float16)
    again = values[:10] + random.normal(0, 0.01, (10, 128)).astype(np.float16)
    background = np.ones((30, 128), np.float16) + random.normal(0, 0.01, (30, 128)).astype(np.float16)
    cases = [str(i % 9) for i in range(400)] + ["other"] * 10 + [str(i) for i in range(30)]
    data = features(None, cases, values=np.concatenate([values, again, background]))
    assert found(data) == {frozenset((i, 400 + i)) for i in range(10)}
    assert not found(features(None, cases, values=data.values[:, :8]))  # too few numbers to tell
    with np.errstate(all="raise"):
        assert not any(found(features(None, cases[:n], values=data.values[:n])) for n in range(7))  # and too few rows


def test_tables_group_cases_and_count_within(tmp_path):
    data = features(None, ["1", "1", "2", "3", "4", "4"])
    pairs = near_duplicates.Found(
        *(np.array(each) for each in ([0, 1, 4], [2, 2, 5], [0.9, 0.99, 1.0], [3, 0, 0], [1.0, 0.9, 1.0])), 6
    )
    listed = duplicate_tables.across(data.table, pairs)
    assert listed.to_dict("list") == {
        "group": [1, 1, 1], "case_id": ["1", "2", "1"], "stain": ["h&e"] * 3, "path": ["1.png", "2.png", "0.png"],
        "of": [2, 1, 2], "like": ["2.png", "1.png", "2.png"], "change": ["trimmed", "trimmed", "turned"],
        "agreement": [0.99, 0.99, 0.9],
    }  # fmt: skip
    numbers = duplicate_tables.numbers(data.table, pairs, True)
    assert (numbers["across"], numbers["within"], numbers["cases"]) == (3, 2, [{"case": "4", "patches": 2}])
    none = near_duplicates.Found(*(np.empty(0, int) for _ in range(5)), 6)
    assert list(duplicate_tables.across(data.table, none).columns) == duplicate_tables.COLUMNS

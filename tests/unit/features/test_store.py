"""Features of several encoders: side by side, one projection each, refused by a model of other ones."""

import numpy as np
import pandas as pd
import pytest
import torch
from factories import model_settings

from stratamil.core.errors import UserError
from stratamil.evaluation import baselines
from stratamil.features import store
from stratamil.mil import bags, checkpoint
from stratamil.mil.model import HierarchicalAttention

UNREADABLE = pd.DataFrame(columns=list(store.UNREADABLE))
STAINS = ["h&e", "melan"]


def shard(folder, encoder, stain, width, cases=("1", "2"), patches=3, **identity):
    """Write random features of some cases in one stain; returns the path and the values."""
    rows = [(case, stain, "match_1", n, f"{case}_{stain}_{n}.png") for case in cases for n in range(patches)]
    table = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"])
    values = np.random.default_rng(width).normal(size=(len(rows), width)).astype(np.float16)
    path = folder / encoder / "shard_00.h5"
    store.write(path, values, table, UNREADABLE, {"encoder": encoder, "dim": width} | identity)
    return path, values


@pytest.fixture
def two(tmp_path):
    """Shards of two encoders, for a stain each, and their features."""
    (first, a), (second, b) = shard(tmp_path, "a_net", "h&e", 5), shard(tmp_path, "b_net_melan", "melan", 7)
    return [second, first], a, b


def test_several_encoders_of_the_same_patches_are_joined(tmp_path):
    """Row by row, whatever the order of cases in the shards, beside an encoder of another stain."""
    (first, a), (second, b) = (shard(tmp_path, name, "h&e", width, ("2", "1")) for name, width in (("a", 5), ("b", 4)))
    third, c = shard(tmp_path, "c_melan", "melan", 3)
    found = store.read([third, second, first])
    assert len(found.table) == 12 and found.table["path"].is_unique and found.values.shape == (12, 12)
    rows = dict(zip(found.table["path"], found.values[:]))
    stored = [f"{case}_h&e_{n}.png" for case in ("2", "1") for n in range(3)]
    for at, path in enumerate(stored):
        assert np.array_equal(rows[path], np.concatenate([a[at], b[at], np.zeros(3)]))
    assert np.array_equal(rows["1_melan_0.png"], np.concatenate([np.zeros(9), c[0]]))
    assert set(found.identity["encoders"]) == {"a", "b", "c_melan"}
    assert np.array_equal(store.read([first, second], ["1"]).values[:], np.hstack([a[3:], b[3:]]))
    other, _ = shard(tmp_path, "d", "h&e", 2, ("1",))
    with pytest.raises(
        UserError, match=r"d/shard_00\.h5: has other patches than .*a/shard_00\.h5: delete both and run"
    ):
        store.read([first, other])


@pytest.mark.slow
def test_blocks_are_one_projection_an_encoder(two):
    paths, a, b = two
    found = store.read(paths)
    weight, bias = torch.randn(4, 12), torch.randn(4)
    projected = torch.nn.functional.linear(torch.from_numpy(found.values[:]).float(), weight, bias)
    for stain, values, part in (("h&e", a, weight[:, :5]), ("melan", b, weight[:, 5:])):
        rows = (found.table["stain"] == stain).to_numpy()
        torch.testing.assert_close(projected[torch.tensor(rows)], torch.tensor(values).float() @ part.T + bias)


def test_rows_are_in_the_order_of_the_inventory(two):
    found = store.read(two[0])
    order = ["case_id", "stain", "patch"]
    assert found.table[order].values.tolist() == found.table.sort_values(order)[order].values.tolist()
    assert found.table["path"].tolist()[:4] == ["1_h&e_0.png", "1_h&e_1.png", "1_h&e_2.png", "1_melan_0.png"]


def test_order_of_the_shards_does_not_matter(two):
    one, other = store.read(two[0]), store.read(two[0][::-1])
    assert np.array_equal(one.values, other.values) and one.table.equals(other.table) and one.identity == other.identity


def test_one_encoder_is_as_it_was(two):
    found = store.read(two[0][1:])
    assert found.identity == {"encoder": "a_net", "dim": 5} and np.array_equal(found.values, two[1])


def test_a_case_may_lack_the_stain_of_an_encoder(tmp_path):
    paths = [shard(tmp_path, "a", "h&e", 5)[0], shard(tmp_path, "b", "melan", 7, cases=("2",))[0]]
    found = store.read(paths, ["1", "2"])
    assert found.table.groupby("case_id").size().tolist() == [3, 6]
    with pytest.raises(UserError, match=r"no patches of 1 cases.*: 3"):
        store.read(paths, ["1", "3"])


def test_mean_pool_and_bags_take_blocks(two):
    found = store.read(two[0])
    pooled = baselines.pooled(found.values, found.table["case_id"])
    expected = np.concatenate([two[1][:3].astype(float).sum(0), two[2][:3].astype(float).sum(0)]) / 6
    np.testing.assert_allclose(pooled.loc["1"], expected)
    batch = bags.Bags(found, STAINS).batch(["1", "2"])
    assert batch.x.shape == (12, 12) and batch.cases == 2


def test_a_model_refuses_blocks_that_are_not_its_own(two, tmp_path):
    found = store.read(two[0])
    settings = model_settings(12, 2, embed_dim=4, attention_dim=2)
    content = {
        "weights": HierarchicalAttention(settings).weights(0), "model": settings.asdict(), "classes": ["x", "y"],
        "stains": STAINS, "features": found.identity,
    }  # fmt: skip

    def load(given):
        return checkpoint.model(content, "best.pth", given, ["x", "y"], STAINS)

    load(found)
    newer = shard(tmp_path / "newer", "b_net_melan", "melan", 7, torch="9.9")[0]
    load(store.read([newer, two[0][1]]))
    other = shard(tmp_path / "other", "b_net_melan", "melan", 7, pooling="global")[0]
    content["features"] = store.read([other, two[0][1]]).identity
    with pytest.raises(UserError, match="trained on features with b_net_melan pooling 'global', but these have None"):
        load(found)
    content["features"] = {"encoder": "a_net", "dim": 5}
    with pytest.raises(UserError, match="trained on features with encoder 'a_net', but these have None"):
        load(found)
    third = shard(tmp_path, "c_net_sox10", "sox10", 3)[0]
    content["features"] = found.identity
    with pytest.raises(UserError, match="trained on features of width 12, but these have 15"):
        load(store.read([*two[0], third]))

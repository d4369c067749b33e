"""Which patches are excluded for their pixels: by the rule, in shards, in every reader, and listed with the reason."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stratamil.cohort import flow, splits
from stratamil.core import schema
from stratamil.features import exclusion, extract, images, left_out, store
from stratamil.features.exclusion import BLANK, INK, SHARPNESS, TISSUE, Rule

DEFAULT = Rule.of(schema.defaults("cohort.quality"))
NONE = Rule("keep", None, None, "keep")


def facts(**columns):
    n = max(len(values) for values in columns.values())
    plain = dict.fromkeys(store.FACTS, 1.0) | {"odd": 0, "sharpness": 500.0, "pen": 0.0}
    return pd.DataFrame(plain | columns, index=range(n))


def test_the_rule_names_the_first_reason_that_holds():
    table = facts(
        odd=[0, int(images.Odd.BLANK | images.Odd.WHITE), 0, 0, 0],
        tissue=[1, 0, 0.005, 1, 1], sharpness=[500, 0, 1, 3, 500], pen=[0.01, 0, 0.9, 0, 0.06],
    )  # fmt: skip
    assert Rule("exclude", 0.01, 10, "exclude").reasons(table).tolist() == [0, BLANK, TISSUE, SHARPNESS, INK]
    assert DEFAULT.reasons(table).tolist() == [0, BLANK, TISSUE, 0, 0]
    assert not NONE.reasons(table).any()
    # what is kept although it is blank is not excluded by another name
    assert Rule("keep", 0.5, 10, "exclude").reasons(table).tolist()[1] == 0


def test_each_reason_has_a_text_and_tells_its_number():
    row = {"tissue": 0.004, "sharpness": 3.21, "pen": 0.061}
    told = [exclusion.detail(reason, row) for reason in range(len(exclusion.REASONS))]
    assert told == ["", "", "tissue 0.4%", "sharpness 3.2", "ink on 6% of it"]
    assert len(set(exclusion.REASONS)) == len(exclusion.REASONS)


class Mean:
    """An encoder that counts what it encodes."""

    device = torch.device("cpu")

    def __init__(self):
        self.identity = {"encoder": "mean", "input_size": 32, "resize": "squash", "dim": 3}
        self.encoded = 0

    def __call__(self, batch):
        self.encoded += len(batch)
        return batch.float().mean((1, 2))


@pytest.fixture
def study(tmp_path):
    """Case 1: tissue, white, glass, tissue. Case 2: nothing but white. Case 3: tissue, and a file that is none."""
    random, rows = np.random.default_rng(0), []
    glass = Image.fromarray(random.normal(238, 3, (32, 32, 3)).clip(0, 255).astype(np.uint8))
    white = Image.new("RGB", (32, 32), "white")
    for case, names in {"1": "twgt", "2": "ww", "3": "tx"}.items():
        for i, kind in enumerate(names):
            tissue = Image.fromarray(random.integers(60, 255, (32, 32, 3), dtype=np.uint8))
            path = tmp_path / f"{case}_{i}.png"
            {"t": tissue, "w": white, "g": glass, "x": white}[kind].save(path)
            if kind == "x":
                path.write_bytes(b"no image")
            rows.append((case, "h&e", "match_1", i, path.name))
    table = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"])

    def embed(rule, encoder=None):
        places = {"output": tmp_path / "x/out.h5", "cache": tmp_path / "cache/out.h5"}
        options = {"max_unreadable": 0.5, "batch_size": 2, "shown": False, "rule": rule}
        return extract.embed(table, ["1", "2", "3"], tmp_path, encoder or Mean(), **places, **options)

    (tmp_path / "x").mkdir()
    embed.table, embed.shard = table, tmp_path / "x/out.h5"
    return embed


def test_what_is_excluded_is_read_by_nobody_and_listed(study):
    study(DEFAULT)
    found = store.read([study.shard])
    # a case that would have nothing left keeps its patches
    assert found.table["path"].tolist() == ["1_0.png", "1_3.png", "2_0.png", "2_1.png", "3_0.png"]
    assert found.blank.tolist() == [False, False, True, True, False] and len(found.colour) == 5
    assert found.emptied == {"2"} and not store.read([study.shard], ["1"]).emptied
    lost = left_out.read([study.shard])
    assert lost[["case_id", "path", "why"]].to_numpy().tolist() == [
        ["3", "3_1.png", flow.UNREADABLE],
        ["1", "1_1.png", "blank: all pixels equal"],
        ["1", "1_2.png", "too little tissue"],
    ]
    assert lost["reason"].tolist()[2].startswith("tissue 0.")
    facts = store.facts([study.shard])
    assert facts["excluded"].tolist() == [0, BLANK, TISSUE, 0, 0, 0, 0]
    assert facts.loc[facts["emptied"], "case_id"].tolist() == ["2", "2"]


def test_another_rule_takes_no_second_look_at_the_images(study):
    study(DEFAULT)
    (encoder := Mean()).encoded = 0
    counts = study(NONE, encoder)
    assert encoder.encoded == counts.encoded == 0 and counts.reused == 7
    assert len(store.read([study.shard]).table) == 7 and len(left_out.read([study.shard])) == 1
    study(DEFAULT, encoder)
    assert encoder.encoded == 0 and len(store.read([study.shard]).table) == 5


def test_rows_keep_their_features_and_encoders_their_common_patches(study, tmp_path):
    """The features of what is left are those of a shard in which nothing is excluded, also beside a second encoder."""
    study(NONE)
    whole = store.read([study.shard])
    study(DEFAULT)
    other = tmp_path / "y/out.h5"
    other.parent.mkdir()
    other.write_bytes(study.shard.read_bytes())
    found = store.read([study.shard, other])
    kept = whole.table["path"].isin(found.table["path"]).to_numpy()
    assert np.array_equal(found.values[:], np.hstack([whole.values[:][kept]] * 2))
    assert np.array_equal(store.read([study.shard], ["1"]).values[:], found.values[:][:2, :3])


def test_precomputed_features_have_no_quality_and_lose_nothing(tmp_path):
    table = pd.DataFrame([("1", "h&e", "a", i, f"a#{i}") for i in range(3)], columns=store.COLUMNS)
    none = pd.DataFrame(columns=store.UNREADABLE)
    store.write(tmp_path / "a.h5", np.zeros((3, 2), np.float16), table, none, {"encoder": "x"})
    assert len(store.read([tmp_path / "a.h5"]).table) == 3
    assert left_out.read([tmp_path / "a.h5"]).empty and store.facts([tmp_path / "a.h5"]).empty


@pytest.mark.slow
def test_no_patch_of_the_painted_demo_is_excluded_or_inked(tmp_path):
    from stratamil.demo import painter

    painter.write_patches(painter.plan(7, 30), 7, 48, tmp_path, 2)
    seen = [images.examine(path, 96, "squash").facts for path in sorted(tmp_path.rglob("*.png"))[::7]]
    table = pd.DataFrame(seen)
    assert len(table) > 30 and not DEFAULT.reasons(table).any()
    assert not Rule("exclude", 0.01, None, "exclude").reasons(table).any()


@pytest.mark.slow
def test_of_real_faint_stains_nothing_but_glass_is_excluded(shared):
    folder = shared / "lesion_multistain/patches"
    paths = [path for path in sorted(folder.rglob("*.png")) if "_melan_" in path.name or "_cc10_" in path.name]
    table = pd.DataFrame([images.examine(path, 96, "squash").facts for path in paths])
    gone = DEFAULT.reasons(table)
    assert (gone > 0).sum() == 1 and table["contrast"][gone > 0].item() < 2  # one patch of bare glass


def test_what_is_excluded_is_counted_in_the_flow_and_listed_with_its_reason(study):
    study(DEFAULT)
    lost = left_out.read([study.shard])
    cases = pd.DataFrame({
        "case_id": ["1", "2", "3"], "class": ["a", "b", "a"], "patient_id": ["1", "2", "3"], "status": "used",
        "label": "1", "n_patches": [4, 2, 2], "n_slices": 1,
    })  # fmt: skip
    nothing = pd.DataFrame(columns=["kind", "name", "reason", "detail", "patches"]).astype({"patches": int})
    nothing = nothing.astype({"kind": str, "reason": str})
    sets = {"01": splits.Split(["1"], ["2"], ["3"])}
    found = flow.follow(cases, nothing, sets, ["a", "b"], unreadable=lost, predicted=pd.Series({"3": 1}))
    step = next(step for step in found["steps"] if step["name"] == "in the splits")
    assert step["patches"] == 5
    assert [(row["reason"], row["patches"]) for row in step["left_out"]] == [
        (flow.UNREADABLE, 1), ("blank: all pixels equal", 1), ("too little tissue", 1),
    ]  # fmt: skip
    listed = flow.left_out(nothing, sets, lost, cases, pd.Series({"1": 2, "2": 2, "3": 1}))
    assert listed["name"].tolist() == ["3_1.png", "1_1.png", "1_2.png"] and (listed["kind"] == "patch").all()
    assert listed["reason"].tolist()[1:] == ["blank: all pixels equal", "too little tissue"]
    assert listed["detail"].tolist()[1:][1].startswith("tissue 0.") and (listed["patches"] == 1).all()

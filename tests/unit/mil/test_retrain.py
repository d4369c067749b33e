"""The model trained again in another way: on the same cases, chosen on validation cases, blind to test cases."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from factories import CLASSES, DIM, STAINS, features, model_settings, train_settings

import retrain as script
from stratamil.cohort import shares, splits
from stratamil.features import store
from stratamil.mil import stack, training
from stratamil.mil.bags import Bags
from stratamil.mil.model import HierarchicalAttention

CASES = [str(i) for i in range(1, 31)]
SPLIT = splits.Split(CASES[:16], CASES[16:22], CASES[22:])
FLAGS = ["--embed-dim=8", "--epochs=3", "--precision=fp32", "--lr=0.01"]


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    """A split and its cases on disk, with features in memory."""
    data = features({case: [[4, 2], [3]] for case in CASES})
    data.values[data.table["case_id"].astype(int) % 2 == 0] += 0.5
    splits.write(SPLIT, tmp_path / "data_splits_01.npz")
    known = {"case_id": CASES, "class": [list(CLASSES)[int(case) % 2] for case in CASES], "patient_id": CASES}
    pd.DataFrame(known | {"status": "used", "label": "1"}).to_csv(tmp_path / "cases.csv", index=False)

    def read(shards, case_ids, viewed=False):
        kept = data.table["case_id"].isin(set(case_ids)).to_numpy()
        return replace(data, values=data.values[kept], table=data.table[kept].reset_index(drop=True))

    monkeypatch.setattr(store, "read", read)
    return tmp_path, data


def retrained(folder, monkeypatch, *flags, seeds=(1, 2)):
    """The tables that the script writes, one a seed."""
    outputs = [folder / f"seed_{seed}/retrained/made.csv" for seed in seeds]
    words = ["--features", "x.h5", "--cases", folder / "cases.csv", "--split", folder / "data_splits_01.npz"]
    words += ["--name", "01", "--classes", *CLASSES, "--stains", *STAINS, "--seeds", *seeds, *FLAGS, *flags]
    words += ["--outputs", *outputs, "--state", folder / "state.pth"]
    monkeypatch.setattr("sys.argv", ["retrain.py", *map(str, words)])
    script.main(script.arguments())
    return [pd.read_csv(path, dtype={"case_id": str}) for path in outputs]


def test_each_seed_is_what_training_gives_with_this_aggregation(cohort, monkeypatch):
    folder, data = cohort
    tables = retrained(folder, monkeypatch, "--aggregation=mean")
    y = {case: int(case) % 2 for case in CASES}
    settings = model_settings(DIM, 2, "mean", embed_dim=8)
    trained = stack.Data(Bags(data, STAINS), SPLIT.train, SPLIT.val, y, name="01")
    for seed, table in zip((1, 2), tables):
        outcome = training.train(trained, settings, train_settings(epochs=3, lr=0.01), [seed])[seed]
        model = HierarchicalAttention(settings)
        model.load(outcome.best["weights"])
        assert list(table["set"]) == ["val"] * 6 + ["test"] * 8 and list(table["case_id"]) == SPLIT.val + SPLIT.test
        with torch.inference_mode():
            p = [torch.softmax(model(Bags(data, STAINS).batch([case])).logits[0, 0], 0) for case in table["case_id"]]
        np.testing.assert_allclose(table[["prob_benign", "prob_high_grade"]], torch.stack(p).numpy(), atol=1e-5)
        assert set(table["epoch"]) == {outcome.best["epoch"]} and set(table["training_cases"]) == {16}
        assert list(table["true_class"]) == [list(CLASSES)[y[case]] for case in table["case_id"]]


def test_test_cases_change_nothing_of_the_model(cohort, monkeypatch):
    """Neither their labels nor their features: the epoch and what it says of validation cases stay."""
    folder, data = cohort
    before = retrained(folder, monkeypatch, "--aggregation=flat")[0]
    (folder / "state.pth").unlink()
    cases = pd.read_csv(folder / "cases.csv", dtype=str)
    of_test = cases["case_id"].isin(SPLIT.test)
    cases.loc[of_test, "class"] = cases.loc[of_test, "class"].map(dict(zip(CLASSES, reversed(CLASSES))))
    cases.to_csv(folder / "cases.csv", index=False)
    swapped = retrained(folder, monkeypatch, "--aggregation=flat")[0]
    pd.testing.assert_frame_equal(swapped.drop(columns="true_class"), before.drop(columns="true_class"))
    assert (swapped["true_class"] != before["true_class"]).tolist() == [False] * 6 + [True] * 8
    (folder / "state.pth").unlink()
    data.values[data.table["case_id"].isin(SPLIT.test)] += 5
    other = retrained(folder, monkeypatch, "--aggregation=flat")[0]
    same = other["set"] == "val"
    pd.testing.assert_frame_equal(other[same], swapped[same])
    assert (other["epoch"] == swapped["epoch"]).all() and not other[~same].equals(swapped[~same])


def test_a_seed_that_is_added_trains_alone(cohort, monkeypatch, caplog):
    folder, _ = cohort
    (first,) = retrained(folder, monkeypatch, "--aggregation=mean", seeds=(1,))
    caplog.set_level(logging.INFO)
    tables = retrained(folder, monkeypatch, "--aggregation=mean")
    assert "seed 1 finished after epoch 3: taken from" in caplog.text
    pd.testing.assert_frame_equal(tables[0], first)


def test_a_share_of_the_training_cases(cohort, monkeypatch):
    folder, _ = cohort
    part, whole = (retrained(folder, monkeypatch, *flags)[0] for flags in (["--share=25", "--share-seed=7"], []))
    assert set(part["training_cases"]) == {4} and set(whole["training_cases"]) == {16}
    assert list(part["case_id"]) == list(whole["case_id"])


def test_a_variant_has_what_a_split_chose_but_for_its_own_aggregation(cohort, monkeypatch):
    folder, _ = cohort
    path = folder / "chosen.yaml"
    settings = {"train.lr": 0.05, "model.aggregation": "lse"}
    content = {"chosen": {"settings": settings}, "default": {"settings": {}}, "best": {"gain": 0.1}}
    path.write_text(yaml.safe_dump(content))
    made = retrained(folder, monkeypatch, "--aggregation=mean", "--chosen", path, "--keep", "aggregation")
    for table, same in zip(made, retrained(folder, monkeypatch, "--aggregation=mean", "--lr=0.05")):
        pd.testing.assert_frame_equal(table, same)
    shares = retrained(folder, monkeypatch, "--share=50", "--chosen", path)
    for table, same in zip(shares, retrained(folder, monkeypatch, "--share=50", "--aggregation=lse", "--lr=0.05")):
        pd.testing.assert_frame_equal(table, same)


def cases_of(patients):
    rows = [(case, patient, name) for patient, (name, *ids) in patients.items() for case in ids]
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "class"])


def test_shares_are_nested_stratified_and_of_whole_patients():
    patients = {
        f"p{i}": ("benign" if i < 12 else "high", f"{i}a", *([f"{i}b"] if i % 3 == 0 else [])) for i in range(20)
    }
    cases = cases_of(patients)
    train, patient_of = list(cases["case_id"]), cases.set_index("case_id")["patient_id"]
    drawn = {percent: shares.drawn(train, cases, percent, 42, "01") for percent in (*shares.PERCENT, 100)}
    assert drawn[100] == train
    for small, large in ((25, 50), (50, 75), (75, 100)):
        assert set(drawn[small]) < set(drawn[large])
        assert drawn[small] == [case for case in train if case in drawn[small]]
    for percent, chosen in drawn.items():
        of = set(patient_of[chosen])
        assert set(chosen) == set(patient_of.index[patient_of.isin(of)])
        assert sum(int(name[1:]) < 12 for name in of) == 12 * percent / 100
        assert sum(int(name[1:]) >= 12 for name in of) == 8 * percent / 100
    assert shares.drawn(train, cases, 25, 42, "02") != drawn[25] != shares.drawn(train, cases, 25, 43, "01")


def test_a_share_has_a_patient_of_each_class():
    cases = cases_of({"a": ("benign", "1"), "b": ("high", "2"), "c": ("high", "3")})
    chosen = shares.drawn(["1", "2", "3"], cases, 25, 1, "01")
    assert len(chosen) == 2 and "1" in chosen

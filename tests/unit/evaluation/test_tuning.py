"""Tuning: scores are those of single trainings, the choice follows its rule, and no test case has a part in it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from factories import CLASSES, DIM, STAINS, features, model_settings, train_settings

import train as train_script
import tune as script
from stratamil.cohort import splits
from stratamil.core.errors import Stopped, UserError
from stratamil.evaluation import predict, tuning, tuning_space
from stratamil.features import store
from stratamil.mil import stack, training
from stratamil.mil.bags import Bags
from stratamil.mil.model import HierarchicalAttention
from stratamil.stats import metrics

CASES = [str(i) for i in range(1, 41)]
SPLIT = splits.Split(CASES[:22], CASES[22:30], CASES[30:])
Y = {case: int(case) % 2 for case in CASES}
PATIENTS = {"by": "patient", "balance": ["class"]}
SPACE = {"train.lr": [0.001, 0.1, "log"], "model.dropout": [0, 0.5], "model.aggregation": ["hierarchical", "mean"]}
FLAGS = ["--embed-dim=8", "--attention-dim=4", "--epochs=3", "--precision=fp32", "--lr=0.01"]


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    """A split and its cases on disk, two cases a patient, with features in memory."""
    data = features({case: [[4, 2], [3]] for case in CASES})
    data.values[data.table["case_id"].astype(int) % 2 == 1] += 0.5
    splits.write(SPLIT, tmp_path / "data_splits_01.npz")
    patients = [f"p{(int(case) + 1) // 4}{int(case) % 2}" for case in CASES]
    known = {"case_id": CASES, "class": [list(CLASSES)[Y[case]] for case in CASES], "patient_id": patients}
    pd.DataFrame(known | {"status": "used", "label": "1"}).to_csv(tmp_path / "cases.csv", index=False)
    asked = []

    def read(shards, case_ids, viewed=False):
        asked.append(set(case_ids))
        kept = data.table["case_id"].isin(set(case_ids)).to_numpy()
        return replace(data, values=data.values[kept], table=data.table[kept].reset_index(drop=True))

    monkeypatch.setattr(store, "read", read)
    return tmp_path, data, asked


def words(folder, *more):
    return list(map(str, [
        "--features", "x.h5", "--cases", folder / "cases.csv", "--split", folder / "data_splits_01.npz", "--name", "01",
        "--classes", *CLASSES, "--stains", *STAINS, *FLAGS, *more,
    ]))  # fmt: skip


def tuned(folder, monkeypatch, *more, output="tuning"):
    """The bytes of chosen.yaml, and candidates.csv."""
    flags = [f"--space={json.dumps(SPACE)}", "--candidates=5", "--inner=3", "--trainings=2", "--draw=1"]
    flags += ["--output", folder / output, "--state", folder / "state.json", *more]
    monkeypatch.setattr("sys.argv", ["tune.py", *words(folder, *flags)])
    script.main(script.arguments())
    return (folder / output / "chosen.yaml").read_bytes(), pd.read_csv(folder / output / "candidates.csv")


def test_a_score_is_that_of_the_candidate_trained_alone_on_the_inner_fold(cohort, monkeypatch):
    folder, data, _ = cohort
    _, table = tuned(folder, monkeypatch)
    cases = pd.read_csv(folder / "cases.csv", dtype=str)
    folds = tuning.inner_folds(SPLIT, cases, list(CLASSES), 3, 1, "01", **PATIENTS)
    assert sorted(case for fold in folds.values() for case in fold.test) == sorted(SPLIT.train + SPLIT.val)
    patient = cases.set_index("case_id")["patient_id"]
    bags, scores = Bags(data, STAINS), []
    for number, (name, fold) in enumerate(folds.items(), 1):
        sets = [set(patient[part]) for part in (fold.train, fold.val, fold.test)]
        assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]
        for row in table.itertuples(index=False):
            own = dict(zip(table, row))
            shape = model_settings(
                DIM, 2, own["model.aggregation"], embed_dim=8, attention_dim=4, dropout=own["model.dropout"]
            )
            settings = train_settings(epochs=3, lr=own["train.lr"])
            outcome = training.train(stack.Data(bags, fold.train, fold.val, Y, name), shape, settings, [2])[2]
            model = HierarchicalAttention(shape)
            model.load(outcome.best["weights"])
            p = predict.probabilities(model, bags, fold.test)[0]
            loss = metrics.log_loss(np.array([Y[case] for case in fold.test]), p)
            assert own[f"fold_{number}_seed_2"] == pytest.approx(loss, abs=1e-4)
            scores.append(loss)
    assert np.ptp(scores) > 0.01
    means = table[[name for name in table if name.startswith("fold_")]].mean(axis=1)
    np.testing.assert_allclose(table["inner_mean"], means)
    assert table["best"].sum() == table["chosen"].sum() == 1 and table["inner_mean"].idxmin() == table["best"].idxmax()


def test_test_cases_change_neither_choice_nor_scores(cohort, monkeypatch):
    """Neither their labels nor their features; both are changed for all of them."""
    folder, data, asked = cohort
    chosen, table = tuned(folder, monkeypatch)
    (folder / "state.json").unlink()
    cases = pd.read_csv(folder / "cases.csv", dtype=str)
    of_test = cases["case_id"].isin(SPLIT.test)
    cases.loc[of_test, "class"] = cases.loc[of_test, "class"].map(dict(zip(CLASSES, reversed(CLASSES))))
    cases.to_csv(folder / "cases.csv", index=False)
    data.values[data.table["case_id"].isin(SPLIT.test)] = 9
    again, other = tuned(folder, monkeypatch, output="again")
    assert again == chosen
    text, more = (each.drop(columns="seconds").to_csv(index=False) for each in (table, other))
    assert text == more
    assert all(not ids & set(SPLIT.test) for ids in asked)
    # What is looked at does count.
    (folder / "state.json").unlink()
    data.values[data.table["case_id"].isin(SPLIT.val)] *= -1
    assert not tuned(folder, monkeypatch)[1].equals(other)


def test_a_search_that_is_killed_again_and_again_ends_with_the_same_bytes(cohort, monkeypatch):
    folder, _, _ = cohort
    chosen, table = tuned(folder, monkeypatch)
    (folder / "state.json").unlink()
    whole, runs, left = tuning._stack, 0, [0]

    def some(*args):
        left[0] -= 1
        if left[0] < 0:
            raise Stopped("stopped")
        return whole(*args)

    monkeypatch.setattr(tuning, "_stack", some)
    while True:
        left[0], runs = 2, runs + 1
        try:
            again, other = tuned(folder, monkeypatch, output="again")
            break
        except Stopped:
            assert not (folder / "again/chosen.yaml").exists()
    assert runs > 2 and again == chosen
    pd.testing.assert_frame_equal(other.drop(columns="seconds"), table.drop(columns="seconds"))
    left[0] = 0
    assert tuned(folder, monkeypatch)[0] == chosen  # finished, it trains nothing again
    with pytest.raises(Stopped):
        tuned(folder, monkeypatch, "--lr=0.02")  # of other settings nothing is taken up
    for damaged in ("", "{}", "[1]", '{"key": 1, "done": {}}'):
        (folder / "state.json").write_text(damaged)
        with pytest.raises(Stopped):
            tuned(folder, monkeypatch)


@pytest.mark.parametrize("batch_size", [1, 100])
def test_asked_to_stop_within_a_stack_it_says_so(cohort, batch_size):
    folder, data, _ = cohort
    settings = train_settings(epochs=3, batch_size=batch_size)
    recipe = stack.Recipe(0, model_settings(DIM, 2, embed_dim=8, attention_dim=4), settings)
    cases = pd.read_csv(folder / "cases.csv", dtype=str)
    plan = tuning.Plan(
        [recipe], tuning.inner_folds(SPLIT, cases, list(CLASSES), 3, 1, "01", **PATIENTS), [1], "log_loss"
    )
    known = stack.Data(Bags(data, STAINS), SPLIT.train, SPLIT.val, Y, "01")
    with pytest.raises(Stopped, match="run again"):
        tuning.search(known, plan, folder / "state.json", lambda: True)


def scores(*candidates):
    """Scores of one seed, a list of folds each candidate."""
    return np.array(candidates, float)[:, :, None]


def test_the_best_inner_mean_is_chosen_unless_the_default_is_within_one_standard_error():
    clear = tuning.choose(scores([0.5, 0.6, 0.7], [0.4, 0.5, 0.61], [0.45, 0.55, 0.65]), "log_loss")
    assert (clear.best, clear.chosen) == (1, 1) and clear.gain == pytest.approx(0.29 / 3)
    assert clear.error == pytest.approx(np.std([0.1, 0.1, 0.09], ddof=1) / np.sqrt(3))
    noisy = tuning.choose(scores([0.5, 0.6, 0.7], [0.2, 0.7, 0.75]), "log_loss")
    assert (noisy.best, noisy.chosen) == (1, 0) and 0 < noisy.gain <= noisy.error
    own = tuning.choose(scores([0.5, 0.6], [0.6, 0.6]), "log_loss")
    assert (own.best, own.chosen, own.gain) == (0, 0, 0.0)
    auc = tuning.choose(scores([0.8, 0.7], [0.9, 0.81], [0.5, 0.5]), "auc")
    assert (auc.best, auc.chosen) == (1, 1) and auc.gain == pytest.approx(0.105)


def test_seeds_are_averaged_before_folds_are_compared():
    made = np.array([[[0.5, 0.7], [0.6, 0.8]], [[0.7, 0.4], [0.2, 1.0]]])
    choice = tuning.choose(made, "log_loss")
    assert choice.best == 1 and choice.gain == pytest.approx(np.mean([0.05, 0.1]))


@pytest.mark.parametrize("diverged", [0, 1])
def test_a_candidate_that_diverged_is_never_chosen(diverged):
    made = scores([0.5, 0.6], [0.4, 0.5], [0.9, 0.9])
    made[diverged, 1, 0] = np.nan
    choice = tuning.choose(made, "log_loss")
    assert choice.chosen == 1 - diverged
    all_lost = tuning.choose(np.full((2, 2, 1), np.nan), "auc")
    assert (all_lost.best, all_lost.chosen) == (0, 0)


def test_a_diverging_candidate_takes_no_other_with_it(cohort, monkeypatch):
    folder, _, _ = cohort
    monkeypatch.setitem(SPACE, "train.lr", [0.01, 1e30])
    chosen, table = tuned(folder, monkeypatch)
    lost = table[table["train.lr"] == 1e30]
    assert (
        len(lost) and lost["inner_mean"].isna().all() and table.loc[table["train.lr"] < 1, "inner_mean"].notna().all()
    )
    assert yaml.safe_load(chosen)["chosen"]["settings"]["train.lr"] == 0.01


def test_inner_folds_keep_whole_what_the_splits_keep_whole():
    site = [f"s{int(case) // 2 % 10}" for case in CASES]
    cases = pd.DataFrame({"case_id": CASES, "patient_id": CASES, "site": site})
    cases["class"] = [list(CLASSES)[Y[case]] for case in CASES]
    known = cases.set_index("case_id")

    def parted(column, **how):
        folds = tuning.inner_folds(SPLIT, cases, list(CLASSES), 4, 1, "01", **how).values()
        return sum(bool(set(known.loc[a, column]) & set(known.loc[b, column])) for fold in folds for a, b in (
            (fold.train, fold.val), (fold.train, fold.test), (fold.val, fold.test)
        ))  # fmt: skip

    assert parted("site", **PATIENTS) and not parted("site", by="site", balance=["class"])
    few = cases.assign(site=["a" if int(case) < 15 else "b" for case in CASES])
    with pytest.raises(UserError) as error:
        tuning.inner_folds(SPLIT, few, list(CLASSES), 4, 1, "01", by="site", balance=["class"])
    line = "split 01, training and validation cases: tune.inner is 4, but there are 2 sites (a, b), and splits.by: site"
    assert error.value.problems[0].startswith(line)
    spread = cases.assign(site=np.where(cases["case_id"].astype(int) % 4 < 2, "a", "b"))
    how = {"by": "patient", "balance": ["class", "site"]}
    for fold in tuning.inner_folds(SPLIT, spread, list(CLASSES), 5, 1, "01", **how).values():
        counts = spread[spread["case_id"].isin(fold.test)].groupby(["class", "site"]).size()
        assert set(counts) <= {1, 2} and len(counts) == 4


def test_folds_that_cannot_hold_both_classes_are_one_line(cohort, monkeypatch):
    folder, _, _ = cohort
    with pytest.raises(UserError) as error:
        tuned(folder, monkeypatch, "--inner=9")
    line = "split 01, training and validation cases: tune.inner is 9, but class benign has "
    assert error.value.problems[0].startswith(line)


def test_the_models_of_a_split_are_trained_with_what_was_chosen(cohort, monkeypatch):
    folder, _, _ = cohort
    chosen = yaml.safe_load(tuned(folder, monkeypatch)[0])
    assert chosen["default"]["settings"] == {
        "train.lr": 0.01,
        "model.dropout": 0.5,
        "model.aggregation": "hierarchical",
    }
    path = folder / "tuning/chosen.yaml"
    settings = {"train.lr": 0.05, "model.dropout": 0.0, "model.aggregation": "mean"}
    path.write_text(yaml.safe_dump(chosen | {"chosen": {"candidate": 1, "settings": settings}}))
    assert tuning_space.read_chosen(path) == {"lr": 0.05, "dropout": 0.0, "aggregation": "mean"}
    monkeypatch.setattr("sys.argv", ["train.py", *words(folder, "--seeds=1", "--output", folder, "--chosen", path)])
    train_script.main(train_script.arguments())
    kept = yaml.safe_load((folder / "seed_1/settings.yaml").read_text())
    assert kept["model"]["aggregation"] == "mean" and kept["model"]["dropout"] == 0 and kept["train"]["lr"] == 0.05

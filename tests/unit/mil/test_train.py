"""Training: what it learns, which epoch it keeps, and that a killed run ends as an undisturbed one."""

import copy
import hashlib
import itertools
import math
import signal
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from factories import MODEL, STAINS, content, features, model_settings
from torch.utils._python_dispatch import TorchDispatchMode

import cli
from stratamil.core import devices
from stratamil.core.errors import Stopped, UserError
from stratamil.mil import checkpoint, losses, stack, training
from stratamil.mil.bags import Bags, recognised
from stratamil.mil.model import AGGREGATIONS, HierarchicalAttention

CASES = [str(i) for i in range(1, 25)]
Y = {case: i % 2 for i, case in enumerate(CASES)}


def settings(**changes):
    defaults = {
        "epochs": 6, "lr": 0.02, "weight_decay": 0.0, "optimizer": "adamw", "scheduler": "plateau", "batch_size": 2,
        "class_weights": "balanced", "monitor": "loss", "patience": 10, "min_delta": 0.0, "min_epochs": 1,
        "per_slice_cap": 4, "max_slices_per_stain": None, "instance_dropout": 0.2, "instance_weight": 0.0,
        "label_smoothing": 0.1, "instance_share": 0.25, "entropy_weight": 0.0,
        "clip_norm": None, "precision": "fp32",
    }  # fmt: skip
    return stack.TrainSettings(**(defaults | changes))


# All that adds up to the loss, and clipping.
EVERYTHING = {"entropy_weight": 0.1, "clip_norm": 1.0, "instance_weight": 0.5}
TIMED = ["seconds", "patches_per_second"]


@pytest.fixture(scope="module")
def bags():
    """Bags in which one patch in four of the positive cases is shifted."""
    data = features({case: [[4, 2], [3]] for case in CASES})
    signal = data.table["case_id"].map(Y).to_numpy() * (np.arange(len(data.table)) % 4 == 0)
    data.values[signal == 1] += 3
    return Bags(data, STAINS)


def cohort(bags):
    return stack.Data(bags, CASES[:16], CASES[16:], Y, name="01", identity={"data": 1})


def fit_all(bags, seeds, state=None, stop=lambda: False, watch=lambda seed, row: None, **changes):
    """What each seed came to."""
    return training.train(cohort(bags), MODEL, settings(**changes), seeds, state_path=state, watch=watch, stop=stop)


def fit(bags, state=None, seed=1, **changes):
    """What a single seed came to."""
    return fit_all(bags, [seed], state, **changes)[seed]


def same(a, b):
    """Whether two outcomes are equal to the last bit, but for the time that they took."""
    weights = a.best["weights"], b.best["weights"]
    return (
        a.best["epoch"] == b.best["epoch"]
        and all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        and a.table().drop(columns=TIMED).equals(b.table().drop(columns=TIMED))
    )


@pytest.mark.slow
def test_learns_a_planted_signal_and_keeps_the_best_epoch(bags):
    outcome = fit(bags, epochs=15)
    history = outcome.table()
    assert history["val_auc"].max() > 0.9
    assert outcome.best["epoch"] == history.loc[history["val_loss"].idxmin(), "epoch"]
    assert history.loc[history["best"], "epoch"].tolist() == [outcome.best["epoch"]]
    assert not math.isclose(history["train_loss"].iloc[0], history["train_loss"].iloc[-1])


@pytest.mark.slow
def test_same_seed_same_weights(bags):
    assert same(fit(bags), fit(bags))
    assert not same(fit(bags), fit(bags, seed=2))


def plain(bags, seed, **changes):
    """An epoch of one member by plain layers and torch.optim, on the same draws: its weights."""
    s, data = settings(**changes), cohort(bags)
    torch.manual_seed(seed)
    model = HierarchicalAttention(MODEL)
    model.standardise(*bags.statistics(data.train))
    optimizer = torch.optim.AdamW(model.parameters(), s.lr, weight_decay=s.weight_decay)
    labels = torch.tensor([Y[case] for case in data.train])
    of_class = losses.class_weights("balanced", labels.numpy(), 2)
    split = zlib.crc32(b"01")
    order = np.random.default_rng([split, 1]).permutation(16)
    keys = np.random.default_rng([seed, 1]).integers(-(2**63), 2**63, (8, 2))
    for step in range(8):
        chosen = order[2 * step : 2 * step + 2]
        batch = bags.batch([data.train[i] for i in chosen], s.sampling, np.random.default_rng([split, 1, step + 1]))
        output, y = model(batch, torch.from_numpy(keys[step])[None]), labels[chosen]

        def loss(logits, smoothing=0.0, y=y):
            each = torch.nn.functional.cross_entropy(logits[:, 0], y, reduction="none", label_smoothing=smoothing)
            return (each * of_class[y]).mean()

        top = losses.top_logits(model.classifier(output.h), batch.sizes, [s.instance_share])
        entropy = losses.batch_entropy(output.effective, batch.case_of_patch, 2).mean()
        optimizer.zero_grad()
        (loss(output.logits, s.label_smoothing) + s.instance_weight * loss(top) - s.entropy_weight * entropy).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), s.clip_norm)
        optimizer.step()
    return model.weights(0)


def close(a, b, limit=1e-5):
    """Whether weights agree to a share of the largest."""
    return all((a[name] - b[name]).abs().max() <= limit * max(1.0, a[name].abs().max()) for name in a)


def test_an_epoch_is_that_of_plain_layers_and_torch_optim_alone_and_beside_others(bags):
    together = fit_all(bags, [1, 2, 3], epochs=1, weight_decay=0.1, **EVERYTHING)
    for seed, outcome in together.items():
        expected = plain(bags, seed, weight_decay=0.1, **EVERYTHING)
        assert close(expected, fit(bags, seed=seed, epochs=1, weight_decay=0.1, **EVERYTHING).best["weights"])
        assert close(expected, outcome.best["weights"])
    assert not close(together[1].best["weights"], together[2].best["weights"], 1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("aggregation", AGGREGATIONS[1:])
def test_members_of_every_aggregation_are_what_they_are_alone(bags, aggregation):
    shape = replace(MODEL, aggregation=aggregation)
    together = training.train(cohort(bags), shape, settings(epochs=2), [1, 2])
    for seed in (1, 2):
        alone = training.train(cohort(bags), shape, settings(epochs=2), [seed])[seed]
        assert close(alone.best["weights"], together[seed].best["weights"])


OWN = [
    {},
    {"lr": 0.005, "weight_decay": 0.2, "label_smoothing": 0.0, "epochs": 3, "scheduler": "cosine"},
    {"instance_weight": 0.5, "instance_share": 0.6, "model": {"dropout": 0.6, "sharpness": 3.0}},
    {"instance_weight": 1.0, "entropy_weight": 0.1, "weight_decay": 0.1},
    {"model": {"dropout": 0.0, "classifier_dropout": 0.3, "zero_start": False}, "monitor": "auc", "patience": 1},
]


def own_recipe(changes, seed=1, **shared):
    """A member with settings of its own beside those that a stack shares."""
    return stack.Recipe(
        seed,
        replace(MODEL, **shared, **changes.get("model", {})),
        settings(**{key: value for key, value in changes.items() if key != "model"}),
    )


def ended(bags, recipes):
    """What members of a stack came to, in order."""
    members = stack.Stack(cohort(bags), recipes)
    order, left = list(members.members), len(recipes)
    while left:
        assert members.next_epoch(lambda: False)
        left -= len(members.release())
    return [member.outcome() for member in order]


@pytest.mark.parametrize(
    "shared",
    [{}, {"aggregation": "flat", "gated": True}, {"aggregation": "lse"}, {"aggregation": "mean_mlp"}],
    ids=["default", "flat and gated", "lse", "mean_mlp"],
)
def test_members_of_settings_of_their_own_are_what_they_are_alone(bags, shared):
    recipes = [own_recipe(changes, **shared) for changes in OWN]
    together = ended(bags, recipes)
    assert len({len(outcome.history) for outcome in together}) > 1  # they do not end together
    for recipe, outcome in zip(recipes, together, strict=True):
        [alone] = ended(bags, [recipe])
        assert close(alone.best["weights"], outcome.best["weights"], 1e-4)
        assert alone.best["epoch"] == outcome.best["epoch"] and len(alone.history) == len(outcome.history)
    assert all(not close(together[0].best["weights"], other.best["weights"], 1e-2) for other in together[1:])


@pytest.mark.parametrize("changes", [{"batch_size": 1}, {"clip_norm": 1.0}, {"model": {"embed_dim": 4}}])
def test_members_of_other_shape_or_steps_are_refused(bags, changes):
    with pytest.raises(ValueError, match="together"):
        stack.Stack(cohort(bags), [own_recipe({}), own_recipe(changes)])


def test_a_member_that_has_finished_leaves_the_others_as_they_are(bags):
    """Each stops after its own best epoch, at its own learning rate."""
    options = {"epochs": 40, "patience": 2, "lr": 0.05, "min_delta": 0.01}
    together = fit_all(bags, [1, 2, 3, 4, 5], **options)
    assert len({len(outcome.history) for outcome in together.values()}) > 1
    for seed, outcome in together.items():
        alone = fit(bags, seed=seed, **options)
        assert len(alone.history) == len(outcome.history) and alone.best["epoch"] == outcome.best["epoch"]
        np.testing.assert_allclose(alone.table()["lr"], outcome.table()["lr"])
        np.testing.assert_allclose(alone.table()["val_loss"], outcome.table()["val_loss"], rtol=1e-2)
        np.testing.assert_allclose(alone.table()["val_auc"], outcome.table()["val_auc"], atol=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["plateau", "cosine", "none"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_training_stopped_at_any_step_ends_as_an_undisturbed_one(bags, tmp_path, scheduler, optimizer):
    """Asked to stop after every third step, again and again; members finish at different epochs."""
    options = {"scheduler": scheduler, "optimizer": optimizer, "patience": 2, **EVERYTHING}
    whole = fit_all(bags, [1, 2, 3], tmp_path / "whole.pth", **options)
    steps, rows, stopped = itertools.count(1), [], 0

    def watch(seed, row):
        rows.append((seed, row["epoch"]))

    while True:
        rows.clear()
        try:
            resumed = fit_all(bags, [1, 2, 3], tmp_path / "state.pth", lambda: next(steps) % 3 == 0, watch, **options)
            break
        except Stopped:
            stopped += 1
    assert stopped > 8
    assert all(same(whole[seed], resumed[seed]) for seed in whole)
    for seed in whole:
        assert [epoch for other, epoch in rows if other == seed] == list(whole[seed].table()["epoch"])


def test_a_seed_that_is_added_trains_alone_and_one_that_is_left_out_nothing(bags, tmp_path, monkeypatch):
    state = tmp_path / "state.pth"
    first = fit_all(bags, [1, 2], state)
    trained = []
    monkeypatch.setattr(stack.Stack, "next_epoch", noted(stack.Stack.next_epoch, trained))
    more = fit_all(bags, [1, 2, 3], state)
    assert set(trained) == {(3,)}
    assert same(more[1], first[1]) and same(more[2], first[2]) and same(more[3], fit(bags, seed=3))
    trained.clear()
    assert list(fit_all(bags, [3, 1], state)) == [3, 1] and not trained
    # Stopped in the midst of two, then asked for one of them: it starts again, because alone its last digits differ.
    with pytest.raises(Stopped):
        fit_all(bags, [4, 5], state, stop=lambda: True)
    assert same(fit_all(bags, [4, 1], state)[4], fit(bags, seed=4))


def noted(function, seeds):
    """A step of a stack that notes whose it is."""

    def step(self, *args):
        seeds.append(tuple(self.seeds))
        return function(self, *args)

    return step


def test_slurm_may_say_twice_that_time_is_up_and_a_second_ctrl_c_ends_at_once():
    handlers = [signal.getsignal(number) for number in cli.STOPS]
    with cli.stoppable() as stop:
        assert not stop()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
            assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in cli.STOPS] == handlers


@pytest.mark.parametrize("batch_size", [2, 100])
def test_a_request_to_stop_is_heard_whatever_the_size_of_an_epoch(bags, tmp_path, batch_size):
    with pytest.raises(Stopped, match="run again to go on"):
        fit(bags, tmp_path / "state.pth", stop=lambda: True, batch_size=batch_size)
    with pytest.raises(Stopped, match="nothing is saved"):
        fit(bags, stop=lambda: True, batch_size=batch_size)


@pytest.mark.slow
def test_a_state_that_cannot_be_written_does_not_end_the_training(bags, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert same(fit(bags, tmp_path / "file/state.pth"), fit(bags))
    assert "cannot be resumed" in caplog.text


@pytest.mark.slow
def test_state_of_other_settings_or_data_is_not_taken_up(bags, tmp_path):
    state = tmp_path / "state.pth"
    fit(bags, state)
    assert same(fit(bags, state, lr=0.001), fit(bags, lr=0.001))
    whole = state.read_bytes()
    middle = len(whole) // 2
    for damaged in (b"cut off", whole[:middle], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]):
        state.write_bytes(damaged)
        assert same(fit(bags, state), fit(bags))


def test_a_finished_training_is_not_repeated(bags, tmp_path, monkeypatch):
    first = fit(bags, tmp_path / "state.pth")
    monkeypatch.setattr(stack.Stack, "next_epoch", lambda run, stop: pytest.fail("trained again"))
    assert same(first, fit(bags, tmp_path / "state.pth"))


def test_early_stopping_waits_for_min_epochs(bags):
    assert len(fit(bags, epochs=3, lr=1e-9, patience=1, min_delta=0.5, min_epochs=7).history) == 3  # and no longer
    assert len(fit(bags, epochs=30, lr=1e-9, patience=2, min_delta=0.5, min_epochs=7).history) == 7


def test_divergence_is_named(bags):
    with pytest.raises(UserError, match="lower train"):
        fit(bags, lr=1e30, epochs=2)


def test_batch_gradient_is_the_mean_over_cases(bags):
    torch.manual_seed(0)
    model = HierarchicalAttention(MODEL)
    criterion = torch.nn.CrossEntropyLoss(torch.tensor([0.5, 2.0]), reduction="none")

    def gradient(cases):
        loss = criterion(model(bags.batch(cases)).logits[:, 0], torch.tensor([Y[case] for case in cases])).mean()
        return torch.autograd.grad(loss, list(model.parameters()))

    singles = [gradient([case]) for case in CASES[:4]]
    for i, together in enumerate(gradient(CASES[:4])):
        torch.testing.assert_close(together, sum(single[i] for single in singles) / 4, rtol=1e-4, atol=1e-6)


def test_bf16_is_chosen_where_it_gains(monkeypatch):
    wide, narrow = model_settings(4096, 2, embed_dim=128), model_settings(1280, 2, embed_dim=128)
    for flags in ({"amx_bf16": True}, {"amx_bf16": False, "avx512_bf16": True}, {"avx512_f": True}, {}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags)
        chosen = training.precision("auto", torch.device("cpu"), wide)
        assert chosen == ("bf16" if flags.get("amx_bf16") or flags.get("avx512_bf16") else "fp32")
        assert devices.fast_bf16(torch.device("cpu")) == (chosen == "bf16")  # of which embedding asks
        assert training.precision("auto", torch.device("cpu"), narrow) == "fp32"
        assert training.precision("bf16", torch.device("cpu"), narrow) == "bf16"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_precisions_learn(bags, precision):
    assert fit(bags, epochs=15, precision=precision).table()["val_auc"].max() > 0.9


def test_checkpoints_refuse_what_is_not_theirs(tmp_path):
    data = features()
    content = {
        "weights": HierarchicalAttention(MODEL).weights(0), "model": MODEL.asdict(), "classes": ["a", "b"],
        "stains": STAINS, "features": {"encoder": "x", "dim": 6, "torch": "1"}, "epoch": 1, "minhash": [],
    }  # fmt: skip
    path = tmp_path / "best.pth"
    checkpoint.save(content, path)
    data.identity.update({"encoder": "x", "dim": 6, "torch": "2"})
    assert checkpoint.model(checkpoint.read(path), path, data, ["a", "b"], STAINS).members == 1
    data.identity["encoder"] = "y"
    with pytest.raises(UserError) as error:
        checkpoint.model(content, path, data, ["a", "c"], STAINS)
    assert len(error.value.problems) == 2
    path.write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="not a checkpoint"):
        checkpoint.read(path)
    checkpoint.save({"state_dict": {}}, path)
    with pytest.raises(UserError, match="it has no weights"):
        checkpoint.read(path)


def test_a_case_is_recognised_by_most_of_its_patches(bags):
    known = {*bags.minhash("1"), *bags.minhash("2")}
    fewer = copy.copy(bags)
    fewer.cases = bags.cases | {"2": [[slices[0][1:], *slices[1:]] for slices in bags.cases["2"]]}
    for own in (bags, fewer):  # one patch less a stain
        assert [recognised(own.minhash(case), known) for case in "234"] == [True, False, False]


def shared(patches, copies=()):
    """Bags of cases 1 to 4 of six patches each, of which the first `patches` are the same; `copies` are of case 1."""
    data = features({case: [[3], [3]] for case in "1234"})
    rows = {case: np.flatnonzero(data.table["case_id"] == case) for case in "1234"}
    for case in "234":
        data.values[rows[case][:patches]] = data.values[rows["1"][:patches]]
        if case in copies:
            data.values[rows[case]] = data.values[rows["1"]]
    return data, rows


@pytest.mark.parametrize("patches", [1, 2, 3])
def test_patches_that_strangers_share_are_no_evidence(patches):
    data, _ = shared(patches)
    bags = Bags(data, STAINS)
    known = {*bags.minhash("1"), *bags.minhash("2")}
    for case in "1234":
        assert len(bags.minhash(case)) == 6 - patches
        assert recognised(bags.minhash(case), known) == (case in "12")


def test_a_case_of_nothing_but_blank_patches_is_evidence_of_nothing():
    """Blank images by what their shard says, and features that are all equal."""
    data, rows = shared(0)
    data.values[rows["1"]] = data.values[rows["2"]] = data.values[rows["3"][0]]
    data.values[rows["4"]] = np.arange(6)[:, None]
    data.blank = np.isin(np.arange(len(data.table)), [*rows["1"], *rows["2"], rows["3"][0]])
    bags = Bags(data, STAINS)
    assert [len(bags.minhash(case)) for case in "1234"] == [0, 0, 5, 0]
    assert not any(recognised(bags.minhash(case), set(bags.minhash("3"))) for case in "124")


@pytest.mark.parametrize("copies", ["3", "34", "24", "234"])
def test_a_copy_under_another_id_is_recognised_whether_copies_are_seen_together_or_apart(copies):
    data, _ = shared(1, copies)
    everywhere = Bags(data, STAINS)
    alone = copy.copy(everywhere)
    alone.cases = {"1": everywhere.cases["1"]}
    alone.__dict__.pop("common", None)
    for training_bags in (everywhere, alone):
        known = set(training_bags.minhash("1"))
        assert all(recognised(everywhere.minhash(case), known) for case in copies)


def test_a_checkpoint_with_the_old_name_of_minhash_is_read_and_one_with_neither_is_one_line(tmp_path):
    whole, path = content(features(), minhash=["a"]), tmp_path / "best.pth"
    digests = whole.pop("minhash")
    checkpoint.save(whole | {"seen_patches": digests}, path)
    read = checkpoint.read(path)
    assert read["minhash"] == ["a"] and set(read) == set(checkpoint.FIELDS)
    checkpoint.save(whole, path)
    with pytest.raises(UserError, match=r"best\.pth: not a checkpoint of this workflow: it has no minhash"):
        checkpoint.read(path)


def broken(what, value):
    def change(content):
        part = content
        for name in what[:-1]:
            part = part[name]
        part[what[-1]] = value

    return change


FIRST = next(iter(HierarchicalAttention(MODEL).shapes()))


@pytest.mark.parametrize("change", [
    *(broken([name], value) for name in checkpoint.FIELDS for value in (None, 5.5, [5], {"a": 5}, {5: "a"}, "", [])
      if (name, value) != ("minhash", []) and not (name == "features" and value == {"a": 5})),
    broken(["classes"], 5), broken(["classes"], ["a", "b", "c"]),
    broken(["model", "classes"], 5), broken(["model", "in_dim"], 10**12), broken(["model", "embed_dim"], -1),
    broken(["model", "aggregation"], "other"), broken(["model", "new"], 1), broken(["model", "dropout"], 7),
    broken(["weights", FIRST], 5), broken(["weights", FIRST], torch.zeros(3)),
    broken(["weights", "more"], torch.ones(1)),
    broken(["features", "encoders"], 5), broken(["features", "encoders"], {"a": 5}),
    lambda content: content["weights"].pop(FIRST),
    lambda content: content["weights"][FIRST].fill_(math.nan),
    lambda content: content["weights"][FIRST].view(-1)[-1:].fill_(math.inf),
])  # fmt: skip
def test_a_checkpoint_of_wrong_content_is_one_line(tmp_path, change):
    data, path = features({"1": [[2], [1]]}), tmp_path / "best.pth"
    whole = content(data)
    change(whole)
    checkpoint.save(whole, path)
    with pytest.raises(UserError) as error:
        checkpoint.for_test([path], data, classes=["a", "b"], stains=STAINS)
    assert all(str(path) in line and "\n" not in line for line in error.value.problems)


@pytest.mark.slow
@pytest.mark.parametrize("change", [
    *(broken([*place, name], value) for value in (None, "x", [5], {"a": 5})
      for place, names in (([], ["done", "stack"]),
                           (["stack"], [*stack.Stack.PROGRESS, "model", "optimiser", "members"]),
                           (["stack", "optimiser"], ["steps", "moments"]),
                           (["stack", "members", 1], stack.Member.PROGRESS))
      for name in names if (name, value) != ("stack", None)),
    broken(["stack", "members", 1, "history", 0], {"epoch": 1}),
    broken(["stack", "members", 1, "best", "weights"], {FIRST: torch.zeros(2)}),
    broken(["stack", "model", FIRST], torch.zeros(2)),
    broken(["stack", "optimiser", "moments", 0, 0], torch.zeros(77)),
    broken(["done", 9], {"best": {"value": 0.5, "epoch": 1, "weights": {}}, "history": []}),
    lambda state: [state.pop(name) for name in list(state) if name != "key"],
])  # fmt: skip
def test_a_state_of_wrong_content_under_a_right_digest_is_begun_anew(bags, tmp_path, caplog, change):
    path, steps = tmp_path / "state.pth", itertools.count()
    with pytest.raises(Stopped):
        fit(bags, path, stop=lambda: next(steps) >= 20, epochs=4)
    state = checkpoint.read_state(path)
    change(state)
    checkpoint.save_state(state, path)
    assert same(fit(bags, path, epochs=4), fit(bags, epochs=4))
    assert "not the state of a training" in caplog.text
    path.write_bytes(b"x" + hashlib.sha256(b"x").digest())
    assert checkpoint.read_state(path) is None


def test_the_best_epoch_is_kept_whatever_counts_as_improvement(bags):
    outcome = fit(bags, epochs=12, min_delta=10.0)
    history = outcome.table()
    assert outcome.best["epoch"] == history.loc[history["val_loss"].idxmin(), "epoch"]


class NoWait(TorchDispatchMode):
    """Fails at what a GPU would have to be waited for: a number that the program reads, a shape that data decides."""

    WAITS = (
        "_local_scalar_dense", "nonzero", "bincount", "unique", "masked_select", "repeat_interleave.Tensor", "equal",
    )  # fmt: skip
    READS = ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__", "__array__")

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.name().split("::")[1]
        masked = name.startswith("index.") and any(part is not None and part.dtype == torch.bool for part in args[1])
        assert not name.startswith(self.WAITS) and not masked, name
        return operation(*args, **kwargs or {})


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["default", "everything"])
def test_no_step_waits_for_a_gpu(bags, monkeypatch, aggregation, options):
    """On a CPU, by the operations that it takes: an epoch is read once, at its end."""
    members = stack.Stack(
        cohort(bags), stack.recipes(replace(MODEL, aggregation=aggregation), settings(**options), [1, 2])
    )
    with monkeypatch.context() as patched, NoWait():
        for name in NoWait.READS:
            patched.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f"Tensor.{name} in a step"))
        assert members._train_epoch([0.02, 0.01], lambda: False)
    assert all(math.isfinite(value) and value > 0 for value in members.loss.tolist())

"""A cohort of random features with the sizes of a real one, and the trainer on it."""

import numpy as np
import pandas as pd
from patches import SCRIPTS  # noqa: F401  puts the library on the path

from stratamil.core import devices, schema
from stratamil.features import store
from stratamil.mil import bags, model, stack, training

STAINS = ("h&e", "melan", "sox10")
SPREAD = 0.79  # of the logarithm of a slice's patches: with a mean of 133 the median is 97, as in a real study
SHARDS = 4
EMBED, ATTENTION = 512, 128
NONE = pd.DataFrame(columns=store.UNREADABLE, dtype=str)


class Noise:
    """Random features (n, D), made when they are asked for."""

    def __init__(self, n, dim):
        self.shape = (n, dim)

    def __getitem__(self, rows):
        begin, end, _ = rows.indices(self.shape[0])
        drawn = np.random.default_rng([begin, end]).random((end - begin, self.shape[1]), dtype=np.float32)
        return drawn.astype(np.float16)


def inventory(patches, slices, cases):
    """The patches of a cohort as the inventory lists them; every case has h&e, most have all stains."""
    rng = np.random.default_rng(0)
    some = rng.integers(0, len(STAINS) * cases, slices - cases)
    stain_of_slice = np.sort(np.concatenate([len(STAINS) * np.arange(cases), some]))
    shares = rng.lognormal(0, SPREAD, slices)
    sizes = 1 + rng.multinomial(patches - slices, shares / shares.sum())
    slice_of_patch = np.repeat(np.arange(slices), sizes)
    case, stain = np.divmod(stain_of_slice[slice_of_patch], len(STAINS))
    columns = {"case_id": case, "slice_id": slice_of_patch, "path": np.arange(patches)}
    table = pd.DataFrame({name: values.astype(str) for name, values in columns.items()})
    return table.assign(stain=np.array(STAINS)[stain], patch=np.arange(patches))


def write(folder, patches, slices, cases, dim):
    """Write a cohort's features as shards; returns their paths."""
    table = inventory(patches, slices, cases)
    shard = table["case_id"].astype(int) % SHARDS
    paths = [folder / f"shard_{number}.h5" for number in range(SHARDS)]
    for number, path in enumerate(paths):
        part = table[shard == number]
        store.write(path, Noise(len(part), dim), part, NONE, {"encoder": "noise"})
    return paths


def settings(epochs, dim, **changed):
    """The trainer's default settings on all patches, for a training that does not stop early."""
    default = {
        name: value
        for name, value in schema.defaults("train").items()
        if name in stack.TrainSettings.__dataclass_fields__
    }
    default |= {"epochs": epochs, "min_epochs": epochs, "per_slice_cap": None, "instance_dropout": 0.0}
    shape = shape_of(dim)
    default["precision"] = training.precision(default["precision"], devices.best(), shape)
    return stack.TrainSettings(**default | changed)


def shape_of(dim, **changes):
    """A model as wide as in what it is compared with."""
    return model.ModelSettings(
        dim, 2, **(schema.defaults("model") | {"embed_dim": EMBED, "attention_dim": ATTENTION} | changes)
    )


def load(shards):
    """The bags of a cohort, on the GPU where there is one."""
    return bags.Bags(store.read(shards), STAINS, devices.best())


def memory(patches, slices, cases, dim, device=None):
    """The bags of a cohort that is no file: on the device, by default on the GPU where there is one."""
    table, noise = inventory(patches, slices, cases), Noise(patches, dim)
    values = np.empty((patches, dim), np.float16)
    for begin in range(0, patches, store.BLOCK):
        values[begin : begin + store.BLOCK] = noise[begin : begin + store.BLOCK]
    return bags.Bags(store.Features(values, table, {}), STAINS, device or devices.best())


def data(cohort, train_cases, val_cases, name="01"):
    """The cases of a training; every other one is of the second class."""
    y = {case: number % 2 for number, case in enumerate(cohort.cases)}
    return stack.Data(cohort, train_cases, val_cases, y, name)


def train(cohort, train_cases, val_cases, settings, seeds=(42,), **changes):
    """The history of the first seed of the real trainer, with a model as wide as in what it is compared with."""
    shape = shape_of(cohort.values.shape[1], **changes)
    return training.train(data(cohort, train_cases, val_cases), shape, settings, seeds)[seeds[0]].table()

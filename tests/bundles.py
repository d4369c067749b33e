"""A study of precomputed features with two splits and two seeds, as evaluate leaves it, and its bundle."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from factories import CLASSES, DIM, STAINS, features, model_settings

import bundle as script
from stratamil.cohort import splits
from stratamil.core import files, schema
from stratamil.evaluation import ensemble, predict
from stratamil.features import store
from stratamil.mil import checkpoint
from stratamil.mil.bags import Bags
from stratamil.mil.model import HierarchicalAttention, stack

TEST = {"01": range(1, 13), "02": range(13, 25)}  # numbers of the cases, which end their ids
SEEDS = [1, 2]
IDENTITY = {"encoder": "precomputed", "named": "made", "dim": DIM}
NAMES = list(CLASSES)


@dataclass(frozen=True)
class Made:
    """A study on disk: its folder, its features, and the arguments of scripts/bundle.py that make its bundle."""

    folder: Path
    data: store.Features
    args: argparse.Namespace

    @property
    def zip(self) -> Path:
        return self.args.output


def shape(numbers: Iterable[int], prefix: str = "") -> dict[str, list[list[int]]]:
    """Return cases as in factories.SHAPE; every third lacks a stain."""
    return {f"{prefix}{i}": [[4, 2], [3], [2] if i % 3 else []] for i in numbers}


def write(folder: Path, prefix: str = "", classes: list[dict[str, list[str]]] | None = None) -> Made:
    """Write the study and its bundle. prefix: of the ids of its cases. classes: None is the default."""
    ids = {i: f"{prefix}{i}" for test in TEST.values() for i in test}
    settings = schema.defaults("cohort") | schema.defaults("names") | schema.defaults("report") | {"members": "all"}
    settings |= {"classes": classes or settings["classes"]}
    names = list(schema.merged(settings["classes"]))
    y = {case: i % len(names) for i, case in ids.items()}
    data = features(shape(ids, prefix), seed=5)
    data.values += np.array([y[case] for case in data.table["case_id"]], np.float16)[:, None]
    data.identity |= IDENTITY
    shard = folder / "features/precomputed/shard_00.h5"
    store.write(shard, data.values, data.table, pd.DataFrame(columns=store.UNREADABLE), IDENTITY)
    write_cases(folder, y, names)
    for split, other in (("01", "02"), ("02", "01")):
        test, rest = ([ids[i] for i in TEST[name]] for name in (split, other))
        write_split(folder, split, splits.Split(rest[:6], rest[6:], test), data, y, names)
    runs = [folder / f"split_{split}/seed_{seed}" for split in TEST for seed in SEEDS]
    settings |= {"title": "Made study", "bootstrap_samples": 100, "encoders": {}, "refitted": None, "labels": None}
    args = argparse.Namespace(
        runs=runs,
        checkpoints=[run / "checkpoints/best.pth" for run in runs],
        features=[shard],
        cases=folder / "inventory/cases.csv",
        splits=[folder / f"splits/data_splits_{split}.npz" for split in TEST],
        output=folder / "model/made.zip",
        **settings,
    )
    script.main(args)
    return Made(folder, data, args)


def write_cases(folder: Path, y: dict[str, int], names: list[str]) -> None:
    cases = pd.DataFrame({"case_id": list(y), "class": [names[k] for k in y.values()], "patient_id": list(y)})
    cases = cases.assign(label="1", n_slices=4, n_patches=9, missing_stains="", status="used")
    files.write_csv(cases.assign(patches_h_e=6, patches_melan=3, patches_sox10=2), folder / "inventory/cases.csv")


def write_split(
    folder: Path, split: str, ids: splits.Split, data: store.Features, y: dict[str, int], names: list[str]
) -> None:
    """Write what train and evaluate write of a split that the bundle reads."""
    (folder / "splits").mkdir(exist_ok=True)
    splits.write(ids, folder / f"splits/data_splits_{split}.npz")
    models, bags = [], Bags(data, STAINS)
    for seed in SEEDS:
        torch.manual_seed(10 * int(split) + seed)
        settings = model_settings(DIM, len(names), embed_dim=8, attention_dim=4, zero_start=False)
        models.append(HierarchicalAttention(settings))
        models[-1].standardise(*bags.statistics(ids.train))
        content = {"weights": models[-1].weights(0), "model": models[-1].settings.asdict(), "classes": names}
        content |= {"stains": STAINS, "features": data.identity, "epoch": seed, "minhash": []}
        checkpoint.save(content, folder / f"split_{split}/seed_{seed}/checkpoints/best.pth")
    both = {"y": y, "classes": names}
    validation, test = (predict.predict(stack(models), bags, data.table, part, **both) for part in (ids.val, ids.test))
    runs = {f"seed_{seed}": (test[place], validation[place][0]) for place, seed in enumerate(SEEDS)}
    means = [ensemble.predictions([each[0] for each in part], names) for part in (test, validation)]
    runs["ensemble"] = ((means[0], ensemble.attention([each[1] for each in test])), means[1])
    for name, ((tested, attention), chosen_on) in runs.items():
        place = folder / f"split_{split}" / name
        about = {"split": split, "classes": names, "seed": name.removeprefix("seed_")}
        files.write_csv(tested, place / "predictions.csv")
        files.write_csv(chosen_on, place / "validation_predictions.csv")
        files.write_parquet(attention, place / "patch_attention.parquet")
        files.write_json(about | predict.results(tested, chosen_on, names, "youden"), place / "results.json")


def write_manifest(folder: Path, data: store.Features, cases: list[str]) -> Path:
    """Write features of cases as another program does, a file a slice, and the CSV that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, values = [], np.asarray(data.values)
    table = data.table[data.table["case_id"].isin(cases)]
    for (case, stain, slice_id), part in table.groupby(["case_id", "stain", "slice_id"], sort=False):
        file = f"{case}_{stain}_{slice_id}.h5"
        with h5py.File(folder / file, "w") as written:
            written["features"] = values[part.index]
        rows.append((file, case, stain, slice_id))
    pd.DataFrame(rows, columns=["file", "case", "stain", "slice"]).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"

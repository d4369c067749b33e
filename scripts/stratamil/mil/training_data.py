"""What a training takes: the features of a split's training and validation cases, and settings as flags give them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from stratamil.cohort.splits import Split
from stratamil.features import store
from stratamil.mil import training
from stratamil.mil.bags import Bags
from stratamil.mil.model import ModelSettings
from stratamil.mil.stack import Data, TrainSettings


def read(
    shards: Iterable[Path],
    split: Split,
    *,
    y: Mapping[str, int],
    classes: Sequence[str],
    stains: Sequence[str],
    name: str,
    device: torch.device,
) -> tuple[store.Features, Data]:
    """Return the features of a split's training and validation cases, and its Data; test cases are not read.

    Training steps draw from further views of the patches, where the feature files have them.

    y: case -> class index. name: of the split. `identity["data"]` is the digest of the features.
    """
    features = store.read(shards, [*split.train, *split.val], viewed=True)
    bags = Bags(features, stains, device)
    seen = {case: bags.fingerprint(case) for case in (*split.train, *split.val)}
    digest = hashlib.sha256("".join(f"{each}\n" for each in seen.values()).encode())
    for begin in range(0, len(features.table), store.TEXTS):
        rows = features.table[list(store.TEXT)].iloc[begin : begin + store.TEXTS]
        digest.update(rows.to_csv(index=False, header=begin == 0).encode())
    return features, Data(
        bags=bags,
        train=split.train,
        val=split.val,
        y={case: y[case] for case in seen},
        name=name,
        identity={"data": digest.hexdigest(), "stains": list(stains), "classes": list(classes)},
    )


def settings(values: Mapping[str, Any], in_dim: int, device: torch.device) -> tuple[ModelSettings, TrainSettings]:
    """Return the settings of model and training. values: of the sections model and train, and the names `classes`."""
    of_model = {name: values[name] for name in ModelSettings.__dataclass_fields__ if name in values}
    model = ModelSettings(**of_model | {"in_dim": in_dim, "classes": len(values["classes"])})
    of_training = {name: values[name] for name in TrainSettings.__dataclass_fields__}
    precision = training.precision(values["precision"], device, model)
    return model, TrainSettings(**of_training | {"precision": precision})

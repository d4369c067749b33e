"""What many tests make: settings with the schema's defaults but for what a test changes, features and models."""

import numpy as np
import pandas as pd
import torch

from stratamil.cohort import labels
from stratamil.core import schema
from stratamil.core.names import Grammar
from stratamil.explain import perturb
from stratamil.features.store import Features
from stratamil.mil.model import HierarchicalAttention, ModelSettings
from stratamil.mil.stack import TrainSettings

STAINS = ["h&e", "melan", "sox10"]
SHAPE = {"1": [[3, 1], [4], [2]], "2": [[1], [5, 2, 2]], "10": [[6]]}  # case -> stain -> patches of each slice
DIM = 6
NAMES = schema.defaults("names")
STAIN_NAMES = {name: others for entry in NAMES["stains"] for name, others in entry.items()}
CLASSES = {"benign": ["1"], "high-grade": ["3", "4"]}
# Settings of the labels table, as labels.read takes them but for the classes.
OTHERS = ("exclude_patches", "duplicates")
OF_LABELS = {name: value for name, value in schema.defaults("cohort").items() if name not in OTHERS}
GRAMMAR = Grammar(NAMES["pattern"], STAIN_NAMES)


def model_settings(in_dim: int, classes: int, aggregation: str = "hierarchical", **changes: object) -> ModelSettings:
    """Return the settings of a small model."""
    return ModelSettings(in_dim, classes, **(schema.defaults("model") | {"aggregation": aggregation} | changes))


def train_settings(**changes: object) -> TrainSettings:
    """Return the settings of a training in fp32, which all machines compute alike."""
    chosen = schema.defaults("train") | {"precision": "fp32"} | changes
    return TrainSettings(**{name: chosen[name] for name in TrainSettings.__dataclass_fields__})


def perturb_settings(**changes: object) -> perturb.Settings:
    """Return the settings of a perturbation."""
    defaults = schema.defaults("faithfulness") | {"top_percent": schema.defaults("attention")["top_percent"]}
    return perturb.Settings(**(defaults | {"seed": 42} | changes))


def features(shape=SHAPE, dim=DIM, seed=0):
    """Features of random numbers; a stain without slices is missing."""
    rows = [
        (case, STAINS[t], f"match_{s + 1}", p, f"{case}/{t}/{s}/{p}")
        for case, stains in shape.items()
        for t, slices in enumerate(stains)
        for s, n in enumerate(slices)
        for p in range(n)
    ]
    values = np.random.default_rng(seed).standard_normal((len(rows), dim)).astype(np.float16)
    return Features(values, pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "patch", "path"]), {})


def build(aggregation="hierarchical", gated=False, dim=DIM, coupled=True, seed=3):
    """A model of three classes with random weights, in float64."""
    torch.manual_seed(seed)
    settings = model_settings(
        dim, 3, aggregation, embed_dim=8, attention_dim=4, gated=gated, zero_start=False, coupled=coupled
    )
    model = HierarchicalAttention(settings)
    generator = torch.Generator().manual_seed(4)
    model.standardise(torch.randn(dim, generator=generator), torch.rand(dim, generator=generator) + 0.5)
    return model.double()


def scores(module, rows, member=0):
    """Attention scores of a member the plain way: rows (n, E) -> (n,)."""

    def layer(linear):
        return rows @ linear.weight[member].T + linear.bias[member]

    hidden = torch.tanh(layer(module.value))
    if module.gate is not None:
        hidden = hidden * torch.sigmoid(layer(module.gate))
    return hidden @ module.score.weight[member, 0]


MODEL = model_settings(DIM, 2, embed_dim=8, attention_dim=4, dropout=0.2)


def content(data, **changes):
    """What a checkpoint of `MODEL` holds that was trained on `data`."""
    return {
        "weights": HierarchicalAttention(MODEL).weights(0), "model": MODEL.asdict(), "classes": ["a", "b"],
        "stains": STAINS, "features": data.identity, "epoch": 1, "minhash": [],
    } | changes  # fmt: skip


def read_labels(folder, text, patient_column=None, classes=CLASSES, encoding="utf-8"):
    """Read a labels table that holds `text`."""
    path = folder / "labels.csv"
    path.write_bytes(text.encode(encoding))
    settings = OF_LABELS | {"patient_column": patient_column, "classes": classes}
    return labels.read(path, **settings)

"""What many tests make: settings with the schema's defaults, but for what a test changes."""

from stratamil.core import schema
from stratamil.explain import perturb
from stratamil.mil import training
from stratamil.mil.model import ModelSettings


def model_settings(in_dim: int, classes: int, aggregation: str = "hierarchical", **changes: object) -> ModelSettings:
    """Return the settings of a small model."""
    return ModelSettings(in_dim, classes, **(schema.defaults("model") | {"aggregation": aggregation} | changes))


def train_settings(**changes: object) -> training.TrainSettings:
    """Return the settings of a training in fp32, which all machines compute alike."""
    chosen = schema.defaults("train") | {"precision": "fp32", "seed": 1} | changes
    return training.TrainSettings(**{name: chosen[name] for name in training.TrainSettings.__dataclass_fields__})


def perturb_settings(**changes: object) -> perturb.Settings:
    """Return the settings of a perturbation."""
    defaults = schema.defaults("faithfulness") | {"top_percent": schema.defaults("attention")["top_percent"]}
    return perturb.Settings(**(defaults | {"seed": 42} | changes))

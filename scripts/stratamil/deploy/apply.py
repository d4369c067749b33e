"""Predictions of new cases by the members of a bundle: what evaluate does for test cases, and nothing else.

M members, K classes, P patches of D features. A case is predicted by itself: memory does not grow with their number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from stratamil.core import devices
from stratamil.core.errors import UserError
from stratamil.core.names import column
from stratamil.deploy import bundle
from stratamil.deploy.bundle import Bundle
from stratamil.evaluation import ensemble, predict
from stratamil.features.store import Features
from stratamil.mil import checkpoint
from stratamil.mil.bags import Bags
from stratamil.mil.model import HierarchicalAttention, ModelSettings, stack
from stratamil.stats.ranking import compared


@dataclass(frozen=True)
class Prediction:
    """What the members say of one case.

    members: (M, K) probabilities, in the order of the bundle's members. logits: (K,), their mean. probabilities: (K,),
    the mean of `members`. calibrated: (K,), `probabilities` after the frozen temperature. predicted_class: at the
    frozen threshold with two classes, else the most probable. attention: a row a patch, with the columns of evaluate's
    patch_attention.parquet.
    """

    classes: list[str]
    members: NDArray[np.float64]
    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    calibrated: NDArray[np.float64]
    predicted_class: str
    attention: pd.DataFrame

    @property
    def shown(self) -> NDArray[np.float64]:
        """Probability (M,) that each member gives the last of two classes, or of more the predicted one."""
        return self.members[:, 1 if len(self.classes) == 2 else self.classes.index(self.predicted_class)]

    def row(self) -> dict[str, Any]:
        """Return the prediction as the columns of predictions.csv; sd, low and high are of `shown`."""
        named = [column(name) for name in self.classes]
        return (
            {"predicted_class": self.predicted_class}
            | {f"prob_{name}": p for name, p in zip(named, self.probabilities)}
            | {f"calibrated_{name}": p for name, p in zip(named, self.calibrated)}
            | {"sd": self.shown.std(ddof=1) if len(self.shown) > 1 else 0.0}
            | {"low": self.shown.min(), "high": self.shown.max()}
            | {f"logit_{name}": z for name, z in zip(named, self.logits)}
        )


class Model:
    """The members of a bundle, ready to predict; made by `load_bundle`.

    split: the members of this split alone, with its own threshold and temperature; None takes all. stacks: the members,
    those of one shape that standardise alike side by side, in the bundle's order.
    """

    def __init__(self, content: Bundle, split: str | None = None, device: torch.device | str | None = None) -> None:
        self.bundle, self.split = content, split
        self.listed = content.members(split)
        self.decision = content.decision(split)
        self.device = torch.device(device or devices.best())
        self.stacks = self._stacks()

    @property
    def classes(self) -> list[str]:
        """Class names; of two the last is the positive one."""
        return self.bundle.classes

    @property
    def stains(self) -> list[str]:
        """Stains of the model, in its order."""
        return self.bundle.stains

    @property
    def dim(self) -> int:
        """Number of features of a patch."""
        return int(self.bundle.facts["model"]["in_dim"])

    def _stacks(self) -> list[HierarchicalAttention]:
        """Return the members, those of one shape that standardise alike side by side; in the bundle's order."""
        groups: list[list[HierarchicalAttention]] = []
        for each in self.listed:
            model, before = _built(self.bundle, each), groups[-1][0] if groups else None
            if (
                before
                and model.settings.shape == before.settings.shape
                and all(map(torch.equal, model.buffers(), before.buffers()))
            ):
                groups[-1].append(model)
            else:
                groups.append([model])
        return [stack(group).to(self.device) for group in groups]

    def predict(self, values: ArrayLike, stain: Sequence[str] | str, slice_id: Sequence[str] | str = "1") -> Prediction:
        """Return the prediction of one case from its features.

        values: (P, D), a row a patch, made by the encoder that `bundle.facts["features"]` names; they are used as
        float16, as everywhere. stain, slice_id: of each patch, or one for all. Patches of stains that the model does
        not know are not used. The attention has a row a used patch; its column `patch` is the row in `values`.
        Raises UserError for features of another width, or without a patch of a known stain.
        """
        values = np.asarray(values, dtype=np.float16)
        if values.ndim != 2 or values.shape[1] != self.dim:
            raise UserError(f"features of shape {values.shape}: the model needs (patches, {self.dim})")
        n = len(values)
        columns = {"case_id": "case", "stain": stain, "slice_id": slice_id, "patch": range(n)}
        table = pd.DataFrame(columns | {"path": [f"{place:09d}" for place in range(n)]}, index=range(n))
        found = self.of_case(Features(values, table, {}), "case")
        attention = found.attention.sort_values("patch", ignore_index=True).drop(columns=["case_id", "path"])
        return Prediction(**{**vars(found), "attention": attention})

    @torch.inference_mode()
    def of_case(self, features: Features, case: str, bags: Bags | None = None) -> Prediction:
        """Return the prediction of a case in these features. bags: those of the features, if they are made."""
        bags = bags or Bags(features, self.stains, self.device)
        if case not in bags.cases:
            raise UserError(f"case {case}: no patch of a stain that the model knows ({', '.join(self.stains)})")
        batch, logits, weights, contributions = bags.batch([case]), [], [], []
        for model in self.stacks:
            output = predict.of_bag(model, batch, case)
            told = model.contributions(output)
            logits.append(output.logits[0].double().cpu())
            weights.append(output.effective.T.double().cpu().numpy())
            contributions.append(told.permute(1, 2, 0).double().cpu().numpy())
        z = torch.cat(logits)
        members = torch.softmax(z, 1).numpy()
        if len(members) == 1:
            attention = predict.attention(output, 0, told[:, 0].cpu().numpy(), batch, features.table, self.classes)
        else:
            of_class = np.concatenate(contributions).transpose(1, 0, 2)
            named = {f"contribution_{column(name)}": of_class[k] for k, name in enumerate(self.classes)}
            slices, stain_of = batch.slice_of_patch.cpu().numpy(), batch.stain_of_slice.cpu().numpy()
            patches, own = features.table.iloc[batch.rows], (slices, stain_of[slices])
            attention = compared(ensemble.mean_attention(patches, *own, np.concatenate(weights), named))
        p = members.mean(0)
        scaled = torch.from_numpy(np.log(np.maximum(p, np.finfo(float).tiny)) / self.decision["temperature"])
        calibrated = torch.softmax(scaled, 0).numpy()
        return Prediction(self.classes, members, z.mean(0).numpy(), p, calibrated, self.called(p), attention)

    def called(self, p: NDArray[np.float64]) -> str:
        """Return the class that probabilities (K,) are called: at the frozen threshold, if there is one."""
        threshold = self.decision["threshold"]
        return self.classes[int(p.argmax()) if threshold is None else int(p[1] >= threshold)]


def load_bundle(path: str | Path, split: str | None = None) -> Model:
    """Return the model in a bundle, the zip file that the target `bundle` of a study makes.

    split: the members of one split alone, such as "01"; None takes all. Raises UserError, one line, for a file that is
    no bundle, damaged, altered since it was made, or of a newer format.

    >>> from stratamil import load_bundle
    >>> model = load_bundle("results/demo/model/stratamil_demo_cohort.zip")
    >>> model.classes, model.stains
    (['benign', 'high-grade'], ['h&e', 'melan', 'sox10'])

    A case is an array of features, a row a patch, with the stain of each patch and the slice that it lies in:

    >>> import numpy as np
    >>> values = np.random.default_rng(0).normal(size=(5, model.dim))
    >>> found = model.predict(values, stain=["h&e", "h&e", "h&e", "sox10", "sox10"], slice_id=["1", "1", "2", "1", "1"])
    >>> len(found.members) == len(model.listed), round(float(found.probabilities.sum()), 6)
    (True, 1.0)
    >>> found.predicted_class in model.classes
    True
    >>> round(float(found.attention["effective_weight"].sum()), 4)
    1.0
    """
    return Model(bundle.read(path), split)


def differences(facts: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    """Return what of the features' meaning is not as in training: `resize: pad, in training squash`.

    Of precomputed features only the encoder's name can tell, that of the files or of features.encoder.
    """
    was, now = checkpoint.meaning(facts["features"]), checkpoint.meaning(dict(identity))
    told = []
    if was.get("encoder") == now.get("encoder") == "precomputed":
        trained, here = _name(was), _name(now)
        if trained and not here:
            told = [
                f"the files name no encoder, and the model was trained on features of {trained}: if these are of it, "
                f"set features.encoder: {trained}"
            ]
        elif trained and column(trained) != column(here):
            told = [f"encoder: {here}, in training {trained}"]
    return told + [
        f"{key}: {now.get(key)}, in training {was.get(key)}" for key in {**was, **now} if was.get(key) != now.get(key)
    ]


def _name(meaning: dict[str, Any]) -> str:
    """Take the name of its encoder out of the meaning of precomputed features; empty where there is none."""
    named, said = meaning.pop("named", None), meaning.pop("extractor", None)
    return str(named or said or "")


def _built(content: Bundle, member: Mapping[str, Any]) -> HierarchicalAttention:
    """Return the model of a member; its shapes are compared before there is memory for it."""
    file = member["file"]
    weights = {name: torch.from_numpy(array.copy()) for name, array in content.weights[file].items()}
    try:
        settings = ModelSettings(**content.facts["model"] | member.get("model", {}))
        with torch.device("meta"):
            shapes = HierarchicalAttention(settings).shapes()
        if shapes != {name: tensor.shape for name, tensor in weights.items()} or settings.classes != len(
            content.classes
        ):
            raise ValueError("other shapes")
        result = HierarchicalAttention(settings)
        result.load(weights)
    except Exception:  # what a bundle says of its model can be anything
        raise UserError(f"{content.path}: {file} is not a member of this model: {bundle.REMEDY}") from None
    return result.eval()

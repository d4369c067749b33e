"""What a bundle says of a study: its settings, members, results and cohort, without any id."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stratamil import __version__
from stratamil.core import files, provenance
from stratamil.core.errors import UserError
from stratamil.deploy import decisions, reference
from stratamil.deploy.bundle import Arrays
from stratamil.evaluation import competitors
from stratamil.evaluation.study import Study
from stratamil.mil import checkpoint

KEPT = ("roc_auc", "delong", "fold_mean", "fold_sd", "folds", "pr_auc", "accuracy", "balanced_accuracy", "recall")
KEPT += ("brier", "log_loss", "prevalence")
# Settings that the features' identity does not have as the config has them.
ENCODER = ("encoder", "final_relu", "layer")
SAME = ("classes", "stains", "features")  # of all members of a bundle
OWN = ("model", "train")  # settings, of which a member may have others: where they were chosen in each split


def members(
    paths: Sequence[Path], split_seed: Sequence[tuple[str | None, int]]
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Arrays]]:
    """Return what checkpoints share, an entry of each for bundle.json, and its weights by file name.

    Of `OWN` the first one's settings count for all; an entry has those that differ. split_seed: of each checkpoint; the
    split is None for one that was trained on all cases.
    Raises UserError where they do not belong to one study.
    """
    contents = [checkpoint.read(path) for path in paths]
    shared = {name: contents[0][name] for name in SAME} | {name: _own(contents[0], name) for name in OWN}
    if other := [path for path, each in zip(paths, contents) if any(each[name] != shared[name] for name in SAME)]:
        raise UserError(f"{other[0]}: trained with other settings or features than {paths[0]}: train the study again")
    entries, weights = [], {}
    for path, (split, seed), content in zip(paths, split_seed, contents, strict=True):
        file = f"members/{f'split_{split}' if split else 'all_cases'}_seed_{seed}.safetensors"
        entries.append({"file": file, "split": split, "seed": seed, "epoch": int(content["epoch"])})
        entries[-1]["checkpoint_sha256"] = files.sha256(path)
        differ = {
            name: {key: value for key, value in _own(content, name).items() if shared[name].get(key, "") != value}
            for name in OWN
        }
        entries[-1] |= {name: values for name, values in differ.items() if values}
        weights[file] = {name: tensor.numpy() for name, tensor in content["weights"].items()}
    return shared, entries, weights


def _own(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return settings that a checkpoint holds, but for its seed."""
    return {key: value for key, value in (content.get(name) or {}).items() if key != "seed"}


def results(study: Study) -> dict[str, Any]:
    """Return the out-of-fold results with their intervals: those of the ensemble that the report has."""
    cases = study.ensemble
    found = study.estimates(cases, study.sampled(cases))
    result = {
        "cases": len(cases),
        "patients": int(cases["patient_id"].nunique()),
        "by_class": decisions.counts(cases["y"].to_numpy(), study.classes),
        "fewest_patients": min(map(min, study.sides(cases))),
        "splits": len(study.splits),
        "repeats": study.repeats,
        "seeds": study.seeds,
    }
    several = len(study.predictions[["repeat", "seed"]].drop_duplicates()) > 1
    result["single"] = competitors.of_single(study) if several else None
    result |= {name: found[name] for name in KEPT if name in found}
    if study.binary:
        at = found["at_threshold"]
        result["at_validation_threshold"] = None if at is None else decisions.shares(at)
        result["calibration"] = {name: found["calibration"][name] for name in ("slope", "intercept", "ece")}
    return result


def summary(cases: pd.DataFrame, patches: pd.DataFrame, stains: Sequence[str]) -> dict[str, Any]:
    """Return what the cases of a study have, as counts, after the exclusion of patches, as its models saw them.

    cases: rows of the cases table that the splits use. patches: the table of their Features.
    """
    patches = patches[patches["case_id"].isin(cases["case_id"])]
    found, of_stain = reference.amounts(patches, stains), patches.groupby("stain")["case_id"].nunique()
    return {
        "cases": len(cases),
        "patients": int(cases["patient_id"].nunique()),
        "by_class": {str(name): int(n) for name, n in cases["class"].value_counts().sort_index().items()},
        "patches": _spread(found["n_patches"]),
        "slices": _spread(found["n_slices"]),
        "cases_with_stain": {stain: int(of_stain.get(stain, 0)) for stain in stains},
    }


def encoders(settings: Mapping[str, Mapping[str, Any]], identity: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings of each encoder as they came out in the features: arithmetic, weights, sizes.

    settings: feature folder -> settings of its encoder. identity: of the features. Of a file of weights only the name
    is kept, for its folder is that of one machine.
    """
    identities = identity.get("encoders") or dict.fromkeys(settings, identity)
    told = ("weights_sha256", "input_size", "resize", "pooling", "precision")
    return {
        folder: {name: own[name] for name in ENCODER}
        | {name: identities[folder][name] for name in told}
        | {"weights": Path(own["weights"]).name, "only_stains": own["only_stains"]}
        | {"normalise": own.get("normalise", "none")}
        for folder, own in settings.items()
    }


def origin() -> dict[str, Any]:
    """Return what made the bundle: versions and commit."""
    return {"versions": {"stratamil": __version__, **provenance.versions()}, "commit": provenance.commit()}


def median_epoch(epochs: Sequence[int]) -> int:
    """Return the epoch for which members are trained on all cases: the median of the best ones, at least 1."""
    return max(1, round(statistics.median(epochs)))


def _spread(counts: pd.Series) -> dict[str, float]:
    return {"least": int(counts.min()), "median": float(counts.median()), "most": int(counts.max())}

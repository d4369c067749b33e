"""Paragraphs for a paper: methods and results of a study, with every number filled in (report/summary.txt)."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.cohort import sites
from stratamil.core.names import column, file_name
from stratamil.core.wording import baseline_label, counted, ends, listed, n_of, thousands
from stratamil.features import encoder_registry
from stratamil.report import sentences
from stratamil.report import sentences_cases as of_cases
from stratamil.report import sentences_performance as performance
from stratamil.report.cohort_sentences import unread
from stratamil.report.sentences import Numbers, quoted
from stratamil.report.tuning_sentences import METRICS

RULES = {"youden": "Youden’s index"}
NAMES = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD", "python": "Python", "torch": "PyTorch"}
WIDTH = 100
# What is known of features that another program computed: whose word names the encoder; attributes of their files.
NAMED = {"named": "the study’s settings", "extractor": "the files"}
OF_FILES = {
    "tile size": {"tile_size_px": " pixels", "patch_size": " pixels", "tile_size_um": " µm", "patch_size_um": " µm"},
    "magnification": {"target_magnification": "x", "magnification": "x", "target_mpp": " µm per pixel"},
}
TO_ADD = "[To be added by the authors: how patches were cut and encoded, and with which weights.]"


def text(numbers: Numbers, used: Mapping[str, Any], unit: str) -> str:
    """Return summary.txt. used: cohort, flow, provenance and faithfulness of the page, and `run`, of `facts`."""
    parts = {"Methods": methods(numbers, used, unit), "Results": results(numbers, used, unit)}
    told = [f"{name}\n\n{textwrap.fill(body, WIDTH, break_on_hyphens=False)}" for name, body in parts.items()]
    return "\n\n".join(filter(None, [numbers.get("first_look", ""), *told])) + "\n"


def facts(results: Mapping[str, Any], sizes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return what one run says of all: settings of model and training, features, rule of the threshold.

    sizes: cases of each split, by name of the set.
    """
    settings = results.get("settings") or {}
    return {
        "model": settings.get("model") or {},
        "train": settings.get("train") or {},
        "features": results.get("features") or {},
        "rule": results.get("threshold_rule", "youden"),
        "sizes": sizes,
    }


def methods(numbers: Numbers, used: Mapping[str, Any], unit: str) -> str:
    """Return the methods paragraph."""
    cohort, runs = used["cohort"], used["run"]
    total, stains = cohort["total"], cohort["stains"]
    of = f" of {n_of(total['patients'], 'patient')}" if unit == "patient" else ""
    patches = "features of image patches" if runs["features"].get("encoder") == "precomputed" else "image patches"
    lines = [
        f"Cases were classified as {listed(numbers['classes'], 'or')} from {patches} of "
        f"{n_of(len(stains), 'stain')} ({listed(stains)}) by multiple-instance learning.",
        f"The cohort had {n_of(total['cases'], 'case')}{of} ({sentences.by_class(numbers['counts'])}) with "
        f"{thousands(total['slices'])} slices and {thousands(total['patches'])} patches{unread(used['flow'])}.",
        *encoded(runs["features"], stains),
        *_colours(next(iter(runs["features"].get("encoders", {}).values()), runs["features"])),
        *_model(runs["model"], numbers.get("tuning")),
        f"Splits were {_first_lower(re.sub(', read from .*? and checked', '', cohort['plan']))}",
        *_training(numbers, runs),
        *_statistics(numbers, unit),
        *_software(used["provenance"]),
    ]
    return " ".join(lines)


def encoded(features: Mapping[str, Any], stains: Sequence[str]) -> list[str]:
    """Say which encoder made the features, or which encoders did; nothing where it is not known.

    features: their identity, see store.read. stains: all of the study.
    """
    if several := features.get("encoders"):
        return [_several(several, stains)]
    if not features.get("encoder"):
        return []
    if features["encoder"] == "precomputed":
        return _of_others(features)
    return [f"A frozen encoder ({_named(features['encoder'], features)}) encoded each patch once{_made(features)}."]


def _of_others(features: Mapping[str, Any]) -> list[str]:
    """Say of features that another program computed what the study and their files tell, and that it is all."""
    named = [f"{features[key]} by {whose}" for key, whose in NAMED.items() if features.get(key)]
    encoder = f"encoder: {' and '.join(named)}" if named else "encoder not named"
    known = {
        what: [_of_unit(features[key], unit) for key, unit in keys.items() if features.get(key) is not None]
        for what, keys in OF_FILES.items()
    }
    told = listed([f"{what} {', '.join(values)}" for what, values in known.items() if values])
    unknown = [what for what, values in known.items() if not values]
    files = [f"the files give the {told}"] * bool(told)
    if unknown:
        neither = f"give neither {' nor '.join(unknown)}" if len(unknown) > 1 else f"do not give the {unknown[0]}"
        files.append(f"the files {neither}")
    many = f"{thousands(features['dim'])} " if features.get("dim") else ""
    return [f"Another program computed the {many}features of each patch ({encoder}); {'; '.join(files)}.", TO_ADD]


def _of_unit(value: Any, unit: str) -> str:
    """Return a value of a file with its unit, unless it is a text, which may have its own."""
    return value if isinstance(value, str) else f"{value:g}{unit}"


def _named(encoder: str, identity: Mapping[str, Any]) -> str:
    """Return an encoder with what is known of its weights: `resnet50, pretrained on ImageNet`."""
    return ", ".join(filter(None, (encoder, encoder_registry.pretraining(encoder, identity.get("weights")))))


def _several(identities: Mapping[str, Mapping[str, Any]], stains: Sequence[str]) -> str:
    """Name encoders whose features were joined, and those of a stain of their own. identities: folder -> identity."""
    own = {f"_{file_name(column(stain))}": stain for stain in stains}
    joined, alone = [], {}
    for folder, identity in identities.items():
        encoder = identity.get("encoder", folder)
        weights = encoder_registry.pretraining(encoder, identity.get("weights"))
        named = f"{encoder}{f' ({weights})' if weights else ''}{_made(identity)}"
        stain = own.get(folder.removeprefix(encoder_registry.folder(encoder)))
        if stain:
            alone[stain] = named
        else:
            joined.append(named)
    told = [f"{listed(joined)}{' (joined)' if len(joined) > 1 else ''}"] if joined else []
    told += [f"{named} for {stain}" for stain, named in alone.items()]
    rest = " for the other stains" if joined and alone else ""
    return f"Frozen encoders encoded each patch once: {'; '.join([f'{told[0]}{rest}', *told[1:]])}."


def _made(features: Mapping[str, Any]) -> str:
    """Return ` at 224 pixels into 1,024 features`, as far as it is known."""
    size = f" at {features['input_size']} pixels" if features.get("input_size") else ""
    return size + (f" into {thousands(features['dim'])} features" if features.get("dim") else "")


def _model(model: Mapping[str, Any], tuned: Mapping[str, Any] | None) -> list[str]:
    lines = []
    pooling = {
        "hierarchical": "Attention pooled patches to slices, slices to stains and stains to the case",
        "flat": "Attention pooled all patches of a case at once",
        "mean": "Patch features were averaged over the case",
        "mean_mlp": "Patch features were averaged over the case; a hidden layer followed",
        "lse": "Margins of all patches of a case were pooled by their log-sum-exp",
    }.get(model.get("aggregation"))
    differ = tuned["differ"] if tuned else ()
    if "model.aggregation" in differ:
        lines.append("How patches are pooled was chosen in each split; the classifier is linear.")
    elif pooling:
        known = model.get("embed_dim") and "model.embed_dim" not in differ
        embedded = f" (embedding {model['embed_dim']})" if known else ""
        follows = "; a linear classifier followed" if model["aggregation"] != "lse" else ""
        lines.append(f"{pooling}{embedded}{follows}.")
    return lines


def _colours(identity: Mapping[str, Any]) -> list[str]:
    """Return what was done with the colours of patches. identity: of one encoder."""
    lines = []
    if method := identity.get("stain_normalisation"):
        by_stain = {"all stains": method} if isinstance(method, str) else method
        named = listed([f"{stain} ({each.capitalize()})" for stain, each in by_stain.items()])
        lines.append(f"Colours were normalised to a fixed H&E reference before encoding: {named}.")
    if views := identity.get("views"):
        lines.append(f"Training drew from {counted(views, 'further view')} of each patch in jittered colours.")
    return lines


def _training(numbers: Numbers, runs: Mapping[str, Any]) -> list[str]:
    sizes, train = runs["sizes"], runs["train"]
    spread = {name: _range(values) for name, values in sizes.items()}
    seeds = f", with {n_of(len(numbers['seeds']), 'seed')} ({', '.join(map(str, numbers['seeds']))})"
    lines = [
        f"In each of {n_of(len(numbers['splits']), 'split')}{seeds}, a model was trained on {spread['train']} cases, "
        f"{spread['val']} cases were used for validation and {spread['test']} for the test."
    ]
    if train and numbers.get("tuning"):
        lines.append(_chosen(numbers["tuning"], train))
    elif train:
        weights = train.get("class_weights") or "none"
        optimizer = NAMES.get(train["optimizer"], train["optimizer"])
        lines.append(
            f"Training took up to {train['epochs']} epochs ({optimizer}, learning rate {train['lr']:g}, weight decay "
            f"{train['weight_decay']:g}, class weights {weights}, label smoothing {train['label_smoothing']:g}, "
            f"dropout {runs['model'].get('dropout', 0):g})."
        )
    rule = RULES.get(runs["rule"], runs["rule"])
    threshold = f" and the threshold ({rule})" if numbers["positive"] else ""
    return [*lines, f"Validation cases alone chose the epoch{threshold}; no model was fitted to all cases."]


def _chosen(tuned: Mapping[str, Any], train: Mapping[str, Any]) -> str:
    """Say how settings were chosen."""
    metric = METRICS[tuned["metric"]]
    optimizer = NAMES.get(train["optimizer"], train["optimizer"])
    return (
        f"In each split {n_of(len(tuned['settings']), 'setting')} of the model and its training ({optimizer}) were "
        f"chosen among {tuned['candidates']} candidates by the {metric} in {tuned['inner_folds']} inner folds of its "
        "training and validation cases; the study’s own settings were kept unless one candidate was better by more "
        "than a standard error."
    )


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _range(values: Sequence[int]) -> str:
    return ends(f"{min(values)}", f"{max(values)}")


def _statistics(numbers: Numbers, unit: str) -> list[str]:
    measure = "mean of the test sets" if numbers["headline"] == "fold_mean" else "pooled over test sets"
    names = [_first_lower(baseline_label(entry["name"])) for entry in sentences.compared(numbers)]
    lines = [
        f"The primary measure was the out-of-fold AUROC ({measure}), with 95% CIs from "
        f"{thousands(numbers['bootstrap']['samples'])} {unit}-level bootstrap samples, or Newcombe’s method with fewer "
        f"than 20 {unit}s of a class; CIs of proportions are Wilson’s."
    ]
    if names:
        lines.append(
            f"{n_of(len(names), 'baseline')} ({'; '.join(names)}) used the same splits; differences are paired."
        )
    return lines


def _software(provenance: Mapping[str, Any]) -> list[str]:
    versions = provenance["versions"]
    shown = [
        f"{NAMES.get(name, name)} {versions[name]}"
        for name in ("python", "torch", "scikit-learn")
        if versions.get(name)
    ]
    commit = f", commit {provenance['commit'][:10]}" if provenance["commit"] else ""
    return [f"Software: StrataMIL{commit}" + (f" ({', '.join(shown)})." if shown else ".")]


def results(numbers: Numbers, used: Mapping[str, Any], unit: str) -> str:
    """Return the results paragraph."""
    several = len(numbers["by_seed"]) > 1
    replicates = f"{len(numbers['by_seed'])} trainings" if several else ""
    lines = [of_cases.excluded(used["flow"]), sentences.result(numbers)]
    if numbers["headline"] == "fold_mean":
        lines.append(f"The {sentences.pooled(numbers)} was {quoted(numbers['out_of_fold']['roc_auc'])}.")
    lines += [_operating(numbers, replicates), performance.calibration(numbers, replicates)]
    lines += [
        performance.baselines(numbers) if numbers["baselines"] else "",
        of_cases.errors(numbers["per_case"], "training", several),
    ]
    if used["faithfulness"]:
        lines.append(used["faithfulness"]["overall"])
    lines.append(internal(used["cohort"]))
    return " ".join(filter(None, lines))


def internal(cohort: Mapping[str, Any]) -> str:
    """Say whether cases were tested of places that are new to the models. cohort: of cohort.json."""
    if n := sites.unseen(cohort.get("sites")):
        return (
            f"Each test set held only cases of sites that its models had not seen ({n_of(n, 'site')}, all of this "
            "study); no other cohort was tested."
        )
    return "All figures are internal; no external cohort was tested."


def _operating(numbers: Numbers, replicates: str) -> str:
    """Return sensitivity and specificity, or accuracy and recalls, with counts."""
    rows = {row["name"]: row for row in numbers["decisions"][0]["rows"]}
    names = ["sensitivity", "specificity"] if numbers["positive"] else [row["name"] for row in rows.values()]
    parts = []
    for name in names:
        estimate = rows[name]["estimate"]
        if estimate.value is None:
            parts.append(f"{name} is not defined")
        else:
            count = f"{rows[name]['k']} of {estimate.n}"
            parts.append(f"{name} {quoted(estimate, more=count)}")
    at = "At a probability of 0.5" if numbers["positive"] else "By the most probable class"
    of = f", ensemble of {replicates}" if replicates else ""
    return f"{at}{of}: {listed(parts)}."

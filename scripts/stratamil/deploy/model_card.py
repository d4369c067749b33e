"""MODEL_CARD.md of a bundle: what the model is for, what it learned from, how good it is, and what it cannot do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from stratamil.core.wording import averaged, counted, ends, listed, num, span, thousands
from stratamil.deploy import decisions
from stratamil.deploy.flags import telling
from stratamil.stats.intervals import FEW, scored

Facts = Mapping[str, Any]


def text(facts: Facts) -> str:
    """Return the model card of a bundle. facts: of bundle.json."""
    parts = (_head, _use, _data, _members, _performance, _limits, _cite)
    return "\n".join(line for part in parts for line in part(facts)) + "\n"


def _head(facts: Facts) -> Iterator[str]:
    yield f"# Model card: {facts['title']}"
    yield ""
    version, commit = facts["versions"]["stratamil"], facts["commit"]
    yield f"A model of StrataMIL {version}" + (f" (commit {commit.rstrip('+')[:12]})" if commit else "") + "."
    yield ""


def _use(facts: Facts) -> Iterator[str]:
    yield "## Intended use"
    yield ""
    names, classes = listed([f"`{stain}`" for stain in facts["stains"]]), listed(facts["classes"], "or")
    yield f"The model tells {classes} from patches of histological sections in the stains {names}."
    yield "It is for research on cases like those it was trained on. It is not for diagnosis."
    if facts["source"] == "precomputed":
        yield "It needs features made as those of the study, by the same program from patches cut and magnified alike:"
        yield ""
        yield f"- features: {_features(facts['features'])}"
    else:
        yield "It needs patches cut, magnified and named as those of the study:"
        yield ""
        yield f"- file names: `{facts['names']['pattern']}`"
    for settings in facts["encoders"].values():
        yield f"- encoder: {_encoder(settings)}"
    if facts.get("quality"):  # bundles of earlier versions have none
        rule = ", ".join(f"{name} {value}" for name, value in facts["quality"].items() if value is not None)
        yield f"- patches excluded for their quality, in training and of new cases: {rule}"
    yield ""


def _features(identity: Facts) -> str:
    told = [f"{name} {value}" for name, value in identity.items() if not isinstance(value, dict)]
    return ", ".join(told) or "of the same encoder and tiling"


def _encoder(settings: Facts) -> str:
    words = f"{settings['encoder']}, input {settings['input_size']} px ({settings['resize']}), pooling"
    words += f" {settings['pooling']}, {settings['precision']}"
    words += f", stains {', '.join(settings['only_stains'])}" if settings["only_stains"] else ""
    colours = settings.get("normalise", "none")  # bundles of earlier versions have none
    by_stain = colours if isinstance(colours, str) else ", ".join(f"{each} {colours[each]}" for each in colours)
    words += f", colours normalised ({by_stain})" if colours != "none" else ""
    sha = settings["weights_sha256"]
    return words + (f", weights {settings['weights']} with SHA-256 `{sha}`" if sha else ", without weights")


def _data(facts: Facts) -> Iterator[str]:
    summary = facts["summary"]
    yield "## Training data"
    yield ""
    by_class = listed([f"{n} {name}" for name, n in summary["by_class"].items()])
    patients = f" of {counted(summary['patients'], 'patient')}" if summary["patients"] != summary["cases"] else ""
    yield f"{counted(summary['cases'], 'case')}{patients}: {by_class}."
    patches = summary["patches"]
    counts = ends(thousands(patches["least"]), thousands(patches["most"]))
    yield f"A case has {counts} patches (median {patches['median']:,.0f})."
    stains = listed([f"{stain} in {n}" for stain, n in summary["cases_with_stain"].items()])
    yield f"Cases with each stain: {stains}."
    for row in telling(facts["reference"]):
        yield ""
        yield f"**Read with care.** {row['warning']}"
        yield f"A new case without {row['stain']} is flagged."
    yield ""


def _members(facts: Facts) -> Iterator[str]:
    yield "## Members"
    yield ""
    members = facts["members"]
    splits = {each["split"] for each in members}
    n = counted(len(members), "model")
    if splits == {None}:
        yield f"{n} trained on all cases. Epochs: {members[0]['epoch']}, the median of the best in cross-validation."
        yield "None of them was tested: the figures below describe the models of the cross-validation, which saw fewer"
        yield "cases. Threshold and temperature are theirs, too."
    elif len(splits) == 1:
        yield f"{n} of split {members[0]['split']}, one per seed."
        yield "The figures below describe the models of all splits, each on the cases that it had not seen."
    else:
        yield f"{n}: {len(members) // len(splits)} of each of {len(splits)} splits, one per seed."
        yield "The figures below are out of fold: each case was predicted by the models that had not seen it."
        yield "A new case is predicted by all members."
    yield "The probability of a case is the mean over the members."
    yield ""


def _performance(facts: Facts) -> Iterator[str]:
    found, decision = facts["results"], facts["decision"]
    yield "## Performance"
    yield ""
    by_class = listed([f"{n} {name}" for name, n in found["by_class"].items()])
    yield f"Out of fold, {counted(found['cases'], 'case')} ({by_class}), {counted(found['splits'], 'split')},"
    yield f"{counted(len(found['seeds']), 'seed')}."
    ensemble = averaged(len(found["seeds"]), found["repeats"])
    if ensemble:
        yield f"All figures are those of the ensemble, the mean probability of {ensemble} for each case, but for the"
        yield "AUROC of single trainings, which the report quotes."
    yield _intervals(found, "case" if facts["cohort"]["patient_column"] is None else "patient")
    yield ""
    yield "| measure | value (95% CI) |"
    yield "| --- | --- |"
    of = " of the ensemble" if ensemble else ""
    yield from (f"| {name} | {_value(value)} |" for name, value in _single(found.get("single")).items())
    rows = {f"AUROC{of}, mean of the test sets": "fold_mean", f"AUROC{of}, pooled": "roc_auc", "PR AUC": "pr_auc"}
    rows |= {"accuracy of the most probable class": "accuracy", "Brier score": "brier", "log loss": "log_loss"}
    yield from (f"| {name} | {_value(found[key])} |" for name, key in rows.items() if found.get(key) is not None)
    at = found.get("at_validation_threshold") or {}
    yield from (f"| {name} at each split's validation threshold | {_value(value)} |" for name, value in at.items())
    calibration = found.get("calibration") or {}
    yield from (
        f"| calibration {name} | {_value(calibration[name])} |" for name in ("slope", "intercept") if calibration
    )
    yield ""
    yield from _decision(decision, facts["classes"])
    yield from _of_splits(decision, facts["splits"])
    yield ""


def _single(found: Facts | None) -> dict[str, Any]:
    """Return the AUROC of single trainings, where it is defined; nothing where the ensemble is one."""
    names = {"fold_mean": "mean of the test sets", "roc_auc": "pooled"}
    known = {name: found[name] for name in names if found[name]["value"] is not None} if found else {}
    return {f"AUROC of single trainings, {names[name]}": value for name, value in known.items()}


def _intervals(found: Facts, unit: str) -> str:
    """Say how the CIs are made. unit: patient, or case where patients are not known."""
    known = [each for each in (found["fold_mean"], found["roc_auc"]) if each["low"] is not None]
    by_score = [scored(each["value"], found["fewest_patients"]) for each in known]
    few = f"a class has fewer than {FEW} {unit}s" if found["fewest_patients"] < FEW else "all are ranked alike"
    whose = "those of the AUROC" if all(by_score) else "that of an AUROC of 0 or 1"
    score = f"{whose} from Newcombe's method, because {few}; " if any(by_score) else ""
    rest = "those of shares are Wilson's, those of calibration use a sandwich variance"
    return f"95% CIs come from bootstrap samples of {unit}s; {score}{rest}."


def _decision(decision: Facts, classes: Sequence[str]) -> Iterator[str]:
    where = decision["chosen_on"]
    if decision["threshold"] is not None:
        rule = "Youden's index" if decision["rule"] == "youden" else f"a sensitivity of at least {decision['rule']}"
        yield f"Frozen threshold: {num(decision['threshold'], 4)}, by {rule}. A new case with this probability of"
        yield f"{classes[-1]} or more is called {classes[-1]}. Frozen temperature:"
    else:
        yield "No threshold: a case gets the most probable class. Frozen temperature:"
    yield f"{num(decision['temperature'], 4)}. Both come from {where['what']}"
    yield f"({counted(where['cases'], 'case')}). New cases change neither."
    yield decisions.told(decision, classes)


def _of_splits(decision: Facts, splits: Facts) -> Iterator[str]:
    """Say why all splits together have a temperature where each has too few cases for one."""
    few = sum(each["temperature_off"] == "few" for each in splits.values())
    if few and decision["temperature_off"] is None and decision not in splits.values():
        of = f"{few} of {counted(len(splits), 'split')}"
        yield f"In {of} the validation cases are too few to fit a temperature, as the report says;"
        yield "the out-of-fold predictions of all splits together are enough."


def _value(value: Any) -> str:
    """Return an Estimate, as an object or as JSON has it, or a number."""
    if is_dataclass(value):
        value = asdict(value)
    if not isinstance(value, Mapping):
        return num(value)
    low, high = value.get("low"), value.get("high")
    return num(value["value"]) + ("" if low is None else f" ({span(low, high)})")


def _limits(facts: Facts) -> Iterator[str]:
    yield "## Limits"
    yield ""
    n = facts["summary"]["cases"]
    yield f"The model learned from {counted(n, 'case')} of one study. How good it is in other hospitals, on other"
    yield "scanners or stainings is not known until it is validated there. A prediction is flagged where the members"
    yield "disagree or the case is unlike those of training; a case without a flag can still be wrong."
    yield "Probabilities are those of a cohort with the class balance above."
    yield ""


def _cite(facts: Facts) -> Iterator[str]:
    yield "## How to cite"
    yield ""
    yield "Cite the study that trained the model, and StrataMIL (CITATION.cff in its repository)."

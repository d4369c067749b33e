"""Write a study file: the settings that a folder of patches and a labels table call for, each with what it rests on."""

import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stratamil.core.errors import few, visible
from stratamil.features import encoder_registry
from stratamil.workflow.propose_labels import Meaning
from stratamil.workflow.propose_names import Names

CHECK = "  # check this: "
USUAL = 5  # splits
OFFLINE = "weights: my_weights.pth  # without internet, or for weights of your own; otherwise they are downloaded once"
WITH_US = "weights: my_weights.pth  # for weights of your own; the usual ones come with the environment"
COLUMNS = 12  # that a line names


@dataclass(frozen=True)
class Study:
    """What a study file says.

    patches: folder of images or feature files. manifest: of these, where they are some. title: of its pages. accounts:
    what was counted, for its head. unused: columns that mean nothing to it. splits, embed: settings of these sections.
    """

    patches: str
    labels: str
    results: str
    names: Names
    meaning: Meaning
    splits: Mapping[str, Any]
    embed: Mapping[str, Any]
    seeds: Sequence[int]
    accounts: Sequence[str]
    title: str
    manifest: str | None
    unused: Sequence[str] = ()


def text(study: Study) -> str:
    """Return the content of the study file, as YAML with comments; what was guessed is marked `check this`."""
    lines = ["# A study of StrataMIL, proposed from what is there. Look at every line that says: check this."]
    lines += ["#", *(f"# {account}" for account in study.accounts), ""]
    lines += [f"patches: {_quoted(study.patches)}"] * (not study.manifest)
    lines += [f"{key}: {_quoted(getattr(study, key))}" for key in ("labels", "results")]
    lines += ["", *_features(study)] * bool(study.manifest)
    lines += ["", *_cohort(study), "", *_names(study.names)]
    lines += ["", "splits:", *_splits(study), "", f"seeds: {_list(study.seeds)}  # trainings of each split"]
    lines += _report(study.title, study.meaning)
    lines += [] if study.manifest else ["", *_embed(study.embed)]
    return "\n".join(lines) + "\n"


def of_new_cases(bundle: str, manifest: str, folder: str, *, labels: str | None, encoder: str | None, name: str) -> str:
    """Return the content of a file that predicts new cases by their features.

    labels: table with their classes. encoder: what the study calls that of its features.
    """
    lines = [
        "# New cases, to be predicted by a finished model. Look at the manifest: a row a file.",
        f"results: {_quoted(f'results/{name}')}",
        "predict:",
        f"  bundle: {_quoted(bundle)}",
        f"  patches: {_quoted(manifest)}",
        f"  folder: {_quoted(folder)}  # of the files",
        f"  labels: {_quoted(labels)}" if labels else "  # labels: table.csv  # if the classes are known",
    ]
    if encoder:
        lines += ["features:", f"  encoder: {_quoted(encoder)}{CHECK}the study's name for it; are these files of it?"]
    return "\n".join(lines) + "\n"


def unchecked(paths: Iterable[str | Path]) -> list[str]:
    """Return a line for each study file in which guesses are still marked; a YAML reader does not see comments."""
    marked = {str(path): Path(path).read_text(encoding="utf-8").count(CHECK.strip()) for path in paths}
    return [
        f"{_near(path)}: {lines_say(n)} `check this`: check what was guessed, then delete the mark"
        for path, n in marked.items()
        if n
    ]


def _near(path: str) -> str:
    near = os.path.relpath(path)
    return path if near.startswith("..") else near


def whole_study(paths: Iterable[str | Path], words: Sequence[str]) -> str:
    """Return the command of the whole study after a first look: without the file that asks for the look.

    paths: the config files of the run. words: of its command line, of which the profile stays. Empty where no file but
    that one is given, or none asks for a first look.
    """
    paths = list(paths)
    kept = [path for path in paths if not _asks_for_first_look(path)]
    if not kept or len(kept) == len(paths):
        return ""
    return command(kept, words)


def command(paths: Iterable[str | Path], words: Sequence[str], *targets: str) -> str:
    """Return a command by these config files. words: of a command line, of which the profile stays."""
    profile = [word for i, word in enumerate(words) if "--profile" in words[max(0, i - 1) : i + 1]]
    profile += [word for word in words if word.startswith("--profile=")]
    wanted = ["--", *targets] if targets else []
    return shlex.join(["snakemake", *profile, "--configfile", *map(_near, map(str, paths)), *wanted])


def _asks_for_first_look(path: str | Path) -> bool:
    report = (yaml.safe_load(Path(path).read_text(encoding="utf-8-sig")) or {}).get("report")
    return bool(isinstance(report, dict) and report.get("first_look"))


def lines_say(n: int) -> str:
    """Return `1 line says`, `2 lines say`."""
    return "1 line says" if n == 1 else f"{n} lines say"


def not_used(columns: Sequence[str]) -> str:
    """Return a line on the columns of the labels table that are not used."""
    return f"Columns not used: {few(columns, COLUMNS)}." if columns else ""


def _features(study: Study) -> list[str]:
    """Return where feature files are, and what their encoder is called."""
    return [
        "features:",
        "  source: precomputed",
        f"  manifest: {_quoted(study.manifest)}{_check(study.names.guesses, 'slice') or '  # a row a file'}",
        f"  folder: {_quoted(study.patches)}  # of the files",
        "  # encoder: my_encoder  # its name, so that the model refuses features of another",
    ]


def _cohort(study: Study) -> list[str]:
    case_column, meaning = study.names.case_column, study.meaning
    guesses, patient = dict(meaning.guesses), _quoted(meaning.patient_column) if meaning.patient_column else "null"
    if meaning.patient_column == case_column:
        patient += "  # each case is one patient"
    elif "patient" in guesses and not meaning.patient_column:
        guesses["patient"] += f"; if that is true, write {_quoted(case_column)}"
    lines = [
        "cohort:",
        f"  case_column: {_quoted(case_column)}{_check(study.names.guesses, 'case')}",
        f"  class_column: {_quoted(meaning.class_column)}{_check(guesses, 'class')}",
        f"  patient_column: {patient}{_check(guesses, 'patient')}",
        *_sites(meaning),
        f"  classes:  # first the absence of the others, last the positive class{_check(guesses, 'classes')}",
    ]
    for name, codes in meaning.classes.items():
        n = sum(meaning.counts.get(code, 0) for code in codes)
        lines.append(f"    - {_quoted(name)}: {_list(codes)}  # {n} case{'s' if n != 1 else ''}")
    lines.append(f"  excluded_codes: {_list(meaning.excluded)}{_check(guesses, 'excluded')}")
    return lines + [f"  # {visible(not_used(study.unused))}"] * bool(study.unused)


def _sites(meaning: Meaning) -> list[str]:
    """Return the column of sites, with which the cohort page says whether they tell the class."""
    site = meaning.site
    return [f"  site_column: {_quoted(site)}{_check(meaning.guesses, 'site')}"] if site else []


def _report(title: str, meaning: Meaning) -> list[str]:
    """Return the title, and the columns that the report reads: a table by class, subgroups, what errors go with."""
    columns = [name for name in meaning.others.values() if name != meaning.site]
    told = [f"  columns: {_list(columns)}  # by class, and as subgroups"] if columns else []
    return ["", "report:", f"  title: {_quoted(title)}  # of all pages", *told]


def _names(names: Names) -> list[str]:
    lines = ["names:"]
    if names.pattern:
        lines += [
            *([f"  # {names.shape}"] if names.shape else []),
            *(f"  # check this: {names.guesses[k]}" for k in ("slice",) if k in names.guesses),
        ]
        lines.append(f"  pattern: {_single(names.pattern)}")
    lines.append(f"  stains:  # each with its other spellings{_check(names.guesses, 'stains')}")
    return lines + [f"    - {_quoted(name)}: {_list(others)}" for name, others in names.spellings.items()]


def _embed(settings: Mapping[str, Any]) -> list[str]:
    """Return the settings of the encoder, and where its weights can come from but the internet."""
    if not settings:
        return ["# embed:  # the usual encoder", f"#   {OFFLINE}"]
    weights = WITH_US if settings["encoder"] == encoder_registry.LITE0 else OFFLINE
    return ["embed:  # a small encoder, for this machine has no GPU", *_settings(settings), f"  # {weights}"]


def _check(guesses: Mapping[str, str], what: str) -> str:
    return f"{CHECK}{guesses[what]}" if what in guesses else ""


def _settings(settings: Mapping[str, Any]) -> list[str]:
    return [f"  {key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()]


def _splits(study: Study) -> list[str]:
    """Return the settings of the splits, and why there are fewer than usual."""
    n, meaning = study.splits["n_splits"], study.meaning
    unit = "case" if meaning.patient_column in (None, study.names.case_column) else "patient"
    why = f"  # the smallest class has {n} {unit}s, and each split tests one of them" if n < USUAL else ""
    return [line + why * line.startswith("  n_splits:") for line in _settings(study.splits)]


def _quoted(value: Any) -> str:
    return json.dumps(str(value), ensure_ascii=False)


def _single(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _list(values: Sequence[Any]) -> str:
    return "[" + ", ".join(_quoted(value) if isinstance(value, str) else str(value) for value in values) + "]"

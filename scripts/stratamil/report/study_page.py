"""The cross-split report as one page that needs nothing else: figures as SVG, numbers from `cross_split`."""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import yaml
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stratamil.cohort import flow
from stratamil.cohort.splits import Split
from stratamil.core import files, progress, provenance
from stratamil.core.errors import UserError
from stratamil.core.names import file_name
from stratamil.core.wording import BASELINES, baseline_label
from stratamil.evaluation import characteristics, cross_split, metrics_table
from stratamil.evaluation.study import Study
from stratamil.explain import stain_attention
from stratamil.report import benchmarks, beyond, cohort_plots, page, plots, sentences, style, training_plots
from stratamil.stats.intervals import Estimate

GALLERIES = {
    "most": "case_effective_patches/case_{}_top_effective_patches.png",
    "least": "case_effective_patches/case_{}_bottom_effective_patches.png",
    "map": "attention_maps/case_{}_attention_map.png",
    "weights": "plots/effective_patch_attn_distro_case_{}.png",
    "slices": "slice_attention/slice_attn_rankplot_case_{}.png",
}

# Source of the features -> settings that such a study does not use.
UNUSED = {
    "precomputed": re.compile(r"patches|names\.pattern|demo(\..*)?|embed\.(?!shards$).*"),
    "patches": re.compile(r"features\.(?!source$).*"),
}


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the report reads beside the runs; None where there is none.

    cases, split_files, cohort_page, samples, baselines, benchmarks, config, faithfulness_page: paths. excluded,
    unreadable: tables. shards: paths of the feature files. cohort: numbers of cohort.json. faithfulness: of
    `read_answers`.
    """

    cases: Path
    excluded: pd.DataFrame
    split_files: Sequence[Path]
    splits: Mapping[str, Split]
    shards: Sequence[Path]
    unreadable: pd.DataFrame
    cohort: Mapping[str, Any]
    cohort_page: Path
    samples: Path | None
    baselines: Path | None
    benchmarks: Path | None
    config: Path | None
    faithfulness: dict[str, Any] | None
    faithfulness_page: Path | None


def build(
    study: Study, sources: Sources, *, template: Path, title: str, colors: Sequence[str], folder: Path, final: Path
) -> None:
    """Write index.html, metrics.csv, metrics.json, excluded.csv and figures/ into `folder`.

    template: index.html.j2. final: where the folder will be, for relative links.
    """
    numbers = cross_split.numbers(study)
    attention, weights = stain_attention.summarise(study)
    bags = flow.bags([run.test for run in study.runs])
    excluded, splits, unreadable = sources.excluded, sources.splits, sources.unreadable
    patients = sources.cohort["patient_column"] is not None
    used = {
        "attention": attention,
        "flow": flow.follow(
            study.cases,
            excluded,
            splits,
            study.classes,
            unreadable=unreadable,
            predicted=bags,
            patients=patients,
            images=bool(sources.samples),
        ),
        "unreadable": unreadable.to_dict("records"),
        "provenance": _provenance(study, sources),
    }
    drawn = figures(study, weights, colors) | beyond.figures(numbers)
    words = "Flow of cases and patches from the labels table and the patches to the test predictions"
    drawn["flow"] = cohort_plots.flow(**used["flow"]), words
    tracked = progress.track(drawn.items(), len(drawn), "figures")
    svgs = {name: style.svg(figure) for name, (figure, _) in tracked}
    for name, svg in svgs.items():
        files.write_text(svg, folder / "figures" / f"{name}.svg")
    files.write_json({"title": title} | numbers | used, folder / "metrics.json")
    write_tables(numbers, folder)
    files.write_csv(flow.left_out(excluded, splits, unreadable, study.cases, bags), folder / "excluded.csv")
    text = page.template(template).render(
        title=title,
        colors=colors,
        figures={name: page.inline(svgs[name], name, words, colors) for name, (_, words) in drawn.items()},
        cohort=sources.cohort,
        samples=page.image(sources.samples) if sources.samples else None,
        links=links(study, final),
        replicates=replicates(study),
        resources=benchmarks.resources(sources.benchmarks, study.runs, sources.shards),
        settings=settings(study, sources.config),
        baseline_label=baseline_label,
        said=sentences.of_study(
            numbers, [len(split.train) for split in splits.values()], "patient" if patients else "case"
        ),
        beyond=beyond.said(numbers, "patient" if patients else "case"),
        class_weights=class_weights(study),
        cohort_page=address(sources.cohort_page, final),
        faithfulness=faithfulness(sources, final),
        **numbers,
        **used,
    )
    files.write_text(text, folder / "index.html")


def write_tables(numbers: Mapping[str, Any], folder: Path) -> None:
    """Write metrics.csv, and characteristics.csv where there are columns."""
    files.write_csv(metrics_table.long_table(numbers), folder / "metrics.csv")
    if numbers["columns"]:
        found = characteristics.long_table(numbers["columns"]["characteristics"])
        files.write_csv(found, folder / "characteristics.csv")


def class_weights(study: Study) -> str | None:
    """Say how the training loss weighed the classes, in words; None where it did not, or nothing tells."""
    settings = study.runs[0].results.get("settings") or {}
    weights = (settings.get("train") or {}).get("class_weights")
    return None if weights in (None, "none") else weights if isinstance(weights, str) else json.dumps(weights)


def faithfulness(sources: Sources, final: Path) -> dict[str, Any] | None:
    """Return the findings to show, with the address of their page if there is one; None where no check was made."""
    if not sources.faithfulness:
        return None
    path = sources.faithfulness_page
    return sources.faithfulness | {"page": address(path, final) if path and path.is_file() else None}


def address(path: Path, final: Path) -> str:
    """Return the relative address of a file, as seen from the folder `final`."""
    return quote(Path(os.path.relpath(path, final)).as_posix())


def figures(study: Study, weights: pd.DataFrame | None, colors: Sequence[str]) -> dict[str, tuple[Figure, str]]:
    """Draw the figures of the page: name -> (Figure, what it shows in words).

    weights: stain weights of `stain_attention.summarise`.
    """
    cases, classes = study.ensemble, study.classes
    y, p = cases["y"].to_numpy(), cases[study.probabilities].to_numpy()
    what = "ensemble" if replicates(study) else "out of fold"
    if study.binary:
        curves, beside = [("model", y, p[:, 1])], list(_baseline_curves(study))
        splits = [study.of_cases(part, study.probabilities) for _, part in study.predictions.groupby("split")]
        thin = [(part["y"].to_numpy(), part[study.probabilities[1]].to_numpy()) for part in splits]
    else:
        beside = []
        curves = [(f"{name} against the rest", y == c, p[:, c]) for c, name in enumerate(classes)]
        thin = []
    wrong = p.argmax(axis=1) != y
    drawn = {
        "roc": plots.roc(curves, f"ROC, {what}", thin=thin, beside=beside, colors=colors),
        "precision_recall": plots.precision_recall(curves, f"Precision-recall, {what}", colors=colors),
        "confusion": plots.confusion_matrix(y, p.argmax(axis=1), classes, "Most probable class", colors=colors),
        "deviation": plots.deviation(
            list(cases["case_id"]), y, study.shown(cases), classes, f"Each case, {what}", wrong=wrong, colors=colors
        ),
    }
    threshold = cases["threshold"].to_numpy()
    if study.binary and not pd.isna(threshold).any():
        called = (p[:, 1] >= threshold).astype(int)
        drawn["confusion_threshold"] = plots.confusion_matrix(y, called, classes, "Validation threshold", colors=colors)
    scaled = cases[study.scaled].to_numpy()
    for c, name in [(1, classes[1])] if study.binary else enumerate(classes):
        drawn[f"calibration_{c}"] = plots.calibration(
            y == c,
            p[:, c],
            f"Calibration, {name}",
            scaled=scaled[:, c] if study.rescaled else None,
            colors=colors,
            names=classes if study.binary else ("other classes", name),
        )
    histories = [(run.name, run.history) for run in study.runs if run.history is not None]
    if histories:
        drawn["losses"] = training_plots.losses(histories, "Training", colors=colors, across=min(5, len(study.splits)))
    if weights is not None:
        drawn["stains"] = plots.stain_weights(weights, y, classes, "Stain attention", colors=colors)
    return {name: (figure, _words(name, study)) for name, figure in drawn.items()}


def replicates(study: Study) -> str:
    """Say how many predictions of a case are averaged, in words; empty where it is one."""
    seeds, repeats = len(study.seeds), study.repeats
    words = [f"{repeats} repeats"] * (repeats > 1) + [f"{seeds} seeds"] * (seeds > 1)
    return " x ".join(words)


def _baseline_curves(study: Study) -> Iterator[tuple[str, NDArray, NDArray]]:
    """Yield (label, y, score) of the two baselines that see the patches."""
    for name in ("summary", "colour"):
        if name in study.baseline_ensembles:
            rows = study.baseline_ensembles[name]
            yield BASELINES[name].lower(), rows["y"].to_numpy(), rows[study.probabilities[1]].to_numpy()


def _words(name: str, study: Study) -> str:
    """Say what a figure shows, for those who do not see it; more of its numbers are in the tables."""
    n, value = len(study.ensemble), page.num(study.auc(study.ensemble))
    words = {
        "roc": f"ROC curves of {n} cases out of fold; the AUROC of the model is {value}",
        "precision_recall": f"Precision-recall curves of {n} cases out of fold, with the prevalence as dashed line",
        "confusion": f"Confusion matrix of {n} cases, most probable class",
        "confusion_threshold": f"Confusion matrix of {n} cases at the thresholds chosen on validation cases",
        "deviation": f"True label and predicted probability of each of {n} cases, wrong ones marked",
        "losses": f"Training and validation loss over the epochs of {len(study.runs)} runs",
        "stains": f"Stain attention weights of {n} cases by class",
    }
    return words.get(name, f"Reliability curve of {n} cases, with the number of cases a bin")


def links(study: Study, final: Path) -> dict[str, list[tuple[int | str, list[tuple[str, str]]]]]:
    """Return the galleries there are: case_id -> [(seed or ensemble, after the split, [(label, relative address)])]."""
    result = {}
    folders = {}  # of the ensemble once a split, before those of the seeds
    for run in study.runs:
        folders.setdefault(run.folder.parent / "ensemble", (run, "ensemble"))
        folders[run.folder] = (run, f"seed {run.seed}")
    for folder, (run, name) in folders.items():
        for case in run.test["case_id"]:
            paths = {
                label: folder / "attention_analysis" / file.format(file_name(case)) for label, file in GALLERIES.items()
            }
            there = [(label, address(path, final)) for label, path in paths.items() if path.is_file()]
            if there:
                called = name if study.repeats == 1 else f"split {run.split}, {name}"
                result.setdefault(case, []).append((called, there))
    return result


def settings(study: Study, config: Path | None) -> list[tuple[str, str]]:
    """Return the settings shown: the resolved config, or else what the first run wrote down; [(dotted key, value)].

    Settings of another source of features are left out.
    """
    if config and Path(config).is_file():
        shown = list(_flat(yaml.safe_load(Path(config).read_text(encoding="utf-8")) or {}))
        unused = UNUSED[dict(shown).get("features.source", "patches")]
        return [(key, value) for key, value in shown if not unused.fullmatch(key)]
    if config:
        logging.warning("%s: no such file: the report shows the settings of the first run instead", config)
    return list(_flat(study.runs[0].settings or study.runs[0].results.get("settings") or {}))


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _provenance(study: Study, sources: Sources) -> dict[str, Any]:
    """Return versions, commits and hashes: of the report, and of the runs where they wrote them down."""
    kept = [run.settings for run in study.runs if run.settings]
    inputs = [sources.cases, *sources.split_files, *([sources.baselines] if sources.baselines else [])]
    return {
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "run_commits": sorted({str(item["commit"]) for item in kept if item.get("commit")}),
        "run_versions": sorted({json.dumps(item["versions"], sort_keys=True) for item in kept if item.get("versions")}),
        "features": study.runs[0].results.get("features"),
        "inputs": {
            Path(path).name if path is not sources.baselines else "baselines/predictions.csv": files.sha256(path)
            for path in inputs
        },
        "checkpoints": {
            run.name: run.results["checkpoint_sha256"] for run in study.runs if run.results.get("checkpoint_sha256")
        },
    }


def read_answers(path: Path) -> dict[str, Any]:
    """Return what faithfulness.json says at a glance: overall and by_class (sentences), answers (rows of a table).

    Raises UserError where the file is of another form.
    """
    wanted = {"question", "predicted", "answer", "measured_by", "estimate", "reference"}
    parts = {field.name for field in fields(Estimate)}
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        told = {name: content[name] for name in ("overall", "by_class", "answers")}
        fits = bool(told["answers"]) and all(
            wanted <= set(row) and parts <= set(row["estimate"]) for row in told["answers"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise UserError(f"{path}: no answers with {', '.join(sorted(wanted))}: run faithfulness again")
    return told

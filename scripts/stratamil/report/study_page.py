"""The cross-split report: its page, its appendix and a summary to paste, from the numbers of `cross_split`."""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from stratamil.cohort import flow
from stratamil.cohort.cohort_warnings import PATCHES
from stratamil.cohort.splits import Split
from stratamil.core import files, progress, provenance
from stratamil.core.errors import UserError
from stratamil.core.names import file_name
from stratamil.core.wording import baseline_label, percentages
from stratamil.evaluation import characteristics, cross_split, metrics_table
from stratamil.evaluation.study import Study
from stratamil.explain import stain_attention
from stratamil.report import (
    benchmarks,
    beyond,
    browser_links,
    checklists,
    cohort_plots,
    page,
    paragraphs,
    report_text,
    sentences,
    study_figures,
    style,
)
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


FLOW = "Flow of cases and patches from the labels table and the patches to the test predictions"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the report reads beside the runs; None where there is none.

    cases, split_files, cohort_page, baselines, benchmarks, config, faithfulness_page, first_page, browser (its page):
    paths. excluded, unreadable: tables. shards: paths of the feature files. cohort: numbers of cohort.json.
    faithfulness: of `read_answers`.
    """

    cases: Path
    excluded: pd.DataFrame
    split_files: Sequence[Path]
    splits: Mapping[str, Split]
    shards: Sequence[Path]
    unreadable: pd.DataFrame
    cohort: Mapping[str, Any]
    cohort_page: Path
    baselines: Path | None
    benchmarks: Path | None
    config: Path | None
    faithfulness: dict[str, Any] | None
    faithfulness_page: Path | None
    first_page: Path | None = None
    browser: Path | None = None


def build(
    study: Study,
    sources: Sources,
    *,
    template: Path,
    title: str,
    first_look: bool,
    colors: Sequence[str],
    folder: Path,
    final: Path,
) -> None:
    """Write index.html, appendix.html, summary.txt, metrics.csv and .json, excluded.csv and figures/ into `folder`.

    template: index.html.j2, beside which appendix.html.j2 and checklists.yaml lie. final: where the folder will be, for
    relative links.
    """
    numbers = cross_split.numbers(study) | {"first_look": sentences.first_look(first_look)}
    attention, weights = stain_attention.summarise(study)
    images = bool(sources.cohort["samples"])
    followed = _flow(study, sources, images)
    kept = {"attention": attention, "flow": followed, **_left_out(sources.unreadable)}
    kept["provenance"] = _provenance(study, sources)
    used = kept | {"faithfulness": faithfulness(sources, final), "images": images, "cohort": sources.cohort}
    drawn = study_figures.figures(study, numbers, weights, colors) | beyond.figures(numbers)
    drawn["flow"] = cohort_plots.flow(**followed), FLOW
    tracked = progress.track(drawn.items(), len(drawn), "figures")
    svgs = {name: style.publish(figure, folder / "figures" / name) for name, (figure, _) in tracked}
    files.write_json({"title": title} | numbers | kept, folder / "metrics.json")
    _write_tables(study, sources, numbers, folder)
    used |= {"settings": settings(study, sources.config), "drawn": set(drawn)}
    used["resources"] = benchmarks.resources(sources.benchmarks, study.runs, sources.shards)
    used["run"] = paragraphs.facts(study.runs[0].results, _sizes(sources.splits))
    used["checklists"] = _checklists(template.with_name("checklists.yaml"), numbers, used)
    replicates, unit = study_figures.replicates(study), sentences.unit_of(sources.cohort)
    shown = dict(
        title=title,
        colors=colors,
        figures={name: page.inline(svgs[name], name, words, colors) for name, (_, words) in drawn.items()},
        links=links(study, final, sources.browser),
        replicates=replicates,
        unit=unit,
        percentages=percentages,
        few_patches=PATCHES,
        baseline_label=baseline_label,
        said=report_text.of_study(numbers, used, replicates, unit),
        beyond=beyond.said(numbers, unit),
        cohort_page=page.address(sources.cohort_page, final),
        first_page=sources.first_page and page.address(sources.first_page, final),
        **numbers,
        **used,
    )
    for name in ("index", "appendix"):
        files.write_text(page.template(template.with_name(f"{name}.html.j2")).render(**shown), folder / f"{name}.html")
    files.write_text(paragraphs.text(numbers, used, unit), folder / "summary.txt")


def _left_out(lost: pd.DataFrame) -> dict[str, Any]:
    """Return the unreadable patches, and how many are excluded for their quality: reason -> number."""
    whys = flow.whys(lost)
    unreadable = lost.loc[whys == flow.UNREADABLE, ["case_id", "path", "reason"]].to_dict("records")
    counts = whys[whys != flow.UNREADABLE].value_counts(sort=False)
    return {"unreadable": unreadable, "set_aside": {why: int(n) for why, n in counts.items()}}


def _write_tables(study: Study, sources: Sources, numbers: Mapping[str, Any], folder: Path) -> None:
    """Write metrics.csv, excluded.csv and, if there are columns of the labels table, characteristics.csv."""
    files.write_csv(metrics_table.long_table(numbers), folder / "metrics.csv")
    if numbers["columns"]:
        found = characteristics.long_table(numbers["columns"]["characteristics"])
        files.write_csv(found, folder / "characteristics.csv")
    bags = flow.bags([run.test for run in study.runs])
    left_out = flow.left_out(sources.excluded, sources.splits, sources.unreadable, study.cases, bags)
    files.write_csv(left_out, folder / "excluded.csv")


def _flow(study: Study, sources: Sources, images: bool) -> dict[str, Any]:
    """Return the flow of cases and patches to the predictions."""
    return flow.follow(
        study.cases,
        sources.excluded,
        sources.splits,
        study.classes,
        unreadable=sources.unreadable,
        predicted=flow.bags([run.test for run in study.runs]),
        patients=sources.cohort["patient_column"] is not None,
        images=images,
    )


def _sizes(splits: Mapping[str, Split]) -> dict[str, list[int]]:
    """Return the cases of each set, one a split."""
    return {name: [len(getattr(split, name)) for split in splits.values()] for name in ("train", "val", "test")}


def _checklists(path: Path, numbers: Mapping[str, Any], used: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the checklists with the state of each item in this study."""
    lacks = checklists.facts(
        used["cohort"],
        faithfulness=used["faithfulness"] is not None,
        class_weights=used["run"]["train"].get("class_weights") not in (None, "none"),
        columns=bool(numbers.get("columns")),
        encoder=used["run"]["features"].get("encoder") != "precomputed",
    )
    return checklists.states(checklists.read(path), lacks)


def faithfulness(sources: Sources, final: Path) -> dict[str, Any] | None:
    """Return the findings to show, with the address of their page if there is one; None where no check was made."""
    if not sources.faithfulness:
        return None
    path = sources.faithfulness_page
    return sources.faithfulness | {"page": page.address(path, final) if path and path.is_file() else None}


def links(
    study: Study, final: Path, browser: Path | None = None
) -> dict[str, list[tuple[int | str, list[tuple[str, str]]]]]:
    """Return the galleries there are: case_id -> [(seed or ensemble, after the split, [(label, relative address)])].

    browser: its page, which shows the ensemble of several seeds.
    """
    keys = browser_links.keys(dict.fromkeys((case, run.split) for run in study.runs for case in run.test["case_id"]))
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
            there = [(label, page.address(path, final)) for label, path in paths.items() if path.is_file()]
            if browser and (name == "ensemble") == (len(study.seeds) > 1):
                place = page.address(browser, final)
                there.insert(0, (browser_links.LABEL, browser_links.link(place, keys[case, run.split])))
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

    explained: class -> whether attention explains its predictions. Raises UserError where the file is of another form.
    """
    wanted = {"question", "predicted", "answer", "measured_by", "estimate", "reference"}
    parts = {field.name for field in fields(Estimate)}
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        told = {name: content[name] for name in ("overall", "by_class", "answers", "explained")}
        fits = bool(told["answers"]) and all(
            wanted <= set(row) and parts <= set(row["estimate"]) for row in told["answers"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise UserError(f"{path}: no answers with {', '.join(sorted(wanted))}: run faithfulness again")
    return told

"""The cross-split report as one page that needs nothing else: figures as SVG, numbers from `study`."""

import json
import logging
import os
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup

from stratamil import files, metrics, plots, provenance, study

GALLERIES = {
    "most": "case_effective_patches/case_{}_top_effective_patches.png",
    "least": "case_effective_patches/case_{}_bottom_effective_patches.png",
    "weights": "plots/effective_patch_attn_distro_case_{}.png",
    "slices": "slice_attention/slice_attn_rankplot_case_{}.png",
}
BASELINES = {
    "mean_pool": "Mean of patch features",
    "colour": "Colour only",
    "patch_count": "Number of patches",
    "slice_count": "Number of slices",
    "prevalence": "Prevalence",
}
# Colours of a figure that the page sets itself, so that it reads on light and on dark paper.
PAGE_COLORS = {
    "#000000": "currentColor",
    plots.GREY: "var(--muted)",
    "#e4e4e4": "var(--grid)",
    plots.WRONG: "var(--wrong)",
}


def build(found, sources, template, title, colors, folder, final):
    """Write index.html, metrics.csv, metrics.json and figures/ into `folder`.

    found: study.Study. sources: dict with splits {name: Split}, split_files, cases, excluded, unreadable, baselines,
    benchmarks, config: paths (the last three may be None). final: where the folder will be, for relative links.
    """
    numbers = study.numbers(found)
    attention, weights = study.attention(found)
    used = {
        "attention": attention,
        "flow": study.flow(found.cases, sources["splits"], set(found.ensemble["case_id"]), found.classes),
        "left_out": study.left_out(sources["excluded"], sources["unreadable"]),
        "provenance": _provenance(found, sources),
    }
    drawn = figures(found, weights, colors)
    for name, (figure, _) in drawn.items():
        plots.save(figure, folder / "figures" / f"{name}.svg")
    files.write_json({"title": title} | numbers | used, folder / "metrics.json")
    files.write_csv(study.long_table(numbers), folder / "metrics.csv")
    page = _environment(template).render(
        title=title,
        colors=colors,
        figures={name: inline(folder / "figures" / f"{name}.svg", label, colors) for name, (_, label) in drawn.items()},
        links=links(found, final),
        resources=study.resources(sources["benchmarks"]),
        settings=settings(found, sources["config"]),
        baseline_names=BASELINES,
        temperature_bounds=metrics.TEMPERATURES,
        **numbers,
        **used,
    )
    files.write_text(page, folder / "index.html")


def figures(found, weights, colors):
    """The figures of the page: name -> (Figure, what it shows in words)."""
    cases, classes = found.ensemble, found.classes
    y, p = cases["y"].to_numpy(), cases[found.probabilities].to_numpy()
    what = "out of fold" if len(found.seeds) == 1 else f"ensemble of {len(found.seeds)} seeds"
    if found.binary:
        curves, single = [("model", y, p[:, 1]), *_baseline_curves(found)], [("model", y, p[:, 1])]
        thin = [(part["y"].to_numpy(), part[found.probabilities[1]].to_numpy()) for _, part in cases.groupby("split")]
    else:
        curves = single = [(f"{name} against the rest", y == c, p[:, c]) for c, name in enumerate(classes)]
        thin = []
    drawn = {
        "roc": plots.roc(curves, f"ROC, {what}", thin=thin, colors=colors),
        "precision_recall": plots.precision_recall(single, f"Precision-recall, {what}", colors=colors),
        "confusion": plots.confusion_matrix(y, p.argmax(axis=1), classes, "Most probable class", colors=colors),
        "deviation": plots.deviation(
            list(cases["case_id"]), y, found.drawn(cases), classes, f"Each case, {what}", p.argmax(axis=1) != y, colors
        ),
    }
    threshold = cases["threshold"].to_numpy()
    if found.binary and not pd.isna(threshold).any():
        called = (p[:, 1] >= threshold).astype(int)
        drawn["confusion_threshold"] = plots.confusion_matrix(y, called, classes, "Validation threshold", colors=colors)
    for c, name in [(1, classes[1])] if found.binary else enumerate(classes):
        drawn[f"calibration_{c}"] = plots.calibration(y == c, p[:, c], f"Calibration, {name}", colors=colors)
    histories = [(run.name, run.history) for run in found.runs if run.history is not None]
    if histories:
        drawn["losses"] = plots.losses(histories, "Training", colors=colors, across=min(5, len(found.splits)))
    if weights is not None:
        drawn["stains"] = plots.stain_weights(weights, y, classes, "Stain attention", colors=colors)
    return {name: (figure, _words(name, found)) for name, figure in drawn.items()}


def _baseline_curves(found):
    """(label, y, score) of the two baselines that see the pictures."""
    table = found.baselines if found.baselines is not None else pd.DataFrame({"baseline": [], "case_id": []})
    for name in ("mean_pool", "colour"):
        rows = table[(table["baseline"] == name) & table["case_id"].isin(found.ensemble["case_id"])]
        if len(rows):
            yield (
                BASELINES[name].lower(),
                (rows["true_label"] == found.classes[1]).to_numpy(),
                rows[found.probabilities[1]].to_numpy(),
            )


def _words(name, found):
    """What a figure shows, for those who do not see it; its numbers are in the tables."""
    n = len(found.ensemble)
    words = {
        "roc": f"ROC curves of {n} cases out of fold",
        "precision_recall": f"Precision-recall curves of {n} cases out of fold, with the prevalence as dashed line",
        "confusion": f"Confusion matrix of {n} cases, most probable class",
        "confusion_threshold": f"Confusion matrix of {n} cases at the thresholds chosen on validation cases",
        "deviation": f"True label and predicted probability of each of {n} cases, wrong ones marked",
        "losses": f"Training and validation loss over the epochs of {len(found.runs)} runs",
        "stains": f"Stain attention weights of {n} cases by class",
    }
    return words.get(name, f"Reliability curve of {n} cases, with the number of cases a bin")


def inline(path, label, colors):
    """A figure file as an element of the page: its own ids, the page's colours, a label for screen readers."""
    root = ElementTree.parse(path).getroot()
    swaps = PAGE_COLORS | {color: f"var(--c{i})" for i, color in enumerate(colors)}
    swaps = {color.lower(): of_page for color, of_page in swaps.items()}
    for parent in root.iter():
        for child in [child for child in parent if _local(child.tag) in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): _attribute(key, value, path.stem, swaps) for key, value in element.items()}
        if element.tag == "path" and "style" in element.attrib:  # white paths are backgrounds, white text is text
            element.set("style", element.get("style").replace("fill: #ffffff", "fill: none"))
    box = root.get("viewBox")
    width = float(box.split()[2])
    root.attrib = {"viewBox": box, "role": "img", "aria-label": label, "style": f"--w: {width:.0f}"}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _local(name):
    """A tag or attribute without its namespace."""
    return name.rpartition("}")[2]


def _attribute(key, value, name, swaps):
    """An attribute's value with ids, and references to them, made the figure's own, and colours made the page's."""
    if key == "id":
        return f"{name}-{value}"
    if _local(key) == "href":
        return f"#{name}-{value.removeprefix('#')}"
    if key == "style":
        for color, of_page in swaps.items():
            value = value.replace(color, of_page)
    return value.replace("url(#", f"url(#{name}-")


def links(found, final):
    """Galleries that exist: case_id -> [(seed, [(label, relative address)])]."""
    result = {}
    for run in found.runs:
        for case in run.test["case_id"]:
            paths = {label: run.folder / "attention_analysis" / name.format(case) for label, name in GALLERIES.items()}
            there = [
                (label, quote(Path(os.path.relpath(path, final)).as_posix()))
                for label, path in paths.items()
                if path.is_file()
            ]
            if there:
                result.setdefault(case, []).append((run.seed, there))
    return result


def settings(found, config):
    """The settings shown: the resolved config, or else what the first run wrote down; [(dotted key, value)]."""
    if config and Path(config).is_file():
        return list(_flat(yaml.safe_load(Path(config).read_text(encoding="utf-8")) or {}))
    if config:
        logging.warning("%s: no such file: the report shows the settings of the first run instead", config)
    return list(_flat(found.runs[0].settings or found.runs[0].results.get("settings") or {}))


def _flat(value, key=""):
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _provenance(found, sources):
    """Versions, commits and hashes: of the report, and of the runs where they wrote them down."""
    kept = [run.settings for run in found.runs if run.settings]
    inputs = [sources["cases"], *sources["split_files"], *([sources["baselines"]] if sources["baselines"] else [])]
    return {
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "run_commits": sorted({str(item["commit"]) for item in kept if item.get("commit")}),
        "run_versions": sorted({json.dumps(item["versions"], sort_keys=True) for item in kept if item.get("versions")}),
        "features": found.runs[0].results.get("features"),
        "inputs": {
            Path(path).name if path is not sources["baselines"] else "baselines/predictions.csv": files.sha256(path)
            for path in inputs
        },
        "checkpoints": {
            run.name: run.results["checkpoint_sha256"] for run in found.runs if run.results.get("checkpoint_sha256")
        },
    }


def _environment(template):
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(template).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"num": num, "pct": pct, "span": span, "duration": duration}
    return environment.get_template(Path(template).name)


def num(value, digits=3):
    """A number for readers; None is `not defined`."""
    return "not defined" if value is None else f"{value:.{digits}f}".replace("-", "−")


def pct(value, digits=0):
    """A share in percent."""
    return "not defined" if value is None else f"{100 * value:.{digits}f} %"


def span(low, high, digits=3):
    """An interval."""
    return "not defined" if low is None or high is None else f"{num(low, digits)} to {num(high, digits)}"


def duration(seconds):
    """Seconds as hours, minutes or seconds."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"

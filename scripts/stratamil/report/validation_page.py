"""The page of a validation on new cases, with its numbers as JSON and CSV beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stratamil.core import files
from stratamil.deploy.flags import names
from stratamil.evaluation.external import Cohort
from stratamil.report import (
    checklists,
    clinical_sentences,
    cohort_plots,
    decision_plots,
    model_pages,
    new_case_plots,
    new_case_words,
    page,
    plots,
    predict_page,
    style,
    validation_words,
)
from stratamil.report.forest import Point, Row, forest, roc_band
from stratamil.report.page import address
from stratamil.stats.curves import mean_roc

COLOURS = {"haematoxylin": "haematoxylin", "eosin": "eosin", "dab": "DAB", "optical_density": "mean optical density"}


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the page says beside the numbers.

    facts: bundle.json of the file `bundle`. flags, predicted: of all predicted cases, and their number. flow: of
    `validation.followed`. predictions: the folder of predict. patients: whether they are known. inputs: name ->
    SHA-256. provenance: commit and versions. browser: whether the case browser is made beside the predictions.
    """

    facts: Mapping[str, Any]
    bundle: Path
    flags: pd.DataFrame
    flow: Mapping[str, Any]
    predicted: int
    predictions: Path
    patients: bool
    inputs: Mapping[str, str]
    provenance: Mapping[str, Any]
    browser: bool = False


def build(
    study: Cohort,
    found: Mapping[str, Any],
    sources: Sources,
    *,
    template: Path,
    name: str,
    colors: Sequence[str],
    folder: Path,
    final: Path,
) -> None:
    """Write index.html, validation.json, metrics.csv, characteristics.csv and figures/ into `folder`.

    template: validation.html.j2, beside which checklist_external.yaml lies. final: where the folder will be.
    """
    drawn = figures(study, found, sources, colors)
    svgs = {each: style.publish(figure, folder / "figures" / each) for each, (figure, _) in drawn.items()}
    kept = {"name": name, "model": sources.facts["title"], "flow": sources.flow, "inputs": sources.inputs}
    files.write_json(kept | found | {"provenance": sources.provenance}, folder / "validation.json")
    files.write_csv(metrics(found), folder / "metrics.csv")
    files.write_csv(characteristics(found["characteristics"]), folder / "characteristics.csv")
    unit = "patient" if sources.patients else "case"
    lists = checklists.read(template.with_name("checklist_external.yaml"))
    cases = predict_page.galleries(sources.predictions, [row["case_id"] for row in found["per_case"]], sources.browser)
    near = address(sources.predictions, final)
    shown = {key: value for key, value in found.items() if key not in ("flags", "decision_curve")}
    text = page.template(template).render(
        title=f"Validation on new cases: {name}",
        study=sources.facts["title"],
        colors=colors,
        figures={each: page.inline(svgs[each], each, words, colors) for each, (_, words) in drawn.items()},
        links={case: [(label, f"{near}/{href}") for label, href in each] for case, each in cases.items()},
        images=sources.facts["source"] == "patches",
        said=said(found, sources, unit),
        table=table(found["characteristics"]),
        colours=COLOURS,
        checklists=_checklists(lists, study, sources),
        flag_names=names(sources.facts["reference"]),
        flags=sources.flags.to_dict("records"),
        summary=new_case_words.summary(sources.flags, sources.predicted, sources.facts["reference"]),
        predicted=sources.predicted,
        predict_page=f"{near}/index.html",
        inputs=sources.inputs,
        provenance=sources.provenance,
        **model_pages.links(sources.bundle, final),
        **shown,
    )
    files.write_text(text, folder / "index.html")


def said(found: Mapping[str, Any], sources: Sources, unit: str) -> dict[str, Any]:
    """Return the sentences of the page. unit: patient or case."""
    told = validation_words.of_page(found, sources.flags, sources.predicted, sources.facts, unit)
    model = model_pages.told(sources.facts, sources.bundle)
    return told | {"header": f"{told['header']} {model[0].upper()}{model[1:]}."}


def _checklists(lists: list[dict[str, Any]], study: Cohort, sources: Sources) -> list[dict[str, Any]]:
    """Return the checklists with the state of each item in this validation."""
    encoder = sources.facts["source"] == "patches"
    given = {"patients": sources.patients, "columns": bool(study.columns), "binary": study.binary, "encoder": encoder}
    return checklists.states(lists, checklists.facts_of_validation(**given))


def figures(study: Cohort, found: Mapping[str, Any], sources: Sources, colors: Sequence[str]) -> dict[str, Any]:
    """Draw the figures: name -> (Figure, what it shows in words)."""
    cases, classes, n = study.ensemble, study.classes, found["cases"]
    y, p = cases["y"].to_numpy(), cases[study.probabilities].to_numpy()
    drawn = {"roc": (_roc(study, found, colors), f"ROC curve of {n} new cases")}
    patches = "Flow of cases from the labels table to the validation"
    drawn["flow"] = cohort_plots.flow(**sources.flow), patches
    if study.binary:
        scaled = cases[study.scaled[1]].to_numpy() if study.rescaled else None
        title = f"Do the probabilities of {classes[1]} hold?"
        figure = plots.calibration(y, p[:, 1], title, scaled=scaled, colors=colors, names=tuple(classes))
        drawn["calibration"] = figure, f"Observed share of {classes[1]} against its probability, {n} cases"
        figure = decision_plots.net_benefit(found["decision_curve"], classes[1], n, "model, as it is given")
        drawn["decision"] = figure, f"Net benefit of the model against the threshold, {n} cases"
    rows = [
        Row(each["name"], each["roc_auc"], each["n"], each["kind"])
        for each in found["groups"]
        if each["roc_auc"].value is not None
    ]
    if rows:
        whole = Row("all cases", found["ensemble"]["roc_auc"], n, mean=True)
        figure = forest([*rows, whole], "Does the AUROC differ between subgroups?", "AUROC", reference=0.5)
        drawn["groups"] = figure, f"AUROC in {len(rows)} subgroups of {n} cases"
    limit = sources.facts["reference"]["shift"]["limit"]
    if known := [row for row in found["shift"] if row["values"]]:
        figure = new_case_plots.shift(known, limit, n)
        drawn["shift"] = figure, f"Distance of each of {n} cases from the training cases, by stain"
    return drawn


def _roc(study: Cohort, found: Mapping[str, Any], colors: Sequence[str]) -> Any:
    """Draw the ROC curve with its band and the operating point at the frozen threshold."""
    cases, n, title = study.ensemble, found["cases"], "How well are the classes separated?"
    y, p = cases["y"].to_numpy(), cases[study.probabilities].to_numpy()
    table = cases.assign(run=0, score=p[:, -1])
    band = mean_roc(table, study.bootstrap_samples, study.seed) if study.binary else None
    if band is None:
        curves = [(f"{name} against the rest", y == c, p[:, c]) for c, name in enumerate(study.classes)]
        return plots.roc(curves, title, colors=colors)
    shares = {row["name"]: row["estimate"] for row in found["decisions"][-1]["rows"]}
    point = Point(validation_words.at(found), shares["sensitivity"], shares["specificity"])
    label = f"new cases: AUROC {validation_words.num(found['ensemble']['roc_auc'].value, 2)}"
    return roc_band([], band, label, f"{title} (n = {n})", points=[point])


def table(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of Table 1 of both cohorts: name, cells, difference, and `first` of a row."""
    lines = []
    for row in found["rows"]:
        whether = not row["numeric"] and set(row["levels"]) <= {"no", "yes"}
        for level in ["yes"] if whether else [None] if row["numeric"] else [None, *row["levels"]]:
            heading, first = level is None and not row["numeric"], whether or level is None
            cells = ["" if heading else _cell(row, group, level) for group in found["groups"]]
            name, gap = (row["name"], row["difference"]) if first else (level, None)
            lines.append({"name": name, "cells": cells, "difference": gap, "apart": row["apart"], "first": first})
    return lines


def _cell(row: Mapping[str, Any], group: str, level: str | None) -> str:
    return clinical_sentences.cell(row, group, level) if row["cells"][group] else "not known"


def characteristics(found: Mapping[str, Any]) -> pd.DataFrame:
    """Return Table 1 of both cohorts as a table: a row a column, level and group."""
    rows = []
    for row in found["rows"]:
        for group, cell in row["cells"].items():
            cohort, _, of = group.partition(" ")
            facts = {"column": row["name"], "cohort": cohort, "group": of, "n": found["sizes"][group]}
            facts |= {"difference": row["difference"]}
            if cell is None:
                continue
            facts |= {"known": cell["known"], "missing": cell["missing"]}
            if row["numeric"]:
                rows.append(facts | {"level": "", **{each: cell[each] for each in ("median", "q1", "q3")}})
            else:
                rows += [facts | {"level": each, "count": cell["counts"].get(each, 0)} for each in row["levels"]]
    names = ["column", "level", "cohort", "group", "n", "missing", "known", "count", "median", "q1", "q3", "difference"]
    return pd.DataFrame(rows, columns=names).astype({"count": "Int64"})


def metrics(found: Mapping[str, Any]) -> pd.DataFrame:
    """Return every estimate of the page as a table: section, of, metric, value, low, high, n."""
    rows = [
        ("cohort", "", name, found["ensemble"][name]) for name in ("roc_auc", "delong", "pr_auc", "log_loss", "brier")
    ]
    rows += [("out_of_fold", "", name, found["out_of_fold"][name]) for name in ("roc_auc", "fold_mean")]
    rows += [("difference", "roc_auc", "roc_auc", found["difference"])]
    for each in found["decisions"]:
        rows += [("decisions", each["name"], row["name"], row["estimate"]) for row in each["rows"]]
    names = ("in_the_large", "slope", "log_loss", "brier")
    rows += [("calibration", each["name"], name, each[name]) for each in found["calibration"] for name in names]
    for each in found["groups"]:
        shares = ("roc_auc", "sensitivity", "specificity", "accuracy")
        rows += [("subgroup", f"{each['kind']}: {each['name']}", name, each[name]) for name in shares if name in each]
    if curve := found["decision_curve"]:
        pairs = zip(curve["thresholds"], curve["model"])
        rows += [("net_benefit", f"{threshold:.2f}", "model", value) for threshold, value in pairs]
    columns = ["section", "of", "metric", "value", "low", "high", "n"]
    listed = [(*key, each.value, each.low, each.high, each.n) for *key, each in rows]
    return pd.DataFrame(listed, columns=columns).astype({"n": "Int64"})

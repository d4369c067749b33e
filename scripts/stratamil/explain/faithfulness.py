"""Whether attention explains the predictions of a study: every number of the faithfulness page, before any page.

Reads what `perturb` and `evaluate` wrote for all splits and seeds. The value of a case is the mean over its runs (seeds
and repeats), that of the study the mean over cases; rank correlations of stains and slices are pooled over them.
Intervals are of bootstrap samples of patients with all their cases, see `intervals`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd

from stratamil.core.names import column, natural
from stratamil.core.wording import of_unit
from stratamil.explain import findings, without_attention
from stratamil.explain.answers import answers
from stratamil.explain.faithfulness_runs import TOPS, VALUES, Study, differences
from stratamil.explain.findings import Finding, Uniform
from stratamil.stats.estimates import Sample, centred_sums, correlation
from stratamil.stats.intervals import Estimate
from stratamil.stats.ranking import top_count

# What attention may go with -> what more and less attended patches are then, and how the property is called.
PROPERTIES = {
    "pixels": ("are larger", "are smaller", "the size of a patch in pixels"),
    "bytes": ("have larger files", "have smaller files", "the file size of a patch"),
    "brightness": ("are brighter", "are darker", "the brightness of a patch"),
    "distance": ("lie farther out in their slice", "lie nearer to the middle of their slice", "the place in the slice"),
    "number": ("come later in their slice", "come earlier in their slice", "the patch number within the slice"),
}
SCOPES = ("case", "slice")
BETWEEN = ("seeds", "splits")
SECTIONS = ("curves", "top", "parts", "uniform", "stability", "properties")


def of_study(study: Study) -> list[Finding]:
    """Return all findings: those of the study, then those of each run that can be told of one."""
    result = [
        *_of_rows(study, study.table, [run.parts.assign(run=run.name) for run in study.runs], "study"),
        without_attention.finding(study),
        *_of_pairs(study),
        *_of_properties(study),
    ]
    for run in study.runs if len(study.runs) > 1 else []:
        rows = study.table[study.table["run"] == run.name]
        result += _of_rows(study, rows, [run.parts.assign(run=run.name)], run.name)
    return result


def _of_rows(study: Study, table: pd.DataFrame, parts: Sequence[pd.DataFrame], scope: str) -> Iterator[Finding]:
    """Yield findings of some rows of the study's table: areas, top patches, parts left out, no attention."""
    sample = study.sample(table)
    mean = {name: sample.mean(table.groupby("case_id")[name].mean()) for name in differences(table, study.classes)}
    yield from _of_areas(study, table, sample, mean, scope)
    for value in VALUES:
        for top in TOPS:
            words = findings.top(top, study.percent)
            for measure in ("necessity", "sufficiency"):
                estimate = mean[f"{measure}_{top}_{value}"]
                sentence = findings.of_top(measure, words, value, estimate)
                yield _finding("top", f"{measure}_{top}", scope, value, estimate=estimate, sentence=sentence)
    parts = pd.concat(parts, ignore_index=True)
    yield from _of_parts(parts, sample, scope)
    yield from _of_classes(study, table, parts, sample, scope)
    for kind in ("uniform", "levels"):
        yield from _of_uniform(study, table, sample, kind, scope)


def _of_areas(
    study: Study, table: pd.DataFrame, sample: Sample, mean: Mapping[str, Estimate], scope: str
) -> Iterator[Finding]:
    for value in VALUES:
        for order in ("attention", "contribution"):
            for direction in ("deletion", "insertion"):
                estimate = mean[f"{direction}_{order}_{value}"]
                sentence = findings.area(direction, order, value, estimate)
                yield _finding("curves", f"{direction}_{order}", scope, value, estimate=estimate, sentence=sentence)
        estimate = mean[f"contribution_{value}"]
        sentence = findings.beside_contribution(value, estimate)
        yield _finding("curves", "contribution_over_attention", scope, value, estimate=estimate, sentence=sentence)


def _of_classes(
    study: Study, table: pd.DataFrame, parts: pd.DataFrame, sample: Sample, scope: str
) -> Iterator[Finding]:
    """Yield the findings of `findings.BY_CLASS` among the cases that are predicted as each class."""
    predicted = _predicted(table, study.classes)
    for name in study.classes:
        of = predicted.index[predicted == name]
        rows = table[table["case_id"].isin(of)].groupby("case_id")
        sentences = {
            **{f"{part}_attention": partial(findings.area, part, "attention") for part in ("deletion", "insertion")},
            **{
                f"{part}_percent": partial(findings.of_top, part, findings.top("percent", study.percent))
                for part in ("necessity", "sufficiency")
            },
            "contribution_over_attention": findings.beside_contribution,
        }
        for measure, sentence in sentences.items():
            section = "curves" if measure.endswith("attention") else "top"
            of_table = measure.removesuffix("_over_attention")
            for value in VALUES:
                estimate = sample.mean(rows[f"{of_table}_{value}"].mean().reindex(sample.cases.index))
                said = findings.in_class(name, sentence(value, estimate)) if len(of) else findings.of_no_case(name)
                own = findings.of_predicted(measure, column(name))
                yield _finding(section, own, scope, value, estimate=estimate, sentence=said)
        for item in _of_parts(parts[parts["case_id"].isin(of)], sample, scope):
            own = findings.of_predicted(item.measure, column(name))
            said = findings.in_class(name, item.sentence) if len(of) else findings.of_no_case(name)
            yield replace(item, measure=own, sentence=said)


def _predicted(table: pd.DataFrame, classes: Sequence[str]) -> pd.Series:
    """Return the class that each case is predicted as: of the largest mean probability, as in the report."""
    mean = table.groupby("case_id")[[f"prob_{column(name)}" for name in classes]].mean()
    return pd.Series(np.array(classes, dtype=object)[mean.to_numpy().argmax(axis=1)], index=mean.index)


def _finding(section: str, measure: str, scope: str, value_of: str, *, estimate: Estimate, sentence: str) -> Finding:
    """Return a finding that is compared with 0."""
    return Finding(
        section,
        measure,
        scope,
        value_of,
        estimate=estimate,
        reference=0.0,
        verdict=findings.verdict(estimate),
        sentence=sentence,
    )


def _of_parts(parts: pd.DataFrame, sample: Sample, scope: str) -> Iterator[Finding]:
    """Yield whether stains and slices that weigh more speak more for the prediction.

    Which way the margin changes without a part is asked, not how much: without a part of weight w it changes by
    w / (1 - w) times how far the part differs from the whole, so more for a high weight, whatever the part shows.
    """
    for level in ("stain", "slice"):
        own = parts[parts["level"] == level]
        if level == "slice" and not several_slices(own):
            own = own.iloc[:0]  # they are the stains again
        sums = centred_sums(own, ["run", "case_id"], "weight", "margin_change")
        estimate = sample.ratio(sums, correlation)
        yield _finding(
            "parts", f"{level}_support", scope, "margin", estimate=estimate, sentence=findings.part(level, estimate)
        )


def several_slices(parts: pd.DataFrame) -> bool:
    """Return whether a stain of a case has two slices or more. parts: rows of slices, of one run or several."""
    return parts.groupby(["case_id", "stain"])["slice_id"].nunique().gt(1).any()


def _of_uniform(study: Study, table: pd.DataFrame, sample: Sample, kind: Uniform, scope: str) -> Iterator[Finding]:
    """Yield what the model says without attention."""
    names = [[f"{prefix}prob_{column(name)}" for name in study.classes] for prefix in ("", f"{kind}_")]
    of_split = [rows.groupby("case_id") for _, rows in table.groupby("split")]
    model, without, estimate = sample.auc_difference([[cases[part].mean() for part in names] for cases in of_split])
    attends = table["deletion_attention_margin"].notna().any() or not (table["patches"] > 1).any()
    if not attends:  # the difference would be that of two means
        estimate = Estimate(None, n=estimate.n)
    reason = "no split has test cases of all classes" if attends else "all patches of a case have equal weight"
    sentence = findings.uniform(kind, model, without, estimate, reason, table["seed"].nunique())
    yield _finding("uniform", f"auc_over_{kind}", scope, "AUROC", estimate=estimate, sentence=sentence)
    estimate = sample.mean(table.groupby("case_id")[f"{kind}_changed"].mean(), "logit")
    yield Finding(
        "uniform",
        f"{kind}_changed",
        scope,
        "prediction",
        estimate=estimate,
        reference=None,
        verdict=None,
        sentence=findings.changed(kind, estimate),
    )


def agreements(study: Study) -> pd.DataFrame:
    """Return how alike two runs order the patches of a case: one row a case and pair of runs.

    between: "seeds" (same split) or "splits" (same seed); correlation (Spearman), overlap of the top patches, chance
    (its expectation: k of n drawn at random hold k / n of any other k), excess (overlap less chance).
    """
    rows = []
    for case, table in study.patches.dropna(subset="effective_weight").groupby("case_id"):
        by_run = table.pivot(index="path", columns="run", values="effective_weight")
        ranks = by_run.rank().to_numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.atleast_2d(np.corrcoef(ranks.T))
        top = _tops(by_run, study.percent)
        runs = table.drop_duplicates("run").set_index("run")[["split", "seed"]]
        for i, j in combinations(range(len(by_run.columns)), 2):
            a, b = (runs.loc[by_run.columns[k]] for k in (i, j))
            if (a["split"] == b["split"]) == (a["seed"] == b["seed"]):
                continue
            row = {"case_id": case, "a": by_run.columns[i], "b": by_run.columns[j]}
            row |= {"between": "seeds" if a["split"] == b["split"] else "splits", "correlation": correlation[i, j]}
            shared, k = len(top[i] & top[j]), len(top[i])
            rows.append(row | {"overlap": shared / k, "chance": k / len(by_run)})
    columns = ["case_id", "a", "b", "between", "correlation", "overlap", "chance"]
    pairs = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[4:], float))
    return pairs.assign(excess=pairs["overlap"] - pairs["chance"])


def _tops(by_run: pd.DataFrame, percent: float) -> list[set[str]]:
    """Return the set of top patches of each run; equal weights by path, as in the tables of attention."""
    k = top_count(len(by_run), percent)
    ordered = by_run.sort_index()
    return [set(ordered[run].sort_values(ascending=False, kind="stable").index[:k]) for run in by_run]


def _of_pairs(study: Study) -> Iterator[Finding]:
    """Yield findings of the stability over seeds and splits."""
    pairs, sample = agreements(study), study.sample(study.table)
    for between in BETWEEN:
        of_case = pairs[pairs["between"] == between].groupby("case_id")[["correlation", "overlap", "chance", "excess"]]
        means = of_case.mean().reindex(sample.cases.index)
        estimate = sample.mean(means["correlation"])
        sentence = findings.agreement(between, estimate, study.patches["effective_weight"].notna().any())
        yield _finding(
            "stability", f"{between}_correlation", "study", "attention", estimate=estimate, sentence=sentence
        )
        estimate, excess = sample.mean(means["overlap"], "logit"), sample.mean(means["excess"])
        chance = None if estimate.value is None else float(means["chance"].mean())
        sentence = findings.overlap(between, study.percent, chance, excess, estimate)
        yield Finding(
            "stability",
            f"{between}_overlap",
            "study",
            "attention",
            estimate=estimate,
            reference=chance,
            verdict=findings.verdict(excess),
            sentence=sentence,
        )


def related(study: Study, name: str, scope: Literal["case", "slice"]) -> pd.Series:
    """Return the correlation of attention with a property of patches by case (NaN: not known), mean over its runs.

    scope: "case", Spearman's over all patches of a case, or "slice", of ranks within its slices.
    """
    within = {"case": ["case_id"], "slice": ["case_id", "stain", "slice_id"]}[scope]
    rows = []
    for run, table in study.patches.groupby("run"):
        sums = centred_sums(table, within, name, "effective_weight")
        rows.append((sums["xy"] / np.sqrt(sums["xx"] * sums["yy"])).rename(run))
    return pd.concat(rows, axis=1).mean(axis=1)


def _of_properties(study: Study) -> Iterator[Finding]:
    """Yield findings of what attention goes with; of a property that is unknown or the same in all, just this."""
    sample = study.sample(study.table)
    place = "distance" if "distance" in study.patches else "number"
    for name in ("pixels", "bytes", "brightness", place):
        for scope in SCOPES:
            known = name in study.patches and study.patches[name].notna().any()
            values = related(study, name, scope) if known else pd.Series(dtype=float)
            estimate = sample.mean(values.reindex(sample.cases.index))
            reason = "it, or attention, is the same in all patches" if known else "it is not known"
            more, less, subject = PROPERTIES[name]
            sentence = findings.related(estimate, more=more, less=less, subject=subject, scope=scope, reason=reason)
            yield _finding("properties", f"{name}_{scope}", "study", "attention", estimate=estimate, sentence=sentence)


def by_predicted(study: Study) -> dict[str, list[str]]:
    """Return class -> the cases that are predicted as it; classes without any are left out."""
    predicted = _predicted(study.table, study.classes)
    return {name: list(of) for name in study.classes if len(of := predicted.index[predicted == name])}


def curves(study: Study, cases: Sequence[str]) -> dict[str, dict[str, dict[str, list]]]:
    """Return mean curves over some cases: order -> {value: {fraction: [...], mean: [Estimates]}}."""
    table = pd.concat([run.curves.assign(run=run.name) for run in study.runs], ignore_index=True)
    table = table[table["case_id"].isin(cases)]
    sample, result = study.sample(study.table), {}
    for order, lines in table.groupby("order", sort=False):
        result[order] = {}
        for value in VALUES:
            of_case = lines.groupby(["case_id", "fraction"])[value].mean().unstack()
            result[order][value] = {
                "fraction": [float(fraction) for fraction in of_case],
                "mean": [sample.mean(of_case[fraction].reindex(sample.cases.index)) for fraction in of_case],
            }
    return result


def tops(study: Study, cases: Sequence[str]) -> list[dict[str, Any]]:
    """Return means over some cases with only and without top and random patches: a dict a top, kind, group, value.

    cases: how many have a value; the mean counts their patients.
    """
    sample, table, rows = study.sample(study.table), study.table[study.table["case_id"].isin(cases)], []
    for top in TOPS:
        for kind in ("only", "without"):
            for group in ("top", "random"):
                for value in VALUES:
                    name = f"{kind}_{group}_{top}_{value}"
                    if name in table and f"only_top_{top}_{value}" in table:
                        values = table.groupby("case_id")[name].mean()
                        row = {"top": top, "kind": kind, "group": group, "of": value, "cases": int(values.count())}
                        rows.append(row | {"mean": sample.mean(values.reindex(sample.cases.index))})
    return rows


def by_case(study: Study) -> pd.DataFrame:
    """Return one row a case in natural order: true class, patient, predicted class, and the means over its runs."""
    table = study.table
    tops_ = [f"{kind}_percent_probability" for kind in ("without_top", "only_top", "only_random")]
    table = table.assign(**{name: np.nan for name in tops_ if name not in table})
    names = ["patches", "probability", "margin", *differences(table, study.classes), *tops_]
    names += [f"{kind}prob_{column(name)}" for kind in ("", "uniform_", "levels_") for name in study.classes]
    groups = table.groupby("case_id")
    facts = groups[["true_class", "patient_id"]].first()
    facts["predicted"] = _predicted(table, study.classes)
    result = facts.join(groups[names].mean())
    return result.sort_index(key=lambda ids: ids.map(natural)).reset_index()


def _top_counts(study: Study) -> list[int]:
    """Return the least and the most patches that the top share of a case is."""
    n = study.table["patches"]
    return [top_count(size, study.percent) for size in (n.min(), n.max())]


def numbers(study: Study) -> dict[str, Any]:
    """Return everything the page says in numbers and sentences, ready for JSON."""
    items = of_study(study)
    said = {item.measure: item.verdict for item in items if (item.scope, item.value_of) == ("study", "probability")}
    both = [f"{direction}_attention" for direction in ("deletion", "insertion")]
    by_class = {name: tuple(said[findings.of_predicted(part, column(name))] for part in both) for name in study.classes}
    told = findings.headline(by_class, [name for name in study.classes if name not in by_predicted(study)])
    items = [findings.pooled(item, study.percent) if item.measure in findings.POOLED else item for item in items]
    items = [replace(item, sentence=of_unit(item.sentence, study.unit)) for item in items]
    return {
        **{name: text and of_unit(text, study.unit) for name, text in told.items()},
        "weighting": study.weighting,
        "explained": {name: findings.explains(*verdicts) for name, verdicts in by_class.items()},
        "classes": study.classes,
        "cases": int(study.table["case_id"].nunique()),
        "patients": int(study.table["patient_id"].nunique()),
        "unit": study.unit,
        "runs": [run.name for run in study.runs],
        "top_percent": study.percent,
        "bootstrap": {"samples": study.bootstrap_samples, "seed": study.seed},
        "top_counts": _top_counts(study),
        "answers": answers(items, study.percent, study.classes),
        "findings": [item.entry() for item in items],
        "curves": {name: curves(study, of) for name, of in by_predicted(study).items()},
        "tops": {name: tops(study, of) for name, of in by_predicted(study).items()},
    }

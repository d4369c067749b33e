"""The cohort before any model: who is in it, what is missing, and what could mislead whoever reads a result.

Numbers and figures of the cohort page, which the cross-split report shows as well. What is counted are the cases that
are used, unless it says otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stratamil.cohort import cohort_warnings, flow, generated_splits, inventory, patch_files, splits, telling
from stratamil.cohort.inventory import USED
from stratamil.cohort.splits import Split
from stratamil.core.names import column, natural
from stratamil.core.wording import listed
from stratamil.report import cohort_excluded, cohort_plots, duplicate_sentences, quality_sentences, stain_sentences

COMBINATIONS = 12  # rows of the figure of missing stains
ALL = "all stains"
# where features and columns tell nothing
UNKNOWN = {
    "sites": None,
    "names": None,
    "drift": [],
    "implausible": [],
    "mixed_stains": [],
    "patch_quality": None,
    "twice": None,
}


def classed(patches: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return the patches of used cases, with the class of each."""
    class_of = cases[cases["status"] == USED].set_index("case_id")["class"]
    return patches.assign(**{"class": patches["case_id"].map(class_of)}).dropna(subset="class")


def numbers(
    patches: pd.DataFrame,
    cases: pd.DataFrame,
    excluded: pd.DataFrame,
    sets: Mapping[str, Split],
    *,
    sides: dict[str, Any] | None,
    classes: Sequence[str],
    stains: Sequence[str],
    patient_column: str | None,
    bootstrap_samples: int,
    seed: int,
    plan: Mapping[str, Any],
    quality: dict[str, Any] | None = None,
    unreadable: pd.DataFrame | None = None,
    looks: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return everything the page says in numbers and sentences, ready for JSON.

    patches: of `classed`. cases, excluded: tables of the inventory. sets: those by split. sides: of samples.sides, or
    None without images. patient_column: of the labels table, or None where each case counts as a patient.
    bootstrap_samples, seed: of the bootstrap by patient. plan: how the splits came about: by, and preset, or n_splits,
    n_repeats, validation, balance and seed. quality: of quality.look, or None. unreadable: of left_out.read, for flow
    and `excluded` alone. looks: what features and columns tell: sites (of sites.spread, with `column` and `probe`, of
    site_probe.probe), mixed_stains and names (of their look), drift (of colour_drift.by_columns), implausible (of
    columns.implausible), patch_quality (of patch_quality.look), twice (of near_copies.seen); each empty or absent where
    nothing is known. Stains that no used case has are in absent_stains alone. `grave` counts the first warnings, `lost`
    those after them.
    """
    options = {"unreadable": unreadable, "patients": patient_column is not None, "images": sides is not None}
    followed = flow.follow(cases, excluded, sets, classes, **options)
    if unreadable is not None:
        patches, cases = inventory.without(patches, cases, unreadable["path"])
    used = cases[cases["status"] == USED].reset_index(drop=True)
    absent = [stain for stain in stains if not (used[f"patches_{column(stain)}"] > 0).any()]
    stains = [stain for stain in stains if stain not in absent]
    result = {
        "classes": list(classes),
        "stains": list(stains),
        "absent_stains": absent,
        "bootstrap": {"samples": bootstrap_samples, "seed": seed},
        "patient_column": patient_column,
        "total": _sizes(used),
        "by_class": [_of_class(used[used["class"] == name], name) for name in classes],
        "stain_cases": [_stain_cases(used, stain, classes) for stain in stains],
        "amounts": _amounts(patches, classes, stains),
        "combinations": _combinations(used, classes, stains),
        "combinations_drawn": COMBINATIONS,
        "predictors": _predictors(used, classes, stains, bootstrap_samples, seed, quality),
        "patients": _patients(used),
        "excluded": cohort_excluded.by_reason(excluded, unreadable),
        "namesakes": patch_files.told(patch_files.namesakes(patches)),
        "repeated": cohort_excluded.repeated(excluded, patches),
        "splits": splits.table(sets, used, classes).to_dict("records"),
        "sets": _sets(sets, used, stains),
        "plan": _made(plan, patient_column),
        "cases": _cases(cases, sets, stains),
    }
    result |= {"flow": followed, "sides": sides, "quality": quality} | UNKNOWN | (looks or {})
    return said(result, excluded, splits.warnings(sets, used, classes, *_due(plan))) | result


def said(result: Mapping[str, Any], excluded: pd.DataFrame, of_splits: list[str]) -> dict[str, Any]:
    """Return what to warn of, the gravest first, and what to note. of_splits: warnings of the splits.

    After the first, `grave`, a good result may be none: the same tissue twice, stains of a wrong name, shortcuts,
    labels that contradict each other. Then come cases that are `lost`, and the rest.
    """
    grades = result["patch_quality"]
    grave = [
        *duplicate_sentences.warnings(result),
        *cohort_warnings.leaks(result),
        *stain_sentences.of_several(result["mixed_stains"]),
        *stain_sentences.warnings(result["names"]),
        *cohort_warnings.wrong_stains(result),
        *cohort_warnings.shortcuts(result),
        *quality_sentences.shortcut(grades, result["patient_column"] is not None),
        *cohort_warnings.mixed_patients(result),
    ]
    lost = [*cohort_warnings.lost(result, excluded), *quality_sentences.lost(grades)]
    rest = [*cohort_warnings.others(result, excluded), *quality_sentences.inked(grades)]
    rest += [f"{line[0].upper()}{line[1:]}." for line in of_splits]
    return {
        "warnings": [*grave, *lost, *rest],
        "grave": len(grave),
        "lost": len(lost),
        "notes": cohort_warnings.notes(result),
        "stains_warned": cohort_warnings.of_missing_stains(result),
    }


def _due(plan: Mapping[str, Any]) -> tuple[dict[str, float] | None, bool]:
    """Return the share of the cohort due to each set, None of preset ones, and whether sets are of whole sites."""
    shares = None if plan.get("preset") else generated_splits.shares(plan["n_splits"], plan["validation"])
    return shares, plan.get("by") == "site"


def _made(plan: Mapping[str, Any], patient_column: str | None) -> str:
    """Say how the splits came about, in a sentence or two."""
    by_site = plan.get("by") == "site"
    if plan.get("preset"):
        whole = listed(["no case", *["no patient"] * bool(patient_column)])
        tested = ", and no site that is tested in another set" if by_site else ""
        return f"Preset, read from {plan['preset']} and checked: {whole} is in two sets of a split{tested}."
    n, repeats, validation = plan["n_splits"], plan["n_repeats"], plan["validation"]
    asked = "the test cases of the next split" if validation is None else f"{validation:.0%} of the cohort"
    again = (
        f" Each of {repeats} repeats is a separate partition: "
        + ", ".join(f"{r * n + 1:02d} to {(r + 1) * n:02d}" for r in range(repeats))
        + "."
        if repeats > 1
        else ""
    )
    also = " and site" if "site" in plan.get("balance", ()) else ""
    whole = [f"patient (column {patient_column})"] * bool(patient_column) + ["site"] * by_site
    return (
        f"Generated with seed {plan['seed']}, stratified by class{also}"
        + (f" and grouped by {listed(whole)}" if whole else "")
        + f": {n} splits with each case in one test set, validation on {asked}."
        + again
    )


def _sizes(used: pd.DataFrame) -> dict[str, int]:
    return {
        "cases": len(used),
        "patients": used["patient_id"].nunique(),
        "slices": int(used["n_slices"].sum()),
        "patches": int(used["n_patches"].sum()),
    }


def _of_class(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return the sizes of a class, and how many cases have each of its codes."""
    codes = rows["label"].value_counts()
    return (
        {"class": name}
        | _sizes(rows)
        | {"codes": {code: int(codes[code]) for code in sorted(codes.index, key=natural)}}
    )


def _by_class(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, int]:
    """Return how many of these cases each class has."""
    return {name: int((rows["class"] == name).sum()) for name in classes}


def _stain_cases(used: pd.DataFrame, stain: str, classes: Sequence[str]) -> dict[str, Any]:
    """Return how many cases have a stain, and how many lack it."""
    there = used[f"patches_{column(stain)}"] > 0
    counts = {"present": _by_class(used[there], classes), "missing": _by_class(used[~there], classes)}
    return {"stain": stain, "cases": int(there.sum())} | counts


def _amounts(patches: pd.DataFrame, classes: Sequence[str], stains: Sequence[str]) -> list[dict[str, Any]]:
    """Return slices and patches a case, and patches a slice, of the cases with a stain: one dict a stain and class."""
    rows = []
    for stain in (ALL, *stains):
        part = patches if stain == ALL else patches[patches["stain"] == stain]
        slices = part.groupby(["class", "case_id", "stain", "slice_id"]).size().reset_index(name="patches")
        for name in classes:
            of_class = slices[slices["class"] == name]
            by_case = of_class.groupby("case_id")["patches"]
            rows.append(
                {
                    "stain": stain,
                    "class": name,
                    "cases": by_case.ngroups,
                    "slices": _spread(by_case.size()),
                    "patches": _spread(by_case.sum()),
                    "per_slice": _spread(of_class["patches"]),
                }
            )
    return rows


def _spread(counts: pd.Series) -> dict[str, float | None]:
    """Return median, quartiles and maximum; None of nothing."""
    if counts.empty:
        return dict.fromkeys(("median", "q1", "q3", "max"))
    q1, median, q3 = counts.quantile([0.25, 0.5, 0.75]).tolist()
    return {"median": median, "q1": q1, "q3": q3, "max": int(counts.max())}


def _combinations(used: pd.DataFrame, classes: Sequence[str], stains: Sequence[str]) -> list[dict[str, Any]]:
    """Return which stains are missing together, the commonest first: the stains and the cases a class."""
    rows = [
        {"missing": _missing(text, stains), "cases": len(part), "counts": _by_class(part, classes)}
        for text, part in used.groupby("missing_stains")
    ]
    return sorted(rows, key=lambda row: (-row["cases"], len(row["missing"]), row["missing"]))


def _missing(text: str, stains: Sequence[str]) -> list[str]:
    """Return those of `stains` that the text of a cell of missing_stains names."""
    return [stain for stain in text.split(";") if stain in stains]


def _predictors(
    used: pd.DataFrame,
    classes: Sequence[str],
    stains: Sequence[str],
    bootstrap_samples: int,
    seed: int,
    quality: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """Return how well the amount of tissue, or having a stain, tells the classes apart without a look at any patch.

    One dict each, of telling.found.
    """
    measures = {"number of slices": used["n_slices"], "number of patches": used["n_patches"]}
    if quality and quality["empty"]:
        blank = {row["case_id"]: row["empty"] / row["patches"] for row in quality["empty"]}
        what = "blank patches" if quality["images"] else "constant features"
        measures[f"share of {what}"] = used["case_id"].map(blank).fillna(0)
    measures |= telling.presence({stain: used[f"patches_{column(stain)}"] > 0 for stain in stains})
    return telling.found(measures, used, classes, bootstrap_samples, seed)


def _sets(sets: Mapping[str, Split], used: pd.DataFrame, stains: Sequence[str]) -> list[dict[str, Any]]:
    """Return what each set holds: one dict a split and set, with cases by class code, and by stain that they have."""
    known = used.set_index("case_id")
    rows = []
    for name, split in sets.items():
        for part in splits.SETS:
            here = known.loc[getattr(split, part)]
            codes = here.groupby(["class", "label"]).size()
            rows.append(
                {
                    "split": name,
                    "set": part,
                    "codes": [
                        {"class": label, "code": str(code), "cases": int(n)} for (label, code), n in codes.items()
                    ],
                    "stains": {stain: int((here[f"patches_{column(stain)}"] > 0).sum()) for stain in stains},
                }
            )
    return rows


def _patients(used: pd.DataFrame) -> list[dict[str, Any]]:
    """Return patients with more than one case: their cases and classes."""
    return [
        {"patient_id": patient, "cases": list(rows["case_id"]), "classes": sorted(set(rows["class"]))}
        for patient, rows in sorted(used.groupby("patient_id"), key=lambda item: natural(item[0]))
        if len(rows) > 1
    ]


def _cases(cases: pd.DataFrame, sets: Mapping[str, Split], stains: Sequence[str]) -> list[dict[str, Any]]:
    """Return one dict a case of the labels table; `test` names the splits that test it."""
    tested = {}
    for name, split in sets.items():
        for case in split.test:
            tested.setdefault(case, []).append(name)
    return [
        {
            "case_id": case["case_id"],
            "patient_id": case["patient_id"],
            "class": case["class"],
            "code": case["label"],
            "slices": case["n_slices"],
            "patches": case["n_patches"],
            "by_stain": {
                stain: [case[f"slices_{column(stain)}"], case[f"patches_{column(stain)}"]] for stain in stains
            },
            "missing": _missing(case["missing_stains"], stains),
            "status": case["status"],
            "test": tested.get(case["case_id"], []),
        }
        for case in cases.to_dict("records")
    ]


def figures(numbers: Mapping[str, Any], colors: Sequence[str]) -> dict[str, tuple[Figure, str]]:
    """Draw the figures of the page from its numbers: name -> (Figure, what it shows in words)."""
    classes, stains = numbers["classes"], numbers["stains"]
    used = [case for case in numbers["cases"] if case["status"] == USED]
    y = np.array([classes.index(case["class"]) for case in used])
    drawn = {}
    for i, what in enumerate(("slices", "patches")):
        counts = {ALL: [case[what] for case in used]}
        counts |= {stain: [case["by_stain"][stain][i] or np.nan for case in used] for stain in stains}
        figure = cohort_plots.strips(
            counts, y, classes, f"How many {what} per case?", f"{what} per case, log scale", colors=colors
        )
        drawn[f"cohort_{what}"] = figure, f"{what.capitalize()} per case by stain and class; the table has the numbers"
    shown = numbers["combinations"][: numbers["combinations_drawn"]]
    figure = cohort_plots.stain_patterns(
        [[stain not in row["missing"] for stain in stains] for row in shown],
        [[row["counts"][name] for name in classes] for row in shown],
        stains,
        classes,
        "Which stains do cases have?",
        colors=colors,
    )
    words = "Flow of cases and patches from the labels table and the patches folder to the splits"
    drawn["cohort_flow"] = cohort_plots.flow(**numbers["flow"]), words
    drawn["cohort_stains"] = figure, "How many cases of each class have which stains; the table has the numbers"
    sides = numbers["sides"]["longer"] if numbers["sides"] else []
    if len({side["pixels"] for side in sides}) > 1:
        n = [side["n"] for side in sides]
        y = np.repeat([classes.index(side["class"]) for side in sides], n)
        pixels = {
            stain: np.repeat([side["pixels"] if side["stain"] == stain else np.nan for side in sides], n)
            for stain in stains
        }
        figure = cohort_plots.strips(
            pixels, y, classes, "How large are patches?", "pixels, log scale", colors=colors, what="patches"
        )
        drawn["cohort_sides"] = figure, f"Longer side of {len(y)} patches by stain and class"
    return drawn

"""The cohort before any model: who is in it, what is missing, and what could mislead whoever reads a result.

Numbers and figures of the cohort page, which the cross-split report shows as well. What is counted are the cases that
are used, unless it says otherwise.
"""

import numpy as np

from stratamil.cohort import cohort_warnings, flow, generated_splits, splits
from stratamil.cohort.inventory import USED
from stratamil.cohort.patch_files import namesakes
from stratamil.core.names import column, natural
from stratamil.report import cohort_plots
from stratamil.stats import intervals, metrics

COMBINATIONS = 12  # rows of the figure of missing stains
ALL = "all stains"


def classed(patches, cases):
    """The patches of used cases, with the class of each."""
    class_of = cases[cases["status"] == USED].set_index("case_id")["class"]
    return patches.assign(**{"class": patches["case_id"].map(class_of)}).dropna(subset="class")


def numbers(patches, cases, excluded, found, sides, classes, stains, patient_column, draws, seed, plan, quality=None):
    """Everything the page says in figures and sentences, ready for JSON.

    patches: of `classed`. cases, excluded: tables of the inventory. found: name -> Split. sides: of samples.sides, or
    None where patches have no pictures. patient_column: of the labels table, or None where each case counts as a
    patient. draws, seed: of the bootstrap by patient. plan: dict of how the splits came about, see `_made`: preset, or
    n, validation, repeats and seed. quality: of quality.look, or None where nothing is known of what the patches hold.
    Of `stains`, those that no used case has are only named (absent_stains).
    """
    used = cases[cases["status"] == USED].reset_index(drop=True)
    absent = [stain for stain in stains if not (used[f"patches_{column(stain)}"] > 0).any()]
    stains = [stain for stain in stains if stain not in absent]
    result = {
        "classes": list(classes),
        "stains": list(stains),
        "absent_stains": absent,
        "bootstrap": {"draws": draws, "seed": seed},
        "patient_column": patient_column,
        "total": _sizes(used),
        "by_class": [_of_class(used[used["class"] == name], name) for name in classes],
        "stain_cases": [_stain_cases(used, stain, classes) for stain in stains],
        "amounts": _amounts(patches, classes, stains),
        "combinations": _combinations(used, classes, stains),
        "combinations_drawn": COMBINATIONS,
        "predictors": _predictors(used, classes, stains, draws, seed),
        "patients": _patients(used),
        "excluded": _excluded(excluded),
        "namesakes": len(namesakes(patches)),
        "splits": splits.table(found, used, classes).to_dict("records"),
        "sets": _sets(found, used, stains),
        "plan": _made(plan, patient_column),
        "flow": flow.follow(
            cases, excluded, found, classes, patients=patient_column is not None, images=sides is not None
        ),
        "cases": _cases(cases, found, stains),
        "sides": sides,
        "quality": quality,
    }
    shares = None if plan.get("preset") else generated_splits.shares(plan["n_splits"], plan["validation"])
    said = cohort_warnings.warnings(result, excluded) + splits.warnings(found, used, classes, shares)
    return {"warnings": said, "notes": cohort_warnings.notes(result)} | result


def _made(plan, patient_column):
    """How the splits came about, in a sentence or two."""
    if plan.get("preset"):
        return f"Preset, read from {plan['preset']} and checked: no case and no patient is in two sets of a split."
    n, repeats, validation = plan["n_splits"], plan["n_repeats"], plan["validation"]
    asked = "the test cases of the next split" if validation is None else f"{validation:.0%} of the cohort"
    again = (
        f" Each of {repeats} repeats is a partition of its own: "
        + ", ".join(f"{r * n + 1:02d} to {(r + 1) * n:02d}" for r in range(repeats))
        + "."
        if repeats > 1
        else ""
    )
    return (
        f"Generated with seed {plan['seed']}, stratified by class"
        + (f" and grouped by patient (column {patient_column})" if patient_column else "")
        + f": {n} splits whose test sets share out the cohort, validation on {asked}."
        + again
    )


def _sizes(used):
    return {
        "cases": len(used),
        "patients": used["patient_id"].nunique(),
        "slices": int(used["n_slices"].sum()),
        "patches": int(used["n_patches"].sum()),
    }


def _of_class(rows, name):
    """The sizes of a class, and how many cases have each of its codes."""
    codes = rows["label"].value_counts()
    return (
        {"class": name}
        | _sizes(rows)
        | {"codes": {code: int(codes[code]) for code in sorted(codes.index, key=natural)}}
    )


def _by_class(rows, classes):
    """How many of these cases each class has."""
    return {name: int((rows["class"] == name).sum()) for name in classes}


def _stain_cases(used, stain, classes):
    """How many cases have a stain, and how many lack it."""
    there = used[f"patches_{column(stain)}"] > 0
    counts = {"present": _by_class(used[there], classes), "missing": _by_class(used[~there], classes)}
    return {"stain": stain, "cases": int(there.sum())} | counts


def _amounts(patches, classes, stains):
    """Slices and patches a case, and patches a slice, of the cases that have the stain: one dict a stain and class."""
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


def _spread(counts):
    """Median, quartiles and maximum; None of nothing."""
    if counts.empty:
        return dict.fromkeys(("median", "low", "high", "max"))
    low, median, high = counts.quantile([0.25, 0.5, 0.75]).tolist()
    return {"median": median, "low": low, "high": high, "max": int(counts.max())}


def _combinations(used, classes, stains):
    """Which stains are missing together, the commonest first: the stains and the cases a class."""
    rows = [
        {"missing": _missing(text, stains), "cases": len(part), "counts": _by_class(part, classes)}
        for text, part in used.groupby("missing_stains")
    ]
    return sorted(rows, key=lambda row: (-row["cases"], len(row["missing"]), row["missing"]))


def _missing(text, stains):
    """Those of `stains` that the text of a cell of missing_stains names."""
    return [stain for stain in text.split(";") if stain in stains]


def _predictors(used, classes, stains, draws, seed):
    """How well the amount of tissue, or having a stain, tells the classes apart without a look at any patch.

    One dict each, of the class that has more of it: AUROC (so at least 0.5) with its bootstrap interval by patient.
    With more than two classes each is set against the rest, and the one told best is given.
    """
    measures = {"number of slices": used["n_slices"], "number of patches": used["n_patches"]}
    measures |= {f"presence of {stain}": (used[f"patches_{column(stain)}"] > 0).astype(int) for stain in stains}
    measures = {name: values.to_numpy(dtype=float) for name, values in measures.items() if values.nunique() > 1}
    told = {name: [] for name in measures}
    for target in classes[-1:] if len(classes) == 2 else classes:
        y = (used["class"] == target).to_numpy(dtype=int)
        if not metrics.has_both(y):
            continue
        weights = intervals.bootstrap_weights(used["patient_id"], draws, seed)
        sizes = intervals.sizes(y, used["patient_id"], 2)
        for name, values in measures.items():
            told[name].append(_told(name, values, y, weights, sizes, target, classes))
    return [max(rows, key=lambda row: row["auc"]) for rows in told.values() if rows]


def _told(name, values, y, weights, sizes, target, classes):
    """One dict of `_predictors`: class and other are swapped where the other has more."""
    auc = metrics.roc_auc(y, values)
    drawn = intervals.weighted_auc(y, np.column_stack([-values, values]), weights)
    low, high = intervals.auc_interval(auc, drawn, sizes)
    pair = [(target, values[y == 1]), (classes[0] if len(classes) == 2 else "the rest", values[y == 0])]
    if auc < 0.5:
        auc, pair = 1 - auc, pair[::-1]
        low, high = (None, None) if low is None else (1 - high, 1 - low)
    typical = np.mean if name.startswith("presence") else np.median
    (more, of_more), (fewer, of_fewer) = pair
    row = {"measure": name, "more": more, "fewer": fewer, "auc": auc, "low": low, "high": high}
    return row | {"typical_more": float(typical(of_more)), "typical_fewer": float(typical(of_fewer))}


def _sets(found, used, stains):
    """What each set holds: one dict a split and set, with cases by class code, and by stain that they have."""
    known = used.set_index("case_id")
    rows = []
    for name, split in found.items():
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


def _patients(used):
    """Patients with more than one case: their cases and classes."""
    return [
        {"patient_id": patient, "cases": list(rows["case_id"]), "classes": sorted(set(rows["class"]))}
        for patient, rows in sorted(used.groupby("patient_id"), key=lambda item: natural(item[0]))
        if len(rows) > 1
    ]


def _excluded(excluded):
    """What was left out by kind and reason: how often, how many patches, and the first as an example."""
    rows = [
        {
            "kind": kind,
            "reason": reason,
            "n": len(part),
            "patches": int(part["patches"].sum()),
            "example": part["name"].iloc[0],
            "detail": part["detail"].iloc[0],
        }
        for (kind, reason), part in excluded.groupby(["kind", "reason"], sort=False)
    ]
    return sorted(rows, key=lambda row: (row["kind"], -row["n"], row["reason"]))


def _cases(cases, found, stains):
    """One dict a case of the labels table; `test` names the splits that test it."""
    tested = {}
    for name, split in found.items():
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


def figures(found, colors):
    """The figures of the page from its numbers: name -> (Figure, what it shows in words)."""
    classes, stains = found["classes"], found["stains"]
    used = [case for case in found["cases"] if case["status"] == USED]
    y = np.array([classes.index(case["class"]) for case in used])
    drawn = {}
    for i, what in enumerate(("slices", "patches")):
        counts = {ALL: [case[what] for case in used]}
        counts |= {stain: [case["by_stain"][stain][i] or np.nan for case in used] for stain in stains}
        figure = cohort_plots.strips(
            counts, y, classes, f"{what.capitalize()} a case", f"{what} of a case, log scale", colors
        )
        drawn[f"cohort_{what}"] = figure, f"{what.capitalize()} a case by stain and class; its numbers are in the table"
    shown = found["combinations"][: found["combinations_drawn"]]
    figure = cohort_plots.stain_patterns(
        [[stain not in row["missing"] for stain in stains] for row in shown],
        [[row["counts"][name] for name in classes] for row in shown],
        stains,
        classes,
        "Stains of a case",
        colors,
    )
    words = "Flow of cases and patches from the labels table and the patches folder to the splits"
    drawn["cohort_flow"] = cohort_plots.flow(**found["flow"]), words
    drawn["cohort_stains"] = figure, "How many cases of each class have which stains; its numbers are in the table"
    sides = found["sides"]["longer"] if found["sides"] else []
    if len({side["pixels"] for side in sides}) > 1:
        y = np.array([classes.index(side["class"]) for side in sides])
        pixels = {stain: [side["pixels"] if side["stain"] == stain else np.nan for side in sides] for stain in stains}
        figure = cohort_plots.strips(
            pixels, y, classes, "Longer side of a patch", "pixels, log scale", colors, "patches"
        )
        drawn["cohort_sides"] = figure, f"Longer side of {len(sides)} patches by stain and class"
    return drawn

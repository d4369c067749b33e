"""The cohort before any model: who is in it, what is missing, and what could mislead whoever reads a result.

Numbers and figures of the cohort page, which the cross-split report shows as well. What is counted are the cases that
are used, unless it says otherwise.
"""

import numpy as np

from stratamil import cohort_plots, flow, intervals, metrics, splits
from stratamil.inventory import BROKEN_LINK, USED, namesakes, of_files
from stratamil.names import column, natural

IMBALANCE = 3  # cases of the largest class for one of the smallest; beyond, accuracy says little: 3 of 4 by guessing
PATIENTS = 10  # of a class: with fewer, one patient moves sensitivity or specificity by more than 10 points
TELLING = 0.6  # AUROC of a count: below, a shortcut is too weak to carry a model
UNEVEN = 0.1  # difference of the shares of two classes that have a stain: an AUROC says little of what is mostly there
RARE_SHARE, RARE_CASES = 0.1, 5  # cases with a stain: with fewer, some of five folds have none to test or to learn from
PATCHES = 10  # of a case: fewer are less than a slice usually has, so a prediction rests on next to nothing
NAMED = 8  # cases that a sentence names before it says how many more
COMBINATIONS = 12  # rows of the figure of missing stains
ALL = "all stains"
UNKNOWN = r"^stain ['\"](.*)['\"] not in the config$"  # the reason that the inventory gives


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
            cases, excluded, found, classes, patients=patient_column is not None, pictures=sides is not None
        ),
        "cases": _cases(cases, found, stains),
        "sides": sides,
        "quality": quality,
    }
    shares = None if plan.get("preset") else splits.shares(plan["n"], plan["validation"])
    said = warnings(result, excluded) + splits.warnings(found, used, classes, shares)
    return {"warnings": said, "notes": notes(result)} | result


def _made(plan, patient_column):
    """How the splits came about, in a sentence or two."""
    if plan.get("preset"):
        return f"Preset, read from {plan['preset']} and checked: no case and no patient is in two sets of a split."
    n, repeats, validation = plan["n"], plan["repeats"], plan["validation"]
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
        "patients": used["group"].nunique(),
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
        weights = intervals.bootstrap_weights(used["group"], draws, seed)
        sizes = intervals.sizes(y, used["group"], 2)
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
        {"patient": patient, "cases": list(rows["case_id"]), "classes": sorted(set(rows["class"]))}
        for patient, rows in sorted(used.groupby("group"), key=lambda item: natural(item[0]))
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
            "patient": case["group"],
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


def warnings(found, excluded):
    """Sentences on what could mislead, of the dict that `numbers` makes and excluded.csv."""
    return [
        *_of_patients(found),
        *_of_classes(found),
        *_of_predictors(found),
        *_of_stains(found, excluded),
        *_of_cases(found, excluded),
        *(_of_patches(found["quality"]) if found["quality"] else _of_sample(found["sides"])),
    ]


def _of_patients(found):
    if found["patient_column"] is None:
        yield (
            "No patient column is given, so each case counts as a patient. If a patient has several cases, they can be "
            "in training and in test, and every interval is too narrow: name the column in cohort.group_column."
        )


def _of_classes(found):
    sizes = sorted(found["by_class"], key=lambda row: row["cases"])
    least, most = sizes[0], sizes[-1]
    if most["cases"] > IMBALANCE * least["cases"]:
        ratio = f", {most['cases'] / least['cases']:.1f} to 1" if least["cases"] else ""
        yield (
            f"The classes are of very different size: {most['cases']} {most['class']} cases against {least['cases']} "
            f"{least['class']}{ratio}. Accuracy flatters a model here: read the balanced accuracy and the AUROC."
        )
    for row in sizes:
        if row["patients"] < PATIENTS:
            yield (
                f"Class {row['class']} has only {_n(row['patients'], 'patient')}: single patients decide every figure, "
                "and its intervals will be wide."
            )


def _of_predictors(found):
    for row in found["predictors"]:
        uneven = row["measure"].startswith("presence") and row["typical_more"] - row["typical_fewer"] >= UNEVEN
        if (row["auc"] > TELLING or uneven) and (row["low"] or 0) > 0.5:
            yield (
                f"The {row['measure']} alone tells {row['more']} from {row['fewer']} with an AUROC of {row['auc']:.2f} "
                f"(95 % interval {row['low']:.2f} to {row['high']:.2f}): {_more(row)}. A model can learn this "
                "instead of what the tissue looks like."
            )


def _more(row):
    """What a class has more of than the other."""
    if row["measure"].startswith("presence"):
        return f"{row['typical_more']:.0%} of {row['more']} cases have it, {row['typical_fewer']:.0%} of {row['fewer']}"
    typical = f"median {row['typical_more']:g} against {row['typical_fewer']:g}"
    return f"{row['more']} cases have more ({typical})"


def _of_stains(found, excluded):
    cases = found["total"]["cases"]
    for row in found["stain_cases"]:
        if row["cases"] < max(RARE_CASES, RARE_SHARE * cases):
            yield (
                f"Stain {row['stain']} is in {row['cases']} of {_n(cases, 'case')}: too few to learn from, or to say "
                "how the model does with it."
            )
    reasons = excluded.loc[excluded["kind"] == "file", "reason"].str.extract(UNKNOWN)[0]
    unknown = of_files(excluded).groupby(reasons).sum().sort_values(ascending=False, kind="stable")
    if len(unknown):
        counts = ", ".join(f"{stain} ({_n(n, 'patch')})" for stain, n in unknown.items())
        yield (
            f"There are stains that the config does not name, so they are left out: {counts}. If they belong to the "
            "study, add them to names.stains."
        )


def _of_cases(found, excluded):
    used = [case for case in found["cases"] if case["status"] == USED]
    few = [f"{case['case_id']} ({case['patches']})" for case in used if case["patches"] < PATCHES]
    if few:
        yield f"{_have(few, 'case')} fewer than {PATCHES} patches: {_some(few)}."
    mixed = [f"{row['patient']} ({', '.join(row['classes'])})" for row in found["patients"] if len(row["classes"]) > 1]
    if mixed:
        yield f"{_have(mixed, 'patient')} cases of several classes: {_some(mixed)}. Check the labels."
    empty = [case["case_id"] for case in found["cases"] if case["status"] == "no patches"]
    if empty:
        yield f"{_have(empty, 'labelled case')} no patches and {_are(empty)} left out: {_some(empty)}."
    rows = excluded[(excluded["kind"] == "case") & (excluded["reason"] == "no row in the labels")]
    if len(rows):
        named = [f"{name} ({_n(n, 'patch')})" for name, n in zip(rows["name"], rows["patches"])]
        yield f"{_have(rows, 'case')} patches but no row in the labels, and {_are(rows)} left out: {_some(named)}."


def _of_sample(sides):
    damaged = sides["unreadable"] if sides else []
    if damaged:
        sample = _n(sides["drawn"], "patch")
        yield f"{len(damaged)} of a sample of {sample} cannot be read as an image: {_some(damaged)}."


def _of_patches(quality):
    """What is in the patches, and what is not."""
    pictures = quality["pictures"]
    for what, rows in (("equal file", quality["copies"]), ("equal feature row", quality["equal_rows"])):
        for row in [row for row in rows if not row["same_patient"]][:NAMED]:
            yield (
                f"Cases {_some(row['cases'])} of different patients share {_n(row['files'], what)} "
                f"({' = '.join(row['examples'])}): the same tissue under several ids? Give them one patient, or remove "
                "all but one."
            )
    whole = [row["case_id"] for row in quality["empty"] if row["empty"] == row["patches"]]
    if whole:
        what = "blank patches" if pictures else "features of one value"
        yield f"{_have(whole, 'case')} nothing but {what}, so there is nothing to learn from: {_some(whole)}."
    part = sorted((row for row in quality["empty"] if row["empty"] < row["patches"]), key=_emptiness)
    if part:
        named = [f"{row['case_id']} ({row['empty']} of {row['patches']})" for row in part]
        blank = "blank (all pixels equal)" if pictures else "of one value (all features equal)"
        yield (
            f"{_have(part, 'other case' if whole else 'case')} patches that are {blank}, which the model takes for "
            f"tissue: {_some(named)}."
        )
    if quality["same"]:
        yield f"{_have(quality['same'], 'case')} patches that are all the same: {_some(quality['same'])}."
    odd = [row for row in quality["kinds"] if pictures and not row["kind"].startswith("all ")]
    if odd:
        named = "; ".join(f"{row['n']} {row['kind']} (e.g. {row['examples'][0]})" for row in odd)
        yield f"Odd images are used as they are: {named}. If they show no tissue, remove them."
    if len(quality["bits"]) > 1:
        named = (f"{row['bits']} bits ({_n(row['n'], 'image')}, e.g. {row['examples'][0]})" for row in quality["bits"])
        yield (
            f"16-bit grey images use different ranges: {', '.join(named)}. Each was scaled by its own, so equal tissue "
            "may differ in brightness: export all with 8 bits."
        )
    lost = quality["unreadable"]
    if lost["n"]:
        yield f"{_n(lost['n'], 'patch')} cannot be read as an image, and {_is(lost['n'])} left out: {_first(lost)}."


def _emptiness(row):
    return -row["empty"] / row["patches"], natural(row["case_id"])


def _first(row):
    """The examples, and how many more there are."""
    more = row["n"] - len(row["examples"])
    return ", ".join(row["examples"]) + (f" and {more} more" if more else "")


def notes(found):
    """Sentences on what a reader should know, but need not worry about."""
    result = []
    if found["quality"] and len(found["quality"]["bits"]) == 1:
        (row,) = found["quality"]["bits"]
        result.append(
            f"{_n(row['n'], '16-bit grey image')} use {row['bits']} bits and were scaled by these: {_first(row)}."
        )
    for row in found["excluded"]:
        if row["kind"] == "row":
            result.append(f"{_n(row['n'], 'row')} of the labels left out ({row['reason']}), e.g. {row['example']}.")
        elif row["kind"] == "file" and row["reason"].startswith(("copy", BROKEN_LINK)):
            result.append(f"{_n(row['n'], 'file')} left out ({row['reason']}), e.g. {row['example']}.")
    if absent := found["absent_stains"]:
        result.append(
            f"No used case has {', '.join(absent)}, which names.stains lists: {'they are' if absent[1:] else 'it is'} "
            "left out of the pages."
        )
    if found["namesakes"]:
        result.append(
            f"{_n(found['namesakes'], 'patch')} have the number of another patch of their slice, but other content; "
            "all are used."
        )
    return result


def _n(number, noun):
    """`1 case`, `3 cases`, `2 patches`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('ch') else 's'}"


def _have(found, noun):
    return f"{_n(len(found), noun)} {'has' if len(found) == 1 else 'have'}"


def _are(found):
    return _is(len(found))


def _is(number):
    return "is" if number == 1 else "are"


def _some(names):
    """The first names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


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

"""Prose of the cohort page, made from its numbers: the template holds layout only."""

from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.core.wording import about, listed, n_of, num, percentages, span, thousands
from stratamil.report import site_sentences

Cohort = Mapping[str, Any]

SECTIONS = {
    "overview": "At a glance",
    "samples": "Sample patches",
    "stains": "Stains",
    "names": "Names and colours of stains",
    "amounts": "Slices and patches",
    "shortcuts": "Shortcuts",
    "sites": "Sites",
    "sizes": "Patch sizes",
    "patch_quality": "Quality of the patches",
    "quality": "Empty, odd and identical patches",
    "twice": "The same tissue twice",
    "splits": "Splits",
    "excluded": "Flow and exclusions",
    "cases": "All cases",
    "inputs": "Inputs",
}
OPTIONAL = ("names", "sites", "patch_quality", "quality", "twice")  # sections, where there is something to say
LIMITS = {
    "overview": "The page does not know how the cases were chosen, nor how common each class is in a clinic.",
    "samples": "Single patches of single cases do not show what a class looks like: cases of any class have normal "
    "tissue. Patches of the same size can differ in magnification.",
    "stains": "The page does not know why a stain is missing. If it was ordered for difficult cases only, a model can "
    "learn that.",
    "amounts": "The number of patches is not the size of the lesion: it also depends on cutting, scanning and tiling.",
    "shortcuts": "A model need not use such a shortcut, and a CI that includes 0.5 does not exclude one. The number of "
    "comparisons is not corrected for.",
    "sizes": "Pixels are not magnification. The encoder sees all patches at one size: larger ones at a coarser scale.",
    "quality": "Tissue that was saved twice with different bytes is in the section on the same tissue.",
    "splits": "What no column of the labels table tells, such as scanner or year, is not compared.",
}
BOXES = "box: quartiles; black bar: median; line: range"
CAPTIONS = {
    "cohort_slices": f"Slices per case that has the stain ({BOXES}).",
    "cohort_patches": f"Patches per case that has the stain ({BOXES}).",
    "cohort_sides": f"Longer side of each measured patch in pixels ({BOXES}).",
}


def of_page(cohort: Cohort) -> dict[str, Any]:
    """Return all prose of the page."""
    return {
        "header": header(cohort),
        "sections": {
            name: title
            for name, title in SECTIONS.items()
            if name not in OPTIONAL or cohort[name] or (name == "names" and cohort["drift"])
        },
        "limits": LIMITS,
        "captions": CAPTIONS | {"samples": samples(cohort), "cohort_stains": combinations(cohort), "flow": FLOW},
        "clean": CLEAN,
        "no_images": "There are no images to show: the cohort has precomputed features.",
        "combination_shares": {
            name: percentages([row["counts"][name] for row in cohort["combinations"]]) for name in cohort["classes"]
        },
        "mixed": mixed(cohort),
        "stains": stains(cohort),
        "amounts": amounts(cohort),
        "shortcuts": shortcuts(cohort),
        "shortcut_cis": shortcut_cis(cohort),
        "sites": site_sentences.of_page(cohort),
        "sizes": sizes(cohort["sides"]),
        "quality": quality(cohort["quality"], cohort["repeated"]) if cohort["quality"] else {},
        "unit": "case" if cohort["patient_column"] is None else "patient",
        "patients": several(cohort["patients"]),
        "inputs": inputs(cohort),
    }


CLEAN = "No warnings: class sizes, slices, patches, stains, labels and splits look as they should."
FLOW = "From the labels table and the patches to the splits; exclusions are on the right."


def header(cohort: Cohort) -> str:
    """Say what goes into training."""
    return f"{counts(cohort)} before training. Read this before the results. For research, not for diagnosis."


def counts(cohort: Cohort) -> str:
    """Return the cases, their patients and classes."""
    total, classes = cohort["total"], ", ".join(f"{row['cases']} {row['class']}" for row in cohort["by_class"])
    patients = "" if cohort["patient_column"] is None else f" of {n_of(total['patients'], 'patient')}"
    return f"{n_of(total['cases'], 'case')}{patients} ({classes})"


def finding(cohort: Cohort) -> str:
    """Say what the cohort is, in a sentence."""
    total, names = cohort["total"], cohort["stains"]
    amount = f"{n_of(total['patches'], 'patch')} in {n_of(total['slices'], 'slice')}"
    return f"{counts(cohort)}, {amount} of {n_of(len(names), 'stain')} ({listed(names)}){unread(cohort['flow'])}."


def unread(flow: Mapping[str, Any]) -> str:
    """Return `; 5 more patches were excluded when opened (2 unreadable as an image, 3 blank)`, or nothing."""
    left_out = [part for step in flow["steps"] for part in step["left_out"] if not part["cases"]]
    n = sum(part["patches"] for part in left_out)
    why = ", ".join(f"{thousands(part['patches'])} {part['reason'].partition(':')[0]}" for part in left_out)
    return f"; {n_of(n, 'more patch')} {'was' if n == 1 else 'were'} excluded when opened ({why})" if n else ""


def mixed(cohort: Cohort) -> str:
    """Say that patients are counted in several classes; empty where none is."""
    if sum(row["patients"] for row in cohort["by_class"]) <= cohort["total"]["patients"]:
        return ""
    return "A patient with cases of several classes is counted in each."


def samples(cohort: Cohort) -> str:
    """Return the caption of the sample patches."""
    drawn, seed = n_of(len(cohort["samples"] or []), "patch"), cohort["bootstrap"]["seed"]
    return (
        f"{drawn} drawn at random (seed {seed}), each from another case of its stain and class. Patches are scaled to "
        "fit, never stretched or recoloured; below each are its case and its size on disk."
    )


def stains(cohort: Cohort) -> str:
    """Say how many cases have all stains."""
    full = sum(row["cases"] for row in cohort["combinations"] if not row["missing"])
    names = cohort["stains"]
    which = f"all {len(names)} stains" if len(names) > 1 else names[0]
    return f"{thousands(full)} of {n_of(cohort['total']['cases'], 'case')} have {which}."


def combinations(cohort: Cohort) -> str:
    """Return the caption of the figure of stains."""
    rows, most = cohort["combinations"], cohort["combinations_drawn"]
    part = ""
    if len(rows) > most:
        part = f" The {most} commonest are drawn, {sum(row['cases'] for row in rows[:most])} of the cases."
    return f"Each row is a combination of stains: joined dots are present, bars count its cases by class.{part}"


def amounts(cohort: Cohort) -> str:
    """Say what a case of each class has, at the median."""
    rows = [row for row in cohort["amounts"][: len(cohort["classes"])] if row["cases"]]
    each = (
        f"{about(row['patches']['median'])} patches in {about(row['slices']['median'])} slices ({row['class']})"
        for row in rows
    )
    return f"Median per case: {listed(list(each))}."


def shortcuts(cohort: Cohort) -> str:
    """Say how well the classes can be separated without looking at a patch."""
    if not cohort["predictors"]:
        return "No shortcut: all cases have the same numbers of slices and patches and the same stains."
    best = max(cohort["predictors"], key=_clearness)
    auc = best["auc"]
    ci = "" if auc.low is None else f" (95% CI {span(auc.low, auc.high, 2)})"
    chance = auc.low is not None and auc.low <= 0.5
    what = "tissue" if best["measure"].startswith("share") else "a patch"
    return (
        f"Without looking at {what}, the {best['measure']} separates the classes most clearly: AUROC "
        f"{num(auc.value, 2)}{ci}"
        f"{'; the CI includes 0.5, which is chance' if chance else ''}."
    )


def _clearness(row: Mapping[str, Any]) -> tuple[bool, float]:
    """Return whether the CI of a measure excludes chance, and its AUROC: a larger one may be less certain."""
    auc = row["auc"]
    return auc.low is not None and auc.low > 0.5, auc.value


def shortcut_cis(cohort: Cohort) -> str:
    """Say how the table of shortcuts was made."""
    unit = "case" if cohort["patient_column"] is None else "patient"
    several = " Each class is compared with the rest, and the best is shown." if len(cohort["classes"]) > 2 else ""
    samples, seed = cohort["bootstrap"]["samples"], cohort["bootstrap"]["seed"]
    return (
        "The AUROC ranks the cases by the measure itself, in the better direction, so it is never below 0.5. The "
        "report’s regressions on the same numbers are judged on cases that they have not seen, and can fall below. "
        f"CIs: {thousands(samples)} {unit}-level bootstrap samples (seed {seed}).{several} Stains that "
        "every case has are not in the table."
    )


def sizes(sides: Mapping[str, Any] | None) -> str:
    """Say how large the measured patches are, and how many are not square."""
    if not sides:
        return "Patch sizes are unknown: the cohort has precomputed features and no images."
    pixels = [side["pixels"] for side in sides["longer"]]
    n = sum(side["n"] for side in sides["longer"])
    result = f"{thousands(n)} of {n_of(sides['of'], 'patch')} were measured when they were encoded."
    if pixels:
        least, most = min(pixels), max(pixels)
        result += f" The longer side is {least}{'' if least == most else f' to {most}'} pixels; "
        result += f"{n_of(sides['oblong'], 'patch')} not square." if sides["oblong"] else "all are square."
    return result


def quality(found: Mapping[str, Any], repeated: Mapping[str, Mapping[str, int]] | None = None) -> dict[str, str]:
    """Say what the patches hold: empty ones, kinds, and copies. repeated: reason -> case -> files left out."""
    what = "image" if found["images"] else "row"
    empty, lost = sum(row["empty"] for row in found["empty"]), found["unreadable"]["n"]
    alike = "pixels" if found["images"] else "features"
    used = found["patches"] - (gone := found.get("excluded", 0))
    of = f"{n_of(used, what)}{' that are used' if gone else ''}"
    if empty:
        verb = "is" if empty == 1 else "are"
        said = f"{thousands(empty)} of {of} {verb} empty: all {alike} equal."
    else:
        said = f"None of {of} is empty."
    said += f" {n_of(gone, what)} {'is' if gone == 1 else 'are'} excluded for quality." if gone else ""
    said += f" {n_of(lost, what)} could not be read." if lost else ""
    kinds = "An image can be of several kinds." if found["kinds"] and found["images"] else ""
    if found["bits"]:
        kinds += " 16-bit grey images are scaled by the bits that their largest value needs: 8, 10, 12, 14 or 16."
    if any(row["kind"] == TRANSPARENT for row in found["kinds"]):
        kinds += " If a program wrote an empty alpha channel over real pixels, export these images without it."
    blank = ", apart from blank images" if found["images"] else ""
    copies = (
        "These cases have identical files. Different patients with an identical file must not be in different sets."
        if found["copies"]
        else f"No two used cases have an identical file{blank}."
    )
    if n := sum(sum(cases.values()) for cases in (repeated or {}).values()):
        verb = "repeats" if n == 1 else "repeat"
        copies += f" Within cases {n_of(n, 'file')} {verb} another, so only one of each is used."
    cases = len(found["empty"])
    has = f"{n_of(cases, 'case')} {'has' if cases == 1 else 'have'} empty patches"
    equal = "These cases have identical features, in whatever files." if found["equal_rows"] else ""
    return {"empty": said, "kinds": kinds.strip(), "copies": copies, "equal": equal, "cases": has}


TRANSPARENT = "fully transparent, read as white"


def several(patients: Sequence[Mapping[str, Any]]) -> str:
    """Say how many patients have several cases."""
    return f"{n_of(len(patients), 'patient')} {'has' if len(patients) == 1 else 'have'} several cases"


def inputs(cohort: Cohort) -> str:
    """Say where the patches came from."""
    source = f"Patches: {cohort['folder']}" if cohort["folder"] else "Patches: rows of precomputed feature files"
    return source + (f". Code: commit {cohort['commit']}." if cohort["commit"] else ".")

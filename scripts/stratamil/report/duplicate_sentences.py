"""Prose and pictures of the cohort page on tissue that several cases have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stratamil.cohort import duplicates
from stratamil.core.errors import few
from stratamil.core.wording import listed, n_of, thousands
from stratamil.report.stain_sentences import strip

Numbers = Mapping[str, Any]
MOST = 12  # rows with pictures
NAMED = 4  # rows that warnings name
LIMITS = (
    "Patches are compared by their coarse structure, in all 8 poses, whole or trimmed to 85% of their sides or more. "
    "A patch that was turned by another angle, shows a neighbouring field or another section of the same block is not "
    "found, nor is one that shows next to nothing."
)
LIMITS_FEATURES = (
    "Without images only patches that were encoded twice are found. A turned or trimmed copy has other features: "
    "compare the images before you extract features."
)


def of_page(cohort: Numbers, folder: Path | None) -> dict[str, Any]:
    """Return the prose of the section and its pictures. cohort: numbers of the page. folder: of patches."""
    found = cohort["twice"]
    if not found:
        return {}
    more = len(found["rows"]) - MOST
    return {
        "told": told(found),
        "within": within(found),
        "rows": [
            {
                "cases": f"{few(row['cases'], 6)} of {'one patient' if row['same_patient'] else 'different patients'}",
                "changes": changes(row["changes"]),
                "sets": sets(row),
                "parted": bool(row["parted"]),
                "strips": [(strip(paths, folder), " = ".join(paths)) for paths in row["shown"]],
                "example": duplicates.example(row),
            }
            for row in found["rows"][:MOST]
        ],
        "more": f"{n_of(more, 'more row')} in cohort.json." if more > 0 else "",
        "limits": LIMITS if found["images"] else LIMITS_FEATURES,
    }


def told(found: Numbers) -> str:
    """Say how many patches were compared, and which cases share tissue."""
    compared = f"{thousands(found['compared'])} of {n_of(found['patches'], 'patch')} were compared with all others"
    rest = "" if found["compared"] == found["patches"] else "; the rest show too little"
    if not found["rows"]:
        return f"{compared}{rest}. No two cases have a patch of the same tissue."
    cases = {case for row in found["rows"] for case in row["cases"]}
    parted = sum(row["parted"] is not None for row in found["rows"])
    splits = (
        f"{thousands(parted)} of these {n_of(len(found['rows']), 'group')} of cases are in different sets of a split, "
        "though of different patients: a model would be tested on tissue that it has seen."
        if parted
        else "No split has them in different sets, or they are of one patient."
    )
    return (
        f"{compared}{rest}. {n_of(found['across'], 'patch')} of {n_of(len(cases), 'case')} show tissue that another "
        f"case has, too. {splits} duplicates/patches.csv lists all."
    )


def within(found: Numbers) -> str:
    """Say how many patches are like another of their own case; empty where none is."""
    if not found["within"]:
        return ""
    named = [f"{row['case']} ({row['patches']})" for row in found["cases"]]
    verb = "is" if found["within"] == 1 else "are"
    return (
        f"Within cases {n_of(found['within'], 'patch')} {verb} like another of the same case: overlapping tiles, or "
        f"one field in several stains or slices. They leak nothing, but count several times: cases {few(named, NAMED)}."
    )


def changes(counts: Mapping[str, int]) -> str:
    """Return `12 patches turned, 1 patch unchanged`."""
    return ", ".join(f"{n_of(n, 'patch')} {'unchanged' if word == 'same' else word}" for word, n in counts.items())


def sets(row: Numbers) -> str:
    """Return in which sets of a split the cases are."""
    if not row["parted"]:
        return "never in different sets" if not row["same_patient"] else "may be in any set"
    places = [f"case {case} in {name}" for name, case in row["parted"]["sets"].items()]
    return f"split {row['parted']['split']} has {listed(places)}"


def warnings(cohort: Numbers) -> list[str]:
    """Return a sentence for each group of cases of different patients that share tissue, parted ones first.

    Those that share equal files have a warning of their own.
    """
    found = cohort.get("twice")
    if not found:
        return []
    known = [row["cases"] for row in cohort["quality"]["copies"]] if cohort["quality"] else []
    rows = [row for row in found["rows"] if not row["same_patient"] and row["cases"] not in known]
    lines = [
        f"Cases {few(row['cases'], 6)}{' of different patients' if cohort['patient_column'] else ''} share "
        f"{n_of(row['files'], 'near-duplicate patch')} ({duplicates.example(row)})"
        + (f", and {sets(row)}" if row["parted"] else "")
        + ": the same tissue under several ids? Give them one patient, or list what is not the "
        "case’s in cohort.exclude_patches."
        for row in rows[:NAMED]
    ]
    more = len(rows) - NAMED
    return [*lines, f"{n_of(more, 'more group')} of cases of different patients share tissue."] if more > 0 else lines

"""What a reader of the cohort page must know: warnings and notes, as sentences; report.cohort_summary orders them."""

from collections.abc import Iterator, Mapping, Sized
from typing import Any

import pandas as pd

from stratamil.cohort import duplicates, sites, telling
from stratamil.cohort.inventory import NO_PATCHES, ONLY_UNKNOWN, USED, of_files
from stratamil.cohort.manifest import UNOPENED
from stratamil.cohort.patch_files import BROKEN_LINK, RENAMED, REPEATED
from stratamil.cohort.resembling import LIKE, MISTYPED
from stratamil.core.errors import few
from stratamil.core.names import natural
from stratamil.core.wording import listed, of_class

RARE_SHARE, RARE_CASES = 0.1, 5  # cases with a stain: with fewer, some of five folds have none to test or to learn from
IMBALANCE = 3  # cases of the largest class for one of the smallest; beyond, accuracy says little: 3 of 4 by guessing
NO_PATIENTS = (
    "No patient column is given, so cases count as independent: name it in cohort.patient_column, or the case column "
    "if each case is one patient. If a patient has several cases, they can be in training and in test, and every "
    "interval is too narrow."
)
PATIENTS = 10  # of a class: with fewer, one patient moves sensitivity or specificity by more than 10 points
PATCHES = 10  # of a case: fewer are less than a slice usually has, so a prediction rests on next to nothing
CAPPED_AT, CAPPED_SHARE = 20, 0.2  # patches of a case, and share of cases with as many: no chance, but a cap
NAMED = 8  # cases that a sentence names before it says how many more
Numbers = dict[str, Any]  # what the page shows, as JSON has it
UNKNOWN = r"^stain ['\"](.*)['\"] not in names\.stains$"  # the reason that the inventory gives


def leaks(cohort: Numbers) -> list[str]:
    """Return sentences on tissue of several cases, and on patients that may be in several sets.

    cohort: the numbers of the page, as report.cohort_summary.numbers returns them; so for the functions below.
    """
    copies = _of_copies(cohort["quality"], cohort["patient_column"]) if cohort["quality"] else []
    return [*copies, *_of_patients(cohort)]


def shortcuts(cohort: Numbers) -> list[str]:
    """Return sentences on amounts, stains and sites that tell the class."""
    of_sites = sites.warnings(cohort["sites"], cohort["classes"]) if cohort["sites"] else []
    return [*map(telling.sentence, telling.warned(cohort["predictors"])), *of_sites]


def others(cohort: Numbers, excluded: pd.DataFrame) -> list[str]:
    """Return sentences on what else could mislead, the most dangerous first. excluded: excluded.csv."""
    quality = cohort["quality"]
    return [
        *_of_columns(cohort),
        *_of_classes(cohort),
        *_of_cases(cohort),
        *_of_stains(cohort, excluded),
        *(_of_patches(quality, _blank_by_class(cohort)) if quality else []),
    ]


def notes(cohort: Numbers) -> list[str]:
    """Return sentences on what a reader should know, but need not worry about."""
    result = []
    if cohort["quality"] and len(cohort["quality"]["bits"]) == 1:
        (row,) = cohort["quality"]["bits"]
        result.append(
            f"{_n(row['n'], '16-bit grey image')} {'uses' if row['n'] == 1 else 'use'} {row['bits']} bits and "
            f"{'was' if row['n'] == 1 else 'were'} scaled by these: {_first(row)}."
        )
    for row in cohort["excluded"]:
        if row["kind"] == "row":
            one = f"{row['example'].capitalize()} of the labels is excluded ({row['reason']}): {row['detail']}."
            more = f"{row['n']} rows of the labels excluded ({row['reason']}), e.g. {row['example']}: {row['detail']}."
            result.append(one if row["n"] == 1 else more)
        elif row["kind"] == "file" and row["reason"].startswith(("copy", BROKEN_LINK, *UNOPENED)):
            whose = of_cases(cohort["repeated"][REPEATED]) if row["reason"] == REPEATED else ""
            example = f"{', e.g.' if row['n'] > 1 else ':'} {row['example']}"
            result.append(f"{_n(row['n'], 'file')} excluded ({row['reason']}){whose}{example}.")
        elif row["kind"] == "file" and row["reason"].endswith(MISTYPED):
            files = f"{_n(row['n'], 'file')} {_is(row['n'])} excluded for a name that"
            like = row["detail"].partition(";")[0].removeprefix(LIKE)
            result.append(
                f"{files} nearly follows the pattern, perhaps mistyped: {row['example']}, like {like}. Rename "
                f"{'it' if row['n'] == 1 else 'them'} to use {'it' if row['n'] == 1 else 'them'}."
            )
    if absent := cohort["absent_stains"]:
        result.append(
            f"No used case has {', '.join(absent)}, although the study names {'them' if absent[1:] else 'it'}: not "
            "shown on the pages."
        )
    result += _of_cap([case["patches"] for case in cohort["cases"] if case["status"] == USED])
    if cohort["namesakes"]:
        result.append(f"{cohort['namesakes']}.")
    return result


def _of_cap(patches: list[int]) -> Iterator[str]:
    """Yield a sentence where many cases have the largest number of patches: a sample was drawn before."""
    most = max(patches, default=0)
    capped = patches.count(most)
    if most >= CAPPED_AT and capped >= max(RARE_CASES, CAPPED_SHARE * len(patches)) and capped < len(patches):
        yield (
            f"{capped} of {_n(len(patches), 'case')} have exactly {most} patches and none has more: if patches were "
            "sampled before, attention can only point to those of the sample."
        )


def _of_patients(cohort: Numbers) -> Iterator[str]:
    if cohort["patient_column"] is None:
        yield NO_PATIENTS


def _of_classes(cohort: Numbers) -> Iterator[str]:
    sizes = sorted(cohort["by_class"], key=lambda row: row["cases"])
    least, most = sizes[0], sizes[-1]
    if most["cases"] > IMBALANCE * least["cases"]:
        ratio = f", {most['cases'] / least['cases']:.1f} to 1" if least["cases"] else ""
        yield (
            f"Class sizes differ: {most['cases']} {most['class']} cases against {least['cases']} "
            f"{least['class']}{ratio}. Accuracy is misleading here: read balanced accuracy and AUROC."
        )
    unit = "case" if cohort["patient_column"] is None else "patient"
    for row in sizes:
        if row["patients"] < PATIENTS:
            yield (
                f"{_capital(of_class(row['class']))} has only {_n(row['patients'], unit)}: single {unit}s decide "
                "every figure, and CIs will be wide."
            )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _n(number: int, noun: str) -> str:
    """Return `1 case`, `3 cases`, `2 patches`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('ch') else 's'}"


def of_missing_stains(cohort: Numbers) -> bool:
    """Return whether a warning says that a stain is missing in most cases, or more often in one class."""
    return any(map(telling.is_presence, telling.warned(cohort["predictors"]))) or any(_rare(cohort))


def _rare(cohort: Numbers) -> Iterator[Numbers]:
    """Yield the stains that few cases have."""
    few_cases = max(RARE_CASES, RARE_SHARE * cohort["total"]["cases"])
    yield from (row for row in cohort["stain_cases"] if row["cases"] < few_cases)


def _of_stains(cohort: Numbers, excluded: pd.DataFrame) -> Iterator[str]:
    cases = _n(cohort["total"]["cases"], "case")
    for row in _rare(cohort):
        yield f"Stain {row['stain']} is in {row['cases']} of {cases}: too few to learn from or to evaluate."
    reasons = excluded.loc[excluded["kind"] == "file", "reason"].str.extract(UNKNOWN)[0]
    unknown = of_files(excluded).groupby(reasons).sum().sort_values(ascending=False, kind="stable")
    if len(unknown):
        counts = ", ".join(f"{stain} ({_n(n, 'patch')})" for stain, n in unknown.items())
        yield (
            f"Stains that the study does not name are excluded: {counts}. If they belong to it, add them to "
            "names.stains."
        )


def mixed_patients(cohort: Numbers) -> Iterator[str]:
    """Yield the sentence on patients with cases of several classes: there a label may be wrong."""
    mixed = [
        f"{row['patient_id']} ({', '.join(row['classes'])})" for row in cohort["patients"] if len(row["classes"]) > 1
    ]
    if mixed:
        yield f"{_have(mixed, 'patient')} cases of several classes: {few(mixed, NAMED)}. Check the labels."


def lost(cohort: Numbers, excluded: pd.DataFrame) -> Iterator[str]:
    """Yield which cases and files take no part although someone meant them to."""
    empty = [case["case_id"] for case in cohort["cases"] if case["status"] == NO_PATCHES]
    if empty:
        yield f"{_have(empty, 'labelled case')} no patches and {_are(empty)} excluded: {_cases(empty)}."
    others = [case["case_id"] for case in cohort["cases"] if case["status"] == ONLY_UNKNOWN]
    if others:
        yield (
            f"{_have(others, 'labelled case')} patches only of stains that the study does not name, and "
            f"{_are(others)} excluded: {_cases(others)}."
        )
    rows = excluded[(excluded["kind"] == "case") & (excluded["reason"] == "no row in the labels")]
    if len(rows):
        copies = cohort["quality"]["unused"] if cohort["quality"] else {}
        named = [
            f"{name} ({_n(n, 'patch')}{_also(copies.get(name))})" for name, n in zip(rows["name"], rows["patches"])
        ]
        yield f"{_have(rows, 'case')} patches but no row in the labels, and {_are(rows)} excluded: {_cases(named)}."
    if repeated := cohort["repeated"][RENAMED]:
        files = range(sum(repeated.values()))
        yield (
            f"{_have(files, 'file')} the same bytes as another file of the case and stain, and {_are(files)} excluded, "
            f"so that each patch is used once{of_cases(repeated)}."
        )


def _of_columns(cohort: Numbers) -> Iterator[str]:
    """Yield a sentence on ages and sexes that cannot be those of one person."""
    if odd := cohort["implausible"]:
        unit = "case" if cohort["patient_column"] is None else "patient"
        named = few([f"{what} of {unit} {who}" for what, who, _ in odd], NAMED)
        more = " (below the table of all cases on the cohort page)" if len(odd) > NAMED else ""
        yield f"Implausible in the labels table: {named}{more}. Correct the table{_also_differ(odd, unit)}."


def _also_differ(odd: list[tuple[str, str, bool]], unit: str) -> str:
    differ = any(several for _, _, several in odd)
    return f". Where one {unit} has several values, the column of {unit}s may be the wrong one" if differ else ""


def _of_cases(cohort: Numbers) -> Iterator[str]:
    used = [case for case in cohort["cases"] if case["status"] == USED]
    small = [f"{case['case_id']} ({case['patches']})" for case in used if case["patches"] < PATCHES]
    if small:
        yield f"{_have(small, 'case')} fewer than {PATCHES} patches: {few(small, NAMED)}."


def _cases(named: list[str]) -> str:
    """Return `case 4`, `cases 4, 12`."""
    return f"case{'s' if len(named) > 1 else ''} {few(named, NAMED)}"


def of_cases(numbers: Mapping[str, int]) -> str:
    """Return `: cases 11 (6), 12 (6)`."""
    named = [f"{case} ({n})" for case, n in numbers.items()]
    return f": {_cases(named)}" if named else ""


def _also(cases: list[str] | None) -> str:
    """Return `, equal files in case 10`."""
    return f", equal files in case{'s' if len(cases) > 1 else ''} {few(cases, NAMED)}" if cases else ""


def _have(items: Sized, noun: str) -> str:
    return f"{_n(len(items), noun)} {'has' if len(items) == 1 else 'have'}"


def _are(items: Sized) -> str:
    return _is(len(items))


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _of_copies(quality: Numbers, patient_column: str | None) -> Iterator[str]:
    """Yield the cases that are the same tissue: those of one patient, too, where all that they have is equal."""
    for what, rows in (("equal file", quality["copies"]), ("equal feature row", quality["equal_rows"])):
        for row in [row for row in rows if row["whole"] or not row["same_patient"]][:NAMED]:
            of = "one patient" if row["same_patient"] else "different patients"
            cases = f"Cases {few(row['cases'], NAMED)}" + (f" of {of}" if patient_column else "")
            same = f"{_n(row['files'], what)} ({duplicates.example(row)})"
            if row["whole"]:
                one = "one" if len(row["cases"]) == 2 else "all but one"
                yield (
                    f"{cases} have nothing but {same}: the same tissue counts {len(row['cases'])} times. Exclude "
                    f"{one}: remove its row from the labels table."
                )
            else:
                yield (
                    f"{cases} share {same}: the same tissue under several ids? Give them one patient, or remove all "
                    "but one."
                )


def wrong_stains(cohort: Numbers) -> Iterator[str]:
    """Yield the cases that have equal files in several stains."""
    for row in cohort["quality"]["stains"][:NAMED] if cohort["quality"] else ():
        yield (
            f"Case {row['case']} has {_n(row['files'], 'equal file')} in {listed(row['stains'])} "
            f"({' = '.join(row['examples'])}), all used: one of the names must be wrong."
        )


def _of_patches(quality: Numbers, by_class: str) -> Iterator[str]:
    """Yield what is odd about the content of the patches. by_class: of `_blank_by_class`."""
    images = quality["images"]
    whole = [row["case_id"] for row in quality["empty"] if row["empty"] == row["patches"]]
    if whole:
        what = "blank patches" if images else "constant features"
        yield f"{_have(whole, 'case')} nothing but {what}, so there is nothing to learn from: {few(whole, NAMED)}."
    part = sorted((row for row in quality["empty"] if row["empty"] < row["patches"]), key=_emptiness)
    if part:
        named = [f"{row['case_id']} ({row['empty']} of {row['patches']})" for row in part]
        blank = "blank (all pixels equal)" if images else "of one value (all features equal)"
        yield (
            f"{_have(part, 'other case' if whole else 'case')} patches that are {blank}, which the model treats as "
            f"tissue: {few(named, NAMED)}{by_class}."
        )
    if quality["same"]:
        yield f"{_have(quality['same'], 'case')} patches that are all identical: {few(quality['same'], NAMED)}."
    odd = [(row["kind"], row["used"]) for row in quality["kinds"] if images and not row["kind"].startswith("all ")]
    if odd := [(kind, used) for kind, used in odd if used["n"]]:
        named = "; ".join(f"{used['n']} {kind} (e.g. {used['examples'][0]})" for kind, used in odd)
        yield f"Odd images are used as they are: {named}. If they show no tissue, remove them."
    if len(quality["bits"]) > 1:
        named = (f"{row['bits']} bits ({_n(row['n'], 'image')}, e.g. {row['examples'][0]})" for row in quality["bits"])
        yield (
            f"16-bit grey images use different ranges: {', '.join(named)}. Each was scaled by its own, so equal tissue "
            "may differ in brightness: export all with 8 bits."
        )
    lost = quality["unreadable"]
    if lost["n"]:
        yield (
            f"{_n(lost['n'], 'patch')} of used cases cannot be read as an image, and {_is(lost['n'])} excluded: "
            f"{_first(lost)}."
        )


def _blank_by_class(cohort: Numbers) -> str:
    """Return `; 3% of the benign and 12% of the malignant patches`."""
    empty = {row["case_id"]: row["empty"] for row in cohort["quality"]["empty"]}
    used = [case for case in cohort["cases"] if case["status"] == USED]
    parts = []
    for name in cohort["classes"]:
        cases = [case for case in used if case["class"] == name]
        patches = sum(case["patches"] for case in cases)
        if patches:
            blank = sum(empty.get(case["case_id"], 0) for case in cases)
            parts.append(f"{blank / patches:.1%} in {of_class(name)}")
    return f"; of all patches {listed(parts)}" if len(parts) > 1 else ""


def _emptiness(row: Numbers) -> tuple:
    return -row["empty"] / row["patches"], natural(row["case_id"])


def _first(row: Numbers) -> str:
    """Return the examples, and how many more there are."""
    more = row["n"] - len(row["examples"])
    return ", ".join(row["examples"]) + (f" and {more} more" if more else "")

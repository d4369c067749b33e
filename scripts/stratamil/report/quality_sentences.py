"""Sentences on the quality of the patches, and the pictures of the worst."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stratamil.core.errors import few
from stratamil.core.wording import ends, listed, n_of, num, pct, span, thousands
from stratamil.evaluation.patch_quality import KINDS, LITTLE, telling
from stratamil.report.stain_sentences import strip

Numbers = Mapping[str, Any]
# What each kind means, for those who read the table.
MEANING = {
    "little tissue": f"less than {pct(LITTLE)} of the patch",
    "blurred": "under a tenth of the sharpness that is usual in the stain, for as much tissue",
    "ink": "5% or more of the colour of blue or green ink",
    "overexposed": "far more pure white than 90% of the stain's patches",
    "dark": "much darker than the stain's median",
    "black spots": "5% or more black, in a stain where that is rare: ink, pigment, a fold",
    "other colours": "colours that the stain's dyes do not mix to",
    "fewer bits": "16-bit grey, scaled by another range than the stain's other files",
}
COLUMNS = {"tissue": "tissue", "sharpness": "sharpness", "saturation": "saturation", "darkness": "darkness"}
COLUMNS |= {"residual": "residual"}
SHARES = ("tissue", "clipped", "pen", "black", "residual")
MOST = {  # of a measure, as a class has more of it
    "tissue": "share of tissue", "sharpness": "sharpness", "contrast": "contrast", "saturation": "saturation",
    "darkness": "darkness", "clipped": "share of pure white", "pen": "share of ink", "black": "share of black",
    "residual": "share of other colours",
}  # fmt: skip
LONGEST = 48  # characters of a path below a picture
INKED = 3  # patches with ink that a warning names
LIMITS = (
    "A suspect patch can be sound: look at the pictures. Red and black ink look like chromogens, pigment and carbon, "
    "and folds like dense tissue. Blur narrower than about 1% of a patch is not seen."
)


def of_page(cohort: Numbers, folder: Path | None) -> dict[str, Any]:
    """Return the prose of the section and its pictures. cohort: numbers of the page. folder: of patches."""
    found = cohort["patch_quality"]
    if not found:
        return {}
    kinds = [kind for kind in KINDS if found["suspects"][kind]]
    pictures = [
        {"title": picture(row), "tiles": tiles(row, folder), "words": f"{row['stain']}: {row['kind']}"}
        for row in found["pictures"]
    ]
    pictures += [
        {"title": f"excluded: {row['why']} ({thousands(row['n'])})", "tiles": tiles(row, folder), "words": "excluded"}
        for row in found["excluded"]
    ]
    return {
        "told": told(found),
        "probe": probe(found["probe"], cohort),
        "kinds": [(kind, MEANING[kind]) for kind in kinds],
        "columns": list(COLUMNS.items()),
        "medians": columns(found["rows"]),
        "pictures": pictures,
        "limits": LIMITS,
    }


def tiles(row: Numbers, folder: Path | None) -> list[dict[str, str]]:
    """Return each picture of a row with its case and path, whole and as it is shown; none without images."""
    named = zip(row["paths"], row["cases"]) if folder else ()
    return [
        {"image": strip([path], folder), "case": case, "path": path, "shown": without_middle(path)}
        for path, case in named
    ]


def without_middle(path: str) -> str:
    """Return a path of at most `LONGEST` characters: the middle of a longer one is left out, its ends name the file."""
    head = (LONGEST - 1) // 2
    return path if len(path) <= LONGEST else f"{path[:head]}…{path[head + 1 - LONGEST :]}"


def told(found: Numbers) -> str:
    """Say how many patches are excluded for their quality, and how many are suspect."""
    gone = sum(row["n"] for row in found["excluded"])
    whys = "; ".join([f"{row['why']}, {thousands(row['n'])}" for row in found["excluded"]])
    excluded = (
        f"{n_of(gone, 'patch')} {_is(gone)} excluded for {'its' if gone == 1 else 'their'} quality ({whys})."
        if gone
        else "No patch is excluded for its quality."
    )
    n = found["suspect"]
    kinds = listed([f"{kind} ({thousands(m)})" for kind, m in found["suspects"].items() if m])
    used = n_of(found["patches"], "used patch")
    if not n:
        return f"{excluded} None of {used} is suspect."
    several = ", for a patch can be of several kinds" if sum(found["suspects"].values()) > n else ""
    return f"{excluded} {thousands(n)} of {used} {_is(n)} suspect, and used: {kinds}{several}."


def probe(found: Numbers | None, cohort: Numbers) -> str:
    """Say how well quality alone tells the class."""
    if not found:
        return "Too few patients of a class to ask whether quality alone tells the class."
    auc, unit = found["auc"], "case" if cohort["patient_column"] is None else "patient"
    ci = "" if auc.low is None else f" (95% CI {span(auc.low, auc.high, 2)}, {n_of(found['patients'], unit)})"
    chance = "; the CI includes 0.5, which is chance" if auc.low is not None and auc.low <= 0.5 <= auc.high else ""
    return (
        f"From the quality of its patches alone, a regression tells the class of a {unit} that it has not seen with an "
        f"AUROC of {num(auc.value, 2)}{ci}{chance}."
    )


def lost(found: Numbers | None) -> list[str]:
    """Return sentences on cases and stains without a good patch."""
    if not found:
        return []
    emptied = [_emptied(found["emptied"])] if found["emptied"] else []
    return emptied + [_lost(row["stain"], row["cases"]) for row in found["lost"]]


def shortcut(found: Numbers | None, patients: bool) -> list[str]:
    """Return the sentence on quality that alone tells the classes."""
    if not telling(found):
        return []
    auc, best = found["probe"]["auc"], found["probe"]["best"]
    unit = "patient" if patients else "case"
    most = (
        f", most by the {MOST[best['measure']]} of {best['stain']}, larger in {best['more']} (alone "
        f"{num(best['auc'], 2)})"
        if best
        else ""
    )
    return [
        f"The quality of the patches alone tells the classes with an AUROC of {num(auc.value, 2)} (95% CI "
        f"{span(auc.low, auc.high, 2)}, {n_of(found['probe']['patients'], unit)}){most}. That can be biology, since "
        "dense tissue is dark and sharp, or how the classes were prepared and scanned: compare the pictures of both."
    ]


def inked(found: Numbers | None) -> list[str]:
    """Return the sentence on patches with ink that are used although the study could leave them out."""
    named = [
        f"{path} of case {case}"
        for row in (found["pictures"] if found else ())
        if row["kind"] == "ink"
        for path, case in zip(row["paths"], row["cases"])
        if case not in found["emptied"]  # which keep what would be excluded
    ]
    if not named:
        return []
    n = found["suspects"]["ink"]
    named = f"{', '.join(named[:INKED])} and {thousands(n - INKED)} more" if n > INKED else listed(named)
    return [
        f"{n_of(n, 'patch')} {'has' if n == 1 else 'have'} ink of a pen and {_is(n)} used: "
        f"{named}. A mark can tell the class, so leave them out by cohort.quality.pen: exclude."
    ]


def _emptied(cases: Sequence[str]) -> str:
    one = len(cases) == 1
    return (
        f"{n_of(len(cases), 'case')} {'has' if one else 'have'} nothing but patches that would be excluded for their "
        f"quality, so {'it keeps' if one else 'they keep'} them: {few(cases, 8)}. Take {'it' if one else 'them'} "
        "out of the labels table."
    )


def _lost(stain: str, cases: Sequence[str]) -> str:
    one = len(cases) == 1
    return (
        f"Of {n_of(len(cases), 'case')} every patch of {stain} is excluded for its quality: {few(cases, 8)}. The model "
        f"sees {'it' if one else 'them'} without this stain, though a faint or negative one can look like glass: look "
        "at the pictures of the excluded patches."
    )


def picture(row: Numbers) -> str:
    """Return what a strip of pictures shows: `melan: blurred (3 suspect), sharpness 12 to 40`."""
    share = row["measure"] in SHARES
    low, high = ((pct(v, 1) if share else num(v, 0 if v >= 10 else 2)) for v in (row["low"], row["high"]))
    name = MOST.get(row["measure"], row["measure"])
    values = f"{name} {ends(low, high)}"
    count = (
        f"{row['kind']}, {thousands(row['n'])} suspect"
        if row["n"]
        else f"none counts as {row['kind']}; these are nearest"
    )
    return f"{row['stain']}: {count} ({values})"


def shown(value: float | None, measure: str) -> str:
    """Return a median of the table."""
    if value is None:
        return ""
    return pct(value, 1 if measure == "residual" else 0) if measure in SHARES else num(value, 0 if value >= 10 else 2)


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


def columns(rows: Sequence[Numbers]) -> list[list[str]]:
    """Return the medians of each row of the table as text."""
    return [[shown(row[measure], measure) for measure in COLUMNS] for row in rows]

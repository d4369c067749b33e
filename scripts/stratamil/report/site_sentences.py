"""Sentences on sites: how classes are spread over them, how well features tell them, and how splits treat them."""

from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.cohort import sites
from stratamil.core.errors import few
from stratamil.core.wording import listed, n_of, num, span
from stratamil.stats.intervals import Estimate

LIMITS = (
    "Features that tell the site show that a model could use it, not that it does. Where sites differ in class, no "
    "analysis of this cohort can separate the two."
)
BELOW = 0.45  # AUROC that a reader takes for a finding
Numbers = Mapping[str, Any]


def of_page(cohort: Numbers) -> dict[str, Any]:
    """Return the prose of the section; empty without a column of sites."""
    found = cohort["sites"]
    if not found:
        return {}
    return {
        "head": head(found),
        "spread": spread(found, cohort["classes"]),
        "probe": probe(found["probe"], cohort["patient_column"] is not None),
        "limits": LIMITS,
    }


def head(found: Numbers) -> str:
    """Say how many sites there are, and whether they are tested by models that have seen them."""
    rows = found["rows"]
    tests, seen = (sum(len(row[name]) for row in rows) for name in ("tests", "seen"))
    if found["whole"]:
        how = "No split tests a site that it trains or validates on, so every test is on sites new to its models."
    elif seen == tests:
        how = "Splits have cases of a site in training and in test, so no test is on a site new to its models."
    else:
        how = (
            f"Splits have cases of a site in training and in test, except in {tests - seen} of {tests} tests of a site "
            "by a split: only these are on a site new to its models."
        )
    cases = n_of(sum(row["cases"] for row in rows), "case")
    return f"{cases} of {n_of(len(rows), 'site')} (column {found['column']}). {how}"


def spread(found: Numbers, classes: Sequence[str]) -> str:
    """Say whether the classes are spread evenly over sites."""
    if found["v"] is None:
        return "With one site there is nothing to compare."
    told = f"Cramér’s V {num(found['v'], 2)}, {p_value(found['p'])}, permutation test by patient"
    if sites.uneven(found):
        return f"Classes are spread unevenly over sites ({told})."
    known = "is" if found["p"] < sites.LEVEL else "is not shown to be"
    return f"The share of the classes {known} different between sites ({told})."


def probe(found: Numbers | None, patients: bool) -> str:
    """Say how well features, colours and classes tell the site of a case."""
    unit = "patient" if patients else "case"
    if found is None:
        return f"How well features tell the site was not measured: fewer than two sites have {sites.LEAST} {unit}s."
    rest = "" if len(found["sites"]) == 2 else ", mean of one site against the rest"
    beside = [
        f"{what} {num(found[name].value, 2)}{ci(found[name])}"
        for name, what in (("colour", "by the colours of the patches alone"), ("class", "by the class alone"))
        if found[name]
    ]
    auc = found["features"]
    knows = "The features tell" if tells(auc) else "The features are not shown to tell"
    left = f" Of too few {unit}s: {few(found['few'], 6)}." if found["few"] else ""
    return (
        f"{knows} the site of a case: AUROC "
        f"{num(auc.value, 2)}{ci(auc)}{rest}, {n_of(found['patients'], unit)} of {len(found['sites'])} sites, in "
        f"{found['folds']} folds of whole {unit}s; {listed(beside)}; 0.50 is chance.{below(found, unit)}{left}"
    )


def below(found: Numbers, unit: str) -> str:
    """Say what AUROCs below 0.5 mean; empty where there are none."""
    known = [found["features"].value, *(value for value in found["each"].values() if value is not None)]
    if min(known) >= BELOW:
        return ""
    return (
        f" Values below it mean no more than 0.50: with few {unit}s an AUROC out of fold scatters widely where nothing "
        "is to be told, on average slightly below."
    )


def tells(auc: Estimate) -> bool:
    """Return whether the site is told better than by chance."""
    return auc.low is not None and auc.low > 0.5


def ci(auc: Estimate) -> str:
    """Return ` (95% CI 0.80 to 0.90)`, or nothing."""
    return "" if auc.low is None else f" (95% CI {span(auc.low, auc.high, 2)})"


def p_value(p: float) -> str:
    """Return `p < 0.001` or `p = 0.03`."""
    return "p < 0.001" if p < 0.001 else f"p = {num(p, 3 if p < 0.01 else 2)}"

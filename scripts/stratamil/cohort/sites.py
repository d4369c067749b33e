"""Sites: hospitals, laboratories or scanners that cases come from, kept whole in splits, and how classes are spread."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stratamil.cohort.splits import SETS, Split
from stratamil.core.errors import UserError, few
from stratamil.core.names import natural
from stratamil.core.wording import of_class

UNEVEN, LEVEL = 0.2, 0.05  # Cramér's V, and p value, above and below which classes are spread unevenly over sites
SURPRISING = 3  # patients, all of whom have cases in several sites
LEAST = 5  # patients of a site: of fewer a classifier of sites learns nothing
SHOWN = 6  # sites, patients or cases that a line names
PERMUTATIONS = 5000
Numbers = dict[str, Any]  # of `spread`, as JSON has them


def check(cases: pd.DataFrame, classes: Sequence[str], n: int, setting: str) -> None:
    """Raise UserError with all that keeps n sets from being made of whole sites.

    cases: used ones with case_id, class, patient_id and site. setting: that names n, for messages.
    """
    there = _ordered(cases["site"])
    problems = [*_torn(cases)]
    if len(there) < n:
        leave = f"lower it to {len(there)}, which leaves one site out at a time{_validated(len(there))}, or "
        problems.append(
            f"{setting} is {n}, but there {_are(len(there), 'site')} ({few(there, SHOWN)}), and splits.by: site keeps "
            f"each in one set: {leave if len(there) > 1 else ''}set splits.by: patient"
        )
    else:
        for name in classes:
            of = _ordered(cases.loc[cases["class"] == name, "site"])
            if len(of) < n:
                remedy = f"lower it to {len(of)}{_validated(len(of))}, or " if len(of) > 1 else ""
                problems.append(
                    f"{setting} is {n}, but {of_class(name)} is in {len(of)} of {len(there)} sites ({few(of, SHOWN)}), "
                    f"and with splits.by: site each test set needs one of them: {remedy}set splits.by: patient"
                )
    if problems:
        raise UserError(*problems)


def impossible(cases: pd.DataFrame, n: int, setting: str, draw: Callable[..., Any]) -> str:
    """Return the line where n sets of whole sites cannot each hold every class. draw: as of `balance.folds`."""
    most = next((k for k in range(n - 1, 1, -1) if draw(cases, k, 0) is not None), None)
    lone = [f"{site} ({name})" for site, name in single_class(cases).items()]
    why = f"; of one class only: {few(lone, SHOWN)}" if lone else ""
    remedy = f"lower it to {most}{_validated(most)}, or " if most else ""
    return (
        f"{setting} is {n}: whole sites cannot be shared out so that every set holds every class{why}: {remedy}"
        "set splits.by: patient"
    )


def _validated(n: int) -> str:
    """Return what n splits need besides: of two splits neither can validate the other."""
    return " (with splits.validation)" if n == 2 else ""


def no_validation(test: pd.DataFrame, setting: str, by: str | None) -> str:
    """Return the line where what a test set leaves cannot be divided into training and validation."""
    sites = f"site{'s' if test['site'].nunique() > 1 else ''} {few(_ordered(test['site']), SHOWN)}"
    without, remedy = (sites, "set splits.by: patient") if by == "site" else ("a test set", f"lower {setting}")
    return (
        f"splits.validation: without {without} the rest cannot be divided into training and validation with every "
        f"class in both: {remedy}"
    )


def shared(split: Split, cases: pd.DataFrame, name: object) -> Iterator[str]:
    """Yield a line for sites with cases in the test set of a split and in another. name: of it, for messages.

    cases: used ones. Training and validation may share sites: that shows nothing of the sites that are tested.
    """
    site_of = dict(zip(cases["case_id"], cases["site"]))
    sets = {part: {site_of[case]: case for case in getattr(split, part) if case in site_of} for part in SETS}
    for part in SETS[:-1]:
        if both := sorted(set(sets[part]) & set(sets["test"]), key=natural):
            told = [f"{site} (case {sets[part][site]} and case {sets['test'][site]})" for site in both]
            yield (
                f"{name}: {part}_cases and test_cases share site {few(told, SHOWN)}: keep a site that is tested out of "
                "the others, or set splits.by: patient"
            )


def single_class(cases: pd.DataFrame) -> dict[str, str]:
    """Return the sites all of whose cases are of one class: site -> class."""
    classes = cases.groupby("site")["class"]
    lone = classes.first()[classes.nunique() == 1]
    return {site: lone[site] for site in sorted(lone.index, key=natural)}


def spread(cases: pd.DataFrame, classes: Sequence[str], tests: Mapping[str, Split], seed: int) -> dict[str, Any]:
    """Return how the classes are spread over sites, ready for JSON.

    cases: used ones. tests: the splits by name. Keys: rows (site, cases, patients, counts by class, tests: split ->
    cases that it tests; seen: those of these splits that also train or validate on the site), v (Cramér's V by
    patient, corrected for chance; Bergsma 2013), p (permutation test by patient; both None with one site), whole
    (whether no split tests a site that it has seen), several (how many patients have several cases), torn (how many of
    these in several sites).
    """
    test_of = {name: set(split.test) for name, split in tests.items()}
    used_of = {name: {*split.train, *split.val} for name, split in tests.items()}
    rows = []
    for site in _ordered(cases["site"]):
        of = cases[cases["site"] == site]
        tested = {name: int(of["case_id"].isin(ids).sum()) for name, ids in test_of.items()}
        rows.append(
            {
                "site": site,
                "cases": len(of),
                "patients": of["patient_id"].nunique(),
                "counts": {name: int((of["class"] == name).sum()) for name in classes},
                "tests": {name: n for name, n in tested.items() if n},
                "seen": [name for name, n in tested.items() if n and of["case_id"].isin(used_of[name]).any()],
            }
        )
    v, p = _association(cases, seed)
    whole = not any(row["seen"] for row in rows)
    of_patient = cases.groupby("patient_id")["site"].agg(["size", "nunique"])
    several, torn = (int((of_patient[name] > 1).sum()) for name in ("size", "nunique"))
    return {"rows": rows, "v": v, "p": p, "whole": whole, "several": several, "torn": torn}


def unseen(found: Numbers | None) -> int:
    """Return how many sites are tested, if each test is on sites that its models have not seen; else 0.

    found: of `spread`, None without a column of sites.
    """
    return sum(bool(row["tests"]) for row in found["rows"]) if found and found["whole"] else 0


def _association(cases: pd.DataFrame, seed: int) -> tuple[float | None, float | None]:
    """Return Cramér's V of class and site, corrected for chance, and its p value by permutation, both by patient."""
    patients = cases.drop_duplicates("patient_id")
    (site, sites), (kind, kinds) = (pd.factorize(patients[name]) for name in ("site", "class"))
    n, rows, columns = len(patients), len(sites), len(kinds)
    if min(rows, columns) < 2 or n < 3:
        return None, None
    due = np.outer(np.bincount(site), np.bincount(kind)) / n

    def square(kind: np.ndarray) -> float:
        seen = np.bincount(site * columns + kind, minlength=rows * columns).reshape(rows, columns)
        return float(((seen - due) ** 2 / due).sum())

    random, found = np.random.default_rng(seed), square(kind)
    as_large = sum(square(random.permutation(kind)) >= found - 1e-9 for _ in range(PERMUTATIONS))
    phi = max(0.0, found / n - (rows - 1) * (columns - 1) / (n - 1))
    sides = [k - (k - 1) ** 2 / (n - 1) for k in (rows, columns)]
    return float(np.sqrt(min(1.0, phi / max(min(sides) - 1, 1e-9)))), (as_large + 1) / (PERMUTATIONS + 1)


def _torn(cases: pd.DataFrame) -> Iterator[str]:
    """Yield the line on patients with cases in several sites."""
    several = cases.groupby("patient_id")["site"].nunique()
    told = []
    for patient in sorted(several.index[several > 1], key=natural):
        of = cases[cases["patient_id"] == patient].drop_duplicates("site")
        told.append(f"{patient} ({', '.join(f'case {row.case_id} in {row.site}' for row in of.itertuples())})")
    if told:
        yield (
            f"splits.by: site keeps sites and patients whole, but {_n(len(told), 'patient')} "
            f"{'has' if len(told) == 1 else 'have'} cases in several sites: {few(told, SHOWN)}: give these cases one "
            "site, or set splits.by: patient"
        )


def bridged(cases: pd.DataFrame, merged: pd.DataFrame) -> Iterator[str]:
    """Yield a line for patients of several sites that count as one, for they have the same tissue.

    cases: used ones. merged: the same, of duplicates.merged.
    """
    changed = merged["patient_id"].isin(merged.loc[merged["patient_id"] != cases["patient_id"], "patient_id"])
    for _, of in cases[changed].groupby(merged["patient_id"], sort=False):
        if of["site"].nunique() > 1:
            told = [f"case {row.case_id} in {row.site}" for row in of.drop_duplicates("site").itertuples()]
            yield (
                f"cohort.duplicates: merge with splits.by: site, but patients {few(_ordered(of['patient_id']), SHOWN)} "
                f"have the same tissue and are of several sites ({few(told, SHOWN)}): leave all but one out, or set "
                "splits.by: patient"
            )


def _ordered(sites: pd.Series) -> list[str]:
    return sorted(sites.unique(), key=natural)


def _are(n: int, noun: str) -> str:
    return f"is {n} {noun}" if n == 1 else f"are {n} {noun}s"


def uneven(found: Numbers) -> bool:
    """Return whether the classes are spread unevenly over sites. found: of `spread`."""
    return found["v"] is not None and found["v"] >= UNEVEN and found["p"] < LEVEL


def warnings(found: Numbers, classes: Sequence[str]) -> Iterator[str]:
    """Yield sentences on classes that go with sites: there a model can learn the site instead of morphology."""
    rows = found["rows"]
    if found["torn"] == found["several"] >= SURPRISING:
        yield (
            f"All {found['torn']} patients with several cases have them in several sites. Check whether "
            "cohort.patient_column and cohort.site_column name the right columns: splits keep these patients whole."
        )
    if uneven(found):
        named = classes[-1]
        large = [row for row in rows if row["patients"] >= 5] or rows
        share = {row["site"]: row["counts"][named] / row["cases"] for row in large}
        low, high = (pick(large, key=lambda row: share[row["site"]]) for pick in (min, max))
        whole = "" if found["whole"] else "; splits that keep sites whole would test on sites that it has not seen"
        yield (
            f"Classes are spread unevenly over sites (Cramér's V {found['v']:.2f}, {_p(found['p'])}): "
            f"{share[high['site']]:.0%} of {_n(high['cases'], 'case')} in {high['site']} are {named}, "
            f"{share[low['site']]:.0%} of {low['cases']} in {low['site']}. A model can learn the site instead of "
            f"morphology{whole}."
        )
    lone = [
        f"{row['site']} ({_n(row['cases'], 'case')}, all {next(name for name in classes if row['counts'][name])})"
        for row in rows
        if sum(map(bool, row["counts"].values())) == 1
    ]
    if lone and len(rows) > 1:
        yield (
            f"{_n(len(lone), 'site')} {'has' if len(lone) == 1 else 'have'} cases of one class only: "
            f"{few(lone, SHOWN)}. There a model that knows the site is always right, and nothing shows whether it "
            "knows more."
        )


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _n(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"

"""Sentences on columns of the labels table: who is in the cohort, where the model errs, what images add."""

from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.core.wording import ends, n_of, num
from stratamil.report.decision_sentences import ci, listed
from stratamil.stats.intervals import Estimate

UNLIKE = 0.1  # a standardised difference that is usually taken to matter (Austin 2009)
LEVEL = 0.05


def cell(row: Mapping[str, Any], group: str, level: str | None = None) -> str:
    """Return a cell of Table 1: `62 (51 to 70)`, of dates `2024-02 (2023-11 to 2024-05)`, of a level `12 (40%)`."""
    found = row["cells"][group]
    if not found["known"]:
        return "none known"
    if row["numeric"]:
        return f"{plain(found['median'])} ({ends(plain(found['q1']), plain(found['q3']))})"
    n = found["counts"].get(level, 0)
    return f"{n} ({round(100 * n / found['known'])}%)"


def plain(value: float | str) -> str:
    """Return a number of a user's column in at most five digits; a date by its month."""
    return value[:7] if isinstance(value, str) else f"{value:.5g}".replace("-", "−")


def unlike(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say in which columns the classes, and the test sets, differ."""
    between = [
        f"{row['name']} ({num(row['by_class'], 2)})"
        for row in rows
        if row["by_class"] is not None and row["by_class"] > UNLIKE and not row["apart"]["classes"]
    ]
    between += [f"{row['name']} (no value in common)" for row in rows if row["apart"]["classes"]]
    if between:
        said = f"The classes differ in {listed(between)}: standardised difference above {UNLIKE}."
    else:
        said = f"In no column do the classes differ by a standardised difference above {UNLIKE}."
    whole = [row for row in rows if row["apart"]["tests"]]
    told = [f"{row['name']} ({n_of(row['apart']['tests'], 'test set')})" for row in whole]
    said += f" Test sets have no value in common with the other cases in {listed(told)}." if told else ""
    finite = [row for row in rows if row["by_split"] is not None and row not in whole]
    worst = max(finite, key=lambda row: row["by_split"], default=None)
    if worst is None:
        return said
    most = "A test set differs most from the other cases in"
    return f"{said} {f'Of the others, a{most[1:]}' if told else most} {worst['name']} ({num(worst['by_split'], 2)})."


def counted(rows: Sequence[Mapping[str, Any]], unit: str) -> str:
    """Say what is counted, and in whom cases of a patient differ. unit: patient, or case."""
    dated = any(isinstance(row["cells"]["all"].get("median"), str) for row in rows)
    said = f"The table counts {unit}s: n (%) of those known, or median (quartiles){'; dates by month' * dated}."
    varied = [f"{row['varied']} in {row['name']}" for row in rows if row["varied"]]
    if varied:
        said += f" Where the cases of a patient differ ({listed(varied)}) the first counts."
    return said


def groups(rows: Sequence[Mapping[str, Any]], unit: str) -> str:
    """Say how subgroups were made and what is not given."""
    split = {row["kind"]: row["split"] for row in rows if row["split"]}
    named = {how: [name for name, own in split.items() if own == how] for how in split.values()}
    made = [f"{listed(names)} in {how}" for how, names in named.items()]
    said = f"Numbers and dates are split: {listed(made)} of the cases. " if made else ""
    return f"{said}No figure is given where fewer than 5 {unit}s of a class make it."


def error(found: Mapping[str, Any], unit: str) -> str:
    """Say whether the model's error, or a shift of its probabilities, goes with any column."""
    rows, n = found["rows"], len(found["rows"])
    test = (
        f"permutation test of error and shift by {unit} within classes"
        + (f", p adjusted for {n} columns" if n > 1 else "")
        + f", {found['patients']} {unit}s"
    )
    hits = [row for row in rows if row["adjusted"] < LEVEL]
    if not hits:
        least = min(rows, key=lambda row: row["adjusted"])
        names = listed([row["name"] for row in rows]) if n < 2 else f"any of {listed([row['name'] for row in rows])}"
        return (
            f"Neither the model's error nor a shift of its probabilities is shown to go with {names} "
            f"(smallest p {p_value(least['adjusted'])}; {test})."
        )
    errors = [f"{row['name']} (p {p_value(row['adjusted'])}; {_how(row)})" for row in hits if row["by"] == "error"]
    said = [f"The model's error goes with {listed(errors)}."] if errors else []
    said += [_shifted(row) for row in hits if row["by"] == "shift"]
    return f"{' '.join(said)} {test[0].upper()}{test[1:]}."


def _shifted(row: Mapping[str, Any]) -> str:
    """Say in which direction the probabilities of a class go with a column."""
    shift, begin = row["shift"], f"The model's probabilities of {row['shift']['class']} are shifted by {row['name']}"
    if row["numeric"]:
        where = f"{'higher' if shift['effect'] > 0 else 'lower'} where it is larger"
        return f"{begin}: {where} (p {p_value(row['adjusted'])}; rank correlation {num(shift['effect'], 2)})."
    least, most = (pick(shift["levels"], key=shift["levels"].get) for pick in (min, max))
    low, high = (_signed(shift["levels"][level]) for level in (least, most))
    size = f"on average {low} and {high} from the mean of cases of the same class"
    return f"{begin}: lower in {least} than in {most} (p {p_value(row['adjusted'])}; {size})."


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + num(value, 2)


def p_value(p: float) -> str:
    """Return `= 0.03`, `= 0.004` or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {num(p, 3 if p < 0.01 else 2)}"


def _how(row: Mapping[str, Any]) -> str:
    if row["numeric"]:
        return f"rank correlation {num(row['effect'], 2)}"
    least, most = (pick(row["levels"], key=row["levels"].get) for pick in (min, max))
    return f"mean error {num(row['levels'][most], 2)} in {most}, {num(row['levels'][least], 2)} in {least}"


COLUMN_LIMITS = (
    "The comparisons of subgroups were not planned and are not corrected for their number. A column that goes with the "
    "error, or with a shift, need not cause it. Where test sets are whole sites, each site was tested by other models, "
    "which may be the reason."
)


def images_add(found: Mapping[str, Any], headline: str) -> str:
    """Say what the images add to the clinical columns, by the AUROC of the headline."""
    of = "fold_mean" if headline == "fold_mean" else "model"
    which = "mean of folds" if headline == "fold_mean" else "pooled"
    value = {row["name"]: row[headline] for row in found["rows"]}
    names, gain = listed(found["columns"]), found["images_add"][of]
    if gain.value is None:
        return f"What the images add to {names} is not defined: a test set lacks a class."
    both = (
        f"AUROC, {which}, {num(value['clinical'].value, 2)}{ci(value['clinical'])} by {names} alone, "
        f"{num(value['images'].value, 2)}{ci(value['images'])} by the images alone, "
        f"{num(value['both'].value, 2)}{ci(value['both'])} by both"
    )
    return f"{_gain(gain, names)}: {both}."


def _gain(gain: Estimate, names: str) -> str:
    size = f"difference {num(gain.value, 2)}{ci(gain)}"
    if gain.low is None or gain.low <= 0 <= gain.high:
        held = "" if gain.low is None else "; the CI includes 0"
        return f"The images are not shown to add to {names}, {size}{held}"
    if gain.low > 0:
        return f"The images add to {names}, {size}"
    return f"With the images the prediction is worse than by {names} alone, {size}"


def filled(found: Mapping[str, Any]) -> str:
    """Say how missing values were filled in; empty where none is missing."""
    missing = [f"{name} in {n} case{'' if n == 1 else 's'}" for name, n in found["missing"].items() if n]
    if not missing:
        return ""
    return (
        f"Missing: {listed(missing)}. They get the median, or the most common category, of the cases that the "
        "regression is fitted on, and an indicator of being missing."
    )


CLINICAL_LIMITS = (
    "The regressions are fitted on the cases that a split does not test, which takes in scores of models that were "
    "trained on its test cases: see Statistics in the documentation. Columns were chosen by the user."
)

"""Sentences of the page of a validation on new cases, be they later ones of one department or of another."""

from collections.abc import Mapping
from typing import Any

from stratamil.core.wording import n_of, num, pct, span
from stratamil.deploy import decisions as frozen
from stratamil.evaluation import by_column
from stratamil.report import clinical_sentences, decision_sentences, new_case_words, sentences
from stratamil.report.sentences import Card, quoted
from stratamil.stats.intervals import Estimate

SECTIONS = {
    "result": "Result",
    "flow": "Flow of cases",
    "cohorts": "Development and new cases",
    "calibration": "Calibration",
    "decisions": "Decisions",
    "decision": "Net benefit",
    "subgroups": "Subgroups",
    "cases": "Cases",
    "flags": "Flags",
    "shift": "Patches and colours",
    "methods": "Methods and inputs",
    "checklists": "Checklist",
}
SHOWN = ("roc_auc", "sensitivity", "specificity", "accuracy")  # of a subgroup
FEW = 100  # of a class: a validation needs as many events and non-events at least (Vergouwe 2005; Collins 2016)
CALIBRATED = 200  # cases of a class that a calibration curve needs (Van Calster 2016)

Numbers = Mapping[str, Any]  # of `validation.numbers`


def sections(found: Numbers) -> dict[str, str]:
    """Return the sections that there are: id -> name."""
    lacking = set() if found["positive"] else {"calibration", "decision"}
    return {name: title for name, title in SECTIONS.items() if name not in lacking}


def headline(found: Numbers) -> str:
    """Say the AUROC on the new cohort and how it compares."""
    auc = found["ensemble"]["roc_auc"]
    if auc.value is None:
        return f"The AUROC is not defined: the {sentences.cases(found)} are not of every class."
    new = sentences.cases(found).replace(" case", " new case", 1)
    return f"AUROC {quoted(auc)} on {new}: {sentences.by_class(found['counts'])}."


def compared(found: Numbers) -> str:
    """Say whether the AUROC differs from that out of fold, both of all cases ranked together by the ensemble."""
    gap, before = found["difference"], found["out_of_fold"]
    if gap.low is None:
        return "No CI of the difference from the out-of-fold AUROC is defined."
    pooled = f"{'of the ensemble, all test cases pooled' if before['averaged'] else 'of all test cases pooled'}"
    pooled = f"the out-of-fold AUROC {pooled}, {num(before['roc_auc'].value, 2)}"
    ends = f"{signed(gap)} (95% CI {span(gap.low, gap.high, 2)})"
    if gap.holds(0):
        text = f"The difference from {pooled}, is {ends}: the CI includes 0, so no difference is shown."
    else:
        text = f"The AUROC is {'higher' if gap.low > 0 else 'lower'} than {pooled}: difference {ends}."
    if before["fold_mean"].value is None:
        return text
    mean = num(before["fold_mean"].value, 2)
    return f"{text} The mean of the test sets, {mean}, ranks cases within a test set alone: it is not compared."


def signed(estimate: Estimate) -> str:
    """Return a difference with its sign."""
    return ("+" if (estimate.value or 0) > 0 else "") + num(estimate.value, 2)


def cards(found: Numbers) -> list[Card]:
    """Return the figures of the first screen."""
    auc, before, gap = found["ensemble"]["roc_auc"], found["out_of_fold"]["roc_auc"], found["difference"]
    result = [
        Card("AUROC, new cases", num(auc.value, 2), f"95% CI {span(auc.low, auc.high, 2)}"),
        Card("AUROC out of fold", num(before.value, 2), f"95% CI {span(before.low, before.high, 2)}; {which(found)}"),
        Card("Difference", signed(gap), f"95% CI {span(gap.low, gap.high, 2)}; different patients"),
    ]
    rows = {row["name"]: row for row in found["decisions"][-1]["rows"]}
    for name in ("sensitivity", "specificity") if found["positive"] else ("accuracy",):
        row = rows[name]
        share = f"{row['k']} of {row['estimate'].n}; 95% CI {span(row['estimate'].low, row['estimate'].high, 2)}"
        result.append(Card(name.capitalize(), num(row["estimate"].value, 2), f"{share}; {at(found)}"))
    return result


def which(found: Numbers) -> str:
    """Say what the out-of-fold AUROC is of."""
    averaged = found["out_of_fold"]["averaged"]
    return f"{f'ensemble of {averaged}, ' if averaged else ''}all test cases pooled"


def at(found: Numbers) -> str:
    """Say how cases are decided."""
    return "most probable class" if found["threshold"] is None else f"frozen threshold {num(found['threshold'], 2)}"


def notes(found: Numbers, flags: Any, predicted: int, facts: Mapping[str, Any]) -> list[str]:
    """Return what to read with care."""
    least = min(found["counts"].values())
    lines = []
    if least < FEW:
        lines.append(f"{least} cases in the smaller class: too few for narrow CIs; {FEW} are usually asked for.")
    lines += new_case_words.grave(flags, predicted, facts["reference"])
    return lines or ["No case is known from training, and none is far from it."]


def calibration(found: Numbers) -> str:
    """Say whether the probabilities are too high or low, and too extreme or not: as given, and at the temperature."""
    return " ".join(_calibrated(row, found["positive"]) for row in found["calibration"] if not row["updated"])


def _calibrated(row: Mapping[str, Any], positive: str) -> str:
    """Say it of one row of the table, by its name."""
    large, slope, name = row["in_the_large"], row["slope"], row["name"]
    text = f"{name[0].upper()}{name[1:]}, the probabilities expect {pct(row['predicted'])} {positive}"
    text += f"; {pct(row['observed'])} are."
    if large.low is None:
        return text
    if large.holds(0):
        text += f" Calibration in the large is {quoted(large)}: no bias is shown."
    else:
        text += f" They are too {'low' if large.low > 0 else 'high'}: in the large {quoted(large)}."
    if slope.low is None:
        return f"{text} The slope is not defined: the classes do not overlap."
    if slope.holds(1):
        return f"{text} The slope is {quoted(slope)}; the CI includes 1."
    return f"{text} The slope is {quoted(slope)}: they are too {'moderate' if slope.low > 1 else 'extreme'}."


CALIBRATION_LIMITS = (
    "Updated rows are fitted to these same cases: the best that an update can reach, not what it would do for the next "
    "cases. Nothing else on this page uses them."
)
SHIFT_LIMITS = (
    "Unlike patches need not be predicted worse. Staining, scanner and file format all change the colour; this page "
    "cannot tell which."
)
SUBGROUP_LIMITS = "Subgroups were not chosen for these cases; many are too small to show a difference."


def decisions(found: Numbers) -> str:
    """Say at what threshold, and where it comes from."""
    if found["threshold"] is None:
        return "Each case is called the most probable class."
    return (
        f"The threshold {num(found['threshold'], 2)} was chosen in the development study and is frozen. "
        "For comparison, decisions at 0.5."
    )


def cohorts(found: Numbers) -> str:
    """Say in what the cohorts differ most."""
    rows = [row for row in found["characteristics"]["rows"] if row["difference"] is not None]
    unlike = [row for row in rows if row["difference"] > clinical_sentences.UNLIKE]
    names = [f"{row['name']} ({num(row['difference'], 2)})" for row in unlike]
    names += [f"{row['name']} (no value in common)" for row in found["characteristics"]["rows"] if row.get("apart")]
    limit = f"standardised difference above {clinical_sentences.UNLIKE}"
    if not names:
        return f"In no row do the new cases differ from the development by a {limit}."
    return f"The new cases differ from the development in {decision_sentences.listed(names)}: {limit}."


def counted(patients_known: bool, unit: str) -> str:
    """Say what is counted in each cohort. patients_known: of the development; unit: of the new cases."""
    first = "patients, each by the first of their cases"
    before, now = (first if known else "cases" for known in (patients_known, unit == "patient"))
    whom = f"{now}" if before == now else f"in the development {before}; here {now}"
    return f"n (%) of those known, or median (quartiles). Counted: {whom}. SMD: standardised difference."


def defined(found: Numbers) -> bool:
    """Return whether any subgroup has a figure."""
    return any(row[name].value is not None for row in found["groups"] for name in SHOWN if name in row)


def groups(found: Numbers, unit: str) -> str:
    """Say how subgroups were made, or why there are none."""
    if not found["groups"]:
        return "No column of the labels table, and no stain, divides the cases."
    if not defined(found):
        return f"No figure is given: no subgroup has {by_column.LEAST} {unit}s of a class."
    return clinical_sentences.groups(found["groups"], unit)


def errors(found: Numbers) -> str:
    """Say how many cases are decided wrongly, and whether flags tell them from the others."""
    off = [row for row in found["per_case"] if row["predicted"] != row["true"]]
    wrong, flagged = len(off), sum(bool(row["flags"]) for row in off)
    if not wrong:
        return f"All {n_of(found['cases'], 'case')} are decided correctly ({at(found)})."
    right, others = found["cases"] - wrong, sum(bool(row["flags"]) for row in found["per_case"]) - flagged
    flags = f" With a flag: {flagged} of {wrong} wrong and {others} of {right} right ones." if flagged + others else ""
    return f"{wrong} of {n_of(found['cases'], 'case')} {'is' if wrong == 1 else 'are'} wrong ({at(found)}).{flags}"


def methods(found: Numbers, facts: Mapping[str, Any], unit: str) -> list[str]:
    """Return how the numbers were made."""
    members, samples = len(facts["members"]), found["bootstrap"]["samples"]
    return [
        f"Each case was predicted by {n_of(members, 'model')} from the bundle alone; their mean probability counts. "
        "Model, threshold and temperature were frozen before the labels were read.",
        f"CIs of AUROC, losses and net benefit: {samples:,} bootstrap samples of {unit}s, score interval for few or "
        f"separated {unit}s. Shares: Wilson. Calibration: logistic regression, sandwich variance by {unit}.",
        "Difference of AUROC: both are of all cases ranked together by their mean probability. Its CI "
        "is made of the two CIs (square and add: Newcombe 1998; Zou and Donner 2008), as if no patient were in both "
        "cohorts. A bundle holds no ids of patients, so check that yourself. "
        "Out of fold, the models of one split predicted a case; here all do, which can explain part of the difference.",
        "Later cases of the same department, scanner and staining test the model over time; only cases from elsewhere "
        "make an external validation.",
        "Calibration in the large: intercept with slope 1, log odds. Slope: 1 is right, below 1 is too extreme.",
    ]


def of_page(found: Numbers, flags: Any, predicted: int, facts: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """Return all sentences of the page."""
    curve = found["decision_curve"]
    return {
        "sections": sections(found),
        "header": f"The model of “{facts['title']}” on cases that it was not developed on.",
        "headline": headline(found),
        "compared": compared(found),
        "cards": cards(found),
        "notes": notes(found, flags, predicted, facts),
        "cohorts": cohorts(found),
        "counted": counted(facts["reference"]["development"]["patients_known"], unit),
        "calibration": calibration(found) if found["calibration"] else "",
        "calibration_limits": CALIBRATION_LIMITS,
        "decisions": f"{decisions(found)} {frozen.told(facts['decision'], facts['classes'])}".rstrip(),
        "net_benefit": decision_sentences.net_benefit(curve, found["positive"], found["cases"]) if curve else "",
        "groups": groups(found, unit),
        "grouped": defined(found),
        "subgroup_limits": SUBGROUP_LIMITS,
        "errors": errors(found),
        "shift": new_case_words.shifted(facts["reference"]),
        "shift_limits": SHIFT_LIMITS,
        "methods": methods(found, facts, unit),
        "checklist": "Where this page answers the items of TRIPOD+AI; what is for the author is not on it.",
    }

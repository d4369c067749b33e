"""Sentences on the cases: the cohort, errors, attention, and whether attention explains anything."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.cohort.manifest import EXCLUDED
from stratamil.core.names import UNKNOWN_STAIN
from stratamil.core.wording import listed, n_of, num, pct, percentages, thousands
from stratamil.report.cohort_sentences import unread
from stratamil.report.sentences import first_sentence, quoted

PRESET = r", read from .*? and checked:"  # of what a cohort says of preset splits: the cohort page names the files
CHANCE = 0.5
EQUAL_SHARE = (0.95, 1.05)  # mean weight of a stain, as a multiple of an equal share, that counts as equal
UNIFORM = 0.98  # normalised entropy beyond which attention is close to equal weights
# Of each source of patches the words of its unit; a reason without its setting; reasons of files that are no patches.
LOST = {
    "files of the patches folder": ("patch file", ""),
    "rows of the feature files": ("row", " of the feature files"),
}
OTHER_STAIN = "stain not of the study"
NO_PATCH = ("copy", "same bytes", "hidden", "in a hidden", "not an image", "not a regular file")
OPEN = 5  # warnings that the report itself shows


def cohort(cohort: Mapping[str, Any], flow: Mapping[str, Any]) -> list[str]:
    """Return what the cohort is, how it was split and what was excluded, a line each.

    Its first warnings are flags of the first screen.
    """
    total, stains = cohort["total"], cohort["stains"]
    of = "" if cohort["patient_column"] is None else f" of {n_of(total['patients'], 'patient')}"
    plan = re.sub(PRESET, ";", cohort["plan"])
    counts = {row["class"]: row["cases"] for row in cohort["by_class"]}
    shares = percentages(list(counts.values()))
    classes = listed([f"{n} {name} ({share}%)" for (name, n), share in zip(counts.items(), shares)])
    return [
        f"{n_of(total['cases'], 'case')}{of}: {classes}.",
        f"{n_of(total['patches'], 'patch')} in {n_of(total['slices'], 'slice')}, each a tissue section in one stain "
        f"({listed(stains)}){unread(flow)}.",
        excluded(flow),
        f"Splits: {plan[0].lower()}{plan[1:]}",
        *warned(cohort["warnings"][cohort["grave"] + cohort.get("lost", 0) :]),
    ]


def warned(warnings: Sequence[str]) -> list[str]:
    """Return the first of these warnings, each in a sentence, and how many more there are."""
    more = len(warnings) - OPEN
    lines = [f"Warning: {first_sentence(line)}" for line in warnings[:OPEN]]
    return [*lines, *([f"{n_of(more, 'more warning')} on the cohort page."] if more > 0 else [])]


def excluded(flow: Mapping[str, Any]) -> str:
    """Say how many labelled cases were predicted, why the others were not, and that some have no label."""
    steps = flow["steps"]
    parts = [part for step in steps for part in step["left_out"] if part["cases"]]
    reasons = [f"{part['reason'].removesuffix(' excluded')}: {part['cases']}" for part in parts]
    n = sum(part["cases"] for part in parts)
    begin = f"Of {n_of(steps[0]['cases'], 'labelled case')}, {steps[-1]['cases']} were predicted out of fold"
    why = f"{n} {'was' if n == 1 else 'were'} excluded ({', '.join(reasons)})" if reasons else "none was excluded"
    bare = sum(part.get("cases", 0) for source in flow["sources"] for part in source["left_out"])
    no_label = f" {n_of(bare, 'case')} with patches {'has' if bare == 1 else 'have'} no label." if bare else ""
    return f"{begin}; {why}.{no_label}" + "".join(f" {line}" for line in files_excluded(flow))


def files_excluded(flow: Mapping[str, Any]) -> list[str]:
    """Say how many files of patches or features took no part, and why; nothing of copies and of what is no patch."""
    lines = []
    for source in flow["sources"]:
        opened = [part for part in source["left_out"] if not part["reason"].startswith(NO_PATCH)]
        lost = [part for part in opened if "cases" not in part] if source["name"] in LOST else []
        reasons = {part["reason"].replace(UNKNOWN_STAIN, OTHER_STAIN): part["n"] for part in lost}
        lines += [f"{_gone(reasons, *LOST[source['name']])}."] if lost else []
        marked = {part["why"]: part["n"] for part in source.get("unopened", []) if part["reason"] == EXCLUDED}
        lines += [f"{_gone(marked, 'feature file', '', ' in the manifest')}."] if marked else []
    return lines


def _gone(reasons: Mapping[str, int], noun: str, of: str, where: str = "") -> str:
    """Return `2 feature files were excluded in the manifest (cannot be read: 2)`."""
    n, why = sum(reasons.values()), ", ".join(f"{why}: {thousands(n)}" for why, n in reasons.items() if why)
    return f"{n_of(n, noun)}{of} {'was' if n == 1 else 'were'} excluded{where}{why and f' ({why})'}"


def errors(rows: Sequence[Mapping[str, Any]], unit: str, several: bool) -> str:
    """Say how many cases are wrong, and how many only in some trainings. rows: `per_case`; unit: of a repetition."""
    wrong = [case for case in rows if case["right"] == 0]
    mixed = [case for case in rows if 0 < case["right"] < case["times"]]
    total = n_of(len(rows), "case")
    if not several:
        text = f"{len(wrong)} of {total} {'is' if len(wrong) == 1 else 'are'} misclassified"
        return f"{text}." if wrong else f"None of {total} is misclassified."
    text = f"{len(wrong)} of {total} {'is' if len(wrong) == 1 else 'are'} misclassified in every {unit}"
    return f"{text}; {n_of(len(mixed), 'case')} only in some."


def attention(found: Mapping[str, Any] | None) -> str:
    """Say which stain has the largest weight by true class, and how many patches share the attention."""
    if not found:
        return "No run has an attention summary."
    stains = found["stains"]
    ratios = [row["ratio"] for row in stains if row["ratio"] is not None]
    if len(stains) == 1:
        text = f"The only stain, {stains[0]['stain']}, has all stain attention"
    elif ratios and all(EQUAL_SHARE[0] <= ratio <= EQUAL_SHARE[1] for ratio in ratios):
        text = "Each stain has on average within 5% of an equal share of attention, so none stands out"
    elif not any(row["most"] for row in stains):
        text = "No stain has the largest weight in any case"
    else:
        text = "; ".join(_of_class(group) for group in found["by_class"])
        text = text[0].upper() + text[1:]
    return f"{text}{_undecided(found)}. {_spread(found)}".strip()


def _of_class(group: Mapping[str, Any]) -> str:
    most = max(row["most"] for row in group["stains"])
    if not group["told"] or not most:
        return f"in {group['class']} cases no stain stands out"
    top = [row for row in group["stains"] if row["most"] == most]
    names, medians = (listed(each) for each in ([row["stain"] for row in top], [num(row["median"], 2) for row in top]))
    counts = f"{most} of {group['told']} cases"
    if len(top) > 1:
        how = f"{names} had the largest weight equally often (each in {counts}; median weights {medians})"
    else:
        how = f"{names} most often had the largest weight ({counts}; median weight {medians})"
    return f"in {group['class']} cases {how}"


def _undecided(found: Mapping[str, Any]) -> str:
    parts = []
    if found["equal"]:
        parts.append(f"in {found['equal']} of {found['cases']} cases the largest weights are equal")
    if found["single"] and len(found["stains"]) > 1:
        parts.append(f"{n_of(found['single'], 'case')} {'has' if found['single'] == 1 else 'have'} one stain only")
    return "".join(f"; {part}" for part in parts)


def _spread(found: Mapping[str, Any]) -> str:
    parts = []
    if found["effective_patches"] is not None:
        n = num(found["effective_patches"], 0)
        parts.append(f"on average the attention of a case is as spread as over {n} patches of equal weight")
    entropy = found["normalised_entropy"]
    if entropy is not None:
        close = ", close to equal weights" if entropy > UNIFORM else ""
        parts.append(f"normalised entropy is {num(entropy, 2)} (1 is uniform){close}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def known_signal(truth: Mapping[str, Any] | None) -> str:
    """Say how well attention ranks patches that are known to have the signal; empty where none are known."""
    if not truth:
        return ""
    of = f"{truth['class']} " if truth["class"] else ""
    text = (
        f"In {truth['cases']} predictions of {of}cases with known signal patches, attention ranks these above others "
        f"with AUROC {quoted(truth['mean_auc'])}; chance is {CHANCE}"
    )
    if truth.get("contribution_auc") is None or truth.get("margin_auc") is None:
        return f"{text}.{_readers(truth)}"
    return (
        f"{text}. Ranked by signed contribution to the logit the AUROC is {num(truth['contribution_auc'], 2)}, by "
        f"contribution to the margin {num(truth['margin_auc'], 2)}.{_readers(truth)}"
    )


def _readers(truth: Mapping[str, Any]) -> str:
    """Say what attention scores by each reader's marks, and how far the readers agree; empty where none is named."""
    told, found, text = truth.get("readers") or [], truth.get("agreement"), ""
    if told:
        by = [f"{row['reader']} {num(row['mean_auc'], 2)} ({n_of(row['cases'], 'prediction')})" for row in told]
        text = f" By the marks of each reader the AUROC of attention is: {listed(by)}."
    if found:
        kappa = "not defined" if found["kappa"] is None else num(found["kappa"], 2)
        text += (
            f" On the {n_of(found['patches'], 'patch')} that several of {found['readers']} readers marked, "
            f"{found['statistic']} is {kappa}; {pct(found['same'])} of pairs of marks agree."
        )
    return text


def faithfulness(found: Mapping[str, Any] | None) -> str:
    """Say whether attention explains the predictions, by predicted class."""
    if not found:
        return "Faithfulness was not checked, so whether predictions rest on the attended patches is unknown."
    return " ".join(filter(None, (found["overall"], found["by_class"])))

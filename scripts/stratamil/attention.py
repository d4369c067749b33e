"""What the attention of a split says, as tables and text: which stain, slice and patch got how much.

Everywhere, `patches` is the table of evaluate: one row a patch of a test case; columns `COLUMNS`, contribution_<class>.
A weight says little alone, for it shrinks with the number of its rivals: beside it stands its ratio to an equal share,
weight x N. A patch is known by its `path` only; equal weights are ranked by path, whatever the order of the rows.
The ranking within a case was made by evaluate and stands in the table: pictures and other tables follow it.
"""

import csv
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stratamil import names, tables
from stratamil.errors import UserError
from stratamil.metrics import roc_auc
from stratamil.ranking import COMPARED, EQUAL, alike, rank

WEIGHTS = ["patch_weight", "slice_weight", "stain_weight", "effective_weight"]
COLUMNS = ["case_id", "stain", "slice_id", "patch", "path", *WEIGHTS, *COMPARED]
PREDICTION_COLUMNS = ["case_id", "true_label", "predicted_label"]
PLACE = ["x", "y"]  # on the slide, of patches without a file
TOLERANCE = 1e-3  # float32 weights of some thousand patches add up to 1 within this, and contributions to a logit
NO_PICTURES = (
    "There are no pictures of patches, for their features were made elsewhere: a patch is known by the row of its\n"
    "feature file, and by its coordinates on the slide where that file has them."
)
UNIFORM = "none: all patches weigh the same"
EQUAL_NOTE = (
    "Equal: the two highest stain weights are the same, or all patches weigh the same, so that slices and stains\n"
    "weigh only what their number of patches gives them."
)
SHOWN = 5  # problems of one kind in an error
CAVEAT = (
    "Attention is what the model weighed, not why it decided: it is no explanation by itself.\n"
    "A weighed patch may speak for either class, or for none: compare its contributions in patch_attention.parquet."
)


@dataclass(frozen=True)
class Case:
    """A test case: its labels, the probability of the predicted one, and its patches, in the table's order."""

    id: str
    true_label: str
    predicted_label: str
    probability: float
    patches: pd.DataFrame

    @property
    def stains(self):
        """Weight of each stain that the case has, the stains in the table's order."""
        return self.patches.groupby("stain", sort=False, observed=True)["stain_weight"].first()

    def slices(self, stain):
        """Slices of a stain, highest weight first (ties: the table's order): columns slice_id, weight, patches."""
        groups = self.patches[self.patches["stain"] == stain].groupby("slice_id", sort=False)
        slices = groups.agg(weight=("slice_weight", "first"), patches=("path", "size")).reset_index()
        return slices.sort_values("weight", ascending=False, kind="stable", ignore_index=True)

    def of_slice(self, stain, slice_id):
        """The patches of one slice."""
        return self.patches[(self.patches["stain"] == stain) & (self.patches["slice_id"] == slice_id)]

    @property
    def ranked(self):
        """The patches by their rank in the case, as `rank` gives them."""
        ranked = self.patches.sort_values("rank", ignore_index=True)
        return ranked.assign(ratio=ranked["effective_ratio"].astype(float))

    @property
    def evidence(self):
        """What each patch adds for the predicted class, path -> number; below 0 it speaks against it.

        Its contribution to that logit less the mean of those to the others: with two classes, to the log odds.
        """
        own = f"contribution_{names.column(self.predicted_label)}"
        others = [name for name in self.patches if name.startswith("contribution_") and name != own]
        values = self.patches[own].astype(float) - self.patches[others].astype(float).mean(axis=1)
        return dict(zip(self.patches["path"], values))

    @property
    def uniform(self):
        """Whether all patches weigh the same: the weights of slices and stains then only tell how many they have."""
        return len(self.patches) > 1 and alike(self.patches["effective_weight"])

    @property
    def most_attended(self):
        """The stain of the highest weight, or `EQUAL` where all patches weigh the same or the highest two stains do."""
        weights = self.stains.sort_values(ascending=False, kind="stable")
        tied = len(weights) > 1 and (self.uniform or alike(weights.iloc[:2]))
        return EQUAL if tied else weights.index[0]

    @property
    def per_patch(self):
        """Mean ratio of the patches of each stain to an equal share, highest first: above 1 is more than its number."""
        ratios = self.patches["effective_ratio"].astype(float).groupby(self.patches["stain"], sort=False).mean()
        return ratios.sort_values(ascending=False, kind="stable")

    @property
    def most_per_patch(self):
        """The stain whose patches weigh most on average, or `EQUAL` where no stain's do."""
        ratios = self.per_patch
        return EQUAL if len(ratios) > 1 and alike(ratios.iloc[:2]) else ratios.index[0]


def read_cases(patch_attention, predictions, stains):
    """The test cases with their patches, in natural order of case_id.

    patch_attention, predictions: files that evaluate wrote for one split and seed. stains: the order of the stains.
    Raises UserError if a column is missing, the files are not of the same cases, or weights do not add up.
    """
    patches, predicted = pd.read_parquet(patch_attention), tables.read(predictions)
    classes = [name.removeprefix("prob_") for name in predicted if name.startswith("prob_")]
    lacking = [
        f"{file}: column {column} is missing: make the file again with evaluate"
        for file, table, wanted in (
            (patch_attention, patches, [*COLUMNS, *(f"contribution_{name}" for name in classes)]),
            (predictions, predicted, [*PREDICTION_COLUMNS, *(f"logit_{name}" for name in classes)]),
        )
        for column in wanted
        if column not in table
    ]
    if lacking:
        raise UserError(*lacking)
    patches = patches.astype(dict.fromkeys(("case_id", "stain", "slice_id", "path"), str))
    problems = [f"{predictions}: {problem}" for problem in _disagreements(patches, predicted, classes)]
    problems += [f"{patch_attention}: {problem}" for problem in _faults(patches, stains)]
    if problems:
        raise UserError(*(f"{problem}: make both files again with evaluate" for problem in problems))
    patches = patches.sort_values("stain", key=lambda s: s.map(stains.index), kind="stable")
    groups = dict(list(patches.groupby("case_id", sort=False)))
    rows = sorted(predicted.to_dict("records"), key=lambda row: names.natural(row["case_id"]))
    return [_case(row, groups[row["case_id"]].reset_index(drop=True)) for row in rows]


def _case(row, patches):
    label = str(row["predicted_label"])
    return Case(row["case_id"], str(row["true_label"]), label, row[f"prob_{names.column(label)}"], patches)


def positive_class(predictions):
    """The positive class of a predictions file as part of a column name: that of the last column prob_<class>."""
    return [name for name in pd.read_csv(predictions, nrows=0) if name.startswith("prob_")][-1].removeprefix("prob_")


def _disagreements(patches, predicted, classes):
    """What shows that the two tables are not of one evaluation."""
    have, wanted = set(patches["case_id"]), set(predicted["case_id"])
    for case in sorted(have ^ wanted, key=names.natural):
        yield f"case {case} has " + ("patches but no prediction" if case in have else "a prediction but no patches")
    for case in predicted.loc[predicted["case_id"].duplicated(), "case_id"]:
        yield f"case {case} is predicted twice"
    for label in predicted["predicted_label"].unique():
        if f"prob_{names.column(str(label))}" not in predicted:
            yield f"class {label} has no column of probabilities"
    if have == wanted and predicted["case_id"].is_unique:
        yield from _of_other_runs(patches.groupby("case_id"), predicted.set_index("case_id"), classes)


def _of_other_runs(groups, predicted, classes):
    """Cases whose contributions do not explain their logits: logit less contributions is the bias, one for all."""
    wrong = set()
    for name in classes:
        explained = groups[f"contribution_{name}"].sum().reindex(predicted.index).astype(float)
        bias = predicted[f"logit_{name}"] - explained
        wrong |= set(bias.index[~((bias - bias.median()).abs() <= TOLERANCE)])
    for case in sorted(wrong, key=names.natural):
        yield f"case {case}: its logits are not those of these patches: the two files are of different runs"


def _faults(patches, stains):
    for stain in sorted(set(patches["stain"]) - set(stains)):
        yield f"stain {stain} is none of {', '.join(stains)}"
    if patches["path"].duplicated().any():
        yield f"patch {patches.loc[patches['path'].duplicated(), 'path'].iloc[0]} stands twice"
    weights = patches[WEIGHTS]
    if not (np.isfinite(weights).all(axis=None) and (weights >= 0).all(axis=None)):
        yield "a weight is negative or no number"
        return
    totals = weights["effective_weight"].astype(float).groupby(patches["case_id"]).sum()
    for case, total in totals[(totals - 1).abs() > TOLERANCE].items():
        yield f"case {case}: effective weights add up to {total:.4f} instead of 1"
    ranked = patches.sort_values(["case_id", "rank"])
    groups = ranked.groupby("case_id", sort=False)
    unlike = (groups.cumcount() + 1 != ranked["rank"]) | (groups["effective_weight"].diff() > 0)
    for case in sorted(set(ranked.loc[unlike, "case_id"]), key=names.natural):
        yield f"case {case}: its ranks are not those of its effective weights"


def choose(cases, wanted=None, most=None, tested=()):
    """The cases to draw pictures of: those with the ids `wanted` (None: all), at most `most` (None: any number).

    Ids are matched as everywhere: 038 is 38. tested: ids of all test cases of the study, this split's or not.
    Raises UserError for wanted ids that are in none.
    """
    if wanted is not None:
        wanted = {names.case_id(text): text for text in wanted}
        known = {names.case_id(text) for text in (*tested, *(case.id for case in cases))}
        if unknown := sorted((wanted[case] for case in wanted.keys() - known), key=names.natural) if tested else []:
            raise UserError(
                f"attention.cases: {', '.join(unknown)}: in no test set of the study: take it out, or look for it in"
                " excluded.csv of the inventory"
            )
        cases = [case for case in cases if names.case_id(case.id) in wanted]
    return cases[:most]


def read_truth(file, patches):
    """Whether each patch carries the signal: Series of 1, 0, or NaN where `file` has no row, index path.

    file: table with columns file (path relative to the patches folder, as in `patches`) and signal (0 or 1).
    Raises UserError for other values, a file listed twice, or a table without any of the patches.
    """
    try:
        truth = pd.read_csv(file, dtype=str, keep_default_na=False, sep=None, engine="python", encoding="utf-8-sig")
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise UserError(f"{file}: not a CSV table in UTF-8: {error}: save it as CSV UTF-8") from None
    lacking = [column for column in ("file", "signal") if column not in truth]
    if lacking:
        raise UserError(*(f"{file}: column {column} is missing: the columns are file and signal" for column in lacking))
    problems = [
        f"{file}: row {i + 2}: signal is {value}: write 0 or 1"
        for i, value in truth.loc[~truth["signal"].isin(["0", "1", "0.0", "1.0"]), "signal"].head(SHOWN).items()
    ]
    problems += [
        f"{file}: row {i + 2}: {value} is listed twice: remove one"
        for i, value in truth.loc[truth["file"].duplicated(), "file"].head(SHOWN).items()
    ]
    found = truth.set_index("file")["signal"]
    if not problems and not patches["path"].isin(found.index).any():
        problems.append(f"{file}: none of the patches is in it: file must be the path below the patches folder")
    if problems:
        raise UserError(*problems)
    return found.reindex(patches["path"]).astype(float)


def ends(ranked, n):
    """The first n and the last n of a ranking, the latter from the last: {"top": ..., "bottom": ...}."""
    return {"top": ranked.head(n), "bottom": ranked.tail(n).iloc[::-1]}


def stains_of(cases, stains):
    """Those of `stains`, in their order, that at least one of the cases has."""
    there = {stain for case in cases for stain in case.patches["stain"].unique()}
    return [stain for stain in stains if stain in there]


def effective_number(weights):
    """1 / sum(w^2) of weights that sum to 1: how many equal ones would be as concentrated (inverse Simpson index)."""
    return float(1 / np.square(np.asarray(weights, dtype=float)).sum())


def normalised_entropy(weights):
    """-sum(w ln w) / ln N of weights that sum to 1: 1 is an equal share for all. NaN for a single weight."""
    w = np.asarray(weights, dtype=float)
    positive = w[w > 0]
    return float(-(positive * np.log(positive)).sum() / np.log(len(w))) + 0.0 if len(w) > 1 else math.nan


def slice_pattern(slices):
    """`one slice`, or the highest with its weight and the effective number of all, as in `match_2 0.84 (1.4 of 2)`.

    slices: as of `Case.slices`. Where all weigh the same, `2 equal`.
    """
    if len(slices) == 1:
        return "one slice"
    if alike(slices["weight"]):
        return f"{len(slices)} {EQUAL}"
    number = effective_number(slices["weight"])
    return f"{slices['slice_id'][0]} {slices['weight'][0]:.2f} ({number:.1f} of {len(slices)})"


def summary(cases, stains, truth=None):
    """One row a case: labels, stain weights, how concentrated its attention is, and how well it finds the truth.

    truth: as of `read_truth`; adds n_signal and attention_auc (empty unless every patch of the case has a truth, and
    for the latter unless both kinds occur).
    """
    return pd.DataFrame([_summary_row(case, stains, truth) for case in cases])


def _summary_row(case, stains, truth):
    weights, effective = case.stains, case.patches["effective_weight"]
    row = {
        "case_id": case.id,
        "true_label": case.true_label,
        "predicted_label": case.predicted_label,
        "probability": case.probability,
        "n_patches": len(case.patches),
        "most_attended_stain": case.most_attended,
        "most_attended_per_patch": case.most_per_patch,
        **{f"stain_weight_{names.column(stain)}": _rounded(weights.get(stain, math.nan)) for stain in stains},
        "normalised_entropy": _rounded(normalised_entropy(effective)),
        "effective_patches": round(effective_number(effective), 3),
    }
    if truth is not None:
        signal = truth[case.patches["path"]].to_numpy()
        known = not np.isnan(signal).any()
        row["n_signal"] = str(int(signal.sum())) if known else ""
        row["attention_auc"] = _rounded(roc_auc(signal, effective)) if known else None
    return row


def _rounded(value):
    return None if value is None else round(float(value), 6)


def truth_scores(cases, truth, positive):
    """How well attention tells signal patches of positive cases from their others; chance is .5.

    positive: as of `positive_class`. Scored are its cases with a known truth of all patches, of both kinds. AUC in a
    case, then the mean over cases: `mean_auc` of the effective weight, `contribution_auc` of the contribution to the
    positive logit, `margin_auc` of that minus the mean contribution to the other logits (with two classes, exactly the
    log odds). None where no case could be scored.
    """
    scored = []
    for case in cases:
        signal = truth[case.patches["path"]].to_numpy()
        if names.column(case.true_label) == positive and not np.isnan(signal).any() and 0 < signal.sum() < len(signal):
            scored.append({name: roc_auc(signal, score) for name, score in _scores(case.patches, positive).items()})
    table = pd.DataFrame(scored, columns=["mean_auc", "contribution_auc", "margin_auc"])
    spread = table["mean_auc"].std(ddof=1) if len(table) > 1 else None
    means = {name: _rounded(table[name].mean()) if len(table) else None for name in table}
    return {"positive_class": positive, "cases": len(table), **means, "sd_auc": _rounded(spread)}


def _scores(patches, positive):
    own = f"contribution_{positive}"
    others = [name for name in patches if name.startswith("contribution_") and name != own]
    contribution = patches[own].astype(float)
    return {
        "mean_auc": patches["effective_weight"],
        "contribution_auc": contribution,
        "margin_auc": contribution - patches[others].astype(float).mean(axis=1),
    }


def top_patches(case, percent):
    """The share of a case's patches with the highest effective weight: `percent` of them rounded up, at least one."""
    n = math.ceil(round(len(case.patches) * percent / 100, 9))
    return case.ranked.head(n)


def top_table(cases, percent):
    """`top_patches` of all cases, with their labels."""
    tops = [
        top_patches(case, percent).assign(true_label=case.true_label, pred_label=case.predicted_label) for case in cases
    ]
    table = pd.concat(tops, ignore_index=True).rename(columns={"slice_id": "slice"})
    place = [name for name in PLACE if name in table]
    columns = ["case_id", "stain", "slice", "patch", "path", *place, *WEIGHTS, "true_label", "pred_label", *COMPARED]
    return table[columns]


def top_text(cases, top, stains, percent, heading):
    """The summary of `top_table` for readers: totals, patches by stain, and how many slices hold a top patch."""
    patches = pd.concat([case.patches for case in cases], ignore_index=True)
    slices, all_slices = ["case_id", "slice"], ["case_id", "slice_id"]
    by_stain = [["stain", "top patches", "share", "all patches", "share", "slices with one", "of slices"]]
    for stain in stains:
        here, everywhere = top[top["stain"] == stain], patches[patches["stain"] == stain]
        by_stain.append(
            [
                stain,
                *_count(len(here), len(top)),
                *_count(len(everywhere), len(patches)),
                str(len(here.drop_duplicates(slices))),
                str(len(everywhere.drop_duplicates(all_slices))),
            ]
        )
    by_case = [["case", "true", "predicted", "top", "of", "hold", *stains, "slices with one", "of slices"]]
    for case in cases:
        here = top[top["case_id"] == case.id]
        by_case.append(
            [
                case.id,
                case.true_label,
                case.predicted_label,
                str(len(here)),
                str(len(case.patches)),
                f"{here['effective_weight'].sum():.1%}",
                *(str((here["stain"] == stain).sum()) if stain in case.stains.index else "-" for stain in stains),
                str(len(here.drop_duplicates(["stain", "slice"]))),
                str(len(case.patches.drop_duplicates(["stain", "slice_id"]))),
            ]
        )
    held = top.groupby("case_id")["effective_weight"].sum()
    return "\n".join(
        [
            f"Patches with the highest effective weight: the top {percent} % of each case",
            heading,
            "",
            f"{len(top)} of {len(patches)} patches of {len(cases)} cases.",
            f"Attention of a case that they hold: median {held.median():.1%}, {held.min():.1%} to {held.max():.1%}.",
            "",
            "By stain",
            *aligned(by_stain, left=1),
            "",
            "By case (hold: share of the case's attention; stains: top patches, - if the case lacks the stain)",
            *aligned(by_case, left=3),
            "",
            CAVEAT,
            "",
        ]
    )


def _count(n, total):
    return str(n), f"{n / total:.1%}"


def summary_text(cases, stains, heading, pictures=True):
    """The attention of each case for readers: most attended stain, stain weights, slice pattern, slice weights.

    pictures: whether there are galleries; without, it says so, and where the most attended patch of each slice lies.
    """
    overview = [["case", "true", "predicted", "p", "patches", "most attended", *stains, "per patch", "slice pattern"]]
    for case in cases:
        weights = case.stains
        pattern = "; ".join(f"{stain} {slice_pattern(case.slices(stain))}" for stain in weights.index)
        pattern = UNIFORM if case.uniform else pattern
        overview.append(
            [
                case.id,
                case.true_label,
                case.predicted_label + ("" if case.true_label == case.predicted_label else " (wrong)"),
                f"{case.probability:.3f}",
                str(len(case.patches)),
                case.most_attended,
                *(f"{weights[stain]:.3f}" if stain in weights.index else "-" for stain in stains),
                _per_patch(case),
                pattern,
            ]
        )
    most = Counter(case.most_attended for case in cases)
    return "\n".join(
        [
            "Attention of the test cases",
            heading,
            "",
            CAVEAT,
            *([] if pictures else ["", NO_PICTURES]),
            "",
            "Most attended stain: "
            + ", ".join(f"{stain} in {most[stain]}" for stain in [*stains, *([EQUAL] if EQUAL in most else [])])
            + " cases.",
            "",
            "Cases (p: probability of the predicted class; under each stain its weight, - if the case lacks it;",
            "per patch: the stain whose patches weigh most on average, and how many equal shares that is, for a stain",
            "may be attended most because it has the most patches;",
            "slice pattern: the highest slice and its weight; in brackets the effective number of slices, 1/sum(w^2),",
            "of how many there are: 1 of 3 is all on one slice, 3 of 3 is an equal share)",
            *([EQUAL_NOTE] if EQUAL in most or any(case.uniform for case in cases) else []),
            *aligned(overview, left=3, right_end=len(overview[0]) - 2),
            "",
            "Slices (x equal: weight x number of slices of the stain, so 1 is an equal share; effective patches: of the"
            " slice)",
            *aligned(_slice_rows(cases), left=3),
            "",
        ]
    )


def _per_patch(case):
    return (
        case.most_per_patch if case.most_per_patch == EQUAL else f"{case.most_per_patch} {case.per_patch.iloc[0]:.2f}"
    )


def _slice_rows(cases):
    placed = all(name in cases[0].patches for name in PLACE)
    rows = [["case", "stain", "slice", "weight", "x equal", "patches", "effective patches"] + ["most at x, y"] * placed]
    for case in cases:
        for stain in case.stains.index:
            slices = case.slices(stain)
            for slice_id, weight, patches in slices.itertuples(index=False):
                here = case.of_slice(stain, slice_id)
                number = effective_number(here["patch_weight"])
                share = f"{weight:.4f}", f"{weight * len(slices):.2f}"
                row = [case.id, stain, slice_id, *share, str(patches), f"{number:.1f}"]
                rows.append([*row, _place(rank(here, "patch_weight").iloc[0])] if placed else row)
    return rows


def _place(patch):
    """The coordinates of a patch, or a dash where its file has none."""
    return "-" if pd.isna(patch["x"]) else f"{patch['x']:.0f}, {patch['y']:.0f}"


def aligned(rows, left, right_end=None):
    """Lines of rows of text in columns: the first `left` columns and those from `right_end` on flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = range(left, len(widths) if right_end is None else right_end)
    return [
        "  ".join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]

"""The flow of cases and patches, from labels table and patches to test predictions (TRIPOD+AI, CLAIM).

Nothing is lost on the way: what goes into a step comes out of it or is left out with a reason.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from stratamil.cohort.inventory import NO_PATCHES, ONLY_UNKNOWN, USED, of_files
from stratamil.cohort.manifest import UNOPENED
from stratamil.cohort.splits import Split
from stratamil.core.errors import UserError

Flow = dict[str, Any]  # as JSON has it
UNLABELLED = "no row in the labels"
UNSPLIT = "in no split"
UNTESTED = "in no test set"
UNREADABLE = "unreadable as an image"
MARKS = ("1", "x", "yes", "true")  # in a manifest's column `excluded`: no reason
FEW, LONGEST = 4, 60  # reasons of files that were not opened, and letters of one, that a flow chart has room for


def follow(
    cases: pd.DataFrame,
    excluded: pd.DataFrame,
    splits: Mapping[str, Split],
    classes: Sequence[str],
    *,
    unreadable: pd.DataFrame | None = None,
    predicted: pd.Series | None = None,
    patients: bool = True,
    images: bool = True,
) -> Flow:
    """Follow every row, file, case and patch, to the splits or, with what was predicted, to the test predictions.

    cases: all rows of cases.csv. excluded: excluded.csv. splits: name -> Split. unreadable: DataFrame of case_id, path,
    reason of patches that have no features or are excluded, with `why` if that is not UNREADABLE of all. predicted:
    Series of the number of patches in the bag of each test case, by case_id. classes: K names. patients: whether they
    are known; else their number is None. images: whether patches are files, or rows of feature files.
    Returns {"sources": [{"name", "unit", "n", "left_out": [{"reason", "n"}], "kept"}], "steps": [{"name", "cases",
    "patients", "patches", "counts", "left_out": [{"reason", "cases", "patches"}]}]}; what is left out is left out
    before the step. In sources `cases` are those that have patches and no label, and `unopened` has reason, why and n
    of feature files, of whose rows nothing is known.
    Raises RuntimeError if anything is neither kept nor left out: a fault of the program.
    """
    known, used = cases.set_index("case_id"), cases[cases["status"] == USED].set_index("case_id")
    split = used.index.isin([case for one in splits.values() for case in [*one.train, *one.val, *one.test]])
    unread = pd.DataFrame(columns=["case_id"]) if unreadable is None else unreadable
    unread = unread[unread["case_id"].isin(used.index[split])]
    read = used["n_patches"].sub(unread["case_id"].value_counts(), fill_value=0).reindex(used.index)
    lost = left_out_of(UNSPLIT, used[~split]) + _of_patches(unread)
    steps = [*begin(cases, excluded), ("in the splits", used.assign(n_patches=read)[split], lost)]
    if predicted is not None:
        done = known[known.index.isin(predicted.index)].assign(n_patches=predicted)
        untested = used.assign(n_patches=read)[split & ~used.index.isin(predicted.index)]
        lost = left_out_of(UNTESTED, untested)
        steps.append(("predicted out of fold", done, lost))
    steps = [step(name, here, before, classes, patients) for name, here, before in steps]
    result = {"sources": sources(known, excluded, images), "steps": steps}
    check(result)
    return result


def begin(cases: pd.DataFrame, excluded: pd.DataFrame) -> list[tuple[str, pd.DataFrame, list[Flow]]]:
    """Return the steps to the used cases: name, the cases that are left (index case_id), what is left out before it."""
    known = cases.set_index("case_id")
    of_class = excluded["reason"].str.startswith("class code ") & (excluded["kind"] == "case")
    bare = excluded["reason"].isin((NO_PATCHES, ONLY_UNKNOWN)) & (excluded["kind"] == "case")
    return [
        ("in the labels table", known, []),
        ("of a class of the study", known[known["class"] != ""], _reasons(excluded[of_class])),
        ("with patches: used", known[known["status"] == USED], _reasons(excluded[bare])),
    ]


def bags(predictions: Iterable[pd.DataFrame]) -> pd.Series:
    """Return the number of patches in the bag of each case, by case_id.

    predictions: tables of test predictions. Raises UserError if they disagree on it.
    """
    sizes = pd.concat([table[["case_id", "patches"]] for table in predictions]).drop_duplicates()
    different = sorted(sizes.loc[sizes.duplicated("case_id"), "case_id"])
    if different:
        raise UserError(
            f"cases {', '.join(different[:8])}: runs saw different numbers of patches: evaluate all of them again"
        )
    return sizes.set_index("case_id")["patches"]


def check(flow: Flow) -> None:
    """Raise RuntimeError at the first step that loses or gains anything."""
    for source in flow["sources"]:
        _balance(source["name"], source["n"], source["kept"], source["left_out"], "n")
    for before, after in zip(flow["steps"], flow["steps"][1:]):
        for unit in ("cases", "patches"):
            _balance(f"{after['name']} ({unit})", before[unit], after[unit], after["left_out"], unit)


def left_out(
    excluded: pd.DataFrame,
    splits: Mapping[str, Split],
    unreadable: pd.DataFrame,
    cases: pd.DataFrame,
    predicted: pd.Series,
) -> pd.DataFrame:
    """Return all that takes no part in the test predictions, as one table: kind, name, reason, detail, patches.

    The inventory's excluded.csv, and after it used cases that no split or test set holds, and patches that are
    unreadable, or excluded for their quality.
    """
    split = {case for one in splits.values() for case in [*one.train, *one.val, *one.test]}
    later = [
        ("case", case.case_id, UNTESTED if case.case_id in split else UNSPLIT, "", case.n_patches)
        for case in cases[(cases["status"] == USED) & ~cases["case_id"].isin(predicted.index)].itertuples()
    ]
    later += [("patch", row.path, why, row.reason, 1) for row, why in zip(unreadable.itertuples(), whys(unreadable))]
    return pd.concat([excluded, pd.DataFrame(later, columns=excluded.columns)], ignore_index=True)


def sources(known: pd.DataFrame, excluded: pd.DataFrame, images: bool) -> list[Flow]:
    """Return the labels table and the patches or feature files, down to the labelled cases and their patches."""
    files, rows = (excluded[excluded["kind"] == kind] for kind in ("file", "row"))
    strangers = excluded[excluded["reason"] == UNLABELLED]
    patches, strange = int(known["n_patches"].sum()), int(strangers["patches"].sum())
    lost = of_files(excluded).groupby(files["reason"]).sum().sort_values(ascending=False, kind="stable")
    reasons = [{"reason": reason, "n": int(n)} for reason, n in lost.items() if n]
    cases = f"{len(strangers)} case{'s' if len(strangers) > 1 else ''}"
    reasons += [{"reason": f"{UNLABELLED} ({cases})", "n": strange, "cases": len(strangers)}] if strange else []
    repeated = [{"reason": reason, "n": int(n)} for reason, n in rows["reason"].value_counts().items()]
    return [
        {
            "name": "rows of the labels table",
            "unit": "rows",
            "n": len(known) + len(rows),
            "left_out": repeated,
            "kept": len(known),
        },
        {
            "name": "files of the patches folder" if images else "rows of the feature files",
            "unit": "files" if images else "rows",
            "n": patches + strange + int(lost.sum()),
            "left_out": reasons,
            "kept": patches,
            "unopened": [] if images else _unopened(files),
        },
    ]


def _unopened(files: pd.DataFrame) -> list[Flow]:
    """Return how many feature files were not opened, by reason: those of one kind by what the manifest says of them."""
    here, result = files[files["reason"].isin(UNOPENED)], []
    for reason, part in here.groupby("reason"):
        whys = part["detail"].str.partition(":")[0].str.strip().map(lambda why: "" if why.lower() in MARKS else why)
        counts = whys.value_counts() if whys.nunique() <= FEW else {"": len(part)}
        told = {textwrap.shorten(why, LONGEST, placeholder="…"): int(n) for why, n in counts.items()}
        result += [{"reason": reason, "why": why, "n": n} for why, n in told.items()]
    return sorted(result, key=lambda part: -part["n"])


def step(name: str, here: pd.DataFrame, before: list[Flow], classes: Sequence[str], patients: bool) -> Flow:
    return {
        "name": name,
        "cases": len(here),
        "patients": int(here["patient_id"].nunique()) if patients else None,
        "patches": int(here["n_patches"].sum()),
        "counts": {label: int((here["class"] == label).sum()) for label in classes},
        "left_out": before,
    }


def _reasons(rows: pd.DataFrame) -> list[Flow]:
    """Return what excluded.csv says of these cases, by reason."""
    return [
        {"reason": reason, "cases": len(part), "patches": int(part["patches"].sum())}
        for reason, part in rows.groupby("reason")
    ]


def left_out_of(reason: str, rows: pd.DataFrame) -> list[Flow]:
    return [{"reason": reason, "cases": len(rows), "patches": int(rows["n_patches"].sum())}] if len(rows) else []


def whys(lost: pd.DataFrame) -> pd.Series:
    """Return why each patch takes no part. lost: as `unreadable` of `follow`."""
    return lost["why"] if "why" in lost else pd.Series(UNREADABLE, index=lost.index)


def _of_patches(lost: pd.DataFrame) -> list[Flow]:
    counts = whys(lost).value_counts(sort=False)
    return [{"reason": why, "cases": 0, "patches": int(n)} for why, n in counts.items()]


def _balance(name: str, before: int, after: int, left_out: list[Flow], unit: str) -> None:
    gone = sum(part[unit] for part in left_out)
    if before != after + gone:
        raise RuntimeError(f"flow: {name}: {before} before, but {after} kept and {gone} left out")

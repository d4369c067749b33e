"""What a folder of patches and a labels table hold, read as proposed: what is counted, and what the cohort allows."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from stratamil.cohort import labels, patch_files
from stratamil.cohort.manifest import Entry
from stratamil.cohort.patch_files import LeftOut
from stratamil.core import ids
from stratamil.core.errors import UserError, few, in_rows
from stratamil.core.names import UNKNOWN_STAIN, case_id, class_code, natural
from stratamil.core.wording import counted
from stratamil.workflow import propose_labels
from stratamil.workflow.propose_labels import Meaning
from stratamil.workflow.propose_names import Names
from stratamil.workflow.study_file import USUAL

EXAMPLES = 5
REASONS = 8  # named, for files left out
FEWEST = 3  # splits: validation cases are the next split's test cases
# Input sizes in pixels that suit the small encoder. Real patches of 48 and 74 px were measured at 128; at 96 those of
# 74 px gave a lower AUROC (docs/how-to/encoders.md), so small patches are enlarged to 128.
SIDES = (128, 160, 192, 224)
SMALL_ENCODER = {"encoder": "efficientnet_lite0", "pooling": "global"}


@dataclass(frozen=True)
class Reading:
    """What the names say, as the inventory will have it.

    patches: DataFrame of case_id, stain, slice_id, patch and path, with x and y where names tell places. levelled: of
    patch_files.Scan. entries: rows of the manifest, where files hold features; each row of `patches` is then a slice.
    """

    patches: pd.DataFrame
    left_out: list[LeftOut]
    levelled: Mapping[str, str] = field(default_factory=dict)
    entries: list[Entry] | None = None

    @property
    def unit(self) -> str:
        """What a row of `patches` is."""
        return "patch" if self.entries is None else "slice"

    @property
    def cases(self) -> dict[str, str]:
        """The cases: normal form -> as it is spelt."""
        return {case_id(text): text for text in self.patches["case_id"].unique()}

    def found(self, labelled: Collection[str]) -> tuple[int, int, int]:
        """Return how many ids the labels have, how many of them have patches, and how many cases are in no label."""
        table, there = {case_id(text) for text in labelled if text}, set(self.cases)
        return len(table), len(table & there), len(there - table)


def read(names: Names, root: Path, labelled: Collection[str]) -> Reading:
    """Read all file names below `root` as proposed. labelled: ids of the labels table.

    Raises UserError if none is that of a patch.
    """
    scanned = patch_files.scan(root, names.grammar)
    if scanned.patches.empty:
        told = few([f"{each.name}: {each.why}" for each in scanned.left_out])
        raise UserError(f"{root}: no file is a patch ({told}): give the folder of patch images")
    settled = patch_files.settled(scanned, root, [text for text in labelled if text], list(names.stains))
    return Reading(settled.patches, settled.left_out, settled.levelled)


def examples(reading: Reading) -> Iterator[Any]:
    """Yield some patches from all over the list, of each stain in turn: rows with the columns of `Reading.patches`."""
    step = max(1, len(reading.patches) // EXAMPLES)
    stains = list(reading.patches["stain"].unique())
    for i, start in enumerate(range(0, len(reading.patches), step)[:EXAMPLES]):
        here = reading.patches.iloc[start : start + step]
        of_stain = here[here["stain"] == stains[i % len(stains)]]
        yield next((of_stain if len(of_stain) else here).itertuples())


def accounts(reading: Reading, names: Names, labelled: Collection[str]) -> list[str]:
    """Return what was counted, a sentence each. labelled: ids of the labels table."""
    table, there = {case_id(text): text for text in labelled if text}, reading.cases
    both = [case for case in table if case in there]
    images = reading.entries is None
    by = ", by the names of their files" if images else ""
    lines = [f"{counted(len(reading.patches), reading.unit)} of {counted(len(there), 'case')}{by}."]
    if reading.left_out:
        reasons = Counter(each.why for each in reading.left_out).most_common()
        example = {each.why: "" if images else f", e.g. {each.name}" for each in reversed(reading.left_out)}
        told = few([f"{reason}: {n:,}{example[reason]}" for reason, n in reasons], REASONS)
        by = " by name or size" if images else ""
        lines.append(f"Left out{by}: {counted(len(reading.left_out), 'file')} ({told}).")
    counts = reading.patches["stain"].value_counts()
    spelt = {name: [text for text in texts if text != name] for name, texts in names.stains.items()}
    also = {name: f" (also spelt {', '.join(texts)})" if texts else "" for name, texts in spelt.items()}
    told = [f"{name} {n:,}{also.get(name, '')}" for name, n in counts.items()]
    lines.append(f"{'Patches' if images else 'Slices'} of each stain: {'; '.join(told)}.")
    lines.append(f"{counted(len(table), 'case')} in the labels (column {names.case_column}), {len(both)} with patches.")
    lines += [f"{ids.told(reading.levelled, 'Case ids in names')}."] * bool(reading.levelled)
    for what, cases in (
        ("in the labels without patches", [text for case, text in table.items() if case not in there]),
        ("with patches, but not in the labels", [text for case, text in there.items() if case not in table]),
    ):
        if cases:
            lines.append(f"{counted(len(cases), 'case')} {what}: {few(sorted(cases, key=natural), 5)}.")
    return lines


def case_guess(column: str, reading: Reading, labelled: Collection[str]) -> str:
    """Return which column was taken for the case, to check; empty where each id has patches and each patch an id.

    Ids that differ in leading zeros are told as well, for there may be another column that has these.
    """
    n, found, strangers = reading.found(labelled)
    zeros = ids.in_zeros(reading.levelled)
    if found == n and not strangers and not zeros:
        return ""
    more = f", and {counted(strangers, 'case')} with patches not in it" if strangers else ""
    if zeros:
        told = few(sorted((f"{text} = {own}" for text, own in zeros.items()), key=natural))
        more += f"; {counted(len(zeros), 'id')} taken as the same without leading zeros: {told}"
    return f"column {column!r} taken for the case id: {found:,} of its {n:,} ids have patches{more}"


def unknown_stains(reading: Reading) -> str:
    """Return the words for stains that names.stains will not have, with how many files they are; empty without any."""
    counts = Counter(each.detail for each in reading.left_out if each.reason == UNKNOWN_STAIN)
    told = few([f"{word!r} ({counted(n, reading.unit)})" for word, n in counts.most_common()], REASONS)
    return f"left out, for no stain has the word: {told}" if counts else ""


def without_totals(table: pd.DataFrame, case_column: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the labels without a line of totals, and a line that names it."""
    total = table[case_column].map(labels.is_total)
    rows = list(table.index[total])
    if not rows:
        return table, []
    words = few(map(repr, table.loc[rows, case_column]))
    return table[~total], [f"{in_rows(rows).capitalize()} of the labels: {words}, a total and no case: delete it."]


def faults(table: pd.DataFrame, case_column: str, meaning: Meaning) -> list[str]:
    """Return what the dry run will refuse in the labels, a sentence each; `meaning` says what the columns are."""
    lines, case, code = [], table[case_column].map(case_id), table[meaning.class_column].map(class_code)
    if nameless := list(table.index[case == ""]):
        lines.append(f"{in_rows(nameless).capitalize()} of the labels: no case id: fill it in, or delete the row.")
    of_case = code[case != ""].groupby(case[case != ""], sort=False)
    if several := [same for _, same in of_case if same.nunique() > 1]:
        told = few([f"{table.loc[same.index[0], case_column]} ({in_rows(same.index)})" for same in several])
        have = "has" if len(several) == 1 else "have"
        lines.append(
            f"{counted(len(several), 'case')} {have} rows of different classes: {told}: keep one class, or give all "
            "rows of the case an excluded code."
        )
    return lines


def patients(table: pd.DataFrame, case_column: str, meaning: Meaning, cases: Collection[str]) -> Counter:
    """Return the number of patients of each class among `cases`, in normal form."""
    class_of = {code: name for name, codes in meaning.classes.items() for code in codes}
    rows = table[table[case_column].map(case_id).isin(cases)]
    who = rows[meaning.patient_column or case_column].map(case_id)
    pairs = {pair for pair in zip(rows[meaning.class_column].map(class_of), who) if isinstance(pair[0], str)}
    return Counter(dict.fromkeys(meaning.classes, 0)) + Counter(name for name, _ in pairs)


def splits(table: pd.DataFrame, case_column: str, meaning: Meaning, cases: Collection[str]) -> dict[str, Any]:
    """Return the settings of the splits: five, or as many as the smallest class has patients.

    Classes of fewer than three are taken out of `meaning`. cases: those with patches, in normal form. Raises UserError
    if two classes are not left.
    """
    of_class = patients(table, case_column, meaning, cases)
    code_of = table[meaning.class_column]
    alone = {code: f"case {table.loc[row, case_column]} (row {row})" for row, code in code_of.drop_duplicates().items()}
    propose_labels.without_small(meaning, of_class, FEWEST, alone)
    fewest = min(of_class[name] for name in meaning.classes)
    if fewest < FEWEST:
        told = few([f"{name} {of_class[name]}" for name in meaning.classes], 8)
        raise UserError(f"patients with patches by class: {told}: each class needs at least {FEWEST}")
    return {"n_splits": min(USUAL, fewest)}


def small_encoder(sides: Sequence[int]) -> dict[str, Any]:
    """Return the settings of embed for a machine without a GPU. sides: longer sides of some images, in pixels."""
    middle = sorted(sides)[len(sides) // 2] if sides else SIDES[-1]
    return SMALL_ENCODER | {"input_size": next((side for side in SIDES if side >= middle), SIDES[-1])}

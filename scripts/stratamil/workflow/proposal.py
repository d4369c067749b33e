"""What a folder of patches and a labels table hold, read as proposed: what is counted, and what the cohort allows."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stratamil.cohort import patch_files
from stratamil.cohort.patch_files import LeftOut
from stratamil.core.errors import UserError, few
from stratamil.core.names import case_id, natural
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

    patches: DataFrame of case_id, stain, slice_id, patch and path, with x and y where names tell places.
    """

    patches: pd.DataFrame
    left_out: list[LeftOut]

    @property
    def cases(self) -> dict[str, str]:
        """The cases: normal form -> as it is spelt."""
        return {case_id(text): text for text in self.patches["case_id"].unique()}


def read(names: Names, root: Path, labelled: Collection[str]) -> Reading:
    """Read all file names below `root` as proposed. labelled: ids of the labels table.

    Raises UserError if none is that of a patch.
    """
    scanned = patch_files.scan(root, names.grammar)
    if scanned.patches.empty:
        told = few([f"{each.name}: {each.why}" for each in scanned.left_out])
        raise UserError(f"{root}: no file is a patch ({told}): give the folder of patch images")
    settled = patch_files.settled(scanned, root, [text for text in labelled if text], list(names.stains))
    return Reading(settled.patches, settled.left_out)


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
    lines = [f"{counted(len(reading.patches), 'patch')} of {counted(len(there), 'case')}, by the names of their files."]
    if reading.left_out:
        reasons = Counter(each.why for each in reading.left_out).most_common()
        told = few([f"{reason}: {n:,}" for reason, n in reasons], REASONS)
        lines.append(f"Left out by name or size: {counted(len(reading.left_out), 'file')} ({told}).")
    counts = reading.patches["stain"].value_counts()
    spelt = {name: [text for text in texts if text != name] for name, texts in names.stains.items()}
    also = {name: f" (also spelt {', '.join(texts)})" if texts else "" for name, texts in spelt.items()}
    told = [f"{name} {n:,}{also.get(name, '')}" for name, n in counts.items()]
    lines.append(f"Patches of each stain: {'; '.join(told)}.")
    lines.append(f"{counted(len(table), 'case')} in the labels, {len(both)} with patches.")
    for what, ids in (
        ("in the labels without patches", [text for case, text in table.items() if case not in there]),
        ("with patches, but not in the labels", [text for case, text in there.items() if case not in table]),
    ):
        if ids:
            lines.append(f"{counted(len(ids), 'case')} {what}: {few(sorted(ids, key=natural), 5)}.")
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

"""What a folder of patches and a labels table hold, read as proposed: what is counted, and what the cohort allows."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stratamil.core.errors import few
from stratamil.core.names import NotAPatch, PatchName, case_id, natural
from stratamil.workflow.propose_labels import Meaning
from stratamil.workflow.propose_names import Names

EXAMPLES = 5
FEWEST = 3  # splits: validation cases are the next split's test cases
USUAL = 5
SIDES = (96, 128, 160, 192, 224)  # input sizes in pixels that suit the small encoder
SMALL_ENCODER = {"encoder": "efficientnet_lite0", "pooling": "global"}


@dataclass(frozen=True)
class Reading:
    """What the names say: path -> PatchName of each patch, and reason -> files of the rest."""

    patches: dict[str, PatchName]
    left_out: Counter

    @property
    def cases(self) -> dict[str, str]:
        """The cases: normal form -> as the first name spells it."""
        return {case_id(text): text for text in dict.fromkeys(name.case_id for name in self.patches.values())}


def read(names: Names, paths: Sequence[str]) -> Reading:
    """Read all file names as proposed. paths: below the patches folder."""
    grammar, patches, left_out = names.grammar, {}, Counter()
    for path in paths:
        folder, slash, name = path.rpartition("/")
        try:
            patches[path] = grammar.spelt(name, folder + slash)
        except NotAPatch as why:
            left_out[why.reason + (f" ({why.detail})" if why.detail and len(why.detail) < 20 else "")] += 1
    return Reading(patches, left_out)


def examples(reading: Reading) -> Iterator[tuple[str, PatchName]]:
    """Yield some patches from all over the list: path and what its name says."""
    paths = list(reading.patches)
    yield from ((path, reading.patches[path]) for path in paths[:: max(1, len(paths) // EXAMPLES)][:EXAMPLES])


def accounts(reading: Reading, names: Names, labelled: Collection[str]) -> list[str]:
    """Return what was counted, a sentence each. labelled: ids of the labels table."""
    table, there = {case_id(text): text for text in labelled if text}, reading.cases
    both = [case for case in table if case in there]
    lines = [f"{_n(len(reading.patches), 'patch')} of {_n(len(there), 'case')} are read."]
    if reading.left_out:
        told = "; ".join(f"{n:,}: {reason}" for reason, n in reading.left_out.most_common(5))
        lines.append(f"Not read: {_n(reading.left_out.total(), 'file')} ({told}).")
    counts = Counter(name.stain for name in reading.patches.values())
    spelt = {name: [text for text in texts if text != name] for name, texts in names.stains.items()}
    also = {name: f" (also spelt {', '.join(texts)})" if texts else "" for name, texts in spelt.items()}
    told = [f"{name} {n:,}{also.get(name, '')}" for name, n in counts.items()]
    lines.append(f"Patches of each stain: {'; '.join(told)}.")
    lines.append(f"{_n(len(table), 'case')} in the labels, {len(both)} with patches.")
    for what, ids in (
        ("Cases in the labels without patches", [text for case, text in table.items() if case not in there]),
        ("Cases with patches that are not in the labels", [text for case, text in there.items() if case not in table]),
    ):
        if ids:
            lines.append(f"{what}: {few(sorted(ids, key=natural), 5)}.")
    return lines


def patients(table: pd.DataFrame, case_column: str, meaning: Meaning, cases: Collection[str]) -> Counter:
    """Return the number of patients of each class among `cases`, in normal form."""
    class_of = {code: name for name, codes in meaning.classes.items() for code in codes}
    rows = table[table[case_column].map(case_id).isin(cases)]
    who = rows[meaning.patient_column or case_column].map(case_id)
    pairs = {pair for pair in zip(rows[meaning.class_column].map(class_of), who) if isinstance(pair[0], str)}
    return Counter(dict.fromkeys(meaning.classes, 0)) + Counter(name for name, _ in pairs)


def splits(of_class: Counter, classes: Collection[str]) -> dict[str, Any] | None:
    """Return the settings of the splits: five, or as many as the smallest class has patients; None for fewer than 3.

    of_class: class -> patients.
    """
    fewest = min(of_class[name] for name in classes)
    return {"n_splits": min(USUAL, fewest)} if fewest >= FEWEST else None


def small_encoder(sides: Sequence[int]) -> dict[str, Any]:
    """Return the settings of embed for a machine without a GPU. sides: longer sides of some images, in pixels."""
    middle = sorted(sides)[len(sides) // 2] if sides else SIDES[-1]
    return SMALL_ENCODER | {"input_size": next((side for side in SIDES if side >= middle), SIDES[-1])}


def _n(n: int, word: str) -> str:
    return f"{n:,} {word}" + ("" if n == 1 else "es" if word.endswith("ch") else "s")

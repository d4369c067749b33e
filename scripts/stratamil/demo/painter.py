"""The demo cohort: an invented study of conjunctival melanocytic lesions with the file names, gaps and confounders of a
real one, and a planted signal whose place is known."""

import logging
import shutil
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from stratamil.cohort.folders import MARK
from stratamil.core.errors import UserError
from stratamil.core.files import atomic, made, updated_folder, write_csv
from stratamil.demo import tissue
from stratamil.workflow.results_folder import painted

log = logging.getLogger(__name__)

# Class codes: 0 invalid, 1 benign, 2 low grade, 3 high grade, 4 in situ melanoma. Code 1 takes what the others leave.
SHARES = {0: 0.05, 2: 0.083, 3: 0.167, 4: 0.167}
BENIGN, HIGH_GRADE = (1,), (3, 4)
# Share of a case's patches that carry the signal.
SIGNAL = {2: 0.05, 3: 0.15, 4: 0.30}
# Chances of 1, 2, 3, 4 slices a stain: benign cases have more, as in real cohorts, where the number of slices misleads.
SLICES = {"benign": (0.15, 0.33, 0.34, 0.18), "high-grade": (0.42, 0.36, 0.17, 0.05)}
DISTRACTORS = ("", "pigment", "inflammation")
# Odd spellings, each given to one slice whose names hold the usual one.
SPELLINGS = [
    ("_h&e_", "_h&e-labels_"),
    ("_h&e_", "_he_"),
    ("_h&e_", "_H&E_"),
    ("_melan_", "_MELAN_"),
    ("_sox10_", "_sox10._"),
    ("unmatched_", "unmatched"),
    (".png", ".PNG"),
]
COPY_MARKS = ("(1)", " (3)", " 2")
STRAYS = {".DS_Store": b"\0\0\0\1Bud1", "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"}
N_SPLITS = 5


class Case(NamedTuple):
    """A case; `code` is None if the labels table lacks it."""

    case_id: int
    code: int | None
    patient: str
    has_patches: bool = True


class Patch(NamedTuple):
    """A patch: its file, where it belongs in canonical names, whether it carries the signal, and what distracts."""

    file: str
    case_id: int
    stain: str
    slice_id: str
    number: int
    signal: bool
    distractor: str


class Cohort(NamedTuple):
    """All that is painted: `copies` maps the name of an operating system's copy to the original's; `unnumbered` holds
    patches whose names lack a number."""

    cases: list[Case]
    patches: list[Patch]
    copies: dict[str, str]
    unnumbered: list[Patch]

    def files(self) -> set[str]:
        """Return the names of all files in the patches folder."""
        return {patch.file for patch in self.patches + self.unnumbered} | set(self.copies) | set(STRAYS)


def plan(seed: int, n_cases: int) -> Cohort:
    """Return the cohort of `n_cases` labelled cases (one of them without patches) and one case that has no label.

    Raises UserError for fewer than 30 cases, which cannot show all that a real cohort does.
    """
    if n_cases < 30:
        raise UserError(f"--cases: {n_cases}: the demo cohort needs 30 cases or more")
    rng = np.random.default_rng([seed, n_cases])
    cases = _cases(rng, n_cases)
    slices = [one for case in cases if case.has_patches for one in _slices(rng, case)]
    patches = _spelled(rng, slices)
    originals = rng.choice(len(patches), len(COPY_MARKS), replace=False)
    copies = {_marked(patches[i].file, mark): patches[i].file for i, mark in zip(originals, COPY_MARKS, strict=True)}
    model = next(patch for patch in patches if "_h&e_" in patch.file)
    unnumbered = [model._replace(file=model.file.rsplit("_patch", 1)[0] + ".png", number=-1)]
    return Cohort(cases, patches, copies, unnumbered)


def labels(cohort: Cohort) -> pd.DataFrame:
    """Return the labels table: Case, Class, Patient, by case."""
    rows = [(case.case_id, case.code, case.patient) for case in cohort.cases if case.code is not None]
    return pd.DataFrame(rows, columns=["Case", "Class", "Patient"])


def truth(cohort: Cohort) -> pd.DataFrame:
    """Return a row per recognised patch file: file, case_id, stain, slice_id, signal (0 or 1)."""
    rows = [(p.file, p.case_id, p.stain, p.slice_id, int(p.signal)) for p in cohort.patches]
    return pd.DataFrame(rows, columns=["file", "case_id", "stain", "slice_id", "signal"])


def splits(cohort: Cohort, seed: int) -> list[dict[str, NDArray[np.int64]]]:
    """Return five splits of the benign and high-grade cases with patches: dicts of train_cases, val_cases, test_cases.

    Test sets are the folds of a stratified k-fold by patient, a validation set is the next split's test set.
    Ids are int64, as in the study that this cohort imitates.
    """
    used = [case for case in cohort.cases if case.code in BENIGN + HIGH_GRADE and case.has_patches]
    ids = np.array([case.case_id for case in used], dtype=np.int64)
    positive = [case.code in HIGH_GRADE for case in used]
    from sklearn.model_selection import StratifiedGroupKFold  # a second, which a dry run need not wait for

    folds = StratifiedGroupKFold(N_SPLITS, shuffle=True, random_state=seed)
    tests = [test for _, test in folds.split(ids, positive, [case.patient for case in used])]
    result = []
    for test, validation in zip(tests, tests[1:] + tests[:1], strict=True):
        train = np.setdiff1d(np.arange(len(ids)), np.concatenate([test, validation]))
        result.append({"train_cases": ids[train], "val_cases": ids[validation], "test_cases": ids[test]})
    return result


def write_splits(cohort: Cohort, seed: int, folder: str | Path) -> None:
    """Write the splits as data_splits_01.npz and so on."""
    for number, split in enumerate(splits(cohort, seed), 1):
        with atomic(Path(folder) / f"data_splits_{number:02d}.npz") as temporary:
            np.savez(temporary, **split)


def write_labels(cohort: Cohort, path: str | Path) -> None:
    """Write the labels table as CSV."""
    write_csv(labels(cohort), path)


def write_truth(cohort: Cohort, path: str | Path) -> None:
    """Write the truth table as CSV."""
    write_csv(truth(cohort), path)


def write_patches(cohort: Cohort, seed: int, side: int, folder: str | Path, processes: int = 2) -> None:
    """Paint all patches, `side` pixels square, into `folder`, with copies and stray files.

    Raises UserError if the folder holds files of another cohort, which would pass for patches of this one.
    """
    folder = Path(folder)
    known = cohort.files() | made(painted(folder)) | {MARK}
    foreign = sorted({path.name for path in folder.iterdir()} - known) if folder.exists() else []
    if foreign:
        raise UserError(
            f"{folder}: holds {foreign[0]}, which is not of this demo cohort: move it away, or remove the folder first"
        )
    todo = cohort.patches + cohort.unnumbered
    with updated_folder(folder, painted(folder)) as new:
        _paint(cohort, todo, partial(_write_patch, seed=seed, side=side, folder=new), new, processes)
    log.info("painted %d patches of %d px in %s", len(todo), side, folder)


def _paint(cohort: Cohort, todo: list[Patch], write: Callable[[Patch], None], folder: Path, processes: int) -> None:
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(write, todo, chunksize=16))
    else:
        for patch in todo:
            write(patch)
    for name, original in cohort.copies.items():
        shutil.copyfile(folder / original, folder / name)
    for name, content in STRAYS.items():
        (folder / name).write_bytes(content)


def _write_patch(patch: Patch, seed: int, side: int, folder: Path) -> None:
    """Paint one patch from its own seed, so that neither order nor number of processes matters."""

    def rng(*names: object) -> np.random.Generator:
        return np.random.default_rng([seed, zlib.crc32("/".join(map(str, names)).encode())])

    look = tissue.staining(rng(patch.case_id, patch.stain))
    own = rng(patch.case_id, patch.stain, patch.slice_id, patch.number)
    pixels = tissue.paint(own, patch.stain, side, look, signal=patch.signal, distractor=patch.distractor)
    with atomic(folder / patch.file) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG", compress_level=3)


def _cases(rng: np.random.Generator, n_cases: int) -> list[Case]:
    """Return the cases in the order of their ids, which have gaps as in a real study."""
    counts = {code: round(share * n_cases) for code, share in SHARES.items()}
    counts[1] = n_cases - sum(counts.values())
    codes = rng.permutation([code for code, count in sorted(counts.items()) for _ in range(count)])
    ids = np.sort(rng.choice(np.arange(1, n_cases * 3 // 2), n_cases + 1, replace=False))
    unlabelled = int(rng.integers(n_cases + 1))
    codes = np.insert(codes, unlabelled, -1)
    patients = _patients(rng, codes)
    # The labelled case without patches is a benign patient's only case.
    alone = [i for i in np.flatnonzero(codes == 1) if (patients == patients[i]).sum() == 1]
    empty = int(rng.choice(alone))
    return [
        Case(int(ids[i]), None if i == unlabelled else int(codes[i]), f"P{patients[i]:03d}", i != empty)
        for i in range(n_cases + 1)
    ]


def _patients(rng: np.random.Generator, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the patient number of each case: some have two or three cases, one a benign and a high-grade one."""
    benign, high = (rng.permutation(np.flatnonzero(np.isin(codes, wanted))) for wanted in (BENIGN, HIGH_GRADE))
    shared = [benign[:3], benign[3:5], benign[5:7], high[:3], high[3:5], np.array([benign[7], high[5]])]
    owner = np.arange(len(codes))
    for cases in shared:
        owner[cases] = cases.min()
    return np.unique(owner, return_inverse=True)[1] + 1


def _slices(rng: np.random.Generator, case: Case) -> list[list[Patch]]:
    """Return the case's slices, each a list of patches with canonical names."""
    chances = SLICES["high-grade" if case.code in HIGH_GRADE else "benign"]
    stains = rng.permutation(tissue.STAINS)[: rng.choice([3, 2, 1], p=[0.84, 0.12, 0.04])]
    typical = rng.choice([1, 2, 3, 4], p=chances)
    counts = {stain: int(np.clip(typical + rng.integers(-1, 2), 1, 4)) for stain in stains}
    # A slice is matched if the other stains have the same cut.
    matched = max(min(counts.values()) - int(rng.random() < 0.4), 1)
    distractor = str(rng.choice(DISTRACTORS, p=[0.64, 0.18, 0.18]))
    slices = []
    for stain in (stain for stain in tissue.STAINS if stain in counts):
        for index in range(counts[stain]):
            name = f"match_{index + 1}" if index < matched else f"unmatched_{index - matched + 1}"
            numbers = np.arange(rng.integers(3, 8)) + rng.integers(2)
            model = Patch("", case.case_id, stain, slice_id=name, number=-1, signal=False, distractor=distractor)
            slices.append([model._replace(number=int(n)) for n in numbers])
    # Benign nests are as common as malignant ones, so that only the shape of their nuclei tells the classes.
    if case.code in SIGNAL:
        return _with(rng, slices, SIGNAL[case.code], signal=True)
    return _with(rng, slices, float(rng.choice([SIGNAL[code] for code in HIGH_GRADE])), distractor="nevus")


def _with(rng: np.random.Generator, slices: list[list[Patch]], share: float, **what: object) -> list[list[Patch]]:
    """Return `slices` with something in about `share` of all patches, packed into some of the slices."""
    wanted = max(round(share * sum(map(len, slices)) * rng.uniform(0.7, 1.3)), 1)
    for index in rng.permutation(len(slices)):
        carrying = min(wanted, int(np.ceil(0.8 * len(slices[index]))))
        chosen = set(rng.choice(len(slices[index]), carrying, replace=False).tolist())
        slices[index] = [patch._replace(**what) if i in chosen else patch for i, patch in enumerate(slices[index])]
        wanted -= carrying
    return slices


def _padded(rng: np.random.Generator, owners: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which slices have leading zeros in the case id; `owners` has each slice's case.

    All slices of a quarter of the cases below 100, and of one more case the first slice only: it is written both ways.
    """
    ids, firsts, sizes = np.unique(owners, return_index=True, return_counts=True)
    padded = np.isin(owners, rng.permutation(ids[ids < 100])[: (ids < 100).sum() // 4])
    both = int(rng.choice(np.flatnonzero((ids < 100) & (sizes > 1) & ~padded[firsts])))
    padded[firsts[both]] = True
    return padded


def _spelled(rng: np.random.Generator, slices: list[list[Patch]]) -> list[Patch]:
    """Return all patches with their file names: usual ones, padded ids, and each odd spelling in one slice."""
    names = [patches[0] for patches in slices]
    padded = _padded(rng, np.array([name.case_id for name in names]))
    stems = [
        f"case_{name.case_id:0{3 if zeros else 1}d}_{name.slice_id}_{name.stain}_patch{{}}.png"
        for name, zeros in zip(names, padded, strict=True)
    ]
    order = rng.permutation(len(stems)).tolist()
    for usual, odd in SPELLINGS:
        index = next(i for i in order if usual in stems[i])
        order.remove(index)
        stems[index] = stems[index].replace(usual, odd)
    pairs = zip(stems, slices, strict=True)
    return [patch._replace(file=stem.format(patch.number)) for stem, patches in pairs for patch in patches]


def _marked(name: str, mark: str) -> str:
    """Return `name` as an operating system calls a copy: mark before the suffix."""
    path = Path(name)
    return f"{path.stem}{mark}{path.suffix}"

"""Ragged bags: the patches of cases as one matrix, with the slice, stain and case that each belongs to."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stratamil.core.errors import UserError
from stratamil.features.store import Features

BLOCK = 512  # rows copied or converted at once
MINHASH = 16  # digests that a case is recognised by


def recognised(own: Collection[str], known: set[str]) -> bool:
    """Return whether half of a case's digests (`Bags.minhash`) or more are known; a case without any never is."""
    return bool(own) and 2 * len(known.intersection(own)) >= len(own)


@dataclass(frozen=True)
class Batch:
    """Cases ready for the model.

    x: (P, D) features of the patches, float16 as stored. slice_of_patch: (P,), stain_of_slice: (S,) and
    case_of_stain: (T,) give each row its parent; they count up from 0 without gaps. rows: (P,) rows of the patches in
    the features' table, to name them. sizes: C numbers of patches; those of a case lie after one another.
    """

    x: Tensor
    slice_of_patch: Tensor
    stain_of_slice: Tensor
    case_of_stain: Tensor
    rows: NDArray[np.integer]
    sizes: list[int]

    @property
    def cases(self) -> int:
        """Number of cases C."""
        return len(self.sizes)

    @property
    def case_of_patch(self) -> Tensor:
        """(P,) the case of each patch."""
        return self.case_of_stain[self.stain_of_slice[self.slice_of_patch]]

    def parts(self, masks: Tensor) -> "Batch":
        """Return parts of one case as the cases of a new Batch; a slice or stain without patches is absent from it.

        masks: (M, P) bool, the patches that each part keeps, at least one. The rows of x may be features or
        embeddings: the latter need not be computed again.
        """
        part, patch = masks.nonzero(as_tuple=True)
        slices, slice_of_patch = _count_up(part * len(self.stain_of_slice) + self.slice_of_patch[patch])
        part, slices = slices // len(self.stain_of_slice), slices % len(self.stain_of_slice)
        stains, stain_of_slice = _count_up(part * len(self.case_of_stain) + self.stain_of_slice[slices])
        return Batch(
            x=self.x[patch],
            slice_of_patch=slice_of_patch,
            stain_of_slice=stain_of_slice,
            case_of_stain=stains // len(self.case_of_stain),
            rows=self.rows[patch.cpu().numpy()],
            sizes=masks.sum(1).tolist(),
        )


def _count_up(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct values of ascending keys, and the place of each key among them."""
    return torch.unique_consecutive(keys, return_inverse=True)


@dataclass(frozen=True)
class Sampling:
    """How much of a bag one training step sees, drawn at each step. Evaluation takes every patch.

    per_slice_cap: patches. max_slices_per_stain: slices. instance_dropout: share of the patches of a slice left out.
    """

    per_slice_cap: int | None
    max_slices_per_stain: int | None
    instance_dropout: float


class Bags:
    """The bags of a cohort: where each case's stains, slices and patches lie in the features.

    stains: the stains to use, in order; patches of others are ignored.
    views: number of further views of each patch that training steps are drawn from; behind the N rows of `values` stand
    those of each. All else takes the patches as they are.
    device: where the batches are made. On a GPU the features are kept there if they fit in half of its free memory;
    else each batch is copied, as float16.
    """

    def __init__(self, features: Features, stains: Sequence[str], device: torch.device | str = "cpu") -> None:
        table = features.table.reset_index(drop=True)
        self.values = features.values if features.viewed is None else features.viewed
        self.n, self.device = len(table), torch.device(device)
        self.views = len(self.values) // self.n - 1 if features.viewed is not None else 0
        self.blank = np.zeros(len(table), bool) if features.blank is None else features.blank
        order = {stain: i for i, stain in enumerate(stains)}
        table = table[table["stain"].isin(order)]
        groups = table.groupby(["case_id", "stain", "slice_id"], sort=False).indices
        position = table.index.to_numpy()
        self.cases: dict[str, list[list[NDArray[np.integer]]]] = {}  # stains -> slices -> rows of patches
        for (case, stain, _), rows in groups.items():
            self.cases.setdefault(case, {}).setdefault(stain, []).append(position[rows].astype(np.int32))
        for case, by_stain in self.cases.items():
            self.cases[case] = [by_stain[stain] for stain in sorted(by_stain, key=order.get)]
        self.kept = self._keep() if self.device.type == "cuda" else None

    def _keep(self) -> Tensor | None:
        """Return all features, copied to the GPU, or None where they do not fit."""
        free, _ = torch.cuda.mem_get_info(self.device)
        if 2 * self.values.dtype.itemsize * np.prod(self.values.shape) > free:
            return None
        kept = torch.empty(self.values.shape, dtype=torch.float16, device=self.device)
        for begin in range(0, len(kept), BLOCK):
            kept[begin : begin + BLOCK] = torch.from_numpy(self.values[begin : begin + BLOCK])
        return kept

    def rows(self, case: str) -> NDArray[np.integer]:
        """Return the rows (n,) of a case's patches in the features."""
        return np.concatenate([patches for slices in self.cases[case] for patches in slices])

    def fingerprint(self, case: str) -> str:
        """Return the digest of a case's features, with those of further views."""
        digest, rows = hashlib.sha256(), self.rows(case)
        for view in range(self.views + 1):
            digest.update(np.ascontiguousarray(self.values[rows + self.n * view]))
        return digest.hexdigest()[:16]

    def minhash(self, case: str) -> list[str]:
        """Return the least digests of a case's patches, at most `MINHASH` (min-wise hashing, Broder 1997).

        Bags that share most of their patches share most of these digests. So a case is recognised under another id,
        and with a few patches more or less. Blank patches and those that `common` holds do not count: a case of no
        others has an empty list.
        """
        return [f"{digest:016x}" for digest in self.distinct(case)[:MINHASH]]

    def distinct(self, case: str) -> NDArray[np.uint64]:
        """Return the digests of a case's patches that tell it apart, ascending: without those that `common` holds."""
        own = self.digests[case]
        return own[~_within(own, self.common)]

    @cached_property
    def digests(self) -> dict[str, NDArray[np.uint64]]:
        """Digests of each case's patches, ascending and each once: the first 8 bytes of the SHA-256 of their features.

        Images of one colour and features that are all equal have none.
        """
        return {case: self._digests(self.rows(case)) for case in self.cases}

    def _digests(self, rows: NDArray[np.integer]) -> NDArray[np.uint64]:
        values = np.ascontiguousarray(self.values[rows[~self.blank[rows]]])
        values = values[(values != values[:, :1]).any(axis=1)]
        content = b"".join(hashlib.sha256(row).digest()[:8] for row in values)
        return np.unique(np.frombuffer(content, ">u8")).astype("u8")

    @cached_property
    def common(self) -> NDArray[np.uint64]:
        """Digests of patches that different cases have, such as glass: no evidence that a case was seen.

        Cases that share most of what either has are copies of one another, and what only they share is evidence.
        """
        every = np.concatenate([np.empty(0, "u8"), *self.digests.values()])
        every.sort()
        shared, holders = np.unique(every[1:][every[1:] == every[:-1]]), {}
        for case, own in self.digests.items():
            for digest in own[_within(own, shared)].tolist():
                holders.setdefault(digest, []).append(case)
        groups = set(map(tuple, holders.values()))
        copies = {cases: all(self._copies(cases[0], case) for case in cases[1:]) for cases in groups}
        return np.array(sorted(digest for digest, cases in holders.items() if not copies[tuple(cases)]), "u8")

    def _copies(self, one: str, other: str) -> bool:
        a, b = self.digests[one], self.digests[other]
        return bool(2 * _within(a, b).sum() > max(len(a), len(b)))

    def statistics(self, case_ids: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation (D,) of the features of all patches of some cases, in float64."""
        rows, total, squares = np.concatenate([self.rows(case) for case in case_ids]), 0, 0
        for begin in range(0, len(rows), BLOCK):
            part = rows[begin : begin + BLOCK]
            x = self._x(part, self._there(part)).double()
            total, squares = total + x.sum(0), squares + x.square().sum(0)
        mean = total / len(rows)
        return mean, (squares / len(rows) - mean.square()).clamp_min(0).sqrt()

    def batch(
        self,
        case_ids: Sequence[str],
        sampling: Sampling | None = None,
        generator: np.random.Generator | None = None,
    ) -> Batch:
        """Return the bags of some cases as a Batch on the device.

        sampling: in training, with a generator; None takes every patch, as it is.
        Raises UserError if a case has no patches.
        """
        missing = [case for case in case_ids if case not in self.cases]
        if missing:
            raise UserError(f"features: no patches of cases {', '.join(missing)}: run embed again")
        rows, slice_of_patch, stain_of_slice, case_of_stain, sizes = [], [], [], [], []
        for i, case in enumerate(case_ids):
            sizes.append(0)
            for slices in self.cases[case]:
                for patches in _sample(slices, sampling, generator) if sampling else slices:
                    rows.append(patches)
                    slice_of_patch.append(np.full(len(patches), len(stain_of_slice)))
                    stain_of_slice.append(len(case_of_stain))
                    sizes[-1] += len(patches)
                case_of_stain.append(i)
        places = rows if not (sampling and self.views) else self._drawn(rows, generator)
        rows = np.concatenate(rows)
        parts = np.concatenate(places), np.concatenate(slice_of_patch), stain_of_slice, case_of_stain
        there, *parents = self._there(np.concatenate(parts)).split(list(map(len, parts)))  # one copy of four
        return Batch(self._x(parts[0], there), *parents, rows=rows, sizes=sizes)

    def _drawn(self, rows: list[NDArray[np.integer]], generator: np.random.Generator) -> list[NDArray[np.integer]]:
        """Return where the features of each slice lie in a view that is drawn: a further one, or the slice as it is."""
        drawn = generator.integers(0, self.views + 1, len(rows))
        return [of_slice + self.n * view for of_slice, view in zip(rows, drawn.tolist())]

    def _x(self, rows: NDArray[np.integer], there: Tensor) -> Tensor:
        """Return the features of some rows, whose numbers are on the device, too."""
        return self._there(self.values[rows]) if self.kept is None else self.kept.index_select(0, there)

    def _there(self, array: NDArray) -> Tensor:
        """Return an array on the device. A GPU copies pinned memory while the program goes on."""
        here = torch.from_numpy(array)
        return here.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else here


def _within(values: NDArray[np.uint64], ascending: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which of the values are among others, which are in ascending order."""
    return np.searchsorted(ascending, values, "right") > np.searchsorted(ascending, values)


def _sample(
    slices: list[NDArray[np.integer]], sampling: Sampling, generator: np.random.Generator
) -> Iterator[NDArray[np.integer]]:
    """Yield the rows of some slices of a stain and some patches of each, at least one of either, in their old order."""
    if sampling.max_slices_per_stain and len(slices) > sampling.max_slices_per_stain:
        chosen = generator.choice(len(slices), sampling.max_slices_per_stain, replace=False)
        slices = [slices[i] for i in sorted(chosen)]
    for patches in slices:
        n = max(1, round(len(patches) * (1 - sampling.instance_dropout)))
        n = min(n, sampling.per_slice_cap or n)
        yield patches if n == len(patches) else np.sort(generator.choice(patches, n, replace=False))

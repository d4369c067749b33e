"""What happens to the colours of a patch between decoding and the encoder: normalisation, and further views of it.

A view is the patch as another laboratory or scanner might show it: its densities of haematoxylin, eosin and DAB are
multiplied and shifted, as in the stain augmentation of Tellez et al. (Med Image Anal 2019; 58: 101544). A view changes
all patches of a slice alike, for slides differ as wholes. Its change is drawn from the names of case, stain and slice:
the same on every machine, in every order.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stratamil.core import provenance
from stratamil.core.errors import UserError
from stratamil.features.stain_normalisation import METHODS, Pixels
from stratamil.features.stain_stats import STAINS

NONE = "none"
FACTOR, SHIFT = 0.2, 0.05  # largest change of a density by its factor, and in optical density (log10)
# Optical density of each value of a pixel; white is 0.
DENSITY = -np.log10(np.maximum(np.arange(256, dtype=np.float32), 1) / 255)
VECTORS = np.array(STAINS) / np.linalg.norm(STAINS, axis=1, keepdims=True)
# What a change is drawn for: case_id, stain, slice_id.
Slice = tuple[str, str, str]


class Recoloured(NamedTuple):
    """What becomes of a patch: as it is encoded, its further views, and whether its normalisation failed."""

    pixels: Pixels
    views: list[Pixels]
    failed: bool


@dataclass(frozen=True)
class Plan:
    """What is done with the patches of a slice. method: one of METHODS or NONE. views: how many. slice_: of which."""

    method: str
    views: int
    slice_: Slice

    def __call__(self, pixels: Pixels) -> Recoloured:
        """Return what becomes of the pixels (H, W, 3) of a patch; one that cannot be normalised stays as it is."""
        normalised = METHODS[self.method](pixels) if self.method != NONE else pixels
        plain = pixels if normalised is None else normalised
        return Recoloured(plain, [jittered(plain, *self.change(view)) for view in self.numbers], normalised is None)

    @property
    def numbers(self) -> range:
        """Numbers of the views, from 1; 0 is the patch itself."""
        return range(1, self.views + 1)

    def change(self, view: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return factors and shifts (3,) of haematoxylin, eosin and DAB in a view."""
        generator = np.random.default_rng([_number(*self.slice_), view])
        return generator.uniform(1 - FACTOR, 1 + FACTOR, 3), generator.uniform(-SHIFT, SHIFT, 3)

    @property
    def known_by(self) -> int:
        """A number that changes with what is done, 0 where that is nothing; a cached patch of another is not used."""
        if self.method == NONE and not self.views:
            return 0
        return _number(self.method, *(self.slice_ if self.views else ()))


@dataclass(frozen=True)
class Recolour:
    """How a study changes colours. normalise: a method for all stains, or stain -> method. views: how many."""

    normalise: str | Mapping[str, str]
    views: int

    @classmethod
    def of_words(cls, words: Sequence[str], views: int) -> "Recolour":
        """Return what flags ask for: `macenko`, or `h&e=macenko melan=reinhard`. Raises UserError for another word."""
        own = dict(word.rpartition("=")[::2] for word in words)
        if unknown := [method for method in own.values() if method not in (NONE, *METHODS)]:
            raise UserError(f"embed.normalise: no method {unknown[0]}: set one of {', '.join((NONE, *METHODS))}")
        return cls(own.get("", NONE) if set(own) <= {""} else own, views)

    @property
    def identity(self) -> dict[str, Any]:
        """What features depend on besides their encoder; empty where no colour is changed."""
        methods = {self.normalise} if isinstance(self.normalise, str) else set(self.normalise.values())
        own = self.normalise if isinstance(self.normalise, str) else dict(sorted(self.normalise.items()))
        method = {} if methods <= {NONE} else {"stain_normalisation": own}
        views = {"views": self.views} if self.views else {}
        code = {"colour_code": provenance.code_digest(__file__)[:16]} if method or views else {}
        return method | views | code

    def plan(self, slice_: Slice) -> Plan:
        """Return what is done with the patches of a slice."""
        own = self.normalise if isinstance(self.normalise, str) else self.normalise.get(slice_[1], NONE)
        return Plan(own, self.views, slice_)


AS_THEY_ARE = Recolour(NONE, 0)


def jittered(pixels: Pixels, factors: NDArray[np.floating], shifts: NDArray[np.floating]) -> Pixels:
    """Return pixels (H, W, 3) whose densities of haematoxylin, eosin and DAB (3,) are multiplied and shifted."""
    matrix = np.linalg.inv(VECTORS) @ np.diag(factors) @ VECTORS
    density = DENSITY[pixels] @ matrix.astype(np.float32) + (shifts @ VECTORS).astype(np.float32)
    return np.rint(np.clip(255 * np.power(np.float32(10), -density), 0, 255)).astype(np.uint8)


def _number(*words: str) -> int:
    """Return a number of 63 bits that stands for some words."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:8], "big") >> 1

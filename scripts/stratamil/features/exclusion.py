"""Which patches a study excludes for what their pixels are: decided when their features are written, from Facts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.core.wording import num, pct
from stratamil.features.images import Odd

PEN = 0.05  # share of a patch that has the colour of ink, above which a pen was there
# Why a patch is excluded, by the number that feature files hold; 0 is a patch that is used.
REASONS = ("", "blank: all pixels equal", "too little tissue", "not sharp", "ink of a pen")
BLANK, TISSUE, SHARPNESS, INK = range(1, len(REASONS))


@dataclass(frozen=True)
class Rule:
    """The settings of cohort.quality."""

    blank: Literal["exclude", "keep"]
    min_tissue: float | None
    min_sharpness: float | None
    pen: Literal["warn", "exclude", "keep"]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Rule":
        """Return the rule of settings, among which others may be."""
        return cls(**{name: settings[name] for name in cls.__dataclass_fields__})

    def asdict(self) -> dict[str, Any]:
        """Return the settings, ready for JSON."""
        return asdict(self)

    def reasons(self, facts: pd.DataFrame) -> NDArray[np.uint8]:
        """Return the number of a reason of REASONS for each image, the first that holds. facts: columns of Facts."""
        blank = facts["odd"].to_numpy() & Odd.BLANK > 0
        found = np.zeros(len(facts), dtype=np.uint8)
        for reason, holds in (
            (INK, self.pen == "exclude" and facts["pen"].to_numpy() >= PEN),
            (SHARPNESS, self.min_sharpness is not None and facts["sharpness"].to_numpy() < self.min_sharpness),
            (TISSUE, self.min_tissue is not None and facts["tissue"].to_numpy() < self.min_tissue),
        ):
            found[holds & ~blank] = reason
        found[blank] = BLANK if self.blank == "exclude" else 0
        return found


def detail(reason: int, facts: Mapping[str, Any]) -> str:
    """Return what was measured where it was the reason: `tissue 0.4%`. facts: of the image."""
    return {
        TISSUE: lambda: f"tissue {pct(facts['tissue'], 1)}",
        SHARPNESS: lambda: f"sharpness {num(facts['sharpness'], 1)}",
        INK: lambda: f"ink on {pct(facts['pen'])} of it",
    }.get(reason, lambda: "")()

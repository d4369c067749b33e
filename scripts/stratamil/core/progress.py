"""How far long work is: a bar on a terminal, and lines in the log."""

import logging
import os
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

# Set by the workflow's view of a run (snakemake_logger_plugin_stratamil), which reads the logs: jobs that all wrote to
# its terminal would write over each other.
QUIET = "STRATAMIL_QUIET"
SECONDS = 2


def quiet() -> bool:
    """Return whether this program's progress and errors are to be in its log alone."""
    return bool(os.environ.get(QUIET))


def hidden() -> bool | None:
    """Return the `disable` of a tqdm bar: hidden if quiet, else shown on a terminal only."""
    return True if quiet() else None


def track(items: Iterable[Item], total: int, unit: str) -> Iterator[Item]:
    """Yield the items, with a bar on a terminal and `12 of 340 patches` in the log.

    unit: of several items. The log gets a line at most every SECONDS and every hundredth of the whole.
    """
    said, last = time.monotonic(), 0
    for done, item in enumerate(tqdm(items, total=total, unit=f" {unit}", disable=hidden()), start=1):
        yield item
        if time.monotonic() - said > SECONDS and done - last >= total / 100:
            said, last = time.monotonic(), done
            logging.info("%d of %d %s", done, total, unit)

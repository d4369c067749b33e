"""The patches of a study's shards that no later stage reads, each with its reason."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from stratamil.cohort import flow
from stratamil.core.names import natural
from stratamil.features import exclusion, store


def read(shards: Sequence[Path]) -> pd.DataFrame:
    """Return the patches that store.read does not give: case_id, path, why and reason; the unreadable ones first.

    why: the same text for all of a kind. reason: what was found.
    """
    lost = store.unreadable(shards).assign(why=flow.UNREADABLE)
    facts = store.facts(shards)
    facts = facts[facts[store.EXCLUDED] > 0].sort_values("path", key=lambda paths: paths.map(natural))
    why = [exclusion.REASONS[reason] for reason in facts[store.EXCLUDED]]
    details = [exclusion.detail(row[store.EXCLUDED], row) for row in facts.to_dict("records")]
    found = facts[["case_id", "path"]].assign(reason=details, why=why)
    return pd.concat([lost, found], ignore_index=True)

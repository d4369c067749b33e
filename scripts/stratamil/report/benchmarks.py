"""Time and memory of each rule, from Snakemake's benchmark files."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stratamil.evaluation.runs import Run


def resources(folder: Path | None, runs: Sequence[Run], shards: Iterable[Path]) -> list[dict[str, Any]]:
    """Return time and memory of each rule from Snakemake's benchmark files: jobs, total and longest seconds, most MB.

    folder: of the benchmark files, or None. runs: those of the study, shards: paths of its feature files; what earlier
    settings left of others does not count.
    """
    rows = {}
    names = {f"split_{run.split}" for run in runs}
    names |= {f"split_{run.split}_{path.stem}" for run in runs for path in (run.folder / "retrained").glob("*.csv")}
    names |= {f"{path.parent.name}_{path.stem}" for path in shards}
    for path in sorted(Path(folder).rglob("*.tsv")) if folder else []:
        parts = path.relative_to(folder).with_suffix("").parts
        if re.search(r"(^|_)(split|shard)_", parts[-1]) and parts[-1] not in names:
            continue
        table = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
        if not {"s", "max_rss"} <= set(table):
            logging.warning("%s: no benchmark file: columns s and max_rss are missing", path)
            continue
        rows.setdefault(parts[0], []).append((float(table["s"].sum()), _known(pd.to_numeric(table["max_rss"]).max())))
    return [
        {
            "rule": rule,
            "jobs": len(jobs),
            "seconds": sum(seconds for seconds, _ in jobs),
            "longest": max(seconds for seconds, _ in jobs),
            "memory": max((memory for _, memory in jobs if memory is not None), default=None),
        }
        for rule, jobs in rows.items()
    ]


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)

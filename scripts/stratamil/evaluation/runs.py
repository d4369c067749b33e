"""The runs of a study as they lie on disk: what each split and seed left behind, read when it is asked for."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from stratamil.core import files, tables
from stratamil.core.errors import UserError
from stratamil.core.names import natural

KEYS = ("case_id", "stain", "slice_id", "path")


@dataclass(frozen=True)
class Run:
    """What one split and seed left behind in `folder`. What there is no file of is None.

    results: results.json of evaluate.
    """

    folder: Path
    results: dict[str, Any]

    @property
    def split(self) -> str:
        """Name of the split."""
        return str(self.results["split"])

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return int(self.results["seed"])

    @property
    def classes(self) -> list[str]:
        """Class names, in order."""
        return self.results["classes"]

    @property
    def aggregation(self) -> str | None:
        """How the model pools patches; None where it is not known, as of results of before."""
        return ((self.results.get("settings") or {}).get("model") or {}).get("aggregation")

    @property
    def name(self) -> str:
        """The run in words: split and seed."""
        return f"split {self.split}, seed {self.seed}"

    @cached_property
    def test(self) -> pd.DataFrame:
        """Predictions of the test cases, one row a case."""
        return tables.read_predictions(self.folder / "predictions.csv")

    @cached_property
    def validation(self) -> pd.DataFrame:
        """Predictions of the validation cases, one row a case."""
        return tables.read_predictions(self.folder / "validation_predictions.csv")

    @cached_property
    def patch_attention(self) -> pd.DataFrame:
        """One row a patch of a test case: its keys, effective weight and, where known, place."""
        table = pd.read_parquet(self.folder / "patch_attention.parquet")
        wanted = ["case_id", "stain", "slice_id", "patch", "path", "effective_weight", "x", "y"]
        return table[[name for name in wanted if name in table]].astype(dict.fromkeys(KEYS, str))

    def attention_of(self, case: str) -> pd.DataFrame:
        """Return one row a patch of a test case, with all that evaluate wrote of it; other cases are not read."""
        table = pd.read_parquet(self.folder / "patch_attention.parquet", filters=[("case_id", "==", case)])
        return table.astype(dict.fromkeys(KEYS, str))

    @cached_property
    def perturbation(self) -> pd.DataFrame:
        """What perturb measured of each test case."""
        return tables.read(self.folder / "perturbation.csv")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Deletion curves of each test case, one row an order and fraction."""
        return tables.read(self.folder / "perturbation_curves.csv")

    @cached_property
    def parts(self) -> pd.DataFrame:
        """What each test case loses without a stain or slice."""
        return tables.read(self.folder / "perturbation_parts.csv")

    @cached_property
    def attention_summary(self) -> pd.DataFrame | None:
        """Stain weights and attention of each test case."""
        return self._optional("attention_analysis/summary.csv", tables.read)

    @cached_property
    def truth(self) -> dict[str, Any] | None:
        """How well attention finds known signal, over the test cases."""
        return self._optional("attention_analysis/truth_auc.json", _json)

    @property
    def trained_here(self) -> bool:
        """Whether the checkpoint is the run's own; of a given one, an earlier training beside it says nothing."""
        own = self.folder / "checkpoints"
        given = Path(self.results.get("checkpoint", own / "best.pth")).parent
        return own.parts[-len(given.parts) :] == given.parts  # it was written relative to where evaluate ran

    @cached_property
    def history(self) -> pd.DataFrame | None:
        """Losses of each epoch of the training."""
        return self._optional("history.csv", tables.read) if self.trained_here else None

    @cached_property
    def settings(self) -> dict[str, Any] | None:
        """Settings, commit and versions of the training."""
        return self._optional("settings.yaml", _yaml) if self.trained_here else None

    def _optional(self, name: str, read: Callable[[Path], Any]) -> Any:
        path = self.folder / name
        return read(path) if path.is_file() else None


def read(folders: Iterable[Path | str], needed: Mapping[str, str], faults: Callable[[Run], Iterator[str]]) -> list[Run]:
    """Read the runs in these folders, in the order of splits and seeds.

    needed: file name -> the rule that makes it. faults: yields a line for each thing that is wrong with one run.
    Raises UserError with every file that is missing or does not fit.
    """
    if missing := files.lacking(folders, needed):
        raise UserError(*missing)
    runs = [Run(Path(folder), _results(Path(folder, "results.json"))) for folder in folders]
    runs.sort(key=lambda run: (natural(run.split), run.seed))
    usual = runs[0].classes
    problems = [
        f"{run.folder}/results.json: classes {run.classes} differ from {usual}: evaluate all again"
        for run in runs
        if run.classes != usual
    ]
    problems += [line for run in runs if run.classes == usual for line in faults(run)]
    seen = Counter((run.split, run.seed) for run in runs)
    problems += [
        f"split {split}, seed {seed} is given {n} times: give each run once"
        for (split, seed), n in seen.items()
        if n > 1
    ]
    if problems:
        raise UserError(*problems)
    return runs


def _results(path: Path) -> dict[str, Any]:
    """Return results.json. Raises UserError where it lacks what makes it one."""
    content = _json(path)
    try:
        str(content["split"]), int(content["seed"]), list(content["classes"])
        for name in ("temperature", "threshold"):
            float(content.get(name) or 0)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{path}: damaged: run evaluate again") from None
    return content


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}): run evaluate again") from None


def _yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))

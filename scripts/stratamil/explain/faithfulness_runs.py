"""What perturb and evaluate left of a study, as one table of cases and one of patches."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from stratamil.core.errors import UserError
from stratamil.core.names import column, natural
from stratamil.core.weighting import Kind, kind_of
from stratamil.evaluation import runs
from stratamil.explain import findings
from stratamil.features import store
from stratamil.stats.estimates import Sample

NEEDED = {
    "results.json": "evaluate",
    "patch_attention.parquet": "evaluate",
    "perturbation.csv": "perturb",
    "perturbation_curves.csv": "perturb",
    "perturbation_parts.csv": "perturb",
}
VALUES = tuple(findings.VALUES)
TOPS = ("1", "5", "20", "percent")
PLACE = ["x", "y"]
OPTICAL_DENSITY = 3  # of the stain_stats features: mean optical density of red, green and blue


def read_runs(folders: Iterable[Path | str]) -> list[runs.Run]:
    """Read what evaluate and perturb left in these folders, see `runs.read`. Raises UserError with every fault."""
    return runs.read(folders, NEEDED, _faults)


def _faults(run: runs.Run) -> Iterator[str]:
    if not _same_cases(run):
        yield (
            f"{run.folder}: perturbation.csv and patch_attention.parquet have different cases: "
            "run evaluate and perturb again"
        )


def _same_cases(run: runs.Run) -> bool:
    """Return whether `perturb` had the cases of `evaluate`, with stains that weigh the same."""
    if set(run.perturbation["case_id"]) != set(run.patch_attention["case_id"]):
        return False
    keys = ["case_id", "stain"]
    perturbed = run.parts[run.parts["level"] == "stain"].set_index(keys)["weight"].sort_index()
    evaluated = run.patch_attention.groupby(keys)["effective_weight"].sum().sort_index()
    return perturbed.index.equals(evaluated.index) and np.allclose(perturbed, evaluated, atol=1e-3)


def known(shards: Iterable[Path], inventory: pd.DataFrame, paths: pd.Index) -> pd.DataFrame:
    """Return what feature shards and the inventory know of images: index `paths`; pixels, bytes, brightness.

    pixels: width x height. brightness: minus the mean optical density. Precomputed features have none of the three.
    """
    table = pd.DataFrame(index=paths)
    facts, features = store.facts(shards).set_index("path"), store.read(shards)
    if len(facts):
        table["pixels"] = (facts["width"].astype(float) * facts["height"]).reindex(paths)
        table["bytes"] = inventory.set_index("path")["bytes"].reindex(paths)
    if features.colour is not None:
        density = np.asarray(features.colour[:])[:, OPTICAL_DENSITY].astype(float)
        table["brightness"] = pd.Series(-density, index=features.table["path"]).reindex(paths)
    return table


@dataclass(frozen=True)
class Study:
    """Runs, the inventory's cases table (case_id, patient_id), and what else is known of patches.

    known: DataFrame with index path and columns out of pixels, bytes, brightness. percent: share of a case's patches
    that is its top. bootstrap_samples, seed: of the bootstrap. unit: what counts as independent, for sentences.
    retrained: of `evaluation.retrained.read`.
    """

    runs: list[runs.Run]
    cases: pd.DataFrame
    known: pd.DataFrame
    percent: float
    bootstrap_samples: int
    seed: int
    unit: str = "patient"
    retrained: pd.DataFrame | None = None

    @property
    def classes(self) -> list[str]:
        return self.runs[0].classes

    @property
    def weighting(self) -> Kind:
        """How the models weigh patches."""
        return kind_of(run.aggregation for run in self.runs)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a case and run: split, seed, run, what `perturb` wrote and `differences` adds, patient_id, y."""
        parts = [run.perturbation.assign(split=run.split, seed=run.seed, run=run.name) for run in self.runs]
        table = pd.concat(parts, ignore_index=True)
        table["patient_id"] = table["case_id"].map(self.cases.set_index("case_id")["patient_id"])
        table["y"] = table["true_class"].map(self.classes.index)
        if table["patient_id"].isna().any():
            strangers = table.loc[table["patient_id"].isna(), "case_id"].unique()
            raise UserError(f"perturbation.csv: cases {', '.join(strangers)} are not in the cases table: run all again")
        return table.assign(**differences(table, self.classes))

    def sample(self, table: pd.DataFrame) -> Sample:
        """Return the cases of some rows of `table`, in natural order."""
        cases = table.groupby("case_id")[["patient_id", "y"]].first()
        return Sample(cases.sort_index(key=lambda ids: ids.map(natural)), self.bootstrap_samples, self.seed)

    @cached_property
    def patches(self) -> pd.DataFrame:
        """One row a patch and run: run, split, seed, properties, effective_weight (NaN where a case's are equal)."""
        parts = [run.patch_attention.assign(split=run.split, seed=run.seed, run=run.name) for run in self.runs]
        table = pd.concat(parts, ignore_index=True)
        defined = self.table.set_index(["run", "case_id"])["deletion_attention_margin"].notna()
        ordered = pd.MultiIndex.from_frame(table[["run", "case_id"]]).map(defined).to_numpy(dtype=bool)
        table["effective_weight"] = table["effective_weight"].astype(float).where(ordered)
        slices = table.groupby(["run", "case_id", "stain", "slice_id"])
        if all(name in table for name in PLACE):
            table["distance"] = np.hypot(*(table[name] - slices[name].transform("mean") for name in PLACE))
        else:
            table["number"] = slices["patch"].rank() / slices["patch"].transform("size")
        return table.join(self.known, on="path")


def differences(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, pd.Series]:
    """Return differences that `perturb` leaves to make: name -> (n,). Where no case has what is wanted they are NaN."""
    nothing = pd.Series(np.nan, index=table.index)

    def given(name: str) -> pd.Series:
        return table.get(name, nothing)

    result = {
        f"{direction}_{order}_{value}": given(f"{direction}_{order}_{value}")
        for direction in ("deletion", "insertion")
        for order in ("attention", "contribution")
        for value in VALUES
    }
    for value in VALUES:
        areas = result[f"deletion_contribution_{value}"], result[f"deletion_attention_{value}"]
        result[f"contribution_{value}"] = areas[0] - areas[1]
        for top in TOPS:
            result[f"necessity_{top}_{value}"] = given(f"without_random_{top}_{value}") - given(
                f"without_top_{top}_{value}"
            )
            result[f"sufficiency_{top}_{value}"] = given(f"only_top_{top}_{value}") - given(
                f"only_random_{top}_{value}"
            )
    model = table[[f"prob_{column(name)}" for name in classes]].to_numpy().argmax(axis=1)
    for kind in ("uniform", "levels"):
        without = table[[f"{kind}_prob_{column(name)}" for name in classes]].to_numpy().argmax(axis=1)
        result[f"{kind}_changed"] = pd.Series(without != model, index=table.index).astype(float)
    return result

"""New cases on their way to a prediction: their inventory, and their features by the encoder of a bundle.

A case has a feature file of its own, so that one that comes later is encoded alone, and memory holds one case.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from stratamil.cohort import inventory, labels, manifest, patch_files
from stratamil.cohort.inventory import USED, Inventory
from stratamil.core import files, ids, schema
from stratamil.core.errors import UserError, few
from stratamil.core.names import UNKNOWN_STAIN, Grammar, case_id, file_name
from stratamil.core.wording import listed
from stratamil.deploy import apply
from stratamil.deploy.bundle import Bundle
from stratamil.features import download, encoder_registry, extract, left_out, networks, precomputed, store
from stratamil.features.cache import key
from stratamil.features.exclusion import Rule
from stratamil.features.recolour import Recolour

COUNT = ["case_id", "stain", "patches"]
STATE = ".state"  # beside a feature file: of what it was made
STRANGE = "no stain that the model knows"  # why a case is left out


@dataclass(frozen=True)
class Source:
    """Where new cases are. manifest: of precomputed features, None for a folder of images."""

    folder: Path
    manifest: Path | None

    @classmethod
    def of(cls, path: Path, content: Bundle | Mapping[str, Any], where: Path | str, folder: Path | None) -> "Source":
        """Return the source at `path`. folder: what a manifest's files are relative to; None is its own.

        Raises UserError where it is not what the model takes.
        """
        facts = content.facts if isinstance(content, Bundle) else content
        wanted = facts["source"]
        if not path.exists():
            raise UserError(f"{path}: no such file or folder: give the new cases")
        if path.is_dir() and wanted == "precomputed":
            raise UserError(
                f"{path}: a folder of images, but {where} has a model of precomputed features: give the CSV that lists"
                " the feature files of the new cases"
            )
        if not path.is_dir() and wanted == "patches":
            raise UserError(
                f"{path}: a file, but {where} has a model of patch images: give the folder of the new cases' images"
            )
        return cls(path, None) if path.is_dir() else cls(folder or path.parent, path)


def take(
    source: Source, names: Mapping[str, Any], table: Path | None, cohort: Mapping[str, Any], encoder: str | None
) -> tuple[Inventory, pd.DataFrame, dict[str, Any]]:
    """Return the inventory of new cases, patches of unknown stains by case (COUNT), the identity of given features.

    names, cohort: settings of these sections. table: labels table; without one, every case that has a patch is used,
    and its class is empty. encoder: the name that the user gave to that of given features.
    """
    spelt = schema.merged(names["stains"])
    grammar, stains = Grammar(names["pattern"], spelt), list(spelt)
    known = labels.read(table, **labels.settings(cohort)) if table else None
    listed = [] if known is None else known["case_id"]
    if source.manifest is None:
        scanned = patch_files.scan(source.folder, grammar)
        kept = patch_files.settled(scanned, source.folder, listed, stains)
        patches, left_out, n_read = kept.patches, kept.left_out, len(scanned.patches) + len(scanned.left_out)
        visited, identity, levelled = scanned.folders, {}, kept.levelled
    else:
        found = precomputed.scan(source.manifest, source.folder, grammar, encoder)
        of_table = ids.Known(listed)
        patches, levelled = patch_files.ordered(patch_files.spelt(found.patches, of_table), stains), of_table.levelled
        unopened = ((*each, 0) for each in manifest.unopened(source.manifest, source.folder))
        left_out, n_read, visited, identity = [*found.left_out, *unopened], found.rows, {}, found.identity
    unlabelled, strange = known is None, _strange(left_out, grammar, source)
    if unlabelled:
        own = list(dict.fromkeys(patches["case_id"]))
        known = pd.DataFrame({"case_id": own, "label": "", "patient_id": own, "row": range(len(own)), "class": "?"})
    taken = inventory.join(
        patches,
        known,
        stains,
        left_out=left_out,
        n_read=n_read,
        unknown_stains=names["unknown_stains"],
        where=source.manifest or source.folder,
        remedy=_remedy(left_out, stains),
        folders=visited,
        levelled=levelled,
        unknown=strange,
    )
    if unlabelled:
        taken = replace(taken, cases=taken.cases.assign(**{"class": ""}))
    unknown = _unknown(strange, [*taken.cases["case_id"], *patches["case_id"].unique()])
    return _with_strange(taken, unknown), unknown, identity


def _remedy(left_out: Iterable[Any], stains: Sequence[str]) -> str:
    """Return what to do where no file is a patch of the model."""
    if strange := sorted({detail for _, reason, detail, _ in left_out if reason == UNKNOWN_STAIN}):
        known = f"the model knows {listed(stains)}, the files have {few(strange)}"
        return f"{known}: if that is another spelling of one, add it there: names.stains, or --stains"
    return "give the folder or list of the new cases, and names.pattern if their files are named in another way"


def _with_strange(taken: Inventory, unknown: pd.DataFrame) -> Inventory:
    """Return the inventory with a row for each left-out case whose patches are all of unknown stains.

    Its patches stand there already, file by file.
    """
    listed_there = {*taken.cases["case_id"], *taken.patches["case_id"].unique()}
    strange = unknown[~unknown["case_id"].isin(listed_there)].groupby("case_id", sort=False)["stain"]
    rows = [("case", case, STRANGE, few(sorted(names)), 0) for case, names in strange]
    more = pd.DataFrame(rows, columns=taken.excluded.columns)
    return replace(taken, excluded=pd.concat([taken.excluded, more], ignore_index=True)) if rows else taken


def _strange(left_out: Iterable[Any], grammar: Grammar, source: Source) -> Counter[tuple[str, str]]:
    """Return how many patches of stains that the model does not know each case has, as it stands in names."""
    case_of = {}
    if source.manifest is not None:
        case_of = {entry.file: entry.case for entry in manifest.read(source.manifest, source.folder)}
    return patch_files.of_unknown_stains(left_out, grammar, case_of)


def _unknown(counts: Mapping[tuple[str, str], int], cases: Iterable[str]) -> pd.DataFrame:
    """Return how many patches each case has of each stain that the model does not know (COUNT). counts: of `_strange`.

    cases: ids as they are spelt; one that is not among them is spelt as its first file has it.
    """
    known = ids.Known(map(str, cases))
    own, first = known.match(named for named, _ in counts), {}
    spelt = {named: own.get(named) or first.setdefault(case_id(named), named) for named, _ in counts}
    of_case: Counter[tuple[str, str]] = Counter()
    for (named, stain), n in counts.items():
        of_case[spelt[named], stain] += n
    rows = [(case, stain, n) for (case, stain), n in of_case.items()]
    return pd.DataFrame(rows, columns=COUNT)


class Encoders:
    """What gives new cases their features: the encoders of a bundle, or the copies of given features.

    folder: where feature files lie, a folder an encoder. Raises UserError, a line for each encoder that is not here or
    not that of the training.
    """

    def __init__(
        self,
        content: Bundle,
        source: Source,
        folder: Path,
        *,
        weights: Sequence[Path],
        identity: Mapping[str, Any],
        batch_size: int | None,
        max_unreadable: float,
        threads: int,
    ) -> None:
        self.source, self.folder, self.threads = source, folder, threads
        self.batch_size, self.max_unreadable = batch_size, max_unreadable
        self.settings: Mapping[str, Mapping[str, Any]] = content.facts["encoders"]
        self.identity, self.loaded = dict(identity), {}
        rule = content.facts.get("quality")  # bundles of earlier versions, and of precomputed features, have none
        self.rule = Rule.of(rule) if rule else None
        self.left_out: list[pd.DataFrame] = []
        if source.manifest is None:
            files_of = weights_of(self.settings, weights)
            self.loaded = {name: _loaded(own, files_of[name]) for name, own in self.settings.items()}
            identities = {name: self._identity(name) for name in self.loaded}
            one = len(identities) == 1
            self.identity = next(iter(identities.values())) if one else {"encoders": identities}
        if other := apply.differences(content.facts, self.identity):
            raise UserError(f"{source.manifest or source.folder}: not as in training: {'; '.join(other)}")

    def features(self, patches: pd.DataFrame, case: str) -> store.Features:
        """Return the features of a case, of which `patches` are the rows; what is known of it is not encoded again."""
        name, paths = f"{file_name(case)}.h5", []
        for encoder, own in self.settings.items() or [("precomputed", {})]:
            part = patches[patches["stain"].isin(own["only_stains"])] if own.get("only_stains") else patches
            path = self.folder / encoder / name
            state, beside = self._state(part, encoder), path.with_suffix(STATE)
            if not (path.is_file() and beside.is_file() and beside.read_text(encoding="utf-8") == state):
                beside.unlink(missing_ok=True)
                self._make(part.reset_index(drop=True), case, encoder, path)
                files.write_text(state, beside)
            paths.append(path)
        if self.source.manifest is None:
            self.left_out.append(left_out.read(paths))
        return store.read(paths, [case])

    def excluded(self) -> pd.DataFrame:
        """Return rows of excluded.csv for the patches without part in what `features` has given."""
        rows = pd.concat(self.left_out, ignore_index=True) if self.left_out else pd.DataFrame(columns=["path"])
        listed = [("patch", row.path, row.why, row.reason, 1) for row in rows.itertuples()]
        return pd.DataFrame(listed, columns=["kind", "name", "reason", "detail", "patches"])

    def _colours(self, encoder: str) -> Recolour:
        """Return what is done with colours before they are encoded: as in training, without further views."""
        return Recolour(self.settings[encoder].get("normalise", "none"), 0)  # bundles of earlier versions have none

    def _identity(self, encoder: str) -> dict[str, Any]:
        return self.loaded[encoder].identity | self._colours(encoder).identity

    def _state(self, patches: pd.DataFrame, encoder: str) -> str:
        """Return a digest that changes when a patch of these, its file, or what encodes it does."""
        names = patches["path"].tolist()
        if self.source.manifest is not None:
            names += dict.fromkeys(path.rpartition("#")[0] for path in names)
        told = [key(self.source.folder, name) or name for name in names]
        identity = self._identity(encoder) if self.loaded else self.identity
        rule = [self.rule.asdict()] if self.rule else []
        content = [identity, *rule, told, patches[["stain", "slice_id", "patch"]].to_numpy().tolist()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _make(self, patches: pd.DataFrame, case: str, encoder: str, path: Path) -> None:
        """Write the feature file of a case."""
        if self.source.manifest is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            values = precomputed.take(patches, self.source.folder, self.identity["dim"], scratch=path.parent)
            store.write(path, values, patches, pd.DataFrame(columns=store.UNREADABLE), self.identity)
            return
        extract.embed(
            patches,
            [case] if len(patches) else [],
            self.source.folder,
            self.loaded[encoder],
            output=path,
            cache=path.parent / "cache" / path.name,
            recolour=self._colours(encoder),
            batch_size=self.batch_size,
            threads=self.threads,
            max_unreadable=self.max_unreadable,
            rule=self.rule,
            shown=False,
        )

    def sweep(self, cases: Iterable[str]) -> None:
        """Remove the feature files of cases that are gone."""
        kept = {file_name(case) for case in cases}
        for path in self.folder.glob("*/**/*"):
            if path.is_file() and path.suffix in (".h5", ".npy", ".part", STATE) and path.stem not in kept:
                path.unlink()


def weights_of(settings: Mapping[str, Mapping[str, Any]], given: Sequence[Path]) -> dict[str, Path | None]:
    """Return the file of weights of each encoder: of those given the one with its SHA-256, or the published ones.

    Raises UserError, a line for each encoder whose weights are not here.
    """
    digests = {}
    for path in given:
        with files.readable(path, "give the file of the encoder's weights"):
            digests[files.sha256(path)] = path
    found, problems = {}, []
    for name, own in settings.items():
        sha256 = own["weights_sha256"]
        if sha256 is None or sha256 in digests:
            found[name] = digests.get(sha256)
            continue
        published = encoder_registry.fetched(own["encoder"], own["weights"])
        here = Path(os.environ.get("STRATAMIL_WEIGHTS", "resources/weights")) / published if published else None
        try:
            if here is None:
                raise UserError(f"a file {own['weights']!r} of your own")
            if not here.is_file():
                logging.info("%s: fetching the weights of %s", here, own["encoder"])
                download.fetch(own["encoder"], own["weights"], here, sha256)
            found[name] = here
        except UserError as error:
            reason = " ".join(error.problems).removeprefix("config: ")
            problems.append(
                f"encoder {own['encoder']}: its weights are not here ({reason}): copy the file {own['weights']!r} with"
                f" SHA-256 {sha256} from where the model was trained, and name it: embed.weights, or --weights"
            )
    if problems:
        raise UserError(*problems)
    return found


def _loaded(own: Mapping[str, Any], path: Path | None) -> networks.Encoder:
    return networks.load(
        own["encoder"],
        path,
        input_size=own["input_size"],
        pooling=own["pooling"],
        precision=own["precision"],
        resize=own["resize"],
        final_relu=own["final_relu"],
        layer=own.get("layer"),  # bundles of earlier versions have none
        weights_sha256=own["weights_sha256"],
    )


def used(taken: Inventory) -> pd.DataFrame:
    """Return the rows of the cases to predict."""
    return taken.cases[taken.cases["status"] == USED].reset_index(drop=True)

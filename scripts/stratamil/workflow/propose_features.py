"""Propose the manifest of a folder of feature files: the case, stain and slice of each.

The files' own columns say it, or a column of the labels table that names the files (slide_id), or the files' names.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pandas as pd

from stratamil.cohort import folders, patch_files
from stratamil.cohort.manifest import NAMES, Entry
from stratamil.cohort.patch_files import LeftOut
from stratamil.core import ids
from stratamil.core.errors import UserError, few
from stratamil.core.name_patterns import UUID
from stratamil.core.names import COPY, ONLY_SLICE, Grammar, NotAPatch, case_id, composed, natural, slice_id, spelling
from stratamil.core.wording import counted
from stratamil.features import precomputed, precomputed_readers
from stratamil.features.precomputed_checks import OUT, Source
from stratamil.workflow import propose_names, propose_stains
from stratamil.workflow.proposal import Reading
from stratamil.workflow.propose_labels import CASE, CLASS, PATIENT, SITE
from stratamil.workflow.propose_names import Names
from stratamil.workflow.propose_shapes import copied

NAMED = 0.5  # share of the files, or of a column's values, that makes it a column of file names
PER_FILE = 4  # images beside a feature file, such as masks and thumbnails of its slide; patches are many more
NAMES_FILES = re.compile(r"sli[cd]e|file|datei|image|wsi|scan|path|svs", re.I)
NAMES_STAINS = re.compile(r"stain|(?<!bio)(?<!bio[_ ])marker|antibod|antik[öo]e?rper|f[äa]e?rbung|coloration", re.I)
SUFFIX = re.compile(r"\.(?:svs|ndpi|mrxs|tiff?|scn|vms|vmu|bif|czi|dcm|h5|hdf5|pt|npz|parquet)$", re.I)
STRANGE = "its name does not follow the others"
UNTOLD = "nothing tells the stain, so it is called h&e"

Proposed = tuple[Names, list[Entry]]


@dataclass(frozen=True)
class FeatureFiles:
    """Feature files of one suffix, POSIX paths below `root`.

    sources: what those hold that can be read. faults: what is wrong with the others, a line each. beside: suffix of
    other feature files -> how many there are, which are not opened.
    """

    root: Path
    sources: dict[str, Source]
    faults: dict[str, str]
    beside: Counter


def look(root: Path, paths: Iterable[str], images: int) -> FeatureFiles | None:
    """Open the feature files among `paths`, those of the commonest suffix; None where these are a folder of patches.

    images: how many there are. Raises UserError if no file can be read.
    """
    there = [path for path in paths if not folders.hidden(path.rpartition("/")[2])]
    suffixes = Counter(suffix for path in there if (suffix := _suffix(path)) in precomputed_readers.FORMATS)
    if not suffixes or images > PER_FILE * suffixes.total():
        return None
    wanted = max(suffixes, key=lambda suffix: (suffixes[suffix], suffix == ".h5"))
    mine = [path for path in there if _suffix(path) == wanted]
    if len(several := _of_encoders(mine)) > 1:
        raise UserError(
            f"{root}: {few(several)} seem to hold features of different encoders or magnifications: give one of them, "
            f"e.g. {root / several[0]}"
        )
    sources, faults = {}, {}
    for path, (source, problems) in zip(mine, precomputed.described(mine, root)):
        if source is None:
            faults[path] = problems[0].removesuffix(f": {OUT}")
        else:
            sources[path] = source
    if not sources:
        first, why = next(iter(faults.items()))
        raise UserError(f"{root}: none of {counted(len(mine), f'{wanted} file')} can be used, e.g. {first}: {why}")
    width, n = Counter(source.dim for source in sources.values()).most_common(1)[0]
    for path in [path for path, source in sources.items() if source.dim != width]:
        faults[path] = f"{sources.pop(path).dim:,} features a patch, but {n:,} files have {width:,}"
    del suffixes[wanted]
    return FeatureFiles(root, sources, faults, suffixes)


def _of_encoders(paths: Iterable[str]) -> list[str]:
    """Return the folders called as encoders or magnifications, where files of one name are in several."""
    found: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if parts := [
            part for part in folder.split("/") if re.fullmatch(propose_stains.ENCODER, propose_stains.bare(part))
        ]:
            found.setdefault(folder[: folder.rindex(parts[-1]) + len(parts[-1])], set()).add(name)
    return sorted(one for one in found if any(found[one] & found[other] for other in found if other != one))


def propose(files: FeatureFiles, table: pd.DataFrame, labelled: dict[str, Sequence[str]]) -> Proposed:
    """Return how case and stain are named, and the rows of the manifest.

    table: the labels, all values as text. labelled: column that may be the case -> its values, the likeliest first.
    Raises UserError where cases are found nowhere.
    """
    column = _file_column(files, table)
    cases = [name for name in labelled if name != column and (CASE.search(name) or PATIENT.search(name))]
    if column and not cases and any(text != _stem(text) for text in table[column]):
        cases = [column]  # ids with the suffix of slides, which no name of a feature file has
    if all(set(NAMES) <= set(source.columns) for source in files.sources.values()):
        names, entries = _by_columns(files, labelled)
    elif column and cases:
        names, entries = _by_table(files, table, cases[0], column)
    else:
        names, entries = _by_names(files, labelled)
    broken = [Entry(0, path, "", "", "", why) for path, why in files.faults.items()]
    return names, _one_file_each(entries) + broken


def read(files: FeatureFiles, names: Names, entries: list[Entry], labelled: Collection[str]) -> Reading:
    """Return the slices as proposed. labelled: ids of the labels table. Raises UserError if there is none."""
    left_out, rows, grammar = [], [], names.grammar
    for entry in entries:
        if entry.excluded:
            left_out.append(LeftOut(entry.file, entry.excluded, "", 0))
            continue
        said = [(entry.case, entry.stain, entry.slice)] if entry.case else _own_slices(files.sources[entry.file])
        for case, stain, slice_ in said:
            try:
                rows.append((case, grammar.stain(stain), slice_, entry.file))
            except NotAPatch as why:
                left_out.append(LeftOut(entry.file, why.reason, why.detail, 1))
    if not rows:
        raise UserError(f"{files.root}: no file can be used ({few(Counter(each.why for each in left_out))})")
    known = ids.Known([text for text in labelled if text])
    slices = pd.DataFrame(rows, columns=["case_id", "stain", "slice_id", "path"]).assign(patch=0)
    slices = patch_files.ordered(patch_files.spelt(slices, known), list(names.stains))
    return Reading(slices, left_out, known.levelled, entries)


def account(files: FeatureFiles) -> str:
    """Return a sentence on what the files hold."""
    sources = list(files.sources.values())
    encoders = dict.fromkeys(str(each.said["extractor"]) for each in sources if "extractor" in each.said)
    told = [f"of encoder {few(encoders)}"] if encoders else []
    told += ["without coordinates, so without attention maps"] if all(each.coords is None for each in sources) else []
    held = f"{counted(sum(source.rows for source in sources), 'patch')} of {sources[0].dim:,} features"
    beside = [f" {counted(n, f'{suffix} file')} beside them not opened." for suffix, n in files.beside.items()]
    return (
        f"{counted(len(sources), 'file')} hold{'s' * (len(sources) == 1)} {', '.join([held, *told])}.{''.join(beside)}"
    )


def manifest(entries: Iterable[Entry]) -> pd.DataFrame:
    """Return the table to write: without columns in which no row has anything."""
    table = pd.DataFrame(entries, columns=Entry._fields).drop(columns="row").sort_values("file", key=_natural)
    return table.loc[:, (table != "").any() | (table.columns == "file")]


def _by_columns(files: FeatureFiles, labelled: dict[str, Sequence[str]]) -> Proposed:
    """Where all files say case, stain and slice themselves."""
    slices = [each for source in files.sources.values() for each in _own_slices(source)]
    cases = dict.fromkeys(case for case, _, _ in slices)
    column = propose_names.column_of(cases, labelled)
    if not column:
        there = few([f"{name!r} ({next(filter(None, values), '')})" for name, values in labelled.items()], 6)
        raise UserError(
            f"{files.root}: no case of the files ({few(cases, 3)}) is in the labels: columns are like {there}: add a "
            "column with the ids as the files have them"
        )
    entries = [Entry(0, path, "", "", "") for path in files.sources]
    return _with_stains(Names(column, None, None, {}), (stain for _, stain, _ in slices)), entries


def _by_table(files: FeatureFiles, table: pd.DataFrame, case_column: str, file_column: str) -> Proposed:
    """Where a column of the labels names the files: the rows that name a file have its case, and perhaps its stain."""
    stain = _stain_column(table)
    told: dict[str, set[tuple[str, str]]] = {}
    for row in table.to_dict("records"):
        told.setdefault(_stem(row[file_column]), set()).add((row[case_column], row[stain] if stain else "h&e"))
    entries = []
    for path in files.sources:
        rows = told.get(_stem(path), set())
        if len(rows) == 1:
            entries.append(Entry(0, path, *next(iter(rows)), _stem(path)))
        else:
            why = (
                "several cases or stains of it in the labels" if rows else f"not in column {file_column} of the labels"
            )
            entries.append(Entry(0, path, "", "", "", why))
    names = Names(case_column, None, None, {}, used_columns=(file_column, stain))
    names.guesses["case"] = f"column {file_column!r} names the files, " + (
        "each a case" if file_column == case_column else f"column {case_column!r} their cases"
    )
    return _with_stains(
        names, (each.stain for each in entries if each.stain), known=bool(stain), as_written=bool(stain)
    ), entries


def _by_names(files: FeatureFiles, labelled: dict[str, Sequence[str]]) -> Proposed:
    copies = {path: of for path in files.sources if (of := copied(path, files.sources))}
    originals = [path for path in files.sources if path not in copies]
    names = propose_names.propose_all(originals, labelled, whole=True)
    entries = [_named(path, names.grammar) for path in originals]
    entries += [Entry(0, path, "", "", "", f"{COPY}: {of}") for path, of in copies.items()]
    return replace(names, pattern=None), entries


def _named(path: str, grammar: Grammar) -> Entry:
    """Return the entry of a file by its name; its stain as it is spelt there."""
    match = grammar.pattern.match(composed(path if grammar.of_paths else path.rpartition("/")[2]))
    if not match:
        return Entry(0, path, "", "", "", STRANGE)
    said = {"stain": grammar.only_stain, "slice": ONLY_SLICE} | match.groupdict()
    said["slice"] = re.sub(rf"[^\w]*{UUID}", "", said["slice"], flags=re.I) or said["slice"]
    return Entry(0, path, *(said[name].strip() for name in NAMES))


def _one_file_each(entries: list[Entry]) -> list[Entry]:
    """Return the entries with the file's name as the slice where several files would be one slice."""
    for of in (_stem, _path):
        counts = Counter(_slice(entry) for entry in entries)
        same = [bool(each.case) and counts[_slice(each)] > 1 for each in entries]
        entries = [each._replace(slice=of(each.file)) if repeats else each for each, repeats in zip(entries, same)]
    return entries


def _slice(entry: Entry) -> tuple[str, str, str]:
    return case_id(entry.case), spelling(entry.stain), slice_id(entry.slice)


def _own_slices(source: Source) -> list[tuple[str, ...]]:
    said = pd.DataFrame({name: precomputed.texts(source.columns[name], source.rows) for name in NAMES}).astype(str)
    return list(said.drop_duplicates().itertuples(index=False, name=None))


def _file_column(files: FeatureFiles, table: pd.DataFrame) -> str | None:
    """Return the column of the labels that names the files, with or without a suffix."""
    stems = {_stem(path) for path in files.sources}
    for name in (name for name in table if NAMES_FILES.search(name)):
        if table[name].map(_stem)[table[name] != ""].duplicated().any():
            continue  # HE.svs in the folder of each case
        told = {_stem(text) for text in table[name] if text}
        if told and len(told & stems) > NAMED * min(len(told), len(stems)):
            return name
    return None


def _stain_column(table: pd.DataFrame) -> str | None:
    """Return the column that tells the stain: by its name, or by words that are all known; one of few words."""
    filled = {name: {propose_stains.bare(text) for text in table[name]} for name in table}
    few_words = {name: words for name, words in filled.items() if len(words) <= propose_stains.MOST_STAINS}
    named = [name for name, words in few_words.items() if NAMES_STAINS.search(name) and "" not in words]
    rest = {name: words - {""} for name, words in few_words.items() if not (SITE.search(name) or CLASS.search(name))}
    known = [name for name, words in rest.items() if words and words <= set(propose_stains.KNOWN)]
    return next(iter(named + known), None)


def _with_stains(names: Names, words: Iterable[str], known: bool = True, as_written: bool = False) -> Names:
    """Return the names with the stains that these words are. known: whether something tells them.

    as_written: call a stain what it is called most often, as a person did in a table.
    """
    names.stains = propose_stains.named(Counter(words))
    told = propose_stains.unknown(names.stains) or propose_stains.also_spelt(names.stains)
    if told := told if known else UNTOLD:
        names.guesses["stains"] = told
    if as_written:
        names.stains = {next(iter(texts), name): texts for name, texts in names.stains.items()}
    return names


def _natural(column: pd.Series) -> pd.Series:
    return column.map(lambda text: tuple(natural(text)))


def _stem(path: str) -> str:
    """Return the name of a file without its folder and the suffixes that slides and features have."""
    name = composed(PurePosixPath(path.replace("\\", "/")).name)
    while plain := SUFFIX.sub("", name):
        if plain == name:
            break
        name = plain
    return name


def _path(path: str) -> str:
    """Return a path without its suffix, in one word."""
    return composed(SUFFIX.sub("", path)).replace("/", "_")


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()

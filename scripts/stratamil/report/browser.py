"""The case browser: its data as scripts that call one function each, so that the page opens from a disk or a share.

A page that is opened from a disk may load scripts and images, but no data. All text of the data is in ASCII, with what
could end a script element escaped. Cases are written one after another: memory holds the patches of one.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stratamil.core import files
from stratamil.core.names import column, file_name, natural
from stratamil.explain import contributions, patch_tables
from stratamil.features import thumbnails
from stratamil.features.thumbnails import COLUMNS, Index, sheet_name
from stratamil.report import browser_cases, style
from stratamil.report.browser_cases import Case, Source
from stratamil.report.page import check_colors

VERSION = 2  # of the data
DIGITS = 6  # of weights and contributions, which are float32
SPRITES = "sprites"  # folder of the thumbnails
ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}  # in JSON, these can stand in texts only


@dataclass(frozen=True)
class Look:
    """What the browser shows and how.

    title: of the study. classes, stains: name -> colour. px: side of a thumbnail. percent: of the patches to show, see
    `patch_tables.top`; None shows all. images: the patches folder, None where patches have no images. places: path of
    patches.parquet, where the places of patches on the slide may stand.
    """

    title: str
    classes: Mapping[str, str]
    stains: Mapping[str, str]
    px: int
    percent: float | None = None
    images: Path | None = None
    places: Path | None = None

    @classmethod
    def of(
        cls, title: str, classes: Sequence[str], stains: Sequence[str], colors: Sequence[str], **others: Any
    ) -> "Look":
        """Return what is shown in these colours of classes. others: px, percent, images, places."""
        check_colors(colors)
        colours = {name: colors[i % len(colors)] for i, name in enumerate(classes)}
        return cls(title, colours, style.palette(stains), **others)


def publish(source: Source, look: Look, sprites: Mapping[str, str], *, page: Path, output: Path) -> None:
    """Write the browser into the folder `output`, and remove the thumbnails of cases that are no more.

    sprites: case -> folder of its thumbnails below SPRITES, which lies in `output`. page: folder of the page's files.
    """
    with files.updated_folder(output) as folder:
        write(source, look, sprites, page, folder, output)
    for stale in (output / SPRITES).glob("*/"):
        if stale.name not in sprites.values():
            thumbnails.remove(stale)


def write(source: Source, look: Look, sprites: Mapping[str, str], page: Path, folder: Path, final: Path) -> None:
    """Write the browser into `folder`: page and data; sprites lie in the folder `final`, where it will be.

    sprites: case -> folder of its thumbnails below SPRITES. page: folder of the page's files, which are copied.
    """
    for path in sorted(path for path in page.rglob("*") if path.is_file()):
        (folder / path.relative_to(page)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.relative_to(page))
    rows, patches, without = [], 0, 0
    for case, table in source.patches():
        index = thumbnails.read(final / SPRITES / sprites[case.id]) if case.id in sprites else None
        content = patches_of(case, _placed(table, case, look), look, index, sprites.get(case.id), final)
        _call("patches", [name_of(case), content], folder / f"data/{name_of(case)}.js")
        rows.append(row_of(case, table, look))
        patches, without = patches + len(table), without + content["patches"]["sheet"].count(-1)
    rows.sort(key=lambda row: (natural(row["id"]), row["split"] or ""))
    _call("cases", [head(source, look, final) | {"cases": rows}], folder / "data/cases.js")
    told = {"title": "The case browser", "about": "Every patch of every predicted case, to look at and to mark."}
    lost = [f"{without:,} patches have no thumbnail."] if look.images and without else []
    files.write_json(told | {"finding": browser_cases.finding(source, patches), "flags": lost}, folder / "browser.json")


def head(source: Source, look: Look, final: Path) -> dict[str, Any]:
    """Return what the browser knows beside the cases. final: its folder."""
    own = [source.kind, look.title, final.resolve().parent.name, *look.classes, *look.stains]
    return {
        "version": VERSION,
        "title": look.title,
        "study": hashlib.sha256("\n".join(own).encode(errors="surrogatepass")).hexdigest()[:16],
        "kind": source.kind,
        "classes": list(look.classes),
        "class_colours": list(look.classes.values()),
        "stains": list(look.stains),
        "stain_colours": list(look.stains.values()),
        "seeds": source.members,
        "px": look.px,
        "images": look.images is not None,
        "columns": COLUMNS,
        "patches": "all" if look.percent is None else "top",
    }


def row_of(case: Case, patches: pd.DataFrame, look: Look) -> dict[str, Any]:
    """Return the entry of a case in the list."""
    stains, there = list(look.stains), set(patches["stain"])
    return {
        "id": case.id,
        "key": case.key,
        "split": case.split,
        "patient": case.patient,
        "truth": case.truth,
        "predicted": case.predicted,
        "probability": _short(case.probability),
        "sd": None if case.sd is None else _short(case.sd),
        "members": [_short(member) for member in case.members],
        "stains": [i for i, stain in enumerate(stains) if stain in there],
        "missing": [i for i, stain in enumerate(stains) if stain in case.missing],
        "flags": case.flags,
        "n_patches": len(patches),
        "file": name_of(case),
        "note": None,
    }


def name_of(case: Case) -> str:
    """Return the name of a case's data file, without suffix: that of the case, whatever other cases there are."""
    return f"case_{file_name(case.key)}"


def patches_of(
    case: Case, patches: pd.DataFrame, look: Look, index: Index | None, folder: str | None, final: Path
) -> dict[str, Any]:
    """Return the patches of a case, as its data file has them. index, folder: of its thumbnails.

    Of each class there is what `contributions` has: what a patch adds to the margin of the class, in the order of
    look.classes; margin: that of the case, which these and bias sum to.
    """
    told = [contributions.of_table(patches, column(name)) for name in look.classes]
    logits = np.array([case.logit])
    margin = [float(contributions.margin_contribution(logits, k)[0]) for k in range(len(told))]
    stains, slices, numbers = levels(patches, list(look.stains))
    shown, left_out = np.ones(len(patches), bool), None
    if look.percent is not None and not (shown := patch_tables.top(patches, look.percent)).all():
        rest = {"n": int((~shown).sum()), "weight": _short(patches["effective_weight"][~shown].sum())}
        left_out = rest | {"contribution": _short([values[~shown].sum() for values in told])}
    here = patches[shown]
    places = [index.place(path) if index else (-1, -1) for path in here["path"]]
    sheets = sorted({sheet for sheet, _ in places if sheet >= 0})
    gone = set(index.missing) if index else set()
    columns = {
        "path": here["path"].tolist(),
        "slice": numbers[shown].tolist(),
        "number": here["patch"].tolist(),
        "weight": _short(here["effective_weight"]),
        "sd": _short(here["effective_sd"]) if "effective_sd" in here else None,
        "contribution": [_short(values[shown]) for values in told],
        **{axis: _coordinates(here, axis) for axis in ("x", "y")},
        "sheet": [sheets.index(sheet) if sheet >= 0 else -1 for sheet, _ in places],
        "cell": [cell for _, cell in places],
        "missing": [i for i, path in enumerate(here["path"]) if path in gone],
    }
    return {
        "key": case.key,
        "bias": _short([whole - values.sum() for whole, values in zip(margin, told)]),
        "margin": _short(margin),
        "stains": stains,
        "slices": slices,
        "images": None if look.images is None else address(look.images, final),
        "patches": columns,
        "sheets": [f"{SPRITES}/{folder}/{sheet_name(sheet)}" for sheet in sheets],
        "left_out": left_out,
    }


def levels(
    patches: pd.DataFrame, stains: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], NDArray[np.int64]]:
    """Return the stains of a case with their weights, its slices with theirs, and the slice of each patch, (P,).

    stains: all, in order. Stains are in that order, and slices in that of the table within their stain.
    """
    groups = patches.groupby(["stain", "slice_id"], sort=False)
    table = groups.agg(weight=("slice_weight", "first"), n=("path", "size"), stain_weight=("stain_weight", "first"))
    table = table.reset_index()
    table["place"] = table["stain"].map(stains.index)
    order = table["place"].argsort(kind="stable").to_numpy()
    of_slice = np.empty(len(order), int)
    of_slice[order] = np.arange(len(order))
    table = table.iloc[order]
    slices = [
        {"stain": row.place, "id": row.slice_id, "weight": _short(row.weight), "n": row.n}
        for row in table.itertuples(index=False)
    ]
    first = table.drop_duplicates("place")
    listed = [{"stain": int(k), "weight": _short(w)} for k, w in zip(first["place"], first["stain_weight"])]
    return listed, slices, of_slice[groups.ngroup().to_numpy()]


def address(folder: Path, final: Path) -> str:
    """Return the address of a folder, relative to the folder `final`, percent-encoded, with a slash at its end."""
    return f"{quote(Path(os.path.relpath(folder, final)).as_posix())}/"


def _placed(patches: pd.DataFrame, case: Case, look: Look) -> pd.DataFrame:
    """Return the patches with x and y, where the inventory has places that the table of attention has not."""
    if "x" in patches or look.places is None:
        return patches
    import pyarrow.parquet as pq

    if not {"x", "y"} <= set(pq.read_schema(look.places).names):
        return patches
    known = pd.read_parquet(look.places, columns=["path", "x", "y"], filters=[("case_id", "==", case.id)])
    return patches.merge(known, on="path", how="left", validate="one_to_one")


def _coordinates(patches: pd.DataFrame, axis: str) -> list[float | None] | None:
    """Return the places of patches along an axis, in pixels; None where no patch has one."""
    if axis not in patches or patches[axis].isna().all():
        return None
    return [None if np.isnan(value) else value for value in _short(patches[axis], 9)]


def _short(values: Any, digits: int = DIGITS) -> Any:
    """Return a number, or each of several, in so many digits."""
    if np.ndim(values) == 0:
        return float(f"{values:.{digits}g}")
    return [float(f"{value:.{digits}g}") for value in np.asarray(values, float).tolist()]


def _call(name: str, arguments: Sequence[Any], path: Path) -> None:
    """Write a script that calls a function of the page with these arguments."""
    text = ", ".join(json.dumps(each, separators=(",", ":"), allow_nan=False) for each in arguments)
    for character, escaped in ESCAPED.items():
        text = text.replace(character, escaped)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"stratamil.{name}({text});\n", encoding="ascii")

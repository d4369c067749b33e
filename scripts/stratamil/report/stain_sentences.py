"""Sentences on stains that may bear a wrong name, on how colours drift, and the pictures of the former."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from stratamil.core.errors import few
from stratamil.core.wording import listed, n_of, num, of_slice, thousands
from stratamil.evaluation.stain_identity import ALIKE, ODDS
from stratamil.report.site_sentences import p_value
from stratamil.report.tiles import MISSING, Tiles

LEVEL = 0.05
MOST = 12  # slices shown with pictures
SIDE, GAP = 72, 4  # pixels of a picture, and between two
LIMITS = (
    "A slice that disagrees can be faint, folded, pigmented or without the stained structure. Stains of one colour can "
    "look alike, and a stain that the whole cohort names wrongly is not found."
)
Numbers = Mapping[str, Any]


def of_page(cohort: Numbers, folder: Path | None) -> dict[str, Any]:
    """Return the prose of the section and its pictures. cohort: numbers of the page. folder: of patches."""
    found = cohort["names"]
    shown = found["suspects"][:MOST] if found else []
    more = len(found["suspects"]) - MOST if found else 0
    return {
        "told": told(found) if found else "",
        "alike": alike(found) if found else "",
        "drift": drift(cohort["drift"], cohort["patient_column"] is not None),
        "rows": [row | {"odds": about_odds(row["odds"])} for row in shown],
        "strips": [{name: strip(row[name], folder) for name in ("patches", "named", "like")} for row in shown],
        "more": f"{n_of(more, 'more slice')} in cohort.json." if more > 0 else "",
        "limits": LIMITS,
    }


def of_several(mixed: Sequence[Numbers]) -> list[str]:
    """Return the warnings on stains whose slices are of two colours. mixed: of mixed_stains.look."""
    return [_of_several(row) for row in mixed]


def _of_several(row: Numbers) -> str:
    pale, pink = (f"{of_slice(each['slice'])} of case {each['case']}" for each in row["examples"])
    return (
        f"Stain {row['stain']} may be several stains: {row['pink']} of its {row['slices']} slices are pink with eosin, "
        f"{row['slices'] - row['pink']} are not (compare {pink} with {pale}). If names or folders tell the stain, read "
        "it by names.pattern and list all in names.stains."
    )


def told(found: Numbers) -> str:
    """Say how many slices look like their stain, and how that was asked."""
    right = f"{thousands(found['told'])} of {n_of(found['slices'], 'slice')}"
    said = (
        f"{right} look most like the stain of their name to a classifier of colour and texture that has seen none of "
        f"their case ({listed(found['stains'])})."
    )
    n = len(found["suspects"])
    listed_here = (
        f"{n_of(n, 'slice')} {'looks' if n == 1 else 'look'} more than {ODDS} times as much like another stain."
        if n
        else f"None looks more than {ODDS} times as much like another stain."
    )
    slightly = f" Slightly more like another stain: {few(map(_named, found['unlike']), 4)}." if found["unlike"] else ""
    rest = f" Too rare to tell: {few(found['few'], 6)}." if found["few"] else ""
    return f"{said} {listed_here}{slightly}{rest}"


def _named(row: Numbers) -> str:
    """Return `slice A1 of case 7 (melan, looks like h&e)`."""
    return f"{of_slice(row['slice'])} of case {row['case']} ({row['stain']}, looks like {row['looks']})"


def alike(found: Numbers) -> str:
    """Say which stains look alike; empty if colours separate all."""
    pairs = [f"{row['a']} and {row['b']} (AUROC {num(row['auc'], 3)})" for row in found["pairs"] if not apart(row)]
    if not pairs:
        return ""
    return (
        f"Here {listed(pairs)} look too alike to be certain: a swap between them can stay unseen, and slices "
        "listed for it are often right."
    )


def apart(pair: Numbers) -> bool:
    """Return whether colours separate two stains so well that a disagreement is worth a warning."""
    return pair["auc"] is not None and pair["auc"] >= ALIKE


def warnings(found: Numbers | None) -> list[str]:
    """Return the sentence on slices whose look disagrees with their name, between stains that colours separate."""
    if not found:
        return []
    sure = {frozenset((row["a"], row["b"])) for row in found["pairs"] if apart(row)}
    rows = [row for row in found["suspects"] if frozenset((row["stain"], row["looks"])) in sure]
    if not rows:
        return []
    look = "looks like another stain than its" if len(rows) == 1 else "look like another stain than their"
    return [
        f"{n_of(len(rows), 'slice')} {look} name says: {few(map(_named, rows), 4)}. Look at the pictures, and correct "
        "the names of the files."
    ]


def drift(rows: Sequence[Numbers], patients: bool) -> str:
    """Say which colours go with a column of the labels table; empty where none was looked at."""
    if not rows:
        return ""
    unit = "patient" if patients else "case"
    hits = [
        f"that of {row['stain']} with {row['column']} ({row['share']:.0%} of the variance between {unit}s, "
        f"{p_value(row['adjusted'])}; mean optical density {num(row['low'][1], 2)} in {row['low'][0]}, "
        f"{num(row['high'][1], 2)} in {row['high'][0]}; {row['patients']} {unit}s)"
        for row in sorted(rows, key=lambda row: -row["share"])
        if row["adjusted"] < LEVEL
    ]
    test = f"permutation test by {unit} within classes, p adjusted for {n_of(len(rows), 'comparison')}"
    if hits:
        return f"The colour goes with columns of the labels table: {listed(hits)}; {test}."
    columns = listed(list(dict.fromkeys(row["column"] for row in rows)), "or")
    least = min(row["adjusted"] for row in rows)
    return (
        f"This cohort does not show that the colour of a stain goes with {columns} (smallest {p_value(least)}; {test})."
    )


def about_odds(odds: float) -> str:
    """Return `5 times`, or `over 1,000 times`."""
    return "over 1,000 times" if odds > 1000 else f"{thousands(round(odds))} times"


def strip(paths: Sequence[str], folder: Path | None) -> str:
    """Return patches side by side as the address of an image that is part of the page; empty without any."""
    if not paths or folder is None:
        return ""
    tiles = Tiles(folder, SIDE)
    image = Image.new("RGB", (len(paths) * (SIDE + GAP) - GAP, SIDE), "white")
    for i, path in enumerate(paths):
        tile, left = tiles(path).image, i * (SIDE + GAP)
        if tile is None:
            image.paste(MISSING, (left, 0, left + SIDE, SIDE))
        else:
            image.paste(tile, (left + (SIDE - tile.width) // 2, (SIDE - tile.height) // 2))
    bytes_ = io.BytesIO()
    image.save(bytes_, "JPEG", quality=85, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(bytes_.getvalue()).decode()

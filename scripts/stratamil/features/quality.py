"""What the patches of a cohort hold: nothing (blank images, constant features), something odd, or what another has.

Everything comes from the feature files, which embed and the copying of external features write: no image is opened.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stratamil.cohort import duplicates
from stratamil.core.names import natural
from stratamil.features import store
from stratamil.features.images import OBLONG, SMALL, Odd

EXAMPLES = 3
BLOCK = 4096  # rows read at once
TELLING = 10  # different numbers of a row: with fewer it is background, which many cases have
KINDS = {
    "fully transparent, read as white": lambda odd: odd & Odd.TRANSPARENT,
    "all white": lambda odd: (odd & Odd.WHITE) * ((odd & Odd.TRANSPARENT) == 0),
    "all black": lambda odd: odd & Odd.BLACK,
    "all of one colour, neither white nor black": lambda odd: (
        (odd & Odd.BLANK) * ((odd & (Odd.WHITE | Odd.BLACK)) == 0)
    ),
    "of two colours only": lambda odd: odd & Odd.TWO_LEVEL,
    f"smaller than {SMALL} pixels": lambda odd: odd & Odd.SMALL,
    f"longer than {OBLONG} times their width": lambda odd: odd & Odd.OBLONG,
    "in CMYK, the inks of a printer, so their colours may be off": lambda odd: odd & Odd.CMYK,
    "in their own colours, which could not be normalised": lambda odd: odd & Odd.OWN_COLOUR,
}


def look(shards: list[Path], copies: pd.DataFrame, patient_of: dict[str, str], images: bool) -> dict[str, Any]:
    """Return what there is to know of the patches in the feature files of a study, ready for JSON.

    copies: of duplicates.find. patient_of: used case -> patient. images: whether the patches are images of which the
    files hold Facts and colour; else their features are looked at.
    Keys: images, patches (with the excluded); kinds (kind, n, examples, of all images, which may be of several; used:
    n and examples of those that are not excluded); excluded (how many
    for their quality); empty (case_id, empty, patches: of used images whose pixels, or rows whose features, are all
    equal); same (cases whose patches are all one);
    bits (bits in use, n, examples: of all 16-bit grey images); unreadable (n, examples); copies (of
    duplicates.by_cases, with same_patient); equal_rows (the same of features of one stain, for cases that share no
    files); stains (of duplicates.by_stains); unused (of duplicates.unused).
    """
    data = store.read(shards)
    table = data.table[["case_id", "stain", "path"]].astype(str)
    rows = _rows(data.values if data.colour is None else data.colour)
    excluded = 0
    if images:
        facts = store.facts(shards)
        excluded = int((facts[store.EXCLUDED] > 0).sum())
        kinds = {kind: facts[of(facts["odd"].to_numpy()) > 0] for kind, of in KINDS.items()}
        empty, narrow = data.blank, facts[facts["odd"].to_numpy() & Odd.GREY16 > 0]
    else:
        kinds = {
            "features all zero": table[rows["zero"]],
            "features all equal, but not zero": table[rows["constant"] & ~rows["zero"]],
        }
        empty, narrow = rows["constant"].to_numpy(), pd.DataFrame(columns=["bits", "path"])
    lost = store.unreadable(shards)
    by_case = table.assign(empty=empty, row=rows["digest"]).groupby("case_id", sort=False)
    by_case = by_case.agg(empty=("empty", "sum"), patches=("path", "size"), distinct=("row", "nunique")).reset_index()
    same = by_case[(by_case["distinct"] == 1) & (by_case["patches"] > 1) & (by_case["empty"] < by_case["patches"])]
    of_used = copies[copies["case_id"].isin(patient_of)]
    copied = _copies(of_used, patient_of)
    equal = [] if images else _copies(_shared(table, rows, data.values), patient_of)
    return {
        "images": images,
        "patches": len(table) + excluded,
        "excluded": excluded,
        "kinds": [
            {"kind": kind, **_some(patches), "used": _some(patches[patches["path"].isin(table["path"])])}
            for kind, patches in kinds.items()
            if len(patches)
        ],
        "empty": by_case.loc[by_case["empty"] > 0, ["case_id", "empty", "patches"]].to_dict("records"),
        "same": same["case_id"].tolist(),
        "bits": [{"bits": int(bits), **_some(patches)} for bits, patches in narrow.groupby("bits")],
        "unreadable": _some(lost),
        "copies": copied,
        "equal_rows": [row for row in equal if row["cases"] not in [each["cases"] for each in copied]],
        "stains": duplicates.by_stains(of_used),
        "unused": duplicates.unused(copies, patient_of.keys()),
    }


def _some(patches: pd.DataFrame) -> dict[str, Any]:
    return {"n": len(patches), "examples": sorted(patches["path"], key=natural)[:EXAMPLES]}


def _rows(matrix: store.Rows) -> pd.DataFrame:
    """Return the digest of each row of a matrix, and whether its numbers are all equal, and all zero."""
    parts = []
    for begin in range(0, len(matrix), BLOCK):
        values = np.ascontiguousarray(matrix[begin : begin + BLOCK])
        constant = (values == values[:, :1]).all(axis=1)
        digests = [hashlib.sha256(row).hexdigest()[:16] for row in values]
        parts.append(pd.DataFrame({"digest": digests, "constant": constant, "zero": constant & (values[:, 0] == 0)}))
    return pd.concat(parts, ignore_index=True)


def _shared(table: pd.DataFrame, rows: pd.DataFrame, values: store.Rows) -> pd.DataFrame:
    """Return the patches whose features another case has in the same stain, as duplicates.find does; no background."""
    keyed = table.assign(digest=rows["digest"] + table["stain"])[~rows["constant"]]
    shared = duplicates.shared(keyed, "digest")
    first, least = shared.drop_duplicates("digest"), min(TELLING, values.shape[1])
    background = [
        digest
        for begin in range(0, len(first), BLOCK)
        for digest, row in zip(first["digest"][begin : begin + BLOCK], values[first.index[begin : begin + BLOCK]])
        if len(np.unique(row)) < least
    ]
    return duplicates.grouped(shared, keyed[~keyed["digest"].isin(background)])


def _copies(equal: pd.DataFrame, patient_of: dict[str, str]) -> list[dict[str, Any]]:
    return [
        row | {"same_patient": len({patient_of[case] for case in row["cases"]}) == 1}
        for row in duplicates.by_cases(equal)
    ]

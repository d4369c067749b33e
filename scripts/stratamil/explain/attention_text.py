"""The attention of a split as text for readers: stain, slices and patches of each case."""

from collections import Counter

import pandas as pd

from stratamil.explain.attention_tables import PLACE, Case, effective_number
from stratamil.stats.ranking import EQUAL, alike, rank

NO_IMAGES = (
    "There are no images, because features are precomputed. A patch is identified by its row in the feature file, and\n"
    "by its coordinates if the file has them."
)
UNIFORM = "none: all patches have equal weight"
EQUAL_NOTE = (
    "Equal: the two highest stain weights are the same, or all patches have equal weight: then the weights of slices\n"
    "and stains only reflect their numbers of patches."
)
CAVEAT = (
    "Limits: Attention shows what the model weighted, not why it decided; it is not an explanation by itself. A patch\n"
    "with a large weight may be evidence for either class or none: patch_attention.parquet has its contributions."
)


def slice_pattern(slices: pd.DataFrame) -> str:
    """Return `one slice`, or the highest with its weight and the effective number of all: `match_2 0.84 (1.4 of 2)`.

    slices: as of `Case.slices`. Where all weigh the same, `2 equal`.
    """
    if len(slices) == 1:
        return "one slice"
    if alike(slices["weight"]):
        return f"{len(slices)} {EQUAL}"
    number = effective_number(slices["weight"])
    return f"{slices['slice_id'][0]} {slices['weight'][0]:.2f} ({number:.1f} of {len(slices)})"


def top_text(cases: list[Case], top: pd.DataFrame, stains: list[str], percent: float, heading: str) -> str:
    """Return the summary of `top_table` for readers: totals, patches by stain, and how many slices hold a top patch."""
    patches = pd.concat([case.patches for case in cases], ignore_index=True)
    slices, all_slices = ["case_id", "slice"], ["case_id", "slice_id"]
    by_stain = [["stain", "top patches", "share", "all patches", "share", "slices with one", "of slices"]]
    for stain in stains:
        here, everywhere = top[top["stain"] == stain], patches[patches["stain"] == stain]
        by_stain.append(
            [
                stain,
                *_count(len(here), len(top)),
                *_count(len(everywhere), len(patches)),
                str(len(here.drop_duplicates(slices))),
                str(len(everywhere.drop_duplicates(all_slices))),
            ]
        )
    by_case = [["case", "true", "predicted", "top", "of", "attention", *stains, "slices with one", "of slices"]]
    for case in cases:
        here = top[top["case_id"] == case.id]
        by_case.append(
            [
                case.id,
                case.true_label or "-",
                case.predicted_label,
                str(len(here)),
                str(len(case.patches)),
                f"{here['effective_weight'].sum():.1%}",
                *(str((here["stain"] == stain).sum()) if stain in case.stains.index else "-" for stain in stains),
                str(len(here.drop_duplicates(["stain", "slice"]))),
                str(len(case.patches.drop_duplicates(["stain", "slice_id"]))),
            ]
        )
    held = top.groupby("case_id")["effective_weight"].sum()
    return "\n".join(
        [
            f"Patches with the highest effective weight: the top {percent:g}% of each case",
            heading,
            "",
            f"{len(top)} of {len(patches)} patches of {len(cases)} cases.",
            f"They have {held.median():.1%} of a case's attention (median; {held.min():.1%} to {held.max():.1%}).",
            "",
            "By stain",
            *aligned(by_stain, left=1),
            "",
            "By case (attention: share of it on the top patches; stains: number of top patches, - without the stain)",
            *aligned(by_case, left=3),
            "",
            CAVEAT,
            "",
        ]
    )


def _count(n: int, total: int) -> tuple[str, str]:
    return str(n), f"{n / total:.1%}"


def summary_text(cases: list[Case], stains: list[str], heading: str, images: bool = True) -> str:
    """Return the attention of each case for readers: most attended stain, stain weights, slice pattern, slice weights.

    images: whether there are images of the patches, and so galleries. If not, the text says so, and says where the most
    attended patch of each slice lies.
    """
    overview = [["case", "true", "predicted", "p", "patches", "most attended", *stains, "per patch", "slice pattern"]]
    for case in cases:
        weights = case.stains
        pattern = "; ".join(f"{stain} {slice_pattern(case.slices(stain))}" for stain in weights.index)
        pattern = UNIFORM if case.uniform else pattern
        overview.append(
            [
                case.id,
                case.true_label or "-",
                case.predicted_label + (" (wrong)" if case.wrong else ""),
                f"{case.probability:.3f}",
                str(len(case.patches)),
                case.most_attended,
                *(f"{weights[stain]:.3f}" if stain in weights.index else "-" for stain in stains),
                _per_patch(case),
                pattern,
            ]
        )
    most = Counter(case.most_attended for case in cases)
    return "\n".join(
        [
            "Attention of the cases",
            heading,
            "",
            CAVEAT,
            *([] if images else ["", NO_IMAGES]),
            "",
            "Most attended stain: "
            + ", ".join(f"{stain} in {most[stain]}" for stain in [*stains, *([EQUAL] if EQUAL in most else [])])
            + " cases.",
            "",
            "Cases",
            "p: probability of the predicted class. Under each stain: its weight, - without the stain.",
            "per patch: the stain with the highest mean weight per patch, as a multiple of the equal share; a stain",
            "can be attended most only because it has the most patches.",
            "slice pattern: the slice with the highest weight, and this weight; in brackets the effective number of",
            "slices, 1/sum(w^2): 1.0 of 3 means all weight on one slice, 3.0 of 3 equal weights.",
            *([EQUAL_NOTE] if EQUAL in most or any(case.uniform for case in cases) else []),
            *aligned(overview, left=3, right_end=len(overview[0]) - 2),
            "",
            "Slices",
            "x equal: weight times number of slices of the stain; 1 is the equal share. effective patches: 1/sum(w^2)",
            "of the patches of the slice.",
            *aligned(_slice_rows(cases), left=3),
            "",
        ]
    )


def _per_patch(case: Case) -> str:
    return (
        case.most_per_patch if case.most_per_patch == EQUAL else f"{case.most_per_patch} {case.per_patch.iloc[0]:.2f}"
    )


def _slice_rows(cases: list[Case]) -> list[list[str]]:
    placed = all(name in cases[0].patches for name in PLACE)
    rows = [["case", "stain", "slice", "weight", "x equal", "patches", "effective patches"] + ["most at x, y"] * placed]
    for case in cases:
        for stain in case.stains.index:
            slices = case.slices(stain)
            for slice_id, weight, patches in slices.itertuples(index=False):
                here = case.of_slice(stain, slice_id)
                number = effective_number(here["patch_weight"])
                share = f"{weight:.4f}", f"{weight * len(slices):.2f}"
                row = [case.id, stain, slice_id, *share, str(patches), f"{number:.1f}"]
                rows.append([*row, _place(rank(here, "patch_weight").iloc[0])] if placed else row)
    return rows


def _place(patch: pd.Series) -> str:
    """Return the coordinates of a patch, or a dash where its file has none."""
    return "-" if pd.isna(patch["x"]) else f"{patch['x']:.0f}, {patch['y']:.0f}"


def aligned(rows: list[list[str]], left: int, right_end: int | None = None) -> list[str]:
    """Return rows of cells as lines: the first `left` columns and those from `right_end` on are flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = range(left, len(widths) if right_end is None else right_end)
    return [
        "  ".join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]

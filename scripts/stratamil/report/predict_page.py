"""The page of predicted new cases: what was decided, how sure it is, and what to know before trusting it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from stratamil.core import files, tables
from stratamil.core.names import column, file_name
from stratamil.core.wording import listed, n_of, num
from stratamil.deploy import decisions
from stratamil.deploy.flags import names
from stratamil.report import browser_links, model_pages, new_case_plots, new_case_words, page, style
from stratamil.report.study_page import GALLERIES

LIMITS = (
    "Predictions are for research, not for diagnosis. A case without a flag can still be wrong: flags tell how a case "
    "differs from training, not whether its prediction is right."
)


def write(
    folder: Path,
    facts: Mapping[str, Any],
    *,
    bundle: Path,
    template: Path,
    colors: Sequence[str],
    name: str,
    final: Path | None = None,
    browser: bool = False,
) -> None:
    """Write index.html into the folder of predictions, from predictions.csv, flags.csv and shift.csv there.

    facts: bundle.json of the file `bundle`. template: predict.html.j2. name: of these cases. final: where galleries
    are, if not in `folder`. browser: whether the case browser is made.
    """
    predictions, flags, shifts = (tables.read(folder / f"{kind}.csv") for kind in ("predictions", "flags", "shift"))
    excluded = tables.read_excluded(folder / "inventory/excluded.csv")
    found = numbers(predictions, flags, shifts, facts)
    links = galleries(final or folder, [row["case_id"] for row in found["per_case"]], browser)
    figure = new_case_plots.shift(found["shift"], facts["reference"]["shift"]["limit"], found["cases"])
    words = f"Distance of each of {found['cases']} cases from the training cases, by stain"
    shown = page.template(template).render(
        title=f"Predictions: {name}",
        study=facts["title"],
        colors=colors,
        figures={"shift": page.inline(style.svg(figure), "shift", words, colors)},
        links=links,
        images=facts["source"] == "patches",
        said=said(found, flags, shifts, facts) | {"header": header(facts, bundle)},
        left_out=left_out(excluded),
        repeated=new_case_words.repeated(excluded),
        flag_names=names(facts["reference"]),
        **model_pages.links(bundle, final or folder),
        **found,
    )
    files.write_text(shown, folder / "index.html")


def left_out(excluded: pd.DataFrame) -> str:
    """Return how many cases, files and patches were left out: `2 cases and 14 files`; nothing if none."""
    counts = excluded["kind"].value_counts()
    return listed([n_of(int(counts[kind]), kind) for kind in ("case", "file", "patch") if kind in counts])


def numbers(
    predictions: pd.DataFrame, flags: pd.DataFrame, shifts: pd.DataFrame, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the page shows of the cases."""
    classes, known = facts["classes"], flags.groupby("case_id")["flag"].agg(list)
    binary = len(classes) == 2
    rows = []
    for row in predictions.fillna({"sd": 0.0}).to_dict("records"):
        which = classes[-1] if binary else row["predicted_class"]
        rows.append(
            {name: row[name] for name in ("case_id", "sd", "low", "high", "n_patches", "n_slices", "stains")}
            | {"predicted": row["predicted_class"], "probability": row[f"prob_{column(which)}"]}
            | {"calibrated": row[f"calibrated_{column(which)}"], "flags": known.get(row["case_id"], [])}
        )
    limit = facts["reference"]["shift"]["limit"]
    of_stain = shifts.dropna(subset="shift").groupby("stain")["shift"]
    stains = [
        {"stain": stain, "values": of_stain.get_group(stain).tolist()}
        for stain in facts["stains"]
        if stain in of_stain.groups
    ]
    return {
        "classes": classes,
        "positive": classes[-1] if binary else None,
        "cases": len(rows),
        "counts": {name: sum(row["predicted"] == name for row in rows) for name in classes},
        "flagged": sum(bool(row["flags"]) for row in rows),
        "per_case": rows,
        "shift": stains,
        "limit": limit,
        "threshold": facts["decision"]["threshold"],
        "rescaled": facts["decision"]["temperature"] != 1,
        "flags": flags.to_dict("records"),
        "summary": new_case_words.summary(flags, len(rows), facts["reference"]),
    }


def said(
    found: Mapping[str, Any], flags: pd.DataFrame, shifts: pd.DataFrame, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the sentences of the page."""
    positive, members = found["positive"], len(facts["members"])
    development = facts["reference"]["development"]
    wide = f" {new_case_words.WIDE}" if new_case_words.by_seeds(facts["reference"]) else ""
    shown = f"probability of {positive}" if positive else "probability of the predicted class"
    return {
        "headline": headline(found),
        "notes": [
            *new_case_words.grave(flags, found["cases"], facts["reference"]),
            *new_case_words.told_by_stains(shifts, facts["reference"]),
            new_case_words.tested(development),
            *filter(None, [decisions.told(facts["decision"], facts["classes"])]),
        ],
        "cases": f"The {shown} is the mean over {n_of(members, 'model')}, the range that of the single models.{wide}",
        "shift": new_case_words.shifted(facts["reference"]),
        "limits": LIMITS,
    }


def header(facts: Mapping[str, Any], bundle: Path) -> str:
    """Say which models predicted. facts: bundle.json of the file `bundle`."""
    models = n_of(len(facts["members"]), "model")
    return f"By {models} of the study “{facts['title']}”: {model_pages.told(facts, bundle)}."


def headline(found: Mapping[str, Any]) -> str:
    """Say how many cases are called what, and how many have a flag. found: of `numbers`."""
    at = f" at the model's threshold, {num(found['threshold'], 2)}" if found["threshold"] is not None else ""
    called = listed([f"{n} {name}" for name, n in found["counts"].items()])
    return f"{n_of(found['cases'], 'case')}: {called}{at}; {found['flagged']} with a flag."


def galleries(folder: Path, case_ids: Sequence[str], browser: bool = False) -> dict[str, list[tuple[str, str]]]:
    """Return the galleries that there are below a folder: case -> [(label, relative address)].

    browser: whether the case browser is made there.
    """
    page, result = f"{browser_links.FOLDER}/{browser_links.PAGE}", {}
    for case in case_ids:
        paths = {label: f"attention_analysis/{path.format(file_name(case))}" for label, path in GALLERIES.items()}
        there = [(label, quote(path)) for label, path in paths.items() if (folder / path).is_file()]
        there = [(browser_links.LABEL, browser_links.link(page, case)), *there] if browser else there
        result |= {case: there} if there else {}
    return result

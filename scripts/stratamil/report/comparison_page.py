"""The page of a comparison of studies, with its numbers as JSON and CSV beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from stratamil.core import files
from stratamil.core.wording import duration
from stratamil.evaluation.compared_studies import Shared, Side
from stratamil.evaluation.comparison import MEASURES
from stratamil.report import benchmarks, comparison_plots, comparison_words, page, style
from stratamil.report.page import address

PAGES = {"study": "report/index.html", "prediction": "validation/index.html"}


def build(
    shared: Shared,
    found: Mapping[str, Any],
    *,
    percent: float,
    template: Path,
    title: str,
    colors: Sequence[str],
    provenance: Mapping[str, Any],
    folder: Path,
    final: Path,
) -> None:
    """Write index.html, comparison.json, metrics.csv, cases.csv, left_out.csv, settings.csv, summary.txt, figures/.

    found: of `comparison.numbers`, with `attention`, of `compared_attention.numbers`. percent: of the top patches.
    template: comparison.html.j2. final: where the folder will be.
    """
    sides, unit = shared.sides, "case" if found["cases"] == found["patients"] else "patient"
    drawn = comparison_plots.draw(sides, found, colors)
    svgs = {name: style.publish(figure, folder / "figures" / name) for name, (figure, _) in drawn.items()}
    spent = resources(sides)
    files.write_json({**found, "resources": spent, "provenance": provenance}, folder / "comparison.json")
    files.write_csv(pd.DataFrame(metrics(found)), folder / "metrics.csv")
    files.write_csv(cases(found), folder / "cases.csv")
    files.write_csv(shared.left_out, folder / "left_out.csv")
    names = [side.name for side in sides]
    rows = [[row["setting"], *map(str, row["values"])] for row in found["settings"]]
    files.write_csv(pd.DataFrame(rows, columns=["setting", *names]), folder / "settings.csv")
    text = page.template(template).render(
        title=title,
        study=" · ".join(names),
        colors=colors,
        figures={name: page.inline(svgs[name], name, words, colors) for name, (_, words) in drawn.items()},
        said=comparison_words.of_page(found, percent, unit),
        unit=unit,
        measures=[name for name in MEASURES if found["sides"][0]["estimates"][name].value is not None],
        measure_names=comparison_words.NAMES,
        p=comparison_words.p,
        shown=comparison_words.value,
        links={side.name: f"{address(side.folder, final)}/{PAGES[side.kind]}" for side in sides if _has_page(side)},
        resources=spent,
        duration=duration,
        provenance=provenance,
        left_out=shared.left_out.to_dict("records"),
        **{key: value for key, value in found.items() if key != "left_out"},
    )
    files.write_text(text, folder / "index.html")
    files.write_text(comparison_words.headline(found) + "\n", folder / "summary.txt")


def _has_page(side: Side) -> bool:
    """Return whether a study's report is there: its predictions may be all that was asked for."""
    return (side.folder / PAGES[side.kind]).is_file()


def metrics(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row an estimate: of, against, metric, value, low, high, n, p and adjusted p."""
    for side in found["sides"]:
        for name, estimate in side["estimates"].items():
            yield {"of": side["name"], "against": "", "metric": name, **asdict(estimate), "p": None, "p_holm": None}
    for pair in found["pairs"]:
        about = {"of": pair["second"], "against": pair["first"]}
        for name, estimate in pair["differences"].items():
            adjusted = pair["holm"] if name == found["headline"] else None
            yield {**about, "metric": name, **asdict(estimate), "p": pair["p"][name], "p_holm": adjusted}
        yield {**about, "metric": "delong", **asdict(pair["delong"]), "p": pair["delong_p"], "p_holm": None}


def cases(found: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row a case: class, patient, and of each study the probability and whether it decides rightly."""
    names = [side["name"] for side in found["sides"]]
    rows = [
        {name: row[name] for name in ("case_id", "patient_id", "true")}
        | {f"prob_{name}": p for name, p in zip(names, row["probabilities"])}
        | {f"right_{name}": name in row["right"] for name in names}
        for row in found["per_case"]
    ]
    return pd.DataFrame(rows)


def resources(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """Return a dict a rule: seconds of all its jobs and the most MB, a list by study; None where it did not run."""
    of_sides = []
    for side in sides:
        folder = side.folder / "benchmarks" if side.kind == "study" else None
        shards = side.folder.glob("features/*/shard_*.h5")
        of_sides.append({row["rule"]: row for row in benchmarks.resources(folder, side.study.runs, shards)})
    rules = dict.fromkeys(rule for each in of_sides for rule in each)
    return [
        {"rule": rule} | {what: [each.get(rule, {}).get(what) for each in of_sides] for what in ("seconds", "memory")}
        for rule in rules
    ]

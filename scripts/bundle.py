"""Put the models of a finished study into one file, with all that a prediction of new cases needs."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import cli
from stratamil.cohort import columns, inventory, splits
from stratamil.core import schema, tables
from stratamil.core.errors import UserError


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--runs", nargs="+", type=Path, required=True, help="folders of the runs, all seeds of all splits"
    )
    parser.add_argument("--checkpoints", nargs="+", type=Path, required=True, help="of the runs, or of --refitted")
    parser.add_argument("--refitted", nargs="*", type=int, help="seeds of checkpoints that were trained on all cases")
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature shards of the study")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--splits", nargs="+", type=Path, required=True, help="data_splits_<split>.npz")
    parser.add_argument("--labels", type=Path, help="labels table, for --columns")
    cli.add_settings(parser, "cohort")
    cli.add_settings(parser, "cohort.quality")
    cli.add_settings(parser, "names")
    parser.add_argument(
        "--encoders", type=json.loads, default={}, help="feature folder -> settings of its encoder (JSON)"
    )
    cli.add_settings(parser, "report", "title", "bootstrap_samples", "seed", "columns")
    cli.add_settings(parser, "bundle", "members")
    parser.add_argument("--output", type=Path, required=True, help="zip file to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from stratamil.deploy import bundle, collect, decisions, model_card, reference  # with torch, which takes seconds
    from stratamil.evaluation.study import Study, read_runs
    from stratamil.features import store

    runs, cases = read_runs(args.runs), tables.read_cases(args.cases)
    described = {}
    if args.columns:
        told = {"case_column": args.case_column, "missing_words": args.missing_words}
        described = columns.read(args.labels, args.columns, cases, **told)
    sets = {path.stem.removeprefix("data_splits_"): splits.read(path) for path in args.splits}
    study = Study(runs, cases, args.bootstrap_samples, args.seed, sets=sets, columns=described)
    if args.members != "all" and args.members not in study.splits:
        raise UserError(f"bundle.members: no split {args.members!r}: set all, or one of {', '.join(study.splits)}")
    if args.refitted:
        chosen = [(path, (None, seed)) for path, seed in zip(args.checkpoints, args.refitted, strict=True)]
    else:
        every = [(Path(folder).parent.name.removeprefix("split_"), _seed(folder)) for folder in args.runs]
        chosen = [pair for pair in zip(args.checkpoints, every, strict=True) if args.members in ("all", pair[1][0])]
    shared, members, weights = collect.members(*zip(*chosen))
    of_split = {split: decisions.frozen_of_split(study, split, _results(study, split)) for split in study.splits}
    alone = args.members != "all" and not args.refitted
    used = inventory.used_cases(args.cases)
    features = store.read(args.features, used["case_id"])
    known = reference.of_study(study, features, shared["stains"])
    facts = {
        "title": args.title,
        **collect.origin(),
        "classes": study.classes,
        "stains": shared["stains"],
        **settings(args, shared["features"]),
        "features": shared["features"],
        "model": shared["model"],
        "train": shared["train"],
        "members": members,
        "decision": of_split[args.members] if alone else decisions.frozen(study),
        "splits": {each["split"]: of_split[each["split"]] for each in members if each["split"]},
        "results": collect.results(study),
        "summary": collect.summary(reference.trained_on(study), features.table, shared["stains"]),
        "reference": known.facts,
    }
    facts = bundle.plain(facts)
    bundle.write(args.output, facts, weights, known.arrays, model_card.text(facts))
    logging.info("%s: %d members, %.1f MB", args.output, len(members), args.output.stat().st_size / 1e6)


def settings(args: argparse.Namespace, identity: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of names, labels and encoders, as a study file has them."""
    from stratamil.deploy import collect

    cohort = ("case_column", "class_column", "patient_column", "classes", "excluded_codes", "missing_words")
    return {
        "names": {name: getattr(args, name) for name in ("pattern", "stains", "unknown_stains")},
        "cohort": {name: getattr(args, name) for name in cohort},
        "source": "patches" if args.encoders else "precomputed",
        "quality": {name: getattr(args, name) for name in schema.section("cohort.quality")} if args.encoders else None,
        "encoders": collect.encoders(args.encoders, identity),
    }


def _seed(folder: Path) -> int:
    return int(folder.name.removeprefix("seed_"))


def _results(study: Any, split: str) -> dict[str, Any]:
    """Return results.json of a split's ensemble, or of its only run."""
    runs = [run for run in study.runs if run.split == split]
    if len(runs) == 1:
        return runs[0].results
    path = runs[0].folder.with_name("ensemble") / "results.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path}: no such file, or damaged: run evaluate") from None


if __name__ == "__main__":
    cli.run(main, arguments())

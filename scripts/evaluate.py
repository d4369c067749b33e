"""Evaluate the models of one split on whole bags of the test and validation cases, all seeds at once."""

import argparse
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import cli
from stratamil.cohort import inventory, splits
from stratamil.core import files
from stratamil.evaluation import ensemble, predict
from stratamil.features import store
from stratamil.mil import checkpoint

FIGURES = ("confusion_matrix", "deviation_plot", "roc_curve", "pr_curve", "calibration_curve")


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--checkpoints", nargs="+", type=Path, required=True, help="one a seed, or one for all")
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature shards")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--split", type=Path, required=True, help="npz with val_cases and test_cases")
    parser.add_argument("--name", required=True, help="name of the split, e.g. 01")
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--stains", nargs="+", required=True)
    cli.add_settings(parser, "evaluate", "threshold", "runs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the split, in which each seed has its own"
    )
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    split = splits.read(args.split)
    y = inventory.class_indices(args.cases, args.classes)
    data = store.read(args.features, [*split.val, *split.test])
    model, all_bags, contents = checkpoint.for_test(args.checkpoints, data, classes=args.classes, stains=args.stains)
    told = {"y": y, "classes": args.classes}
    validation = predict.predict(model, all_bags, data.table, split.val, **told, with_attention=False)
    members = cli.members(args.seeds, args.checkpoints)
    tested = predict.by_case(model, all_bags, data.table, split.test, **told)
    test = with_attention(
        tested, [place for _, place in members], [args.output / f"seed_{seed}" for seed, _ in members]
    )
    described = [
        {
            "seed": seed,
            "checkpoint": str(args.checkpoints[place]),
            "checkpoint_sha256": files.sha256(args.checkpoints[place]),
            "epoch": contents[place]["epoch"],
            "bias": predict.biases(model, place, args.classes),
        }
        for seed, place in members
    ]
    for (seed, place), own in zip(members, described):
        settings = {"model": contents[place]["model"], "train": contents[place].get("train")}
        about = {"split": args.name, **own, "features": data.identity, "settings": settings}
        folder = args.output / f"seed_{seed}"
        write(test[place], validation[place][0], about, args, folder)
        if len(members) == 1 or args.runs == "all":
            draw(test[place], validation[place][0], args, f"seed {seed}", folder)
        else:  # a figure of earlier numbers would lie beside these
            for name in FIGURES:
                (folder / f"{name}.png").unlink(missing_ok=True)
    if len(members) > 1:
        mean = ensemble.predictions([test[place] for _, place in members], args.classes)
        chosen_on = ensemble.predictions([validation[place][0] for _, place in members], args.classes)
        about = {"split": args.name, "members": described, "features": data.identity}
        write(mean, chosen_on, about, args, args.output / "ensemble")
        draw(mean, chosen_on, args, f"ensemble of {len(members)} seeds", args.output / "ensemble")


def with_attention(
    cases: Iterator[list[tuple[dict[str, Any], pd.DataFrame]]], places: list[int], folders: list[Path]
) -> dict[int, pd.DataFrame]:
    """Write the attention of each seed and of the ensemble case by case; no cohort's is held. Return the predictions.

    cases: see `predict.by_case`. places: of the seeds' models among the members.
    """
    rows = {place: [] for place in places}
    if len(places) > 1:
        folders = [*folders, folders[0].with_name("ensemble")]
    with ExitStack() as opened:
        writers = [opened.enter_context(files.parquet(folder / "patch_attention.parquet")) for folder in folders]
        for case in cases:
            for place in rows:
                rows[place].append(case[place][0])
            tables = [case[place][1] for place in places]
            tables += [ensemble.attention(tables)] if len(places) > 1 else []
            for write_rows, table in zip(writers, tables, strict=True):
                write_rows(table)
    return {place: pd.DataFrame(own) for place, own in rows.items()}


def write(
    test: pd.DataFrame,
    validation: pd.DataFrame,
    about: dict[str, Any],
    args: argparse.Namespace,
    folder: Path,
) -> None:
    """Write predictions and numbers of one seed or the ensemble. about: what results.json has beside the numbers."""
    shared = {"classes": args.classes, "stains": args.stains}
    result = about | shared | predict.results(test, validation, args.classes, args.threshold)
    files.write_csv(test, folder / "predictions.csv")
    files.write_csv(validation, folder / "validation_predictions.csv")
    files.write_json(result, folder / "results.json")
    files.write_text(predict.text(result), folder / "results.txt")
    with files.atomic(folder / "data_splits.npz") as temporary:
        shutil.copyfile(args.split, temporary)


def draw(test: pd.DataFrame, validation: pd.DataFrame, args: argparse.Namespace, run: str, folder: Path) -> None:
    """Draw the figures of a run's test cases, with validation beside it where that helps."""
    from stratamil.report import plots, style  # with scikit-learn and matplotlib two seconds: not before it is needed

    classes, title = args.classes, f"split {args.name}, {run}: test cases"
    y, p, _ = predict.arrays(test, classes)
    val_y, val_p, _ = predict.arrays(validation, classes)
    curves = (
        [("test", y, p[:, 1]), ("validation", val_y, val_p[:, 1])]
        if len(classes) == 2
        else [(name, y == k, p[:, k]) for k, name in enumerate(classes)]
    )
    colors = () if len(classes) == 2 else style.COLORS  # of classes, not of sets
    drawings = {
        "confusion_matrix": plots.confusion_matrix(y, p.argmax(1), classes, title),
        "deviation_plot": plots.deviation(
            list(test["case_id"]), y, predict.true_probability(y, p), classes, title, wrong=p.argmax(1) != y
        ),
        "roc_curve": plots.roc(curves, title.removesuffix(": test cases"), colors=colors),
        "pr_curve": plots.precision_recall(curves, title.removesuffix(": test cases"), colors=colors),
        # With several classes, calibration is that of the predicted class.
        "calibration_curve": plots.calibration(y, p[:, 1], title, names=classes)
        if len(classes) == 2
        else plots.calibration(
            p.argmax(1) == y,
            p.max(1),
            f"{title}, predicted class",
            names=("wrong", "right"),
            colors=(style.WRONG, style.GREY),
        ),
    }
    for name in FIGURES:
        style.save(drawings[name], folder / f"{name}.png")


if __name__ == "__main__":
    cli.run(main, arguments())

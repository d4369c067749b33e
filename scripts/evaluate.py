"""Evaluate the models of one split on whole bags of the test and validation cases, all seeds at once."""

import argparse
import shutil
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
    cli.add_settings(parser, "evaluate", "threshold")
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
    test = predict.predict(model, all_bags, data.table, split.test, **told)
    members = cli.members(args.seeds, args.checkpoints)
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
        write(test[place], validation[place][0], about, f"seed {seed}", args, args.output / f"seed_{seed}")
    if len(members) > 1:
        predictions, attention = zip(*(test[place] for _, place in members))
        mean, weights = ensemble.predictions(predictions, args.classes), ensemble.attention(attention)
        chosen_on = ensemble.predictions([validation[place][0] for _, place in members], args.classes)
        about = {"split": args.name, "members": described, "features": data.identity}
        title = f"ensemble of {len(members)} seeds"
        write((mean, weights), chosen_on, about, title, args, args.output / "ensemble")


def write(
    tested: tuple[pd.DataFrame, pd.DataFrame],
    validation: pd.DataFrame,
    about: dict[str, Any],
    name: str,
    args: argparse.Namespace,
    folder: Path,
) -> None:
    """Write the tables, numbers and figures of one seed or the ensemble, whose name that is.

    tested: predictions and attention of the test cases. about: what results.json has beside the numbers.
    """
    test, attention = tested
    shared = {"classes": args.classes, "stains": args.stains}
    result = about | shared | predict.results(test, validation, args.classes, args.threshold)
    files.write_csv(test, folder / "predictions.csv")
    files.write_csv(validation, folder / "validation_predictions.csv")
    files.write_parquet(attention, folder / "patch_attention.parquet")
    files.write_json(result, folder / "results.json")
    files.write_text(predict.text(result), folder / "results.txt")
    with files.atomic(folder / "data_splits.npz") as temporary:
        shutil.copyfile(args.split, temporary)
    draw(test, validation, args.classes, f"split {args.name}, {name}: test cases", folder)


def draw(test: pd.DataFrame, validation: pd.DataFrame, classes: list[str], title: str, folder: Path) -> None:
    """Draw the figures of the test cases, with validation beside it where that helps."""
    from stratamil.report import (
        plots,
        style,
    )  # scikit-learn and matplotlib take two seconds; not before they are needed

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
    for name, figure in drawings.items():
        style.save(figure, folder / f"{name}.png")


if __name__ == "__main__":
    cli.run(main, arguments())

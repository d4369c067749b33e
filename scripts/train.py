"""Train the models of one split, all seeds at once; the best epoch of each on the validation cases is kept."""

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml

import cli
from stratamil.cohort import inventory, splits
from stratamil.core import devices, files, locks, provenance
from stratamil.evaluation import tuning_space
from stratamil.mil import checkpoint, stack, training, training_data


def arguments() -> argparse.Namespace:
    parser = cli.training(cli.parser(__doc__))
    parser.add_argument("--chosen", type=Path, help="chosen.yaml of rule tune_split, whose settings count instead")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the split, in which each seed has its own"
    )
    return parser.parse_args()


@contextlib.contextmanager
def watched(folders: dict[int, Path], tensorboard: bool) -> Iterator[training.Watch]:
    """Yield what to do with each epoch's row: write TensorBoard events beside the history, or nothing.

    folders: of the runs, by seed. The events are recreated from the history, so that a resumed training shows each
    epoch once. Events of other programs, which lack the suffix, stay.
    """
    own = ".stratamil"
    for folder in folders.values():
        for events in folder.glob(f"tensorboard/events.out.tfevents.*{own}"):
            events.unlink()
    if not tensorboard:
        yield lambda seed, row: None
        return
    from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

    with contextlib.ExitStack() as writers:
        writer = {
            seed: writers.enter_context(SummaryWriter(folder / "tensorboard", flush_secs=10, filename_suffix=own))
            for seed, folder in folders.items()
        }

        def watch(seed: int, row: stack.Row) -> None:
            for name, value in row.items():
                if name != "epoch":
                    writer[seed].add_scalar(name, value, row["epoch"])

        yield watch


def main(args: argparse.Namespace) -> None:
    with locks.held(args.state or args.output / "train"):
        train(args)


def train(args: argparse.Namespace) -> None:
    """Train, and write each seed's checkpoint last, after its history, plot and settings."""
    torch.set_num_threads(args.threads)
    split = splits.read(args.split)
    y = inventory.class_indices(args.cases, args.classes)
    device = devices.best()
    features, data = training_data.read(
        args.features, split, y=y, classes=args.classes, stains=args.stains, name=args.name, device=device
    )
    values = vars(args) | (tuning_space.read_chosen(args.chosen) if args.chosen else {})
    model_settings, settings = training_data.settings(values, features.values.shape[1], device)
    folders = {seed: args.output / f"seed_{seed}" for seed in args.seeds}
    with cli.stoppable() as stop, watched(folders, args.tensorboard) as watch:
        outcomes = training.train(
            data, model_settings, settings, args.seeds, state_path=args.state, watch=watch, stop=stop
        )
    described = {
        "model": model_settings.asdict(),
        "classes": args.classes,
        "stains": args.stains,
        "features": features.identity,
        "minhash": sorted({digest for case in data.y for digest in data.bags.minhash(case)}),
    }
    provided = {
        "split": {"file": str(args.split), "sha256": files.sha256(args.split)},
        "cases": {"file": str(args.cases), "sha256": files.sha256(args.cases)},
        "features_sha256": data.identity["data"],
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    for seed, outcome in outcomes.items():
        own = described | {"train": asdict(settings) | {"seed": seed}, "epoch": outcome.best["epoch"]}
        write(outcome, own, provided, f"split {args.name}, seed {seed}", folders[seed])


def write(
    outcome: stack.Outcome, described: dict[str, Any], provided: dict[str, Any], title: str, folder: Path
) -> None:
    """Write what a seed came to. described: of the checkpoint. provided: what settings.yaml has beside it."""
    from stratamil.report import style, training_plots  # matplotlib takes half a second; not before it is needed

    history = outcome.table()
    files.write_csv(history, folder / "history.csv", float_format="%.6g")
    style.save(training_plots.loss(history, title), folder / "model_loss.png")
    listed = {name: value for name, value in described.items() if name != "minhash"} | provided
    files.write_text(yaml.safe_dump(listed, sort_keys=False, allow_unicode=True), folder / "settings.yaml")
    checkpoint.save({"weights": outcome.best["weights"], **described}, folder / "checkpoints/best.pth")


if __name__ == "__main__":
    cli.run(main, arguments())

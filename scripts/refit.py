"""Train one model a seed on all cases, for the median of the best epochs that the splits' models had.

No case is left to validate on: the last epoch is kept, and a learning rate that waits for a plateau watches the loss of
the training cases.
"""

import argparse
import logging
from dataclasses import asdict
from pathlib import Path

import torch

import cli
from stratamil.cohort import inventory, splits
from stratamil.core import devices, progress
from stratamil.core.errors import Stopped
from stratamil.mil import checkpoint, training_data
from stratamil.mil.stack import Stack, recipes


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--checkpoints", nargs="+", type=Path, required=True, help="of all splits and seeds")
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature shards")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--stains", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    cli.add_settings(parser.add_argument_group("model"), "model")
    cli.add_settings(parser.add_argument_group("training"), "train")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--outputs", nargs="+", type=Path, required=True, help="checkpoint to write, one a seed")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from stratamil.deploy import collect

    torch.set_num_threads(args.threads)
    epochs = collect.median_epoch([checkpoint.read(path)["epoch"] for path in args.checkpoints])
    y, device = inventory.class_indices(args.cases, args.classes), devices.best()
    every = splits.Split(train=list(y), val=list(y), test=[])
    features, data = training_data.read(
        args.features, every, y=y, classes=args.classes, stains=args.stains, name="all", device=device
    )
    model_settings, settings = training_data.settings(vars(args), features.values.shape[1], device)
    logging.info("%d cases, seeds %s, %d epochs", len(y), ", ".join(map(str, args.seeds)), epochs)
    stack = Stack(data, recipes(model_settings, settings, args.seeds))
    with cli.stoppable() as stop:
        for _ in progress.track(range(epochs), epochs, "epochs"):
            if not stack.next_epoch(stop):
                raise Stopped("stopped: nothing is saved, so the next run starts again")
    described = {
        "model": model_settings.asdict(),
        "classes": args.classes,
        "stains": args.stains,
        "features": features.identity,
        "minhash": sorted({digest for case in y for digest in data.bags.minhash(case)}),
        "epoch": epochs,
    }
    for place, (seed, output) in enumerate(zip(args.seeds, args.outputs, strict=True)):
        own = described | {"train": asdict(settings) | {"seed": seed}}
        checkpoint.save({"weights": stack.model.weights(place), **own}, output)


if __name__ == "__main__":
    cli.run(main, arguments())

"""Train one model: one split, one seed; the best epoch on the validation cases is kept."""

import argparse
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

import cli
from stratamil.cohort import inventory, splits
from stratamil.core import devices, files, locks, provenance
from stratamil.features import store
from stratamil.mil import bags, checkpoint, training
from stratamil.mil.model import ModelSettings
from stratamil.report import style, training_plots


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature shards")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--split", type=Path, required=True, help="npz with train_cases and val_cases")
    parser.add_argument("--name", required=True, help="name of the split, e.g. 01")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--stains", nargs="+", required=True)
    parser.add_argument("--seed", type=int, required=True)
    cli.add_settings(parser.add_argument_group("model"), "model")
    cli.add_settings(parser.add_argument_group("training"), "train")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pth to write")
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--loss-plot", type=Path, required=True)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--state", type=Path, help="resumable state, written each epoch")
    return parser.parse_args()


def given(args: argparse.Namespace, settings: type, without: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a dataclass of settings as the command line gives them."""
    return {name: getattr(args, name) for name in settings.__dataclass_fields__ if name not in without}


@contextlib.contextmanager
def watched(args: argparse.Namespace) -> Iterator[Callable[[training.Row], None]]:
    """Yield what to do with each epoch's row: write TensorBoard events beside the history, or nothing.

    The events are recreated from the history, so that a resumed training shows each epoch once. Events of other
    programs, which lack the suffix, stay.
    """
    folder, own = args.history.parent / "tensorboard", ".stratamil"
    for events in folder.glob(f"events.out.tfevents.*{own}"):
        events.unlink()
    if not args.tensorboard:
        yield lambda row: None
        return
    from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

    with SummaryWriter(folder, flush_secs=10, filename_suffix=own) as writer:

        def watch(row: training.Row) -> None:
            for name, value in row.items():
                if name != "epoch":
                    writer.add_scalar(name, value, row["epoch"])

        yield watch


def main(args: argparse.Namespace) -> None:
    with locks.held(args.state or args.checkpoint):
        train(args)


def train(args: argparse.Namespace) -> None:
    """Train, and write the checkpoint last, after history, plot and settings."""
    torch.set_num_threads(args.threads)
    split = splits.read(args.split)
    y = inventory.class_indices(args.cases, args.classes)
    data = store.read(args.features, [*split.train, *split.val])
    model_settings = ModelSettings(
        in_dim=data.values.shape[1],
        classes=len(args.classes),
        **given(args, ModelSettings, without=("in_dim", "classes")),
    )
    device = devices.best()
    settings = training.TrainSettings(
        **given(args, training.TrainSettings, without=("precision",)),
        precision=training.precision(args.precision, device, model_settings),
    )
    all_bags = bags.Bags(data, args.stains, device)
    seen = {case: all_bags.fingerprint(case) for case in (*split.train, *split.val)}
    rows = data.table[list(store.TEXT)].to_csv(index=False)
    data_hash = hashlib.sha256("\n".join([*seen.values(), rows]).encode()).hexdigest()
    cases = training.Data(
        bags=all_bags,
        train=split.train,
        val=split.val,
        y={case: y[case] for case in seen},
        identity={"data": data_hash, "stains": args.stains, "classes": args.classes},
    )
    with cli.stoppable() as stop, watched(args) as watch:
        best, history = training.train(cases, model_settings, settings, state_path=args.state, watch=watch, stop=stop)
    described = {
        "model": model_settings.asdict(),
        "train": training.asdict(settings),
        "classes": args.classes,
        "stains": args.stains,
        "features": data.identity,
        "epoch": best["epoch"],
    }
    files.write_csv(history, args.history, float_format="%.6g")
    style.save(training_plots.loss(history, f"split {args.name}, seed {args.seed}"), args.loss_plot)
    provided = {
        "split": {"file": str(args.split), "sha256": files.sha256(args.split)},
        "cases": {"file": str(args.cases), "sha256": files.sha256(args.cases)},
        "features_sha256": data_hash,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    files.write_text(yaml.safe_dump(described | provided, sort_keys=False, allow_unicode=True), args.settings)
    minhash = sorted({digest for case in seen for digest in all_bags.minhash(case)})
    checkpoint.save({"weights": best["weights"], "minhash": minhash, **described}, args.checkpoint)


if __name__ == "__main__":
    cli.run(main, arguments())

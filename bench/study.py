"""A whole study the old way, the encoder inside the training loop, against this workflow: images read, and time.

The cohort: 80,000 patches of 77 cases, 5 splits of 60/20/20, 30 epochs, DenseNet121 at 224 px. The old way decodes,
augments and encodes every training and validation patch in every epoch, a case at a time and a slice at a forward pass,
in fp32 with torchvision's own preprocessing; its attention model costs nothing here, nor does reading its files.
Measured: the old way's seconds a patch on one slice of median size, the embedding stage's seconds a patch, and epochs
of the real trainer on features of the whole cohort (random numbers: training takes as long). Extrapolated: the rest, by
the counts of patches.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import measure
import synthetic
import torch
from patches import SIDE, paint
from PIL import Image
from torchvision import models, transforms

from stratamil.features import extract, networks

PATCHES, CASES, SPLITS, EPOCHS = 80_000, 77, 5, 30
SLICES, SLICE = 607, 97  # slices of the cohort, median patches of one
TRAIN, VALIDATION, TEST = 0.6, 0.2, 0.2
DIM = 4096  # DenseNet121 with 2x2 pooling
GOAL, GOAL_EPOCH = 200, 2000
NORMALISE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="measured epochs of the real trainer")
    parser.add_argument("--threads", type=int, default=measure.cores())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    old, stage = per_patch(args.repeats, args.threads)
    report(old, stage, epoch(args.epochs), args)


def per_patch(repeats, threads):
    """Median seconds of one patch in the old loop and in the embedding stage, measured in turns on the same files."""
    encoder = networks.load("densenet121", None, 224, "2x2")
    device = encoder.device
    network = models.densenet121().features.eval().to(device)
    augment = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.ToTensor(),
            NORMALISE,
        ]
    )
    old, stage = [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder) / "patches"
        table = paint(folder, [SIDE] * SLICE)

        @torch.no_grad()
        def old_way():
            batch = torch.stack([augment(Image.open(folder / path).convert("RGB")) for path in table["path"]])
            torch.nn.functional.adaptive_avg_pool2d(network(batch.to(device)), 2).cpu()

        def new_way():
            for file in folder.parent.glob("*.*"):
                file.unlink()
            place = {"output": folder.parent / "out.h5", "cache": folder.parent / "cache.h5", "max_unreadable": 0}
            extract.embed(table, table["case_id"].unique(), folder, encoder, **place, threads=threads)

        new_way()
        for _ in range(repeats):
            for work, taken in ((old_way, old), (new_way, stage)):
                begin = time.perf_counter()
                work()
                taken.append((time.perf_counter() - begin) / SLICE)
    return statistics.median(old), statistics.median(stage)


def epoch(epochs):
    """Seconds of an epoch, validation included, of the real trainer with its default settings."""
    shares = TRAIN + VALIDATION
    with tempfile.TemporaryDirectory() as folder:
        sizes = (round(shares * n) for n in (PATCHES, SLICES, CASES))
        bags = synthetic.load(synthetic.write(Path(folder), *sizes, DIM))
        cases = list(bags.cases)
        cut = round(len(cases) * TRAIN / shares)
        return synthetic.train(bags, cases[:cut], cases[cut:], synthetic.settings(epochs, DIM))["seconds"].median()


def report(old, stage, seconds, args):
    a_epoch = round((TRAIN + VALIDATION) * PATCHES)
    read = SPLITS * (EPOCHS * a_epoch + round(TEST * PATCHES))
    old_study, study = read * old, PATCHES * stage + SPLITS * EPOCHS * seconds
    print(
        f"study of {PATCHES:,} patches, {SPLITS} splits, {EPOCHS} epochs; {args.threads} threads\n"
        f"  measured    old way {1000 * old:7.1f} ms a patch, stage {1000 * stage:.1f} ms a patch "
        f"(medians of {args.repeats} turns of {SLICE} patches)\n"
        f"              epoch on features {seconds:.2f} s (median of {args.epochs})\n"
        f"  images read old way {read:,}, this workflow {PATCHES:,}: ratio {read / PATCHES:.0f}\n"
        f"  an epoch    old way {old * a_epoch / 3600:.1f} h (extrapolated), this workflow {seconds:.2f} s: "
        f"ratio {old * a_epoch / seconds:,.0f}: {measure.goal(old * a_epoch / seconds, GOAL_EPOCH)}\n"
        f"  the study   old way {old_study / 3600:,.0f} h, this workflow {study / 3600:.2f} h (both extrapolated): "
        f"ratio {old_study / study:,.0f}: {measure.goal(old_study / study, GOAL)}"
    )


if __name__ == "__main__":
    main()

"""The seeds of a split trained at once against one after the other, in turns.

Two cohorts of 60 cases, 45 of them for training: bags of 60 patches of 1,280 features (EfficientNet-Lite0) and of 700
patches of 4,096 (DenseNet121, 2x2). Wall time of the trainer for equal epochs, with statistics of the features and
validation, without the start of Python and the reading of features, which seeds that train at once share, too.
"""

import argparse
import time

import measure
import synthetic
import torch

from stratamil.core import devices, schema
from stratamil.mil.bags import Bags

CASES, TRAIN = 60, 45
SHAPES = {"60 patches x 1,280": (60, 1280, 4, 2.2), "700 patches x 4,096": (700, 4096, 1, 1.4)}  # epochs, goal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=measure.cores())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name, (patches, dim, epochs, goal) in SHAPES.items():
        bags = synthetic.memory(patches * CASES, 4 * CASES, CASES, dim)
        for precision in ["fp32", "bf16"] if devices.fast_bf16(bags.device) else ["fp32"]:
            compare(f"{name}, {precision}", bags, dim, epochs, precision, goal, args)


def compare(
    name: str, bags: Bags, dim: int, epochs: int, precision: str, goal: float, args: argparse.Namespace
) -> None:
    """Print how many times as long the seeds take one after the other."""
    cases, settings = list(bags.cases), synthetic.settings(epochs, dim, precision=precision)
    shape = {key: schema.defaults("model")[key] for key in ("embed_dim", "attention_dim")}

    def seconds(seeds: range) -> float:
        begin = time.perf_counter()
        synthetic.train(bags, cases[:TRAIN], cases[TRAIN:], settings, list(seeds), **shape)
        return time.perf_counter() - begin

    seconds(range(1))
    turns = [(seconds(range(1)), seconds(range(args.members))) for _ in range(args.repeats)]
    gain, least, most = measure.spread(args.members * one / together for one, together in turns)
    print(
        f"{name}: {args.members} seeds one after the other / at once: {gain:.2f} ({least:.2f} to {most:.2f}), "
        f"{measure.goal(gain, goal)}; one {min(one for one, _ in turns):.2f} s, {args.threads} threads"
    )


if __name__ == "__main__":
    main()

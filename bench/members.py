"""The seeds of a split trained at once against one after the other, in turns.

Two cohorts of 60 cases, 45 of them for training: bags of 60 patches of 1,280 features (EfficientNet-Lite0) and of 700
patches of 4,096 (DenseNet121, 2x2). Wall time of the trainer for equal epochs, with statistics of the features and
validation, without the start of Python and the reading of features, which seeds that train at once share, too. Then a
member's epoch, without validation, against the products that it cannot do without, those of all members at once, and
against ABMIL of torchmil with the same widths and optimiser, a case a step as here.
"""

import argparse
import time
from collections.abc import Callable

import measure
import synthetic
import torch
from torch import Tensor

from stratamil.core import devices, schema
from stratamil.mil import training
from stratamil.mil.bags import Bags

CASES, TRAIN = 60, 45
PRODUCTS, TORCHMIL = 1.15, 0.35  # most that a member's epoch may take of either
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
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
        inputs = [bags.batch([case]).x for case in list(bags.cases)[:TRAIN]]
        for precision in ["fp32", "bf16"] if devices.fast_bf16(bags.device) else ["fp32"]:
            compare(f"{name}, {precision}", bags, dim, epochs, precision, goal, args)
            limits(f"{name}, {precision}", bags, inputs, precision, args)


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


def limits(name: str, bags: Bags, inputs: list[Tensor], precision: str, args: argparse.Namespace) -> None:
    """Print what a member's epoch takes of the products of all, and of an epoch of torchmil's ABMIL."""
    cases, dim, patches = list(bags.cases), inputs[0].shape[1], sum(map(len, inputs))
    shape = {key: schema.defaults("model")[key] for key in ("embed_dim", "attention_dim")}
    settings = synthetic.settings(1, dim, precision=precision)
    ways = products(inputs, args.members, *shape.values(), DTYPES[precision]), torchmil(inputs, *shape.values())
    turns = []
    for _ in range(args.repeats + 1):
        history = synthetic.train(bags, cases[:TRAIN], cases[TRAIN:], settings, list(range(args.members)), **shape)
        turns.append([patches / history["patches_per_second"].median(), *map(seconds_of, ways)])
    turns = turns[1:]  # products are compiled, or their kernels chosen, when they are first used
    wide, half = dim * shape["embed_dim"] >= training.WORTH_BF16, precision == "bf16"
    products_goal, torchmil_goal = PRODUCTS if wide and not half else None, TORCHMIL if wide and half else None
    for what, place, share, goal in (
        ("the products", 1, args.members, products_goal), ("torchmil in fp32", 2, 1, torchmil_goal),
    ):  # fmt: skip
        ratio, least, most = measure.spread(turn[0] * share / turn[place] for turn in turns)
        said = f": {measure.verdict(ratio, goal)}" if goal else ""
        print(f"  {name}: / {what} {ratio:.2f} ({least:.2f} to {most:.2f}){said}", flush=True)


def seconds_of(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def products(inputs: list[Tensor], members: int, width: int, hidden: int, dtype: torch.dtype) -> Callable[[], None]:
    """Return an epoch of nothing but products: projector and attention of patches, forward and their gradients."""
    inputs = [x.to(dtype) for x in inputs]
    weight = torch.randn(members * width, inputs[0].shape[1], dtype=dtype, device=inputs[0].device)
    value = torch.randn(members, hidden, width, dtype=dtype, device=weight.device)

    def work() -> None:
        for x in inputs:
            embedded = (x @ weight.T).unflatten(1, (members, width)).transpose(0, 1)
            scores = torch.bmm(embedded, value.mT)
            torch.bmm(scores.mT, embedded)
            gradient = torch.bmm(scores, value).transpose(0, 1).flatten(1)
            torch.mm(gradient.T, x)

    return work


def torchmil(inputs: list[Tensor], width: int, hidden: int) -> Callable[[], None]:
    """Return an epoch of torchmil's ABMIL."""
    from torchmil.models import ABMIL

    projector = torch.nn.Sequential(torch.nn.Linear(inputs[0].shape[1], width), torch.nn.ReLU())
    model = ABMIL((inputs[0].shape[1],), hidden, feat_ext=projector).to(inputs[0].device)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4, weight_decay=0.01, fused=True)

    def work() -> None:
        for number, x in enumerate(inputs):
            y = torch.tensor([float(number % 2)], device=x.device)
            optimizer.zero_grad()
            next(iter(model.compute_loss(y, x.float()[None])[1].values())).backward()
            optimizer.step()

    return work


if __name__ == "__main__":
    main()

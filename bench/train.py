"""The trainer against the matrix products that it cannot do without, and against other ways to train.

One epoch over a cohort of 80,000 patches (4096 features, 600 slices, 3 stains, 90 cases), all patches used: forward,
backward, optimiser. The ways take turns, so that a busy machine slows all of them alike, and a ratio is that of one
turn:
  products   what an epoch has to multiply, with inputs that are in memory in the right precision, and nothing else
  ours       the trainer itself, without its validation; a case a step as the other ways, and several
  torchmil   ABMIL of torchmil: one attention over all patches of a case, the same widths, features, optimiser
  loop       the same three levels as Python loops over slices and stains
Then the peak memory of the rule's program on shards of that size, and the hours of a study.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import measure
import numpy as np
import pandas as pd
import synthetic
import torch
from patches import SCRIPTS
from synthetic import ATTENTION, EMBED
from torch import Tensor, nn

from stratamil.core import devices
from stratamil.mil.bags import Bags
from stratamil.mil.model import HierarchicalAttention

GOAL_PRODUCTS, GOAL_TORCHMIL = 1.10, 0.6
MEMORY, MEMORY_BASE = 1.3, 1e9  # times the features, and bytes
SPLITS, SEEDS, EPOCHS, TRAIN, VALIDATION = 5, 10, 30, 0.6, 0.2
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=80_000)
    parser.add_argument("--slices", type=int, default=600)
    parser.add_argument("--cases", type=int, default=90)
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--batch-size", type=int, default=4, help="cases a step where there are several")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10 if torch.cuda.is_available() else 1, help="epochs a turn")
    parser.add_argument("--threads", type=int, default=measure.cores())
    parser.add_argument("--folder", help="where the features are written; they are removed afterwards")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        shards = synthetic.write(Path(folder), args.patches, args.slices, args.cases, args.dim)
        memory(shards, args)  # first, because the peak of a program counts from that of the one that starts it
        bags = synthetic.load(shards)
        print(
            f"an epoch of {args.patches:,} patches of {args.dim:,} features, {args.slices} slices, {args.cases} cases; "
            f"{bags.device.type}, {args.threads} threads, medians of {args.repeats} turns of {args.epochs}"
        )
        Epochs(bags, args).compare()
        study(bags, args)


class Epochs:
    """The ways to train an epoch."""

    def __init__(self, bags: Bags, args: argparse.Namespace) -> None:
        self.bags, self.args, self.device = bags, args, bags.device
        self.cases, self.shape = list(bags.cases), synthetic.shape_of(args.dim)
        self.y = {case: number % 2 for number, case in enumerate(self.cases)}
        self.precisions = ["fp32", "bf16"] if devices.fast_bf16(self.device) else ["fp32"]

    def compare(self) -> None:
        ways = {}
        for precision in self.precisions:
            ways[f"products {precision}"] = self.timed(self.products(DTYPES[precision]))
            ways[f"ours {precision}"] = self.ours(precision, 1)
            ways[self.several(precision)] = self.ours(precision, self.args.batch_size)
        ways |= {"torchmil": self.timed(self.torchmil()), "loop": self.timed(self.loop())}
        parts = {"conversion": self.timed(self.conversion), "optimiser": self.timed(self.optimiser())}
        taken = {name: [] for name in ways | parts}
        for work in (ways | parts).values():
            work()  # products are compiled, or their kernels chosen, when they are first used
        for _ in range(self.args.repeats):
            for name, work in (ways | parts).items():
                taken[name].append(work())
        self.report({name: taken[name] for name in ways}, {name: statistics.median(taken[name]) for name in parts})

    def several(self, precision: str) -> str:
        return f"ours {precision} x{self.args.batch_size}"

    def report(self, taken: dict[str, list[float]], parts: dict[str, float]) -> None:
        patches, seconds = self.args.patches, {name: statistics.median(spent) for name, spent in taken.items()}
        operations = 2 * patches * (2 * self.args.dim * EMBED + 3 * EMBED * ATTENTION)
        for name, spent in seconds.items():
            rate = f"{operations / spent / 1e12:8.2f} TFLOP/s" if name.startswith("products") else ""
            print(f"  {name:14}{spent:9.3f} s{patches / spent:12,.0f} patches/s{rate}")
        for precision in self.precisions:
            limit = GOAL_PRODUCTS if precision == "fp32" else None
            for name in (f"ours {precision}", self.several(precision)):
                self.ratio(taken, name, f"products {precision}", limit)
        for precision in self.precisions:
            for name in (f"ours {precision}", self.several(precision)):
                self.ratio(taken, name, "torchmil", GOAL_TORCHMIL if precision == "bf16" else None)
        self.ratio(taken, "ours fp32", "loop")
        spent = {"products": seconds["products fp32"], **parts}
        spent["rest"] = seconds["ours fp32"] - sum(spent.values())
        shares = ", ".join(f"{name} {part / seconds['ours fp32']:.0%}" for name, part in spent.items())
        print(f"  ours fp32, each part measured by itself: {shares}")

    def ratio(self, taken: dict[str, list[float]], name: str, reference: str, limit: float | None = None) -> None:
        """Print the ratio of two ways, turn by turn, and against its limit; returns the median."""
        ratio, least, most = measure.spread(a / b for a, b in zip(taken[name], taken[reference]))
        said = f": {measure.verdict(ratio, limit)}" if limit else ""
        print(f"  {name} / {reference:14} {ratio:.3f} ({least:.3f} to {most:.3f}){said}")
        return ratio

    def timed(self, work: Callable[[], object]) -> Callable[[], float]:
        """Return a function that does `work` for each epoch of a turn and returns the seconds of one."""

        def seconds() -> float:
            self.wait()
            begin = time.perf_counter()
            for _ in range(self.args.epochs):
                work()
            self.wait()
            return (time.perf_counter() - begin) / self.args.epochs

        return seconds

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def products(self, dtype: torch.dtype) -> Callable[[], None]:
        """Return an epoch of nothing but products: projector and patch attention, forward and their gradients."""
        inputs = [self.bags.batch([case]).x.to(dtype, copy=True) for case in self.cases]
        most, dim = max(map(len, inputs)), self.args.dim

        def empty(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=self.device)

        weight, value = empty(EMBED, dim).normal_(0, 0.02), empty(ATTENTION, EMBED).normal_(0, 0.04)
        of_weight, of_value = empty(EMBED, dim), empty(ATTENTION, EMBED)
        embedded, of_embedded, hidden = empty(most, EMBED), empty(most, EMBED), empty(most, ATTENTION)

        def work() -> None:
            for x in inputs:
                h, of_h, a = embedded[: len(x)], of_embedded[: len(x)], hidden[: len(x)]
                torch.mm(x, weight.T, out=h)
                torch.mm(h, value.T, out=a)
                torch.mm(a.T, h, out=of_value)
                torch.mm(a, value, out=of_h)
                torch.mm(of_h.T, x, out=of_weight)

        return work

    def ours(self, precision: str, cases: int) -> Callable[[], float]:
        """Return a function that gives the seconds of an epoch, without what precedes it and without validation.

        By the trainer's own clock.
        """
        settings = synthetic.settings(self.args.epochs, self.args.dim, precision=precision, batch_size=cases)

        def seconds() -> float:
            history = synthetic.train(self.bags, self.cases, self.cases[:1], settings)
            return self.args.patches / history["patches_per_second"].median()

        return seconds

    def torchmil(self) -> Callable[[], None]:
        from torchmil.models import ABMIL  # 150 MB, which would count in what `memory` measures

        projector = nn.Sequential(nn.Linear(self.args.dim, EMBED), nn.ReLU())
        model = ABMIL((self.args.dim,), ATTENTION, feat_ext=projector).to(self.device)

        def loss(case: str) -> Tensor:
            y = torch.tensor([self.y[case]], device=self.device)
            return next(iter(model.compute_loss(y, self.bags.batch([case]).x.float()[None])[1].values()))

        return self.steps(model, loss)

    def loop(self) -> Callable[[], None]:
        model = HierarchicalAttention(self.shape).to(self.device)

        def pool(level: str, rows: Tensor | list[Tensor]) -> Tensor:
            rows = torch.stack(rows) if isinstance(rows, list) else rows
            return torch.softmax(model.attention[level](rows), 0) @ rows

        def loss(case: str) -> Tensor:
            x, at, stains = self.bags.batch([case]).x, 0, []
            for by_slice in self.bags.cases[case]:
                slices = []
                for patches in by_slice:
                    part, at = x[at : at + len(patches)].float(), at + len(patches)
                    slices.append(pool("patch", model.projector((part - model.mean) * model.scale)))
                stains.append(pool("slice", slices))
            y = torch.tensor([self.y[case]], device=self.device)
            return nn.functional.cross_entropy(model.classifier(pool("stain", stains))[None], y)

        return self.steps(model, loss)

    def steps(self, model: nn.Module, loss: Callable[[str], Tensor]) -> Callable[[], None]:
        """Return an epoch of a model and its loss of a case."""
        optimizer = torch.optim.AdamW(model.parameters(), 3e-4, weight_decay=2e-4, fused=True)

        def work() -> None:
            for case in self.cases:
                optimizer.zero_grad()
                loss(case).backward()
                optimizer.step()

        return work

    def conversion(self) -> None:
        for case in self.cases:
            self.bags.batch([case]).x.float()

    def optimiser(self) -> Callable[[], object]:
        model = HierarchicalAttention(self.shape).to(self.device)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer = torch.optim.AdamW(model.parameters(), 3e-4, fused=True)
        return lambda: [optimizer.step() for _ in self.cases]


def memory(shards: list[Path], args: argparse.Namespace) -> None:
    """Print the peak memory of the rule's program, all cases in training or validation, against its limit."""
    folder, cases = shards[0].parent, np.arange(args.cases).astype(str)
    cut = round(len(cases) * TRAIN / (TRAIN + VALIDATION))
    np.savez(folder / "split.npz", train_cases=cases[:cut], val_cases=cases[cut:], test_cases=cases[:0])
    classes = np.array(["a", "b"])[np.arange(args.cases) % 2]
    pd.DataFrame({"case_id": cases, "class": classes, "status": "used"}).to_csv(folder / "cases.csv", index=False)
    _, peak = measure.run([
        sys.executable, SCRIPTS / "train.py", "--features", *shards, "--cases", folder / "cases.csv",
        "--split", folder / "split.npz", "--name", "01", "--classes", "a", "b", "--stains", *synthetic.STAINS,
        "--seeds", 42, "--epochs", 1, "--embed-dim", EMBED, "--instance-dropout", 0, "--threads", args.threads,
        "--output", folder / "split_01", "--log", folder / "log",
    ])  # fmt: skip
    size = 2 * args.patches * args.dim
    said = measure.verdict(peak, round((MEMORY * size + MEMORY_BASE) / 2**20))
    print(f"memory of scripts/train.py with features of {size / 2**20:.0f} MB: {peak:.0f} MB: {said}")


def study(bags: Bags, args: argparse.Namespace) -> None:
    """Print the hours of a whole study, from epochs of training and validation and what a training begins with."""
    cases, settings = list(bags.cases), synthetic.settings(args.epochs + 1, args.dim)
    cut, end = round(TRAIN * len(cases)), round((TRAIN + VALIDATION) * len(cases))
    begin = time.perf_counter()
    history = synthetic.train(bags, cases[:cut], cases[cut:end], settings)
    first, epoch = time.perf_counter() - begin - history["seconds"].sum(), history["seconds"].median()
    print(
        f"a study of {SPLITS} splits x {SEEDS} seeds x {EPOCHS} epochs in {settings.precision}: "
        f"{SPLITS * SEEDS * (first + EPOCHS * epoch) / 3600:.2f} h of one such machine, extrapolated from "
        f"{epoch:.2f} s an epoch with validation and {first:.2f} s before the first"
    )


if __name__ == "__main__":
    main()

"""What a GPU makes of training and embedding: one command, some minutes, without Snakemake.

A cohort of 80,000 patches (4,096 random features, 600 slices, 90 cases), models as wide as in bench/train.py:
  study      5 splits x 10 seeds x 30 epochs, from features that are in memory to the last epoch
  members    an epoch of 10 and of 50 seeds at once against one after the other
  step       operations of a step, and whether one waits for the GPU; where its time goes
  exact      a training that is killed and resumed against an undisturbed one, and the GPU against the CPU
  embed      patches/s from image files to a feature file against the encoder alone, random weights
It runs on a CPU, too; with --small that takes seconds and measures nothing, but takes the same steps.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import measure
import numpy as np
import synthetic
import torch
from embedding import Work
from patches import SIDE
from torch.profiler import ProfilerActivity, profile

from stratamil.core import devices
from stratamil.core.errors import UserError
from stratamil.features import extract, images, networks
from stratamil.mil import stack, training

GOAL_STUDY, GOAL_EMBED, AGREES = 60, 0.8, 1e-3
SPLITS, TRAIN, VALIDATION = 5, 0.6, 0.2


@dataclass(frozen=True)
class Size:
    """How much is measured. few: of the cohort that exactness is shown on, as patches, slices and cases."""

    patches: int = 80_000
    slices: int = 600
    cases: int = 90
    dim: int = 4096
    epochs: int = 30
    seeds: int = 10
    members: tuple[int, ...] = (1, 10, 50)
    few: tuple[int, int, int] = (8_000, 120, 30)
    images: int = 4096
    encoders: tuple[str, ...] = ("densenet121", "timm:vit_large_patch16_224")
    embed_dim: int = synthetic.EMBED


SMALL = Size(400, 40, 12, 64, 2, 2, (1, 2, 3), (200, 24, 8), 8, ("stain_stats",), 16)
DEVICE = devices.best()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="sizes of a test")
    parser.add_argument("--threads", type=int, default=measure.cores())
    parser.add_argument("--state", type=Path, help=argparse.SUPPRESS)  # of a training to be killed: see `killed`
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    size = SMALL if args.small else Size()
    if args.state:
        return print(digest(few(size, DEVICE, args.state)))
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU"
    say("machine", f"{name}, {args.threads} threads, PyTorch {torch.__version__}, {size}")
    bags = timed("features", lambda: synthetic.memory(size.patches, size.slices, size.cases, size.dim))
    say("features", f"{'resident on the GPU' if bags.kept is not None else 'in memory'}")
    for part in (study, members, step):
        part(bags, size)
    del bags
    agreement(size)
    killed(size, args)
    for encoder in size.encoders:
        embed(encoder, size, args.threads)


def say(part: str, text: str) -> None:
    print(f"{part:9} {text}", flush=True)


def timed(part, work):
    """What `work` returns; its seconds are printed."""
    with clock() as spent:
        result = work()
    say(part, f"{spent[0]:.1f} s")
    return result


@contextmanager
def clock():
    """Yield a list that gets the seconds of what is done within, on the device, too."""
    spent, begin = [], time.perf_counter()
    yield spent
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    spent.append(time.perf_counter() - begin)


def cut(bags, split):
    """The cases that a split trains and validates on."""
    cases = np.random.default_rng(split).permutation(list(bags.cases)).tolist()
    return cases[: round(TRAIN * len(cases))], cases[
        round(TRAIN * len(cases)) : round((TRAIN + VALIDATION) * len(cases))
    ]


def stacked(bags, size, seeds, *, epochs=1, **changes):
    """Members on the first split, before their first step."""
    settings = synthetic.settings(epochs, size.dim, **changes)
    shape = synthetic.shape_of(size.dim, embed_dim=size.embed_dim)
    return stack.Stack(synthetic.data(bags, *cut(bags, 0)), stack.recipes(shape, settings, range(seeds)))


def peak() -> str:
    """The most memory of the GPU that was in use since this was asked before."""
    if DEVICE.type != "cuda":
        return "no GPU"
    most = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return f"peak {most:.2f} GB on the GPU"


def study(bags, size):
    """All splits, one after the other."""
    settings = synthetic.settings(size.epochs, size.dim)
    shape = synthetic.shape_of(size.dim, embed_dim=size.embed_dim)
    peak()
    splits, patches = [], 0
    for split in range(SPLITS):
        with clock() as spent:
            data = synthetic.data(bags, *cut(bags, split), name=f"{split:02}")
            training.train(data, shape, settings, range(size.seeds))
        splits.append(spent[0])
        patches += size.epochs * sum(len(bags.rows(case)) for case in data.train)
    multiplied = 2 * size.seeds * patches * size.embed_dim * (2 * size.dim + 3 * synthetic.ATTENTION)
    said = measure.verdict(sum(splits), GOAL_STUDY)
    say(
        "study",
        f"{SPLITS} splits x {size.seeds} seeds x {size.epochs} epochs, {settings.precision}: {sum(splits):.1f} s "
        f"({min(splits):.1f} to {max(splits):.1f} a split): {said}; {multiplied / 1e15:.2f} PFLOP of products, "
        f"{multiplied / sum(splits) / 1e12:.1f} TFLOP/s; {peak()}",
    )


def members(bags, size):
    """Epochs of several members against one."""
    alone = None
    for seeds in size.members:
        together = stacked(bags, size, seeds, epochs=3)
        seconds = []
        for _ in range(3):
            with clock() as spent:
                together.next_epoch(lambda: False)
            seconds.append(spent[0])
        best = min(seconds)
        alone = alone or best
        say(
            "members",
            f"{seeds:2}: {best:.3f} s an epoch, {alone * seeds / best:.2f} times as fast as one after the other; "
            f"{1000 * best / len(together.data.train):.2f} ms a step with its share of validation; {peak()}",
        )


def step(bags, size):
    """Count a step's operations, and what waits for the GPU; on a GPU, kernels by their time."""
    together = stacked(bags, size, size.seeds)
    together.next_epoch(lambda: False)
    steps, rates = len(together.data.train), [member.lr for member in together.members]
    with warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        if DEVICE.type == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        together._train_epoch(rates, lambda: False)
        if DEVICE.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    together.at = 0
    cuda = [ProfilerActivity.CUDA] if DEVICE.type == "cuda" else []
    with profile(activities=[ProfilerActivity.CPU, *cuda]) as profiled, clock() as spent:
        together._train_epoch(rates, lambda: False)
    events = profiled.events()
    kernels = [each for each in events if each.device_type == torch.autograd.DeviceType.CUDA]
    outer = [each for each in events if each.cpu_parent is None and each.name.startswith("aten::")]
    counted = Counter(each.name for each in events)
    launched = sum(n for name, n in counted.items() if "LaunchKernel" in name)
    waited = sum(n for name, n in counted.items() if "Synchronize" in name)
    busy = sum(each.time_range.elapsed_us() for each in kernels) / 1e6
    say(
        "step",
        f"{size.seeds} seeds: {launched / steps:.0f} kernels launched, {len(outer) / steps:.0f} operations; "
        f"{len(waits)} warnings of waiting and {waited} synchronisations in {steps} steps; "
        f"{1000 * spent[0] / steps:.2f} ms under the profiler, {1000 * busy / steps:.2f} ms of them kernels",
    )
    for warning in waits[:3]:
        say("", str(warning.message).splitlines()[0])
    if kernels:
        print(profiled.key_averages().table(sort_by="self_device_time_total", row_limit=12, max_name_column_width=60))


def few(size, device, state=None, epochs=10, **changes):
    """What two seeds come to on a small cohort."""
    bags = synthetic.memory(*size.few, size.dim, device)
    settings = synthetic.settings(epochs, size.dim, **changes)
    shape = synthetic.shape_of(size.dim, embed_dim=size.embed_dim)
    return training.train(synthetic.data(bags, *cut(bags, 0)), shape, settings, [1, 2], state_path=state)


def agreement(size):
    """The same epoch on the GPU and on the CPU, in fp32."""
    here, there = (few(size, device, epochs=1, precision="fp32") for device in (DEVICE, "cpu"))
    apart = max(
        float((weights - there[seed].best["weights"][name]).abs().max() / weights.abs().max().clamp_min(1))
        for seed, outcome in here.items()
        for name, weights in outcome.best["weights"].items()
    )
    loss = max(abs(here[seed].history[0]["val_loss"] - there[seed].history[0]["val_loss"]) for seed in here)
    said = measure.verdict(apart, AGREES)
    say("exact", f"after an epoch in fp32, weights differ from the CPU's by {apart:.1e}: {said}; losses by {loss:.1e}")


def digest(outcomes) -> str:
    """The SHA-256 of the weights, and of all losses."""
    found = hashlib.sha256()
    for outcome in outcomes.values():
        for name, weights in sorted(outcome.best["weights"].items()):
            found.update(name.encode() + weights.contiguous().numpy().tobytes())
        found.update(repr([(row["train_loss"], row["val_loss"]) for row in outcome.history]).encode())
    return found.hexdigest()


def killed(size, args):
    """A program that trains, killed once its first state is written, then run again, against one left alone."""
    with tempfile.TemporaryDirectory() as folder:
        states = [Path(folder) / name for name in ("whole.pth", "killed.pth")]
        program = [sys.executable, __file__, "--threads", str(args.threads), *(["--small"] if args.small else [])]
        commands = [[*program, "--state", state] for state in states]
        process = subprocess.Popen(commands[1], stdout=subprocess.DEVNULL)
        while process.poll() is None and not states[1].exists():
            time.sleep(0.01)
        process.kill()
        died = process.wait()
        epoch = torch.load(states[1], weights_only=True)["stack"]
        whole, again = (subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout for command in commands)
    after = f"killed (exit {died}) after epoch {epoch['epoch']}" if epoch else "not killed in time"
    say("exact", f"a training {after} and resumed: {'the same bytes' if whole == again else 'OTHER BYTES'}")


def embed(name, size, threads):
    """From files to a feature file, against the encoder on pixels that are in memory."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            encoder = networks.load(name, None, 224)
        except (UserError, ImportError) as error:
            return say("embed", f"{name}: skipped: {error}")
        work = Work(Path(folder) / "embed", [SIDE] * size.images, threads)
        pixels = np.stack([images.read(path, 224, "squash") for path in work.paths[: extract.BATCH[DEVICE.type]]])
        pixels = torch.from_numpy(np.resize(pixels, (extract.BATCH[DEVICE.type], *pixels.shape[1:])))
        work.alone(encoder, pixels)
        turns = [(work.alone(encoder, pixels), work.stage(encoder)) for _ in range(2)]
        ratio = max(alone / stage for alone, stage in turns)
        alone, stage = (work.n / min(seconds) for seconds in zip(*turns))
        say(
            "embed",
            f"{name}, {encoder.precision}: {stage:,.0f} patches/s from files of {SIDE} px, the encoder alone "
            f"{alone:,.0f}: ratio {ratio:.2f}: {measure.goal(ratio, GOAL_EMBED)}, {threads} threads; {peak()}",
        )


if __name__ == "__main__":
    main()

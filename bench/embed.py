"""The embedding stage against its encoder alone: DenseNet121, 224 px, 2x2 pooling, random weights (of the same speed).

Alone: the encoder on tensors that are in memory. Stage: PNG files to a feature file. Both in turns, with the same
batches, precision and threads. Then what a patch costs, and the peak memory of many patches against that of few.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import measure
import numpy as np
import pandas as pd
import torch
from embedding import Work
from patches import SCRIPTS, SIDE, paint, spread

from stratamil.features import cache, extract, images, networks, store

GOAL = {"cpu": 0.9, "cuda": 0.8}  # share of the encoder's own speed
COSINE = 0.99
MEMORY = 1.2  # peak of 4 n patches against n
WIDE = 4096  # features of the encoder that the memory is measured with


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    cuda = torch.cuda.is_available()
    parser.add_argument("--patches", type=int, default=8192 if cuda else 160)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=measure.cores())
    parser.add_argument("--folder", help="where patches and features are written; they are removed afterwards")
    parser.add_argument("--wide", type=Path, help=argparse.SUPPRESS)  # measured by the program itself: see `memory`
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.wide:
        return encode_wide(args.wide)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        memory(Path(folder))  # first, for the peak of a program counts from that of the one that starts it
        for place, name, sides in (
            ("median", f"{SIDE} px", [SIDE] * args.patches),
            ("spread", "55 to 2,052 px (1% to 99%), median 195", spread(args.patches)),
        ):
            Study(Path(folder) / place, sides, args.threads).compare(name, args.repeats)


class Study(Work):
    """What is done with painted patches."""

    def compare(self, name, repeats):
        print(f"embedding of {self.n:,} patches of {name}, {repeats} turns, {self.threads} threads")
        shards = []
        for precision in ("fp32", "bf16"):
            encoder = networks.load("densenet121", None, 224, "2x2", precision)
            size = extract.BATCH[encoder.device.type]
            batch = torch.from_numpy(np.stack([images.read(path, 224, "squash") for path in self.paths[:size]]))
            encoder(batch)
            alone, stage = [], []
            for _ in range(repeats):
                alone.append(self.alone(encoder, batch))
                stage.append(self.stage(encoder))
            shards.append(store.read([self.place / "out.h5"]).values[:].astype(np.float32))
            ratio, least, most = measure.spread(a / s for a, s in zip(alone, stage))
            begun, _ = measure.run(self.script(precision))
            print(
                f"  {precision}  encoder alone {self.n / statistics.median(alone):7.1f} patches/s\n"
                f"        stage         {self.n / statistics.median(stage):7.1f} patches/s"
                f"   ratio {ratio:.3f} ({least:.3f} to {most:.3f}): {measure.goal(ratio, GOAL[encoder.device.type])}\n"
                f"        script        {self.n / begun:7.1f} patches/s with start-up"
            )
            self.costs(statistics.median(alone), stage, encoder)
        norms = [np.linalg.norm(shard, axis=1) for shard in shards]
        cosine = (shards[0] * shards[1]).sum(1) / (norms[0] * norms[1])
        print(
            f"  cosine of a patch's features in fp32 and bf16: median {np.median(cosine):.5f}, "
            f"least {cosine.min():.5f}: {measure.goal(cosine.min(), COSINE)}"
        )

    def script(self, precision):
        """The rule's program, with an empty cache."""
        place = self.place / f"script_{precision}"
        place.mkdir()
        self.table.to_parquet(place / "patches.parquet")
        pd.DataFrame({"case_id": self.table["case_id"].unique(), "status": "used"}).to_csv(
            place / "cases.csv", index=False
        )
        return [
            sys.executable, SCRIPTS / "embed.py", "--patches-table", place / "patches.parquet",
            "--cases", place / "cases.csv", "--patches", self.place / "patches", "--shard", 0, "--shards", 1,
            "--encoder", "densenet121", "--input-size", 224, "--pooling", "2x2", "--precision", precision,
            "--threads", self.threads, "--output", place / "out.h5", "--cache", place / "cache.h5",
            "--log", place / "log",
        ]  # fmt: skip

    def costs(self, alone, stage, encoder):
        """Milliseconds a patch of each step by itself, on one thread except the encoder."""
        opened, fitted = [], []
        decode = _seconds(lambda: opened.extend(map(images.load, self.paths)))
        resize = _seconds(lambda: fitted.extend(np.asarray(images.fit(image, 224, "squash")) for image in opened))
        values = store.read([self.place / "out.h5"]).values
        kept = cache.Cache(self.place / "apart.h5", encoder.identity)
        keys = [cache.Key(path, 0, 0) for path in self.table["path"]]
        colour, facts = np.zeros((16, store.COLOUR)), [images.Facts(*[0] * len(images.Facts._fields))] * 16
        none = pd.DataFrame(columns=store.UNREADABLE)

        def write():
            for begin in range(0, self.n, 16):
                kept.add(keys[begin : begin + 16], facts, {"features": values[begin : begin + 16], "colour": colour})
            rows, colours = (cache.Rows(kept, keys, name) for name in ("features", "colour"))
            store.write(self.place / "apart.h5", rows, self.table, none, encoder.identity, colours)

        names = {"decode": decode, "resize": resize, "encode": alone, "write": _seconds(write)}
        print("        ms a patch: " + ", ".join(f"{name} {1000 * s / self.n:.2f}" for name, s in names.items()))
        if encoder.device.type == "cpu":
            # Decoding and encoding share the cores, so that no order of work can hide the one behind the other.
            most = alone / (alone + (decode + resize + names["write"]) / self.threads)
            print(f"        so all cores at work without a pause would reach a ratio of {most:.3f}")


def _seconds(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def memory(folder):
    """Peak memory of encoding n and 4 n tiny patches to features as wide as DenseNet121's."""
    peaks = []
    for n in (4000, 16000):
        place = folder / f"wide_{n}"
        paint(place / "patches", [8] * n).to_parquet(place / "patches.parquet")
        peaks.append(measure.run([sys.executable, __file__, "--wide", place])[1])
    ratio = peaks[1] / peaks[0]
    print(
        f"memory for 4,000 patches {peaks[0]:.0f} MB, for 16,000 {peaks[1]:.0f} MB, "
        f"whose features are {2 * WIDE * 16000 / 1e6:.0f} MB: ratio {ratio:.2f}: {measure.verdict(ratio, MEMORY)}"
    )


def encode_wide(place):
    """Encode the patches below `place` with an encoder that costs nothing."""

    def encoder(batch):
        return batch.float().mean((1, 2, 3))[:, None].expand(-1, WIDE)

    encoder.identity = {"encoder": "wide", "input_size": 8, "resize": "squash", "dim": WIDE}
    encoder.device = torch.device("cpu")
    table = pd.read_parquet(place / "patches.parquet")
    files = {"output": place / "out.h5", "cache": place / "cache.h5", "max_unreadable": 0}
    extract.embed(table, table["case_id"].unique(), place / "patches", encoder, **files)


if __name__ == "__main__":
    main()

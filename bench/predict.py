"""Time and memory of predicting new cases from cached features, by the number of cases.

    python bench/predict.py

Made cases of 700 patches in three stains and features of EfficientNet-Lite0's width; 15 members (5 splits, 3 seeds) of
the default model. Each size runs in a process of its own, on two threads: read each case's file, predict it by all
members, raise its flags, write its attention. Encoding and galleries are not part of it.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from stratamil.core import files, schema
from stratamil.deploy import bundle, predictions, shift
from stratamil.deploy.apply import load_bundle
from stratamil.features import store
from stratamil.mil.model import HierarchicalAttention, ModelSettings

NAMES = dict.fromkeys(("pattern", "stains", "unknown_stains"))
COHORT = dict.fromkeys(("case_column", "class_column", "classes", "excluded_codes"))
STAINS, DIM, PATCHES = ["h&e", "melan", "sox10"], 1280, 700


def write_bundle(path: Path, rng: np.random.Generator) -> None:
    """Write a bundle of random members."""
    settings = ModelSettings(DIM, 2, **schema.defaults("model"))
    weights, members = {}, []
    for split in range(1, 6):
        for seed in (1, 2, 3):
            model = HierarchicalAttention(settings)
            model.standardise(torch.full((DIM,), 0.01 * split), torch.ones(DIM))
            file = f"members/split_{split:02d}_seed_{seed}.safetensors"
            weights[file] = {name: tensor.numpy() for name, tensor in model.weights(0).items()}
            members.append({"file": file, "split": f"{split:02d}", "seed": seed, "epoch": 9})
    described, arrays = rng.normal(size=(60, DIM)), {"hashes": np.arange(900, dtype=np.uint64)}
    for i in range(3):
        fitted = shift.fit(described)._asdict()
        arrays |= {f"shift.{i}.{name}": part for name, part in fitted.items()}
    known = {"stains": STAINS, "combinations": ["+".join(STAINS)], "patches": {"least": 50, "most": 900}}
    known |= {
        "shift": {"limit": 2.0, "usual": dict.fromkeys(STAINS, 1.0)},
        "disagreement": {"limit": 0.1, "share": 0.95},
    }
    decision = {"threshold": 0.5, "temperature": 1.2}
    facts = {"title": "bench", "classes": ["benign", "high-grade"], "stains": STAINS, "names": NAMES, "cohort": COHORT}
    facts |= {"source": "patches", "encoders": {}, "features": {"dim": DIM}, "model": settings.asdict()}
    facts |= {"members": members, "decision": decision, "splits": {}, "reference": known}
    bundle.write(path, facts, weights, arrays, "bench")


def write_case(path: Path, case: str, rng: np.random.Generator) -> None:
    """Write the feature file of a case as predict leaves it."""
    place = np.arange(PATCHES)
    table = pd.DataFrame({"case_id": case, "stain": np.array(STAINS, dtype=object)[place % 3]})
    table = table.assign(slice_id=(place // 3 % 4).astype(str), patch=place // 12, path=[f"{case}/{i}" for i in place])
    table = table.sort_values(["stain", "slice_id"], kind="stable", ignore_index=True)
    values = rng.normal(size=(PATCHES, DIM)).astype(np.float16)
    colour = rng.normal(size=(PATCHES, store.COLOUR)).astype(np.float16)
    store.write(path, values, table, pd.DataFrame(columns=store.UNREADABLE), {"dim": DIM}, colour)


def measure(folder: Path, cases: int) -> None:
    """Predict and print cases, seconds and peak memory."""
    torch.set_num_threads(2)
    model, begin, used = load_bundle(folder / "bench.zip"), time.perf_counter(), time.process_time()
    tables = predictions.predict(
        model,
        ((str(i), "") for i in range(cases)),
        lambda case: store.read([folder / f"features/{case}.h5"], [case]),
        unknown={},
        attention=folder / f"{cases}.parquet",
    )
    seconds, cpu = time.perf_counter() - begin, time.process_time() - used
    files.write_csv(tables.predictions, folder / f"{cases}.csv")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each = f"{1000 * seconds / cases:.0f} ms a case, of CPU {1000 * cpu / cases:.0f} ms"
    print(f"{cases:6d} cases: {seconds:.1f} s, {each}, {peak:.0f} MB at most", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[100, 500])
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "CASES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(Path(args.measure[0]), int(args.measure[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), np.random.default_rng(0)
        write_bundle(folder / "bench.zip", rng)
        for case in range(max(args.sizes)):
            write_case(folder / f"features/{case}.h5", str(case), rng)
        for size in args.sizes:
            subprocess.run([sys.executable, __file__, "--measure", name, str(size)], check=True)


if __name__ == "__main__":
    main()

"""Seconds to perturb a case, against its patches, at the default settings: they should grow as the patches do."""

import sys
import time

import numpy as np
import pandas as pd
import torch
from measure import verdict
from patches import SCRIPTS  # noqa: F401  puts the library on the path

from stratamil.core import schema
from stratamil.explain import perturb
from stratamil.features import store
from stratamil.mil import bags, model

SIZES = (350, 700, 1400, 2800)  # a case of a real study has a median of 678 patches
TYPICAL, LIMIT, GROWTH = 700, 1.0, 1.5
SLICES, STAINS, DIM, REPEATS = 2, ("h&e", "melan", "sox10"), 4096, 5


def case(n: int) -> store.Features:
    """Return the features of a case of n patches, in two slices of each stain."""
    rows = np.arange(n) * SLICES * len(STAINS) // n
    table = pd.DataFrame({"case_id": "1", "stain": np.array(STAINS)[rows // SLICES], "slice_id": rows.astype(str)})
    values = np.random.default_rng(0).standard_normal((n, DIM)).astype(np.float16)
    return store.Features(values, table.assign(patch=np.arange(n), path=np.arange(n).astype(str)), {})


def seconds(data: store.Features, net: model.HierarchicalAttention) -> float:
    """Return the seconds to perturb a case."""
    own, begin = bags.Bags(data, STAINS), time.perf_counter()
    settings = perturb.Settings(**schema.defaults("faithfulness"), top_percent=5.0, seed=42)
    perturb.perturb(net, own, data.table, case_ids=["1"], y={"1": 0}, classes=["a", "b"], settings=[(0, settings)])
    return time.perf_counter() - begin


def main(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    shape = model.ModelSettings(DIM, 2, **(schema.defaults("model") | {"zero_start": False}))
    net = model.HierarchicalAttention(shape)
    cases = {n: case(n) for n in SIZES}
    seconds(cases[SIZES[0]], net)  # a turn to warm up
    # In turns, so that a busy machine slows all of them alike; the fastest is what the work takes.
    spent = np.min([[seconds(data, net) for data in cases.values()] for _ in range(REPEATS)], axis=0)
    for n, fastest in zip(SIZES, spent):
        print(f"{n:5d} patches: {fastest:6.3f} s, {1e6 * fastest / n:6.1f} us a patch")
    typical = spent[SIZES.index(TYPICAL)]
    print(f"a case of {TYPICAL} patches: {typical:.2f} s, {verdict(typical, LIMIT)} s")
    growth = (spent[-1] / spent[0]) / (SIZES[-1] / SIZES[0])
    print(f"seconds a patch of the largest over those of the smallest: {growth:.2f}, {verdict(growth, GROWTH)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)

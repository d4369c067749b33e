"""How many slices under a wrong name are found: 2 % of the slices of a cohort change names in pairs, many times.

    python bench/stain_names.py --features results/demo/features/*/shard_*.h5 --repeats 50

Each pair is two slices of one case in different stains that take each other's name. Prints how many of them are listed,
and how many slices under their right name are (false alarms), by pair of stains.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from stratamil.core.names import natural
from stratamil.evaluation import stain_identity
from stratamil.features import store


def swapped(slices, share, random):
    """Return stains of slices after swaps within cases, and the places whose names are wrong."""
    stains, changed = slices["stain"].to_numpy(dtype=object).copy(), []
    order = random.permutation(len(slices))
    for i in order:
        if len(changed) >= max(2, round(share * len(slices))):
            break
        same = np.flatnonzero(
            (slices["case_id"] == slices["case_id"].iloc[i]) & (slices["stain"] != slices["stain"].iloc[i])
        )
        free = [j for j in same if j not in changed]
        if i in changed or not free:
            continue
        j = random.choice(free)
        stains[i], stains[j] = stains[j], stains[i]
        changed += [i, j]
    return stains, changed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", nargs="+", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--repeats", type=int, default=50)
    args = parser.parse_args()
    slices, x = stain_identity.describe(store.read(args.features))
    known = sorted(slices["stain"].unique(), key=natural)
    there, found, alarms, right = Counter(), Counter(), Counter(), 0
    for seed in range(args.repeats):
        stains, changed = swapped(slices, args.share, np.random.default_rng(seed))
        y = np.array([known.index(stain) for stain in stains])
        listed, _ = stain_identity.disagree(stain_identity.probabilities(x, y, slices["case_id"], seed), y)
        for i in changed:
            pair = " and ".join(sorted((slices["stain"].iloc[i], stains[i])))
            there[pair] += 1
            found[pair] += bool(listed[i])
        wrong = np.zeros(len(slices), dtype=bool)
        wrong[changed] = True
        alarms.update(slices["stain"][listed & ~wrong])
        right += int((~wrong).sum())
    print(f"{len(slices)} slices of {slices['case_id'].nunique()} cases, {args.repeats} times")
    for pair, n in sorted(there.items()):
        print(f"{pair}: {found[pair]} of {n} found ({found[pair] / n:.1%})")
    total = sum(alarms.values())
    print(
        f"all: {sum(found.values())} of {sum(there.values())} found ({sum(found.values()) / sum(there.values()):.1%})"
    )
    print(f"false alarms: {total} of {right} slices ({total / right:.2%}), by stain {dict(alarms)}")


if __name__ == "__main__":
    main()

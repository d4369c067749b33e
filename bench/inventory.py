"""The inventory of a million patch names against `find -printf` over the same tree, and what a dry run pays for it.

The tree holds a folder a case and stain, three slices in each. A second tree has the same folders with a tenth of the
files: the difference between the two is what files cost, and a dry run must not show one.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import measure
import yaml

REPOSITORY = Path(__file__).parents[1]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
STAINS = ("h&e", "melan", "sox10")
SLICES = ("match_1", "match_2", "unmatched_3")
CASES = 1000
TIMES_FIND = 5
MEGABYTES = 1500


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="where the trees are made; they are removed afterwards")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        compare(Path(folder), args.patches, args.repeats)


def compare(folder, n, repeats):
    small, large = (study(folder / name, size) for name, size in (("small", n // 10), ("large", n)))
    # %s, for the inventory needs each file's size, too
    find = ["find", large / "patches", "-printf", "%p %s\\n"]
    found, taken, of_tenth = measure.paired(repeats, find, inventory(large), inventory(small))
    middle, least, most = measure.ratio(taken, found)
    memory = max(peak for _, peak in taken)
    per_case = (measure.seconds(taken) - measure.seconds(of_tenth)) / (0.9 * n) * n / CASES
    print(f"inventory of {n:,} names of {CASES:,} cases, {repeats} pairs")
    print(f"  find -printf '%p %s\\n'    {measure.seconds(found):6.2f} s")
    print(f"  inventory                 {measure.seconds(taken):6.2f} s", end="")
    print(f"   {middle:.2f} times find ({least:.2f} to {most:.2f}): {measure.verdict(middle, TIMES_FIND)}")
    print(f"  its peak memory           {memory:6.0f} MB   {measure.verdict(memory, MEGABYTES)}")
    print(f"  one case more             {1000 * per_case:6.1f} ms  ({n // CASES:,} names)")
    for place in (small, large):
        measure.run(snakemake(place), cwd=REPOSITORY)
    few, many = measure.paired(repeats, snakemake(small, "-n"), snakemake(large, "-n"), cwd=REPOSITORY)
    middle, least, most = measure.ratio(many, few)
    print(f"  dry run, {n // 10:9,} files   {measure.seconds(few):6.2f} s")
    print(f"  dry run, {n:9,} files   {measure.seconds(many):6.2f} s   ratio {middle:.2f} ({least:.2f} to {most:.2f})")


def study(place, n):
    """A tree of n patches, its labels and a config; returns the place."""
    each = n // (CASES * len(STAINS) * len(SLICES))
    for case in range(1, CASES + 1):
        for stain in STAINS:
            folder = place / "patches" / f"case_{case}" / stain
            folder.mkdir(parents=True)
            for slice_ in SLICES:
                for patch in range(each + 1 if case <= CASES // 9 else each):
                    (folder / f"case_{case}_{slice_}_{stain}_patch{patch}.png").write_bytes(b"x")
    rows = (f"{case},{1 if case % 3 else 3}\n" for case in range(1, CASES + 1))
    (place / "labels.csv").write_text("Case,Class\n" + "".join(rows), encoding="utf-8")
    config = {key: str(place / name) for key, name in (("patches", "patches"), ("labels", "labels.csv"))}
    (place / "config.yaml").write_text(yaml.safe_dump(config | {"results": str(place / "results")}), encoding="utf-8")
    return place


def inventory(place):
    """The program of the rule, as Snakemake calls it."""
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text(encoding="utf-8"))
    names, cohort = config["names"], config["cohort"]

    def lists(entries):
        return [f"{name}={','.join(items)}" for entry in entries for name, items in entry.items()]

    out = place / "out"
    return [
        sys.executable, REPOSITORY / "scripts/inventory.py", "--patches", place / "patches",
        "--labels", place / "labels.csv", "--case-column", cohort["case_column"],
        "--class-column", cohort["class_column"], "--classes", *lists(cohort["classes"]),
        "--excluded-codes", *cohort["excluded_codes"],
        "--pattern", names["pattern"], "--stains", *lists(names["stains"]),
        "--output", out / "patches.parquet", "--cases", out / "cases.csv", "--excluded", out / "excluded.csv",
        "--watched", out / "watched.json", "--log", out / "log",
    ]  # fmt: skip


def snakemake(place, *options):
    return [
        SNAKEMAKE,
        "--cores",
        "1",
        "--configfile",
        place / "config.yaml",
        "--quiet",
        "all",
        *options,
        "--",
        "inventory",
    ]


if __name__ == "__main__":
    main()

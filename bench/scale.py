"""Seconds and memory of each stage from precomputed features to predictions and the cohort page, for growing cohorts.

1,000 cases of 1,024 float16 features, a file a case, made on the fly and deleted afterwards; 0.1 and 1 million patches,
with --large 10 million, too (20 GB of files and as much again of shards). The rules' programs themselves, one split of
60/20/20. Memory: the most that a program and those that it starts hold of their own, pages that they share once
(Pss_Anon); pages of mapped files, which the system takes back when it runs short, do not count. CPU: seconds that all
of them computed, which other work on the machine changes little. A stage is linear where those of each patch more stay
the same.
"""

import argparse
import contextlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import measure
import numpy as np
import pandas as pd
from patches import SCRIPTS

CASES, DIM, SHARDS = 1000, 1024, 4
SIZES, LARGE = (100_000, 1_000_000), 10_000_000
CLASSES, STAIN = ("a", "b"), "h&e"
REPORT = SCRIPTS.parent / "report"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help=f"{LARGE:,} patches, too")
    parser.add_argument("--patches", type=int, nargs="+", help="other sizes")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=measure.cores())
    parser.add_argument("--folder", help="where all is written; it is removed afterwards")
    args = parser.parse_args()
    before = {}
    for patches in args.patches or (*SIZES, *([LARGE] if args.large else [])):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            made = write(Path(folder), patches)
            print(
                f"{patches:,} patches, {2 * patches * DIM / 2**30:.2f} GB of features, made in {made:.0f} s", flush=True
            )
            taken = {}
            for stage, command in commands(Path(folder), args):
                seconds, cpu, memory = run(command)
                spent = taken.get(stage, (0, 0, 0))
                taken[stage] = spent[0] + seconds, spent[1] + cpu, max(spent[2], memory)
            for stage, (seconds, cpu, memory) in taken.items():
                added = ""
                if stage in before:
                    size, its_cpu, its_memory = before[stage]
                    more = patches - size
                    added = f"; {1e6 * (cpu - its_cpu) / more:.1f} us and "
                    added += f"{2**20 * (memory - its_memory) / more:.0f} bytes each patch more"
                print(f"  {stage:12}{seconds:8.1f} s, CPU {cpu:8.1f} s{memory:8.0f} MB{added}", flush=True)
                before[stage] = patches, cpu, memory


def write(folder: Path, patches: int) -> float:
    """Write a cohort's files, manifest and labels; returns the seconds that it took."""
    begin, rng, n = time.perf_counter(), np.random.default_rng(0), patches // CASES
    (folder / "features").mkdir()
    noise = rng.normal(size=(n + 997, DIM)).astype(np.float16)
    for case in range(CASES):
        with h5py.File(folder / f"features/{case}.h5", "w") as file:
            signs = rng.choice([-1, 1], DIM).astype(np.float16)  # so that no two cases have a patch alike
            values = signs * noise[case % 997 : case % 997 + n]
            values[:, 0] += case % 2
            file["features"], file["coords"] = values, np.indices((n, 1)).reshape(2, n).T.astype("int32")
    cases = np.arange(CASES)
    manifest = pd.DataFrame({"file": [f"{case}.h5" for case in cases], "case": cases, "stain": STAIN, "slice": "s1"})
    manifest.to_csv(folder / "features/manifest.csv", index=False)
    pd.DataFrame({"Case": cases, "Class": 1 + 2 * (cases % 2)}).to_csv(folder / "labels.csv", index=False)
    return time.perf_counter() - begin


def commands(folder: Path, args: argparse.Namespace) -> list[tuple[str, list]]:
    """Stage and command of each program that a study runs up to the predictions of its first split."""
    patches, cases, identity = (folder / name for name in ("patches.parquet", "cases.csv", "features.json"))
    shards = [folder / f"shard_{number}.h5" for number in range(SHARDS)]
    names, seeds = [folder / f"split_{number}.npz" for number in range(1, 6)], range(1, args.seeds + 1)
    checkpoints = [folder / f"split_01/seed_{seed}/checkpoints/best.pth" for seed in seeds]
    shared = ["--features", *shards, "--cases", cases, "--split", names[0], "--name", "01", "--classes", *CLASSES]
    shared += ["--stains", STAIN, "--seeds", *seeds, "--threads", args.threads, "--output", folder / "split_01"]

    def program(name: str, *flags: object) -> list:
        return [SCRIPTS / f"{name}.py", *flags, "--log", folder / f"{name}.log"]

    inventory = program(
        "inventory", "--manifest", folder / "features/manifest.csv", "--labels", folder / "labels.csv", "--classes",
        "a=1", "b=3", "--output", patches, "--cases", cases,
        "--excluded", folder / "excluded.csv", "--duplicates", folder / "duplicates.csv", "--identity", identity,
    )  # fmt: skip
    precomputed = [
        program(
            "precomputed", "--patches-table", patches, "--cases", cases, "--identity", identity,
            "--folder", folder / "features", "--shard", number, "--shards", SHARDS, "--output", path,
        )
        for number, path in enumerate(shards)
    ]  # fmt: skip
    pairs, counts, page = folder / "pairs.csv", folder / "pairs.json", folder / "cohort"
    page.mkdir()
    same_tissue = program(
        "duplicates", "--features", *shards, "--threads", args.threads, "--output", pairs, "--json", counts
    )
    cohort = program(
        "cohort", "--patches-table", patches, "--cases", cases, "--excluded", folder / "excluded.csv",
        "--duplicates", folder / "duplicates.csv", "--same-tissue", pairs, counts, "--features", *shards,
        "--splits", *names, "--classes", *CLASSES, "--stains", STAIN, "--template", REPORT / "cohort.html.j2",
        "--output", page / "index.html", "--json", page / "cohort.json",
    )  # fmt: skip
    return [
        ("inventory", inventory),
        ("splits", program("splits", "--cases", cases, "--classes", *CLASSES, "--n-splits", 5, "--output", *names)),
        *(("precomputed", command) for command in precomputed),
        ("duplicates", same_tissue),
        ("cohort", cohort),
        ("train", program("train", *shared, "--epochs", args.epochs, "--state", folder / "state.pth")),
        ("evaluate", program("evaluate", *shared, "--checkpoints", *checkpoints)),
    ]


def run(command: list) -> tuple[float, float, float]:
    """Seconds, those of CPU, and the most MB that the program and those that it started held of their own at once."""
    begin, most, last, before = time.perf_counter(), 0.0, 0.0, cpu_of_children()
    process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None:
        held, last = last, own(process.pid)
        most = max(most, min(held, last))  # a process that is just being started shows the memory of its parent, too
        time.sleep(0.2)  # to look takes time itself
    if process.returncode:
        sys.exit(f"{command[0]}: failed\n{process.stderr.read().decode()[-2000:]}")
    return time.perf_counter() - begin, cpu_of_children() - before, most


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def own(pid: int) -> float:
    """MB of memory that a process and those that it started hold, without mapped files."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parents.setdefault(int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1]), []).append(
                int(stat.parent.name)
            )
    family, total = [pid], 0
    for each in family:  # grows while it is read
        family += parents.get(each, [])
        with contextlib.suppress(OSError, ValueError):
            said = Path(f"/proc/{each}/smaps_rollup").read_text(encoding="utf-8").split()
            total += int(said[said.index("Pss_Anon:") + 1])
    return total / 1024


if __name__ == "__main__":
    main()

"""The case browser of a large study: thumbnails of 90 cases of 900 patches, and its data, on two cores.

A share of the cases is measured, and the seconds of all are reckoned from it: a case is made as any other. Patches have
the median size of a real study, and in a second row the sizes of that study, most bytes of which are in few large
files. Beside each stands what reading the files alone takes, which no thumbnail can do without. One more run, in which
nothing has changed, and the data of three cases of 3,000 patches: seconds, and memory beside that of one such case.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import measure
import pandas as pd
from patches import MEDIAN, SCRIPTS, paint, spread

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from made_browser import CLASSES, STAINS, Study

from stratamil.core import files

CASES, PATCHES = 90, 900
LARGE = 3000  # patches
SECONDS, KILOBYTES, MEMORY = 180, 8, 1.15  # of all cases, of a patch, and memory of three cases to that of one
READ = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from stratamil.features import images
with ThreadPoolExecutor(int(sys.argv[3])) as pool:
    list(pool.map(images.load, sorted(Path(sys.argv[2]).iterdir())))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=3, help="that are measured")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        n = args.cases * PATCHES
        for name, sides in (("patches of the median size", [MEDIAN] * n), ("sizes of a real study", spread(n))):
            thumbnails(Path(folder) / name.replace(" ", "_"), name, sides, args)
        data(Path(folder) / "data", args.repeats)


def thumbnails(place: Path, name: str, sides: list[int], args: argparse.Namespace) -> None:
    table = paint(place / "patches", sides)
    table["case_id"] = [str(1 + i // PATCHES) for i in range(len(table))]
    write_inventory(place, table)
    outputs = [place / f"browser_{i}/sprites/shard_00.json" for i in range(args.repeats)]
    runs, reads, again = [], [], []
    for output in outputs:
        command = make(place, output, args.threads)
        runs.append(measure.run(command))
        reads.append(measure.run([sys.executable, "-c", READ, SCRIPTS, place / "patches", args.threads]))
        again.append(measure.run(command))
    size = sum(path.stat().st_size for path in outputs[0].parent.rglob("*.webp")) / len(table) / 1024
    scale = CASES / args.cases
    seconds, reading = scale * measure.seconds(runs), scale * measure.seconds(reads)
    print(f"{name}: {CASES} cases of {PATCHES}, {args.threads} threads, {args.repeats} times")
    print(f"  thumbnails            {seconds:6.0f} s: {measure.verdict(seconds, SECONDS)} s")
    print(
        f"  reading alone         {reading:6.0f} s; thumbnails take {measure.ratio(runs, reads)[0]:.2f} times as long"
    )
    print(f"  again, nothing new    {measure.ratio(again, runs)[0]:6.2f} of the first time")
    print(f"  a patch               {size:6.1f} KB: {measure.verdict(size, KILOBYTES)} KB")
    print(f"  memory                {max(peak for _, peak in runs):6.0f} MB")


def make(place: Path, output: Path, threads: int) -> list[object]:
    command = [sys.executable, SCRIPTS / "thumbnails.py", "--patches-table", place / "patches.parquet", "--shard", 0]
    command += ["--cases", place / "cases.csv", "--patches", place / "patches", "--shards", 1, "--threads", threads]
    return [*command, "--output", output]


def write_inventory(place: Path, table: pd.DataFrame) -> None:
    files.write_parquet(table, place / "patches.parquet")
    cases = pd.DataFrame({"case_id": table["case_id"].unique(), "label": "1", "class": "benign", "status": "used"})
    cases = cases.assign(patient_id=cases["case_id"], missing_stains="", n_patches=LARGE)
    files.write_csv(cases, place / "cases.csv")


def data(place: Path, repeats: int) -> None:
    """The data of one large case, and of three."""
    commands = []
    for cases in (1, 3):
        here = place / str(cases)
        made = Study(here, {"01": {str(case): LARGE for case in range(1, cases + 1)}}, seeds=(1,), px=None)
        command = [sys.executable, SCRIPTS / "browser.py", "--folders", *made.folders.values(), "--splits", "01"]
        command += ["--seeds", 1, "--cases", here / "inventory/cases.csv", "--classes", *CLASSES, "--stains", *STAINS]
        command += ["--patches-table", here / "inventory/patches.parquet", "--page", SCRIPTS.parent / "report/browser"]
        commands.append([*command, "--output", here / "browser"])
    one, three = measure.paired(repeats, *commands)
    each = measure.spread((b - a) / 2 for (a, _), (b, _) in zip(one, three))[0]
    memory = measure.spread(b / a for (_, a), (_, b) in zip(one, three))[0]
    size = (place / "1/browser/data/case_1.js").stat().st_size / LARGE
    print(f"data of a case of {LARGE:,} patches: {each:.2f} s, {size:.0f} bytes a patch")
    print(f"  memory of three cases to that of one {memory:.2f}: {measure.verdict(memory, MEMORY)}")


if __name__ == "__main__":
    main()

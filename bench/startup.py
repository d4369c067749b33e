"""CPU time that each program needs before it works: `--help`, which imports what the program starts with.

User and system time of one thread, medians of turns, against that of `import torch`: a busy machine slows both.
"""

import argparse
import statistics
import subprocess
import sys

import measure
from patches import SCRIPTS

TORCH, OTHERS = 2.2 / 1.7, 1.0 / 1.7  # of what torch takes to import, for programs with and without it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("programs", nargs="*", help="names of programs, all by default")
    args = parser.parse_args()
    programs = args.programs or sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem != "cli")
    commands = {name: [SCRIPTS / f"{name}.py", "--help"] for name in programs}
    commands = {"torch": ["-c", "import torch"]} | commands
    taken = {name: [] for name in commands}
    for _ in range(args.repeats):
        for name, command in commands.items():
            taken[name].append(measure.cpu([sys.executable, *command]))
    torch = statistics.median(taken.pop("torch"))
    print(f"import torch: {torch:.2f} s of CPU, median of {args.repeats} turns")
    for name, seconds in taken.items():
        spent, needs = statistics.median(seconds), needs_torch(name)
        said = measure.verdict(spent / torch, round(TORCH if needs else OTHERS, 2))
        share = f"{spent / torch:.2f} of import torch"
        print(f"  {name:14}{spent:6.2f} s, {share}: {said}, {'with' if needs else 'without'} it")


def needs_torch(name: str) -> bool:
    """Tell whether a program imports torch before it works."""
    command = [sys.executable, "-X", "importtime", SCRIPTS / f"{name}.py", "--help"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", check=True)
    return any(line.endswith(" torch") for line in done.stderr.splitlines())


if __name__ == "__main__":
    main()

"""How long choosing settings takes on a study's own features and splits, and whether the choice pays.

Each split is a run of scripts/tune.py, as many at a time as there are cores, each on one; --splits measures some of
them. With --outer each split's models are then trained with the study's own settings and with what was chosen, and both
are compared on the test cases as rule compare does. The study is only read.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import measure
import settings
import yaml

from stratamil.core import schema
from stratamil.core.names import column
from stratamil.evaluation import tuned, tuning_space
from stratamil.evaluation.saved_study import read_study

GOAL = 25 * 60  # seconds of 24 candidates x 4 inner folds x 2 seeds x 5 splits on two cores
SIZE = 24 * 4 * 2 * 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results folder of a study with features and splits")
    parser.add_argument("--changes", type=Path, help="YAML with a section tune, laid over the study's")
    parser.add_argument("--splits", nargs="+", help="names of splits, all by default")
    parser.add_argument("--outer", type=int, metavar="SEEDS", help="train both models of each split with so many seeds")
    parser.add_argument("--keep", type=Path, help="new folder for what is made, or one in which to go on")
    parser.add_argument("--processes", type=int, default=measure.cores())
    args = parser.parse_args()
    if args.outer and args.splits:
        parser.error("--outer compares on all splits: leave out --splits")
    config = settings.configured(args.results)
    if args.changes:
        config["tune"] |= yaml.safe_load(args.changes.read_text(encoding="utf-8"))["tune"]
    with tempfile.TemporaryDirectory() as temporary:
        measured(config, args, args.keep or Path(temporary))


def measured(config: dict[str, Any], args: argparse.Namespace, folder: Path) -> None:
    """Choose in each split, say what and how fast, and compare with --outer."""
    names, begin = args.splits or settings.split_names(config), time.perf_counter()
    places = {row: (folder / row).resolve() for row in ("default", "chosen")}
    for place in places.values():
        settings.begin(place, args.results, config, args.outer or 1)
    kept = any(places["chosen"].glob("tuning/split_*/*"))
    with ThreadPoolExecutor(args.processes) as pool:
        list(pool.map(lambda name: tune(config, name, places["chosen"]), names))
    seconds = time.perf_counter() - begin
    files = {name: chosen_file(places["chosen"], name) for name in names}
    choices = {name: tuning_space.read(path) for name, path in files.items()}
    for name, each in choices.items():
        print(f"split {name}: {said(each)}")
    models = sum(each["candidates"] * each["inner_folds"] * len(each["seeds"]) for each in choices.values())
    whole = f", {measure.verdict(seconds, GOAL)}" if models == SIZE else ""
    spent = "some of them before" if kept else f"in {seconds / 60:.1f} min, {args.processes} at a time{whole}"
    print(f"{models} models of {len(names)} splits, {spent}")
    if args.outer:
        jobs = [(row, name) for row, name in product(places, names) if not done(places[row], name, args.outer)]
        flags = {"default": lambda name: (), "chosen": lambda name: (f"--chosen {files[name]}",)}
        with ThreadPoolExecutor(args.processes) as pool:
            list(pool.map(lambda job: settings.train(places[job[0]], job[1], *flags[job[0]](job[1])), jobs))
        print(settings.compared(places).T.to_string())
        print(optimism(choices, places))


def chosen_file(folder: Path, name: str) -> Path:
    """Return where the choice of a split stands."""
    return folder / f"tuning/split_{name}/chosen.yaml"


def done(folder: Path, name: str, seeds: int) -> bool:
    """Return whether the models of a split are evaluated."""
    return (folder / f"split_{name}/seed_{seeds}/results.json").is_file()


def tune(config: Mapping[str, Any], name: str, folder: Path) -> None:
    """Choose the settings of a split, unless that is done."""
    own, output = config["tune"], chosen_file(folder, name).parent
    flags = [
        *settings.settings_flags(config),
        schema.flags("tune", own, "candidates", "inner", "metric"),
        schema.flags("splits", config["splits"], "by", "balance"), schema.flag("trainings", own["seeds"]),
        schema.flag("draw", own["seed"]), schema.flag("space", json.dumps(own["space"])),
    ]  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    if not (output / "chosen.yaml").is_file():
        settings.run("tune", folder, name, *flags, f"--output {output} --state {output}/state.json")


def said(choice: Mapping[str, Any]) -> str:
    """Return what was chosen in a line."""
    best, chosen = choice["best"], choice["chosen"]
    own = choice["default"]["inner_mean"]
    values = " ".join(f"{name}={value}" for name, value in chosen["settings"].items())
    gain = f"best {_told(best['inner_mean'])}, gain {_told(best['gain'])}, SE {_told(best['standard_error'])}"
    return f"inner mean of the study's own {_told(own)}, {gain}; candidate {chosen['candidate']} is chosen: {values}"


def _told(value: float | None) -> str:
    """Return a number; one is not known where a training diverged, or the study's own settings are the best."""
    return "-" if value is None else f"{value:.3f}"


def optimism(choices: Mapping[str, Mapping[str, Any]], places: Mapping[str, Path]) -> str:
    """Return the inner score of both against their score on test cases, mean of splits and seeds."""
    lines = []
    for row, folder in places.items():
        inner = [each[row]["inner_mean"] for each in choices.values()]
        score = tuned.SCORES[next(iter(choices.values()))["metric"]]
        outer = []
        for each in read_study(folder).runs:
            p = each.test[[f"prob_{column(name)}" for name in each.classes]].to_numpy()
            outer.append(score(each.test["true_class"].map(each.classes.index).to_numpy(), p))
        lines.append(f"{row}: inner {sum(inner) / len(inner):.3f}, outer {sum(outer) / len(outer):.3f}")
    return "; ".join(lines)


if __name__ == "__main__":
    main()

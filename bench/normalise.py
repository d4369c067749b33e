"""Does it pay to normalise colours, or to train on views in other colours? On a study's own splits, and after a shift.

Each row is `none`, or settings of `embed`: `normalise=macenko`, `normalise=h&e:macenko`, `views=4`, or several of them.
Its features are made anew; models are trained on them with the study's settings and predict the test cases. In the
second table the same models predict test cases from another scanner: the colours of their patches are mixed and
darkened (`MIXED`, `GAMMA`) before anything else. Columns are those of
bench/settings.py: AUROC and log loss with 95% CI, and differences from the first row, paired by patient.
The study needs what the target `splits` makes, and patches that are images.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import measure
import numpy as np
import pandas as pd
import settings
from patches import SCRIPTS
from PIL import Image

from stratamil.cohort import splits
from stratamil.core import schema
from stratamil.features import encoder_registry, images, store
from stratamil.workflow import config_values

MIXED = np.array(
    [[0.93, 0.07, 0.0], [0.06, 0.86, 0.08], [0.0, 0.14, 0.76]]
)  # rows: what R, G and B become of the three
GAMMA = 1.25


class Job(NamedTuple):
    """A row: where its models go, features of the cases as they are and of the test cases, number of views."""

    place: Path
    plain: Path
    test: Path
    views: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results folder of a study, with inventory and splits")
    parser.add_argument("rows", nargs="+", help="e.g. none normalise=macenko views=4 'normalise=h&e:macenko views=4'")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder for features and models; what is there is used again")
    parser.add_argument("--output", type=Path, help="CSV of the tables")
    parser.add_argument("--processes", type=int, default=measure.cores())
    args = parser.parse_args()
    config, rows = settings.configured(args.results), {text: changes(text) for text in args.rows}
    with tempfile.TemporaryDirectory() as temporary:
        work, own, tables = args.work or Path(temporary), Path(config["patches"]), {}
        shift(own, args.results, work / "shifted")
        jobs: dict[str, dict[str, Job]] = {"own": {}, "shifted": {}}
        for text, each in rows.items():
            views = max(other["views"] for other in rows.values() if other["normalise"] == each["normalise"])
            plain = encoded(args.results, config, own, work / "own", each | {"views": views})
            other = encoded(args.results, config, work / "shifted", work / "shifted", each | {"views": 0})
            for cohort, test in {"own": plain, "shifted": other}.items():
                place = work / cohort / "studies" / slug(text)
                settings.begin(place, args.results, config, args.seeds)
                jobs[cohort][text] = Job(place, plain, test, each["views"])
        with ThreadPoolExecutor(args.processes) as pool:
            list(pool.map(study, jobs["own"].values()))
            list(pool.map(study, jobs["shifted"].values(), [job.place for job in jobs["own"].values()]))
        for cohort, each in jobs.items():
            tables[cohort] = settings.compared({text: job.place for text, job in each.items()})
            print(f"\ntest cases: {cohort}\n{tables[cohort].to_string()}\n", flush=True)
    if args.output:
        pd.concat(tables, names=["test cases", "row"]).to_csv(args.output)


def changes(text: str) -> dict[str, Any]:
    """Return normalise and views of a row."""
    own = dict(word.partition("=")[::2] for word in text.split() if word != "none")
    if unknown := set(own) - {"normalise", "views"}:
        sys.exit(f"{text}: no such setting: {', '.join(sorted(unknown))}")
    by_stain = [word.rpartition(":")[::2] for word in own.get("normalise", "none").split(",")]
    normalise = by_stain[0][1] if len(by_stain) == 1 and not by_stain[0][0] else dict(by_stain)
    return {"normalise": normalise, "views": int(own.get("views", 0))}


def slug(text: str) -> str:
    """Return a row's settings as the name of a folder."""
    return "".join(letter if letter.isalnum() else "_" for letter in text)


def shift(patches: Path, results: Path, output: Path) -> None:
    """Write the patches of a study as another scanner might show them."""
    for path in pd.read_parquet(results / "inventory/patches.parquet")["path"]:
        target = (output / path).with_suffix(".png") if Path(path).suffix.lower() != ".png" else output / path
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            light = (np.asarray(images.load(patches / path), dtype=np.float32) / 255) ** GAMMA @ MIXED.T
            Image.fromarray(np.rint(255 * light.clip(0, 1)).astype(np.uint8)).save(target, compress_level=1)


def encoded(results: Path, config: Mapping[str, Any], patches: Path, work: Path, own: Mapping[str, Any]) -> Path:
    """Return the folder of the features of all cases, a folder an encoder; they are made by embed.py, once."""
    embed = config["embed"] | own | {"shards": 1, "by_stain": config["embed"].get("by_stain")}
    output = work / "features" / slug(f"{own['normalise']} {own['views']}")
    for folder, each in config_values.encoders({**config, "embed": embed}).items():
        path = output / folder / "shard_00.h5"
        if path.exists():
            continue
        weights = [each["weights"]] if encoder_registry.is_file(each["weights"]) else []
        if fetched := encoder_registry.fetched(each["encoder"], each["weights"]):
            weights = [f"resources/weights/{fetched}"]
        stains = [schema.flag("only_stains", each["only_stains"])] if each["only_stains"] else []
        colours = each["normalise"]
        words = [colours] if isinstance(colours, str) else [f"{stain}={colours[stain]}" for stain in colours]
        told = [schema.flags("embed", each, by_stain=None, weights=None, normalise=None), *stains]
        told += [schema.flag("normalise", words), *(f"--weights-file {shlex.quote(file)}" for file in weights)]
        places = f"--patches-table {results}/inventory/patches.parquet --cases {results}/inventory/cases.csv"
        places += f" --patches {shlex.quote(str(patches))} --shard 0 --threads 1 --output {path}"
        begin = time.perf_counter()
        command = (
            f"{sys.executable} {SCRIPTS}/embed.py {places} --cache {path.parent}/cache/{path.name} {' '.join(told)}"
        )
        if subprocess.run(command, shell=True).returncode:
            sys.exit(f"embed.py failed on {patches}")
        seconds, size = time.perf_counter() - begin, path.stat().st_size / 1e6
        print(f"{work.name}, {dict(own)}: {folder}: {seconds:.0f} s, {size:.1f} MB", flush=True)
    return output


def study(job: Job, trained: Path | None = None) -> None:
    """Train on the features of a row, and predict the test cases; with the models in the folder `trained`, predict."""
    place = job.place
    if (place / "features").is_symlink():  # of the study that the rows are made from
        (place / "features").unlink()
    config = settings.configured(place)
    last = "ensemble" if len(config["seeds"]) > 1 else f"seed_{config['seeds'][0]}"
    for name in settings.split_names(config):
        if (place / f"split_{name}" / last / "results.txt").exists():
            continue  # by an earlier call
        cases = splits.read(place / f"splits/data_splits_{name}.npz").test
        mixed(job.plain, job.test, place / "features", set(cases), job.views)
        settings.evaluate(place, name, trained) if trained else settings.train(place, name)


def mixed(plain: Path, test: Path, output: Path, cases: set[str], views: int) -> None:
    """Write the features in `plain`, with so many of the views, and those of some cases as `test` has them."""
    for path in plain.glob("*/shard_*.h5"):
        own, other = store.read([path], viewed=True), store.read([test / path.relative_to(plain)])
        if not own.table["path"].equals(other.table["path"]):
            sys.exit(f"{path}: other patches than {test}")
        values, table = own.values[:].copy(), own.table.astype(dict.fromkeys(store.TEXT, str))
        of_test = own.table["case_id"].isin(cases).to_numpy()
        values[of_test] = other.values[np.flatnonzero(of_test)]
        n, none = len(values), pd.DataFrame(columns=store.UNREADABLE)
        further = [own.viewed[n * k : n * (k + 1)] for k in range(1, views + 1)]
        target = output / path.relative_to(plain)
        target.parent.mkdir(parents=True, exist_ok=True)
        store.write(target, values, table, none, own.identity | {"views": views}, own.colour, further=further)


if __name__ == "__main__":
    main()

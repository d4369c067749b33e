"""The same tissue twice: how much is found, what it costs, and what such a leak does to the AUROC.

    python bench/duplicates.py found results/my_study --repeats 5
    python bench/duplicates.py leak results/my_study --shares 0.05 0.2 --seeds 3
    python bench/duplicates.py scale --rows 1000000

found: 5% of the patches of a study reappear in other cases, each changed in one of the ways of KINDS. Prints how many
of each kind are listed beside their original, or what its case has of the same tissue, and how many patches are listed
beside one of another case. Without copies the study is compared first: it should list nothing.
leak: some patches of the test cases of each split reappear, changed, in training cases of the same class; with --whole
some cases reappear whole, as further cases. Models are trained with these, with copies of training cases instead, and
without; the test bags are the same. Paired differences of the AUROC by seed, pooled over splits.
scale: random sketches and features of a large study on disk, some of them twice; seconds and peak memory of the script.
"""

import argparse
import io
import json
import resource
import sys
import tempfile
from pathlib import Path

import measure
import numpy as np
import pandas as pd
import settings
import synthetic
import torch
from PIL import Image

from stratamil.cohort import inventory, splits
from stratamil.core import schema
from stratamil.evaluation import predict
from stratamil.features import images, near_duplicates, networks, sketch, store
from stratamil.features.sketch_encoder import SketchEncoder
from stratamil.mil import model, training
from stratamil.mil.bags import Bags
from stratamil.mil.stack import Data, TrainSettings
from stratamil.stats import metrics


def turned(image, random):
    turns, flipped = sketch.POSES[random.integers(1, len(sketch.POSES))]
    pixels = np.asarray(image)[:, ::-1] if flipped else np.asarray(image)
    return Image.fromarray(np.ascontiguousarray(np.rot90(pixels, turns)))


def saved(image, quality):
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


def trimmed(image, share, random):
    sides = [round(share * side) for side in image.size]
    left, top = (random.integers(0, whole - side + 1) for whole, side in zip(image.size, sides))
    return image.crop((left, top, left + sides[0], top + sides[1]))


KINDS = {
    "turned or flipped": turned,
    "saved as JPEG, quality 75": lambda image, random: saved(image, 75),
    "saved as JPEG, quality 50": lambda image, random: saved(image, 50),
    "scaled to 75%": lambda image, random: image.resize([round(0.75 * side) for side in image.size]),
    "trimmed to 95% of each side": lambda image, random: trimmed(image, 0.95, random),
    "trimmed to 90%": lambda image, random: trimmed(image, 0.9, random),
    "turned, JPEG quality 80": lambda image, random: saved(turned(image, random), 80),
    "turned, trimmed to 90%, JPEG quality 80": lambda image, random: saved(
        trimmed(turned(image, random), 0.9, random), 80
    ),
}


class Study:
    """A finished study with images, and what the copies of its patches are made with."""

    def __init__(self, folder):
        self.folder, self.config = folder, settings.configured(folder)
        self.data = store.read(sorted(folder.glob("features/*/shard_*.h5")))
        self.patches = Path(self.config["patches"])
        self.sketch = SketchEncoder(torch.device("cpu"))
        self.case = self.data.table["case_id"].astype(str).to_numpy()

    def copy(self, row, kind, random):
        """A changed copy of a patch, as an image."""
        return KINDS[kind](images.load(self.patches / self.data.table["path"][row]), random)

    def sketches(self, copies):
        small = [np.asarray(images.fit(image, images.THUMBNAIL, "squash")) for image in copies]
        return self.sketch(torch.from_numpy(np.stack(small))).numpy().astype(np.float16)


def groups(n, first, second):
    """The number of the group of each of n rows, by pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    return connected_components(coo_array((np.ones(len(first)), (first, second)), shape=(n, n)))[1]


def found(args):
    study = Study(args.study)
    n, sketches = len(study.case), np.asarray(study.data.sketch[:])
    table = study.data.table[["case_id", "stain", "path"]].astype(str)
    base = near_duplicates.find(study.data, args.threads)
    apart = study.case[base.first] != study.case[base.second]
    own = groups(n, base.first[~apart], base.second[~apart])
    print(f"{n} patches of {len(set(study.case))} cases; without copies {apart.sum()} pairs of two cases are listed")
    cases, rows, alarms = np.unique(study.case), [], 0
    for repeat in range(args.repeats):
        random = np.random.default_rng(repeat)
        sources = random.choice(n, round(args.share * n), replace=False)
        kinds = random.permutation(np.resize(list(KINDS), len(sources)))
        places = [random.choice(cases[cases != study.case[row]]) for row in sources]
        copies = study.sketches([study.copy(row, kind, random) for row, kind in zip(sources, kinds)])
        more = pd.DataFrame(
            {"case_id": places, "stain": table["stain"][sources], "path": [f"copy_{i}" for i in sources]}
        )
        whole = pd.concat([table, more], ignore_index=True).astype({"case_id": "category"})
        blank = np.concatenate([study.data.blank, np.zeros(len(copies), bool)])
        data = store.Features(None, whole, {}, blank, sketch=np.concatenate([sketches, copies]))
        pairs = near_duplicates.find(data, args.threads)
        case, of = whole["case_id"].to_numpy(), np.concatenate([np.arange(n), sources])
        apart = case[pairs.first] != case[pairs.second]
        first, second = pairs.first[apart], pairs.second[apart]
        right = own[of[first]] == own[of[second]]
        strange = study.case[of[first]] != study.case[of[second]]
        alarms += len(np.unique([first[strange], second[strange]]))
        hit = np.isin(np.arange(n, len(case)), np.concatenate([first[right], second[right]]))
        rows += zip(kinds, hit)
    shown = pd.DataFrame(rows, columns=["change", "found"]).groupby("change")["found"].agg(["size", "sum", "mean"])
    print(shown.reindex(KINDS).to_string(float_format="{:.1%}".format))
    hits = np.array([hit for _, hit in rows])
    print(f"all: {hits.sum()} of {len(hits)} found ({hits.mean():.1%}); false alarms: {alarms} of "
          f"{args.repeats * (n + len(hits) // args.repeats)} patches")  # fmt: skip


def leak(args):
    study, random = Study(args.study), np.random.default_rng(0)
    torch.set_num_threads(args.threads)
    y = inventory.class_indices(args.study / "inventory/cases.csv", classes(study.config))
    sets = {
        path.stem.removeprefix("data_splits_"): splits.read(path)
        for path in sorted((args.study / "splits").glob("*.npz"))
    }
    most = max(args.shares)
    order = random.permutation(len(study.case))
    if args.whole:
        place = {case: i for i, case in enumerate(random.permutation(list(y)))}
        order = np.argsort([place.get(case, len(place)) for case in study.case], kind="stable")
    sources = order[: round(most * len(study.case))]
    print(f"encoding {len(sources)} copies", flush=True)
    values = encoded(study, [study.copy(row, random.choice(list(KINDS)), random) for row in sources])
    print(f"{len(y)} cases, {len(sets)} splits, {args.seeds} seeds; test bags are those of the study")
    without = scores(study, y, sets, args.seeds, None)
    for share in args.shares:
        some = slice(0, round(share * len(study.case)))
        arms = {
            name: scores(study, y, sets, args.seeds, (sources[some], values[some], wanted, args.whole))
            for name, wanted in (("of test cases", "test"), ("of training cases", "train"))
        }
        for name, auc in arms.items():
            less = auc - without
            print(
                f"{share:.0%} copied, {name}: AUROC {auc.mean():.3f}, without copies {without.mean():.3f}; paired "
                f"difference {less.mean():+.3f} (SD over seeds {less.std(ddof=1):.3f})",
                flush=True,
            )


def classes(config):
    return list(schema.merged(config["cohort"]["classes"]))


def encoded(study, copies):
    """Features of images by the encoder of the study."""
    own = study.config["embed"]
    encoder = networks.load(own["encoder"], own["weights"] if own["weights"] != "default" else None)
    size, resize = (encoder.identity[key] for key in ("input_size", "resize"))
    squares = (np.asarray(images.fit(image, size, resize)) for image in copies)
    parts = [encoder(torch.tensor(square[None])).cpu().numpy() for square in squares]
    return np.concatenate(parts).astype(np.float16)


def scores(study, y, sets, seeds, copied):
    """The AUROC of each seed, of the test cases of all splits. copied: sources, features, set of these, whole cases."""
    chosen = settings.row_settings("study", study.folder)
    train = {name: chosen["train"][name] for name in TrainSettings.__dataclass_fields__ if name in chosen["train"]}
    stains = list(schema.merged(study.config["names"]["stains"]))
    shape = model.ModelSettings(study.data.values.shape[1], len(set(y.values())), **chosen["model"])
    plain, truth, p = Bags(study.data, stains), [], {seed: [] for seed in range(1, seeds + 1)}
    train["precision"] = training.precision(train["precision"], plain.device, shape)
    for name, split in sets.items():
        features, more = enlarged(study, y, split, *copied) if copied else (study.data, {})
        truth += [y[case] for case in split.test]
        data = Data(Bags(features, stains), [*split.train, *more], split.val, y | more, name)
        for seed, outcome in training.train(data, shape, TrainSettings(**train), list(p)).items():
            own = model.HierarchicalAttention(shape)
            own.load(outcome.best["weights"])
            p[seed].append(predict.probabilities(own.eval(), plain, split.test)[0])
    return np.array([metrics.auc(np.array(truth), np.concatenate(each)) for each in p.values()])


def enlarged(study, y, split, sources, values, wanted, whole):
    """The features of a study with copies of patches of cases of one set, and further training cases: case -> class."""
    random, places = np.random.default_rng(0), []
    for case in study.case[sources]:
        others = [other for other in split.train if other != case and case in y and y[other] == y[case]]
        copy = f"copy of {case}" if whole else others and random.choice(others)
        places.append(copy if case in getattr(split, wanted) and copy else None)
    kept = np.array([place is not None for place in places])
    more = {place: y[case] for place, case in zip(places, study.case[sources]) if whole and place}
    table = study.data.table
    some = table.iloc[sources[kept]].assign(case_id=[place for place in places if place])
    some = some.assign(path=[f"copy_{i}" for i in range(len(some))])
    some = some if whole else some.assign(slice_id="copies")
    every = pd.concat([table.astype(str), some.astype(str)], ignore_index=True)
    order = every.sort_values(["case_id", "stain"], kind="stable").index
    every = every.loc[order].reset_index(drop=True).astype(dict.fromkeys(store.IDS, "category") | {"patch": "int32"})
    return store.Features(np.concatenate([study.data.values[:], values[kept]])[order], every, study.data.identity), more


def scale(args):
    script = Path(__file__).parents[1] / "scripts/duplicates.py"
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        folder = Path(folder)
        table = synthetic.inventory(args.rows, args.rows // 130, max(20, args.rows // 1000))
        pairs = np.random.default_rng(0).permutation(args.rows)[: 2 * (args.rows // 200)].reshape(-1, 2)
        paths, of = [folder / f"shard_{i}.h5" for i in range(synthetic.SHARDS)], np.arange(args.rows)
        of[pairs[:, 1]] = pairs[:, 0]
        shard = table["case_id"].astype(int) % synthetic.SHARDS
        for number, path in enumerate(paths):
            rows = np.flatnonzero(shard == number)
            facts = {name: np.zeros(len(rows), dtype) for name, dtype in store.FACTS.items()}
            store.write(
                path, synthetic.Noise(len(rows), args.width), table.iloc[rows].assign(**facts), synthetic.NONE,
                {"encoder": "noise"}, sketches=Sketches(of[rows]),
            )  # fmt: skip
        flags = [
            "--features",
            *paths,
            "--threads",
            args.threads,
            "--output",
            folder / "p.csv",
            "--json",
            folder / "n.json",
        ]
        seconds, memory = measure.run([sys.executable, script, *flags])
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        told, listed = json.loads((folder / "n.json").read_text(encoding="utf-8")), pd.read_csv(folder / "p.csv")
        apart = table["case_id"].to_numpy()[pairs[:, 0]] != table["case_id"].to_numpy()[pairs[:, 1]]
        print(
            f"{args.rows:,} patches of width {args.width}, {args.threads} threads: {seconds:.0f} s (CPU "
            f"{spent.ru_utime + spent.ru_stime:.0f} s), peak "
            f"{memory / 1024:.1f} GB; {2 * apart.sum():,} patches twice in two cases, {len(listed):,} listed; compared "
            f"{told['compared']:,}"
        )


class Sketches:
    """Sketches of pictures whose energy falls with the frequency as that of tissue does, each made from its number."""

    def __init__(self, numbers):
        self.numbers, self.shape = numbers, (len(numbers), sketch.WIDTH)
        radius = np.hypot(*np.meshgrid(np.arange(sketch.SIDE), np.arange(sketch.SIDE)))
        self.falling = (0.1 / np.maximum(radius, 1)).ravel().astype(np.float32)

    def __getitem__(self, rows):
        drawn = np.stack([np.random.default_rng(number).standard_normal(sketch.WIDTH) for number in self.numbers[rows]])
        return (drawn * self.falling).astype(np.float16)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    for name, function in (("found", found), ("leak", leak), ("scale", scale)):
        part = parts.add_parser(name)
        part.set_defaults(function=function)
        part.add_argument("--threads", type=int, default=measure.cores())
        if name != "scale":
            part.add_argument("study", type=Path, help="results folder of a study with images")
    parts.choices["found"].add_argument("--share", type=float, default=0.05)
    parts.choices["found"].add_argument("--repeats", type=int, default=5)
    parts.choices["leak"].add_argument("--shares", type=float, nargs="+", default=[0.05, 0.2])
    parts.choices["leak"].add_argument("--whole", action="store_true", help="whole cases instead of patches")
    parts.choices["leak"].add_argument("--seeds", type=int, default=3)
    parts.choices["scale"].add_argument("--rows", type=int, default=1_000_000)
    parts.choices["scale"].add_argument("--width", type=int, default=1280)
    parts.choices["scale"].add_argument(
        "--folder", type=Path, help="on a disk with room; by default that of temporary files"
    )
    args = parser.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()

"""Which made faults the measures of a patch's quality find in real patches, and how many sound patches they suspect.

    python bench/quality.py --patches data/patches --stains "h&e" melan --repeats 3

Of each stain 5 % of the patches get one fault, the rest stays as it is; the whole is judged as the cohort page does.
Prints, by fault and stain, how many of the faulty patches are suspect or excluded for any reason, and by stain how many
sound ones are.
"""

import argparse
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw, ImageFilter

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from stratamil.core import schema
from stratamil.evaluation import patch_quality
from stratamil.features import images, networks, store
from stratamil.features.exclusion import Rule

INKS = {"blue": (40, 70, 180), "green": (30, 140, 70), "black": (35, 35, 40), "red": (200, 30, 45)}


def blur(share):
    return lambda image, _: image.filter(ImageFilter.GaussianBlur(share * max(image.size)))


def light(factor):
    return lambda image, _: Image.fromarray((np.asarray(image) * factor).clip(0, 255).astype(np.uint8))


def pen(color):
    """A stroke of ink, a seventh of the side wide, through which 15 % of the tissue shows."""

    def drawn(image, random):
        side, (begin, end) = max(image.size), random.uniform(0.2, 0.8, 2) * image.size[1]
        mask = Image.new("L", image.size)
        ImageDraw.Draw(mask).line([(0, begin), (image.size[0], end)], fill=217, width=side // 7)
        return Image.composite(Image.new("RGB", image.size, color), image, mask.filter(ImageFilter.GaussianBlur(1)))

    return drawn


def glass(image, random):
    """Glass: noise around a bright grey, a little darker towards one side."""
    width, height = image.size
    level = random.uniform(225, 250) - np.linspace(0, 8, width)[None, :, None]
    return Image.fromarray((level + random.normal(0, 3, (height, width, 3))).clip(0, 255).astype(np.uint8))


def grey16(factor):
    """16-bit grey of which a part of the range is used."""
    return lambda image, _: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * factor)


FAULTS = {
    "blur, 1.3% of the side": blur(0.013),
    "blur, 3% of the side": blur(0.03),
    "blur, 5% of the side": blur(0.05),
    **{f"{name} ink": pen(color) for name, color in INKS.items()},
    "one colour": lambda image, _: Image.new("RGB", image.size, "white"),
    "glass": glass,
    "overexposed, 1.3 times": light(1.3),
    "overexposed, 1.6 times": light(1.6),
    "dark, 0.4 times": light(0.4),
    "16-bit grey, 12 bits used": grey16(16),
    "16-bit grey, dark in 16 bits": grey16(129),
}


def measured(image, folder):
    path = folder / "patch.png"
    image.save(path)
    seen = images.examine(path, images.THUMBNAIL, "squash")
    return seen.thumbnail, seen.facts._asdict()


def judged(table, thumbnails, encoder):
    """Return whether each patch is excluded or suspect."""
    table = table.reset_index(drop=True)
    colour = np.concatenate([
        np.asarray(encoder(torch.from_numpy(np.stack(thumbnails[i : i + 64])))) for i in range(0, len(table), 64)
    ])  # fmt: skip
    rule = Rule.of(schema.defaults("cohort.quality"))
    table["excluded"] = rule.reasons(table)
    table["residual"] = patch_quality.residuals(colour, table["stain"].to_numpy())
    kinds = patch_quality.suspect(table, ink=True)
    kinds["excluded"] = table["excluded"] > 0
    return kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=Path, required=True)
    parser.add_argument("--stains", nargs="+", required=True, help="as they stand in the names of the files")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    encoder = networks.load("stain_stats", input_size=images.THUMBNAIL, device="cpu")
    paths = defaultdict(list)
    for path in sorted(args.patches.rglob("*.png")):
        for stain in args.stains:
            if re.search(rf"_{re.escape(stain)}_patch", path.name, re.IGNORECASE) and images.shows(path):
                paths[stain].append(path)
    there, found, why = Counter(), Counter(), defaultdict(Counter)
    with TemporaryDirectory() as folder:
        for stain in args.stains:
            sound = [measured(images.load(path), Path(folder)) for path in paths[stain]]
            table = pd.DataFrame([facts for _, facts in sound]).assign(stain=stain)
            kinds = judged(table, [thumbnail for thumbnail, _ in sound], encoder)
            there["none", stain], found["none", stain] = len(kinds), int(kinds.any(axis=1).sum())
            why["none"].update(kinds.sum()[lambda sums: sums > 0].to_dict())
            for name, fault in FAULTS.items():
                for seed in range(args.repeats):
                    random = np.random.default_rng(seed)
                    chosen = random.choice(len(sound), max(1, round(args.share * len(sound))), replace=False)
                    mixed, rows = list(sound), table.copy()
                    for i in chosen:
                        mixed[i] = measured(fault(images.load(paths[stain][i]), random), Path(folder))
                        rows.loc[i, list(mixed[i][1])] = list(mixed[i][1].values())
                    kinds = judged(rows.astype(store.FACTS), [thumbnail for thumbnail, _ in mixed], encoder).loc[chosen]
                    there[name, stain] += len(chosen)
                    found[name, stain] += int(kinds.any(axis=1).sum())
                    why[name].update(kinds.sum()[lambda sums: sums > 0].to_dict())
    print("| fault | " + " | ".join(args.stains) + " | as |\n| --- |" + " --- |" * (len(args.stains) + 1))
    for name in (*FAULTS, "none"):
        cells = [
            f"{found[name, stain]} of {there[name, stain]} ({found[name, stain] / there[name, stain]:.1%})"
            for stain in args.stains
        ]
        print(f"| {name} | {' | '.join(cells)} | {', '.join(f'{kind} {n}' for kind, n in why[name].most_common(3))} |")


if __name__ == "__main__":
    main()

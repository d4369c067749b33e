"""Encode the patches of one shard with a frozen encoder; take what an earlier run has encoded from the cache.

From the same decoding come the colour of each image, which is its stain_stats, and its size, quality and oddities, by
which patches are excluded.
Colours may be normalised before a patch is encoded, and jittered in further views of it for training.

Settings of the encoder that are not given are its defaults: see features/encoder_registry.py. Needs no internet.
"""

import argparse
import logging
from pathlib import Path

import pandas as pd
import torch

import cli
from stratamil.cohort import inventory
from stratamil.core import schema
from stratamil.core.wording import counted
from stratamil.features import extract, networks, recolour, store
from stratamil.features.exclusion import Rule

# All but weights, whose file is an input, those by stain, which the workflow takes apart, and shards, which cli adds.
SETTINGS = [key for key in schema.section("embed") if key not in ("weights", "by_stain", "normalise", "shards")]


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    cli.add_shard(parser)
    parser.add_argument("--patches", type=Path, required=True, help="folder of patch images")
    cli.add_settings(parser, "embed", *SETTINGS)
    cli.add_settings(parser.add_argument_group("patches to exclude"), "cohort.quality")
    parser.add_argument(
        "--normalise", nargs="+", default=[], metavar="METHOD", help="macenko or reinhard, or each STAIN=METHOD (none)"
    )
    parser.add_argument("--weights-file", type=Path, help="state dict; without it, random weights")
    parser.add_argument("--only-stains", nargs="+", metavar="STAIN", help="encode the patches of these stains alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help="feature file of the shard")
    parser.add_argument("--cache", type=Path, required=True, help="feature file of the last run, which need not exist")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    patches = pd.read_parquet(args.patches_table)
    used = inventory.used_cases(args.cases)["case_id"]
    if args.only_stains:
        patches = patches[patches["stain"].isin(args.only_stains)]
        used = used[used.isin(patches["case_id"])]
    encoder = networks.load(
        args.encoder,
        args.weights_file,
        input_size=args.input_size,
        pooling=args.pooling,
        precision=args.precision,
        resize=args.resize,
        final_relu=args.final_relu,
        layer=args.layer,
        weights_sha256=args.weights_sha256,
    )
    colours = recolour.Recolour.of_words(args.normalise, args.views)
    logging.info("%s on %s", encoder.identity | colours.identity, encoder.device)
    counts = extract.embed(
        patches,
        store.of_shard(used, args.shard, args.shards),
        args.patches,
        encoder,
        output=args.output,
        cache=args.cache,
        recolour=colours,
        batch_size=args.batch_size,
        threads=args.threads,
        max_unreadable=args.max_unreadable,
        rule=Rule.of(vars(args)),
    )
    logging.info("encoded %d, reused %d, unreadable %d patches, %.0f patches/s", *counts[:4])
    if counts.own_colour:
        own = counted(counts.own_colour, "patch")
        logging.warning("in their own colours: %s with too little tissue or too few stains to normalise", own)


if __name__ == "__main__":
    cli.run(main, arguments())

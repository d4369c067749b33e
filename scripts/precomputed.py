"""Copy the precomputed features of one shard into a feature file of the workflow."""

import argparse
import json
import logging
from pathlib import Path

import pandas as pd

import cli
from stratamil.cohort import inventory
from stratamil.features import precomputed, store


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    cli.add_shard(parser)
    parser.add_argument("--identity", type=Path, required=True, help="features.json of the inventory")
    parser.add_argument("--folder", type=Path, required=True, help="what the manifest's files are relative to")
    parser.add_argument("--output", type=Path, required=True, help="feature file of the shard")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    identity = json.loads(args.identity.read_text(encoding="utf-8"))
    used = inventory.used_cases(args.cases)["case_id"]
    cases = store.of_shard(used, args.shard, args.shards)
    wanted = [*cases, ""]  # no case is called so, and Arrow knows no type of an empty list
    patches = pd.read_parquet(args.patches_table, filters=[("case_id", "in", wanted)])
    args.output.parent.mkdir(parents=True, exist_ok=True)
    values = precomputed.take(patches, args.folder, identity["dim"], scratch=args.output.parent)
    store.write(args.output, values, patches, pd.DataFrame(columns=store.UNREADABLE), identity)
    logging.info("%s: %d patches of %d cases", identity, len(patches), len(cases))


if __name__ == "__main__":
    cli.run(main, arguments())

"""Take the inventory: every patch and case of a study, which are used, and why the rest are not."""

import logging
from pathlib import Path

import cli
from stratamil import files, folders, inventory, labels, names, precomputed


def arguments():
    parser = cli.parser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--patches", type=Path, help="folder of patch images")
    source.add_argument("--manifest", type=Path, help="CSV that lists files of features made elsewhere")
    parser.add_argument("--folder", type=Path, help="what the manifest's files are relative to, if not its own")
    parser.add_argument("--encoder", help="name of what made these features")
    parser.add_argument("--identity", type=Path, help="features.json to write: what these features are")
    parser.add_argument("--labels", type=Path, required=True, help="labels table")
    parser.add_argument("--case-column", required=True)
    parser.add_argument("--class-column", required=True)
    parser.add_argument("--group-column")
    parser.add_argument("--classes", nargs="+", type=cli.named_list, required=True, metavar="NAME=CODE,CODE")
    parser.add_argument("--excluded-codes", nargs="*", default=[], metavar="CODE")
    parser.add_argument("--pattern", required=True, help="regular expression of file names")
    parser.add_argument("--stains", nargs="+", type=cli.named_list, required=True, metavar="NAME=SPELLING,SPELLING")
    parser.add_argument("--unknown-stains", choices=["exclude", "error"], default="exclude")
    parser.add_argument("--output", type=Path, required=True, help="patches.parquet")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv")
    parser.add_argument("--excluded", type=Path, required=True, help="excluded.csv")
    parser.add_argument("--watched", type=Path, help="watched.json to write, for the next dry run")
    parser.add_argument("--state", default="", help="of the folders as the dry run saw them")
    return parser.parse_args()


def main(args):
    stains = dict(args.stains)
    labelled = labels.read(
        args.labels, args.case_column, args.class_column, args.group_column, dict(args.classes), args.excluded_codes
    )
    grammar = names.Grammar(args.pattern, stains)
    taken = take_features(args, labelled, grammar) if args.manifest else take_patches(args, labelled, grammar)
    files.write_parquet(taken.patches, args.output)
    files.write_csv(taken.cases, args.cases)
    files.write_csv(taken.excluded, args.excluded)
    report(taken)


def take_patches(args, labelled, grammar):
    """The inventory of a folder of patches, and what the next dry run looks at."""
    taken = inventory.take(args.patches, labelled, grammar, [name for name, _ in args.stains], args.unknown_stains)
    if args.watched:
        paths, lost = taken.patches["path"].tolist(), _broken_links(taken)
        folders.remember(args.patches, taken.folders, paths, args.state, args.watched, also=lost)
    return taken


def take_features(args, labelled, grammar):
    """The inventory of features made elsewhere, and what they are."""
    stains = [name for name, _ in args.stains]
    found = precomputed.scan(args.manifest, args.folder or args.manifest.parent, grammar, args.encoder)
    remedy = "add their stains to names.stains"
    patches = inventory.ordered(inventory.spelt(found.patches, labelled["case_id"]), stains)
    of_manifest = args.manifest, patches, found.left_out, found.rows, remedy
    taken = inventory.join(*of_manifest, labelled, stains, args.unknown_stains)
    if args.identity:
        files.write_json(found.identity, args.identity)
    return taken


def _broken_links(taken):
    return taken.excluded.loc[taken.excluded["reason"] == inventory.BROKEN_LINK, "name"]


def report(taken):
    """Log what was found and what was left out."""
    same = inventory.namesakes(taken.patches)
    if len(same):
        shown = ", ".join(same["path"][:4])
        logging.warning("%d patches have the number of another of their slice; all are used: %s", len(same), shown)
    if len(lost := _broken_links(taken)):
        logging.warning("%d links lead nowhere: %s: mount what they point to", len(lost), ", ".join(lost[:4]))
    used = taken.cases[taken.cases["status"] == inventory.USED]
    logging.info("%d patches of %d cases", len(taken.patches), taken.patches["case_id"].nunique())
    logging.info("used: %d patches of %d cases", used["n_patches"].sum(), len(used))
    for (kind, reason), n in taken.excluded[["kind", "reason"]].value_counts().items():
        logging.info("excluded: %d %ss: %s", n, kind, reason)


if __name__ == "__main__":
    cli.run(main, arguments())

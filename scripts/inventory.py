"""Take the inventory: every patch and case of a study, which are used, and why the rest are not."""

import logging
from pathlib import Path

import cli
from stratamil import files, folders, inventory, labels, names


def arguments():
    parser = cli.parser(__doc__)
    parser.add_argument("--patches", type=Path, required=True, help="folder of patch images")
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
    parser.add_argument("--watched", type=Path, required=True, help="watched.json, for the next dry run")
    parser.add_argument("--state", default="", help="of the folders as the dry run saw them")
    return parser.parse_args()


def main(args):
    stains = dict(args.stains)
    labelled = labels.read(
        args.labels, args.case_column, args.class_column, args.group_column, dict(args.classes), args.excluded_codes
    )
    grammar = names.Grammar(args.pattern, stains)
    taken = inventory.take(args.patches, labelled, grammar, list(stains), args.unknown_stains)
    files.write_parquet(taken.patches, args.output)
    files.write_csv(taken.cases, args.cases)
    files.write_csv(taken.excluded, args.excluded)
    folders.remember(args.patches, taken.folders, taken.patches["path"].tolist(), args.state, args.watched)
    report(taken)


def report(taken):
    """Log what was found and what was left out."""
    same = inventory.namesakes(taken.patches)
    if len(same):
        shown = ", ".join(same["path"][:4])
        logging.warning("%d patches have the number of another of their slice; all are used: %s", len(same), shown)
    used = taken.cases[taken.cases["status"] == inventory.USED]
    logging.info("%d patches of %d cases", len(taken.patches), taken.patches["case_id"].nunique())
    logging.info("used: %d patches of %d cases", used["n_patches"].sum(), len(used))
    for (kind, reason), n in taken.excluded[["kind", "reason"]].value_counts().items():
        logging.info("excluded: %d %ss: %s", n, kind, reason)


if __name__ == "__main__":
    cli.run(main, arguments())

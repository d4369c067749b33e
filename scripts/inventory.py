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
    parser.add_argument("--folders", type=Path, required=True, help="folders.txt")
    return parser.parse_args()


def main(args):
    # Before the files are read: a folder that changes meanwhile is read again by the next run.
    times = folders.times(folders.walk(args.patches))
    stains = dict(args.stains)
    labelled = labels.read(
        args.labels, args.case_column, args.class_column, args.group_column, dict(args.classes), args.excluded_codes
    )
    grammar = names.Grammar(args.pattern, stains)
    patches, cases, excluded = inventory.take(args.patches, labelled, grammar, list(stains), args.unknown_stains)
    files.write_parquet(patches, args.output)
    files.write_csv(cases, args.cases)
    files.write_csv(excluded, args.excluded)
    files.write_text(times, args.folders)
    same = patches[patches.duplicated(["case_id", "stain", "slice_id", "patch"], keep=False)]
    if len(same):
        shown = ", ".join(same["path"][:4])
        logging.warning("%d patches have the number of another of their slice; all are used: %s", len(same), shown)
    used = cases[cases["status"] == inventory.USED]
    logging.info("%d patches of %d cases; %d cases used", len(patches), patches["case_id"].nunique(), len(used))
    for (kind, reason), n in excluded[["kind", "reason"]].value_counts().items():
        logging.info("excluded: %d %s: %s", n, "files" if kind == "file" else "cases", reason)


if __name__ == "__main__":
    cli.run(main, arguments())

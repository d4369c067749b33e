"""Take the inventory: every patch and case of a study, which are used, and why the rest are not."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

import cli
from stratamil.cohort import duplicates, folders, inventory, labels, manifest, marks, patch_files
from stratamil.core import files, ids, names, schema
from stratamil.core.errors import UserError, few
from stratamil.features import images, precomputed

Exclude = dict[str, tuple[str, str]]  # of marks.read_excluded


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--patches", type=Path, help="folder of patch images")
    source.add_argument("--manifest", type=Path, help="CSV that lists the files of precomputed features")
    cli.add_settings(parser, "features", "folder", "encoder")
    parser.add_argument("--identity", type=Path, help="features.json to write: what these features are")
    parser.add_argument("--labels", type=Path, required=True, help="labels table")
    cli.add_settings(parser, "cohort", *(key for key in schema.section("cohort") if key != "duplicates"))
    cli.add_settings(parser, "names")
    parser.add_argument("--output", type=Path, required=True, help="patches.parquet")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv")
    parser.add_argument("--excluded", type=Path, required=True, help="excluded.csv")
    parser.add_argument("--duplicates", type=Path, help="duplicates.csv to write: equal files of different cases")
    parser.add_argument("--watched", type=Path, help="watched.json to write, for the next dry run")
    parser.add_argument("--state", default="", help="of the folders as the dry run saw them")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    labelled = labels.read(args.labels, **labels.settings(vars(args)))
    grammar = names.Grammar(args.pattern, schema.merged(args.stains))
    exclude = marks.read_excluded(args.exclude_patches) if args.exclude_patches else {}
    take = take_features if args.manifest else take_patches
    taken = take(args, labelled, grammar, exclude)
    tell_unknown(taken, exclude, args.exclude_patches)
    merged = [f"Spellings taken for one stain: {'; '.join(told)}"] if (told := grammar.merged()) else []
    taken = replace(taken, told=[*taken.told, *merged])
    taken.patches.attrs["notes"] = list(taken.told)  # parquet keeps them for the cohort page
    files.write_parquet(taken.patches, args.output)
    files.write_csv(taken.cases, args.cases)
    files.write_csv(taken.excluded, args.excluded)
    if args.duplicates:
        files.write_csv(equal_files(taken, args), args.duplicates)
    report(taken)


def tell_unknown(taken: inventory.Inventory, exclude: Exclude, path: str) -> None:
    """Warn of files that are to be excluded and are not there. Raises UserError where none is. path: of the list."""
    unknown = sorted(exclude.keys() - set(taken.excluded.loc[taken.excluded["kind"] == "file", "name"]))
    if unknown:
        text = f"{path}: {len(unknown)} of {len(exclude)} files are not among the patches: {few(unknown)}"
        if len(unknown) == len(exclude):
            raise UserError(f"{text}: file must be the path below the patches folder")
        logging.warning("%s: nothing is excluded for them", text)


def take_patches(
    args: argparse.Namespace, labelled: pd.DataFrame, grammar: names.Grammar, exclude: Exclude
) -> inventory.Inventory:
    """Return the inventory of a folder of patches, and write down what the next dry run looks at."""
    stains = list(schema.merged(args.stains))
    taken = inventory.take(args.patches, labelled, grammar, stains, args.unknown_stains, exclude)
    if args.watched:
        paths, lost = taken.patches["path"].tolist(), _broken_links(taken)
        folders.remember(args.patches, args.watched, visited=taken.folders, paths=paths, state=args.state, also=lost)
    return taken


def take_features(
    args: argparse.Namespace, labelled: pd.DataFrame, grammar: names.Grammar, exclude: Exclude
) -> inventory.Inventory:
    """Return the inventory of precomputed features, and write down what they are."""
    stains = list(schema.merged(args.stains))
    folder = Path(args.folder or args.manifest.parent)
    scanned = precomputed.scan(args.manifest, folder, grammar, args.encoder)
    known = ids.Known(labelled["case_id"])
    case_of = {entry.file: entry.case for entry in manifest.read(args.manifest, folder)}
    taken = inventory.join(
        patch_files.ordered(patch_files.spelt(scanned.patches, known), stains),
        labelled,
        stains,
        left_out=[*scanned.left_out, *((*each, 0) for each in manifest.unopened(args.manifest, folder))],
        n_read=scanned.rows,
        unknown_stains=args.unknown_stains,
        where=args.manifest,
        remedy="add their stains to names.stains",
        exclude=exclude,
        levelled=known.levelled,
        unknown=patch_files.of_unknown_stains(scanned.left_out, grammar, case_of),
    )
    taken.patches.attrs["warnings"] = scanned.warnings  # parquet keeps them for the cohort page
    for line in scanned.warnings:
        logging.warning(line)
    if args.identity:
        files.write_json(scanned.identity, args.identity)
    return taken


def equal_files(taken: inventory.Inventory, args: argparse.Namespace) -> pd.DataFrame:
    """Return the files whose bytes another case or stain has, too; of features, the files of one case alone.

    Cases that are not used count as well: one may be a used case under another id.
    """
    listed = taken.patches
    if args.patches:
        equal = duplicates.find(listed.astype({"case_id": str, "stain": str}), args.patches, images.shows)
    else:
        folder = Path(args.folder or args.manifest.parent)
        listed = listed[["case_id"]].assign(path=precomputed.of_files(listed["path"])[0]).drop_duplicates().astype(str)
        listed = listed[~listed["path"].duplicated(keep=False)]
        there = [(folder / path).is_file() for path in listed["path"]]  # one may have gone since
        listed = listed[pd.Series(there, index=listed.index, dtype=bool)]
        listed = listed.assign(bytes=[(folder / path).stat().st_size for path in listed["path"]], stain="")
        equal = duplicates.find(listed, folder)
    for row in duplicates.by_cases(equal)[:10]:
        shared = f"{row['files']} equal files, e.g. {duplicates.example(row)}"
        logging.warning("cases %s share %s", few(row["cases"]), shared)
    for row in duplicates.by_stains(equal)[:10]:
        logging.warning("case %s has %s in several stains: one name is wrong", row["case"], " = ".join(row["examples"]))
    return equal


def _broken_links(taken: inventory.Inventory) -> pd.Series:
    return taken.excluded.loc[taken.excluded["reason"] == patch_files.BROKEN_LINK, "name"]


def report(taken: inventory.Inventory) -> None:
    """Log what was found and what was left out."""
    for line in taken.told:
        logging.warning(line)
    if len(lost := _broken_links(taken)):
        logging.warning("%d links lead nowhere: %s: mount what they point to", len(lost), ", ".join(lost[:4]))
    used = taken.cases[taken.cases["status"] == inventory.USED]
    if line := patch_files.told(patch_files.namesakes(taken.patches[taken.patches["case_id"].isin(used["case_id"])])):
        logging.warning(line)
    logging.info("%d patches of %d cases", len(taken.patches), taken.patches["case_id"].nunique())
    logging.info("used: %d patches of %d cases, before images are read", used["n_patches"].sum(), len(used))
    of_stain = taken.patches.loc[taken.patches["case_id"].isin(used["case_id"]), "stain"].value_counts(sort=False)
    logging.info("patches of each stain: %s", "; ".join(f"{stain} {n}" for stain, n in of_stain.items() if n))
    for (kind, reason), n in taken.excluded[["kind", "reason"]].value_counts().items():
        logging.info("excluded: %d %ss: %s", n, kind, reason)


if __name__ == "__main__":
    cli.run(main, arguments())

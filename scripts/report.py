"""Write the cross-split report: page, appendix, summary.txt, metrics.csv, metrics.json, excluded.csv and figures.

Reads tables only. The folder's files are replaced when all is done.
"""

import argparse
import json
import logging
from pathlib import Path

import cli
from stratamil.cohort import columns, splits
from stratamil.core import files, tables
from stratamil.evaluation import retrained
from stratamil.features import left_out


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--runs", nargs="+", type=Path, required=True, help="folders split_<split>/seed_<seed>")
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv of the inventory")
    parser.add_argument("--excluded", type=Path, required=True, help="excluded.csv of the inventory")
    parser.add_argument("--unreadable", nargs="*", type=Path, default=[], help="feature shards, for patches left out")
    parser.add_argument("--splits", nargs="+", type=Path, required=True, help="data_splits_<split>.npz")
    parser.add_argument("--cohort", type=Path, required=True, help="cohort.json of rule cohort")
    parser.add_argument("--baselines", type=Path, help="predictions.csv of the baselines")
    parser.add_argument("--variants", nargs="*", default=[], help="names of retrained/<variant>.csv in each run")
    parser.add_argument("--chosen", nargs="*", type=Path, default=[], help="chosen.yaml of each split")
    parser.add_argument("--faithfulness", type=Path, help="faithfulness.json, if attention was checked")
    parser.add_argument("--browser", type=Path, help="page of the case browser, if it is made")
    parser.add_argument("--benchmarks", type=Path, help="folder of Snakemake's benchmark files")
    parser.add_argument("--labels", type=Path, help="labels table, for columns and clinical")
    cli.add_settings(parser, "cohort", "case_column", "missing_words", "site_column")
    cli.add_settings(
        parser, "report", "title", "first_look", "bootstrap_samples", "seed", "colors", "columns", "clinical"
    )
    parser.add_argument("--config", type=Path, help="resolved settings (YAML) to show")
    parser.add_argument("--first-page", type=Path, help="index.html of the study, to link to")
    parser.add_argument(
        "--template", type=Path, required=True, help="index.html.j2; appendix.html.j2 and checklists.yaml lie beside it"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from stratamil.evaluation import tuned
    from stratamil.evaluation.study import Study, read_runs  # these load scikit-learn and matplotlib: a second
    from stratamil.report import page, study_page

    page.check_colors(args.colors)
    baselines = tables.read(args.baselines) if args.baselines else None
    runs, cases = read_runs(args.runs), tables.read_cases(args.cases)
    known = {}
    if names := [*args.columns, *args.clinical]:
        known = columns.read(
            args.labels,
            names,
            cases,
            case_column=args.case_column,
            missing_words=args.missing_words,
            site=args.site_column,
        )
    study = Study(
        runs=runs,
        cases=cases,
        bootstrap_samples=args.bootstrap_samples,
        seed=args.seed,
        baselines=baselines,
        retrained=retrained.read(runs, args.variants),
        sets={path.stem.removeprefix("data_splits_"): splits.read(path) for path in args.splits},
        columns={name: known[name] for name in args.columns},
        clinical={name: known[name] for name in args.clinical},
        tuning=tuned.read(args.chosen),
    )
    sources = study_page.Sources(
        cases=args.cases,
        excluded=tables.read_excluded(args.excluded),
        split_files=args.splits,
        splits=study.sets,
        shards=args.unreadable,
        unreadable=left_out.read(args.unreadable),
        cohort=json.loads(args.cohort.read_text(encoding="utf-8")),
        cohort_page=args.cohort.with_name("index.html"),
        baselines=args.baselines,
        benchmarks=args.benchmarks,
        config=args.config,
        faithfulness=study_page.read_answers(args.faithfulness) if args.faithfulness else None,
        faithfulness_page=args.faithfulness.with_name("index.html") if args.faithfulness else None,
        first_page=args.first_page,
        browser=args.browser,
    )
    with files.updated_folder(args.output) as folder:
        study_page.build(
            study,
            sources,
            template=args.template,
            title=args.title,
            first_look=args.first_look,
            colors=args.colors,
            folder=folder,
            final=args.output,
        )
    logging.info("%s/index.html: %d runs, %d cases", args.output, len(study.runs), len(study.ensemble))


if __name__ == "__main__":
    cli.run(main, arguments())

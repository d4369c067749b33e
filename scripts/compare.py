"""Compare finished studies or predictions on the cases that all of them predict: a page, and its numbers."""

import argparse
import logging
from pathlib import Path

import cli
from stratamil.core import files, provenance


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--folders", nargs="+", type=Path, required=True, help="results folders, or those of predict")
    parser.add_argument("--names", nargs="+", required=True, help="what they are called on the page")
    cli.add_settings(parser, "report", "bootstrap_samples", "seed", "colors", "title")
    cli.add_settings(parser, "attention", "top_percent")
    parser.add_argument("--template", type=Path, required=True, help="comparison.html.j2")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from stratamil.evaluation import compared_studies, comparison  # these load scikit-learn and matplotlib: a second
    from stratamil.explain import compared_attention
    from stratamil.report import comparison_page, comparison_words, page

    page.check_colors(args.colors)
    sides = [
        compared_studies.read(name, folder, args.bootstrap_samples, args.seed)
        for name, folder in zip(args.names, args.folders, strict=True)
    ]
    shared = compared_studies.shared(sides)
    found = comparison.numbers(shared)
    found["attention"] = compared_attention.numbers(shared.sides, args.top_percent)
    with files.updated_folder(args.output) as folder:
        comparison_page.build(
            shared,
            found,
            percent=args.top_percent,
            template=args.template,
            title=args.title,
            colors=args.colors,
            provenance={"commit": provenance.commit(), **provenance.versions()},
            folder=folder,
            final=args.output,
        )
    logging.info("%s/index.html: %d cases. %s", args.output, found["cases"], comparison_words.headline(found))


if __name__ == "__main__":
    cli.run(main, arguments())

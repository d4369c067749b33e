"""Run docs/reference/read_a_study.ipynb on the demo and write it with its outputs: `python docs/run_notebook.py`."""

import argparse
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs/reference/read_a_study.ipynb"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=NOTEBOOK.parent, help="where it runs: ../../results is read")
    parser.add_argument("--output", type=Path, default=NOTEBOOK)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    os.environ["PYTHONPATH"] = str(ROOT / "scripts")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": args.folder}}, record_timing=False).execute()
    notebook.metadata["language_info"] = {"name": "python"}  # without the version of the machine's Python
    nbformat.write(notebook, args.output)


if __name__ == "__main__":
    main(arguments())

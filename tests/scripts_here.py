"""Scripts of the workflow, run in this process."""

import importlib
import sys

import pandas as pd


def call(name, *words):
    """Run a script by its name, with words of its command line."""
    script, before = importlib.import_module(name), sys.argv
    sys.argv = [name, *map(str, words)]
    try:
        script.main(script.arguments())
    finally:
        sys.argv = before


def predict(bundle, patches, output, *more):
    """Run scripts/predict.py on features of the encoder `made`, without galleries; its tables by name."""
    words = ["--bundle", bundle, "--patches", patches, "--output", output, "--features-encoder", "made"]
    call("predict", *words, "--no-galleries", *more)
    return {path.stem: pd.read_csv(path, dtype={"case_id": str}) for path in output.glob("*.csv")}

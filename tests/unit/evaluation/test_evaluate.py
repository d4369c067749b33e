"""The script: with several seeds the ensemble alone is drawn, each seed on request, and no old figure is left."""

import argparse

import pytest
from bundles import NAMES
from factories import STAINS

import evaluate


@pytest.mark.parametrize(
    "seeds, runs, drawn",
    [
        ([1, 2], "ensemble", ["ensemble"]),
        ([1, 2], "all", ["seed_1", "seed_2", "ensemble"]),
        ([1], "ensemble", ["seed_1"]),
    ],
)
def test_figures_are_drawn_of_the_runs_asked_for(made, tmp_path, monkeypatch, seeds, runs, drawn):
    (tmp_path / "seed_1").mkdir()
    old = tmp_path / "seed_1/roc_curve.png"
    old.write_text("of earlier numbers")
    called = []
    monkeypatch.setattr(evaluate, "draw", lambda *args: called.append(args[-1].name))
    evaluate.main(
        argparse.Namespace(
            checkpoints=[made.folder / f"split_01/seed_{seed}/checkpoints/best.pth" for seed in seeds],
            features=made.args.features,
            cases=made.args.cases,
            split=made.args.splits[0],
            name="01",
            seeds=seeds,
            classes=NAMES,
            stains=STAINS,
            threshold="youden",
            runs=runs,
            threads=1,
            output=tmp_path,
        )
    )
    assert called == drawn
    assert old.exists() == ("seed_1" in drawn)

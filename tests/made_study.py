"""A study in memory: out-of-fold predictions drawn as a test wants them, without files."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from stratamil.cohort.splits import Split
from stratamil.evaluation.runs import Run
from stratamil.evaluation.study import Study

CLASSES = ["benign", "high-grade"]


def predictions(ids, y, score):
    """A run's table: probabilities are the logistic function of the score."""
    p = expit(score)
    table = pd.DataFrame({"case_id": ids, "true_label": y, "predicted_label": (p > 0.5).astype(int)})
    table["true_class"], table["patches"] = [CLASSES[k] for k in y], [int(case) + 4 for case in ids]
    return table.assign(prob_benign=1 - p, prob_high_grade=p, logit_benign=-score / 2, logit_high_grade=score / 2)


def study(score, y, seeds=(1,), splits=5, noise=0.0, patients=None, bootstrap_samples=500, **more):
    """A Study of cases 1, 2, ... with this score; each seed adds its own noise. Split k tests every k-th case.

    The validation cases of a split are the test cases of the next.
    """
    random, ids = np.random.default_rng(7), np.array([str(i + 1) for i in range(len(y))])
    y, fold, runs = np.asarray(y), np.arange(len(y)) % splits, []
    for split in range(splits):
        for seed in seeds:
            noisy = np.asarray(score) + noise * random.normal(size=len(y))
            run = Run(Path(f"split_{split + 1:02d}/seed_{seed}"), {"classes": CLASSES, "split": f"{split + 1:02d}"})
            run.results.update(seed=seed, temperature=1.0, threshold=0.5)
            for name, chosen in (("test", fold == split), ("validation", fold == (split + 1) % splits)):
                run.__dict__[name] = predictions(ids[chosen], y[chosen], noisy[chosen])
            runs.append(run)
    cases = pd.DataFrame({"case_id": ids, "class": [CLASSES[k] for k in y], "patient_id": patients or ids})
    cases = cases.assign(label="1", n_slices=2, n_patches=np.arange(len(y)) + 5, missing_stains="", status="used")
    sets = {}
    for split in range(splits):
        parts = {"test": fold == split, "val": fold == (split + 1) % splits}
        parts["train"] = ~parts["test"] & ~parts["val"]
        sets[f"{split + 1:02d}"] = Split(**{name: list(ids[part]) for name, part in parts.items()})
    return Study(runs, cases, bootstrap_samples, 42, sets=sets, **more)


def retrained(made, variant, score, training_cases=10):
    """The predictions of the model trained in another way, as `evaluation.retrained.read` returns them."""
    rows = made.predictions[["split", "seed", "case_id"]]
    p = expit(np.asarray(score)[rows["case_id"].astype(int) - 1])
    return rows.assign(
        variant=variant, prob_benign=1 - p, prob_high_grade=p, training_cases=training_cases
    ).reset_index(drop=True)

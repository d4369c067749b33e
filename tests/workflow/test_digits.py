"""Digits bags, the usual toy problem of MIL, through the whole workflow with the settings that it comes with.

A case is a bag of about ten of scikit-learn's handwritten digits, positive if it holds a 9; its features are the 64
pixels. Training and validation bags are drawn from the first 1,000 digits, test bags from the other 797. Half of the
bags of each set are positive.
"""

import numpy as np
import pandas as pd
import pytest
import yaml
from checkout import Checkout
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

pytestmark = pytest.mark.long

TARGET, SEED = 9, 1
SPLITS = ("01", "02")  # the least that there can be; models of the first are trained
BAGS = {"train": 100, "val": 50, "test": 200}
# Nothing of model, train or evaluate: the defaults are what is tested.
CONFIG = {
    "labels": "data/labels.csv",
    "results": "results/digits",
    "cohort": {"classes": [{"no-nine": ["n"]}, {"nine": ["y"]}]},
    "splits": {"preset": "data/splits_{split}.npz", "n_splits": len(SPLITS)},
    "features": {"source": "precomputed", "manifest": "data/manifest.csv"},
    "seeds": [SEED],
    "embed": {"shards": 1},
}


def draw(rng, digits, pool, positive):
    """Positions in `digits` of a random bag from `pool` that holds a 9 or, if not `positive`, none."""
    while True:
        bag = rng.choice(pool, max(round(rng.normal(10, 2)), 2), replace=False)
        if (digits[bag] == TARGET).any() == positive:
            return bag


def write_bags(folder):
    """Features, labels and splits of all bags. Returns which rows of the features are a 9."""
    pixels, digits = load_digits(return_X_y=True)
    pools = {"train": np.arange(1000), "val": np.arange(1000), "test": np.arange(1000, len(digits))}
    rng, bags, labels = np.random.default_rng(SEED), [], []
    folder.mkdir()
    for split in SPLITS:
        sets = {}
        for part, n in BAGS.items():
            sets[f"{part}_cases"] = np.arange(len(bags) + 1, len(bags) + n + 1)
            labels += ["y", "n"] * (n // 2)
            bags += [draw(rng, digits, pools[part], label == "y") for label in labels[-n:]]
        np.savez(folder / f"splits_{split}.npz", **sets)
    rows, sizes, cases = np.concatenate(bags), [len(bag) for bag in bags], np.arange(1, len(bags) + 1)
    np.savez(
        folder / "bags.npz",
        features=pixels[rows],
        case=np.repeat(cases, sizes),
        stain=np.full(len(rows), "h&e"),
        slice=np.full(len(rows), "match_1"),
        instance=np.concatenate([np.arange(size) for size in sizes]),
    )
    (folder / "manifest.csv").write_text("file\nbags.npz\n")
    pd.DataFrame({"Case": cases, "Class": labels}).to_csv(folder / "labels.csv", index=False)
    return digits[rows] == TARGET


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Predictions of the default model, attention of their patches, those of the baselines, and which rows are a 9.

    All of the first split, as the workflow makes them.
    """
    checkout = Checkout(tmp_path_factory.mktemp("digits"))
    nines = write_bags(checkout.folder / "data")
    config = checkout.folder / "own.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    run, baselines = (f"{CONFIG['results']}/{name}" for name in (f"split_{SPLITS[0]}/seed_{SEED}", "baselines"))
    done = checkout.snakemake("--", f"{run}/results.json", f"{baselines}/predictions.csv", configfiles=(config,))
    assert done.returncode == 0, done.stdout + done.stderr
    bags = pd.read_csv(checkout.folder / run / "predictions.csv")
    patches = pd.read_parquet(checkout.folder / run / "patch_attention.parquet")
    others = pd.read_csv(checkout.folder / baselines / "predictions.csv", dtype={"split": str})
    others = others[others["split"] == SPLITS[0]]
    return bags, patches, others, nines


def bag_auc(bags):
    """AUROC of the probability of a 9 over the test bags."""
    return roc_auc_score(bags["true_class"] == "nine", bags["prob_nine"])


def instance_auc(patches, nines):
    """AUROC of the effective weight for the 9s of a positive test bag, mean of the bags.

    Within bags, as the report has it, for the weights of a bag sum to 1; elsewhere often over all patches at once.
    """
    row = patches["path"].str.rpartition("#")[2].astype(int)
    bags = patches.assign(nine=nines[row]).groupby("case_id")
    return np.mean([roc_auc_score(bag["nine"], bag["effective_weight"]) for _, bag in bags if bag["nine"].any()])


def test_bags_are_told_apart_and_better_than_by_their_mean(study):
    bags, _, others, _ = study
    assert bag_auc(bags) > 0.93
    assert bag_auc(bags) > bag_auc(others[others["baseline"] == "mean_pool"]) + 0.05


def test_attention_finds_the_nines(study):
    _, patches, _, nines = study
    assert instance_auc(patches, nines) > 0.9

"""Each member of a stack of seeds against the same seed trained alone, on the splits of a study.

Whole trainings with the study's own settings, early stopping included. A seed's predictions of the test cases of all
splits are pooled: the out-of-fold AUROC of each seed, trained with the others and alone, and the largest difference.
The study is only read.
"""

import argparse
from pathlib import Path

import measure
import numpy as np
import settings
import torch

from stratamil.evaluation import predict
from stratamil.features import store
from stratamil.mil import model, training
from stratamil.mil.bags import Bags
from stratamil.mil.stack import Data, TrainSettings
from stratamil.stats import metrics

GOAL = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results folder of a study with features and splits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=measure.cores())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    study = settings.Study(args.results, None, 0, None)
    chosen = settings.row_settings("study", args.results)
    seeds, data = list(range(1, args.seeds + 1)), store.read(study.shards)
    shape = model.ModelSettings(data.values.shape[1], len(study.classes), **chosen["model"])
    train = {name: chosen["train"][name] for name in TrainSettings.__dataclass_fields__ if name in chosen["train"]}
    bags, truth, scores, epochs = Bags(data, study.stains), [], {}, {}
    train["precision"] = training.precision(train["precision"], bags.device, shape)
    for name, split in study.folds.items():
        cases = Data(bags, split.train, split.val, study.y, name)
        truth += [study.y[case] for case in split.test]
        for together in (seeds, *([seed] for seed in seeds)):
            for seed, outcome in training.train(cases, shape, TrainSettings(**train), together).items():
                own = model.HierarchicalAttention(shape)
                own.load(outcome.best["weights"])
                key = seed, len(together) == 1
                scores.setdefault(key, []).append(predict.probabilities(own.eval(), bags, split.test)[0])
                epochs.setdefault(key, []).append(outcome.best["epoch"])
    print(f"{len(truth)} test cases of {len(study.folds)} splits")
    auc = {key: metrics.auc(np.array(truth), np.concatenate(p)) for key, p in scores.items()}
    for seed in seeds:
        most = max(np.abs(a - b).max() for a, b in zip(scores[seed, False], scores[seed, True]))
        print(
            f"  seed {seed}: AUROC of {len(seeds)} at once {auc[seed, False]:.4f}, alone {auc[seed, True]:.4f}; "
            f"probabilities differ by at most {most:.1e}; best epochs {epochs[seed, False]} and {epochs[seed, True]}"
        )
    difference = max(abs(auc[seed, False] - auc[seed, True]) for seed in seeds)
    print(f"  largest difference of the AUROC: {difference:.4f}, {measure.verdict(difference, GOAL)}")


if __name__ == "__main__":
    main()

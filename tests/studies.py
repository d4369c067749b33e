"""A small study as the workflow leaves it on disk, made by the library from random features."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from factories import CLASSES, DIM, STAINS, features, model_settings, perturb_settings

from stratamil.cohort import splits
from stratamil.core import files, tables
from stratamil.evaluation import cross_split, metrics_table, predict, study
from stratamil.explain import attention_tables, findings, perturb
from stratamil.mil.bags import Bags
from stratamil.mil.model import HierarchicalAttention
from stratamil.stats.intervals import Estimate

SHAPE = {str(i): [[4, 2], [3], [2] if i % 3 else []] for i in range(1, 13)}  # as in factories.SHAPE
TEST = {"01": ["1", "2", "3", "4", "5", "6"], "02": ["7", "8", "9", "10", "11", "12"]}
SEED = 42
PROBS = ["prob_benign", "prob_high_grade"]


def write(results: Path) -> Path:
    """Write what a study of two splits leaves in a results folder, but for its features and pages; return it."""
    y = {case: int(case) % 2 for case in SHAPE}
    settings = {"seeds": [SEED], "splits": {"n_splits": 2, "n_repeats": 1}, "model": {"aggregation": "hierarchical"}}
    settings |= {"report": {"retrained": ["mean"], "learning_curve": False}}
    files.write_text(yaml.safe_dump(settings), results / "config.yaml")
    cases = {"case_id": list(SHAPE), "class": [list(CLASSES)[k] for k in y.values()], "patient_id": list(SHAPE)}
    cases = pd.DataFrame(cases | {"label": "1", "n_slices": 4, "n_patches": 9, "missing_stains": "", "status": "used"})
    files.write_csv(cases, results / "inventory/cases.csv")
    data = features(SHAPE)
    data.values[[y[case] == 1 for case in data.table["case_id"]]] += 1
    for split, other in (("01", "02"), ("02", "01")):
        ids = splits.Split(TEST[other][:2], TEST[other][2:], TEST[split])
        (results / "splits").mkdir(exist_ok=True)
        splits.write(ids, results / f"splits/data_splits_{split}.npz")
        write_run(results / f"split_{split}/seed_{SEED}", split, ids, data, y)
    runs = study.read_runs(sorted(results.glob("split_*/seed_*")))
    numbers = cross_split.numbers(study.Study(runs, tables.read_cases(results / "inventory/cases.csv"), 100, SEED))
    files.write_csv(metrics_table.long_table(numbers), results / "report/metrics.csv")
    excluded = {"kind": "row", "name": "row 9", "reason": "repeats a case", "detail": "", "patches": 0}
    files.write_csv(pd.DataFrame([excluded]), results / "report/excluded.csv")
    baseline = pd.concat([run.test.assign(split=run.split, baseline="mean_pool") for run in runs])
    files.write_csv(baseline, results / "baselines/predictions.csv")
    finding = findings.Finding("curves", "area", "study", "margin", Estimate(0.1, 0, 0.2, 12), 0.0, "above", "Better.")
    files.write_csv(pd.DataFrame([findings.row(finding.entry())]), results / "faithfulness/faithfulness.csv")
    return results


def write_run(folder: Path, split: str, ids: splits.Split, data: object, y: dict[str, int]) -> None:
    """Write what the rules of one split and seed write."""
    torch.manual_seed(int(split))
    settings = model_settings(DIM, 2, embed_dim=8, attention_dim=4, zero_start=False)
    model, classes = HierarchicalAttention(settings), list(CLASSES)
    both = {"y": y, "classes": classes}
    [(validation, _)] = predict.predict(model, Bags(data, STAINS), data.table, ids.val, **both)
    [(test, attention)] = predict.predict(model, Bags(data, STAINS), data.table, ids.test, **both)
    numbers = predict.results(test, validation, classes, "youden")
    files.write_json({"split": split, "seed": SEED, "classes": classes, "epoch": 1} | numbers, folder / "results.json")
    files.write_csv(test, folder / "predictions.csv")
    files.write_csv(validation, folder / "validation_predictions.csv")
    files.write_parquet(attention, folder / "patch_attention.parquet")
    again = pd.concat([validation.assign(set="val"), test.assign(set="test")])[["set", "case_id", "true_class", *PROBS]]
    files.write_csv(again.assign(training_cases=len(ids.train), epoch=1), folder / "retrained/mean.csv")
    [perturbed] = perturb.perturb(
        model,
        Bags(data, STAINS),
        data.table,
        case_ids=ids.test,
        settings=[(0, perturb_settings(random_orders=2))],
        **both,
    )
    for name, table in zip(("perturbation", "perturbation_curves", "perturbation_parts"), perturbed):
        files.write_csv(table, folder / f"{name}.csv")
    read = attention_tables.read_cases(folder / "patch_attention.parquet", folder / "predictions.csv", STAINS)
    files.write_csv(attention_tables.summary(read, STAINS), folder / "attention_analysis/summary.csv")
    history = {"epoch": [1, 2], "train_loss": [1.0, 0.5], "val_loss": [0.9, np.nan], "best": [True, False]}
    files.write_csv(pd.DataFrame(history), folder / "history.csv")

"""Evaluate the best checkpoint of each seed: every number of a run comes from here.

INPUTS: checkpoints, feature shards, inventory/cases.csv, splits/data_splits_{split}.npz
OUTPUTS: split_{split}/seed_{seed}/predictions.csv, validation_predictions.csv, results.json, results.txt,
    patch_attention.parquet, data_splits.npz and figures of the test cases; with several seeds split_{split}/ensemble/
    holds the same of their mean, and figures are drawn of each seed only with `evaluate.runs: all`
"""


rule evaluate:
    input:
        checkpoints=CHECKPOINTS,
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        cases="<results>/inventory/cases.csv",
        split="<results>/splits/data_splits_{split}.npz",
        code=code("evaluate"),
    output:
        **figures("confusion_matrix", "confusion", "confusion matrix", runs=DRAWN),
        **figures("deviation_plot", "deviation", "deviation", runs=DRAWN),
        **figures("roc_curve", "roc", "ROC", runs=DRAWN),
        **figures("pr_curve", "roc", "precision and recall", runs=DRAWN),
        **figures("calibration_curve", "calibration", "calibration", runs=DRAWN),
        predictions=of_runs("predictions.csv"),
        validation=of_runs("validation_predictions.csv"),
        attention=of_runs("patch_attention.parquet"),
        json=of_runs("results.json"),
        text=of_runs("results.txt"),
        split=of_runs("data_splits.npz"),
    log:
        "<logs>/evaluate/split_{split}.log",
    benchmark:
        "<benchmarks>/evaluate/split_{split}.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(8000 + 60 * (len(SEEDS) - 1)),
        runtime=attempts(30),
    params:
        flags=given(flag("classes", CLASSES), flag("stains", STAINS), flags("evaluate")),
        seeds=seeds_of_outputs,
        folder=lambda wildcards, output: Path(output.predictions[0]).parents[1],
    shell:
        "python {input.code[0]:q} --checkpoints {input.checkpoints:q} --features {input.features:q}"
        " --cases {input.cases:q} --split {input.split:q} --name {wildcards.split} --seeds {params.seeds} {params.flags}"
        " --threads {threads} --output {params.folder:q} --log {log:q}"

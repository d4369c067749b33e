"""Evaluate the best checkpoint, or one that the config gives, on whole bags: every number of a run comes from here.

INPUTS: checkpoint, feature shards, inventory/cases.csv, splits/data_splits_{split}.npz
OUTPUTS: split_{split}/seed_{seed}/predictions.csv, validation_predictions.csv, results.json, results.txt,
    patch_attention.parquet, data_splits.npz and figures of the test cases
"""


rule evaluate:
    input:
        checkpoint=config["evaluate"]["checkpoint"] or "<results>/split_{split}/seed_{seed}/checkpoints/best.pth",
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        cases="<results>/inventory/cases.csv",
        split="<results>/splits/data_splits_{split}.npz",
        code=code("evaluate"),
    output:
        predictions="<results>/split_{split}/seed_{seed}/predictions.csv",
        validation="<results>/split_{split}/seed_{seed}/validation_predictions.csv",
        attention="<results>/split_{split}/seed_{seed}/patch_attention.parquet",
        json="<results>/split_{split}/seed_{seed}/results.json",
        text="<results>/split_{split}/seed_{seed}/results.txt",
        split="<results>/split_{split}/seed_{seed}/data_splits.npz",
        confusion=figure("confusion_matrix", "confusion", "confusion matrix"),
        deviation=figure("deviation_plot", "deviation", "deviation"),
        roc=figure("roc_curve", "roc", "ROC"),
        pr=figure("pr_curve", "roc", "precision and recall"),
        calibration=figure("calibration_curve", "calibration", "calibration"),
    log:
        "<logs>/evaluate/split_{split}_seed_{seed}.log",
    benchmark:
        "<benchmarks>/evaluate/split_{split}_seed_{seed}.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(30),
    params:
        flags=given(flag("classes", CLASSES), flag("stains", STAINS), flags("evaluate", "threshold")),
        foreign="--foreign" if config["evaluate"]["checkpoint"] else "",
        folder=subpath(output.predictions, parent=True),
    shell:
        "python {input.code[0]:q} --checkpoint {input.checkpoint:q} {params.foreign} --features {input.features:q}"
        " --cases {input.cases:q}"
        " --split {input.split:q} --name {wildcards.split} --seed {wildcards.seed} {params.flags}"
        " --threads {threads} --output {params.folder:q} --log {log:q}"

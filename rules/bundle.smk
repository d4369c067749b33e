"""Put the models into one file, with all that a prediction of new cases needs.

INPUTS: checkpoints, predictions.csv and results.json of all runs, feature shards, inventory/cases.csv,
    splits/data_splits_{split}.npz; the labels table, if report.columns names columns of it
OUTPUTS: model/<title>.zip: weights, settings, frozen threshold and temperature, results, model card; no id of a case
"""


rule bundle:
    input:
        predictions=expand("<results>/split_{split}/seed_{seed}/predictions.csv", split=SPLITS, seed=SEEDS),
        validation=expand("<results>/split_{split}/seed_{seed}/validation_predictions.csv", split=SPLITS, seed=SEEDS),
        json=expand("<results>/split_{split}/{run}/results.json", split=SPLITS, run=RUNS),
        checkpoints=(
            expand("<results>/model/refit/seed_{seed}.pth", seed=SEEDS)
            if config["bundle"]["refit"]
            else expand(MODEL_OF_RUN, split=SPLITS, seed=SEEDS)
        ),
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        cases="<results>/inventory/cases.csv",
        splits=expand("<results>/splits/data_splits_{split}.npz", split=SPLITS),
        labels=config["labels"] if config["report"]["columns"] else [],
        code=code("bundle"),
    output:
        BUNDLE,
    log:
        "<logs>/bundle/bundle.log",
    benchmark:
        "<benchmarks>/bundle/bundle.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(30),
    params:
        runs=[f"{config['results']}/split_{split}/seed_{seed}" for split in SPLITS for seed in SEEDS],
        content=digest("labels", config["labels"]) if config["report"]["columns"] else "",
        labels=lambda wildcards, input: flag("labels", input.labels) if input.labels else "",
        refitted=given(flag("refitted", SEEDS)) if config["bundle"]["refit"] else "",
        flags=given(
            flags("cohort", exclude_patches=None, duplicates=None),
            flags("cohort.quality"),
            flags("names"),
            flag("encoders", json.dumps({} if PRECOMPUTED else ENCODINGS)),
            flags("report", "title", "bootstrap_samples", "seed", "columns"),
            flags("bundle", "members"),
        ),
    shell:
        "python {input.code[0]:q} --runs {params.runs:q} --checkpoints {input.checkpoints:q} {params.refitted}"
        " --features {input.features:q} --cases {input.cases:q} --splits {input.splits:q} {params.labels} {params.flags}"
        " --output {output:q} --log {log:q}"

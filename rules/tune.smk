"""Choose settings for each split on its training and validation cases alone, with `tune.enabled` or for target `tune`.

INPUTS: feature shards, inventory/cases.csv, splits/data_splits_{split}.npz; test cases are not read
OUTPUTS: tuning/split_{split}/candidates.csv, chosen.yaml; undeclared: tuning/split_{split}/state.json, with which a
    killed job goes on
"""


rule tune_split:
    input:
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        cases="<results>/inventory/cases.csv",
        split="<results>/splits/data_splits_{split}.npz",
        checked=CHECKED,
        same_tissue=ancient(SAME_TISSUE),
        code=code("tune"),
    output:
        candidates="<results>/tuning/split_{split}/candidates.csv",
        chosen="<results>/tuning/split_{split}/chosen.yaml",
    log:
        "<logs>/tune/split_{split}.log",
    benchmark:
        "<benchmarks>/tune/split_{split}.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        # a stack holds the models, gradients and moments of 24 members
        mem_mb=attempts(12000),
        runtime=attempts(240),
        gpu=1,
    params:
        flags=given(
            flag("classes", CLASSES),
            flag("stains", STAINS),
            flags("model"),
            flags("train", tensorboard=None),
            flags("tune", "candidates", "inner", "metric"),
            flags("splits", "by", "balance"),
            flag("trainings", config["tune"]["seeds"]),
            flag("draw", config["tune"]["seed"]),
            flag("space", json.dumps(config["tune"]["space"])),
        ),
        folder=subpath(output.chosen, parent=True),
    shell:
        # exec, as in rule train
        "exec python {input.code[0]:q} --features {input.features:q} --cases {input.cases:q} --split {input.split:q}"
        " --name {wildcards.split} --same-tissue {input.same_tissue:q} {params.flags} --threads {threads} --output {params.folder:q}"
        " --state {params.folder:q}/state.json --log {log:q}"

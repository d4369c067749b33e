"""Train the members of the bundle on all cases, with `bundle.refit: true`.

INPUTS: checkpoints of all splits and seeds, for their best epochs; feature shards, inventory/cases.csv
OUTPUTS: model/refit/seed_{seed}.pth
"""


rule refit:
    input:
        checkpoints=expand(MODEL_OF_RUN, split=SPLITS, seed=SEEDS),
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        cases="<results>/inventory/cases.csv",
        code=code("refit"),
    output:
        expand("<results>/model/refit/seed_{seed}.pth", seed=SEEDS),
    log:
        "<logs>/refit/refit.log",
    benchmark:
        "<benchmarks>/refit/refit.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(8000 + 60 * (len(SEEDS) - 1)),
        runtime=attempts(120),
        gpu=1,
    params:
        flags=given(flag("classes", CLASSES), flag("stains", STAINS), flags("model"), flags("train", tensorboard=None)),
        seeds=seeds_of_outputs,
    shell:
        # exec, as in rule train
        "exec python {input.code[0]:q} --checkpoints {input.checkpoints:q} --features {input.features:q}"
        " --cases {input.cases:q} --seeds {params.seeds} {params.flags} --threads {threads} --outputs {output:q}"
        " --log {log:q}"

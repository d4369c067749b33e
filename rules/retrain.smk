"""Train a split again in another way, for comparison: with another aggregation, or on a share of the training cases.

INPUTS: feature shards, inventory/cases.csv, splits/data_splits_{split}.npz; with `tune.enabled`
    tuning/split_{split}/chosen.yaml, but for the variant `default`
OUTPUTS: split_{split}/seed_{seed}/retrained/{variant}.csv; undeclared: split_{split}/training_state_{variant}.pth, from
    which a killed job goes on, and by which a seed that is added trains alone
"""


rule retrain:
    input:
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        cases="<results>/inventory/cases.csv",
        split="<results>/splits/data_splits_{split}.npz",
        checked=CHECKED,
        chosen=chosen_for_variant,
        code=code("retrain"),
    output:
        of_seeds("retrained/{variant}.csv"),
    log:
        "<logs>/retrain/split_{split}_{variant}.log",
    benchmark:
        "<benchmarks>/retrain/split_{split}_{variant}.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(8000 + 60 * (len(SEEDS) - 1)),
        runtime=attempts(120),
        gpu=1,
    params:
        flags=variant_flags,
        chosen=chosen_flags,
        seeds=seeds_of_outputs,
        state=lambda wildcards, output: Path(output[0]).parents[2] / f"training_state_{wildcards.variant}.pth",
    shell:
        # exec, as in rule train
        "exec python {input.code[0]:q} --features {input.features:q} --cases {input.cases:q} --split {input.split:q}"
        " --name {wildcards.split} --seeds {params.seeds} {params.flags} {params.chosen} --threads {threads}"
        " --outputs {output:q} --state {params.state:q} --log {log:q}"

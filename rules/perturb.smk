"""Predict the test cases of a split whole and with parts taken away, by the model of each seed, from the features.

INPUTS: checkpoints, feature shards, inventory/cases.csv, splits/data_splits_{split}.npz
OUTPUTS: split_{split}/seed_{seed}/perturbation.csv (a row a case), perturbation_curves.csv (a row a step of a curve),
    perturbation_parts.csv (a row a stain and slice that was left out)
"""


rule perturb:
    input:
        checkpoints=CHECKPOINTS,
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        cases="<results>/inventory/cases.csv",
        split="<results>/splits/data_splits_{split}.npz",
        code=code("perturb"),
    output:
        cases=of_seeds("perturbation.csv"),
        curves=of_seeds("perturbation_curves.csv"),
        parts=of_seeds("perturbation_parts.csv"),
    log:
        "<logs>/perturb/split_{split}.log",
    benchmark:
        "<benchmarks>/perturb/split_{split}.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(60),
    params:
        flags=given(
            flag("classes", CLASSES),
            flag("stains", STAINS),
            flags("faithfulness"),
            flags("attention", "top_percent"),
        ),
        seeds=seeds_of_outputs,
        folder=lambda wildcards, output: Path(output.cases[0]).parents[1],
    shell:
        "python {input.code[0]:q} --checkpoints {input.checkpoints:q} --features {input.features:q}"
        " --cases {input.cases:q} --split {input.split:q} --seeds {params.seeds} {params.flags} --threads {threads}"
        " --output {params.folder:q} --log {log:q}"

"""Predict the test cases of a split and seed whole and with parts taken away, from the cached features.

INPUTS: checkpoint, feature shards, inventory/cases.csv, splits/data_splits_{split}.npz
OUTPUTS: split_{split}/seed_{seed}/perturbation.csv (a row a case), perturbation_curves.csv (a row a step of a curve),
    perturbation_parts.csv (a row a stain and slice that was left out)
"""


rule perturb:
    input:
        checkpoint=config["evaluate"]["checkpoint"] or "<results>/split_{split}/seed_{seed}/checkpoints/best.pth",
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        cases="<results>/inventory/cases.csv",
        split="<results>/splits/data_splits_{split}.npz",
        code=code("perturb"),
    output:
        cases="<results>/split_{split}/seed_{seed}/perturbation.csv",
        curves="<results>/split_{split}/seed_{seed}/perturbation_curves.csv",
        parts="<results>/split_{split}/seed_{seed}/perturbation_parts.csv",
    log:
        "<logs>/perturb/split_{split}_seed_{seed}.log",
    benchmark:
        "<benchmarks>/perturb/split_{split}_seed_{seed}.tsv"
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
        foreign="--foreign" if config["evaluate"]["checkpoint"] else "",
        folder=subpath(output.cases, parent=True),
    shell:
        "python {input.code[0]:q} --checkpoint {input.checkpoint:q} {params.foreign} --features {input.features:q}"
        " --cases {input.cases:q}"
        " --split {input.split:q} --seed {wildcards.seed} {params.flags} --threads {threads} --output {params.folder:q}"
        " --log {log:q}"

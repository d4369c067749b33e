"""Predict the test cases with what needs no attention: mean features, colour alone, patch counts, prevalence.

INPUTS: feature shards, which have the colour of each image, too; inventory/cases.csv, splits/data_splits_{split}.npz
OUTPUTS: baselines/predictions.csv
"""


rule baselines:
    input:
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        cases="<results>/inventory/cases.csv",
        splits=expand("<results>/splits/data_splits_{split}.npz", split=SPLITS),
        checked=CHECKED,
        code=code("baselines"),
    output:
        "<results>/baselines/predictions.csv",
    log:
        "<logs>/baselines/baselines.log",
    benchmark:
        "<benchmarks>/baselines/baselines.tsv"
    conda:
        "../envs/stratamil.yaml"
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(30),
    params:
        flags=given(flag("classes", CLASSES)),
    shell:
        "python {input.code[0]:q} --features {input.features:q} --cases {input.cases:q}"
        " --splits {input.splits:q} {params.flags} --output {output:q} --log {log:q}"

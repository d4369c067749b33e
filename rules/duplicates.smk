"""Find the same tissue in several cases, even turned, trimmed or saved again.

INPUTS: feature shards, which have a sketch of each image; of precomputed features these alone
OUTPUTS: duplicates/patches.csv (groups of patches of several cases), duplicates.json (numbers, also within cases)
"""


rule duplicates:
    input:
        features=expand("<results>/features/{encoder}/shard_{shard}.h5", encoder=ENCODERS, shard=SHARDS),
        code=code("duplicates"),
    output:
        table=SAME_TISSUE,
        json="<results>/duplicates/duplicates.json",
    log:
        "<logs>/duplicates/duplicates.log",
    benchmark:
        "<benchmarks>/duplicates/duplicates.tsv"
    conda:
        "../envs/stratamil.yaml"
    threads: 4
    resources:
        mem_mb=attempts(8000),
        runtime=attempts(60),
    shell:
        "python {input.code[0]:q} --features {input.features:q} --threads {threads} --output {output.table:q}"
        " --json {output.json:q} --log {log:q}"
